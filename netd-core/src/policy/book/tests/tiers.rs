//! ClusterNetworkPolicies above and below NetworkPolicies.

use super::*;
use crate::policy::book::wish::Host;
use ClusterAction::{Accept, Deny, Pass};
use Verdict::{Audit, Drop, Forward, Reject};

fn containers() -> Vec<Option<Placed>> {
    vec![
        placed(pod("default", "app=db"), "10.0.0.1"),
        placed(pod("default", "app=api"), "10.0.0.2"),
        placed(pod("default", "app=web"), "10.0.0.3"),
    ]
}

fn admin(name: &str, priority: u16, rules: Vec<ClusterRule>) -> Policy {
    cluster(name, Tier::Admin, priority, "app=db", rules, vec![])
}

fn from_api() -> Policy {
    network("default/from-api", "app=db", Some(vec![rule(&[pods("app=api")], &[])]), None)
}

#[test]
fn the_admin_tier_goes_before_and_the_baseline_after() {
    let deny_api = admin("deny-api", 1, vec![cluster_rule(Deny, &[all_pods("app=api")], &[tcp(22, 22)])]);
    let base = cluster("base", Tier::Baseline, 1, "", vec![cluster_rule(Deny, &[all_pods("")], &[])], vec![]);
    let book = book(wish(vec![deny_api, from_api(), base]), containers());
    assert_eq!((book.comes(1, "10.0.0.2", 22), book.comes(1, "10.0.0.2", 80), book.comes(1, "10.0.0.3", 80)), (Drop, Forward, Drop));
    assert_eq!(book.reason(1, "10.0.0.2", 22), "policy admin tier deny-api ingress rule 1");
    assert_eq!(book.reason(1, "10.0.0.3", 80), "policy default/from-api ingress (no rule matches)");
    assert_eq!((book.comes(2, "10.0.0.1", 80), book.comes(2, "192.0.2.1", 80)), (Drop, Forward));
    assert_eq!(book.reason(2, "10.0.0.1", 80), "policy baseline tier base ingress rule 1");
}

#[test]
fn the_lower_priority_number_then_the_name_then_the_order_of_rules_decide() {
    let rules = |action| vec![cluster_rule(action, &[all_pods("app=api")], &[])];
    let decided = |policies| book(wish(policies), containers()).comes(1, "10.0.0.2", 80);
    assert_eq!(decided(vec![admin("a", 2, rules(Deny)), admin("b", 1, rules(Accept))]), Forward);
    assert_eq!(decided(vec![admin("a", 1, rules(Deny)), admin("b", 1, rules(Accept))]), Drop);
    assert_eq!(decided(vec![admin("a", 1, [rules(Accept), rules(Deny)].concat())]), Forward);
}

#[test]
fn pass_skips_the_rest_of_its_tier() {
    let pass = admin("pass", 1, vec![cluster_rule(Pass, &[all_pods("app=api")], &[tcp(80, 90)])]);
    let deny = admin("then-deny", 2, vec![cluster_rule(Deny, &[all_pods("")], &[])]);
    let book = book(wish(vec![pass, deny, from_api()]), containers());
    assert_eq!([79, 80, 90, 91].map(|port| book.comes(1, "10.0.0.2", port)), [Drop, Forward, Forward, Drop]);
    assert_eq!(book.comes(1, "10.0.0.3", 80), Drop);
}

#[test]
fn a_denied_connection_of_a_tier_can_be_answered() {
    let deny = rejecting(admin("deny", 1, vec![cluster_rule(Deny, &[all_pods("app=api")], &[])]));
    assert_eq!(book(wish(vec![deny]), containers()).comes(1, "10.0.0.2", 80), Reject);
}

#[test]
fn a_tier_in_audit_is_only_watched() {
    let deny = audited(admin("deny", 1, vec![cluster_rule(Deny, &[all_pods("")], &[tcp(80, 80)])]));
    let accept = audited(admin("accept", 0, vec![cluster_rule(Accept, &[all_pods("app=web")], &[])]));
    let book = book(wish(vec![deny, accept, from_api()]), containers());
    assert_eq!((book.comes(1, "10.0.0.2", 80), book.comes(1, "10.0.0.2", 81), book.comes(1, "10.0.0.3", 80)), (Audit, Forward, Drop));
}

#[test]
fn an_accepted_connection_passes_a_configuration_that_denies() {
    let accept = admin("accept", 1, vec![cluster_rule(Accept, &[all_pods("app=api")], &[])]);
    let base = cluster("base", Tier::Baseline, 1, "app=db", vec![cluster_rule(Accept, &[all_pods("app=web")], &[tcp(80, 80)])], vec![]);
    let book = book(denying(vec![accept, base]), containers());
    assert_eq!((book.comes(1, "10.0.0.2", 80), book.comes(1, "10.0.0.3", 80), book.comes(1, "10.0.0.3", 81)), (Forward, Forward, Drop));
    assert_eq!(book.reason(1, "10.0.0.3", 81), "configured default ingress (no policy selects it)");
}

#[test]
fn nodes_are_this_host_if_its_labels_are_selected_and_not_its_dns_server() {
    let host =
        Host { addresses: [ip("203.0.113.1")].into(), gateways: [ip("10.0.0.254")].into(), labels: labels("kubernetes.io/hostname=here") };
    let deny = |name: &str| {
        let nodes = ClusterPeer::Nodes(select(&format!("kubernetes.io/hostname={name}")));
        cluster("no-host", Tier::Admin, 1, "", vec![], vec![cluster_rule(Deny, &[nodes], &[])])
    };
    let here = book(Wish { host: host.clone(), ..wish(vec![deny("here")]) }, containers());
    assert_eq!((here.goes(1, "203.0.113.1", 22), here.goes(1, "10.0.0.254", 22), here.goes(1, "10.0.0.254", 53)), (Drop, Drop, Forward));
    assert_eq!(here.goes(1, "192.0.2.1", 22), Forward);
    let there = book(Wish { host, ..wish(vec![deny("there")]) }, containers());
    assert_eq!(there.goes(1, "203.0.113.1", 22), Forward);
}

#[test]
fn networks_are_addresses_of_anybody() {
    let nets = ClusterPeer::Networks(vec![net("10.0.0.0/24"), net("192.0.2.0/24")]);
    let deny = cluster("no-nets", Tier::Admin, 1, "app=db", vec![], vec![cluster_rule(Deny, &[nets], &[])]);
    let book = book(wish(vec![deny]), containers());
    assert_eq!(["10.0.0.2", "192.0.2.1", "198.51.100.1"].map(|to| book.goes(1, to, 80)), [Drop, Drop, Forward]);
}

#[test]
fn a_destination_named_port_is_of_any_protocol_that_has_the_name() {
    let any = Port { protocol: None, which: WhichPort::Named("dns".to_owned()) };
    let deny = cluster("no-dns", Tier::Admin, 1, "app=db", vec![], vec![cluster_rule(Deny, &[all_pods("")], &[any])]);
    let mut server = pod("default", "app=dns");
    server.ports.insert("dns".to_owned(), vec![(Protocol::Tcp, 5353), (Protocol::Udp, 53)]);
    let book = book(wish(vec![deny]), vec![placed(pod("default", "app=db"), "10.0.0.1"), placed(server, "10.0.0.2")]);
    assert_eq!((book.goes(1, "10.0.0.2", 5353), book.goes(1, "10.0.0.2", 53)), (Drop, Forward));
    assert_eq!(book.ask(1, Direction::Egress, "10.0.0.2", UDP, 53), Drop);
}
