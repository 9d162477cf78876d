//! What applying and removing policies does to the wish, and what is said of it.

use netd_api::{message::Request, policy::PolicyFile};

use super::*;
use crate::{
    change::{Context, change},
    host::Host,
    policy::pod,
};

fn files(texts: &[&str]) -> PolicyFiles {
    let files = texts.iter().enumerate().map(|(at, text)| PolicyFile { name: format!("{at}.yaml"), text: (*text).to_owned() });
    PolicyFiles { files: files.collect(), skip_other_kinds: false, dry_run: false }
}

fn policy(name: &str, spec: &str) -> String {
    format!("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n---\n")
}

fn namespace(name: &str, labels: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {labels}}}\n---\n")
}

const CLUSTER: &str = "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: teams}\nspec: {tier: Admin, \
                       priority: 1, subject: {namespaces: {matchLabels: {team: a}}}, \
                       ingress: [{name: no, action: Deny, from: [{namespaces: {}}]}]}\n";

fn ask(desired: &Desired, request: &Request) -> Result<Change, Fault> {
    let host = Host::default();
    change(desired, request, Context { host: &host, pools: &crate::ipam::default_v4(), found: None, busy: &[], held: &[] })
}

fn after(desired: &Desired, files: &PolicyFiles) -> Desired {
    let mut after = desired.clone();
    after.apply(&ask(desired, &Request::ApplyPolicies(Box::new(files.clone()))).expect("it is taken"));
    after
}

fn with_containers() -> Desired {
    let mut desired = Desired::default();
    for json in [r#"{"name":"web","namespace":"shop","labels":{"app":"web"}}"#, r#"{"name":"db","namespace":"shop"}"#] {
        let change = ask(&desired, &Request::CreateContainer(serde_json::from_str(json).expect("a spec"))).expect("it is made");
        desired.apply(&change);
    }
    desired
}

#[test]
fn policies_are_created_changed_or_left_as_they_are() {
    let one = policy("one", "{podSelector: {matchLabels: {app: web}}}") + &namespace("shop", "{team: a}") + CLUSTER;
    let desired = with_containers();
    let first = after(&desired, &files(&[&one]));
    assert_eq!(first.policies().keys().map(ToString::to_string).collect::<Vec<_>>(), ["teams", "shop/one"]);
    assert_eq!(first.namespaces().len(), 1);

    assert_eq!(apply(&first, &files(&[&one])).expect("it is taken"), Change::default(), "nothing differs");
    let two = policy("one", "{podSelector: {}}") + &policy("two", "{podSelector: {}}");
    let change = apply(&first, &files(&[&two])).expect("it is taken");
    let is_new = |edit: &Edit| matches!(edit, Edit::Policy { before: None, after: Some(_), .. });
    assert_eq!(change.edits.iter().map(is_new).collect::<Vec<_>>(), [false, true]);

    let what = |before: &Desired, text: &str| {
        let applied = applied(before, &files(&[text])).expect("it is taken");
        applied
            .policies
            .iter()
            .map(|policy| {
                let selects: Vec<&str> = policy.selects.iter().map(netd_api::names::ContainerName::as_str).collect();
                format!("{} {:?} {}", policy.name, policy.change, selects.join(","))
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(what(&desired, &one), ["shop/one Created web", "teams Created db,web"], "with the labels that came along");
    assert_eq!(what(&first, &one), ["shop/one Unchanged web", "teams Unchanged db,web"]);
    assert_eq!(what(&first, &two), ["shop/one Changed db,web", "shop/two Created db,web"]);
}

#[test]
fn a_fault_in_one_file_refuses_all_and_says_where_in_a_dry_run_too() {
    let good = policy("one", "{podSelector: {}}");
    let bad = policy("two", "{podSelektor: {}}") + &policy("three", "{podSelector: {}, policyTypes: [Egres]}");
    for dry_run in [false, true] {
        let files = PolicyFiles { dry_run, ..files(&[&good, &bad]) };
        let fault = ask(&Desired::default(), &Request::ApplyPolicies(Box::new(files))).expect_err("it is refused");
        assert_eq!(fault.code, Code::BadRequest);
        for words in ["1.yaml:4: spec.podSelektor: unknown field; did you mean podSelector?", "1.yaml:9: spec.policyTypes[0]"] {
            assert!(fault.what.contains(words), "{fault}");
        }
        assert!(fault.hint.contains("nothing was applied"), "{}", fault.hint);
    }
}

#[test]
fn a_dry_run_changes_nothing_and_questions_do_not_either() {
    let dry = PolicyFiles { dry_run: true, ..files(&[&policy("one", "{podSelector: {}}")]) };
    let desired = with_containers();
    for request in [
        Request::ApplyPolicies(Box::new(dry)),
        Request::Policies,
        Request::Policy("shop/one".parse().expect("a name")),
        Request::Flows(Default::default()),
        Request::Advise("web".parse().expect("a name")),
    ] {
        assert_eq!(ask(&desired, &request).expect("it is no matter of the wish"), Change::default());
    }
}

#[test]
fn a_policy_is_removed_by_its_name_and_the_nearest_is_named_where_there_is_none() {
    let desired = after(&Desired::default(), &files(&[&policy("allow-web", "{podSelector: {}}"), CLUSTER]));
    let rm = |name: &str| ask(&desired, &Request::RemovePolicy(name.parse().expect("a name")));
    let mut left = desired.clone();
    left.apply(&rm("shop/allow-web").expect("it is there"));
    assert_eq!(left.policies().len(), 1);
    for (name, hint) in [
        ("shop/alow-web", "did you mean shop/allow-web?"),
        ("allow-web", "did you mean shop/allow-web?"),
        ("default/teams", "did you mean teams?"),
        ("something/else", "see `netctl policy ls`"),
    ] {
        let fault = rm(name).expect_err("there is none");
        assert_eq!(fault.code, Code::NotFound);
        assert!(fault.what.contains(&format!("there is no policy {name}")) && fault.hint.starts_with(hint), "{fault} {}", fault.hint);
    }
}

#[test]
fn labels_of_a_namespace_are_those_of_the_last_files_and_none_are_no_labels() {
    let first = after(&Desired::default(), &files(&[&namespace("shop", "{team: a, tier: b}")]));
    let second = after(&first, &files(&[&namespace("shop", "{team: c}")]));
    let name = "shop".parse::<Namespace>().expect("a name");
    assert_eq!(second.namespaces()[&name].len(), 1);
    assert_eq!(pod::namespace_labels(second.namespaces(), &name).len(), 2, "and its own name");
    let third = after(&second, &files(&[&namespace("shop", "{}")]));
    assert!(third.namespaces().is_empty());
    assert_eq!(apply(&third, &files(&[&namespace("shop", "{}")])).expect("it is taken"), Change::default());
}

#[test]
fn cleanup_takes_policies_and_labels_along_and_can_be_reversed() {
    let all = policy("one", "{podSelector: {}}") + &namespace("shop", "{team: a}") + CLUSTER;
    let desired = after(&with_containers(), &files(&[&all]));
    let change = ask(&desired, &Request::Cleanup).expect("it is always taken");
    let mut gone = desired.clone();
    gone.apply(&change);
    assert!(gone.policies().is_empty() && gone.namespaces().is_empty() && gone.containers().is_empty());
    gone.apply(&change.reverse());
    assert!(gone == desired);
}

#[test]
fn a_policy_that_would_not_be_read_again_is_refused() {
    // What is short with an escape of one letter is three times as long with the code point.
    let note = r"\a".repeat(1_500_000);
    let text = format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: long, annotations: {{note: \"{note}\"}}}}\nspec: {{}}\n"
    );
    let fault = apply(&Desired::default(), &files(&[&text])).expect_err("it is refused");
    assert!(fault.what.contains("default/long") && fault.what.contains("more than 8 MiB"), "{fault}");
}
