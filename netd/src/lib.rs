//! The daemon's parts.

pub mod bpf;
