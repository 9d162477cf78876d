//! A document written again from its tree, always in the same form. Never leaves anything out of what it is given.

use super::tree::{Node, Value, whole};

/// The whole object as YAML: what it is, who it is, what it says.
pub(super) fn emit(api_version: &str, kind: &str, metadata: &[(&str, &Node<'_>)], spec: &Node<'_>) -> String {
    let mut out = String::new();
    for (name, word) in [("apiVersion", api_version), ("kind", kind)] {
        out.push_str(&format!("{name}: "));
        text(&mut out, word);
        out.push('\n');
    }
    out.push_str("metadata:\n");
    for (name, node) in metadata {
        out.push_str(&format!("  {name}:"));
        after_name(&mut out, node, 2);
    }
    out.push_str("spec:");
    after_name(&mut out, spec, 0);
    out
}

/// A value behind `name:`, and the end of the line.
fn after_name(out: &mut String, node: &Node<'_>, indent: usize) {
    match &node.value {
        Value::List(items) if !items.is_empty() => {
            out.push('\n');
            list(out, items, indent, indent);
        }
        Value::Map(fields) if !fields.is_empty() => {
            out.push('\n');
            map(out, node, indent + 2, indent + 2);
        }
        flat => {
            out.push(' ');
            scalar(out, flat);
        }
    }
}

/// A list's elements; the first line is indented by `first`, since a dash may stand before it already.
fn list(out: &mut String, items: &[Node<'_>], first: usize, indent: usize) {
    for (at, item) in items.iter().enumerate() {
        spaces(out, if at == 0 { first } else { indent });
        out.push_str("- ");
        match &item.value {
            Value::List(items) if !items.is_empty() => list(out, items, 0, indent + 2),
            Value::Map(fields) if !fields.is_empty() => map(out, item, 0, indent + 2),
            flat => scalar(out, flat),
        }
    }
}

fn map(out: &mut String, node: &Node<'_>, first: usize, indent: usize) {
    let Value::Map(fields) = &node.value else { return };
    for (at, field) in fields.iter().enumerate() {
        spaces(out, if at == 0 { first } else { indent });
        text(out, &field.name);
        out.push(':');
        after_name(out, &field.value, indent);
    }
}

fn spaces(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}

/// A value in one line, and the line's end.
fn scalar(out: &mut String, value: &Value<'_>) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(word) => out.push_str(&word.to_ascii_lowercase()),
        // YAML 1.1 would read `012` as ten.
        Value::Number(number) => match whole(number) {
            Some(whole) => out.push_str(&whole.to_string()),
            None => out.push_str(number),
        },
        Value::Text(given) => text(out, given),
        Value::List(_) => out.push_str("[]"),
        Value::Map(_) => out.push_str("{}"),
    }
    out.push('\n');
}

/// A text, in quotes unless readers of YAML 1.1 and 1.2 take it for the same text without.
fn text(out: &mut String, text: &str) {
    if is_plain(text) {
        return out.push_str(text);
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            // Beside control characters: what YAML takes for a line's end, and what it forbids unescaped (5.1).
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic());
    // A number of some kind has no slash.
    (starts || (text.contains('/') && text.starts_with(|c: char| c.is_ascii_digit())))
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"./_-".contains(&b))
        && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}
