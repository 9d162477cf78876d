//! Runs `nft -f -` with a text. Never for a single element: a process costs a hundred times more.

use std::{
    env,
    fmt::Write as _,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::kernel::KernelError;

/// The program; a search path that has no sbin (a user's, or cron's) is no reason not to find it.
pub(super) fn program() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(more)
        .map(|folder| folder.join("nft"))
        .find(|program| program.is_file())
        .unwrap_or_else(|| PathBuf::from("nft"))
}

/// Gives the text to nft, which does all of it or nothing.
pub(super) fn run(text: &str) -> Result<(), KernelError> {
    let output = Command::new(program())
        .env("LC_ALL", "C")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(text.as_bytes()));
            let output = child.wait_with_output()?;
            // It may end at the first error without reading the rest: then its words count, not the broken pipe.
            if output.status.success() { written.map(|()| output) } else { Ok(output) }
        })
        .map_err(|error| KernelError::Nft(format!("could not be run: {error}; install nftables 1.0.6 or newer")))?;
    if output.status.success() { Ok(()) } else { Err(KernelError::Nft(refusal(text, &String::from_utf8_lossy(&output.stderr)))) }
}

/// What nft said, and the lines it spoke of with their numbers.
fn refusal(text: &str, stderr: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut spoken: Vec<usize> = stderr.lines().filter_map(|line| line.split(':').nth(1)?.parse().ok()).collect();
    spoken.sort_unstable();
    spoken.dedup();
    let mut words = stderr.trim_end().to_owned();
    for number in spoken {
        for near in number.saturating_sub(1)..=number + 1 {
            if let Some(line) = near.checked_sub(1).and_then(|index| lines.get(index)) {
                let _ = write!(words, "\n{near:4} {}", line.trim_start());
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::refusal;

    #[test]
    fn a_refusal_shows_the_lines_it_speaks_of() {
        let said = refusal("table inet netd {\n\tset a {\n\t}\n}\n", "/dev/stdin:2:6-6: Error: Could not process rule: File exists\n");
        assert_eq!(said, "/dev/stdin:2:6-6: Error: Could not process rule: File exists\n   1 table inet netd {\n   2 set a {\n   3 }");
    }
}
