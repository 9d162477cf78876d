//! CHECK looks into the kernel: whatever of an attachment is missing or different is named, and is well again when netd has mended it.

use lab::{
    Lab,
    cni::{Conflist, Interface, Sandbox},
    wait::{PATIENCE, meanwhile, poll},
    within,
};
use serde_json::{Value, json};

/// The full check, which mends what nobody tells netd of, comes every 30 s.
const AT_THE_CHECK: std::time::Duration = std::time::Duration::from_secs(50);

/// A container with all there can be.
struct Scene<'lab> {
    lab: &'lab Lab,
    list: Conflist,
    a: Sandbox<'lab>,
    wish: Interface<'lab>,
}

impl<'lab> Scene<'lab> {
    fn set(lab: &'lab Lab, list: Conflist) -> Self {
        let a = lab.cni().sandbox("a");
        let wish = a.eth0().port(8080, 80, "tcp");
        wish.joins(&list);
        wish.is_well(&list);
        Self { lab, list, a, wish }
    }

    fn veth(&self) -> String {
        self.lab.container("a").inspect().attachments[0].host_ifname.to_string()
    }

    /// Breaks something again and again, for netd may mend it faster than a plugin starts, until CHECK names it.
    #[track_caller]
    fn names(&self, word: &str, breaks: impl Fn() + Sync) {
        let refusal = meanwhile(breaks, || {
            poll(PATIENCE, || self.wish.checks(&self.list).err().filter(|refusal| refusal.to_string().contains(word)))
        });
        refusal.unwrap_or_else(|| panic!("CHECK does not name {word}")).of_our_own();
    }

    /// Breaks what netd is told of: CHECK names it or netd was faster, and soon all is well.
    #[track_caller]
    fn mends(&self, program: &str, arguments: &[&str]) {
        self.lab.here().run(program, arguments);
        self.is_well_again(&format!("after `{program} {}`", arguments.join(" ")));
    }

    #[track_caller]
    fn is_well_again(&self, what: &str) {
        within(AT_THE_CHECK, &format!("CHECK finds nothing {what}"), || self.wish.checks(&self.list).ok());
    }

    fn ends(self) {
        self.a.leaves(&self.list);
        self.a.ends();
        self.lab.ends_clean();
    }
}

#[test]
fn what_is_broken_inside_the_container_is_named_and_mended() {
    let lab = Lab::new();
    let scene = Scene::set(&lab, Conflist::dual("web"));
    let net = |family: usize| scene.lab.container("a").inspect().attachments[0].addresses[family].to_string();
    let (v4, v6) = (net(0), net(1));
    let a = &scene.a;
    scene.names("default", || drop(a.run("ip", &["route", "flush", "default"])));
    scene.names(v4.split('/').next().unwrap(), || drop(a.run("ip", &["-4", "address", "flush", "dev", "eth0", "scope", "global"])));
    scene.names(v6.split('/').next().unwrap(), || drop(a.run("ip", &["-6", "address", "flush", "dev", "eth0", "scope", "global"])));
    scene.names("eth0", || drop(a.run("ip", &["link", "set", "eth0", "down"])));
    scene.is_well_again("when all of it is back");
    scene.ends();
}

#[test]
fn a_lost_interface_is_named_and_mended() {
    let lab = Lab::new();
    let scene = Scene::set(&lab, Conflist::dual("web"));
    scene.a.run("ip", &["link", "del", "eth0"]);
    scene.is_well_again("when the interface is back");
    scene.mends("ip", &["link", "del", &scene.veth()]);
    scene.ends();
}

#[test]
fn what_is_broken_on_the_host_is_mended_and_then_well() {
    let lab = Lab::new();
    let scene = Scene::set(&lab, Conflist::dual("web").with("bridge", json!("cni0")).with("hairpinMode", json!(true)));
    let veth = scene.veth();
    scene.mends("nft", &["flush", "ruleset"]);
    scene.mends("nft", &["flush", "map", "inet", "netd", "publish4_any"]);
    scene.mends("ip", &["link", "set", &veth, "down"]);
    scene.mends("ip", &["link", "set", &veth, "nomaster"]);
    scene.mends("ip", &["link", "set", "cni0", "down"]);
    scene.mends("ip", &["address", "flush", "dev", "cni0", "scope", "global"]);
    scene.mends("tc", &["qdisc", "del", "dev", &veth, "clsact"]);
    scene.mends("ip", &["link", "del", "cni0"]);
    for name in ["ipv4/conf/cni0/forwarding", "ipv4/conf/cni0/route_localnet", "ipv6/conf/cni0/accept_ra"] {
        let Some(value) = lab.here().sysctl(name) else { continue };
        lab.here().sets(name, if value == "1" { "0" } else { "1" });
        scene.is_well_again(&format!("after {name} was changed"));
    }
    scene.ends();
}

#[test]
fn flags_of_a_bridge_port_are_named_and_mended_at_the_full_check() {
    let lab = Lab::new();
    let scene = Scene::set(&lab, Conflist::dual("web").with("hairpinMode", json!(true)));
    let veth = scene.veth();
    for (flag, value) in [("isolated", "on"), ("hairpin", "off")] {
        scene.names(flag, || drop(lab.here().run("bridge", &["link", "set", "dev", &veth, flag, value])));
    }
    scene.is_well_again("when the flags are back");
    scene.ends();
}

#[test]
fn with_netd_stopped_in_between_what_was_broken_meanwhile_is_mended_at_its_start() {
    let lab = Lab::new();
    let scene = Scene::set(&lab, Conflist::dual("web"));
    let veth = scene.veth();
    lab.netd().stop();
    lab.here().run("ip", &["link", "del", &veth]);
    lab.here().run("nft", &["flush", "ruleset"]);
    lab.netd().start();
    scene.wish.is_well(&scene.list);
    scene.ends();
}

#[test]
fn what_the_runtime_believes_and_what_is_are_compared() {
    let lab = Lab::new();
    let scene = Scene::set(&lab, Conflist::dual("web"));
    let call = scene.wish.runs(&scene.list, "CHECK");
    call.runs().expect_nothing();
    let believed = call.input()["prevResult"].clone();
    let changed = |path: &str, value: Value| {
        let mut result = believed.clone();
        *result.pointer_mut(path).expect("a key of a result") = value;
        call.clone().with("prevResult", result).runs()
    };
    changed("/ips/0/address", json!("10.4.0.99/24")).expect_error(106).naming("10.4.0.99");
    changed("/interfaces/2/mac", json!("02:00:00:00:00:99")).expect_error(106).naming("02:00:00:00:00:99");
    changed("/routes/0/dst", json!("10.77.0.0/16")).expect_error(106).naming("10.77.0.0/16");
    changed("/interfaces/2/name", json!("eth9")).expect_error(7);
    // CHECK needs the result; the specification says so.
    call.clone().with("prevResult", Value::Null).runs().expect_error(7).naming("prevResult");
    scene.ends();
}

#[test]
fn of_a_container_that_nobody_knows_the_runtime_is_told_so() {
    let lab = Lab::new();
    let scene = Scene::set(&lab, Conflist::dual("web"));
    let call = scene.wish.runs(&scene.list, "CHECK");
    call.clone().env("CNI_CONTAINERID", "nobody").runs().expect_error(3).naming("nobody");
    scene.wish.runs(&scene.list, "DEL").runs().expect_nothing();
    call.runs().expect_error(3);
    scene.ends();
}
