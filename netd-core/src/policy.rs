//! Policies: what their files say, whom they select, and what of it the programs are told. Pure: text, labels and addresses come in, map
//! entries come out.
//!
//! ```text
//! YAML ─parse─► Policy (model) ─┐
//! containers' labels, addresses ┴─book─► Steps: entries to write, attachments to flip, entries to delete
//! ```

pub mod model;
pub mod book;
pub mod pod;
pub mod preview;
pub mod parse;
