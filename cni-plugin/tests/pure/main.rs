//! What the plugin makes of environment and configuration, without a daemon: requests, results of every version, every error.

mod anything;
mod goldens;
mod wishes;

use std::{collections::BTreeMap, ffi::OsString};

use cni_plugin::{
    config::Config,
    env::{Attachment, Variables, Verb},
    error::CniError,
    spec::Allocation,
    translate,
    wish::Wish,
};
use netd_api::cni::{CniAdd, CniAdded, CniNetwork, InlineNetwork};
use serde_json::{Value, json};

const NETNS: &str = "/run/netns/blue";

fn variables(pairs: &[(&str, &str)]) -> Variables {
    let mut all =
        BTreeMap::from([("CNI_CONTAINERID", "cafe0123456789"), ("CNI_NETNS", NETNS), ("CNI_IFNAME", "eth0"), ("CNI_COMMAND", "ADD")]);
    all.extend(pairs.iter().copied());
    Variables::from(|name| all.get(name).map(OsString::from))
}

fn asked_with(config: &Value, pairs: &[(&str, &str)], brought: Option<&Allocation>) -> Result<CniAdd, CniError> {
    let variables = variables(pairs);
    let attachment = Attachment::of(&variables)?;
    let read = Config::of(config, &variables, Verb::Add)?;
    let wish = Wish::of(config, &read.name, &read.ipam, attachment.ifname.as_str(), &attachment.args)?;
    translate::add(&read, &wish, &attachment, brought)
}

/// What ADD asks of netd for a configuration.
fn asked(config: &Value) -> CniAdd {
    asked_with(config, &[], None).unwrap()
}

fn refused(config: &Value) -> CniError {
    asked_with(config, &[], None).unwrap_err()
}

#[expect(clippy::needless_pass_by_value, reason = "every caller has just made it")]
fn config(more: Value) -> Value {
    let mut config = json!({ "cniVersion": "1.0.0", "name": "blue", "type": "netd-cni" });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

fn inline(add: CniAdd) -> InlineNetwork {
    match add.network {
        CniNetwork::Inline(inline) => inline,
        CniNetwork::Named(name) => panic!("the network {name} is meant"),
    }
}

/// What netd says that it made.
fn made() -> CniAdded {
    serde_json::from_value(json!({
        "name": "shop/web-1", "network": "blue", "bridge": "cni0", "bridge_mac": "02:00:00:00:00:01",
        "host_ifname": "ndv0123456789ab", "host_mac": "02:00:00:00:00:02", "mac": "02:00:00:00:00:03", "mtu": 1450,
        "addresses": [
            { "net": "10.22.0.5/16", "gateway": "10.22.0.1" },
            { "net": "fd00:22::5/64", "gateway": null },
        ],
        "routes": [
            { "dst": "0.0.0.0/0", "gw": "10.22.0.1" },
            { "dst": "10.96.0.0/12", "gw": "10.22.0.1", "mtu": 1400, "advmss": 1360, "priority": 100, "table": 254, "scope": 0 },
            { "dst": "fd00:96::/108", "gw": null, "scope": 253 },
        ],
    }))
    .unwrap()
}
