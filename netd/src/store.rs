//! What is wanted, on disk: written before the kernel is touched, read back at start. Never decides what is wanted, never looks at the kernel.
//!
//! Two files. The durable one has the networks that were made by name, the containers that netd makes with their published ports, and policies
//! with the labels of namespaces. The boot's file, on tmpfs, has what dies with the boot: containers that others made with their ports, networks
//! that CNI configurations describe, and what sysctls were before netd changed them.
//!
//! Kernel objects die with the power too, so before a kernel step the intent has only to outlive the process ([`Store::commit`]: it is in the
//! page cache); before the answer goes out it has to outlive the power ([`Store::settle`]). The disk's work overlaps the kernel's.

pub(crate) mod backend;
pub(crate) mod database;
pub(crate) mod numbers;
mod record;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use netd_api::{names::ContainerId, spec::Labels};
use netd_core::{
    desired::{Change, Container, Desired, Edit, Network, Origin, Published},
    policy::model::Policy,
};
use serde::{Serialize, de::DeserializeOwned};

use self::{
    backend::Durability,
    database::{Database, Disks, Place, Table, Write},
};

/// How long a daemon that ends may still hold its lock.
const ENDING: Duration = Duration::from_secs(1);
/// The file in both directories.
const FILE: &str = "state.redb";

/// The state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another daemon uses the same directory.
    #[error("cannot use {}: another netd has it locked", .dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The file or its directory could not be opened, made or read.
    #[error("cannot open the state in {}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The file is not what netd wrote.
    #[error("the state in {} is damaged: {why}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// Whether it is the durable file.
        lasting: bool,
    },
    /// A policy in the file is none to this netd, which would enforce less than was wanted if it went on without.
    #[error("policy {policy} in {} cannot be read: {why}", .path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// The policy's name.
        policy: String,
        /// What is wrong with its text.
        why: String,
    },
    /// The file was written by a later version.
    #[error("the state in {} has schema {found}, this netd knows {}", .path.display(), record::SCHEMA)]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
    },
    /// This commit was not made; the store is as it was before.
    #[error("cannot write the state to {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why: mostly ENOSPC, EROFS, EIO.
        #[source]
        cause: io::Error,
    },
    /// The disk did not take what was committed since the last good settle, and it was taken back.
    #[error("cannot make the state in {} durable", .path.display())]
    Sync {
        /// The file.
        path: PathBuf,
        /// Why: mostly EIO.
        #[source]
        cause: io::Error,
    },
}

impl StoreError {
    /// What to do now.
    pub fn hint(&self) -> String {
        match self {
            Self::Locked { .. } => "stop it first: systemctl stop netd".to_owned(),
            Self::Open { path, cause } | Self::Write { path, cause } | Self::Sync { path, cause } => match cause.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!("free some space: df {}", dir_of(path).display()),
                io::ErrorKind::ReadOnlyFilesystem => format!("make {} writable: mount -o remount,rw", dir_of(path).display()),
                io::ErrorKind::PermissionDenied => "run netd as root".to_owned(),
                _ => "see what the kernel says about the disk: dmesg".to_owned(),
            },
            Self::Damaged { path, lasting, .. } => {
                let path = path.display();
                let loss = if *lasting { "without networks and containers" } else { "without the containers that other programs made" };
                format!("restore it from a backup, or start {loss}: mv {path} {path}.damaged")
            }
            Self::Policy { policy, .. } => {
                format!(
                    "it is kept as it is; install the netd that took it, remove it (netctl policy rm {policy}) and apply it in a form that both take"
                )
            }
            Self::Newer { path, .. } => format!("install that version again, or start anew: mv {0} {0}.newer", path.display()),
        }
    }
}

fn dir_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Which of the two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    Durable,
    Boot,
}

/// Both files, open and locked.
pub struct Store {
    durable: Database,
    boot: Database,
    /// The containers whose records are in the boot's file.
    adopted: BTreeSet<ContainerId>,
    /// Commits with a durable part, since that file was last known to be on the disk.
    unsettled: Vec<(Home, Vec<Write>)>,
    /// Locks end with these.
    _locks: [File; 2],
}

impl Store {
    /// Opens both files, makes what is not there, and says what is wanted. What `run_dir` holds of another `boot` is dropped.
    ///
    /// # Errors
    /// A second daemon, damage, a newer schema, or a disk that cannot be read: nothing was changed.
    pub fn open(state_dir: &Path, run_dir: &Path, boot: &str) -> Result<(Self, Desired), StoreError> {
        let disks: Disks = Arc::new(|file: File| Arc::new(file));
        Self::open_on(state_dir, run_dir, boot, &disks)
    }

    /// The same on disks of somebody's own.
    pub(crate) fn open_on(state_dir: &Path, run_dir: &Path, boot: &str, disks: &Disks) -> Result<(Self, Desired), StoreError> {
        let locks = [lock(state_dir)?, lock(run_dir)?];
        let place = |dir: &Path, durability, boot: &str| Place {
            path: dir.join(FILE),
            durability,
            boot: boot.to_owned(),
            disks: Arc::clone(disks),
        };
        let durable = Database::open(place(state_dir, Durability::Lasting, ""))?;
        let boot = Database::open(place(run_dir, Durability::UntilBoot, boot))?;
        let mut desired = Desired::default();
        let mut adopted = BTreeSet::new();
        let mut unread = None;
        for (database, home) in [(&durable, Home::Durable), (&boot, Home::Boot)] {
            database.read(|table, key, value| {
                if table == Table::Policies {
                    match decode_policy(key, value) {
                        Ok(edit) => desired.apply(&Change { edits: vec![edit] }),
                        Err(why) => unread = unread.take().or(Some((key.to_owned(), why))),
                    }
                    return Ok(());
                }
                let edit = decode(table, key, value).map_err(|why| format!("the record {key:?} in {table}: {why}"))?;
                if let Edit::Container { after: Some(container), .. } = &edit
                    && home == Home::Boot
                {
                    adopted.insert(container.id.clone());
                }
                desired.apply(&Change { edits: vec![edit] });
                Ok(())
            })?;
        }
        if let Some((policy, why)) = unread {
            return Err(StoreError::Policy { path: state_dir.join(FILE), policy, why });
        }
        Ok((Self { durable, boot, adopted, unsettled: Vec::new(), _locks: locks }, desired))
    }

    /// Writes a change, all or nothing. A process that is started after this one was killed sees it; see [`Self::settle`] for the power.
    ///
    /// A change that concerns both files is written to the one first whose part can stand alone: a network before the containers that others
    /// made on it, and after them when it goes. A kill between the two leaves that part, of a request that was not answered. A network that
    /// ends with the boot is in one file with all its containers, and written in one transaction with them.
    ///
    /// # Errors
    /// The store is as it was before, and can be tried again. [`StoreError::Sync`] comes here from a commit before that nobody settled.
    pub fn commit(&mut self, edits: &[Edit]) -> Result<(), StoreError> {
        let mut parts = self.parts(edits);
        parts.retain(|(_, writes)| !writes.is_empty());
        let durable = parts.iter().any(|(home, _)| *home == Home::Durable);
        if durable && self.durable.is_settling() {
            self.settle()?;
        }
        let is_lasting = |network: &Arc<Network>| home_of(network) == Home::Durable;
        if edits.iter().any(|edit| matches!(edit, Edit::Network { before: Some(before), after: None } if is_lasting(before))) {
            parts.reverse();
        }
        for done in 0..parts.len() {
            let (home, writes) = &parts[done];
            if let Err(why) = self.database(*home).commit(writes) {
                self.take_back(&parts[..done]);
                return Err(why);
            }
            self.note_adopted(*home, writes.iter().map(|write| (write, write.after.is_some())));
        }
        if durable {
            self.unsettled.append(&mut parts);
        }
        Ok(())
    }

    /// Waits until all that was committed would survive a loss of power.
    ///
    /// # Errors
    /// The commits since the last good settle that concern the durable file are taken back; those that concern only the boot's file hold.
    pub fn settle(&mut self) -> Result<(), StoreError> {
        let result = self.durable.settle();
        let unsettled = std::mem::take(&mut self.unsettled);
        if result.is_err() {
            self.take_back(&unsettled);
        }
        result
    }

    fn take_back(&mut self, parts: &[(Home, Vec<Write>)]) {
        for (home, writes) in parts.iter().rev() {
            self.note_adopted(*home, writes.iter().rev().map(|write| (write, write.before.is_some())));
            self.database(*home).take_back(writes);
        }
    }

    fn database(&mut self, home: Home) -> &mut Database {
        match home {
            Home::Durable => &mut self.durable,
            Home::Boot => &mut self.boot,
        }
    }

    fn note_adopted<'a>(&mut self, home: Home, writes: impl Iterator<Item = (&'a Write, bool)>) {
        for (write, present) in writes.filter(|(write, _)| home == Home::Boot && write.table == Table::Containers) {
            let Ok(id) = write.key.parse() else { continue };
            if present {
                self.adopted.insert(id)
            } else {
                self.adopted.remove(&id)
            };
        }
    }

    /// What each file has to take of a change. A container keeps its kind of origin for life, so its ports stay where they are.
    fn parts(&self, edits: &[Edit]) -> Vec<(Home, Vec<Write>)> {
        let (mut durable, mut boot) = (Vec::new(), Vec::new());
        let mut homes = BTreeMap::new();
        for edit in edits {
            match edit {
                Edit::Network { before, after } => {
                    let record = |network: &Option<Arc<Network>>| {
                        network.as_ref().map(|one| (one.name.to_string(), encode(&record::Network::from(one.as_ref()))))
                    };
                    let is_home = |network: &Option<Arc<Network>>, home| network.as_ref().filter(|one| home_of(one) == home).cloned();
                    for (part, home) in [(&mut durable, Home::Durable), (&mut boot, Home::Boot)] {
                        put(part, Table::Networks, record(&is_home(before, home)), record(&is_home(after, home)));
                    }
                }
                Edit::Container { before, after } => {
                    let record = |container: &Option<Arc<Container>>| {
                        container.as_ref().map(|one| (one.id.to_string(), encode(&record::Container::from(one.as_ref()))))
                    };
                    for container in before.iter().chain(after) {
                        homes.insert(&container.id, home(container));
                    }
                    let part = if before.iter().chain(after).any(|one| home(one) == Home::Boot) { &mut boot } else { &mut durable };
                    put(part, Table::Containers, record(before), record(after));
                }
                Edit::Publish { container, before, after } => {
                    let record = |published: &Option<Published>| {
                        let record = record::Publish::new(container, published.as_ref()?);
                        Some((record.key(), encode(&record)))
                    };
                    let stored = if self.adopted.contains(container) { Home::Boot } else { Home::Durable };
                    let part = if *homes.get(container).unwrap_or(&stored) == Home::Boot { &mut boot } else { &mut durable };
                    put(part, Table::Publishes, record(before), record(after));
                }
                Edit::Policy { name, before, after } => {
                    let record = |policy: &Option<Arc<Policy>>| {
                        policy.as_ref().map(|one| (name.to_string(), encode(&record::Policy::from(one.as_ref()))))
                    };
                    put(&mut durable, Table::Policies, record(before), record(after));
                }
                Edit::Namespace { namespace, before, after } => {
                    let record = |labels: &Option<Labels>| {
                        labels.as_ref().map(|labels| (namespace.to_string(), encode(&record::NamespaceLabels::new(namespace, labels))))
                    };
                    put(&mut durable, Table::Namespaces, record(before), record(after));
                }
                Edit::Original { sysctl, before, after } => {
                    let record = |value: &Option<String>| {
                        let record = record::Original::new(sysctl, value.as_deref()?);
                        Some((record.key(), encode(&record)))
                    };
                    put(&mut boot, Table::Originals, record(before), record(after));
                }
            }
        }
        vec![(Home::Durable, durable), (Home::Boot, boot)]
    }
}

/// A key and its value.
type Record = (String, Vec<u8>);

fn put(part: &mut Vec<Write>, table: Table, before: Option<Record>, after: Option<Record>) {
    match (before, after) {
        (Some((key, before)), Some((same, after))) if key == same => {
            part.push(Write { table, key, before: Some(before), after: Some(after) });
        }
        (before, after) => {
            part.extend(before.map(|(key, before)| Write { table, key, before: Some(before), after: None }));
            part.extend(after.map(|(key, after)| Write { table, key, before: None, after: Some(after) }));
        }
    }
}

fn home_of(network: &Network) -> Home {
    if network.inline.is_some() { Home::Boot } else { Home::Durable }
}

fn home(container: &Container) -> Home {
    match container.origin {
        Origin::Made => Home::Durable,
        Origin::Adopted { .. } | Origin::Cni { .. } => Home::Boot,
    }
}

/// Made and locked until the file is dropped. Asked again for a moment: a program that the former daemon was just starting has a copy of its lock until
/// it is executed.
fn lock(dir: &Path) -> Result<File, StoreError> {
    let unusable = |cause| StoreError::Open { path: dir.to_owned(), cause };
    fs::create_dir_all(dir).map_err(unusable)?;
    let file = File::open(dir).map_err(unusable)?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if began.elapsed() < ENDING => thread::sleep(Duration::from_millis(10)),
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { dir: dir.to_owned() }),
            Err(TryLockError::Error(cause)) => return Err(unusable(cause)),
        }
    }
}

fn encode(record: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(record).expect("keys of maps are text, and it is written to memory")
}

fn parse<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|why| why.to_string())
}

fn decode_policy(key: &str, value: &[u8]) -> Result<Edit, String> {
    let policy = parse::<record::Policy>(value)?.parse()?;
    if policy.name.to_string() != key {
        return Err(format!("its text is that of {}", policy.name));
    }
    Ok(Edit::Policy { name: policy.name.clone(), before: None, after: Some(Arc::new(policy)) })
}

fn decode(table: Table, key: &str, value: &[u8]) -> Result<Edit, String> {
    let (edit, own) = match table {
        Table::Networks => (Edit::from(parse::<record::Network>(value)?), None),
        Table::Containers => (Edit::from(parse::<record::Container>(value)?), None),
        Table::Namespaces => (Edit::from(parse::<record::NamespaceLabels>(value)?), None),
        Table::Policies => return decode_policy(key, value),
        Table::Publishes => {
            let record: record::Publish = parse(value)?;
            let key = record.key();
            (record.into(), Some(key))
        }
        Table::Originals => {
            let record: record::Original = parse(value)?;
            let key = record.key();
            (record.into(), Some(key))
        }
    };
    let own = own.or_else(|| match &edit {
        Edit::Network { after: Some(network), .. } => Some(network.name.to_string()),
        Edit::Container { after: Some(container), .. } => Some(container.id.to_string()),
        Edit::Namespace { namespace, .. } => Some(namespace.to_string()),
        _ => None,
    });
    if own.as_deref() == Some(key) { Ok(edit) } else { Err(format!("is that of {own:?}")) }
}
