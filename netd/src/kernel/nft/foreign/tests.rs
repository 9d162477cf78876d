//! Foreign rulesets as nft's JSON has them, and what is said of them. Never runs nft.

use super::*;

const DOCKER: &str = include_str!("docker.json");
const DOCKER_MENDED: &str = include_str!("docker-mended.json");
const UFW: &str = include_str!("ufw.json");
const FIREWALLD: &str = include_str!("firewalld.json");

fn found(json: &str) -> Vec<(String, String, String)> {
    foreign_drops(json, &[]).unwrap().into_iter().map(|drop| (drop.chain, drop.why, drop.mend)).collect()
}

fn one(chain: &str, why: &str, mend: &str) -> (String, String, String) {
    (chain.to_owned(), why.to_owned(), mend.to_owned())
}

#[test]
fn docker_drops_what_it_does_not_know() {
    let mend = "iptables -I DOCKER-USER -i nd-+ -j ACCEPT && iptables -I DOCKER-USER -o nd-+ -j ACCEPT";
    assert_eq!(found(DOCKER), [one("ip filter FORWARD", "policy drop", mend)]);
}

#[test]
fn what_was_mended_is_not_reported_again() {
    assert_eq!(found(DOCKER_MENDED), []);
}

#[test]
fn a_bridge_of_the_users_name_needs_its_own_rule() {
    let drops = foreign_drops(DOCKER_MENDED, &["nd-abc".parse().unwrap(), "br0".parse().unwrap()]).unwrap();
    assert!(drops[0].mend.contains("-i br0 -j ACCEPT"), "{}", drops[0].mend);
}

#[test]
fn ufw_drops_both_families_and_is_mended_in_its_own_words() {
    let mend = "ufw route allow in on nd-+ && ufw route allow out on nd-+";
    assert_eq!(found(UFW), [one("ip filter FORWARD", "policy drop", mend), one("ip6 filter FORWARD", "policy drop", mend)]);
}

#[test]
fn a_last_rule_that_rejects_all_is_as_good_as_a_policy() {
    let firewalld = "firewall-cmd --permanent --zone=trusted --add-interface=nd-+ && firewall-cmd --reload";
    let guard =
        "nft insert rule bridge guard forward iifname \"nd-*\" accept && nft insert rule bridge guard forward oifname \"nd-*\" accept";
    assert_eq!(
        found(FIREWALLD),
        [
            one("inet firewalld filter_FORWARD", "a rule that drops everything", firewalld),
            one("bridge guard forward", "policy drop", guard)
        ]
    );
}

#[test]
fn an_interface_in_a_zone_that_accepts_passes() {
    let eth0 = "\"right\": \"eth0\"}}, {\"goto\": {\"target\": \"filter_FWD_public\"}}";
    let trusted = "\"right\": \"nd-*\"}}, {\"goto\": {\"target\": \"filter_FWD_trusted\"}}";
    let zone = r#"{"rule": {"family": "inet", "table": "firewalld", "chain": "filter_FWD_trusted", "expr": [{"accept": null}]}}, {"table""#;
    let json = FIREWALLD.replace(eth0, trusted).replacen("{\"table\"", zone, 1);
    assert_ne!(json, FIREWALLD);
    assert!(found(&json).iter().all(|(chain, ..)| !chain.contains("firewalld")), "{:?}", found(&json));
}

#[test]
fn our_own_table_and_an_empty_ruleset_are_in_nobodys_way() {
    assert_eq!(found(r#"{"nftables": [{"metainfo": {"json_schema_version": 1}}]}"#), []);
    let ours = r#"{"nftables": [{"chain": {"family": "inet", "table": "netd", "name": "forward", "hook": "forward", "policy": "drop"}}]}"#;
    assert_eq!(found(ours), []);
}

#[test]
fn a_jump_in_a_circle_and_words_that_are_no_json_harm_nothing() {
    let circle = r#"{"nftables": [
        {"chain": {"family": "ip", "table": "t", "name": "a", "hook": "forward", "policy": "accept"}},
        {"rule": {"family": "ip", "table": "t", "chain": "a", "expr": [{"jump": {"target": "a"}}]}}]}"#;
    assert_eq!(found(circle), []);
    assert!(foreign_drops("Error: no", &[]).is_err());
}
