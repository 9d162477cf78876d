//! The bytes that netd shares with its eBPF programs: map keys, values and numbers.
//! Never decides anything, never touches a map; both sides do that with these types.
//!
//! Layout rules, checked by the asserts next to each type: `repr(C)`; addresses and ports are byte arrays in network order,
//! everything else is native; padding has a name and is zero; no `bool`, `enum`, `Option` or `usize` inside a shared
//! type. A type that is stored in a pinned map only grows at its end; any other change, and a change of meaning, gets a new
//! [`MapSpec::version`], so that the daemon notices maps of an older layout and takes their contents over.
#![no_std]
#![deny(missing_docs)]

pub mod attachment;
pub mod counters;
pub mod flow;
pub mod happened;
pub mod maps;
pub mod policy;
pub mod table;
pub mod why;

pub use attachment::{Attachment, MAX_ATTACHMENTS};
pub use counters::{Counters, Direction};
pub use happened::Happened;
pub use maps::{MAPS, MapKind, MapSpec};
pub use policy::{AddressKey, AddressValue, RuleKey, RuleValue, SetValue, Verdict};
pub use why::{Action, Why};
