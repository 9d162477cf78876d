//! What is refused, with which code, and in which words.

use netd_api::{
    fault::{Code, Fault},
    message::Request,
    publish::PortRange,
};

use super::{Context, change};
use crate::{
    desired::{Change, Desired},
    host::{Features, Found, Holder, Host, Taken},
    objects::NetnsId,
};

fn host() -> Host {
    Host {
        taken: vec![
            Taken { net: "192.0.2.0/24".parse().unwrap(), by: Holder::Address("up0".parse().unwrap()) },
            Taken { net: "10.200.0.53/32".parse().unwrap(), by: Holder::Resolver("10.200.0.53".parse().unwrap()) },
        ],
        foreign_links: ["docker0".parse().unwrap()].into(),
        ephemeral: (32768, 32770),
        features: Features { ipv6: true, ..Features::default() },
        ..Host::default()
    }
}

fn ask(desired: &Desired, request: &Request) -> Result<Change, Fault> {
    let pools = crate::ipam::default_v4().into_iter().chain(crate::ipam::default_v6(7)).collect::<Vec<_>>();
    let found = Found {
        path: "/proc/7/ns/net".to_owned(),
        id: NetnsId { dev: 4, ino: 7 },
        links: ["lo", "eth0"].iter().map(|name| name.parse().unwrap()).collect(),
    };
    change(desired, request, Context { host: &host(), pools: &pools, found: Some(&found), busy: &[], held: &[] })
}

fn network(json: &str) -> Request {
    Request::CreateNetwork(serde_json::from_str(json).unwrap())
}
fn container(json: &str) -> Request {
    Request::CreateContainer(serde_json::from_str(json).unwrap())
}
fn publish(name: &str, spec: &str) -> Request {
    Request::Publish(name.parse().unwrap(), spec.parse().unwrap())
}

/// A wish after these requests.
fn after(requests: &[Request]) -> Desired {
    let mut desired = Desired::default();
    for request in requests {
        let change = ask(&desired, request).unwrap_or_else(|fault| panic!("{request:?}: {fault}"));
        desired.apply(&change);
    }
    desired
}

fn usual() -> Desired {
    after(&[
        network(r#"{"name":"web","subnets":["10.9.0.0/29"]}"#),
        network(r#"{"name":"six","subnets":["fd00:9::/64"]}"#),
        network(r#"{"name":"in","internal":true}"#),
        container(r#"{"name":"a","networks":[{"network":"web"}],"publish":["8080:80","127.0.0.1:9090:90"]}"#),
        container(r#"{"name":"hidden","networks":[{"network":"in"}]}"#),
        container(r#"{"name":"sixer","networks":[{"network":"six"}]}"#),
        network(r#"{"name":"kept","subnets":["10.7.0.0/24"],"excludes":["10.7.0.8/30"]}"#),
        container(r#"{"name":"named","netns":{"pid":7},"networks":[{"network":"kept","mac":"02:00:00:00:00:0a"}]}"#),
    ])
}

#[track_caller]
fn refused(request: &Request, code: Code, words: &str) {
    let desired = usual();
    let fault = ask(&desired, request).expect_err("it was not refused");
    assert_eq!(fault.code, code, "{fault}");
    assert!(fault.what.contains(words), "{:?} does not say {words:?}", fault.what);
    assert!(!fault.hint.is_empty(), "{fault:?} says nothing of what to do");
}

#[test]
fn bad_networks_are_refused() {
    for (json, code, words) in [
        (r#"{"name":"web"}"#, Code::Exists, "there is one of that name"),
        (r#"{"name":"x","subnets":["10.9.0.0/24"]}"#, Code::SubnetOverlap, "overlaps 10.9.0.0/29 of network web"),
        (r#"{"name":"x","subnets":["192.0.0.0/16"]}"#, Code::SubnetOverlap, "overlaps 192.0.2.0/24 (address of up0)"),
        (r#"{"name":"x","subnets":["10.200.0.0/24"]}"#, Code::SubnetOverlap, "resolver 10.200.0.53"),
        (r#"{"name":"x","subnets":["10.1.0.0/24","10.2.0.0/24"]}"#, Code::BadRequest, "two subnets of one family"),
        (
            r#"{"name":"x","subnets":["10.1.0.0/24"],"gateways":["10.2.0.1"]}"#,
            Code::BadAddress,
            "gateway 10.2.0.1 is not inside 10.1.0.0/24",
        ),
        (r#"{"name":"x","subnets":["10.1.0.0/24"],"gateways":["10.1.0.255"]}"#, Code::BadAddress, "broadcast"),
        (r#"{"name":"x","subnets":["10.1.0.0/24"],"gateways":["fd00::1"]}"#, Code::BadAddress, "gateway fd00::1 is not inside"),
        (r#"{"name":"x","subnets":["10.1.0.0/24"],"ip_ranges":["10.1.0.0/16"]}"#, Code::BadAddress, "IP range 10.1.0.0/16 is not inside"),
        (r#"{"name":"x","subnets":["10.1.0.0/24"],"excludes":["10.1.1.0/32"]}"#, Code::BadAddress, "excluded 10.1.1.0/32"),
        (r#"{"name":"x","subnets":["10.1.0.0/30"],"excludes":["10.1.0.2/32"]}"#, Code::Exhausted, "no address left for a container"),
        (r#"{"name":"x","subnets":["10.1.0.0/30"],"excludes":["10.1.0.0/30"]}"#, Code::Exhausted, "left for the gateway"),
        (r#"{"name":"x","mtu":60}"#, Code::BadRequest, "MTU of 60"),
        (r#"{"name":"x","subnets":["fd00:1::/64"],"mtu":1279}"#, Code::BadRequest, "MTU of 1279"),
        (r#"{"name":"x","bridge":"docker0"}"#, Code::BadInterface, "docker0 is taken"),
        (r#"{"name":"x","bridge":"nd-anchor"}"#, Code::BadInterface, "reserved"),
        (r#"{"name":"x","internal":true,"routed":["v4"]}"#, Code::BadRequest, "internal network cannot be routed"),
        (r#"{"name":"x","routed":["v6"]}"#, Code::BadRequest, "a family that it has no subnet of"),
        (r#"{"name":"host"}"#, Code::BadRequest, "the name is reserved"),
        (r#"{"name":"none"}"#, Code::BadRequest, "the name is reserved"),
        (r#"{"name":"x","bridge":"lo"}"#, Code::BadInterface, "reserved"),
        (r#"{"name":"x","bridge":"ndv1"}"#, Code::BadInterface, "reserved"),
        (
            r#"{"name":"x","subnets":["10.1.0.0/24"],"ip_ranges":["10.1.0.5/28"]}"#,
            Code::BadAddress,
            "IP range 10.1.0.5/28 has host bits set",
        ),
        (
            r#"{"name":"x","subnets":["10.1.0.0/24"],"excludes":["10.1.0.5/28"]}"#,
            Code::BadAddress,
            "excluded 10.1.0.5/28 has host bits set",
        ),
        (r#"{"name":"x","subnets":["10.1.0.0/24"],"ip_ranges":["10.1.0.0/28","10.1.0.16/28"]}"#, Code::BadAddress, "two IP ranges"),
        (r#"{"name":"x","subnets":["10.1.0.0/24"],"gateways":["10.1.0.1","10.1.0.2"]}"#, Code::BadAddress, "two gateways"),
        (r#"{"name":"x","subnets":["10.1.0.0/24"],"ip_ranges":["fd00::/120"]}"#, Code::BadAddress, "IP range fd00:: is not inside"),
        (r#"{"name":"x","mtu":65536}"#, Code::BadRequest, "MTU of 65536"),
    ] {
        refused(&network(json), code, words);
    }
    refused(&Request::RemoveNetwork("web".parse().unwrap()), Code::InUse, "container a is attached");
    refused(&Request::RemoveNetwork("nope".parse().unwrap()), Code::NotFound, "no network nope");
}

#[test]
fn bad_containers_are_refused() {
    for (json, code, words) in [
        (r#"{"name":"a"}"#, Code::Exists, "there is one of that name"),
        (r#"{"name":"x","networks":[{"network":"nope"}]}"#, Code::NotFound, "no network nope"),
        (r#"{"name":"x","networks":[{"network":"web","addresses":["10.9.0.2"]}]}"#, Code::BadAddress, "10.9.0.2 is taken by a"),
        (r#"{"name":"x","networks":[{"network":"web","addresses":["10.9.0.1"]}]}"#, Code::BadAddress, "is the gateway"),
        (r#"{"name":"x","networks":[{"network":"web","addresses":["10.9.0.7"]}]}"#, Code::BadAddress, "broadcast"),
        (r#"{"name":"x","networks":[{"network":"web","addresses":["10.9.1.2"]}]}"#, Code::BadAddress, "not inside 10.9.0.0/29"),
        (r#"{"name":"x","networks":[{"network":"web","addresses":["fd00::2"]}]}"#, Code::BadAddress, "fd00::2 is not inside"),
        (
            r#"{"name":"x","networks":[{"network":"web","addresses":["10.9.0.5","10.9.0.6"]}]}"#,
            Code::BadAddress,
            "second address of one family",
        ),
        (
            r#"{"name":"x","networks":[{"network":"kept","addresses":["10.7.0.9"]}]}"#,
            Code::BadAddress,
            "10.7.0.9 is excluded (10.7.0.8/30)",
        ),
        (r#"{"name":"x","networks":[{"network":"web"},{"network":"web"}]}"#, Code::Exists, "attached already, by eth1"),
        (r#"{"name":"x","networks":[{"network":"web","ifname":"lo"}]}"#, Code::BadInterface, "has an interface lo"),
        (
            r#"{"name":"x","networks":[{"network":"kept","mac":"02:00:00:00:00:0a"}]}"#,
            Code::BadAddress,
            "MAC address 02:00:00:00:00:0a is that of named",
        ),
        (
            r#"{"name":"x","networks":[{"network":"kept","mac":"02:00:00:00:00:01"},{"network":"kept","ifname":"x0","mac":"02:00:00:00:00:01"}]}"#,
            Code::BadAddress,
            "is that of x",
        ),
        (
            r#"{"name":"y","netns":{"path":"/proc/7/ns/net"},"networks":[{"network":"web"}]}"#,
            Code::InUse,
            "it is the namespace of container named",
        ),
        (
            r#"{"name":"x","networks":[{"network":"web"}],"publish":["0.0.0.0:8080:80"]}"#,
            Code::PortTaken,
            "port 8080 is published for container a",
        ),
        (
            r#"{"name":"x","networks":[{"network":"web","ifname":"net0"},{"network":"in","ifname":"net0"}]}"#,
            Code::BadInterface,
            "has an interface net0",
        ),
        (r#"{"name":"x","networks":[{"network":"web"}],"publish":["8080:80"]}"#, Code::PortTaken, "port 8080 is published for container a"),
        (
            r#"{"name":"x","networks":[{"network":"web"}],"publish":["81:80","81:82"]}"#,
            Code::PortTaken,
            "port 81 is published for container x",
        ),
    ] {
        refused(&container(json), code, words);
    }
}

#[test]
fn bad_publishes_are_refused() {
    for (name, spec, code, words) in [
        ("nope", "80", Code::NotFound, "no container nope"),
        ("a", "8080:81", Code::PortTaken, "published for container a"),
        ("a", "10.0.0.1:8080:81", Code::PortTaken, "published for container a"),
        ("a", "9090:81", Code::PortTaken, "port 9090 is published"),
        ("a", "8070-8090:70-90", Code::PortTaken, "port 8080 is published"),
        ("a", "[::1]:80:80", Code::Impossible, "no route_localnet"),
        ("a", "[fe80::1]:80:80", Code::Impossible, "link-local"),
        ("a", "224.0.0.1:80:80", Code::Impossible, "no address of a host"),
        ("a", "10.9.0.2:80:80", Code::Impossible, "address of network web, not of the host"),
        ("a", "[fd00::1]:80:80", Code::Impossible, "no IPv6 address"),
        ("sixer", "127.0.0.1:80:80", Code::Impossible, "no IPv4 address"),
        ("hidden", "80", Code::Impossible, "internal networks only"),
        ("a", "1-5000:1-5000", Code::BadRequest, "5000 ports are too many"),
    ] {
        refused(&publish(name, spec), code, words);
    }
}

#[test]
fn the_same_port_on_two_loopback_addresses_and_in_two_protocols_is_no_conflict() {
    let mut desired = usual();
    for spec in ["127.0.0.2:9090:90", "8080:80/udp", "8080:80/sctp"] {
        let change = ask(&desired, &publish("a", spec)).unwrap();
        desired.apply(&change);
    }
    assert_eq!(desired.publishes().len(), 5);
}

#[test]
fn an_interface_that_an_adopted_namespace_has_is_taken() {
    let desired = after(&[network(r#"{"name":"web"}"#)]);
    let fault = ask(&desired, &container(r#"{"name":"x","netns":{"pid":7},"networks":[{"network":"web","ifname":"eth0"}]}"#)).unwrap_err();
    assert_eq!(fault.code, Code::BadInterface);
    assert!(fault.what.contains("has an interface eth0"), "{fault}");
    let change = ask(&desired, &container(r#"{"name":"x","netns":{"pid":7},"networks":[{"network":"web"}]}"#)).unwrap();
    assert!(
        matches!(&change.edits[0], crate::desired::Edit::Container { after: Some(x), .. } if x.attachments[0].ifname.as_str() == "eth1")
    );
}

#[test]
fn a_namespace_that_netd_made_cannot_be_adopted_too() {
    let desired = usual();
    let found = Found { path: "/run/netns/a".to_owned(), id: NetnsId { dev: 4, ino: 8 }, links: [].into() };
    let request = container(r#"{"name":"x","netns":{"path":"/run/netns/a"}}"#);
    let fault = change(&desired, &request, Context { host: &host(), pools: &[], found: Some(&found), busy: &[], held: &[] }).unwrap_err();
    assert_eq!(fault.code, Code::InUse);
    assert!(fault.what.contains("it is the namespace of container a"), "{fault}");
}

#[test]
fn the_same_port_of_all_ipv4_and_of_all_ipv6_addresses_is_no_conflict() {
    let mut desired = after(&[
        network(r#"{"name":"web","subnets":["10.9.0.0/29","fd00:9::/64"]}"#),
        container(r#"{"name":"a","networks":[{"network":"web"}],"publish":["0.0.0.0:80:80"]}"#),
    ]);
    let change = ask(&desired, &publish("a", "[::]:80:81")).unwrap();
    desired.apply(&change);
    for spec in ["80:80", "127.0.0.1:80:80", "[fd00:5::1]:80:80"] {
        assert_eq!(ask(&desired, &publish("a", spec)).unwrap_err().code, Code::PortTaken, "{spec}");
    }
}

#[test]
fn rows_of_free_ports_are_found_around_what_is_taken() {
    let range = |first, last| PortRange { first, last };
    let mut taken = crate::ipam::Ranges::default();
    [1000, 1003, 1004, 1008].into_iter().for_each(|port| taken.insert(port));
    let free = |count, others: &[PortRange]| super::publish::free(count, (1000, 1012), Some(&taken), others);
    assert_eq!(free(1, &[]), Some(range(1001, 1001)));
    assert_eq!(free(3, &[]), Some(range(1005, 1007)));
    assert_eq!(free(4, &[]), Some(range(1009, 1012)));
    assert_eq!(free(5, &[]), None);
    assert_eq!(free(2, &[range(900, 1001), range(1006, 1009)]), Some(range(1010, 1011)));
    assert_eq!(super::publish::free(65_536, (1, 65535), None, &[]), None);
    assert_eq!(super::publish::free(2, (65534, 65535), None, &[range(65534, 65534)]), None);
}

#[test]
fn free_ports_are_chosen_until_none_is_left() {
    let mut desired = usual();
    for _ in 0..3 {
        let change = ask(&desired, &publish("a", "80")).unwrap();
        desired.apply(&change);
    }
    let fault = ask(&desired, &publish("a", "80")).unwrap_err();
    assert_eq!(fault.code, Code::Exhausted);
}

#[test]
fn an_exhausted_subnet_says_so_and_a_removed_container_makes_room() {
    let mut desired = usual();
    for n in 0..4 {
        let change = ask(&desired, &container(&format!(r#"{{"name":"x{n}","networks":[{{"network":"web"}}]}}"#))).unwrap();
        desired.apply(&change);
    }
    let more = container(r#"{"name":"y","networks":[{"network":"web"}]}"#);
    assert_eq!(ask(&desired, &more).unwrap_err().code, Code::Exhausted);
    let change = ask(&desired, &Request::RemoveContainer("x1".parse().unwrap())).unwrap();
    desired.apply(&change);
    assert!(ask(&desired, &more).is_ok());
}

#[test]
fn the_1024th_container_of_a_bridge_is_refused_before_anything_is_made() {
    let mut desired = after(&[network(r#"{"name":"big","subnets":["10.128.0.0/16"]}"#)]);
    for n in 0..1023 {
        let change = ask(&desired, &container(&format!(r#"{{"name":"x{n}","networks":[{{"network":"big"}}]}}"#))).unwrap();
        desired.apply(&change);
    }
    let fault = ask(&desired, &container(r#"{"name":"y","networks":[{"network":"big"}]}"#)).unwrap_err();
    assert_eq!(fault.code, Code::BridgeFull);
    assert!(fault.what.contains("1023 ports"), "{fault}");
}

#[test]
fn a_container_cannot_leave_the_network_its_published_ports_lead_to() {
    refused(&Request::Disconnect("a".parse().unwrap(), "web".parse().unwrap(), None), Code::InUse, "would lead nowhere");
    refused(&Request::Disconnect("a".parse().unwrap(), "in".parse().unwrap(), None), Code::NotFound, "not attached to network in");
}

#[test]
fn a_change_and_its_reverse_leave_the_wish_as_it_was() {
    let desired = usual();
    for request in [
        container(r#"{"name":"x","networks":[{"network":"web"},{"network":"in"}],"publish":["80","81:81/udp"]}"#),
        container(r#"{"name":"y"}"#),
        publish("a", "7000-7010:1-11"),
        Request::RemoveContainer("a".parse().unwrap()),
        Request::Unpublish("a".parse().unwrap(), None),
        Request::Cleanup,
    ] {
        let change = ask(&desired, &request).unwrap();
        let mut there_and_back = desired.clone();
        there_and_back.apply(&change);
        assert!(there_and_back != desired, "{request:?} changed nothing");
        there_and_back.apply(&change.reverse());
        assert!(there_and_back == desired, "{request:?} cannot be reversed");
        assert_eq!(there_and_back.slots(), desired.slots());
        assert!(ask(&there_and_back, &publish("a", "8080:81")).is_err(), "the index of ports is not as it was");
    }
}

#[test]
fn a_container_may_send_from_more_addresses_or_as_whom_it_likes() {
    let json = r#"{"name":"vip","networks":[{"network":"web"}],"allow_addresses":["10.4.0.9/24","0.0.0.0/0","10.4.0.7/24"],"guard":"off"}"#;
    let mut desired = usual();
    let change = ask(&desired, &container(json)).unwrap();
    desired.apply(&change);
    let vip = &desired.containers()["vip"];
    assert_eq!(vip.allow, ["0.0.0.0/0", "10.4.0.0/24"].map(|net| net.parse::<ipnet::IpNet>().unwrap()));
    assert_eq!(vip.guard, netd_api::spec::Guard::Off);
    assert_eq!(desired.containers()["a"].guard, netd_api::spec::Guard::On);
}

#[test]
fn ports_get_names_and_lose_them() {
    let mut desired = usual();
    let name = |json: &str| Request::ChangeContainer("a".parse().unwrap(), serde_json::from_str(json).unwrap());
    for (json, named) in [
        (r#"{"ports":{"http":{"port":80},"dns":{"port":53,"protocol":"udp"}}}"#, 2),
        (r#"{"ports":{"http":{"port":8080},"none":null}}"#, 2),
        (r#"{"ports":{"dns":null}}"#, 1),
    ] {
        let change = ask(&desired, &name(json)).unwrap();
        desired.apply(&change);
        assert_eq!(desired.containers()["a"].ports.len(), named, "{json}");
    }
    assert_eq!(desired.containers()["a"].ports["http"].port, 8080);
    assert_eq!(ask(&desired, &name(r#"{"ports":{"http":{"port":8080}}}"#)).unwrap(), Change::default());

    let many: Vec<String> = (0..65).map(|n| format!(r#""p{n}":{{"port":80}}"#)).collect();
    for (ports, words) in [
        (r#""HTTP":{"port":80}"#.to_owned(), r#""HTTP" is no name of a port"#),
        (r#""http":{"port":0}"#.to_owned(), "port 0 of http is none"),
        (many.join(","), "65 names are too many"),
    ] {
        refused(&name(&format!(r#"{{"ports":{{{ports}}}}}"#)), Code::BadRequest, words);
    }
}
