//! A file of policies with anything wrong in it is refused whole, with the file, the line and the field; what was in force stays in force.

use lab::{
    Lab,
    policy::{
        reach::tcp,
        yaml::{cluster_policy, documents, network_policy},
    },
};
use netd_api::fault::{Code, Fault};

const CLOSED: &str = "{podSelector: {}, policyTypes: [Ingress]}";

/// It says each of these words, in what is wrong or what to do.
#[track_caller]
fn says(fault: &Fault, words: &[&str]) {
    let said = format!("{} {}", fault.what, fault.hint);
    let missing: Vec<_> = words.iter().filter(|word| !said.contains(**word)).collect();
    assert!(missing.is_empty(), "{said:?} does not say {missing:?}");
}

#[test]
fn a_bad_document_refuses_the_good_ones_beside_it_and_the_former_policies_stay() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (net.container("a").listens(80), net.container("b"));
    lab.applies(&network_policy("default/closed", CLOSED));
    let open = network_policy("default/closed", "{podSelector: {}, ingress: [{}]}");
    // The second document begins in line 6, its `spec` is line 9.
    let fault = lab.cannot_apply(&documents([&open, &network_policy("default/bad", "{podSelecter: {}}")]));
    assert_eq!(fault.code, Code::BadRequest);
    says(&fault, &["-:9", "podSelecter", "podSelector"]);
    assert_eq!(lab.policy_names(), ["default/closed"]);
    b.reaches_not(&a, tcp(80));
    lab.ends_clean();
}

#[test]
fn one_bad_file_of_several_is_named_and_refuses_them_all() {
    let lab = Lab::new();
    let good = network_policy("default/good", CLOSED);
    let bad = network_policy("default/bad", "{podSelector: {}, ingress: [{ports: [{port: 70000}]}]}");
    let fault = lab.tries_to_apply(&[("good.yaml", &good), ("policies/bad.yaml", &bad)]).expect_err("one of them is bad");
    says(&fault, &["policies/bad.yaml:4", "port"]);
    assert_eq!(lab.policy_names(), Vec::<String>::new());
    let applied = lab.tries_to_apply(&[("good.yaml", &good), ("other.yaml", &network_policy("other/good", CLOSED))]);
    assert_eq!(applied.expect("both are good").policies.len(), 2);
    assert_eq!(lab.policy_names(), ["default/good", "other/good"]);
    lab.ends_clean();
}

#[test]
fn what_the_documentation_does_not_allow_is_refused_with_the_field() {
    let lab = Lab::new();
    let cases: [(&str, &[&str]); 11] = [
        ("{podSelector: {}, policyTypes: [Sideways]}", &["policyTypes", "Sideways"]),
        ("{podSelector: {matchLabel: {app: a}}}", &["matchLabel", "matchLabels"]),
        ("{podSelector: {matchExpressions: [{key: app, operator: Like, values: [a]}]}}", &["operator", "Like"]),
        ("{podSelector: {matchExpressions: [{key: app, operator: In}]}}", &["values"]),
        ("{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/33}}]}]}", &["cidr", "10.0.0.0/33"]),
        ("{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [192.168.0.0/16]}}]}]}", &["except", "192.168.0.0/16"]),
        ("{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}]}", &["ipBlock"]),
        ("{podSelector: {}, ingress: [{from: [{}]}]}", &["from"]),
        ("{podSelector: {}, ingress: [{ports: [{port: http, endPort: 90}]}]}", &["endPort"]),
        ("{podSelector: {}, ingress: [{ports: [{port: 90, endPort: 80}]}]}", &["endPort"]),
        ("{podSelector: {}, ingress: [{ports: [{protocol: ICMP}]}]}", &["protocol", "ICMP"]),
    ];
    for (spec, words) in cases {
        says(&lab.cannot_apply(&network_policy("default/bad", spec)), &[&["-:4"], words].concat());
    }
    assert_eq!(lab.policy_names(), Vec::<String>::new());
    lab.ends_clean();
}

#[test]
fn what_a_cluster_policy_may_not_say_is_refused_with_the_field() {
    let lab = Lab::new();
    let with = |rest: &str| cluster_policy("bad", &format!("{{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, {rest}}}"));
    let cases: [(&str, &[&str]); 6] = [
        ("ingress: [{action: Allow, from: [{namespaces: {}}]}]", &["action", "Allow"]),
        ("ingress: [{action: Deny, from: []}]", &["from"]),
        ("ingress: [{action: Deny}]", &["from"]),
        ("ingress: [{action: Deny, from: [{networks: [10.0.0.0/8]}]}]", &["networks"]),
        ("egress: [{action: Accept, to: [{domainNames: [example.com]}]}]", &["domainNames"]),
        ("egress: [{action: Deny, to: [{networks: [10.0.0.0/8]}], protocols: [{destinationNamedPort: http}]}]", &["destinationNamedPort"]),
    ];
    for (rest, words) in cases {
        says(&lab.cannot_apply(&with(rest)), words);
    }
    let subject = "subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]";
    says(&lab.cannot_apply(&cluster_policy("bad", &format!("{{tier: Normal, priority: 1, {subject}}}"))), &["tier", "Normal"]);
    says(&lab.cannot_apply(&cluster_policy("bad", &format!("{{tier: Admin, priority: 1001, {subject}}}"))), &["priority", "1001"]);
    lab.ends_clean();
}

#[test]
fn documents_lists_and_what_kubectl_prints_are_taken() {
    let lab = Lab::new();
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: networking.k8s.io/v1\n  kind: NetworkPolicy\n  metadata:\n    name: one\n    \
                namespace: default\n    creationTimestamp: \"2024-01-01T00:00:00Z\"\n    uid: 6f2c\n    resourceVersion: \"7\"\n    generation: 1\n  \
                spec:\n    podSelector: {}\n    policyTypes:\n    - Ingress\n  status: {}\n- apiVersion: networking.k8s.io/v1\n  kind: NetworkPolicy\n  \
                metadata:\n    name: two\n  spec:\n    podSelector: {}\n";
    let three = network_policy("other/three", CLOSED);
    lab.applies(&documents([list, &three]));
    assert_eq!(lab.policy_names(), ["default/one", "default/two", "other/three"]);
    lab.ends_clean();
}

#[test]
fn other_kinds_are_refused_unless_they_shall_be_passed_over() {
    let lab = Lab::new();
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}}\n";
    let file = documents([&network_policy("default/closed", CLOSED), service]);
    says(&lab.cannot_apply(&file), &["-:", "Service"]);
    assert_eq!(lab.policy_names(), Vec::<String>::new());
    lab.netctl_with(&["policy", "apply", "-f", "-", "--skip-other-kinds"], &[], &file).expect_done();
    assert_eq!(lab.policy_names(), ["default/closed"]);
    lab.ends_clean();
}

#[test]
fn a_policy_that_is_there_twice_in_one_file_is_refused() {
    let lab = Lab::new();
    let fault = lab.cannot_apply(&documents([&network_policy("default/a", CLOSED), &network_policy("default/a", "{podSelector: {}}")]));
    says(&fault, &["default/a"]);
    assert_eq!(lab.policy_names(), Vec::<String>::new());
    lab.ends_clean();
}
