//! The specification's own types where more than one part needs them: DNS settings and results, read in any version's shape. Never makes one.

use std::net::IpAddr;

use ipnet::IpNet;
use netd_api::{
    addr::Mac,
    cni::{CniAddress, CniRoute},
};
use serde_json::{Value, json};

use crate::{
    error::CniError,
    json::{Field, Object},
};

/// DNS settings for the container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dns {
    /// Servers.
    pub nameservers: Vec<String>,
    /// The container's own domain.
    pub domain: Option<String>,
    /// Where short names are looked up.
    pub search: Vec<String>,
    /// resolv.conf(5)'s.
    pub options: Vec<String>,
}

impl Dns {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// This, or the other where this says nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self.is_empty() { other } else { self }
    }

    /// Under `dns`, in the specification's words or in those of the capability.
    pub(crate) fn read(object: &Object<'_>) -> Result<Self, CniError> {
        let Some(dns) = object.object("dns")? else {
            return Ok(Self::default());
        };
        let either = |one, other| dns.texts(one).and_then(|texts| if texts.is_empty() { dns.texts(other) } else { Ok(texts) });
        Ok(Self {
            nameservers: either("nameservers", "servers")?,
            domain: dns.text("domain")?.map(str::to_owned),
            search: either("search", "searches")?,
            options: dns.texts("options")?,
        })
    }

    /// From the text of a resolv.conf(5).
    pub fn of_resolv_conf(text: &str) -> Self {
        let mut dns = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => dns.nameservers.extend(words.next()),
                Some("domain") => dns.domain = words.next(),
                Some("search") => dns.search = words.collect(),
                Some("options") => dns.options.extend(words),
                _ => {}
            }
        }
        dns
    }

    /// As it stands in a result.
    pub fn value(&self) -> Value {
        let mut value = json!({});
        for (key, list) in [("nameservers", &self.nameservers), ("search", &self.search), ("options", &self.options)] {
            if !list.is_empty() {
                value[key] = json!(list);
            }
        }
        if let Some(domain) = &self.domain {
            value["domain"] = json!(domain);
        }
        value
    }
}

/// What an IPAM plugin gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allocation {
    /// Addresses, with prefix length and gateway.
    pub addresses: Vec<CniAddress>,
    /// Routes.
    pub routes: Vec<CniRoute>,
    /// DNS settings.
    pub dns: Dns,
}

impl Allocation {
    /// From a result of any version.
    ///
    /// # Errors
    /// It is no result.
    pub fn of(result: &Value) -> Result<Self, CniError> {
        let object = Object::root(result)?;
        let mut allocation = Self { addresses: Vec::new(), routes: routes(&object)?.unwrap_or_default(), dns: Dns::read(&object)? };
        for (key, address) in [("ip4", "ip"), ("ip6", "ip")] {
            if let Some(family) = object.object(key)? {
                allocation.addresses.push(address_of(&family, address)?);
                allocation.routes.extend(routes(&family)?.unwrap_or_default());
            }
        }
        for field in object.list("ips")? {
            allocation.addresses.push(address_of(&field.object()?, "address")?);
        }
        Ok(allocation)
    }
}

/// `{"address": "10.0.0.2/24", "gateway": "10.0.0.1"}`.
pub(crate) fn address_of(object: &Object<'_>, key: &str) -> Result<CniAddress, CniError> {
    let net: IpNet = object
        .parsed(key, "an address with the length of its prefix (10.0.0.2/24)")?
        .ok_or_else(|| CniError::config(format!("an entry without {key}: an address with the length of its prefix is needed")))?;
    Ok(CniAddress { address: net.addr(), prefix: Some(net.prefix_len()), gateway: gateway(object, "gateway")? })
}

/// An address without prefix.
pub(crate) fn gateway(object: &Object<'_>, key: &str) -> Result<Option<IpAddr>, CniError> {
    Ok(object.parsed::<IpAddr>(key, "an IP address")?.map(|address| address.to_canonical()))
}

/// The list `routes` of an object; none where the key is not there.
pub(crate) fn routes(object: &Object<'_>) -> Result<Option<Vec<CniRoute>>, CniError> {
    object.get("routes").map(|field| field.list()?.into_iter().map(route).collect()).transpose()
}

fn route(field: Field<'_>) -> Result<CniRoute, CniError> {
    let route = field.object()?;
    let small = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
    let most = u64::from(u32::MAX);
    let dst: IpNet = route.parsed("dst", "a CIDR (0.0.0.0/0)")?.ok_or_else(|| CniError::config("a route without dst: a CIDR is needed"))?;
    Ok(CniRoute {
        dst: dst.trunc(),
        gw: gateway(&route, "gw")?,
        mtu: small(route.number("mtu", most)?),
        advmss: small(route.number("advmss", most)?),
        priority: small(route.number("priority", most)?),
        table: small(route.number("table", most)?),
        scope: route.number("scope", 255)?.and_then(|scope| u8::try_from(scope).ok()),
    })
}

/// What a result says about one interface of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// The routes that may be its own.
    pub routes: Vec<CniRoute>,
    /// Its hardware address.
    pub mac: Option<Mac>,
}

impl Expected {
    /// What `prevResult` says about an interface.
    ///
    /// # Errors
    /// It is no result, or does not know the interface.
    pub fn of(result: &Value, ifname: &str, netns: &str) -> Result<Self, CniError> {
        let object = Object::root(result)?;
        let interfaces = object.list("interfaces")?.into_iter().map(Field::object).collect::<Result<Vec<_>, _>>()?;
        let mut ours = None;
        let mut others = false;
        for (index, interface) in interfaces.iter().enumerate() {
            let sandbox = interface.text("sandbox")?;
            if interface.text("name")? == Some(ifname) && sandbox.is_some_and(|sandbox| netns.is_empty() || sandbox == netns) {
                ours = Some((index, interface.parsed("mac", "a hardware address").ok().flatten()));
            } else {
                others |= sandbox.is_some();
            }
        }
        if ours.is_none() && !interfaces.is_empty() {
            return Err(CniError::config(format!("prevResult has no interface {ifname} in {netns}"))
                .details("CHECK wants the result of the last ADD of this attachment"));
        }
        let index = ours.as_ref().map(|(index, _)| *index as u64);
        let mut expected = Self { mac: ours.and_then(|(_, mac)| mac), ..Self::default() };
        for field in object.list("ips")? {
            let ip = field.object()?;
            let of = ip.number("interface", u64::MAX)?;
            if of.is_none() || index.is_none() || of == index {
                let address = address_of(&ip, "address")?;
                expected.addresses.extend(address.prefix.and_then(|prefix| IpNet::new(address.address, prefix).ok()));
            }
        }
        // A result does not say whose a route is: with other interfaces in the container, only those by our own subnets are certain.
        let near = |route: &CniRoute| route.gw.is_some_and(|gw| expected.addresses.iter().any(|net| net.contains(&gw)));
        expected.routes = routes(&object)?.unwrap_or_default().into_iter().filter(|route| !others || near(route)).collect();
        Ok(expected)
    }
}
