//! Policies made up from a seed: whatever the documentation allows to be written, and nobody would. The same seed gives the same policies.

use super::model::{
    Action, Cidr, ClusterPeer, ClusterPolicy, ClusterRule, Direction, Label, NetworkPolicy, Operator, Peer, Policy, Port, Protocol, Rule,
    Selector, Tier, Which,
};

/// What the policies may speak of.
#[derive(Debug, Clone)]
pub struct Words {
    /// Namespaces.
    pub namespaces: Vec<&'static str>,
    /// Labels of containers.
    pub pod_labels: Vec<Label>,
    /// Labels of namespaces.
    pub namespace_labels: Vec<Label>,
    /// Ports.
    pub ports: Vec<u16>,
    /// Names of ports.
    pub port_names: Vec<&'static str>,
    /// Prefixes, each with one inside it.
    pub blocks: Vec<(Cidr, Cidr)>,
}

/// Numbers from a seed: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % u64::try_from(end).expect("a small number")).expect("below a usize")
    }

    fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn some<T>(&mut self, least: usize, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = least + self.below(most - least + 1);
        (0..count).map(|_| make(self)).collect()
    }

    /// One to three policies, of which no two of a tier have the same priority.
    pub fn policies(&mut self, words: &Words) -> Vec<Policy> {
        let count = 1 + self.below(3);
        let make = |at: usize| {
            if self.one_in(3) {
                // The documentation leaves open which of two with the same priority goes first.
                let priority = u16::try_from(at * 300 + self.below(300)).expect("below 1000");
                Policy::Cluster(self.cluster(words, format!("random-{at}"), priority))
            } else {
                Policy::Network(self.network(words, format!("random-{at}")))
            }
        };
        (0..count).map(make).collect()
    }

    fn network(&mut self, words: &Words, name: String) -> NetworkPolicy {
        let types = match self.below(4) {
            0 => Vec::new(),
            1 => vec![Direction::Ingress],
            2 => vec![Direction::Egress],
            _ => Direction::BOTH.to_vec(),
        };
        let rules = |chance: &mut Self| (!chance.one_in(3)).then(|| chance.some(0, 2, |chance| chance.rule(words)));
        let (ingress, egress) = (rules(self), rules(self));
        NetworkPolicy { namespace: self.one_of(&words.namespaces), name, pods: self.selector(&words.pod_labels), types, ingress, egress }
    }

    fn rule(&mut self, words: &Words) -> Rule {
        Rule { peers: self.some(0, 2, |chance| chance.peer(words)), ports: self.some(0, 2, |chance| chance.port(words)) }
    }

    fn peer(&mut self, words: &Words) -> Peer {
        match self.below(4) {
            0 => {
                let (cidr, hole) = self.one_of(&words.blocks);
                Peer::Block(cidr, if self.one_in(2) { vec![hole] } else { Vec::new() })
            }
            1 => Peer::Pods(None, Some(self.selector(&words.pod_labels))),
            2 => Peer::Pods(Some(self.selector(&words.namespace_labels)), None),
            _ => Peer::Pods(Some(self.selector(&words.namespace_labels)), Some(self.selector(&words.pod_labels))),
        }
    }

    fn port(&mut self, words: &Words) -> Port {
        let protocol = if self.one_in(4) { None } else { Some(self.one_of(&Protocol::WITH_PORTS)) };
        Port { protocol, which: self.which(words) }
    }

    fn which(&mut self, words: &Words) -> Which {
        match self.below(5) {
            0 => Which::All,
            1 => Which::Named(self.one_of(&words.port_names)),
            2 => {
                let first = self.one_of(&words.ports);
                Which::Range(first, first + u16::try_from(1 + self.below(2000)).expect("below 2001"))
            }
            _ => Which::One(self.one_of(&words.ports)),
        }
    }

    fn selector(&mut self, labels: &[Label]) -> Selector {
        let (key, value) = self.one_of(labels);
        match self.below(6) {
            0 => Selector::default(),
            1 => Selector::expression(key, Operator::In(vec![value, "nobody"])),
            2 => Selector::expression(key, Operator::NotIn(vec![value])),
            3 => Selector::expression(key, if self.one_in(2) { Operator::Exists } else { Operator::DoesNotExist }),
            _ => Selector::label(key, value),
        }
    }

    fn cluster(&mut self, words: &Words, name: String, priority: u16) -> ClusterPolicy {
        ClusterPolicy {
            name,
            tier: if self.one_in(2) { Tier::Admin } else { Tier::Baseline },
            priority,
            subject: self.cluster_peer(words),
            ingress: self.some(0, 3, |chance| chance.cluster_rule(words, Direction::Ingress)),
            egress: self.some(0, 3, |chance| chance.cluster_rule(words, Direction::Egress)),
        }
    }

    fn cluster_rule(&mut self, words: &Words, direction: Direction) -> ClusterRule {
        // The documentation forbids names of ports in a rule of networks.
        let of_networks = direction == Direction::Egress && self.one_in(3);
        let peers = if of_networks {
            vec![ClusterPeer::Networks(vec![self.one_of(&words.blocks).0, self.one_of(&words.blocks).1])]
        } else {
            self.some(1, 2, |chance| chance.cluster_peer(words))
        };
        let mut ports = self.some(0, 2, |chance| chance.cluster_port(words));
        ports.retain(|port| !of_networks || !matches!(port.which, Which::Named(_)));
        ClusterRule { action: self.one_of(&[Action::Accept, Action::Deny, Action::Pass]), peers, ports }
    }

    fn cluster_peer(&mut self, words: &Words) -> ClusterPeer {
        let namespaces = self.selector(&words.namespace_labels);
        if self.one_in(2) { ClusterPeer::Namespaces(namespaces) } else { ClusterPeer::Pods(namespaces, self.selector(&words.pod_labels)) }
    }

    fn cluster_port(&mut self, words: &Words) -> Port {
        match self.which(words) {
            // A name stands for whatever protocol it has.
            Which::Named(name) => Port { protocol: None, which: Which::Named(name) },
            which => Port { protocol: Some(self.one_of(&Protocol::WITH_PORTS)), which },
        }
    }
}
