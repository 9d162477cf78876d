//! Which links carry so much that it is worth giving them programs at their own hooks. Never counts a packet itself.
//!
//! A program costs a packet less there than on the shared blocks, but attaching it, and removing the link later, makes everybody who makes or removes a link
//! wait for some grace periods of the kernel. So links that carry little stay on the blocks, and there is a limit to those that do not.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Packets a second, both ways, from which on a link is busy: what it loses while they are attached it has back within minutes.
const ENOUGH: u64 = 1000;
/// Links at their own hooks at most: removing them all takes some seconds in which others wait.
const MOST: usize = 64;
/// So many get their hooks after one look, each in some tens of milliseconds.
const AT_ONCE: usize = 4;
/// Below this a burst would pass for much.
const SHORTEST: Duration = Duration::from_millis(500);

/// What was counted when it was last looked at.
#[derive(Debug, Default)]
pub struct Busy {
    seen: Option<(Duration, BTreeMap<u32, u64>)>,
    passed_over: BTreeSet<u32>,
}

impl Busy {
    /// The attachments that are to get their own hooks now, the busiest first: by the packets that each had at this time, and at the look before. `at_hooks` have
    /// theirs already.
    pub fn look(&mut self, now: Duration, packets: BTreeMap<u32, u64>, at_hooks: &BTreeSet<u32>) -> Vec<u32> {
        let Some((then, before)) = &self.seen else {
            self.seen = Some((now, packets));
            return Vec::new();
        };
        let elapsed = now.saturating_sub(*then);
        if elapsed < SHORTEST {
            return Vec::new();
        }
        let enough = u128::from(ENOUGH) * elapsed.as_millis() / 1000;
        let carried = |slot: &u32, now: u64| before.get(slot).map_or(0, |before| now.saturating_sub(*before));
        let mut busy: Vec<(u64, u32)> = packets
            .iter()
            .filter(|(slot, _)| !at_hooks.contains(slot) && !self.passed_over.contains(slot))
            .map(|(slot, now)| (carried(slot, *now), *slot))
            .filter(|(carried, _)| u128::from(*carried) >= enough)
            .collect();
        busy.sort_unstable_by(|one, other| other.cmp(one));
        busy.truncate(AT_ONCE.min(MOST.saturating_sub(at_hooks.len())));
        self.seen = Some((now, packets));
        busy.into_iter().map(|(_, slot)| slot).collect()
    }
}

impl Busy {
    /// This one could not get its hooks: it is not to keep others from theirs for ever.
    pub fn pass_over(&mut self, slot: u32) {
        self.passed_over.insert(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: [u32; 0] = [];
    const SECOND: Duration = Duration::from_secs(1);

    /// What is chosen at the second of two looks that are ten seconds apart.
    fn chosen(before: &[(u32, u64)], after: &[(u32, u64)], at_hooks: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let mut busy = Busy::default();
        let at_hooks = at_hooks.into_iter().collect();
        assert!(busy.look(SECOND, before.iter().copied().collect(), &at_hooks).is_empty(), "of one look nobody can tell");
        busy.look(11 * SECOND, after.iter().copied().collect(), &at_hooks)
    }

    #[test]
    fn who_carries_a_thousand_packets_a_second_is_busy() {
        assert_eq!(chosen(&[(1, 500), (2, 0)], &[(1, 10_499), (2, 10_000)], []), [2]);
        assert_eq!(chosen(&[], &[(1, 1_000_000)], []), NOBODY, "a link that was not there at the look before");
        assert_eq!(chosen(&[(1, 50_000)], &[(1, 7)], []), NOBODY, "a number that another container has now");
    }

    #[test]
    fn the_busiest_come_first_and_few_at_a_time() {
        let before: Vec<_> = (1..=6).map(|slot| (slot, 0)).collect();
        let after: Vec<_> = (1..=6).map(|slot| (slot, u64::from(slot) * 20_000)).collect();
        assert_eq!(chosen(&before, &after, [5]), [6, 4, 3, 2]);
    }

    #[test]
    fn who_cannot_get_hooks_does_not_keep_others_from_theirs() {
        let mut busy = Busy::default();
        let nobody = BTreeSet::new();
        let all = |packets| (1..=5).map(|slot| (slot, u64::from(slot) * packets)).collect::<BTreeMap<u32, u64>>();
        busy.look(SECOND, all(0), &nobody);
        assert_eq!(busy.look(2 * SECOND, all(10_000), &nobody), [5, 4, 3, 2]);
        (2..=5).for_each(|slot| busy.pass_over(slot));
        assert_eq!(busy.look(3 * SECOND, all(20_000), &nobody), [1]);
    }

    #[test]
    fn there_is_a_limit() {
        let (before, after) = ([(1, 0), (2, 0)], [(1, 30_000), (2, 20_000)]);
        assert_eq!(chosen(&before, &after, 100..163), [1]);
        assert_eq!(chosen(&before, &after, 100..164), NOBODY);
    }

    #[test]
    fn a_look_right_after_another_says_nothing() {
        let mut busy = Busy::default();
        let look = |busy: &mut Busy, ms, packets| busy.look(Duration::from_millis(ms), [(1, packets)].into(), &BTreeSet::new());
        assert_eq!(look(&mut busy, 0, 0), NOBODY);
        assert_eq!(look(&mut busy, 100, 400), NOBODY);
        assert_eq!(look(&mut busy, 1000, 900), NOBODY, "900 in the second since the first one");
        assert_eq!(look(&mut busy, 2000, 1900), [1]);
    }
}
