//! How much the parser bears, and how fast.

use super::*;
use std::time::{Duration, Instant};

/// Also on a busy machine in a debug build; each takes a fraction of it.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_hundred_thousand_prefixes_are_read() {
    let mut text = network_text("  podSelector: {}\n  policyTypes: [Egress]\n  egress:\n  - to:\n");
    for number in 0..100_000_u32 {
        let [_, a, b, c] = number.to_be_bytes();
        text.push_str(&format!("    - ipBlock:\n        cidr: 10.{a}.{b}.{c}/32\n"));
    }
    let begin = Instant::now();
    let parsed = read(&text).unwrap();
    println!("100,000 prefixes, {} bytes: {:?}", text.len(), begin.elapsed());
    let Body::Network(body) = &parsed.policies[0].body else { panic!("another kind") };
    assert_eq!(body.egress.as_ref().unwrap()[0].peers.len(), 100_000);
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
}

#[test]
fn ten_thousand_rules_are_read() {
    let mut text = network_text("  podSelector: {}\n  ingress:\n");
    for number in 0..10_000 {
        text.push_str(&format!(
            "  - from:\n    - podSelector: {{matchLabels: {{app: a{number}}}}}\n    ports:\n    - {{port: {}}}\n",
            number + 1
        ));
    }
    let begin = Instant::now();
    let parsed = read(&text).unwrap();
    println!("10,000 rules, {} bytes: {:?}", text.len(), begin.elapsed());
    let Body::Network(body) = &parsed.policies[0].body else { panic!("another kind") };
    assert_eq!(body.ingress.as_ref().unwrap().len(), 10_000);
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
}

#[test]
fn files_together_have_eight_mebibytes_at_most() {
    let half = format!("#{}\n", "x".repeat(TEXT_MOST / 2));
    let files = [File { name: "a", text: &half }, File { name: "b", text: &half }];
    assert_eq!(
        parse(&files, OtherKinds::Refuse).expect_err("too much").to_string(),
        "b:1: the files have more than 8 MiB; apply in several steps"
    );
    assert!(parse(&files[..1], OtherKinds::Refuse).is_ok());
}

#[test]
fn values_are_counted_over_all_files() {
    let many = format!("[{}]", "1,".repeat(NODES_MOST / 2));
    let files = [File { name: "a", text: &many }, File { name: "b", text: &many }, File { name: "c", text: &many }];
    let errors = parse(&files, OtherKinds::Refuse).expect_err("too many").to_string();
    assert!(errors.contains("b:1: there are more than 1000000 values"), "{errors}");
}
