//! `container exec`: this process becomes a command in a container's network. Never starts a second process, so that signals and
//! exit status are the command's own.

use std::{
    convert::Infallible,
    ffi::OsString,
    fs, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use netd_api::{
    names::ContainerName,
    view::{ContainerView, Presence},
};
use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::statvfs::{FsFlags, statvfs},
    unistd::geteuid,
};

use crate::{
    failure::{FAILED, Failure, tell},
    netns::{self, NetnsError},
};

/// Where iproute2 looks for the files of a namespace (ip-netns(8)).
const ETC_NETNS: &str = "/etc/netns";
/// Where iproute2 keeps namespaces by name.
const NAMED: [&str; 2] = ["/run/netns", "/var/run/netns"];

/// As shells and other runtimes say it: not executable, not found.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Why a command did not run.
#[derive(Debug, thiserror::Error)]
enum ExecError {
    #[error("could not enter container {0}: only root may enter a network namespace")]
    NotRoot(ContainerName),
    #[error("could not enter container {name}: it is absent, its network namespace {netns} has gone")]
    Absent { name: ContainerName, netns: String },
    #[error("could not enter container {name}")]
    Netns {
        name: ContainerName,
        #[source]
        cause: NetnsError,
    },
    #[error("could not {step} for container {name}")]
    Mount {
        step: &'static str,
        name: ContainerName,
        #[source]
        cause: Errno,
    },
    #[error("could not run {command}", command = .command.display())]
    Run {
        command: PathBuf,
        #[source]
        cause: io::Error,
    },
}

impl ExecError {
    fn status(&self) -> u8 {
        match self {
            Self::Run { cause, .. } if cause.kind() == io::ErrorKind::NotFound => NOT_FOUND,
            Self::Run { .. } => NOT_EXECUTABLE,
            _ => FAILED,
        }
    }

    fn hint(&self) -> String {
        match self {
            Self::NotRoot(name) => format!("run it as root: sudo netctl container exec {name} -- COMMAND"),
            Self::Absent { name, .. } => format!("see netctl container inspect {name}"),
            Self::Netns { cause: NetnsError::Enter { cause: Errno::EPERM, .. }, .. } | Self::Mount { cause: Errno::EPERM, .. } => {
                "this needs CAP_SYS_ADMIN; run it as root outside of a container".to_owned()
            }
            Self::Run { cause, .. } if cause.kind() == io::ErrorKind::NotFound => {
                "the command is looked for on this host; a network namespace brings no programs".to_owned()
            }
            Self::Netns { .. } | Self::Mount { .. } | Self::Run { .. } => String::new(),
        }
    }
}

impl From<ExecError> for Failure {
    fn from(error: ExecError) -> Self {
        Self::of(&error, error.status(), error.hint())
    }
}

/// Refuses whoever cannot enter a namespace, before the daemon is asked.
pub(crate) fn may_enter(container: &ContainerName) -> Result<(), Failure> {
    if geteuid().is_root() { Ok(()) } else { Err(ExecError::NotRoot(container.clone()).into()) }
}

/// Becomes `command` in the container's network.
pub(crate) fn exec(container: &ContainerView, command: &[OsString]) -> Result<Infallible, Failure> {
    let name = &container.name;
    if container.state == Presence::Absent {
        return Err(ExecError::Absent { name: name.clone(), netns: container.netns.clone() }.into());
    }
    netns::enter(Path::new(&container.netns)).map_err(|cause| ExecError::Netns { name: name.clone(), cause })?;
    own_mounts().map_err(|(step, cause)| ExecError::Mount { step, name: name.clone(), cause })?;
    bind_etc(&etc(container));
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure { status: FAILED, what: "no command was given".to_owned(), hint: String::new() });
    };
    let cause = Command::new(program).args(arguments).exec();
    Err(ExecError::Run { command: program.into(), cause }.into())
}

/// A mount namespace of our own whose /sys shows this network namespace; mounts of the host still arrive, ours do not leave.
fn own_mounts() -> Result<(), (&'static str, Errno)> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|cause| ("make a mount namespace", cause))?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_SLAVE | MsFlags::MS_REC, None::<&str>)
        .map_err(|cause| ("keep the mounts apart", cause))?;
    // Where the old /sys stays, the kernel lets nobody cover a read-only one with one that can be written.
    let stays = umount2("/sys", MntFlags::MNT_DETACH).is_err();
    let read_only = stays && statvfs("/sys").is_ok_and(|system| system.flags().contains(FsFlags::ST_RDONLY));
    let flags = if read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() };
    mount(Some("sysfs"), "/sys", Some("sysfs"), flags, None::<&str>).map_err(|cause| ("mount /sys", cause))
}

/// The folder with the container's own files for /etc: by the name that `ip netns` knows the namespace by, else by its id.
fn etc(container: &ContainerView) -> PathBuf {
    let netns = Path::new(&container.netns);
    let named = netns.parent().is_some_and(|folder| NAMED.iter().any(|known| folder == Path::new(known)));
    match netns.file_name() {
        Some(name) if named => Path::new(ETC_NETNS).join(name),
        _ => Path::new(ETC_NETNS).join(container.id.as_str()),
    }
}

/// Binds each entry of the folder over the one of the same name in /etc. One that has nothing to cover is told and left out, as
/// `ip netns exec` does.
fn bind_etc(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let over = Path::new("/etc").join(entry.file_name());
        if let Err(cause) = mount(Some(&entry.path()), &over, None::<&str>, MsFlags::MS_BIND, None::<&str>) {
            tell(&format!("warning: could not bind {} over {}: {cause}", entry.path().display(), over.display()));
        }
    }
}

#[cfg(test)]
mod tests;
