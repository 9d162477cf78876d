//! The house rules that a machine can judge; each breach says what to do. Never changes a file.

mod arrows;
mod code;
mod files;
mod mentions;
mod seams;
#[cfg(test)]
mod tests;
mod words;

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::shell;
use crate::workspace::Workspace;

/// One place where a rule is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Breach {
    /// Path below the workspace's root.
    path: String,
    /// 0 where the whole file is meant.
    line: usize,
    /// What is wrong, and what to do.
    what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// One file of the work tree.
struct File {
    /// Path below the workspace's root, with `/` between its parts.
    path: String,
    text: String,
}

impl File {
    fn breach(&self, line: usize, what: impl Into<String>) -> Breach {
        Breach { path: self.path.clone(), line, what: what.into() }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Lines with their numbers, from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// `cargo xtask tidy`: the rules, and the format.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let breaches = breaches(workspace)?;
    for breach in &breaches {
        println!("{breach}");
    }
    let formatted = shell::run(&mut workspace.cargo(&["fmt", "--all", "--check", "--", "--files-with-diff"]));
    if let Err(why) = &formatted {
        println!("{why:#}; run cargo fmt --all");
    }
    println!("{} breaches of the house rules", breaches.len());
    Ok(if breaches.is_empty() && formatted.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Every breach in the work tree, in the order of the paths.
pub(crate) fn breaches(workspace: &Workspace) -> Result<Vec<Breach>> {
    let mut files = Vec::new();
    walk(&workspace.root, "", &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut breaches = judge(&files);
    for manifest in ["Cargo.toml", "netd-ebpf/Cargo.toml"] {
        let args = ["metadata", "--no-deps", "--format-version", "1", "--manifest-path", manifest];
        let metadata = shell::output(&mut workspace.cargo(&args))?;
        breaches.extend(arrows::judge(&metadata)?);
    }
    Ok(breaches)
}

/// The rules that need only the files' text.
fn judge(files: &[File]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in files {
        breaches.extend(files::judge(file));
        breaches.extend(words::judge(file));
        breaches.extend(seams::judge(file));
    }
    breaches.extend(mentions::judge(files));
    breaches
}

/// Reads every text file of ours. Hidden folders hold none but .ci and .cargo; what is built is not ours.
fn walk(root: &Path, below: &str, files: &mut Vec<File>) -> Result<()> {
    let folder = root.join(below);
    for entry in fs::read_dir(&folder).with_context(|| format!("could not read {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if name != "target" && (!name.starts_with('.') || [".ci", ".cargo"].contains(&name.as_str())) {
                walk(root, &path, files)?;
            }
        } else if kind.is_file()
            && name != "Cargo.lock"
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            files.push(File { path, text });
        }
    }
    Ok(())
}
