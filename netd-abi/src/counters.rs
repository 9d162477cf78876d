//! The value of maps `COUNTERS`, `REASONS`, `RULE_HITS` and `DROPS`: packets, bytes and wire segments. Never says whose they are; the index does.

/// What was counted at one place in one direction.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets as the kernel hands them over; a GSO packet is one, as in the interface's own counters.
    pub packets: u64,
    /// Bytes from the Ethernet header on, as in the interface's own counters.
    pub bytes: u64,
    /// Packets as they would be on a wire: a GSO packet counts once for each of its segments.
    pub segments: u64,
}

const _: () = assert!(size_of::<Counters>() == 8 + 8 + 8); // the sum of the fields: no hidden padding
const _: () = assert!(align_of::<Counters>() == 8);

impl Counters {
    /// Nothing counted.
    pub const ZERO: Self = Self { packets: 0, bytes: 0, segments: 0 };

    /// The sum of both, as of two CPUs. A counter that overflows starts again at zero, as the kernel's do.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
            segments: self.segments.wrapping_add(other.segments),
        }
    }

    /// The same packets so many times: none with 0.
    #[must_use]
    pub const fn times(self, number: u64) -> Self {
        Self {
            packets: self.packets.wrapping_mul(number),
            bytes: self.bytes.wrapping_mul(number),
            segments: self.segments.wrapping_mul(number),
        }
    }
}

// SAFETY: repr(C), integers only and no padding (asserted above), so that every byte pattern is a value and every byte is set.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Counters {}

/// Which way a packet goes, seen from the container. Never part of a shared type: it travels as its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Direction {
    /// Sent by the container: ingress of the host-side veth.
    FromContainer = 0,
    /// Received by the container: egress of the host-side veth.
    ToContainer = 1,
}

impl Direction {
    /// Both directions, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::FromContainer, Self::ToContainer];

    /// The number that stands for it in indexes.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The direction with this number; any other is the second.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        if number == 0 { Self::FromContainer } else { Self::ToContainer }
    }

    /// The other way.
    #[must_use]
    pub const fn reverse(self) -> Self {
        match self {
            Self::FromContainer => Self::ToContainer,
            Self::ToContainer => Self::FromContainer,
        }
    }

    /// The words for it in logs and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FromContainer => "from container",
            Self::ToContainer => "to container",
        }
    }

    /// Where map `COUNTERS` keeps what the attachment `slot` sent or received. `None` for a slot that cannot exist.
    #[must_use]
    pub const fn counter_of(self, slot: u32) -> Option<u32> {
        if slot >= crate::MAX_ATTACHMENTS {
            return None;
        }
        Some(slot * 2 + self.number())
    }
}

/// Bits of a reason in [`reason_key`].
const REASON_BITS: u32 = 8;

/// The key of map `REASONS` for what was counted for an attachment in one direction for one reason.
#[must_use]
pub const fn reason_key(slot: u32, direction: Direction, why: crate::Why) -> u32 {
    reason_key_of(slot, direction, why.number())
}

/// The same of a reason's number.
#[must_use]
pub const fn reason_key_of(slot: u32, direction: Direction, why: u32) -> u32 {
    (slot << (REASON_BITS + 1)) | (direction.number() << REASON_BITS) | why
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_has_two_counters_of_its_own() {
        let last = crate::MAX_ATTACHMENTS - 1;
        assert_eq!(Direction::FromContainer.counter_of(0), Some(0));
        assert_eq!(Direction::ToContainer.counter_of(0), Some(1));
        assert_eq!(Direction::FromContainer.counter_of(1), Some(2));
        assert_eq!(Direction::ToContainer.counter_of(last), Some(last * 2 + 1));
        assert_eq!(Direction::ToContainer.counter_of(last + 1), None);
    }

    #[test]
    fn each_reason_of_each_direction_of_each_slot_has_its_own_key() {
        use crate::Why;
        let mut before = None;
        for slot in [0, 1, crate::MAX_ATTACHMENTS - 1] {
            for direction in Direction::ALL {
                for why in Why::ALL {
                    let key = Some(reason_key(slot, direction, why));
                    assert!(key > before);
                    before = key;
                }
            }
        }
    }

    #[test]
    fn counters_of_two_cpus_add_up_and_wrap_as_the_kernels_do() {
        let one = Counters { packets: 1, bytes: 100, segments: 2 };
        let two = Counters { packets: u64::MAX, bytes: 50, segments: 5 };
        assert_eq!(one.plus(two), Counters { packets: 0, bytes: 150, segments: 7 });
    }
}
