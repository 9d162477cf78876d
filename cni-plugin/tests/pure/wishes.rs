//! What configurations and runtimes ask for, one promise after the other.

use cni_plugin::{
    config::{Config, decode},
    env::Verb,
    result, run,
    spec::{Allocation, Dns, Expected},
    translate,
    version::Version,
};
use netd_api::cni::{Addressing, CniNetwork};
use serde_json::{Value, json};

use super::{NETNS, asked, asked_with, config, inline, made, refused, variables};

#[test]
fn an_error_is_told_in_the_version_of_the_configuration() {
    let answer = run::answer(&variables(&[]), br#"{"cniVersion":"0.3.1","name":"a b"}"#.as_slice());
    assert!(answer.text().unwrap().contains(r#""cniVersion":"0.3.1""#));
}

#[test]
fn a_megabyte_is_read_and_not_a_byte_more() {
    let mut large = br#"{"name":"blue","x":""#.to_vec();
    large.resize((1 << 20) - 2, b'a');
    large.extend(br#""}"#);
    assert!(decode(&large).is_ok());
    large.push(b' ');
    assert_eq!(decode(&large).unwrap_err().code, 6);
}

#[test]
fn the_newest_offered_version_is_taken_where_none_is_said() {
    let meant = |config: Value| Version::meant(&config).unwrap();
    assert_eq!(meant(json!({})), Version::V010);
    assert_eq!(meant(json!({ "cniVersions": ["0.4.0", "1.1.0", "7.0.0", "1.0.0"] })), Version::V110);
    assert_eq!(meant(json!({ "cniVersion": "0.4.0", "cniVersions": ["1.1.0"] })), Version::V040);
    assert_eq!(Version::meant(&json!({ "cniVersions": ["7.0.0"] })).unwrap_err().code, 1);
}

#[test]
fn nothing_said_means_the_default_network_and_a_name_means_that_one() {
    let CniNetwork::Named(name) = asked(&config(json!({ "capabilities": { "ips": true }, "unknown": 1 }))).network else {
        panic!("it is inline")
    };
    assert_eq!(name.as_str(), "default");
    let add = asked(&config(json!({ "network": "lan", "isGateway": true, "ipam": { "type": "netd" } })));
    assert_eq!(add.network, CniNetwork::Named("lan".parse().unwrap()));
    assert_eq!(add.routes, None, "the network gives its own");
}

#[test]
fn podmans_default_list_moves_over() {
    // cni-podman0 of podman 4, with the type changed and portmap, firewall and tuning dropped.
    let add = asked(&config(json!({
        "cniVersion": "0.4.0", "name": "podman", "bridge": "cni-podman0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
        "ipam": {
            "type": "host-local", "routes": [{ "dst": "0.0.0.0/0" }],
            "ranges": [[{ "subnet": "10.88.0.0/16", "gateway": "10.88.0.1" }]], "dataDir": "/run/x",
        },
        "runtimeConfig": { "portMappings": [{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "" }],
                           "aliases": { "podman": ["web", "web"], "other": ["no"] } },
    })));
    assert_eq!(add.publish.iter().map(ToString::to_string).collect::<Vec<_>>(), ["8080:80/tcp"]);
    assert_eq!(add.aliases, ["web"]);
    assert_eq!(
        add.routes.as_ref().map(|routes| routes.iter().map(|route| route.dst.to_string()).collect::<Vec<_>>()),
        Some(vec!["0.0.0.0/0".to_owned()])
    );
    let inline = inline(add);
    assert_eq!(inline.bridge.as_ref().map(|bridge| bridge.as_str()), Some("cni-podman0"));
    assert!(inline.gateway && inline.masquerade && inline.hairpin && inline.icc && !inline.promiscuous);
    let Addressing::Sets(sets) = inline.addressing else { panic!("it has ranges") };
    assert_eq!((sets.len(), sets[0][0].gateway), (1, Some("10.88.0.1".parse().unwrap())));
}

/// What is published where these mappings are asked for: host address, host port, container port, protocol.
fn published(mappings: impl IntoIterator<Item = (&'static str, u16, u16, &'static str)>) -> Vec<String> {
    let mapping = |(address, host, container, protocol)| json!({ "hostIP": address, "hostPort": host, "containerPort": container, "protocol": protocol });
    let mappings: Vec<Value> = mappings.into_iter().map(mapping).collect();
    asked(&config(json!({ "runtimeConfig": { "portMappings": mappings } }))).publish.iter().map(ToString::to_string).collect()
}

#[test]
fn port_mappings_in_a_row_are_one_range_in_whatever_order_they_come() {
    let row = (0..1000).map(|port| ("", 20_000 + port, 3000 + port, "tcp"));
    assert_eq!(published(row.clone()), ["20000-20999:3000-3999/tcp"]);
    assert_eq!(published(row.clone().rev().chain(row)), ["20000-20999:3000-3999/tcp"], "backwards, and twice");
    assert_eq!(published((1..=65535).map(|port| ("", port, port, "udp"))).len(), 16, "netd takes 4096 in one range");
    assert_eq!(
        published((1..=4097).map(|port| ("", port, port, "udp"))),
        ["1-4096:1-4096/udp", "4097:4097/udp"],
        "a full range and what is left"
    );
}

#[test]
fn port_mappings_that_do_not_follow_each_other_stay_apart() {
    let tcp = |host, container| ("", host, container, "tcp");
    assert_eq!(published([tcp(80, 80), tcp(82, 82)]), ["80:80/tcp", "82:82/tcp"], "a gap");
    assert_eq!(published([tcp(80, 80), tcp(81, 82)]), ["80:80/tcp", "81:82/tcp"], "a gap in the container");
    assert_eq!(published([tcp(80, 8080), tcp(81, 8080)]).len(), 2, "both to one port");
    assert_eq!(published([tcp(80, 81), tcp(81, 80)]).len(), 2, "crosswise");
    assert_eq!(published([tcp(80, 80), ("", 81, 81, "udp")]), ["80:80/tcp", "81:81/udp"], "other protocols");
    assert_eq!(published([("127.0.0.1", 80, 80, "tcp"), tcp(81, 81)]).len(), 2, "other addresses");
    assert_eq!(
        published([tcp(81, 91), ("", 80, 80, "udp"), tcp(80, 80), tcp(80, 90), tcp(81, 81)]),
        ["80-81:80-81/tcp", "80-81:90-91/tcp", "80:80/udp"],
        "rows that lie across each other"
    );
}

#[test]
fn the_usual_list_of_kubernetes_moves_over() {
    let add = asked_with(
        &config(json!({
            "bridge": "cni0", "isDefaultGateway": true, "forceAddress": false, "hairpinMode": false, "promiscMode": true, "mtu": 1400,
            "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.244.1.0/24" }], [{ "subnet": "fd00:244::/64" }]] },
            // containerd's names, which Go reads in any case.
            "runtimeConfig": {
                "portMappings": [
                    { "HostPort": 53, "ContainerPort": 5353, "Protocol": "UDP", "HostIP": "127.0.0.1" },
                    { "HostPort": 0, "ContainerPort": 80, "Protocol": "tcp", "HostIP": "" },
                ],
                "bandwidth": { "IngressRate": 8_000_000, "IngressBurst": 2_147_483_647u64, "EgressRate": 0, "EgressBurst": 0 },
                "cgroupPath": "/kubepods/pod1",
            },
        })),
        &[("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;K8S_POD_INFRA_CONTAINER_ID=x;K8S_POD_UID=1-2")],
        None,
    )
    .unwrap();
    assert_eq!(add.name.as_ref().map(|name| name.as_str()), Some("shop/web-1"));
    assert_eq!(add.namespace.as_str(), "shop");
    assert_eq!(add.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>(), ["io.kubernetes.pod.uid=1-2"]);
    assert_eq!(add.publish.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1:53:5353/udp"]);
    assert_eq!(add.bandwidth.ingress.map(|rate| (rate.bits_per_second, rate.burst_bits)), Some((8_000_000, None)));
    assert_eq!(add.bandwidth.egress, None);
    assert_eq!(add.cgroup.as_deref(), Some("/kubepods/pod1"));
    let routes: Vec<_> = add.routes.iter().flatten().map(|route| (route.dst.to_string(), route.gw)).collect();
    assert_eq!(routes, [("0.0.0.0/0".to_owned(), None), ("::/0".to_owned(), None)]);
    let inline = inline(add);
    assert!(inline.gateway && !inline.masquerade && !inline.hairpin && inline.promiscuous);
    assert_eq!(inline.mtu, Some(1400));
}

#[test]
fn cnitools_example_and_short_forms_move_over() {
    let add =
        asked(&config(json!({ "cniVersion": "0.2.0", "ipam": { "type": "host-local", "subnet": "10.10.0.0/16", "rangeStart": "10.10.0.9",
        "gateway": "10.10.0.254", "routes": [{ "dst": "10.0.0.0/8", "gw": "10.10.0.7" }] } })));
    let Addressing::Sets(sets) = inline(add).addressing else { panic!("it has ranges") };
    assert_eq!((sets[0][0].first, sets[0][0].gateway), (Some("10.10.0.9".parse().unwrap()), Some("10.10.0.254".parse().unwrap())));
    let add = asked(&config(json!({ "subnets": ["10.1.0.0/24", "fd00:1::/64"], "gateway": "10.1.0.9" })));
    assert_eq!(add.routes, Some(Vec::new()), "exactly those that are given");
    let Addressing::Sets(sets) = inline(add).addressing else { panic!("it has ranges") };
    assert_eq!(sets.iter().map(|set| set[0].gateway).collect::<Vec<_>>(), [Some("10.1.0.9".parse().unwrap()), None]);
    assert_eq!(inline(asked(&config(json!({ "bridge": "br7" })))).addressing, Addressing::Sets(Vec::new()), "netd chooses");
    for nobody in [json!({ "ipam": {} }), json!({ "bridge": "br7", "ipam": { "type": "" } })] {
        assert_eq!(inline(asked(&config(nobody))).addressing, Addressing::None);
    }
}

#[test]
fn addresses_are_asked_for_by_capability_then_args_then_cni_args() {
    let ips = |config: &Value, args: &str| {
        let add = asked_with(config, &[("CNI_ARGS", args)], None).unwrap();
        add.addresses.iter().map(|address| address.address.to_string()).collect::<Vec<_>>()
    };
    let all =
        config(json!({ "subnet": "10.1.0.0/24", "runtimeConfig": { "ips": ["10.1.0.3/24"] }, "args": { "cni": { "ips": ["10.1.0.4"] } } }));
    assert_eq!(ips(&all, "IP=10.1.0.5"), ["10.1.0.3"]);
    let two = config(json!({ "subnet": "10.1.0.0/24", "runtimeConfig": { "ips": [] }, "args": { "cni": { "ips": ["10.1.0.4"] } } }));
    assert_eq!(ips(&two, "IP=10.1.0.5"), ["10.1.0.4"]);
    assert_eq!(ips(&config(json!({ "network": "lan" })), "IgnoreUnknown=1;IP=10.1.0.5,fd00::5"), ["10.1.0.5", "fd00::5"]);
}

#[test]
fn static_addresses_bring_their_subnets() {
    let block = json!({ "isGateway": true, "ipam": { "type": "static", "addresses": [
        { "address": "10.10.0.7/24", "gateway": "10.10.0.254" }, { "address": "fd00:a::7/64" }], "routes": [{ "dst": "0.0.0.0/0" }] } });
    let add = asked(&config(block.clone()));
    let gateways: Vec<_> =
        add.addresses.iter().map(|address| (address.prefix, address.gateway.map(|gateway| gateway.to_string()))).collect();
    assert_eq!(gateways, [(Some(24), Some("10.10.0.254".to_owned())), (Some(64), Some("fd00:a::1".to_owned()))]);
    assert_eq!(inline(add).addressing, Addressing::Brought);
    let mut wished = config(block);
    wished["runtimeConfig"] = json!({ "ips": ["10.10.0.9"] });
    let add = asked(&wished);
    assert_eq!(add.addresses.iter().map(|a| (a.address.to_string(), a.prefix)).collect::<Vec<_>>(), [("10.10.0.9".to_owned(), Some(24))]);
    assert_eq!(refused(&config(json!({ "ipam": { "type": "static" } }))).code, 7);
}

#[test]
fn a_segment_without_ip_has_the_addresses_that_its_runtime_brings() {
    let mut bare = config(json!({ "isGateway": true, "ipam": {} }));
    assert_eq!(inline(asked(&bare)).addressing, Addressing::None);
    bare["runtimeConfig"] = json!({ "ips": ["10.1.0.3/24"] });
    let add = asked(&bare);
    assert_eq!(add.addresses[0].prefix, Some(24), "nobody else knows it");
    assert_eq!(inline(add).addressing, Addressing::Brought);
}

#[test]
fn a_delegates_result_is_read_in_every_shape() {
    let old = json!({ "ip4": { "ip": "10.3.0.9/24", "gateway": "10.3.0.1", "routes": [{ "dst": "0.0.0.0/0" }] }, "dns": {} });
    let new = json!({ "ips": [{ "address": "10.3.0.9/24", "gateway": "10.3.0.1" }], "routes": [{ "dst": "0.0.0.0/0" }] });
    let (old, new) = (Allocation::of(&old).unwrap(), Allocation::of(&new).unwrap());
    assert_eq!(old, new);
    let add = asked_with(&config(json!({ "ipam": { "type": "dhcp", "routes": [{ "dst": "10.0.0.0/8" }] } })), &[], Some(&new)).unwrap();
    assert_eq!(add.addresses, new.addresses);
    assert_eq!(add.routes, Some(new.routes));
}

#[test]
fn the_hardware_address_is_that_of_the_capability_then_args_then_cni_args_then_the_key() {
    let mac = |more: Value, args: &str| asked_with(&config(more), &[("CNI_ARGS", args)], None).unwrap().mac.map(|mac| mac.to_string());
    let (capability, args) = (json!({ "mac": "02:00:00:00:00:01" }), json!({ "cni": { "mac": "02-00-00-00-00-02" } }));
    assert_eq!(mac(json!({ "runtimeConfig": capability, "args": args }), "MAC=02:00:00:00:00:03").as_deref(), Some("02:00:00:00:00:01"));
    assert_eq!(mac(json!({ "args": args }), "MAC=02:00:00:00:00:03").as_deref(), Some("02:00:00:00:00:02"));
    assert_eq!(mac(json!({ "mac": "02:00:00:00:00:04" }), "MAC=02:00:00:00:00:03").as_deref(), Some("02:00:00:00:00:03"));
    assert_eq!(mac(json!({ "mac": "02:00:00:00:00:04" }), "").as_deref(), Some("02:00:00:00:00:04"));
}

#[test]
fn a_name_that_cannot_be_ours_is_left_out_and_podmans_is_taken() {
    let named = |args: &str| asked_with(&config(json!({})), &[("CNI_ARGS", args)], None).unwrap();
    assert_eq!(named("IgnoreUnknown=1;K8S_POD_NAME=web").name.map(|name| name.to_string()).as_deref(), Some("web"));
    assert_eq!(named("IgnoreUnknown=1;K8S_POD_NAME=web").namespace.as_str(), "default");
    assert_eq!(named("K8S_POD_NAME=a b").name, None);
}

#[test]
fn labels_come_as_a_list_or_a_map_and_sysctls_with_dots_or_slashes() {
    let labels = |labels: Value| asked(&config(json!({ "args": { "cni": { "labels": labels } } }))).labels;
    let map = labels(json!({ "app": "web", "bad key": "x" }));
    assert_eq!(map, labels(json!([{ "key": "app", "value": "web" }])));
    assert_eq!(map.len(), 1);
    let add = asked_with(
        &config(json!({ "sysctl": { "net.ipv4.conf.IFNAME.arp_ignore": "1", "net/ipv4/conf/eth0.7/rp_filter": 2, "net.core.somaxconn": "500" } })),
        &[("CNI_IFNAME", "eth0.7")],
        None,
    )
    .unwrap();
    let keys: Vec<_> = add.sysctls.keys().map(String::as_str).collect();
    assert_eq!(keys, ["net/core/somaxconn", "net/ipv4/conf/eth0.7/arp_ignore", "net/ipv4/conf/eth0.7/rp_filter"]);
    for bad in ["kernel.panic", "net", "net/../kernel/panic", "net..x", "net/ipv4//x"] {
        assert_eq!(refused(&config(json!({ "sysctl": { bad: "1" } }))).code, 7, "{bad}");
    }
}

#[test]
fn what_cannot_be_had_is_refused_by_key() {
    for (more, says) in [
        (
            json!({ "runtimeConfig": { "portMappings": [{ "hostPort": 70000, "containerPort": 1 }] } }),
            "runtimeConfig.portMappings[0].hostPort",
        ),
        (json!({ "runtimeConfig": { "portMappings": [{ "hostPort": 80 }] } }), "runtimeConfig.portMappings[0].containerPort"),
        (json!({ "runtimeConfig": { "portMappings": [{ "hostPort": -1, "containerPort": 1 }] } }), "hostPort"),
        (json!({ "runtimeConfig": { "portMappings": [{ "hostPort": 1, "containerPort": 1, "protocol": "icmp" }] } }), "protocol"),
        (json!({ "runtimeConfig": { "ips": ["10.0.0"] } }), "runtimeConfig.ips[0]"),
        (json!({ "network": "lan", "runtimeConfig": { "ipRanges": [[{ "subnet": "10.0.0.0/24" }]] } }), "ipRanges"),
        (json!({ "subnet": "10.0.0.7/24" }), "did you mean 10.0.0.0/24"),
        (json!({ "subnet": "10.0.0.0/24", "rangeStart": "10.0.1.1" }), "rangeStart 10.0.1.1 lies outside"),
        (json!({ "ipam": { "ranges": [[]] } }), "ipam.ranges[0] is empty"),
        (json!({ "ipam": { "ranges": [[{ "subnet": "10.0.0.0/24" }, { "subnet": "fd00::/64" }]] } }), "both families"),
        (json!({ "subnet": "10.0.0.0/24", "gateway": "10.0.1.1" }), "gateway 10.0.1.1 lies in no subnet"),
        (json!({ "mtu": "1500" }), "mtu must be"),
        (json!({ "bridge": "a/b" }), "bridge must be"),
        (json!({ "cniVersion": "0.2.0", "subnets": ["10.0.0.0/24", "10.0.1.0/24"] }), "more than 1 address per family"),
    ] {
        let error = refused(&config(more));
        assert!(error.code == 7 && error.msg.contains(says), "{error:?} should say {says:?}");
    }
    assert_eq!(refused(&config(json!({ "macspoofchk": true }))).code, 2);
    assert!(asked_with(&config(json!({ "vlan": 0, "macspoofchk": false })), &[], None).is_ok());
}

#[test]
fn check_expects_what_the_result_says_of_its_own_interface() {
    let previous = result::added(Version::V100, &made(), "eth0", NETNS, &Dns::default(), None);
    let expected = Expected::of(&previous, "eth0", NETNS).unwrap();
    assert_eq!((expected.addresses.len(), expected.routes.len(), expected.mac), (2, 3, Some("02:00:00:00:00:03".parse().unwrap())));
    assert_eq!(Expected::of(&previous, "eth1", NETNS).unwrap_err().code, 7);
    let mut chained = previous;
    chained["interfaces"].as_array_mut().unwrap().push(json!({ "name": "net1", "sandbox": NETNS }));
    chained["ips"].as_array_mut().unwrap().push(json!({ "interface": 3, "address": "192.0.2.2/24" }));
    let expected = Expected::of(&chained, "eth0", NETNS).unwrap();
    assert_eq!((expected.addresses.len(), expected.routes.len()), (2, 2), "routes by other interfaces are not ours to judge");
}

#[test]
fn gc_reads_both_spellings_and_never_takes_a_missing_list_for_an_empty_one() {
    let gc = |more: Value| {
        let config = config(more);
        translate::gc(&Config::of(&config, &variables(&[]), Verb::Gc).unwrap(), &config)
    };
    let one = json!([{ "containerID": "cafe", "ifname": "eth0" }, { "containerID": "cafe", "ifname": "not%ours" }]);
    let valid = |more| gc(more).unwrap().unwrap().valid.len();
    assert_eq!(valid(json!({ "cni.dev/valid-attachments": one })), 1);
    assert_eq!(valid(json!({ "cni.dev/attachments": one })), 1);
    assert_eq!(valid(json!({ "cni.dev/valid-attachments": one, "cni.dev/attachments": [{ "containerID": "b", "ifname": "c" }] })), 2);
    assert_eq!(valid(json!({ "cni.dev/valid-attachments": null })), 0, "Go's empty list");
    assert_eq!(gc(json!({})).unwrap_err().code, 7);
    assert_eq!(gc(json!({ "cni.dev/valid-attachments": [{ "ifname": "eth0" }] })).unwrap_err().code, 7);
}

#[test]
fn dns_is_read_from_a_resolv_conf() {
    let dns = Dns::of_resolv_conf("# x\nnameserver 192.0.2.1 # y\nsearch a b\noptions ndots:2\ndomain d\nnameserver fd00::1\n");
    assert_eq!(
        dns.value(),
        json!({ "nameservers": ["192.0.2.1", "fd00::1"], "search": ["a", "b"], "options": ["ndots:2"], "domain": "d" })
    );
}
