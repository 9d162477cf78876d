//! A flow as one line. Never says more of it than the daemon does.

use std::{fmt::Write as _, net::IpAddr};

use netd_api::{
    flow::{FlowEnd, FlowEvent, FlowView},
    policy::{ChangedFlow, FlowVerdict},
    view::Traffic,
};

use super::{status::duration, table::printable};
use crate::moment;

/// `TIME EVENT  CONTAINER IF -> OTHER tcp VERDICT  SENT / RECEIVED  DURATION  [FLAGS]/[FLAGS]  RULE`, without what is not known.
pub(crate) fn line(flow: &FlowView) -> String {
    // A connection that has just begun has no other time; of an older one the last packet says more.
    let at = if flow.event == FlowEvent::New { flow.began } else { flow.last_seen };
    let container = name(&flow.container).unwrap_or_else(|| flow.container.address.to_string());
    let is_egress = flow.direction == "egress";
    // The port that was asked for is at the end that did not ask; that of the other is chosen by chance.
    let own_port = if is_egress { String::new() } else { port(flow, &flow.container) };
    let arrow = if is_egress { "->" } else { "<-" };
    let mut line = format!("{} {:<6}  {container} {}{own_port} {arrow} ", moment::utc(at), event(flow.event), flow.ifname);
    if let Some(name) = name(&flow.remote) {
        let _ = write!(line, "{name} ");
    }
    // A protocol without a name comes as its number.
    let proto = if flow.protocol.starts_with(|c: char| c.is_ascii_digit()) { "proto " } else { "" };
    let _ = write!(line, "{} {proto}{} {}", end(flow), flow.protocol, flow.verdict);
    if flow.verdict != FlowVerdict::Forward && !flow.reason.is_empty() {
        let _ = write!(line, " ({})", flow.reason);
    }
    let _ = write!(line, "  {} / {}  {}", traffic(flow.sent), traffic(flow.received), lasted(flow.last_seen - flow.began));
    if !(flow.flags_sent.is_empty() && flow.flags_received.is_empty()) {
        let _ = write!(line, "  [{}]/[{}]", flow.flags_sent, flow.flags_received);
    }
    if let Some(rule) = flow.rule.clone().or_else(|| flow.policy.as_ref().map(|policy| format!("policy {policy}"))) {
        let _ = write!(line, "  {rule}");
    }
    printable(&line)
}

/// The same, and in a second line the verdict that it would get.
pub(super) fn changed(changed: &ChangedFlow) -> String {
    format!("{}\n  would be: {}  {}\n", line(&changed.flow), changed.verdict, printable(&changed.rule))
}

fn event(event: FlowEvent) -> &'static str {
    match event {
        FlowEvent::New => "new",
        FlowEvent::Open => "open",
        FlowEvent::Closed => "closed",
        FlowEvent::Denied => "denied",
    }
}

fn name(end: &FlowEnd) -> Option<String> {
    if end.host {
        return Some("host".to_owned());
    }
    end.name.as_ref().map(ToString::to_string).or_else(|| end.id.as_ref().map(ToString::to_string))
}

/// Address and port of the other end; IPv6 with a port in brackets.
fn end(flow: &FlowView) -> String {
    let port = port(flow, &flow.remote);
    match flow.remote.address {
        IpAddr::V6(address) if !port.is_empty() => format!("[{address}]{port}"),
        address => format!("{address}{port}"),
    }
}

/// `:443`, where the protocol has ports.
fn port(flow: &FlowView, end: &FlowEnd) -> String {
    let has_ports = end.port != 0 && !flow.protocol.starts_with("icmp");
    if has_ports { format!(":{}", end.port) } else { String::new() }
}

fn traffic(traffic: Traffic) -> String {
    format!("{} pkt {}", traffic.packets, size(traffic.bytes))
}

/// Bytes in the largest unit that leaves something before the point.
fn size(bytes: u64) -> String {
    let mut size = bytes as f64;
    // A step early, so that nothing is rounded to 1000.0.
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if size < 999.95 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") };
        }
        size /= 1000.0;
    }
    format!("{size:.1} PB")
}

/// Tenths of a second up to a minute, then the two largest units.
fn lasted(seconds: f64) -> String {
    if seconds >= 59.95 { duration(seconds.round() as u64) } else { format!("{:.1}s", seconds.max(0.0)) }
}

#[cfg(test)]
mod tests {
    //! Sizes and durations.

    use super::*;

    #[test]
    fn sizes_have_a_unit_that_fits() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (3099, "3.1 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (81_234_567, "81.2 MB"),
            (5_000_000_000, "5.0 GB"),
            (7_250_000_000_000, "7.2 TB"),
            (u64::MAX, "18446.7 PB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn durations_are_short() {
        for (seconds, text) in [
            (0.0, "0.0s"),
            (-1.0, "0.0s"),
            (f64::NAN, "0.0s"),
            (0.04, "0.0s"),
            (1.23, "1.2s"),
            (59.94, "59.9s"),
            (59.96, "1m 0s"),
            (3723.4, "1h 2m"),
        ] {
            assert_eq!(lasted(seconds), text, "{seconds}");
        }
    }
}
