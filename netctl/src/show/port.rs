//! Published ports as rows, as ways (`*:8080 -> web:80/tcp`) and as notes. Never says more of a port than the daemon does.

use std::net::IpAddr;

use netd_api::{
    publish::PortRange,
    view::{PortState, PortView},
};

use super::{
    joined, lines,
    table::{Paint, Tone, Word, table},
};

const HEADERS: [&str; 6] = ["HOST", "CONTAINER", "PORT", "TARGETS", "STATE", "NOTE"];

pub(super) fn rows(ports: &[PortView], paint: Paint) -> String {
    let row = |port: &PortView| {
        [
            host(port).into(),
            port.container.to_string().into(),
            target(port).into(),
            joined(port.targets.iter().map(|address| at(Some(*address), port.target))).into(),
            state(port.state),
            if port.note.is_empty() { "-" } else { &port.note }.into(),
        ]
    };
    table(HEADERS, ports.iter().map(row), paint)
}

/// One line for each: where it is open, and where that leads.
pub(super) fn ways(ports: &[PortView]) -> String {
    lines(ports.iter().map(|port| format!("{} -> {}:{}", host(port), port.container, target(port))))
}

/// Each port that the daemon has a note on, with the note.
pub(super) fn notes(ports: &[PortView]) -> Vec<String> {
    let told = ports.iter().filter(|port| !port.note.is_empty());
    told.map(|port| format!("{}/{} is {}: {}", host(port), port.protocol, state_name(port.state), port.note)).collect()
}

/// As in a list of containers: `*:8080->80/tcp`.
pub(super) fn short(port: &PortView) -> String {
    format!("{}->{}", host(port), target(port))
}

fn host(port: &PortView) -> String {
    at(port.address, port.host)
}

fn target(port: &PortView) -> String {
    format!("{}/{}", port.target, port.protocol)
}

/// An address and ports; IPv6 in brackets, a star for every address.
fn at(address: Option<IpAddr>, ports: PortRange) -> String {
    match address {
        None => format!("*:{ports}"),
        Some(IpAddr::V4(address)) => format!("{address}:{ports}"),
        Some(IpAddr::V6(address)) => format!("[{address}]:{ports}"),
    }
}

fn state(state: PortState) -> Word {
    let tone = match state {
        PortState::Active => Tone::Good,
        PortState::Waiting => Tone::Mind,
        PortState::Degraded => Tone::Bad,
    };
    Word::new(state_name(state), tone)
}

fn state_name(state: PortState) -> &'static str {
    match state {
        PortState::Active => "active",
        PortState::Waiting => "waiting",
        PortState::Degraded => "degraded",
    }
}
