//! What the policy engine is told: containers as pods, the host, namespaces, policies. Never computes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
};

use netd_api::{names::Namespace, publish::Protocol, spec::Labels};

use crate::policy::model::{Policy, PolicyName};

/// What policies can know of a container. Equal ones are one to them.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pod {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its labels.
    pub labels: Labels,
    /// What it calls its ports. One name may stand for ports of several protocols.
    pub ports: BTreeMap<String, Vec<(Protocol, u16)>>,
}

/// A container by one of its attachments: what it is, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// What it is.
    pub pod: Arc<Pod>,
    /// The addresses of this attachment.
    pub addresses: Vec<IpAddr>,
}

/// All that verdicts depend on beside the containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// The policies.
    pub policies: Arc<BTreeMap<PolicyName, Arc<Policy>>>,
    /// Labels of namespaces; `kubernetes.io/metadata.name` comes by itself, and a namespace that is not here has that one alone.
    pub namespaces: BTreeMap<Namespace, Labels>,
    /// The host.
    pub host: Host,
    /// What holds where nothing selects a container.
    pub default: ByDefault,
}

/// The host as a peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Its own addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// Its addresses as a gateway of networks: port 53 there is the DNS server's.
    pub gateways: BTreeSet<IpAddr>,
    /// Its labels, `kubernetes.io/hostname` at least.
    pub labels: Labels,
}

/// What the configuration says of containers that no policy selects in a direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ByDefault {
    /// Everything passes.
    #[default]
    Allow,
    /// Nothing passes but what a ClusterNetworkPolicy accepts.
    Deny,
}

/// Which connections of a container, in Kubernetes' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Those that come to it.
    Ingress,
    /// Those that it makes.
    Egress,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];

    pub(super) fn index(self) -> usize {
        match self {
            Self::Ingress => 0,
            Self::Egress => 1,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}
