//! The value of map `ATTACHMENTS`: what a program knows of the container behind an interface. Never holds names or addresses.

/// Attachments that fit into the maps. A host with 1,023 ports a bridge reaches it with 16 full bridges.
pub const MAX_ATTACHMENTS: u32 = 16_384;

/// In place of a pacer's index: the container sends as fast as it can.
pub const NO_PACER: u32 = 0;

/// The attachment behind one host-side veth; the key is the interface's index (`u32`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// Number of the attachment, below [`MAX_ATTACHMENTS`]; other maps are indexed with it.
    pub slot: u32,
    /// Index of the interface whose queue paces what the container sends, or [`NO_PACER`]. Layout version 1 as before: what was here was always zero.
    pub pacer: u32,
}

const _: () = assert!(size_of::<Attachment>() == 4 + 4); // the sum of the fields: no hidden padding
const _: () = assert!(align_of::<Attachment>() == 4);

// SAFETY: repr(C), integers only and no padding (asserted above), so that every byte pattern is a value and every byte is set.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Attachment {}
