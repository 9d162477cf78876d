//! What a runtime asks for beside the network: ports, rates, names, hardware address, labels, sysctls. Never decides whether they can be had.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use netd_api::{
    addr::Mac,
    cni::{Bandwidth, Rate},
    names::{LabelKey, LabelValue},
    publish::{PortRange, Protocol, PublishSpec, RANGE_MOST},
    spec::Labels,
};

use crate::{
    env::Args,
    error::CniError,
    json::{Field, Object},
    spec::Dns,
};

/// What came by capabilities, `args.cni`, CNI_ARGS and the keys of the plugin `tuning`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runtime {
    /// Host ports.
    pub publish: Vec<PublishSpec>,
    /// Rates.
    pub bandwidth: Bandwidth,
    /// The hardware address.
    pub mac: Option<Mac>,
    /// Further names on this network.
    pub aliases: Vec<String>,
    /// The container's cgroup.
    pub cgroup: Option<String>,
    /// DNS settings.
    pub dns: Dns,
    /// The container's labels.
    pub labels: Labels,
    /// Sysctls below `net`, with slashes.
    pub sysctls: BTreeMap<String, String>,
}

impl Runtime {
    /// Reads them for one attachment.
    pub(crate) fn of(root: &Object<'_>, network: &str, ifname: &str, args: &Args) -> Result<Self, CniError> {
        let runtime = root.object("runtimeConfig")?;
        let cni = root.object("args")?.map(|args| args.object("cni")).transpose()?.flatten();
        let mut labels = cni.as_ref().map(labels).transpose()?.unwrap_or_default();
        if let Some((key, uid)) = &args.uid {
            labels.entry(key.clone()).or_insert_with(|| uid.clone());
        }
        let mut asked =
            Self { mac: mac(root, runtime.as_ref(), cni.as_ref(), args)?, labels, sysctls: sysctls(root, ifname)?, ..Self::default() };
        asked.bandwidth = bandwidth(root)?;
        if let Some(runtime) = &runtime {
            asked.publish = ports(runtime)?;
            if runtime.get("bandwidth").is_some() {
                asked.bandwidth = bandwidth(runtime)?;
            }
            asked.aliases = aliases(runtime, network)?;
            asked.cgroup = runtime.text("cgroupPath")?.map(str::to_owned);
            asked.dns = Dns::read(runtime)?;
        }
        Ok(asked)
    }
}

/// `portMappings`. A host port of 0 is none, as the runtimes mean it.
fn ports(runtime: &Object<'_>) -> Result<Vec<PublishSpec>, CniError> {
    let mut ports = BTreeSet::new();
    for field in runtime.list("portMappings")? {
        let path = field.path.clone();
        let mapping = field.object()?;
        let Some(host) = mapping.number("hostPort", 65535)?.and_then(port) else {
            continue;
        };
        let container = mapping
            .number("containerPort", 65535)?
            .and_then(port)
            .ok_or_else(|| CniError::config(format!("{path}.containerPort must be a port from 1 to 65535")))?;
        let address = mapping.parsed::<IpAddr>("hostIP", "an IP address")?.map(|address| address.to_canonical());
        let protocol = mapping.parsed::<Protocol>("protocol", "tcp, udp or sctp")?.unwrap_or_default();
        // What leads as far from its host port as its neighbour may be of one range with it.
        ports.insert((address, protocol, i32::from(container) - i32::from(host), host, container));
    }
    Ok(ranges(ports.into_iter().map(|(address, protocol, _, host, container)| (address, protocol, host, container))))
}

/// Mappings that follow each other as ranges: podman sends a range port by port. The same mappings are the same ranges in whatever order they came,
/// so that two networks of a container ask for the same.
fn ranges(sorted: impl Iterator<Item = (Option<IpAddr>, Protocol, u16, u16)>) -> Vec<PublishSpec> {
    let mut ranges: Vec<PublishSpec> = Vec::new();
    for (address, protocol, host, container) in sorted {
        if let Some(PublishSpec { host: Some(hosts), container: containers, .. }) = ranges.last_mut().filter(|last| {
            let follows = |range: PortRange, port| range.last.checked_add(1) == Some(port);
            (last.address, last.protocol) == (address, protocol)
                && last.host.is_some_and(|hosts| follows(hosts, host))
                && follows(last.container, container)
                && last.container.count() < RANGE_MOST
        }) {
            (hosts.last, containers.last) = (host, container);
        } else {
            ranges.push(PublishSpec { address, host: Some(PortRange::one(host)), container: PortRange::one(container), protocol });
        }
    }
    ranges
}

fn port(number: u64) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port > 0)
}

fn bandwidth(object: &Object<'_>) -> Result<Bandwidth, CniError> {
    let Some(bandwidth) = object.object("bandwidth")? else {
        return Ok(Bandwidth::default());
    };
    let rate = |rate: &str, burst: &str| -> Result<Option<Rate>, CniError> {
        let burst_bits = bandwidth.number(burst, u64::MAX)?.filter(|bits| (1..Rate::NO_BURST).contains(bits));
        let bits_per_second = bandwidth.number(rate, u64::MAX)?.filter(|bits| *bits > 0);
        Ok(bits_per_second.map(|bits_per_second| Rate { bits_per_second, burst_bits }))
    };
    Ok(Bandwidth { ingress: rate("ingressRate", "ingressBurst")?, egress: rate("egressRate", "egressBurst")? })
}

/// By capability, else by `args.cni`, else by CNI_ARGS, else by the configuration.
fn mac(root: &Object<'_>, runtime: Option<&Object<'_>>, cni: Option<&Object<'_>>, args: &Args) -> Result<Option<Mac>, CniError> {
    let read = |text: &str, path: &str| {
        text.replace('-', ":").parse::<Mac>().map_err(|why| CniError::config(format!("{path} must be a hardware address: {why}")))
    };
    for (object, path) in [(runtime, "runtimeConfig.mac"), (cni, "args.cni.mac")] {
        if let Some(text) = object.map(|object| object.text("mac")).transpose()?.flatten() {
            return read(text, path).map(Some);
        }
    }
    if let Some(text) = &args.mac {
        return read(text, "MAC in CNI_ARGS").map(Some);
    }
    root.text("mac")?.map(|text| read(text, "mac")).transpose()
}

/// A list, as the conventions have it, or one list for each network, as podman sends them.
fn aliases(runtime: &Object<'_>, network: &str) -> Result<Vec<String>, CniError> {
    let mut aliases = match runtime.get("aliases") {
        Some(field) if field.value.is_object() => field.object()?.texts(network)?,
        _ => runtime.texts("aliases")?,
    };
    let mut seen = BTreeSet::new();
    aliases.retain(|alias| seen.insert(alias.clone()));
    Ok(aliases)
}

/// `labels`: a list of `{key, value}`, as the conventions have it, or a map. What can be no label is left out: it is additional information.
pub(crate) fn labels(object: &Object<'_>) -> Result<Labels, CniError> {
    let mut labels = Labels::new();
    let mut put = |key: &str, value: &str| {
        if let (Ok(key), Ok(value)) = (key.parse::<LabelKey>(), value.parse::<LabelValue>()) {
            labels.insert(key, value);
        }
    };
    match object.get("labels") {
        None => {}
        Some(field) if field.value.is_object() => {
            for (key, value) in field.object()?.fields() {
                put(key, value.text()?);
            }
        }
        Some(field) => {
            for label in field.list()?.into_iter().map(Field::object) {
                let label = label?;
                put(label.text("key")?.unwrap_or_default(), label.text("value")?.unwrap_or_default());
            }
        }
    }
    Ok(labels)
}

/// `net.ipv4.conf.IFNAME.arp_ignore`, with dots or slashes: where the first separator is a slash, dots belong to names (sysctl(8)).
fn sysctls(root: &Object<'_>, ifname: &str) -> Result<BTreeMap<String, String>, CniError> {
    let mut sysctls = BTreeMap::new();
    for (key, field) in root.object("sysctl")?.map(|object| object.fields().collect::<Vec<_>>()).into_iter().flatten() {
        let separator = if key.find(['.', '/']).is_some_and(|at| key[at..].starts_with('/')) { '/' } else { '.' };
        let parts: Vec<_> = key.split(separator).map(|part| if part == "IFNAME" { ifname } else { part }).collect();
        let plain = |part: &&str| !part.is_empty() && ![".", ".."].contains(part) && !part.contains('/') && !part.contains('\0');
        if parts.len() < 2 || parts[0] != "net" || !parts.iter().all(plain) {
            return Err(CniError::config(format!("sysctl {key:?} is none of a network namespace"))
                .details("write it as net.ipv4.conf.IFNAME.arp_ignore; IFNAME stands for the interface"));
        }
        let value = match field.value {
            serde_json::Value::Number(number) => number.to_string(),
            _ => field.text()?.to_owned(),
        };
        sysctls.insert(parts.join("/"), value);
    }
    Ok(sysctls)
}
