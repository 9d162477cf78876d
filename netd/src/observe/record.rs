//! The last records, in order and numbered; a new one takes the oldest one's place. Never knows what a record says.

use std::collections::VecDeque;

/// So many records are kept where nothing else is said.
pub(crate) const CAPACITY: usize = 16_384;

/// A bounded store. Room is taken as it fills.
#[derive(Debug)]
pub(crate) struct Recorder<T> {
    records: VecDeque<T>,
    capacity: usize,
    /// How many were added: the number of the last one.
    last: u64,
}

impl<T> Default for Recorder<T> {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl<T> Recorder<T> {
    /// Room for so many; at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { records: VecDeque::new(), capacity: capacity.max(1), last: 0 }
    }

    /// Adds a record and gives its number: 1, 2, 3…
    pub(crate) fn add(&mut self, record: T) -> u64 {
        if self.records.len() == self.capacity {
            self.records.pop_front();
        }
        self.records.push_back(record);
        self.last += 1;
        self.last
    }

    /// The number of the last record; 0 where there was none yet.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// How many had to make room.
    pub(crate) fn forgotten(&self) -> u64 {
        self.last - self.records.len() as u64
    }

    /// Those after the one with this number, oldest first, each with its own; after 0 all that are there. Takes no time for those before.
    pub(crate) fn after(&self, number: u64) -> impl DoubleEndedIterator<Item = (u64, &T)> {
        let forgotten = self.forgotten();
        let skipped = number.saturating_sub(forgotten).min(self.records.len() as u64);
        let first = forgotten + skipped + 1;
        self.records.range(skipped as usize..).enumerate().map(move |(at, record)| (first + at as u64, record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(capacity: usize, count: u64) -> Recorder<u64> {
        let mut recorder = Recorder::new(capacity);
        (1..=count).for_each(|number| assert_eq!(recorder.add(number * 10), number));
        recorder
    }

    #[test]
    fn numbers_go_on_while_old_records_make_room() {
        let recorder = filled(3, 5);
        assert_eq!((recorder.last(), recorder.forgotten()), (5, 2));
        assert_eq!(recorder.after(0).collect::<Vec<_>>(), [(3, &30), (4, &40), (5, &50)]);
        assert_eq!(Recorder::<()>::default().last(), 0);
    }

    #[test]
    fn who_follows_gets_what_is_new() {
        let recorder = filled(3, 5);
        assert_eq!(recorder.after(4).collect::<Vec<_>>(), [(5, &50)]);
        assert_eq!(recorder.after(2).count(), 3);
        for beyond in [5, 6, u64::MAX] {
            assert_eq!(recorder.after(beyond).count(), 0, "{beyond}");
        }
        assert_eq!(recorder.after(0).next_back(), Some((5, &50)));
    }

    #[test]
    fn an_empty_store_has_nothing_after_any_number() {
        let recorder = filled(3, 0);
        assert_eq!((recorder.after(0).count(), recorder.after(9).count(), recorder.forgotten()), (0, 0, 0));
    }

    #[test]
    fn without_room_the_last_one_is_kept() {
        assert_eq!(filled(0, 2).after(0).collect::<Vec<_>>(), [(2, &20)]);
    }
}
