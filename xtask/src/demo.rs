//! Builds netd and shows it at work. Never plays the demo itself: that is the binary `demo` of the tests' package, in the language of the lab.

use std::process::ExitCode;

use anyhow::Result;

use crate::setup::{self, Need, Words};
use crate::shell;
use crate::test;
use crate::workspace::{Profile, Workspace};

pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    shell::must_be_root("demo")?;
    setup::run(workspace, &[Need::Toolchain, Need::Programs], Words::Changes)?;
    test::binaries(workspace)?;
    let mut demo = workspace.cargo(&["run", "--quiet", "--package", "netd-tests", "--bin", "demo"]);
    shell::run_to_end(demo.env("NETD_BIN_DIR", workspace.binaries(Profile::Dev)))
}
