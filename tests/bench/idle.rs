//! What the daemon costs while nothing happens: resident memory and wake-ups, with no container and with 1,000.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::{
    stand::{Stand, container},
    table::Goals,
};

const PER_NETWORK: usize = 250;

pub(crate) fn run(quick: bool) -> bool {
    let (containers, watched) = if quick { (100, Duration::from_secs(20)) } else { (1000, Duration::from_secs(60)) };
    let mut goals = Goals::default();
    let mut stand = Stand::new();
    stand.asks(&netd_api::message::Request::Cleanup);
    stand.lab.netd().stop();
    stand.starts_again();
    measure(&stand, &mut goals, 0, watched, 15.0);
    for n in 0..containers {
        let network = format!("bench-{}", "x".repeat(n / PER_NETWORK + 1));
        if n % PER_NETWORK == 0 {
            stand.network(&network);
        }
        stand.asks(&container(&format!("c{n}"), &network));
    }
    measure(&stand, &mut goals, containers, watched, 40.0);
    goals.all_met()
}

fn measure(stand: &Stand, goals: &mut Goals, containers: usize, watched: Duration, most: f64) {
    // Until some 20 s after the last change the kernel itself tells of each bridge port again; idling begins then.
    thread::sleep(Duration::from_secs(40));
    let pid = stand.lab.netd().pid();
    let wake_ups = wake_ups(pid, watched) / watched.as_secs_f64() * 10.0;
    let memory = resident(pid);
    println!(
        "{containers} containers, nothing happens for {} s: {memory:.1} MiB resident, {wake_ups:.2} wake-ups in 10 s",
        watched.as_secs()
    );
    goals.at_most(&format!("resident memory with {containers} containers"), memory, most, " MiB");
    goals.at_most(&format!("wake-ups in 10 s with {containers} containers"), wake_ups, 1.0, "");
}

/// VmRSS of proc(5), in MiB.
fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::MAX) / 1024.0
}

/// How often it woke: spans of 100 ms in which any of its threads ran. A full check, which uses several threads for a moment, is one.
fn wake_ups(pid: u32, watched: Duration) -> f64 {
    let began = Instant::now();
    let (mut before, mut woken) = (switches(pid), 0.0);
    while began.elapsed() < watched {
        thread::sleep(Duration::from_millis(100));
        let now = switches(pid);
        if now != before {
            woken += 1.0;
        }
        before = now;
    }
    woken
}

/// How often its threads, ended ones apart, gave the processor up by themselves: voluntary_ctxt_switches of proc(5).
fn switches(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_thread = threads.filter_map(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse::<u64>().ok()
    });
    of_thread.sum()
}
