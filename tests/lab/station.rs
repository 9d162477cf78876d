//! A station: a network namespace with a name, where servers listen and clients ask. The host, the outside host and each container is one.
//! Never changes the network; that is netd's work.

use std::{
    fmt, fs,
    net::{IpAddr, SocketAddr, SocketAddrV6, ToSocketAddrs},
    sync::{Arc, Mutex},
};

use netd_api::addr::Mac;

use crate::{
    ask::{self, Asker, Outcome},
    host::Host,
    network::parsed,
    ping,
    serve::{Server, everywhere},
    space::NetSpace,
    stream::Stream,
    wait::{PATIENCE, SILENCE},
    wire::Wire,
};

/// See the module.
#[derive(Debug)]
pub struct Station {
    name: String,
    net: NetSpace,
    host: Arc<Host>,
    servers: Mutex<Vec<Server>>,
}

impl fmt::Display for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Station {
    /// A station in a namespace.
    pub fn new(name: &str, net: NetSpace, host: Arc<Host>) -> Self {
        Self { name: name.to_owned(), net, host, servers: Mutex::default() }
    }

    /// Its network namespace.
    pub fn net(&self) -> &NetSpace {
        &self.net
    }

    /// Serves TCP on a port, both families.
    pub fn serves(&self, port: u16) -> &Self {
        self.serves_at(everywhere(port))
    }

    /// Serves TCP on an address.
    pub fn serves_at(&self, address: impl ToSocketAddrs) -> &Self {
        let address = one(address);
        let server = Server::tcp(&self.net, &self.name, address);
        self.keep(server.unwrap_or_else(|why| panic!("{self} cannot serve {address}: {why}")))
    }

    /// Serves UDP on a port, both families.
    pub fn serves_udp(&self, port: u16) -> &Self {
        self.serves_udp_at(everywhere(port))
    }

    /// Serves UDP on an address.
    pub fn serves_udp_at(&self, address: impl ToSocketAddrs) -> &Self {
        let address = one(address);
        let server = Server::udp(&self.net, &self.name, address);
        self.keep(server.unwrap_or_else(|why| panic!("{self} cannot serve {address}/udp: {why}")))
    }

    fn keep(&self, server: Server) -> &Self {
        self.servers.lock().expect("no server panicked here").push(server);
        self
    }

    /// Whether a stranger could take this TCP port now; the error is the stranger's.
    pub fn tries_to_take(&self, address: impl ToSocketAddrs) -> std::io::Result<()> {
        Server::tcp(&self.net, "stranger", one(address)).map(drop)
    }

    /// Whether a stranger could take this UDP port now; the error is the stranger's.
    pub fn tries_to_take_udp(&self, address: impl ToSocketAddrs) -> std::io::Result<()> {
        Server::udp(&self.net, "stranger", one(address)).map(drop)
    }

    /// Ends all its servers.
    pub fn stops_serving(&self) {
        self.servers.lock().expect("no server panicked here").clear();
    }

    /// Fetches over TCP; an answer is expected.
    pub fn fetches(&self, to: impl ToSocketAddrs) -> Outcome {
        ask::tcp(&self.net, &self.name, one(to), PATIENCE)
    }

    /// Fetches over TCP from an address and port of its own choice.
    pub fn fetches_from(&self, from: impl ToSocketAddrs, to: impl ToSocketAddrs) -> Outcome {
        ask::tcp_from(&self.net, &self.name, one(from), one(to), PATIENCE)
    }

    /// Tries to fetch where no answer is expected: waits a shorter time.
    pub fn tries(&self, to: impl ToSocketAddrs) -> Outcome {
        ask::tcp(&self.net, &self.name, one(to), SILENCE)
    }

    /// Asks over UDP; an answer is expected.
    pub fn asks(&self, to: impl ToSocketAddrs) -> Outcome {
        ask::udp(&self.net, &self.name, one(to), PATIENCE)
    }

    /// Asks over UDP where no answer is expected: waits a shorter time.
    pub fn tries_to_ask(&self, to: impl ToSocketAddrs) -> Outcome {
        ask::udp(&self.net, &self.name, one(to), SILENCE)
    }

    /// A UDP client that keeps its port.
    pub fn asker(&self, to: impl ToSocketAddrs) -> Asker {
        Asker::new(&self.net, &self.name, one(to))
    }

    /// Whether an ICMP echo comes back.
    pub fn pings(&self, to: impl fmt::Display) -> bool {
        ping::echo(&self.net, address(&to), PATIENCE)
    }

    /// Whether no ICMP echo comes back.
    pub fn cannot_ping(&self, to: impl fmt::Display) -> bool {
        !ping::echo(&self.net, address(&to), SILENCE)
    }

    /// A connection that keeps talking until it is dropped.
    pub fn streams(&self, to: impl ToSocketAddrs) -> Stream {
        Stream::new(&self.net, &self.name, one(to))
    }

    /// The raw frames of one of its interfaces.
    pub fn wire(&self, interface: &str) -> Wire {
        Wire::new(&self.net, interface)
    }

    /// Runs a program here and gives what it printed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        self.host.run_in(&self.net, program, arguments)
    }

    /// Gives an interface one more address, `192.0.2.11/24` or `2001:db8::11/64`.
    pub fn takes_address(&self, address: &str, interface: &str) -> &Self {
        let mut arguments = vec!["address", "add", address, "dev", interface];
        if address.contains(':') {
            arguments.push("nodad");
        }
        self.run("ip", &arguments);
        self
    }

    /// Sends what is for a subnet to a next hop.
    pub fn routes(&self, subnet: impl fmt::Display, via: impl fmt::Display) -> &Self {
        self.run("ip", &["route", "replace", &subnet.to_string(), "via", &via.to_string()]);
        self
    }

    /// A value below /proc/sys/net, written as `ipv4/conf/all/rp_filter`.
    pub fn sysctl(&self, name: &str) -> Option<String> {
        let read = self.net.inside(|| fs::read_to_string(format!("/proc/sys/net/{name}")));
        read.ok().map(|value| value.trim().to_owned())
    }

    /// Sets a value below /proc/sys/net.
    pub fn sets(&self, name: &str, value: &str) -> &Self {
        let written = self.net.inside(|| fs::write(format!("/proc/sys/net/{name}"), value));
        written.unwrap_or_else(|why| panic!("{self} cannot set {name} to {value}: {why}"));
        self
    }

    /// What iproute2 says about an interface.
    pub fn link(&self, interface: &str) -> serde_json::Value {
        let said = self.run("ip", &["-details", "-json", "-statistics", "link", "show", "dev", interface]);
        let mut links: serde_json::Value = serde_json::from_str(&said).expect("ip prints JSON");
        links[0].take()
    }

    /// The hardware address of an interface.
    pub fn mac(&self, interface: &str) -> [u8; 6] {
        let link = self.link(interface);
        parsed::<Mac>(link["address"].as_str().expect("an Ethernet interface")).0
    }

    /// Where `from`, on the same link by an interface of the same name, finds it by its link-local address.
    pub fn link_local(&self, interface: &str, from: &Station, port: u16) -> SocketAddr {
        let said = self.run("ip", &["-6", "-oneline", "address", "show", "dev", interface, "scope", "link"]);
        let address = said.split_whitespace().find_map(|word| word.split_once('/')?.0.parse().ok());
        let address = address.unwrap_or_else(|| panic!("{self} has no link-local address on {interface}: {said}"));
        let scope = from.net.inside(|| nix::net::if_::if_nametoindex(interface));
        SocketAddr::V6(SocketAddrV6::new(address, port, 0, scope.expect("both have the interface")))
    }

    /// The names of its interfaces.
    pub fn links(&self) -> Vec<String> {
        let read =
            self.net.inside(|| nix::net::if_::if_nameindex().map(|all| all.iter().map(|link| link.name().to_owned()).collect::<Vec<_>>()));
        read.expect("interfaces can be listed").iter().map(|name| name.to_string_lossy().into_owned()).collect()
    }
}

fn one(address: impl ToSocketAddrs) -> SocketAddr {
    address.to_socket_addrs().expect("an address and a port").next().expect("one address")
}

fn address(text: &impl fmt::Display) -> IpAddr {
    text.to_string().parse().expect("an address")
}
