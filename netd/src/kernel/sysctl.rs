//! Sysctls: files below /proc/sys, of the namespace that the calling thread is in. Never decides a value.

use std::{
    fs, io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use nix::errno::Errno;

use super::KernelError;

/// Where the host's are.
const HOSTS: &str = "/proc/sys";

/// A procfs of its own, for the sysctls inside namespaces.
///
/// /proc/sys shows each thread those of its namespace, so the names of all namespaces stand in one cache under the same parents, and are told apart
/// one by one: with 1,000 namespaces, opening one file takes half a millisecond. Another mount has another cache; making and closing one takes 0.07 ms.
pub(crate) struct Tree {
    dir: String,
    /// Open as long as `dir` is used.
    _mount: Option<OwnedFd>,
}

impl Tree {
    /// A fresh one; where that is not allowed or not known (before Linux 5.8 it is the same cache), the host's serves.
    pub(crate) fn fresh() -> Self {
        match mount() {
            Ok(mount) => Self { dir: format!("/proc/self/fd/{}/sys", mount.as_raw_fd()), _mount: Some(mount) },
            Err(_) => Self { dir: HOSTS.to_owned(), _mount: None },
        }
    }

    /// Its value in the calling thread's namespace; none where there is no such sysctl.
    pub(crate) fn read(&self, key: &str) -> Result<Option<String>, KernelError> {
        read_below(&self.dir, key)
    }

    /// Sets it in the calling thread's namespace, if it is not so already.
    pub(crate) fn write(&self, key: &str, value: &str) -> Result<(), KernelError> {
        write_below(&self.dir, key, value)
    }
}

/// Trees for a walk through many namespaces, opened when first needed.
#[derive(Default)]
pub(crate) struct Trees {
    current: Option<Tree>,
    namespaces: usize,
}

impl Trees {
    /// So many namespaces share one: their names do not yet stand in each other's way, and opening it is shared.
    const SHARE: usize = 16;

    /// The walk has come to another namespace.
    pub(crate) fn next(&mut self) {
        self.namespaces += 1;
        if self.namespaces.is_multiple_of(Self::SHARE) {
            self.current = None;
        }
    }

    /// The one for this namespace.
    pub(crate) fn tree(&mut self) -> &Tree {
        self.current.get_or_insert_with(Tree::fresh)
    }
}

/// Its value on the host; none where there is no such sysctl.
pub(crate) fn read(key: &str) -> Result<Option<String>, KernelError> {
    read_below(HOSTS, key)
}

/// Sets it on the host, if it is not so already.
pub(crate) fn write(key: &str, value: &str) -> Result<(), KernelError> {
    write_below(HOSTS, key, value)
}

/// Whether it could be written.
pub(crate) fn writable(key: &str) -> bool {
    fs::OpenOptions::new().write(true).open(path(key)).is_ok()
}

/// Whether it exists.
pub(crate) fn exists(key: &str) -> bool {
    fs::exists(path(key)).unwrap_or(false)
}

/// The file of a sysctl of the host.
pub(crate) fn path(key: &str) -> String {
    format!("{HOSTS}/{key}")
}

fn read_below(dir: &str, key: &str) -> Result<Option<String>, KernelError> {
    match fs::read_to_string(format!("{dir}/{key}")) {
        Ok(value) => Ok(Some(value.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(KernelError::said(error, path(key))),
    }
}

/// Not written where it is so already: a write is a notification to everybody, and may be refused where reading is not.
fn write_below(dir: &str, key: &str, value: &str) -> Result<(), KernelError> {
    if read_below(dir, key)?.as_deref() == Some(value) {
        return Ok(());
    }
    fs::write(format!("{dir}/{key}"), value).map_err(|error| KernelError::said(error, path(key)))
}

/// A procfs that is mounted nowhere.
fn mount() -> Result<OwnedFd, Errno> {
    /// FSOPEN_CLOEXEC, FSCONFIG_CMD_CREATE and FSMOUNT_CLOEXEC of linux/mount.h.
    const CLOEXEC: libc::c_long = 1;
    const CREATE: libc::c_long = 6;
    // SAFETY: the name is a C string; a new descriptor or an error comes back.
    let context = owned(unsafe { libc::syscall(libc::SYS_fsopen, c"proc".as_ptr(), CLOEXEC) })?;
    // SAFETY: this command takes neither key nor value.
    let made = unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), CREATE, std::ptr::null::<u8>(), std::ptr::null::<u8>(), 0) };
    Errno::result(made)?;
    // SAFETY: the call takes numbers; a new descriptor or an error comes back.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), CLOEXEC, 0) })
}

fn owned(fd: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = Errno::result(fd)?;
    // SAFETY: the kernel has just opened it for us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_of_its_own_or_the_hosts_shows_the_same_values_and_what_is_missing_is_none() {
        let key = "kernel/ostype";
        assert_eq!(Tree::fresh().read(key).expect("readable"), read(key).expect("readable"));
        assert_eq!(read(key).expect("readable"), Some("Linux".to_owned()));
        assert_eq!(read("net/ipv4/conf/no-such-link/forwarding").expect("readable"), None);
        assert!(exists(key) && !exists("kernel/no-such-thing"));
    }
}
