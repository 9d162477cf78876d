//! Puts policies in order and resolves what does not depend on containers. Never resolves what does.

use std::collections::BTreeMap;

use netd_api::names::Namespace;

use super::{Action, Atom, Law, Rule, Span, Stage, Statute, Way, kind_of};
use crate::policy::{
    book::{
        division::Division,
        find::Scope,
        limit::{Limit, TooLarge},
        number::{Register, RuleId, RuleName, token},
        steps::Write,
        wish::{ByDefault, Direction, Wish},
    },
    model::{Block, Body, ClusterAction, ClusterPeer, Peer, Policy, PolicyName, Port, Selector, Tier, WhichPort},
};

/// What a rule says, whichever kind of policy it is of.
struct Said {
    action: Action,
    name: Option<String>,
    everybody: bool,
    pods: Vec<(Scope, Selector)>,
    hosts: Vec<Selector>,
    blocks: Vec<Block>,
    ports: Vec<Port>,
}

impl Law {
    /// All policies of a wish, their rules with numbers. New numbers that have to be zeroed go to `writes`.
    pub(in crate::policy::book) fn enact(wish: &Wish, register: &mut Register, writes: &mut Vec<Write>) -> Result<Self, TooLarge> {
        let law = Self {
            governs: !wish.policies.is_empty() || wish.default == ByDefault::Deny,
            default: wish.default,
            namespaces: wish.namespaces.clone(),
            ..Self::default()
        };
        let mut enacting = Enacting { law, wish, register, writes, pods: BTreeMap::new(), blocks: BTreeMap::new() };
        let mut ordered: Vec<_> = wish.policies.values().map(|policy| (stage(policy), policy)).collect();
        ordered.sort_by_key(|((stage, priority), policy)| (*stage, *priority, &policy.name));
        for ((stage, _), policy) in ordered {
            enacting.policy(stage, policy)?;
        }
        let Enacting { mut law, blocks, pods, .. } = enacting;
        for ((scope, selector), atom) in pods {
            law.peers.add(scope, selector, atom);
        }
        law.division = Division::new(blocks.iter().map(|(blocks, atom)| (*atom, blocks.as_slice())))?;
        Ok(law)
    }
}

fn stage(policy: &Policy) -> (Stage, u16) {
    match &policy.body {
        Body::Network(_) => (Stage::Network, 0),
        Body::Cluster(body) => (if body.tier == Tier::Admin { Stage::Admin } else { Stage::Baseline }, body.priority),
    }
}

struct Enacting<'a> {
    law: Law,
    wish: &'a Wish,
    register: &'a mut Register,
    writes: &'a mut Vec<Write>,
    pods: BTreeMap<(Scope, Selector), u32>,
    blocks: BTreeMap<Vec<Block>, u32>,
}

impl Enacting<'_> {
    fn policy(&mut self, stage: Stage, policy: &Policy) -> Result<(), TooLarge> {
        let number = u32::try_from(self.law.statutes.len()).unwrap_or(u32::MAX);
        let (scope, pods, said, tier) = match &policy.body {
            Body::Network(body) => {
                let own = policy.name.namespace.clone().unwrap_or_default();
                let said = [&body.ingress, &body.egress]
                    .map(|rules| rules.as_ref().map(|rules| rules.iter().map(|rule| network(rule, &own)).collect()));
                (Scope::Own(own), body.pods.clone(), said, None)
            }
            Body::Cluster(body) => {
                let said = [&body.ingress, &body.egress].map(|rules| (!rules.is_empty()).then(|| rules.iter().map(cluster).collect()));
                (Scope::Chosen(body.subject.namespaces.clone()), body.subject.pods.clone(), said, Some(body.tier))
            }
        };
        self.law.subjects.add(scope, pods, number);
        let statute = Statute {
            name: policy.name.clone(),
            token: token(policy),
            stage,
            audit: policy.manner.audit,
            reject: policy.manner.reject,
            ways: [Way::default(), Way::default()],
        };
        self.law.statutes.push(statute);
        for (direction, said) in Direction::ALL.into_iter().zip(said) {
            if let Some(said) = said {
                self.way(number, direction, said, tier)?;
            }
        }
        Ok(())
    }

    fn way(&mut self, statute: u32, direction: Direction, said: Vec<Said>, tier: Option<Tier>) -> Result<(), TooLarge> {
        let way = direction.index();
        let next = |law: &Law| u32::try_from(law.rules[way].len()).unwrap_or(u32::MAX);
        let first = next(&self.law);
        let (mut all_atoms, mut all_ports) = (Vec::new(), Vec::new());
        for (index, said) in said.into_iter().enumerate() {
            let rule = next(&self.law);
            let number = if said.action == Action::Pass { 0 } else { self.number(statute, direction, index + 1, tier, said.name.clone())? };
            let (spans, names) = ports(&said.ports);
            let atoms = self.atoms(&said, direction, &names);
            for atom in &atoms {
                self.law.atoms[*atom as usize].rules[way].push(rule);
            }
            all_atoms.extend(atoms);
            all_ports.extend(names.iter().map(|(_, name)| name.clone()));
            self.law.rules[way].push(Rule { statute, action: said.action, everybody: said.everybody, spans, names, number });
        }
        all_atoms.sort_unstable();
        all_atoms.dedup();
        all_ports.sort_unstable();
        all_ports.dedup();
        let rules = first..next(&self.law);
        self.law.statutes[statute as usize].ways[way] = Way { speaks: true, rules, atoms: all_atoms, ports: all_ports };
        Ok(())
    }

    fn number(
        &mut self,
        statute: u32,
        direction: Direction,
        rule: usize,
        tier: Option<Tier>,
        name: Option<String>,
    ) -> Result<u32, TooLarge> {
        let Statute { name: policy, token, .. } = &self.law.statutes[statute as usize];
        let rule_name = || RuleName { policies: vec![policy.clone()], tier, direction, rule: Some(rule), name, config_default: false };
        let id = RuleId::new(token, direction, Some(rule));
        self.register.give(id, rule_name, self.writes).map_err(|error| TooLarge {
            wanted: rules(self.wish),
            policy: longest(self.wish),
            ..error
        })
    }

    /// The atoms that a rule names. A port's name is one for a rule whose peers are everybody: those that have such a port.
    fn atoms(&mut self, said: &Said, direction: Direction, names: &[(Option<netd_api::publish::Protocol>, String)]) -> Vec<u32> {
        let mut atoms = Vec::new();
        let Self { law, wish, pods, blocks, .. } = self;
        let mut fresh = |named: bool| {
            law.atoms.push(Atom { named, ..Atom::default() });
            u32::try_from(law.atoms.len() - 1).unwrap_or(u32::MAX)
        };
        if direction == Direction::Egress {
            // Known also where peers are not everybody: what a peer calls its ports tells it from others.
            for (_, name) in names {
                let atom = *law.callers.entry(name.clone()).or_insert_with(|| fresh(true));
                atoms.extend(said.everybody.then_some(atom));
            }
        }
        if !said.everybody {
            for peer in &said.pods {
                atoms.push(*pods.entry(peer.clone()).or_insert_with(|| fresh(true)));
            }
            if said.hosts.iter().any(|selector| selector.selects(&wish.host.labels)) {
                atoms.push(*law.host.get_or_insert_with(|| fresh(false)));
            }
            if !said.blocks.is_empty() {
                let mut of_rule = said.blocks.clone();
                of_rule.sort_unstable();
                of_rule.dedup();
                atoms.push(*blocks.entry(of_rule).or_insert_with(|| fresh(false)));
            }
        }
        atoms.sort_unstable();
        atoms.dedup();
        atoms
    }
}

fn network(rule: &crate::policy::model::Rule, own: &Namespace) -> Said {
    let mut said = Said {
        action: Action::Accept,
        name: None,
        everybody: rule.peers.is_empty(),
        pods: Vec::new(),
        hosts: Vec::new(),
        blocks: Vec::new(),
        ports: rule.ports.clone(),
    };
    for peer in &rule.peers {
        match peer {
            Peer::Pods { namespaces: None, pods } => said.pods.push((Scope::Own(own.clone()), pods.clone())),
            Peer::Pods { namespaces: Some(namespaces), pods } => said.pods.push((Scope::Chosen(namespaces.clone()), pods.clone())),
            Peer::Block(block) => said.blocks.push(block.clone()),
        }
    }
    said
}

fn cluster(rule: &crate::policy::model::ClusterRule) -> Said {
    let action = match rule.action {
        ClusterAction::Accept => Action::Accept,
        ClusterAction::Deny => Action::Deny,
        ClusterAction::Pass => Action::Pass,
    };
    let mut said = Said {
        action,
        name: rule.name.clone(),
        everybody: false,
        pods: Vec::new(),
        hosts: Vec::new(),
        blocks: Vec::new(),
        ports: rule.ports.clone(),
    };
    for peer in &rule.peers {
        match peer {
            ClusterPeer::Pods(subject) => said.pods.push((Scope::Chosen(subject.namespaces.clone()), subject.pods.clone())),
            ClusterPeer::Nodes(selector) => said.hosts.push(selector.clone()),
            ClusterPeer::Networks(nets) => said.blocks.extend(nets.iter().map(|net| Block { cidr: *net, except: Vec::new() })),
        }
    }
    said
}

/// Ports by number and by name. No ports are all, of all protocols.
fn ports(ports: &[Port]) -> (Vec<Span>, Vec<(Option<netd_api::publish::Protocol>, String)>) {
    let (mut spans, mut names) = (Vec::new(), Vec::new());
    if ports.is_empty() {
        spans.extend((0..4).map(|kind| (kind, 0, u16::MAX)));
    }
    for Port { protocol, which } in ports {
        let kinds = protocol.map_or(0..3, |protocol| kind_of(protocol)..kind_of(protocol) + 1);
        match which {
            WhichPort::All => spans.extend(kinds.map(|kind| (kind, 0, u16::MAX))),
            WhichPort::Range(range) => spans.extend(kinds.map(|kind| (kind, range.first, range.last))),
            WhichPort::Named(name) => names.push((*protocol, name.clone())),
        }
    }
    (spans, names)
}

fn of_policy(policy: &Policy) -> usize {
    match &policy.body {
        Body::Network(body) => [&body.ingress, &body.egress].into_iter().flatten().map(Vec::len).sum(),
        Body::Cluster(body) => body.ingress.len() + body.egress.len(),
    }
}

fn rules(wish: &Wish) -> usize {
    wish.policies.values().map(|policy| of_policy(policy)).sum()
}

fn longest(wish: &Wish) -> Option<PolicyName> {
    wish.policies.values().max_by_key(|policy| of_policy(policy)).map(|policy| policy.name.clone())
}

/// The policy with the most prefixes of addresses.
pub(in crate::policy::book) fn most_blocks(wish: &Wish) -> Option<PolicyName> {
    let peers = |policy: &Policy| -> usize {
        match &policy.body {
            Body::Network(body) => {
                let rules = [&body.ingress, &body.egress].into_iter().flatten().flatten();
                let peers = rules.flat_map(|rule| &rule.peers);
                peers.map(|peer| if let Peer::Block(block) = peer { 1 + block.except.len() } else { 0 }).sum()
            }
            Body::Cluster(body) => {
                let peers = body.ingress.iter().chain(&body.egress).flat_map(|rule| &rule.peers);
                peers.map(|peer| if let ClusterPeer::Networks(nets) = peer { nets.len() } else { 0 }).sum()
            }
        }
    };
    wish.policies.values().max_by_key(|policy| peers(policy)).map(|policy| policy.name.clone())
}

impl TooLarge {
    /// With the policy to look at first, where it is about addresses.
    pub(in crate::policy::book) fn of(self, wish: &Wish) -> Self {
        let policy = match self.limit {
            Limit::Nets | Limit::Addresses | Limit::Overlaps if self.policy.is_none() => most_blocks(wish),
            _ => self.policy,
        };
        Self { policy, ..self }
    }
}
