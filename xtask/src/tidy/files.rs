//! Rules about a file as a whole: its name, its length, its first and its last lines. Never looks at what the code says.

use super::{Breach, File};

/// Where a file must be split; aim for 150.
const MOST_LINES: usize = 500;

/// Names that say nothing about what is inside.
const DRAWERS: [&str; 7] = ["utils.rs", "util.rs", "helpers.rs", "common.rs", "misc.rs", "manager.rs", "core_utils.rs"];

pub(super) fn judge(file: &File) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (line, text) in file.lines() {
        if text.ends_with([' ', '\t', '\r']) && !file.path.contains("/golden/") {
            breaches.push(file.breach(line, "white space at the line's end; remove it"));
        }
    }
    if !file.is_rust() {
        return breaches;
    }
    let lines = file.text.lines().count();
    if lines > MOST_LINES {
        breaches.push(
            file.breach(0, format!("{lines} lines; split it by nouns (or move its tests to a file of their own): {MOST_LINES} is the end")),
        );
    }
    if DRAWERS.contains(&file.name()) {
        breaches.push(file.breach(0, "this name is a drawer; name the file after the thing it owns"));
    }
    if file.name() == "mod.rs" {
        breaches.push(file.breach(0, "modules here are x.rs beside x/; rename it to its folder's name"));
    }
    if !file.text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#![")).is_some_and(|line| line.starts_with("//! ")) {
        breaches.push(file.breach(1, "begin the file with `//! ` and a sentence on what it owns, and one on what it never does"));
    }
    breaches
}
