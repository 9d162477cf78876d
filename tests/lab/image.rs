//! A container image without a registry: a static busybox and its names, as a root file system and as an archive that runtimes import.
//! Never holds more than a story's containers run.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use serde_json::json;

use crate::Lab;

/// What the archive calls the image.
pub const IMAGE: &str = "localhost/busybox:1";
/// What the image is made of.
const BUSYBOX: &str = "/bin/busybox";
/// Programs of the image.
const PROGRAMS: [&str; 5] = ["sh", "sleep", "true", "cat", "ip"];
/// What a container of the image runs.
const COMMAND: [&str; 2] = ["/bin/sleep", "1000000"];

impl Lab {
    /// A root file system as a tar, as `podman import` takes it.
    pub fn root_tar(&self) -> PathBuf {
        let scratch = self.host().scratch.path();
        let tar = scratch.join("root.tar");
        if !tar.exists() {
            let root = scratch.join("root");
            for dir in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
                fs::create_dir_all(root.join(dir)).expect("the scratch directory is ours");
            }
            let busybox = fs::read(BUSYBOX).expect("busybox-static is there: cargo xtask setup");
            // The loader of a program that needs one stands in its first bytes.
            assert!(
                !busybox[..4096].windows(8).any(|bytes| bytes == b"ld-linux"),
                "{BUSYBOX} needs shared libraries; install busybox-static instead"
            );
            fs::copy(BUSYBOX, root.join("bin/busybox")).expect("the scratch directory is ours");
            for program in PROGRAMS {
                symlink("busybox", root.join("bin").join(program)).expect("the scratch directory is ours");
            }
            self.pack(&tar, &root, &["."]);
        }
        tar
    }

    /// The image [`IMAGE`] as `docker save` would write it; containerd imports it.
    pub fn image_archive(&self) -> PathBuf {
        let scratch = self.host().scratch.path();
        let archive = scratch.join("image.tar");
        if !archive.exists() {
            let layer = self.root_tar();
            let sum = self.here().run("sha256sum", &[&layer.to_string_lossy()]);
            let sum = sum.split_whitespace().next().expect("sha256sum prints a sum").to_owned();
            let config = json!({
                "architecture": architecture(), "os": "linux", "config": {"Cmd": COMMAND},
                "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{sum}")]},
            });
            let manifest = json!([{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["root.tar"]}]);
            fs::write(scratch.join("config.json"), config.to_string()).expect("the scratch directory is ours");
            fs::write(scratch.join("manifest.json"), manifest.to_string()).expect("the scratch directory is ours");
            self.pack(&archive, scratch, &["config.json", "manifest.json", "root.tar"]);
        }
        archive
    }

    fn pack(&self, tar: &std::path::Path, from: &std::path::Path, files: &[&str]) {
        let (tar, from) = (tar.to_string_lossy(), from.to_string_lossy());
        let arguments = ["--create", "--file", &tar, "--directory", &from];
        self.host().run("tar", &[&arguments, files].concat());
    }
}

/// As images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
