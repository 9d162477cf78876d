//! A result of ADD in any version's shape, and whether the kernel is as it says. Never asks netd.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use serde_json::Value;

use crate::{Station, network::parsed};

/// See the module.
#[derive(Debug, Clone)]
pub struct Added {
    /// The result.
    pub json: Value,
    /// CNI_IFNAME of the call.
    pub ifname: String,
    /// CNI_NETNS of the call.
    pub netns: String,
}

impl Added {
    /// Its version.
    pub fn version(&self) -> &str {
        self.json["cniVersion"].as_str().expect("a result has a version")
    }

    /// Whether it has the shape of 0.1.0 and 0.2.0.
    fn old(&self) -> bool {
        self.version() < "0.3"
    }

    /// The addresses with their prefix lengths, in order.
    pub fn addresses(&self) -> Vec<String> {
        if self.old() {
            return ["ip4", "ip6"].iter().filter_map(|family| text(&self.json[family]["ip"])).collect();
        }
        list(&self.json["ips"]).iter().filter_map(|ip| text(&ip["address"])).collect()
    }

    /// The gateways, in order of the addresses.
    pub fn gateways(&self) -> Vec<String> {
        if self.old() {
            return ["ip4", "ip6"].iter().filter_map(|family| text(&self.json[family]["gateway"])).collect();
        }
        list(&self.json["ips"]).iter().filter_map(|ip| text(&ip["gateway"])).collect()
    }

    /// The routes: where to, and by whom.
    pub fn routes(&self) -> Vec<(String, Option<String>)> {
        let old = ["ip4", "ip6"].iter().flat_map(|family| list(&self.json[family]["routes"]));
        let all: Vec<&Value> = if self.old() { old.collect() } else { list(&self.json["routes"]).iter().collect() };
        all.iter().map(|route| (text(&route["dst"]).expect("a route leads somewhere"), text(&route["gw"]))).collect()
    }

    /// Its first IPv4 address, with a port.
    #[track_caller]
    pub fn v4(&self, port: u16) -> SocketAddr {
        self.at(port, IpAddr::is_ipv4)
    }

    /// Its first IPv6 address, with a port.
    #[track_caller]
    pub fn v6(&self, port: u16) -> SocketAddr {
        self.at(port, IpAddr::is_ipv6)
    }

    #[track_caller]
    fn at(&self, port: u16, fits: impl Fn(&IpAddr) -> bool) -> SocketAddr {
        let all = self.addresses().into_iter().map(|net| parsed::<IpAddr>(net.split('/').next().unwrap_or_default()));
        let found = all.into_iter().find(fits).unwrap_or_else(|| panic!("no such address in {}", self.json));
        SocketAddr::new(found, port)
    }

    /// One of its interfaces: the container's own, which has a sandbox.
    #[track_caller]
    pub fn interface(&self) -> &Value {
        let found =
            list(&self.json["interfaces"]).iter().find(|interface| interface["name"] == self.ifname && interface["sandbox"].is_string());
        found.unwrap_or_else(|| panic!("{} with a sandbox is not among the interfaces of {}", self.ifname, self.json))
    }

    /// The names of the host's interfaces in it.
    pub fn on_the_host(&self) -> Vec<String> {
        let here = list(&self.json["interfaces"]).iter().filter(|interface| text(&interface["sandbox"]).is_none_or(|path| path.is_empty()));
        here.filter_map(|interface| text(&interface["name"])).collect()
    }

    /// Addresses, routes, hardware addresses and MTU are the kernel's: nothing is said that is not so, and nothing is left out.
    #[track_caller]
    pub fn expect_real(&self, sandbox: &Station, host: &Station) {
        let link = sandbox.link(&self.ifname);
        let said: BTreeSet<String> = self.addresses().into_iter().collect();
        assert_eq!(said, addresses(sandbox, &self.ifname), "the addresses of {}", self.json);
        let said: BTreeSet<(String, String)> = self.routes().into_iter().map(|(dst, gw)| (plain(&dst), gw.unwrap_or_default())).collect();
        let real = routes(sandbox, &self.ifname);
        let there: BTreeSet<&String> = real.iter().map(|(dst, _)| dst).collect();
        assert_eq!(said.iter().map(|(dst, _)| dst).collect::<BTreeSet<_>>(), there, "the routes of {}: {real:?}", self.json);
        // A route without a gateway means that of its family's address.
        let wrong: Vec<_> = said.iter().filter(|(_, gw)| !gw.is_empty()).filter(|route| !real.contains(*route)).collect();
        assert!(wrong.is_empty(), "{wrong:?} of {} are not in {real:?}", self.json);
        if self.old() {
            return;
        }
        assert_eq!(self.interface()["mac"], link["address"], "the hardware address of {}", self.json);
        assert_eq!(self.interface()["sandbox"], self.netns.as_str(), "the sandbox is CNI_NETNS as it was given");
        for name in self.on_the_host() {
            let said = list(&self.json["interfaces"]).iter().find(|interface| interface["name"] == name.as_str());
            assert_eq!(said.map(|said| &said["mac"]), Some(&host.link(&name)["address"]), "the hardware address of {name}");
        }
        let own = list(&self.json["interfaces"]).iter().position(|interface| interface == self.interface());
        for ip in list(&self.json["ips"]) {
            assert_eq!(
                ip["interface"].as_u64(),
                own.map(|own| own as u64),
                "an address belongs to the container's interface: {}",
                self.json
            );
            let family = if ip["address"].as_str().is_some_and(|net| net.contains(':')) { "6" } else { "4" };
            let version = (self.version() < "1.0").then_some(family);
            assert_eq!(ip["version"].as_str(), version, "only before 1.0.0 an address has a version: {}", self.json);
        }
        if self.version() >= "1.1" {
            assert_eq!(self.interface()["mtu"], link["mtu"], "the MTU of {}", self.json);
        } else {
            assert!(self.interface()["mtu"].is_null(), "before 1.1.0 an interface has no MTU: {}", self.json);
        }
    }
}

/// The global addresses of an interface.
pub(super) fn addresses(station: &Station, interface: &str) -> BTreeSet<String> {
    let said: Value = serde_json::from_str(&station.run("ip", &["-json", "address", "show", "dev", interface])).expect("ip prints JSON");
    let all = list(&said[0]["addr_info"]).iter().filter(|address| address["scope"] == "global");
    all.map(|address| format!("{}/{}", address["local"].as_str().unwrap_or_default(), address["prefixlen"])).collect()
}

/// The routes by an interface that the kernel did not make itself.
fn routes(station: &Station, interface: &str) -> BTreeSet<(String, String)> {
    let of = |family: &str| {
        let said = station.run("ip", &["-json", family, "route", "show", "table", "all", "dev", interface]);
        let all: Value = serde_json::from_str(&said).unwrap_or_default();
        let made = list(&all).iter().filter(|route| route["protocol"] != "kernel" && route["type"].is_null());
        let any = if family == "-4" { "0.0.0.0/0" } else { "::/0" };
        made.map(|route| {
            (text(&route["dst"]).map_or_else(String::new, |dst| named(&dst, any)), text(&route["gateway"]).unwrap_or_default())
        })
        .collect::<Vec<_>>()
    };
    of("-4").into_iter().chain(of("-6")).collect()
}

fn named(dst: &str, any: &str) -> String {
    if dst == "default" { any.to_owned() } else { plain(dst) }
}

/// iproute2 leaves the length of a single address out.
fn plain(dst: &str) -> String {
    dst.strip_suffix("/32").or_else(|| dst.strip_suffix("/128")).unwrap_or(dst).to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
