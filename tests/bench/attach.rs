//! Making and removing a container on a bridge network through the API, beside the kernel's floor, with 1, 100 and 1,000 containers there.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    stand::{Stand, container, removal},
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

/// Eight clients at once.
fn at_once(stand: &Stand, quick: bool) {
    let rounds = if quick { 5 } else { 20 };
    let (mut create, mut remove) = (Samples::default(), Samples::default());
    for round in 0..rounds {
        for (samples, make) in [(&mut create, true), (&mut remove, false)] {
            let began = Instant::now();
            thread::scope(|scope| {
                for n in 0..8 {
                    let client = stand.lab.api();
                    scope.spawn(move || {
                        let name = format!("all{round}-{n}");
                        let request = if make { container(&name, "bench") } else { removal(&name) };
                        client.send(&request).unwrap_or_else(|why| panic!("{request:?}: {why}"));
                    });
                }
            });
            samples.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    println!(
        "8 at once, until all are done: create {:.2} ({:.2}), remove {:.2} ({:.2})",
        create.p50(),
        create.p95(),
        remove.p50(),
        remove.p95()
    );
}
