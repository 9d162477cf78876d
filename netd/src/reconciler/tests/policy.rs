//! Policies in the maps: before a container's first packet, after its last one, and as they were where something fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use netd_api::{
    fault::Code,
    message::{Reply, Request},
};
use netd_core::{
    op::Op,
    policy::book::{
        steps::{Sets, Write},
        wish::ByDefault,
    },
};

use crate::kernel::AtHooks;

use super::{FakeKernel, Reason, Reconciler, Stage, assert_nothing_to_do, json};

/// The maps hold what the book says, of every attachment and nobody else.
#[track_caller]
pub(super) fn assert_true(daemon: &Reconciler<FakeKernel>) {
    let Some(book) = &daemon.policing.book else { return };
    let verdicts = daemon.kernel.world().verdicts.clone();
    assert_eq!(verdicts.entries(), book.entries().collect::<BTreeSet<Write>>());
    let slots = daemon.desired.containers().values().flat_map(|container| &container.attachments).map(|attachment| attachment.slot);
    let governed = slots.map(|slot| (slot, book.sets(slot))).filter(|(_, sets)| *sets != Sets::default());
    assert_eq!(verdicts.sets, governed.collect::<BTreeMap<u32, Sets>>());
}

/// A policy that lets peers with this label in.
pub(super) fn lets_in(name: &str, peer: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}}}\nspec:\n  podSelector: {{matchLabels: {{app: db}}}}\n  \
         ingress:\n  - from: [{{podSelector: {{matchLabels: {{app: {peer}}}}}}}]\n    ports: [{{protocol: TCP, port: 5432}}]\n"
    )
}

pub(super) fn apply(text: &str, dry_run: bool) -> Request {
    let file = serde_json::json!({"files": [{"name": "policy.yaml", "text": text}], "dry_run": dry_run});
    Request::ApplyPolicies(Box::new(serde_json::from_value(file).unwrap()))
}

pub(super) fn container(name: &str) -> Request {
    Request::CreateContainer(json(&format!(
        r#"{{"name":"{name}","labels":{{"app":"{name}"}},"networks":[{{"network":"web"}}],"publish":["1{}:5432"]}}"#,
        1000 + name.len()
    )))
}

/// A network, a policy, and whom it is about.
pub(super) fn policed(stage: &Stage) -> Reconciler<FakeKernel> {
    let mut daemon = stage.daemon(stage.kernel.clone());
    daemon.ask(&Request::CreateNetwork(json(r#"{"name":"web","subnets":["10.9.0.0/24","fd00:9::/64"]}"#))).unwrap();
    daemon.ask(&apply(&lets_in("p", "web"), false)).unwrap();
    daemon.ask(&container("db")).unwrap();
    daemon
}

fn slot(daemon: &Reconciler<FakeKernel>, name: &str) -> u32 {
    daemon.desired.find(&name.parse().unwrap()).unwrap().attachments[0].slot
}

/// Where the first step of a kind is among those that were done.
#[track_caller]
fn first(done: &[Op], is_it: impl Fn(&Op) -> bool) -> usize {
    done.iter().position(is_it).expect("there is such a step")
}

#[test]
fn a_container_is_judged_before_its_link_is_known_or_up_and_let_go_after_it_went() {
    let stage = Stage::new();
    let mut daemon = policed(&stage);
    let (slot, done) = (slot(&daemon, "db"), std::mem::take(&mut stage.kernel.world().done));
    let says = |op: &Op, governed: bool| matches!(op, Op::Enforce(steps) if steps.flips.get(&slot).is_some_and(|sets| (*sets != Sets::default()) == governed));
    let enforced = first(&done, |op| says(op, true));
    assert!(enforced < first(&done, |op| matches!(op, Op::AddSlot(_, number, ..) if *number == slot)));
    let host_end = &daemon.desired.containers().values().next().unwrap().attachments[0].host_ifname;
    assert!(enforced < first(&done, |op| matches!(op, Op::SetUp(_, link, true) if link == host_end)));
    assert_nothing_to_do(&mut daemon);

    daemon.ask(&Request::RemoveContainer("db".parse().unwrap())).unwrap();
    let done = stage.kernel.world().done.clone();
    let forgotten = first(&done, |op| says(op, false));
    assert!(first(&done, |op| matches!(op, Op::DelNetns(_) | Op::DelLink(_))) < forgotten);
    assert_nothing_to_do(&mut daemon);
}

#[test]
fn a_policy_that_does_not_fit_is_refused_and_the_former_holds() {
    let stage = Stage::new();
    let mut daemon = policed(&stage);
    let ports: String = (0..100).map(|n| format!("{{protocol: TCP, port: {}, endPort: {}}}, ", n * 600 + 1, n * 600 + 598)).collect();
    let rules = (0..200).map(|n| format!("  - from: [{{ipBlock: {{cidr: 192.0.{n}.0/24}}}}]\n    ports: [{ports}]\n"));
    let text = lets_in("p", "web");
    let head = &text[..text.find("  - from").unwrap()];
    let (desired, verdicts) = (daemon.desired.clone(), stage.kernel.world().verdicts.clone());
    let fault = daemon.ask(&apply(&(head.to_owned() + &rules.collect::<String>()), false)).unwrap_err();
    assert_eq!(fault.code, Code::TooLarge, "{fault:?}");
    assert!(fault.what.contains("default/p takes the most") && fault.hint.contains("the former policies hold"), "{fault:?}");
    assert!(daemon.desired == desired);
    assert_eq!(stage.kernel.world().verdicts, verdicts);
    assert_nothing_to_do(&mut daemon);
}

#[test]
fn a_step_that_fails_takes_policies_back_whichever_it_is() {
    let stage = Stage::new();
    let mut daemon = policed(&stage);
    daemon.ask(&container("web")).unwrap();
    let requests = [
        container("cache"),
        apply(&lets_in("p", "cache"), false),
        apply(&lets_in("q", "cache"), false),
        Request::RemovePolicy("default/p".parse().unwrap()),
        Request::RemoveContainer("web".parse().unwrap()),
    ];
    let mut failures = 0;
    for request in &requests {
        for nth in 0.. {
            let before = (daemon.desired.clone(), stage.kernel.world().objects.clone());
            let allowed = ways(&daemon);
            daemon.kernel = stage.kernel.failing_at(nth);
            let answer = daemon.ask(request);
            daemon.kernel = stage.kernel.clone();
            match answer {
                Ok(_) => break,
                Err(fault) => assert_eq!(fault.code, Code::Kernel, "{fault:?}"),
            }
            failures += 1;
            assert!(daemon.desired == before.0, "{request:?}, step {nth}");
            assert_eq!(stage.kernel.world().objects, before.1, "{request:?}, step {nth}");
            assert_eq!(ways(&daemon), allowed, "{request:?}, step {nth}");
            assert_nothing_to_do(&mut daemon);
        }
    }
    assert!(failures > 20, "only {failures} steps were tried");
}

/// Who gets what answer at the database.
fn ways(daemon: &Reconciler<FakeKernel>) -> Vec<(String, u32)> {
    let book = daemon.policing.book.as_ref().unwrap();
    let sets = book.sets(slot(daemon, "db"));
    let peers = daemon
        .desired
        .containers()
        .values()
        .flat_map(|peer| peer.attachments[0].addresses.iter().map(|net| (peer.name.to_string(), net.addr())));
    peers
        .map(|(name, address)| (name, book.judge(sets, netd_core::policy::book::wish::Direction::Ingress, address, 6, 5432).verdict))
        .collect()
}

#[test]
fn steps_that_failed_are_done_again_by_the_next_look() {
    let stage = Stage::new();
    let mut daemon = policed(&stage);
    daemon.ask(&container("other")).unwrap();
    daemon.settings.policy_default = ByDefault::Deny;
    daemon.kernel = stage.kernel.failing_at(0);
    daemon.resettle_policy();
    let other = slot(&daemon, "other");
    assert!(!stage.kernel.world().verdicts.sets.contains_key(&other), "it failed");
    daemon.reconcile(&Reason::Retry);
    assert!(stage.kernel.world().verdicts.sets.contains_key(&other));
    assert_nothing_to_do(&mut daemon);
}

#[test]
fn the_default_is_taken_from_the_settings_and_by_a_reload() {
    let stage = Stage::new();
    let mut daemon = policed(&stage);
    daemon.ask(&container("other")).unwrap();
    let other = slot(&daemon, "other");
    let governed = || stage.kernel.world().verdicts.sets.contains_key(&other);
    assert!(!governed() && stage.kernel.world().verdicts.fast_path);
    (daemon.settings.policy_default, daemon.settings.fast_path) = (ByDefault::Deny, false);
    daemon.resettle_policy();
    assert!(governed() && !stage.kernel.world().verdicts.fast_path);
    assert_nothing_to_do(&mut daemon);
    daemon.settings.policy_default = ByDefault::Allow;
    daemon.resettle_policy();
    assert!(!governed());
    assert_nothing_to_do(&mut daemon);
}

#[test]
fn a_link_that_carries_much_gets_its_own_hooks_and_a_reload_takes_them_away() {
    let stage = Stage::new();
    let mut daemon = policed(&stage);
    let at_own_hooks = || stage.kernel.world().at_own_hooks.clone().map(|hooks| hooks.at);
    let carries = |slot, packets| {
        stage.kernel.world().packets.insert(slot, packets);
    };
    daemon.ask(&container("other")).unwrap();
    let (db, other) = (slot(&daemon, "db"), slot(&daemon, "other"));
    [db, other].into_iter().for_each(|slot| carries(slot, 0));
    let look = |daemon: &mut Reconciler<FakeKernel>, second| daemon.look_for_busy(Duration::from_secs(second));
    look(&mut daemon, 1);
    carries(db, 1_000_000);
    look(&mut daemon, 2);
    assert_eq!(at_own_hooks(), None, "this kernel's links have none");
    stage.kernel.world().at_own_hooks = Some(AtHooks { barred: [other].into(), ..AtHooks::default() });
    look(&mut daemon, 3);
    assert_eq!(at_own_hooks(), Some([].into()), "until the second look nobody can tell");
    [db, other].into_iter().for_each(|slot| carries(slot, 2_000_000));
    look(&mut daemon, 4);
    [db, other].into_iter().for_each(|slot| carries(slot, 3_000_000));
    look(&mut daemon, 5);
    assert_eq!(at_own_hooks(), Some([db].into()), "the other one may not leave the blocks");
    let Ok(Reply::Status(status)) = daemon.ask(&Request::Status) else { panic!("no status") };
    assert_eq!(status.policy.unwrap().own_hooks, Some(1));
    assert_nothing_to_do(&mut daemon);
    daemon.settings.own_hooks = false;
    let Ok(Reply::Status(status)) = daemon.ask(&Request::Status) else { panic!("no status") };
    assert_eq!(status.policy.unwrap().own_hooks, Some(1), "until they are taken away");
    daemon.look_for_busy_in_time();
    assert_eq!(at_own_hooks(), Some([].into()));
    let Ok(Reply::Status(status)) = daemon.ask(&Request::Status) else { panic!("no status") };
    assert_eq!(status.policy.unwrap().own_hooks, None, "it is off");
}

#[test]
fn where_all_hooks_are_taken_a_busy_link_gets_those_of_an_idle_one_and_no_more_than_become_free() {
    let stage = Stage::new();
    let mut daemon = policed(&stage);
    daemon.ask(&container("other")).unwrap();
    let (db, other) = (slot(&daemon, "db"), slot(&daemon, "other"));
    // The rest of the 64 are somebody's of whom nothing is known.
    let full: std::collections::BTreeSet<u32> = [db].into_iter().chain(1_000..1_063).collect();
    stage.kernel.world().at_own_hooks = Some(AtHooks { at: full.clone(), ..AtHooks::default() });
    let look = |daemon: &mut Reconciler<FakeKernel>, second: u64| {
        stage.kernel.world().packets.extend([(db, 7), (other, second * 1_000_000)]);
        daemon.look_for_busy(Duration::from_secs(second));
        stage.kernel.world().at_own_hooks.clone().unwrap().at
    };
    assert_eq!([1, 2].map(|second| look(&mut daemon, second)), [full.clone(), full.clone()]);
    daemon.kernel = stage.kernel.failing_at(0);
    assert_eq!(look(&mut daemon, 3), full, "who cannot leave makes no room");
    let at = look(&mut daemon, 4);
    assert!(at.contains(&other) && !at.contains(&db) && at.len() == 64, "{at:?}");
}

#[test]
fn without_ebpf_a_policy_is_refused_and_containers_are_made() {
    let stage = Stage::new();
    stage.kernel.world().host.features.datapath = false;
    let mut daemon = stage.daemon(stage.kernel.clone());
    let fault = daemon.ask(&apply(&lets_in("p", "web"), false)).unwrap_err();
    assert_eq!(fault.code, Code::Unsupported, "{fault:?}");
    assert!(daemon.desired.policies().is_empty());
    daemon.ask(&Request::CreateNetwork(json(r#"{"name":"web"}"#))).unwrap();
    daemon.ask(&container("db")).unwrap();
    assert!(stage.kernel.world().done.iter().all(|op| !matches!(op, Op::Enforce(_))));
    let Ok(Reply::Status(status)) = daemon.ask(&Request::Status) else { panic!("no status") };
    assert!(status.policy.is_none() && status.degraded.is_empty(), "{status:?}");
    daemon.settings.policy_default = ByDefault::Deny;
    let Ok(Reply::Status(status)) = daemon.ask(&Request::Status) else { panic!("no status") };
    assert!(status.degraded.iter().any(|trouble| trouble.what.contains("not enforced")), "{status:?}");
}

#[test]
fn the_next_daemon_takes_over_verdicts_and_goes_on_counting_under_the_same_numbers() {
    let stage = Stage::new();
    let numbers = stage.disk.path().join("rules.json");
    let mut daemon = policed(&stage).with_numbers(numbers.clone());
    daemon.adopt_policies();
    let rules = |daemon: &Reconciler<FakeKernel>| {
        let book = daemon.policing.book.as_ref().unwrap();
        book.rules().iter().map(|(number, name)| (name.to_string(), *number)).collect::<BTreeMap<_, _>>()
    };
    daemon.ask(&apply(&lets_in("a", "web"), false)).unwrap();
    // The rule that none matches gets its number with the first container that it is about.
    daemon.ask(&Request::RemoveContainer("db".parse().unwrap())).unwrap();
    daemon.ask(&apply(&lets_in("a", "cache"), false)).unwrap();
    daemon.ask(&container("db")).unwrap();
    let (counted, former) = (rules(&daemon), stage.kernel.world().verdicts.sets.clone());
    drop(daemon);
    let mut next = stage.daemon(stage.kernel.reopened()).with_numbers(numbers);
    next.adopt_policies();
    let counts_on = rules(&next);
    assert!(counts_on.len() == 3 && counts_on.iter().all(|(rule, number)| counted.get(rule) == Some(number)), "{counts_on:?}, {counted:?}");
    assert_ne!(stage.kernel.world().verdicts.sets, former, "its own are above all that were there");
    assert_nothing_to_do(&mut next);
}

#[test]
fn a_start_lets_no_container_be_judged_before_all_that_it_is_judged_by_is_there() {
    let stage = Stage::new();
    let mut daemon = policed(&stage);
    for name in ["web", "cache"] {
        daemon.ask(&container(name)).unwrap();
    }
    drop(daemon);
    stage.kernel.world().done.clear();
    let mut next = stage.daemon(stage.kernel.reopened());
    let done = stage.kernel.world().done.clone();
    let steps: Vec<_> = done.iter().filter_map(|op| if let Op::Enforce(steps) = op { Some(steps) } else { None }).collect();
    let [steps] = steps.as_slice() else { panic!("all at once, and nothing else: {steps:?}") };
    assert_eq!(steps.flips.len(), 3);
    let book = next.policing.book.as_ref().unwrap();
    assert!(book.entries().all(|entry| steps.before.contains(&entry)), "{steps}");
    assert_nothing_to_do(&mut next);
}

#[test]
fn a_start_that_fails_at_policies_leaves_the_former_ones_until_all_is_true() {
    let stage = Stage::new();
    let mut daemon = policed(&stage);
    daemon.ask(&container("web")).unwrap();
    let allowed = ways(&daemon);
    drop(daemon);
    stage.kernel.world().done.clear();
    let _sockets_went = stage.kernel.reopened();
    let mut next = stage.daemon(stage.kernel.failing_at(0));
    let done = stage.kernel.world().done.clone();
    let flipped = done.iter().filter_map(|op| if let Op::Enforce(steps) = op { Some(steps.flips.len()) } else { None });
    assert_eq!(flipped.collect::<Vec<_>>(), [2], "nobody before all");
    assert_true(&next);
    assert_eq!(ways(&next), allowed);
    assert_nothing_to_do(&mut next);
}

#[test]
fn what_the_programs_cannot_see_is_told_to_them() {
    let stage = Stage::new();
    stage.kernel.world().host.addresses.insert("198.51.100.7".parse().unwrap());
    let daemon = policed(&stage);
    let hosts = stage.kernel.world().verdicts.hosts.clone();
    assert_eq!(hosts, ["198.51.100.7", "10.9.0.1", "fd00:9::1"].map(|address| address.parse().unwrap()).into());
    drop(daemon);
    let _next = stage.daemon(stage.kernel.reopened());
    let published = stage.kernel.world().verdicts.published.clone();
    assert_eq!(published.iter().map(|publish| publish.port).collect::<BTreeSet<_>>(), [11002].into());
}
