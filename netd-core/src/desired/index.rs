//! Finds without searching: who has a name, an address, a port. Follows the wish, and never decides what is in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;
use netd_api::{
    addr::{Family, Mac},
    names::{ContainerId, ContainerName, IfName, NetworkName},
    publish::Protocol,
};

use super::{Attachment, Container, Desired, Network, Origin, PublishKey, Published, number};
use crate::{ipam::Ranges, objects::NetnsId};

/// What would otherwise have to be searched for, so that a request costs the same however many containers there are.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Index {
    /// Who has a display name, in the order of coming; those that people named are before all.
    pub(super) names: BTreeMap<ContainerName, BTreeSet<(u64, ContainerId)>>,
    pub(super) orders: BTreeSet<u64>,
    pub(super) members: BTreeMap<NetworkName, BTreeSet<(ContainerId, IfName)>>,
    pub(super) used: BTreeMap<(NetworkName, Family), Ranges>,
    pub(super) last: BTreeMap<NetworkName, BTreeMap<IpNet, IpAddr>>,
    pub(super) macs: BTreeMap<(NetworkName, Mac), ContainerId>,
    pub(super) adopted: BTreeMap<NetnsId, BTreeSet<ContainerId>>,
    pub(super) configs: BTreeMap<NetworkName, BTreeSet<(ContainerId, IfName)>>,
    pub(super) ports: BTreeMap<(Protocol, u16), BTreeSet<PublishKey>>,
    pub(super) taken_ports: BTreeMap<Protocol, Ranges>,
    pub(super) slots: Ranges,
    pub(super) host_ends: BTreeMap<IfName, ContainerId>,
    pub(super) by_slot: BTreeMap<u32, (ContainerId, IfName)>,
    pub(super) by_address: BTreeMap<IpAddr, ContainerId>,
}

fn order(container: &Container) -> u64 {
    match container.origin {
        Origin::Made | Origin::Adopted { .. } => 0,
        Origin::Cni { order, .. } => order,
    }
}

impl Desired {
    pub(super) fn put_network(&mut self, before: Option<&Network>, after: Option<&Arc<Network>>) {
        if let Some(network) = before {
            self.networks.remove(&network.name);
            match (after, self.index.last.get_mut(&network.name)) {
                (None, _) => {
                    self.index.last.remove(&network.name);
                }
                (Some(after), Some(last)) => last.retain(|net, _| after.pool_of(*net).is_some()),
                (Some(_), None) => {}
            }
        }
        if let Some(network) = after {
            self.networks.insert(network.name.clone(), Arc::clone(network));
        }
    }

    pub(super) fn put_container(&mut self, before: Option<&Container>, after: Option<&Arc<Container>>) {
        if let Some(container) = before {
            self.containers.remove(&container.id);
            // One that comes again in another namespace is not where the former one was not.
            if after.is_none_or(|after| after.origin != container.origin) {
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
            if let Some(namesakes) = self.index.names.get_mut(&container.name) {
                namesakes.remove(&(order(container), container.id.clone()));
                if namesakes.is_empty() {
                    self.index.names.remove(&container.name);
                }
            }
            if let Origin::Cni { order, .. } = container.origin {
                self.index.orders.remove(&order);
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
                if let Some(cni) = &attachment.cni
                    && let Some(attached) = self.index.configs.get_mut(&cni.config)
                {
                    attached.remove(&(container.id.clone(), attachment.ifname.clone()));
                    if attached.is_empty() {
                        self.index.configs.remove(&cni.config);
                    }
                }
                self.index.macs.remove(&(attachment.network.clone(), attachment.mac));
                self.index.slots.remove(u128::from(attachment.slot));
                self.index.by_slot.remove(&attachment.slot);
                for net in &attachment.addresses {
                    self.index.by_address.remove(&net.addr());
                }
                self.index.host_ends.remove(&attachment.host_ifname);
            }
        }
        if let Some(container) = after {
            self.index.names.entry(container.name.clone()).or_default().insert((order(container), container.id.clone()));
            if let Origin::Cni { order, .. } = container.origin {
                self.index.orders.insert(order);
            }
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
                    self.index.used.entry(key).or_default().insert(number(net.addr()));
                    // Only what is given away now: a change of labels must not send the choice back to an address that was just let go.
                    if !had(attachment) {
                        self.index.last.entry(attachment.network.clone()).or_default().insert(net.trunc(), net.addr());
                    }
                }
                if let Some(cni) = &attachment.cni {
                    let attached = self.index.configs.entry(cni.config.clone()).or_default();
                    attached.insert((container.id.clone(), attachment.ifname.clone()));
                }
                self.index.macs.insert((attachment.network.clone(), attachment.mac), container.id.clone());
                self.index.slots.insert(u128::from(attachment.slot));
                self.index.by_slot.insert(attachment.slot, (container.id.clone(), attachment.ifname.clone()));
                for net in &attachment.addresses {
                    self.index.by_address.insert(net.addr(), container.id.clone());
                }
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
