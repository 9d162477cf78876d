//! Who gives up how much where there is too much. Never looks at a map.

use std::collections::HashMap;

/// What an attachment gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Excess {
    /// So many of its flows.
    pub(crate) count: usize,
    /// None of them was heard of after this.
    pub(crate) latest_ns: u64,
}

/// What has to go for `most` to stay, of flows by attachment and by the time of their last packets. All may keep equally many: who has fewer loses none, whatever
/// others do, and of who has more those go that were silent longest.
pub(crate) fn excess(times: &mut HashMap<u16, Vec<u64>>, most: usize) -> HashMap<u16, Excess> {
    let share = share(times.values().map(Vec::len).collect(), most);
    let greedy = times.iter_mut().filter(|(_, times)| times.len() > share);
    greedy
        .map(|(slot, times)| {
            let count = times.len() - share;
            (*slot, Excess { count, latest_ns: *times.select_nth_unstable(count - 1).1 })
        })
        .collect()
}

/// How many each may keep, so that no more than `most` stay.
fn share(mut counts: Vec<usize>, most: usize) -> usize {
    counts.sort_unstable();
    let mut room = most;
    for (at, count) in counts.iter().enumerate() {
        let share = room / (counts.len() - at);
        if *count > share {
            return share;
        }
        room -= count;
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(times: &[(u16, &[u64])], most: usize) -> Vec<(u16, usize, u64)> {
        let mut times = times.iter().map(|(slot, times)| (*slot, times.to_vec())).collect();
        let mut gone: Vec<_> =
            excess(&mut times, most).into_iter().map(|(slot, Excess { count, latest_ns })| (slot, count, latest_ns)).collect();
        gone.sort_unstable();
        gone
    }

    #[test]
    fn who_has_little_keeps_it_however_long_it_was_silent() {
        let greedy: Vec<u64> = (100..200).rev().collect();
        assert_eq!(gone(&[(1, &[1, 2]), (2, &greedy)], 90), [(2, 12, 111)]);
    }

    #[test]
    fn those_who_have_too_much_keep_equally_much() {
        assert_eq!(gone(&[(1, &[9, 8, 7, 6]), (2, &[1, 2, 3]), (3, &[5])], 5), [(1, 2, 7), (2, 1, 1)]);
    }

    #[test]
    fn where_all_fits_nobody_gives_up_anything() {
        assert_eq!(gone(&[(1, &[1, 2]), (2, &[3])], 3), []);
        assert_eq!(gone(&[], 0), []);
    }

    #[test]
    fn without_room_all_goes() {
        assert_eq!(gone(&[(1, &[4, 3]), (2, &[5])], 0), [(1, 2, 4), (2, 1, 5)]);
    }

    proptest::proptest! {
        #[test]
        fn what_stays_fits_and_nothing_goes_for_nothing(times in proptest::collection::hash_map(0_u16..9, proptest::collection::vec(0_u64..9, 1..30), 0..9), most in 0_usize..200) {
            let all: usize = times.values().map(Vec::len).sum();
            let gone: usize = excess(&mut times.clone(), most).values().map(|excess| excess.count).sum();
            let excess = all.saturating_sub(most);
            // Equal shares leave less than one place for each of those who share.
            proptest::prop_assert!(gone >= excess && (gone == 0 || gone < excess + times.len()), "{gone} of {all} for {most}");
        }
    }
}
