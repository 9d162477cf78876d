//! What the flows thread needs of the kernel: the maps that flows are in, something to sleep on, and the time. Never decides what an entry means.

pub(crate) mod clock;
pub(crate) mod ears;
pub(crate) mod maps;
pub(crate) mod table;
