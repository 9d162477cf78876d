//! The programs in the kernel, run on packets that are put into their hands (BPF_PROG_TEST_RUN). Never attaches one, never opens a map.

use std::fs;

use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};

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
        let program = match way {
            Way::From => &self.from,
            Way::To => &self.to,
        };
        // The kernel looks the interface up in the caller's namespace.
        let ran = self.net.inside(|| {
            let index = |name: &str| nix::net::if_::if_nametoindex(name).unwrap_or_else(|why| panic!("no interface {name}: {why}"));
            let context = context(index(at), from.map_or(0, index));
            program.test_run(TestRunOptions { data_in: Some(frame), ctx_in: Some(&context), ..TestRunOptions::new() })
        });
        let ran = ran.unwrap_or_else(|why| panic!("the program cannot be run on {frame:02x?}: {why:?}"));
        match ran.return_value.cast_signed() {
            -1 => Answer::Continue,
            2 => Answer::Drop,
            7 => Answer::Redirect,
            other => Answer::Other(other),
        }
    }
}

/// The beginning of a `struct __sk_buff` (linux/bpf.h): the kernel takes the rest for zero.
fn context(ifindex: u32, ingress_ifindex: u32) -> [u8; 44] {
    let mut context = [0; 44];
    context[36..40].copy_from_slice(&ingress_ifindex.to_ne_bytes());
    context[40..44].copy_from_slice(&ifindex.to_ne_bytes());
    context
}
