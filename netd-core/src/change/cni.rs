//! Attaches and detaches containers of CNI runtimes in the wish. Never knows the specification's JSON.

use netd_api::{
    cni::{CniAdd, CniAdded, CniCheck, CniGc, CniKey, CniReadiness, CniStatus},
    fault::{Code, Fault},
};

use super::Context;
use crate::{
    desired::{Change, Desired},
    host::{Found, Host},
};

/// What makes an attachment of a runtime, with all that belongs to it. `context.found` is the namespace at CNI_NETNS.
///
/// # Errors
/// The fault that goes back to the plugin.
pub fn add(_desired: &Desired, _add: &CniAdd, _context: Context<'_>) -> Result<Change, Fault> {
    Err(Fault::new(Code::Unsupported, "not built"))
}

/// What takes an attachment away; nothing where there is none.
pub fn del(desired: &Desired, key: &CniKey) -> Change {
    del_all(desired, std::slice::from_ref(key))
}

/// What takes several attachments away at once, as after a pause of the daemon.
pub fn del_all(_desired: &Desired, _keys: &[CniKey]) -> Change {
    Change::default()
}

/// What takes everything of a configuration away but what is valid.
pub fn gc(_desired: &Desired, _gc: &CniGc) -> Change {
    Change::default()
}

/// The attachments of runtimes that a change takes away.
pub fn removed(_change: &Change) -> Vec<CniKey> {
    Vec::new()
}

/// What the runtime is told of an attachment that is in the wish.
pub fn added(_desired: &Desired, _key: &CniKey, _host: &Host) -> Option<CniAdded> {
    None
}

/// Whether ADD would be refused: the same decision is taken for a container that is not there. `limited` is the daemon's to fill.
pub fn readiness(_desired: &Desired, _status: &CniStatus, _context: Context<'_>) -> CniReadiness {
    CniReadiness::default()
}

/// Where what the runtime remembers differs from the wish, in words. `found` is what is at CNI_NETNS; none where there is no namespace.
///
/// # Errors
/// There is no such attachment.
pub fn expectations(_desired: &Desired, _check: &CniCheck, _found: Option<&Found>) -> Result<Vec<String>, Fault> {
    Ok(Vec::new())
}
