//! netd measured beside the kernel's floor, in one private host and one run: figures are ratios, as machines differ.
//! Never decides whether a figure is good enough; it prints the goal beside it, and says by its exit status whether all goals were met.

mod attach;
mod cni;
mod datapath;
mod floor;
mod idle;
mod linear;
mod netlink;
mod publish;
mod restart;
mod stand;
mod table;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask bench attach|publish|restart|idle|cni|cni-growth|datapath|datapath-PART [--quick]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let quick = words.contains(&"--quick");
    let good = match words.first() {
        Some(&"attach") => attach::run(quick),
        Some(&"publish") => publish::run(quick),
        Some(&"restart") => restart::run(quick),
        Some(&"idle") => idle::run(quick),
        Some(&"cni") => cni::run(quick),
        Some(&"cni-growth") => cni::run_growth(quick),
        // Not for people: the kernel's floor, and what runs plugins, in the private host where another process of this program started them.
        Some(&"floor") => return floor::serve(&words[1..]),
        Some(&"cni-driver") => return cni::serve(),
        Some(&"datapath") => datapath::run(quick),
        other => match other.and_then(|name| name.strip_prefix("datapath-")).and_then(|part| datapath::run_part(part, quick)) {
            Some(good) => good,
            None => {
                eprintln!("{USAGE}\nPART: {}", datapath::parts());
                return ExitCode::from(2);
            }
        },
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
