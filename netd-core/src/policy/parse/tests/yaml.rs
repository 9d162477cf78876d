//! YAML itself: what scalars are, what is no document, and what would be a bomb.

use super::*;
use std::time::{Duration, Instant};

fn label(value: &str) -> Result<String, String> {
    let text = network_text(&format!("  podSelector: {{matchLabels: {{a: {value}}}}}\n"));
    match read(&text).map(|parsed| parsed.policies.into_iter().next().map(|policy| policy.body)) {
        Ok(Some(Body::Network(policy))) => Ok(policy.pods.labels.values().next().unwrap().to_string()),
        Ok(_) => Err("another".to_owned()),
        Err(errors) => Err(errors.to_string()),
    }
}

#[test]
fn scalars_are_those_of_yaml_1_2_whatever_1_1_said() {
    // YAML 1.1 read these as true and false, and so does kubectl; here they are texts, and are written with quotes.
    for text in ["yes", "No", "on", "OFF", "y", "n"] {
        assert_eq!(label(text).as_deref(), Ok(text));
        let policy = policy(&network_text(&format!("  podSelector: {{matchLabels: {{a: {text}}}}}\n")));
        assert!(policy.source.contains(&format!("a: \"{text}\"")), "{}", policy.source);
    }
    // Neither underscores nor colons make numbers, and dates are texts.
    for text in ["1_000", "2026-01-01", "0b1", "0o8", "1.2.3", "0x", "1e", "e5"] {
        assert_eq!(label(text).as_deref(), Ok(text));
    }
    for other in ["80", "012", "0x1f", "0o17", "-1", "+1", "1.10", "1e3", ".5", "1.", ".inf", ".NaN", "true", "False", "TRUE"] {
        let why = label(other).expect_err(other);
        assert!(why.contains(&format!("quote it: \"{other}\"")), "{why}");
    }
    for quoted in ["'80'", "\"true\"", "!!str 80"] {
        label(quoted).expect(quoted);
    }
    for empty in ["", "~", "null"] {
        assert!(label(empty).expect_err("nothing").contains("is empty, where a text is needed; write \"\""));
    }
}

#[test]
fn a_number_with_a_leading_zero_is_decimal_and_written_without_it() {
    let policy = policy(&network_text("  ingress:\n  - ports: [{port: 012}, {port: 0x50}, {port: 0o17}]\n"));
    let Body::Network(body) = &policy.body else { panic!("another kind") };
    assert_eq!(body.ingress.as_ref().unwrap()[0].ports, [tcp(12), tcp(80), tcp(15)]);
    assert!(policy.source.contains("port: 12\n") && policy.source.contains("port: 80\n"), "{}", policy.source);
}

#[test]
fn empty_documents_are_none() {
    for text in ["", "\n", "---\n", "# a comment\n", "---\n---\n# c\n---\n...\n", "null\n", "\u{feff}"] {
        assert_eq!(taken(text), Parsed { policies: Vec::new(), namespaces: Vec::new() }, "{text:?}");
    }
    let two = format!("---\n# first\n{}---\n\n---\n{}...\n", network_text("  podSelector: {}\n"), cluster_text(""));
    assert_eq!(taken(&two).policies.len(), 2);
}

#[test]
fn line_ends_of_windows_and_a_byte_order_mark_are_taken() {
    let text = network_text("  podSelector: {}\n  bad: 1\n");
    assert_eq!(refused(&format!("\u{feff}{}", text.replace('\n', "\r\n"))).split(' ').next(), Some("f.yaml:7:"));
}

#[test]
fn json_is_yaml() {
    let text = "{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"NetworkPolicy\",\"metadata\":{\"name\":\"j\",\"annotations\":{\"a\":\"\\u00e4\\n\\\"\"}},\n\t\"spec\":{\"podSelector\":{},\"ingress\":[{\"ports\":[{\"port\":80}]}]}}";
    assert_eq!(policy(text).name.to_string(), "default/j");
}

#[test]
fn a_name_twice_is_refused() {
    assert_eq!(
        network_refused("  podSelector: {}\n  ingress: []\n  podSelector: {matchLabels: {a: b}}\n"),
        "f.yaml:8: spec: \"podSelector\" is here twice, first in line 6; take one of them out"
    );
}

#[test]
fn aliases_are_written_out() {
    let policy = network("  podSelector: &p {matchLabels: {a: b}}\n  ingress:\n  - from:\n    - podSelector: *p\n");
    assert_eq!(policy.ingress.unwrap()[0].peers, [pods(labels(&[("a", "b")]))]);
    // Nobody can name what another document holds, nor what it stands in.
    let first = network_text("  podSelector: &p {}\n");
    let second = network_text("  podSelector: *p\n").replace("name: p", "name: q");
    assert!(read(&format!("{first}---\n{second}")).is_err());
    assert!(read("a: &a [*a]").is_err());
}

/// Each is refused, and at once.
#[track_caller]
fn is_no_bomb(text: &str, says: &str) {
    let begin = Instant::now();
    let why = refused(text);
    assert!(why.contains(says), "{}", why.chars().take(300).collect::<String>());
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert!(why.len() < 20_000, "an error repeats the beginning only");
}

#[test]
fn aliases_of_aliases_are_counted() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = level - 1;
        laughs.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{before}"); 10].join(", ")));
    }
    is_no_bomb(&laughs, "there are more than 1000000 values");
}

#[test]
fn text_that_aliases_stand_for_is_counted() {
    let aliases = vec!["*long"; 100].join(", ");
    is_no_bomb(&format!("a: &long \"{}\"\nb: [{aliases}]\n", "x".repeat(100_000)), "more than 8 MiB, with what aliases stand for");
}

#[test]
fn aliases_cannot_nest_deeper_than_documents_may() {
    let mut deep = "a0: &a0 [x]\n".to_owned();
    for level in 1..200 {
        deep.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    is_no_bomb(&deep, "is nested more than 64 levels deep");
}

#[test]
fn nesting_is_bounded() {
    let deep = 100_000;
    for (open, close) in [("[", "]"), ("{a: ", "}")] {
        is_no_bomb(&format!("{}1{}", open.repeat(65), close.repeat(65)), "is nested more than 64 levels deep");
        // The library reads ahead here, and has a bound of its own.
        is_no_bomb(&open.repeat(deep), "recursion limit exceeded");
    }
    is_no_bomb(&"- ".repeat(deep), "is nested more than 64 levels deep");
    is_no_bomb(&"? ".repeat(deep), "a name is a list or mapping itself");
    let levels: String = (0..1000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    is_no_bomb(&levels, "is nested more than 64 levels deep");
}

#[test]
fn what_is_no_yaml_is_refused_with_its_line() {
    for text in [
        "a: [",
        "a: b: c",
        "\ta: b",
        "a: \"x",
        "{---",
        "a: 'x\nb: c",
        "%TAG",
        "&",
        "*",
        "!",
        "a: !x y",
        "? a\n: b\n? [c]\n: d",
        "1: 2",
        "a: \u{1}",
    ] {
        let why = refused(text);
        assert!(why.starts_with("f.yaml:"), "{text:?}: {why}");
    }
}
