//! Who may touch the outside world: in netd only the kernel and bpf modules and what reads the maps of flows, in netd-core nobody. Never judges the tests' package.

use super::code::{crates_named, without_texts};
use super::{Breach, File};

/// Crates that reach the kernel.
const KERNEL_CRATES: [&str; 7] = ["rtnetlink", "nftables", "nix", "libc", "aya", "aya_log", "aya_obj"];

/// All crates of this family reach the kernel.
const KERNEL_FAMILY: &str = "netlink_";

/// The modules of netd that may name them.
const KERNEL_SIDE: [&str; 5] = ["netd/src/kernel/", "netd/src/kernel.rs", "netd/src/bpf/", "netd/src/bpf.rs", "netd/src/observe/kernel/"];

/// What a pure crate does not call.
const OUTSIDE: [&str; 10] = [
    "std::fs",
    "std::process",
    "std::env",
    "std::thread",
    "std::os",
    "Instant::now",
    "SystemTime::now",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
];

pub(super) fn judge(file: &File) -> Vec<Breach> {
    // Tests may read their goldens and make the faults that they are about.
    if !file.is_rust() || file.name() == "tests.rs" || file.path.contains("/tests/") {
        return Vec::new();
    }
    if file.path.starts_with("netd/src/") && !KERNEL_SIDE.iter().any(|place| file.path.starts_with(place)) {
        return each_line(file, |line| {
            let named = crates_named(line).find(|name| KERNEL_CRATES.contains(name) || name.starts_with(KERNEL_FAMILY))?;
            Some(format!(
                "{named} is named outside netd/src/kernel, netd/src/bpf and netd/src/observe/kernel; put the call there and give it a name of ours"
            ))
        });
    }
    if file.path.starts_with("netd-core/src/") {
        return each_line(file, |line| {
            let named = OUTSIDE.iter().find(|name| line.contains(**name))?;
            Some(format!("{named}: netd-core cannot reach the outside world; take the fact as an argument"))
        });
    }
    Vec::new()
}

fn each_line(file: &File, judge: impl Fn(&str) -> Option<String>) -> Vec<Breach> {
    let code = without_texts(&file.text);
    code.lines().enumerate().filter_map(|(index, line)| Some(file.breach(index + 1, judge(line)?))).collect()
}
