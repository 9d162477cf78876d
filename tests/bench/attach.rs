//! Making and removing a container on a bridge network through the API, beside the kernel's floor, with 1, 100 and 1,000 containers there.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    stand::{Floor, Stand, container, removal},
    table::{Goals, Samples},
};

/// A bridge has 1,023 ports, so the existing containers are spread over networks of this many.
const PER_NETWORK: usize = 250;

/// After a removal the kernel works on for some time (RCU, the namespace's end) and holds what the next one needs: neither shall pay for the other.
const QUIET: Duration = Duration::from_millis(100);

pub(crate) fn run(quick: bool) -> bool {
    let rounds = if quick { 20 } else { 100 };
    let mut goals = Goals::default();
    let mut stand = Stand::new();
    let mut ratios = Vec::new();
    let mut existing = 0;
    println!("a container on a bridge network; milliseconds, p50 (p95) of {rounds}");
    println!(
        "{:>8}  {:>18} {:>18} {:>18} {:>7}  {:>18}",
        "existing", "netd create", "netd remove", "floor create", "ratio", "floor remove"
    );
    for wanted in [1, 100, 1000] {
        while existing < wanted {
            if existing % PER_NETWORK == 0 {
                stand.network(&format!("bench-{}", "x".repeat(existing / PER_NETWORK + 1)));
            }
            let network = format!("bench-{}", "x".repeat(existing / PER_NETWORK + 1));
            stand.asks(&container(&format!("old{existing}"), &network));
            existing += 1;
        }
        let mut floor = stand.floor();
        let (mut create, mut remove, mut floor_create, mut floor_remove) =
            (Samples::default(), Samples::default(), Samples::default(), Samples::default());
        // Alternating, so that what slows the machine down slows both down.
        for round in 0..rounds + 3 {
            let name = format!("new{wanted}-{round}");
            let (made, gone) = (stand.times(&container(&name, "bench")), stand.times(&removal(&name)));
            thread::sleep(QUIET);
            let (floor_made, floor_gone) = (floor.does("add", round), floor.does("del", round));
            thread::sleep(QUIET);
            if round >= 3 {
                create.push(made);
                remove.push(gone);
                floor_create.push(floor_made);
                floor_remove.push(floor_gone);
            }
        }
        let ratio = create.p50() / floor_create.p50();
        let show = |samples: &Samples| format!("{:.2} ({:.2})", samples.p50(), samples.p95());
        println!(
            "{wanted:>8}  {:>18} {:>18} {:>18} {ratio:>7.2}  {:>18}",
            show(&create),
            show(&remove),
            show(&floor_create),
            show(&floor_remove)
        );
        ratios.push((wanted, ratio, remove.p50()));
        drop(floor);
        stand.lab.host().run("nft", &["delete", "table", "ip", "floor"]);
    }
    at_once(&stand, quick);
    for (wanted, ratio, remove) in &ratios {
        goals.at_most(&format!("create at {wanted} containers, times the floor"), *ratio, 2.0, "x");
        goals.at_most(&format!("remove at {wanted} containers, answered in"), *remove, 2.0, " ms");
    }
    goals.at_most("growth of the ratio from 1 to 1,000", ratios[2].1 / ratios[0].1, 1.2, "x");
    goals.all_met()
}

/// Eight clients at once, and eight floors.
fn at_once(stand: &Stand, quick: bool) {
    let rounds = if quick { 5 } else { 20 };
    let mut floors: Vec<Floor> = (0..8).map(|_| stand.floor()).collect();
    let samples = |_| Samples::default();
    let [mut create, mut remove, mut floor_create, mut floor_remove] = [(); 4].map(samples);
    for round in 0..rounds {
        for (samples, make) in [(&mut create, true), (&mut remove, false)] {
            samples.push(together(8, |n| {
                let name = format!("all{round}-{n}");
                let request = if make { container(&name, "bench") } else { removal(&name) };
                let client = stand.lab.api();
                move || drop(client.send(&request).unwrap_or_else(|why| panic!("{request:?}: {why}")))
            }));
            thread::sleep(QUIET);
        }
        for (samples, order) in [(&mut floor_create, "add"), (&mut floor_remove, "del")] {
            let mut left = floors.iter_mut();
            samples.push(together(8, |n| {
                let floor = left.next().expect("there are eight");
                move || {
                    floor.does(order, 1000 + n);
                }
            }));
            thread::sleep(QUIET);
        }
    }
    println!("8 at once, until all are done; milliseconds, p50 (p95) of {rounds}");
    for (what, samples) in
        [("netd create", create), ("floor create", floor_create), ("netd remove", remove), ("floor remove", floor_remove)]
    {
        println!("{what:>14} {:.2} ({:.2})", samples.p50(), samples.p95());
    }
}

/// Runs so many jobs at the same time; milliseconds until the last is done.
fn together<J: FnOnce() + Send>(count: usize, mut job: impl FnMut(usize) -> J) -> f64 {
    let jobs: Vec<J> = (0..count).map(&mut job).collect();
    let began = Instant::now();
    thread::scope(|scope| jobs.into_iter().for_each(|job| drop(scope.spawn(job))));
    began.elapsed().as_secs_f64() * 1e3
}
