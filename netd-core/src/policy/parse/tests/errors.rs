//! The words of all errors, as people read them, against a golden file; `UPDATE_GOLDEN=1` writes it anew.

use super::*;

const GOLDEN: &str = "policy-errors.txt";

/// Mistakes by name; each is a spec, a document or several.
fn mistakes() -> Vec<(&'static str, String)> {
    let rule = |rule: &str| network_text(&format!("  podSelector: {{}}\n  ingress:\n  - {rule}\n"));
    let port = |port: &str| rule(&format!("{{ports: [{{{port}}}]}}"));
    let peer = |peer: &str| rule(&format!("{{from: [{{{peer}}}]}}"));
    let cluster = |rule: &str| cluster_text(&format!("  egress:\n  - {rule}\n"));
    let object = |text: &str| text.to_owned();
    vec![
        ("fields", network_text("  podSelectr: {}\n  policyType: [Ingress]\n  Egress: []\n  zzz: 1\n")),
        ("a label right in the selector", network_text("  podSelector: {app: web}\n")),
        ("labels", network_text("  podSelector:\n    matchLabels:\n      app: 80\n      -a: b\n      c: x y\n      d:\n      e: [f]\n")),
        (
            "expressions",
            network_text(
                "  podSelector:\n    matchExpressions:\n    - {key: a, operator: in, values: [b]}\n    - {operator: In}\n    - {key: a, operator: Exists, values: [b]}\n    - key: a\n",
            ),
        ),
        ("types", network_text("  podSelector: []\n  policyTypes: Ingress\n  ingress: {}\n  egress: [7]\n")),
        ("policy types", network_text("  policyTypes: [ingress, Egres, Both]\n")),
        ("from in egress", network_text("  egress:\n  - from: []\n")),
        ("an empty peer", peer("")),
        ("a block beside a selector", peer("podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}")),
        ("no prefix", peer("ipBlock: {except: [10.0.0.1/32]}")),
        ("an address", peer("ipBlock: {cidr: 10.0.0.1}")),
        ("another text", peer("ipBlock: {cidr: localhost}")),
        ("leading zeros", peer("ipBlock: {cidr: 010.0.0.0/8}")),
        ("a mapped prefix", peer("ipBlock: {cidr: '::ffff:10.0.0.0/104'}")),
        ("exceptions", peer("ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16, 10.0.0.0/8, 'fd00::/8']}")),
        ("a port in quotes", port("port: \"80\"")),
        ("a port's name", port("port: Web_Port")),
        (
            "ports out of range",
            rule("{ports: [{port: 0}, {port: 65536}, {port: -1}, {port: 80.5}, {port: 99999999999999999999}, {port: true}]}"),
        ),
        ("ends of ports", rule("{ports: [{endPort: 5}, {port: http, endPort: 5}, {port: 80, endPort: 79}, {port: 80, endPort: '90'}]}")),
        ("a protocol", rule("{ports: [{protocol: tcp}, {protocol: ICMP}, {protocol: 6}]}")),
        (
            "annotations",
            object(
                "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: a\n  annotations:\n    netd.io/audit: true\n    netd.io/rejct: \"true\"\n    netd.io/zzz: \"true\"\n    netd.io/reject: \"on\"\nspec: {podSelector: {}}\n",
            ),
        ),
        (
            "metadata",
            object(
                "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {nam: a, namespace: Prod, annotation: {}, labels: {netd.io/audit: 'true'}}\nspec: {podSelector: {}}\n",
            ),
        ),
        ("nothing but a kind", object("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n")),
        (
            "top-level fields",
            object("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}\nspecs: {}\npodSelector: {}\nspec: {}\n"),
        ),
        (
            "other kinds",
            object(
                "{apiVersion: apps/v1, kind: Deployment}\n---\n{apiVersion: policy.networking.k8s.io/v1alpha1, kind: AdminNetworkPolicy}\n---\n{apiVersion: extensions/v1beta1, kind: NetworkPolicy}\n---\n{apiVersion: networking.k8s.io/v1, kind: NetworkPolice}\n",
            ),
        ),
        (
            "a list",
            object(
                "apiVersion: v1\nkind: List\nitems:\n- apiVersion: networking.k8s.io/v1\n  kind: NetworkPolicy\n  metadata: {name: a}\n  spec:\n    ingress:\n    - {}\n    - ports:\n      - port: 80\n      - port: 81\n        endPort: 8\n",
            ),
        ),
        (
            "a namespace",
            object(
                "{apiVersion: v1, kind: Namespace, metadata: {name: a.b, namespace: c, labels: {kubernetes.io/metadata.name: d}}, spec: {x: 1}}\n",
            ),
        ),
        (
            "a cluster policy",
            object(
                "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: a, namespace: b}\nspec: {tier: admin, priority: 1001, subject: {}}\n",
            ),
        ),
        (
            "a cluster policy with nothing",
            object("apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: a}\nspec: {}\n"),
        ),
        (
            "cluster peers",
            cluster("{action: Allow, to: [{}, {domainNames: [a.b]}, {namespaces: {}, nodes: {}}, {network: [10.0.0.0/8]}, {pods: {}}]}"),
        ),
        (
            "cluster protocols",
            cluster(
                "{action: Deny, to: [{nodes: {}}], protocols: [{}, {tcp: {}}, {udp: {sourcePort: 1}}, {portNumber: {port: 80}}, {tcp: {destinationPort: {number: 1, range: {start: 2, end: 1}}}}]}",
            ),
        ),
        ("no YAML", object("a: [b\nc: d\n")),
        ("twice", object("a: 1\nb: {c: 1, c: 2}\na: 3\n")),
        ("odd names and tags", object("1: a\ntrue: b\n'': c\n: d\ne: !secret f\n")),
        ("very many", network_text(&format!("  ingress: [{}]\n", "1, ".repeat(30)))),
    ]
}

#[test]
fn every_error_says_where_it_is_and_what_to_do() {
    let mut text = String::new();
    for (name, mistake) in mistakes() {
        text.push_str(&format!("{name}\n"));
        for line in refused(&mistake).lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    let path = format!("{}/../tests/golden/{GOLDEN}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, golden, "{GOLDEN} differs; UPDATE_GOLDEN=1 writes it anew");
}

#[test]
fn errors_stand_in_the_order_of_files_and_lines() {
    let bad = |name| File { name, text: "{apiVersion: v1, kind: Namespace,\n metadata: {name: A},\n x: 1}" };
    let errors = parse(&[bad("z"), bad("a")], OtherKinds::Refuse).expect_err("bad").errors;
    let places: Vec<_> = errors.iter().map(|error| (&*error.file, error.line)).collect();
    assert!(places.is_sorted_by(|one, other| (one.0 == other.0 && one.1 <= other.1) || (one.0, other.0) == ("z", "a")), "{places:?}");
}
