//! As large as promised. Bounds entries, not time: times are the benchmarks' matter.

use super::*;

#[test]
fn ten_thousand_rules_with_a_block_each_take_four_entries_each() {
    let address = |n: u32| std::net::Ipv4Addr::from(0x0a00_0000 + 256 * n);
    let rules = (0..10_000).map(|n| rule(&[block(&format!("{}/24", address(n)), &[])], &[])).collect();
    let policies = vec![
        network("default/blocks", "app=db", Some(rules), None),
        network("default/api", "app=db", Some(vec![rule(&[pods("app=api")], &[])]), None),
    ];
    let mut book =
        book(wish(policies), vec![placed(pod("default", "app=db"), "172.16.0.1"), placed(pod("default", "app=api"), "172.16.0.2")]);
    let fill = book.fill();
    assert_eq!((fill.rules, fill.nets, fill.sets), (40_004, 10_000, 1));
    assert_eq!(book.reason(1, "10.0.100.7", 80), "policy default/blocks ingress rule 101");
    assert_eq!(book.place(3, placed(pod("default", "app=db"), "172.16.0.3")).unwrap().before.len(), 0);
    assert_eq!(book.fill(), fill);
}

#[test]
fn a_hundred_thousand_prefixes_of_one_rule_are_one_identity() {
    let address = |n: u32| std::net::Ipv4Addr::from(0x0a00_0000 + 3 * n);
    let peers: Vec<Peer> = (0..100_000).map(|n| block(&format!("{}/32", address(n)), &[])).collect();
    let wish = wish(vec![network("default/list", "app=db", None, Some(vec![rule(&peers, &[tcp(443, 443)])]))]);
    let mut book = book(wish.clone(), vec![placed(pod("default", "app=db"), "172.16.0.1")]);
    let fill = book.fill();
    assert_eq!((fill.rules, fill.addresses, fill.nets, fill.sets), (1, 100_000, 0, 1));
    assert_eq!((book.goes(1, "10.0.0.3", 443), book.goes(1, "10.0.0.4", 443)), (Verdict::Forward, Verdict::Drop));
    let named = Wish { namespaces: [(ns("default"), labels("team=red"))].into(), ..wish };
    assert!(book.set(named).unwrap().is_empty(), "nothing that matters has changed");
}

#[test]
fn a_thousand_containers_take_no_more_than_fifty() {
    let policies = |n: usize| -> Vec<Policy> {
        let of = |n: usize| {
            let from = [pods(&format!("app=a{}", (n + 1) % 50)), pods_of("team=red", "")];
            network(
                &format!("default/p{n}"),
                &format!("app=a{n}"),
                Some(vec![rule(&from, &[tcp(80, 80), named("web")])]),
                Some(vec![rule(&[], &[tcp(443, 443)])]),
            )
        };
        (0..n).map(of).collect()
    };
    let fill = |containers: usize| {
        // A label of its own for each, as many runtimes give: no rule knows it.
        let pod = |n: usize| with_port(pod("default", &format!("app=a{} number=n{n}", n % 50)), "web", 8080);
        let address = |n: usize| std::net::Ipv4Addr::from(0x0a00_0000 + n as u32).to_string();
        let book = book(wish(policies(50)), (0..containers).map(|n| placed(pod(n), &address(n))).collect());
        assert_eq!(book.comes(1, &address(1), 8080), Verdict::Forward);
        assert_eq!(book.comes(1, &address(2), 8080), Verdict::Drop);
        book.fill()
    };
    let (few, many) = (fill(50), fill(1000));
    assert_eq!((few.rules, few.sets), (many.rules, many.sets));
    assert!(many.rules < 300 && many.sets == 100, "{many:?}");
    assert_eq!(many.addresses, 1000);
}
