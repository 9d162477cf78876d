//! Finds or installs what building and testing need. Never removes what is there, and never starts a service.

mod emulator;
mod kernels;
mod programs;
mod quiet;

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::workspace::Workspace;
use crate::{ebpf, shell};

pub(crate) use emulator::Emulator;
pub(crate) use kernels::Kernel;

/// The parts that a task can need.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// What compiles the eBPF programs.
    Toolchain,
    /// Programs that netd, the stories and the demo run.
    Programs,
    /// Container runtimes that use netd, and what netd is compared with.
    Runtimes,
    /// What boots other kernels.
    Emulator,
    /// Debian's kernels of other series.
    Kernels,
}

/// How much set-up says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    /// Also what is there already.
    All,
    /// Only what is done.
    Changes,
}

impl Need {
    pub(crate) const ALL: [Need; 5] = [Need::Toolchain, Need::Programs, Need::Runtimes, Need::Emulator, Need::Kernels];

    fn title(self) -> &'static str {
        match self {
            Need::Toolchain => "eBPF toolchain",
            Need::Programs => "programs",
            Need::Runtimes => "container runtimes",
            Need::Emulator => "emulator",
            Need::Kernels => "kernels",
        }
    }

    /// What is there, as words, or what is missing.
    fn look(self, workspace: &Workspace) -> Result<String, String> {
        match self {
            Need::Toolchain => ebpf::find().map(|found| found.to_string()).map_err(|missing| missing.to_string()),
            Need::Programs => programs::look(programs::USED),
            Need::Runtimes => programs::look(programs::RUNTIMES),
            Need::Emulator => Emulator::find(workspace).map(|found| found.to_string()),
            Need::Kernels => kernels::look(workspace),
        }
    }

    /// The commands that bring what is missing.
    fn commands(self, workspace: &Workspace) -> Result<Vec<Command>> {
        match self {
            Need::Toolchain => ebpf::commands(),
            Need::Programs => Ok(programs::commands(programs::USED)),
            Need::Runtimes => Ok(programs::commands(programs::RUNTIMES)),
            Need::Emulator => Ok(vec![Emulator::fetch(workspace)]),
            Need::Kernels => kernels::commands(workspace),
        }
    }
}

/// Brings what is missing of `needs`; prints the commands instead where it may not run them.
pub(crate) fn run(workspace: &Workspace, needs: &[Need], words: Words) -> Result<()> {
    let mut missing = Vec::new();
    for need in needs {
        match need.look(workspace) {
            Ok(found) if words == Words::All => println!("have {}: {found}", need.title()),
            Ok(_) => {}
            Err(what) => {
                println!("miss {}: {what}", need.title());
                missing.push(*need);
            }
        }
    }
    if missing.is_empty() {
        if words == Words::All {
            println!("nothing to do");
        }
        return Ok(());
    }
    if !shell::is_root() || shell::find("apt-get").is_none() {
        return by_hand(workspace, &missing);
    }
    install(workspace, &missing)
}

fn install(workspace: &Workspace, missing: &[Need]) -> Result<()> {
    let start = Instant::now();
    let _quiet = quiet::Services::hold()?;
    shell::run(&mut apt_get(&["update", "-q"]))?;
    for need in missing {
        println!("get  {}", need.title());
        for mut command in need.commands(workspace)? {
            shell::run(&mut command)?;
        }
        match need.look(workspace) {
            Ok(found) => println!("have {}: {found}", need.title()),
            Err(what) => bail!("{} were installed but are still not there: {what}", need.title()),
        }
    }
    println!("set-up took {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn by_hand(workspace: &Workspace, missing: &[Need]) -> Result<()> {
    let mut lines = Vec::new();
    for need in missing {
        match need.commands(workspace) {
            Ok(commands) => lines.extend(commands.iter().map(shell::typed)),
            Err(why) => lines.push(format!("# {}: {why:#}", need.title())),
        }
    }
    println!("\nOn Debian or Ubuntu, as root:\n");
    println!("  apt-get update");
    for line in lines {
        println!("  {line}");
    }
    println!("\nElsewhere install the same programs with the system's own package manager. {}", ebpf::ELSEWHERE);
    bail!("something is missing and this is not root on Debian or Ubuntu; run the commands above, then this again");
}

/// An apt-get that asks nothing and waits for another one to finish.
pub(crate) fn apt_get(args: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(["-o", "DPkg::Lock::Timeout=600"]).args(args).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// An apt-get that installs packages, nothing that they only recommend, and fails rather than remove a package that is there.
pub(crate) fn apt_get_install(packages: &[String]) -> Command {
    let mut command = apt_get(&["install", "-q", "-y", "--no-remove", "--no-install-recommends"]);
    command.args(packages);
    command
}

/// Whether apt knows a package that it could install.
pub(crate) fn is_offered(package: &str) -> bool {
    shell::output(Command::new("apt-cache").args(["policy", package]))
        .is_ok_and(|text| text.lines().any(|line| line.trim_start().starts_with("Candidate:") && !line.ends_with("(none)")))
}
