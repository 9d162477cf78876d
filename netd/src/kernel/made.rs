//! Which named namespaces are ours: a namespace carries no mark, so one file for each is kept in the run directory, which dies with the boot too.
//! Never makes or removes a namespace.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use netd_core::mark;

use super::KernelError;

/// The notes, one empty file a namespace, named as it.
pub(crate) struct Made {
    dir: PathBuf,
}

impl Made {
    /// Notes in this directory, which is made when the first is written.
    pub(crate) fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Notes that a namespace is about to be made: before it is, so that one that is half made after a crash is known as ours.
    pub(crate) fn note(&self, path: &str) -> Result<(), KernelError> {
        let Some(file) = self.file(path) else { return Ok(()) };
        fs::create_dir_all(&self.dir)
            .and_then(|()| fs::write(&file, ""))
            .map_err(|error| KernelError::said(error, file.display().to_string()))
    }

    /// Notes that it has gone.
    pub(crate) fn forget(&self, path: &str) -> Result<(), KernelError> {
        let Some(file) = self.file(path) else { return Ok(()) };
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(KernelError::said(error, file.display().to_string())),
            _ => Ok(()),
        }
    }

    /// The paths of all that were made and not removed.
    pub(crate) fn all(&self) -> Result<Vec<String>, KernelError> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|error| KernelError::said(error, self.dir.display().to_string()))?,
        };
        Ok(entries.flatten().filter_map(|entry| Some(format!("{}/{}", mark::NETNS_DIR, entry.file_name().to_str()?))).collect())
    }

    fn file(&self, path: &str) -> Option<PathBuf> {
        Some(self.dir.join(Path::new(path).strip_prefix(mark::NETNS_DIR).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_known_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let made = Made::at(dir.path().join("made"));
        assert!(made.all().unwrap().is_empty());
        made.note("/run/netns/web").unwrap();
        made.note("/run/netns/web").unwrap();
        assert_eq!(made.all().unwrap(), ["/run/netns/web"]);
        made.forget("/run/netns/web").unwrap();
        made.forget("/run/netns/web").unwrap();
        assert!(made.all().unwrap().is_empty());
    }

    #[test]
    fn other_peoples_namespaces_are_not_noted() {
        let dir = tempfile::tempdir().unwrap();
        let made = Made::at(dir.path().join("made"));
        made.note("/proc/7/ns/net").unwrap();
        assert!(made.all().unwrap().is_empty());
    }
}
