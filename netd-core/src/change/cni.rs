//! Attaches and detaches containers of CNI runtimes in the wish. Never knows the specification's JSON.

use netd_api::{
    cni::{CniAdd, CniGc, CniKey},
    fault::{Code, Fault},
};

use super::Context;
use crate::desired::{Change, Desired};

pub(super) fn add(_desired: &Desired, _add: &CniAdd, _context: Context<'_>) -> Result<Change, Fault> {
    Err(Fault::new(Code::Unsupported, "not built"))
}

pub(super) fn del(_desired: &Desired, _key: &CniKey) -> Change {
    Change::default()
}

pub(super) fn gc(_desired: &Desired, _gc: &CniGc) -> Change {
    Change::default()
}
