//! Flows under the names that were true when they were seen, and what policies would say of them.

use std::net::IpAddr;

use netd_abi::{Counters, Direction, Why, flow::FlowKey, policy::NO_RULE};
use netd_api::{
    flow::{FlowEnd, FlowEvent, FlowQuery, FlowView, FlowsView},
    message::{Reply, Request},
    policy::FlowVerdict,
};

use super::{
    FakeKernel, Reconciler, Stage,
    policy::{apply, container, lets_in, policed},
};
use crate::observe::flows::RawFlow;

fn mapped(address: &str) -> [u8; 16] {
    match address.parse().unwrap() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// A connection that somebody opened to the port of a database.
fn incoming(slot: u32, local: &str, remote: &str, why: Why) -> RawFlow {
    let key = FlowKey {
        slot: u16::try_from(slot).unwrap(),
        local: mapped(local),
        remote: mapped(remote),
        local_port: 5432_u16.to_be_bytes(),
        remote_port: 40_000_u16.to_be_bytes(),
        protocol: 6,
        padding: 0,
    };
    RawFlow {
        event: FlowEvent::Closed,
        key,
        began: 1000.0,
        last_seen: 1010.0,
        counters: [Counters { packets: 3, bytes: 300, segments: 3 }, Counters::default()],
        rule: NO_RULE,
        why: why.number(),
        opener: Direction::ToContainer,
        flags: [0x12, 0x02],
    }
}

fn flows(daemon: &mut Reconciler<FakeKernel>, query: FlowQuery) -> FlowsView {
    match daemon.ask(&Request::Flows(query)) {
        Ok(Reply::Flows(view)) => *view,
        other => panic!("{other:?}"),
    }
}

/// A database, who may ask it and who may not, and the number and address of the first.
fn stage() -> (Stage, Reconciler<FakeKernel>, u32) {
    let stage = Stage::new();
    let mut daemon = policed(&stage);
    daemon.ask(&container("web")).unwrap();
    daemon.ask(&container("cache")).unwrap();
    let slot = daemon.desired.find(&"db".parse().unwrap()).unwrap().attachments[0].slot;
    (stage, daemon, slot)
}

#[test]
fn both_ends_have_names_and_a_query_picks() {
    let (_stage, mut daemon, slot) = stage();
    let denied = RawFlow { event: FlowEvent::Denied, last_seen: 2000.0, ..incoming(slot, "10.9.0.2", "10.9.0.4", Why::DropPolicy) };
    daemon.record_flows(vec![incoming(slot, "10.9.0.2", "10.9.0.3", Why::Forward), denied], 0);
    daemon.record_flows(vec![incoming(slot, "10.9.0.2", "10.9.0.1", Why::Forward), incoming(77, "10.9.0.9", "10.9.0.1", Why::Forward)], 5);
    let all = flows(&mut daemon, FlowQuery::default());
    assert_eq!((all.flows.len(), all.last, all.lost, all.forgotten), (3, 3, 5, 0), "nobody knows the number 77");
    let name = |view: &FlowView| view.remote.name.as_ref().map(ToString::to_string);
    assert_eq!(all.flows.iter().map(name).collect::<Vec<_>>(), [Some("web".to_owned()), Some("cache".to_owned()), None]);
    assert_eq!(all.flows.iter().map(|view| view.remote.host).collect::<Vec<_>>(), [false, false, true]);
    let view = &all.flows[0];
    assert_eq!((view.container.name.as_ref().unwrap().as_str(), view.container.port, view.remote.port), ("db", 5432, 40_000));
    assert_eq!((view.direction.as_str(), view.protocol.as_str(), view.reason.as_str()), ("ingress", "tcp", Why::Forward.name()));
    assert_eq!((view.sent.packets, view.received.packets, view.flags_sent.as_str(), view.flags_received.as_str()), (3, 0, "S.", "S"));
    let numbers = |view: FlowsView| view.flows.iter().map(|flow| flow.number).collect::<Vec<_>>();
    let dropped = FlowQuery { verdict: Some(FlowVerdict::Drop), ..FlowQuery::default() };
    assert_eq!(numbers(flows(&mut daemon, dropped)), [2]);
    assert_eq!(numbers(flows(&mut daemon, FlowQuery { since: Some(1500), ..FlowQuery::default() })), [2]);
    assert_eq!(numbers(flows(&mut daemon, FlowQuery { after: Some(2), ..FlowQuery::default() })), [3]);
    let of = |name: &str| FlowQuery { container: Some(name.parse().unwrap()), ..FlowQuery::default() };
    assert_eq!(numbers(flows(&mut daemon, of("db"))), [1, 2, 3]);
    assert_eq!(numbers(flows(&mut daemon, of("web"))), [] as [u64; 0], "its own end of the first is a record of its own");
}

#[test]
fn a_record_that_comes_late_has_the_name_of_who_went_also_when_its_number_is_somebody_elses() {
    let (_stage, mut daemon, slot) = stage();
    daemon.ask(&Request::RemoveContainer("db".parse().unwrap())).unwrap();
    daemon.record_flows(vec![incoming(slot, "10.9.0.2", "10.9.0.3", Why::Forward)], 0);
    daemon.ask(&container("next")).unwrap();
    let next = daemon.desired.find(&"next".parse().unwrap()).unwrap().attachments[0].clone();
    let its_own = next.addresses[0].addr().to_string();
    daemon.record_flows(
        vec![incoming(slot, "10.9.0.2", "10.9.0.3", Why::Forward), incoming(next.slot, &its_own, "10.9.0.3", Why::Forward)],
        0,
    );
    let names: Vec<_> = flows(&mut daemon, FlowQuery::default()).flows.into_iter().filter_map(|flow| flow.container.name).collect();
    assert_eq!(names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["db", "db", "next"]);
}

/// A time when all who are here now are here.
const LATER: f64 = 1e12;

#[test]
fn both_ends_are_who_had_the_addresses_when_it_began() {
    let (_stage, mut daemon, slot) = stage();
    for (name, address) in [("db", "10.9.0.2"), ("web", "10.9.0.3")] {
        daemon.ask(&Request::RemoveContainer(name.parse().unwrap())).unwrap();
        let next =
            format!(r#"{{"name":"next-{name}","labels":{{"app":"db"}},"networks":[{{"network":"web","addresses":["{address}"]}}]}}"#);
        daemon.ask(&Request::CreateContainer(serde_json::from_str(&next).unwrap())).unwrap();
    }
    let flow = incoming(slot, "10.9.0.2", "10.9.0.3", Why::Forward);
    daemon.record_flows(vec![flow.clone(), RawFlow { began: LATER, ..flow }], 0);
    let name = |end: FlowEnd| end.name.unwrap().to_string();
    let ends: Vec<_> =
        flows(&mut daemon, FlowQuery::default()).flows.into_iter().map(|flow| (name(flow.container), name(flow.remote))).collect();
    assert_eq!(ends, [("db".to_owned(), "web".to_owned()), ("next-db".to_owned(), "next-web".to_owned())]);
    let Ok(Reply::PoliciesApplied(applied)) = daemon.ask(&apply(&lets_in("p", "cache"), true)) else { panic!("no answer") };
    assert_eq!(applied.judged_flows, 1, "of those who went nothing would be said");
}

#[test]
fn the_rule_that_decided_is_named_in_whole_words() {
    let (_stage, mut daemon, slot) = stage();
    let book = daemon.policing.book.as_ref().unwrap();
    let rules: Vec<u32> = book.rules().keys().copied().collect();
    let by = |rule| RawFlow { rule, ..incoming(slot, "10.9.0.2", "10.9.0.3", Why::Forward) };
    daemon.record_flows(rules.into_iter().chain([NO_RULE]).map(by).collect(), 0);
    let mut said: Vec<_> = flows(&mut daemon, FlowQuery::default()).flows.into_iter().map(|flow| flow.rule).collect();
    said.sort();
    let rule = |words: &str| Some(words.to_owned());
    assert_eq!(said, [None, rule("policy default/p ingress (no rule matches)"), rule("policy default/p ingress rule 1")]);
}

#[test]
fn a_dry_run_says_what_would_be_judged_otherwise_and_changes_nothing() {
    let (stage, mut daemon, slot) = stage();
    let of = |remote, why| incoming(slot, "10.9.0.2", remote, why);
    let guarded = of("10.9.0.4", Why::ALL.into_iter().find(|why| why.name().contains("mac")).unwrap());
    let host = of("10.9.0.1", Why::Forward);
    daemon.record_flows(vec![of("10.9.0.3", Why::Forward), of("10.9.0.4", Why::DropPolicy), guarded, host], 0);
    let before = (daemon.desired.clone(), stage.kernel.world().verdicts.clone());
    let Ok(Reply::PoliciesApplied(applied)) = daemon.ask(&apply(&lets_in("p", "cache"), true)) else { panic!("no answer") };
    assert_eq!(applied.judged_flows, 3, "what a guard stopped no policy would let through");
    let changed: Vec<_> = applied.changed_flows.iter().map(|changed| (changed.flow.remote.address.to_string(), changed.verdict)).collect();
    assert_eq!(changed, [("10.9.0.3".to_owned(), FlowVerdict::Drop), ("10.9.0.4".to_owned(), FlowVerdict::Forward)]);
    let rules: Vec<_> = applied.changed_flows.iter().map(|changed| changed.rule.as_str()).collect();
    assert_eq!(rules, ["policy default/p ingress (no rule matches)", "policy default/p ingress rule 1"]);
    assert!(daemon.desired == before.0 && stage.kernel.world().verdicts == before.1);
}

#[test]
fn what_a_container_was_seen_to_need_is_a_policy_that_can_be_applied() {
    let (_stage, mut daemon, slot) = stage();
    daemon.record_flows(vec![incoming(slot, "10.9.0.2", "10.9.0.3", Why::Forward)], 0);
    let Ok(Reply::Advice(advice)) = daemon.ask(&Request::Advise("db".parse().unwrap())) else { panic!("no answer") };
    assert_eq!(advice.flows, 1);
    assert!(advice.policy.contains("5432") && advice.policy.contains("app: web"), "{advice:?}");
    daemon.ask(&apply(&advice.policy, false)).unwrap();
}

/// A connection that the container with this address made to the database's published port.
fn through_published(daemon: &Reconciler<FakeKernel>, name: &str, local: &str) -> RawFlow {
    let slot = daemon.desired.find(&name.parse().unwrap()).unwrap().attachments[0].slot;
    let incoming = incoming(slot, local, "10.9.0.1", Why::Forward);
    let key = FlowKey { local_port: 40_000_u16.to_be_bytes(), remote_port: 11_002_u16.to_be_bytes(), ..incoming.key };
    RawFlow { key, opener: Direction::FromContainer, ..incoming }
}

#[test]
fn a_dry_run_judges_a_connection_to_a_published_port_as_one_to_its_target() {
    let (_stage, mut daemon, _) = stage();
    let flow = through_published(&daemon, "web", "10.9.0.3");
    daemon.record_flows(vec![flow.clone(), RawFlow { event: FlowEvent::New, ..flow }], 0);
    let mut changed = |policy: &str| {
        let Ok(Reply::PoliciesApplied(applied)) = daemon.ask(&apply(policy, true)) else { panic!("no answer") };
        assert_eq!(applied.judged_flows, 1, "it began and closed, and was one");
        applied.changed_flows.into_iter().map(|changed| (changed.verdict, changed.rule)).collect::<Vec<_>>()
    };
    assert_eq!(changed(&lets_in("p", "web")), [], "as it is");
    assert_eq!(changed(&lets_in("p", "cache")), [(FlowVerdict::Drop, "policy default/p ingress (no rule matches)".to_owned())]);
    let sends = |port: u16| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: out}}\nspec:\n  podSelector: {{matchLabels: {{app: web}}}}\n  \
             policyTypes: [Egress]\n  egress:\n  - to: [{{podSelector: {{matchLabels: {{app: db}}}}}}]\n    ports: [{{port: {port}}}]\n"
        )
    };
    assert_eq!(changed(&sends(5432)), [], "the target's port counts");
    assert_eq!(changed(&sends(11_002)), [(FlowVerdict::Drop, "policy default/out egress (no rule matches)".to_owned())]);
}

#[test]
fn what_came_by_a_published_port_is_advised_to_both_ends_as_what_it_is() {
    let (_stage, mut daemon, slot) = stage();
    let at_target = incoming(slot, "10.9.0.2", "10.9.0.1", Why::Forward);
    daemon.record_flows(vec![through_published(&daemon, "web", "10.9.0.3"), at_target], 0);
    for (name, other) in [("db", "app: web"), ("web", "app: db")] {
        let Ok(Reply::Advice(advice)) = daemon.ask(&Request::Advise(name.parse().unwrap())) else { panic!("no answer") };
        assert!(advice.policy.contains(other) && advice.policy.contains("5432") && !advice.policy.contains("10.9.0.1"), "{advice:?}");
        daemon.ask(&apply(&advice.policy, false)).unwrap();
    }
}
