//! Policies are applied, seen and withdrawn; what they deny meets silence, or an answer where they say so, and in audit nothing but a record.

use std::time::{Duration, Instant};

use lab::{
    Container, Lab, Network, OUTSIDE_V4, OUTSIDE_V6, eventually,
    policy::{
        reach::{ECHO, sctp, tcp, udp},
        responder::Responder,
        yaml::{annotated_policy, network_policy},
    },
};
use netd_api::{
    addr::Family,
    flow::FlowEvent,
    policy::{FlowVerdict, PolicyChange},
};
use nix::sys::signal::Signal;

/// Nobody may come in.
const CLOSED: &str = "{podSelector: {}, policyTypes: [Ingress]}";
/// Nobody may go out.
const CAGED: &str = "{podSelector: {}, policyTypes: [Egress]}";
/// Only to port 80.
const ONLY_80: &str = "{podSelector: {}, ingress: [{ports: [{port: 80}]}]}";
/// So soon comes an answer that nobody waits for.
const AT_ONCE: Duration = Duration::from_millis(500);

fn server<'lab>(net: &Network<'lab>, name: &str) -> Container<'lab> {
    net.container(name).listens(80).listens(81).listens_udp(53)
}

#[test]
fn what_a_policy_denies_is_met_with_silence_by_every_protocol_and_both_families() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (net.container("a"), net.container("b"));
    let _answers = Responder::at(&a, &[80]);
    let all = [tcp(80), udp(80), sctp(80), ECHO];
    all.iter().for_each(|service| b.reaches(&a, *service));
    lab.applies(&network_policy("default/closed", CLOSED));
    all.iter().for_each(|service| b.reaches_not(&a, *service));
    all.iter().for_each(|service| lab.here().reaches(&a, *service));
    assert_eq!(a.denials(&net), ["drop_policy"]);
    lab.withdraws_policy("default/closed");
    all.iter().for_each(|service| b.reaches(&a, *service));
    lab.ends_clean();
}

#[test]
fn a_policy_is_applied_changed_seen_and_withdrawn() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (server(&net, "a"), net.container("b"));
    let applied = lab.applies(&network_policy("default/web", CLOSED));
    let [policy] = applied.policies.as_slice() else { panic!("{applied:?}") };
    assert_eq!((policy.name.to_string().as_str(), policy.change), ("default/web", PolicyChange::Created));
    assert_eq!(policy.selects, [a.name().clone(), b.name().clone()]);
    b.reaches_not(&a, tcp(80));
    let again = lab.applies(&network_policy("default/web", CLOSED));
    assert_eq!(again.policies[0].change, PolicyChange::Unchanged);
    let other = lab.applies(&network_policy("default/web", ONLY_80));
    assert_eq!(other.policies[0].change, PolicyChange::Changed);
    b.reaches(&a, tcp(80));
    b.reaches_not(&a, tcp(81));
    let view = lab.policy("default/web");
    assert_eq!((view.kind.as_str(), view.audit, view.reject), ("NetworkPolicy", false, false));
    assert!(view.source.contains("podSelector"), "{}", view.source);
    let hits = |rule: Option<u32>| view.rules.iter().filter(|it| it.rule == rule).map(|it| it.hits.packets).sum::<u64>();
    assert!(hits(Some(1)) > 0 && hits(None) > 0, "what was allowed and what no rule matched is counted: {:?}", view.rules);
    assert_eq!(a.inspect().policies["ingress"], ["default/web".parse().unwrap()]);
    assert!(!a.inspect().policies.contains_key("egress"));
    lab.withdraws_policy("default/web");
    assert_eq!(lab.policy_names(), Vec::<String>::new());
    b.reaches(&a, tcp(81));
    lab.ends_clean();
}

#[test]
fn a_policy_of_one_direction_leaves_the_other_alone() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (server(&net, "a"), server(&net, "b"));
    a.becomes("app", "caged");
    lab.applies(&network_policy("default/caged", "{podSelector: {matchLabels: {app: caged}}, policyTypes: [Egress]}"));
    a.reaches_not(&b, tcp(80));
    b.reaches(&a, tcp(80));
    lab.withdraws_policy("default/caged");
    lab.applies(&network_policy("default/closed", "{podSelector: {matchLabels: {app: caged}}, policyTypes: [Ingress]}"));
    a.reaches(&b, tcp(80));
    b.reaches_not(&a, tcp(80));
    lab.ends_clean();
}

#[test]
fn an_audited_policy_drops_nothing_and_counts_and_records_what_it_would() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (server(&net, "a"), net.container("b"));
    lab.applies(&annotated_policy("default/tried", "netd.io/audit", ONLY_80));
    b.reaches(&a, tcp(80));
    b.reaches(&a, tcp(81));
    b.reaches(&a, udp(53));
    b.reaches(&a, ECHO);
    let flow = a.expect_flow(FlowEvent::Denied, FlowVerdict::Audit, |flow| flow.protocol == "tcp" && flow.container.port == 81);
    assert_eq!((flow.reason.as_str(), flow.policy.map(|name| name.to_string()).as_deref()), ("audit_policy", Some("default/tried")));
    assert!(a.counted(&net, "audit_policy") > 0);
    assert_eq!((a.denials(&net), a.counted(&net, "drop_policy")), (vec![], 0));
    assert_eq!(lab.policy_status().audit, ["default/tried".parse().unwrap()], "status says that it drops nothing");
    assert!(lab.policy("default/tried").audit);
    lab.netd().restart();
    b.reaches(&a, tcp(81));
    // What another policy denies is denied.
    lab.applies(&network_policy("default/closed", CLOSED));
    b.reaches_not(&a, tcp(81));
    lab.ends_clean();
}

#[test]
fn a_rejecting_policy_answers_at_once_over_both_families() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (server(&net, "a"), net.container("b"));
    lab.applies(&annotated_policy("default/closed", "netd.io/reject", CLOSED));
    for family in Family::BOTH {
        let begun = Instant::now();
        b.tries((a.address(family), 80)).expect_refused();
        b.tries_to_ask((a.address(family), 53)).expect_unreachable();
        assert!(begun.elapsed() < AT_ONCE, "refused after {:?}", begun.elapsed());
    }
    assert_eq!(a.denials(&net), ["reject_policy"]);
    assert!(b.counted(&net, "made_reset") + a.counted(&net, "made_reset") > 0, "what netd makes is counted apart");
    assert!(b.counted(&net, "made_unreachable") + a.counted(&net, "made_unreachable") > 0);
    lab.ends_clean();
}

#[test]
fn a_rejecting_policy_answers_the_container_that_may_not_go_out() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (server(&net, "a"), net.container("b"));
    lab.outside().serves(80).serves_udp(53);
    b.becomes("app", "caged");
    let caged = "{podSelector: {matchLabels: {app: caged}}, policyTypes: [Egress]}";
    lab.applies(&annotated_policy("default/caged", "netd.io/reject", caged));
    b.is_refused(&a, tcp(80));
    b.is_refused(&a, udp(53));
    for outside in [OUTSIDE_V4, OUTSIDE_V6] {
        b.tries((outside, 80)).expect_refused();
        b.tries_to_ask((outside, 53)).expect_unreachable();
    }
    lab.ends_clean();
}

#[test]
fn a_rejecting_policy_tells_clients_of_sctp_and_of_echo_both_ways() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (net.container("a"), net.container("b"));
    let _answers = [&a, &b].map(|container| Responder::at(container, &[80]));
    let told = || [&a, &b].map(|container| container.counted(&net, "made_unreachable")).iter().sum::<u64>();
    // Where it would come in, and where it would go out.
    for spec in [CLOSED, CAGED] {
        lab.applies(&annotated_policy("default/refusing", "netd.io/reject", spec));
        let before = told();
        for service in [sctp(80), ECHO] {
            b.is_refused(&a, service);
            a.is_refused(&b, service);
        }
        assert_eq!(told() - before, 8, "each of two tells, by two protocols and over two families");
    }
    assert_eq!(a.counted(&net, "made_reset") + b.counted(&net, "made_reset"), 0);
    [&a, &b].iter().for_each(|container| assert_eq!(container.denials(&net), ["reject_policy"]));
    lab.ends_clean();
}

#[test]
fn a_denied_client_waits_in_vain_where_the_policy_does_not_answer() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (server(&net, "a"), net.container("b"));
    lab.applies(&network_policy("default/caged", CAGED));
    for family in Family::BOTH {
        b.tries((a.address(family), 80)).expect_silence();
        b.tries_to_ask((a.address(family), 53)).expect_silence();
        assert!(b.cannot_ping(a.address(family)));
    }
    assert_eq!(b.denials(&net), ["drop_policy"]);
    lab.ends_clean();
}

#[test]
fn policy_is_the_same_for_all_networks_of_a_container() {
    let lab = Lab::new();
    let (one, two) = (lab.network("one"), lab.network("two"));
    let a = lab.new_container("a").on(&one).on(&two).made().listens(80);
    let (b, c) = (one.container("b"), two.container("c"));
    lab.applies(&network_policy("default/only-b", "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: b}}}]}]}"));
    b.becomes("app", "b");
    b.reaches(&a, tcp(80));
    for family in Family::BOTH {
        c.tries((a.address_on(&two, family), 80)).expect_silence();
    }
    c.becomes("app", "b");
    for family in Family::BOTH {
        c.fetches((a.address_on(&two, family), 80)).expect_from(&a);
    }
    lab.ends_clean();
}

#[test]
fn where_the_configuration_denies_nothing_passes_until_a_policy_allows_it() {
    let lab = Lab::bare();
    lab.outside().serves(80);
    lab.configures("[policy]\ndefault = \"deny\"\n");
    lab.starts();
    assert_eq!(lab.policy_status().default, "deny");
    let net = lab.network("web");
    let (a, b) = (server(&net, "a"), net.container("b"));
    a.publishes("8080:80");
    let closed = || {
        [tcp(80), udp(53), ECHO].iter().for_each(|service| b.reaches_not(&a, *service));
        [OUTSIDE_V4, OUTSIDE_V6].into_iter().for_each(|outside| b.tries((outside, 80)).expect_silence());
        lab.outside().tries((lab::HOST_V4, 8080)).expect_silence();
        lab.here().reaches(&a, tcp(80));
    };
    closed();
    let denied = b.expect_flow(FlowEvent::Denied, FlowVerdict::Drop, |flow| flow.protocol == "tcp");
    assert_eq!((denied.policy, denied.rule.as_deref()), (None, Some("configured default egress (no policy selects it)")));
    // A policy of one direction says nothing of the other, which stays closed.
    lab.applies(&network_policy("default/in", ONLY_80));
    b.reaches_not(&a, tcp(80));
    lab.outside().fetches((lab::HOST_V4, 8080)).expect_from(&a);
    lab.applies(&network_policy("default/out", "{podSelector: {}, policyTypes: [Egress], egress: [{}]}"));
    b.reaches(&a, tcp(80));
    b.reaches_not(&a, tcp(81));
    lab.outside().fetches((lab::HOST_V4, 8080)).expect_from(&a);
    for outside in [OUTSIDE_V4, OUTSIDE_V6] {
        b.fetches((outside, 80)).expect_from(lab.outside());
    }
    let late = net.container("late");
    late.reaches(&a, tcp(80));
    ["default/in", "default/out"].iter().for_each(|name| lab.withdraws_policy(name));
    lab.netd().restart();
    closed();
    late.reaches_not(&a, tcp(80));
    // What the configuration says holds for all that are there, too.
    lab.configures("[policy]\ndefault = \"allow\"\n");
    lab.netd().signal(Signal::SIGHUP);
    eventually("the default is taken over", || (lab.policy_status().default == "allow").then_some(()));
    [tcp(80), tcp(81), udp(53), ECHO].iter().for_each(|service| b.reaches(&a, *service));
    net.container("later").reaches(&a, tcp(80));
    lab.ends_clean();
}
