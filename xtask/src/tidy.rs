//! stub
use crate::workspace::Workspace;
pub(crate) fn breaches(_: &Workspace) -> anyhow::Result<Vec<String>> { Ok(vec![]) }
pub(crate) fn run(_: &Workspace) -> anyhow::Result<std::process::ExitCode> { Ok(0.into()) }
