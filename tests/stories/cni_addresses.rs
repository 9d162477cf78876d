//! Addresses, routes, hardware addresses and sysctls through CNI: ranges and requests, with the keys of `host-local`, `static` and `tuning` as
//! they are.

use lab::{
    HOST_V4, HOST_V6, Lab, OUTSIDE_V4, OUTSIDE_V6,
    cni::{Cni, Conflist},
};
use serde_json::{Value, json};

/// A list whose IPAM block is this.
fn with_ipam(ipam: impl Into<Value>) -> Conflist {
    Conflist::netd("web", json!({"isDefaultGateway": true, "ipMasq": true, "ipam": ipam.into()}))
}

/// A container joins, shows that the kernel is as the result says, tells its addresses, and goes.
#[track_caller]
fn addresses(lab: &Lab, cni: &Cni<'_>, list: &Conflist) -> Vec<String> {
    let a = cni.sandbox("probe");
    let added = a.joins(list);
    added.expect_real(&a, lab.here());
    a.eth0().is_well(list);
    a.leaves(list);
    a.ends();
    added.addresses()
}

#[test]
fn every_way_to_write_subnets_gives_their_addresses() {
    let lab = Lab::new();
    let cni = lab.cni();
    for (keys, expected) in [
        (json!({"subnet": "10.4.0.0/24"}), vec!["10.4.0."]),
        (json!({"subnets": ["10.4.0.0/24", "fd00:4::/64"]}), vec!["10.4.0.", "fd00:4::"]),
        (json!({"ranges": [[{"subnet": "10.4.0.0/24"}], [{"subnet": "fd00:4::/64"}]]}), vec!["10.4.0.", "fd00:4::"]),
        (json!({"ipam": {"type": "netd", "subnet": "10.4.0.0/24"}}), vec!["10.4.0."]),
        (json!({"ipam": {"type": "netd", "ranges": [[{"subnet": "fd00:4::/64"}]]}}), vec!["fd00:4::"]),
        (
            json!({"ipam": {"type": "host-local", "subnet": "10.4.0.0/24", "dataDir": "/run/x", "resolvConf": "/etc/resolv.conf"}}),
            vec!["10.4.0."],
        ),
        (
            json!({"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.4.0.0/24"}], [{"subnet": "10.5.0.0/24"}]]}}),
            vec!["10.4.0.", "10.5.0."],
        ),
    ] {
        let list = Conflist::netd("web", keys.clone()).with("isDefaultGateway", json!(true));
        let got = addresses(&lab, &cni, &list);
        assert!(got.len() == expected.len() && got.iter().zip(&expected).all(|(got, begin)| got.starts_with(begin)), "{keys}: {got:?}");
        assert_eq!(lab.prunes(), ["web"]);
    }
    // Nothing said: a subnet is chosen, as netctl does.
    for keys in [json!({"ipam": {"type": "netd"}}), json!({})] {
        let got = addresses(&lab, &cni, &Conflist::netd("web", keys));
        assert_eq!(got.len(), 1, "{got:?}");
    }
    lab.ends_clean();
}

#[test]
fn a_range_is_used_up_and_no_address_outside_it_is_given() {
    let lab = Lab::new();
    let cni = lab.cni();
    let list = with_ipam(
        json!({"type": "host-local", "subnet": "10.4.0.0/24", "rangeStart": "10.4.0.10", "rangeEnd": "10.4.0.12", "gateway": "10.4.0.11"}),
    );
    let [a, b, c] = ["a", "b", "c"].map(|id| cni.sandbox(id));
    let mut got = [a.joins(&list), b.joins(&list)].map(|added| added.addresses()[0].clone());
    got.sort();
    assert_eq!(got, ["10.4.0.10/24", "10.4.0.12/24"]);
    c.eth0().is_refused(&list).of_our_own().with_hint().naming("10.4.0");
    assert_eq!(c.links(), ["lo"]);
    a.leaves(&list);
    c.joins(&list).expect_real(&c, lab.here());
    for sandbox in [&b, &c] {
        sandbox.leaves(&list);
    }
    [a, b, c].iter().for_each(|sandbox| sandbox.ends());
    lab.ends_clean();
}

#[test]
fn ranges_of_one_set_are_one_pool_and_each_set_gives_one_address() {
    let lab = Lab::new();
    let cni = lab.cni();
    let one = |last: u8| json!({"subnet": "10.4.0.0/24", "rangeStart": format!("10.4.0.{last}"), "rangeEnd": format!("10.4.0.{last}")});
    let list = with_ipam(json!({"type": "host-local", "ranges": [[one(20), one(30)], [{"subnet": "fd00:4::/64"}]]}));
    let [a, b] = ["a", "b"].map(|id| cni.sandbox(id));
    let got = [a.joins(&list), b.joins(&list)].map(|added| added.addresses());
    assert!(got.iter().all(|both| both.len() == 2 && both[1].starts_with("fd00:4::")), "{got:?}");
    let mut v4 = got.map(|both| both[0].clone());
    v4.sort();
    assert_eq!(v4, ["10.4.0.20/24", "10.4.0.30/24"]);
    cni.sandbox("c").eth0().is_refused(&list).of_our_own();
    a.leaves(&list);
    b.leaves(&list);
    a.ends();
    b.ends();
    lab.here().run("ip", &["netns", "del", "c"]);
    lab.ends_clean();
}

#[test]
fn static_addresses_are_had_as_written() {
    let lab = Lab::new();
    let cni = lab.cni();
    lab.outside().serves(90);
    let list = |last: u8| {
        let both = json!([{"address": format!("10.4.0.{last}/24"), "gateway": "10.4.0.1"}, {"address": format!("fd00:4::{last}/64"), "gateway": "fd00:4::1"}]);
        with_ipam(json!({"type": "static", "addresses": both, "dns": {"nameservers": ["10.4.0.1"]}}))
    };
    let [a, b] = ["a", "b"].map(|id| cni.sandbox(id).listens(80));
    let added = a.joins(&list(7));
    assert_eq!(added.addresses(), ["10.4.0.7/24", "fd00:4::7/64"]);
    assert_eq!(added.gateways(), ["10.4.0.1", "fd00:4::1"]);
    assert_eq!(added.json["dns"]["nameservers"], json!(["10.4.0.1"]));
    added.expect_real(&a, lab.here());
    a.fetches((OUTSIDE_V4, 90)).expect_from(lab.outside());
    a.fetches((OUTSIDE_V6, 90)).expect_from(lab.outside());
    b.eth0().is_refused(&list(7)).naming("10.4.0.7");
    b.joins(&list(8));
    b.fetches(added.v4(80)).expect_from("a");
    b.fetches(added.v6(80)).expect_from("a");
    a.leaves(&list(7));
    b.leaves(&list(8));
    a.ends();
    b.ends();
    lab.ends_clean();
}

#[test]
fn requested_addresses_are_had_by_every_way_to_ask_and_taken_ones_are_refused() {
    let lab = Lab::new();
    let cni = lab.cni();
    let list = Conflist::dual("web");
    let a = cni.sandbox("a");
    let asked = list.clone().with("args", json!({"cni": {"ips": ["10.4.0.44"]}}));
    for (interface, list, address) in [
        (a.eth0().given("ips", json!(["10.4.0.9", "fd00:4::9"])), &list, "10.4.0.9/24"),
        (a.eth0().given("ips", json!(["10.4.0.10/24"])), &list, "10.4.0.10/24"),
        (a.eth0().argument("IP", "10.4.0.33"), &list, "10.4.0.33/24"),
        (a.eth0(), &asked, "10.4.0.44/24"),
    ] {
        let added = interface.joins(list);
        assert!(added.addresses().contains(&address.to_owned()) && added.addresses().len() == 2, "{address}: {}", added.json);
        added.expect_real(&a, lab.here());
        interface.leaves(list);
    }
    a.joins(&asked);
    let b = cni.sandbox("b");
    lab.unchanged_by(|| {
        b.eth0().cannot_join(&asked, 7).with_hint().naming("10.4.0.44");
        b.eth0().given("ips", json!(["10.9.0.9"])).cannot_join(&list, 7).naming("10.9.0.9");
        b.eth0().given("ips", json!(["10.4.0.1"])).cannot_join(&list, 7).naming("10.4.0.1");
        b.eth0().given("ips", json!(["ten"])).cannot_join(&list, 7).naming("ten");
    });
    a.leaves(&asked);
    a.ends();
    b.ends();
    lab.ends_clean();
}

#[test]
fn the_runtimes_ranges_come_before_those_of_the_configuration() {
    let lab = Lab::new();
    let a = lab.cni().sandbox("a");
    let ranges = json!([[{"subnet": "10.6.0.0/24", "rangeStart": "10.6.0.70"}], [{"subnet": "fd00:6::/64"}]]);
    let with_ranges = a.eth0().given("ipRanges", ranges);
    for (configured, begins) in [
        (json!({}), vec!["10.6.0.7", "fd00:6::"]),
        (json!({"subnet": "10.4.0.0/24"}), vec!["10.6.0.7", "fd00:6::", "10.4.0."]),
        (
            json!({"ranges": [[{"subnet": "fd00:4::/64"}], [{"subnet": "10.4.0.0/24"}]]}),
            vec!["10.6.0.7", "fd00:6::", "fd00:4::", "10.4.0."],
        ),
    ] {
        let mut ipam = configured.clone();
        ipam["type"] = json!("host-local");
        let list = with_ipam(ipam);
        let added = with_ranges.joins(&list);
        let got = added.addresses();
        assert!(got.len() == begins.len() && got.iter().zip(&begins).all(|(got, begin)| got.starts_with(begin)), "{configured}: {got:?}");
        added.expect_real(&a, lab.here());
        // Who has no wish of its own leaves under the first of them.
        let default = a.run("ip", &["-4", "route", "show", "default"]);
        assert!(default.contains("via 10.6.0.1 "), "{configured}: {default}");
        with_ranges.is_well(&list);
        a.leaves(&list);
    }
    a.ends();
    lab.ends_clean();
}

#[test]
fn a_hardware_address_is_had_as_asked() {
    let lab = Lab::new();
    let cni = lab.cni();
    let list = Conflist::dual("web");
    let a = cni.sandbox("a");
    let asked = list.clone().with("args", json!({"cni": {"mac": "02:42:00:00:00:02"}}));
    for (interface, list, mac) in
        [(a.eth0().given("mac", json!("02:42:00:00:00:01")), &list, "02:42:00:00:00:01"), (a.eth0(), &asked, "02:42:00:00:00:02")]
    {
        let added = interface.joins(list);
        assert_eq!(added.interface()["mac"], mac);
        added.expect_real(&a, lab.here());
        interface.is_well(list);
        interface.leaves(list);
    }
    lab.unchanged_by(|| {
        a.eth0().given("mac", json!("01:00:5e:00:00:01")).cannot_join(&list, 7).naming("01:00:5e:00:00:01");
    });
    a.ends();
    lab.ends_clean();
}

#[test]
fn routes_are_exactly_those_asked_for() {
    let lab = Lab::new();
    let a = lab.cni().sandbox("a");
    let routes = json!([
        {"dst": "10.50.0.0/16"},
        {"dst": "10.51.0.0/16", "gw": "10.4.0.77", "mtu": 1300, "advmss": 1200, "priority": 50},
        {"dst": "10.52.0.0/16", "table": 100},
        {"dst": "10.53.0.0/16", "scope": 253},
        {"dst": "fd00:50::/48"},
    ]);
    let ipam = json!({"type": "host-local", "ranges": [[{"subnet": "10.4.0.0/24"}], [{"subnet": "fd00:4::/64"}]], "routes": routes});
    let list = Conflist::netd("web", json!({"isGateway": true, "ipam": ipam}));
    let added = a.joins(&list);
    added.expect_real(&a, lab.here());
    assert_eq!(added.routes().len(), 5);
    let v4 = a.run("ip", &["route"]);
    assert!(!v4.contains("default"), "nobody asked for a default route: {v4}");
    for words in
        ["10.50.0.0/16 via 10.4.0.1", "10.51.0.0/16 via 10.4.0.77", "metric 50", "mtu 1300", "advmss 1200", "10.53.0.0/16 dev eth0"]
    {
        assert!(v4.contains(words), "{words}: {v4}");
    }
    assert!(a.run("ip", &["route", "show", "table", "100"]).starts_with("10.52.0.0/16 via 10.4.0.1"));
    assert!(a.run("ip", &["-6", "route"]).contains("fd00:50::/48 via fd00:4::1"));
    a.eth0().is_well(&list);
    a.leaves(&list);
    a.ends();
    lab.ends_clean();
}

#[test]
fn sysctls_of_the_namespace_are_set() {
    let lab = Lab::new();
    let a = lab.cni().sandbox("a");
    let list = Conflist::dual("web").with(
        "sysctl",
        json!({"net.ipv4.conf.IFNAME.arp_ignore": "1", "net.core.somaxconn": "321", "net/ipv4/conf/eth0/arp_announce": "2"}),
    );
    a.joins(&list);
    for (name, value) in [("ipv4/conf/eth0/arp_ignore", "1"), ("core/somaxconn", "321"), ("ipv4/conf/eth0/arp_announce", "2")] {
        assert_eq!(a.sysctl(name).as_deref(), Some(value), "{name}");
    }
    a.leaves(&list);
    let beyond = list.with("sysctl", json!({"kernel.hostname": "x"}));
    lab.unchanged_by(|| {
        a.eth0().cannot_join(&beyond, 7).naming("kernel");
    });
    a.ends();
    lab.ends_clean();
}

#[test]
fn without_a_gateway_the_bridge_has_no_address_and_neighbours_talk() {
    let lab = Lab::new();
    let cni = lab.cni();
    let list = Conflist::netd("web", json!({"bridge": "cni0", "ipam": {"type": "host-local", "subnet": "10.4.0.0/24"}}));
    let [a, b] = ["a", "b"].map(|id| cni.sandbox(id).listens(80));
    let added = a.joins(&list);
    added.expect_real(&a, lab.here());
    b.joins(&list);
    b.fetches(added.v4(80)).expect_from("a");
    let bridge = lab.here().run("ip", &["-brief", "-4", "address", "show", "dev", "cni0"]);
    assert!(!bridge.contains("10.4.0"), "{bridge}");
    assert!(added.routes().is_empty(), "there is no way out: {}", added.json);
    a.leaves(&list);
    b.leaves(&list);
    a.ends();
    b.ends();
    lab.ends_clean();
}

#[test]
fn masqueraded_or_not_outside_sees_the_right_address() {
    let lab = Lab::new();
    let a = lab.cni().sandbox("a").listens(80);
    lab.outside().serves(90).routes("10.4.0.0/24", HOST_V4);
    lab.outside().run("ip", &["-6", "route", "add", "fd00:4::/64", "via", HOST_V6]);
    for masquerade in [true, false] {
        let list = Conflist::dual("web").with("ipMasq", json!(masquerade));
        let added = a.joins(&list);
        for (outside, host, own) in [(OUTSIDE_V4, HOST_V4, added.v4(80)), (OUTSIDE_V6, HOST_V6, added.v6(80))] {
            let seen = a.fetches((outside, 90)).expect_from(lab.outside()).seen.ip();
            let expected = if masquerade { host.to_owned() } else { own.ip().to_string() };
            assert_eq!(seen.to_string(), expected, "ipMasq {masquerade}");
            // Routed as the reference plugin's, masqueraded or not.
            lab.outside().fetches(own).expect_from("a");
        }
        a.leaves(&list);
    }
    a.ends();
    lab.ends_clean();
}

#[test]
fn a_segment_without_addresses_carries_frames() {
    let lab = Lab::new();
    let cni = lab.cni();
    let list = Conflist::netd("web", json!({"ipam": {}}));
    let [a, b] = ["a", "b"].map(|id| cni.sandbox(id).listens(80));
    let added = a.joins(&list);
    assert!(added.addresses().is_empty() && added.routes().is_empty(), "{}", added.json);
    added.expect_real(&a, lab.here());
    b.joins(&list);
    a.takes_address("10.99.0.1/24", "eth0");
    b.takes_address("10.99.0.2/24", "eth0");
    a.fetches("10.99.0.2:80").expect_from("b");
    a.leaves(&list);
    b.leaves(&list);
    a.ends();
    b.ends();
    lab.ends_clean();
}
