//! The networks that configurations describe, and the addresses and routes on them.

use super::*;
use crate::{desired::Pool, firewall::Element};

fn pools(world: &World) -> &[Pool] {
    &world.desired.networks()["net"].pools
}

fn nets(nets: &[&str]) -> Vec<ipnet::IpNet> {
    nets.iter().map(|net| net.parse().unwrap()).collect()
}

fn sets(sets: &Value) -> Value {
    inline(&json!({ "addressing": { "sets": sets } }))
}

fn brought(address: &str, prefix: u8, gateway: Option<&str>) -> Value {
    json!([{ "address": address, "prefix": prefix, "gateway": gateway }])
}

fn brings(gateway: bool) -> Value {
    inline(&json!({ "gateway": gateway, "addressing": "brought" }))
}

#[test]
fn a_described_network_is_routed_and_open_and_stays_when_it_is_empty() {
    let mut world = World::new();
    world
        .add(json!({ "network": inline(&json!({ "masquerade": true, "promiscuous": true, "mtu": 1400, "bridge": "br-x",
        "addressing": { "sets": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "fd00:1::/64" }]] } })) }))
        .unwrap();
    let network = &world.desired.networks()["net"];
    assert_eq!((network.routed.len(), network.internal, network.bridge.as_str()), (2, false, "br-x"));
    let objects = world.objects();
    let bridge = &objects.bridges["br-x"];
    assert_eq!((bridge.promiscuous, bridge.mtu), (true, 1400));
    assert!(!objects.veths.values().next().unwrap().hairpin);
    let bridge = network.bridge.clone();
    for element in [
        Element::Routed(bridge.clone(), Family::V4),
        Element::Routed(bridge, Family::V6),
        Element::Masquerade("10.1.0.0/24".parse().unwrap()),
        Element::Masquerade("fd00:1::/64".parse().unwrap()),
    ] {
        assert!(objects.elements.contains(&element), "{element:?}");
    }
    world.ask(&del_of(&json!({}))).unwrap();
    assert!(world.desired.networks().contains_key("net"));
    world.ask(&Request::PruneNetworks).unwrap();
    assert!(world.desired.networks().is_empty());
}

#[test]
fn a_named_network_has_its_own_settings_and_default_is_made() {
    let mut world = World::new();
    world.refused(json!({ "network": named("nope") }), Code::NotFound, "no network nope");
    world.add(json!({ "network": named("default") })).unwrap();
    world.add(json!({ "id": "c2", "netns": "/ns/2", "network": named("default") })).unwrap();
    assert!(world.desired.networks()["default"].inline.is_none());
    assert_eq!(world.addresses("c2"), ["10.80.0.3/24"]);
    world.refused(json!({ "config": "default", "netns": "/ns/3", "id": "c3" }), Code::Exists, "netd has one of that name");
}

#[test]
fn ranges_of_one_subnet_are_one_pool_whose_rest_is_excluded() {
    let mut world = World::new();
    let ranges = json!([[
        { "subnet": "10.1.0.0/24", "first": "10.1.0.10", "last": "10.1.0.11", "gateway": "10.1.0.254" },
        { "subnet": "10.1.0.0/24", "first": "10.1.0.20", "last": "10.1.0.20" },
        { "subnet": "10.2.0.0/24", "first": "10.2.0.255", "last": "10.2.0.255" },
    ]]);
    world.refused(json!({ "network": sets(&ranges) }), Code::BadAddress, "has no address");
    let ranges = json!([[
        { "subnet": "10.1.0.0/24", "first": "10.1.0.10", "last": "10.1.0.11", "gateway": "10.1.0.254" },
        { "subnet": "10.1.0.0/24", "first": "10.1.0.20", "last": "10.1.0.20" },
        { "subnet": "10.2.0.0/30" },
    ]]);
    for (n, address) in ["10.1.0.10/24", "10.1.0.11/24", "10.1.0.20/24", "10.2.0.2/30"].iter().enumerate() {
        world.add(json!({ "id": format!("c{n}"), "netns": format!("/ns/{n}"), "network": sets(&ranges) })).unwrap();
        assert_eq!(world.addresses(&format!("c{n}")), [*address]);
    }
    world.refused(
        json!({ "id": "c9", "netns": "/ns/9", "network": sets(&ranges) }),
        Code::Exhausted,
        "no address of 10.1.0.0/24 or 10.2.0.0/30",
    );
    let [first, second] = pools(&world) else { panic!("two pools") };
    assert_eq!(first.gateway, Some("10.1.0.254".parse().unwrap()));
    assert_eq!((second.gateway, &second.excludes), (Some("10.2.0.1".parse().unwrap()), &vec![]));
    let excluded = |address: &str| first.excludes.iter().any(|net| net.contains(&address.parse::<std::net::IpAddr>().unwrap()));
    for (address, out) in
        [("10.1.0.9", true), ("10.1.0.10", false), ("10.1.0.12", true), ("10.1.0.19", true), ("10.1.0.20", false), ("10.1.0.21", true)]
    {
        assert_eq!(excluded(address), out, "{address}");
    }
}

#[test]
fn each_set_gives_one_address_and_static_ones_stand_for_their_sets() {
    let mut world = World::new();
    let network = sets(&json!([[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "10.2.0.0/24" }], [{ "subnet": "fd00:1::/64" }]]));
    world.add(json!({ "network": network, "addresses": [{ "address": "10.2.0.7" }, { "address": "10.2.0.8" }] })).unwrap();
    assert_eq!(world.addresses("c1"), ["10.1.0.2/24", "10.2.0.7/24", "10.2.0.8/24", "fd00:1::2/64"]);
    for (address, words) in [
        ("10.2.0.7", "10.2.0.7 is taken by c1"),
        ("10.2.0.1", "is the gateway"),
        ("10.3.0.1", "10.3.0.1 is not inside 10.1.0.0/24 or 10.2.0.0/24 or fd00:1::/64"),
        ("10.2.0.255", "broadcast"),
    ] {
        let asked = json!({ "id": "c2", "netns": "/ns/2", "network": network, "addresses": [{ "address": address }] });
        world.refused(asked, Code::BadAddress, words);
    }
    let twice =
        json!({ "id": "c2", "netns": "/ns/2", "network": network, "addresses": [{ "address": "10.1.0.9" }, { "address": "10.1.0.9" }] });
    world.refused(twice, Code::BadAddress, "10.1.0.9 is asked for twice");
}

#[test]
fn two_sets_may_share_a_subnet_but_no_address() {
    let mut world = World::new();
    let range = |first: &str, last: &str| json!([{ "subnet": "10.1.0.0/24", "first": first, "last": last }]);
    let same = json!([range("10.1.0.2", "10.1.0.9"), range("10.1.0.9", "10.1.0.12")]);
    world.refused(json!({ "network": sets(&same) }), Code::BadAddress, "two sets have the same addresses of 10.1.0.0/24");
    let network = sets(&json!([range("10.1.0.2", "10.1.0.9"), range("10.1.0.10", "10.1.0.12")]));
    world.add(json!({ "network": network })).unwrap();
    assert_eq!(world.addresses("c1"), ["10.1.0.2/24", "10.1.0.10/24"]);
    world.add(json!({ "id": "c2", "netns": "/ns/2", "network": network, "addresses": [{ "address": "10.1.0.12" }] })).unwrap();
    assert_eq!(world.addresses("c2"), ["10.1.0.3/24", "10.1.0.12/24"], "the static one is of the second set");
    let view = crate::show::network(&world.desired, &world.desired.networks()["net"], &world.host);
    assert_eq!(view.subnets.iter().map(|subnet| (subnet.used, subnet.free)).collect::<Vec<_>>(), [(2, 6), (2, 1)]);
}

#[test]
fn sets_that_make_no_sense_are_refused() {
    let world = World::new();
    for (asked, code, words) in [
        (json!([[]]), Code::BadRequest, "a set of ranges is empty"),
        (json!([[{ "subnet": "10.1.0.0/24" }, { "subnet": "fd00::/64" }]]), Code::BadRequest, "both families"),
        (
            json!([[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "10.1.0.0/16" }]]),
            Code::SubnetOverlap,
            "its subnets 10.1.0.0/24 and 10.1.0.0/16",
        ),
        (json!([[{ "subnet": "10.1.0.0/24", "first": "10.2.0.1" }]]), Code::BadAddress, "10.2.0.1 is not inside"),
        (json!([[{ "subnet": "10.1.0.0/24", "first": "10.1.0.9", "last": "10.1.0.8" }]]), Code::BadAddress, "10.1.0.9-10.1.0.8"),
        (json!([[{ "subnet": "10.1.0.0/24", "gateway": "10.2.0.1" }]]), Code::BadAddress, "gateway 10.2.0.1"),
        (json!([[{ "subnet": "10.1.0.0/24", "gateway": "10.1.0.255" }]]), Code::BadAddress, "gateway 10.1.0.255"),
        (
            json!([[{ "subnet": "10.1.0.0/24", "gateway": "10.1.0.1" }, { "subnet": "10.1.0.0/24", "gateway": "10.1.0.2" }]]),
            Code::BadAddress,
            "two gateways",
        ),
        (json!(vec![[json!({ "subnet": "10.1.0.0/24" })]; 33]), Code::BadRequest, "33 sets"),
    ] {
        world.refused(json!({ "network": sets(&asked) }), code, words);
    }
}

#[test]
fn addresses_and_networks_are_in_the_way_of_a_subnet_and_routes_are_not() {
    let mut world = World::new();
    world.refused(json!({ "network": subnet("192.0.2.0/25") }), Code::SubnetOverlap, "overlaps 192.0.2.0/24 (address of up0)");
    world.add(json!({ "network": subnet("10.244.1.0/24") })).unwrap();
    let overlapping = json!({ "config": "other", "id": "c2", "netns": "/ns/2", "network": subnet("10.244.0.0/16") });
    world.refused(overlapping, Code::SubnetOverlap, "overlaps 10.244.1.0/24 of network net");
    let mut world = World::new();
    world.host.features.ipv6 = false;
    world.refused(json!({ "network": subnet("fd00:1::/64") }), Code::Unsupported, "no IPv6");
}

#[test]
fn a_bridge_that_is_somebody_elses_is_refused_with_the_way_out() {
    let mut world = World::new();
    let network = inline(&json!({ "bridge": "cni0" }));
    world.refused(json!({ "network": network }), Code::BadInterface, "cni0 is taken on this host");
    let fault = world.decide(&add(json!({ "network": network }))).unwrap_err();
    assert!(fault.hint.contains("ip link del cni0"), "{}", fault.hint);
    world.host.foreign_links.clear();
    world.add(json!({ "network": network })).unwrap();
    world.refused(
        json!({ "config": "other", "id": "c2", "netns": "/ns/2", "network": network }),
        Code::BadInterface,
        "is the bridge of network net",
    );
    world.refused(json!({ "config": "host", "id": "c2", "netns": "/ns/2" }), Code::BadRequest, "the name is reserved");
    world.refused(
        json!({ "config": "x", "id": "c2", "netns": "/ns/2", "network": inline(&json!({ "mtu": 10 })) }),
        Code::BadRequest,
        "an MTU of 10 bytes",
    );
}

#[test]
fn without_sets_a_subnet_is_chosen_once() {
    let mut world = World::new();
    for n in 1..3 {
        world.add(json!({ "id": format!("c{n}"), "netns": format!("/ns/{n}"), "network": inline(&json!({})) })).unwrap();
    }
    assert_eq!((world.addresses("c1"), world.addresses("c2")), (vec!["10.80.0.2/24".to_owned()], vec!["10.80.0.3/24".to_owned()]));
}

#[test]
fn a_changed_configuration_changes_the_network_where_its_containers_allow() {
    let mut world = World::new();
    world.add(json!({})).unwrap();
    let again = |network: &Value| json!({ "id": "c2", "netns": "/ns/2", "network": network });
    let wider = inline(&json!({ "hairpin": true, "masquerade": true, "mtu": 1400,
        "addressing": { "sets": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "fd00:1::/64" }]] } }));
    let change = world.add(again(&wider)).unwrap();
    assert!(matches!(&change.edits[0], Edit::Network { before: Some(_), after: Some(_) }));
    let Scope::Parts(parts) = Scope::of(&change, &world.desired) else { panic!("parts") };
    assert_eq!(parts.containers.len(), 2, "a changed MTU is that of all members");
    let part = expand(&world.desired, &world.host, &Scope::of(&change, &world.desired));
    assert!(part.veths.len() == 2 && part.veths.values().all(|veth| veth.hairpin && veth.mtu == 1400));
    assert_eq!(world.addresses("c2"), ["10.1.0.3/24", "fd00:1::2/64"]);
    let change = world.add(json!({ "id": "c3", "netns": "/ns/3", "network": wider })).unwrap();
    assert!(!change.edits.iter().any(|edit| matches!(edit, Edit::Network { .. })), "an equal one changes nothing");

    world.refused(json!({ "id": "c4", "netns": "/ns/4", "network": subnet("10.2.0.0/24") }), Code::InUse, "container c1 has 10.1.0.2/24");
    let bridge = inline(&json!({ "bridge": "br-x", "addressing": { "sets": [[{ "subnet": "10.1.0.0/24" }]] } }));
    world.refused(json!({ "id": "c4", "netns": "/ns/4", "network": bridge }), Code::InUse, "its bridge would be br-x");
    let gateway = sets(&json!([[{ "subnet": "10.1.0.0/24", "gateway": "10.1.0.2" }]]));
    world.refused(json!({ "id": "c4", "netns": "/ns/4", "network": gateway }), Code::InUse, "container c1 has 10.1.0.2/24, its gateway");
    world.ask(&gc_of("net", &[])).unwrap();
    world.add(json!({ "id": "c4", "netns": "/ns/4", "network": bridge })).unwrap();
    assert_eq!(world.desired.networks()["net"].bridge.as_str(), "br-x");
    assert_eq!(world.addresses("c4"), ["10.1.0.5/24"]);
}

#[test]
fn whatever_members_feel_of_a_change_reaches_them() {
    let subnets = json!({ "sets": [[{ "subnet": "10.1.0.0/24" }]] });
    let first = json!({ "subnet": "10.1.0.0/24", "gateway": "10.1.0.9" });
    let both = json!({ "sets": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "fd00:1::/64" }]] });
    for (part, value) in [
        ("mtu", json!(1400)),
        ("icc", json!(false)),
        ("hairpin", json!(true)),
        ("gateway", json!(false)),
        ("addressing", json!({ "sets": [[first]] })),
        ("addressing", both),
    ] {
        let mut world = World::new();
        world.add(json!({ "network": inline(&json!({ "addressing": subnets })) })).unwrap();
        let mut changed = json!({ "addressing": subnets });
        changed[part] = value;
        let change = world.add(json!({ "id": "c2", "netns": "/ns/2", "network": inline(&changed) })).unwrap();
        let Scope::Parts(parts) = Scope::of(&change, &world.desired) else { panic!("parts") };
        assert_eq!(parts.containers.len(), 2, "{part}");
    }
}

#[test]
fn labels_of_a_network_are_nobody_elses_business() {
    let mut world = World::new();
    world.add(json!({})).unwrap();
    let labelled = inline(&json!({ "labels": { "a": "b" }, "addressing": { "sets": [[{ "subnet": "10.1.0.0/24" }]] } }));
    let change = world.add(json!({ "id": "c2", "netns": "/ns/2", "network": labelled })).unwrap();
    let Scope::Parts(parts) = Scope::of(&change, &world.desired) else { panic!("parts") };
    assert_eq!(parts.containers.iter().map(ContainerId::as_str).collect::<Vec<_>>(), ["c2"]);
}

#[test]
fn a_segment_without_ip_has_no_address_and_leaves_ipv6_to_its_containers() {
    let mut world = World::new();
    let network = inline(&json!({ "addressing": "none" }));
    world.add(json!({ "network": network, "publish": ["80:80"] })).unwrap();
    assert_eq!(world.addresses("c1"), Vec::<String>::new());
    let objects = world.objects();
    assert!(objects.addresses.is_empty() && objects.routes.is_empty());
    assert!(!objects.sysctls.keys().any(|sysctl| sysctl.ns.path().is_some()), "{:?}", objects.sysctls);
    world.refused(
        json!({ "id": "c2", "netns": "/ns/2", "network": network, "addresses": [{ "address": "10.1.0.2" }] }),
        Code::BadAddress,
        "the network has no subnet",
    );
}

#[test]
fn attachments_bring_their_subnets() {
    let mut world = World::new();
    world.refused(json!({ "network": brings(true) }), Code::BadAddress, "gave it no address");
    world.refused(json!({ "network": brings(true), "addresses": [{ "address": "10.5.0.9" }] }), Code::BadAddress, "has no prefix length");
    world.refused(json!({ "network": brings(true), "addresses": brought("10.5.0.9", 32, None) }), Code::BadAddress, "prefix length of 32");
    world.add(json!({ "network": brings(true), "addresses": brought("10.5.0.9", 24, Some("10.5.0.254")) })).unwrap();
    let two = json!([{ "address": "fd00:5::9", "prefix": 64 }, { "address": "10.5.0.10", "prefix": 24 }]);
    world.add(json!({ "id": "c2", "netns": "/ns/2", "network": brings(true), "addresses": two })).unwrap();
    assert_eq!(world.addresses("c2"), ["fd00:5::9/64", "10.5.0.10/24"], "in the order in which they were brought");
    let gateways: Vec<_> = pools(&world).iter().map(|pool| pool.gateway.unwrap().to_string()).collect();
    assert_eq!(gateways, ["10.5.0.254", "fd00:5::1"]);
    assert_eq!(world.desired.networks()["net"].routed.len(), 2);
    let third = |addresses: Value| json!({ "id": "c3", "netns": "/ns/3", "network": brings(true), "addresses": addresses });
    world.refused(third(brought("10.5.0.9", 24, None)), Code::BadAddress, "10.5.0.9 is taken by c1");
    world.refused(third(brought("10.5.0.11", 24, Some("10.5.0.1"))), Code::BadAddress, "the gateway of 10.5.0.0/24 is 10.5.0.254");
    world.refused(third(brought("10.5.0.11", 16, None)), Code::SubnetOverlap, "its subnets 10.5.0.0/24 and 10.5.0.0/16 overlap");
    world.refused(third(brought("192.0.2.9", 24, None)), Code::SubnetOverlap, "address of up0");
    world.ask(&gc_of("net", &[])).unwrap();
    world.add(third(brought("10.6.0.9", 16, None))).unwrap();
    assert_eq!(pools(&world).len(), 1, "an empty network starts anew");
}

#[test]
fn a_user_names_a_free_address_where_addresses_are_brought() {
    let mut world = World::new();
    world.add(json!({ "network": brings(false), "addresses": brought("10.5.0.9", 24, None) })).unwrap();
    let adopt = |ip: &str| request(&format!(r#"{{"name":"a","netns":{{"path":"/ns/9"}},"networks":[{{"network":"net"{ip}}}]}}"#));
    assert_eq!(world.decide(&adopt("")).unwrap_err().code, Code::BadAddress);
    world.ask(&adopt(r#","addresses":["10.5.0.10"]"#)).unwrap();
    assert_eq!(world.addresses("a"), ["10.5.0.10/24"]);
}

#[test]
fn what_survives_the_boot_may_not_join_what_does_not() {
    let mut world = World::new();
    world.add(json!({})).unwrap();
    let fault = world.decide(&request(r#"{"name":"made","networks":[{"network":"net"}]}"#)).unwrap_err();
    assert_eq!(fault.code, Code::Impossible);
    world.ask(&request(r#"{"name":"made","networks":[]}"#)).unwrap();
    let connect = Request::Connect("made".parse().unwrap(), serde_json::from_str(r#"{"network":"net"}"#).unwrap());
    assert_eq!(world.decide(&connect).unwrap_err().code, Code::Impossible);
    world.ask(&request(r#"{"name":"adopted","netns":{"path":"/ns/9"},"networks":[{"network":"net"}]}"#)).unwrap();
    assert_eq!(world.addresses("adopted"), ["10.1.0.3/24"]);
}

#[test]
fn a_gateway_that_is_not_on_the_bridge_gives_no_default_route() {
    let mut world = World::new();
    let network = inline(&json!({ "gateway": false, "addressing": { "sets": [[{ "subnet": "10.1.0.0/24" }]] } }));
    world.add(json!({ "network": network })).unwrap();
    assert_eq!(world.addresses("c1"), ["10.1.0.2/24"], "the gateway is nobody's all the same");
    assert_eq!(world.routes(), Vec::<String>::new());
    let objects = world.objects();
    assert!(objects.addresses.iter().all(|address| address.ns != crate::objects::Ns::Host));
    world.add(json!({ "id": "c2", "netns": "/ns/2", "network": network, "routes": [{ "dst": "0.0.0.0/0" }] })).unwrap();
    assert_eq!(world.routes(), ["0.0.0.0/0 10.1.0.1 eth0"], "who asks for it gets it");
}

#[test]
fn routes_are_those_asked_for() {
    let mut world = World::new();
    let routes = json!([
        { "dst": "10.9.1.2/16" },
        { "dst": "10.8.0.0/16", "gw": "10.1.0.7", "priority": 5, "table": 100, "mtu": 1300, "advmss": 1260, "scope": 0 },
        { "dst": "169.254.1.1/32", "scope": 253 },
        { "dst": "fd00:9::/64", "priority": 1024 },
    ]);
    world.add(json!({ "routes": routes })).unwrap();
    let objects = world.objects();
    let shown: Vec<_> = objects
        .routes
        .iter()
        .map(|route| {
            let via = route.via.map(|via| via.to_string()).unwrap_or_default();
            format!("{} {via} {} {} {} {} {}", route.dst, route.metric, route.table, route.scope, route.mtu, route.advmss)
        })
        .collect();
    assert_eq!(
        shown,
        [
            "10.8.0.0/16 10.1.0.7 5 100 0 1300 1260",
            "10.9.0.0/16 10.1.0.1 0 254 0 0 0",
            "169.254.1.1/32  0 254 253 0 0",
            "fd00:9::/64  0 254 0 0 0"
        ]
    );
    let plan = crate::plan::plan(&objects, &Objects::default()).to_string();
    let at = |words: &str| plan.find(words).unwrap_or_else(|| panic!("{words:?} is missing in\n{plan}"));
    assert!(at("169.254.1.1") < at("10.8.0.0/16"), "what a gateway may be reached by comes first");
}

#[test]
fn of_routes_that_exclude_each_other_the_first_attachment_has_it_and_the_next_takes_over() {
    let mut world = World::new();
    world.add(json!({})).unwrap();
    let routes = json!([{ "dst": "0.0.0.0/0" }, { "dst": "0.0.0.0/0", "priority": 9 }]);
    world.add(json!({ "config": "other", "ifname": "eth1", "network": subnet("10.2.0.0/24"), "routes": routes })).unwrap();
    assert_eq!(world.routes(), ["0.0.0.0/0 10.1.0.1 eth0", "0.0.0.0/0 10.2.0.1 eth1"]);
    world.ask(&del_of(&json!({}))).unwrap();
    assert_eq!(world.routes(), ["0.0.0.0/0 10.2.0.1 eth1", "0.0.0.0/0 10.2.0.1 eth1"]);
    assert_eq!(world.attachment("c1", "eth1").addresses, nets(&["10.2.0.2/24"]));
}
