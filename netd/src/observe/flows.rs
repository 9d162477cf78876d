//! A flow as it is told: what the kernel has of it, with times of the calendar. Never a name; whoever is told knows whose a slot is.

use netd_abi::flow::{Denied, Event, EventKind, Flow, FlowKey};
use netd_abi::{Counters, Direction, Verdict, Why};
use netd_api::flow::FlowEvent;

use super::kernel::clock::Clock;

/// For so long a denied connection is only counted before it is told again (TELL_AGAIN_NS of netd-ebpf's emit.rs).
pub(crate) const TELL_AGAIN_NS: u64 = 5_000_000_000;

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RawFlow {
    /// What happened.
    pub(crate) event: FlowEvent,
    /// Attachment, addresses, ports.
    pub(crate) key: FlowKey,
    /// Seconds since 1970.
    pub(crate) began: f64,
    /// Likewise; of what was denied and counted for a while, at the latest.
    pub(crate) last_seen: f64,
    /// What went each way, by [`Direction::number`].
    pub(crate) counters: [Counters; 2],
    /// The rule that decided, or [`netd_abi::policy::NO_RULE`].
    pub(crate) rule: u32,
    /// A [`Why`]'s number.
    pub(crate) why: u32,
    /// Which way the first packet went; of what was denied, the denied one.
    pub(crate) opener: Direction,
    /// TCP flags seen each way.
    pub(crate) flags: [u8; 2],
}

impl RawFlow {
    /// A flow of one of the tables.
    pub(crate) fn of_flow(event: FlowEvent, key: FlowKey, flow: &Flow, clock: Clock) -> Self {
        Self {
            event,
            key,
            began: clock.real(flow.first_ns),
            last_seen: clock.real(flow.last_ns),
            counters: flow.counters,
            rule: flow.rule,
            why: Why::of_policy(Verdict::from_number(u32::from(flow.verdict))).number(),
            // The other bits say who the opener was, not where.
            opener: Direction::from_number(u32::from(flow.opener & 1)),
            flags: flow.flags,
        }
    }

    /// What was denied since it was told last: within [`TELL_AGAIN_NS`], as a later one would have been told.
    pub(crate) fn of_denied(key: FlowKey, denied: &Denied, clock: Clock) -> Self {
        let Denied { told_ns, counted, why, rule, direction, flags } = *denied;
        let last_ns = told_ns.saturating_add(TELL_AGAIN_NS).min(clock.mono_ns);
        Self::of_one_way(FlowEvent::Denied, key, [told_ns, last_ns], counted, [why, rule, direction, flags], clock)
    }

    /// A record of the ring buffer. None where it is not about a flow.
    pub(crate) fn of_event(event: &Event, clock: Clock) -> Option<Self> {
        let Event { time_ns, counted, key, kind, why, rule, direction, flags, padding: _ } = *event;
        let event = match EventKind::from_number(kind)? {
            EventKind::Denied => FlowEvent::Denied,
            EventKind::New => FlowEvent::New,
            EventKind::Awake | EventKind::Full | EventKind::Busy | EventKind::Crowded => return None,
        };
        Some(Self::of_one_way(event, key, [time_ns; 2], counted, [why, rule, direction, flags], clock))
    }

    fn of_one_way(
        event: FlowEvent,
        key: FlowKey,
        [began, last]: [u64; 2],
        counted: Counters,
        [why, rule, direction, flags]: [u32; 4],
        clock: Clock,
    ) -> Self {
        let opener = Direction::from_number(direction);
        let way = opener.number() as usize;
        let mut raw = Self {
            event,
            key,
            began: clock.real(began),
            last_seen: clock.real(last),
            counters: [Counters::ZERO; 2],
            rule,
            why,
            opener,
            flags: [0; 2],
        };
        raw.counters[way] = counted;
        raw.flags[way] = flags as u8;
        raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Clock = Clock { mono_ns: 100_000_000_000, real: 1_000_000.0 };
    const ONE: Counters = Counters { packets: 1, bytes: 60, segments: 1 };

    #[test]
    fn an_audited_flow_says_so_and_bits_beside_the_direction_do_not_matter() {
        let flow =
            Flow { first_ns: 90_000_000_000, last_ns: 99_000_000_000, verdict: Verdict::Audit as u8, opener: 0b11, ..Flow::default() };
        let raw = RawFlow::of_flow(FlowEvent::Open, FlowKey::default(), &flow, CLOCK);
        assert_eq!((raw.why, raw.opener), (Why::AuditPolicy.number(), Direction::ToContainer));
        assert_eq!((raw.began, raw.last_seen), (999_990.0, 999_999.0));
    }

    #[test]
    fn a_record_counts_for_the_direction_of_its_packet() {
        let event = Event { time_ns: 99_000_000_000, counted: ONE, kind: 1, direction: 1, flags: 2, rule: 8, ..Event::default() };
        let raw = RawFlow::of_event(&event, CLOCK).unwrap();
        assert_eq!((raw.event, raw.counters, raw.flags), (FlowEvent::New, [Counters::ZERO, ONE], [0, 2]));
        assert_eq!((raw.rule, raw.began, raw.last_seen), (8, 999_999.0, 999_999.0));
    }

    #[test]
    fn what_only_wakes_is_no_record_of_a_flow_and_neither_is_what_is_unknown() {
        for kind in [EventKind::Awake as u32, EventKind::Full as u32, EventKind::Busy as u32, EventKind::Crowded as u32, 99] {
            assert_eq!(RawFlow::of_event(&Event { kind, ..Event::default() }, CLOCK), None);
        }
    }

    #[test]
    fn what_was_counted_after_a_denial_was_told_came_within_five_seconds() {
        let denied = Denied { told_ns: 80_000_000_000, counted: ONE, why: 4, ..Denied::default() };
        let raw = RawFlow::of_denied(FlowKey::default(), &denied, CLOCK);
        assert_eq!((raw.began, raw.last_seen, raw.counters[0]), (999_980.0, 999_985.0, ONE));
        let raw = RawFlow::of_denied(FlowKey::default(), &Denied { told_ns: 99_000_000_000, ..denied }, CLOCK);
        assert_eq!(raw.last_seen, 1_000_000.0);
    }
}
