//! The words shared by netd, netctl and the CNI plugin: what can be asked, what is answered, what can go wrong.
//! Knows nothing of the kernel and starts no runtime.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod names;
pub mod addr;
pub mod publish;
pub mod spec;
pub mod message;
pub mod view;
pub mod fault;
pub mod client;
#[cfg(feature = "schema")]
pub mod schema;

/// The version of the HTTP interface: the first part of every path.
pub const API_VERSION: &str = "v1";
/// Where the daemon listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/netd/netd.sock";
