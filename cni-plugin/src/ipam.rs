//! Where addresses come from: netd, the keys of `host-local` and of `static`, or another program. Never gives an address out.

use std::{net::IpAddr, path::PathBuf};

use ipnet::IpNet;
use netd_api::{
    addr::Subnet,
    cni::{AddressRange, CniAddress, CniRoute},
};

use crate::{
    env::Args,
    error::CniError,
    json::{Field, Object},
    spec::{Dns, address_of, gateway, routes},
};

/// Who gives addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// netd, by ranges as `host-local` has them, or as it likes.
    Netd,
    /// The configuration, as `static` has it.
    Static,
    /// The program of this name in CNI_PATH.
    Delegated(String),
    /// Nobody: `ipam` is there and empty, the network has no IP.
    Nobody,
}

impl Kind {
    /// From `ipam.type`.
    pub(crate) fn of(root: &Object<'_>) -> Result<Self, CniError> {
        let Some(ipam) = root.object("ipam")? else {
            return Ok(Self::Netd);
        };
        Ok(match ipam.text("type")? {
            None if ipam.is_empty() || (ipam.names("type") && ipam.fields().count() == 1) => Self::Nobody,
            None | Some("netd" | "netd-cni" | "host-local") => Self::Netd,
            Some("static") => Self::Static,
            Some(other) => Self::Delegated(other.to_owned()),
        })
    }

    /// The program to be run, where there is one.
    pub fn program(&self) -> Option<&str> {
        if let Self::Delegated(program) = self { Some(program) } else { None }
    }
}

/// What a configuration says about addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ipam {
    /// Sets of ranges; each gives an attachment one address.
    pub sets: Vec<Vec<AddressRange>>,
    /// Addresses that the attachment shall have.
    pub addresses: Vec<CniAddress>,
    /// Routes; none where the key is not there.
    pub routes: Option<Vec<CniRoute>>,
    /// DNS settings, as `static` has them.
    pub dns: Dns,
    /// A file with DNS settings, as `host-local` has it.
    pub resolv_conf: Option<PathBuf>,
}

impl Ipam {
    /// Reads the keys at the top, in `ipam`, and what the runtime asks for.
    pub(crate) fn of(root: &Object<'_>, kind: &Kind, args: &Args) -> Result<Self, CniError> {
        let mut ipam = Self { routes: routes(root)?, ..Self::default() };
        let block = root.object("ipam")?;
        let runtime = root.object("runtimeConfig")?;
        if let Some(runtime) = &runtime {
            ipam.sets = sets(runtime, "ipRanges")?;
        }
        if *kind == Kind::Netd {
            let mut gateways = Vec::new();
            for object in [Some(root), block.as_ref()].into_iter().flatten() {
                ipam.sets.extend(ranges(object)?);
                gateways.extend(gateway(object, "gateway")?);
            }
            gateways.into_iter().try_for_each(|gateway| give(gateway, &mut ipam.sets))?;
        }
        if let Some(block) = &block {
            if let Some(more) = routes(block)? {
                ipam.routes.get_or_insert_default().extend(more);
            }
            ipam.dns = Dns::read(block)?;
            ipam.resolv_conf = block.text("resolvConf")?.map(PathBuf::from);
        }
        // Another program sees all of this itself.
        if !matches!(kind, Kind::Delegated(_)) {
            let wished = wished(root, runtime.as_ref(), args)?;
            ipam.addresses = if *kind == Kind::Static { fixed(block.as_ref(), wished, args)? } else { wished };
        }
        Ok(ipam)
    }
}

/// The addresses that the runtime wants: by capability, else by `args.cni`, else by CNI_ARGS.
fn wished(root: &Object<'_>, runtime: Option<&Object<'_>>, args: &Args) -> Result<Vec<CniAddress>, CniError> {
    let cni = root.object("args")?.map(|args| args.object("cni")).transpose()?.flatten();
    for object in [runtime, cni.as_ref()].into_iter().flatten() {
        let mut ips: Vec<CniAddress> = Vec::new();
        for field in object.list("ips")? {
            let ip = bare(field.text()?, &field.path)?;
            // podman's `network reload` says a static address twice.
            if ips.iter().all(|known| known.address != ip.address) {
                ips.push(ip);
            }
        }
        if !ips.is_empty() {
            return Ok(ips);
        }
    }
    args.ip.iter().map(|ip| bare(ip, "IP in CNI_ARGS")).collect()
}

/// `10.0.0.2` or `10.0.0.2/24`.
fn bare(text: &str, path: &str) -> Result<CniAddress, CniError> {
    let text = text.trim();
    let (address, prefix) = match text.parse::<IpNet>() {
        Ok(net) => (net.addr(), Some(net.prefix_len())),
        Err(_) => {
            let address: IpAddr = text.parse().map_err(|_| {
                CniError::config(format!("{path} must be an IP address, and is {:?}", text.chars().take(60).collect::<String>()))
            })?;
            (address.to_canonical(), None)
        }
    };
    Ok(CniAddress { address, prefix, gateway: None })
}

/// `static`: what the runtime wants stands for what is configured; the prefix of a bare address is that of a configured subnet around it.
fn fixed(block: Option<&Object<'_>>, wished: Vec<CniAddress>, args: &Args) -> Result<Vec<CniAddress>, CniError> {
    let mut configured = Vec::new();
    for field in block.map(|block| block.list("addresses")).transpose()?.into_iter().flatten() {
        configured.push(address_of(&field.object()?, "address")?);
    }
    let around = |address: IpAddr| configured.iter().find(|one| net_of(one).is_some_and(|net| net.contains(&address)));
    let mut addresses = if wished.is_empty() { configured.clone() } else { wished };
    for address in &mut addresses {
        if let Some(known) = around(address.address) {
            address.prefix = address.prefix.or(known.prefix);
            address.gateway = address.gateway.or(known.gateway);
        }
        if address.prefix.is_none() {
            return Err(CniError::config(format!("{} needs the length of its prefix ({0}/24): ipam.type is static", address.address)));
        }
    }
    for gateway in &args.gateway {
        let gateway = bare(gateway, "GATEWAY in CNI_ARGS")?.address;
        for address in addresses.iter_mut().filter(|one| net_of(one).is_some_and(|net| net.contains(&gateway))) {
            address.gateway = Some(gateway);
        }
    }
    if addresses.is_empty() {
        return Err(CniError::config("ipam.type is static, and there is no address").details("give ipam.addresses, or the capability ips"));
    }
    Ok(addresses)
}

/// The subnet around an address whose prefix is known.
pub(crate) fn net_of(address: &CniAddress) -> Option<IpNet> {
    IpNet::new(address.address, address.prefix?).ok()
}

/// `subnet` with its `rangeStart`, `rangeEnd`; `subnets`; `ranges`.
fn ranges(object: &Object<'_>) -> Result<Vec<Vec<AddressRange>>, CniError> {
    let mut sets = Vec::new();
    if let Some(range) = range(object)? {
        sets.push(vec![range]);
    } else if object.get("rangeStart").or_else(|| object.get("rangeEnd")).is_some() {
        return Err(CniError::config("rangeStart and rangeEnd need a subnet"));
    }
    for field in object.list("subnets")? {
        sets.push(vec![AddressRange { subnet: field.parsed("a subnet")?, first: None, last: None, gateway: None }]);
    }
    sets.extend(self::sets(object, "ranges")?);
    Ok(sets)
}

/// A gateway that stands beside the ranges is that of the subnet it lies in.
fn give(gateway: IpAddr, sets: &mut [Vec<AddressRange>]) -> Result<(), CniError> {
    let mut found = false;
    for range in sets.iter_mut().flatten().filter(|range| range.subnet.contains(gateway)) {
        range.gateway.get_or_insert(gateway);
        found = true;
    }
    if found {
        return Ok(());
    }
    Err(CniError::config(format!("gateway {gateway} lies in no subnet of this configuration"))
        .details("give the subnet as well, or leave both to netd"))
}

/// A list of sets, each a list of ranges.
fn sets(object: &Object<'_>, key: &str) -> Result<Vec<Vec<AddressRange>>, CniError> {
    object
        .list(key)?
        .into_iter()
        .map(|set| {
            let path = set.path.clone();
            let set: Vec<_> = set.list()?.into_iter().map(range_of).collect::<Result<_, _>>()?;
            match set.first() {
                None => Err(CniError::config(format!("{path} is empty: a set needs a range"))),
                Some(first) if set.iter().any(|range| range.subnet.family() != first.subnet.family()) => {
                    Err(CniError::config(format!("{path} has ranges of both families: a set gives one address")))
                }
                Some(_) => Ok(set),
            }
        })
        .collect()
}

fn range_of(field: Field<'_>) -> Result<AddressRange, CniError> {
    let path = field.path.clone();
    let object = field.object()?;
    let mut range = range(&object)?.ok_or_else(|| CniError::config(format!("{path}.subnet is missing: a range needs its subnet")))?;
    range.gateway = gateway(&object, "gateway")?;
    if let Some(gateway) = range.gateway.filter(|gateway| !range.subnet.contains(*gateway)) {
        return Err(CniError::config(format!("{path}.gateway {gateway} lies outside its subnet {}", range.subnet)));
    }
    Ok(range)
}

fn range(object: &Object<'_>) -> Result<Option<AddressRange>, CniError> {
    let Some(subnet) = object.parsed::<Subnet>("subnet", "a subnet")? else {
        return Ok(None);
    };
    let range = AddressRange { subnet, first: gateway(object, "rangeStart")?, last: gateway(object, "rangeEnd")?, gateway: None };
    for (key, address) in [("rangeStart", range.first), ("rangeEnd", range.last)] {
        if let Some(address) = address.filter(|address| !subnet.contains(*address)) {
            return Err(CniError::config(format!("{key} {address} lies outside its subnet {subnet}")));
        }
    }
    if let (Some(first), Some(last)) = (range.first, range.last)
        && first > last
    {
        return Err(CniError::config(format!("rangeStart {first} is behind rangeEnd {last}")));
    }
    Ok(Some(range))
}
