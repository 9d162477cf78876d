//! Every connection that can be tried between nine containers and to the outside, under many policies, against what Kubernetes' documentation
//! says of it.

mod usual;

use std::{net::IpAddr, net::SocketAddr, time::Instant};

use lab::{
    Container, Lab, Network, OUTSIDE_V4, OUTSIDE_V6, Station,
    network::parsed,
    policy::{
        chance::{Chance, Words},
        evaluator::{Attempt, End, allows},
        model::{Cidr, Label, Namespaces, Pod, Policy, Protocol},
        probe::{Got, Probe, SOON, try_all},
        responder::Responder,
        yaml,
    },
    wait::PATIENCE,
};
use netd_api::{addr::Family, publish};

use crate::fast_path::{LONG, SHORT};

/// What the random policies are made from; `NETD_POLICY_SEED` takes another.
const SEED: u64 = 0x6e65_7464_0004;
/// How many times policies are made up.
const ROUNDS: usize = 15;
/// The ports on which everybody answers.
const PORTS: [u16; 2] = [80, 81];
const NAMESPACES: [&str; 3] = ["red", "green", "blue"];
const APPS: [&str; 3] = ["web", "db", "job"];

/// Containers of three namespaces, all on two networks; and all the connections that are tried.
struct Table<'lab> {
    lab: &'lab Lab,
    networks: [Network<'lab>; 2],
    namespaces: Namespaces,
    pods: Vec<Pod>,
    containers: Vec<Container<'lab>>,
    _responders: Vec<Responder>,
    tries: Vec<Try>,
}

/// One connection: between containers by their numbers, or to the outside.
#[derive(Clone, Copy)]
struct Try {
    from: usize,
    source: IpAddr,
    to: Option<usize>,
    at: SocketAddr,
    protocol: Protocol,
}

fn namespace_labels() -> Namespaces {
    vec![
        ("red", vec![("team", "red"), ("stage", "production")]),
        ("green", vec![("team", "green"), ("stage", "production")]),
        ("blue", vec![("team", "blue")]),
    ]
}

/// A container of each kind in each namespace: the same port has another name, and the same name another port, from one to the next.
fn pods(apps: &[&'static str]) -> Vec<Pod> {
    let names = [["red-web", "red-db", "red-job"], ["green-web", "green-db", "green-job"], ["blue-web", "blue-db", "blue-job"]];
    let named = |app: &str, namespace: &str| match (app, namespace) {
        ("web", "blue") => vec![("http", Protocol::Tcp, 81), ("game", Protocol::Udp, 80)],
        ("web", _) => vec![("http", Protocol::Tcp, 80), ("game", Protocol::Udp, 81)],
        ("db", _) => vec![("http", Protocol::Tcp, 81), ("signal", Protocol::Sctp, 80)],
        _ => Vec::new(),
    };
    let mut all = Vec::new();
    for (names, namespace) in names.iter().zip(NAMESPACES) {
        for (name, app) in names.iter().zip(apps) {
            let mut labels: Vec<Label> = vec![("app", app)];
            labels.extend((*app != "job").then_some(("tier", "served")));
            all.push(Pod { name, namespace, labels, named: named(app, namespace) });
        }
    }
    all
}

fn made<'lab>(lab: &'lab Lab, pod: &Pod, networks: &[Network<'lab>; 2]) -> Container<'lab> {
    let draft = lab.new_container(pod.name).on(&networks[0]).on(&networks[1]).namespace(pod.namespace);
    let container = pod.labels.iter().fold(draft, |draft, (key, value)| draft.label(key, value)).made();
    for (name, protocol, port) in &pod.named {
        let protocol = match protocol {
            Protocol::Udp => publish::Protocol::Udp,
            Protocol::Sctp => publish::Protocol::Sctp,
            _ => publish::Protocol::Tcp,
        };
        container.calls_port(name, *port, protocol);
    }
    container
}

impl<'lab> Table<'lab> {
    /// With these kinds of containers in each namespace.
    fn of(lab: &'lab Lab, apps: &[&'static str]) -> Self {
        let networks = [lab.network("one"), lab.network("two")];
        let pods = pods(apps);
        let containers: Vec<_> = pods.iter().map(|pod| made(lab, pod, &networks)).collect();
        let mut responders: Vec<_> = containers.iter().map(|container| Responder::at(container, &PORTS)).collect();
        responders.push(Responder::at(lab.outside(), &PORTS));
        let namespaces = namespace_labels();
        lab.applies(&yaml::namespaces(&namespaces));
        let mut table = Self { lab, networks, namespaces, pods, containers, _responders: responders, tries: Vec::new() };
        table.tries = table.all_tries();
        table
    }

    /// Each pair meets on both networks and over both families, but not over all four at once; each container asks itself, too, so that a
    /// silent server is not taken for one that is kept from others.
    fn all_tries(&self) -> Vec<Try> {
        let addresses: Vec<[[IpAddr; 2]; 2]> = self
            .containers
            .iter()
            .map(|container| self.networks.each_ref().map(|net| Family::BOTH.map(|family| container.address_on(net, family))))
            .collect();
        let mut tries = Vec::new();
        for (from, own) in addresses.iter().enumerate() {
            for (to, theirs) in addresses.iter().enumerate() {
                for (net, family) in [(0, usize::from(from < to)), (1, usize::from(from >= to))] {
                    let (source, address) = (own[net][family], theirs[net][family]);
                    for (protocol, port) in services(&Protocol::WITH_PORTS) {
                        tries.push(Try { from, source, to: Some(to), at: SocketAddr::new(address, port), protocol });
                    }
                }
            }
            for (family, outside) in [OUTSIDE_V4, OUTSIDE_V6].into_iter().enumerate() {
                for (protocol, port) in services(&[Protocol::Tcp, Protocol::Udp]) {
                    tries.push(Try { from, source: own[0][family], to: None, at: SocketAddr::new(parsed(outside), port), protocol });
                }
            }
        }
        tries
    }

    /// What the random policies are made of.
    fn words(&self) -> Words {
        let whole = |net: usize, family| parsed::<Cidr>(&self.networks[net].subnet(family).to_string());
        let one = |at: usize, net: usize, family| {
            let address = self.containers[at].address_on(&self.networks[net], family);
            Cidr { address, length: if address.is_ipv4() { 32 } else { 128 } }
        };
        Words {
            namespaces: NAMESPACES.to_vec(),
            pod_labels: vec![("app", "web"), ("app", "db"), ("app", "job"), ("tier", "served")],
            namespace_labels: vec![("team", "red"), ("team", "green"), ("stage", "production"), ("kubernetes.io/metadata.name", "blue")],
            ports: PORTS.to_vec(),
            port_names: vec!["http", "game", "signal"],
            blocks: vec![
                (whole(0, Family::V4), one(0, 0, Family::V4)),
                (whole(1, Family::V4), one(1, 1, Family::V4)),
                (whole(0, Family::V6), one(1, 0, Family::V6)),
                (whole(1, Family::V6), one(0, 1, Family::V6)),
                (parsed("0.0.0.0/0"), parsed("192.0.2.0/24")),
                (parsed("::/0"), parsed("2001:db8::/32")),
            ],
        }
    }

    /// Applies policies, tries everything, compares each answer with the documentation's, and withdraws the policies.
    #[track_caller]
    fn holds_under(&self, what: &str, policies: &[Policy]) {
        let begun = Instant::now();
        let file = yaml::file(policies);
        if !policies.is_empty() {
            self.lab.applies(&file);
        }
        let wanted: Vec<bool> = self.tries.iter().map(|it| self.is_allowed(policies, it)).collect();
        let all: Vec<Probe<'_>> = self.tries.iter().map(|it| self.probe(it)).collect();
        let mut got = try_all(&all, SOON);
        // On a busy machine an answer may be late; what shall not pass is never asked for again.
        let late: Vec<usize> = (0..got.len()).filter(|at| wanted[*at] && got[*at] == Got::Silence).collect();
        let again = try_all(&late.iter().map(|at| all[*at]).collect::<Vec<_>>(), PATIENCE / 5);
        late.iter().zip(again).for_each(|(at, answer)| got[*at] = answer);
        let expected = |allowed: bool| if allowed { Got::Reached } else { Got::Silence };
        let wrong: Vec<String> = (0..got.len())
            .filter(|at| got[*at] != expected(wanted[*at]))
            .map(|at| format!("{}: {:?}, but by the documentation {:?}", self.told(&self.tries[at]), got[at], expected(wanted[at])))
            .collect();
        let passed = wanted.iter().filter(|allowed| **allowed).count();
        println!("{what}: {passed} of {} connections allowed, tried in {:?}", got.len(), begun.elapsed());
        let first = wrong[..wrong.len().min(20)].join("\n");
        assert!(wrong.is_empty(), "{what}: {} of {} connections went otherwise:\n{first}\nunder\n{file}", wrong.len(), got.len());
        policies.iter().for_each(|policy| self.lab.withdraws_policy(policy.name()));
    }

    fn is_allowed(&self, policies: &[Policy], it: &Try) -> bool {
        let end = |address, at: Option<usize>| End { address, pod: at.map(|at| &self.pods[at]) };
        let attempt =
            Attempt { from: end(it.source, Some(it.from)), to: end(it.at.ip(), it.to), protocol: it.protocol, port: it.at.port() };
        // What a container says to itself goes past no veth: no policy can speak of it.
        it.to == Some(it.from) || allows(policies, &self.namespaces, &attempt)
    }

    fn probe(&self, it: &Try) -> Probe<'_> {
        let from: &Station = &self.containers[it.from];
        Probe { from, to: it.at, protocol: it.protocol }
    }

    fn told(&self, it: &Try) -> String {
        let to = it.to.map_or("the outside", |at| self.pods[at].name);
        format!("{} ({}) to {to} ({}) by {:?}", self.pods[it.from].name, it.source, it.at, it.protocol)
    }

    /// After all of it every packet is accounted for.
    #[track_caller]
    fn adds_up(&self) {
        for container in &self.containers {
            self.networks.iter().for_each(|net| self.lab.counters_add_up(container, net));
        }
    }
}

fn services(protocols: &[Protocol]) -> Vec<(Protocol, u16)> {
    protocols.iter().flat_map(|protocol| PORTS.map(|port| (*protocol, port))).collect()
}

/// The usual policies on a few containers, with what netd's configuration says: for kernels on which time is dear.
#[track_caller]
pub(crate) fn small_table_holds(configuration: &str) {
    table_holds(configuration, &APPS[..1]);
}

#[track_caller]
fn table_holds(configuration: &str, apps: &[&'static str]) {
    let lab = Lab::bare();
    lab.configures(configuration);
    lab.starts();
    let table = Table::of(&lab, apps);
    table.holds_under("no policy", &[]);
    for (what, policies) in usual::policies(&table.words()) {
        table.holds_under(what, &policies);
    }
    table.holds_under("no policy any more", &[]);
    table.adds_up();
    drop(table);
    lab.ends_clean();
}

#[test]
fn the_usual_policies_mean_what_the_documentation_says_over_the_bridge() {
    table_holds(LONG, &APPS);
}

#[test]
fn the_usual_policies_mean_what_the_documentation_says_on_the_fast_path() {
    table_holds(SHORT, &APPS);
}

#[test]
fn policies_that_nobody_would_write_mean_what_the_documentation_says() {
    made_up_policies_hold(SHORT, SEED, ROUNDS);
}

#[test]
fn policies_that_nobody_would_write_mean_what_the_documentation_says_over_the_bridge() {
    // Others than on the fast path, and fewer.
    made_up_policies_hold(LONG, SEED + 1, ROUNDS / 3);
}

#[track_caller]
fn made_up_policies_hold(configuration: &str, seed: u64, rounds: usize) {
    let given = std::env::var("NETD_POLICY_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or(seed);
    println!("NETD_POLICY_SEED={seed}");
    let mut chance = Chance::new(seed);
    let lab = Lab::bare();
    lab.configures(configuration);
    lab.starts();
    let table = Table::of(&lab, &APPS);
    table.holds_under("no policy", &[]);
    for round in 0..rounds {
        let policies = chance.policies(&table.words());
        table.holds_under(&format!("round {round} of seed {seed}"), &policies);
    }
    table.adds_up();
    drop(table);
    lab.ends_clean();
}
