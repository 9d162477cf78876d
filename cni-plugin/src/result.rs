//! What ADD made → the specification's result in the version that was asked for, with that of the plugins before. Never decides what is made.

use std::net::IpAddr;

use netd_api::cni::{CniAdded, CniRoute};
use serde_json::{Map, Value, json};

use crate::{spec::Dns, version::Version};

/// In a result the bridge comes first, then the host's end, then the container's.
const CONTAINER: usize = 2;

/// The result of ADD.
pub fn added(version: Version, added: &CniAdded, ifname: &str, netns: &str, dns: &Dns, previous: Option<&Value>) -> Value {
    let mut result = Map::new();
    result.insert("cniVersion".to_owned(), json!(version.as_str()));
    if !version.has_interfaces() {
        for (key, is_ours) in [("ip4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool), ("ip6", IpAddr::is_ipv6)] {
            if let Some(family) = family(added, is_ours) {
                result.insert(key.to_owned(), family);
            }
        }
        put_dns(&mut result, dns, None);
        return Value::Object(result);
    }
    let list = |key: &str| previous.and_then(|previous| previous.get(key)).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut interfaces = list("interfaces");
    let first = interfaces.len();
    interfaces.extend(self::interfaces(version, added, ifname, netns));
    let mut ips = list("ips");
    ips.extend(self::ips(version, added, first + CONTAINER));
    let mut routes = list("routes");
    routes.extend(added.routes.iter().map(|route| self::route(version, route)));
    for (key, list) in [("interfaces", interfaces), ("ips", ips), ("routes", routes)] {
        if !list.is_empty() {
            result.insert(key.to_owned(), Value::Array(list));
        }
    }
    put_dns(&mut result, dns, previous.and_then(|previous| previous.get("dns")));
    Value::Object(result)
}

/// 0.1.0 and 0.2.0: one address of a family, with the routes of the family.
fn family(added: &CniAdded, is_ours: fn(&IpAddr) -> bool) -> Option<Value> {
    let address = added.addresses.iter().find(|address| is_ours(&address.net.addr()))?;
    let mut family = json!({ "ip": address.net });
    if let Some(gateway) = address.gateway {
        family["gateway"] = json!(gateway);
    }
    let routes: Vec<_> =
        added.routes.iter().filter(|route| is_ours(&route.dst.addr())).map(|route| self::route(Version::V020, route)).collect();
    if !routes.is_empty() {
        family["routes"] = json!(routes);
    }
    Some(family)
}

fn interfaces(version: Version, added: &CniAdded, ifname: &str, netns: &str) -> [Value; 3] {
    let interface = |name: &str, mac: &str| {
        let mut interface = json!({ "name": name, "mac": mac });
        if version >= Version::V110 {
            interface["mtu"] = json!(added.mtu);
        }
        interface
    };
    let mut container = interface(ifname, &added.mac.to_string());
    container["sandbox"] = json!(netns);
    [
        interface(added.bridge.as_str(), &added.bridge_mac.to_string()),
        interface(added.host_ifname.as_str(), &added.host_mac.to_string()),
        container,
    ]
}

fn ips(version: Version, added: &CniAdded, interface: usize) -> impl Iterator<Item = Value> {
    added.addresses.iter().map(move |address| {
        let mut ip = json!({ "interface": interface, "address": address.net });
        if version < Version::V100 {
            ip["version"] = json!(if address.net.addr().is_ipv4() { "4" } else { "6" });
        }
        if let Some(gateway) = address.gateway {
            ip["gateway"] = json!(gateway);
        }
        ip
    })
}

fn route(version: Version, route: &CniRoute) -> Value {
    let mut value = json!({ "dst": route.dst });
    if let Some(gw) = route.gw {
        value["gw"] = json!(gw);
    }
    if version >= Version::V110 {
        let more = [
            ("mtu", route.mtu),
            ("advmss", route.advmss),
            ("priority", route.priority),
            ("table", route.table),
            ("scope", route.scope.map(u32::from)),
        ];
        for (key, number) in more {
            if let Some(number) = number {
                value[key] = json!(number);
            }
        }
    }
    value
}

/// Ours where we have any; else what the plugins before said.
fn put_dns(result: &mut Map<String, Value>, dns: &Dns, previous: Option<&Value>) {
    if !dns.is_empty() {
        result.insert("dns".to_owned(), dns.value());
    } else if let Some(previous) = previous.filter(|previous| previous.as_object().is_some_and(|previous| !previous.is_empty())) {
        result.insert("dns".to_owned(), previous.clone());
    }
}
