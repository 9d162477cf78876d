//! Debian's cloud kernels, unpacked below the target folder. Never installed: this machine's own kernels and modules stay as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace::Workspace;
use crate::{guest, shell};

/// One unpacked kernel.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// Folder that holds its boot and lib folders.
    pub(crate) folder: PathBuf,
    /// As `uname -r` says it.
    pub(crate) release: String,
}

impl Kernel {
    /// The kernel of a series, if it is there with its modules' index.
    pub(crate) fn find(workspace: &Workspace, series: &str) -> Option<Kernel> {
        let folder = workspace.kernels().join(series);
        let names = fs::read_dir(folder.join("boot")).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let release = names.filter_map(|name| name.strip_prefix("vmlinuz-").map(str::to_owned)).max_by_key(|release| numbers(release))?;
        let kernel = Kernel { folder, release };
        kernel.modules().join("modules.dep").exists().then_some(kernel)
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.folder.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    pub(crate) fn modules(&self) -> PathBuf {
        self.folder.join("lib/modules").join(&self.release)
    }
}

pub(super) fn look(workspace: &Workspace) -> Result<String, String> {
    let kernels = guest::SERIES.map(|series| Kernel::find(workspace, series).ok_or(series));
    let missing: Vec<_> = kernels.iter().filter_map(|kernel| kernel.as_ref().err().copied()).collect();
    if missing.is_empty() {
        Ok(kernels.into_iter().flatten().map(|kernel| kernel.release).collect::<Vec<_>>().join(" "))
    } else {
        Err(missing.join(" "))
    }
}

pub(super) fn commands(workspace: &Workspace) -> Result<Vec<Command>> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("the kernels tier knows only x86_64 machines, this one is {}", std::env::consts::ARCH);
    }
    let offered = shell::output(Command::new("apt-cache").args(["search", "--names-only", "^linux-image-6.*cloud-amd64$"]))?;
    let missing = guest::SERIES.into_iter().filter(|series| Kernel::find(workspace, series).is_none());
    missing.map(|series| fetch(&workspace.kernels().join(series), series, &offered)).collect()
}

fn fetch(folder: &Path, series: &str, offered: &str) -> Result<Command> {
    let (package, release) = newest(series, offered).with_context(|| {
        format!("apt offers no linux-image-{series}.*-cloud-amd64; the kernels tier needs a Debian that has this series")
    })?;
    let folder = folder.display();
    // In later Debian releases /lib is a link to /usr/lib and packages hold only the latter.
    let script = format!(
        "mkdir -p '{folder}' && cd '{folder}' && apt-get download {package} && dpkg -x {package}_*.deb . && rm {package}_*.deb \
         && {{ test -e lib || ln -s usr/lib lib; }} && depmod -b . {release}"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    Ok(command)
}

/// The newest package of a series among the lines that apt-cache printed, and its release.
fn newest<'a>(series: &str, offered: &'a str) -> Option<(&'a str, &'a str)> {
    let packages = offered.lines().filter_map(|line| line.split_whitespace().next());
    let releases = packages.filter_map(|package| Some((package, package.strip_prefix("linux-image-")?)));
    let of_series = releases.filter(|(_, release)| release.strip_prefix(series).is_some_and(|rest| rest.starts_with('.')));
    of_series.filter(|(package, _)| package.ends_with("-cloud-amd64")).max_by_key(|(_, release)| numbers(release))
}

/// The numbers in a release, which order it as versions are ordered.
fn numbers(release: &str) -> Vec<u32> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERED: &str = "linux-image-6.1.0-9-cloud-amd64 - Linux 6.1\nlinux-image-6.1.0-56-cloud-amd64 - Linux 6.1\n\
        linux-image-6.12-cloud-amd64 - meta\nlinux-image-6.12.117+deb12-cloud-amd64 - x\nlinux-image-6.12.99+deb12-cloud-amd64 - x\n\
        linux-image-6.12.200+deb12-rt-amd64 - x\n";

    #[test]
    fn the_newest_kernel_of_a_series_is_taken() {
        assert_eq!(newest("6.1", OFFERED), Some(("linux-image-6.1.0-56-cloud-amd64", "6.1.0-56-cloud-amd64")));
        assert_eq!(newest("6.12", OFFERED), Some(("linux-image-6.12.117+deb12-cloud-amd64", "6.12.117+deb12-cloud-amd64")));
        assert_eq!(newest("6.6", OFFERED), None);
    }
}
