//! Whatever a runtime leaves out or gets wrong, the answer is the specification's error object with the right code, and nothing is made.

use lab::{
    Lab,
    cni::{Call, Conflist, Sandbox},
};
use serde_json::{Value, json};

/// An ADD that would work.
fn add(a: &Sandbox<'_>, list: &Conflist) -> Call {
    a.eth0().runs(list, "ADD")
}

#[test]
fn each_missing_empty_and_malformed_variable_is_named() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let a = lab.cni().sandbox("a");
    let long = "x".repeat(200);
    lab.unchanged_by(|| {
        for (name, malformed) in [
            ("CNI_CONTAINERID", vec!["a b", "-a", "../a", "a/b", "ä", &long]),
            ("CNI_NETNS", vec!["netns/a", "a\nb"]),
            ("CNI_IFNAME", vec!["name-of-sixteen-", ".", "..", "a/b", "a:b", "a b", "all"]),
            ("CNI_ARGS", vec!["IgnoreUnknown", "K8S_POD_NAMESPACE=Not A Namespace"]),
        ] {
            for value in malformed {
                let refusal = add(&a, &list).env(name, value).runs().expect_error(4);
                assert!(refusal.msg.contains(name), "{name}={value:?}: {refusal}");
                assert_eq!(refusal.version, "1.1.0");
            }
            if name == "CNI_ARGS" {
                continue;
            }
            for command in ["ADD", "CHECK"] {
                let call = add(&a, &list).env("CNI_COMMAND", command);
                call.clone().without(name).runs().expect_error(4).naming(name);
                call.env(name, "").runs().expect_error(4).naming(name);
            }
        }
        let all = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"];
        let without = all.into_iter().fold(add(&a, &list), Call::without).runs().expect_error(4);
        assert!(all.iter().all(|name| without.msg.contains(name)), "{without}");
        for command in ["FLY", "add", "ADD ", "ADD;DEL"] {
            add(&a, &list).env("CNI_COMMAND", command).runs().expect_error(4).naming("CNI_COMMAND");
        }
        for name in ["CNI_CONTAINERID", "CNI_IFNAME"] {
            add(&a, &list).env("CNI_COMMAND", "DEL").without(name).runs().expect_error(4).naming(name);
        }
    });
    // Nothing is delegated here, so nobody needs the path; and unknown arguments are no matter.
    let wish = add(&a, &list).without("CNI_PATH").env("CNI_ARGS", "IgnoreUnknown=1;FOO=BAR;;K8S_POD_NAME=;");
    wish.runs().expect_result();
    a.leaves(&list);
    let delegated = list.with("ipam", json!({"type": "company"}));
    add(&a, &list_without_path(&lab, &delegated)).without("CNI_PATH").runs().expect_error(4).naming("CNI_PATH");
    a.ends();
    lab.ends_clean();
}

/// The IPAM plugin is there; only the way to it is not told.
fn list_without_path(lab: &Lab, list: &Conflist) -> Conflist {
    lab.ipam("company");
    list.clone()
}

#[test]
fn an_input_that_is_none_is_answered_with_the_code_for_it() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let a = lab.cni().sandbox("a");
    let text = |input: &str| add(&a, &list).text(input).runs();
    let megabyte = format!("{{\"name\": \"{}\"}}", "x".repeat(1 << 20));
    let deep = "[".repeat(100_000);
    lab.unchanged_by(|| {
        for input in ["", " \n", "{", "nonsense", "{\"name\": \"web\"", &megabyte, &deep] {
            text(input).expect_error(6);
        }
        add(&a, &list).text([0xff, 0xfe, 0]).runs().expect_error(6);
        for input in ["[]", "7", "\"web\"", "null", "{}", "{\"cniVersion\": \"1.0.0\"}"] {
            text(input).expect_error(7);
        }
        for command in ["DEL", "CHECK", "GC", "STATUS"] {
            for input in ["", "{", &megabyte] {
                add(&a, &list).env("CNI_COMMAND", command).text(input).runs().expect_error(6);
            }
        }
    });
    a.ends();
    lab.ends_clean();
}

#[test]
fn an_unknown_version_is_refused_and_the_known_ones_are_told() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let a = lab.cni().sandbox("a");
    lab.unchanged_by(|| {
        for version in ["9.9.9", "1.2.0", "0.0.1", "1", "one"] {
            let refusal = add(&a, &list).with("cniVersion", json!(version)).runs().expect_error(1);
            refusal.naming("incompatible CNI versions").naming(version).naming("0.1.0").naming("1.1.0");
        }
        // A version without the verb.
        let verb = |command: &str, version: &str| add(&a, &list).env("CNI_COMMAND", command).with("cniVersion", json!(version)).runs();
        verb("CHECK", "0.3.1").expect_error(1).naming("CHECK");
        verb("STATUS", "1.0.0").expect_error(1).naming("STATUS");
        verb("GC", "1.0.0").expect_error(1).naming("GC");
    });
    // None at all is the first one.
    let result = add(&a, &list).with("cniVersion", Value::Null).runs().expect_result();
    assert!(result["ip4"]["ip"].is_string(), "{result}");
    a.leaves(&list);
    a.ends();
    lab.ends_clean();
}

#[test]
fn a_value_of_a_wrong_type_is_named_by_its_key() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let a = lab.cni().sandbox("a");
    lab.unchanged_by(|| {
        for (key, value) in [
            ("name", json!(7)),
            ("name", json!("a b")),
            ("name", json!("x".repeat(64))),
            ("cniVersion", json!(1)),
            ("ipam", json!("host-local")),
            ("ipam", json!({"type": 7})),
            ("ipam", json!({"type": "host-local", "ranges": {}})),
            ("ipam", json!({"type": "host-local", "ranges": [[{"subnet": "10.4.0.0/33"}]]})),
            ("ipam", json!({"type": "host-local", "ranges": [[{"subnet": 7}]]})),
            ("ipam", json!({"type": "host-local", "ranges": [[]]})),
            ("ipam", json!({"type": "host-local", "subnet": "10.4.0.0/24", "rangeStart": "10.9.0.1"})),
            ("ipam", json!({"type": "host-local", "subnet": "10.4.0.0/24", "routes": [{"dst": "nowhere"}]})),
            ("ipam", json!({"type": "host-local", "subnet": "10.4.0.0/24", "routes": 7})),
            ("ipam", json!({"type": "static", "addresses": [{"address": "10.4.0.7"}]})),
            ("ipam", json!({"type": "static"})),
            ("mtu", json!("large")),
            ("mtu", json!(-1)),
            ("ipMasq", json!("perhaps")),
            ("isGateway", json!(7)),
            ("bridge", json!("name-of-sixteen-")),
            ("bridge", json!([])),
            ("dns", json!("9.9.9.9")),
            ("labels", json!(7)),
            ("args", json!([])),
            ("runtimeConfig", json!([])),
            ("runtimeConfig", json!({"portMappings": "80"})),
            ("runtimeConfig", json!({"portMappings": [{"hostPort": 70000, "containerPort": 80}]})),
            ("runtimeConfig", json!({"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "icmp"}]})),
            ("runtimeConfig", json!({"portMappings": [{"hostPort": 8080, "containerPort": 80, "hostIP": "here"}]})),
            ("runtimeConfig", json!({"ips": ["ten"]})),
            ("runtimeConfig", json!({"mac": "02:00"})),
            ("runtimeConfig", json!({"bandwidth": {"ingressRate": "fast"}})),
        ] {
            let spoken = add(&a, &list).with(key, value.clone()).runs();
            assert!(spoken.status != 0, "{key}: {value} was taken: {spoken:?}");
            let refusal = spoken.expect_error(7);
            assert!(refusal.msg.len() < 600, "{key}: {value}: {refusal}");
        }
    });
    a.ends();
    lab.ends_clean();
}

#[test]
fn unknown_keys_are_no_matter() {
    let lab = Lab::new();
    let a = lab.cni().sandbox("a");
    let list = Conflist::dual("web")
        .with("colour", json!("blue"))
        .with("keepInPlace", json!({"nested": [1, 2, 3]}))
        .with("x".repeat(9999).as_str(), json!(null));
    let mut call = add(&a, &list);
    call = call.with("cni.dev/unknown", json!({})).with("filler", json!("x".repeat(900_000)));
    let mut input = call.input();
    input["ipam"]["shoe"] = json!(43);
    input["runtimeConfig"] = json!({"com.example.capability": {"deep": true}});
    call.json(&input).runs().expect_result();
    a.leaves(&list);
    a.ends();
    lab.ends_clean();
}

#[test]
fn an_interface_name_that_is_taken_is_refused_and_what_is_there_stays() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let a = lab.cni().sandbox("a");
    a.run("ip", &["link", "add", "eth0", "type", "bridge"]);
    lab.unchanged_by(|| {
        a.eth0().cannot_join(&list, 4).naming("CNI_IFNAME").naming("eth0");
        a.interface("lo").cannot_join(&list, 4).naming("CNI_IFNAME");
    });
    assert_eq!(a.links(), ["lo", "eth0"]);
    a.ends();
    lab.ends_clean();
}

#[test]
fn a_namespace_that_is_none_is_refused() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let a = lab.cni().sandbox("a");
    lab.unchanged_by(|| {
        for path in ["/etc/hostname", "/run", "/run/netns/nobody", "/proc/self/ns/net", "/proc/1/ns/mnt", "/dev/null"] {
            let spoken = add(&a, &list).env("CNI_NETNS", path).runs();
            let refusal = spoken.expect_error(4);
            assert!(refusal.msg.contains("CNI_NETNS") && refusal.msg.contains(path), "{path}: {refusal}");
        }
    });
    a.ends();
    lab.ends_clean();
}

#[test]
fn a_bridge_of_somebody_else_is_refused_with_what_to_do() {
    let lab = Lab::new();
    let a = lab.cni().sandbox("a");
    lab.here().run("ip", &["link", "add", "cni0", "type", "bridge"]);
    let list = Conflist::dual("web").with("bridge", json!("cni0"));
    lab.unchanged_by(|| {
        a.eth0().cannot_join(&list, 7).with_hint().naming("cni0");
    });
    lab.here().run("ip", &["link", "del", "cni0"]);
    a.joins(&list);
    a.leaves(&list);
    a.ends();
    lab.ends_clean();
}

#[test]
fn subnets_that_overlap_networks_or_addresses_of_the_host_are_refused() {
    let lab = Lab::new();
    let a = lab.cni().sandbox("a");
    lab.new_network("mine").subnet("10.4.0.0/24").made();
    lab.unchanged_by(|| {
        a.eth0().cannot_join(&Conflist::dual("web"), 7).with_hint().naming("mine");
        let uplink = Conflist::netd("web", json!({"ipam": {"type": "host-local", "subnet": "192.0.2.0/24"}}));
        a.eth0().cannot_join(&uplink, 7).with_hint().naming("192.0.2");
    });
    // Routes of the host overlap on purpose in clusters.
    lab.here().run("ip", &["route", "add", "10.5.0.0/16", "via", lab::OUTSIDE_V4]);
    let within = Conflist::dual_at("web", 5);
    a.joins(&within).expect_real(&a, lab.here());
    a.leaves(&within);
    a.ends();
    lab.ends_clean();
}
