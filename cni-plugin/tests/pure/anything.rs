//! Whatever comes in, an answer goes out.

use cni_plugin::{
    config::Config,
    env::Verb,
    result, run,
    spec::{Allocation, Dns, Expected},
    translate,
    version::Version,
};
use netd_api::cni::CniAdd;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{NETNS, asked_with, made, variables};

/// JSON that is often nearly a configuration.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|b| json!(b)),
        any::<i64>().prop_map(|n| json!(n)),
        "[ -~]{0,12}".prop_map(|s| json!(s)),
        proptest::sample::select(vec![
            "10.0.0.0/24",
            "10.0.0.7/24",
            "fd00::/64",
            "10.0.0.1",
            "netd",
            "static",
            "host-local",
            "",
            "0.0.0.0/0"
        ])
        .prop_map(|s| json!(s)),
    ];
    let keys = proptest::sample::select(vec![
        "name",
        "cniVersion",
        "network",
        "ipam",
        "type",
        "ranges",
        "subnet",
        "subnets",
        "routes",
        "dst",
        "gw",
        "addresses",
        "address",
        "dns",
        "runtimeConfig",
        "portMappings",
        "hostPort",
        "containerPort",
        "ips",
        "ipRanges",
        "aliases",
        "mac",
        "args",
        "cni",
        "labels",
        "sysctl",
        "bandwidth",
        "ingressRate",
        "bridge",
        "isGateway",
        "isDefaultGateway",
        "prevResult",
        "interfaces",
        "gateway",
        "mtu",
    ]);
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|list| json!(list)),
            proptest::collection::btree_map(keys.clone().prop_map(str::to_owned), inner, 0..6).prop_map(|map| json!(map)),
        ]
    })
}

fn request_or_error(config: &Value, pairs: &[(&str, &str)]) {
    let allocation = Allocation::of(config).ok();
    match asked_with(config, pairs, allocation.as_ref()) {
        Ok(add) => assert_eq!(serde_json::from_value::<CniAdd>(serde_json::to_value(&add).unwrap()).unwrap(), add),
        Err(error) => assert!(error.code > 0 && !error.msg.is_empty()),
    }
    let _ = Expected::of(config, "eth0", NETNS);
    assert!(result::added(Version::V110, &made(), "eth0", NETNS, &Dns::default(), Some(config)).is_object());
}

proptest! {
    #[test]
    fn every_configuration_is_a_request_or_an_error(mut value in values(), args in "[ -~]{0,40}") {
        request_or_error(&value, &[("CNI_ARGS", &args)]);
        if let Some(map) = value.as_object_mut() {
            map.insert("name".to_owned(), json!("blue"));
            map.insert("cniVersion".to_owned(), json!("1.1.0"));
            request_or_error(&value, &[]);
            let read = Config::of(&value, &variables(&[]), Verb::Status);
            if let Ok(read) = read {
                let _ = translate::status(&read, &value);
                let _ = translate::gc(&read, &value);
            }
        }
    }

    #[test]
    fn any_bytes_without_a_daemon_get_an_error_object(stdin in proptest::collection::vec(any::<u8>(), 0..200), verb in "(ADD|CHECK|GC|STATUS|[A-Z]{0,6})", id in "\\PC{0,20}", ifname in "\\PC{0,18}") {
        prop_assume!(verb != "VERSION" && verb != "DEL");
        let id = id.replace('\0', "");
        let answer = run::answer(&variables(&[("CNI_COMMAND", &verb), ("CNI_CONTAINERID", &id), ("CNI_IFNAME", &ifname)]), stdin.as_slice());
        let object: Value = serde_json::from_str(&answer.text().unwrap()).unwrap();
        prop_assert!(answer.is_error() && object["code"].as_u64().is_some_and(|code| code > 0), "{}", object);
    }
}
