//! What netd's programs need for a packet, by the kernel's own statistics: of a flow that is known, and of one that begins. Never measures a time itself.

use std::time::Duration;

use super::{
    estimate::Estimate,
    kernel::{Measuring, Program, Runs, nothing_ns},
    load::{Fresh, small_packets},
    rules::Rules,
    subject::{Kind, Subject},
};
use crate::table::Goals;

/// How long each sample runs.
const TIME: Duration = Duration::from_millis(200);
/// Nanoseconds a packet of a known flow and of a new one may take in a program, whatever the number of rules.
const KNOWN_MOST: f64 = 200.0;
const NEW_MOST: f64 = 500.0;

/// A path, its programs and what they needed.
struct Watched {
    subject: Subject,
    fresh: Fresh,
    programs: [Program; 2],
    known: [Vec<f64>; 2],
    new: [Vec<f64>; 2],
}

/// The programs, as their pins are called.
const NAMES: [&str; 2] = ["from_container", "to_container"];

pub(super) fn measured(rounds: usize, goals: &mut Goals) {
    let _measuring = Measuring::begins();
    let kinds = [false, true].into_iter().flat_map(|fast| [10, 10_000].map(|rules| Kind::Netd { fast, rules: Some(Rules(rules)) }));
    let mut all: Vec<Watched> = kinds.map(Watched::new).collect();
    let mut nothing = Vec::new();
    // The first round warms up.
    for round in 0..=rounds {
        nothing.push(nothing_ns());
        all.iter_mut().for_each(|watched| watched.measures(round > 0));
    }
    if all.iter().any(Watched::is_undecided) {
        for _ in 0..rounds {
            all.iter_mut().for_each(|watched| watched.measures(true));
        }
    }
    println!("\nprogram time, ns a packet by the kernel's statistics; median of {} with its 95% interval", all[0].known[0].len());
    println!("(of a program that does nothing they say {} ns, which is in every figure)", Estimate::of(&nothing).shown(1));
    for watched in &all {
        watched.tell(goals);
    }
}

impl Watched {
    fn new(kind: Kind) -> Self {
        let subject = Subject::new(kind);
        let pins = subject.lab.host().path("/sys/fs/bpf/netd");
        let programs = NAMES.map(|name| Program::pinned(&pins, name));
        let ends = subject.ends();
        let fresh = Fresh::new(ends.client, ends.server);
        Self { fresh, programs, known: Default::default(), new: Default::default(), subject }
    }

    fn measures(&mut self, counts: bool) {
        let now = |programs: &[Program; 2]| programs.each_ref().map(Program::runs);
        let before = now(&self.programs);
        small_packets(&self.subject.ends(), TIME);
        let between = now(&self.programs);
        self.fresh.sends(TIME);
        let after = now(&self.programs);
        if counts {
            add(&mut self.known, before, between);
            add(&mut self.new, between, after);
        }
    }

    /// What is judged: a program's name, what was sent, how long it took, and how long it may. With the fast path the second program has hardly a packet
    /// to see, and is not judged by those.
    fn judged(&self) -> Vec<(&'static str, &'static str, Estimate, f64)> {
        let fast = matches!(self.subject.kind, Kind::Netd { fast: true, .. });
        let programs = NAMES.into_iter().enumerate().take(if fast { 1 } else { 2 });
        let both = programs
            .flat_map(|(at, name)| [(name, "known flow", &self.known[at], KNOWN_MOST), (name, "new flow", &self.new[at], NEW_MOST)]);
        both.map(|(name, what, samples, most)| (name, what, Estimate::of(samples), most)).collect()
    }

    fn is_undecided(&self) -> bool {
        self.judged().iter().any(|(_, _, figure, most)| figure.low <= *most && figure.high > *most)
    }

    fn tell(&self, goals: &mut Goals) {
        for (name, what, figure, most) in self.judged() {
            // A program that never ran would be the fastest of all.
            let met = figure.high <= most && figure.middle > 0.0;
            goals.note(
                met,
                &format!("{}: {name}, {what}", self.subject.name()),
                &format!("{} ns, goal at most {most:.0} ns", figure.shown(0)),
            );
        }
    }
}

fn add(samples: &mut [Vec<f64>; 2], before: [Runs; 2], after: [Runs; 2]) {
    for (samples, (before, after)) in samples.iter_mut().zip(before.into_iter().zip(after)) {
        samples.extend(after.ns_each(before));
    }
}
