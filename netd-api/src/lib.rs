//! The words shared by netd, netctl and the CNI plugin: what can be asked, what is answered, what can go wrong.
//! Knows nothing of the kernel and starts no runtime.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod addr;
pub mod client;
pub mod cni;
pub mod fault;
pub mod flow;
pub mod message;
pub mod names;
pub mod policy;
pub mod publish;
#[cfg(feature = "schema")]
pub mod schema;
pub mod spec;
pub mod view;

/// The version of the HTTP interface: the first part of every path.
pub const API_VERSION: &str = "v1";
/// Where the daemon listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/netd/netd.sock";
