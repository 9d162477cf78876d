//! The step into another network namespace: the only setns of this program. Never comes back out; what follows becomes another program.

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    sched::{CloneFlags, setns},
    sys::statfs::{NSFS_MAGIC, fstatfs},
};

/// Why a namespace was not entered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetnsError {
    #[error("could not open the network namespace {path}", path = .path.display())]
    Open {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{path} is no network namespace", path = .path.display())]
    NotOne { path: PathBuf },
    #[error("could not enter the network namespace {path}", path = .path.display())]
    Enter {
        path: PathBuf,
        #[source]
        cause: Errno,
    },
}

/// Moves this thread into the network namespace at `path`.
pub(crate) fn enter(path: &Path) -> Result<(), NetnsError> {
    let path = path.to_owned();
    // Without O_NONBLOCK, opening a pipe that lies there by mistake would wait for a writer.
    let file = match OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path) {
        Ok(file) => file,
        Err(cause) => return Err(NetnsError::Open { path, cause }),
    };
    // After a reboot an empty file may be left where the namespace was bound.
    if !fstatfs(&file).is_ok_and(|system| system.filesystem_type() == NSFS_MAGIC) {
        return Err(NetnsError::NotOne { path });
    }
    match setns(&file, CloneFlags::CLONE_NEWNET) {
        Ok(()) => Ok(()),
        Err(Errno::EINVAL) => Err(NetnsError::NotOne { path }), // a namespace, but of another kind
        Err(cause) => Err(NetnsError::Enter { path, cause }),
    }
}
