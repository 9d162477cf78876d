//! What policy in force adds to making a container: two hosts, one with policies and one without, in turn. Never measures the first one made.

use std::{thread, time::Duration};

use super::{
    estimate::Estimate,
    rules::{app, applying, different},
    subject::on_network,
};
use crate::{
    stand::{Stand, removal},
    table::Goals,
};

/// Containers that are there.
const THERE: usize = 20;
/// Policies, of which six select the container.
const POLICIES: usize = 50;
/// After a removal the kernel works on for some time (RCU, the namespace's end); neither shall pay for the other.
const QUIET: Duration = Duration::from_millis(100);
const MOST_MS: f64 = 0.5;
const WARM: usize = 3;

pub(super) fn measured(rounds: usize, goals: &mut Goals) {
    let mut both = [Stand::new(), Stand::new()];
    for stand in &mut both {
        for number in 0..THERE {
            stand.asks(&on_network(&format!("there{number}"), "bench", &[("app", &app(number))]));
        }
    }
    both[1].asks(&applying(different(POLICIES)));
    let mut times: [Vec<[f64; 2]>; 2] = Default::default();
    let take = |both: &mut [Stand; 2], times: &mut [Vec<[f64; 2]>; 2], rounds: usize| {
        for round in 0..rounds {
            for (stand, times) in both.iter_mut().zip(times.iter_mut()) {
                let name = format!("new{round}");
                let made = stand.times(&on_network(&name, "bench", &[("app", &app(1))]));
                times.push([made, stand.times(&removal(&name))]);
                thread::sleep(QUIET);
            }
        }
    };
    take(&mut both, &mut times, WARM);
    times.iter_mut().for_each(Vec::clear);
    take(&mut both, &mut times, rounds);
    let added = |times: &[Vec<[f64; 2]>; 2], which: usize| {
        let differences: Vec<f64> = times[0].iter().zip(&times[1]).map(|(bare, policed)| policed[which] - bare[which]).collect();
        Estimate::of(&differences)
    };
    let is_undecided = |added: Estimate| added.low <= MOST_MS && added.high > MOST_MS;
    if is_undecided(added(&times, 0)) {
        take(&mut both, &mut times, rounds);
    }
    println!(
        "\na container on a network with {THERE} others; milliseconds, median of {} and of the differences with its 95% interval",
        times[0].len()
    );
    println!("{:>8} {:>12} {:>24} {:>26}", "", "no policy", &format!("{POLICIES} policies"), "difference");
    for (which, what) in ["create", "remove"].into_iter().enumerate() {
        let middle = |host: usize| Estimate::of(&times[host].iter().map(|times| times[which]).collect::<Vec<_>>()).middle;
        println!("{what:>8} {:>12.2} {:>24.2} {:>26}", middle(0), middle(1), added(&times, which).shown(3));
    }
    let added = added(&times, 0);
    goals.note(added.high <= MOST_MS, "what policy adds to a create", &format!("{} ms, goal at most {MOST_MS:.2} ms", added.shown(3)));
}
