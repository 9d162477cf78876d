//! Every decision of netd, pure: no I/O, no clock, no kernel.
//!
//! ```text
//! Request ─change─► Change ─apply─► Desired ─expand─► Objects (wanted) ─┐
//!                                   Objects (observed by the kernel) ──┴─plan─► Plan of Ops
//! ```
//! `change` may refuse, and nothing has happened yet. `expand` says which kernel objects a wish amounts to, `plan` what is missing or too much.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod busy;
pub mod change;
pub mod desired;
pub mod expand;
pub mod firewall;
pub mod host;
pub mod ipam;
pub mod mark;
pub mod objects;
pub mod op;
pub mod plan;
pub mod policy;
pub mod show;
pub mod suggest;
