//! Sysctls: files below /proc/sys, of the namespace that the calling thread is in. Never decides a value.

use std::{fs, io};

use super::KernelError;

/// Its value; none where there is no such sysctl.
pub(crate) fn read(key: &str) -> Result<Option<String>, KernelError> {
    match fs::read_to_string(path(key)) {
        Ok(value) => Ok(Some(value.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(KernelError::said(error, path(key))),
    }
}

/// Sets it. Not written where it is so already: a write is a notification to everybody, and may be refused where reading is not.
pub(crate) fn write(key: &str, value: &str) -> Result<(), KernelError> {
    if read(key)?.as_deref() == Some(value) {
        return Ok(());
    }
    fs::write(path(key), value).map_err(|error| KernelError::said(error, path(key)))
}

/// Whether it could be written.
pub(crate) fn writable(key: &str) -> bool {
    fs::OpenOptions::new().write(true).open(path(key)).is_ok()
}

/// Whether it exists.
pub(crate) fn exists(key: &str) -> bool {
    fs::exists(path(key)).unwrap_or(false)
}

/// The file of a sysctl.
pub(crate) fn path(key: &str) -> String {
    format!("/proc/sys/{key}")
}
