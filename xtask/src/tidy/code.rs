//! Rust source as the rules see it: code alone, without comments and texts. Never understands more of Rust than that.

/// The same text with comments, string and character literals blanked out; line breaks stay where they are.
pub(super) fn without_texts(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = text_length(rest, code.chars().last());
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

/// The length of the comment or literal that `rest` begins with; 0 if it begins with code.
fn text_length(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |at| at + 2);
    }
    if rest.starts_with('"') {
        return quoted_length(rest);
    }
    if rest.starts_with('r') && !before.is_some_and(|c| (c.is_alphanumeric() && c != 'b') || c == '_') {
        return raw_length(rest);
    }
    if rest.starts_with('\'') { character_length(rest) } else { 0 }
}

fn quoted_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

/// `r"…"`, `r#"…"#`; 0 for an identifier that begins with r.
fn raw_length(rest: &str) -> usize {
    let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
    if !rest[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    rest[body..].find(&end).map_or(rest.len(), |at| body + at + end.len())
}

/// `'x'`, `'\n'`, `'\u{1f600}'`; 0 for a lifetime.
fn character_length(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            let escape = chars.next().map_or(2, |(at, c)| at + c.len_utf8());
            rest[escape..].find('\'').map_or(0, |at| escape + at + 1)
        }
        Some((at, c)) if rest[at + c.len_utf8()..].starts_with('\'') => at + c.len_utf8() + 1,
        _ => 0,
    }
}

/// The crates that a line of code names as the first part of a path: `nix::mount`, `use aya;`.
pub(super) fn crates_named(line: &str) -> impl Iterator<Item = &str> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let used = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ").starts_with("use ");
    line.split(move |c: char| !part(c) && c != ':' && c != '.').filter_map(move |word| {
        let path = word.trim_start_matches(':');
        let (first, inner) = path.split_once(':').unwrap_or((path, ""));
        let is_name = first.starts_with(|c: char| c.is_alphabetic()) && !first.contains('.');
        (is_name && (inner.starts_with(':') || used)).then_some(first)
    })
}
