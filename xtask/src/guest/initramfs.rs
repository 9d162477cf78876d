//! Builds the guest's initramfs: busybox, the kernel modules that lead to this machine's root, and the two scripts. Never leaves its work folder.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::Guest;
use crate::shell;

/// Modules that the way to the root needs, where the kernel has them not built in.
const WANTED: [&str; 3] = ["virtio_pci", "virtiofs", "overlay"];

/// Folders that the first script mounts on, or finds things in.
const FOLDERS: [&str; 7] = ["bin", "modules", "proc", "dev", "host", "memory", "merged"];

/// Writes the initramfs below `work` and returns its path.
pub(super) fn build(guest: &Guest<'_>, work: &Path) -> Result<PathBuf> {
    let tree = work.join("initramfs");
    for folder in FOLDERS {
        fs::create_dir_all(tree.join(folder)).with_context(|| format!("could not make {folder} in {}", tree.display()))?;
    }
    fs::copy(&guest.emulator.busybox, tree.join("bin/busybox")).context("could not copy busybox")?;
    let modules = guest.kernel.modules();
    let index = fs::read_to_string(modules.join("modules.dep")).with_context(|| format!("no modules.dep in {}", modules.display()))?;
    let mut names = Vec::new();
    for path in load_order(&index, &WANTED) {
        names.push(unpack(&modules.join(path), &tree.join("modules"))?);
    }
    let init = include_str!("init.sh")
        .replace("@MODULES@", &names.join(" "))
        .replace("@MODULES_FOLDER@", &quoted(&modules.display().to_string()))
        .replace("@RELEASE@", &guest.kernel.release);
    let env = guest.env.iter().map(|(name, value)| quoted(&format!("{name}={value}"))).collect::<Vec<_>>().join(" ");
    let command = guest.command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    let script = include_str!("guest.sh")
        .replace("@FOLDER@", &quoted(&guest.folder.display().to_string()))
        .replace("@ENV@", &env)
        .replace("@COMMAND@", &command);
    for (name, text) in [("init", init), ("guest.sh", script)] {
        let file = tree.join(name);
        fs::write(&file, text)
            .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("could not write {name}"))?;
    }
    pack(&tree, work.join("initramfs.cpio"))
}

/// The files of the wanted modules in the order in which they must be loaded. A module that is not in the index is built into the kernel.
fn load_order<'a>(index: &'a str, wanted: &[&str]) -> Vec<&'a str> {
    let mut order = Vec::new();
    for wanted in wanted {
        let Some((module, needs)) = index.lines().filter_map(|line| line.split_once(':')).find(|(path, _)| module_name(path) == *wanted)
        else {
            continue;
        };
        // depmod lists what a module needs from the nearest to the farthest.
        for path in needs.split_whitespace().rev().chain([module]) {
            if !order.contains(&path) {
                order.push(path);
            }
        }
    }
    order
}

/// `kernel/fs/fuse/virtio-fs.ko.xz` → `virtio_fs`.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split_once(".ko").map_or(file, |(name, _)| name).replace('-', "_")
}

/// Copies a module, decompressed: busybox's insmod takes plain files only. Returns the file's name.
fn unpack(module: &Path, folder: &Path) -> Result<String> {
    let name = format!("{}.ko", module_name(&module.to_string_lossy()));
    let target = fs::File::create(folder.join(&name)).with_context(|| format!("could not write {name}"))?;
    let program = match module.extension().and_then(|ending| ending.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => "cat",
    };
    let mut command = Command::new(program);
    if program != "cat" {
        command.arg("-dc");
    }
    let status = command.arg(module).stdout(target).status().with_context(|| format!("could not start {program}"))?;
    if !status.success() {
        bail!("`{}` failed: {status}", shell::typed(&command));
    }
    Ok(name)
}

fn pack(tree: &Path, file: PathBuf) -> Result<PathBuf> {
    let list = shell::output(Command::new("find").arg(".").current_dir(tree))?;
    let mut cpio = Command::new("cpio");
    cpio.args(["--quiet", "-o", "-H", "newc", "-R", "0:0"]).current_dir(tree).stdin(Stdio::piped()).stdout(fs::File::create(&file)?);
    let mut child = cpio.spawn().context("could not start cpio")?;
    child.stdin.take().context("cpio takes no input")?.write_all(list.as_bytes())?;
    let status = child.wait()?;
    if !status.success() {
        bail!("cpio failed: {status}");
    }
    Ok(file)
}

/// A word for a shell, whatever is in it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_loaded_after_what_they_need() {
        let index = "kernel/fs/fuse/virtiofs.ko.xz: kernel/fs/fuse/fuse.ko.xz kernel/virtio/virtio.ko.xz kernel/virtio/virtio_ring.ko.xz\n\
            kernel/virtio/virtio-pci.ko: kernel/virtio/virtio.ko.xz kernel/virtio/virtio_ring.ko.xz\nkernel/fs/other.ko:\n";
        let order: Vec<_> = load_order(index, &["virtio_pci", "virtiofs", "overlay"]).into_iter().map(module_name).collect();
        assert_eq!(order, ["virtio_ring", "virtio", "virtio_pci", "fuse", "virtiofs"]);
    }

    #[test]
    fn a_quote_in_a_word_stays_in_the_word() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
