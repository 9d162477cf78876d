//! The loads over all paths, in rounds: each round measures every path once and by turns with the bridge, beginning with another one each time. What is
//! judged is the ratio of a path and the bridge beside it, as a machine that others share is not as fast from one second to the next. All paths, the bridge too, are
//! made anew a few times: where its memory happens to lie makes one faster or slower by a hundredth or two as long as it stands. Never measures two things at once.

use std::time::{Duration, Instant};

use super::{
    estimate::Estimate,
    kernel,
    load::Load,
    rules::{Rules, Shape},
    subject::{Kind, Subject},
};
use crate::table::Goals;

/// Links that are busy are so no later for netd.
const SETTLED: Duration = Duration::from_secs(300);
/// Rounds before those that count.
const WARM: usize = 1;
/// So many rounds at most are measured over paths that were made once.
const ROUNDS_OF_A_STAND: usize = 5;
/// Numbers of rules.
const FEW: Rules = Rules(10);
const SOME: Rules = Rules(1000);
const MANY: Rules = Rules(10_000);
/// From [`FEW`] to [`MANY`] no more than this is lost, or nothing at all that could be told from noise.
const FLAT: f64 = 0.97;

/// What shall hold.
struct Goal {
    what: &'static str,
    of: Kind,
    to: Kind,
    wanted: Wanted,
}

#[derive(Clone, Copy)]
enum Wanted {
    /// The ratio is at least this: the lower end of its interval is.
    Least(f64),
    /// The ratio is 1 as far as one can tell, or above [`FLAT`].
    Flat,
}

/// Whether it holds, as far as that is known.
#[derive(PartialEq, Eq)]
enum Answer {
    Met,
    Missed,
    Undecided,
}

impl Wanted {
    fn answer(self, ratio: Estimate) -> Answer {
        let (met, could_be) = match self {
            Self::Least(least) => (ratio.low >= least, ratio.high >= least),
            Self::Flat => (ratio.low > FLAT || (ratio.low <= 1.0 && ratio.high >= 1.0), ratio.high > FLAT),
        };
        match (met, could_be) {
            (true, _) => Answer::Met,
            (false, true) => Answer::Undecided,
            (false, false) => Answer::Missed,
        }
    }

    fn words(self) -> String {
        match self {
            Self::Least(least) => format!("at least {least:.2}"),
            Self::Flat => format!("1 is in it, or it is above {FLAT:.2}"),
        }
    }
}

/// Which paths are measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Paths {
    /// All.
    All,
    /// Those without netd.
    Rivals,
}

/// Measures the loads over the paths, and judges.
pub(super) fn measured(loads: &[Load], paths: Paths, rounds: usize, goals: &mut Goals) {
    let kinds = kinds(paths);
    let mut tables: Vec<Table> = loads.iter().map(|load| Table::new(&kinds, *load, wanted(*load, paths))).collect();
    // The firewalls are there for comparison, which half the rounds are enough for.
    grow(&mut tables, &kinds, rounds, |_, kind, round| round % 2 == 0 || !matches!(kind, Kind::Nft(..)));
    let undecided: Vec<Vec<Kind>> = tables.iter().map(Table::undecided).collect();
    let again: Vec<Kind> = kinds.iter().copied().filter(|kind| undecided.iter().any(|kinds| kinds.contains(kind))).collect();
    if !again.is_empty() {
        let with_bridge: Vec<Kind> = kinds.iter().copied().filter(|kind| *kind == Kind::Bridge || again.contains(kind)).collect();
        grow(&mut tables, &with_bridge, rounds, |table, kind, _| undecided[table].contains(&kind));
    }
    tables.iter().for_each(|table| table.judged(goals));
}

/// So many rounds more of each table, with those paths that it says.
fn grow(tables: &mut [Table], kinds: &[Kind], rounds: usize, with: impl Fn(usize, Kind, usize) -> bool) {
    // As many in one order as in the other.
    let stands = rounds.div_ceil(ROUNDS_OF_A_STAND).next_multiple_of(2);
    let of_a_stand = rounds.div_ceil(stands);
    for stand in 0..stands {
        println!("(stand {} of {stands}: {} paths are made)", stand + 1, kinds.len());
        let subjects = made(kinds, stand);
        become_busy(&subjects);
        for (at, table) in tables.iter_mut().enumerate() {
            let counting = table.rows.len();
            table.grows(&subjects, WARM, |kind| with(at, kind, 0));
            table.rows.truncate(counting);
            for round in stand * of_a_stand..rounds.min((stand + 1) * of_a_stand) {
                table.grows(&subjects, 1, |kind| with(at, kind, round));
            }
        }
    }
}

/// All of them, in every second stand the last one first: of two that are the same the one that was made later carries up to a hundredth less.
fn made(kinds: &[Kind], stand: usize) -> Vec<Subject> {
    if stand.is_multiple_of(2) {
        return kinds.iter().copied().map(Subject::new).collect();
    }
    let mut subjects: Vec<Subject> = kinds.iter().rev().copied().map(Subject::new).collect();
    subjects.reverse();
    subjects
}

/// Loads netd's paths until their links have the programs at their own hooks, as they have on a host where so much goes on for a minute.
fn become_busy(subjects: &[Subject]) {
    let began = Instant::now();
    while subjects.iter().any(|subject| !subject.is_settled()) {
        assert!(began.elapsed() < SETTLED, "netd leaves busy links on the shared blocks");
        for subject in subjects.iter().filter(|subject| !subject.is_settled()) {
            subject.measured(Load::Requests);
        }
    }
    println!(
        "(netd's links have the programs at their own hooks, where there are such, after {:.0} s of load)",
        began.elapsed().as_secs_f64()
    );
}

fn netd(fast: bool, rules: Option<Rules>) -> Kind {
    Kind::Netd { fast, rules }
}

const RULES: [Option<Rules>; 4] = [None, Some(FEW), Some(SOME), Some(MANY)];

fn kinds(paths: Paths) -> Vec<Kind> {
    let mut kinds = vec![Kind::Veth, Kind::Bridge, Kind::Block];
    if kernel::has_hooks() {
        kinds.push(Kind::Hooks);
    }
    if paths == Paths::All {
        kinds.extend([false, true].into_iter().flat_map(|fast| RULES.map(|rules| netd(fast, rules))));
    }
    kinds.extend([Kind::Nft(Shape::Sets, MANY), Kind::Nft(Shape::Linear, SOME), Kind::Nft(Shape::Linear, MANY)]);
    kinds
}

fn wanted(load: Load, paths: Paths) -> Vec<Goal> {
    // The stream on two CPUs is there to be seen beside the one on one: see [`Load`].
    if paths == Paths::Rivals || load == Load::Stream {
        return Vec::new();
    }
    let mut goals = Vec::new();
    let least = match load {
        Load::StreamOneCpu => Some(0.97),
        Load::Requests => Some(0.95),
        Load::Connections => Some(0.93),
        Load::Stream | Load::Packets => None,
    };
    for (fast, least) in [(false, least), (true, Some(1.0))] {
        for rules in RULES {
            let goal = |least| Goal { what: "times the bridge", of: netd(fast, rules), to: Kind::Bridge, wanted: Wanted::Least(least) };
            goals.extend(least.map(goal));
        }
    }
    for fast in [false, true] {
        goals.push(Goal { what: "times the same with 10", of: netd(fast, Some(MANY)), to: netd(fast, Some(FEW)), wanted: Wanted::Flat });
    }
    goals
}

impl Goal {
    fn what_of(&self) -> String {
        format!("{}: {}", self.of.name(), self.what)
    }
}

/// One path, once.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// How much it carried.
    path: f64,
    /// How much the bridge carried beside it.
    bridge: f64,
}

impl Sample {
    /// By turns, a few times. The other one begins in each turn, and in each round where that has one turn only.
    fn taken(path: &Subject, bridge: &Subject, load: Load, round: usize) -> Self {
        let turns = load.turns();
        let mut carried = [0.0; 2];
        for turn in 0..usize::from(turns) {
            for at in [(round + turn) % 2, (round + turn + 1) % 2] {
                carried[at] += [path, bridge][at].measured(load) / f64::from(turns);
            }
        }
        Self { path: carried[0], bridge: carried[1] }
    }

    fn ratio(self) -> f64 {
        self.path / self.bridge
    }
}

/// What was measured: a row for each round, a column for each path.
struct Table<'a> {
    kinds: &'a [Kind],
    load: Load,
    wanted: Vec<Goal>,
    rows: Vec<Vec<Option<Sample>>>,
}

impl<'a> Table<'a> {
    fn new(kinds: &'a [Kind], load: Load, wanted: Vec<Goal>) -> Self {
        Self { kinds, load, wanted, rows: Vec::new() }
    }

    /// Some rounds more, with some of the paths that stand.
    fn grows(&mut self, subjects: &[Subject], rounds: usize, with: impl Fn(Kind) -> bool) {
        let count = subjects.len();
        let bridge = subjects.iter().find(|subject| subject.kind == Kind::Bridge).expect("a bridge is among them");
        for _ in 0..rounds {
            let mut row = vec![None; self.kinds.len()];
            let first = self.rows.len() % count;
            for subject in (0..count).map(|at| &subjects[(first + at) % count]) {
                if subject.kind != Kind::Bridge && with(subject.kind) {
                    let column = self.kinds.iter().position(|kind| *kind == subject.kind).expect("every path has a column");
                    row[column] = Some(Sample::taken(subject, bridge, self.load, self.rows.len()));
                }
            }
            self.rows.push(row);
        }
    }

    /// The paths of which it is not known yet whether they are as wanted.
    fn undecided(&self) -> Vec<Kind> {
        let goals = self.wanted.iter().filter(|goal| goal.wanted.answer(self.ratio(goal.of, goal.to)) == Answer::Undecided);
        goals.flat_map(|goal| [goal.of, goal.to]).collect()
    }

    /// Prints it, and whether all is as wanted.
    fn judged(&self, goals: &mut Goals) {
        self.print();
        for goal in &self.wanted {
            let ratio = self.ratio(goal.of, goal.to);
            let met = goal.wanted.answer(ratio) == Answer::Met;
            let what = format!("{}, {}", self.load.name(), goal.what_of());
            goals.note(met, &what, &format!("{}, goal: {}", ratio.shown(3), goal.wanted.words()));
        }
    }

    /// A path's samples, a row each; of the bridge what it carried beside the first of the others.
    fn column(&self, kind: Kind) -> Vec<Option<Sample>> {
        let at = self.kinds.iter().position(|column| *column == kind);
        let beside = |row: &Vec<Option<Sample>>| row.iter().flatten().next().map(|other| Sample { path: other.bridge, ..*other });
        self.rows.iter().map(|row| if kind == Kind::Bridge { beside(row) } else { row[at?] }).collect()
    }

    fn ratio(&self, of: Kind, to: Kind) -> Estimate {
        let ratios = |kind| self.column(kind).into_iter().map(|sample| sample.map(Sample::ratio)).collect::<Vec<_>>();
        Estimate::of_ratios(&ratios(of), &ratios(to))
    }

    fn print(&self) {
        println!(
            "\n{}; median of {}, and of the ratios to the bridge beside it and to the veth pair in the same round, with its 95% interval (of fewer than 6: all)",
            self.load.name(),
            self.load.unit()
        );
        println!("{:<32} {:>9} {:>6}  {:>24}  {:>24}", "", "median", "rounds", "/ bridge", "/ veth pair");
        for kind in self.kinds {
            let samples: Vec<f64> = self.column(*kind).into_iter().flatten().map(|sample| sample.path).collect();
            println!(
                "{:<32} {:>9.2} {:>6}  {:>24}  {:>24}",
                kind.name(),
                Estimate::of(&samples).middle,
                samples.len(),
                self.ratio(*kind, Kind::Bridge).shown(3),
                self.ratio(*kind, Kind::Veth).shown(3)
            );
        }
    }
}
