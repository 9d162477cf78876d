//! The value of map `ATTACHMENTS`: what a program knows of the container behind an interface. Never holds names or addresses.

/// Attachments that fit into the maps. A host with 1,023 ports a bridge reaches it with 16 full bridges.
pub const MAX_ATTACHMENTS: u32 = 16_384;

/// In place of a pacer's index: the container sends as fast as it can.
pub const NO_PACER: u32 = 0;

/// Added to a pacer's index where a filter behind the program leads there, as the program itself cannot; interface indexes are below it.
pub const BEHIND: u32 = 1 << 31;

/// The attachment behind one host-side veth; the key is the interface's index (`u32`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// Number of the attachment, below [`MAX_ATTACHMENTS`]; other maps are indexed with it.
    pub slot: u32,
    /// Index of the interface whose queue paces what the container sends, with or without [`BEHIND`], or [`NO_PACER`]. It needed no new layout
    /// version: what was here before was always zero.
    pub pacer: u32,
}

impl Attachment {
    /// Where the program leads what the container sends; [`NO_PACER`] also where a filter behind it does.
    #[must_use]
    pub const fn pacer_of_program(self) -> u32 {
        if self.is_paced_behind() { NO_PACER } else { self.pacer }
    }

    /// Whether a filter behind the program leads to the pacer.
    #[must_use]
    pub const fn is_paced_behind(self) -> bool {
        self.pacer & BEHIND != 0
    }
}

const _: () = assert!(size_of::<Attachment>() == 4 + 4); // the sum of the fields: no hidden padding
const _: () = assert!(align_of::<Attachment>() == 4);

// SAFETY: repr(C), integers only and no padding (asserted above), so that every byte pattern is a value and every byte is set.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Attachment {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_leads_nowhere_where_a_filter_behind_it_does() {
        for (pacer, of_program, behind) in [(NO_PACER, NO_PACER, false), (7, 7, false), (7 | BEHIND, NO_PACER, true)] {
            let attachment = Attachment { slot: 3, pacer };
            assert_eq!((attachment.pacer_of_program(), attachment.is_paced_behind()), (of_program, behind));
        }
    }
}
