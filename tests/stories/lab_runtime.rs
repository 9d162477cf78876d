//! The lab's own CNI runtime does with the reference plugins what libcni does: without netd, so that a story of ours that fails is ours.

use lab::{
    HOST_V4, Lab, OUTSIDE_V4,
    cni::{Cni, Conflist, Steps},
};
use serde_json::{Value, json};

/// Debian's plugins are of 1.1.1 and speak 1.0.0 at most.
fn reference<'lab>(lab: &'lab Lab) -> (Cni<'lab>, Conflist) {
    let bridge = json!({
        "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.9.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]},
    });
    let ports = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    (lab.cni(), Conflist::of("ref", bridge).then(ports).version("1.0.0"))
}

#[test]
fn the_runtime_attaches_checks_and_detaches_by_the_reference_plugins() {
    let lab = Lab::bare();
    lab.here().sets("ipv4/ip_forward", "1");
    let (cni, list) = reference(&lab);
    let [a, b] = ["a", "b"].map(|id| cni.sandbox(id).listens(80));
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        let list = list.clone().version(version);
        let added = a.eth0().port(8080, 80, "tcp").joins(&list);
        added.expect_real(&a, lab.here());
        assert_eq!(added.version(), version);
        let other = b.joins(&list);
        b.fetches(added.v4(80)).expect_from("a");
        a.fetches(other.v4(80)).expect_from("b");
        lab.outside().fetches((HOST_V4, 8080)).expect_from("a");
        // The capabilities of ADD are remembered, else portmap would leave its rules.
        a.leaves(&list);
        b.leaves(&list);
        lab.outside().tries((HOST_V4, 8080)).expect_nothing();
        assert_eq!(a.links(), ["lo"]);
    }
    lab.outside().serves(90);
    a.joins(&list);
    assert_eq!(a.fetches((OUTSIDE_V4, 90)).expect_from(lab.outside()).seen.ip().to_string(), HOST_V4);
    a.leaves(&list);
    // Once more, and of one that never was.
    a.leaves(&list);
    cni.sandbox("c").leaves(&list);
}

#[test]
fn the_runtime_gives_check_the_cached_result_and_shows_a_refusal() {
    let lab = Lab::bare();
    let (cni, list) = reference(&lab);
    let list = Conflist { plugins: vec![list.plugins[0].clone()], ..list }.with("ipMasq", Value::Null);
    let a = cni.sandbox("a");
    let added = a.joins(&list);
    a.eth0().is_well(&list);
    let cached = lab.host().path("/var/lib/cni/results/ref-a-eth0");
    let cached: Value = serde_json::from_slice(&std::fs::read(&cached).expect("the result is cached")).unwrap();
    assert_eq!(cached["result"], added.json);
    a.run("ip", &["address", "flush", "dev", "eth0"]);
    let refusal = a.eth0().checks(&list).expect_err("an address is missing");
    assert!(refusal.code > 0 && refusal.to_string().contains("eth0"), "{refusal}");
    a.leaves(&list);
    assert!(!lab.host().path("/var/lib/cni/results/ref-a-eth0").exists());
    let refusal = cni.sandbox("b").eth0().cannot_join(&list.with("ipam", json!({"type": "nothing"})), 999);
    assert!(refusal.msg.contains("nothing"), "{refusal}");
}

#[test]
fn the_runtime_picks_the_highest_version_that_both_speak() {
    let lab = Lab::bare();
    let list = Conflist::netd("web", json!({})).version("0.4.0").or_version("1.1.0").or_version("1.0.0").or_version("2.0.0");
    assert_eq!(lab.cni().version(&list), "1.1.0");
    // One that does not know `cniVersions` takes `cniVersion`.
    assert_eq!(lab.cni().until("1.0.0").version(&list), "0.4.0");
    assert_eq!(lab.cni().version(&list.version("0.2.0")), "0.2.0");
    assert_eq!(lab.cni().versions("bridge")["cniVersion"], "1.0.0");
}

#[test]
fn the_runtime_deletes_what_is_cached_and_not_valid() {
    let lab = Lab::bare();
    let (cni, list) = reference(&lab);
    let list = Conflist { plugins: vec![list.plugins[0].clone()], ..list }.with("ipMasq", Value::Null);
    let [a, b] = ["a", "b"].map(|id| cni.sandbox(id));
    a.joins(&list);
    b.joins(&list);
    cni.collects(&list, &[a.eth0()]).unwrap();
    assert_eq!((a.links().len(), b.links().len()), (2, 1));
    a.eth0().is_well(&list);
    a.leaves(&list);
}

#[test]
fn a_plugin_is_killed_at_each_of_its_system_calls() {
    let lab = Lab::bare();
    let (cni, list) = reference(&lab);
    let call = cni.call("host-local", "VERSION").json(&json!({"cniVersion": "1.0.0"}));
    let Steps::Ended(steps, spoken) = call.killed_at(u32::MAX) else { panic!("nobody killed it") };
    assert!(steps > 20, "a program makes system calls: {steps}");
    assert!(spoken.expect_result()["supportedVersions"].is_array());
    for step in [1, 5, 10] {
        assert!(matches!(call.killed_at(step), Steps::Killed), "step {step} of {steps}");
    }
    let running = cni.sandbox("a").eth0().runs(&list, "ADD").starts();
    running.kill9();
}

#[test]
fn an_ipam_plugin_of_the_labs_own_gives_what_it_was_told_to_give() {
    let lab = Lab::bare();
    let ipam = lab.ipam("company");
    ipam.gives(
        &json!({"cniVersion": "1.0.0", "ips": [{"address": "10.9.1.7/24", "gateway": "10.9.1.1"}], "routes": [{"dst": "0.0.0.0/0"}]}),
    );
    let list = Conflist::of("own", json!({"type": "bridge", "bridge": "cni1", "ipam": {"type": "company", "site": 7}})).version("1.0.0");
    let a = lab.cni().sandbox("a");
    let added = a.joins(&list);
    assert_eq!(added.addresses(), ["10.9.1.7/24"]);
    added.expect_real(&a, lab.here());
    assert_eq!(ipam.asked("ADD")["ipam"]["site"], 7);
    a.leaves(&list);
    assert_eq!(ipam.calls(), ["ADD a eth0 /run/netns/a", "DEL a eth0 /run/netns/a"]);
    ipam.fails("ADD", &json!({"cniVersion": "1.0.0", "code": 117, "msg": "no lease"}));
    a.eth0().cannot_join(&list, 117).naming("no lease");
}

#[test]
fn a_holder_is_a_process_of_its_own() {
    let lab = Lab::bare();
    let holder = lab.holder_called(8080, "0123456789ab");
    let command = std::fs::read_to_string(format!("/proc/{}/cmdline", holder.pid())).unwrap();
    assert!(command.contains("0123456789ab"), "{command:?}");
    assert!(lab.here().tries_to_take("0.0.0.0:8080").is_err());
    holder.ends();
    lab::eventually("the port is free", || lab.here().tries_to_take("0.0.0.0:8080").ok());
}
