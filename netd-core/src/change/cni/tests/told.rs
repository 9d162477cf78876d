//! What a runtime is told: the result of ADD, what CHECK finds in the wish, and whether ADD would work.

use super::*;

fn added_of(world: &World, of: &Value) -> CniAdded {
    added(&world.desired, &key(of), &world.host).expect("an attachment")
}

/// What a runtime remembers of an attachment, as JSON to be changed.
fn remembered(world: &World, of: &Value, netns: &str) -> Value {
    let told = added_of(world, of);
    let addresses: Vec<_> = told.addresses.iter().map(|address| address.net).collect();
    serde_json::to_value(CniCheck { key: key(of), netns: netns.to_owned(), addresses, routes: told.routes, mac: Some(told.mac) }).unwrap()
}

fn wrong(world: &World, check: &Value) -> Vec<String> {
    let check: CniCheck = serde_json::from_value(check.clone()).unwrap();
    let found = world.found(&check.netns);
    expectations(&world.desired, &check, Some(&found)).unwrap()
}

fn status(world: &World, network: &Value) -> Option<Trouble> {
    let status = CniStatus { config: "net".parse().unwrap(), network: serde_json::from_value(network.clone()).unwrap() };
    world.with(None, |context| readiness(&world.desired, &status, context)).unable
}

#[test]
fn the_result_names_everything_that_was_made() {
    let mut world = World::new();
    let network =
        inline(&json!({ "bridge": "br-x", "addressing": { "sets": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "fd00:1::/64" }]] } }));
    world.add(json!({ "network": network, "name": "default/web", "mac": "02:00:00:00:00:09" })).unwrap();
    let told = added_of(&world, &json!({}));
    let objects = world.objects();
    assert_eq!((told.name.as_str(), told.network.as_str(), told.bridge.as_str(), told.mtu), ("default/web", "net", "br-x", 1500));
    let veth = &objects.veths[&told.host_ifname];
    assert_eq!((told.host_mac, Some(told.mac)), (veth.mac, veth.peer.as_ref().map(|peer| peer.mac)));
    assert_eq!(told.bridge_mac, objects.bridges["br-x"].mac);
    assert_eq!(told.mac.to_string(), "02:00:00:00:00:09");
    let addresses: Vec<_> = told.addresses.iter().map(|one| format!("{} {}", one.net, one.gateway.unwrap())).collect();
    assert_eq!(addresses, ["10.1.0.2/24 10.1.0.1", "fd00:1::2/64 fd00:1::1"]);
    let routes: Vec<_> = told.routes.iter().map(|one| format!("{} {}", one.dst, one.gw.unwrap())).collect();
    assert_eq!(routes, ["0.0.0.0/0 10.1.0.1", "::/0 fd00:1::1"]);
    assert_eq!(added(&world.desired, &key(&json!({ "ifname": "eth1" })), &world.host), None);
}

#[test]
fn what_add_told_is_what_check_expects() {
    let mut world = World::new();
    let network = inline(&json!({ "addressing": { "sets": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "fd00:1::/64" }]] } }));
    let routes = json!([{ "dst": "10.9.0.0/16" }, { "dst": "169.254.1.1/32", "scope": 253 }, { "dst": "fd00:9::/64", "scope": 253 },
        { "dst": "10.8.0.0/16", "gw": "10.1.0.7", "priority": 5, "table": 100, "mtu": 1300, "advmss": 1260 }]);
    world.add(json!({ "network": network, "routes": routes })).unwrap();
    world.add(json!({ "config": "other", "ifname": "eth1", "network": subnet("10.2.0.0/24") })).unwrap();
    for (of, count) in [(json!({}), 4), (json!({ "config": "other", "ifname": "eth1" }), 1)] {
        let check = remembered(&world, &of, "/ns/1");
        assert_eq!(check["routes"].as_array().unwrap().len(), count);
        assert_eq!(wrong(&world, &check), Vec::<String>::new());
    }
}

#[test]
fn a_result_of_an_older_version_is_checked_as_far_as_it_goes() {
    let mut world = World::new();
    world.add(json!({ "routes": [{ "dst": "169.254.1.1/32", "scope": 253 }, { "dst": "0.0.0.0/0", "table": 100 }] })).unwrap();
    let mut check = remembered(&world, &json!({}), "/ns/1");
    check["routes"] = json!([{ "dst": "169.254.1.1/32" }, { "dst": "0.0.0.0/0", "gw": "10.1.0.1" }]);
    assert_eq!(wrong(&world, &check), Vec::<String>::new());
}

#[test]
fn each_thing_that_is_not_as_remembered_is_named() {
    let mut world = World::new();
    world.add(json!({})).unwrap();
    let good = remembered(&world, &json!({}), "/ns/1");
    for (part, value, words) in [
        ("addresses", json!(["10.1.0.7/24"]), "eth0 has not the address 10.1.0.7/24, but 10.1.0.2/24"),
        ("mac", json!("02:00:00:00:00:07"), "has not the MAC address 02:00:00:00:00:07"),
        ("netns", json!("/ns/2"), "/ns/2 is another network namespace than the one that was attached (/ns/1)"),
        ("routes", json!([{ "dst": "10.9.0.0/16" }]), "has not the route to 10.9.0.0/16"),
        ("routes", json!([{ "dst": "0.0.0.0/0", "gw": "10.1.0.9" }]), "has not the route to 0.0.0.0/0 via 10.1.0.9"),
        ("routes", json!([{ "dst": "0.0.0.0/0", "mtu": 1300 }]), "has not the route to 0.0.0.0/0"),
        ("routes", json!([{ "dst": "0.0.0.0/0", "priority": 7 }]), "has not the route to 0.0.0.0/0"),
    ] {
        let mut check = good.clone();
        check[part] = value;
        let found = wrong(&world, &check);
        assert!(found.len() == 1 && found[0].contains(words), "{found:?} does not say {words:?} alone");
    }
    let check: CniCheck = serde_json::from_value(good).unwrap();
    let without = expectations(&world.desired, &check, None).unwrap();
    assert_eq!(without, ["there is no network namespace at /ns/1"]);
}

#[test]
fn a_route_that_another_interface_had_first_is_not_missing() {
    let mut world = World::new();
    world.add(json!({})).unwrap();
    world.add(json!({ "config": "other", "ifname": "eth1", "network": subnet("10.2.0.0/24") })).unwrap();
    let of = json!({ "config": "other", "ifname": "eth1" });
    assert_eq!(added_of(&world, &of).routes, []);
    let mut check = remembered(&world, &of, "/ns/1");
    check["routes"] = json!([{ "dst": "0.0.0.0/0", "gw": "10.2.0.1" }]);
    assert_eq!(wrong(&world, &check), Vec::<String>::new());
}

#[test]
fn an_attachment_that_nobody_knows_cannot_be_checked() {
    let mut world = World::new();
    world.add(json!({})).unwrap();
    let mut check: CniCheck = serde_json::from_value(remembered(&world, &json!({}), "/ns/1")).unwrap();
    check.key = key(&json!({ "config": "other" }));
    let fault = expectations(&world.desired, &check, None).unwrap_err();
    assert_eq!(fault.code, Code::NotFound);
}

#[test]
fn readiness_is_the_decision_of_add() {
    let mut world = World::new();
    for network in
        [subnet("10.1.0.0/24"), named("default"), inline(&json!({ "addressing": "brought" })), inline(&json!({ "addressing": "none" }))]
    {
        assert_eq!(status(&world, &network), None, "{network}");
    }
    assert!(world.desired == Desired::default());
    for (network, words) in [
        (named("nope"), "there is no network nope"),
        (subnet("192.0.2.0/24"), "overlaps 192.0.2.0/24"),
        (inline(&json!({ "bridge": "cni0" })), "cni0 is taken"),
    ] {
        let trouble = status(&world, &network).expect("not ready");
        assert!(trouble.what.contains(words) && !trouble.hint.is_empty(), "{trouble:?}");
    }
    let small = subnet("10.1.0.0/30");
    world.add(json!({ "network": small })).unwrap();
    assert!(status(&world, &small).expect("full").what.contains("no address of 10.1.0.0/30 is free"));
    world.ask(&del_of(&json!({}))).unwrap();
    assert_eq!(status(&world, &small), None);
}

#[test]
fn ranges_that_only_an_add_brings_are_no_trouble_of_status() {
    let mut world = World::new();
    let sets = json!([[{ "subnet": "10.1.0.0/30" }], [{ "subnet": "fd00:1::/64", "first": "fd00:1::5" }]]);
    world.add(json!({ "network": inline(&json!({ "addressing": { "sets": sets } })) })).unwrap();
    let config = inline(&json!({ "addressing": { "sets": [] } }));
    assert!(status(&world, &config).expect("full").what.contains("no address of 10.1.0.0/30 is free"));
    world.ask(&del_of(&json!({}))).unwrap();
    assert_eq!(status(&world, &config), None);
    let larger = json!([[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "fd00:1::/64", "first": "fd00:1::5" }]]);
    world.add(json!({ "network": inline(&json!({ "addressing": { "sets": larger } })) })).unwrap();
    assert_eq!(status(&world, &config), None);
}
