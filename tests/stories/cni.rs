//! A CNI runtime attaches its containers by netd-cni: ADD, CHECK, DEL, GC, STATUS and VERSION, in every version of the specification,
//! on networks of the configuration's own and on netd's.

use lab::{
    HOST_V4, Lab, OUTSIDE_V4, OUTSIDE_V6,
    cni::{Conflist, VERSIONS, attachments},
    eventually,
};
use netd_api::{addr::Family, view::Kind};
use serde_json::json;

#[test]
fn in_every_version_the_result_is_what_the_kernel_has() {
    let lab = Lab::new();
    let cni = lab.cni();
    lab.outside().serves(90);
    let [a, b] = ["a", "b"].map(|id| cni.sandbox(id).listens(80));
    for version in VERSIONS {
        let list = Conflist::dual("web").version(version);
        let added = a.joins(&list);
        assert_eq!(added.version(), version);
        assert_eq!(added.addresses().len(), 2);
        added.expect_real(&a, lab.here());
        b.joins(&list);
        b.fetches(added.v4(80)).expect_from("a");
        b.fetches(added.v6(80)).expect_from("a");
        lab.here().fetches(added.v4(80)).expect_from("a");
        for outside in [OUTSIDE_V4, OUTSIDE_V6] {
            a.fetches((outside, 90)).expect_from(lab.outside());
        }
        if version >= "0.4.0" {
            a.eth0().is_well(&list);
            b.eth0().is_well(&list);
        }
        a.leaves(&list);
        assert_eq!(a.links(), ["lo"]);
        b.leaves(&list);
        assert_eq!(lab.status().containers, 0);
    }
    a.ends();
    b.ends();
    lab.ends_clean();
}

#[test]
fn bridge_host_end_and_container_end_are_told_in_this_order() {
    let lab = Lab::new();
    let a = lab.cni().sandbox("a");
    let list = Conflist::dual("web").with("bridge", json!("cni0")).with("mtu", json!(1400));
    let added = a.joins(&list);
    let view = lab.container("a").inspect();
    assert_eq!(added.on_the_host(), ["cni0", view.attachments[0].host_ifname.as_str()]);
    assert_eq!(added.json["interfaces"][2]["name"], "eth0");
    assert_eq!(added.json["interfaces"][2]["mtu"], 1400);
    assert_eq!(added.json["ips"][0]["interface"], 2);
    for link in ["cni0", view.attachments[0].host_ifname.as_str()] {
        assert_eq!(lab.here().link(link)["mtu"], 1400, "{link}");
    }
    added.expect_real(&a, lab.here());
    a.leaves(&list);
    a.ends();
    lab.ends_clean();
}

#[test]
fn dns_of_the_configuration_and_of_the_runtime_is_passed_on() {
    let lab = Lab::new();
    let cni = lab.cni();
    let list = Conflist::dual("web");
    let a = cni.sandbox("a");
    assert!(a.joins(&list).json["dns"].as_object().is_none_or(serde_json::Map::is_empty), "nobody asked for DNS");
    a.leaves(&list);
    let dns = json!({"nameservers": ["10.4.0.1"], "domain": "shop.test", "search": ["shop.test"], "options": ["ndots:2"]});
    let with_dns = list.with("dns", dns.clone());
    assert_eq!(a.joins(&with_dns).json["dns"], dns);
    a.leaves(&with_dns);
    let from_the_runtime = a.eth0().given("dns", json!({"servers": ["9.9.9.9"], "searches": ["a.test"], "options": []}));
    let added = from_the_runtime.joins(&with_dns);
    assert_eq!(added.json["dns"]["nameservers"], json!(["9.9.9.9"]));
    assert_eq!(added.json["dns"]["search"], json!(["a.test"]));
    a.leaves(&with_dns);
    a.ends();
    lab.ends_clean();
}

#[test]
fn an_inline_network_is_made_with_its_first_container_and_stays_until_it_is_removed() {
    let lab = Lab::new();
    let a = lab.cni().sandbox("a");
    let list = Conflist::dual("web");
    a.joins(&list);
    let net = lab.known_network("web");
    let view = net.inspect();
    assert!(view.cni && view.icc && !view.internal);
    assert_eq!(view.containers.len(), 1);
    assert_eq!(view.subnets.iter().map(|subnet| subnet.subnet.to_string()).collect::<Vec<_>>(), ["10.4.0.0/24", "fd00:4::/64"]);
    let bridge = net.bridge();
    a.leaves(&list);
    assert!(lab.here().links().contains(&bridge), "the bridge stays, as the reference plugin's does");
    a.joins(&list);
    a.leaves(&list);
    net.removed();
    assert!(!lab.here().links().contains(&bridge));
    a.joins(&list);
    a.leaves(&list);
    assert_eq!(lab.prunes(), ["web"]);
    a.ends();
    lab.ends_clean();
}

#[test]
fn a_changed_configuration_changes_the_network_where_its_containers_can_stay() {
    let lab = Lab::new();
    let cni = lab.cni();
    let list = Conflist::dual("web");
    let [a, b] = ["a", "b"].map(|id| cni.sandbox(id).listens(80));
    let added = a.joins(&list);
    lab.outside().serves(90);
    let stream = a.streams((OUTSIDE_V4, 90));
    let unmasked = list.clone().with("ipMasq", json!(false));
    b.joins(&unmasked);
    b.fetches(added.v4(80)).expect_from("a");
    b.leaves(&unmasked);
    let elsewhere = Conflist::dual_at("web", 5);
    let refusal = b.eth0().cannot_join(&elsewhere, 7).with_hint();
    assert!(refusal.msg.contains("web"), "{refusal}");
    stream.expect_flowing();
    drop(stream);
    a.leaves(&list);
    // Without containers it takes any form.
    assert_eq!(b.joins(&elsewhere).addresses().len(), 2);
    b.leaves(&elsewhere);
    a.ends();
    b.ends();
    lab.ends_clean();
}

#[test]
fn a_named_network_keeps_its_own_settings_and_its_other_containers() {
    let lab = Lab::new();
    let net = lab.network("web");
    let c = net.container("c").listens(80);
    let other = lab.network("other").container("other").listens(80);
    let a = lab.cni().sandbox("a").listens(80);
    let list = Conflist::named("pods", "web");
    let added = a.joins(&list);
    added.expect_real(&a, lab.here());
    assert_eq!(added.on_the_host()[0], net.bridge());
    for (family, to) in [(Family::V4, added.v4(80)), (Family::V6, added.v6(80))] {
        assert!(net.subnet(family).contains(to.ip()));
        c.fetches(to).expect_from("a");
        a.fetches((c.address(family), 80)).expect_from(&c);
        a.tries((other.address(family), 80)).expect_nothing();
    }
    lab.outside().serves(90);
    let seen = a.fetches((OUTSIDE_V4, 90)).expect_from(lab.outside()).seen;
    assert_eq!(seen.ip().to_string(), HOST_V4, "netd's networks are masqueraded");
    assert_eq!(lab.container("a").inspect().kind, Kind::Cni);
    a.leaves(&list);
    c.removed();
    net.removed();
    a.eth0().cannot_join(&list, 7).with_hint().naming("web");
    a.ends();
    lab.ends_clean();
}

#[test]
fn the_network_default_is_made_on_first_use() {
    let lab = Lab::new();
    let a = lab.cni().sandbox("a");
    let list = Conflist::named("pods", "default");
    a.joins(&list).expect_real(&a, lab.here());
    let c = lab.new_container("c").made().listens(80);
    a.fetches(c.v4(80)).expect_from(&c);
    a.leaves(&list);
    a.ends();
    lab.ends_clean();
}

#[test]
fn the_name_of_a_network_that_netctl_made_is_refused_and_how_to_use_it_is_said() {
    let lab = Lab::new();
    lab.network("web");
    let a = lab.cni().sandbox("a");
    lab.unchanged_by(|| {
        a.eth0().cannot_join(&Conflist::dual("web"), 7).with_hint().naming("\"network\"");
    });
    a.ends();
    lab.ends_clean();
}

#[test]
fn inline_networks_reach_each_other_and_no_isolated_network_of_netd() {
    let lab = Lab::new();
    let cni = lab.cni();
    let isolated = lab.network("vault").container("v").listens(80);
    let [a, b] = ["a", "b"].map(|id| cni.sandbox(id).listens(80));
    let (one, two) = (Conflist::dual("one"), Conflist::dual_at("two", 5));
    let (at, bt) = (a.joins(&one), b.joins(&two));
    for (to, name) in [(at.v4(80), "a"), (at.v6(80), "a")] {
        b.fetches(to).expect_from(name);
    }
    a.fetches(bt.v4(80)).expect_from("b");
    for family in Family::BOTH {
        a.tries((isolated.address(family), 80)).expect_nothing();
    }
    a.leaves(&one);
    b.leaves(&two);
    a.ends();
    b.ends();
    lab.ends_clean();
}

#[test]
fn gc_takes_what_is_not_valid_by_either_spelling_and_touches_no_other_network() {
    let lab = Lab::new();
    let cni = lab.cni();
    let (one, two) = (Conflist::dual("one"), Conflist::dual_at("two", 5));
    let [a, b] = ["a", "b"].map(|id| cni.sandbox(id).listens(80));
    let added = a.joins(&one);
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        b.joins(&one);
        let other = b.interface("eth1").joins(&two);
        let input = one.input(&one.plugins[0], "1.1.0", None, None);
        cni.call("netd-cni", "GC").json(&input).with(key, attachments(&[a.eth0()])).runs().expect_nothing();
        assert_eq!(b.links(), ["lo", "eth1"], "{key}");
        assert!(b.run("ip", &["-brief", "address", "show", "dev", "eth1"]).contains(&other.addresses()[0]), "{key}");
        b.interface("eth1").is_well(&two);
        lab.here().fetches(added.v4(80)).expect_from("a");
        a.eth0().is_well(&one);
        b.interface("eth1").leaves(&two);
    }
    // As libcni does it: it deletes what it has cached, then tells both keys; a container that ended has no namespace.
    b.joins(&one);
    b.ends();
    cni.collects(&one, &[a.eth0()]).unwrap();
    assert_eq!(lab.status().containers, 1);
    cni.collects(&one, &[]).unwrap();
    assert_eq!((lab.status().containers, a.links()), (0, vec!["lo".to_owned()]));
    a.ends();
    lab.ends_clean();
}

#[test]
fn gc_of_one_configuration_leaves_another_that_names_the_same_network() {
    let lab = Lab::new();
    let net = lab.network("web");
    let cni = lab.cni();
    let (one, two) = (Conflist::named("one", "web"), Conflist::named("two", "web"));
    let [a, b] = ["a", "b"].map(|id| cni.sandbox(id).listens(80));
    a.eth0().port(8080, 80, "tcp").joins(&one);
    let both = b.interface("eth1").port(8081, 80, "tcp").joins(&two);
    b.joins(&one);
    cni.call("netd-cni", "GC")
        .json(&one.input(&one.plugins[0], "1.1.0", None, None))
        .with("cni.dev/valid-attachments", json!([]))
        .runs()
        .expect_nothing();
    assert_eq!((a.links(), b.links()), (vec!["lo".to_owned()], vec!["lo".to_owned(), "eth1".to_owned()]));
    assert_eq!((net.inspect().containers.len(), lab.ports().len()), (1, 1));
    lab.outside().tries((HOST_V4, 8080)).expect_refused();
    lab.outside().fetches((HOST_V4, 8081)).expect_from("b");
    both.expect_real(&b, lab.here());
    b.interface("eth1").is_well(&two);
    cni.collects(&two, &[]).unwrap();
    assert_eq!((b.links(), lab.status().containers), (vec!["lo".to_owned()], 0));
    a.ends();
    b.ends();
    lab.ends_clean();
}

#[test]
fn gc_takes_what_the_runtime_has_forgotten() {
    let lab = Lab::new();
    let cni = lab.cni();
    let list = Conflist::dual("web");
    let a = cni.sandbox("a");
    // The plugin alone: nothing is cached, as when the runtime died just then.
    a.eth0().runs(&list, "ADD").runs().expect_result();
    cni.collects(&list, &[]).unwrap();
    assert_eq!((lab.status().containers, a.links()), (0, vec!["lo".to_owned()]));
    a.ends();
    lab.ends_clean();
}

#[test]
fn status_says_whether_an_add_would_work() {
    let lab = Lab::new();
    let cni = lab.cni();
    let list = Conflist::dual("web");
    cni.status(&list).unwrap();
    assert_eq!(lab.status().networks, 0, "asking makes nothing");
    let refusal = |list: &Conflist| cni.status(list).expect_err("this cannot work");
    refusal(&Conflist::named("pods", "nobody")).with_code(50).with_hint().naming("nobody");
    lab.network("mine");
    refusal(&Conflist::dual("mine")).with_code(50).with_hint().naming("mine");
    let small = Conflist::netd("small", json!({"ipam": {"type": "host-local", "subnet": "10.6.0.0/30", "gateway": "10.6.0.1"}}));
    let a = cni.sandbox("a");
    cni.status(&small).unwrap();
    a.joins(&small);
    refusal(&small).with_code(50).naming("10.6.0.0/30");
    a.leaves(&small);
    cni.status(&small).unwrap();
    lab.here().run("nft", &["add", "table", "inet", "strict"]);
    lab.here().run("nft", &["add", "chain", "inet", "strict", "sieve", "{ type filter hook forward priority 10; policy drop; }"]);
    let limited = eventually("a foreign drop limits connectivity", || cni.status(&list).err());
    limited.with_code(51).naming("strict");
    lab.here().run("nft", &["delete", "table", "inet", "strict"]);
    eventually("without it all is well", || cni.status(&list).ok());
    lab.netd().stop();
    refusal(&list).with_code(50).with_hint();
    lab.netd().start();
    cni.status(&list).unwrap();
    a.ends();
    lab.ends_clean();
}

#[test]
fn the_plugin_tells_its_versions_and_without_a_command_what_it_is() {
    let lab = Lab::new();
    let said = lab.cni().versions("netd-cni");
    assert_eq!(said["cniVersion"], "1.1.0");
    assert_eq!(said["supportedVersions"], json!(VERSIONS));
    let older = lab.cni().until("0.4.0").versions("netd-cni");
    assert_eq!((&older["cniVersion"], &older["supportedVersions"]), (&json!("0.4.0"), &json!(VERSIONS)));
    let spoken = lab.cni().call("netd-cni", "").without("CNI_COMMAND").runs();
    assert_eq!((spoken.status, spoken.out.as_str()), (0, ""), "{spoken:?}");
    assert!(spoken.err.contains("netd") && VERSIONS.iter().all(|version| spoken.err.contains(version)), "{spoken:?}");
    lab.netd().stop();
    assert_eq!(lab.cni().versions("netd-cni"), said, "netd is not needed for it");
}

#[test]
fn an_old_runtime_gets_the_version_it_speaks() {
    let lab = Lab::new();
    let list = Conflist::dual("web").version("0.4.0").or_version("1.0.0").or_version("1.1.0");
    for (cni, version) in [(lab.cni().until("1.0.0"), "0.4.0"), (lab.cni(), "1.1.0")] {
        let a = cni.sandbox("a");
        let added = a.joins(&list);
        assert_eq!(added.version(), version);
        added.expect_real(&a, lab.here());
        a.eth0().is_well(&list);
        a.leaves(&list);
        a.ends();
    }
    lab.ends_clean();
}

#[test]
fn what_cni_brought_lives_on_after_a_crash_and_is_gone_after_a_reboot() {
    let lab = Lab::new();
    let cni = lab.cni();
    let list = Conflist::dual("web");
    let a = cni.sandbox("a").listens(80);
    let added = a.eth0().port(8080, 80, "tcp").joins(&list);
    let stream = lab.outside().streams((HOST_V4, 8080));
    lab.netd().crash();
    stream.expect_flowing();
    drop(stream);
    assert_eq!(lab.plan(), Vec::<String>::new());
    a.eth0().port(8080, 80, "tcp").is_well(&list);
    added.expect_real(&a, lab.here());
    a.stops_serving();
    lab.reboots();
    assert_eq!((lab.status().networks, lab.status().containers, lab.status().ports), (0, 0, 0));
    lab.outside().tries((HOST_V4, 8080)).expect_refused();
    // The runtime cleans up after the boot: it has cached what is gone.
    cni.collects(&list, &[]).unwrap();
    let again = cni.sandbox("a").listens(80);
    again.eth0().port(8080, 80, "tcp").joins(&list);
    lab.outside().fetches((HOST_V4, 8080)).expect_from("a");
    again.leaves(&list);
    again.ends();
    lab.ends_clean();
}
