//! What a configuration wants of ADD, read from all its keys: which network, how its bridge is, and whatever we cannot do. Never asks netd.

use netd_api::{
    cni::{Addressing, InlineNetwork},
    names::{IfName, NetworkName},
};
use serde_json::Value;

use crate::{
    env::Args,
    error::{CniError, UNSUPPORTED_FIELD},
    ipam::{Ipam, Kind},
    json::Object,
    runtime::{Runtime, labels},
    spec::Dns,
};

/// A configuration with one of these describes a network itself.
const INLINE: [&str; 18] = [
    "bridge",
    "subnet",
    "subnets",
    "ranges",
    "rangeStart",
    "rangeEnd",
    "ipam",
    "isGateway",
    "isDefaultGateway",
    "ipMasq",
    "mtu",
    "gateway",
    "hairpinMode",
    "promiscMode",
    "portIsolation",
    "forceAddress",
    "enabledad",
    "ipMasqBackend",
];

/// Keys of the plugins `bridge` and `tuning` that ask for something netd does not do; not asked for with false and 0.
const CANNOT: [&str; 7] = ["vlan", "vlanTrunk", "macspoofchk", "disableContainerInterface", "promisc", "allmulti", "uplinkInterface"];

/// What ADD shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Which network.
    pub network: Network,
    /// Addresses.
    pub ipam: Ipam,
    /// What the runtime asks for.
    pub runtime: Runtime,
    /// The key `dns`.
    pub dns: Dns,
}

/// Which network a configuration means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// One of netd's.
    Named(NetworkName),
    /// The one that it describes. Its addressing is filled in once all addresses are known.
    Inline {
        /// What it describes.
        inline: InlineNetwork,
        /// `isDefaultGateway`.
        default_routes: bool,
    },
}

impl Wish {
    /// Reads it for an attachment; without one (STATUS) what belongs to a container is as if it were not there.
    ///
    /// # Errors
    /// What is wrong, by key.
    pub fn of(value: &Value, name: &str, kind: &Kind, ifname: &str, args: &Args) -> Result<Self, CniError> {
        let root = Object::root(value)?;
        for key in CANNOT {
            if let Some(field) = root.get(key).filter(|field| asks(field.value)) {
                return Err(CniError::new(UNSUPPORTED_FIELD, format!("unsupported field {key}: {}", field.value))
                    .details("netd does not do this; drop the key, or leave this network to the plugin that does"));
            }
        }
        let ipam = Ipam::of(&root, kind, args)?;
        let runtime = Runtime::of(&root, name, ifname, args)?;
        let network = network(&root, &ipam)?;
        Ok(Self { network, ipam, runtime, dns: Dns::read(&root)? })
    }
}

fn asks(value: &Value) -> bool {
    match value {
        Value::Bool(asks) => *asks,
        Value::Number(number) => number.as_i64() != Some(0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    }
}

fn network(root: &Object<'_>, ipam: &Ipam) -> Result<Network, CniError> {
    let named = root.parsed::<NetworkName>("network", "the name of a network of netd")?;
    let runtime_ranges = root.object("runtimeConfig")?.is_some_and(|runtime| runtime.list("ipRanges").is_ok_and(|list| !list.is_empty()));
    if let Some(name) = named {
        if runtime_ranges {
            return Err(CniError::config(format!("the capability ipRanges does not go with the network {name:?}, which has its own"))
                .details("drop \"ipRanges\" among the capabilities, or describe the network in the configuration"));
        }
        return Ok(Network::Named(name));
    }
    if ipam.sets.is_empty() && !INLINE.iter().any(|key| root.get(key).is_some()) {
        return Ok(Network::Named("default".parse().map_err(|why: netd_api::names::NameError| CniError::config(why.to_string()))?));
    }
    let default_routes = root.flag("isDefaultGateway")?.unwrap_or(false);
    let inline = InlineNetwork {
        bridge: root.parsed::<IfName>("bridge", "an interface name")?,
        mtu: root.number("mtu", 65535)?.filter(|mtu| *mtu > 0).and_then(|mtu| u32::try_from(mtu).ok()),
        masquerade: root.flag("ipMasq")?.unwrap_or(false),
        gateway: root.flag("isGateway")?.unwrap_or(false) || default_routes,
        // Without it a container does not reach its own published port where br_netfilter sees the frames of bridges.
        hairpin: root.flag("hairpinMode")?.unwrap_or(true),
        promiscuous: root.flag("promiscMode")?.unwrap_or(false),
        icc: !root.flag("portIsolation")?.unwrap_or(false),
        labels: labels(root)?,
        addressing: Addressing::None,
    };
    Ok(Network::Inline { inline, default_routes })
}
