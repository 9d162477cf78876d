//! A network of netd's with a client and a server on it, and policies for them. Never looks into the daemon but through its API.

use std::fs;

use lab::{Lab, Station};
use netd_api::{
    message::{Reply, Request},
    names::NetworkName,
    spec::{AttachSpec, ContainerSpec, NetworkSpec},
};

use crate::datapath::{
    load::{CLIENT, SERVER},
    rules::{Rules, applying},
};

/// Two containers, and the rules where there are some.
pub(super) fn made(lab: &Lab, fast: bool, rules: Option<Rules>) -> [Station; 2] {
    starts(lab, fast);
    let network: NetworkName = "bench".parse().expect("a good name");
    let mut spec = NetworkSpec::named(network.clone());
    spec.subnets.push("10.77.0.0/24".parse().expect("a good subnet"));
    lab.done(&Request::CreateNetwork(spec));
    let ends = [("client", CLIENT), ("server", SERVER)].map(|(name, address)| {
        let mut spec = ContainerSpec::named(name.parse().expect("a good name"));
        spec.networks.push(AttachSpec { addresses: vec![address.into()], ..AttachSpec::to(network.clone()) });
        labels(&mut spec, &[("role", name)]);
        let Reply::Container(view) = lab.done(&Request::CreateContainer(spec)) else { panic!("no container") };
        lab.at(name, &view.netns)
    });
    if let Some(rules) = rules {
        lab.done(&applying(rules.policies()));
    }
    ends
}

/// netd with the fast path on or off, as its configuration says.
fn starts(lab: &Lab, fast: bool) {
    fs::write(lab.host().path("/etc/netd/netd.toml"), format!("[datapath]\nfast_path = {fast}\n"))
        .expect("the private /etc can be written");
    lab.netd().start();
    let policy = lab.status().policy.expect("eBPF programs run on this kernel");
    assert_eq!(policy.fast_path, fast, "the configuration is not what netd runs with");
}

/// A container with labels on a network, to be made.
pub(in crate::datapath) fn on_network(name: &str, network: &str, given: &[(&str, &str)]) -> Request {
    let mut spec = ContainerSpec::named(name.parse().expect("a good name"));
    spec.networks.push(AttachSpec::to(network.parse().expect("a good name")));
    labels(&mut spec, given);
    Request::CreateContainer(spec)
}

fn labels(spec: &mut ContainerSpec, given: &[(&str, &str)]) {
    let parsed = given.iter().map(|(key, value)| (key.parse().expect("a good key"), value.parse().expect("a good value")));
    spec.labels.extend(parsed);
}
