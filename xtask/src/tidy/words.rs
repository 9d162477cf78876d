//! Words that must not stand in the tree. They are spelled in parts here, so that this file does not break its own rule.

use super::{Breach, File};

/// Words of unfinished work, in any file.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];

/// Macros that stand for missing code.
const STUBS: [&str; 2] = [concat!("todo", "!("), concat!("unimplemented", "!(")];

const IGNORE: &str = concat!("#[", "ignore");
const ALLOW: &str = concat!("allow", "(");

pub(super) fn judge(file: &File) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (line, text) in file.lines() {
        if let Some(word) = UNFINISHED.iter().find(|word| has_word(text, word)) {
            breaches.push(file.breach(line, format!("{word}: do it now, or open an issue and remove the note")));
        }
        if !file.is_rust() {
            continue;
        }
        if let Some(stub) = STUBS.iter().find(|stub| text.contains(**stub)) {
            breaches.push(file.breach(line, format!("{stub}…) stands for missing code; write the code")));
        }
        if text.contains(IGNORE) {
            breaches.push(file.breach(line, "an ignored test is a silent skip; make it run in its tier, or delete it"));
        }
        let attribute = text.trim_start();
        if (attribute.starts_with("#[") || attribute.starts_with("#![")) && attribute.contains(ALLOW) {
            breaches.push(file.breach(line, "write #[expect(lint, reason = \"…\")], which ends when its cause ends"));
        }
    }
    breaches
}

/// Whether a word stands in the text, and not as a part of another.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part))
}
