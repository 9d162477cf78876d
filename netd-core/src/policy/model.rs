//! What policy files say, parsed: Kubernetes' own words, nothing resolved yet. Never looks at a container.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
pub use netd_api::policy::PolicyName;
use netd_api::{
    names::{LabelKey, LabelValue, Namespace},
    publish::{PortRange, Protocol},
    spec::Labels,
};

/// One policy, with the document that it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: PolicyName,
    /// Annotations of ours.
    pub manner: Manner,
    /// What it says.
    pub body: Body,
    /// The document as YAML, without `status` and without metadata that netd ignores; it parses to this policy again.
    pub source: String,
}

/// How a policy's denials are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Manner {
    /// `netd.io/audit: "true"`: what would be dropped because of it passes, and is counted and logged.
    pub audit: bool,
    /// `netd.io/reject: "true"`: what is dropped because of it is answered.
    pub reject: bool,
}

/// What a policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// `networking.k8s.io/v1` NetworkPolicy.
    Network(NetworkPolicy),
    /// `policy.networking.k8s.io/v1alpha2` ClusterNetworkPolicy.
    Cluster(ClusterPolicy),
}

/// Allows what it lists to and from the containers that it selects, which are isolated otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// Which containers of its own namespace.
    pub pods: Selector,
    /// Who may come in; none: it says nothing of that (`policyTypes`), an empty list: nobody.
    pub ingress: Option<Vec<Rule>>,
    /// Where they may go; as above.
    pub egress: Option<Vec<Rule>>,
}

/// What one rule of a NetworkPolicy allows: any of these peers on any of these ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// From or to whom; empty: everybody (`from: []` and no `from` mean the same).
    pub peers: Vec<Peer>,
    /// On which ports of the receiving side; empty: all, and all protocols.
    pub ports: Vec<Port>,
}

/// Whom a rule speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Containers: those that `pods` selects in the namespaces that `namespaces` selects; without `namespaces`: in the policy's own.
    Pods {
        /// `namespaceSelector`.
        namespaces: Option<Selector>,
        /// `podSelector`; the empty one, which selects all, where it is left out.
        pods: Selector,
    },
    /// `ipBlock`: addresses of anybody, containers' too.
    Block(Block),
}

/// Addresses in a prefix, but for those in `except`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    /// The prefix, host bits zero.
    pub cidr: IpNet,
    /// Prefixes inside it, host bits zero.
    pub except: Vec<IpNet>,
}

impl Block {
    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.cidr.contains(&address) && !self.except.iter().any(|except| except.contains(&address))
    }
}

/// A port or several, of one protocol.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// The protocol. None: any that the name has (only `destinationNamedPort` leaves it open).
    pub protocol: Option<Protocol>,
    /// Which of its ports.
    pub which: WhichPort,
}

/// Which ports of a protocol.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WhichPort {
    /// All.
    All,
    /// From the first to the last (`port` and `endPort`).
    Range(PortRange),
    /// The one that the receiving container calls so; a container that has no port of the name is not reached by it.
    Named(String),
}

/// Rules above and below all NetworkPolicies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterPolicy {
    /// Above or below.
    pub tier: Tier,
    /// 0 to 1000; the lower number goes first in its tier. Of equal ones the name decides (the specification leaves it open).
    pub priority: u16,
    /// Which containers.
    pub subject: Subject,
    /// Rules in order; the first that matches decides.
    pub ingress: Vec<ClusterRule>,
    /// As above.
    pub egress: Vec<ClusterRule>,
}

/// Where a ClusterNetworkPolicy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Before all NetworkPolicies.
    Admin,
    /// After them, for what no NetworkPolicy isolates.
    Baseline,
}

/// Which containers: all of some namespaces, or some of those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// `namespaces`, or `namespaceSelector` of `pods`.
    pub namespaces: Selector,
    /// `podSelector` of `pods`; else the empty one, which selects all.
    pub pods: Selector,
}

/// One rule of a ClusterNetworkPolicy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRule {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What it does.
    pub action: ClusterAction,
    /// From or to whom; at least one.
    pub peers: Vec<ClusterPeer>,
    /// `protocols`; empty: all.
    pub ports: Vec<Port>,
}

/// What a rule of a ClusterNetworkPolicy does with what it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterAction {
    /// It passes, and nobody else is asked.
    Accept,
    /// It does not, and nobody else is asked.
    Deny,
    /// The rest of this tier is not asked.
    Pass,
}

/// Whom a rule of a ClusterNetworkPolicy speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterPeer {
    /// Containers.
    Pods(Subject),
    /// `nodes`, for egress: this host's own addresses, if its labels are selected. A host without Kubernetes has the label `kubernetes.io/hostname` alone.
    Nodes(Selector),
    /// `networks`, for egress: addresses of anybody.
    Networks(Vec<IpNet>),
}

/// A label selector: all of its conditions hold. The empty one selects everything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Selector {
    /// `matchLabels`.
    pub labels: BTreeMap<LabelKey, LabelValue>,
    /// `matchExpressions`.
    pub expressions: Vec<Expression>,
}

/// One of `matchExpressions`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expression {
    /// Of which label.
    pub key: LabelKey,
    /// What must hold of it.
    pub condition: Condition,
}

/// What must hold of a label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// It is there with one of these values.
    In(Vec<LabelValue>),
    /// It is not there, or with none of these values.
    NotIn(Vec<LabelValue>),
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

impl Selector {
    /// Whether labels satisfy it.
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.expressions.iter().all(|expression| {
                let value = labels.get(&expression.key);
                match &expression.condition {
                    Condition::In(values) => value.is_some_and(|value| values.contains(value)),
                    Condition::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                    Condition::Exists => value.is_some(),
                    Condition::DoesNotExist => value.is_none(),
                }
            })
    }
}

/// A namespace's labels, as a `v1` Namespace object gives them; `kubernetes.io/metadata.name` comes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceLabels {
    /// The namespace.
    pub namespace: Namespace,
    /// Its labels.
    pub labels: Labels,
}
