//! The tier that needs no root: format, lints, house rules, unit and golden tests. Never touches the kernel.

use anyhow::Result;

use super::count::Count;
use super::step;
use crate::setup::{self, Need, Words};
use crate::tidy;
use crate::workspace::Workspace;

/// The eBPF crate's manifest: it is no member of the workspace, because it is compiled for another target.
const EBPF: &str = "netd-ebpf/Cargo.toml";

pub(super) fn run(workspace: &Workspace) -> Result<Count> {
    setup::run(workspace, &[Need::Toolchain], Words::Changes)?;
    let mut count = Count::default();
    count += step::run("format", &mut workspace.cargo(&["fmt", "--all", "--check", "--", "--files-with-diff"]))?;
    count += step::run(
        "format of the eBPF programs",
        &mut workspace.cargo(&["fmt", "--check", "--manifest-path", EBPF, "--", "--files-with-diff"]),
    )?;
    count += house_rules(workspace)?;
    count += step::run("lints", &mut workspace.cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    count += step::run("unit tests", &mut workspace.cargo(&["test", "--quiet", "--no-fail-fast"]))?;
    let target = workspace.target.join("ebpf-host");
    let lints = ["clippy", "--quiet", "--lib", "--tests", "--manifest-path", EBPF, "--target-dir"];
    count += step::run("lints of the eBPF logic", workspace.cargo(&lints).arg(&target).args(["--", "-D", "warnings"]))?;
    let tests = ["test", "--quiet", "--lib", "--manifest-path", EBPF, "--target-dir"];
    count += step::run("eBPF logic on this host", workspace.cargo(&tests).arg(&target))?;
    Ok(count)
}

fn house_rules(workspace: &Workspace) -> Result<Count> {
    println!("\n-- house rules");
    let breaches = tidy::breaches(workspace)?;
    for breach in &breaches {
        println!("{breach}");
    }
    println!("-- house rules: {}", if breaches.is_empty() { "ok" } else { "FAILED" });
    Ok(if breaches.is_empty() { Count::default() } else { Count::FAILURE })
}
