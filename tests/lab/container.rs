//! Containers of a story: drafted, made or refused, published, connected and removed. Each is a station. Never talks to the kernel.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    ops::Deref,
};

use netd_api::{
    addr::Family,
    fault::Fault,
    message::{Reply, Request},
    names::ContainerName,
    spec::{AttachSpec, ContainerChange, ContainerSpec, Guard, Source},
    view::{AttachmentView, ContainerView, PortView},
};

use crate::{Lab, Network, Station, network::parsed};

/// A container that was made or adopted.
pub struct Container<'lab> {
    lab: &'lab Lab,
    name: ContainerName,
    station: Station,
}

/// A container to be made or adopted.
pub struct ContainerDraft<'lab> {
    lab: &'lab Lab,
    /// What will be asked for.
    pub spec: ContainerSpec,
}

impl Lab {
    /// A container to be described first.
    pub fn new_container(&self, name: &str) -> ContainerDraft<'_> {
        ContainerDraft { lab: self, spec: ContainerSpec::named(parsed(name)) }
    }

    /// A container that is there already.
    #[track_caller]
    pub fn container(&self, name: &str) -> Container<'_> {
        let name: ContainerName = parsed(name);
        let Reply::Container(view) = self.done(&Request::Container(name.clone())) else { panic!("a container was asked for") };
        // By an id too, where another has the name.
        Container { name, ..Container::new(self, &view) }
    }

    /// All published ports.
    #[track_caller]
    pub fn ports(&self) -> Vec<PortView> {
        match self.done(&Request::Ports(None)) {
            Reply::Ports(ports) => ports,
            other => panic!("ports were asked for, not {other:?}"),
        }
    }
}

impl<'lab> ContainerDraft<'lab> {
    /// On a network.
    pub fn on(mut self, network: &Network<'_>) -> Self {
        self.spec.networks.push(AttachSpec::to(network.name().clone()));
        self
    }
    /// With an address on the network named last.
    pub fn address(mut self, address: &str) -> Self {
        self.last().addresses.push(parsed(address));
        self
    }
    /// With a hardware address on the network named last.
    pub fn mac(mut self, mac: &str) -> Self {
        self.last().mac = Some(parsed(mac));
        self
    }
    /// With an interface name on the network named last.
    pub fn ifname(mut self, name: &str) -> Self {
        self.last().ifname = Some(parsed(name));
        self
    }
    /// With a published port.
    pub fn publish(mut self, publish: &str) -> Self {
        self.spec.publish.push(parsed(publish));
        self
    }
    /// With a label.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.spec.labels.insert(parsed(key), parsed(value));
        self
    }
    /// Counting to a namespace of Kubernetes' kind.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.spec.namespace = parsed(namespace);
        self
    }
    /// What it sends is not checked against what it is.
    pub fn unguarded(mut self) -> Self {
        self.spec.guard = Guard::Off;
        self
    }
    /// It may send from these addresses too.
    pub fn allows_address(mut self, net: &str) -> Self {
        self.spec.allow_addresses.push(parsed(net));
        self
    }
    /// In a namespace that is there already.
    pub fn at(mut self, path: &str) -> Self {
        self.spec.netns = Source::Path(path.to_owned());
        self
    }
    /// In the namespace of a process.
    pub fn of_pid(mut self, pid: u32) -> Self {
        self.spec.netns = Source::Pid(pid);
        self
    }

    /// Makes it.
    #[track_caller]
    pub fn made(self) -> Container<'lab> {
        let Reply::Container(view) = self.lab.done(&Request::CreateContainer(self.spec)) else { panic!("a container was asked for") };
        Container::new(self.lab, &view)
    }

    /// Tries to make it, and gives the refusal.
    #[track_caller]
    pub fn refused(self) -> Fault {
        self.lab.refused(&Request::CreateContainer(self.spec))
    }

    fn last(&mut self) -> &mut AttachSpec {
        self.spec.networks.last_mut().expect("name a network first")
    }
}

impl<'lab> Container<'lab> {
    fn new(lab: &'lab Lab, view: &ContainerView) -> Self {
        let station = lab.at(view.name.as_str(), &view.netns);
        Self { lab, name: view.name.clone(), station }
    }

    /// Serves TCP on a port from now on.
    pub fn listens(self, port: u16) -> Self {
        self.station.serves(port);
        self
    }

    /// Serves UDP on a port from now on.
    pub fn listens_udp(self, port: u16) -> Self {
        self.station.serves_udp(port);
        self
    }

    /// The lab that it is in.
    pub(crate) fn lab(&self) -> &'lab Lab {
        self.lab
    }

    /// Its name.
    pub fn name(&self) -> &ContainerName {
        &self.name
    }

    /// As it is now.
    #[track_caller]
    pub fn inspect(&self) -> ContainerView {
        self.view(&Request::Container(self.name.clone()))
    }

    /// Its attachment to a network.
    #[track_caller]
    pub fn attachment(&self, network: &Network<'_>) -> AttachmentView {
        let found = self.inspect().attachments.into_iter().find(|attachment| attachment.network == *network.name());
        found.unwrap_or_else(|| panic!("{} is not on {network}", self.name))
    }

    /// Its address of a family on a network.
    #[track_caller]
    pub fn address_on(&self, network: &Network<'_>, family: Family) -> IpAddr {
        address(&self.attachment(network), family).unwrap_or_else(|| panic!("{} has no address of {family:?} on {network}", self.name))
    }

    /// Its address of a family on its first network that has one.
    #[track_caller]
    pub fn address(&self, family: Family) -> IpAddr {
        let found = self.inspect().attachments.iter().find_map(|attachment| address(attachment, family));
        found.unwrap_or_else(|| panic!("{} has no address of {family:?}", self.name))
    }

    /// Where a client finds its server over IPv4.
    #[track_caller]
    pub fn v4(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address(Family::V4), port)
    }

    /// Where a client finds its server over IPv6.
    #[track_caller]
    pub fn v6(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address(Family::V6), port)
    }

    /// Publishes ports; gives what came of it.
    #[track_caller]
    pub fn publishes(&self, publish: &str) -> Vec<PortView> {
        match self.lab.done(&Request::Publish(self.name.clone(), parsed(publish))) {
            Reply::Ports(ports) => ports,
            other => panic!("ports were asked for, not {other:?}"),
        }
    }

    /// Tries to publish ports, and gives the refusal.
    #[track_caller]
    pub fn cannot_publish(&self, publish: &str) -> Fault {
        self.lab.refused(&Request::Publish(self.name.clone(), parsed(publish)))
    }

    /// Withdraws published ports.
    #[track_caller]
    pub fn withdraws(&self, publish: &str) {
        self.lab.done(&Request::Unpublish(self.name.clone(), Some(parsed(publish))));
    }

    /// Joins one more network.
    #[track_caller]
    pub fn connects(&self, network: &Network<'_>) -> ContainerView {
        self.connects_with(AttachSpec::to(network.name().clone()))
    }

    /// Joins one more network, with addresses or names of its choice.
    #[track_caller]
    pub fn connects_with(&self, attach: AttachSpec) -> ContainerView {
        self.view(&Request::Connect(self.name.clone(), attach))
    }

    /// Tries to join a network, and gives the refusal.
    #[track_caller]
    pub fn cannot_connect(&self, attach: AttachSpec) -> Fault {
        self.lab.refused(&Request::Connect(self.name.clone(), attach))
    }

    /// Leaves a network.
    #[track_caller]
    pub fn disconnects(&self, network: &Network<'_>) -> ContainerView {
        self.view(&Request::Disconnect(self.name.clone(), network.name().clone(), None))
    }

    /// Becomes different.
    #[track_caller]
    pub fn changes(&self, change: ContainerChange) -> ContainerView {
        self.view(&Request::ChangeContainer(self.name.clone(), change))
    }

    /// Removes it.
    #[track_caller]
    pub fn removed(self) {
        self.lab.done(&Request::RemoveContainer(self.name));
    }

    #[track_caller]
    fn view(&self, request: &Request) -> ContainerView {
        match self.lab.done(request) {
            Reply::Container(view) => *view,
            other => panic!("a container was asked for, not {other:?}"),
        }
    }
}

impl Deref for Container<'_> {
    type Target = Station;
    fn deref(&self) -> &Station {
        &self.station
    }
}

impl fmt::Display for Container<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

fn address(attachment: &AttachmentView, family: Family) -> Option<IpAddr> {
    attachment.addresses.iter().map(|net| net.addr()).find(|address| Family::of(*address) == family)
}
