//! ICMP errors about a connection that a policy allows pass with it, frag-needed above all; others are judged like anything else.

use std::net::SocketAddr;

use lab::{
    Container, Lab, Network,
    mailbox::Mailbox,
    network::parsed,
    packet::{Frame, Seen, icmp::Complaint},
    policy::{
        reach::ECHO,
        yaml::{cluster_policy, documents, network_policy},
    },
    wire::Wire,
};
use netd_api::addr::Family;

const CLOSED: &str = "{podSelector: {matchLabels: {app: client}}, policyTypes: [Ingress]}";
const COMPLAINTS: [Complaint; 2] = [Complaint::TooBig(1400), Complaint::PortUnreachable];

/// A client whom nobody may reach, a server of whom nothing is known, and a router that may send as whom it likes.
struct Stage<'lab> {
    net: Network<'lab>,
    client: Container<'lab>,
    server: Container<'lab>,
    router: Container<'lab>,
    sees: Wire,
    /// Port 9 of the server is open, so that it has nothing to complain about by itself.
    _open: Mailbox,
}

impl<'lab> Stage<'lab> {
    fn on(lab: &'lab Lab) -> Self {
        let net = lab.network("web");
        let client = lab.new_container("client").on(&net).label("app", "client").made();
        let server = net.container("server");
        let router = lab.new_container("router").on(&net).unguarded().made();
        lab.applies(&network_policy("default/closed", CLOSED));
        let sees = client.wire("eth0");
        let _open = server.mailbox(9);
        Self { net, client, server, router, sees, _open }
    }

    fn at(container: &Container<'_>, family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(container.address(family), port)
    }

    /// A datagram from one to another.
    fn datagram(from: &Container<'_>, to: &Container<'_>, family: Family, port: u16) -> Frame {
        Frame { from_mac: from.mac("eth0"), to_mac: to.mac("eth0"), from: Self::at(from, family, 4444), to: Self::at(to, family, port) }
    }

    /// What the client has sent to a port of the server.
    fn sent(&self, family: Family, port: u16) -> Vec<u8> {
        let frame = Self::datagram(&self.client, &self.server, family, port).udp(b"who is there?");
        self.client.wire("eth0").send(&frame);
        frame
    }

    /// Has somebody complain to the client about a frame.
    fn complains(&self, who: &Container<'_>, family: Family, complaint: Complaint, about: &[u8]) {
        let frame = Self::datagram(who, &self.client, family, 0);
        who.wire("eth0").send(&frame.complains(complaint, about));
    }
}

/// An error message: "destination unreachable" or "packet too big", not the client's own.
fn is_error(seen: &Seen) -> bool {
    matches!(seen, Seen::Ip(_, _, 1, body) if body.first() == Some(&3))
        || matches!(seen, Seen::Ip(_, _, 58, body) if [1, 2].contains(&body[0]))
}

#[test]
fn errors_about_a_connection_pass_where_nothing_else_does() {
    let lab = Lab::new();
    let stage = Stage::on(&lab);
    for family in Family::BOTH {
        for complaint in COMPLAINTS {
            let sent = stage.sent(family, 9);
            stage.complains(&stage.server, family, complaint, &sent);
            stage.sees.expect("the error", |seen| is_error(seen).then_some(()));
        }
    }
    stage.server.reaches_not(&stage.client, ECHO);
    lab.ends_clean();
}

#[test]
fn an_error_of_a_router_on_the_way_passes() {
    let lab = Lab::new();
    let stage = Stage::on(&lab);
    for (family, router) in [(Family::V4, "203.0.113.9:0"), (Family::V6, "[2001:db8:5::9]:0")] {
        let sent = stage.sent(family, 9);
        let frame = Frame { from: parsed(router), ..Stage::datagram(&stage.router, &stage.client, family, 0) };
        stage.router.wire("eth0").send(&frame.complains(Complaint::TooBig(1400), &sent));
        stage.sees.expect("the error", |seen| is_error(seen).then_some(()));
    }
    lab.ends_clean();
}

#[test]
fn errors_about_what_was_never_sent_are_dropped() {
    let lab = Lab::new();
    let stage = Stage::on(&lab);
    let mut count = 0;
    for family in Family::BOTH {
        for complaint in COMPLAINTS {
            let never = Stage::datagram(&stage.client, &stage.server, family, 1000).udp(b"never sent");
            stage.complains(&stage.server, family, complaint, &never);
            count += 1;
        }
    }
    stage.client.expect_counted(&stage.net, "drop_policy", count);
    stage.sees.expect_none("an error about nothing", |seen| is_error(seen).then(|| seen.clone()));
    lab.ends_clean();
}

#[test]
fn errors_about_a_connection_that_was_cut_are_dropped() {
    let lab = Lab::new();
    let stage = Stage::on(&lab);
    let sent = Family::BOTH.map(|family| (family, stage.sent(family, 9)));
    lab.applies(&network_policy("default/caged", "{podSelector: {matchLabels: {app: client}}, policyTypes: [Egress]}"));
    for (family, sent) in &sent {
        for complaint in COMPLAINTS {
            stage.complains(&stage.server, *family, complaint, sent);
        }
    }
    stage.client.expect_counted(&stage.net, "drop_policy", 4);
    // The same after the connection itself has been judged anew.
    for (family, sent) in &sent {
        let _in_vain = stage.sent(*family, 9);
        stage.complains(&stage.server, *family, COMPLAINTS[0], sent);
    }
    stage.client.expect_counted(&stage.net, "drop_policy", 8);
    stage.sees.expect_none("an error about what was cut", |seen| is_error(seen).then(|| seen.clone()));
    lab.ends_clean();
}

#[test]
fn a_closed_port_of_a_server_refuses_a_client_whom_nobody_may_reach() {
    let lab = Lab::new();
    let stage = Stage::on(&lab);
    for family in Family::BOTH {
        stage.client.tries_to_ask((stage.server.address(family), 999)).expect_refused();
        stage.client.tries((stage.server.address(family), 999)).expect_refused();
    }
    lab.ends_clean();
}

#[test]
fn a_caged_server_can_still_say_that_a_port_is_closed() {
    let lab = Lab::new();
    let stage = Stage::on(&lab);
    lab.applies(&network_policy("default/caged", "{podSelector: {matchLabels: {app: mute}}, policyTypes: [Egress]}"));
    stage.server.becomes("app", "mute");
    for family in Family::BOTH {
        stage.client.tries_to_ask((stage.server.address(family), 999)).expect_refused();
    }
    stage.server.serves(80);
    stage.client.reaches(&stage.server, lab::policy::reach::tcp(80));
    lab.ends_clean();
}

#[test]
fn an_echo_is_answered_and_judged_like_a_connection() {
    let lab = Lab::new();
    let stage = Stage::on(&lab);
    stage.client.reaches(&stage.server, ECHO);
    stage.server.reaches_not(&stage.client, ECHO);
    let deny = "{tier: Admin, priority: 0, subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: client}}}}, \
                egress: [{action: Deny, to: [{namespaces: {}}]}]}";
    lab.applies(&documents([&cluster_policy("deny", deny)]));
    stage.client.reaches_not(&stage.server, ECHO);
    lab.ends_clean();
}

#[test]
fn neighbours_are_found_though_nobody_may_come_in_or_go_out() {
    let lab = Lab::new();
    let net = lab.network("web");
    let both = "{podSelector: {matchLabels: {app: client}}, policyTypes: [Ingress, Egress]}";
    lab.applies(&network_policy("default/both", both));
    let a = lab.new_container("a").on(&net).label("app", "client").made().listens(80);
    for family in Family::BOTH {
        lab.here().run("ip", &["neighbour", "flush", "dev", &net.bridge()]);
        lab.here().fetches((a.address(family), 80)).expect_from(&a);
    }
    lab.ends_clean();
}
