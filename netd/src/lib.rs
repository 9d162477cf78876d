//! The daemon's parts, in the order in which a request meets them.
//!
//! `server` hears a request, `reconciler` decides by `netd-core` and makes `store` and `kernel` follow, `bpf` counts what flows.

pub mod config;
pub mod daemon;
pub mod logs;
pub(crate) mod observe;
pub mod drain;
pub mod server;
pub mod reconciler;
pub mod store;
pub mod kernel;
pub mod bpf;

mod suggest;
