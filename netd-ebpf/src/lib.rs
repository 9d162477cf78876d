//! What the programs work out from values: the part that compiles for the host, where it is tested. Never sees a pointer, a map or the kernel.
#![no_std]

pub mod count;
pub mod verdict;
