//! Reads the guest's second serial line: what the command printed, its exit code, or why there is none. Never waits longer than it was told.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::process::Child;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::Ended;

/// Said by guest.sh before and after the command.
const START: &str = "netd-guest start";
const EXIT: &str = "netd-guest exit ";

/// Follows the machine to its end, and writes all that it says to `log`.
pub(super) fn follow(machine: &mut Child, log: &Path, limit: Duration, mut line: impl FnMut(&str)) -> Result<Ended> {
    let mut log = fs::File::create(log).with_context(|| format!("could not write {}", log.display()))?;
    let (sender, lines) = mpsc::channel();
    read(machine.stdout.take().context("the machine has no console")?, sender.clone());
    read(machine.stderr.take().context("the machine has no error output")?, sender);
    let deadline = Instant::now() + limit;
    let mut console = Console::default();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(text) => {
                writeln!(log, "{text}").context("could not write the console log")?;
                match console.take(&text) {
                    Said::Exit(code) => return Ok(Ended::Exit(code)),
                    Said::Output => line(&text),
                    Said::Noise => {}
                }
            }
            Err(RecvTimeoutError::Timeout) => return Ok(Ended::Lost(format!("the guest was stopped after {} s", limit.as_secs()))),
            Err(RecvTimeoutError::Disconnected) => return Ok(Ended::Lost("the guest ended before it said an exit code".to_owned())),
        }
    }
}

fn read(stream: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { return };
            if lines.send(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned()).is_err() {
                return;
            }
        }
    });
}

/// Where in the console's story we are.
#[derive(Default)]
struct Console {
    started: bool,
}

/// What a line of the console means.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Noise,
    Output,
    Exit(u8),
}

impl Console {
    fn take(&mut self, line: &str) -> Said {
        if let Some((_, code)) = line.split_once(EXIT).filter(|_| self.started) {
            return Said::Exit(code.trim().parse().unwrap_or(u8::MAX));
        }
        if line.contains(START) {
            self.started = true;
            return Said::Noise;
        }
        if self.started { Said::Output } else { Said::Noise }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn only_what_the_command_prints_is_output() {
        let mut console = Console::default();
        let said = ["BIOS", "netd-guest exit 0", "netd-guest start", "hello", "netd-guest exit 3"].map(|line| console.take(line));
        assert_eq!(said, [Said::Noise, Said::Noise, Said::Noise, Said::Output, Said::Exit(3)]);
    }

    #[test]
    fn an_exit_code_that_cannot_be_read_is_a_failure() {
        let mut console = Console { started: true };
        assert_eq!(console.take("[ 12.3] netd-guest exit garbage"), Said::Exit(255));
    }

    /// Follows a shell script in the place of a machine; returns the end, in words, and the command's output.
    fn follow_script(script: &str, limit: Duration) -> (String, Vec<String>) {
        let log = std::env::temp_dir().join(format!("netd-xtask-console-{}-{}", std::process::id(), script.len()));
        let mut machine = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut output = Vec::new();
        let ended = follow(&mut machine, &log, limit, |line| output.push(line.to_owned())).unwrap();
        machine.kill().unwrap();
        machine.wait().unwrap();
        fs::remove_file(&log).unwrap();
        let words = match ended {
            Ended::Exit(code) => format!("exit {code}"),
            Ended::Lost(why) => why,
        };
        (words, output)
    }

    #[test]
    fn a_machine_is_followed_to_its_commands_end_and_not_longer_than_allowed() {
        let long = Duration::from_secs(60);
        let good = follow_script("echo boot; echo netd-guest start; echo hello; echo netd-guest exit 4; exec sleep 600", long);
        assert_eq!(good, ("exit 4".to_owned(), vec!["hello".to_owned()]));
        let stopped = follow_script("echo netd-guest start; echo hello", long);
        assert_eq!(stopped, ("the guest ended before it said an exit code".to_owned(), vec!["hello".to_owned()]));
        let hanging = follow_script("echo netd-guest start; exec sleep 600", Duration::from_millis(300));
        assert_eq!(hanging.0, "the guest was stopped after 0 s");
    }
}
