//! Objects: kinds, lists, names, annotations, namespaces, and what stands twice.

use super::*;
use crate::policy::model::Manner;

const CNP: &str = "{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy";

fn with_metadata(metadata: &str) -> String {
    format!("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {metadata}\nspec: {{podSelector: {{}}}}\n")
}

#[test]
fn a_policy_stands_in_the_namespace_default_unless_it_says_otherwise() {
    assert_eq!(policy(&with_metadata("{name: a}")).name.to_string(), "default/a");
    assert_eq!(policy(&with_metadata("{name: a.b-c, namespace: prod}")).name.to_string(), "prod/a.b-c");
    for bad in ["{}", "{name: A}", "{name: a_b}", "{name: ''}", "{name: 7}", "{name: a, namespace: Prod}", "{generateName: a-}"] {
        refused(&with_metadata(bad));
    }
}

#[test]
fn metadata_that_netd_does_not_read_is_ignored_and_not_kept() {
    let policy = policy(&with_metadata("{name: a, uid: x, generation: 3, managedFields: [{a: 1}], labels: {a: b}, annotations: {c: d e}}"));
    assert_eq!(
        policy.source,
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: a\n  labels:\n    a: b\n  annotations:\n    c: \"d e\"\n\
         spec:\n  podSelector: {}\n"
    );
}

#[test]
fn annotations_of_netd_are_texts_that_say_true_or_false() {
    let manner = |annotations: &str| policy(&with_metadata(&format!("{{name: a, annotations: {annotations}}}"))).manner;
    assert_eq!(manner("{}"), Manner { audit: false, reject: false });
    assert_eq!(manner("{netd.io/audit: 'true'}"), Manner { audit: true, reject: false });
    assert_eq!(manner("{netd.io/audit: 'true', netd.io/reject: 'true'}"), Manner { audit: true, reject: true });
    assert_eq!(manner("{netd.io/audit: 'false', netd.io/reject: 'true'}"), Manner { audit: false, reject: true });
}

#[test]
fn a_misspelt_audit_never_becomes_enforcement() {
    for bad in [
        "annotations: {netd.io/audit: true}",
        "annotations: {netd.io/audit: 'yes'}",
        "annotations: {netd.io/audit: 'True'}",
        "annotations: {netd.io/audti: 'true'}",
        "annotations: {Netd.io/audit: 'true'}",
        "annotations: {netd.io/Audit: 'true'}",
        "annotations: {netd.io/dry-run: 'true'}",
        "annotation: {netd.io/audit: 'true'}",
        "anotations: {netd.io/audit: 'true'}",
        "labels: {netd.io/audit: 'true'}",
    ] {
        let why = refused(&with_metadata(&format!("{{name: a, {bad}}}")));
        assert!(why.contains("; "), "each says what to do: {why}");
    }
}

#[test]
fn namespaces_give_their_labels() {
    let parsed = taken(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: prod\n  labels: {kubernetes.io/metadata.name: prod, team: a}\n\
         spec:\n  finalizers: [kubernetes]\nstatus: {phase: Active}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: bare}}\n",
    );
    let of = |at: usize| (parsed.namespaces[at].namespace.as_str(), &parsed.namespaces[at].labels);
    assert_eq!(of(0), ("prod", &labels(&[("team", "a")]).labels));
    assert_eq!(of(1), ("bare", &labels(&[]).labels));
    refused("{apiVersion: v1, kind: Namespace, metadata: {name: prod, labels: {kubernetes.io/metadata.name: dev}}}");
    refused("{apiVersion: v1, kind: Namespace, metadata: {name: a.b}}");
    refused("{apiVersion: v1, kind: Namespace, metadata: {name: prod, annotations: {netd.io/audit: 'true'}}}");
}

#[test]
fn lists_are_unpacked_and_those_of_one_kind_say_it_for_all() {
    let item = "metadata: {name: a}, spec: {podSelector: {}}";
    let list = format!(
        "apiVersion: v1\nkind: List\nmetadata: {{resourceVersion: ''}}\nitems:\n- {{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, {item}}}\n- {{apiVersion: v1, kind: Namespace, metadata: {{name: n}}}}\n"
    );
    let parsed = taken(&list);
    assert_eq!((parsed.policies.len(), parsed.namespaces.len()), (1, 1));
    assert_eq!(taken("{apiVersion: v1, kind: List, items: []}").policies.len(), 0);
    assert_eq!(taken(&format!("{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicyList, items: [{{{item}}}]}}")).policies.len(), 1);
    let cluster = "spec: {tier: Admin, priority: 0, subject: {namespaces: {}}}";
    let clusters = format!("{CNP}List, items: [{{metadata: {{name: a}}, {cluster}}}]}}");
    assert_eq!(taken(&clusters).policies.len(), 1);
    assert_eq!(taken("{apiVersion: v1, kind: NamespaceList, items: [{metadata: {name: a}}]}").namespaces.len(), 1);

    let bad = list.replace("podSelector", "podSelectr");
    assert_eq!(refused(&bad), "f.yaml:5: items[0].spec.podSelectr: unknown field; did you mean podSelector?");
}

#[test]
fn other_kinds_are_refused_or_passed_over_as_asked() {
    let text = format!("{{apiVersion: v1, kind: Service, anything: 1}}\n---\n{}", network_text("  podSelector: {}\n"));
    assert_eq!(
        refused(&text),
        "f.yaml:1: kind: Service (v1) is of no kind that netd knows; take it out, or pass over it with --skip-other-kinds"
    );
    let skipped = parse(&[File { name: "f", text: &text }], OtherKinds::Skip).unwrap();
    assert_eq!(skipped.policies.len(), 1);
    let calico = "{apiVersion: crd.projectcalico.org/v1, kind: NetworkPolicy}";
    assert!(parse(&[File { name: "f", text: calico }], OtherKinds::Skip).is_ok());
    assert!(refused(calico).contains("--skip-other-kinds"));
}

#[test]
fn an_old_or_misspelt_policy_is_never_passed_over() {
    for (text, says) in [
        ("{apiVersion: extensions/v1beta1, kind: NetworkPolicy}", "write it as networking.k8s.io/v1"),
        ("{apiVersion: policy.networking.k8s.io/v1alpha1, kind: ClusterNetworkPolicy}", "write it as policy.networking.k8s.io/v1alpha2"),
        ("{apiVersion: v1, kind: NetworkPolicy}", "write it as networking.k8s.io/v1"),
        ("{apiVersion: networking.k8s.io/v1, kind: NetworkPolcy}", "did you mean NetworkPolicy?"),
        ("{kind: NetworkPolicy}", "apiVersion: is missing"),
        ("{apiVersion: v1}", "kind: is missing"),
        ("- 1", "is a list, where a mapping is needed"),
        ("some text", "is a text, where a mapping is needed"),
    ] {
        let errors = parse(&[File { name: "f", text }], OtherKinds::Skip).expect_err(text).to_string();
        assert!(errors.contains(says), "{errors}");
    }
    // Kubernetes' own others in the same groups are passed over.
    for kind in ["Ingress", "IngressClass", "ServiceCIDR", "IPAddress"] {
        let text = format!("{{apiVersion: networking.k8s.io/v1, kind: {kind}}}");
        assert!(parse(&[File { name: "f", text: &text }], OtherKinds::Skip).is_ok(), "{kind}");
    }
    for kind in ["Service", "Pod", "Secret", "ConfigMap", "Node", "Endpoints", "ServiceAccount"] {
        let text = format!("{{apiVersion: v1, kind: {kind}}}");
        assert!(parse(&[File { name: "f", text: &text }], OtherKinds::Skip).is_ok(), "{kind}");
    }
}

#[test]
fn what_stands_twice_is_refused_with_both_places() {
    let text = network_text("  podSelector: {}\n");
    let twice = parse(&[File { name: "a.yaml", text: &text }, File { name: "b.yaml", text: &format!("---\n{text}") }], OtherKinds::Refuse);
    assert_eq!(
        twice.expect_err("twice").to_string(),
        "b.yaml:2: NetworkPolicy default/p is here twice, first at a.yaml:1; take one of them out or rename it"
    );
    let namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: a}}\n---\n".repeat(2);
    assert_eq!(refused(&namespace), "f.yaml:3: namespace a is here twice, first at f.yaml:1; put its labels together");
    let elsewhere = with_metadata("{name: p, namespace: prod}");
    assert_eq!(taken(&format!("{text}---\n{elsewhere}")).policies.len(), 2);
    let cluster = format!("{CNP}, metadata: {{name: p}}, spec: {{tier: Admin, priority: 0, subject: {{namespaces: {{}}}}}}}}");
    assert_eq!(taken(&format!("{text}---\n{cluster}")).policies.len(), 2);
}

#[test]
fn one_error_refuses_everything() {
    let good = network_text("  podSelector: {}\n");
    let files = [File { name: "good", text: &good }, File { name: "bad", text: "a: [" }];
    assert_eq!(parse(&files, OtherKinds::Skip).expect_err("one is bad").errors[0].file, "bad");
}
