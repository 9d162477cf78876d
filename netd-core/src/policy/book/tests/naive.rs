//! What policies mean, word by word from the Kubernetes text, asking every rule every time. The engine is compared with it.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use netd_abi::policy::Verdict;
use netd_api::{publish::Protocol, spec::Labels};

use super::{labels, pod};
use crate::policy::{
    book::{
        number::RuleName,
        wish::{ByDefault, Direction, Placed, Pod, Wish},
    },
    model::{Body, ClusterAction, ClusterPeer, ClusterPolicy, NetworkPolicy, Peer, Policy, PolicyName, Port, Selector, Tier, WhichPort},
};

pub(super) struct Naive<'a> {
    pub(super) wish: &'a Wish,
    pub(super) slots: &'a BTreeMap<u32, Placed>,
}

/// Who decides: the policies, and which rule of them.
type Reason = (Vec<PolicyName>, Option<usize>);

#[derive(Clone)]
enum Remote {
    Pod(Arc<Pod>),
    Host,
    World,
}

struct Question<'a> {
    direction: Direction,
    subject: &'a Pod,
    remote: Remote,
    address: IpAddr,
    protocol: u8,
    port: u16,
}

impl Naive<'_> {
    pub(super) fn ask(&self, slot: u32, direction: Direction, address: IpAddr, protocol: u8, port: u16) -> (Verdict, Option<Reason>) {
        let Some(placed) = self.slots.get(&slot) else { return (Verdict::Forward, None) };
        let is_dns = direction == Direction::Egress && port == 53 && [6, 17].contains(&protocol);
        let remote = self.remote(address, is_dns);
        let question = Question { direction, subject: &placed.pod, remote, address, protocol, port };
        let enforced = self.view(&question, false);
        let all = self.view(&question, true);
        if enforced.0.passes() && !all.0.passes() { (Verdict::Audit, all.1) } else { enforced }
    }

    fn remote(&self, address: IpAddr, is_dns: bool) -> Remote {
        let host = &self.wish.host;
        if let Some(placed) = self.slots.values().find(|placed| placed.addresses.contains(&address)) {
            Remote::Pod(Arc::clone(&placed.pod))
        } else if host.gateways.contains(&address) && is_dns {
            let mut dns = pod("kube-system", "k8s-app=kube-dns");
            dns.ports.insert("dns".to_owned(), vec![(Protocol::Udp, 53)]);
            dns.ports.insert("dns-tcp".to_owned(), vec![(Protocol::Tcp, 53)]);
            Remote::Pod(Arc::new(dns))
        } else if host.addresses.contains(&address) || host.gateways.contains(&address) {
            Remote::Host
        } else {
            Remote::World
        }
    }

    fn view(&self, question: &Question<'_>, with_audit: bool) -> (Verdict, Option<Reason>) {
        let policies: Vec<&Policy> =
            self.wish.policies.values().map(|policy| &**policy).filter(|policy| with_audit || !policy.manner.audit).collect();
        if let Some(decided) = self.tier(question, &policies, Tier::Admin) {
            return decided;
        }
        let mut isolating = Vec::new();
        for policy in &policies {
            let Body::Network(body) = &policy.body else { continue };
            let rules = if question.direction == Direction::Ingress { &body.ingress } else { &body.egress };
            if policy.name.namespace.as_ref() == Some(&question.subject.namespace)
                && body.pods.selects(&question.subject.labels)
                && rules.is_some()
            {
                isolating.push((*policy, body));
            }
        }
        for (policy, body) in &isolating {
            if let Some(rule) = self.allows(question, policy, body) {
                return (Verdict::Forward, Some((vec![policy.name.clone()], Some(rule))));
            }
        }
        if !isolating.is_empty() {
            let reject = isolating.iter().any(|(policy, _)| policy.manner.reject);
            let names = isolating.iter().map(|(policy, _)| policy.name.clone()).collect();
            return (if reject { Verdict::Reject } else { Verdict::Drop }, Some((names, None)));
        }
        self.tier(question, &policies, Tier::Baseline).unwrap_or(match self.wish.default {
            ByDefault::Allow => (Verdict::Forward, None),
            ByDefault::Deny => (Verdict::Drop, Some((Vec::new(), None))),
        })
    }

    fn tier(&self, question: &Question<'_>, policies: &[&Policy], tier: Tier) -> Option<(Verdict, Option<Reason>)> {
        let mut ordered: Vec<(&Policy, &ClusterPolicy)> = Vec::new();
        for policy in policies {
            if let Body::Cluster(body) = &policy.body
                && body.tier == tier
                && body.subject.namespaces.selects(&self.namespace(question.subject))
                && body.subject.pods.selects(&question.subject.labels)
            {
                ordered.push((policy, body));
            }
        }
        ordered.sort_by_key(|(policy, body)| (body.priority, policy.name.clone()));
        for (policy, body) in ordered {
            let rules = if question.direction == Direction::Ingress { &body.ingress } else { &body.egress };
            for (n, rule) in rules.iter().enumerate() {
                let matches = rule.peers.iter().any(|peer| match peer {
                    ClusterPeer::Pods(subject) => {
                        self.is_pod(question, |labels| subject.namespaces.selects(labels), &subject.pods)
                            && Self::port(question, &rule.ports, true)
                    }
                    ClusterPeer::Nodes(nodes) => {
                        matches!(question.remote, Remote::Host)
                            && nodes.selects(&self.wish.host.labels)
                            && Self::port(question, &rule.ports, false)
                    }
                    ClusterPeer::Networks(nets) => {
                        nets.iter().any(|net| net.contains(&question.address)) && Self::port(question, &rule.ports, false)
                    }
                });
                let reason = Some((vec![policy.name.clone()], Some(n + 1)));
                match rule.action {
                    _ if !matches => {}
                    ClusterAction::Accept => return Some((Verdict::Forward, reason)),
                    ClusterAction::Deny => return Some((if policy.manner.reject { Verdict::Reject } else { Verdict::Drop }, reason)),
                    ClusterAction::Pass => return None,
                }
            }
        }
        None
    }

    fn allows(&self, question: &Question<'_>, policy: &Policy, body: &NetworkPolicy) -> Option<usize> {
        let rules = if question.direction == Direction::Ingress { &body.ingress } else { &body.egress };
        let found = rules.iter().flatten().position(|rule| {
            let everybody = rule.peers.is_empty() && Self::port(question, &rule.ports, true);
            everybody
                || rule.peers.iter().any(|peer| match peer {
                    Peer::Pods { namespaces: None, pods } => {
                        let Remote::Pod(remote) = &question.remote else { return false };
                        policy.name.namespace.as_ref() == Some(&remote.namespace)
                            && pods.selects(&remote.labels)
                            && Self::port(question, &rule.ports, true)
                    }
                    Peer::Pods { namespaces: Some(namespaces), pods } => {
                        self.is_pod(question, |labels| namespaces.selects(labels), pods) && Self::port(question, &rule.ports, true)
                    }
                    Peer::Block(block) => block.contains(question.address) && Self::port(question, &rule.ports, false),
                })
        });
        Some(found? + 1)
    }

    fn is_pod(&self, question: &Question<'_>, namespaces: impl Fn(&Labels) -> bool, pods: &Selector) -> bool {
        let Remote::Pod(remote) = &question.remote else { return false };
        namespaces(&self.namespace(remote)) && pods.selects(&remote.labels)
    }

    fn namespace(&self, pod: &Pod) -> Labels {
        let mut all = self.wish.namespaces.get(&pod.namespace).cloned().unwrap_or_default();
        all.extend(labels(&format!("kubernetes.io/metadata.name={}", pod.namespace)));
        all
    }

    /// `as_pod`: the peer is meant as a container, whose names for its ports count.
    fn port(question: &Question<'_>, ports: &[Port], as_pod: bool) -> bool {
        let receiver = match (question.direction, &question.remote) {
            (Direction::Ingress, _) => Some(question.subject),
            (Direction::Egress, Remote::Pod(remote)) if as_pod => Some(&**remote),
            (Direction::Egress, _) => None,
        };
        let is = |protocol: Protocol| protocol.number() == question.protocol;
        ports.is_empty()
            || ports.iter().any(|port| {
                let protocol = port.protocol.map_or([6, 17, 132].contains(&question.protocol), is);
                protocol
                    && match &port.which {
                        WhichPort::All => true,
                        WhichPort::Range(range) => (range.first..=range.last).contains(&question.port),
                        WhichPort::Named(name) => receiver
                            .and_then(|receiver| receiver.ports.get(name))
                            .is_some_and(|ports| ports.iter().any(|(of, port)| is(*of) && *port == question.port)),
                    }
            })
    }
}

/// The engine's name of a rule, in the same form.
pub(super) fn reason(name: Option<&RuleName>) -> Option<Reason> {
    name.map(|name| (name.policies.clone(), name.rule))
}
