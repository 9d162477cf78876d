//! CNI deletions that came while no daemon answered: the plugin left each as a file. They are carried out before anything else is answered, and
//! before each ADD, whose container may be one of them again. Never trusts a file that root did not write.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use netd_api::cni::CniKey;
use netd_core::change::cni;
use tracing::{info, warn};

use super::{Reconciler, carry::Refused, survey::chain};
use crate::kernel::Kernel;

/// Bytes of a file: a key has at most 300.
const MOST_BYTES: u64 = 4096;
/// Files that are read at once; the plugin leaves no more either.
const MOST_FILES: usize = 4096;
/// A file under another name than a finished one's is being written, or its writer was killed.
const UNFINISHED: Duration = Duration::from_secs(60);

/// The directory that deletions wait in.
#[derive(Debug)]
pub struct Queue {
    dir: PathBuf,
}

/// What a file asks for, and the file.
type Waiting = (CniKey, PathBuf);

impl Queue {
    /// The queue in this directory, which need not be there.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// What waits; files that ask for nothing are said and removed.
    fn read(&self) -> Vec<Waiting> {
        let entries = match self.entries() {
            Ok(entries) => entries,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(why) => {
                warn!(dir = %self.dir.display(), %why, "queued CNI deletions cannot be read");
                return Vec::new();
            }
        };
        let mut waiting = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()).take(MOST_FILES) {
            if path.extension().is_none_or(|extension| extension != "json") {
                if is_abandoned(&path) {
                    remove(&path);
                }
                continue;
            }
            match read(&path) {
                Ok(key) => waiting.push((key, path)),
                // Its plugin came through meanwhile, and took it back.
                Err(why) if why.kind() == io::ErrorKind::NotFound => {}
                Err(why) => {
                    warn!(path = %path.display(), %why, "no CNI deletion; removed");
                    remove(&path);
                }
            }
        }
        waiting
    }

    /// The directory's entries, if nobody else can have put them there.
    fn entries(&self) -> io::Result<fs::ReadDir> {
        let dir = fs::symlink_metadata(&self.dir)?;
        if !dir.is_dir() || !is_ours(&dir) || dir.mode() & 0o022 != 0 {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "others than root can write there; make it mode 0700"));
        }
        fs::read_dir(&self.dir)
    }
}

/// Whether the user that netd runs as, which is root, made it. A process's directory in /proc belongs to its effective user.
fn is_ours(file: &fs::Metadata) -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == file.uid())
}

fn read(path: &Path) -> io::Result<CniKey> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
    // Neither a symlink is followed nor a device opened; nobody else can put one there between this look and the next.
    let about = fs::symlink_metadata(path)?;
    if !about.is_file() || !is_ours(&about) {
        return Err(wrong("it is no file of root's"));
    }
    let mut text = Vec::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(wrong("it is too large"));
    }
    serde_json::from_slice(&text).map_err(|why| wrong(&why.to_string()))
}

fn is_abandoned(path: &Path) -> bool {
    let about = fs::symlink_metadata(path).ok().filter(|about| !about.is_dir());
    let written = about.and_then(|about| about.modified().ok());
    written.is_some_and(|written| SystemTime::now().duration_since(written).is_ok_and(|age| age > UNFINISHED))
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => {
            warn!(path = %path.display(), %why, "a queued CNI deletion cannot be removed; remove it by hand");
        }
        _ => {}
    }
}

impl<K: Kernel> Reconciler<K> {
    /// Carries out what waits, all of it as one change, and removes the files when that would survive a loss of power. A kill in between does no
    /// harm: what is gone goes once more.
    pub(super) fn replay(&mut self) {
        let waiting = self.queue.read();
        if waiting.is_empty() {
            return;
        }
        let keys: Vec<CniKey> = waiting.iter().map(|(key, _)| key.clone()).collect();
        let change = cni::del_all(&self.desired, &keys);
        match self.carry_out(&change) {
            Ok(()) => {}
            Err(Refused::Store(why)) => {
                warn!(why = chain(&why), "queued CNI deletions wait on: the state could not be written");
                return;
            }
            // The runtime was told that it is gone, and will not ask again: it is no longer wanted, and a survey sees to the rest.
            Err(why) => {
                warn!(why = chain(&why), "queued CNI deletions could not be carried out at once; they will be tried again");
                self.desired.apply(&change);
                if let Err(why) = self.store.commit(&change.edits).and_then(|()| self.store.settle()) {
                    warn!(why = chain(&why), "queued CNI deletions wait on: the state could not be written");
                    self.desired.apply(&change.reverse());
                    return;
                }
                self.survey.retry();
            }
        }
        for CniKey { config, container, ifname } in cni::removed(&change) {
            info!(%config, %container, %ifname, "container detached by CNI while netd was away");
        }
        waiting.iter().for_each(|(_, path)| remove(path));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _};

    use super::*;

    const KEY: &str = r#"{"config": "net", "container": "c0ffee", "ifname": "eth0"}"#;

    fn queue() -> (tempfile::TempDir, Queue) {
        let dir = tempfile::tempdir().expect("a directory");
        let queue = Queue::at(dir.path());
        (dir, queue)
    }

    #[test]
    fn finished_files_are_read_and_one_that_is_being_written_is_left() {
        let (dir, queue) = queue();
        fs::write(dir.path().join("1.json"), KEY).expect("a file");
        fs::write(dir.path().join(".2.new"), "{\"conf").expect("a file");
        let waiting = queue.read();
        assert_eq!(waiting, [(serde_json::from_str(KEY).expect("a key"), dir.path().join("1.json"))]);
        assert!(dir.path().join(".2.new").exists());
        let old = SystemTime::now() - 2 * UNFINISHED;
        File::options().write(true).open(dir.path().join(".2.new")).and_then(|file| file.set_modified(old)).expect("a time");
        assert_eq!(queue.read().len(), 1);
        assert!(!dir.path().join(".2.new").exists(), "its writer was killed");
    }

    #[test]
    fn what_is_no_file_of_ours_or_no_key_is_removed_and_leads_nowhere() {
        let (dir, queue) = queue();
        let outside = tempfile::tempdir().expect("a directory");
        let secret = outside.path().join("key");
        fs::write(&secret, KEY).expect("a file");
        std::os::unix::fs::symlink(&secret, dir.path().join("link.json")).expect("a symlink");
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket.json")).expect("a socket");
        fs::write(dir.path().join("huge.json"), KEY.to_owned() + &" ".repeat(4096)).expect("a file");
        fs::write(dir.path().join("cut.json"), &KEY[..20]).expect("a file");
        fs::write(dir.path().join("empty.json"), "").expect("a file");
        fs::write(dir.path().join("more.json"), KEY.replace('}', r#", "more": 1}"#)).expect("a file");
        fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"\xff.json")), "[]").expect("a file");
        fs::create_dir(dir.path().join("dir.json")).expect("a directory");
        assert_eq!(queue.read(), []);
        let left: Vec<_> = fs::read_dir(dir.path()).expect("it reads").flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["dir.json"]);
        assert_eq!(fs::read_to_string(&secret).expect("it is there"), KEY);
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_not_read() {
        let (dir, queue) = queue();
        fs::write(dir.path().join("1.json"), KEY).expect("a file");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).expect("a mode");
        assert_eq!(queue.read(), []);
        let link = Queue::at(dir.path().with_extension("link"));
        std::os::unix::fs::symlink(dir.path(), &link.dir).expect("a symlink");
        assert_eq!(link.read(), []);
        fs::remove_file(&link.dir).expect("it goes");
        assert_eq!(Queue::at("/nonexistent").read(), []);
    }
}
