//! Flows in maps and in the ring buffer: keys, values, records. Never says when one is over; the daemon does.

use crate::Counters;

/// One connection as an attachment sees it: both directions have this key. It is also the key of what was denied. Words of eight bytes,
/// as the programs write it and the kernel compares it fastest.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// The attachment, below [`crate::MAX_ATTACHMENTS`].
    pub slot: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub padding: u8,
    /// The container's port, network order; of an ICMP echo the identifier, in both places; 0 for what has none.
    pub local_port: [u8; 2],
    /// The other end's.
    pub remote_port: [u8; 2],
    /// The container's address, network order; IPv4 as `::ffff:a.b.c.d`.
    pub local: [u8; 16],
    /// The other end's.
    pub remote: [u8; 16],
}

impl FlowKey {
    /// Whether both are the same: compared in words, as the derived comparison goes field by field and takes twice as many steps.
    #[inline(always)]
    #[must_use]
    pub const fn is(&self, other: &Self) -> bool {
        let ([a, b, c, d, e], [f, g, h, i, j]) = (self.words(), other.words());
        a == f && b == g && c == h && d == i && e == j
    }

    /// The key of the same connection at its other end, which has this number.
    #[inline(always)]
    #[must_use]
    pub const fn from_other_end(&self, slot: u16) -> Self {
        let [_, local, rest_of_local, remote, rest_of_remote] = self.words();
        let first = first_word(slot, self.protocol, self.remote_port, self.local_port);
        Self::of_words([first, remote, rest_of_remote, local, rest_of_local])
    }

    /// A key of its words, as they stand in memory. Who builds one so reads it back at once: a word that was written in parts waits for each of them.
    #[inline(always)]
    #[must_use]
    pub const fn of_words(words: [u64; 5]) -> Self {
        // SAFETY: forty bytes either way (asserted below), and a key's fields are bytes and numbers, which any bits are.
        unsafe { core::mem::transmute(words) }
    }

    /// Its words: attachment, protocol and ports; the container's address in two; the other end's in two.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> [u64; 5] {
        // SAFETY: a key has forty bytes without padding (asserted below), and every bit pattern is a number.
        unsafe { core::mem::transmute(*self) }
    }
}

/// The first of [`FlowKey::words`].
#[inline(always)]
#[must_use]
pub const fn first_word(slot: u16, protocol: u8, local_port: [u8; 2], remote_port: [u8; 2]) -> u64 {
    let ([a, b], [c, d], [e, f]) = (slot.to_ne_bytes(), local_port, remote_port);
    u64::from_ne_bytes([a, b, protocol, 0, c, d, e, f])
}

/// What is known of a flow. Counters are added to without a lock: of packets of one direction on two CPUs at the same moment one may be missing here,
/// never in the attachment's own counters. What each packet changes lies together at the end: behind its key ([`crate::table::Entry`]) that is one line of memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// When it began: nanoseconds since boot (CLOCK_MONOTONIC, coarse).
    pub first_ns: u64,
    /// The epoch in which it was judged ([`Config::epoch`]); in another one it is judged again.
    pub epoch: u32,
    /// The rule that decided, or [`crate::policy::NO_RULE`].
    pub rule: u32,
    /// Zero.
    pub padding: u64,
    /// When its last packet came.
    pub last_ns: u64,
    /// What went each way, by [`crate::Direction::number`].
    pub counters: [Counters; 2],
    /// Index of the host end of the neighbour that the short way leads to, [`NO_NEIGHBOUR`] (which holds for a second), or zero: not looked
    /// for yet, or it may not take the short way now.
    pub neighbour: u32,
    /// A [`crate::Verdict`]'s number. One that was cut by a newer policy stays here as dropped or rejected.
    pub verdict: u8,
    /// Which way its first packet went ([`crate::Direction::number`]).
    pub opener: u8,
    /// TCP flags seen each way (RFC 9293, 3.1: the byte with FIN as its lowest bit).
    pub flags: [u8; 2],
}

/// In place of a neighbour's index: the short way leads nowhere.
pub const NO_NEIGHBOUR: u32 = u32::MAX;

/// What is remembered of a connection that was denied, so that it is told once and then now and then.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Denied {
    /// When it was told last, as in [`Flow::last_ns`].
    pub told_ns: u64,
    /// What was denied since.
    pub counted: Counters,
    /// Why ([`crate::Why::number`]).
    pub why: u32,
    /// The rule.
    pub rule: u32,
    /// [`crate::Direction::number`] of the denied packets.
    pub direction: u32,
    /// TCP flags of the last one.
    pub flags: u32,
}

/// Key of map `FRAGMENTS`: one packet that was cut, as an attachment sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentKey {
    /// The attachment.
    pub slot: u32,
    /// Where it comes from, network order.
    pub source: [u8; 16],
    /// Where it goes.
    pub destination: [u8; 16],
    /// The identification: of IPv4 16 bits (RFC 791), of IPv6 32 (RFC 8200, 4.5).
    pub id: u32,
    /// IP protocol number; of IPv6 that of the fragment header, as parts belong together whatever they name next.
    pub protocol: u8,
    /// [`crate::Direction::number`].
    pub direction: u8,
    /// Zero.
    pub padding: [u8; 2],
}

/// What was said of its first fragment: holds for the later ones.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// [`crate::Why::number`].
    pub why: u32,
    /// The rule.
    pub rule: u32,
    /// When: as in [`Flow::last_ns`]. A packet's fragments come within seconds (net.ipv4.ipfrag_time), and identifications come again.
    pub first_ns: u64,
}

/// A record in the ring buffer `EVENTS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// When, as in [`Flow::last_ns`].
    pub time_ns: u64,
    /// What was denied since it was told last, or the first packet of a new flow.
    pub counted: Counters,
    /// The flow.
    pub key: FlowKey,
    /// See [`EventKind`].
    pub kind: u32,
    /// [`crate::Why::number`].
    pub why: u32,
    /// The rule, or [`crate::policy::NO_RULE`].
    pub rule: u32,
    /// [`crate::Direction::number`] of the packet.
    pub direction: u32,
    /// TCP flags of the packet.
    pub flags: u32,
    /// Zero.
    pub padding: u32,
}

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EventKind {
    /// A packet was denied.
    Denied = 0,
    /// A flow began. Told only while somebody follows ([`config::WATCHED`]).
    New = 1,
    /// A flow began while the daemon slept and did not look after flows ([`config::SLEEPING`]); nothing else is set.
    Awake = 2,
    /// There is no room for one more confirmed flow: the daemon should make some. Nothing else is set.
    Full = 3,
    /// Connections come so fast that one takes the place of another whose end was not told: the daemon should look sooner. Nothing else is set.
    Busy = 4,
    /// More connections are answered than the table has places for, and some of them may have ended: the daemon should look at once. Nothing else is set.
    Crowded = 5,
}

impl EventKind {
    /// The kind with this number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Denied),
            1 => Some(Self::New),
            2 => Some(Self::Awake),
            3 => Some(Self::Full),
            4 => Some(Self::Busy),
            5 => Some(Self::Crowded),
            _ => None,
        }
    }
}

/// The one value of map `CONFIG`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Changes whenever established flows have to be judged again.
    pub epoch: u32,
    /// See [`config`].
    pub flags: u32,
}

/// Bits of [`Config::flags`].
pub mod config {
    /// There are rule sets: published ports are judged where a connection to them starts.
    pub const POLICY: u32 = 1;
    /// Packets between two containers of one network go straight into the other's namespace.
    pub const FAST_PATH: u32 = 1 << 1;
    /// Somebody follows flows: new ones are told, and records wake the reader.
    pub const WATCHED: u32 = 1 << 2;
    /// The daemon sleeps until a flow begins.
    pub const SLEEPING: u32 = 1 << 3;
}

/// Key of map `PUBLISHED`: a place on the host.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishedKey {
    /// The address, network order; `::ffff:0.0.0.0` or `::` where all of the host's are meant.
    pub address: [u8; 16],
    /// The port, network order.
    pub port: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub padding: u8,
}

/// Where a published port leads.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishedValue {
    /// The container's address, network order.
    pub address: [u8; 16],
    /// Its port, network order.
    pub port: [u8; 2],
    /// Zero.
    pub padding: [u8; 2],
}

/// Key of map `JUDGED`: a connection through a published port that was let through where it started, as its target may see it under the host's address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JudgedKey {
    /// The target's address, network order.
    pub target: [u8; 16],
    /// The target's port, network order.
    pub target_port: [u8; 2],
    /// The client's port, network order; 0: of whatever port, as masquerading may change it.
    pub client_port: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub padding: [u8; 3],
}

/// Who it was.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// The client's own address, network order.
    pub client: [u8; 16],
    /// When, as in [`Flow::last_ns`].
    pub time_ns: u64,
}

const _: () = assert!(size_of::<FlowKey>() == 2 + 1 + 1 + 2 + 2 + 16 + 16); // sums of fields: no hidden padding
const _: () = assert!(size_of::<Flow>() == 8 + 4 + 4 + 8 + 8 + 48 + 4 + 1 + 1 + 2);
const _: () = assert!(size_of::<Denied>() == 8 + 24 + 4 * 4);
const _: () = assert!(size_of::<FragmentKey>() == 4 + 16 + 16 + 4 + 1 + 1 + 2);
const _: () = assert!(size_of::<Fragment>() == 4 + 4 + 8);
const _: () = assert!(size_of::<Event>() == 8 + 24 + 40 + 5 * 4 + 4);
const _: () = assert!(size_of::<Config>() == 4 + 4);
const _: () = assert!(size_of::<PublishedKey>() == 16 + 2 + 1 + 1);
const _: () = assert!(size_of::<PublishedValue>() == 16 + 2 + 2);
const _: () = assert!(size_of::<JudgedKey>() == 16 + 2 + 2 + 1 + 3);
const _: () = assert!(size_of::<Judged>() == 16 + 8);

#[cfg(feature = "user")]
macro_rules! pod {
    ($($type:ty),*) => {
        $(
            // SAFETY: repr(C), integers and byte arrays only and no padding (asserted above), so that every byte pattern is a value.
            unsafe impl aya::Pod for $type {}
        )*
    };
}
#[cfg(feature = "user")]
pod!(FlowKey, Flow, Denied, FragmentKey, Fragment, Config, PublishedKey, PublishedValue, JudgedKey, Judged);

/// Fields of a shared struct, in the order and form in which bytes have them.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_ne_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_ne_bytes)
    }
}

impl Event {
    /// A record as it comes out of the ring buffer; none where it is too short.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Reader(bytes);
        Some(Self {
            time_ns: bytes.u64()?,
            counted: Counters { packets: bytes.u64()?, bytes: bytes.u64()?, segments: bytes.u64()? },
            key: FlowKey {
                slot: bytes.take().map(u16::from_ne_bytes)?,
                protocol: bytes.take::<1>()?[0],
                padding: bytes.take::<1>()?[0],
                local_port: bytes.take()?,
                remote_port: bytes.take()?,
                local: bytes.take()?,
                remote: bytes.take()?,
            },
            kind: bytes.u32()?,
            why: bytes.u32()?,
            rule: bytes.u32()?,
            direction: bytes.u32()?,
            flags: bytes.u32()?,
            padding: bytes.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_another_in_every_byte() {
        let key = FlowKey { slot: 1, protocol: 6, padding: 0, local_port: [3; 2], remote_port: [4; 2], local: [1; 16], remote: [2; 16] };
        assert!(key.is(&{ key }));
        for at in 0..size_of::<FlowKey>() {
            // SAFETY: a key has no padding, and every bit pattern is one.
            let mut bytes: [u8; size_of::<FlowKey>()] = unsafe { core::mem::transmute(key) };
            bytes[at] ^= 0x80;
            // SAFETY: as above.
            let other: FlowKey = unsafe { core::mem::transmute(bytes) };
            assert!(!key.is(&other) && key != other, "{at}");
        }
    }

    #[test]
    fn from_the_other_end_a_connection_is_itself_with_both_sides_changed() {
        let local: [u8; 16] = core::array::from_fn(|at| at as u8);
        let remote: [u8; 16] = core::array::from_fn(|at| 0x80 + at as u8);
        let key = FlowKey { slot: 0x102, protocol: 6, padding: 0, local_port: [1, 2], remote_port: [3, 4], local, remote };
        let other = FlowKey { slot: 0x304, local: remote, remote: local, local_port: [3, 4], remote_port: [1, 2], ..key };
        assert_eq!((key.from_other_end(0x304), other.from_other_end(0x102)), (other, key));
    }

    #[test]
    fn a_record_is_read_field_by_field_and_a_short_one_is_none() {
        let bytes: [u8; 96] = core::array::from_fn(|at| at as u8);
        let event = Event::from_bytes(&bytes).unwrap();
        assert_eq!(event.time_ns.to_ne_bytes(), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!((event.key.slot.to_ne_bytes(), event.key.protocol, event.key.padding), ([32, 33], 34, 35));
        assert_eq!((event.key.local_port, event.key.remote_port), ([36, 37], [38, 39]));
        assert_eq!((event.key.local[0], event.key.remote[0]), (40, 56));
        assert_eq!(event.flags.to_ne_bytes(), [88, 89, 90, 91]);
        assert_eq!(Event::from_bytes(&bytes[..95]), None);
    }
}
