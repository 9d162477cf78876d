//! The table of flows: plain arrays, in which a known flow is found, and a new one begun, with three lines of memory and no call (a hash of the kernel's takes
//! a call and twice as many lines, its LRU hash a dozen, and locks). A bucket of map `MARKS` has a [`Mark`] for each of its ways, and `FLOWS` the flow
//! ([`place_in_flows`]). A new flow may take the place of one that has no reply yet, never that of a confirmed one; of those a bucket takes [`MOST_CONFIRMED`], and
//! what is more goes into the hash `SPILLED`.
//!
//! There are no locks. What decides about packets is in the mark, one word that is read and written at once and holds a part of its own key's hash: whatever
//! two CPUs write at the same moment, who looks for a flow finds none whose key does not match its mark. Who found it lately goes by the mark alone for a second: it
//! was his, and what he adds may meanwhile be counted for the flow that is written there.

use crate::flow::{Flow, FlowKey};

/// Flows in a bucket.
pub const WAYS: u32 = 8;
/// So many of them may be confirmed, so that there is always room for new ones.
pub const MOST_CONFIRMED: u32 = 6;
/// Buckets: as many as leave the marks in a CPU's own cache, where a new flow is then begun in two thirds of the time.
pub const BUCKETS: u32 = 1 << BUCKET_BITS;
const BUCKET_BITS: u32 = 12;

/// Where in map `FLOWS` the flow of a way of a bucket is: behind the first ones of all buckets come all second ones. While there are few flows they are in few pages
/// of memory: where the processor has forgotten where a page is it takes as long to find out as half of what a new flow takes else.
#[inline(always)]
#[must_use]
pub const fn place_in_flows(bucket: u32, way: u32) -> u32 {
    way * BUCKETS + bucket
}

/// The marks of a bucket.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket(pub [u64; WAYS as usize]);

/// Element of map `FLOWS`, at [`place_in_flows`] of its mark's bucket and way.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Whose it is.
    pub key: FlowKey,
    /// What is known of it.
    pub flow: Flow,
}

/// The one value of map `SPREAD`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Random numbers, so that nobody can choose connections that meet in one bucket. All zero: not chosen yet.
    pub seeds: [u64; 11],
    /// Of each bucket: not zero if one of its flows may be in map `SPILLED`. Programs set it to [`ARE_SPILLED`] before they put one there.
    pub spilled: [u8; BUCKETS as usize],
}

/// [`Spread::spilled`]: a flow was, or is being, put into map `SPILLED`.
pub const ARE_SPILLED: u8 = 1;
/// The same, and no flow has been since the daemon found none there.
pub const NONE_SEEN: u8 = 2;
/// Where these bytes are among those of [`Spread`].
pub const SPILLED_AT: usize = core::mem::offset_of!(Spread, spilled);

/// Where a key is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its bucket.
    pub bucket: u32,
    /// What its mark has of it: a part of its hash, and above that of its attachment's number.
    pub check: u32,
}

impl Place {
    /// A key's place. The hash is one that two keys share by chance only (multilinear-HM: Lemire and Kaser, "Strongly universal string hashing is fast", 2014;
    /// the higher half of the sum counts).
    #[inline(always)]
    #[must_use]
    pub const fn of(spread: &Spread, key: &FlowKey) -> Self {
        let seeds = &spread.seeds;
        // SAFETY: a key has forty bytes without padding (asserted beside it), and every bit pattern is a number.
        let words: [u32; 10] = unsafe { core::mem::transmute(*key) };
        let mut sum = seeds[0];
        let mut at = 0;
        while at < words.len() {
            let (one, other) = (seeds[at + 1].wrapping_add(words[at] as u64), seeds[at + 2].wrapping_add(words[at + 1] as u64));
            sum = sum.wrapping_add(one.wrapping_mul(other));
            at += 2;
        }
        let hash = (sum >> (64 - BUCKET_BITS - HASH_BITS)) & ((1 << HASH_BITS) - 1);
        Self { bucket: (sum >> (64 - BUCKET_BITS)) as u32, check: (hash | (key.slot as u64) << HASH_BITS & mask(CHECK)) as u32 }
    }
}

/// First bit and number of bits of each part of a mark; bit 0 says that there is one.
const CONFIRMED: u64 = 1 << 1;
const CHECK: (u32, u32) = (2, 26);
const AGE: (u32, u32) = (28, 6);
const EPOCH: (u32, u32) = (34, 8);
const RULE: (u32, u32) = (42, 17);
const VERDICT: (u32, u32) = (59, 2);
const OPENER: (u32, u32) = (61, 3);
/// So many of a check's bits are the hash's; the others are the attachment's.
const HASH_BITS: u32 = 18;

/// Seconds of silence after which a flow without a reply is as good as over: a client that waits sends again before.
const FORSAKEN: i32 = 8;
/// More than any number of seconds of a mark.
const BEFORE: i32 = 1 << AGE.1;

const _: () = assert!(crate::policy::MAX_RULES < 1 << RULE.1);

const fn mask(part: (u32, u32)) -> u64 {
    (1 << part.1) - 1
}

/// What was said of a new flow, and when it was last seen: one word, so that it is whole whenever it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(pub u64);

impl Mark {
    /// No flow.
    pub const NOTHING: Self = Self(0);

    /// A flow's mark.
    #[inline(always)]
    #[must_use]
    pub const fn of(place: Place, flow: &Flow) -> Self {
        Self(
            1 | Self::put(CHECK, place.check as u64)
                | Self::put(AGE, age_of(flow.last_ns) as u64)
                | Self::put(EPOCH, flow.epoch as u64)
                | Self::put(RULE, flow.rule as u64)
                | Self::put(VERDICT, flow.verdict as u64)
                | Self::put(OPENER, flow.opener as u64),
        )
    }

    #[inline(always)]
    const fn put(part: (u32, u32), number: u64) -> u64 {
        (number & mask(part)) << part.0
    }

    #[inline(always)]
    const fn get(self, part: (u32, u32)) -> u64 {
        self.0 >> part.0 & mask(part)
    }

    /// What its flow says now, of the same place and as confirmed as before.
    #[inline(always)]
    #[must_use]
    pub const fn again(self, flow: &Flow) -> Self {
        let kept = self.0 & (CONFIRMED | mask(CHECK) << CHECK.0);
        Self(Self::of(Place { bucket: 0, check: 0 }, flow).0 | kept)
    }

    /// The same, of a flow that was seen again.
    #[inline(always)]
    #[must_use]
    pub const fn seen(self, now_ns: u64) -> Self {
        Self(self.0 & !(mask(AGE) << AGE.0) | Self::put(AGE, age_of(now_ns) as u64))
    }

    /// The same, of a flow of which a reply was seen.
    #[inline(always)]
    #[must_use]
    pub const fn confirmed(self) -> Self {
        Self(self.0 | CONFIRMED)
    }

    /// Whether a reply was seen.
    #[inline(always)]
    #[must_use]
    pub const fn is_confirmed(self) -> bool {
        self.0 & CONFIRMED != 0
    }

    /// Whether it is one of the flow that is looked for at this place.
    #[inline(always)]
    #[must_use]
    pub const fn is_at(self, place: Place) -> bool {
        self.0 & (1 | mask(CHECK) << CHECK.0) == 1 | Self::put(CHECK, place.check as u64)
    }

    /// Whether it is one at all.
    #[inline(always)]
    #[must_use]
    pub const fn is_there(self) -> bool {
        self.0 & 1 != 0
    }

    /// [`seconds`] since its flow was seen; of more than a minute the rest.
    #[inline(always)]
    #[must_use]
    pub const fn idle(self, now_ns: u64) -> u32 {
        age_of(now_ns).wrapping_sub(self.get(AGE) as u32) & mask(AGE) as u32
    }

    /// Whether it is that of a flow without a reply.
    #[inline(always)]
    const fn is_new(self) -> bool {
        self.is_there() && !self.is_confirmed()
    }

    /// Whether it is of the attachment of this place, or of one whose number has the same last eight bits.
    #[inline(always)]
    #[must_use]
    pub const fn is_of_attachment(self, place: Place) -> bool {
        (self.get(CHECK) as u32 ^ place.check) >> HASH_BITS == 0
    }

    /// Whether it was judged in this epoch, of which it has eight bits: [`Flow::epoch`] has to agree.
    #[inline(always)]
    #[must_use]
    pub const fn is_of(self, epoch: u32) -> bool {
        self.get(EPOCH) == epoch as u64 & mask(EPOCH)
    }

    /// The rule that decided.
    #[inline(always)]
    #[must_use]
    pub const fn rule(self) -> u32 {
        self.get(RULE) as u32
    }

    /// A [`crate::Verdict`]'s number.
    #[inline(always)]
    #[must_use]
    pub const fn verdict(self) -> u8 {
        self.get(VERDICT) as u8
    }

    /// As in [`Flow::opener`].
    #[inline(always)]
    #[must_use]
    pub const fn opener(self) -> u8 {
        self.get(OPENER) as u8
    }
}

/// Where a new flow goes in its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// To this way, which is free.
    Free(u32),
    /// In place of the flow at this way.
    Of(u32),
    /// In place of one of whoever has most of them ([`greediest`]).
    OfGreediest,
    /// Nowhere: all have got a reply.
    None,
}

/// Finds a new flow its place, by the marks of its bucket. Where none is free the flow that nobody waits for any more gives way, and then one of who has half of those
/// without a reply, or more: who floods the table takes its own places and not everybody's. Of those that may go the one that was silent longest does.
#[inline(always)]
pub fn room(mark: impl Fn(u32) -> Mark, place: Place, now_ns: u64) -> Room {
    // Most often there is one: nothing else is weighed then.
    if let Some(way) = (0..WAYS).find(|way| !mark(*way).is_there()) {
        return Room::Free(way);
    }
    let (mut chosen, mut readiest) = (0, -1);
    let (mut own, mut others) = (0, 0);
    for way in 0..WAYS {
        let mark = mark(way);
        let idle = mark.idle(now_ns).cast_signed();
        let readiness = if mark.is_confirmed() {
            -1
        } else if !mark.is_there() {
            // It has just become free.
            i32::MAX
        } else if idle >= FORSAKEN {
            2 * BEFORE + idle
        } else if mark.is_of_attachment(place) {
            own += 1;
            BEFORE + idle
        } else {
            others += 1;
            idle
        };
        if readiness > readiest {
            (chosen, readiest) = (way, readiness);
        }
    }
    match readiest {
        i32::MAX => Room::Free(chosen),
        ..0 => Room::None,
        _ if readiest < 2 * BEFORE && own < others => Room::OfGreediest,
        _ => Room::Of(chosen),
    }
}

/// The way of the flow that was silent longest, of those without a reply that are of the attachment with most such in a bucket. `places` is [`places`] of a mark
/// of this bucket. [`WAYS`] where there is none any more.
#[inline(always)]
pub fn greediest(mark: impl Fn(u32) -> Mark, places: impl Fn(Mark) -> u32, now_ns: u64) -> u32 {
    let (mut chosen, mut most) = (WAYS, 0);
    for way in 0..WAYS {
        let mark = mark(way);
        let greed = if mark.is_new() { places(mark) << AGE.1 | mark.idle(now_ns) } else { 0 };
        if greed > most {
            (chosen, most) = (way, greed);
        }
    }
    chosen
}

/// How many flows without a reply a bucket has of the attachment that this mark is of.
#[inline(always)]
pub fn places(mark: impl Fn(u32) -> Mark, of: Mark) -> u32 {
    let place = Place { bucket: 0, check: of.get(CHECK) as u32 };
    (0..WAYS).map(|way| u32::from(mark(way).is_new() && mark(way).is_of_attachment(place))).sum()
}

/// Seconds, nearly (2^30 ns): by a shift, as programs divide slowly.
#[inline(always)]
#[must_use]
pub const fn seconds(time_ns: u64) -> u64 {
    time_ns >> 30
}

#[inline(always)]
const fn age_of(time_ns: u64) -> u32 {
    seconds(time_ns) as u32 & mask(AGE) as u32
}

const _: () = assert!(size_of::<Bucket>() == 64);
const _: () = assert!(size_of::<Entry>() == 40 + 88);
const _: () = assert!(core::mem::offset_of!(Entry, flow) + core::mem::offset_of!(Flow, last_ns) == 64);
const _: () = assert!(size_of::<Spread>() == 11 * 8 + BUCKETS as usize);

// SAFETY: repr(C), integers only and no padding (asserted above and beside the parts), so that every byte pattern is a value and every byte is set.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Spread {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random ones; small ones would spread nothing.
    const SPREAD: Spread = Spread {
        spilled: [0; BUCKETS as usize],
        seeds: [
            0xf2a7_4de4_52e6_b438,
            0x6513_270e_269e_0d37,
            0x0c5c_7fd0_a6a3_a450,
            0xd23f_0824_128b_2f33,
            0x1818_e811_892f_902b,
            0x9531_985d_5d9d_c9f8,
            0xe8e2_5d94_0ed9_0475,
            0x36f6_75cc_81e7_4ef5,
            0x1600_a35a_0999_50d8,
            0x6b0d_549b_6f03_675a,
            0x3d9c_1724_11e2_0b8f,
        ],
    };

    #[test]
    fn a_mark_gives_back_what_was_put_into_it() {
        let place = Place { bucket: 5, check: 0x3f3_1234 };
        let flow = Flow { last_ns: 70 << 30, epoch: 0x1_2345, rule: crate::policy::MAX_RULES, verdict: 3, opener: 5, ..Flow::default() };
        let mark = Mark::of(place, &flow);
        assert!(mark.is_there() && mark.is_at(place) && !mark.is_at(Place { check: 0x3f3_1235, ..place }));
        assert_eq!((mark.rule(), mark.verdict(), mark.opener()), (crate::policy::MAX_RULES, 3, 5));
        assert_eq!((mark.again(&flow), mark.confirmed().again(&flow)), (mark, mark.confirmed()));
        assert!(!mark.is_confirmed() && mark.confirmed().is_confirmed() && mark.confirmed().is_at(place));
        assert!(mark.is_of(0x1_2345) && !mark.is_of(0x1_2346));
        assert_eq!((mark.idle(70 << 30), mark.idle(75 << 30)), (0, 5));
        assert_eq!(mark.seen(75 << 30), Mark::of(place, &Flow { last_ns: 75 << 30, ..flow }));
        assert!(!Mark::NOTHING.is_there() && !Mark::NOTHING.is_at(Place { bucket: 0, check: 0 }));
    }

    /// The mark of a flow of this attachment that was silent for so many seconds at the hundredth.
    fn silent(slot: u16, seconds: u64) -> Mark {
        Mark::of(place(slot), &Flow { last_ns: (100 - seconds) << 30, ..Flow::default() })
    }

    fn place(slot: u16) -> Place {
        Place::of(&SPREAD, &FlowKey { slot, ..FlowKey::default() })
    }

    fn room_of(slot: u16, bucket: [Mark; 8]) -> Room {
        room(|way| bucket[way as usize], place(slot), 100 << 30)
    }

    fn greediest_of(bucket: [Mark; 8]) -> u32 {
        let mark = |way| bucket[way as usize];
        greediest(mark, |of| places(mark, of), 100 << 30)
    }

    #[test]
    fn a_new_flow_takes_a_free_place_then_a_forsaken_one_then_its_own() {
        let (answered, own, others) = (silent(7, 60).confirmed(), silent(7, 3), silent(8, 7));
        assert_eq!(room_of(7, [answered; 8]), Room::None);
        assert_eq!(room_of(7, [own, silent(8, 9), silent(8, 8), Mark::NOTHING, answered, answered, answered, answered]), Room::Free(3));
        assert_eq!(room_of(7, [own, silent(8, 8), silent(8, 9), answered, answered, answered, answered, answered]), Room::Of(2));
        assert_eq!(room_of(7, [others, others, silent(7, 2), own, answered, answered, answered, answered]), Room::Of(3));
    }

    #[test]
    fn who_has_few_places_takes_one_of_who_has_most() {
        let answered = silent(9, 1).confirmed();
        let bucket = [silent(7, 5), silent(9, 6), silent(8, 2), silent(8, 3), answered, answered, answered, silent(8, 1)];
        assert_eq!((room_of(7, bucket), greediest_of(bucket)), (Room::OfGreediest, 3));
    }

    #[test]
    fn a_place_that_becomes_free_while_others_are_weighed_is_taken_and_nobody_loses_his() {
        let (answered, looks) = (silent(9, 1).confirmed(), core::cell::Cell::new(0));
        let mark = |way| {
            looks.set(looks.get() + 1);
            if way == 5 && looks.get() > WAYS { Mark::NOTHING } else { answered }
        };
        assert_eq!(room(mark, place(7), 100 << 30), Room::Free(5));
        assert_eq!(greediest_of([answered; 8]), WAYS, "who was answered is nobody's to take");
    }

    #[test]
    fn in_a_flood_nobody_loses_its_one_place() {
        let mut bucket = [Mark::NOTHING; 8];
        for number in 0..1000_u32 {
            let slot = if number == 0 { 1 } else { 2 + (number * number % 3) as u16 };
            let way = match room_of(slot, bucket) {
                Room::Free(way) | Room::Of(way) => way,
                Room::OfGreediest => greediest_of(bucket),
                Room::None => panic!("nobody was answered"),
            };
            bucket[way as usize] = silent(slot, 0);
            assert_eq!(bucket.iter().filter(|mark| mark.is_of_attachment(place(1))).count(), 1, "{number}");
        }
    }

    #[test]
    fn every_part_of_a_key_moves_it() {
        let key = FlowKey { slot: 1, protocol: 6, local: [1; 16], remote: [2; 16], local_port: [3; 2], remote_port: [4; 2], padding: 0 };
        let at = |key: &FlowKey| Place::of(&SPREAD, key);
        let mut others = [key; 6];
        others[0].slot = 2;
        others[1].protocol = 17;
        others[2].local[15] = 9;
        others[3].remote[0] = 9;
        others[4].local_port[1] = 9;
        others[5].remote_port[0] = 9;
        assert_eq!(at(&key), at(&{ key }));
        for other in others {
            assert_ne!(at(&key), at(&other), "{other:?}");
        }
    }

    #[test]
    fn every_way_of_every_bucket_has_a_place_of_its_own() {
        let mut taken = [false; (BUCKETS * WAYS) as usize];
        for (bucket, way) in (0..BUCKETS).flat_map(|bucket| (0..WAYS).map(move |way| (bucket, way))) {
            assert!(!core::mem::replace(&mut taken[place_in_flows(bucket, way) as usize], true), "{bucket} {way}");
        }
    }

    #[test]
    fn connections_of_one_client_spread_over_all_buckets() {
        let mut counts = [0_u32; BUCKETS as usize];
        for port in 0..=u16::MAX {
            let key = FlowKey { slot: 1, protocol: 6, local_port: port.to_be_bytes(), remote_port: [0, 80], ..FlowKey::default() };
            counts[Place::of(&SPREAD, &key).bucket as usize] += 1;
        }
        // Eight each; by chance a bucket has more than thirty once in a million millions.
        assert!(counts.iter().all(|count| *count < 30), "{:?}", counts.iter().max());
    }
}
