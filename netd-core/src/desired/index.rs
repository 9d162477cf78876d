//! Finds without searching: who has a name, an address, a port. Follows the wish, and never decides what is in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use netd_api::{
    addr::{Family, Mac},
    names::{ContainerId, ContainerName, IfName, NetworkName},
    publish::Protocol,
};

use super::{Attachment, Container, Desired, Network, PublishKey, Published, number};
use crate::{ipam::Ranges, objects::NetnsId};

/// What would otherwise have to be searched for, so that a request costs the same however many containers there are.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Index {
    pub(super) names: BTreeMap<ContainerName, ContainerId>,
    pub(super) members: BTreeMap<NetworkName, BTreeSet<(ContainerId, IfName)>>,
    pub(super) used: BTreeMap<(NetworkName, Family), Ranges>,
    pub(super) last: BTreeMap<(NetworkName, Family), IpAddr>,
    pub(super) macs: BTreeMap<(NetworkName, Mac), ContainerId>,
    pub(super) adopted: BTreeMap<NetnsId, BTreeSet<ContainerId>>,
    pub(super) ports: BTreeMap<(Protocol, u16), BTreeSet<PublishKey>>,
    pub(super) taken_ports: BTreeMap<Protocol, Ranges>,
    pub(super) slots: Ranges,
    pub(super) host_ends: BTreeMap<IfName, ContainerId>,
}

impl Desired {
    pub(super) fn put_network(&mut self, before: Option<&Network>, after: Option<&Arc<Network>>) {
        if let Some(network) = before {
            self.networks.remove(&network.name);
            if after.is_none() {
                for family in Family::BOTH {
                    self.index.last.remove(&(network.name.clone(), family));
                }
            }
        }
        if let Some(network) = after {
            self.networks.insert(network.name.clone(), Arc::clone(network));
        }
    }

    pub(super) fn put_container(&mut self, before: Option<&Container>, after: Option<&Arc<Container>>) {
        if let Some(container) = before {
            self.containers.remove(&container.id);
            if after.is_none() {
                self.absent.remove(&container.id);
            }
            if let Some(id) = container.origin.netns_id()
                && let Some(adopters) = self.index.adopted.get_mut(&id)
            {
                adopters.remove(&container.id);
                if adopters.is_empty() {
                    self.index.adopted.remove(&id);
                }
            }
            if self.index.names.get(&container.name) == Some(&container.id) {
                self.index.names.remove(&container.name);
            }
            for attachment in &container.attachments {
                let members = self.index.members.entry(attachment.network.clone()).or_default();
                members.remove(&(container.id.clone(), attachment.ifname.clone()));
                if members.is_empty() {
                    self.index.members.remove(&attachment.network);
                }
                for net in &attachment.addresses {
                    let key = (attachment.network.clone(), Family::of(net.addr()));
                    let used = self.index.used.entry(key.clone()).or_default();
                    used.remove(number(net.addr()));
                    if used.is_empty() {
                        self.index.used.remove(&key);
                    }
                }
                self.index.macs.remove(&(attachment.network.clone(), attachment.mac));
                self.index.slots.remove(u128::from(attachment.slot));
                self.index.host_ends.remove(&attachment.host_ifname);
            }
        }
        if let Some(container) = after {
            self.index.names.insert(container.name.clone(), container.id.clone());
            if let Some(id) = container.origin.netns_id() {
                self.index.adopted.entry(id).or_default().insert(container.id.clone());
            }
            let had = |attachment: &Attachment| {
                before.is_some_and(|before| {
                    before.attachments.iter().any(|other| other.network == attachment.network && other.addresses == attachment.addresses)
                })
            };
            for attachment in &container.attachments {
                self.index.members.entry(attachment.network.clone()).or_default().insert((container.id.clone(), attachment.ifname.clone()));
                for net in &attachment.addresses {
                    let key = (attachment.network.clone(), Family::of(net.addr()));
                    self.index.used.entry(key.clone()).or_default().insert(number(net.addr()));
                    // Only what is given away now: a change of labels must not send the choice back to an address that was just let go.
                    if !had(attachment) {
                        self.index.last.insert(key, net.addr());
                    }
                }
                self.index.macs.insert((attachment.network.clone(), attachment.mac), container.id.clone());
                self.index.slots.insert(u128::from(attachment.slot));
                self.index.host_ends.insert(attachment.host_ifname.clone(), container.id.clone());
            }
            self.containers.insert(container.id.clone(), Arc::clone(container));
        }
    }

    pub(super) fn put_publish(&mut self, container: &ContainerId, before: Option<&Published>, after: Option<&Published>) {
        if let Some(published) = before {
            let key = published.key(container);
            for port in published.host.first..=published.host.last {
                if let Some(keys) = self.index.ports.get_mut(&(published.protocol, port)) {
                    keys.remove(&key);
                    if keys.is_empty() {
                        self.index.ports.remove(&(published.protocol, port));
                        self.index.taken_ports.entry(published.protocol).or_default().remove(u128::from(port));
                    }
                }
            }
            if self.index.taken_ports.get(&published.protocol).is_some_and(Ranges::is_empty) {
                self.index.taken_ports.remove(&published.protocol);
            }
            self.publishes.remove(&key);
        }
        if let Some(published) = after {
            let key = published.key(container);
            for port in published.host.first..=published.host.last {
                self.index.ports.entry((published.protocol, port)).or_default().insert(key.clone());
                self.index.taken_ports.entry(published.protocol).or_default().insert(u128::from(port));
            }
            self.publishes.insert(key, *published);
        }
    }
}
