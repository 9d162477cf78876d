//! What the kernel has of table `inet netd`: enough to write it again, and a fingerprint that shows when somebody changed it.
//!
//! Never reads rules for what they mean: whatever this build's text became in the kernel is remembered by its bytes, and any other bytes are another table.

use std::{fs, io, path::PathBuf};

use netd_core::firewall::{
    Found, FoundChain, fingerprint,
    set::{SHAPE_FLAGS, SetShape},
};
use netlink_packet_core::{NlaBuffer, NlasIterator};
use netlink_packet_netfilter::nftables::{
    ChainMessage, NfTablesMessage, RuleAttribute, RuleMessage, SetAttribute, SetMessage, TableAttribute, TableMessage,
};
use serde::{Deserialize, Serialize};

use super::socket::Nfnetlink;
use crate::kernel::KernelError;

/// Our table's name, of family inet.
pub(super) const NAME: &str = "netd";

/// The table as it is.
pub(super) struct Seen {
    /// Its chains and sets; elements are not looked at.
    pub(super) found: Found,
    /// Of everything but elements, numbers that the kernel gives out, and counts.
    pub(super) fingerprint: u64,
}

/// Bytes of `struct nfgenmsg`, which has the generation in it.
pub(super) const FAMILY_HEADER: usize = 4;
/// NLA_TYPE_MASK (linux/netlink.h): without the flags for nested and network order.
pub(super) const TYPE: u16 = 0x3fff;

/// Attributes of linux/netfilter/nf_tables.h, and which of them say what the table is: no handles, no counts, no names twice.
mod attribute {
    pub(super) const TABLE_NAME: u16 = 1;
    pub(super) const TABLE_FLAGS: u16 = 2;
    pub(super) const TABLE: &[u16] = &[TABLE_NAME, TABLE_FLAGS];

    pub(super) const CHAIN_TABLE: u16 = 1;
    pub(super) const CHAIN_NAME: u16 = 3;
    pub(super) const CHAIN_HOOK: u16 = 4;
    pub(super) const CHAIN_POLICY: u16 = 5;
    pub(super) const CHAIN_TYPE: u16 = 7;
    pub(super) const CHAIN_FLAGS: u16 = 10;
    pub(super) const CHAIN: &[u16] = &[CHAIN_NAME, CHAIN_HOOK, CHAIN_POLICY, CHAIN_TYPE, CHAIN_FLAGS];
    pub(super) const HOOK_NUMBER: u16 = 1;
    pub(super) const HOOK_PRIORITY: u16 = 2;

    pub(super) const RULE_TABLE: u16 = 1;
    /// Table, chain, expressions, the user's data (its comment).
    pub(super) const RULE: &[u16] = &[RULE_TABLE, 2, 4, 7];

    pub(super) const SET_TABLE: u16 = 1;
    pub(super) const SET_NAME: u16 = 2;
    pub(super) const SET_FLAGS: u16 = 3;
    pub(super) const SET_KEY_TYPE: u16 = 4;
    pub(super) const SET_KEY_LEN: u16 = 5;
    pub(super) const SET_DATA_TYPE: u16 = 6;
    pub(super) const SET_DATA_LEN: u16 = 7;
    /// With them: timeout, the user's data (its comment).
    pub(super) const SET: &[u16] = &[SET_NAME, SET_FLAGS, SET_KEY_TYPE, SET_KEY_LEN, SET_DATA_TYPE, SET_DATA_LEN, 11, 13];
    /// NFT_SET_ANONYMOUS: it belongs to a rule.
    pub(super) const SET_ANONYMOUS: u32 = 1;
}

/// The table, if it is there.
pub(super) fn look(socket: &mut Nfnetlink) -> Result<Option<Seen>, KernelError> {
    let tables = NfTablesMessage::GetTable(TableMessage { attributes: Vec::new() });
    let Some(table) = socket.dump(&tables, of(attribute::TABLE_NAME))?.pop() else { return Ok(None) };
    let chains = socket.dump(&NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() }), of(attribute::CHAIN_TABLE))?;
    let rules = NfTablesMessage::GetRule(RuleMessage { attributes: vec![RuleAttribute::Table(NAME.to_owned())] });
    let rules = socket.dump(&rules, of(attribute::RULE_TABLE))?;
    let sets = socket
        .dump(&NfTablesMessage::GetSet(SetMessage { attributes: vec![SetAttribute::Table(NAME.to_owned())] }), of(attribute::SET_TABLE))?;
    let mut bytes = Vec::new();
    for (kind, things) in
        [(attribute::TABLE, std::slice::from_ref(&table)), (attribute::CHAIN, &chains), (attribute::RULE, &rules), (attribute::SET, &sets)]
    {
        for thing in things {
            thing.write(kind, &mut bytes);
        }
    }
    let found = Found {
        flags: table.number(attribute::TABLE_FLAGS),
        sets: sets.iter().filter(|set| set.number(attribute::SET_FLAGS) & attribute::SET_ANONYMOUS == 0).map(shape).collect(),
        chains: chains.iter().map(chain).collect(),
        ..Found::default()
    };
    Ok(Some(Seen { found, fingerprint: fingerprint(&bytes) }))
}

/// The message that deletes the table and all in it.
pub(super) fn deletion() -> NfTablesMessage {
    NfTablesMessage::DeleteTable(TableMessage { attributes: vec![TableAttribute::Name(NAME.to_owned())] })
}

/// The attributes of one table, chain, rule or set.
struct Thing(Vec<u8>);

/// Keeps what is of our table, whose name stands in this attribute.
fn of(table: u16) -> impl FnMut(u16, &[u8]) -> Option<Thing> {
    move |_, payload| {
        let thing = Thing(payload.get(FAMILY_HEADER..)?.to_vec());
        (thing.text(table) == NAME).then_some(thing)
    }
}

impl Thing {
    fn find(&self, kind: u16) -> Option<NlaBuffer<&[u8]>> {
        NlasIterator::new(self.0.as_slice()).filter_map(Result::ok).find(|attribute| attribute.kind() & TYPE == kind)
    }

    fn text(&self, kind: u16) -> String {
        self.find(kind).map(|attribute| String::from_utf8_lossy(attribute.value()).trim_end_matches('\0').to_owned()).unwrap_or_default()
    }

    /// A number of 32 bits in network order; zero where there is none.
    fn number(&self, kind: u16) -> u32 {
        self.find(kind).and_then(|attribute| attribute.value().try_into().ok()).map_or(0, u32::from_be_bytes)
    }

    /// Appends attributes of these kinds with their kind and length.
    fn write(&self, kinds: &[u16], bytes: &mut Vec<u8>) {
        for attribute in NlasIterator::new(self.0.as_slice()).filter_map(Result::ok) {
            let kind = attribute.kind() & TYPE;
            if kinds.contains(&kind) {
                let value = attribute.value();
                bytes.extend(kind.to_be_bytes());
                bytes.extend((value.len() as u32).to_be_bytes());
                bytes.extend(value);
            }
        }
    }
}

fn shape(set: &Thing) -> SetShape {
    SetShape {
        name: set.text(attribute::SET_NAME),
        flags: set.number(attribute::SET_FLAGS) & SHAPE_FLAGS,
        key: (set.number(attribute::SET_KEY_TYPE), set.number(attribute::SET_KEY_LEN)),
        data: (set.number(attribute::SET_DATA_TYPE), set.number(attribute::SET_DATA_LEN)),
    }
}

fn chain(chain: &Thing) -> FoundChain {
    let base = chain.find(attribute::CHAIN_HOOK).map(|hook| {
        let hook = Thing(hook.value().to_vec());
        let priority = hook.number(attribute::HOOK_PRIORITY).cast_signed();
        (chain.text(attribute::CHAIN_TYPE), hook.number(attribute::HOOK_NUMBER), priority, chain.number(attribute::CHAIN_POLICY))
    });
    FoundChain { name: chain.text(attribute::CHAIN_NAME), base }
}

/// The file that outlives the daemon and dies with the boot, as the table does. Without it the table is written anew, which harms nothing.
pub(super) struct Memory(pub(super) PathBuf);

/// Which text the kernel's bytes came from.
#[derive(Serialize, Deserialize, PartialEq)]
struct Remembered {
    /// `Ruleset::hash`, in hexadecimal.
    ruleset: String,
    /// `Seen::fingerprint`, in hexadecimal.
    kernel: String,
}

impl Remembered {
    fn new(ruleset: u64, kernel: u64) -> Self {
        Self { ruleset: format!("{ruleset:016x}"), kernel: format!("{kernel:016x}") }
    }
}

impl Memory {
    /// Whether this text became these bytes.
    pub(super) fn recalls(&self, ruleset: u64, kernel: u64) -> bool {
        let remembered = fs::read(&self.0).ok().and_then(|text| serde_json::from_slice::<Remembered>(&text).ok());
        remembered == Some(Remembered::new(ruleset, kernel))
    }

    /// Remembers it.
    pub(super) fn keep(&self, ruleset: u64, kernel: u64) -> Result<(), KernelError> {
        let text = serde_json::to_vec(&Remembered::new(ruleset, kernel)).expect("two strings are JSON");
        let new = self.0.with_extension("new");
        fs::write(&new, text).and_then(|()| fs::rename(&new, &self.0)).map_err(|error| self.failed("write", error))
    }

    /// Forgets it.
    pub(super) fn forget(&self) -> Result<(), KernelError> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed("remove", error)),
            _ => Ok(()),
        }
    }

    fn failed(&self, what: &str, error: io::Error) -> KernelError {
        KernelError::said(error, format!("cannot {what} {}", self.0.display()))
    }
}
