//! What is measured: a path between two namespaces, each in a private host of its own, so that nobody's rules slow another down. Never measures it.

mod ours;
mod rival;

use std::process::{Child, Stdio};

use lab::{Lab, Station};

pub(super) use self::ours::on_network;
use super::{
    load::{Ends, Load, STREAM},
    rules::{Rules, Shape},
};

/// What a path is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A veth pair from one namespace to the other.
    Veth,
    /// Two veth pairs and a bridge, as `ip` makes them, and no firewall.
    Bridge,
    /// The same with programs that do nothing on a tc block that both links share.
    Block,
    /// The same with them at the links' own hooks.
    Hooks,
    /// The same with an nft ruleset.
    Nft(Shape, Rules),
    /// A network of netd's. Without rules no policy selects the containers.
    Netd { fast: bool, rules: Option<Rules> },
}

/// See the module.
pub(super) struct Subject {
    pub(super) kind: Kind,
    /// Dropped before the host in which they live.
    _iperf3: Child,
    client: Station,
    server: Station,
    pub(super) lab: Lab,
}

impl Subject {
    pub(super) fn new(kind: Kind) -> Self {
        let lab = Lab::bare();
        lab.bridge_filter("0");
        let [client, server] = match kind {
            Kind::Veth => rival::veth(&lab),
            Kind::Bridge => rival::bridge(&lab),
            Kind::Block => rival::blocked(&lab),
            Kind::Hooks => rival::hooked(&lab),
            Kind::Nft(shape, rules) => rival::filtered(&lab, shape, rules),
            Kind::Netd { fast, rules } => ours::made(&lab, fast, rules),
        };
        let mut iperf3 = lab.host().command_in(server.net(), "iperf3");
        iperf3.args(["-s", "-p", &STREAM.to_string()]).stdin(Stdio::null()).stdout(Stdio::null());
        let iperf3 = iperf3.spawn().expect("iperf3 is installed");
        let subject = Self { kind, _iperf3: iperf3, client, server, lab };
        lab::eventually("iperf3 listens", || {
            let listening = subject.server.run("ss", &["-Hltn", &format!("sport = {STREAM}")]);
            (!listening.is_empty()).then_some(())
        });
        subject
    }

    pub(super) fn measured(&self, load: Load) -> f64 {
        load.measured(&self.ends())
    }

    pub(super) fn ends(&self) -> Ends<'_> {
        Ends { host: self.lab.host(), client: self.client.net(), server: self.server.net() }
    }

    /// Whether nothing will change any more about where its programs stand.
    pub(super) fn is_settled(&self) -> bool {
        if !matches!(self.kind, Kind::Netd { .. }) {
            return true;
        }
        let policy = self.lab.status().policy.expect("eBPF programs run on this kernel");
        policy.own_hooks.is_none_or(|links| links >= 2)
    }

    pub(super) fn name(&self) -> String {
        self.kind.name()
    }
}

impl Kind {
    pub(super) fn name(self) -> String {
        match self {
            Self::Veth => "veth pair".to_owned(),
            Self::Bridge => "bridge".to_owned(),
            Self::Block => "bridge, empty programs, block".to_owned(),
            Self::Hooks => "bridge, empty programs, hooks".to_owned(),
            Self::Nft(shape, Rules(count)) => {
                format!("bridge, nft {}, {count} rules", if shape == Shape::Sets { "sets" } else { "linear" })
            }
            Self::Netd { fast, rules } => {
                let rules = rules.map_or("no policy".to_owned(), |Rules(count)| format!("{count} rules"));
                format!("netd{}, {rules}", if fast { ", fast path" } else { "" })
            }
        }
    }
}
