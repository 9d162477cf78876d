//! One step of a tier: a command whose output is shown and counted. Never ends a tier by itself; the next step runs all the same.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::count::Count;
use crate::shell;

/// Runs a command, shows what it prints and counts the tests that it closes on.
pub(super) fn run(title: &str, command: &mut Command) -> Result<Count> {
    run_within(title, Limit::None, command)
}

/// How long a step may take.
#[derive(Clone, Copy)]
pub(super) enum Limit {
    None,
    /// Only where nobody watches (the variable CI is set), so that a hanging test is shown before the whole run is cut off.
    InCi(Duration),
}

pub(super) fn run_within(title: &str, limit: Limit, command: &mut Command) -> Result<Count> {
    println!("\n-- {title}\n  $ {}", shell::typed(command));
    let start = Instant::now();
    let mut limited = limited(limit, command);
    let mut child = limited
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start `{}`", shell::typed(command)))?;
    let mut count = Count::default();
    for line in BufReader::new(child.stdout.take().context("no output to read")?).split(b'\n') {
        let line = line.context("could not read the output")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some(more) = Count::closing_line(&line) {
            count += more;
        }
    }
    let status = child.wait().context("could not wait for the end")?;
    if !status.success() && count.is_good() {
        count += Count::FAILURE;
    }
    let verdict = if count.is_good() { "ok".to_owned() } else { format!("FAILED ({status})") };
    println!("-- {title}: {verdict}, {count}, {:.0} s", start.elapsed().as_secs_f64());
    Ok(count)
}

/// The same command under coreutils' `timeout`, which ends its children too.
fn limited(limit: Limit, command: &Command) -> Command {
    let Limit::InCi(limit) = limit else {
        return same(command, Command::new(command.get_program()));
    };
    if std::env::var_os("CI").is_none() {
        return same(command, Command::new(command.get_program()));
    }
    let mut timeout = Command::new("timeout");
    timeout.args(["--verbose", "--kill-after=10", &limit.as_secs().to_string()]).arg(command.get_program());
    same(command, timeout)
}

fn same(command: &Command, mut copy: Command) -> Command {
    copy.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => copy.env(name, value),
            None => copy.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        copy.current_dir(folder);
    }
    copy
}

/// Runs a command that builds something; without it there is nothing to go on with.
pub(super) fn build(title: &str, command: &mut Command) -> Result<()> {
    let count = run(title, command)?;
    if !count.is_good() {
        bail!("{title} failed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Count {
        run("try", Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn a_step_fails_by_its_tests_or_by_its_exit_code() {
        let ok = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(sh(&format!("echo '{ok}'; echo '{ok}'")), Count { passed: 4, failed: 0 });
        assert_eq!(sh(&format!("echo '{ok}'; exit 1")), Count { passed: 2, failed: 1 });
        let bad = "test result: FAILED. 1 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(sh(&format!("echo '{bad}'; exit 101")), Count { passed: 1, failed: 3 });
    }
}
