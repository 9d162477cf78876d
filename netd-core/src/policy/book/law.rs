//! All policies in the order in which they are asked, and what finds those that matter for a container. Never sees an address in use.

mod enact;

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use netd_api::{names::Namespace, publish::Protocol, spec::Labels};

use super::{
    division::Division,
    find::Finder,
    wish::{ByDefault, Direction, Pod},
};
use crate::policy::{model::PolicyName, pod::namespace_labels};

/// What a container calls its ports, as far as it matters.
pub(super) type Ports = BTreeMap<String, Vec<(Protocol, u16)>>;

/// In which order policies are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Admin,
    Network,
    Baseline,
}

/// What a rule does where it is the first of its stage that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Accept,
    Deny,
    Pass,
}

/// The kinds of protocols that the maps tell apart, by index: TCP, UDP, SCTP and all others.
pub(super) const PROTOCOLS: [u8; 4] = [6, 17, 132, netd_abi::policy::OTHER_PROTOCOL];

pub(super) fn kind_of(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 0,
        Protocol::Udp => 1,
        Protocol::Sctp => 2,
    }
}

/// The first to the last of the ports of a kind of protocol.
pub(super) type Span = (u8, u16, u16);

/// One rule of a policy.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// Which of [`Law::statutes`] it is of.
    pub(super) statute: u32,
    pub(super) action: Action,
    /// Its peers are everybody.
    pub(super) everybody: bool,
    /// Ports given by number.
    pub(super) spans: Vec<Span>,
    /// Ports given by name.
    pub(super) names: Vec<(Option<Protocol>, String)>,
    pub(super) number: u32,
}

/// One policy.
#[derive(Debug, Clone)]
pub(super) struct Statute {
    pub(super) name: PolicyName,
    /// See [`super::number::token`].
    pub(super) token: String,
    pub(super) stage: Stage,
    pub(super) audit: bool,
    pub(super) reject: bool,
    pub(super) ways: [Way; 2],
}

/// What a policy says of one direction.
#[derive(Debug, Clone, Default)]
pub(super) struct Way {
    /// It says something.
    pub(super) speaks: bool,
    /// Which of [`Law::rules`] are its own.
    pub(super) rules: Range<u32>,
    /// Kinds of peers that they name, ascending.
    pub(super) atoms: Vec<u32>,
    /// Names of ports that they name.
    pub(super) ports: Vec<String>,
}

/// A kind of peers that rules name: an atom of what they can know of a packet.
#[derive(Debug, Clone, Default)]
pub(super) struct Atom {
    /// Its members have ports with names: they are containers, and the rule means them as such.
    pub(super) named: bool,
    /// Rules that name it, ascending, by direction.
    pub(super) rules: [Vec<u32>; 2],
}

/// All policies.
#[derive(Debug, Clone, Default)]
pub(super) struct Law {
    /// There is something to ask.
    pub(super) governs: bool,
    pub(super) default: ByDefault,
    /// In the order in which they are asked.
    pub(super) statutes: Vec<Statute>,
    /// Theirs, in the same order, by direction.
    pub(super) rules: [Vec<Rule>; 2],
    pub(super) atoms: Vec<Atom>,
    pub(super) division: Division,
    /// The atom that is this host, if a rule names it.
    pub(super) host: Option<u32>,
    namespaces: BTreeMap<Namespace, Labels>,
    subjects: Finder,
    peers: Finder,
    /// The atom of those that have a port of this name.
    callers: BTreeMap<String, u32>,
}

/// Whom rules take somebody for. Those that no rule tells apart are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    World,
    Host,
    Pod(Arc<Signature>),
}

/// What rules know of a container as a peer.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Signature {
    pub(super) atoms: Vec<u32>,
    pub(super) ports: Ports,
}

/// What makes a rule set: the policies that select a container in a direction, and for ingress what it calls the ports that they name.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Content {
    pub(super) statutes: Vec<u32>,
    pub(super) ports: Ports,
}

impl Law {
    /// Nothing is governed.
    pub(super) fn is_idle(&self) -> bool {
        !self.governs
    }

    fn labels_of(&self, namespace: &Namespace) -> Labels {
        namespace_labels(&self.namespaces, namespace)
    }

    /// Whom rules take a container for.
    pub(super) fn who(&self, pod: &Pod) -> Who {
        let mut atoms = self.peers.find(pod, &self.labels_of(&pod.namespace));
        let ports: Ports =
            pod.ports.iter().filter(|(name, _)| self.callers.contains_key(*name)).map(|(n, p)| (n.clone(), p.clone())).collect();
        atoms.extend(ports.keys().filter_map(|name| self.callers.get(name)));
        atoms.sort_unstable();
        if atoms.is_empty() { Who::World } else { Who::Pod(Arc::new(Signature { atoms, ports })) }
    }

    /// Whom rules take the host for.
    pub(super) fn who_host(&self) -> Who {
        if self.host.is_some() { Who::Host } else { Who::World }
    }

    /// What governs a container, by direction.
    pub(super) fn contents(&self, pod: &Pod) -> [Option<Content>; 2] {
        if self.is_idle() {
            return [None, None];
        }
        let selected = self.subjects.find(pod, &self.labels_of(&pod.namespace));
        Direction::ALL.map(|direction| {
            let way = |statute: &u32| &self.statutes[*statute as usize].ways[direction.index()];
            let statutes: Vec<u32> = selected.iter().copied().filter(|statute| way(statute).speaks).collect();
            if statutes.is_empty() && self.default == ByDefault::Allow {
                return None;
            }
            let names = statutes.iter().filter(|_| direction == Direction::Ingress).flat_map(|statute| &way(statute).ports);
            let ports = names.filter_map(|name| Some((name.clone(), pod.ports.get(name)?.clone()))).collect();
            Some(Content { statutes, ports })
        })
    }

    /// All atoms that somebody of an address class is a member of, ascending.
    pub(super) fn atoms_of(&self, who: &Who, class: u32) -> Vec<u32> {
        let own = match who {
            Who::World => &[],
            Who::Host => self.host.as_slice(),
            Who::Pod(signature) => signature.atoms.as_slice(),
        };
        let mut atoms = [own, self.division.classes.get(class as usize).map_or(&[], Vec::as_slice)].concat();
        atoms.sort_unstable();
        atoms
    }

    /// The policies' names in a content, which mean the same in another law.
    pub(super) fn names_of(&self, content: &Content) -> Vec<&PolicyName> {
        content.statutes.iter().map(|statute| &self.statutes[*statute as usize].name).collect()
    }
}
