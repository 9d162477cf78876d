//! Host ports through CNI: reached from everywhere, held by no socket, taken over by the container's next network.

use lab::{
    HOST_V4, HOST_V6, Lab, OUTSIDE_V4,
    cni::{Conflist, Sandbox},
};
use netd_api::view::PortState;
use serde_json::json;

/// The address that the host has inside the network of [`Conflist::dual`].
const GATEWAY: &str = "10.4.0.1";

/// Everybody who may reaches a published port of the container `name`.
#[track_caller]
fn reached_from_everywhere(lab: &Lab, itself: &Sandbox<'_>, neighbour: &Sandbox<'_>, port: u16) {
    for host in [HOST_V4, HOST_V6] {
        lab.outside().fetches((host, port)).expect_from(&itself.id);
        lab.here().fetches((host, port)).expect_from(&itself.id);
        neighbour.fetches((host, port)).expect_from(&itself.id);
        itself.fetches((host, port)).expect_from(&itself.id);
    }
    lab.here().fetches(("127.0.0.1", port)).expect_from(&itself.id);
    neighbour.fetches((GATEWAY, port)).expect_from(&itself.id);
}

#[test]
fn a_mapped_port_is_reached_from_outside_the_host_a_neighbour_and_itself() {
    for filtered in ["0", "1"] {
        let lab = Lab::bare();
        lab.bridge_filter(filtered);
        lab.starts();
        let cni = lab.cni();
        let list = Conflist::dual("web");
        let [a, b] = ["a", "b"].map(|id| cni.sandbox(id).listens(80));
        a.serves_udp(53);
        let with_ports = a.eth0().port(8080, 80, "tcp").port(5353, 53, "udp");
        let added = with_ports.joins(&list);
        b.joins(&list);
        reached_from_everywhere(&lab, &a, &b, 8080);
        for host in [HOST_V4, HOST_V6] {
            lab.outside().asks((host, 5353)).expect_from("a");
            b.asks((host, 5353)).expect_from("a");
            a.asks((host, 5353)).expect_from("a");
        }
        let seen = lab.outside().fetches((HOST_V4, 8080)).expect_from("a").seen.ip();
        assert_eq!(seen.to_string(), OUTSIDE_V4, "the client's own address is seen");
        added.expect_real(&a, lab.here());
        with_ports.is_well(&list);
        a.leaves(&list);
        assert!(lab.ports().is_empty());
        lab.outside().tries((HOST_V4, 8080)).expect_refused();
        b.leaves(&list);
        a.ends();
        b.ends();
        lab.ends_clean();
    }
}

#[test]
fn a_named_networks_container_has_its_ports_too() {
    let lab = Lab::new();
    lab.network("web");
    let list = Conflist::named("pods", "web");
    let a = lab.cni().sandbox("a").listens(80);
    a.eth0().port(8080, 80, "tcp").joins(&list);
    for host in [HOST_V4, HOST_V6] {
        lab.outside().fetches((host, 8080)).expect_from("a");
    }
    a.leaves(&list);
    a.ends();
    lab.ends_clean();
}

#[test]
fn an_address_of_the_host_is_published_alone() {
    let lab = Lab::new();
    lab.here().takes_address("192.0.2.50/24", lab::UPLINK);
    let list = Conflist::dual("web");
    let a = lab.cni().sandbox("a").listens(80);
    let mapping = |host: u16, address: &str| json!({"hostPort": host, "containerPort": 80, "protocol": "tcp", "hostIP": address});
    let ports = json!([
        mapping(8080, "192.0.2.50"),
        mapping(8081, "127.0.0.1"),
        mapping(8082, "0.0.0.0"),
        mapping(8083, "::"),
        mapping(8084, ""),
        {"hostPort": 0, "containerPort": 81, "protocol": "tcp"},
        {"hostPort": 8085, "containerPort": 80},
        {"hostPort": 8086, "containerPort": 80, "protocol": "TCP"},
    ]);
    a.eth0().given("portMappings", ports).joins(&list);
    lab.outside().fetches("192.0.2.50:8080").expect_from("a");
    lab.outside().tries((HOST_V4, 8080)).expect_refused();
    lab.here().fetches("127.0.0.1:8081").expect_from("a");
    lab.outside().tries((HOST_V4, 8081)).expect_refused();
    lab.outside().fetches((HOST_V4, 8082)).expect_from("a");
    lab.outside().tries((HOST_V6, 8082)).expect_refused();
    lab.outside().fetches((HOST_V6, 8083)).expect_from("a");
    lab.outside().tries((HOST_V4, 8083)).expect_refused();
    for port in [8084, 8085, 8086] {
        lab.outside().fetches((HOST_V4, port)).expect_from("a");
        lab.outside().fetches((HOST_V6, port)).expect_from("a");
    }
    assert_eq!(lab.ports().len(), 7, "a host port of 0 is none: {:?}", lab.ports());
    a.leaves(&list);
    a.ends();
    lab.here().run("ip", &["address", "del", "192.0.2.50/24", "dev", lab::UPLINK]);
    lab.ends_clean();
}

#[test]
fn no_socket_holds_a_port_that_came_through_cni_and_one_published_by_hand_is_held() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let a = lab.cni().sandbox("a").listens(80);
    a.eth0().port(8080, 80, "tcp").joins(&list);
    // A runtime's monitor takes the port after ADD; packets go to the container all the same.
    lab.here().serves(8080);
    lab.outside().fetches((HOST_V4, 8080)).expect_from("a");
    assert_eq!(lab.ports()[0].state, PortState::Active, "{:?}", lab.ports());
    lab.container("a").publishes("9090:80");
    assert!(lab.here().tries_to_take("0.0.0.0:9090").is_err());
    lab.outside().fetches((HOST_V4, 9090)).expect_from("a");
    lab.here().stops_serving();
    a.leaves(&list);
    assert!(lab.ports().is_empty(), "what was published by hand goes with the container");
    a.ends();
    lab.ends_clean();
}

#[test]
fn a_port_of_two_networks_is_taken_over_when_the_first_goes() {
    let lab = Lab::new();
    let cni = lab.cni();
    lab.outside().serves(90);
    let (one, two) = (Conflist::dual("one"), Conflist::dual_at("two", 5));
    let a = cni.sandbox("a").listens(80);
    // As podman does: the same mappings with every network.
    let first = a.eth0().port(8080, 80, "tcp");
    let second = a.interface("eth1").port(8080, 80, "tcp");
    first.joins(&one).expect_real(&a, lab.here());
    second.joins(&two);
    assert_eq!(lab.ports().len(), 1, "{:?}", lab.ports());
    for host in [HOST_V4, HOST_V6] {
        lab.outside().fetches((host, 8080)).expect_from("a");
    }
    assert!(lab.ports()[0].targets.iter().any(|target| target.to_string().starts_with("10.4.0.")));
    first.is_well(&one);
    second.is_well(&two);
    first.leaves(&one);
    assert!(lab.ports()[0].targets.iter().any(|target| target.to_string().starts_with("10.5.0.")), "{:?}", lab.ports());
    for host in [HOST_V4, HOST_V6] {
        lab.outside().fetches((host, 8080)).expect_from("a");
    }
    a.fetches((OUTSIDE_V4, 90)).expect_from(lab.outside());
    second.is_well(&two);
    second.leaves(&two);
    lab.outside().tries((HOST_V4, 8080)).expect_refused();
    a.ends();
    lab.ends_clean();
}

#[test]
fn the_default_route_is_taken_over_when_the_first_network_goes() {
    let lab = Lab::new();
    lab.outside().serves(90);
    let (one, two) = (Conflist::dual("one"), Conflist::dual_at("two", 5));
    let a = lab.cni().sandbox("a").listens(80);
    a.joins(&one);
    a.interface("eth1").joins(&two);
    assert!(a.run("ip", &["route", "show", "default"]).contains("dev eth0"));
    a.leaves(&one);
    assert!(a.run("ip", &["route", "show", "default"]).contains("dev eth1"));
    a.fetches((OUTSIDE_V4, 90)).expect_from(lab.outside());
    a.fetches((lab::OUTSIDE_V6, 90)).expect_from(lab.outside());
    a.interface("eth1").leaves(&two);
    a.ends();
    lab.ends_clean();
}

#[test]
fn a_port_that_another_container_has_is_refused_and_the_container_is_named() {
    let lab = Lab::new();
    let cni = lab.cni();
    let list = Conflist::dual("web");
    let [a, b] = ["holder", "late"].map(|id| cni.sandbox(id).listens(80));
    a.eth0().port(8080, 80, "tcp").joins(&list);
    let made = lab.new_container("made").made();
    made.publishes("9090:80");
    lab.unchanged_by(|| {
        b.eth0().port(8080, 80, "tcp").is_refused(&list).of_our_own().with_hint().naming("holder");
        b.eth0().port(9090, 80, "tcp").is_refused(&list).of_our_own().with_hint().naming("made");
        assert!(made.cannot_publish("8080:80").what.contains("holder"));
    });
    assert_eq!(b.links(), ["lo"]);
    lab.outside().fetches((HOST_V4, 8080)).expect_from("holder");
    b.eth0().port(8080, 80, "udp").joins(&list);
    b.leaves(&list);
    a.leaves(&list);
    a.ends();
    b.ends();
    lab.ends_clean();
}
