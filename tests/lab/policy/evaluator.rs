//! What Kubernetes' documentation says of a connection. Written from the text of the API reference of NetworkPolicy (networking.k8s.io/v1)
//! and of ClusterNetworkPolicy (network-policy-api v1alpha2), as slow and as plain as that text. Never looks at netd.

use std::net::IpAddr;

use super::model::{
    Action, Cidr, ClusterPeer, ClusterPolicy, Direction, Label, Namespaces, NetworkPolicy, Operator, Peer, Pod, Policy, Port, Protocol,
    Rule, Selector, Tier, Which,
};

/// The label that every namespace has.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// One end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    /// Its address.
    pub address: IpAddr,
    /// The container, if it is one.
    pub pod: Option<&'a Pod>,
}

/// A connection that somebody tries to make.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Who.
    pub from: End<'a>,
    /// To whom.
    pub to: End<'a>,
    /// How.
    pub protocol: Protocol,
    /// To which port; 0 for ICMP.
    pub port: u16,
}

/// "For a connection from a source pod to a destination pod to be allowed, both the egress policy on the source pod and the ingress policy on
/// the destination pod need to allow the connection."
pub fn allows(policies: &[Policy], namespaces: &Namespaces, attempt: &Attempt<'_>) -> bool {
    let judge = Judge { policies, namespaces, attempt };
    judge.direction(Direction::Egress) && judge.direction(Direction::Ingress)
}

struct Judge<'a> {
    policies: &'a [Policy],
    namespaces: &'a Namespaces,
    attempt: &'a Attempt<'a>,
}

impl Judge<'_> {
    /// The tiers in their order: Admin, NetworkPolicy, Baseline; what none of them decides is allowed.
    fn direction(&self, direction: Direction) -> bool {
        let (own, peer) = match direction {
            Direction::Ingress => (self.attempt.to, self.attempt.from),
            Direction::Egress => (self.attempt.from, self.attempt.to),
        };
        let Some(pod) = own.pod else { return true };
        self.tier(Tier::Admin, direction, pod, peer)
            .or_else(|| self.network_policies(direction, pod, peer))
            .or_else(|| self.tier(Tier::Baseline, direction, pod, peer))
            .unwrap_or(true)
    }

    /// "Policies with lower priority values have higher precedence"; within one, "a rule that appears at the top … would take the highest
    /// precedence". Accept and Deny are final, Pass skips the rest of the tier.
    fn tier(&self, tier: Tier, direction: Direction, pod: &Pod, peer: End<'_>) -> Option<bool> {
        let mut all: Vec<&ClusterPolicy> =
            self.policies.iter().filter_map(|policy| if let Policy::Cluster(it) = policy { Some(it) } else { None }).collect();
        all.retain(|policy| policy.tier == tier && self.is_peer(&policy.subject, End { address: peer.address, pod: Some(pod) }));
        all.sort_by_key(|policy| policy.priority);
        for policy in all {
            let rules = if direction == Direction::Ingress { &policy.ingress } else { &policy.egress };
            for rule in rules {
                let matches = rule.peers.iter().any(|it| self.is_peer(it, peer)) && self.is_port(&rule.ports, None);
                match rule.action {
                    _ if !matches => {}
                    Action::Accept => return Some(true),
                    Action::Deny => return Some(false),
                    Action::Pass => return None,
                }
            }
        }
        None
    }

    /// "By default, a pod is non-isolated"; it is isolated for a direction "if there is any NetworkPolicy that both selects the pod and has
    /// [the direction] in its policyTypes". Then only what a rule of one of these allows is allowed: "the policies do not conflict, they are
    /// additive".
    fn network_policies(&self, direction: Direction, pod: &Pod, peer: End<'_>) -> Option<bool> {
        let mut isolated = false;
        for policy in self.policies {
            let Policy::Network(policy) = policy else { continue };
            if policy.namespace != pod.namespace || !selects(&policy.pods, &pod.labels) || !has_type(policy, direction) {
                continue;
            }
            isolated = true;
            let rules = if direction == Direction::Ingress { &policy.ingress } else { &policy.egress };
            if rules.iter().flatten().any(|rule| self.matches(rule, policy.namespace, peer)) {
                return Some(true);
            }
        }
        isolated.then_some(false)
    }

    /// An empty or missing `from` or `to` "matches all sources" or destinations; a non-empty one "allows traffic only if the traffic matches at
    /// least one item in the list"; so for `ports`.
    fn matches(&self, rule: &Rule, namespace: &str, peer: End<'_>) -> bool {
        let by_peer = rule.peers.is_empty()
            || rule.peers.iter().any(|it| match it {
                Peer::Block(cidr, except) => contains(cidr, peer.address) && !except.iter().any(|hole| contains(hole, peer.address)),
                Peer::Pods(namespaces, pods) => peer.pod.is_some_and(|pod| {
                    // Without namespaceSelector "in the policy's own namespace"; without podSelector "all pods" of the namespaces.
                    let in_namespace = match namespaces {
                        Some(selector) => self.selects_namespace(selector, pod.namespace),
                        None => pod.namespace == namespace,
                    };
                    in_namespace && pods.as_ref().is_none_or(|selector| selects(selector, &pod.labels))
                }),
            });
        by_peer && self.is_port(&rule.ports, Some(Protocol::Tcp))
    }

    /// Empty: all ports of all protocols. `unsaid`: which protocol is meant where none is said.
    fn is_port(&self, ports: &[Port], unsaid: Option<Protocol>) -> bool {
        let Attempt { protocol, port, to, .. } = *self.attempt;
        let is = |it: &Port| {
            let by_protocol = it.protocol.or(unsaid).is_none_or(|wanted| wanted == protocol);
            by_protocol
                && match it.which {
                    Which::All => true,
                    Which::One(wanted) => wanted == port,
                    Which::Range(first, last) => (first..=last).contains(&port),
                    Which::Named(name) => to.pod.is_some_and(|pod| pod.named.contains(&(name, protocol, port))),
                }
        };
        ports.is_empty() || ports.iter().any(is)
    }

    fn is_peer(&self, peer: &ClusterPeer, end: End<'_>) -> bool {
        match peer {
            ClusterPeer::Namespaces(selector) => end.pod.is_some_and(|pod| self.selects_namespace(selector, pod.namespace)),
            ClusterPeer::Pods(namespaces, pods) => {
                end.pod.is_some_and(|pod| self.selects_namespace(namespaces, pod.namespace) && selects(pods, &pod.labels))
            }
            // "Cluster-internal traffic will be checked against the rule as well."
            ClusterPeer::Networks(networks) => networks.iter().any(|cidr| contains(cidr, end.address)),
        }
    }

    fn selects_namespace(&self, selector: &Selector, namespace: &'static str) -> bool {
        let given = self.namespaces.iter().find(|(name, _)| *name == namespace).map(|(_, labels)| labels.as_slice());
        let mut labels = given.unwrap_or_default().to_vec();
        labels.push((NAME_LABEL, namespace));
        selects(selector, &labels)
    }
}

/// "If policyTypes is not specified", a policy is about ingress, and about egress too if it has any egress rules.
fn has_type(policy: &NetworkPolicy, direction: Direction) -> bool {
    if !policy.types.is_empty() {
        return policy.types.contains(&direction);
    }
    direction == Direction::Ingress || policy.egress.as_ref().is_some_and(|rules| !rules.is_empty())
}

/// "The requirements are ANDed." NotIn holds for a label that is not there, too.
fn selects(selector: &Selector, labels: &[Label]) -> bool {
    let value = |key: &str| labels.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
    selector.labels.iter().all(|(key, wanted)| value(key) == Some(*wanted))
        && selector.expressions.iter().all(|(key, operator)| match operator {
            Operator::In(values) => value(key).is_some_and(|value| values.contains(&value)),
            Operator::NotIn(values) => value(key).is_none_or(|value| !values.contains(&value)),
            Operator::Exists => value(key).is_some(),
            Operator::DoesNotExist => value(key).is_none(),
        })
}

fn contains(cidr: &Cidr, address: IpAddr) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 4),
        IpAddr::V6(v6) => (v6.to_bits(), 6),
    };
    let ((net, of), (address, family)) = (bits(cidr.address), bits(address));
    of == family && (cidr.length == 0 || (net ^ address) >> (128 - u32::from(cidr.length)) == 0)
}
