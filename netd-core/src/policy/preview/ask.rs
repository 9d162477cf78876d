//! Whom a container has to do with on which ports, by direction. Knows no YAML.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use netd_api::{
    names::{LabelKey, LabelValue, Namespace},
    publish::PortRange,
    spec::Labels,
};

use crate::policy::{book::wish::Direction, pod::PORT_LABEL};

/// The numbers of the protocols that have ports.
pub(super) const TCP_UDP_SCTP: [u8; 3] = [6, 17, 132];
/// RFC 1035, 4.2.
pub(super) const DNS_PORT: u16 = 53;
/// More addresses of one /24 or /64 than these are allowed together.
const APART_MOST: usize = 8;

/// Labels that differ between containers that are meant as one: of Kubernetes' controllers and of compose.
const OF_INSTANCES: [&str; 10] = [
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "controller-uid",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-completion-index",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "com.docker.compose.container-number",
    "com.docker.compose.config-hash",
];

/// The labels that say what a container is, not which one; all where it has no others.
pub(super) fn stable(labels: &Labels) -> Labels {
    let is_stable = |key: &LabelKey| !OF_INSTANCES.contains(&key.as_str()) && !key.as_str().starts_with(PORT_LABEL);
    let stable: Labels = labels
        .iter()
        .filter(|(key, _)| is_stable(key))
        .map(|(key, value): (&LabelKey, &LabelValue)| (key.clone(), value.clone()))
        .collect();
    if stable.is_empty() { labels.clone() } else { stable }
}

/// Somebody that a rule can speak of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    /// Containers of a namespace, by their labels.
    Pods(Namespace, Labels),
    /// One address that is not merged with others.
    Address(IpAddr),
    /// An address outside.
    Outside(IpAddr),
    /// Several of those.
    Block(IpNet),
}

impl Peer {
    /// The DNS server on a network's gateway, which counts as Kubernetes' own.
    pub(super) fn dns() -> Self {
        let labels = "k8s-app".parse().ok().zip("kube-dns".parse().ok());
        Self::Pods("kube-system".parse().unwrap_or_default(), labels.into_iter().collect())
    }
}

/// Ports of protocols.
pub(super) type Ports = BTreeSet<(u8, u16)>;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Asked {
    ways: BTreeMap<Direction, BTreeMap<Peer, Ports>>,
}

impl Asked {
    pub(super) fn add(&mut self, direction: Direction, peer: Peer, protocol: u8, port: u16) {
        self.ways.entry(direction).or_default().entry(peer).or_default().insert((protocol, port));
    }

    /// Whether nothing of a direction was seen.
    pub(super) fn is_silent(&self, direction: Direction) -> bool {
        self.ways.get(&direction).is_none_or(BTreeMap::is_empty)
    }

    /// Takes many addresses of one /24 or /64 outside for all of it. Returns what to say of it.
    pub(super) fn merge(&mut self) -> Vec<String> {
        let mut notes = Vec::new();
        for (direction, peers) in &mut self.ways {
            let mut by_net: BTreeMap<IpNet, Vec<IpAddr>> = BTreeMap::new();
            for peer in peers.keys() {
                if let Peer::Outside(address) = peer {
                    by_net.entry(net_of(*address)).or_default().push(*address);
                }
            }
            for (net, addresses) in by_net.into_iter().filter(|(_, addresses)| addresses.len() > APART_MOST) {
                let word = if *direction == Direction::Ingress { "from" } else { "to" };
                notes.push(format!("{direction} {word} {} addresses of {net} was seen; all of it is allowed", addresses.len()));
                let ports: Ports = addresses.into_iter().filter_map(|address| peers.remove(&Peer::Outside(address))).flatten().collect();
                peers.insert(Peer::Block(net), ports);
            }
        }
        notes
    }

    /// The rules of a direction: ports, and all peers that have to do with just these.
    pub(super) fn rules(&self, direction: Direction) -> BTreeMap<Vec<(u8, PortRange)>, Vec<&Peer>> {
        let mut rules: BTreeMap<_, Vec<&Peer>> = BTreeMap::new();
        for (peer, ports) in self.ways.get(&direction).into_iter().flatten() {
            rules.entry(ranges(ports)).or_default().push(peer);
        }
        rules
    }
}

/// The /24 or /64 around an address.
fn net_of(address: IpAddr) -> IpNet {
    let length = if address.is_ipv4() { 24 } else { 64 };
    IpNet::new(address, length).unwrap_or_else(|_| IpNet::from(address)).trunc()
}

/// Neighbouring ports of one protocol together.
fn ranges(ports: &Ports) -> Vec<(u8, PortRange)> {
    let mut ranges: Vec<(u8, PortRange)> = Vec::new();
    for (protocol, port) in ports {
        match ranges.last_mut() {
            Some((same, range)) if same == protocol && range.last.checked_add(1) == Some(*port) => range.last = *port,
            _ => ranges.push((*protocol, PortRange { first: *port, last: *port })),
        }
    }
    ranges
}
