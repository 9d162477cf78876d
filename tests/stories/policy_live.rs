//! Policies hold from a container's first packet to its last: before it has an address, while netd starts anew or is dead, and for what
//! flows already.

use std::{net::SocketAddr, time::Duration};

use lab::{
    Container, Lab, Network,
    cni::Conflist,
    network::parsed,
    policy::{
        model::Protocol,
        probe::Got,
        reach::tcp,
        yaml::{documents, namespace, network_policy},
    },
};
use netd_api::addr::Family;
use serde_json::json;

const CLOSED: &str = "{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress]}";
const CAGED: &str = "{podSelector: {matchLabels: {app: caged}}, policyTypes: [Egress]}";
const FRIENDS: &str = "{podSelector: {matchLabels: {app: server}}, ingress: [{from: [{podSelector: {matchLabels: {role: friend}}}]}]}";
/// Where those who never tire send to.
const PORT: u16 = 9999;
/// How many datagrams are enough to believe that none gets through.
const MANY: u64 = 200;

fn server<'lab>(lab: &'lab Lab, net: &Network<'lab>) -> Container<'lab> {
    lab.new_container("a").on(net).label("app", "server").made().listens(80).listens_udp(53)
}

fn both(container: &Container<'_>, port: u16) -> [SocketAddr; 2] {
    [container.v4(port), container.v6(port)]
}

#[test]
fn a_container_that_sends_from_its_first_moment_gets_nothing_out_that_a_policy_denies() {
    let lab = Lab::new();
    let net = lab.network("web");
    let b = net.container("b");
    let mailbox = b.mailbox(PORT);
    lab.applies(&network_policy("default/caged", CAGED));
    for round in 0..5 {
        let process = lab.process();
        let early = process.station("early");
        let senders = both(&b, PORT).map(|to| early.insists_on(to));
        let name = format!("early{round}");
        let a = lab.new_container(&name).on(&net).label("app", "caged").of_pid(process.pid()).made();
        senders.iter().for_each(|sender| sender.goes_on_for(MANY));
        mailbox.expect_empty();
        assert!(a.counted(&net, "drop_policy") >= MANY);
        if round == 4 {
            lab.withdraws_policy("default/caged");
            mailbox.expect_something();
        }
        drop(senders);
        a.removed();
    }
    lab.ends_clean();
}

#[test]
fn nothing_comes_in_that_a_policy_denies_from_a_containers_first_moment() {
    let lab = Lab::new();
    let net = lab.new_network("web").subnet("10.77.0.0/24").made();
    let b = net.container("b");
    lab.applies(&network_policy("default/closed", CLOSED));
    let there: SocketAddr = parsed("10.77.0.9:9999");
    for round in 0..5 {
        let process = lab.process();
        let mailbox = process.station("early").mailbox(PORT);
        let sender = b.insists_on(there);
        let name = format!("early{round}");
        let a = lab.new_container(&name).on(&net).address("10.77.0.9").label("app", "server").of_pid(process.pid()).made();
        sender.goes_on_for(MANY);
        lab::eventually("it is kept from there", || (a.counted(&net, "drop_policy") > 0).then_some(()));
        mailbox.expect_empty();
        if round == 4 {
            lab.withdraws_policy("default/closed");
            mailbox.expect_something();
        }
        drop(sender);
        a.removed();
    }
    lab.ends_clean();
}

#[test]
fn a_container_that_a_runtime_adds_gets_nothing_out_that_a_policy_denies() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let cni = lab.cni();
    let b = cni.sandbox("b");
    let there = b.joins(&list);
    lab.applies(&network_policy("default/caged", "{podSelector: {}, policyTypes: [Egress]}"));
    let a = cni.sandbox("a");
    let senders = [there.v4(PORT), there.v6(PORT)].map(|to| a.insists_on(to));
    let mailbox = b.mailbox(PORT);
    a.joins(&list);
    senders.iter().for_each(|sender| sender.goes_on_for(MANY));
    mailbox.expect_empty();
    lab.withdraws_policy("default/caged");
    mailbox.expect_something();
    drop(senders);
    for sandbox in [a, b] {
        sandbox.leaves(&list);
        sandbox.ends();
    }
    lab.ends_clean();
}

#[test]
fn nothing_comes_in_that_a_policy_denies_to_a_container_that_a_runtime_adds() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let cni = lab.cni();
    let b = cni.sandbox("b");
    b.joins(&list);
    lab.applies(&network_policy("default/closed", "{podSelector: {}, policyTypes: [Ingress]}"));
    let a = cni.sandbox("a");
    let there: [SocketAddr; 2] = [parsed("10.4.0.9:9999"), parsed("[fd00:4::9]:9999")];
    let senders = there.map(|to| b.insists_on(to));
    let mailbox = a.mailbox(PORT);
    a.eth0().given("ips", json!(["10.4.0.9", "fd00:4::9"])).joins(&list);
    senders.iter().for_each(|sender| sender.goes_on_for(MANY));
    lab::eventually("it is kept from there", || {
        let reasons = lab.container("a").inspect().attachments.swap_remove(0).reasons;
        reasons.iter().any(|it| it.reason == "drop_policy" && it.counted.packets > 0).then_some(())
    });
    mailbox.expect_empty();
    lab.withdraws_policy("default/closed");
    mailbox.expect_something();
    drop(senders);
    for sandbox in [a, b] {
        sandbox.leaves(&list);
        sandbox.ends();
    }
    lab.ends_clean();
}

#[test]
fn policies_are_enforced_while_netd_starts_anew_and_while_it_is_dead() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (server(&lab, &net), net.container("b"));
    lab.applies(&network_policy("default/friends", FRIENDS));
    let friend = lab.new_container("friend").on(&net).label("role", "friend").made();
    let stream = friend.streams(a.v4(80));
    let (mailbox, senders) = (a.mailbox(PORT), both(&a, PORT).map(|to| b.insists_on(to)));
    let there = both(&a, 80);
    for _ in 0..3 {
        lab.netd().restart();
        lab.netd().kill9();
        senders.iter().for_each(|sender| sender.goes_on_for(MANY));
        b.expect_to_get(Got::Silence, &there, Protocol::Tcp);
        friend.expect_to_get(Got::Reached, &there, Protocol::Tcp);
        lab.netd().start();
        stream.expect_flowing();
    }
    drop(senders);
    mailbox.expect_empty();
    assert_eq!(lab.policy_names(), ["default/friends"]);
    drop(stream);
    lab.ends_clean();
}

#[test]
fn what_flows_already_is_cut_by_a_policy_that_denies_it() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (server(&lab, &net), net.container("b"));
    a.publishes("8080:80");
    let streams = [b.streams(a.v4(80)), b.streams(a.v6(80)), lab.outside().streams((lab::HOST_V4, 8080))];
    let asker = b.asker(a.v4(53));
    asker.asks().expect_from(&a);
    let own = lab.here().streams(a.v4(80));
    lab.applies(&network_policy("default/closed", CLOSED));
    asker.asks_briefly().expect_silence();
    streams.iter().for_each(lab::stream::Stream::expect_cut);
    own.expect_flowing();
    drop(own);
    lab.ends_clean();
}

#[test]
fn what_flows_already_goes_on_under_a_policy_that_allows_it() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = server(&lab, &net);
    let b = lab.new_container("b").on(&net).label("role", "friend").made().listens(80);
    let inwards = [b.streams(a.v4(80)), b.streams(a.v6(80))];
    // What the server began itself: replies come in whatever its policy says.
    let outwards = [a.streams(b.v4(80)), a.streams(b.v6(80))];
    lab.applies(&network_policy("default/friends", FRIENDS));
    let flow = || inwards.iter().chain(&outwards).for_each(lab::stream::Stream::expect_flowing);
    flow();
    lab.netd().crash();
    flow();
    lab.applies(&network_policy("default/more", "{podSelector: {matchLabels: {app: server}}, ingress: [{ports: [{port: 1}]}]}"));
    flow();
    let longest = inwards.iter().chain(&outwards).map(lab::stream::Stream::longest_pause).max().unwrap();
    assert!(longest < Duration::from_secs(1), "one stood still for {longest:?}");
    drop((inwards, outwards));
    lab.ends_clean();
}

#[test]
fn a_connection_of_before_the_policy_is_known_as_its_makers() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = server(&lab, &net);
    let b = net.container("b").listens(80);
    let outwards = a.streams(b.v4(80));
    lab.applies(&network_policy("default/closed", CLOSED));
    outwards.expect_flowing();
    lab.netd().restart();
    outwards.expect_flowing();
    drop(outwards);
    lab.ends_clean();
}

#[test]
fn labels_and_namespaces_that_change_change_verdicts_at_once() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (server(&lab, &net), net.container("b"));
    lab.applies(&network_policy("default/friends", FRIENDS));
    b.reaches_not(&a, tcp(80));
    for _ in 0..3 {
        b.becomes("role", "friend");
        b.reaches(&a, tcp(80));
        let stream = b.streams(a.v6(80));
        b.becomes("role", "foe");
        b.reaches_not(&a, tcp(80));
        stream.expect_cut();
    }
    b.becomes("role", "friend");
    b.moves_to("abroad");
    b.reaches_not(&a, tcp(80));
    // The server itself is no longer meant.
    a.becomes("app", "client");
    b.reaches(&a, tcp(80));
    lab.ends_clean();
}

#[test]
fn labels_of_a_namespace_that_change_change_verdicts_at_once_and_hold_over_a_restart() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = server(&lab, &net);
    let b = lab.new_container("b").on(&net).namespace("abroad").made();
    let trusted = "{podSelector: {matchLabels: {app: server}}, ingress: [{from: [{namespaceSelector: {matchLabels: {trust: high}}}]}]}";
    lab.applies(&documents([&network_policy("default/trusted", trusted), &namespace("abroad", "{trust: high}")]));
    for _ in 0..2 {
        b.reaches(&a, tcp(80));
        let stream = b.streams(a.v4(80));
        lab.applies(&namespace("abroad", "{trust: low}"));
        b.reaches_not(&a, tcp(80));
        stream.expect_cut();
        lab.netd().restart();
        b.reaches_not(&a, tcp(80));
        lab.applies(&namespace("abroad", "{trust: high}"));
    }
    lab.netd().restart();
    b.reaches(&a, tcp(80));
    lab.ends_clean();
}

#[test]
fn who_gets_the_address_of_a_friend_is_no_friend_for_that() {
    let lab = Lab::new();
    let net = lab.new_network("web").subnet("10.77.0.0/24").made();
    let a = server(&lab, &net);
    lab.applies(&network_policy("default/friends", FRIENDS));
    for _ in 0..3 {
        let friend = lab.new_container("friend").on(&net).address("10.77.0.50").label("role", "friend").made();
        friend.fetches(a.v4(80)).expect_from(&a);
        friend.removed();
        let stranger = lab.new_container("stranger").on(&net).address("10.77.0.50").made();
        stranger.tries(a.v4(80)).expect_silence();
        stranger.removed();
    }
    lab.ends_clean();
}

#[test]
fn policies_change_a_hundred_times_under_load_without_one_wrong_verdict() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (server(&lab, &net), net.container("b"));
    let friend = lab.new_container("friend").on(&net).label("role", "friend").made();
    lab.applies(&network_policy("default/friends", FRIENDS));
    let streams = [friend.streams(a.v4(80)), friend.streams(a.v6(80))];
    let (mailbox, senders) = (a.mailbox(PORT), both(&a, PORT).map(|to| b.insists_on(to)));
    for round in 0..100 {
        let more = format!(
            "{{podSelector: {{}}, ingress: [{{from: [{{podSelector: {{matchLabels: {{role: friend}}}}}}], ports: [{{port: {}}}]}}]}}",
            1000 + round
        );
        lab.applies(&network_policy("default/more", &more));
    }
    senders.iter().for_each(|sender| sender.goes_on_for(MANY));
    drop(senders);
    mailbox.expect_empty();
    streams.iter().for_each(lab::stream::Stream::expect_flowing);
    let longest = streams.iter().map(lab::stream::Stream::longest_pause).max().unwrap();
    assert!(longest < Duration::from_secs(1), "one stood still for {longest:?}");
    drop(streams);
    lab.ends_clean();
}

#[test]
fn a_link_that_comes_back_is_under_its_policies() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (server(&lab, &net), net.container("b"));
    lab.applies(&network_policy("default/closed", CLOSED));
    let sender = b.insists_on(a.v4(53));
    lab.here().run("ip", &["link", "del", a.attachment(&net).host_ifname.as_str()]);
    lab::eventually("it is reached by the host again", || lab.here().tries(a.v4(80)).answer());
    sender.goes_on_for(MANY);
    b.reaches_not(&a, tcp(80));
    drop(sender);
    lab.ends_clean_uncounted();
}

#[test]
fn a_boot_makes_containers_and_policies_again() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (server(&lab, &net), net.container("b"));
    lab.applies(&network_policy("default/closed", CLOSED));
    a.stops_serving();
    lab.reboots();
    let (a, b) = (lab.container(a.name().as_str()).listens(80), lab.container(b.name().as_str()));
    b.reaches_not(&a, tcp(80));
    assert_eq!(Family::BOTH.map(|family| lab.here().fetches((a.address(family), 80)).expect_from(&a).from), ["a", "a"]);
    lab.ends_clean();
}
