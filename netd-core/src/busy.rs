//! Which links carry so much that it is worth giving them programs at their own hooks. Never counts a packet itself.
//!
//! A program costs a packet less there than on the shared blocks, but attaching it, and removing the link later, makes everybody who makes or removes a link
//! wait for some grace periods of the kernel. So links that carry little stay on the blocks, and there is a limit to those that do not: beyond it an idle one
//! makes room for a busy one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Packets a second, both ways, from which on a link is busy: what it loses while they are attached it has back within minutes.
const ENOUGH: u64 = 1000;
/// So many times less at two looks in a row, and a link gives its hooks to a busy one where there are no more: not to be taken and given back by turns.
const IDLE: u128 = 10;
/// Links at their own hooks at most: removing them all takes some seconds in which others wait.
const MOST: usize = 64;
/// So many get their hooks after one look, each in some tens of milliseconds.
const AT_ONCE: usize = 4;
/// Below this a burst would pass for much.
const SHORTEST: Duration = Duration::from_millis(500);
/// A link that could not get its hooks is not tried again for so long: it would keep others from theirs, and what kept it from them, or its number, may be
/// another by then.
const PASSED_OVER: Duration = Duration::from_secs(600);

/// What was counted when it was last looked at.
#[derive(Debug, Default)]
pub struct Busy {
    seen: Option<(Duration, BTreeMap<u32, u64>)>,
    /// Those at their hooks that were idle then.
    idle: BTreeSet<u32>,
    /// Until when.
    passed_over: BTreeMap<u32, Duration>,
}

/// Which attachments change their place.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// These leave their own hooks, the idlest first: each makes room for one of the others.
    pub leave: Vec<u32>,
    /// These get their own, the busiest first.
    pub take: Vec<u32>,
}

impl Busy {
    /// What is to be changed now, by the packets that each attachment had at this time, and at the look before. `at_hooks` have theirs already.
    pub fn look(&mut self, now: Duration, packets: BTreeMap<u32, u64>, at_hooks: &BTreeSet<u32>) -> Moves {
        let Some((then, before)) = &self.seen else {
            self.seen = Some((now, packets));
            return Moves::default();
        };
        let elapsed = now.saturating_sub(*then);
        if elapsed < SHORTEST {
            return Moves::default();
        }
        self.passed_over.retain(|_, until| now < *until);
        let enough = u128::from(ENOUGH) * elapsed.as_millis() / 1000;
        // Of one that was not there at the look before nobody can tell.
        let carried = packets.iter().filter_map(|(slot, now)| Some((now.saturating_sub(*before.get(slot)?), *slot)));
        let (mut here, mut others): (Vec<(u64, u32)>, _) = carried.partition(|(_, slot)| at_hooks.contains(slot));
        others.retain(|(carried, slot)| u128::from(*carried) >= enough && !self.passed_over.contains_key(slot));
        others.sort_unstable_by(|one, other| other.cmp(one));
        others.truncate(AT_ONCE);
        let room = MOST.saturating_sub(at_hooks.len());
        here.retain(|(carried, _)| u128::from(*carried) * IDLE < enough);
        let idle = here.iter().map(|(_, slot)| *slot).collect();
        let before = std::mem::replace(&mut self.idle, idle);
        here.retain(|(_, slot)| before.contains(slot));
        here.sort_unstable();
        here.truncate(others.len().saturating_sub(room));
        others.truncate(room + here.len());
        self.seen = Some((now, packets));
        let slots = |all: Vec<(u64, u32)>| all.into_iter().map(|(_, slot)| slot).collect();
        Moves { leave: slots(here), take: slots(others) }
    }

    /// This one could not get its hooks now.
    pub fn pass_over(&mut self, slot: u32, now: Duration) {
        self.passed_over.insert(slot, now + PASSED_OVER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: [u32; 0] = [];
    const SECOND: Duration = Duration::from_secs(1);

    /// What is moved at the second of two looks that are ten seconds apart.
    fn moved(before: &[(u32, u64)], after: &[(u32, u64)], at_hooks: impl IntoIterator<Item = u32>) -> Moves {
        let mut busy = Busy::default();
        let at_hooks = at_hooks.into_iter().collect();
        assert_eq!(busy.look(SECOND, before.iter().copied().collect(), &at_hooks), Moves::default(), "of one look nobody can tell");
        busy.look(11 * SECOND, after.iter().copied().collect(), &at_hooks)
    }

    /// What is moved at the third of three looks, by what each carried from one to the next, twice.
    fn moved_then(carried: &[(u32, u64, u64)], at_hooks: std::ops::Range<u32>) -> Moves {
        let mut busy = Busy::default();
        let at_hooks = at_hooks.collect();
        busy.look(SECOND, carried.iter().map(|(slot, ..)| (*slot, 0)).collect(), &at_hooks);
        assert_eq!(busy.look(11 * SECOND, carried.iter().map(|(slot, first, _)| (*slot, *first)).collect(), &at_hooks).leave, NOBODY);
        busy.look(21 * SECOND, carried.iter().map(|(slot, first, then)| (*slot, first + then)).collect(), &at_hooks)
    }

    /// The same of those that get their hooks.
    fn chosen(before: &[(u32, u64)], after: &[(u32, u64)], at_hooks: impl IntoIterator<Item = u32>) -> Vec<u32> {
        moved(before, after, at_hooks).take
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
    fn who_cannot_get_hooks_does_not_keep_others_from_theirs_and_is_tried_again_later() {
        let mut busy = Busy::default();
        let nobody = BTreeSet::new();
        let look = |busy: &mut Busy, second: u64| {
            let packets = (1..=5).map(|slot| (slot, u64::from(slot) * second * 10_000)).collect();
            busy.look(Duration::from_secs(second), packets, &nobody).take
        };
        assert_eq!(look(&mut busy, 1), NOBODY);
        assert_eq!(look(&mut busy, 2), [5, 4, 3, 2]);
        (2..=5).for_each(|slot| busy.pass_over(slot, 2 * SECOND));
        assert_eq!(look(&mut busy, 3), [1]);
        assert_eq!(look(&mut busy, 601), [1]);
        assert_eq!(look(&mut busy, 602), [5, 4, 3, 2]);
    }

    #[test]
    fn there_is_a_limit_and_who_is_idle_makes_room_for_who_is_not() {
        let (before, after) = ([(1, 0), (2, 0)], [(1, 30_000), (2, 20_000)]);
        assert_eq!(chosen(&before, &after, 100..163), [1]);
        assert_eq!(moved(&before, &after, 100..164), Moves::default(), "of those there nobody knows what they carry");
        let to = |of_three: [(u64, u64); 3]| {
            let those = (100..164).zip(of_three.into_iter().chain([(100_000, 100_000); 61]));
            let those = those.map(|(slot, (first, then))| (slot, first, then));
            moved_then(&those.chain([(1, 30_000, 30_000), (2, 20_000, 20_000)]).collect::<Vec<_>>(), 100..164)
        };
        let much = (100_000, 100_000);
        assert_eq!(to([(0, 999), much, (0, 1_000)]), Moves { leave: vec![100], take: vec![1] });
        assert_eq!(to([(0, 500), (9, 70), (0, 0)]), Moves { leave: vec![102, 101], take: vec![1, 2] });
        assert_eq!(to([(0, 1_000), much, much]), Moves::default());
        assert_eq!(to([(1_000, 0), much, (50_000, 0)]), Moves::default(), "who was not idle before may come again");
        assert_eq!(moved_then(&[(1, 30_000, 30_000), (100, 0, 0)], 100..101).leave, NOBODY, "there is room enough");
    }

    #[test]
    fn a_look_right_after_another_says_nothing() {
        let mut busy = Busy::default();
        let look = |busy: &mut Busy, ms, packets| busy.look(Duration::from_millis(ms), [(1, packets)].into(), &BTreeSet::new()).take;
        assert_eq!(look(&mut busy, 0, 0), NOBODY);
        assert_eq!(look(&mut busy, 100, 400), NOBODY);
        assert_eq!(look(&mut busy, 1000, 900), NOBODY, "900 in the second since the first one");
        assert_eq!(look(&mut busy, 2000, 1900), [1]);
    }
}
