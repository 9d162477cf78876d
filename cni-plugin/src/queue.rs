//! DEL while nobody listens: a file for each attachment that netd replays when it starts. Never reads another's file.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use netd_api::cni::CniKey;

use crate::error::{CniError, IO, TRY_AGAIN_LATER};

/// So many may wait: a host whose netd is down for good shall not be filled.
const MOST: usize = 4096;

/// The queue below netd's run directory.
#[derive(Debug, Clone)]
pub struct Queue {
    dir: PathBuf,
}

impl Queue {
    /// That of a run directory.
    pub fn below(run_dir: &Path) -> Self {
        Self { dir: run_dir.join("cni") }
    }

    /// None of the three names can have a colon, so the file's name is the key.
    fn file(&self, key: &CniKey) -> PathBuf {
        self.dir.join(format!("{}:{}:{}.json", key.config, key.container, key.ifname))
    }

    /// Writes a DEL down. It is there whole or not at all.
    ///
    /// # Errors
    /// It could not be written, or too many are waiting.
    pub fn put(&self, key: &CniKey) -> Result<(), CniError> {
        let failed = |what: &str, why: &io::Error| {
            CniError::new(IO, format!("netd is not running, and DEL could not be queued in {}: {what}: {why}", self.dir.display()))
                .details("start netd (systemctl start netd), or mend what the message says")
        };
        if let Some(above) = self.dir.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(above).map_err(|why| failed("directory", &why))?;
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(|why| failed("directory", &why))?;
        let file = self.file(key);
        let waiting = fs::read_dir(&self.dir).map_err(|why| failed("directory", &why))?.count();
        if waiting >= MOST && !file.exists() {
            return Err(CniError::new(
                TRY_AGAIN_LATER,
                format!("netd is not running, and {waiting} DELs are waiting for it in {}", self.dir.display()),
            )
            .details("start netd (systemctl start netd)"));
        }
        let draft = self.dir.join(format!(".{}.tmp", std::process::id()));
        let text = serde_json::to_vec(key).map_err(|why| failed("text", &why.into()))?;
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .and_then(|mut draft| draft.write_all(&text))
            .and_then(|()| fs::rename(&draft, &file));
        written.map_err(|why| {
            let _ = fs::remove_file(&draft);
            failed("file", &why)
        })
    }

    /// Strikes a DEL out: it was done, or the attachment was made anew since.
    pub fn strike(&self, key: &CniKey) {
        let _ = fs::remove_file(self.file(key));
    }
}
