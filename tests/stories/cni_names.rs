//! What people call a container that came through CNI: namespace and pod, the runtime's name, or its short id; and what it is labelled.

use lab::{HOST_V4, Lab, cni::Conflist};
use netd_api::{fault::Code, message::Request, view::Kind};
use serde_json::json;

/// An id as runtimes make them.
const LONG: &str = "4f1e0d6a7b3c9e8f4f1e0d6a7b3c9e8f4f1e0d6a7b3c9e8f4f1e0d6a7b3c9e8f";

#[test]
fn a_pod_is_called_by_namespace_and_name() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let a = lab.cni().sandbox(LONG).listens(80);
    a.eth0().of_pod("shop", "web-1").joins(&list);
    let pod = lab.container("shop/web-1");
    let view = pod.inspect();
    assert_eq!((view.id.as_str(), view.name.as_str(), view.namespace.as_str()), (LONG, "shop/web-1", "shop"));
    assert_eq!((view.kind, view.netns.as_str()), (Kind::Cni, a.netns.as_str()));
    let labels: Vec<String> = view.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(labels, ["io.kubernetes.pod.uid=7d1c3c5e-0000-4000-8000-000000000001"]);
    let table = lab.netctl(["container", "ls"]).expect_done();
    assert!(table.contains("shop/web-1") && table.contains("10.4.0."), "{table}");
    lab.netctl(["publish", "shop/web-1", "8080:80"]).expect_done();
    lab.outside().fetches((HOST_V4, 8080)).expect_from(LONG);
    let table = lab.netctl(["ports"]).expect_done();
    assert!(table.contains("shop/web-1"), "{table}");
    lab.netctl(["container", "set", "shop/web-1", "--label", "app=shop"]).expect_done();
    assert_eq!(lab.netctl_json(["container", "inspect", "shop/web-1"])["labels"]["app"], "shop");
    let name = lab.netctl(["container", "exec", "shop/web-1", "--", "ip", "-brief", "link"]).expect_done();
    assert!(name.contains("eth0"), "{name}");
    a.leaves(&list);
    assert_eq!(lab.refused(&Request::Container("shop/web-1".parse().unwrap())).code, Code::NotFound);
    a.ends();
    lab.ends_clean();
}

#[test]
fn without_a_kubernetes_namespace_it_is_the_name_alone_and_without_a_name_the_short_id() {
    let lab = Lab::new();
    let cni = lab.cni();
    let list = Conflist::dual("web");
    let [a, b] = [LONG, "b0b"].map(|id| cni.sandbox(id));
    a.eth0().argument("IgnoreUnknown", "1").argument("K8S_POD_NAME", "database").joins(&list);
    let view = lab.container("database").inspect();
    assert_eq!((view.id.as_str(), view.namespace.as_str()), (LONG, "default"));
    a.leaves(&list);
    a.joins(&list);
    b.joins(&list);
    assert_eq!(lab.container("4f1e0d6a7b3c").inspect().id.as_str(), LONG);
    assert_eq!(lab.container("b0b").inspect().name.as_str(), "b0b");
    assert_eq!(lab.container(LONG).inspect().name.as_str(), "4f1e0d6a7b3c");
    assert_eq!(lab.container("4f1e0d6a7b3c9e8f").inspect().id.as_str(), LONG, "a part of the id that only one has");
    a.leaves(&list);
    b.leaves(&list);
    a.ends();
    b.ends();
    lab.ends_clean();
}

#[test]
fn a_name_goes_to_the_newer_container_and_comes_back_when_that_goes() {
    let lab = Lab::new();
    let cni = lab.cni();
    let list = Conflist::dual("web");
    let [older, newer] = ["older-sandbox-1", "newer-sandbox-2"].map(|id| cni.sandbox(id).listens(80));
    // A kubelet may ADD the new sandbox of a pod before it DELs the old one.
    older.eth0().of_pod("shop", "web").joins(&list);
    newer.eth0().of_pod("shop", "web").joins(&list);
    assert_eq!(lab.container("shop/web").inspect().id.as_str(), newer.id);
    assert_eq!(lab.container(&older.id).inspect().id.as_str(), older.id);
    lab.container(&older.id).publishes("8080:80");
    lab.container("shop/web").publishes("8081:80");
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&older.id);
    lab.outside().fetches((HOST_V4, 8081)).expect_from(&newer.id);
    newer.leaves(&list);
    assert_eq!(lab.container("shop/web").inspect().id.as_str(), older.id);
    lab.netd().crash();
    assert_eq!(lab.container("shop/web").inspect().id.as_str(), older.id);
    newer.eth0().of_pod("shop", "web").joins(&list);
    older.leaves(&list);
    assert_eq!(lab.container("shop/web").inspect().id.as_str(), newer.id);
    newer.leaves(&list);
    older.ends();
    newer.ends();
    lab.ends_clean();
}

#[test]
fn an_id_or_namespace_that_netd_has_already_is_refused() {
    let lab = Lab::new();
    let net = lab.network("mine");
    let made = net.container("made");
    let cni = lab.cni();
    let list = Conflist::dual("web");
    let clash = cni.sandbox_at("made", lab.stranger("clash"), "/run/netns/clash");
    let inside = cni.sandbox_at("inside", lab.at("made", "/run/netns/made"), "/run/netns/made");
    lab.unchanged_by(|| {
        clash.eth0().is_refused(&list).naming("made");
        inside.interface("eth7").is_refused(&list).with_hint().naming("netctl network connect");
    });
    assert_eq!(made.links(), ["lo", "eth0"]);
    // The name alone may be the same: names are for people.
    let same = cni.sandbox_at(LONG, lab.stranger("same"), "/run/netns/same");
    same.eth0().argument("K8S_POD_NAME", "made").joins(&list);
    assert_eq!(lab.container("made").inspect().id.as_str(), "made", "an exact id of a made container is found first");
    same.leaves(&list);
    clash.ends();
    same.ends();
    lab.ends_clean();
}

#[test]
fn labels_of_the_configuration_are_the_containers_and_later_networks_add_to_them() {
    let lab = Lab::new();
    let (one, two) = (Conflist::dual("one"), Conflist::dual_at("two", 5));
    let labelled = |list: Conflist, key: &str, value: &str| list.with("args", json!({"cni": {"labels": [{"key": key, "value": value}]}}));
    let a = lab.cni().sandbox("a");
    a.joins(&labelled(one.clone(), "app", "shop"));
    a.interface("eth1").joins(&labelled(two.clone(), "tier", "front"));
    let labels = lab.container("a").inspect().labels;
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(labels, ["app=shop", "tier=front"]);
    a.leaves(&one);
    a.interface("eth1").leaves(&two);
    // The conventions have labels as additional information: what can be none is no reason to refuse a container.
    a.joins(&labelled(one.clone(), "-bad", "x"));
    assert!(lab.container("a").inspect().labels.is_empty());
    a.leaves(&one);
    a.ends();
    lab.ends_clean();
}

#[test]
fn cgroup_and_aliases_are_kept_for_who_asks() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let a = lab.cni().sandbox("a");
    let wish = a.eth0().given("cgroupPath", json!("/kubepods/pod7/a")).given("aliases", json!(["db", "database"]));
    wish.joins(&list);
    let view = lab.container("a").inspect();
    assert_eq!(view.cgroup.as_deref(), Some("/kubepods/pod7/a"));
    assert_eq!(view.attachments[0].aliases, ["db", "database"]);
    assert_eq!(view.attachments[0].cni.as_ref().map(|name| name.as_str()), Some("web"));
    wish.leaves(&list);
    a.ends();
    lab.ends_clean();
}

#[test]
fn a_made_container_may_not_join_a_network_that_ends_with_the_boot() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let a = lab.cni().sandbox("a").listens(80);
    let added = a.joins(&list);
    let made = lab.new_container("made").made();
    let fault = made.cannot_connect(netd_api::spec::AttachSpec::to("web".parse().unwrap()));
    assert!(fault.code == Code::Impossible && fault.hint.contains("network"), "{fault:?}");
    // An adopted one ends with the boot too.
    lab.stranger("theirs");
    let adopted = lab.new_container("adopted").on(&lab.known_network("web")).at("/run/netns/theirs").made();
    adopted.fetches(added.v4(80)).expect_from("a");
    adopted.removed();
    lab.here().run("ip", &["netns", "del", "theirs"]);
    a.leaves(&list);
    a.ends();
    lab.ends_clean();
}
