//! The specification's verbs → netd's requests: pure. Never talks to anybody.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netd_api::cni::{
    Addressing, CniAdd, CniAddress, CniAttachment, CniCheck, CniGc, CniKey, CniNetwork, CniRoute, CniStatus, InlineNetwork,
};
use serde_json::Value;

use crate::{
    config::Config,
    env::{Args, Attachment},
    error::CniError,
    ipam::{Kind, net_of},
    json::{Field, Object},
    spec::{Allocation, Expected},
    version::Version,
    wish::{Network, Wish},
};

/// The list of GC: the specification's spelling, and the one of libcni's first versions with GC.
const VALID: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// ADD. `brought` is what a delegated plugin gave.
///
/// # Errors
/// The configuration contradicts itself.
pub fn add(config: &Config, wish: &Wish, attachment: &Attachment, brought: Option<&Allocation>) -> Result<CniAdd, CniError> {
    let key = key(config, attachment)?;
    let addresses = addresses(config, wish, brought);
    let routes = routes(wish, brought, &addresses);
    let network = network(config, wish, &addresses);
    one_of_each_family(config.version, &network, &addresses)?;
    Ok(CniAdd {
        key,
        netns: attachment.netns.clone(),
        name: attachment.args.name.clone(),
        namespace: attachment.args.namespace.clone(),
        labels: wish.runtime.labels.clone(),
        cgroup: wish.runtime.cgroup.clone(),
        network,
        addresses,
        mac: wish.runtime.mac,
        routes,
        publish: wish.runtime.publish.clone(),
        bandwidth: wish.runtime.bandwidth,
        sysctls: wish.runtime.sysctls.clone(),
        aliases: wish.runtime.aliases.clone(),
    })
}

fn key(config: &Config, attachment: &Attachment) -> Result<CniKey, CniError> {
    Ok(CniKey { config: config.network_name()?, container: attachment.container.clone(), ifname: attachment.ifname.clone() })
}

/// CHECK.
///
/// # Errors
/// `prevResult` is missing or no result of this attachment.
pub fn check(config: &Config, attachment: &Attachment) -> Result<CniCheck, CniError> {
    let key = key(config, attachment)?;
    let previous = config
        .previous
        .as_ref()
        .ok_or_else(|| CniError::config("missing prevResult").details("CHECK wants the result of the last ADD of this attachment"))?;
    let expected = Expected::of(previous, attachment.ifname.as_str(), &attachment.netns)?;
    Ok(CniCheck { key, netns: attachment.netns.clone(), addresses: expected.addresses, routes: expected.routes, mac: expected.mac })
}

/// STATUS.
///
/// # Errors
/// What is wrong with the configuration.
pub fn status(config: &Config, value: &Value) -> Result<CniStatus, CniError> {
    // An address that only a container brings is no matter of the network.
    let kind = if config.ipam == Kind::Static { Kind::Delegated(String::new()) } else { config.ipam.clone() };
    let wish = Wish::of(value, &config.name, &kind, "", &Args::default())?;
    let config = Config { ipam: kind, ..config.clone() };
    Ok(CniStatus { config: config.network_name()?, network: network(&config, &wish, &[]) })
}

/// GC; none where netd could never have had anything of that name.
///
/// # Errors
/// The list of attachments is missing or none.
pub fn gc(config: &Config, value: &Value) -> Result<Option<CniGc>, CniError> {
    let root = Object::root(value)?;
    if !VALID.iter().any(|key| root.names(key)) {
        return Err(CniError::config(format!("missing {}", VALID[0])).details("without it GC would take away everything"));
    }
    let mut valid = Vec::new();
    for key in VALID {
        for attachment in root.list(key)?.into_iter().map(Field::object) {
            let attachment = attachment?;
            let text = |key| attachment.text(key)?.ok_or_else(|| CniError::config(format!("an attachment in {} without {key}", VALID[0])));
            // One that cannot be a name of ours cannot be anything of ours.
            if let (Ok(container), Ok(ifname)) = (text("containerID")?.parse(), text("ifname")?.parse()) {
                valid.push(CniAttachment { container, ifname });
            }
        }
    }
    valid.sort();
    valid.dedup();
    Ok(config.network_name().ok().map(|config| CniGc { config, valid }))
}

/// Whether each attachment brings its addresses itself.
fn is_brought(config: &Config) -> bool {
    matches!(config.ipam, Kind::Static | Kind::Delegated(_) | Kind::Nobody)
}

fn network(config: &Config, wish: &Wish, addresses: &[CniAddress]) -> CniNetwork {
    match &wish.network {
        Network::Named(name) => CniNetwork::Named(name.clone()),
        Network::Inline { inline, .. } => {
            let addressing = match config.ipam {
                Kind::Netd => Addressing::Sets(wish.ipam.sets.clone()),
                Kind::Nobody if addresses.is_empty() => Addressing::None,
                Kind::Nobody => Addressing::Brought,
                Kind::Static | Kind::Delegated(_) => Addressing::Brought,
            };
            CniNetwork::Inline(InlineNetwork { addressing, ..inline.clone() })
        }
    }
}

fn addresses(config: &Config, wish: &Wish, brought: Option<&Allocation>) -> Vec<CniAddress> {
    let mut addresses = brought.map_or_else(|| wish.ipam.addresses.clone(), |brought| brought.addresses.clone());
    for address in &mut addresses {
        if !is_brought(config) {
            // The network knows its subnets better.
            address.prefix = None;
        } else if matches!(&wish.network, Network::Inline { inline, .. } if inline.gateway) {
            address.gateway = address.gateway.or_else(|| net_of(address).map(first));
        }
    }
    addresses
}

/// The first address of a subnet that a station may have: there its gateway is unless something else is said.
fn first(net: IpNet) -> IpAddr {
    match net.network() {
        IpAddr::V4(network) => IpAddr::V4((u32::from(network).saturating_add(1)).into()),
        IpAddr::V6(network) => IpAddr::V6((u128::from(network).saturating_add(1)).into()),
    }
}

/// A described network has exactly the routes that are given; one of netd's gives its own unless others are given.
fn routes(wish: &Wish, brought: Option<&Allocation>, addresses: &[CniAddress]) -> Option<Vec<CniRoute>> {
    let given = match (&wish.ipam.routes, brought) {
        (Some(routes), None) => Some(routes.clone()),
        // What the other plugin makes of the routes in `ipam` is its own affair.
        (_, Some(brought)) => (!brought.routes.is_empty()).then(|| brought.routes.clone()),
        (None, None) => None,
    };
    let Network::Inline { default_routes, .. } = &wish.network else {
        return given.filter(|routes| !routes.is_empty());
    };
    let mut routes = given.unwrap_or_default();
    if *default_routes {
        for net in defaults(wish, addresses) {
            if !routes.iter().any(|route| route.dst == net) {
                routes.push(CniRoute { dst: net, gw: None, mtu: None, advmss: None, priority: None, table: None, scope: None });
            }
        }
    }
    Some(routes)
}

/// The default destinations of the families that an attachment has addresses of.
fn defaults(wish: &Wish, addresses: &[CniAddress]) -> Vec<IpNet> {
    let v4 = IpNet::V4(Ipv4Net::default());
    let v6 = IpNet::V6(Ipv6Net::default());
    let sets: Vec<IpAddr> = wish.ipam.sets.iter().filter_map(|set| Some(set.first()?.subnet.net().addr())).collect();
    let all: Vec<_> = sets.into_iter().chain(addresses.iter().map(|address| address.address)).collect();
    // Where nothing is said, netd chooses an IPv4 subnet.
    let has_v4 = all.is_empty() || all.iter().any(IpAddr::is_ipv4);
    [(has_v4, v4), (all.iter().any(IpAddr::is_ipv6), v6)].into_iter().filter(|(has, _)| *has).map(|(_, net)| net).collect()
}

/// The results of 0.1.0 and 0.2.0 have room for one address of each family.
fn one_of_each_family(version: Version, network: &CniNetwork, addresses: &[CniAddress]) -> Result<(), CniError> {
    let sets = match network {
        CniNetwork::Inline(InlineNetwork { addressing: Addressing::Sets(sets), .. }) => sets.as_slice(),
        _ => &[],
    };
    let firsts: Vec<IpAddr> = sets.iter().filter_map(|set| Some(set.first()?.subnet.net().addr())).collect();
    let given: Vec<IpAddr> = addresses.iter().map(|address| address.address).collect();
    let many = |list: &[IpAddr]| list.iter().filter(|one| one.is_ipv4()).count() > 1 || list.iter().filter(|one| one.is_ipv6()).count() > 1;
    if !version.has_interfaces() && (many(&firsts) || many(&given)) {
        return Err(CniError::config(format!("CNI version {version} does not support more than 1 address per family"))
            .details("say \"cniVersion\": \"1.0.0\""));
    }
    Ok(())
}
