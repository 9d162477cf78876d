//! Writes the policy that recorded flows need. Never records a flow, never judges one.
//!
//! ```text
//! flows ─ask─► peers with their ports, by direction ─write─► YAML
//!          └─► notes of what no NetworkPolicy can say
//! ```

mod ask;
mod write;

use std::{collections::BTreeSet, net::IpAddr};

use netd_api::{
    names::Namespace,
    policy::{Advice, FlowVerdict},
    spec::Labels,
};

use self::{
    ask::{Asked, DNS_PORT, Peer, TCP_UDP_SCTP, stable},
    write::{selector, write},
};
use super::book::wish::Direction;
use crate::desired::{Container, Desired};

/// A flow as far as a policy can know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Whether it came to the container or was made by it.
    pub direction: Direction,
    /// The other end.
    pub remote: IpAddr,
    /// The namespace and labels of the other end, where it is a container.
    pub pod: Option<(Namespace, Labels)>,
    /// Whether the other end is this host.
    pub is_host: bool,
    /// The IP protocol's number.
    pub protocol: u8,
    /// The port of the receiving side.
    pub port: u16,
    /// What became of it.
    pub verdict: FlowVerdict,
}

/// The policy that allows those flows of a container that were let through, and nothing else.
#[must_use]
pub fn advise(desired: &Desired, container: &Container, flows: &[Observed]) -> Advice {
    let is_gateway =
        |address: IpAddr| desired.networks().values().flat_map(|network| &network.pools).any(|pool| pool.gateway == Some(address));
    let (mut asked, mut notes) = (Asked::default(), BTreeSet::new());
    let passed = || flows.iter().filter(|flow| matches!(flow.verdict, FlowVerdict::Forward | FlowVerdict::Audit));
    for flow in passed() {
        let way = flow.direction;
        if way == Direction::Ingress && flow.is_host {
            notes.insert("what comes from this host itself needs no rule: it always reaches its own containers".to_owned());
            continue;
        }
        if !TCP_UDP_SCTP.contains(&flow.protocol) {
            let (from, protocol) = (if way == Direction::Ingress { "from" } else { "to" }, protocol_word(flow.protocol));
            notes.insert(format!(
                "{protocol} {from} {} was seen; a NetworkPolicy cannot allow it, but by a rule without ports",
                flow.remote
            ));
            continue;
        }
        if flow.port == 0 {
            notes.insert(format!(
                "port 0 of {} was used; a NetworkPolicy cannot allow it",
                if way == Direction::Ingress { "the container" } else { "another" }
            ));
            continue;
        }
        let is_dns = flow.is_host && flow.port == DNS_PORT && flow.protocol != TCP_UDP_SCTP[2] && is_gateway(flow.remote);
        let peer = match &flow.pod {
            _ if is_dns => Peer::dns(),
            Some((namespace, labels)) if !labels.is_empty() => Peer::Pods(namespace.clone(), stable(labels)),
            Some((namespace, _)) => {
                notes.insert(format!(
                    "the container in namespace {namespace} at {} has no labels and is allowed by its address; label it (netctl container set C --label K=V)",
                    flow.remote
                ));
                Peer::Address(flow.remote)
            }
            None if flow.is_host => {
                notes.insert(format!("{} is an address of this host", flow.remote));
                Peer::Address(flow.remote)
            }
            None => Peer::Outside(flow.remote),
        };
        asked.add(way, peer, flow.protocol, flow.port);
    }
    notes.extend(asked.merge());
    for direction in Direction::ALL.into_iter().filter(|direction| asked.is_silent(*direction)) {
        notes.insert(format!("no {direction} that needs a rule was recorded, and all of it is denied"));
    }
    let subject = subject(desired, container, &mut notes);
    let policy = write(container, &subject, &asked);
    Advice { policy, flows: passed().count() as u64, notes: notes.into_iter().collect() }
}

/// What selects the container, as JSON.
fn subject(desired: &Desired, container: &Container, notes: &mut BTreeSet<String>) -> String {
    let others = || desired.containers().values().filter(|other| other.id != container.id && other.namespace == container.namespace);
    if container.labels.is_empty() {
        if others().next().is_none() {
            let Container { namespace, name, .. } = container;
            notes
                .insert(format!("{name} has no labels; the policy selects all containers of namespace {namespace}, where it is alone now"));
            return selector(&Labels::new());
        }
        let label = name_label(container);
        for (key, value) in &label {
            let Container { name, .. } = container;
            notes.insert(format!(
                "{name} has no labels that select it alone; first give it one (netctl container set {name} --label {key}={value})"
            ));
        }
        return selector(&label);
    }
    let labels = stable(&container.labels);
    let has_all = |other: &Container| labels.iter().all(|(key, value)| other.labels.get(key) == Some(value));
    let also: BTreeSet<&str> = others().filter(|other| has_all(other)).map(|other| other.name.as_str()).collect();
    if !also.is_empty() {
        let named: Vec<&str> = also.iter().take(5).copied().collect();
        let more = if also.len() > named.len() { format!(" and {} more", also.len() - named.len()) } else { String::new() };
        notes.insert(format!("it selects {}{more} too, which have the same labels", named.join(", ")));
    }
    selector(&labels)
}

/// A label that a container may be given to be told from others.
fn name_label(container: &Container) -> Labels {
    let own = container.id.as_str().parse().or_else(|_| "advised".parse());
    "netd.io/name".parse().ok().zip(own.ok()).into_iter().collect()
}

fn protocol_word(protocol: u8) -> String {
    match protocol {
        1 => "ICMP".to_owned(),
        58 => "ICMPv6".to_owned(),
        other => format!("IP protocol {other}"),
    }
}

#[cfg(test)]
mod tests;
