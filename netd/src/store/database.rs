//! One redb file: made whole or not at all, checked when opened, mended after a failed write. Knows records as bytes under keys, not what they mean.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{ReadableDatabase, ReadableTable, StorageBackend, StorageError, TableDefinition, TableError, backends::InMemoryBackend};

use super::{
    StoreError,
    backend::{Backend, Disk, Durability, Syncing},
    record::{OLDEST, SCHEMA},
};

/// Bytes that redb may keep of a file. Everything is read once, at start; what a commit touches is a few pages of 4 KiB.
const CACHE: usize = 1 << 20;

const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
const SCHEMA_KEY: &str = "schema";
const BOOT_KEY: &str = "boot";

/// The kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Networks,
    Containers,
    Publishes,
    Originals,
    Namespaces,
    Policies,
}

impl Table {
    /// In an order in which each may refer to the ones before.
    pub(super) const ALL: [Self; 6] =
        [Self::Networks, Self::Containers, Self::Publishes, Self::Originals, Self::Namespaces, Self::Policies];

    fn name(self) -> &'static str {
        match self {
            Self::Networks => "networks",
            Self::Containers => "containers",
            Self::Publishes => "publishes",
            Self::Originals => "originals",
            Self::Namespaces => "namespaces",
            Self::Policies => "policies",
        }
    }

    /// Whether a file of an older version may be without it.
    fn is_newer(self) -> bool {
        matches!(self, Self::Namespaces | Self::Policies)
    }

    fn definition(self) -> TableDefinition<'static, &'static str, &'static [u8]> {
        TableDefinition::new(self.name())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A record that becomes another; none is no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) table: Table,
    pub(super) key: String,
    pub(super) before: Option<Vec<u8>>,
    pub(super) after: Option<Vec<u8>>,
}

impl Write {
    fn reverse(&self) -> Self {
        Self { table: self.table, key: self.key.clone(), before: self.after.clone(), after: self.before.clone() }
    }
}

/// Makes what a database lies on from its file; another than the file itself in tests.
pub(crate) type Disks = Arc<dyn Fn(File) -> Arc<dyn Disk> + Send + Sync>;

/// Where a database is, and for how long it holds.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) durability: Durability,
    /// The boot that the records belong to; empty where they outlast it.
    pub(super) boot: String,
    pub(super) disks: Disks,
}

/// What has to be done before the next write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// A write failed: redb refuses all others until the file is opened again.
    Write,
    /// A sync failed: the kernel counts pages as written that are not (it drops their dirty mark), so every record has to be written anew.
    Sync,
}

/// What a file says of itself.
struct Meta {
    schema: u32,
    /// The boot that its records belong to.
    boot: String,
}

/// One file of records.
pub(super) struct Database {
    place: Place,
    redb: Option<redb::Database>,
    syncing: Arc<Syncing>,
    broken: Option<Broken>,
    /// What the file may hold although it was reported as failed; written off with the next write at the latest.
    owed: Vec<Write>,
    /// Whether the file has the number of an older schema: it gets ours with the first write, so that an older netd can go on with a file that
    /// nothing was written to, and refuses any other.
    older: bool,
}

impl Database {
    /// Opens the file, or makes an empty one where there is none or it is of another boot.
    pub(super) fn open(place: Place) -> Result<Self, StoreError> {
        match fs::remove_file(place.draft()) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(place.unreadable(why)),
            _ => {}
        }
        if !place.path.try_exists().map_err(|why| place.unreadable(why))? {
            place.make(&[]).map_err(|why| place.unreadable(why))?;
        }
        let mut found = place.check()?;
        if found.boot != place.boot {
            place.make(&[]).map_err(|why| place.unreadable(why))?;
            found.schema = SCHEMA;
        }
        let (redb, syncing) = place.open(place.durability)?;
        Ok(Self { place, redb: Some(redb), syncing, broken: None, owed: Vec::new(), older: found.schema != SCHEMA })
    }

    /// Shows every record, in the order of [`Table::ALL`]. What `take` refuses is damage.
    pub(super) fn read(&self, mut take: impl FnMut(Table, &str, &[u8]) -> Result<(), String>) -> Result<(), StoreError> {
        match &self.redb {
            Some(redb) => each(redb, |table, key, value| take(table, key, value)).map_err(|why| match why {
                Unread::Redb(why) => self.place.opening(why),
                Unread::Refused(why) => self.place.damaged(why),
            }),
            None => Ok(()),
        }
    }

    /// Writes all or nothing: a process that starts after this one was killed sees it, a loss of power may undo it until [`Self::settle`].
    pub(super) fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.mend()?;
        let Some(redb) = &self.redb else { return Ok(()) };
        match write(redb, writes, self.older) {
            Ok(()) => {
                self.older = false;
                Ok(())
            }
            Err(why) => {
                // It may still have reached the file whole: redb's last step is the sync.
                self.take_back(writes);
                Err(StoreError::Write { path: self.place.path.clone(), cause: cause(why) })
            }
        }
    }

    /// Whether a commit was not yet waited for.
    pub(super) fn is_settling(&self) -> bool {
        self.syncing.is_running()
    }

    /// Waits until what was committed would survive a loss of power.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        self.syncing.wait().map_err(|cause| StoreError::Sync { path: self.place.path.clone(), cause })
    }

    /// Undoes these writes: now, or where that fails too, before the next one.
    pub(super) fn take_back(&mut self, writes: &[Write]) {
        self.owed.extend(writes.iter().rev().map(Write::reverse));
        self.broken = self.broken.or(Some(Broken::Write));
        if let Err(why) = self.mend() {
            tracing::warn!(path = %self.place.path.display(), %why, "state not mended yet, tried again with the next change");
        }
    }

    /// Makes the file one that can be written, with nothing owed.
    fn mend(&mut self) -> Result<(), StoreError> {
        if self.syncing.has_failed() {
            self.broken = Some(Broken::Sync);
        }
        let Some(broken) = self.broken else { return Ok(()) };
        self.redb = None;
        let failed = |place: &Place, why| StoreError::Write { path: place.path.clone(), cause: why };
        if broken == Broken::Sync {
            let mut records = Vec::new();
            let (redb, _) = self.place.open(Durability::UntilBoot)?;
            each(&redb, |table, key, value| {
                records.push(Write { table, key: key.to_owned(), before: None, after: Some(value.to_vec()) });
                Ok(())
            })
            .map_err(|why| failed(&self.place, why.into_io()))?;
            drop(redb);
            records.append(&mut self.owed.clone());
            self.place.make(&records).map_err(|why| failed(&self.place, why))?;
            self.owed.clear();
            self.older = false;
        }
        let (redb, syncing) = self.place.open(self.place.durability)?;
        self.syncing = syncing;
        self.broken = Some(Broken::Write);
        if !self.owed.is_empty() {
            write(&redb, &self.owed, self.older).map_err(|why| failed(&self.place, cause(why)))?;
        }
        self.settle()?;
        self.owed.clear();
        self.redb = Some(redb);
        self.broken = None;
        Ok(())
    }
}

impl Place {
    /// Where a file is made before it takes its name.
    fn draft(&self) -> PathBuf {
        self.path.with_extension("redb.new")
    }

    fn disk(&self, path: &Path, new: bool) -> io::Result<Arc<dyn Disk>> {
        Ok((self.disks)(OpenOptions::new().read(true).write(true).create_new(new).mode(0o600).open(path)?))
    }

    fn open(&self, durability: Durability) -> Result<(redb::Database, Arc<Syncing>), StoreError> {
        let backend = self.disk(&self.path, false).and_then(|disk| Backend::start(disk, durability)).map_err(|why| self.unreadable(why))?;
        let syncing = backend.syncing();
        let redb = redb::Builder::new().set_cache_size(CACHE).create_with_backend(backend).map_err(|why| self.opening(why.into()))?;
        Ok((redb, syncing))
    }

    /// Makes the file with these records, in the stead of one that is there.
    fn make(&self, records: &[Write]) -> io::Result<()> {
        let draft = self.draft();
        let made = self.make_draft(&draft, records);
        if made.is_err() {
            // The room it takes may be all there is; what cannot be removed is removed at the next start.
            let _ = fs::remove_file(&draft);
        }
        made
    }

    fn make_draft(&self, draft: &Path, records: &[Write]) -> io::Result<()> {
        match fs::remove_file(draft) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
            _ => {}
        }
        let disk = self.disk(draft, true)?;
        let backend = Backend::start(Arc::clone(&disk), Durability::UntilBoot)?;
        let redb = redb::Builder::new().set_cache_size(CACHE).create_with_backend(backend).map_err(|why| cause(why.into()))?;
        begin(&redb, &self.boot).map_err(cause)?;
        write(&redb, records, false).map_err(cause)?;
        drop(redb);
        let lasting = self.durability == Durability::Lasting;
        if lasting {
            disk.sync()?;
        }
        fs::rename(draft, &self.path)?;
        match self.path.parent() {
            Some(dir) if lasting => File::open(dir)?.sync_all(),
            _ => Ok(()),
        }
    }

    /// Lets redb recover a copy, which checks every page. Of the file itself it would check pages only after a crash, and mend by going back to
    /// the commit before: right for a commit that was cut short, not for a file that was closed well. What it was not made to doubt it trusts,
    /// to the point of a panic.
    fn check(&self) -> Result<Meta, StoreError> {
        let memory = self.copy().map_err(|why| self.opening(why.into()))?;
        match redb::Builder::new().set_cache_size(CACHE).create_with_backend(memory) {
            Ok(redb) => self.meta(&redb),
            Err(why) => Err(self.opening(why.into())),
        }
    }

    /// The file in memory, its header such that redb does not trust the rest.
    fn copy(&self) -> io::Result<InMemoryBackend> {
        let mut file = File::open(&self.path)?;
        let memory = InMemoryBackend::new();
        memory.set_len(file.metadata()?.len())?;
        let mut part = vec![0; 1 << 16];
        let mut at = 0;
        loop {
            let read = io::Read::read(&mut file, &mut part)?;
            if read == 0 {
                break;
            }
            StorageBackend::write(&memory, at, &part[..read])?;
            at += read as u64;
        }
        let mut first = [0; header::SIZE];
        memory.read(0, &mut first).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("it has only {at} bytes")))?;
        header::distrust(&mut first);
        StorageBackend::write(&memory, 0, &first)?;
        Ok(memory)
    }

    /// What the file says of itself, when it is one that this netd can read.
    fn meta(&self, redb: &redb::Database) -> Result<Meta, StoreError> {
        let read = || -> Result<[Option<String>; 2], redb::Error> {
            let table = redb.begin_read()?.open_table(META)?;
            let text = |key: &str| -> Result<_, redb::Error> { Ok(table.get(key)?.map(|value| value.value().to_owned())) };
            Ok([text(SCHEMA_KEY)?, text(BOOT_KEY)?])
        };
        let [schema, boot] = read().map_err(|why| self.opening(why))?;
        match schema.as_deref().map(str::parse::<u32>) {
            Some(Ok(schema)) if (OLDEST..=SCHEMA).contains(&schema) => Ok(Meta { schema, boot: boot.unwrap_or_default() }),
            Some(Ok(found)) if found > SCHEMA => Err(StoreError::Newer { path: self.path.clone(), found }),
            _ => Err(self.damaged(format!("its schema is {schema:?}"))),
        }
    }

    fn damaged(&self, why: String) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), why, lasting: self.durability == Durability::Lasting }
    }

    fn unreadable(&self, cause: io::Error) -> StoreError {
        StoreError::Open { path: self.path.clone(), cause }
    }

    /// What redb's refusal to open means: the disk's trouble, or damage.
    fn opening(&self, why: redb::Error) -> StoreError {
        match why {
            redb::Error::Io(why)
                if !matches!(why.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof) =>
            {
                self.unreadable(why)
            }
            why => self.damaged(why.to_string()),
        }
    }
}

/// What we know of redb's header, from "Database super-header" in its design document (file format 3).
mod header {
    const FLAGS: usize = 9;
    const PRIMARY: u8 = 1;
    const RECOVERY_REQUIRED: u8 = 2;
    const TWO_PHASE_COMMIT: u8 = 4;
    const SLOTS: usize = 64;
    const SLOT: usize = 128;
    /// The checksum is the last field of a slot.
    const CHECKSUM: usize = 16;
    /// Bytes up to the end of the second slot.
    pub(super) const SIZE: usize = SLOTS + 2 * SLOT;

    /// Makes redb check all pages, and not fall back to the commit before where the last one had reached the disk for certain.
    pub(super) fn distrust(file: &mut [u8; SIZE]) {
        let flags = file[FLAGS];
        if flags & RECOVERY_REQUIRED == 0 || flags & TWO_PHASE_COMMIT != 0 {
            let secondary = usize::from(flags & PRIMARY == 0);
            let end = SLOTS + SLOT * (secondary + 1);
            file[end - CHECKSUM..end].iter_mut().for_each(|byte| *byte ^= 0xff);
        }
        file[FLAGS] = flags & !TWO_PHASE_COMMIT | RECOVERY_REQUIRED;
    }
}

fn begin(redb: &redb::Database, boot: &str) -> Result<(), redb::Error> {
    let transaction = redb.begin_write()?;
    let mut meta = transaction.open_table(META)?;
    meta.insert(SCHEMA_KEY, SCHEMA.to_string().as_str())?;
    meta.insert(BOOT_KEY, boot)?;
    drop(meta);
    for table in Table::ALL {
        transaction.open_table(table.definition())?;
    }
    Ok(transaction.commit()?)
}

/// Writes in one transaction, and with it the number of our schema over that of an older one.
fn write(redb: &redb::Database, writes: &[Write], older: bool) -> Result<(), redb::Error> {
    let transaction = redb.begin_write()?;
    if older {
        transaction.open_table(META)?.insert(SCHEMA_KEY, SCHEMA.to_string().as_str())?;
    }
    for kind in Table::ALL {
        let mut writes = writes.iter().filter(|write| write.table == kind).peekable();
        if writes.peek().is_none() {
            continue;
        }
        let mut table = transaction.open_table(kind.definition())?;
        for Write { key, after, .. } in writes {
            match after {
                Some(value) => table.insert(key.as_str(), value.as_slice())?,
                None => table.remove(key.as_str())?,
            };
        }
    }
    Ok(transaction.commit()?)
}

/// Why records could not be shown.
enum Unread {
    Redb(redb::Error),
    Refused(String),
}

impl Unread {
    fn into_io(self) -> io::Error {
        match self {
            Self::Redb(why) => cause(why),
            Self::Refused(why) => io::Error::new(io::ErrorKind::InvalidData, why),
        }
    }
}

fn each(redb: &redb::Database, mut take: impl FnMut(Table, &str, &[u8]) -> Result<(), String>) -> Result<(), Unread> {
    let lost = |why: StorageError| Unread::Redb(why.into());
    let transaction = redb.begin_read().map_err(|why| Unread::Redb(why.into()))?;
    for kind in Table::ALL {
        let table = match transaction.open_table(kind.definition()) {
            Err(TableError::TableDoesNotExist(_)) if kind.is_newer() => continue,
            table => table.map_err(|why| Unread::Redb(why.into()))?,
        };
        for record in table.iter().map_err(lost)? {
            let (key, value) = record.map_err(lost)?;
            take(kind, key.value(), value.value()).map_err(Unread::Refused)?;
        }
    }
    Ok(())
}

fn cause(why: redb::Error) -> io::Error {
    match why {
        redb::Error::Io(why) => why,
        why => io::Error::other(why),
    }
}

#[cfg(test)]
mod tests;
