//! ADD and DEL of the CNI plugin as whole processes, beside Debian's reference chain and the kernel's floor, sample by sample in the same run. Each of
//! the three has a private host of its own, so that nobody's rules slow another down. The container's namespace is made outside of what is measured.

mod driver;
mod growth;
mod plugins;
mod scene;

pub(crate) use self::driver::serve;

use std::{fs, process::Command, thread, time::Duration};

use self::{
    plugins::{Attachment, Plugins, REFERENCE},
    scene::{Scene, Shape},
};
use crate::table::{Goals, Samples};

/// What a run measures, and how often.
struct Size {
    /// Attachments that are there.
    levels: [usize; 3],
    rounds: usize,
    bursts: usize,
}

const FULL: Size = Size { levels: [1, 100, 500], rounds: 50, bursts: 10 };
const QUICK: Size = Size { levels: [1, 20, 50], rounds: 8, bursts: 3 };
/// Attachments that are made at the same time.
const AT_ONCE: usize = 8;
/// After a removal the kernel works on for some time (RCU); neither shall pay for the other.
const QUIET: Duration = Duration::from_millis(40);
/// Before the first sample, so that caches are warm and the first-time work (bridge, base chains) is done.
const WARM: usize = 2;

/// What one kind of attachment took; milliseconds.
#[derive(Default)]
struct Case {
    shape: Shape,
    level: usize,
    add: Samples,
    del: Samples,
    add_cpu: Samples,
    del_cpu: Samples,
    chain_add: Samples,
    chain_del: Samples,
    floor_add: Samples,
    floor_del: Samples,
    empty: Samples,
}

/// Eight at the same time, until the last is done; milliseconds.
#[derive(Default)]
struct Burst {
    shape: Shape,
    add: Samples,
    del: Samples,
    next_add: Samples,
    chain_add: Samples,
    chain_del: Samples,
}

/// Only what attachments that are there add.
pub(crate) fn run_growth(quick: bool) -> bool {
    let size = if quick { QUICK } else { FULL };
    let mut goals = Goals::default();
    growth::measured(&size.levels, size.rounds, &mut goals);
    goals.all_met()
}

pub(crate) fn run(quick: bool) -> bool {
    let plugin = format!("{REFERENCE}/bridge");
    assert!(fs::exists(&plugin).unwrap_or_default(), "{plugin} is not there: apt-get install containernetworking-plugins iptables");
    let size = if quick { QUICK } else { FULL };
    let mut goals = Goals::default();
    growth::measured(&size.levels, size.rounds, &mut goals);
    let mut scene = Scene::new();
    let mut cases = Vec::new();
    let mut bursts = Vec::new();
    println!("ADD and DEL of one container, whole processes; milliseconds, p50 (p95) of {}", size.rounds);
    println!(
        "{:>8} {:<10} {:>15} {:>15} {:>15} {:>6} {:>6}  {:>15} {:>15} {:>6} {:>12}",
        "existing", "", "netd ADD", "chain ADD", "floor + exec", "/floor", "chain/", "netd DEL", "chain DEL", "chain/", "floor DEL"
    );
    for level in size.levels {
        scene.grows_to(level);
        for shape in Shape::ALL {
            let case = measured(&mut scene, shape, level, size.rounds);
            case.print();
            cases.push(case);
        }
        if level == 1 {
            bursts.extend(Shape::ALL.map(|shape| burst(&mut scene, shape, size.bursts)));
        }
    }
    println!("{AT_ONCE} at once with 1 attachment there, until all are done; milliseconds, p50 (p95) of {}", size.bursts);
    println!(
        "{:<19} {:>15} {:>15} {:>6}  {:>15} {:>15} {:>6}  {:>22}",
        "", "netd ADD", "chain ADD", "chain/", "netd DEL", "chain DEL", "chain/", "one ADD right after"
    );
    bursts.iter().for_each(Burst::print);
    judge(&cases, &bursts, &scene, goals)
}

/// Samples of ours, the chain's, the floor's and an empty program's, one after the other.
fn measured(scene: &mut Scene, shape: Shape, level: usize, rounds: usize) -> Case {
    let mut case = Case { shape, level, ..Case::default() };
    let (ours, chain) = (scene.plugin(), Plugins::Chain);
    for round in 0..rounds + WARM {
        let attachment = |kind: &str| Attachment {
            container: format!("{kind}{level}-{}-{round}", shape.part()),
            netns: "/run/netns/bench0".to_owned(),
            port: shape.port.then_some(30_000),
            dual: shape.dual,
        };
        let empty = scene.empty_program();
        let [floor_add, floor_del] = scene.floor(shape);
        thread::sleep(QUIET / 2);
        let ours_now = scene.once(&ours, &attachment("n"));
        thread::sleep(QUIET);
        let chain_now = scene.once(&chain, &attachment("c"));
        thread::sleep(QUIET);
        if round < WARM {
            continue;
        }
        case.empty.push(empty);
        case.floor_add.push(floor_add);
        case.floor_del.push(floor_del);
        let [add, del] = ours_now;
        case.add.push(add.ms);
        case.add_cpu.push(add.cpu_ms);
        case.del.push(del.ms);
        case.del_cpu.push(del.cpu_ms);
        let [add, del] = chain_now;
        case.chain_add.push(add.ms);
        case.chain_del.push(del.ms);
    }
    case
}

fn burst(scene: &mut Scene, shape: Shape, rounds: usize) -> Burst {
    let mut burst = Burst { shape, ..Burst::default() };
    let (ours, chain) = (scene.plugin(), Plugins::Chain);
    for round in 0..=rounds {
        let attachment = |number: usize| Attachment {
            container: format!("at-once-{}-{round}-{number}", shape.part()),
            netns: format!("/run/netns/bench{number}"),
            port: shape.port.then(|| 30_000 + u16::try_from(number).expect("a few")),
            dual: shape.dual,
        };
        let all: Vec<_> = (0..AT_ONCE).map(attachment).collect();
        let [add, del] = scene.together(&ours, &all);
        // In a namespace of its own, as a runtime would.
        let [next, _] = scene.once(&ours, &attachment(AT_ONCE));
        thread::sleep(3 * QUIET);
        let [chain_add, chain_del] = scene.together(&chain, &all);
        thread::sleep(3 * QUIET);
        if round == 0 {
            continue;
        }
        burst.add.push(add.ms);
        burst.del.push(del.ms);
        burst.next_add.push(next.ms);
        burst.chain_add.push(chain_add.ms);
        burst.chain_del.push(chain_del.ms);
    }
    burst
}

fn show(samples: &Samples) -> String {
    format!("{:.2} ({:.2})", samples.p50(), samples.p95())
}

impl Case {
    /// The kernel's floor and starting a program that does nothing.
    fn least(&self) -> f64 {
        self.floor_add.p50() + self.empty.p50()
    }

    fn print(&self) {
        println!(
            "{:>8} {:<10} {:>15} {:>15} {:>15} {:>6.2} {:>6.1}  {:>15} {:>15} {:>6.1} {:>12}",
            self.level,
            self.shape.name(),
            show(&self.add),
            show(&self.chain_add),
            format!("{:.2} + {:.2}", self.floor_add.p50(), self.empty.p50()),
            self.add.p50() / self.least(),
            self.chain_add.p50() / self.add.p50(),
            show(&self.del),
            show(&self.chain_del),
            self.chain_del.p50() / self.del.p50(),
            format!("{:.1}", self.floor_del.p50()),
        );
    }
}

impl Burst {
    fn print(&self) {
        println!(
            "{:<19} {:>15} {:>15} {:>6.1}  {:>15} {:>15} {:>6.1}  {:>22}",
            self.shape.name(),
            show(&self.add),
            show(&self.chain_add),
            self.chain_add.p50() / self.add.p50(),
            show(&self.del),
            show(&self.chain_del),
            self.chain_del.p50() / self.del.p50(),
            show(&self.next_add)
        );
    }
}

fn judge(cases: &[Case], bursts: &[Burst], scene: &Scene, mut goals: Goals) -> bool {
    for case in cases.iter().filter(|case| case.shape.port) {
        let at = format!("{}, {} there", case.shape.name(), case.level);
        goals.at_most(&format!("ADD, times floor and empty program ({at})"), case.add.p50() / case.least(), 3.0, "x");
        let faster = match case.level {
            1 => Some(15.0),
            500 => Some(60.0),
            _ => None,
        };
        if let Some(least) = faster {
            goals.at_least(&format!("ADD, times faster than the chain ({at})"), case.chain_add.p50() / case.add.p50(), least, "x");
        }
        goals.at_least(&format!("DEL, times faster than the chain ({at})"), case.chain_del.p50() / case.del.p50(), 25.0, "x");
    }
    for burst in bursts.iter().filter(|burst| burst.shape.port) {
        let what = format!("{AT_ONCE} ADDs at once, times faster than the chain ({})", burst.shape.name());
        goals.at_least(&what, burst.chain_add.p50() / burst.add.p50(), 15.0, "x");
    }
    let most = |pick: fn(&Case) -> &Samples| cases.iter().map(|case| pick(case).p50()).fold(0.0, f64::max);
    goals.at_most("CPU of the plugin's process for ADD, the largest p50", most(|case| &case.add_cpu), 2.0, " ms");
    goals.at_most("CPU of the plugin's process for DEL, the largest p50", most(|case| &case.del_cpu), 2.0, " ms");
    goals.at_most("the plugin's file, stripped", stripped_mib(scene), 3.0, " MiB");
    goals.all_met()
}

/// MiB of the binary without its symbols; as it is, where there is no `strip`.
fn stripped_mib(scene: &Scene) -> f64 {
    let (from, to) = (scene.plugin_file(), scene.scratch().join("netd-cni.stripped"));
    let stripped = Command::new("strip").arg("-o").arg(&to).arg(&from).status().is_ok_and(|status| status.success());
    let bytes = fs::metadata(if stripped { &to } else { &from }).expect("the plugin is there").len();
    f64::from(u32::try_from(bytes).expect("a small file")) / f64::from(1 << 20)
}
