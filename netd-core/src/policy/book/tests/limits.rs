//! What does not fit is refused in words, and nothing has happened.

use super::*;
use crate::policy::book::{limit::Limit, steps::Write};

/// Allows every second port, so that each is an entry.
fn wide(name: &str, ports: u16, peers: &[Peer]) -> Policy {
    let ports: Vec<Port> = (0..ports).map(|n| tcp(1 + 2 * n, 1 + 2 * n)).collect();
    network(name, "app=db", Some(vec![rule(peers, &ports)]), None)
}

fn separate(n: u16) -> Vec<Peer> {
    (0..n).map(|n| pods(&format!("peer=p{n}"))).collect()
}

#[test]
fn a_container_that_does_not_fit_is_refused_and_the_rest_stays() {
    let rules: Vec<Rule> =
        separate(20).into_iter().map(|peer| rule(&[peer], &(0..20_000).map(|n| tcp(1 + 2 * n, 1 + 2 * n)).collect::<Vec<_>>())).collect();
    let mut book =
        book(wish(vec![network("default/wide", "app=db", Some(rules), None)]), vec![placed(pod("default", "app=db"), "10.0.0.1")]);
    let mut refused = None;
    for n in 0..20_u8 {
        let before = (book.fill(), book.numbers().clone(), book.entries().count());
        match book.place(2 + u32::from(n), placed(pod("default", &format!("peer=p{n}")), &format!("10.0.1.{n}"))) {
            Ok(steps) => assert!(steps.before.len() > 20_000, "an entry for each port, and the address"),
            Err(error) => {
                assert_eq!((book.fill(), book.numbers().clone(), book.entries().count()), before);
                refused = Some((n, error));
                break;
            }
        }
    }
    let (n, error) = refused.expect("120,000 fit, 140,000 do not");
    assert_eq!((n, error.limit), (6, Limit::Rules));
    assert_eq!(
        error.to_string(),
        "policies need 140000 rule entries, and 131072 fit; default/wide takes the most; use fewer separate ports, peers or addresses"
    );
}

#[test]
fn whatever_fits_fits_beside_what_it_replaces() {
    let blocks = |third: u8| {
        let rules = (0..6_u8).map(|n| {
            rule(&[block(&format!("10.{n}.{third}.0/24"), &[])], &(0..20_000).map(|n| tcp(1 + 2 * n, 1 + 2 * n)).collect::<Vec<_>>())
        });
        wish(vec![network("default/wide", "app=db", Some(rules.collect()), None)])
    };
    let mut book = book(blocks(0), vec![placed(pod("default", "app=db"), "10.0.0.1")]);
    let steps = book.set(blocks(1)).unwrap();
    let written = steps.before.iter().filter(|write| matches!(write, Write::PutRule(..))).count();
    assert_eq!((written, book.fill().rules), (120_000, 120_000), "all of it stands beside the old one");
    assert!(2 * book.fill().rules <= netd_abi::maps::RULES.entries as usize);
}

#[test]
fn more_rules_than_there_are_numbers_are_refused_with_the_largest_policy() {
    let rules = |n: u32| Some((0..n).map(|n| rule(&[pods("")], &[tcp((n % 60_000) as u16 + 1, (n % 60_000) as u16 + 1)])).collect());
    let mut book = Book::new(Numbers::new(), 1);
    let error = book
        .set(wish(vec![network("default/many", "", rules(60_000), None), network("default/few", "", rules(10_000), None)]))
        .unwrap_err();
    assert_eq!(
        (error.limit, error.wanted, error.policy.map(|name| name.to_string())),
        (Limit::Numbers, 70_000, Some("default/many".to_owned()))
    );
    assert!(book.rules().is_empty());
    book.set(wish(vec![wide("default/wide", 10, &[])])).unwrap().expect_done();
}

#[test]
fn more_prefixes_than_fit_are_refused_with_the_policy_that_has_them() {
    let peers: Vec<Peer> = (0..140_000_u32).map(|n| block(&format!("{}/30", std::net::Ipv4Addr::from(0x0a00_0000 + 8 * n)), &[])).collect();
    let error = Book::new(Numbers::new(), 1).set(wish(vec![network("default/nets", "", Some(vec![rule(&peers, &[])]), None)])).unwrap_err();
    assert_eq!(
        (error.limit, error.wanted, error.policy.map(|name| name.to_string())),
        (Limit::Nets, 140_000, Some("default/nets".to_owned()))
    );
}

#[test]
fn more_single_addresses_than_fit_are_refused_with_the_policy_that_has_them() {
    let peers: Vec<Peer> = (0..140_000_u32).map(|n| block(&format!("{}/32", std::net::Ipv4Addr::from(0x0a00_0000 + 2 * n)), &[])).collect();
    let error = Book::new(Numbers::new(), 1)
        .set(wish(vec![
            network("default/few", "", Some(vec![rule(&peers[..9], &[])]), None),
            network("default/many", "", Some(vec![rule(&peers, &[])]), None),
        ]))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "policies need 140000 single addresses, and 131072 fit; default/many takes the most; use prefixes in place of /32 and /128"
    );
}

#[test]
fn a_container_that_needs_one_more_rule_set_than_there_are_is_refused() {
    const MOST: u16 = 2_048;
    let policies =
        (0..=MOST).map(|n| network(&format!("default/p{n}"), &format!("app=c{n}"), Some(vec![rule(&[], &[tcp(n + 1, n + 1)])]), None));
    let container =
        |n: u16| placed(pod("default", &format!("app=c{n}")), &std::net::Ipv4Addr::from(0x0a00_0000 + u32::from(n)).to_string());
    let mut book = book(wish(policies.collect()), (0..MOST).map(container).collect());
    let before = (book.fill(), book.entries().count());
    let error = book.place(u32::from(MOST) + 1, container(MOST)).unwrap_err();
    assert_eq!((error.limit, error.to_string().split("; ").next().unwrap()), (Limit::Sets, "policies need 2049 rule sets, and 2048 fit"));
    assert_eq!((book.fill(), book.entries().count()), before);
    // One of a kind that is there already needs none.
    book.place(u32::from(MOST) + 1, container(0)).unwrap().expect_done();
}

#[test]
fn blocks_that_overlap_in_too_many_rules_are_refused_before_they_take_long() {
    let rules =
        (0..5_000_u32).map(|n| rule(&[block("10.0.0.0/8", &[&format!("{}/32", std::net::Ipv4Addr::from(0x0a00_0000 + 2 * n))])], &[]));
    let error = Book::new(Numbers::new(), 1).set(wish(vec![network("default/holes", "", Some(rules.collect()), None)])).unwrap_err();
    assert_eq!((error.limit, error.policy.as_ref().map(ToString::to_string).as_deref()), (Limit::Overlaps, Some("default/holes")));
    assert!(error.to_string().contains("do not repeat the same blocks with other exceptions in many rules"), "{error}");
}
