//! The tier of stories on other kernels: those in modules named `kernels`, in emulated machines. Never runs benchmarks there; emulation is slow.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result};

use super::count::Count;
use super::lab;
use crate::guest::{self, Ended, Guest};
use crate::setup::{self, Emulator, Kernel, Need, Words};
use crate::shell;
use crate::workspace::{Profile, Workspace};

/// Part of a story's path that marks it as one to run on every kernel.
const MARK: &str = "kernels::";

/// What one kernel may take: two of them and the other tiers share CI's 90 minutes.
const LIMIT: Duration = Duration::from_secs(15 * 60);

pub(super) fn run(workspace: &Workspace) -> Result<Count> {
    shell::must_be_root("test --tier kernels")?;
    setup::run(workspace, &[Need::Toolchain, Need::Programs, Need::Emulator, Need::Kernels], Words::Changes)?;
    let stories = lab::build(workspace)?.display().to_string();
    let mut count = Count::default();
    for series in guest::SERIES {
        count += run_on(workspace, series, &stories)?;
    }
    Ok(count)
}

fn run_on(workspace: &Workspace, series: &str, stories: &str) -> Result<Count> {
    let kernel = Kernel::find(workspace, series).with_context(|| format!("kernel {series} is not there"))?;
    println!("\n-- kernel {}", kernel.release);
    let start = Instant::now();
    let command = [stories, MARK, "--test-threads=2", "--color=never"].map(str::to_owned);
    let env = [("NETD_BIN_DIR", workspace.binaries(Profile::Dev).display().to_string()), ("RUST_BACKTRACE", "1".to_owned())];
    let emulator = Emulator::find(workspace).map_err(Error::msg)?;
    let guest = Guest { emulator: &emulator, kernel: &kernel, command: &command, env: &env, folder: &workspace.root.join("tests") };
    let mut count = Count::default();
    let ended = guest.boot(LIMIT, |line| {
        println!("{series:>5} | {line}");
        if let Some(more) = Count::closing_line(line) {
            count += more;
        }
    })?;
    let problem = problem(&ended, count);
    if let Some(why) = &problem {
        println!("{why}\n{}", guest.last_words());
        if count.is_good() {
            count += Count::FAILURE;
        }
    }
    let verdict = if problem.is_none() { "ok" } else { "FAILED" };
    println!("-- kernel {}: {verdict}, {count}, {:.0} s", kernel.release, start.elapsed().as_secs_f64());
    Ok(count)
}

/// Why a kernel's run is not good, if it is not.
fn problem(ended: &Ended, count: Count) -> Option<String> {
    match ended {
        Ended::Lost(why) => Some(why.clone()),
        Ended::Exit(0) if count.passed == 0 => Some(format!("no story ran; those for every kernel have `{MARK}` in their path")),
        Ended::Exit(0) if count.is_good() => None,
        Ended::Exit(code) => Some(format!("the stories ended with exit code {code}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stories_that_ran_and_ended_well_are_good() {
        let ran = Count { passed: 3, failed: 0 };
        assert_eq!(problem(&Ended::Exit(0), ran), None);
        assert!(problem(&Ended::Exit(0), Count::default()).is_some());
        assert!(problem(&Ended::Exit(101), ran).is_some());
        assert!(problem(&Ended::Lost("stopped".to_owned()), ran).is_some());
    }
}
