//! Each rule, on a small input that breaks it and one that does not; and the work tree itself. Never on a made-up rule.

use super::code::{crates_named, without_texts};
use super::*;

fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}

/// What the rules say about one file beside a README that needs nothing.
fn said(path: &str, text: &str) -> String {
    let files = [file("README.md", ""), file(path, text)];
    judge(&files).iter().map(|breach| format!("{breach}\n")).collect()
}

fn good(path: &str, text: &str) {
    assert_eq!(said(path, text), "", "{path} should be fine");
}

fn bad(path: &str, text: &str, expected: &str) {
    let said = said(path, text);
    assert!(said.contains(expected), "{path}: expected {expected:?} in {said:?}");
}

#[test]
fn this_work_tree_keeps_the_house_rules() {
    let breaches = breaches(&Workspace::here()).unwrap();
    assert!(breaches.is_empty(), "{}", breaches.iter().map(|breach| format!("\n{breach}")).collect::<String>());
}

#[test]
fn files_have_names_that_say_something() {
    good("netd/src/mac.rs", "//! Owns MACs.\n");
    for name in ["utils.rs", "helpers.rs", "common.rs", "misc.rs", "manager.rs"] {
        bad(&format!("netd/src/{name}"), "//! Owns.\n", "drawer");
    }
    bad("netd/src/kernel/mod.rs", "//! Owns.\n", "x.rs beside x/");
}

#[test]
fn files_end_at_500_lines() {
    good("netd/src/a.rs", &format!("//! Owns.\n{}", "//\n".repeat(499)));
    bad("netd/src/a.rs", &format!("//! Owns.\n{}", "//\n".repeat(500)), "501 lines");
}

#[test]
fn files_begin_with_what_they_own() {
    good("netd-ebpf/src/main.rs", "#![no_std]\n\n//! Owns programs.\n");
    bad("netd/src/a.rs", "use std::fmt;\n//! Late.\n", "netd/src/a.rs:1: begin the file");
    bad("netd/src/a.rs", "", "begin the file");
}

#[test]
fn lines_end_where_their_text_ends() {
    bad("docs/a.md", "one\ntwo \n", "docs/a.md:2: white space");
    good("tests/lab.md", "one\ntwo\n");
}

#[test]
fn unfinished_work_and_silent_skips_are_found() {
    for word in [concat!("TO", "DO"), concat!("FIX", "ME")] {
        bad("dashboards/a.md", &format!("{word}: later\n"), word);
        good("dashboards/a.md", &format!("{word}S\n"));
    }
    bad("netd/src/a.rs", concat!("//! Owns.\nfn f() { todo", "!() }\n"), "missing code");
    bad("netd/src/a.rs", concat!("//! Owns.\nfn f() { unimplemented", "!() }\n"), "missing code");
    bad("netd/src/a.rs", concat!("//! Owns.\n    #[", "ignore = \"slow\"]\n"), "silent skip");
    bad("netd/src/a.rs", concat!("//! Owns.\n#[", "allow", "(dead_code)]\n"), "expect");
    bad("netd/src/a.rs", concat!("//! Owns.\n#![cfg_attr(test, ", "allow", "(dead_code))]\n"), "expect");
    good("netd/src/a.rs", concat!("//! Owns.\nfn f() { policy.", "allow", "(peer) }\n"));
}

#[test]
fn only_the_kernel_side_names_kernel_crates() {
    for code in [
        "use nix::mount;",
        "use libc;",
        "let h = aya::Ebpf::load(b);",
        "use netlink_packet_route::link;",
        "pub(crate) use rtnetlink::Handle;",
    ] {
        bad("netd/src/server.rs", &format!("//! Owns.\n{code}\n"), "netd/src/server.rs:2:");
        good("netd/src/kernel/link.rs", &format!("//! Owns.\n{code}\n"));
        good("netd/src/bpf.rs", &format!("//! Owns.\n{code}\n"));
    }
    good(
        "netd/src/server.rs",
        "//! nftables::x and nix::y.\nlet text = \"aya::Ebpf\"; // libc::c_int\nlet a = self.nix.x; my_libc::f(); crate::nix::f();\n",
    );
}

#[test]
fn the_core_reaches_nothing() {
    bad("netd-core/src/plan.rs", "//! Owns.\nlet now = Instant::now();\n", "take the fact as an argument");
    bad("netd-core/src/plan.rs", "//! Owns.\nuse std::fs;\n", "netd-core/src/plan.rs:2:");
    good("netd-core/src/plan/tests.rs", "//! Owns.\nuse std::fs;\n");
    good("netd-core/src/plan.rs", "//! Owns; never std::fs.\nuse std::net::Ipv4Addr;\n");
}

#[test]
fn goldens_are_named_and_crates_are_on_the_map() {
    let golden = file("tests/golden/publish.nft", "table\n");
    let readme = file("README.md", "");
    assert_eq!(judge(&[file("README.md", ""), file("tests/golden/publish.nft", "table\n")]).len(), 1);
    let named = file("netd-core/src/a.rs", "//! Owns.\nconst G: &str = include_str!(\"publish.nft\");\n");
    assert_eq!(judge(&[golden, readme, named]), []);
    bad("netd-dns/Cargo.toml", "", "does not mention `netd-dns`");
    let files = [file("README.md", "`netd-dns` answers names"), file("netd-dns/Cargo.toml", "")];
    assert_eq!(judge(&files), []);
    assert!(judge(&[]).iter().any(|breach| breach.path == "README.md"));
}

/// What the arrows say about one crate with one dependency.
fn arrow(name: &str, on: &str, kind: &str) -> usize {
    let metadata = format!(r#"{{"packages":[{{"name":"{name}","dependencies":[{{"name":"{on}","kind":{kind}}}]}}]}}"#);
    arrows::judge(&metadata).unwrap().len()
}

#[test]
fn arrows_between_crates_point_one_way() {
    assert_eq!(arrow("netd", "netd-core", "null"), 0);
    assert_eq!(arrow("netd-core", "tokio", "null"), 1);
    assert_eq!(arrow("netd-core", "proptest", "\"dev\""), 0);
    assert_eq!(arrow("netd-core", "netd", "\"dev\""), 1);
    assert_eq!(arrow("netctl", "comfy-table", "null"), 0);
    assert_eq!(arrow("netctl", "netlink-sys", "null"), 1);
    assert_eq!(arrow("netctl", "netd-core", "null"), 1);
    assert_eq!(arrow("netd-tests", "netd", "null"), 1);
    assert_eq!(arrow("xtask", "netd-api", "null"), 1);
    assert_eq!(arrow("netd-web", "serde", "null"), 1);
    assert!(arrows::judge("no JSON").is_err());
}

#[test]
fn code_is_told_from_comments_and_texts() {
    let source = "let a = \"x \\\" y\"; // c\nlet b = r#\"q \" q\"#; /* d\n e */ f('\"', '\\'', 'x'); fn g<'a>() {} let radius = 1;";
    let code = without_texts(source);
    assert_eq!(code.lines().count(), 3);
    let words: Vec<_> = code.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    assert_eq!(words, ["let", "a", "let", "b", "f", "fn", "g", "a", "let", "radius", "1"]);
}

#[test]
fn crates_are_the_first_parts_of_paths() {
    let named = |line| crates_named(line).collect::<Vec<_>>();
    assert!(named("use nix::mount;").contains(&"nix"));
    assert!(named("use libc;").contains(&"libc"));
    assert_eq!(named("let x = ::aya::Ebpf::load(y);"), ["aya"]);
    assert_eq!(named("self.aya.x(crate::nix::y)"), ["crate"]);
}
