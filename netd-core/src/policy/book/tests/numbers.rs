//! A rule keeps its number while its policy says the same.

use super::*;
use crate::policy::book::steps::Write;

fn policies(last: u16) -> Vec<Policy> {
    let allow = |port| rule(&[pods("app=api")], &[tcp(port, port)]);
    vec![
        network("default/one", "app=db", Some(vec![allow(80), allow(81)]), None),
        network("default/two", "app=db", Some(vec![allow(last)]), Some(vec![])),
    ]
}

fn containers() -> Vec<Option<Placed>> {
    vec![placed(pod("default", "app=db"), "10.0.0.1"), placed(pod("default", "app=api"), "10.0.0.2")]
}

fn numbered(book: &Book) -> BTreeMap<String, u32> {
    book.rules().iter().map(|(number, name)| (name.to_string(), *number)).collect()
}

#[test]
fn another_policys_change_leaves_numbers_alone() {
    let mut book = book(wish(policies(90)), containers());
    let before = numbered(&book);
    let steps = book.set(wish(policies(91))).unwrap();
    let after = numbered(&book);
    for name in ["policy default/one ingress rule 1", "policy default/one ingress rule 2"] {
        assert_eq!(before[name], after[name]);
    }
    let two = "policy default/two ingress rule 1";
    assert_ne!(before[two], after[two], "another rule's counter would go on");
    assert!(steps.after.contains(&Write::ZeroRule(before[two])) && steps.before.contains(&Write::ZeroRule(after[two])));
    book.set(wish(policies(92))).unwrap().expect_done();
    assert!(numbered(&book)[two] > after[two], "what was recorded under an earlier number still says whose it was");
}

#[test]
fn a_restart_leaves_numbers_alone_also_of_defaults() {
    let first = book(wish(policies(90)), containers());
    let mut second = Book::new(first.numbers().clone(), 1000);
    let steps = second.set(wish(policies(90))).unwrap();
    assert!(!steps.before.iter().chain(&steps.after).any(|write| matches!(write, Write::ZeroRule(_))), "{steps}");
    for (slot, container) in (1..).zip(containers()) {
        second.place(slot, container).unwrap().expect_done();
    }
    assert_eq!(numbered(&second), numbered(&first));
    assert_eq!(second.numbers(), first.numbers());
}

#[test]
fn numbers_of_policies_that_have_gone_are_free_after_a_restart() {
    let first = book(wish(policies(90)), containers());
    let mut second = Book::new(first.numbers().clone(), 1000);
    let steps = second.set(wish(vec![])).unwrap();
    assert_eq!(steps.after.len(), first.numbers().len());
    assert!(second.numbers().is_empty());
}

#[test]
fn sets_and_identities_stay_where_a_change_does_not_touch_them() {
    let mut book = book(wish(policies(90)), containers());
    let sets = book.sets(1);
    let mut more = policies(90);
    more.push(network("other/third", "", Some(vec![]), None));
    assert!(book.set(wish(more.clone())).unwrap().flips.is_empty());
    assert_eq!(book.sets(1), sets);
    let mut wish = wish(more);
    wish.host.addresses.insert(ip("203.0.113.1"));
    let steps = book.set(wish).unwrap();
    assert!(steps.is_empty() && !steps.rejudge, "the host is nobody to these policies: {steps}");
}

#[test]
fn what_does_not_change_costs_no_step() {
    let mut book = book(wish(policies(90)), containers());
    assert!(book.set(wish(policies(90))).unwrap().is_empty());
    assert!(book.place(1, containers().swap_remove(0)).unwrap().is_empty());
}
