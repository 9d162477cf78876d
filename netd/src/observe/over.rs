//! When a flow is over. Never looks at a map or a clock.
//!
//! Whatever is taken for over too early is only forgotten: its next packet is judged as one of a new flow. That is no harm where policy says the same of
//! both directions; an answer that comes after a client's flow was forgotten may be denied, so that limits are long.

use netd_abi::flow::Flow;

use crate::bpf::table::Stage;

/// IP protocol numbers (IANA).
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;
/// Bits of [`Flow::flags`].
const FIN: u8 = 1;
const RST: u8 = 1 << 2;

const SECOND_NS: u64 = 1_000_000_000;

/// What is left of a closed connection's last packets is waited for so long.
pub(crate) const LINGER_NS: u64 = 2 * SECOND_NS;
/// The same where connections come so fast that the closed ones fill the table: longer than a packet is on its way between neighbours.
pub(crate) const SHORT_LINGER_NS: u64 = SECOND_NS / 20;

/// From when on a flow is over, in the time of [`Flow::last_ns`], if no packet of it comes before.
pub(crate) fn over_ns(protocol: u8, stage: Stage, flow: &Flow, linger_ns: u64) -> u64 {
    let is_closed = protocol == TCP && is_closed(flow.flags);
    flow.last_ns.saturating_add(if is_closed { linger_ns } else { silence_s(protocol, stage) * SECOND_NS })
}

/// How many seconds of silence mean the end of what was not closed.
fn silence_s(protocol: u8, stage: Stage) -> u64 {
    match (protocol, stage) {
        // A client that is not answered sends its SYNs at most 32 s apart (tcp_syn_retries in tcp(7)).
        (TCP, Stage::New) => 60,
        // netfilter waits for 5 days (nf_conntrack_tcp_timeout_established): a connection that it forgets loses its address translation. Here it is judged
        // anew, keepalives come every 2 hours where there are any, and a table without the dead of five days has room for the living.
        (TCP, Stage::Confirmed) => 24 * 3600,
        // As netfilter: nf_conntrack_udp_timeout, and that of a stream.
        (UDP | SCTP, Stage::New) => 30,
        (UDP | SCTP, Stage::Confirmed) => 180,
        // nf_conntrack_icmp_timeout.
        (ICMP | ICMPV6, _) => 30,
        // nf_conntrack_generic_timeout.
        _ => 600,
    }
}

/// Reset, or both sides have sent their last.
fn is_closed([one, other]: [u8; 2]) -> bool {
    (one | other) & RST != 0 || one & other & FIN != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_flow_has_its_time() {
        const SYN: u8 = 2;
        const ACK: u8 = 16;
        let open = [SYN | ACK, SYN | ACK];
        let cases = [
            ("a SYN without an answer", TCP, Stage::New, [SYN, 0], 60),
            ("a refused SYN", TCP, Stage::Confirmed, [SYN, RST | ACK], 2),
            ("a refused SYN that found no room among the confirmed", TCP, Stage::New, [SYN, RST | ACK], 2),
            ("an established connection", TCP, Stage::Confirmed, open, 86_400),
            ("a half-closed connection", TCP, Stage::Confirmed, [open[0] | FIN, open[1]], 86_400),
            ("a closed connection", TCP, Stage::Confirmed, open.map(|flags| flags | FIN), 2),
            ("a question by UDP", UDP, Stage::New, [0, 0], 30),
            ("a talk by UDP", UDP, Stage::Confirmed, [0, 0], 180),
            ("an SCTP INIT", SCTP, Stage::New, [0, 0], 30),
            ("an SCTP association", SCTP, Stage::Confirmed, [0, 0], 180),
            ("a ping", ICMP, Stage::New, [0, 0], 30),
            ("an answered ping", ICMPV6, Stage::Confirmed, [0, 0], 30),
            ("a tunnel", 47, Stage::Confirmed, [0, 0], 600),
        ];
        for (what, protocol, stage, flags, seconds) in cases {
            let flow = Flow { last_ns: 7, flags, ..Flow::default() };
            assert_eq!(over_ns(protocol, stage, &flow, LINGER_NS), 7 + seconds * 1_000_000_000, "{what}");
        }
    }

    #[test]
    fn in_a_hurry_only_what_was_closed_is_over_sooner() {
        let over = |flags| over_ns(TCP, Stage::Confirmed, &Flow { last_ns: 7, flags, ..Flow::default() }, SHORT_LINGER_NS);
        assert_eq!((over([0, RST]), over([0, FIN])), (7 + SHORT_LINGER_NS, 7 + 86_400 * SECOND_NS));
    }

    #[test]
    fn a_time_from_the_end_of_days_does_not_overflow() {
        assert_eq!(over_ns(UDP, Stage::New, &Flow { last_ns: u64::MAX - 1, ..Flow::default() }, LINGER_NS), u64::MAX);
    }
}
