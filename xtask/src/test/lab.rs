//! The tier of stories on this machine's kernel: real binaries in private hosts. Never touches the machine's own network; the lab sees to that.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::count::Count;
use super::step::{self, Limit};
use crate::setup::{self, Need, Words};
use crate::shell;
use crate::workspace::{Profile, Workspace};

/// The stories take a few minutes; more than this is a hang.
const LIMIT: Limit = Limit::InCi(Duration::from_secs(40 * 60));

pub(super) fn run(workspace: &Workspace) -> Result<Count> {
    shell::must_be_root("test --tier lab")?;
    setup::run(workspace, &[Need::Toolchain, Need::Programs, Need::Runtimes], Words::Changes)?;
    let stories = build(workspace)?;
    let mut command = Command::new(stories);
    command.env("NETD_BIN_DIR", workspace.binaries(Profile::Dev)).current_dir(workspace.root.join("tests"));
    step::run_within("stories", LIMIT, &mut command)
}

/// Builds what the stories drive, and the stories. Returns the stories' binary.
pub(super) fn build(workspace: &Workspace) -> Result<PathBuf> {
    binaries(workspace)?;
    let args = ["test", "--quiet", "--package", "netd-tests", "--test", "stories", "--no-run", "--message-format=json-render-diagnostics"];
    let mut cargo = workspace.cargo(&args);
    println!("\n-- build the stories\n  $ {}", shell::typed(&cargo));
    let messages = shell::output(&mut cargo)?;
    executable(&messages).context("cargo built no binary named stories")
}

/// Builds the programs that a user would install.
pub(crate) fn binaries(workspace: &Workspace) -> Result<()> {
    step::build(
        "build the binaries",
        &mut workspace.cargo(&["build", "--quiet", "--package", "netd", "--package", "netctl", "--package", "cni-plugin"]),
    )
}

fn executable(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let stories = messages.filter(|message| message["target"]["name"] == "stories");
    stories.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stories_binary_is_found_in_cargos_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"lab\"},\"executable\":null}\nnoise\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"stories\"},\"executable\":\"/t/stories-1\"}\n{\"reason\":\"build-finished\"}";
        assert_eq!(executable(messages), Some(PathBuf::from("/t/stories-1")));
        assert_eq!(executable("{}"), None);
    }
}
