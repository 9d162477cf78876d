//! Policies as a story writes them: the words of Kubernetes' documentation as plain values. Knows nothing of netd, judges nothing.

use std::{fmt, net::IpAddr};

/// What a rule of ports can speak of, and echo requests, of which no rule of ports speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// ICMP and ICMPv6.
    Icmp,
}

impl Protocol {
    /// Those that have ports.
    pub const WITH_PORTS: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];
}

/// Which way a rule looks, from the container that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the container.
    Ingress,
    /// From it.
    Egress,
}

impl Direction {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];
}

/// A label: key and value.
pub type Label = (&'static str, &'static str);

/// A label selector; the empty one selects everything.
#[derive(Debug, Clone, Default)]
pub struct Selector {
    /// `matchLabels`.
    pub labels: Vec<Label>,
    /// `matchExpressions`: a key and what is asked of it.
    pub expressions: Vec<(&'static str, Operator)>,
}

/// What is asked of a label.
#[derive(Debug, Clone)]
pub enum Operator {
    /// It is there, with one of these values.
    In(Vec<&'static str>),
    /// It is not there, or has another value.
    NotIn(Vec<&'static str>),
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

impl Selector {
    /// By one label.
    pub fn label(key: &'static str, value: &'static str) -> Self {
        Self { labels: vec![(key, value)], ..Self::default() }
    }

    /// By one expression.
    pub fn expression(key: &'static str, operator: Operator) -> Self {
        Self { expressions: vec![(key, operator)], ..Self::default() }
    }
}

/// A prefix of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// Its address.
    pub address: IpAddr,
    /// How many bits of it count.
    pub length: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl std::str::FromStr for Cidr {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(address, length)| Some((address.parse().ok()?, length.parse().ok()?)));
        parts.map(|(address, length)| Self { address, length }).ok_or_else(|| format!("{text:?} is no prefix"))
    }
}

/// Whom a rule of a NetworkPolicy speaks of.
#[derive(Debug, Clone)]
pub enum Peer {
    /// `namespaceSelector` and `podSelector`, of which one at least is there.
    Pods(Option<Selector>, Option<Selector>),
    /// `ipBlock`: `cidr` and `except`.
    Block(Cidr, Vec<Cidr>),
}

/// A port of a rule, on the receiving side.
#[derive(Debug, Clone)]
pub struct Port {
    /// Left out, it is TCP; in a ClusterNetworkPolicy a name alone stands for the port of that name, whatever its protocol.
    pub protocol: Option<Protocol>,
    /// Which port.
    pub which: Which,
}

/// Which port of a protocol.
#[derive(Debug, Clone, Copy)]
pub enum Which {
    /// All of them.
    All,
    /// This one.
    One(u16),
    /// `port` to `endPort`.
    Range(u16, u16),
    /// The one that the receiving container calls so.
    Named(&'static str),
}

/// A rule of a NetworkPolicy: any of the peers on any of the ports. An empty list of either stands for all.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// `from` or `to`.
    pub peers: Vec<Peer>,
    /// `ports`.
    pub ports: Vec<Port>,
}

/// A `networking.k8s.io/v1` NetworkPolicy.
#[derive(Debug, Clone)]
pub struct NetworkPolicy {
    /// Its namespace.
    pub namespace: &'static str,
    /// Its name.
    pub name: String,
    /// `podSelector`.
    pub pods: Selector,
    /// `policyTypes`; empty: left out.
    pub types: Vec<Direction>,
    /// `ingress`, where it is written.
    pub ingress: Option<Vec<Rule>>,
    /// `egress`, where it is written.
    pub egress: Option<Vec<Rule>>,
}

/// Where a ClusterNetworkPolicy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Before all NetworkPolicies.
    Admin,
    /// After them.
    Baseline,
}

/// What a rule of a ClusterNetworkPolicy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It passes.
    Accept,
    /// It does not.
    Deny,
    /// The next tier is asked.
    Pass,
}

/// Whom a rule of a ClusterNetworkPolicy speaks of, and whom such a policy is about.
#[derive(Debug, Clone)]
pub enum ClusterPeer {
    /// `namespaces`.
    Namespaces(Selector),
    /// `pods`: `namespaceSelector` and `podSelector`.
    Pods(Selector, Selector),
    /// `networks`; for egress only.
    Networks(Vec<Cidr>),
}

/// A rule of a ClusterNetworkPolicy.
#[derive(Debug, Clone)]
pub struct ClusterRule {
    /// What it does.
    pub action: Action,
    /// `from` or `to`.
    pub peers: Vec<ClusterPeer>,
    /// `protocols`; empty: all.
    pub ports: Vec<Port>,
}

/// A `policy.networking.k8s.io/v1alpha2` ClusterNetworkPolicy.
#[derive(Debug, Clone)]
pub struct ClusterPolicy {
    /// Its name.
    pub name: String,
    /// Its tier.
    pub tier: Tier,
    /// Its priority: the lower number goes first.
    pub priority: u16,
    /// `subject`; not [`ClusterPeer::Networks`].
    pub subject: ClusterPeer,
    /// Rules in order.
    pub ingress: Vec<ClusterRule>,
    /// Rules in order.
    pub egress: Vec<ClusterRule>,
}

/// A policy of either kind.
#[derive(Debug, Clone)]
pub enum Policy {
    /// Of a namespace.
    Network(NetworkPolicy),
    /// Of all.
    Cluster(ClusterPolicy),
}

impl Policy {
    /// What it is known by.
    pub fn name(&self) -> String {
        match self {
            Self::Network(policy) => format!("{}/{}", policy.namespace, policy.name),
            Self::Cluster(policy) => policy.name.clone(),
        }
    }
}

/// A container as policies see it.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Its name.
    pub name: &'static str,
    /// Its namespace.
    pub namespace: &'static str,
    /// Its labels.
    pub labels: Vec<Label>,
    /// The names of its ports.
    pub named: Vec<(&'static str, Protocol, u16)>,
}

/// The namespaces that there are, with their labels.
pub type Namespaces = Vec<(&'static str, Vec<Label>)>;
