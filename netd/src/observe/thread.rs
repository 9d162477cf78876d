//! The flows thread: when it looks, and when it sleeps. Decides of no flow whether it is over, and touches no flag but its own two.
//!
//! While there is anything to look after it looks every [`PERIOD`]; when all tables are empty it says so to the programs ([`config::SLEEPING`]) and sleeps
//! until one of them begins a flow or somebody asks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use netd_abi::flow::{EventKind, config};

use super::Seen;
use super::collect::{self, Round};
use super::flows::RawFlow;
use super::kernel::clock::Clock;
use super::kernel::ears::Ears;
use super::kernel::maps::FlowMaps;
use super::over::{LINGER_NS, SHORT_LINGER_NS};
use crate::bpf::BpfError;
use crate::bpf::switch::Switch;
use crate::kernel::memory;

/// Between two collections.
const PERIOD: Duration = Duration::from_secs(10);
/// The same while somebody follows, or connections come so fast that a port is used again before the former one was told of.
const SOON: Duration = Duration::from_secs(1);
/// So long connections are taken to come fast after a program has last said so.
const BUSY: Duration = Duration::from_secs(10);
/// So long somebody is taken to follow after having asked.
const WATCH: Duration = Duration::from_secs(10);
/// Between two times of making room, each of which reads the whole table: what finds no room meanwhile stays among the new flows.
const ROOM_PAUSE: Duration = Duration::from_secs(1);
/// A program that read the flags before [`config::SLEEPING`] was set has put its flow into the table after this.
const SETTLE: Duration = Duration::from_millis(10);
/// A flow whose first packet is older stands in its table; one program's run takes microseconds, its clock is behind by some milliseconds.
const SURELY_THERE_NS: u64 = 100_000_000;
/// Records that are taken out of the ring buffer in one turn: more than fit in it, but not more than come for ever.
const TURN: usize = 16_384;
/// Records that are told at a time.
const TELL: usize = 1024;
/// The same trouble is logged after this again.
const LOG_AGAIN: Duration = Duration::from_secs(60);

/// What others want of the thread.
pub(super) enum Command {
    /// All that is there.
    Open(SyncSender<Seen>),
    /// Somebody follows.
    Watch,
    /// What this slot's owner had until this time (CLOCK_MONOTONIC) is over.
    Forget { slot: u32, until_ns: u64 },
    /// The end.
    Stop,
}

/// All that the thread has.
pub(super) struct Thread<T> {
    pub(super) maps: FlowMaps,
    pub(super) switch: Switch,
    pub(super) ears: Ears,
    pub(super) commands: Receiver<Command>,
    pub(super) tell: T,
    pub(super) evicted: Arc<AtomicU64>,
    pub(super) times: Times,
    pub(super) told: Told,
}

/// When what is due.
pub(super) struct Times {
    /// The next collection; none while it sleeps.
    collect: Option<Instant>,
    /// Until when somebody follows.
    watched: Option<Instant>,
    /// Until when connections come fast.
    busy: Option<Instant>,
    /// More is in the ring buffer than was read in one turn.
    is_behind: bool,
    /// A program found no room.
    is_full: bool,
    /// One found none in the table.
    is_crowded: bool,
    /// When room may be made again.
    room: Instant,
    /// Audited flows that began before are told (CLOCK_MONOTONIC).
    audited_ns: u64,
    /// When trouble was logged.
    logged: Option<Instant>,
}

impl Times {
    /// At the start: all is due, and what a former daemon told of audited flows is told again, as nobody remembers it.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            collect: Some(now),
            watched: None,
            busy: None,
            is_behind: false,
            is_full: false,
            is_crowded: false,
            room: now,
            audited_ns: 0,
            logged: None,
        }
    }
}

/// What waits to be told, and what was lost.
pub(super) struct Told {
    records: Vec<RawFlow>,
    /// What programs had lost before this daemon.
    lost_before: u64,
    /// Records that nobody took.
    refused: u64,
    /// As told last.
    lost: u64,
}

impl Told {
    /// Nothing yet; so many were lost before this daemon.
    pub(super) fn new(lost_before: u64) -> Self {
        Self { records: Vec::new(), lost_before, refused: 0, lost: 0 }
    }
}

/// What one turn was woken for.
#[derive(Default)]
struct Wishes {
    open: Vec<SyncSender<Seen>>,
    forget: HashMap<u32, u64>,
    stop: bool,
}

impl<T: FnMut(Vec<RawFlow>, u64) -> bool> Thread<T> {
    /// Runs until it is stopped.
    pub(super) fn run(mut self) {
        loop {
            let wishes = self.sleep();
            if wishes.stop {
                // Without a daemon nobody reads: programs need not tell what begins.
                if let Err(error) = self.switch.set(config::WATCHED | config::SLEEPING, false) {
                    self.log(&error);
                }
                return;
            }
            if let Err(error) = self.turn(wishes) {
                self.log(&error);
                // Not at once: what failed would fail again.
                self.times.collect = Some(Instant::now() + PERIOD);
            }
            self.tell_all();
        }
    }

    /// Sleeps until something is due or somebody wants something.
    fn sleep(&mut self) -> Wishes {
        let now = Instant::now();
        let Times { collect, watched, is_behind, is_full, room, .. } = self.times;
        let due = [collect, watched, is_full.then_some(room), is_behind.then_some(now)].into_iter().flatten().min();
        if let Err(error) = self.ears.wait(due.map(|due| due.saturating_duration_since(now))) {
            self.log(&BpfError::new("wait for records".to_owned(), error.into()));
            thread::sleep(SOON);
        }
        self.wishes()
    }

    fn wishes(&mut self) -> Wishes {
        let mut wishes = Wishes::default();
        loop {
            match self.commands.try_recv() {
                Ok(Command::Open(answer)) => wishes.open.push(answer),
                Ok(Command::Watch) => self.times.watched = Some(Instant::now() + WATCH),
                Ok(Command::Forget { slot, until_ns }) => {
                    wishes.forget.insert(slot, until_ns);
                }
                Ok(Command::Stop) => wishes.stop = true,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return wishes,
            }
        }
    }

    /// One turn. Where a step fails, those that wait for an answer hear that there is none, as their channels close.
    fn turn(&mut self, wishes: Wishes) -> Result<(), BpfError> {
        self.keep_watch()?;
        self.read_events();
        self.wake_up()?;
        let clock = Clock::now();
        if !wishes.forget.is_empty() {
            collect::forget(&self.maps, &wishes.forget, clock, &mut self.told.records)?;
        }
        for answer in wishes.open {
            self.end_what_is_over(LINGER_NS)?;
            let open = collect::open(&self.maps, clock)?;
            let lost = self.lost()?;
            let seen = Seen { records: std::mem::take(&mut self.told.records), open, lost };
            // Who does not wait any more has no use for them, but the records are nobody else's either.
            if let Err(unsent) = answer.send(seen) {
                self.told.records = unsent.0.records;
            }
        }
        let now = Instant::now();
        if self.times.is_full && self.times.room <= now {
            self.collect()?;
            self.make_room()?;
        } else if self.times.collect.is_some_and(|due| due <= now) {
            self.collect()?;
        } else if self.times.is_crowded {
            self.end_what_is_over(SHORT_LINGER_NS)?;
        }
        self.times.is_crowded = false;
        Ok(())
    }

    /// Sets and clears the flag of those who follow.
    fn keep_watch(&mut self) -> Result<(), BpfError> {
        let Some(until) = self.times.watched else { return Ok(()) };
        let now = Instant::now();
        if until <= now {
            self.switch.set(config::WATCHED, false)?;
            self.times.watched = None;
        } else {
            // The asker has set it; but this thread may have cleared it between that and its word.
            if self.switch.flags() & config::WATCHED == 0 {
                self.switch.set(config::WATCHED, true)?;
            }
            self.times.collect = self.times.collect.map(|due| due.min(now + SOON));
        }
        Ok(())
    }

    /// Takes what is in the ring buffer.
    fn read_events(&mut self) {
        let clock = Clock::now();
        self.times.is_behind = true;
        for _ in 0..TURN {
            let Some(event) = self.maps.next_event() else {
                self.times.is_behind = false;
                break;
            };
            self.times.is_full |= event.kind == EventKind::Full as u32;
            self.times.is_crowded |= event.kind == EventKind::Crowded as u32;
            if event.kind == EventKind::Busy as u32 {
                let now = Instant::now();
                self.times.busy = Some(now + BUSY);
                self.times.collect = self.times.collect.map(|due| due.min(now + SOON));
            }
            self.told.records.extend(RawFlow::of_event(&event, clock));
        }
    }

    /// Wakes up if a program says so, or if there is more to tell of what was denied. Of the program its flag is asked, and not its record: there may have been
    /// no room for that.
    fn wake_up(&mut self) -> Result<(), BpfError> {
        if self.times.collect.is_none() && (!self.told.records.is_empty() || !self.switch.holds(config::SLEEPING)?) {
            self.stay_up()?;
        }
        Ok(())
    }

    fn stay_up(&mut self) -> Result<(), BpfError> {
        self.times.collect = Some(Instant::now() + self.period());
        // Also where the program has cleared it: another thread may have set it again with a flag of its own.
        self.switch.set(config::SLEEPING, false)
    }

    fn period(&self) -> Duration {
        let is_busy = self.times.busy.is_some_and(|until| Instant::now() < until);
        if is_busy || self.times.watched.is_some() { SOON } else { PERIOD }
    }

    fn collect(&mut self) -> Result<(), BpfError> {
        let is_left = self.end_what_is_over(if self.times.is_crowded { SHORT_LINGER_NS } else { LINGER_NS })?;
        self.times.collect = Some(Instant::now() + self.period());
        if is_left { Ok(()) } else { self.fall_asleep() }
    }

    /// Says whether anything is left.
    fn end_what_is_over(&mut self, linger_ns: u64) -> Result<bool, BpfError> {
        let clock = Clock::now();
        let audited = (self.times.audited_ns, clock.mono_ns.saturating_sub(SURELY_THERE_NS).max(self.times.audited_ns));
        let is_left = collect::collect(&self.maps, Round { clock, linger_ns, audited }, &mut self.told.records)?;
        self.times.audited_ns = audited.1;
        Ok(is_left)
    }

    fn make_room(&mut self) -> Result<(), BpfError> {
        self.times.is_full = false;
        self.times.room = Instant::now() + ROOM_PAUSE;
        let evicted = collect::make_room(&self.maps, Clock::now(), &mut self.told.records)?;
        self.evicted.fetch_add(evicted, Ordering::Relaxed);
        if evicted > 0 && self.may_log() {
            tracing::warn!(
                evicted,
                "too many connections to keep track of all; the longest silent ones are judged anew with their next packet"
            );
        }
        Ok(())
    }

    /// Everything seems empty. First the flag, then a second look: a flow that began before the flag could be seen is there by then.
    fn fall_asleep(&mut self) -> Result<(), BpfError> {
        self.tell_all();
        self.told.records = Vec::new();
        self.switch.set(config::SLEEPING, true)?;
        thread::sleep(SETTLE);
        if !self.switch.holds(config::SLEEPING)? || !self.maps.are_empty()? {
            return self.stay_up();
        }
        self.times.collect = None;
        memory::give_back();
        Ok(())
    }

    /// Tells what there is to tell.
    fn tell_all(&mut self) {
        let lost = match self.lost() {
            Ok(lost) => lost,
            Err(error) => return self.log(&error),
        };
        while self.told.records.len() > TELL {
            let rest = self.told.records.split_off(TELL);
            let first = std::mem::replace(&mut self.told.records, rest);
            self.tell(first, lost);
        }
        if !self.told.records.is_empty() || self.told.lost != lost {
            let records = std::mem::take(&mut self.told.records);
            self.tell(records, lost);
        }
    }

    fn tell(&mut self, records: Vec<RawFlow>, lost: u64) {
        let count = records.len() as u64;
        if (self.tell)(records, lost) {
            self.told.lost = lost;
        } else {
            self.told.refused += count;
        }
    }

    fn lost(&self) -> Result<u64, BpfError> {
        Ok(self.maps.lost()?.wrapping_sub(self.told.lost_before).wrapping_add(self.told.refused))
    }

    fn may_log(&mut self) -> bool {
        let now = Instant::now();
        let may = self.times.logged.is_none_or(|last| now.duration_since(last) >= LOG_AGAIN);
        if may {
            self.times.logged = Some(now);
        }
        may
    }

    fn log(&mut self, error: &BpfError) {
        if self.may_log() {
            tracing::warn!(why = error.line(), "could not look after connections");
        }
    }
}
