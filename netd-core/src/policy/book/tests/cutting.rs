//! Port ranges as prefixes.

use netd_abi::policy::{PREFIXES, RuleValue};
use proptest::{collection::vec, prelude::*};

use crate::policy::book::cut::{Prefix, Segment, append, cut};

fn answer(rule: u32) -> RuleValue {
    RuleValue { rule, verdict: 0 }
}

fn entries(segments: &[Segment]) -> Vec<(Prefix, RuleValue)> {
    let mut entries = Vec::new();
    cut(segments, |prefix, answer| entries.push((prefix, answer)));
    entries
}

fn longest(entries: &[(Prefix, RuleValue)], port: u16) -> Option<RuleValue> {
    let around = entries.iter().filter(|((start, bits), _)| *bits == 0 || (port ^ start) >> (16 - bits) == 0);
    around.max_by_key(|((_, bits), _)| *bits).map(|(_, answer)| *answer)
}

#[test]
fn all_ports_are_one_entry_and_a_hole_one_more() {
    let one = |first, last, rule, same| Segment { first, last, answer: answer(rule), same };
    assert_eq!(entries(&[one(0, u16::MAX, 1, false)]), [((0, 0), answer(1))]);
    assert_eq!(entries(&[one(0, 442, 1, false), one(443, 443, 2, true), one(444, u16::MAX, 1, false)]).len(), 2);
    assert_eq!(entries(&[one(0, u16::MAX, 1, true)]), []);
    assert_eq!(entries(&[one(1, u16::MAX - 1, 1, false)]).len(), 14 + 2 * 3 * 15, "the ends belong to others");
}

proptest! {
    #[test]
    fn the_longest_prefix_around_a_port_is_its_segments_answer(parts in vec((1..3000_u16, 0..4_u32, any::<bool>()), 1..30)) {
        let mut segments = Vec::new();
        let mut next = 0_u32;
        for (ports, rule, same) in parts {
            let last = (next + u32::from(ports)).min(65535);
            // Rule 0 stands for ports that nobody here may speak of; the same answer is one on which nobody need.
            if rule > 0 && next <= last {
                append(&mut segments, Segment { first: next as u16, last: last as u16, answer: answer(rule), same });
            }
            next = last + 1;
        }
        let entries = entries(&segments);
        prop_assert!(entries.iter().all(|((start, bits), _)| PREFIXES.contains(&u32::from(*bits)) && u32::from(*start) << bits & 0xffff == 0));
        for port in (0..=u16::MAX).step_by(7) {
            let segment = segments.iter().find(|segment| (segment.first..=segment.last).contains(&port));
            match (segment, longest(&entries, port)) {
                (None, found) => prop_assert_eq!(found, None),
                (Some(segment), None) => prop_assert!(segment.same),
                (Some(segment), Some(found)) => prop_assert_eq!(found, segment.answer),
            }
        }
    }
}
