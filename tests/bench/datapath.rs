//! The eBPF data path measured beside what it stands in for: a bare veth pair, a bridge, and a bridge with nft rules; and what policy costs. Each part can
//! be measured alone. Never decides what a goal is: those stand where the figures are.

mod estimate;
mod load;
mod rules;
mod subject;
mod traffic;
mod kernel;
mod program;
mod attach;
mod swaps;
mod crowd;

use std::fs;

use self::{
    crowd::Part,
    load::{Load, two_cpus},
    traffic::Paths,
};
use crate::table::Goals;

/// How often each part measures.
struct Size {
    /// Rounds of the loads, the programs and the policy changes. Twice as many where they do not decide.
    rounds: usize,
    attaches: usize,
    swaps: usize,
    containers: usize,
}

const FULL: Size = Size { rounds: 20, attaches: 40, swaps: 1000, containers: 1000 };
const QUICK: Size = Size { rounds: 6, attaches: 10, swaps: 100, containers: 100 };

/// What can be measured alone.
#[derive(Clone, Copy)]
enum Piece {
    Loads(&'static [Load], Paths),
    Program,
    Attach,
    Swaps,
    Crowd(Part),
}

/// What follows `datapath-` in the name of a part.
const PARTS: [(&str, Piece); 10] = [
    ("stream", Piece::Loads(&[Load::StreamOneCpu, Load::Stream], Paths::All)),
    ("requests", Piece::Loads(&[Load::Requests], Paths::All)),
    ("connections", Piece::Loads(&[Load::Connections], Paths::All)),
    ("packets", Piece::Loads(&[Load::Packets], Paths::All)),
    ("rivals", Piece::Loads(&Load::ALL, Paths::Rivals)),
    ("program", Piece::Program),
    ("attach", Piece::Attach),
    ("swaps", Piece::Swaps),
    ("change", Piece::Crowd(Part::Change)),
    ("memory", Piece::Crowd(Part::Memory)),
];

/// The names of the parts.
pub(crate) fn parts() -> String {
    PARTS.map(|(name, _)| name).join("|")
}

/// Measures everything; a thousand namespaces last, as they slow the machine down for a while after they are gone.
pub(crate) fn run(quick: bool) -> bool {
    measured(&[Piece::Loads(&Load::ALL, Paths::All), Piece::Program, Piece::Attach, Piece::Swaps, Piece::Crowd(Part::Both)], quick)
}

/// Measures one part; none where there is no such part.
pub(crate) fn run_part(name: &str, quick: bool) -> Option<bool> {
    let (_, piece) = PARTS.iter().find(|(part, _)| *part == name)?;
    Some(measured(&[*piece], quick))
}

fn measured(pieces: &[Piece], quick: bool) -> bool {
    let size = if quick { QUICK } else { FULL };
    let mut goals = Goals::default();
    println!("{}", conditions(&size));
    for piece in pieces {
        match *piece {
            Piece::Loads(loads, paths) => traffic::measured(loads, paths, size.rounds, &mut goals),
            Piece::Program => program::measured(size.rounds, &mut goals),
            Piece::Attach => attach::measured(size.attaches, &mut goals),
            Piece::Swaps => [false, true].into_iter().for_each(|fast| swaps::measured(fast, size.swaps, &mut goals)),
            Piece::Crowd(part) => crowd::measured(part, size.containers, size.rounds, &mut goals),
        }
    }
    goals.all_met()
}

/// The machine in one line.
fn conditions(size: &Size) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("").trim_start_matches([' ', '\t', ':']);
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let load: Vec<_> = read("/proc/loadavg").split(' ').take(1).map(str::to_owned).collect();
    let [client, server] = two_cpus();
    format!(
        "Linux {}, {count} CPUs ({model}), load {} at the start; {} rounds, twice as many where they do not decide; pinned to CPU {client}, the stream on two and packets to {client} and {server}",
        read("/proc/sys/kernel/osrelease").trim(),
        load.join(""),
        size.rounds
    )
}
