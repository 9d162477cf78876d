//! A thousand containers on two networks: how long a change of policy takes until it is in force for all of them, and what netd and its maps take.
//! Never sends a packet.

use std::{fs, path::Path};

use netd_api::message::{Reply, Request};

use super::{
    estimate::Estimate,
    kernel,
    rules::{app, applying, different, head},
    subject::on_network,
};
use crate::{stand::Stand, table::Goals};

/// A bridge has 1,023 ports.
const NETWORKS: [&str; 2] = ["bench-x", "bench-xx"];
const POLICIES: usize = 50;
const CHANGE_MOST_MS: f64 = 100.0;
const MEMORY_MOST_MIB: f64 = 100.0;

/// Which of the two is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Change,
    Memory,
    Both,
}

pub(super) fn measured(part: Part, containers: usize, rounds: usize, goals: &mut Goals) {
    let mut stand = Stand::new();
    println!("\nmaking {containers} containers on {} networks …", NETWORKS.len());
    NETWORKS.iter().for_each(|network| stand.network(network));
    for number in 0..containers {
        let network = NETWORKS[number % NETWORKS.len()];
        stand.asks(&on_network(&format!("c{number}"), network, &[("app", &app(number))]));
    }
    if part != Part::Memory {
        changes(&mut stand, containers, rounds, goals);
    }
    if part != Part::Change {
        memory(&mut stand, containers, goals);
    }
}

/// From the request to its answer: the answer says that it is in force.
fn changes(stand: &mut Stand, containers: usize, rounds: usize, goals: &mut Goals) {
    let policy = |port: usize| {
        let rule = format!("  ingress:\n  - {{from: [{{podSelector: {{}}}}], ports: [{{protocol: TCP, port: {port}}}]}}\n");
        applying(head("all", "{}", "Ingress") + &rule)
    };
    let Reply::PoliciesApplied(applied) = stand.asks(&policy(80)) else { panic!("no answer to policies") };
    let selected: usize = applied.policies.iter().map(|policy| policy.selects.len()).sum();
    assert_eq!(selected, containers, "the policy selects all of them");
    let mut times: Vec<f64> = (0..rounds).map(|round| stand.times(&policy(81 + round % 2))).collect();
    let is_undecided = |figure: Estimate| figure.low <= CHANGE_MOST_MS && figure.high > CHANGE_MOST_MS;
    if is_undecided(Estimate::of(&times)) {
        times.extend((0..rounds).map(|round| stand.times(&policy(81 + round % 2))));
    }
    let slowest = times.iter().copied().fold(0.0, f64::max);
    let figure = Estimate::of(&times);
    println!("a policy that selects all of {containers} changes: {} ms, slowest {slowest:.1} ms, of {}", figure.shown(1), times.len());
    let first = {
        stand.asks(&Request::RemovePolicy("default/all".parse().expect("a good name")));
        stand.times(&policy(80))
    };
    println!("and the first one for containers that had none: {first:.1} ms");
    let what = format!("a change for {containers} containers, in force after");
    goals.note(figure.high <= CHANGE_MOST_MS, &what, &format!("{} ms, goal at most {CHANGE_MOST_MS:.0} ms", figure.shown(1)));
    stand.asks(&Request::RemovePolicy("default/all".parse().expect("a good name")));
}

fn memory(stand: &mut Stand, containers: usize, goals: &mut Goals) {
    stand.asks(&applying(different(POLICIES)));
    let pid = stand.lab.netd().pid();
    let [resident, own] = ["Rss:", "Pss:"].map(|field| rollup(pid, field));
    let maps = mib(kernel::memory(&stand.lab.host().path("/sys/fs/bpf/netd"), pid));
    println!(
        "{containers} containers with {POLICIES} different policies: netd has {resident:.1} MiB resident ({own:.1} MiB its own share), its maps and programs {maps:.1} MiB"
    );
    goals.at_most(
        &format!("memory with {containers} containers and {POLICIES} policies, maps included"),
        resident + maps,
        MEMORY_MOST_MIB,
        " MiB",
    );
}

/// A field of /proc/PID/smaps_rollup, in MiB.
fn rollup(pid: u32, field: &str) -> f64 {
    let text = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::MAX) / 1024.0
}

#[expect(clippy::cast_precision_loss, reason = "some hundreds of MiB")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
