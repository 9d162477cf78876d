//! Names fit where they must, and differ.

use std::{collections::HashSet, sync::Arc};

use netd_api::{message::Request, names::ContainerName};

use super::*;
use crate::{
    change::{self, Context},
    desired::{Container, Desired},
    host::Host,
};

fn id(text: &str) -> ContainerId {
    text.parse().unwrap()
}

#[test]
fn names_fit_an_interface_and_are_known_by_their_beginning() {
    let long: NetworkName = "n".repeat(63).parse().unwrap();
    let (container, ifname) = (id(&"c".repeat(128)), "i".repeat(15).parse().unwrap());
    let (bridge, veth, ifb) = (bridge_name(&long), veth_name(&long, &container, &ifname), ifb_name(&long, &container, &ifname));
    assert_eq!((bridge.as_str().len(), veth.as_str().len()), (15, 15)); // IFNAMSIZ less the NUL
    assert!(ifb.as_str().len() == 15 && ifb.as_str().starts_with(IFB_PREFIX));
    assert!(bridge.as_str().starts_with(BRIDGE_PREFIX) && veth.as_str().starts_with(VETH_PREFIX) && bridge.as_str() != ANCHOR);
}

#[test]
fn names_of_a_build_are_names_of_the_next() {
    // Links of a running host are found by these: a change of the hash would make every container anew.
    let web = "web".parse().unwrap();
    assert_eq!(bridge_name(&web).as_str(), "nd-w9p5xgya54ae");
    assert_eq!(veth_name(&web, &id("a"), &"eth0".parse().unwrap()).as_str(), "ndvc2r1r1cfyxgr");
    assert_eq!(ifb_name(&web, &id("a"), &"eth0".parse().unwrap()).as_str(), "ndih6drfdgcn7d4");
    assert_eq!(mac(&["container", "web", "a", "eth0"]).to_string(), "02:b4:ca:cd:bf:05");
}

#[test]
fn a_hundred_thousand_names_and_addresses_are_all_different() {
    let (net, eth0) = ("web".parse().unwrap(), "eth0".parse().unwrap());
    let mut names = HashSet::new();
    let mut macs = HashSet::new();
    for n in 0..100_000 {
        let id = id(&format!("container-{n}"));
        assert!(names.insert(veth_name(&net, &id, &eth0)), "{id}");
        assert!(names.insert(bridge_name(&format!("network-{n}").parse().unwrap())), "{n}");
        macs.insert(mac(&["container", "web", id.as_str(), "eth0"]));
    }
    // 40 bits: a few alike are to be expected in ten times as many; within a network the next one is taken then.
    assert!(macs.len() >= 99_995, "{} are alike", 100_000 - macs.len());
}

#[test]
fn parts_are_kept_apart() {
    assert_ne!(mac(&["ab", "c"]), mac(&["a", "bc"]));
    assert_ne!(mac(&["host", "n", "c", "i"]), mac(&["container", "n", "c", "i"]));
}

#[test]
fn hardware_addresses_are_our_own_and_of_one_station_and_there_is_always_another() {
    let all: Vec<Mac> = macs(&["container", "n", "c", "eth0"]).collect();
    assert_eq!(all[0], mac(&["container", "n", "c", "eth0"]));
    assert!(all.iter().all(|mac| mac.0[0] == 2), "locally administered and unicast");
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 256);
}

/// A container with one attachment, of these names.
fn made(name: &str, network: &str) -> Arc<Container> {
    let mut desired = Desired::default();
    let (pools, host) = (crate::ipam::default_v4(), Host::default());
    let network = format!(r#"{{"name":"{network}"}}"#);
    let container = format!(r#"{{"name":"{name}","networks":[{}]}}"#, network.replace("name", "network"));
    for request in [
        Request::CreateNetwork(serde_json::from_str(&network).unwrap()),
        Request::CreateContainer(serde_json::from_str(&container).unwrap()),
    ] {
        let change = change::change(&desired, &request, Context { host: &host, pools: &pools, found: None, busy: &[], held: &[] }).unwrap();
        desired.apply(&change);
    }
    Arc::clone(&desired.containers()[name])
}

#[test]
fn an_alias_says_whose_it_is_and_fits_the_kernel() {
    let web = made("web-7f9c2d1e5b", "front");
    assert_eq!(alias(&web, &web.attachments[0]), "netd:web-7f9c2d1e web-7f9c2d1e5b front eth0");
    let mut pod = Container::clone(&made(&"w".repeat(63), &"n".repeat(63)));
    pod.name = format!("{}/{}", "k".repeat(63), "p".repeat(253)).parse::<ContainerName>().unwrap();
    let alias = alias(&pod, &pod.attachments[0]);
    assert_eq!(alias.len(), 255); // IFALIASZ less the NUL
    assert!(alias.starts_with("netd:wwwwwwwwwwww kkk"));
}
