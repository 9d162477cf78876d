//! Whatever runtimes and people ask for, in any order: the wish stays consistent, every change has a way back, and the kernel can follow.

use proptest::prelude::*;

use super::*;
use crate::plan::plan;

const CONFIGS: [(&str, u8); 3] = [("net", 1), ("other", 2), ("third", 3)];

/// The network of a configuration, in one of the forms that people change it between.
fn network(config: u8, form: u8) -> Value {
    let four = format!("10.{config}.0.0/28");
    let six = format!("fd00:{config}::/64");
    match form {
        0 => subnet(&four),
        1 => inline(&json!({ "hairpin": true, "mtu": 1400, "addressing": { "sets": [[{ "subnet": four }], [{ "subnet": six }]] } })),
        2 => inline(&json!({ "gateway": false, "masquerade": true, "addressing": { "sets": [
            [{ "subnet": four, "first": format!("10.{config}.0.2"), "last": format!("10.{config}.0.5") }, { "subnet": format!("10.1{config}.0.0/29") }],
        ] } })),
        3 => inline(&json!({ "addressing": "brought" })),
        4 => inline(&json!({ "addressing": "none", "icc": false })),
        5 => named("made"),
        _ => named("default"),
    }
}

fn an_add() -> impl Strategy<Value = Request> {
    (0..3_usize, 0..7_u8, 0..5_u8, 0..3_u8, 0..6_u8, 2..14_u8, 0..4_u8).prop_map(|(config, form, c, ifname, ns, address, ports)| {
        let (config, number) = CONFIGS[config];
        let mut wanted = json!({ "config": config, "id": format!("c{c}"), "ifname": format!("eth{ifname}"), "netns": format!("/ns/{ns}"),
            "name": format!("pod{}", c % 2), "network": network(number, form) });
        if form == 3 {
            wanted["addresses"] = json!([{ "address": format!("10.{number}.0.{address}"), "prefix": 28 }]);
        } else if form < 3 && address < 5 {
            wanted["addresses"] = json!([{ "address": format!("10.{number}.0.{address}") }]);
        }
        match ports {
            0 => wanted["publish"] = json!(["80:80", "53:53/udp"]),
            1 => wanted["publish"] = json!(["80:80", "127.0.0.1:81:81"]),
            2 => wanted["routes"] = json!([{ "dst": "0.0.0.0/0" }, { "dst": "169.254.1.1/32", "scope": 253 }]),
            _ => {}
        }
        add(wanted)
    })
}

fn a_request() -> impl Strategy<Value = Request> {
    let name = |n: u8| -> ContainerName { if n < 3 { format!("c{n}") } else { format!("pod{}", n % 2) }.parse().unwrap() };
    let net = |n: u8| -> NetworkName { ["net", "other", "third", "made", "default"][usize::from(n)].parse().unwrap() };
    prop_oneof![
        8 => an_add(),
        3 => (0..3_usize, 0..5_u8, 0..3_u8).prop_map(|(config, c, ifname)| {
            del_of(&json!({ "config": CONFIGS[config].0, "id": format!("c{c}"), "ifname": format!("eth{ifname}") }))
        }),
        1 => (0..3_usize, 0..5_u8).prop_map(|(config, c)| gc_of(CONFIGS[config].0, &[(&format!("c{c}"), "eth0")])),
        1 => any::<bool>().prop_map(|internal| create_network(&format!(r#"{{"name":"made","internal":{internal}}}"#))),
        1 => (0..4_u8, 0..5_u8).prop_map(move |(c, n)| {
            request(&format!(r#"{{"name":"x{c}","netns":{{"path":"/ns/{c}"}},"networks":[{{"network":"{}"}}]}}"#, net(n)))
        }),
        1 => (0..5_u8, 0..5_u8).prop_map(move |(c, n)| {
            Request::Connect(name(c), serde_json::from_str(&format!(r#"{{"network":"{}"}}"#, net(n))).unwrap())
        }),
        1 => (0..5_u8, 0..5_u8).prop_map(move |(c, n)| Request::Disconnect(name(c), net(n), None)),
        1 => (0..5_u8).prop_map(move |c| Request::Publish(name(c), "82:80".parse().unwrap())),
        1 => (0..5_u8).prop_map(move |c| Request::Unpublish(name(c), Some("80:80".parse().unwrap()))),
        1 => (0..5_u8).prop_map(move |c| Request::RemoveContainer(name(c))),
        1 => (0..5_u8).prop_map(move |n| Request::RemoveNetwork(net(n))),
        1 => Just(Request::PruneNetworks),
    ]
}

/// What must hold of every wish.
fn check(world: &World) {
    let desired = &world.desired;
    let all: Vec<(&Container, &Attachment)> =
        desired.containers().values().flat_map(|one| one.attachments.iter().map(move |attachment| (&**one, attachment))).collect();
    let unique = |what: &str, texts: Vec<String>| {
        let count = texts.len();
        assert_eq!(texts.into_iter().collect::<BTreeSet<_>>().len(), count, "two attachments share {what}");
    };
    unique("an address", all.iter().flat_map(|(_, one)| &one.addresses).map(|net| net.addr().to_string()).collect());
    unique("a hardware address", all.iter().map(|(_, one)| format!("{} {}", one.network, one.mac)).collect());
    unique("a number", all.iter().map(|(_, one)| one.slot.to_string()).collect());
    unique("an interface", all.iter().map(|(container, one)| format!("{:?} {}", container.origin.netns_id(), one.ifname)).collect());
    for (container, attachment) in &all {
        let network = &desired.networks()[&attachment.network];
        for net in &attachment.addresses {
            let pool = network.pool_of(*net).unwrap_or_else(|| panic!("{net} is of no subnet of {network:?}"));
            assert_ne!(pool.gateway, Some(net.addr()));
        }
        for port in attachment.cni.iter().flat_map(|cni| &cni.ports) {
            assert_eq!(desired.publishes().get(&port.key(&container.id)), Some(port), "a port that was asked for is published");
        }
    }
    for container in desired.containers().values().filter(|one| matches!(one.origin, Origin::Cni { .. })) {
        assert!(container.attachments.iter().any(|attachment| attachment.cni.is_some()), "nobody would take {} away", container.id);
    }
    for (key, published) in desired.publishes() {
        assert_eq!(desired.conflicts(published).filter(|(other, _)| *other != key).count(), 0, "{key:?} is published twice");
    }
    let subnets: BTreeSet<(&NetworkName, String)> =
        desired.networks().values().flat_map(|network| network.pools.iter().map(|pool| (&network.name, pool.subnet.to_string()))).collect();
    let subnets: Vec<_> = subnets.into_iter().map(|(_, subnet)| subnet.parse::<netd_api::addr::Subnet>().unwrap()).collect();
    for (n, one) in subnets.iter().enumerate() {
        assert!(subnets[n + 1..].iter().all(|other| !one.overlaps(other.net())), "{one} overlaps another subnet");
    }
}

/// What is made of a change must be the same whether all of the wish is looked at or only what the change is about.
fn follows(world: &World, before: &Desired, change: &Change) {
    let scope = |desired: &Desired| expand(desired, &world.host, &Scope::of(change, desired));
    let whole = |desired: &Desired| expand(desired, &world.host, &Scope::Everything);
    let (wanted, there) = (whole(&world.desired), whole(before));
    let all = plan(&wanted, &there);
    let part = plan(&scope(&world.desired), &scope(before));
    // Two plans may do the same things in another order; but each of them does the same.
    let steps = |plan: &crate::plan::Plan| -> BTreeSet<String> { plan.ops.iter().map(ToString::to_string).collect() };
    let (all, part) = (steps(&all), steps(&part));
    let missing: Vec<_> = all.difference(&part).collect();
    assert!(missing.is_empty(), "the scope of {change:?} leaves out {missing:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_asked_for_the_wish_stays_consistent(requests in prop::collection::vec(a_request(), 1..40)) {
        let mut world = World::new();
        let mut changes = Vec::new();
        for request in &requests {
            let before = world.desired.clone();
            if let Ok(change) = world.ask(request) {
                check(&world);
                follows(&world, &before, &change);
                changes.push((before, change));
            }
        }
        for (before, change) in changes.iter().rev() {
            world.desired.apply(&change.reverse());
            prop_assert!(world.desired == *before, "no way back over {:?}", change);
        }
    }

    #[test]
    fn what_check_expects_after_any_requests_is_what_add_told(requests in prop::collection::vec(a_request(), 1..25)) {
        let mut world = World::new();
        for request in &requests {
            let Ok(change) = world.ask(request) else { continue };
            if let (Request::CniAdd(add), false) = (request, change.edits.is_empty()) {
                let told = added(&world.desired, &add.key, &world.host).expect("it was added");
                let check = CniCheck {
                    key: add.key.clone(),
                    netns: add.netns.clone(),
                    addresses: told.addresses.iter().map(|address| address.net).collect(),
                    routes: told.routes,
                    mac: Some(told.mac),
                };
                let found = world.found(&add.netns);
                prop_assert_eq!(expectations(&world.desired, &check, Some(&found)).unwrap(), Vec::<String>::new());
            }
        }
    }
}
