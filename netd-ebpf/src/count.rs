//! How much one packet counts. Never says for whom.

use netd_abi::Counters;

/// What the kernel says of the size of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Bytes from the Ethernet header on.
    pub bytes: u32,
    /// Segments that the packet will be cut into; 0 when it is none to be cut, or when its sender did not say.
    pub gso_segs: u32,
    /// Payload bytes of a segment; 0 when the packet is not to be cut.
    pub gso_size: u32,
}

/// One packet of this size.
#[inline(always)]
#[must_use]
pub fn counted(size: Size) -> Counters {
    Counters { packets: 1, bytes: size.bytes as u64, segments: segments(size) as u64 }
}

/// Packets that this one is on a wire. Where the sender gave only the size of a segment (a virtual machine's packets), the
/// headers are taken for payload: at most one too many.
#[inline(always)]
fn segments(size: Size) -> u32 {
    if size.gso_segs > 0 {
        size.gso_segs
    } else if size.gso_size > 0 {
        size.bytes.div_ceil(size.gso_size)
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_packet_is_one_segment() {
        let size = Size { bytes: 60, gso_segs: 0, gso_size: 0 };
        assert_eq!(counted(size), Counters { packets: 1, bytes: 60, segments: 1 });
    }

    #[test]
    fn a_large_tcp_packet_counts_its_segments() {
        let size = Size { bytes: 65_226, gso_segs: 45, gso_size: 1448 };
        assert_eq!(counted(size), Counters { packets: 1, bytes: 65_226, segments: 45 });
    }

    #[test]
    fn segments_follow_from_their_size_when_their_number_is_missing() {
        let size = Size { bytes: 2 * 1448 + 66, gso_segs: 0, gso_size: 1448 };
        assert_eq!(counted(size).segments, 3);
    }
}
