//! Every table and page against golden texts, from made views. `UPDATE_GOLDEN=1` rewrites them.

mod policy;

use std::{fs, path::Path};

use netd_api::{
    addr::Family,
    names::ContainerName,
    publish::{PortRange, Protocol},
    spec::{Driver, Guard, Labels, NamedPort},
    view::*,
};

use super::*;

#[track_caller]
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs; UPDATE_GOLDEN=1 rewrites it", path.display());
}

#[track_caller]
fn shown(name: &str, reply: &Reply, show: Show) {
    golden(name, &text(&Request::Status, reply, show, Paint::Plain));
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| (parsed(key), parsed(value))).collect()
}

fn web_network() -> NetworkView {
    NetworkView {
        name: parsed("web"),
        driver: Driver::Bridge,
        bridge: parsed("nd-8f3a02c1"),
        mtu: 1500,
        internal: false,
        routed: vec![Family::V6],
        masquerade: true,
        icc: true,
        cni: false,
        subnets: vec![
            SubnetView {
                subnet: parsed("10.4.0.0/24"),
                gateway: Some(parsed("10.4.0.1")),
                ip_range: parsed("10.4.0.128/25"),
                excludes: vec![parsed("10.4.0.130/32"), parsed("10.4.0.192/28")],
                used: 2,
                free: 107,
            },
            SubnetView {
                subnet: parsed("fd00:4::/64"),
                gateway: Some(parsed("fd00:4::1")),
                ip_range: parsed("fd00:4::/64"),
                excludes: Vec::new(),
                used: 2,
                free: u64::MAX,
            },
        ],
        labels: labels(&[("tier", "front"), ("example.com/owner", "ops")]),
        containers: vec![
            MemberView {
                container: parsed("front"),
                ifname: parsed("eth0"),
                addresses: vec![parsed("10.4.0.128/24"), parsed("fd00:4::2/64")],
                mac: parsed("02:6e:64:00:00:01"),
            },
            MemberView {
                container: parsed("team/api"),
                ifname: parsed("eth1"),
                addresses: vec![parsed("10.4.0.129/24"), parsed("fd00:4::3/64")],
                mac: parsed("02:6e:64:00:00:02"),
            },
        ],
    }
}

fn inner_network() -> NetworkView {
    NetworkView {
        name: parsed("inner"),
        bridge: parsed("nd-00c1"),
        internal: true,
        routed: Vec::new(),
        icc: false,
        subnets: vec![SubnetView {
            subnet: parsed("10.5.0.0/31"),
            gateway: None,
            ip_range: parsed("10.5.0.0/31"),
            excludes: Vec::new(),
            used: 0,
            free: 2,
        }],
        labels: Labels::new(),
        containers: Vec::new(),
        ..web_network()
    }
}

fn ports() -> Vec<PortView> {
    let container: ContainerName = parsed("front");
    let port = PortView {
        container,
        address: None,
        host: PortRange::one(8080),
        target: PortRange::one(80),
        protocol: Protocol::Tcp,
        targets: vec![parsed("10.4.0.128"), parsed("fd00:4::2")],
        state: PortState::Active,
        note: String::new(),
    };
    vec![
        port.clone(),
        PortView {
            address: Some(parsed("fd00::1")),
            host: PortRange { first: 8000, last: 8009 },
            target: PortRange { first: 80, last: 89 },
            protocol: Protocol::Udp,
            targets: vec![parsed("fd00:4::2")],
            state: PortState::Degraded,
            note: "nginx (process 812) took it while netd was away".to_owned(),
            ..port.clone()
        },
        PortView {
            address: Some(parsed("127.0.0.1")),
            targets: Vec::new(),
            state: PortState::Waiting,
            note: "its container is absent".to_owned(),
            ..port
        },
    ]
}

fn front() -> ContainerView {
    let attachment = AttachmentView {
        network: parsed("web"),
        ifname: parsed("eth0"),
        host_ifname: parsed("ndv41d0a7c2"),
        mac: parsed("02:6e:64:00:00:01"),
        addresses: vec![parsed("10.4.0.128/24"), parsed("fd00:4::2/64")],
        gateways: vec![parsed("10.4.0.1"), parsed("fd00:4::1")],
        cni: None,
        bandwidth: None,
        aliases: Vec::new(),
        counters: Some(Counters {
            from: Traffic { packets: 12, bytes: 1804, segments: 12 },
            to: Traffic { packets: 9, bytes: 81_234_567, segments: 53_420 },
        }),
        reasons: Vec::new(),
    };
    let reason = |direction: &str, verdict: &str, reason: &str, packets| ReasonView {
        direction: direction.to_owned(),
        verdict: verdict.to_owned(),
        reason: reason.to_owned(),
        counted: Traffic { packets, bytes: packets * 60, segments: packets },
    };
    let reasons = vec![
        reason("from", "drop", "source address", 3),
        reason("to", "reject", "policy", 14),
        reason("to", "audit", "policy", 1),
        reason("to", "made", "reset", 14),
    ];
    ContainerView {
        id: parsed("front"),
        name: parsed("front"),
        namespace: parsed("default"),
        kind: Kind::Made,
        state: Presence::Running,
        netns: "/run/netns/front".to_owned(),
        cgroup: None,
        labels: labels(&[("tier", "front")]),
        port_names: [
            ("http".to_owned(), NamedPort { port: 80, protocol: Protocol::Tcp }),
            ("dns".to_owned(), NamedPort { port: 53, protocol: Protocol::Udp }),
        ]
        .into(),
        allow_addresses: vec![parsed("10.9.0.0/24"), parsed("fd00:9::1/128")],
        guard: Guard::On,
        policies: [("ingress".to_owned(), vec![parsed("default/front"), parsed("default/deny-all")])].into(),
        attachments: vec![
            AttachmentView { reasons, ..attachment.clone() },
            AttachmentView {
                network: parsed("inner"),
                ifname: parsed("eth1"),
                host_ifname: parsed("ndv00f1"),
                mac: parsed("02:6e:64:00:00:09"),
                addresses: vec![parsed("10.5.0.0/31")],
                gateways: Vec::new(),
                ..attachment
            },
        ],
        ports: ports(),
    }
}

fn api() -> ContainerView {
    ContainerView {
        id: parsed("4f2a"),
        name: parsed("team/api"),
        namespace: parsed("team"),
        kind: Kind::Adopted,
        state: Presence::Absent,
        netns: "/proc/812/ns/net".to_owned(),
        cgroup: None,
        labels: Labels::new(),
        port_names: Default::default(),
        allow_addresses: Vec::new(),
        guard: Guard::Off,
        policies: Default::default(),
        attachments: Vec::new(),
        ports: Vec::new(),
    }
}

fn status() -> Status {
    let feature = |name: &str, on, note: &str| Feature { name: name.to_owned(), on, note: note.to_owned() };
    Status {
        version: "0.1.0".to_owned(),
        pid: 4711,
        uptime_s: 93_784,
        kernel: "6.18.2".to_owned(),
        features: vec![
            feature("clsact", true, "counts the packets of each attachment"),
            feature("sctp sockets", false, "published SCTP ports are not reserved"),
        ],
        networks: 2,
        containers: 2,
        attachments: 3,
        ports: 3,
        uplinks: vec![parsed("eth0"), parsed("wlan0")],
        reconcile: Some(Reconcile { reason: "timer".to_owned(), ago_s: 12, took_ms: 1.25, done: 0, failed: Vec::new() }),
        drift_repaired: 0,
        policy: Some(PolicyStatus {
            policies: 12,
            audit: vec![parsed("default/trial"), parsed("baseline")],
            default: "allow".to_owned(),
            fast_path: true,
            own_hooks: Some(1),
            tables: [("flows", 120, 65_536), ("new flows", 14_000, 16_384), ("rules", 4096, 4096), ("none", 0, 0)]
                .map(|(name, used, of)| Fill { name: name.to_owned(), used, of })
                .into(),
            events: [("flow table full".to_owned(), 7), ("ring full".to_owned(), 0)].into(),
        }),
        degraded: Vec::new(),
    }
}

#[test]
fn networks() {
    shown("networks.txt", &Reply::Networks(vec![web_network(), inner_network()]), Show::Table);
    shown("networks-none.txt", &Reply::Networks(Vec::new()), Show::Table);
    shown("networks-brief.txt", &Reply::Networks(vec![web_network(), inner_network()]), Show::Brief);
    shown("network.txt", &Reply::Network(Box::new(web_network())), Show::Detail);
    shown("network-empty.txt", &Reply::Network(Box::new(inner_network())), Show::Detail);
}

#[test]
fn reach_in_words() {
    let reach = |routed: &[Family], masquerade, subnets: &[&str]| {
        let of = |subnet: &&str| SubnetView { subnet: parsed(subnet), ..web_network().subnets[0].clone() };
        let network = NetworkView { routed: routed.to_vec(), masquerade, subnets: subnets.iter().map(of).collect(), ..web_network() };
        let table = network::rows(&[network], Paint::Plain);
        table.lines().nth(1).unwrap().split("   ").filter(|part| !part.is_empty()).nth(3).unwrap().trim().to_owned()
    };
    let (v4, v6) = ("10.4.0.0/24", "fd00:4::/64");
    assert_eq!(reach(&[], true, &[v4]), "masqueraded");
    assert_eq!(reach(&[], false, &[v4, v6]), "unmasqueraded");
    assert_eq!(reach(&Family::BOTH, true, &[v4, v6]), "routed");
    assert_eq!(reach(&[Family::V6], true, &[v6]), "routed");
    assert_eq!(reach(&[Family::V6], true, &[v4]), "masqueraded");
}

#[test]
fn containers() {
    shown("containers.txt", &Reply::Containers(vec![front(), api()]), Show::Table);
    shown("containers-brief.txt", &Reply::Containers(vec![front(), api()]), Show::Brief);
    shown("container.txt", &Reply::Container(Box::new(front())), Show::Detail);
    shown("container-bare.txt", &Reply::Container(Box::new(api())), Show::Detail);
    shown("container-made.txt", &Reply::Container(Box::new(front())), Show::Brief);
    let mut uncounted = front();
    uncounted.attachments.iter_mut().for_each(|attachment| attachment.counters = None);
    let page = text(&Request::Status, &Reply::Container(Box::new(uncounted)), Show::Detail, Paint::Plain);
    assert!(page.contains("\npackets are not counted (see netctl status)\n"), "{page}");
}

#[test]
fn published_ports() {
    shown("ports.txt", &Reply::Ports(ports()), Show::Table);
    shown("ports-brief.txt", &Reply::Ports(ports()), Show::Brief);
    assert_eq!(notes(&Reply::Ports(ports())), notes(&Reply::Container(Box::new(front()))));
    let expected = [
        "[fd00::1]:8000-8009/udp is degraded: nginx (process 812) took it while netd was away",
        "127.0.0.1:8080/tcp is waiting: its container is absent",
    ];
    assert_eq!(notes(&Reply::Ports(ports())), expected);
}

#[test]
fn the_daemons_health() {
    shown("status.txt", &Reply::Status(Box::new(status())), Show::Detail);
    let mut ill = status();
    ill.uptime_s = 61;
    ill.policy = None;
    ill.reconcile.as_mut().unwrap().failed = vec!["ip link add nd-web type bridge: Operation not permitted (EPERM)".to_owned()];
    ill.degraded = vec![Trouble {
        what: "chain FORWARD of table ip filter drops packets of our networks".to_owned(),
        hint: "iptables -I DOCKER-USER -i nd-+ -j ACCEPT".to_owned(),
    }];
    shown("status-degraded.txt", &Reply::Status(Box::new(ill)), Show::Detail);
    let mut quiet = status();
    quiet.policy = Some(PolicyStatus { default: "deny".to_owned(), ..PolicyStatus::default() });
    let page = text(&Request::Status, &Reply::Status(Box::new(quiet)), Show::Detail, Paint::Plain);
    assert!(
        page.ends_with(
            "\n\nOnly in audit:        none\nWhere none selects:   deny\nFast path:            off\nAt own hooks:         off\n"
        ),
        "{page}"
    );
}

#[test]
fn plans_removals_and_cleanups() {
    let plan = |ops: &[&str]| Reply::Plan(PlanView { ops: ops.iter().map(|op| (*op).to_owned()).collect() });
    shown("plan.txt", &plan(&["ip link add nd-web type bridge", "ip link set nd-web up"]), Show::Detail);
    assert_eq!(text(&Request::Plan, &plan(&[]), Show::Detail, Paint::Plain), "nothing to do\n");
    assert_eq!(text(&Request::RemoveContainer(parsed("team/api")), &Reply::Removed, Show::Brief, Paint::Plain), "team/api\n");
    let cleanup = |removed| Reply::Cleanup(Cleanup { removed, failed: Vec::new() });
    assert_eq!(text(&Request::Cleanup, &cleanup(1), Show::Detail, Paint::Plain), "removed 1 kernel object\n");
    assert_eq!(text(&Request::Cleanup, &cleanup(12), Show::Detail, Paint::Plain), "removed 12 kernel objects\n");
    assert_eq!(text(&Request::Status, &Reply::Container(Box::new(front())), Show::Quiet, Paint::Plain), "");
}

#[test]
fn json_is_the_view_itself() {
    let answers = [(Request::Container(parsed("front")), Reply::Container(Box::new(front())))];
    let text = json(&answers).unwrap();
    golden("container.json", &text);
    assert_eq!(serde_json::from_str::<ContainerView>(&text).unwrap(), front());
    let answers = [(Request::Networks, Reply::Networks(vec![inner_network()]))];
    assert_eq!(serde_json::from_str::<Vec<NetworkView>>(&json(&answers).unwrap()).unwrap(), [inner_network()]);
}

#[test]
fn removals_are_one_json_document() {
    let answers = [(Request::RemoveNetwork(parsed("web")), Reply::Removed), (Request::RemoveNetwork(parsed("db")), Reply::Removed)];
    let value: serde_json::Value = serde_json::from_str(&json(&answers).unwrap()).unwrap();
    assert_eq!(value, serde_json::json!({ "removed": ["web", "db"] }));
}

#[test]
fn colours_are_for_states_only_and_change_no_width() {
    let reply = Reply::Ports(ports());
    let painted = text(&Request::Status, &reply, Show::Table, Paint::Colour);
    assert!(painted.contains("\u{1b}["), "{painted}");
    let mut bare = String::new();
    let mut rest = painted.as_str();
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        bare.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    bare.push_str(rest);
    let trimmed: String = bare.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    assert_eq!(trimmed, text(&Request::Status, &reply, Show::Table, Paint::Plain));
}
