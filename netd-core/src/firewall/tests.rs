//! The ruleset against its golden files, and the script that brings a table to it. Never runs nft.

use std::{collections::BTreeSet, fs, path::Path};

use netd_api::{addr::Family, publish::Protocol};

use super::{element::Publish, script::FoundChain, set::Set, *};

/// Compares with a golden; `UPDATE_GOLDEN=1` writes it.
fn assert_golden(name: &str, golden: &str, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    } else {
        assert_eq!(text, golden, "tests/golden/{name} is not what this build writes; UPDATE_GOLDEN=1 rewrites it");
    }
}

/// Two networks, one of them routed, an internal one, an uplink that netd switched on, and ports of both kinds.
fn a_host() -> BTreeSet<Element> {
    let name = |name: &str| name.parse().unwrap();
    let subnet = |text: &str| text.parse().unwrap();
    let publish = |address: Option<&str>, protocol, port, target: &str, target_port| {
        let publish =
            Publish { address: address.map(|text| text.parse().unwrap()), protocol, port, target: target.parse().unwrap(), target_port };
        publish.refused().into_iter().chain([Element::Publish(publish)])
    };
    let mut elements = BTreeSet::new();
    for bridge in ["nd-web", "nd-db", "nd-vault"] {
        elements.extend([Element::Bridge(name(bridge)), Element::Within(name(bridge))]);
    }
    for text in ["10.4.0.0/24", "fd00:4::/64", "10.4.1.0/24", "10.4.2.0/24", "10.4.3.0/24", "10.4.4.0/24", "10.4.5.0/24", "fd00:5::/64"] {
        elements.extend([Element::Masquerade(subnet(text)), Element::Hairpin(subnet(text))]);
    }
    elements.extend([
        Element::Internal(name("nd-vault")),
        Element::Routed(name("nd-db"), Family::V4),
        Element::Routed(name("nd-db"), Family::V6),
    ]);
    elements.extend([Element::SwitchedOn(name("eth0"), Family::V4), Element::Within(name("eth0"))]);
    elements.extend(publish(None, Protocol::Tcp, 8080, "10.4.0.2", 80));
    elements.extend(publish(None, Protocol::Tcp, 8080, "fd00:4::2", 80));
    elements.extend(publish(None, Protocol::Udp, 53, "10.4.0.3", 5353));
    elements.extend(publish(None, Protocol::Udp, 53, "fd00:4::3", 5353));
    elements.extend(publish(None, Protocol::Sctp, 9999, "10.4.0.3", 9999));
    elements.extend(publish(Some("127.0.0.1"), Protocol::Tcp, 5432, "10.4.1.2", 5432));
    elements.extend(publish(Some("192.0.2.1"), Protocol::Tcp, 443, "10.4.0.2", 8443));
    elements.extend(publish(Some("2001:db8::1"), Protocol::Tcp, 443, "fd00:4::2", 8443));
    elements
}

#[test]
fn the_base_ruleset_is_the_golden_one() {
    assert_golden("base.nft", include_str!("../../../tests/golden/base.nft"), &ruleset().to_string());
}

#[test]
fn networks_and_ports_are_elements_of_the_golden_ruleset() {
    assert_golden("published.nft", include_str!("../../../tests/golden/published.nft"), &ruleset().with(a_host()).to_string());
}

#[test]
fn the_hash_is_of_the_code_and_not_of_the_elements() {
    assert_eq!(ruleset().hash(), ruleset().with(a_host()).hash());
    assert_ne!(ruleset().hash(), 0);
}

#[test]
fn every_rule_says_why_and_nft_can_keep_it() {
    for chain in &ruleset().chains {
        assert!(chain.name.len() < 32, "{}: a chain's name is shorter than a table's 32 bytes", chain.name);
        for rule in chain.rules {
            assert!((1..=127).contains(&rule.why.len()), "{}: {} has {} bytes of comment", chain.name, rule.says, rule.why.len());
        }
    }
}

#[test]
fn every_goto_and_every_set_of_a_rule_is_there() {
    let ruleset = ruleset();
    for rule in ruleset.chains.iter().flat_map(|chain| chain.rules) {
        let words: Vec<&str> = rule.says.split(' ').collect();
        for pair in words.windows(2).filter(|pair| pair[0] == "goto") {
            assert!(ruleset.chains.iter().any(|chain| chain.name == pair[1]), "{}", rule.says);
        }
        for set in words.iter().filter_map(|word| word.strip_prefix('@')) {
            assert!(Set::named(set).is_some(), "{}", rule.says);
        }
    }
    for set in &SETS {
        let used = ruleset
            .chains
            .iter()
            .flat_map(|chain| chain.rules)
            .any(|rule| rule.says.split(' ').any(|word| word == format!("@{}", set.name)));
        assert!(used, "no rule asks {}", set.name);
    }
}

fn as_found(ruleset: &Ruleset) -> Found {
    let chains = ruleset.chains.iter().map(|chain| FoundChain {
        name: chain.name.to_owned(),
        base: chain.base.map(|base| (base.kind.to_owned(), base.hook_number, base.priority_number, 1)),
    });
    Found { flags: 0, sets: SETS.iter().map(Set::shape).collect(), chains: chains.collect(), elements: a_host() }
}

#[test]
fn chains_are_refilled_and_sets_keep_what_they_hold() {
    let script = ruleset().script(&as_found(&ruleset()));
    assert_eq!(script, format!("add table inet netd\nflush table inet netd\n{}", ruleset()));
}

#[test]
fn a_chain_of_a_former_build_goes_and_one_with_another_hook_is_made_anew() {
    let mut found = as_found(&ruleset());
    found.chains.push(FoundChain { name: "older".to_owned(), base: None });
    found.chains.iter_mut().find(|chain| chain.name == "forward").unwrap().base.as_mut().unwrap().3 = 0;
    let script = ruleset().script(&found);
    assert!(script.contains("\ndelete chain inet netd older\n") && script.contains("\ndelete chain inet netd forward\n"), "{script}");
    assert_eq!(script.matches("delete").count(), 2);
}

#[test]
fn a_set_of_another_shape_replaces_the_table_with_its_elements() {
    let mut found = as_found(&ruleset());
    let mut shape = Set::named("publish4").unwrap().shape();
    found.sets.remove(&shape);
    shape.key.1 += 4;
    found.sets.insert(shape);
    let script = ruleset().script(&found);
    assert_eq!(script, format!("add table inet netd\ndelete table inet netd\n{}", ruleset().with(a_host())));
}
