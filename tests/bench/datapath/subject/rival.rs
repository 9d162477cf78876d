//! What a path costs without netd: links as `ip` makes them, and rules as nft takes them. Never has a daemon.

use std::{io::Write as _, process::Stdio};

use lab::{Lab, Station};

use crate::datapath::{
    kernel::Program,
    load::{CLIENT, SERVER},
    rules::{Rules, Shape},
};

/// Two namespaces with a veth pair between them.
pub(super) fn veth(lab: &Lab) -> [Station; 2] {
    let ends = ["client", "server"].map(|name| lab.stranger(name));
    lab.host().run("ip", &["link", "add", "eth0", "netns", "client", "type", "veth", "peer", "name", "eth0", "netns", "server"]);
    addressed(&ends);
    ends
}

/// Two namespaces with a bridge between them.
pub(super) fn bridge(lab: &Lab) -> [Station; 2] {
    let ends = ["client", "server"].map(|name| lab.stranger(name));
    let host = lab.host();
    host.run("ip", &["link", "add", "br0", "type", "bridge"]);
    host.run("ip", &["link", "set", "br0", "up"]);
    for name in ["client", "server"] {
        let link = format!("to-{name}");
        host.run("ip", &["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", name]);
        host.run("ip", &["link", "set", &link, "up", "master", "br0"]);
    }
    addressed(&ends);
    ends
}

/// The same with a program that does nothing at both hooks of each link (tcx), where netd has none: to know what the block costs beside them.
pub(super) fn hooked(lab: &Lab) -> [Station; 2] {
    let ends = bridge(lab);
    let program = Program::empty();
    for name in ["client", "server"] {
        lab.host().net().inside(|| program.at_hooks_of(nix::net::if_::if_nametoindex(format!("to-{name}").as_str()).expect("it was made")));
    }
    ends
}

/// The same on a block that the links share (`ret #-1`, TC_ACT_UNSPEC), where netd has its own: the least that any program costs there.
pub(super) fn blocked(lab: &Lab) -> [Station; 2] {
    let ends = bridge(lab);
    for name in ["client", "server"] {
        lab.host().run("tc", &["qdisc", "add", "dev", &format!("to-{name}"), "ingress_block", "21", "egress_block", "22", "clsact"]);
    }
    for block in ["21", "22"] {
        let program = ["bpf", "direct-action", "bytecode", "1,6 0 0 4294967295"];
        lab.host().run("tc", &[&["filter", "add", "block", block, "protocol", "all", "pref", "1"][..], &program].concat());
    }
    ends
}

/// The same with a ruleset. The bridge's own tables cannot tell known connections on every kernel (CONFIG_NF_CONNTRACK_BRIDGE); where they cannot,
/// br_netfilter hands the packets to the tables of IP, which can, as everybody does who filters containers so.
pub(super) fn filtered(lab: &Lab, shape: Shape, rules: Rules) -> [Station; 2] {
    let ends = bridge(lab);
    if !takes(lab, &rules.nft("bridge bench", shape)) {
        lab.bridge_filter("1");
        assert!(takes(lab, &rules.nft("inet bench", shape)), "nft refuses the ruleset");
    }
    ends
}

/// Whether nft takes it; it takes all or nothing.
fn takes(lab: &Lab, ruleset: &str) -> bool {
    let mut nft =
        lab.host().command("nft").args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("nft is installed");
    nft.stdin.take().expect("piped").write_all(ruleset.as_bytes()).expect("nft reads");
    nft.wait().expect("it is our child").success()
}

fn addressed([client, server]: &[Station; 2]) {
    for (station, address) in [(client, CLIENT), (server, SERVER)] {
        station.takes_address(&format!("{address}/24"), "eth0");
        station.run("ip", &["link", "set", "eth0", "up"]);
        station.run("ip", &["link", "set", "lo", "up"]);
    }
}
