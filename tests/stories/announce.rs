//! A container's addresses are announced to its network when it comes, so that nobody goes on sending to whom had them before.

use lab::{Lab, packet::Seen};
use netd_api::addr::Family;

#[test]
fn a_new_container_is_announced_by_arp_and_neighbour_advertisement() {
    let lab = Lab::new();
    let net = lab.network("web");
    let witness = net.container("witness");
    let wire = witness.wire("eth0");
    let a = net.container("a");
    let (v4, v6, mac) = (a.address(Family::V4), a.address(Family::V6), a.mac("eth0"));
    let mut missing = vec![v4, v6];
    wire.expect("the announcements of both addresses", |seen| {
        match seen {
            Seen::Arp(from, address) | Seen::Advertisement(from, address) if *from == mac => missing.retain(|wanted| wanted != address),
            _ => {}
        }
        missing.is_empty().then_some(())
    });
    lab.ends_clean();
}

#[test]
fn hardware_addresses_stay_the_same_over_a_restart_and_are_all_different() {
    let lab = Lab::new();
    let net = lab.network("web");
    let containers = ["a", "b", "c"].map(|name| net.container(name));
    let before = containers.each_ref().map(|container| container.mac("eth0"));
    lab.netd().restart();
    let after = containers.each_ref().map(|container| container.mac("eth0"));
    assert_eq!(before, after);
    let distinct: std::collections::BTreeSet<_> = after.iter().collect();
    assert_eq!(distinct.len(), 3);
    lab.ends_clean();
}
