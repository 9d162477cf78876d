//! The CNI plugin of netd as a library: environment and configuration in, one answer out. Attaches nothing itself; it asks netd.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod run;
pub mod env;
pub mod config;
pub mod ipam;
pub mod runtime;
pub mod wish;
pub mod translate;
pub mod result;
pub mod spec;
pub mod version;
pub mod error;
pub mod ask;
pub mod queue;
pub mod delegate;
pub mod conflist;
mod json;
