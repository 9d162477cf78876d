//! QEMU, its file server and a busybox: the system's own, or Debian's packages unpacked below the target folder. Never installs them: a machine
//! may hold QEMU packages of another version, which apt would remove to make room.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell;
use crate::workspace::Workspace;

const QEMU: &str = "qemu-system-x86_64";

/// QEMU up to 7 brings the first, later ones leave it to a package of its own.
const FILES: [&str; 3] = ["usr/lib/qemu/virtiofsd", "usr/libexec/virtiofsd", "usr/bin/virtiofsd"];

/// Folders of shared libraries in the unpacked packages.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

/// Folders of firmware in the unpacked packages.
const FIRMWARE: [&str; 3] = ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"];

/// Programs that boot a machine.
#[derive(Debug)]
pub(crate) struct Emulator {
    /// Where Debian's packages are unpacked, if they are.
    unpacked: PathBuf,
    qemu: PathBuf,
    files: PathBuf,
    /// A busybox that needs no shared library, for the initramfs.
    pub(crate) busybox: PathBuf,
}

impl fmt::Display for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.qemu.display(), self.files.display(), self.busybox.display())
    }
}

impl Emulator {
    /// Finds all parts, or names those that are missing.
    pub(crate) fn find(workspace: &Workspace) -> Result<Emulator, String> {
        let unpacked = folder(workspace);
        let qemu = shell::find(QEMU).or_else(|| existing(unpacked.join("usr/bin").join(QEMU)));
        let files = [Path::new("/"), &unpacked].iter().find_map(|root| FILES.iter().find_map(|name| existing(root.join(name))));
        let own = ["bin/busybox", "usr/bin/busybox"].iter().find_map(|name| existing(unpacked.join(name)));
        let busybox = shell::find("busybox").filter(|path| is_static(path)).or(own);
        match (qemu, files, busybox) {
            (Some(qemu), Some(files), Some(busybox)) => Ok(Emulator { unpacked, qemu, files, busybox }),
            (qemu, files, busybox) => {
                let parts = [(qemu.is_none(), QEMU), (files.is_none(), "virtiofsd"), (busybox.is_none(), "a static busybox")];
                Err(parts.into_iter().filter(|(missing, _)| *missing).map(|(_, name)| name).collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// Downloads the packages and all that they depend on and this machine has not, and unpacks them.
    pub(super) fn fetch(workspace: &Workspace) -> Command {
        let folder = folder(workspace);
        let folder = folder.display();
        let server = if super::is_offered("virtiofsd") { " virtiofsd" } else { "" };
        let script = format!(
            "mkdir -p '{folder}/debs/partial' && apt-get -o DPkg::Lock::Timeout=600 install -q -y --no-install-recommends --download-only \
             -o 'Dir::Cache::archives={folder}/debs' qemu-system-x86 qemu-system-common busybox-static{server} \
             && for deb in '{folder}'/debs/*.deb; do dpkg -x \"$deb\" '{folder}'; done && rm -r '{folder}/debs'"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// The emulator, ready for arguments.
    pub(crate) fn machine(&self) -> Command {
        let mut command = self.command(&self.qemu);
        if self.qemu.starts_with(&self.unpacked) {
            command.env("QEMU_MODULE_DIR", self.unpacked.join(LIBRARIES[0]).join("qemu"));
            for folder in FIRMWARE {
                command.arg("-L").arg(self.unpacked.join(folder));
            }
        }
        command
    }

    /// The server that shows this machine's files to a guest, ready for arguments.
    pub(crate) fn files(&self) -> Command {
        self.command(&self.files)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if program.starts_with(&self.unpacked) {
            let libraries = LIBRARIES.map(|folder| self.unpacked.join(folder).display().to_string());
            command.env("LD_LIBRARY_PATH", libraries.join(":"));
        }
        command
    }
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("emulator")
}

fn existing(path: PathBuf) -> Option<PathBuf> {
    path.exists().then_some(path)
}

/// Whether a program names no loader of shared libraries, which stands in the first bytes of those that need one.
fn is_static(program: &Path) -> bool {
    let mut head = Vec::new();
    let read = std::fs::File::open(program).and_then(|file| file.take(4096).read_to_end(&mut head));
    read.is_ok() && !head.windows(8).any(|bytes| bytes == b"ld-linux")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_shared_libraries_is_not_static() {
        assert!(!is_static(Path::new("/bin/sh")));
        assert!(!is_static(Path::new("/nonexistent")));
    }
}
