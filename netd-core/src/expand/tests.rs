//! What each option amounts to, and that a request costs the same however much else there is.

use std::collections::BTreeMap;

use netd_api::{message::Request, names::IfName};

use super::*;
use crate::{
    change::{Context, change as decide},
    host::{Features, Uplink},
    plan::plan,
};

fn host(features: Features) -> Host {
    let uplink = |mtu, lives_from_ra| Uplink { mtu, families: Family::BOTH.into(), lives_from_ra };
    let uplinks = [("up0".parse().unwrap(), uplink(1500, true)), ("up1".parse().unwrap(), uplink(1420, false))].into();
    Host { uplinks, ephemeral: (32768, 60999), features, ..Host::default() }
}

const ALL: Features = Features { ipv6: true, force_forwarding: true, datapath: true, sctp_sockets: true, sysctls: true };

fn ask(desired: &mut Desired, host: &Host, request: &Request) -> Change {
    let pools: Vec<_> = crate::ipam::default_v4().into_iter().chain(crate::ipam::default_v6(7)).collect();
    let change = decide(desired, request, Context { host, pools: &pools, found: None, busy: &[], held: &[] })
        .unwrap_or_else(|fault| panic!("{request:?}: {fault}"));
    desired.apply(&change);
    change
}

fn network(json: &str) -> Request {
    Request::CreateNetwork(serde_json::from_str(json).unwrap())
}
fn container(json: &str) -> Request {
    Request::CreateContainer(serde_json::from_str(json).unwrap())
}

/// The steps from nothing to what these requests ask for, on a host with the sysctls of its uplinks.
fn steps(features: Features, requests: &[Request]) -> String {
    let host = host(features);
    let mut desired = Desired::default();
    for request in requests {
        ask(&mut desired, &host, request);
    }
    let wanted = expand(&desired, &host, &Scope::Everything);
    let mut there = Objects::default();
    for uplink in host.uplinks.keys() {
        for key in ["ipv4/conf/{}/forwarding", "ipv6/conf/{}/force_forwarding", "ipv6/conf/{}/accept_ra", "ipv6/conf/all/forwarding"] {
            let key = format!("net/{}", key.replace("{}", uplink.as_str()));
            there.sysctls.insert(Sysctl { ns: Ns::Host, key }, String::new());
        }
    }
    plan(&wanted, &there).to_string()
}

#[track_caller]
fn has(steps: &str, words: &[&str]) {
    for word in words {
        assert!(steps.contains(word), "{word:?} is missing in\n{steps}");
    }
}
#[track_caller]
fn lacks(steps: &str, words: &[&str]) {
    for word in words {
        assert!(!steps.contains(word), "{word:?} should not be in\n{steps}");
    }
}

const WEB: &str = r#"{"name":"a","networks":[{"network":"n"}],"publish":["8080:80"]}"#;

#[test]
fn a_network_of_ipv6_alone_touches_nothing_of_ipv4() {
    let steps = steps(ALL, &[network(r#"{"name":"n","subnets":["fd00:9::/64"]}"#), container(WEB)]);
    has(
        &steps,
        &[
            "masquerade6 { fd00:9::/64 }",
            "publish6_any { tcp . 8080 : fd00:9::2 . 80 }",
            "default via fd00:9::1",
            "up0/accept_ra=2",
            "up1/force_forwarding=1",
        ],
    );
    lacks(&steps, &["ipv4", "publish4", "10.", "up1/accept_ra"]);
}

#[test]
fn an_internal_network_has_no_way_out_in_either_family() {
    let internal = r#"{"name":"n","internal":true,"subnets":["10.9.0.0/24","fd00:9::/64"]}"#;
    let steps = steps(ALL, &[network(internal), container(r#"{"name":"a","networks":[{"network":"n"}]}"#)]);
    has(&steps, &["internal { ", "/forwarding=0", "/force_forwarding=0", "/route_localnet=0", "10.9.0.1/24", "addr add 10.9.0.2/24"]);
    lacks(&steps, &["default via", "masquerade4", "masquerade6", "hairpin4", "up0/", "up1/"]);
}

#[test]
fn internal_networks_of_two_addresses_have_no_gateway_and_larger_ones_do() {
    for (subnet, gateway) in [("10.9.0.0/31", false), ("10.9.0.0/30", true), ("fd00::/127", false), ("fd00::/126", true)] {
        let steps = steps(ALL, &[network(&format!(r#"{{"name":"n","internal":true,"subnets":["{subnet}"]}}"#))]);
        assert_eq!(steps.contains("addr add"), gateway, "{subnet}:\n{steps}");
    }
    let steps =
        steps(ALL, &[network(r#"{"name":"n","subnets":["10.9.0.0/31"]}"#), container(r#"{"name":"a","networks":[{"network":"n"}]}"#)]);
    has(&steps, &["addr add 10.9.0.0/31", "addr add 10.9.0.1/31", "default via 10.9.0.0"]);
}

#[test]
fn routed_is_by_family_and_not_masqueraded_there() {
    let steps = steps(ALL, &[network(r#"{"name":"n","subnets":["10.9.0.0/24","fd00:9::/64"],"routed":["v6"]}"#)]);
    has(&steps, &["routed { \"nd-", "ipv6 }", "masquerade4 { 10.9.0.0/24 }"]);
    lacks(&steps, &["masquerade6"]);
    let steps = self::steps(ALL, &[network(r#"{"name":"n","subnets":["10.9.0.0/24"],"masquerade":false}"#)]);
    lacks(&steps, &["masquerade4", "routed"]);
}

#[test]
fn members_that_may_not_talk_are_isolated_ports() {
    let steps = steps(ALL, &[network(r#"{"name":"n","icc":false}"#), container(WEB)]);
    has(&steps, &["isolated on hairpin on"]);
}

#[test]
fn the_first_network_with_a_way_out_is_the_way_out_and_takes_the_ports() {
    let requests = [
        network(r#"{"name":"in","internal":true,"subnets":["10.8.0.0/24"]}"#),
        network(r#"{"name":"n","subnets":["10.9.0.0/24"]}"#),
        network(r#"{"name":"m","subnets":["10.10.0.0/24"]}"#),
        container(r#"{"name":"a","networks":[{"network":"in"},{"network":"n"},{"network":"m"}],"publish":["8080:80"]}"#),
    ];
    let before = steps(ALL, &requests);
    has(&before, &["default via 10.9.0.1 dev eth1", ": 10.9.0.2 . 80", "eth1/rp_filter=2", "eth2/rp_filter=2"]);
    lacks(&before, &["default via 10.8.0.1", "default via 10.10.0.1", "/eth0/rp_filter"]);
    let leave = Request::Disconnect("a".parse().unwrap(), "n".parse().unwrap(), None);
    let after = steps(ALL, &[&requests[..], &[leave]].concat());
    has(&after, &["default via 10.10.0.1 dev eth2", ": 10.10.0.2 . 80"]);
}

#[test]
fn leaving_the_way_out_moves_route_and_ports_in_an_order_that_works() {
    let host = host(ALL);
    let mut desired = Desired::default();
    for request in [
        network(r#"{"name":"n","subnets":["10.9.0.0/24"]}"#),
        network(r#"{"name":"m","subnets":["10.10.0.0/24"]}"#),
        container(r#"{"name":"a","networks":[{"network":"n"},{"network":"m"}],"publish":["8080-8082:80-82"]}"#),
    ] {
        ask(&mut desired, &host, &request);
    }
    let before = expand(&desired, &host, &Scope::Everything);
    let change = ask(&mut desired, &host, &Request::Disconnect("a".parse().unwrap(), "n".parse().unwrap(), None));
    let mut plan = plan(&expand(&desired, &host, &Scope::Everything), &before);
    let after = crate::plan::aftermath(&change, &plan, |_| Some("nd-n".parse().unwrap()));
    plan.ops.extend(after);
    let steps: Vec<String> = plan.to_string().lines().map(|line| line.split_whitespace().take(3).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        steps,
        [
            ["nft delete element"; 3].as_slice(),
            &["ip link del", "bpftool map update", "ip -n a"], // the link with its route, leave to send from its address, then the new route
            &["nft add element"; 3],
            &["conntrack -D -s", "conntrack -D -p"], // of the address, and of the ports in one row
        ]
        .concat()
    );
    assert!(plan.to_string().ends_with("--orig-port-dst 8080-8082"), "{plan}");
}

#[test]
fn every_uplink_forwards_and_the_smallest_gives_the_mtu_but_never_one_without_ipv6() {
    let six = network(r#"{"name":"n","ipv6":true}"#);
    let steps = steps(ALL, std::slice::from_ref(&six));
    has(&steps, &["up0/forwarding=1", "up1/forwarding=1", "mtu 1420"]);
    let mut host = host(ALL);
    host.uplinks.values_mut().for_each(|uplink| uplink.mtu = 1000);
    let mut desired = Desired::default();
    ask(&mut desired, &host, &six);
    ask(&mut desired, &host, &network(r#"{"name":"m"}"#));
    let mtus: Vec<u32> = ["n", "m"].map(|name| desired.networks()[name].mtu_on(&host)).into();
    assert_eq!(mtus, [1280, 1000]);
}

#[test]
fn without_the_right_to_set_sysctls_everything_else_is_made() {
    let steps = steps(Features { sysctls: false, ..ALL }, &[network(r#"{"name":"n","ipv6":true}"#), container(WEB)]);
    has(&steps, &["type bridge", "type veth", "publish4_any", "clsact", "default via"]);
    lacks(&steps, &["sysctl"]);
}

#[test]
fn without_ebpf_links_go_to_no_block_and_have_no_number() {
    let steps = steps(Features { datapath: false, ..ALL }, &[network(r#"{"name":"n"}"#), container(WEB)]);
    has(&steps, &["type veth", "publish4_any"]);
    lacks(&steps, &["clsact", "bpf"]);
}

#[test]
fn without_ipv6_no_sysctl_of_it_is_touched() {
    let steps = steps(Features { ipv6: false, ..ALL }, &[network(r#"{"name":"n"}"#), container(WEB)]);
    lacks(&steps, &["ipv6", "publish6"]);
}

#[test]
fn before_linux_6_17_ipv6_is_forwarded_by_the_whole_host() {
    let steps = steps(Features { force_forwarding: false, ..ALL }, &[network(r#"{"name":"n","ipv6":true}"#)]);
    has(&steps, &["net/ipv6/conf/all/forwarding=1", "up0/accept_ra=2"]);
    lacks(&steps, &["force_forwarding"]);
    let (listen, forward) = (steps.find("accept_ra=2"), steps.find("all/forwarding"));
    assert!(listen < forward, "the host would lose its routes:\n{steps}");
}

#[test]
fn a_host_that_forwards_ipv6_by_itself_is_asked_for_no_more_and_its_strangers_are_let_alone() {
    let host = Host { forwards_v6: true, ..host(ALL) };
    let mut desired = Desired::default();
    ask(&mut desired, &host, &network(r#"{"name":"n","ipv6":true}"#));
    let wanted = expand(&desired, &host, &Scope::Everything);
    assert!(!wanted.sysctls.keys().any(|sysctl| sysctl.key.contains("/up0/force_forwarding")), "{:?}", wanted.sysctls);
    assert!(!wanted.elements.iter().any(|element| matches!(element, Element::SwitchedOn(_, Family::V6))), "{:?}", wanted.elements);
}

#[test]
fn a_port_of_all_ipv4_addresses_is_not_open_in_ipv6() {
    let both = network(r#"{"name":"n","subnets":["10.9.0.0/24","fd00:9::/64"]}"#);
    for (spec, with, without) in [("0.0.0.0:53:53/udp", "publish4_any", "publish6"), ("[::]:53:53/udp", "publish6_any", "publish4")] {
        let web = container(&format!(r#"{{"name":"a","networks":[{{"network":"n"}}],"publish":["{spec}"]}}"#));
        let steps = steps(ALL, &[both.clone(), web]);
        has(&steps, &[with]);
        lacks(&steps, &[without]);
        assert_eq!(steps.contains("refuse6"), with == "publish6_any", "{steps}");
    }
}

#[test]
fn strangers_are_kept_apart_until_forwarding_has_been_given_back() {
    let host = host(ALL);
    let mut desired = Desired::default();
    ask(&mut desired, &host, &network(r#"{"name":"n"}"#));
    ask(&mut desired, &host, &network(r#"{"name":"in","internal":true}"#));
    let forwarding = Sysctl { ns: Ns::Host, key: "net/ipv4/conf/up0/forwarding".to_owned() };
    desired.apply(&Change { edits: vec![Edit::Original { sysctl: forwarding, before: None, after: Some("0".to_owned()) }] });
    let before = expand(&desired, &host, &Scope::Everything);
    ask(&mut desired, &host, &Request::RemoveNetwork("n".parse().unwrap()));
    let steps = plan(&expand(&desired, &host, &Scope::Everything), &before).to_string();
    let (back, open) = (steps.find("up0/forwarding=0").unwrap(), steps.find("delete element inet netd switched_on").unwrap());
    assert!(back < open, "strangers would be routed in between:\n{steps}");
}

/// The steps for one more container beside so many others, and the objects that they are about.
fn one_more(others: usize) -> (Vec<String>, Objects) {
    let host = host(ALL);
    let mut desired = Desired::default();
    ask(&mut desired, &host, &network(r#"{"name":"n","subnets":["10.9.0.0/16","fd00:9::/64"]}"#));
    for n in 0..others {
        ask(&mut desired, &host, &container(&format!(r#"{{"name":"c{n}","networks":[{{"network":"n"}}],"publish":["80"]}}"#)));
    }
    let change = ask(
        &mut desired,
        &host,
        &container(r#"{"name":"x","networks":[{"network":"n","addresses":["10.9.200.1","fd00:9::ffff"]}],"publish":["8080:80"]}"#),
    );
    let part = expand(&desired, &host, &Scope::of(&change, &desired));
    let there = Objects { table: part.table, filters: part.filters, ..Objects::default() };
    assert_eq!(part.netns.keys().map(String::as_str).collect::<Vec<_>>(), ["/run/netns/x"]);
    let steps = plan(&part, &there).to_string().lines().filter(|line| !line.contains("bpftool")).map(str::to_owned).collect();
    (steps, part)
}

#[test]
fn one_more_container_is_the_same_work_beside_a_thousand() {
    let (alone, few) = one_more(1);
    let (crowded, many) = one_more(1000);
    assert_eq!(alone, crowded);
    let size = |objects: &Objects| {
        objects.netns.len()
            + objects.veths.len()
            + objects.addresses.len()
            + objects.routes.len()
            + objects.sysctls.len()
            + objects.elements.len()
    };
    assert_eq!(size(&few), size(&many));
    assert_eq!((many.netns.len(), many.veths.len(), many.bridges.len(), many.reservations.len()), (1, 1, 0, 1));
    assert!(
        many.elements.iter().all(|element| matches!(element, Element::Publish(publish) if publish.port == 8080)),
        "{:?}",
        many.elements
    );
}

#[test]
fn a_sysctl_is_the_hosts_own_unless_its_interface_goes_with_us() {
    let mut desired = Desired::default();
    let host = host(ALL);
    ask(&mut desired, &host, &network(r#"{"name":"n","bridge":"br.7"}"#));
    let objects = expand(&desired, &host, &Scope::Everything);
    let own = |key: &str| is_hosts_own(&Sysctl { ns: Ns::Host, key: key.to_owned() }, &objects);
    assert!(own("net/ipv4/conf/up0/forwarding") && own("net/ipv6/conf/all/forwarding") && own("net/core/somaxconn"));
    assert!(!own("net/ipv4/conf/br.7/forwarding"));
    assert!(!is_hosts_own(&Sysctl { ns: Ns::At("/run/netns/a".to_owned()), key: "net/ipv4/conf/up0/forwarding".to_owned() }, &objects));
    assert!(objects.bridges.contains_key(&"br.7".parse::<IfName>().unwrap()));
}

/// What the programs are told of the only attachment.
fn told(desired: &Desired) -> Entry {
    let wanted = expand(desired, &host(ALL), &Scope::Everything);
    *wanted.veths.into_values().next().and_then(|veth| veth.entry).expect("there is one")
}

fn told_of(spec: &str) -> Entry {
    let mut desired = Desired::default();
    for request in [network(r#"{"name":"n","icc":false,"subnets":["10.9.0.0/24","fd00:9::/64"]}"#), container(spec)] {
        ask(&mut desired, &host(ALL), &request);
    }
    told(&desired)
}

#[test]
fn the_programs_are_told_what_a_container_is_and_what_else_it_may_send_from() {
    let entry = told_of(r#"{"name":"a","networks":[{"network":"n","mac":"02:00:00:00:00:07"}],"allow_addresses":["198.51.100.0/24"]}"#);
    let addresses: Vec<String> = entry.addresses.iter().map(ToString::to_string).collect();
    assert_eq!((entry.mac.to_string().as_str(), addresses), ("02:00:00:00:00:07", vec!["10.9.0.2".to_owned(), "fd00:9::2".to_owned()]));
    assert_eq!((entry.allowed, entry.elsewhere), (["198.51.100.0/24".parse().unwrap()].into(), [].into()));
    assert_eq!((entry.checks, entry.isolated, entry.paced), (Checks::All, true, false));
    assert!(entry.bridge.is_some());
}

#[test]
fn on_several_networks_a_container_may_send_by_one_with_its_address_of_another() {
    let mut desired = Desired::default();
    for request in [
        network(r#"{"name":"n","subnets":["10.9.0.0/24"]}"#),
        network(r#"{"name":"m","subnets":["10.10.0.0/24"]}"#),
        container(r#"{"name":"a","networks":[{"network":"n"},{"network":"m"}]}"#),
        container(r#"{"name":"b","networks":[{"network":"m"}]}"#),
    ] {
        ask(&mut desired, &host(ALL), &request);
    }
    let wanted = expand(&desired, &host(ALL), &Scope::Everything);
    let entries = wanted.veths.values().filter_map(|veth| veth.entry.as_ref());
    let elsewhere: BTreeMap<String, Vec<String>> = entries
        .inspect(|entry| assert!(entry.allowed.is_empty(), "it stands for nobody else: {:?}", entry.allowed))
        .map(|entry| (entry.addresses[0].to_string(), entry.elsewhere.iter().map(ToString::to_string).collect()))
        .collect();
    let expected = [("10.9.0.2", vec!["10.10.0.2"]), ("10.10.0.2", vec!["10.9.0.2"]), ("10.10.0.3", vec![])];
    assert_eq!(elsewhere, expected.map(|(own, others)| (own.to_owned(), others.into_iter().map(str::to_owned).collect())).into());
}

#[test]
fn with_its_guard_off_nothing_of_a_container_is_checked() {
    assert_eq!(told_of(r#"{"name":"a","networks":[{"network":"n"}],"guard":"off"}"#).checks, Checks::Nothing);
}

/// A container with other addresses than its network gives.
fn with_addresses(addresses: &[&str]) -> Entry {
    let mut desired = Desired::default();
    for request in
        [network(r#"{"name":"n","subnets":["10.9.0.0/24","fd00:9::/64"]}"#), container(r#"{"name":"a","networks":[{"network":"n"}]}"#)]
    {
        ask(&mut desired, &host(ALL), &request);
    }
    let before = desired.containers().values().next().unwrap().clone();
    let mut after = Container::clone(&before);
    after.attachments[0].addresses = addresses.iter().map(|net| net.parse().unwrap()).collect();
    desired.apply(&Change { edits: vec![Edit::Container { before: Some(before), after: Some(after.into()) }] });
    told(&desired)
}

#[test]
fn over_a_network_without_addresses_only_hardware_addresses_are_checked() {
    let entry = with_addresses(&[]);
    assert_eq!((entry.checks, entry.addresses.len()), (Checks::Mac, 0));
}

#[test]
fn of_two_addresses_of_a_family_the_first_stays_first() {
    let entry = with_addresses(&["fd00:9::9/64", "10.9.0.9/24", "fd00:9::3/64", "10.9.0.3/24"]);
    let addresses: Vec<String> = entry.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.9.0.9", "10.9.0.3", "fd00:9::9", "fd00:9::3"]);
}
