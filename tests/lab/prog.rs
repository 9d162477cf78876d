//! The programs in the kernel, run on packets that are put into their hands (BPF_PROG_TEST_RUN). Never attaches one, never opens a map.

use std::fs;

use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::{Lab, counted::Way, space::NetSpace};

/// Where netd pins them, on the host.
const PINS: &str = "/sys/fs/bpf/netd";

/// What a program says of a packet (linux/pkt_cls.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// TC_ACT_UNSPEC: it goes on.
    Continue,
    /// TC_ACT_SHOT: it ends here.
    Drop,
    /// TC_ACT_REDIRECT: to a container's end by the short way, to a pacer, or back as an answer.
    Redirect,
    /// Something that netd never says.
    Other(i32),
}

/// Both programs.
#[derive(Debug)]
pub struct Programs {
    from: SchedClassifier,
    to: SchedClassifier,
    net: NetSpace,
}

impl Lab {
    /// The programs that netd has loaded on this host.
    #[track_caller]
    pub fn programs(&self) -> Programs {
        let pins = self.host().path(PINS);
        let open = |name: &str| {
            let entries = fs::read_dir(&pins).unwrap_or_else(|why| panic!("{} cannot be listed: {why}", pins.display()));
            let mut paths =
                entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(name)).map(|entry| entry.path());
            let path = paths.next().unwrap_or_else(|| panic!("no program {name}* is pinned in {}", pins.display()));
            SchedClassifier::from_pin(&path).unwrap_or_else(|why| panic!("{} cannot be opened: {why:?}", path.display()))
        };
        Programs { from: open("from_container_"), to: open("to_container_"), net: self.host().net() }
    }
}

impl Programs {
    /// What the program of a direction says of a frame at the host's end of a container. What goes to the container came by `from`, an interface of the
    /// host; without that the host itself sent it.
    #[track_caller]
    pub fn run(&self, way: Way, at: &str, from: Option<&str>, frame: &[u8]) -> Answer {
        self.run_all(at, from, std::iter::once((way, frame)))[0]
    }

    /// The same of many frames, one after the other, each with its direction. Always on the same CPU: of what was used longest ago the kernel's maps keep an
    /// order for each.
    #[track_caller]
    pub fn run_all<F: AsRef<[u8]>>(&self, at: &str, from: Option<&str>, frames: impl Iterator<Item = (Way, F)> + Send) -> Vec<Answer> {
        // The kernel looks the interface up in the caller's namespace.
        let ran = self.net.inside(|| {
            stay_on_one_cpu();
            let index = |name: &str| nix::net::if_::if_nametoindex(name).unwrap_or_else(|why| panic!("no interface {name}: {why}"));
            let context = context(index(at), from.map_or(0, index));
            let one = |(way, frame): (Way, F)| {
                let program = if way == Way::From { &self.from } else { &self.to };
                let options = TestRunOptions { data_in: Some(frame.as_ref()), ctx_in: Some(&context), ..TestRunOptions::new() };
                program.test_run(options).map_err(|why| format!("the program cannot be run on {:02x?}: {why:?}", frame.as_ref()))
            };
            frames.map(one).collect::<Result<Vec<_>, _>>()
        });
        let answer = |value: u32| match value.cast_signed() {
            -1 => Answer::Continue,
            2 => Answer::Drop,
            7 => Answer::Redirect,
            other => Answer::Other(other),
        };
        ran.unwrap_or_else(|why| panic!("{why}")).iter().map(|ran| answer(ran.return_value)).collect()
    }
}

/// The calling thread stays on the first CPU that it may run on.
fn stay_on_one_cpu() {
    let this = Pid::from_raw(0);
    let mut all = sched_getaffinity(this).expect("a thread may ask where it runs");
    let allowed: Vec<usize> = (0..CpuSet::count()).filter(|cpu| all.is_set(*cpu).unwrap_or(false)).collect();
    allowed.iter().skip(1).for_each(|cpu| all.unset(*cpu).expect("it was set"));
    sched_setaffinity(this, &all).expect("a thread may run where it may");
}

/// The beginning of a `struct __sk_buff` (linux/bpf.h): the kernel takes the rest for zero.
fn context(ifindex: u32, ingress_ifindex: u32) -> [u8; 44] {
    let mut context = [0; 44];
    context[36..40].copy_from_slice(&ingress_ifindex.to_ne_bytes());
    context[40..44].copy_from_slice(&ifindex.to_ne_bytes());
    context
}
