//! The defaults and traps of Kubernetes' policies, each by its name: what an empty list, a missing one and a missing word mean.

use lab::{
    Container, Lab, Network,
    policy::{
        reach::{ECHO, tcp, udp},
        yaml::{cluster_policy, documents, namespace, network_policy},
    },
};
use netd_api::publish::Protocol;

/// A server in the namespace `default` that every policy here is about, and who may want to reach it.
struct Stage<'lab> {
    a: Container<'lab>,
    friend: Container<'lab>,
    stranger: Container<'lab>,
}

impl<'lab> Stage<'lab> {
    fn on(lab: &'lab Lab, net: &Network<'lab>) -> Self {
        let a = lab.new_container("a").on(net).label("app", "server").made().listens(80).listens(81).listens_udp(53);
        let friend = lab.new_container("friend").on(net).label("role", "friend").made().listens(80);
        let stranger = lab.new_container("stranger").on(net).namespace("abroad").made().listens(80);
        Self { a, friend, stranger }
    }
}

/// Tells a story about one policy in the namespace `default`, beside what else there is.
fn under(spec: &str, story: impl FnOnce(&Lab, &Stage<'_>)) {
    let lab = Lab::new();
    let net = lab.network("web");
    let stage = Stage::on(&lab, &net);
    lab.applies(&documents([&network_policy("default/it", spec), &namespace("abroad", "{kind: foreign}")]));
    story(&lab, &stage);
    lab.ends_clean();
}

#[test]
fn an_empty_pod_selector_selects_every_container_of_its_namespace_and_of_no_other() {
    under("{podSelector: {}}", |_, stage| {
        stage.stranger.reaches_not(&stage.a, tcp(80));
        stage.stranger.reaches_not(&stage.friend, tcp(80));
        stage.a.reaches(&stage.stranger, tcp(80));
    });
}

#[test]
fn an_ingress_that_is_not_there_lets_nobody_in() {
    under("{podSelector: {matchLabels: {app: server}}}", |_, stage| stage.friend.reaches_not(&stage.a, tcp(80)));
}

#[test]
fn an_empty_list_of_ingress_rules_lets_nobody_in() {
    under("{podSelector: {matchLabels: {app: server}}, ingress: []}", |_, stage| stage.friend.reaches_not(&stage.a, tcp(80)));
}

#[test]
fn an_empty_rule_lets_everybody_in() {
    under("{podSelector: {matchLabels: {app: server}}, ingress: [{}]}", |_, stage| {
        [tcp(80), udp(53), ECHO].iter().for_each(|service| stage.stranger.reaches(&stage.a, *service));
    });
}

#[test]
fn an_empty_from_means_everybody() {
    under("{podSelector: {matchLabels: {app: server}}, ingress: [{from: [], ports: [{port: 80}]}]}", |_, stage| {
        stage.stranger.reaches(&stage.a, tcp(80));
        stage.stranger.reaches_not(&stage.a, tcp(81));
    });
}

#[test]
fn an_empty_list_of_ports_means_all_ports_of_all_protocols() {
    let spec = "{podSelector: {matchLabels: {app: server}}, ingress: [{from: [{podSelector: {matchLabels: {role: friend}}}], ports: []}]}";
    under(spec, |_, stage| {
        [tcp(80), tcp(81), udp(53), ECHO].iter().for_each(|service| stage.friend.reaches(&stage.a, *service));
        [tcp(80), udp(53), ECHO].iter().for_each(|service| stage.stranger.reaches_not(&stage.a, *service));
    });
}

#[test]
fn a_rule_of_ports_lets_no_echo_in() {
    under(
        "{podSelector: {matchLabels: {app: server}}, ingress: [{ports: [{protocol: TCP}, {protocol: UDP}, {protocol: SCTP}]}]}",
        |_, stage| {
            stage.friend.reaches(&stage.a, tcp(80));
            stage.friend.reaches(&stage.a, udp(53));
            stage.friend.reaches_not(&stage.a, ECHO);
        },
    );
}

#[test]
fn a_port_without_a_protocol_is_one_of_tcp() {
    under("{podSelector: {matchLabels: {app: server}}, ingress: [{ports: [{port: 80}, {port: 53}]}]}", |_, stage| {
        stage.friend.reaches(&stage.a, tcp(80));
        stage.friend.reaches_not(&stage.a, udp(53));
    });
}

#[test]
fn both_selectors_in_one_element_must_both_hold() {
    let peers = "{namespaceSelector: {matchLabels: {kind: foreign}}, podSelector: {matchLabels: {role: friend}}}";
    under(&format!("{{podSelector: {{matchLabels: {{app: server}}}}, ingress: [{{from: [{peers}]}}]}}"), |_, stage| {
        stage.friend.reaches_not(&stage.a, tcp(80));
        stage.stranger.reaches_not(&stage.a, tcp(80));
        stage.stranger.becomes("role", "friend");
        stage.stranger.reaches(&stage.a, tcp(80));
    });
}

#[test]
fn of_two_elements_one_must_hold() {
    let peers = "{namespaceSelector: {matchLabels: {kind: foreign}}}, {podSelector: {matchLabels: {role: friend}}}";
    under(&format!("{{podSelector: {{matchLabels: {{app: server}}}}, ingress: [{{from: [{peers}]}}]}}"), |_, stage| {
        stage.friend.reaches(&stage.a, tcp(80));
        stage.stranger.reaches(&stage.a, tcp(80));
        stage.friend.loses("role");
        stage.friend.reaches_not(&stage.a, tcp(80));
    });
}

#[test]
fn a_pod_selector_alone_speaks_of_the_policys_own_namespace() {
    under("{podSelector: {matchLabels: {app: server}}, ingress: [{from: [{podSelector: {}}]}]}", |_, stage| {
        stage.friend.reaches(&stage.a, tcp(80));
        stage.stranger.reaches_not(&stage.a, tcp(80));
    });
}

#[test]
fn an_empty_namespace_selector_speaks_of_all_containers_but_not_of_the_outside() {
    let lab = Lab::new();
    let net = lab.new_network("dmz").dual().routed().made();
    let stage = Stage::on(&lab, &net);
    lab.outside().routes(net.subnet(netd_api::addr::Family::V4), lab::HOST_V4).routes(net.subnet(netd_api::addr::Family::V6), lab::HOST_V6);
    lab.outside().reaches(&stage.a, tcp(80));
    lab.applies(&network_policy("default/it", "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}"));
    stage.friend.reaches(&stage.a, tcp(80));
    stage.stranger.reaches(&stage.a, tcp(80));
    lab.outside().reaches_not(&stage.a, tcp(80));
    lab.ends_clean();
}

#[test]
fn a_hole_in_an_ip_block_is_a_hole_in_that_block_only() {
    let lab = Lab::new();
    let net = lab.new_network("web").subnet("10.77.0.0/24").made();
    let a = lab.new_container("a").on(&net).address("10.77.0.10").made().listens(80);
    let in_hole = lab.new_container("in-hole").on(&net).address("10.77.0.130").made();
    let beside = lab.new_container("beside").on(&net).address("10.77.0.20").made();
    let ingress = |more: &str| {
        let block = "{ipBlock: {cidr: 10.77.0.0/24, except: [10.77.0.128/25]}}";
        network_policy("default/it", &format!("{{podSelector: {{}}, ingress: [{{from: [{block}{more}]}}]}}"))
    };
    lab.applies(&ingress(""));
    beside.fetches(a.v4(80)).expect_from(&a);
    in_hole.tries(a.v4(80)).expect_silence();
    lab.applies(&ingress(", {ipBlock: {cidr: 10.77.0.130/32}}"));
    in_hole.fetches(a.v4(80)).expect_from(&a);
    lab.ends_clean();
}

#[test]
fn a_named_port_is_each_containers_own() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b, client) = (net.container("a").listens(80).listens(81), net.container("b").listens(80).listens(81), net.container("client"));
    a.calls_port("http", 80, Protocol::Tcp);
    b.calls_port("http", 81, Protocol::Tcp);
    lab.applies(&network_policy("default/it", "{podSelector: {}, ingress: [{ports: [{port: http}]}]}"));
    client.reaches(&a, tcp(80));
    client.reaches_not(&a, tcp(81));
    client.reaches(&b, tcp(81));
    client.reaches_not(&b, tcp(80));
    b.forgets_port("http");
    client.reaches_not(&b, tcp(81));
    // A label names a port as well.
    b.becomes("netd.io/port.http", "80");
    client.reaches(&b, tcp(80));
    lab.ends_clean();
}

#[test]
fn a_named_port_of_another_protocol_does_not_count() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, client) = (net.container("a").listens(53).listens_udp(53), net.container("client"));
    a.calls_port("dns", 53, Protocol::Udp);
    lab.applies(&network_policy("default/it", "{podSelector: {}, ingress: [{ports: [{port: dns}]}]}"));
    client.reaches_not(&a, tcp(53));
    client.reaches_not(&a, udp(53));
    lab.applies(&network_policy("default/it", "{podSelector: {}, ingress: [{ports: [{port: dns, protocol: UDP}]}]}"));
    client.reaches(&a, udp(53));
    client.reaches_not(&a, tcp(53));
    lab.ends_clean();
}

#[test]
fn a_range_of_ports_has_both_its_ends() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, client) = (net.container("a"), net.container("client"));
    let ports = [1023, 1024, 1025, 5000, 5001];
    for port in ports {
        a.serves(port);
    }
    lab.applies(&network_policy("default/it", "{podSelector: {}, ingress: [{ports: [{port: 1024, endPort: 5000}]}]}"));
    [1024, 1025, 5000].iter().for_each(|port| client.reaches(&a, tcp(*port)));
    [1023, 5001].iter().for_each(|port| client.reaches_not(&a, tcp(*port)));
    lab.ends_clean();
}

#[test]
fn replies_come_in_though_nobody_may() {
    under("{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress]}", |_, stage| {
        stage.a.reaches(&stage.friend, tcp(80));
        stage.a.reaches(&stage.friend, ECHO);
        stage.friend.reaches_not(&stage.a, tcp(80));
    });
}

#[test]
fn replies_go_out_though_nobody_may() {
    under("{podSelector: {matchLabels: {app: server}}, policyTypes: [Egress]}", |_, stage| {
        stage.friend.reaches(&stage.a, tcp(80));
        stage.friend.reaches(&stage.a, udp(53));
        stage.a.reaches_not(&stage.friend, tcp(80));
    });
}

#[test]
fn several_policies_add_up_and_none_takes_away() {
    under("{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {role: friend}}}]}]}", |lab, stage| {
        stage.stranger.reaches_not(&stage.a, tcp(80));
        let foreign = "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {kind: foreign}}}], ports: [{port: 80}]}]}";
        lab.applies(&network_policy("default/also", foreign));
        stage.stranger.reaches(&stage.a, tcp(80));
        stage.stranger.reaches_not(&stage.a, tcp(81));
        stage.friend.reaches(&stage.a, tcp(81));
        lab.applies(&network_policy("default/closed", "{podSelector: {}}"));
        stage.friend.reaches(&stage.a, tcp(81));
    });
}

#[test]
fn a_policy_of_one_namespace_never_selects_containers_of_another() {
    let lab = Lab::new();
    let net = lab.network("web");
    let stage = Stage::on(&lab, &net);
    lab.applies(&network_policy("abroad/closed", "{podSelector: {}}"));
    stage.stranger.reaches(&stage.a, tcp(80));
    stage.a.reaches_not(&stage.stranger, tcp(80));
    lab.ends_clean();
}

#[test]
fn the_host_always_reaches_its_containers() {
    let lab = Lab::new();
    let net = lab.network("web");
    let stage = Stage::on(&lab, &net);
    let deny = "{tier: Admin, priority: 0, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]}";
    lab.applies(&documents([
        &network_policy("default/closed", "{podSelector: {}, policyTypes: [Ingress, Egress]}"),
        &cluster_policy("no", deny),
    ]));
    [tcp(80), udp(53), ECHO].iter().for_each(|service| lab.here().reaches(&stage.a, *service));
    stage.friend.reaches_not(&stage.a, tcp(80));
    lab.ends_clean();
}

#[test]
fn the_hosts_own_addresses_are_the_nodes_of_a_cluster_policy() {
    let lab = Lab::new();
    let net = lab.network("web");
    let stage = Stage::on(&lab, &net);
    lab.here().serves(7000);
    lab.outside().serves(7000);
    let deny = "{tier: Admin, priority: 0, subject: {namespaces: {}}, egress: [{action: Deny, to: [{nodes: {}}]}]}";
    lab.applies(&cluster_policy("no-nodes", deny));
    for (family, host, outside) in
        [(netd_api::addr::Family::V4, lab::HOST_V4, lab::OUTSIDE_V4), (netd_api::addr::Family::V6, lab::HOST_V6, lab::OUTSIDE_V6)]
    {
        stage.friend.tries((net.gateway(family), 7000)).expect_silence();
        stage.friend.tries((host, 7000)).expect_silence();
        stage.friend.fetches((outside, 7000)).expect_from(lab.outside());
    }
    stage.friend.reaches(&stage.a, tcp(80));
    lab.ends_clean();
}
