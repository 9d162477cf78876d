//! Builds netd as it is released and measures it. Never measures by itself: that is the binary `bench` of the tests' package.

use std::process::ExitCode;

use anyhow::Result;

use crate::setup::{self, Need, Words};
use crate::shell;
use crate::workspace::{Profile, Workspace};

pub(crate) fn run(workspace: &Workspace, name: &str, args: &[String]) -> Result<ExitCode> {
    shell::must_be_root(&format!("bench {name}"))?;
    setup::run(workspace, &[Need::Toolchain, Need::Programs, Need::Runtimes], Words::Changes)?;
    let packages = ["-p", "netd", "-p", "netctl", "-p", "cni-plugin"];
    shell::run(workspace.cargo(&["build", "--quiet", "--release"]).args(packages))?;
    let mut bench = workspace.cargo(&["run", "--quiet", "--release", "--package", "netd-tests", "--bin", "bench", "--", name]);
    shell::run_to_end(bench.args(args).env("NETD_BIN_DIR", workspace.binaries(Profile::Release)))
}
