//! Table `inet netd` in the kernel: its text goes in through one `nft`, its elements over sockets that stay open. Never touches another table.
//!
//! Closing a socket with deletions queued waits for the kernel to be done with them (some 10 ms), so deletions have a socket of their own,
//! and both are kept for the daemon's life.

mod element;
pub mod foreign;
mod load;
mod socket;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use netd_core::{
    firewall::{
        Element,
        element::wire::{decode, encode},
        ruleset,
        set::{SETS, Set},
    },
    objects::Table,
};
use netlink_packet_netfilter::nftables::NfTablesMessage;

use self::{socket::Nfnetlink, table::Memory};
use super::{KernelError, Look};

/// Elements in one transaction: what the kernel has to say of them fits into the socket's buffer.
const IN_A_BATCH: usize = 1000;

/// The way to our table, in the network namespace of the thread that opened it.
pub struct Nft {
    additions: Nfnetlink,
    deletions: Nfnetlink,
    memory: Memory,
}

impl Nft {
    /// Opens both sockets. `memory` is a file of this boot (`/run/netd/table.json`) that says which ruleset the kernel's chains and sets are.
    pub fn open(memory: PathBuf) -> Result<Self, KernelError> {
        Ok(Self { additions: Nfnetlink::open()?, deletions: Nfnetlink::open()?, memory: Memory(memory) })
    }

    /// The numbers of its sockets, which notifications of what they asked for carry.
    pub fn ports(&self) -> [u32; 2] {
        [self.additions.port(), self.deletions.port()]
    }

    /// Adds elements in one transaction. One that is there already stays; a map's with another value is replaced.
    pub fn add(&mut self, elements: &[Element]) -> Result<(), KernelError> {
        elements.chunks(IN_A_BATCH).try_for_each(|some| {
            match self.additions.batch(&element::messages(some, NfTablesMessage::NewSetElement)) {
                Err(error) if error.errno() == Some(libc::EEXIST) => self.replace(some),
                other => other,
            }
        })
    }

    /// Adds elements in one transaction that first deletes what stands under their keys with another value.
    fn replace(&mut self, elements: &[Element]) -> Result<(), KernelError> {
        let there = self.at(elements)?;
        let other: Vec<Element> = there.into_iter().filter(|there| !elements.contains(there)).collect();
        let mut messages = element::messages(&other, NfTablesMessage::DeleteSetElement);
        messages.extend(element::messages(elements, NfTablesMessage::NewSetElement));
        self.deletions.batch(&messages)
    }

    /// Deletes elements in one transaction. One that is gone already is gone; a map's key that has another value by now stays.
    pub fn delete(&mut self, elements: &[Element]) -> Result<(), KernelError> {
        elements.chunks(IN_A_BATCH).try_for_each(|some| {
            // The kernel deletes by key alone.
            let by_key_alone = some.iter().any(|element| matches!(element, Element::Publish(_)));
            let gone = |error: &KernelError| error.errno() == Some(libc::ENOENT);
            let all =
                if by_key_alone { None } else { Some(self.deletions.batch(&element::messages(some, NfTablesMessage::DeleteSetElement))) };
            match all {
                Some(Err(error)) if !gone(&error) => Err(error),
                Some(Ok(())) => Ok(()),
                _ => {
                    let there = self.at(some)?;
                    let there: Vec<Element> = some.iter().filter(|element| there.contains(*element)).cloned().collect();
                    self.deletions
                        .batch(&element::messages(&there, NfTablesMessage::DeleteSetElement))
                        .or_else(|error| if gone(&error) { Ok(()) } else { Err(error) })
                }
            }
        })
    }

    /// What our sets hold: everything, or what stands under the keys of these.
    pub fn observe_elements(&mut self, look: Look<'_>) -> Result<BTreeSet<Element>, KernelError> {
        match look {
            Look::Everything(_) => SETS.iter().try_fold(BTreeSet::new(), |mut all, set| {
                all.extend(self.all_of(set)?);
                Ok(all)
            }),
            Look::At(wanted) => self.at(&wanted.elements.iter().cloned().collect::<Vec<_>>()),
        }
    }

    /// What stands under the keys of these elements.
    fn at(&mut self, elements: &[Element]) -> Result<BTreeSet<Element>, KernelError> {
        let mut by_set: BTreeMap<&str, Vec<&Element>> = BTreeMap::new();
        for element in elements {
            by_set.entry(element.set()).or_default().push(element);
        }
        let mut found = BTreeSet::new();
        for (name, wanted) in by_set {
            let set = Set::named(name).expect("every element is of one of our sets");
            if set.interval {
                // There are as many as networks, and the kernel answers for the range that holds a key instead of the key.
                found.extend(self.all_of(set)?.into_iter().filter(|there| wanted.contains(&there)));
            } else {
                let keys: Vec<_> = wanted.into_iter().flat_map(encode).collect();
                found.extend(decode(set, self.additions.get(set, &keys)?));
            }
        }
        Ok(found)
    }

    /// All elements of a set; none where there is no such set.
    fn all_of(&mut self, set: &'static Set) -> Result<Vec<Element>, KernelError> {
        let wires = self.additions.dump(&element::question(set, &[]), element::answered)?;
        Ok(decode(set, wires.into_iter().flatten()))
    }

    /// Whether the chains and sets in the kernel are the ones that this build put there. What the sets hold does not count.
    pub fn observe_table(&mut self) -> Result<Table, KernelError> {
        Ok(match table::look(&mut self.additions)? {
            None => Table::Absent,
            Some(seen) if self.memory.recalls(ruleset().hash(), seen.fingerprint) => Table::Current,
            Some(_) => Table::Stale,
        })
    }

    /// Makes the table what this build writes, with what its sets hold. One process, one transaction.
    pub fn put_table(&mut self) -> Result<(), KernelError> {
        let mut found = table::look(&mut self.additions)?.map(|seen| seen.found).unwrap_or_default();
        for set in SETS.iter().filter(|set| found.sets.contains(&set.shape())) {
            found.elements.extend(self.all_of(set)?);
        }
        load::run(&ruleset().script(&found))?;
        match table::look(&mut self.additions)? {
            Some(seen) => self.memory.keep(ruleset().hash(), seen.fingerprint),
            None => Ok(()), // somebody was quick to delete it; that is for the next look
        }
    }

    /// Deletes the table with all that is in it; gone already is gone.
    pub fn delete_table(&mut self) -> Result<(), KernelError> {
        match self.deletions.batch(&[table::deletion()]) {
            Err(error) if error.errno() != Some(libc::ENOENT) => Err(error),
            _ => self.memory.forget(),
        }
    }
}
