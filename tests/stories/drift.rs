//! Whatever somebody else changes about netd's objects is mended within a second, counted, and told apart from what netd does itself.

use std::time::Duration;

use lab::{Container, HOST_V4, HOST_V6, Lab, Network, UPLINK, within};
use netd_api::addr::Family;

/// A second, and room for a machine that is busy with other stories; far below the 30 seconds of the full check, which would mend it too.
const SOON: Duration = Duration::from_secs(6);
/// The full check comes every 30 s.
const AT_THE_CHECK: Duration = Duration::from_secs(50);

/// A host with all there can be: a network, two containers, a published port.
struct Scene<'lab> {
    lab: &'lab Lab,
    net: Network<'lab>,
    a: Container<'lab>,
    b: Container<'lab>,
    nft: String,
}

impl<'lab> Scene<'lab> {
    fn set(lab: &'lab Lab) -> Self {
        let net = lab.new_network("web").dual().made();
        let a = net.container("a").listens(80);
        let b = net.container("b");
        a.publishes("8080:80");
        lab.new_network("vault").dual().internal().made();
        let scene = Self { lab, net, a, b, nft: lab.nft() };
        scene.expect_whole();
        scene
    }

    /// Everything works, and nothing is to be mended.
    #[track_caller]
    fn expect_whole(&self) {
        for host in [HOST_V4, HOST_V6] {
            self.lab.outside().fetches((host, 8080)).expect_from(&self.a);
        }
        self.b.fetches(self.a.v4(80)).expect_from(&self.a);
        self.b.fetches(self.a.v6(80)).expect_from(&self.a);
        assert_eq!(self.lab.nft(), self.nft);
    }

    /// Breaks something by a program on the host, and expects it to be mended soon.
    #[track_caller]
    fn mends(&self, program: &str, arguments: &[&str]) {
        self.mends_after(SOON, &format!("{program} {}", arguments.join(" ")), || {
            self.lab.here().run(program, arguments);
        });
    }

    #[track_caller]
    fn mends_after(&self, limit: Duration, what: &str, breaks: impl FnOnce()) {
        let before = self.lab.status().drift_repaired;
        breaks();
        within(limit, &format!("`{what}` is mended and counted"), || {
            (self.lab.status().drift_repaired > before && self.lab.plan().is_empty()).then_some(())
        });
        self.expect_whole();
    }

    fn veth(&self) -> String {
        self.a.attachment(&self.net).host_ifname.to_string()
    }
}

#[test]
fn a_flushed_ruleset_and_a_deleted_table_come_back() {
    let lab = Lab::new();
    let scene = Scene::set(&lab);
    scene.mends("nft", &["flush", "ruleset"]);
    scene.mends("nft", &["delete", "table", "inet", "netd"]);
    lab.ends_clean();
}

#[test]
fn each_flushed_chain_comes_back_and_rules_of_others_in_our_chains_go() {
    let lab = Lab::new();
    let scene = Scene::set(&lab);
    let chains = lab.nft_names("chain");
    assert!(chains.len() > 3, "{chains:?}");
    for chain in &chains {
        scene.mends("nft", &["flush", "chain", "inet", "netd", chain]);
    }
    scene.mends("nft", &["add", "rule", "inet", "netd", &chains[0], "drop"]);
    lab.ends_clean();
}

#[test]
fn each_lost_element_comes_back_and_strange_ones_go() {
    let lab = Lab::new();
    let scene = Scene::set(&lab);
    let mut flushed = 0;
    for kind in ["set", "map"] {
        for name in lab.nft_names(kind) {
            if lab.here().run("nft", &["list", kind, "inet", "netd", &name]).contains("elements") {
                scene.mends("nft", &["flush", kind, "inet", "netd", &name]);
                flushed += 1;
            }
        }
    }
    assert!(flushed > 4, "a network and a port are elements of several sets and maps");
    scene.mends("nft", &["delete", "element", "inet", "netd", "publish4_any", "{ tcp . 8080 }"]);
    scene.mends("nft", &["add", "element", "inet", "netd", "publish4_any", "{ tcp . 8081 : 10.1.2.3 . 80 }"]);
    lab.ends_clean();
}

#[test]
fn deleted_changed_and_fallen_links_come_back() {
    let lab = Lab::new();
    let scene = Scene::set(&lab);
    let (bridge, veth) = (scene.net.bridge(), scene.veth());
    scene.mends("ip", &["link", "set", &bridge, "down"]);
    scene.mends("ip", &["link", "set", &veth, "down"]);
    scene.mends("ip", &["link", "set", &veth, "nomaster"]);
    scene.mends("ip", &["link", "set", &veth, "mtu", "1280"]);
    scene.mends("ip", &["link", "set", &bridge, "address", "02:00:00:00:00:99"]);
    scene.mends("bridge", &["link", "set", "dev", &veth, "isolated", "on"]);
    scene.mends("ip", &["link", "del", &veth]);
    scene.mends("ip", &["link", "del", &bridge]);
    lab.ends_clean_uncounted();
}

#[test]
fn a_lost_address_of_a_bridge_comes_back() {
    let lab = Lab::new();
    let scene = Scene::set(&lab);
    let bridge = scene.net.bridge();
    for family in Family::BOTH {
        let prefix = scene.net.subnet(family).net().prefix_len();
        scene.mends("ip", &["address", "del", &format!("{}/{prefix}", scene.net.gateway(family)), "dev", &bridge]);
    }
    scene.mends("ip", &["address", "flush", "dev", &bridge, "scope", "global"]);
    lab.ends_clean();
}

#[test]
fn what_is_broken_inside_a_container_is_mended_at_the_next_full_check() {
    let lab = Lab::new();
    let scene = Scene::set(&lab);
    lab.outside().serves(90);
    scene.mends_after(AT_THE_CHECK, "addresses and routes of a container", || {
        scene.a.run("ip", &["route", "del", "default"]);
        scene.a.run("ip", &["-6", "route", "del", "default"]);
        scene.b.run("ip", &["address", "flush", "dev", "eth0", "scope", "global"]);
    });
    for outside in [lab::OUTSIDE_V4, lab::OUTSIDE_V6] {
        scene.a.fetches((outside, 90)).expect_from(lab.outside());
        scene.b.fetches((outside, 90)).expect_from(lab.outside());
    }
    scene.mends_after(AT_THE_CHECK, "a container's interface that is down", || {
        scene.b.run("ip", &["link", "set", "eth0", "down"]);
    });
    scene.b.fetches((lab::OUTSIDE_V4, 90)).expect_from(lab.outside());
    lab.ends_clean();
}

#[test]
fn deleted_qdiscs_and_filters_come_back() {
    let lab = Lab::new();
    let scene = Scene::set(&lab);
    let veth = scene.veth();
    let qdisc = lab.here().run("tc", &["qdisc", "show", "dev", &veth]);
    for direction in ["ingress", "egress"] {
        let block = block(&qdisc, direction);
        scene.mends("tc", &["filter", "del", "block", &block]);
        assert!(lab.here().run("tc", &["filter", "show", "block", &block]).contains("bpf"));
    }
    scene.mends("tc", &["qdisc", "del", "dev", &veth, "clsact"]);
    scene.mends("ip", &["link", "del", "nd-anchor"]);
    let before = scene.a.attachment(&scene.net).counters.expect("the program counts");
    scene.b.fetches(scene.a.v4(80)).expect_from(&scene.a);
    let after = scene.a.attachment(&scene.net).counters.expect("the program counts");
    assert!(after.to.packets > before.to.packets);
    lab.ends_clean_uncounted();
}

/// The number of a shared block, out of `tc qdisc show`.
fn block(qdisc: &str, direction: &str) -> String {
    let mut words = qdisc.split_whitespace();
    words.find(|word| *word == format!("{direction}_block"));
    words.next().unwrap_or_else(|| panic!("no {direction}_block in {qdisc:?}")).to_owned()
}

#[test]
fn changed_sysctls_are_set_back() {
    let lab = Lab::new();
    let scene = Scene::set(&lab);
    let bridge = scene.net.bridge();
    let mut changed = 0;
    for name in [
        format!("ipv4/conf/{bridge}/forwarding"),
        format!("ipv4/conf/{UPLINK}/forwarding"),
        format!("ipv4/conf/{bridge}/route_localnet"),
        format!("ipv4/conf/{UPLINK}/route_localnet"),
        format!("ipv4/conf/{bridge}/rp_filter"),
        format!("ipv6/conf/{bridge}/disable_ipv6"),
        format!("ipv6/conf/{bridge}/forwarding"),
        format!("ipv6/conf/{bridge}/force_forwarding"),
        format!("ipv6/conf/{UPLINK}/force_forwarding"),
        format!("ipv6/conf/{bridge}/accept_ra"),
    ] {
        let Some(value) = lab.here().sysctl(&name) else { continue };
        // Only those that netd set itself; the default is what a new interface has.
        let (family, rest) = name.split_once("/conf/").expect("a name of the list");
        let key = rest.rsplit('/').next().expect("a name of the list");
        if lab.here().sysctl(&format!("{family}/conf/default/{key}")).as_ref() == Some(&value) {
            continue;
        }
        let other = if value == "1" { "0" } else { "1" };
        scene.mends_after(SOON, &format!("{name}={other}"), || {
            lab.here().sets(&name, other);
        });
        assert_eq!(lab.here().sysctl(&name), Some(value), "{name}");
        changed += 1;
    }
    assert!(changed >= 3, "netd sets sysctls of its bridges and uplinks");
    lab.ends_clean();
}

#[test]
fn sysctls_of_a_bridge_that_came_back_are_set_back() {
    let lab = Lab::new();
    let scene = Scene::set(&lab);
    let bridge = scene.net.bridge();
    let name = format!("ipv4/conf/{bridge}/route_localnet");
    for _ in 0..2 {
        scene.mends("ip", &["link", "del", &bridge]);
        scene.mends_after(SOON, &format!("{name}=0"), || {
            lab.here().sets(&name, "0");
        });
    }
    lab.ends_clean();
}

#[test]
fn what_netd_does_itself_is_no_drift() {
    let lab = Lab::new();
    let net = lab.network("web");
    for round in 0..5 {
        let c = net.container(&format!("c{round}"));
        c.publishes("8080:80");
        c.withdraws("8080:80");
        if round % 2 == 0 {
            c.removed();
        }
    }
    assert_eq!(lab.status().drift_repaired, 0);
    assert!(lab.status().degraded.is_empty(), "{:?}", lab.status().degraded);
    lab.ends_clean();
}

#[test]
fn repair_cuts_no_connection() {
    let lab = Lab::new();
    let scene = Scene::set(&lab);
    // A flushed ruleset is another matter: without any NAT chain the kernel translates nothing, and the host itself resets what talks then.
    let streams = [lab.outside().streams((HOST_V4, 8080)), lab.outside().streams((HOST_V6, 8080)), scene.b.streams(scene.a.v4(80))];
    scene.mends("nft", &["flush", "map", "inet", "netd", "publish4_any"]);
    scene.mends("nft", &["flush", "chain", "inet", "netd", "forward"]);
    scene.mends("ip", &["link", "set", &scene.veth(), "down"]);
    scene.mends("tc", &["qdisc", "del", "dev", &scene.veth(), "clsact"]);
    streams.iter().for_each(lab::stream::Stream::expect_flowing);
    drop(streams);
    lab.ends_clean_uncounted();
}

#[test]
fn a_foreign_drop_on_our_path_is_named_with_what_mends_it() {
    let lab = Lab::new();
    let scene = Scene::set(&lab);
    lab.here().run("nft", &["add", "table", "inet", "strict"]);
    lab.here().run("nft", &["add", "chain", "inet", "strict", "sieve", "{ type filter hook forward priority 10; policy drop; }"]);
    let trouble = within(SOON, "the foreign drop is named", || {
        let mut all = lab.status().degraded.into_iter();
        all.find(|trouble| trouble.what.contains("strict") && trouble.what.contains("sieve"))
    });
    assert!(trouble.hint.contains("nft"), "{trouble:?}");
    assert!(lab.nft().contains("policy drop"), "netd touches no chain of others");
    lab.here().run("nft", &["delete", "table", "inet", "strict"]);
    within(SOON, "the foreign drop is forgotten", || lab.status().degraded.is_empty().then_some(()));
    scene.expect_whole();
    lab.ends_clean();
}
