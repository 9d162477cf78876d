//! Containers are made, adopted, changed, connected while they run, and removed; each has the interfaces and routes it should have.

use lab::{Lab, OUTSIDE_V4, OUTSIDE_V6, eventually};
use netd_api::{
    addr::Family,
    fault::Code,
    spec::{AttachSpec, ContainerChange},
    view::{Kind, Presence},
};

#[test]
fn a_made_container_is_visible_to_iproute2_and_has_lo_and_eth0() {
    let lab = Lab::new();
    let a = lab.network("web").container("a");
    assert!(lab.here().run("ip", &["netns", "list"]).contains('a'));
    let inside = lab.here().run("ip", &["netns", "exec", "a", "ip", "-brief", "address"]);
    assert!(inside.contains("127.0.0.1/8") && inside.contains(&a.address(Family::V4).to_string()), "{inside}");
    let routes = a.run("ip", &["route"]);
    assert!(routes.starts_with("default via"), "{routes}");
    let view = a.inspect();
    assert_eq!((view.kind, view.state, view.netns.as_str()), (Kind::Made, Presence::Running, "/run/netns/a"));
    a.removed();
    assert!(!lab.host().path("/run/netns/a").exists());
    lab.ends_clean();
}

#[test]
fn a_container_without_a_network_is_on_the_default_one() {
    let lab = Lab::new();
    let a = lab.new_container("a").made();
    assert_eq!(a.inspect().attachments[0].network.as_str(), "default");
    lab.outside().serves(80);
    a.fetches((OUTSIDE_V4, 80)).expect_from(lab.outside());
    lab.ends_clean();
}

#[test]
fn a_namespace_of_another_runtime_is_adopted_by_path_and_left_alone_on_removal() {
    let lab = Lab::new();
    let net = lab.network("web");
    let b = net.container("b").listens(80);
    let stranger = lab.stranger("theirs");
    let a = lab.new_container("a").on(&net).at("/run/netns/theirs").made();
    assert_eq!(a.inspect().kind, Kind::Adopted);
    a.fetches(b.v4(80)).expect_from(&b);
    a.fetches(b.v6(80)).expect_from(&b);
    assert!(stranger.links().contains(&"eth0".to_owned()));
    a.removed();
    assert_eq!(stranger.links(), ["lo"]);
    lab.here().run("ip", &["netns", "del", "theirs"]);
    lab.ends_clean();
}

#[test]
fn a_namespace_is_adopted_by_pid_and_its_end_is_noticed() {
    let lab = Lab::new();
    let net = lab.network("web");
    let b = net.container("b").listens(80);
    let process = lab.process();
    let a = lab.new_container("a").on(&net).of_pid(process.pid()).publish("8080:80").made();
    process.station("a").serves(80);
    process.station("a").fetches(b.v4(80)).expect_from(&b);
    process.ends();
    eventually("its end is noticed", || (a.inspect().state == Presence::Absent).then_some(()));
    a.removed();
    lab.ends_clean();
}

#[test]
fn a_running_container_joins_and_leaves_networks() {
    let lab = Lab::new();
    let (one, two) = (lab.network("one"), lab.network("two"));
    let a = one.container("a");
    let b = two.container("b").listens(80);
    b.inspect();
    a.tries(b.v4(80)).expect_nothing();
    let view = a.connects(&two);
    assert_eq!(view.attachments.len(), 2);
    assert_eq!(view.attachments[1].ifname.as_str(), "eth1");
    a.fetches(b.v4(80)).expect_from(&b);
    a.fetches(b.v6(80)).expect_from(&b);
    a.disconnects(&two);
    a.tries(b.v4(80)).expect_nothing();
    assert_eq!(a.links().len(), 2);
    lab.ends_clean();
}

#[test]
fn the_way_out_moves_to_the_next_network_when_the_first_is_left() {
    let lab = Lab::new();
    let (one, two) = (lab.network("one"), lab.network("two"));
    lab.outside().serves(80);
    let a = lab.new_container("a").on(&one).on(&two).made();
    for outside in [OUTSIDE_V4, OUTSIDE_V6] {
        a.fetches((outside, 80)).expect_from(lab.outside());
    }
    a.disconnects(&one);
    for outside in [OUTSIDE_V4, OUTSIDE_V6] {
        a.fetches((outside, 80)).expect_from(lab.outside());
    }
    a.connects(&one);
    for outside in [OUTSIDE_V4, OUTSIDE_V6] {
        a.fetches((outside, 80)).expect_from(lab.outside());
    }
    lab.ends_clean();
}

#[test]
fn with_an_internal_network_first_the_way_out_is_by_the_second() {
    let lab = Lab::new();
    let vault = lab.new_network("vault").dual().internal().made();
    let web = lab.network("web");
    lab.outside().serves(80);
    let a = lab.new_container("a").on(&vault).on(&web).made();
    for outside in [OUTSIDE_V4, OUTSIDE_V6] {
        a.fetches((outside, 80)).expect_from(lab.outside());
    }
    lab.ends_clean();
}

#[test]
fn a_container_on_two_networks_works_with_strict_reverse_path_filters() {
    let lab = Lab::bare();
    lab.here().sets("ipv4/conf/all/rp_filter", "1").sets("ipv4/conf/default/rp_filter", "1");
    lab.starts();
    let (one, two) = (lab.network("one"), lab.network("two"));
    let a = lab.new_container("a").on(&one).on(&two).made().listens(80);
    a.publishes("8080:80");
    let b = two.container("b");
    lab.outside().serves(90);
    a.fetches((OUTSIDE_V4, 90)).expect_from(lab.outside());
    lab.outside().fetches((lab::HOST_V4, 8080)).expect_from(&a);
    b.fetches((a.address_on(&two, Family::V4), 80)).expect_from(&a);
    b.fetches((lab::HOST_V4, 8080)).expect_from(&a);
    lab.here().fetches((a.address_on(&two, Family::V4), 80)).expect_from(&a);
    lab.ends_clean();
}

#[test]
fn two_attachments_to_one_network_are_two_interfaces() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = net.container("a");
    let mut second = AttachSpec::to(net.name().clone());
    second.ifname = Some("eth7".parse().unwrap());
    let view = a.connects_with(second.clone());
    assert_eq!(view.attachments.len(), 2);
    assert!(a.links().contains(&"eth7".to_owned()));
    assert_eq!(a.cannot_connect(second).code, Code::BadInterface);
    a.disconnects(&net);
    assert_eq!(a.links(), ["lo"]);
    lab.ends_clean();
}

#[test]
fn labels_and_namespace_of_a_running_container_change() {
    let lab = Lab::new();
    let a = lab.new_container("a").on(&lab.network("web")).label("app", "shop").label("tier", "front").made();
    let mut change = ContainerChange::default();
    change.labels.insert("tier".parse().unwrap(), None);
    change.labels.insert("app".parse().unwrap(), Some("store".parse().unwrap()));
    change.namespace = Some("prod".parse().unwrap());
    let view = a.changes(change);
    assert_eq!(view.namespace.as_str(), "prod");
    assert_eq!(view.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>(), ["app=store"]);
    lab.netd().crash();
    let again = a.inspect();
    assert_eq!((again.namespace, again.labels), (view.namespace, view.labels));
    lab.ends_clean();
}

#[test]
fn a_container_whose_process_holds_a_socket_can_be_removed_and_made_again() {
    let lab = Lab::new();
    let net = lab.network("web");
    let b = net.container("b");
    for _ in 0..3 {
        let a = net.container("a").listens(80);
        b.fetches(a.v4(80)).expect_from(&a);
        // The server's socket keeps the old namespace alive.
        a.removed();
    }
    lab.ends_clean();
}
