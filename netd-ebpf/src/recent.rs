//! What policy said a moment ago, so that a CPU that is asked the same again need not look it up: connections come in crowds, from one client to one port.
//! Never decides which answers may be kept.

use netd_abi::Direction;
use netd_abi::flow::FlowKey;

use crate::flow::policy_port;
use crate::said::Said;
use crate::spread;

/// Questions that a CPU remembers: as many as leave room in its own cache. Of those that share a place the last one is remembered.
pub const PLACES: u32 = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 10;

/// All that an attachment's policy looks at: which one, which way, who is at the other end, protocol and port. Words, as they are compared and written fastest.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question([u64; 3]);

impl Question {
    /// What is asked about a flow whose first packet went this way.
    #[inline(always)]
    #[must_use]
    pub const fn of(key: &FlowKey, asked: Direction) -> Self {
        let port = match asked {
            Direction::FromContainer => key.remote_port,
            Direction::ToContainer => key.local_port,
        };
        let (protocol, port) = policy_port(key.protocol, port);
        let first = (key.slot as u64) << 32 | (asked.number() as u64) << 24 | (protocol as u64) << 16 | u16::from_be_bytes(port) as u64;
        // SAFETY: sixteen bytes are two words, and every bit pattern is a number.
        let [one, other]: [u64; 2] = unsafe { core::mem::transmute(key.remote) };
        Self([first, one, other])
    }

    /// Its place, below [`PLACES`].
    #[inline(always)]
    #[must_use]
    pub const fn place(&self) -> u32 {
        let [first, one, other] = self.0;
        spread::place(first ^ one.rotate_left(21) ^ other.rotate_left(42), PLACE_BITS) as u32
    }
}

/// A question, and what was said.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recent {
    question: Question,
    revision: u64,
    said: u64,
}

impl Recent {
    /// What was said of this question at this revision. (Of zeroes, as it is before anything is remembered, nothing: the first revision is one.)
    #[inline(always)]
    #[must_use]
    pub const fn answers(&self, question: &Question, revision: u64) -> Option<Said> {
        let ([a, b, c], [d, e, f]) = (self.question.0, question.0);
        // Word by word: of arrays the compiler would call a function that compares bytes.
        if self.revision == revision && a == d && b == e && c == f { Some(Said::from_raw(self.said)) } else { None }
    }

    /// Remembers what was said in place of what stood here.
    #[inline(always)]
    pub const fn remember(&mut self, question: &Question, revision: u64, said: Said) {
        *self = Self { question: *question, revision, said: said.raw() };
    }
}

#[cfg(test)]
mod tests {
    use netd_abi::Why;

    use super::*;
    use crate::packet::protocol;

    fn key(slot: u16, protocol: u8, local_port: u16, remote_port: u16, last: u8) -> FlowKey {
        let (local, remote) = ([1; 16], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, last]);
        let (local_port, remote_port) = (local_port.to_be_bytes(), remote_port.to_be_bytes());
        FlowKey { slot, protocol, padding: 0, local_port, remote_port, local, remote }
    }

    #[test]
    fn a_question_is_who_and_which_way_and_the_port_that_policy_knows() {
        use Direction::{FromContainer as From, ToContainer as To};
        let base = key(1, protocol::TCP, 40_000, 80, 2);
        let question = Question::of(&base, From);
        assert_eq!(question, Question::of(&key(1, protocol::TCP, 50_000, 80, 2), From), "the port of who asks is nothing to policy");
        for (what, other, asked) in [
            ("attachment", key(2, protocol::TCP, 40_000, 80, 2), From),
            ("protocol", key(1, protocol::UDP, 40_000, 80, 2), From),
            ("port", key(1, protocol::TCP, 40_000, 81, 2), From),
            ("remote", key(1, protocol::TCP, 40_000, 80, 3), From),
            ("way", base, To),
        ] {
            assert_ne!(question, Question::of(&other, asked), "{what}");
        }
        assert_eq!(Question::of(&base, To), Question::of(&key(1, protocol::TCP, 40_000, 81, 2), To));
        let pings = [7, 8].map(|identifier| Question::of(&key(1, protocol::ICMP, identifier, identifier, 2), From));
        assert_eq!(pings[0], pings[1], "an echo has an identifier and no port");
    }

    #[test]
    fn an_answer_holds_for_its_own_question_and_revision() {
        let (one, other) = (key(1, protocol::TCP, 0, 80, 2), key(1, protocol::TCP, 0, 81, 2));
        let [one, other] = [one, other].map(|key| Question::of(&key, Direction::FromContainer));
        let mut recent = Recent { question: Question([0; 3]), revision: 0, said: 0 };
        assert_eq!(recent.answers(&one, 1), None);
        recent.remember(&one, 5, Said::new(Why::DropPolicy.number(), 77));
        assert_eq!(recent.answers(&one, 5), Some(Said::new(Why::DropPolicy.number(), 77)));
        assert_eq!((recent.answers(&one, 6), recent.answers(&other, 5)), (None, None));
    }

    #[test]
    fn questions_that_differ_a_little_are_spread() {
        let mut places = std::collections::BTreeSet::new();
        for last in 0..64 {
            for port in 8_000..8_004 {
                places.insert(Question::of(&key(1, protocol::TCP, 0, port, last), Direction::FromContainer).place());
            }
        }
        // Of 256 thrown at random into 1,024 places some 226 differ.
        assert!(places.len() > 200 && places.iter().all(|place| *place < PLACES), "{}", places.len());
    }
}
