//! How stories say who reaches whom: over both families at once, and "not" only of a server that is there. Never waits long for silence.

use std::net::SocketAddr;

use netd_api::addr::Family;

use super::{
    model::Protocol,
    probe::{Got, Probe, SOON, try_all},
};
use crate::{Container, Station, wait::PATIENCE};

/// What one asks a container for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// How.
    pub protocol: Protocol,
    /// On which port; 0 for an echo.
    pub port: u16,
}

/// A TCP port.
pub fn tcp(port: u16) -> Service {
    Service { protocol: Protocol::Tcp, port }
}

/// A UDP port.
pub fn udp(port: u16) -> Service {
    Service { protocol: Protocol::Udp, port }
}

/// An SCTP port, of a [`super::responder::Responder`].
pub fn sctp(port: u16) -> Service {
    Service { protocol: Protocol::Sctp, port }
}

/// An ICMP echo.
pub const ECHO: Service = Service { protocol: Protocol::Icmp, port: 0 };

impl Station {
    /// It reaches a container's service over both families.
    #[track_caller]
    pub fn reaches(&self, container: &Container<'_>, service: Service) {
        self.expect_to_get(Got::Reached, &both(container, service), service.protocol);
    }

    /// Over both families it gets no answer of any kind, though the service is there: the container itself reaches it.
    #[track_caller]
    pub fn reaches_not(&self, container: &Container<'_>, service: Service) {
        self.expect_to_get(Got::Silence, &both(container, service), service.protocol);
        container.expect_to_get(Got::Reached, &both(container, service), service.protocol);
    }

    /// Over both families it is told that it may not, though the service is there.
    #[track_caller]
    pub fn is_refused(&self, container: &Container<'_>, service: Service) {
        self.expect_to_get(Got::Refused, &both(container, service), service.protocol);
        container.expect_to_get(Got::Reached, &both(container, service), service.protocol);
    }

    /// The same connection to several addresses, and what must come of each of them.
    #[track_caller]
    pub fn expect_to_get(&self, wanted: Got, all: &[SocketAddr], protocol: Protocol) {
        let probes: Vec<Probe<'_>> = all.iter().map(|to| Probe { from: self, to: *to, protocol }).collect();
        // An answer is worth waiting for; silence is over sooner.
        let limit = if wanted == Got::Silence { SOON } else { PATIENCE };
        let got = try_all(&probes, limit);
        let wrong: Vec<_> = all.iter().zip(got).filter(|(_, got)| *got != wanted).collect();
        assert!(wrong.is_empty(), "{self} tries by {protocol:?} and should have met {wanted:?}, but: {wrong:?}");
    }
}

fn both(container: &Container<'_>, service: Service) -> Vec<SocketAddr> {
    Family::BOTH.map(|family| SocketAddr::new(container.address(family), service.port)).to_vec()
}
