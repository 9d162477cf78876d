//! Conditions that a story sets on its host: the bridge filter, netd's configuration, the resolver, a crowded bridge. Never netd's own doing.

use std::{io::Write, process::Stdio};

use crate::{Lab, Station};

/// The first name of the links that crowd a bridge.
const CROWD: &str = "crowd";

impl Lab {
    /// Whether bridges hand their packets to the firewall (br_netfilter): "0" or "1", for both families.
    pub fn bridge_filter(&self, value: &str) {
        for key in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"] {
            let name = format!("bridge/{key}");
            // Without the module there is nothing to switch off; to switch it on it must be there.
            if value != "0" || self.here().sysctl(&name).is_some() {
                self.here().sets(&name, value);
            }
        }
    }

    /// With netd running, and bridges that hand no packet to the firewall: what is sent on a network is what arrives there.
    #[track_caller]
    pub fn unfiltered() -> Self {
        let lab = Self::bare();
        lab.bridge_filter("0");
        lab.starts();
        lab
    }

    /// What stands in netd's configuration, /etc/netd/netd.toml, when it starts next.
    pub fn configures(&self, text: &str) {
        std::fs::write(self.host().path("/etc/netd/netd.toml"), text).expect("the private host's /etc/netd can be written");
    }

    /// A station behind another interface of the host, `vpn0` with 198.51.100.1/24, as a VPN or a virtual machine would be; it is 198.51.100.2.
    pub fn neighbour(&self) -> Station {
        let neighbour = self.stranger("neighbour");
        self.here().run("ip", &["link", "add", "vpn0", "type", "veth", "peer", "name", "eth0", "netns", "neighbour"]);
        self.here().run("ip", &["link", "set", "vpn0", "up"]);
        self.here().takes_address("198.51.100.1/24", "vpn0");
        neighbour.run("ip", &["link", "set", "eth0", "up"]);
        neighbour.takes_address("198.51.100.2/24", "eth0").routes("default", "198.51.100.1");
        neighbour
    }

    /// Takes the neighbour away.
    pub fn neighbour_leaves(&self) {
        self.here().run("ip", &["link", "del", "vpn0"]);
        self.here().run("ip", &["netns", "del", "neighbour"]);
    }

    /// Names the host's resolver.
    pub fn resolves_with(&self, server: &str) {
        self.host().resolves_with(server);
    }

    /// Fills a bridge with links that are not netd's, up to `ports`.
    pub fn fills_bridge(&self, bridge: &str, ports: usize) {
        let there = self.here().run("ip", &["-brief", "link", "show", "master", bridge]).lines().count();
        let pairs = ports - there;
        let adds = (0..pairs).map(|n| format!("link add {CROWD}{n} group 7 master {bridge} type veth peer name {CROWD}x{n} group 7\n"));
        self.batch(&adds.collect::<String>());
    }

    /// Takes away what [`Lab::fills_bridge`] made.
    pub fn empties_bridge(&self) {
        self.here().run("ip", &["link", "del", "group", "7"]);
    }

    /// The names of netd's chains, sets or maps.
    pub fn nft_names(&self, kind: &str) -> Vec<String> {
        let ruleset = self.nft();
        let named = ruleset.lines().filter_map(|line| line.trim().strip_prefix(kind)?.strip_prefix(' ')?.strip_suffix(" {"));
        named.map(str::to_owned).collect()
    }

    fn batch(&self, lines: &str) {
        let mut command = self.host().command("ip");
        let mut child = command.args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("ip can be started");
        child.stdin.take().expect("a pipe was asked for").write_all(lines.as_bytes()).expect("ip reads its batch");
        assert!(child.wait().expect("it is our child").success(), "a batch of ip failed");
    }
}
