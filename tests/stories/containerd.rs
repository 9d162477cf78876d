//! containerd attaches its containers through netd: by `ctr`, and by its CRI plugin as a kubelet drives it.

use lab::{
    HOST_V4, HOST_V6, Lab, OUTSIDE_V4, OUTSIDE_V6,
    cni::Conflist,
    containerd::{Containerd, Pod},
    eventually,
};
use serde_json::json;

/// A list as a node of a cluster has it: no masquerading, dual stack, all that containerd has for us.
fn pods() -> Conflist {
    Conflist::netd("pods", json!({"subnets": ["10.96.0.0/24", "fd96::/64"], "isDefaultGateway": true})).version("1.0.0")
}

/// netd knows no container any more.
#[track_caller]
fn expect_forgotten(lab: &Lab) {
    assert_eq!(lab.netctl_json(["container", "ls"]), json!([]));
    assert!(lab.ports().is_empty());
}

/// containerd and netd say the same addresses of a pod, which netd knows by this name or id.
#[track_caller]
fn expect_same_addresses(lab: &Lab, containerd: &Containerd<'_>, id: &str, name: &str) {
    let ours = lab.netctl_json(["container", "inspect", name])["attachments"][0]["addresses"].take();
    let ours = ours.as_array().expect("a list").iter().map(|net| net.as_str().and_then(|net| net.split_once('/')).map(|(ip, _)| ip));
    assert_eq!(containerd.addresses(id).iter().map(|ip| Some(ip.as_str())).collect::<Vec<_>>(), ours.collect::<Vec<_>>());
}

#[test]
fn containerd_runs_here_with_the_reference_plugins() {
    let lab = Lab::bare();
    lab.here().sets("ipv4/ip_forward", "1");
    let bridge = json!({
        "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.96.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]},
    });
    let ports = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    let containerd = lab.containerd(&[&Conflist::of("pods", bridge).then(ports).version("1.0.0")]);
    let shown = containerd.ctr_runs("one", &["ip", "-4", "address", "show", "dev", "eth0"]);
    assert!(shown.contains("inet 10.96.0.2/24"), "{shown}");
    let id = containerd.runs(&Pod::named("shop", "web").port(8080, 80));
    let web = containerd.station(&id);
    web.serves(80);
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&web);
    containerd.removes(&id);
}

#[test]
fn a_container_of_ctr_has_an_address_and_gives_it_back() {
    let lab = Lab::new();
    let containerd = lab.containerd(&[&pods()]);
    let shown = containerd.ctr_runs("one", &["ip", "address", "show", "dev", "eth0"]);
    assert!(shown.contains("inet 10.96.0.") && shown.contains("inet6 fd96::"), "{shown}");
    expect_forgotten(&lab);
    let failed = containerd.ctr(["run", "--rm", "--cni", "--cpu-shares", "0", lab::image::IMAGE, "two", "no-such-program"]);
    assert!(failed.clone().expect_failed(1).contains("no-such-program"), "{failed:?}");
    expect_forgotten(&lab);
    lab.ends_clean();
}

#[test]
fn a_pod_has_the_addresses_name_and_host_port_that_netd_knows() {
    let lab = Lab::new();
    let containerd = lab.containerd(&[&pods()]);
    let id = containerd.runs(&Pod::named("shop", "web").port(8080, 80));
    expect_same_addresses(&lab, &containerd, &id, "shop/web");
    let web = containerd.station(&id);
    web.serves(80);
    for (host, outside) in [(HOST_V4, OUTSIDE_V4), (HOST_V6, OUTSIDE_V6)] {
        let seen = lab.outside().fetches((host, 8080)).expect_from(&web).seen;
        assert_eq!(seen.ip().to_string(), outside, "the pod sees who asks");
        lab.here().fetches((host, 8080)).expect_from(&web);
    }
    lab.here().fetches("127.0.0.1:8080").expect_from(&web);
    // By its name and by its id.
    for name in ["shop/web", &id] {
        let shown = lab.netctl_json(["container", "inspect", name]);
        assert_eq!((&shown["name"], &shown["namespace"], &shown["id"]), (&json!("shop/web"), &json!("shop"), &json!(id)));
    }
    let listed = lab.netctl(["container", "ls"]).expect_done();
    assert!(listed.lines().any(|line| line.starts_with("shop/web ")), "{listed}");
    // The nodes of a cluster route to each other's pods, under the pods' own addresses.
    lab.outside().serves(90).routes("10.96.0.0/24", HOST_V4);
    let address = containerd.addresses(&id)[0].clone();
    assert_eq!(web.fetches((OUTSIDE_V4, 90)).expect_from(lab.outside()).seen.ip().to_string(), address);
    lab.outside().fetches((address.as_str(), 80)).expect_from(&web);
    containerd.cri().stop(&id).expect("it stops");
    expect_forgotten(&lab);
    lab.outside().tries((HOST_V4, 8080)).expect_refused();
    // containerd sends one more DEL when the sandbox is stopped or removed again, now without a namespace.
    containerd.cri().stop(&id).expect("it stays stopped");
    containerd.cri().remove(&id).expect("it goes");
    assert!(!containerd.log().contains("failed to destroy network"), "{}", containerd.log());
    lab.ends_clean();
}

#[test]
fn the_newer_of_two_sandboxes_of_a_pod_has_the_name() {
    let lab = Lab::new();
    let containerd = lab.containerd(&[&pods()]);
    let pod = Pod::named("shop", "web");
    let older = containerd.runs(&pod);
    let newer = containerd.runs(&pod.again());
    expect_same_addresses(&lab, &containerd, &newer, "shop/web");
    expect_same_addresses(&lab, &containerd, &older, &older);
    assert_ne!(containerd.addresses(&older), containerd.addresses(&newer));
    containerd.removes(&newer);
    expect_same_addresses(&lab, &containerd, &older, "shop/web");
    containerd.removes(&older);
    expect_forgotten(&lab);
    lab.ends_clean();
}

#[test]
fn two_pods_cannot_have_one_host_port_and_the_second_learns_why() {
    let lab = Lab::new();
    let containerd = lab.containerd(&[&pods()]);
    let id = containerd.runs(&Pod::named("shop", "web").port(8080, 80));
    let refused = containerd.refuses(&Pod::named("shop", "other").port(8080, 80));
    assert!(refused.contains("8080") && refused.contains("shop/web"), "{refused}");
    let stranger = lab.holder(8081);
    let refused = containerd.refuses(&Pod::named("shop", "third").port(8081, 80));
    assert!(refused.contains("8081") && refused.contains("socat"), "{refused}");
    stranger.ends();
    let web = containerd.station(&id);
    web.serves(80);
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&web);
    containerd.removes(&id);
    expect_forgotten(&lab);
    lab.ends_clean();
}

#[test]
fn annotations_of_a_pod_bound_its_bandwidth() {
    let lab = Lab::new();
    let containerd = lab.containerd(&[&pods()]);
    let slow = Pod::named("shop", "slow").annotation("kubernetes.io/ingress-bandwidth", "10M");
    let id = containerd.runs(&slow.annotation("kubernetes.io/egress-bandwidth", "20M"));
    let shown = lab.here().run("tc", &["qdisc", "show"]);
    for rate in ["rate 10Mbit", "rate 20Mbit"] {
        assert!(shown.lines().any(|line| line.contains("tbf") && line.contains(rate)), "no bucket of {rate}: {shown}");
    }
    containerd.removes(&id);
    let left = lab.here().run("tc", &["qdisc", "show"]);
    assert!(!left.contains("tbf"), "{left}");
    lab.ends_clean();
}

#[test]
fn pods_outlive_a_killed_containerd_and_restarts_of_netd() {
    let lab = Lab::new();
    let containerd = lab.containerd(&[&pods()]);
    let id = containerd.runs(&Pod::named("shop", "web").port(8080, 80));
    let web = containerd.station(&id);
    web.serves(80);
    containerd.kill9();
    lab.netd().crash();
    assert_eq!(lab.plan(), Vec::<String>::new());
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&web);
    containerd.starts();
    expect_same_addresses(&lab, &containerd, &id, "shop/web");
    // netd is away: a sandbox is refused with the reason, the removal of one is kept for later.
    lab.netd().stop();
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&web);
    let refused = containerd.refuses(&Pod::named("shop", "late"));
    assert!(refused.contains("netd"), "{refused}");
    containerd.removes(&id);
    lab.netd().start();
    expect_forgotten(&lab);
    lab.outside().tries((HOST_V4, 8080)).expect_refused();
    let id = containerd.runs(&Pod::named("shop", "web").port(8080, 80));
    expect_same_addresses(&lab, &containerd, &id, "shop/web");
    containerd.removes(&id);
    expect_forgotten(&lab);
    lab.ends_clean();
}

#[test]
fn what_a_lost_containerd_left_is_collected() {
    let lab = Lab::new();
    let containerd = lab.containerd(&[&pods()]);
    let kept = containerd.runs(&Pod::named("shop", "web").port(8080, 80));
    // `ctr` never sends a DEL for what it starts in the background.
    containerd.ctr(["run", "--detach", "--cni", "--cpu-shares", "0", lab::image::IMAGE, "job"]).expect_done();
    containerd.ctr(["task", "kill", "--signal", "9", "job"]).expect_done();
    assert_eq!(lab.netctl_json(["container", "ls"]).as_array().map(Vec::len), Some(2));
    let sandbox = lab.cni().sandbox_at(&kept, containerd.station(&kept), "");
    lab.cni().collects(&pods().version("1.1.0"), &[sandbox.eth0()]).expect("GC is heard");
    assert_eq!(lab.container(&kept).inspect().name.as_str(), "shop/web");
    assert_eq!(lab.netctl_json(["container", "ls"]).as_array().map(Vec::len), Some(1));
    let other = containerd.runs(&Pod::named("shop", "other").port(8081, 80));
    containerd.loses_all();
    assert_eq!(lab.ports().len(), 2, "nobody told netd");
    // By hand, where a runtime knows no GC, as this one.
    lab.netctl(["container", "rm", "shop/other"]).expect_done();
    assert_eq!(lab.ports().len(), 1, "{other} is gone");
    lab.cni().collects(&pods().version("1.1.0"), &[]).expect("GC is heard");
    expect_forgotten(&lab);
    lab.sweeps_namespaces();
    lab.ends_clean();
}

#[test]
fn what_netctl_installs_is_all_that_containerd_needs() {
    let lab = Lab::new();
    let containerd = lab.containerd(&[]);
    assert!(!containerd.has_network(), "nothing is installed");
    lab.netctl(["cni", "install"]).expect_done();
    // containerd watches the folder.
    eventually("containerd has a network", || containerd.has_network().then_some(()));
    let id = containerd.runs(&Pod::named("shop", "web").port(8080, 80));
    let web = containerd.station(&id);
    web.serves(80);
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&web);
    let listed = lab.netctl(["container", "ls"]).expect_done();
    assert!(listed.lines().any(|line| line.starts_with("shop/web ")), "{listed}");
    containerd.removes(&id);
    expect_forgotten(&lab);
    lab.ends_clean();
}
