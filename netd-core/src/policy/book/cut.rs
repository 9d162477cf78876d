//! Cuts ranges of ports into prefixes of a few lengths, as few of them as possible. Knows no rule.

use std::collections::BTreeMap;

use netd_abi::policy::{PREFIXES, RuleValue};

/// Ports with one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) answer: RuleValue,
    /// What holds without an entry is the same, so that none is needed.
    pub(super) same: bool,
}

/// Ports with a common prefix: its bits, the others zero, and how many it has.
pub(super) type Prefix = (u16, u8);

/// Appends a segment to those before it, merged with the last one where that is possible.
pub(super) fn append(segments: &mut Vec<Segment>, next: Segment) {
    match segments.last_mut() {
        Some(last) if (last.answer, last.same) == (next.answer, next.same) && last.last.checked_add(1) == Some(next.first) => {
            last.last = next.last;
        }
        _ => segments.push(next),
    }
}

/// Entries of which the longest one around each port of the segments answers as they say. Ports between the segments get none, since an
/// entry would hide what holds there.
///
/// A hole in a range costs less when a short prefix covers both and a long one mends the hole. Which answers a prefix should give is found
/// from its parts up, as in Draves and others, "Constructing optimal IP routing tables" (INFOCOM 1999), here with sixteen parts for two:
/// the kernel program looks for prefixes of [`PREFIXES`] only.
pub(super) fn cut(segments: &[Segment], mut out: impl FnMut(Prefix, RuleValue)) {
    if segments.iter().all(|segment| segment.same) {
        return;
    }
    if let [Segment { first: 0, last: u16::MAX, answer, .. }] = segments {
        return out((0, 0), *answer);
    }
    grow(segments, 0, 0).give((0, 0), None, &mut out);
}

/// Bits from one length of [`PREFIXES`] to the next.
const STEP: u8 = 4;
const PARTS: u32 = 1 << STEP;
const _: () = {
    let mut n = 0;
    while n < PREFIXES.len() {
        assert!(PREFIXES[n] == 16 - STEP as u32 * n as u32);
        n += 1;
    }
    assert!(PREFIXES[n - 1] == 0);
};

/// How many entries a prefix needs, by what the entries around it say.
struct Node {
    /// It needs `least` where they say one of these, and one more where they say something else. Ascending; none where it may have no entry.
    answers: Vec<RuleValue>,
    least: u32,
    /// As many as its parts together where there are none.
    bare: u32,
    /// No entry may be here or around.
    closed: bool,
    parts: Vec<Self>,
}

fn grow(segments: &[Segment], start: u32, length: u8) -> Node {
    let last = start + (0xffff >> length);
    // Only what touches the prefix, so that the whole is not searched again and again.
    let from = segments.partition_point(|segment| u32::from(segment.last) < start);
    let to = segments.partition_point(|segment| u32::from(segment.first) <= last);
    match segments.get(from..to).unwrap_or_default() {
        [] => Node { answers: Vec::new(), least: 0, bare: 0, closed: true, parts: Vec::new() },
        [one] if u32::from(one.first) <= start && last <= u32::from(one.last) => {
            Node { answers: vec![one.answer], least: 0, bare: u32::from(!one.same), closed: false, parts: Vec::new() }
        }
        some => Node::over((0..PARTS).map(|part| grow(some, start + part * (0x10000 >> (length + STEP)), length + STEP)).collect()),
    }
}

impl Node {
    fn over(parts: Vec<Self>) -> Self {
        let closed = parts.iter().any(|part| part.closed);
        let bare = parts.iter().map(Self::without).sum();
        let (mut answers, mut least) = (Vec::new(), 0);
        if !closed {
            let mut frequent: BTreeMap<RuleValue, u32> = BTreeMap::new();
            for answer in parts.iter().flat_map(|part| &part.answers) {
                *frequent.entry(*answer).or_default() += 1;
            }
            let most = frequent.values().copied().max().unwrap_or(0);
            answers.extend(frequent.into_iter().filter(|(_, count)| *count == most).map(|(answer, _)| answer));
            least = parts.iter().map(|part| part.least + 1).sum::<u32>() - most;
        }
        Self { answers, least, bare, closed, parts }
    }

    /// How many it needs where no entry is around it.
    fn without(&self) -> u32 {
        if self.closed { self.bare } else { self.bare.min(self.least + 1) }
    }

    fn give(&self, prefix: Prefix, mut around: Option<RuleValue>, out: &mut impl FnMut(Prefix, RuleValue)) {
        let good = match around {
            Some(around) => self.answers.binary_search(&around).is_ok(),
            None => self.closed || self.bare <= self.least,
        };
        if !good && let Some(answer) = self.answers.first() {
            out(prefix, *answer);
            around = Some(*answer);
        }
        let (start, length) = prefix;
        for (part, below) in (0_u16..).zip(&self.parts) {
            below.give((start | part << (16 - STEP - length), length + STEP), around, out);
        }
    }
}
