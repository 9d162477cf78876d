//! The programs at links' own hooks (tcx), as the kernel shows them, and in the hands of somebody who takes one away. Never attaches one.

use std::{io, os::fd::AsRawFd};

use aya::programs::{ProgramFd, SchedClassifier, TcAttachType};

use crate::Lab;

/// A command of bpf(2), and the attach type of a link's ingress: linux/bpf.h.
const BPF_PROG_DETACH: libc::c_long = 9;
const BPF_TCX_INGRESS: u32 = 46;

/// `union bpf_attr` as that command reads it.
#[repr(C)]
struct Detach {
    target_ifindex: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

impl Lab {
    /// The programs at a host end's own hooks, ingress first: their names, and the kernel's numbers of them.
    #[track_caller]
    pub fn at_hooks(&self, host_end: &str) -> (Vec<String>, Vec<u32>) {
        let shown = self.host().net().inside(|| {
            [TcAttachType::Ingress, TcAttachType::Egress].map(|hook| {
                let (_, programs) = SchedClassifier::query_tcx(host_end, hook).map_err(|why| format!("{host_end}: {why:?}"))?;
                Ok(programs.iter().map(|program| (program.name_as_str().unwrap_or_default().to_owned(), program.id())).collect::<Vec<_>>())
            })
        });
        let shown: Result<Vec<_>, String> = shown.into_iter().collect();
        shown.unwrap_or_else(|why| panic!("{why}")).into_iter().flatten().unzip()
    }

    /// Somebody takes the program from a host end's ingress.
    #[track_caller]
    pub fn robs_ingress(&self, host_end: &str) {
        let robbed = self.host().net().inside(|| {
            let (_, programs) = SchedClassifier::query_tcx(host_end, TcAttachType::Ingress).map_err(|why| format!("{why:?}"))?;
            let program: ProgramFd = programs.first().ok_or("there is none")?.fd().map_err(|why| format!("{why:?}"))?;
            let index = nix::net::if_::if_nametoindex(host_end).map_err(|why| why.to_string())?;
            let fd = std::os::fd::AsFd::as_fd(&program).as_raw_fd().cast_unsigned();
            let asked = Detach { target_ifindex: index, attach_bpf_fd: fd, attach_type: BPF_TCX_INGRESS, attach_flags: 0 };
            // SAFETY: the attribute has the layout of this command and outlives the call; there is no pointer in it.
            let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_DETACH, &raw const asked, size_of::<Detach>()) };
            if result < 0 { Err(io::Error::last_os_error().to_string()) } else { Ok(()) }
        });
        robbed.unwrap_or_else(|why: String| panic!("{host_end}: {why}"));
    }
}
