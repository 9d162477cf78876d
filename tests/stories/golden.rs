//! The golden ruleset, asserted a second time: what the pure test compares is what the kernel holds after netd has really applied it.

use lab::Lab;

/// The table of this build, without elements.
const BASE: &str = include_str!("../golden/base.nft");
/// The same with the elements of a host that has everything.
const PUBLISHED: &str = include_str!("../golden/published.nft");

#[test]
fn the_kernel_holds_the_golden_ruleset_after_netd_has_applied_it() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = net.container("a").listens(80);
    a.publishes("8080:80");
    let listed = lab.here().run("nft", &["list", "table", "inet", "netd"]);
    assert_eq!(without_elements(&listed), without_elements(BASE));
    for element in
        [format!("\"{}\"", net.bridge()), format!("tcp . 8080 : {} . 80", a.v4(80).ip()), format!("tcp . 8080 : {} . 80", a.v6(80).ip())]
    {
        assert!(listed.contains(&element), "{element} is not in\n{listed}");
    }
    lab.ends_clean();
}

#[test]
fn nft_prints_the_golden_ruleset_as_it_stands() {
    let lab = Lab::bare();
    for golden in [BASE, PUBLISHED] {
        let file = lab.host().scratch.path().join("golden.nft");
        std::fs::write(&file, golden).unwrap();
        lab.here().run("nft", &["-f", file.to_str().unwrap()]);
        assert_eq!(lab.here().run("nft", &["list", "table", "inet", "netd"]), golden);
        lab.here().run("nft", &["delete", "table", "inet", "netd"]);
    }
    lab.leaves_nothing();
}

/// The table's code: elements come and go.
fn without_elements(table: &str) -> String {
    let mut code = String::new();
    let mut inside = false;
    for line in table.lines() {
        inside |= line.trim_start().starts_with("elements = {");
        if !inside {
            code += line;
            code.push('\n');
        }
        inside &= !line.trim_end().ends_with('}');
    }
    code
}
