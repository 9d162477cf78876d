//! Where the sources and what is built from them lie. Never builds anything itself.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The work tree that this xtask was built from.
pub(crate) struct Workspace {
    /// Folder of the workspace's Cargo.toml.
    pub(crate) root: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
}

impl Workspace {
    pub(crate) fn here() -> Workspace {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_path_buf();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        Workspace { root, target }
    }

    /// A cargo command in the workspace's root, without what the cargo that runs xtask says about xtask.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command.args(args).current_dir(&self.root);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "CARGO" {
                command.env_remove(&name);
            }
        }
        command
    }

    /// Where cargo puts the binaries of a profile.
    pub(crate) fn binaries(&self, profile: Profile) -> PathBuf {
        self.target.join(profile.folder())
    }

    /// Where the kernels of the kernels tier are kept.
    pub(crate) fn kernels(&self) -> PathBuf {
        self.target.join("kernels")
    }
}

/// The profiles that we build: tests and demo in the first, benchmarks in the second.
#[derive(Clone, Copy)]
pub(crate) enum Profile {
    Dev,
    Release,
}

impl Profile {
    fn folder(self) -> &'static str {
        match self {
            Profile::Dev => "debug",
            Profile::Release => "release",
        }
    }
}
