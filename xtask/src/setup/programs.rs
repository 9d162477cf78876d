//! Programs that the tests run, and the Debian packages that bring them. Never asks dpkg: a program that runs is enough, on any system.

use std::process::Command;

use crate::{setup, shell};

/// A program and where it comes from.
pub(super) struct Program {
    /// Names that it goes by, or its path where it is in no PATH.
    names: &'static [&'static str],
    /// Debian packages that bring it; the first one that is offered is taken.
    packages: &'static [&'static str],
}

const fn program(names: &'static [&'static str], packages: &'static [&'static str]) -> Program {
    Program { names, packages }
}

/// What netd, the stories, the demo and the benchmarks run, and what prepares other kernels.
pub(super) const USED: &[Program] = &[
    program(&["nft"], &["nftables"]),
    program(&["ip"], &["iproute2"]),
    program(&["conntrack"], &["conntrack"]),
    program(&["iperf3"], &["iperf3"]),
    program(&["socat"], &["socat"]),
    program(&["curl"], &["curl"]),
    program(&["tcpdump"], &["tcpdump"]),
    program(&["bpftool"], &["bpftool", "linux-tools-generic"]),
    program(&["ethtool"], &["ethtool"]),
    program(&["sysctl"], &["procps"]),
    program(&["ping"], &["iputils-ping"]),
    program(&["arping"], &["iputils-arping"]),
    program(&["nc", "ncat"], &["netcat-openbsd"]),
    program(&["python3"], &["python3"]),
    program(&["unshare"], &["util-linux"]),
    program(&["depmod"], &["kmod"]),
    program(&["cpio"], &["cpio"]),
    program(&["zstd"], &["zstd"]),
    program(&["xz"], &["xz-utils"]),
];

/// Container runtimes that the stories attach through netd, what their images are made of, and the plugins and the firewall that the benchmarks
/// compare with. No emulated machine runs them.
pub(super) const RUNTIMES: &[Program] = &[
    program(&["podman"], &["podman"]),
    program(&["crun"], &["crun"]),
    program(&["conmon"], &["conmon"]),
    program(&["containerd"], &["containerd"]),
    program(&["runc"], &["runc"]),
    program(&["busybox"], &["busybox-static"]),
    program(&["/usr/lib/cni/bridge"], &["containernetworking-plugins"]),
    program(&["iptables"], &["iptables"]),
];

fn is_there(program: &Program) -> bool {
    program.names.iter().any(|name| shell::find(name).is_some())
}

pub(super) fn look(programs: &[Program]) -> Result<String, String> {
    let missing: Vec<_> = programs.iter().filter(|program| !is_there(program)).map(|program| program.names[0]).collect();
    if missing.is_empty() {
        Ok(programs.iter().map(|program| program.names[0]).collect::<Vec<_>>().join(" "))
    } else {
        Err(missing.join(" "))
    }
}

pub(super) fn commands(programs: &[Program]) -> Vec<Command> {
    let packages = programs.iter().filter(|program| !is_there(program)).map(|program| package(program.packages).to_owned());
    vec![setup::apt_get_install(&packages.collect::<Vec<_>>())]
}

fn package(packages: &'static [&'static str]) -> &'static str {
    match packages {
        [only] => only,
        _ => packages.iter().find(|package| setup::is_offered(package)).unwrap_or(&packages[0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_and_a_present_one_is_not() {
        let both = [program(&["sh"], &["dash"]), program(&["no-such-program"], &["no-such-package"])];
        assert_eq!(look(&both), Err("no-such-program".to_owned()));
        assert_eq!(look(&both[..1]), Ok("sh".to_owned()));
        let line = shell::typed(&commands(&both)[0]);
        assert!(line.ends_with("--no-install-recommends no-such-package"), "{line}");
    }
}
