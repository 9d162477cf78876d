//! What a recorded connection asks of policy: its direction, and where it leads through a published port. Never judges it.

use std::{net::IpAddr, sync::Arc};

use netd_abi::Direction;
use netd_core::{
    desired::{Attachment, Container},
    expand::{self, Scope},
    firewall::{Element, element::Publish},
    policy::book::wish::Direction as Way,
};

use super::Reconciler;
use crate::{bpf::places::address, kernel::Kernel, observe::flows::RawFlow};

/// What a connection asks of policy.
pub(super) struct Asks<'a> {
    pub(super) way: Way,
    pub(super) remote: IpAddr,
    /// The receiving side's.
    pub(super) port: u16,
    /// Whose it is, where it leads through a published port.
    pub(super) target: Option<(&'a Arc<Container>, &'a Attachment)>,
}

impl<K: Kernel> Reconciler<K> {
    /// Where published ports lead now.
    pub(super) fn published(&self) -> Vec<Publish> {
        let wanted = expand::expand(&self.desired, &self.host, &Scope::Everything);
        let publish = |element| if let Element::Publish(publish) = element { Some(publish) } else { None };
        wanted.elements.into_iter().filter_map(publish).collect()
    }

    /// A connection to a published port asks for its target, as the programs judge it.
    pub(super) fn asks(&self, published: &[Publish], raw: &RawFlow) -> Asks<'_> {
        let (way, port) = way(raw);
        let remote = address(raw.key.remote);
        let leads = |publish: &&Publish| {
            let here = publish.address.map_or_else(|| self.is_host(remote), |address| address == remote);
            here && publish.port == port && publish.protocol.number() == raw.key.protocol && publish.target.is_ipv4() == remote.is_ipv4()
        };
        let publish = published.iter().filter(leads).max_by_key(|publish| publish.address.is_some()).filter(|_| way == Way::Egress);
        let target = publish.and_then(|publish| {
            let container = self.desired.container_with(publish.target)?;
            let has = |attachment: &&Attachment| attachment.addresses.iter().any(|net| net.addr() == publish.target);
            Some((publish, container, container.attachments.iter().find(has)?))
        });
        match target {
            Some((publish, container, attachment)) => {
                Asks { way, remote: publish.target, port: publish.target_port, target: Some((container, attachment)) }
            }
            None => Asks { way, remote, port, target: None },
        }
    }
}

/// The direction in policy's words, and the port that it speaks of: the receiving side's.
pub(super) fn way(raw: &RawFlow) -> (Way, u16) {
    match raw.opener {
        Direction::FromContainer => (Way::Egress, u16::from_be_bytes(raw.key.remote_port)),
        Direction::ToContainer => (Way::Ingress, u16::from_be_bytes(raw.key.local_port)),
    }
}
