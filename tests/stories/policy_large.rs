//! Policies as large as anybody writes them, for real connections: the first, a middle and the last rule or block decide; what does not fit is refused and
//! the former policy stays; what contradicts and overlaps adds up.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
};

use lab::{
    Container, Lab, Network,
    policy::{
        reach::{tcp, udp},
        yaml::{documents, network_policy},
    },
};
use netd_api::fault::Code;

const RULES: u16 = 10_000;
/// The first rule speaks of this port, each further one of the next.
const FIRST_PORT: u16 = 20_001;
const BLOCKS: u32 = 100_000;

/// The first, one in the middle, the last.
const fn marked(count: u32) -> [u32; 3] {
    [0, count / 2, count - 1]
}

/// A policy for those of `app: server`, with these ingress rules.
fn about_servers(name: &str, rules: &str) -> String {
    network_policy(name, &format!("{{podSelector: {{matchLabels: {{app: server}}}}, policyTypes: [Ingress], ingress: [{rules}]}}"))
}

/// Each rule lets a client in, and an address that nobody has, by a port of its own.
fn many_rules() -> String {
    (0..RULES).fold(String::new(), |mut rules, number| {
        let [high, low] = number.to_be_bytes();
        let port = FIRST_PORT + number;
        let from = format!("{{podSelector: {{matchLabels: {{role: client}}}}}}, {{ipBlock: {{cidr: 198.18.{high}.{low}/32}}}}");
        let _ = write!(rules, "{{from: [{from}], ports: [{{port: {port}}}]}}, ");
        rules
    })
}

#[test]
fn each_of_ten_thousand_rules_decides_and_nothing_else_comes_in() {
    let lab = Lab::new();
    let net = lab.network("web");
    let ports = marked(RULES.into()).map(|number| FIRST_PORT + number as u16);
    let behind = FIRST_PORT + RULES;
    let a = lab.new_container("a").on(&net).label("app", "server").made();
    let a = ports.into_iter().chain([behind]).fold(a, Container::listens);
    let client = lab.new_container("client").on(&net).label("role", "client").made();
    let stranger = net.container("stranger");
    lab.applies(&about_servers("default/large", &many_rules()));
    let holds = || {
        for port in ports {
            client.reaches(&a, tcp(port));
            stranger.reaches_not(&a, tcp(port));
        }
        client.reaches_not(&a, tcp(behind));
    };
    holds();
    let view = lab.policy("default/large");
    let decided: Vec<_> = view.rules.iter().filter(|rule| rule.hits.packets > 0).map(|rule| rule.rule).collect();
    let marked = marked(RULES.into()).map(|number| Some(number + 1));
    assert_eq!(decided.len(), 4, "{decided:?}");
    assert!(marked.iter().chain([&None]).all(|rule| decided.contains(rule)), "{decided:?}");
    lab.netd().restart();
    holds();
    // One rule less is another policy, and all others still hold.
    let rules = many_rules();
    let (_, others) = rules.split_once("]}, ").expect("there are many rules");
    lab.applies(&about_servers("default/large", others));
    client.reaches_not(&a, tcp(ports[0]));
    ports[1..].iter().for_each(|port| client.reaches(&a, tcp(*port)));
    lab.ends_clean();
}

/// An address of a block, in each family; each block has four, and the next begins behind them.
fn address_v4(block: u32, at: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 64, 0, 0).to_bits() + 4 * block + at)
}

fn address_v6(block: u32, at: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(Ipv6Addr::new(0xfd00, 0x64, 0, 0, 0, 0, 0, 0).to_bits() + u128::from(4 * block + at))
}

/// Half of the blocks are of each family; of the marked ones the last address is left out.
fn many_blocks() -> String {
    let left_out = marked(BLOCKS / 2);
    (0..BLOCKS / 2).fold(String::new(), |mut peers, block| {
        let (v4, v6) = (address_v4(block, 0), address_v6(block, 0));
        let (mut but_v4, mut but_v6) = (String::new(), String::new());
        if left_out.contains(&block) {
            but_v4 = format!(", except: [{}/32]", address_v4(block, 3));
            but_v6 = format!(", except: ['{}/128']", address_v6(block, 3));
        }
        let _ = write!(peers, "{{ipBlock: {{cidr: {v4}/30{but_v4}}}}}, {{ipBlock: {{cidr: '{v6}/126'{but_v6}}}}}, ");
        peers
    })
}

/// A container that has an address of a block in each family.
fn at<'lab>(lab: &'lab Lab, net: &Network<'_>, name: &str, block: u32, at: u32) -> Container<'lab> {
    let [v4, v6] = [address_v4(block, at).to_string(), address_v6(block, at).to_string()];
    lab.new_container(name).on(net).address(&v4).address(&v6).made()
}

#[test]
fn each_of_a_hundred_thousand_blocks_and_each_hole_in_them_decides() {
    let lab = Lab::new();
    let net = lab.new_network("web").subnet("10.64.0.0/14").subnet("fd00:64::/64").made();
    let a = lab.new_container("a").on(&net).label("app", "server").address("10.67.255.9").address("fd00:64::f:9").made().listens(80);
    let numbered = || marked(BLOCKS / 2).into_iter().enumerate();
    let inside: Vec<_> = numbered().map(|(n, block)| at(&lab, &net, &format!("inside{n}"), block, 2)).collect();
    let holes: Vec<_> = numbered().map(|(n, block)| at(&lab, &net, &format!("hole{n}"), block, 3)).collect();
    let behind = at(&lab, &net, "behind", BLOCKS / 2, 0);
    lab.applies(&about_servers("default/large", &format!("{{from: [{}], ports: [{{port: 80}}]}}", many_blocks())));
    let holds = || {
        inside.iter().for_each(|container| container.reaches(&a, tcp(80)));
        holes.iter().chain([&behind]).for_each(|container| container.reaches_not(&a, tcp(80)));
    };
    holds();
    lab.netd().restart();
    holds();
    // A hole in one policy's block is none in another's.
    let all = "{podSelector: {matchLabels: {app: server}}, ingress: [{from: [{ipBlock: {cidr: 10.64.0.0/14}}, {ipBlock: {cidr: 'fd00:64::/64'}}]}]}";
    lab.applies(&network_policy("default/all", all));
    inside.iter().chain(&holes).chain([&behind]).for_each(|container| container.reaches(&a, tcp(80)));
    lab.withdraws_policy("default/all");
    holes.iter().chain([&behind]).for_each(|container| container.reaches_not(&a, tcp(80)));
    lab.ends_clean();
}

#[test]
fn what_does_not_fit_is_refused_in_words_and_the_former_policies_hold() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = lab.new_container("a").on(&net).label("app", "server").made().listens(80).listens(81);
    let client = net.container("client");
    lab.applies(&about_servers("default/web", "{ports: [{port: 80}]}"));
    let ports = (0..100).map(|n| format!("{{port: {}, endPort: {}}}", n * 600 + 1, n * 600 + 598)).collect::<Vec<_>>().join(", ");
    let rules = (0..200).map(|n| format!("{{from: [{{ipBlock: {{cidr: 192.0.{n}.0/24}}}}], ports: [{ports}]}}, "));
    let fine = about_servers("default/fine", "{ports: [{port: 81}]}");
    let too_large = about_servers("default/web", &rules.collect::<String>());
    // More text than is read, as one file and as several; and more values, short as they are.
    let half = format!("# {}\n{fine}", "x".repeat(5 << 20));
    let many_values = network_policy("default/web", &format!("{{podSelector: {{}}, policyTypes: [{}]}}", "1,".repeat(1_000_001)));
    let refusals = [
        (vec![("a.yaml", fine.as_str()), ("b.yaml", &too_large)], Code::TooLarge, "default/web takes the most"),
        (vec![("a.yaml", &half), ("b.yaml", &half)], Code::BadRequest, "b.yaml:1: the files have more than 8 MiB"),
        (vec![("a.yaml", &fine), ("b.yaml", &many_values)], Code::BadRequest, "more than 1000000 values"),
    ];
    for (files, code, words) in refusals {
        let fault = lab.tries_to_apply(&files).expect_err(words);
        assert_eq!(fault.code, code, "{fault:?}");
        assert!(fault.what.contains(words) && fault.hint.contains("nothing was applied"), "{fault:?}");
        assert_eq!(lab.policy_names(), ["default/web"]);
        client.reaches(&a, tcp(80));
        client.reaches_not(&a, tcp(81));
    }
    let complaint = lab.netctl_with(&["policy", "apply", "-f", "-"], &[], &too_large).expect_failed(1);
    assert!(complaint.contains("rule entries, and 131072 fit") && complaint.contains("\nhint: "), "{complaint}");
    lab.netd().restart();
    client.reaches(&a, tcp(80));
    client.reaches_not(&a, tcp(81));
    lab.applies(&fine);
    client.reaches(&a, tcp(81));
    lab.ends_clean();
}

#[test]
fn what_contradicts_and_overlaps_adds_up_in_whatever_order_it_comes() {
    let lab = Lab::new();
    let net = lab.new_network("web").subnet("10.77.0.0/24").subnet("fd00:77::/64").made();
    let a = lab.new_container("a").on(&net).label("app", "server").made().listens(80).listens(81).listens_udp(53);
    let friend = lab.new_container("friend").on(&net).label("role", "friend").address("10.77.0.20").address("fd00:77::20").made();
    let stranger = lab.new_container("stranger").on(&net).address("10.77.0.99").address("fd00:77::99").made();
    let block =
        |v4, v6| format!("{{ipBlock: {{cidr: 10.77.0.0/24, except: [{v4}]}}}}, {{ipBlock: {{cidr: 'fd00:77::/64', except: ['{v6}']}}}}");
    let policies = [
        // Nobody; friends by their label; all but the friend by address; a few of these ports once more, and again with the stranger left out.
        about_servers("default/nobody", ""),
        about_servers("default/friends", "{from: [{podSelector: {matchLabels: {role: friend}}}], ports: [{port: 80}]}"),
        about_servers(
            "default/not-the-friend",
            &format!("{{from: [{}], ports: [{{port: 80, endPort: 81}}]}}", block("10.77.0.20/32", "fd00:77::20/128")),
        ),
        about_servers(
            "default/not-the-stranger",
            &format!("{{from: [{}], ports: [{{port: 81}}]}}", block("10.77.0.96/28", "fd00:77::90/124")),
        ),
    ];
    let mut order = [0, 1, 2, 3];
    for _ in 0..order.len() {
        order.rotate_left(1);
        order.iter().for_each(|at| drop(lab.applies(&policies[*at])));
        for who in [&friend, &stranger] {
            who.reaches(&a, tcp(80));
            who.reaches(&a, tcp(81));
            who.reaches_not(&a, udp(53));
        }
        // What is left says what it says alone.
        lab.withdraws_policy("default/not-the-friend");
        friend.reaches(&a, tcp(80));
        friend.reaches(&a, tcp(81));
        stranger.reaches_not(&a, tcp(80));
        stranger.reaches_not(&a, tcp(81));
        lab.withdraws_policy("default/not-the-stranger");
        friend.reaches_not(&a, tcp(81));
        lab.withdraws_policy("default/friends");
        friend.reaches_not(&a, tcp(80));
        lab.withdraws_policy("default/nobody");
        stranger.reaches(&a, udp(53));
    }
    // All in one file, and nobody at the end of it.
    lab.applies(&documents([&policies[3], &policies[2], &policies[1], &policies[0]].map(String::as_str)));
    [&friend, &stranger].iter().for_each(|who| who.reaches(&a, tcp(80)));
    lab.ends_clean();
}
