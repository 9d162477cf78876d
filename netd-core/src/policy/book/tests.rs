//! Policies, containers and questions in few words, for the tests below. Decides nothing that it tests.

mod cutting;
mod limits;
mod mirror;
mod naive;
mod numbers;
mod scale;
mod stories;
mod tiers;
mod walk;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use ipnet::IpNet;
use netd_abi::policy::Verdict;
use netd_api::{
    names::Namespace,
    publish::{PortRange, Protocol},
    spec::Labels,
};

use super::{
    Book,
    number::Numbers,
    steps::Steps,
    wish::{ByDefault, Direction, Placed, Pod, Wish},
};
use crate::policy::{
    model::{
        Block, Body, ClusterAction, ClusterPeer, ClusterPolicy, ClusterRule, Condition, Expression, Manner, NetworkPolicy, Peer, Policy,
        PolicyName, Port, Rule, Selector, Subject, Tier, WhichPort,
    },
    pod::tests::labels,
};

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;

fn ns(name: &str) -> Namespace {
    name.parse().expect("a namespace")
}

fn ip(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

fn net(prefix: &str) -> IpNet {
    prefix.parse().expect("a prefix")
}

/// `a=b c=d`
/// `a=b c=d`; nothing selects all.
fn select(given: &str) -> Selector {
    Selector { labels: labels(given), expressions: Vec::new() }
}

fn express(key: &str, condition: Condition) -> Selector {
    Selector { labels: Labels::new(), expressions: vec![Expression { key: key.parse().expect("a key"), condition }] }
}

fn pod(namespace: &str, given: &str) -> Pod {
    Pod { namespace: ns(namespace), labels: labels(given), ports: BTreeMap::new() }
}

fn with_port(mut pod: Pod, name: &str, port: u16) -> Pod {
    pod.ports.insert(name.to_owned(), vec![(Protocol::Tcp, port)]);
    pod
}

fn placed(pod: Pod, address: &str) -> Option<Placed> {
    Some(Placed { pod: Arc::new(pod), addresses: vec![ip(address)] })
}

/// Those pods of the policy's own namespace.
fn pods(given: &str) -> Peer {
    Peer::Pods { namespaces: None, pods: select(given) }
}

/// Those pods of those namespaces.
fn pods_of(namespaces: &str, given: &str) -> Peer {
    Peer::Pods { namespaces: Some(select(namespaces)), pods: select(given) }
}

fn block(cidr: &str, except: &[&str]) -> Peer {
    Peer::Block(Block { cidr: net(cidr), except: except.iter().map(|except| net(except)).collect() })
}

fn tcp(first: u16, last: u16) -> Port {
    Port { protocol: Some(Protocol::Tcp), which: WhichPort::Range(PortRange { first, last }) }
}

fn named(name: &str) -> Port {
    Port { protocol: Some(Protocol::Tcp), which: WhichPort::Named(name.to_owned()) }
}

fn rule(peers: &[Peer], ports: &[Port]) -> Rule {
    Rule { peers: peers.to_vec(), ports: ports.to_vec() }
}

fn policy(name: PolicyName, body: Body, manner: Manner) -> Policy {
    let source = format!("{manner:?} {body:?}");
    Policy { name, manner, body, source }
}

/// `namespace/name`.
fn network(name: &str, pods: &str, ingress: Option<Vec<Rule>>, egress: Option<Vec<Rule>>) -> Policy {
    let (namespace, name) = name.split_once('/').expect("namespace/name");
    let name = PolicyName { namespace: Some(ns(namespace)), name: name.to_owned() };
    policy(name, Body::Network(NetworkPolicy { pods: select(pods), ingress, egress }), Manner::default())
}

fn cluster(name: &str, tier: Tier, priority: u16, pods: &str, ingress: Vec<ClusterRule>, egress: Vec<ClusterRule>) -> Policy {
    let subject = Subject { namespaces: Selector::default(), pods: select(pods) };
    let name = PolicyName { namespace: None, name: name.to_owned() };
    policy(name, Body::Cluster(ClusterPolicy { tier, priority, subject, ingress, egress }), Manner::default())
}

fn cluster_rule(action: ClusterAction, peers: &[ClusterPeer], ports: &[Port]) -> ClusterRule {
    ClusterRule { name: None, action, peers: peers.to_vec(), ports: ports.to_vec() }
}

fn all_pods(given: &str) -> ClusterPeer {
    ClusterPeer::Pods(Subject { namespaces: Selector::default(), pods: select(given) })
}

fn audited(mut policy: Policy) -> Policy {
    policy.manner.audit = true;
    policy.source.push_str(" audit");
    policy
}

fn rejecting(mut policy: Policy) -> Policy {
    policy.manner.reject = true;
    policy.source.push_str(" reject");
    policy
}

fn wish(policies: Vec<Policy>) -> Wish {
    let policies = policies.into_iter().map(|policy| (policy.name.clone(), Arc::new(policy))).collect();
    Wish { policies: Arc::new(policies), ..Wish::default() }
}

fn denying(policies: Vec<Policy>) -> Wish {
    Wish { default: ByDefault::Deny, ..wish(policies) }
}

/// A book with this wish and these containers, in slots from 1 on.
fn book(wish: Wish, containers: Vec<Option<Placed>>) -> Book {
    let mut book = Book::new(Numbers::new(), 1);
    book.set(wish).expect("it fits").expect_done();
    for (slot, container) in (1..).zip(containers) {
        book.place(slot, container).expect("it fits").expect_done();
    }
    book
}

impl Steps {
    /// Where the entries alone are of interest.
    fn expect_done(self) {}
}

impl Book {
    fn ask(&self, slot: u32, direction: Direction, remote: &str, protocol: u8, port: u16) -> Verdict {
        Verdict::from_number(self.judge(self.sets(slot), direction, ip(remote), protocol, port).verdict)
    }

    fn comes(&self, slot: u32, remote: &str, port: u16) -> Verdict {
        self.ask(slot, Direction::Ingress, remote, TCP, port)
    }

    fn goes(&self, slot: u32, remote: &str, port: u16) -> Verdict {
        self.ask(slot, Direction::Egress, remote, TCP, port)
    }

    /// What is said to have decided on a TCP connection that comes.
    fn reason(&self, slot: u32, remote: &str, port: u16) -> String {
        let answer = self.judge(self.sets(slot), Direction::Ingress, ip(remote), TCP, port);
        self.rule(answer.rule).map_or_else(String::new, ToString::to_string)
    }
}
