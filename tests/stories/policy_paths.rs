//! Nobody evades a policy by the way that he takes: published ports, masquerade, the gateway. With br_netfilter on and off.

use std::net::SocketAddr;

use lab::{
    Container, HOST_V4, HOST_V6, Lab, Network, OUTSIDE_V4, OUTSIDE_V6, Station,
    network::parsed,
    policy::{
        model::Protocol,
        probe::Got,
        reach::tcp,
        yaml::{cluster_policy, documents, network_policy},
    },
};
use netd_api::addr::Family;

use crate::fast_path::PATHS;

/// Into the server come friends only.
const FRIENDS: &str = "{podSelector: {matchLabels: {app: server}}, ingress: [{from: [{podSelector: {matchLabels: {role: friend}}}]}]}";
const HOSTS: [&str; 2] = [HOST_V4, HOST_V6];

/// A server with published ports, its neighbour, and a container of another network.
struct Stage<'lab> {
    lab: &'lab Lab,
    one: Network<'lab>,
    two: Network<'lab>,
    a: Container<'lab>,
    neighbour: Container<'lab>,
    abroad: Container<'lab>,
}

impl<'lab> Stage<'lab> {
    fn on(lab: &'lab Lab) -> Self {
        let (one, two) = (lab.network("one"), lab.network("two"));
        let a = lab.new_container("a").on(&one).label("app", "server").made().listens(80).listens_udp(53);
        a.publishes("8080:80");
        a.publishes("5353:53/udp");
        let (neighbour, abroad) = (one.container("neighbour"), two.container("abroad"));
        Self { lab, one, two, a, neighbour, abroad }
    }

    /// All addresses of the host where the published port is.
    fn published(&self, port: u16) -> Vec<SocketAddr> {
        let gateways = [&self.one, &self.two].into_iter().flat_map(|net| Family::BOTH.map(|family| net.gateway(family)));
        HOSTS.into_iter().map(parsed).chain(gateways).map(|address| SocketAddr::new(address, port)).collect()
    }

    #[track_caller]
    fn meets(&self, from: &Station, wanted: Got) {
        from.expect_to_get(wanted, &self.published(8080), Protocol::Tcp);
        from.expect_to_get(wanted, &self.published(5353), Protocol::Udp);
    }

    /// The outside knows the uplink's addresses only.
    #[track_caller]
    fn outside_meets(&self, wanted: Got) {
        for (protocol, port) in [(Protocol::Tcp, 8080), (Protocol::Udp, 5353)] {
            let hosts = HOSTS.map(|host| SocketAddr::new(parsed(host), port));
            self.lab.outside().expect_to_get(wanted, &hosts, protocol);
        }
    }

    #[track_caller]
    fn host_reaches_it(&self) {
        self.meets(self.lab.here(), Got::Reached);
        self.lab.here().fetches("127.0.0.1:8080").expect_from(&self.a);
    }
}

/// Tells a story with bridges that hand their packets to the firewall and with such that do not, each with the short way between neighbours and without.
fn filtered_and_not(story: impl Fn(&Stage<'_>)) {
    for (filtered, path) in ["0", "1"].into_iter().flat_map(|filtered| PATHS.map(|path| (filtered, path))) {
        let lab = Lab::bare();
        lab.bridge_filter(filtered);
        lab.configures(path);
        lab.starts();
        let stage = Stage::on(&lab);
        story(&stage);
        lab.counters_add_up(&stage.a, &stage.one);
        lab.counters_add_up(&stage.neighbour, &stage.one);
        lab.counters_add_up(&stage.abroad, &stage.two);
        lab.ends_clean();
    }
}

#[test]
fn nobody_comes_in_by_a_published_port_who_may_not_come_in() {
    filtered_and_not(|stage| {
        for from in [&stage.a, &stage.neighbour, &stage.abroad] {
            stage.meets(from, Got::Reached);
        }
        stage.outside_meets(Got::Reached);
        stage.lab.applies(&network_policy("default/friends", FRIENDS));
        for from in [&stage.a, &stage.neighbour, &stage.abroad] {
            stage.meets(from, Got::Silence);
        }
        stage.outside_meets(Got::Silence);
        stage.host_reaches_it();
    });
}

#[test]
fn who_may_come_in_does_so_by_a_published_port_too() {
    filtered_and_not(|stage| {
        stage.lab.applies(&network_policy("default/friends", FRIENDS));
        for friend in [&stage.neighbour, &stage.abroad, &stage.a] {
            friend.becomes("role", "friend");
            stage.meets(friend, Got::Reached);
            friend.loses("role");
            stage.meets(friend, Got::Silence);
        }
    });
}

#[test]
fn clients_from_outside_are_judged_by_their_own_address_and_containers_never_by_the_hosts() {
    filtered_and_not(|stage| {
        let host = format!("{{ipBlock: {{cidr: {HOST_V4}/32}}}}, {{ipBlock: {{cidr: {HOST_V6}/128}}}}");
        let block = |address| format!(", {{ipBlock: {{cidr: {address}}}}}");
        let gateways: String = [&stage.one, &stage.two].iter().map(|net| block(format!("{}/32", net.gateway(Family::V4)))).collect();
        let into = |peers: &str| format!("{{podSelector: {{matchLabels: {{app: server}}}}, ingress: [{{from: [{peers}]}}]}}");
        // The host's addresses, under which containers are masqueraded, let no container in.
        stage.lab.applies(&network_policy("default/it", &into(&format!("{host}{gateways}"))));
        for from in [&stage.a, &stage.neighbour, &stage.abroad] {
            stage.meets(from, Got::Silence);
        }
        stage.outside_meets(Got::Silence);
        let outside = format!("{{ipBlock: {{cidr: {OUTSIDE_V4}/32}}}}, {{ipBlock: {{cidr: {OUTSIDE_V6}/128}}}}");
        stage.lab.applies(&network_policy("default/it", &into(&outside)));
        stage.outside_meets(Got::Reached);
        stage.meets(&stage.abroad, Got::Silence);
    });
}

#[test]
fn a_caged_container_does_not_get_out_by_a_published_port() {
    filtered_and_not(|stage| {
        let caged = "{podSelector: {matchLabels: {role: prisoner}}, policyTypes: [Egress]}";
        stage.lab.applies(&network_policy("default/caged", caged));
        for prisoner in [&stage.neighbour, &stage.abroad] {
            prisoner.becomes("role", "prisoner");
            stage.meets(prisoner, Got::Silence);
        }
        stage.host_reaches_it();
    });
}

#[test]
fn the_way_out_to_a_published_port_is_judged_by_the_container_and_port_behind_it() {
    filtered_and_not(|stage| {
        let out = |rule: &str| format!("{{podSelector: {{matchLabels: {{role: client}}}}, policyTypes: [Egress], egress: [{rule}]}}");
        let by_host =
            format!("{{to: [{{ipBlock: {{cidr: {HOST_V4}/32}}}}, {{ipBlock: {{cidr: {HOST_V6}/128}}}}], ports: [{{port: 8080}}]}}");
        let hosts = HOSTS.map(|host| SocketAddr::new(parsed(host), 8080));
        for client in [&stage.neighbour, &stage.abroad] {
            client.becomes("role", "client");
            stage.lab.applies(&network_policy("default/out", &out(&by_host)));
            client.expect_to_get(Got::Silence, &hosts, Protocol::Tcp);
            stage
                .lab
                .applies(&network_policy("default/out", &out("{to: [{podSelector: {matchLabels: {app: server}}}], ports: [{port: 80}]}")));
            client.expect_to_get(Got::Reached, &hosts, Protocol::Tcp);
        }
    });
}

#[test]
fn a_port_that_comes_or_goes_and_an_address_that_becomes_the_hosts_change_what_was_said_before() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = lab.new_container("a").on(&net).label("app", "server").made().listens(80);
    let client = net.container("client");
    client.becomes("role", "client");
    let out = "{to: [{podSelector: {matchLabels: {app: server}}}], ports: [{port: 80}]}";
    let out = format!("{{podSelector: {{matchLabels: {{role: client}}}}, policyTypes: [Egress], egress: [{out}]}}");
    lab.applies(&network_policy("default/out", &out));
    let hosts = HOSTS.map(|host| SocketAddr::new(parsed(host), 8080));
    for _ in 0..3 {
        client.expect_to_get(Got::Silence, &hosts, Protocol::Tcp);
        a.publishes("8080:80");
        client.expect_to_get(Got::Reached, &hosts, Protocol::Tcp);
        a.withdraws("8080");
    }
    a.publishes("8080:80");
    client.tries((LATER, 8080)).expect_silence();
    lab.here().takes_address(&format!("{LATER}/32"), "lo");
    lab::eventually("the host's new address leads there", || client.tries((LATER, 8080)).answer());
    lab.ends_clean();
}

#[test]
fn what_flows_to_an_address_that_becomes_the_hosts_or_is_so_no_more_is_judged_anew() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = net.container("a");
    let no_nodes = "{tier: Admin, priority: 0, subject: {namespaces: {}}, egress: [{action: Deny, to: [{nodes: {}}]}]}";
    lab.applies(&cluster_policy("no-nodes", no_nodes));
    is_denied_what_is_the_hosts(&lab, &net, &a, 53);
    lab.ends_clean();
}

#[test]
fn what_flows_to_an_address_that_becomes_the_hosts_is_judged_by_who_is_behind_its_published_port() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, server) = (net.container("a"), net.container("server"));
    a.becomes("role", "client");
    server.publishes("5300:53/udp");
    let out = format!("{{to: [{{ipBlock: {{cidr: {LATER}/32}}}}]}}");
    let out = format!("{{podSelector: {{matchLabels: {{role: client}}}}, policyTypes: [Egress], egress: [{out}]}}");
    lab.applies(&network_policy("default/out", &out));
    is_denied_what_is_the_hosts(&lab, &net, &a, 5300);
    lab.ends_clean();
}

/// An address that is somebody's outside at first, and the host's later.
const LATER: &str = "192.0.2.77";

/// A container talks to the address while it is somebody's outside, and not while it is the host's.
fn is_denied_what_is_the_hosts(lab: &Lab, net: &Network<'_>, a: &Container<'_>, port: u16) {
    lab.outside().takes_address(&format!("{LATER}/24"), lab::OUTSIDE_LINK).serves_udp_at((LATER, port));
    let asker = a.asker((LATER, port));
    asker.comes_to("outside");
    lab.here().takes_address(&format!("{LATER}/32"), "lo");
    lab::eventually("what went on is denied now", || {
        asker.comes_to_nobody();
        (a.counted(net, "drop_policy") > 0).then_some(())
    });
    lab.here().run("ip", &["address", "del", &format!("{LATER}/32"), "dev", "lo"]);
    asker.comes_to("outside");
}

#[test]
fn the_way_to_the_outside_is_judged_by_the_outsides_address() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = net.container("a");
    lab.outside().serves(80).serves(81);
    let to = format!("{{to: [{{ipBlock: {{cidr: {OUTSIDE_V4}/32}}}}, {{ipBlock: {{cidr: {OUTSIDE_V6}/128}}}}], ports: [{{port: 80}}]}}");
    lab.applies(&network_policy("default/out", &format!("{{podSelector: {{}}, policyTypes: [Egress], egress: [{to}]}}")));
    for outside in [OUTSIDE_V4, OUTSIDE_V6] {
        a.fetches((outside, 80)).expect_from(lab.outside());
        a.tries((outside, 81)).expect_silence();
    }
    lab.ends_clean();
}

#[test]
fn the_gateways_port_53_is_the_cluster_dns_of_kubernetes() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = net.container("a");
    for family in Family::BOTH {
        let gateway = net.gateway(family);
        lab.here().serves_udp_at((gateway, 53)).serves_at((gateway, 53)).serves_udp_at((gateway, 54));
    }
    let dns =
        "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}";
    let rule = format!("{{to: [{dns}], ports: [{{port: 53, protocol: UDP}}, {{port: 53}}]}}");
    lab.applies(&network_policy("default/dns", &format!("{{podSelector: {{}}, policyTypes: [Egress], egress: [{rule}]}}")));
    for family in Family::BOTH {
        let gateway = net.gateway(family);
        a.asks((gateway, 53)).expect_from(lab.here());
        a.fetches((gateway, 53)).expect_from(lab.here());
        a.tries_to_ask((gateway, 54)).expect_silence();
    }
    lab.ends_clean();
}

#[test]
fn a_routed_network_is_judged_by_the_real_addresses_of_both_ends() {
    let lab = Lab::new();
    let net = lab.new_network("dmz").dual().routed().made();
    let a = net.container("a").listens(80);
    let neighbour = lab.neighbour();
    for (family, host) in Family::BOTH.into_iter().zip(HOSTS) {
        lab.outside().routes(net.subnet(family), host);
    }
    let from = format!("{{from: [{{ipBlock: {{cidr: {OUTSIDE_V4}/32}}}}, {{ipBlock: {{cidr: {OUTSIDE_V6}/128}}}}]}}");
    lab.applies(&documents([&network_policy("default/it", &format!("{{podSelector: {{}}, ingress: [{from}]}}"))]));
    lab.outside().reaches(&a, tcp(80));
    neighbour.tries((a.address(Family::V4), 80)).expect_silence();
    lab.neighbour_leaves();
    lab.ends_clean();
}
