//! Running other programs, visibly. Never through a shell, so no quoting can go wrong.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};

/// Shows the command as one would type it and runs it on our own terminal.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("  $ {}", typed(command));
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("could not start `{}`", typed(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", typed(command));
    }
    Ok(())
}

/// Runs a command on our own terminal and ends as it ended.
pub(crate) fn run_to_end(command: &mut Command) -> Result<ExitCode> {
    println!("  $ {}", typed(command));
    let status = command.status().with_context(|| format!("could not start `{}`", typed(command)))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Runs a command silently and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("could not start `{}`", typed(command)))?;
    if !output.status.success() {
        bail!("`{}` failed: {}\n{}", typed(command), output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as a line for a shell: folder, environment, program, arguments.
pub(crate) fn typed(command: &Command) -> String {
    let mut line = String::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            let _ = write!(line, "{}={} ", name.to_string_lossy(), quoted(value));
        }
    }
    line += &quoted(command.get_program());
    for arg in command.get_args() {
        line.push(' ');
        line += &quoted(arg);
    }
    line
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Where a program is: in PATH, in cargo's own folder or in the system's folders, which PATH may lack for non-root users.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(cargo_home().map(|home| home.join("bin")))
        .chain(system)
        .map(|dir| dir.join(program))
        .find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0)
}

/// Cargo's folder, where `cargo install` puts programs.
pub(crate) fn cargo_home() -> Option<PathBuf> {
    home_folder("CARGO_HOME", ".cargo")
}

/// Rustup's folder, where toolchains lie.
pub(crate) fn rustup_home() -> Option<PathBuf> {
    home_folder("RUSTUP_HOME", ".rustup")
}

fn home_folder(variable: &str, name: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).or_else(|| std::env::home_dir().map(|home| home.join(name)))
}

/// Whether we run as root: /proc/self belongs to the effective user.
pub(crate) fn is_root() -> bool {
    Path::new("/proc/self").metadata().is_ok_and(|meta| meta.uid() == 0)
}

/// Fails with the line to type where we are not root.
pub(crate) fn must_be_root(task: &str) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    bail!("it makes network namespaces and loads eBPF programs, which needs root; run: sudo -E env PATH=\"$PATH\" cargo xtask {task}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_types_it() {
        let mut command = Command::new("apt-get");
        command.args(["install", "a b", "it's"]).env("DEBIAN_FRONTEND", "noninteractive");
        assert_eq!(typed(&command), r"DEBIAN_FRONTEND=noninteractive apt-get install 'a b' 'it'\''s'");
    }

    #[test]
    fn a_failed_command_says_what_and_why() {
        let why = output(Command::new("sh").args(["-c", "echo no such thing >&2; exit 3"])).unwrap_err().to_string();
        assert!(why.contains("exit status: 3") && why.contains("no such thing"), "{why}");
    }
}
