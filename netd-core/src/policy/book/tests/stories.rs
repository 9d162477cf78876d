//! The traps of NetworkPolicy, one by one.

use super::*;
use crate::policy::book::wish::Host;
use Verdict::{Audit, Drop, Forward, Reject};

fn db() -> Option<Placed> {
    placed(pod("default", "app=db"), "10.0.0.1")
}

fn api() -> Option<Placed> {
    placed(pod("default", "app=api"), "10.0.0.2")
}

fn other() -> Option<Placed> {
    placed(pod("other", "app=api"), "10.0.0.3")
}

#[test]
fn without_policies_nothing_is_in_the_maps() {
    let mut empty = Book::new(Numbers::new(), 1);
    assert!(empty.set(wish(vec![])).unwrap().is_empty());
    assert!(empty.place(1, db()).unwrap().is_empty());
    assert_eq!(empty.fill(), crate::policy::book::Fill::default());
    assert_eq!(empty.comes(1, "192.0.2.1", 80), Forward);
}

#[test]
fn an_empty_pod_selector_selects_all_of_its_namespace_alone() {
    let book = book(wish(vec![network("default/deny", "", Some(vec![]), None)]), vec![db(), api(), other()]);
    assert_eq!((book.comes(1, "10.0.0.2", 80), book.comes(2, "10.0.0.1", 80)), (Drop, Drop));
    assert_eq!(book.comes(3, "10.0.0.1", 80), Forward);
    assert_eq!(book.sets(3), crate::policy::book::steps::Sets::default());
    assert_eq!(book.reason(1, "10.0.0.2", 80), "policy default/deny ingress (no rule matches)");
}

#[test]
fn an_empty_peer_in_from_is_all_of_the_namespace_and_no_from_is_everybody() {
    let all_here = network("default/here", "app=db", Some(vec![rule(&[pods("")], &[])]), None);
    let everybody = network("default/open", "app=api", Some(vec![rule(&[], &[])]), None);
    let book = book(wish(vec![all_here, everybody]), vec![db(), api(), other()]);
    assert_eq!((book.comes(1, "10.0.0.2", 80), book.comes(1, "10.0.0.3", 80), book.comes(1, "192.0.2.1", 80)), (Forward, Drop, Drop));
    assert_eq!((book.comes(2, "10.0.0.3", 80), book.comes(2, "192.0.2.1", 80)), (Forward, Forward));
    assert_eq!(book.ask(2, Direction::Ingress, "192.0.2.1", ICMP, 0), Forward);
}

#[test]
fn rules_with_ports_leave_other_protocols_out_and_rules_without_take_all_in() {
    let allow = network("default/allow", "app=db", Some(vec![rule(&[pods("app=api")], &[tcp(5432, 5433)])]), None);
    let book = book(wish(vec![allow]), vec![db(), api()]);
    assert_eq!([5431, 5432, 5433, 5434].map(|port| book.comes(1, "10.0.0.2", port)), [Drop, Forward, Forward, Drop]);
    assert_eq!(book.ask(1, Direction::Ingress, "10.0.0.2", UDP, 5432), Drop);
    assert_eq!(book.ask(1, Direction::Ingress, "10.0.0.2", ICMP, 0), Drop);
    assert_eq!(book.reason(1, "10.0.0.2", 5432), "policy default/allow ingress rule 1");
}

#[test]
fn two_selectors_in_one_peer_must_both_hold_and_two_peers_need_not() {
    let both = network("default/both", "app=db", Some(vec![rule(&[pods_of("team=red", "app=api")], &[])]), None);
    let either = network("default/either", "app=api", Some(vec![rule(&[pods_of("team=red", ""), pods("app=db")], &[])]), None);
    let namespaces = [(ns("other"), labels("team=red"))].into();
    let red = placed(pod("other", "app=web"), "10.0.0.4");
    let book = book(Wish { namespaces, ..wish(vec![both, either]) }, vec![db(), api(), other(), red]);
    assert_eq!(["10.0.0.2", "10.0.0.3", "10.0.0.4"].map(|from| book.comes(1, from, 80)), [Drop, Forward, Drop]);
    assert_eq!(["10.0.0.1", "10.0.0.3", "10.0.0.4"].map(|from| book.comes(2, from, 80)), [Forward, Forward, Forward]);
}

#[test]
fn a_namespace_has_its_name_as_a_label_without_being_told() {
    let from_other = network("default/from-other", "", Some(vec![rule(&[pods_of("kubernetes.io/metadata.name=other", "")], &[])]), None);
    let book = book(wish(vec![from_other]), vec![db(), api(), other()]);
    assert_eq!((book.comes(1, "10.0.0.2", 80), book.comes(1, "10.0.0.3", 80)), (Drop, Forward));
}

#[test]
fn a_block_matches_containers_too_and_its_exceptions_do_not() {
    let allow = network("default/allow", "app=db", Some(vec![rule(&[block("10.0.0.0/8", &["10.0.0.2/32", "10.1.0.0/16"])], &[])]), None);
    let book = book(wish(vec![allow]), vec![db(), api(), other()]);
    let from = ["10.0.0.2", "10.0.0.3", "10.1.2.3", "10.2.2.3", "11.0.0.1"];
    assert_eq!(from.map(|from| book.comes(1, from, 80)), [Drop, Forward, Drop, Forward, Drop]);
}

#[test]
fn all_of_ipv6_has_no_ipv4_in_it() {
    let allow = network("default/allow", "", None, Some(vec![rule(&[block("::/0", &[])], &[])]));
    let book = book(wish(vec![allow]), vec![db()]);
    assert_eq!((book.goes(1, "2001:db8::1", 80), book.goes(1, "192.0.2.1", 80)), (Forward, Drop));
}

#[test]
fn a_named_port_is_each_receivers_own() {
    let receive = network("default/receive", "", Some(vec![rule(&[], &[named("web")])]), None);
    let send = network(
        "other/send",
        "",
        None,
        Some(vec![rule(&[pods_of("", "")], &[named("web")]), rule(&[block("10.0.0.0/8", &[])], &[named("web")])]),
    );
    let one = placed(with_port(pod("default", "app=db"), "web", 80), "10.0.0.1");
    let two = placed(with_port(pod("default", "app=db"), "web", 8080), "10.0.0.2");
    let book = book(wish(vec![receive, send]), vec![one, two, other(), api()]);
    assert_eq!((book.comes(1, "10.0.0.3", 80), book.comes(1, "10.0.0.3", 8080)), (Forward, Drop));
    assert_eq!((book.comes(2, "10.0.0.3", 80), book.comes(2, "10.0.0.3", 8080)), (Drop, Forward));
    assert_eq!((book.goes(3, "10.0.0.1", 80), book.goes(3, "10.0.0.1", 8080)), (Forward, Drop));
    assert_eq!((book.goes(3, "10.0.0.2", 80), book.goes(3, "10.0.0.2", 8080)), (Drop, Forward));
    assert_eq!(book.goes(3, "10.9.9.9", 80), Drop, "an address has no names for its ports");
}

#[test]
fn a_policy_for_egress_does_not_isolate_ingress() {
    let book = book(wish(vec![network("default/out", "", None, Some(vec![]))]), vec![db(), api()]);
    assert_eq!((book.comes(1, "10.0.0.2", 80), book.goes(1, "10.0.0.2", 80)), (Forward, Drop));
}

#[test]
fn policies_add_up_and_never_take_away() {
    let deny = network("default/deny", "", Some(vec![]), None);
    let allow = network("default/allow", "app=db", Some(vec![rule(&[pods("app=api")], &[])]), None);
    let book = book(wish(vec![deny, allow]), vec![db(), api(), other()]);
    assert_eq!((book.comes(1, "10.0.0.2", 80), book.comes(1, "10.0.0.3", 80)), (Forward, Drop));
    assert_eq!(book.reason(1, "10.0.0.3", 80), "policies default/allow, default/deny ingress (no rule matches)");
}

#[test]
fn an_audit_policy_changes_nothing_of_what_passes() {
    let watch = audited(network("default/watch", "app=db", Some(vec![rule(&[], &[tcp(80, 80)])]), None));
    let alone = book(wish(vec![watch.clone()]), vec![db(), api()]);
    assert_eq!((alone.comes(1, "10.0.0.2", 80), alone.comes(1, "10.0.0.2", 81)), (Forward, Audit));
    assert_eq!(alone.reason(1, "10.0.0.2", 81), "policy default/watch ingress (no rule matches)");
    let enforced = network("default/enforced", "app=db", Some(vec![rule(&[], &[tcp(81, 81)])]), None);
    let beside = book(wish(vec![watch, enforced]), vec![db(), api()]);
    assert_eq!([80, 81, 82].map(|port| beside.comes(1, "10.0.0.2", port)), [Drop, Forward, Drop], "an allow in audit allows nothing");
}

#[test]
fn a_policy_can_answer_what_it_denies() {
    let quiet = network("default/quiet", "app=db", Some(vec![]), None);
    let loud = rejecting(network("default/loud", "", Some(vec![]), None));
    let book = book(wish(vec![quiet, loud]), vec![db(), api()]);
    assert_eq!((book.comes(1, "10.0.0.2", 80), book.comes(2, "10.0.0.1", 80)), (Reject, Reject));
}

#[test]
fn the_configuration_can_deny_what_nothing_selects() {
    let allow = network("default/allow", "app=db", Some(vec![rule(&[pods("app=api")], &[])]), None);
    let book = book(denying(vec![allow]), vec![db(), api()]);
    assert_eq!((book.comes(1, "10.0.0.2", 80), book.goes(1, "10.0.0.2", 80), book.comes(2, "10.0.0.1", 80)), (Forward, Drop, Drop));
    assert_eq!(book.reason(2, "10.0.0.1", 80), "configured default ingress (no policy selects it)");
    assert_eq!(book.reason(1, "10.0.0.3", 80), "policy default/allow ingress (no rule matches)");
}

#[test]
fn port_53_of_a_gateway_is_the_dns_server_and_the_rest_of_it_the_host() {
    let dns = rule(&[pods_of("kubernetes.io/metadata.name=kube-system", "k8s-app=kube-dns")], &[]);
    let host =
        Host { addresses: [ip("203.0.113.1")].into(), gateways: [ip("10.0.0.254")].into(), labels: labels("kubernetes.io/hostname=here") };
    let policies = vec![network("default/dns", "", Some(vec![dns.clone()]), Some(vec![dns]))];
    let book = book(Wish { host, ..wish(policies) }, vec![db()]);
    assert_eq!((book.goes(1, "10.0.0.254", 53), book.ask(1, Direction::Egress, "10.0.0.254", UDP, 53)), (Forward, Forward));
    assert_eq!((book.goes(1, "10.0.0.254", 80), book.ask(1, Direction::Egress, "10.0.0.254", 132, 53)), (Drop, Drop));
    assert_eq!((book.goes(1, "203.0.113.1", 53), book.comes(1, "10.0.0.254", 53)), (Drop, Drop));
}

#[test]
fn an_address_that_changes_hands_is_judged_anew() {
    let allow = network("default/allow", "app=db", Some(vec![rule(&[pods("app=api")], &[])]), None);
    let mut book = book(wish(vec![allow]), vec![db(), api()]);
    assert!(book.place(2, None).unwrap().rejudge);
    assert_eq!(book.comes(1, "10.0.0.2", 80), Drop);
    let idle = placed(pod("default", "app=idle"), "10.0.0.2");
    let steps = book.place(2, idle).unwrap();
    assert!(steps.is_empty() && !steps.rejudge, "nobody speaks of it: {steps}");
}

#[test]
fn containers_with_the_same_policies_share_their_sets() {
    let allow = network("default/allow", "app=db", Some(vec![rule(&[pods("app=api")], &[])]), None);
    let mut book = book(wish(vec![allow]), vec![db(), api()]);
    let fill = book.fill();
    let twin = placed(pod("default", "app=db pod=2"), "10.0.0.9");
    let steps = book.place(9, twin).unwrap();
    assert_eq!((book.sets(9), steps.before.len()), (book.sets(1), 0));
    assert_eq!(book.fill(), fill);
}

#[test]
fn what_leads_to_a_policy_reads_as_commands() {
    let allow = network("default/allow", "app=db", Some(vec![rule(&[block("192.0.2.0/24", &[])], &[tcp(80, 80)])]), None);
    let mut book = book(wish(vec![]), vec![db()]);
    assert_eq!(
        book.set(wish(vec![allow])).unwrap().to_string(),
        "bpftool map update pinned rule_counters key 1 value 0\n\
         bpftool map update pinned rule_counters key 2 value 0\n\
         bpftool map update pinned rules key set 3 identity 2 protocol 6 port 80/16 value forward rule 1\n\
         bpftool map update pinned sets key 3 value drop rule 2 prefixes 0x10000\n\
         bpftool map update pinned nets key length 152 generation 1 address ::ffff:192.0.2.0/120 value identity 2\n\
         bpftool map update pinned attachments key slot 1 value generation 1 ingress 3 egress 0\n"
    );
    assert_eq!(
        book.set(wish(vec![])).unwrap().to_string(),
        "bpftool map update pinned attachments key slot 1 value generation 0 ingress 0 egress 0\n\
         bpftool map delete pinned rules key set 3 identity 2 protocol 6 port 80/16\n\
         bpftool map delete pinned sets key 3\n\
         bpftool map delete pinned nets key length 152 generation 1 address ::ffff:192.0.2.0/120\n\
         bpftool map update pinned rule_counters key 1 value 0\n\
         bpftool map update pinned rule_counters key 2 value 0\n"
    );
}
