//! Policy files: YAML or JSON in, policies and namespaces' labels out, or every error with its line and field. Never reads a file itself, and
//! never takes a part of what it was given.
//!
//! ```text
//! text ─load─► tree ─object─► metadata, network | cluster (selector, block, port) ─► Policy
//!                 └─emit─► its source
//! ```

mod tree;
mod load;
mod report;
mod fields;
mod object;
mod metadata;
mod network;
mod cluster;
mod selector;
mod block;
mod port;
mod emit;

pub use load::{LEVELS_MOST, NODES_MOST};
pub use report::{ERRORS_MOST, ParseError, ParseErrors};

use super::model::{NamespaceLabels, Policy};
use load::Room;
use object::{Found, object};
use report::Report;

/// Bytes of all files together: ten times what 10,000 rules need.
pub const TEXT_MOST: usize = 8 << 20;

/// One file's text and what errors call it.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// A path, or `-` for standard input.
    pub name: &'a str,
    /// What it says.
    pub text: &'a str,
}

/// What becomes of objects that are of no kind netd knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherKinds {
    /// They are errors.
    Refuse,
    /// They are passed over, `--skip-other-kinds`.
    Skip,
}

/// What files say, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The policies, each name once.
    pub policies: Vec<Policy>,
    /// Labels of namespaces, each namespace once.
    pub namespaces: Vec<NamespaceLabels>,
}

/// Reads files that are applied together.
pub fn parse(files: &[File<'_>], other_kinds: OtherKinds) -> Result<Parsed, ParseErrors> {
    let mut room = Room { text: TEXT_MOST, nodes: NODES_MOST };
    let mut report = Report::default();
    let mut found = Found::new(other_kinds);
    for file in files {
        report.begin(file.name);
        let Some(rest) = room.text.checked_sub(file.text.len()) else {
            report.advise(1, format!("the files have more than {} MiB", TEXT_MOST >> 20), "apply in several steps");
            break;
        };
        room.text = rest;
        for document in load::load(file.text, &mut room, &mut report) {
            object(&mut report, &mut found, &document, None);
        }
    }
    report.end()?;
    Ok(found.parsed)
}

#[cfg(test)]
mod tests;
