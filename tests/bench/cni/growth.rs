//! What attachments that are there add to an ADD: one host with many of them and one with a single one, sample by sample in the same rounds, and nobody else's
//! namespaces on the machine, as two thousand of those slow every process down.

use std::thread;

use super::{
    AT_ONCE, QUIET, WARM,
    plugins::Attachment,
    scene::{Netd, Shape},
    show,
};
use crate::table::{Goals, Samples};

/// Measures dual stack with a port at each of these levels, and judges each.
pub(crate) fn measured(levels: &[usize], rounds: usize, goals: &mut Goals) {
    println!("ADD beside so many attachments, and beside one in the same rounds; milliseconds, p50 (p95) of {rounds}");
    println!("{:>8} {:<10} {:>15} {:>15} {:>6}", "existing", "", "many", "one", "ratio");
    let shape = Shape { dual: true, port: true };
    let (mut many, mut one) = (Netd::new(), Netd::new());
    let mut there = 1;
    for level in levels.iter().copied().filter(|level| *level > 1) {
        while there < level {
            let more = |number: usize| Attachment {
                container: format!("more{number}"),
                netns: format!("/run/netns/more{number}"),
                port: Some(10_100 + u16::try_from(number).expect("a few hundred")),
                dual: true,
            };
            let batch: Vec<_> = (there..level.min(there + AT_ONCE)).map(more).collect();
            many.has(&batch);
            there += batch.len();
        }
        let (mut of_many, mut of_one) = (Samples::default(), Samples::default());
        for round in 0..rounds + WARM {
            let attachment = Attachment {
                container: format!("grown{level}-{}-{round}", shape.part()),
                netns: "/run/netns/bench0".to_owned(),
                port: Some(30_000),
                dual: shape.dual,
            };
            // Neither pays for the work that a removal leaves to the kernel.
            let beside_many = many.adds(&attachment);
            thread::sleep(QUIET);
            let beside_one = one.adds(&attachment);
            thread::sleep(QUIET);
            if round >= WARM {
                of_many.push(beside_many);
                of_one.push(beside_one);
            }
        }
        let ratio = of_many.p50() / of_one.p50();
        println!("{level:>8} {:<10} {:>15} {:>15} {ratio:>6.2}", shape.name(), show(&of_many), show(&of_one));
        goals.at_most(&format!("ADD, times one beside 1 attachment ({}, {level} there)", shape.name()), ratio, 1.2, "x");
    }
}
