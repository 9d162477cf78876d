//! What the programs work out from values: the part that compiles for the host, where it is tested. Never sees a pointer, a map or the kernel.
#![no_std]

// Tests run on the host and may allocate.
#[cfg(test)]
extern crate std;

pub mod answer;
pub mod count;
pub mod flow;
pub mod guard;
pub mod near;
pub mod packet;
pub mod plain;
pub mod recent;
pub mod said;
pub mod spread;
pub mod verdict;
