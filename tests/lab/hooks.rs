//! The programs at an interface's own hooks (tcx), as the kernel lists them, and somebody who takes them away. Never puts one there.

use aya::programs::{SchedClassifier, tc::TcAttachType};

use crate::{host::Host, wait::PATIENCE, wait::poll};

/// Whether netd puts its programs there on this kernel: from Linux 6.13 on.
pub fn are_used() -> bool {
    let release = nix::sys::utsname::uname().expect("uname(2) does not fail").release().to_string_lossy().into_owned();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(13))
}

impl Host {
    /// The kernel's numbers of the programs at an interface's hooks: those that see what comes in, and those that see what goes out.
    #[track_caller]
    pub fn hooked(&self, interface: &str) -> [Vec<u32>; 2] {
        self.net().inside(|| {
            [TcAttachType::Ingress, TcAttachType::Egress].map(|hook| {
                let (_, programs) =
                    SchedClassifier::query_tcx(interface, hook).unwrap_or_else(|why| panic!("the hooks of {interface}: {why:?}"));
                programs.iter().map(aya::programs::ProgramInfo::id).collect()
            })
        })
    }

    /// Waits until netd's programs are at both hooks of an interface, where the kernel has such.
    #[track_caller]
    pub fn expect_hooked(&self, interface: &str) {
        let are_there = || self.hooked(interface).iter().all(|programs| programs.len() == 1).then_some(());
        assert!(!are_used() || poll(PATIENCE, are_there).is_some(), "at the hooks of {interface}: {:?}", self.hooked(interface));
    }

    /// Somebody takes the programs off both hooks of an interface, where the kernel has such.
    #[track_caller]
    pub fn unhook(&self, interface: &str) {
        if !are_used() {
            return;
        }
        let index = self.net().inside(|| nix::net::if_::if_nametoindex(interface)).unwrap_or_else(|why| panic!("{interface}: {why}"));
        for (hook, programs) in [BPF_TCX_INGRESS, BPF_TCX_EGRESS].into_iter().zip(self.hooked(interface)) {
            for program in programs {
                let detached = self.net().inside(|| detach_last(index, hook));
                detached.unwrap_or_else(|why| panic!("program #{program} at the hook of {interface}: {why}"));
            }
        }
    }
}

/// A command of bpf(2) and two places: linux/bpf.h.
const BPF_PROG_DETACH: libc::c_long = 9;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;

/// The last program of a hook leaves it.
fn detach_last(ifindex: u32, hook: u32) -> std::io::Result<()> {
    // No program is named, and none beside it (bpf_mprog_detach in linux/kernel/bpf/mprog.c).
    let attr: [u32; 8] = [ifindex, 0, hook, 0, 0, 0, 0, 0];
    // SAFETY: the attribute has the layout of this command (`union bpf_attr`) and is only read.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_DETACH, attr.as_ptr(), size_of_val(&attr)) };
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}
