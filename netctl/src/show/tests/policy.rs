//! Policies and flows against golden texts.

use netd_api::{
    flow::{FlowEnd, FlowEvent, FlowView, FlowsView},
    policy::*,
};

use super::*;

fn rule(direction: &str, rule: Option<u32>, packets: u64) -> RuleView {
    let hits = Traffic { packets, bytes: packets * 100, segments: packets };
    RuleView { direction: direction.to_owned(), rule, name: None, hits }
}

fn db() -> PolicyView {
    PolicyView {
        name: parsed("default/db-allow"),
        kind: "NetworkPolicy".to_owned(),
        audit: false,
        reject: false,
        selects: vec![parsed("default/db"), parsed("db-2")],
        rules: vec![rule("ingress", Some(1), 120), rule("ingress", Some(2), 0), rule("ingress", None, 3)],
        source: "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n# \ttab, \u{1b}[2J\nmetadata:\n  name: db-allow\n".to_owned(),
    }
}

fn policies() -> Vec<PolicyView> {
    let baseline = PolicyView {
        name: parsed("baseline"),
        kind: "ClusterNetworkPolicy".to_owned(),
        reject: true,
        selects: vec![parsed("default/web")],
        rules: Vec::new(),
        ..db()
    };
    let trial = PolicyView { name: parsed("shop/trial"), audit: true, reject: true, selects: Vec::new(), ..db() };
    vec![db(), baseline, trial]
}

fn end(address: &str, port: u16, name: Option<&str>) -> FlowEnd {
    FlowEnd { address: parsed(address), port, id: None, name: name.map(parsed), namespace: None, labels: Labels::new(), host: false }
}

fn traffic(packets: u64, bytes: u64) -> Traffic {
    Traffic { packets, bytes, segments: packets }
}

fn closed() -> FlowView {
    FlowView {
        number: 1,
        event: FlowEvent::Closed,
        began: 1_795_770_719.923,
        last_seen: 1_795_770_721.123,
        container: end("10.88.0.2", 40_112, Some("default/web")),
        network: parsed("lan"),
        ifname: parsed("eth0"),
        remote: end("10.88.0.3", 5432, Some("default/db")),
        direction: "egress".to_owned(),
        protocol: "tcp".to_owned(),
        verdict: FlowVerdict::Forward,
        reason: "policy".to_owned(),
        policy: Some(parsed("default/db-allow")),
        rule: Some("policy default/db-allow rule 1".to_owned()),
        sent: traffic(12, 3100),
        received: traffic(10, 1240),
        flags_sent: "SFA".to_owned(),
        flags_received: "SFA".to_owned(),
    }
}

/// One of each kind.
fn flows() -> Vec<FlowView> {
    let ingress = || FlowView {
        container: end("10.88.0.3", 5432, Some("default/db")),
        remote: end("10.88.0.2", 40_112, Some("default/web")),
        direction: "ingress".to_owned(),
        ..closed()
    };
    let plain = || FlowView {
        policy: None,
        rule: None,
        reason: String::new(),
        flags_sent: String::new(),
        flags_received: String::new(),
        ..closed()
    };
    vec![
        closed(),
        ingress(),
        // Only the policy is known, not its rule.
        FlowView {
            event: FlowEvent::New,
            rule: None,
            received: traffic(0, 0),
            flags_sent: "S".to_owned(),
            flags_received: String::new(),
            ..closed()
        },
        FlowView {
            event: FlowEvent::Denied,
            verdict: FlowVerdict::Drop,
            reason: "no policy allows it".to_owned(),
            policy: None,
            rule: None,
            remote: end("203.0.113.9", 51_000, None),
            flags_received: "S".to_owned(),
            flags_sent: String::new(),
            sent: traffic(0, 0),
            received: traffic(3, 180),
            ..ingress()
        },
        FlowView {
            event: FlowEvent::Open,
            remote: end("fd00:4::7", 53, None),
            protocol: "udp".to_owned(),
            last_seen: 1_795_774_321.0,
            ..plain()
        },
        FlowView {
            remote: FlowEnd { host: true, ..end("10.88.0.1", 77, None) },
            protocol: "icmp".to_owned(),
            verdict: FlowVerdict::Audit,
            reason: "policy".to_owned(),
            rule: Some("policies shop/trial, shop/web egress (no rule matches)".to_owned()),
            ..plain()
        },
        FlowView { container: end("fd00:4::2", 0, None), remote: end("fd00:4::7", 0, None), protocol: "47".to_owned(), ..plain() },
        FlowView {
            remote: FlowEnd { id: Some(parsed("c0ffee")), ..end("fd00:4::7", 443, None) },
            rule: Some("\u{1b}[2J".to_owned()),
            ..closed()
        },
    ]
}

fn applying(dry_run: bool) -> Request {
    Request::ApplyPolicies(Box::new(PolicyFiles { files: Vec::new(), skip_other_kinds: false, dry_run }))
}

fn applied() -> PoliciesApplied {
    let policy = |name: &str, change, selects: &[&str]| PolicyApplied {
        name: parsed(name),
        change,
        selects: selects.iter().map(|name| parsed(name)).collect(),
    };
    PoliciesApplied {
        policies: vec![
            policy("default/db-allow", PolicyChange::Created, &["default/db", "db-2"]),
            policy("baseline", PolicyChange::Changed, &["a", "b", "c", "d", "e", "f"]),
            policy("shop/five", PolicyChange::Unchanged, &["a", "b", "c", "d", "e"]),
            policy("shop/trial", PolicyChange::Unchanged, &[]),
        ],
        namespaces: vec![parsed("shop"), parsed("team")],
        changed_flows: Vec::new(),
        judged_flows: 0,
    }
}

#[test]
fn policies_in_rows_and_as_yaml() {
    shown("policies.txt", &Reply::Policies(policies()), Show::Table);
    shown("policies-brief.txt", &Reply::Policies(policies()), Show::Brief);
    shown("policy.yaml", &Reply::Policy(Box::new(db())), Show::Detail);
    let answers = [(Request::Policy(parsed("default/db-allow")), Reply::Policy(Box::new(db())))];
    let text = json(&answers).unwrap();
    assert_eq!(serde_json::from_str::<PolicyView>(&text).unwrap(), db());
    let answers = [(Request::Policies, Reply::Policies(policies()))];
    assert_eq!(serde_json::from_str::<Vec<PolicyView>>(&json(&answers).unwrap()).unwrap(), policies());
}

#[test]
fn hits_beyond_what_can_be_counted_stay_there() {
    let rules = db().rules.into_iter().map(|rule| RuleView { hits: traffic(u64::MAX, 0), ..rule }).collect();
    let most = PolicyView { rules, ..db() };
    assert!(text(&Request::Policies, &Reply::Policies(vec![most]), Show::Table, Paint::Plain).contains(&u64::MAX.to_string()));
}

#[test]
fn what_applying_did() {
    let of = |dry_run, applied: PoliciesApplied| {
        text(&applying(dry_run), &Reply::PoliciesApplied(Box::new(applied)), Show::Detail, Paint::Plain)
    };
    golden("policies-applied.txt", &of(false, applied()));
    let changed = |flow, verdict, rule: &str| ChangedFlow { flow, verdict, rule: rule.to_owned() };
    let changed_flows = vec![
        changed(closed(), FlowVerdict::Drop, "policy default/db-allow ingress (no rule matches)"),
        changed(flows().remove(3), FlowVerdict::Forward, "policy default/db-allow ingress rule 1"),
    ];
    golden("policies-dry-run.txt", &of(true, PoliciesApplied { changed_flows, judged_flows: 120, ..applied() }));
    let nothing = PoliciesApplied { policies: Vec::new(), namespaces: Vec::new(), ..applied() };
    assert_eq!(of(false, nothing.clone()), "there is nothing to apply\n");
    let only_labels = PoliciesApplied { namespaces: vec![parsed("shop")], ..nothing.clone() };
    assert_eq!(of(false, only_labels), "namespaces that got labels: shop\n");
    let same = of(true, PoliciesApplied { judged_flows: 7, ..nothing.clone() });
    assert!(same.ends_with("\n\ndry run: nothing was changed; none of 7 recorded flows would be judged otherwise\n"), "{same}");
    let none = of(true, nothing);
    assert!(none.ends_with("\n\ndry run: nothing was changed; no flows are recorded that could be judged\n"), "{none}");
    let answers = [(applying(false), Reply::PoliciesApplied(Box::new(applied())))];
    assert_eq!(serde_json::from_str::<PoliciesApplied>(&json(&answers).unwrap()).unwrap(), applied());
}

#[test]
fn removed_policies_are_named() {
    assert_eq!(text(&Request::RemovePolicy(parsed("shop/db")), &Reply::Removed, Show::Brief, Paint::Plain), "shop/db\n");
    let answers = [(Request::RemovePolicy(parsed("shop/db")), Reply::Removed)];
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json(&answers).unwrap()).unwrap(), serde_json::json!({ "removed": ["shop/db"] }));
}

#[test]
fn advice_is_yaml_with_its_notes_as_comments_above() {
    let advice = Advice {
        policy: "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy".to_owned(),
        flows: 14,
        notes: vec!["2 flows of ICMP: NetworkPolicy has no words for it".to_owned(), "two\nlines: \u{1b}x".to_owned()],
    };
    let reply = Reply::Advice(Box::new(advice.clone()));
    shown("advice.yaml", &reply, Show::Detail);
    let answers = [(Request::Advise(parsed("web")), reply)];
    assert_eq!(serde_json::from_str::<Advice>(&json(&answers).unwrap()).unwrap(), advice);
    let bare = Reply::Advice(Box::new(Advice { policy: "a: b\n".to_owned(), flows: 1, notes: Vec::new() }));
    assert_eq!(text(&Request::Status, &bare, Show::Detail, Paint::Plain), "# From 1 recorded flow.\na: b\n");
}

#[test]
fn a_flow_is_one_line() {
    let expected = "2026-11-27 09:12:01.123 closed  default/web eth0 -> default/db 10.88.0.3:5432 tcp forward  \
        12 pkt 3.1 kB / 10 pkt 1.2 kB  1.2s  [SFA]/[SFA]  policy default/db-allow rule 1";
    assert_eq!(flow_line(&closed()), expected);
    shown("flows.txt", &Reply::Flows(Box::new(FlowsView { flows: flows(), last: 8, lost: 0, forgotten: 0 })), Show::Table);
    assert!(flows().iter().all(|flow| flow_line(flow).lines().count() == 1));
}
