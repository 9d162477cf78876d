//! Networks of a story: drafted, made or refused, looked at and removed. Never talks to the kernel.

use std::{fmt, net::IpAddr};

use netd_api::{
    addr::{Family, Subnet},
    fault::Fault,
    message::{Reply, Request},
    names::NetworkName,
    spec::NetworkSpec,
    view::NetworkView,
};

use crate::{Container, Lab};

/// A network that was made.
pub struct Network<'lab> {
    lab: &'lab Lab,
    name: NetworkName,
}

/// A network to be made.
pub struct NetworkDraft<'lab> {
    lab: &'lab Lab,
    /// What will be asked for.
    pub spec: NetworkSpec,
}

impl Lab {
    /// A dual-stack network with defaults.
    #[track_caller]
    pub fn network(&self, name: &str) -> Network<'_> {
        self.new_network(name).dual().made()
    }

    /// A network that is there already.
    pub fn known_network(&self, name: &str) -> Network<'_> {
        Network { lab: self, name: parsed(name) }
    }

    /// A network to be described first.
    pub fn new_network(&self, name: &str) -> NetworkDraft<'_> {
        NetworkDraft { lab: self, spec: NetworkSpec::named(parsed(name)) }
    }
}

impl<'lab> NetworkDraft<'lab> {
    /// With IPv6.
    pub fn dual(mut self) -> Self {
        self.spec.ipv6 = true;
        self
    }
    /// With this subnet.
    pub fn subnet(mut self, subnet: &str) -> Self {
        self.spec.subnets.push(parsed(subnet));
        self
    }
    /// With this gateway.
    pub fn gateway(mut self, gateway: &str) -> Self {
        self.spec.gateways.push(parsed(gateway));
        self
    }
    /// Addresses are taken from here.
    pub fn range(mut self, range: &str) -> Self {
        self.spec.ip_ranges.push(parsed(range));
        self
    }
    /// These addresses are never given.
    pub fn exclude(mut self, net: &str) -> Self {
        self.spec.excludes.push(parsed(net));
        self
    }
    /// No way out.
    pub fn internal(mut self) -> Self {
        self.spec.internal = true;
        self
    }
    /// Routed in both families.
    pub fn routed(mut self) -> Self {
        self.spec.routed = Family::BOTH.to_vec();
        self
    }
    /// Routed in one family.
    pub fn routed_in(mut self, family: Family) -> Self {
        self.spec.routed = vec![family];
        self
    }
    /// Packets leave under their own address.
    pub fn no_masquerade(mut self) -> Self {
        self.spec.masquerade = false;
        self
    }
    /// Its members cannot talk to each other.
    pub fn no_icc(mut self) -> Self {
        self.spec.icc = false;
        self
    }
    /// With this MTU in bytes.
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.spec.mtu = Some(mtu);
        self
    }
    /// Its bridge is called so.
    pub fn bridge(mut self, name: &str) -> Self {
        self.spec.bridge = Some(parsed(name));
        self
    }
    /// With a label.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.spec.labels.insert(parsed(key), parsed(value));
        self
    }

    /// Makes it.
    #[track_caller]
    pub fn made(self) -> Network<'lab> {
        let name = self.spec.name.clone();
        self.lab.done(&Request::CreateNetwork(self.spec));
        Network { lab: self.lab, name }
    }

    /// Tries to make it, and gives the refusal.
    #[track_caller]
    pub fn refused(self) -> Fault {
        self.lab.refused(&Request::CreateNetwork(self.spec))
    }
}

impl<'lab> Network<'lab> {
    /// Its name.
    pub fn name(&self) -> &NetworkName {
        &self.name
    }

    /// A container on it, with defaults.
    #[track_caller]
    pub fn container(&self, name: &str) -> Container<'lab> {
        self.lab.new_container(name).on(self).made()
    }

    /// As it is now.
    #[track_caller]
    pub fn inspect(&self) -> NetworkView {
        match self.lab.done(&Request::Network(self.name.clone())) {
            Reply::Network(view) => *view,
            other => panic!("a network was asked for, not {other:?}"),
        }
    }

    /// Its subnet of a family.
    #[track_caller]
    pub fn subnet(&self, family: Family) -> Subnet {
        let view = self.inspect();
        let found = view.subnets.iter().find(|subnet| subnet.subnet.family() == family);
        found.unwrap_or_else(|| panic!("{self} has no subnet of {family:?}")).subnet
    }

    /// The host's address in it.
    #[track_caller]
    pub fn gateway(&self, family: Family) -> IpAddr {
        let view = self.inspect();
        let found = view.subnets.iter().find(|subnet| subnet.subnet.family() == family).and_then(|subnet| subnet.gateway);
        found.unwrap_or_else(|| panic!("{self} has no gateway of {family:?}"))
    }

    /// Its bridge.
    #[track_caller]
    pub fn bridge(&self) -> String {
        self.inspect().bridge.to_string()
    }

    /// Removes it.
    #[track_caller]
    pub fn removed(self) {
        self.lab.done(&Request::RemoveNetwork(self.name));
    }

    /// Tries to remove it, and gives the refusal.
    #[track_caller]
    pub fn cannot_be_removed(&self) -> Fault {
        self.lab.refused(&Request::RemoveNetwork(self.name.clone()))
    }
}

impl fmt::Display for Network<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

/// A word of a story as the type it names.
#[track_caller]
pub fn parsed<T: std::str::FromStr<Err: fmt::Display>>(text: &str) -> T {
    text.parse().unwrap_or_else(|why| panic!("{why}"))
}
