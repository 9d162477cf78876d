//! CHECK finds each thing that was taken from an attachment and names it; what belongs to others it does not see.

use netd_api::message::{Reply, Request};
use netd_core::{
    objects::{Filters, Ns, Objects, Table},
    op::Op,
};

use super::{
    FakeKernel, Reason, Reconciler, Stage, assert_nothing_to_do,
    cni::{add, check, inline, netns, wrong},
};
use crate::kernel::fake::World;

/// What somebody does to the kernel.
type Meddling = Box<dyn FnOnce(&mut World)>;

/// An attachment with everything that one can have, and others beside it.
fn stage() -> (Stage, Reconciler<FakeKernel>) {
    let stage = Stage::new();
    let mut daemon = stage.daemon(stage.kernel.clone());
    let everything = r#","publish":["8080:80","5353-5354:53-54/udp"],"sysctls":{"net/ipv4/conf/eth0/arp_ignore":"1"},
        "routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"},{"dst":"10.99.0.0/16","gw":"10.88.0.7","table":300,"priority":7}],
        "bandwidth":{"ingress":{"bits_per_second":8000000},"egress":{"bits_per_second":8000000}}"#;
    daemon.ask(&add(1, "eth0", &(inline() + everything))).unwrap();
    daemon.ask(&add(2, "eth0", &inline())).unwrap();
    daemon.ask(&add(1, "eth1", r#""network":{"named":"default"},"publish":["7000:70"]"#)).unwrap();
    assert_nothing_to_do(&mut daemon);
    (stage, daemon)
}

/// Meddles, checks that CHECK names the step that would mend it and changes nothing, and that mending makes CHECK content.
#[track_caller]
fn finds(meddle: impl FnOnce(&mut World), step: &str) {
    let (stage, mut daemon) = stage();
    assert_eq!(wrong(&mut daemon, &check(1, "eth0")), [] as [&str; 0], "before");
    meddle(&mut stage.kernel.world());
    let meddled = stage.kernel.world().objects.clone();
    let found = wrong(&mut daemon, &check(1, "eth0"));
    assert!(found.iter().any(|what| what.contains(&format!("({step}"))), "{step}: {found:?}");
    assert_eq!(stage.kernel.world().objects, meddled, "CHECK mends nothing");
    daemon.reconcile(&Reason::Timer);
    assert_eq!(wrong(&mut daemon, &check(1, "eth0")), [] as [&str; 0], "mended");
}

/// What of all objects is the attachment's: eth0 of the first container and its network.
fn own() -> Objects {
    let (stage, _) = stage();
    stage.kernel.world().objects.clone()
}

fn host_end(objects: &Objects) -> netd_api::names::IfName {
    let leads_there = |veth: &netd_core::objects::Veth| {
        veth.peer.as_ref().is_some_and(|peer| peer.ns == Ns::At(netns(1)) && peer.name.as_str() == "eth0")
    };
    objects.veths.iter().find(|(_, veth)| leads_there(veth)).expect("it is there").0.clone()
}

#[test]
fn each_address_and_route_that_is_missing_is_named() {
    let own = own();
    let inside = |ns: &Ns, link: &netd_api::names::IfName| *ns == Ns::At(netns(1)) && link.as_str() == "eth0";
    let on_bridge = |ns: &Ns, link: &netd_api::names::IfName| *ns == Ns::Host && link.as_str() == "cni0";
    let addresses = own.addresses.iter().filter(|address| inside(&address.ns, &address.link) || on_bridge(&address.ns, &address.link));
    let (mut count_addresses, mut count_routes) = (0, 0);
    for address in addresses {
        finds(|world| assert!(world.objects.addresses.remove(address)), &Op::AddAddress(address.clone()).to_string());
        count_addresses += 1;
    }
    for route in own.routes.iter().filter(|route| inside(&route.ns, &route.link)) {
        finds(|world| assert!(world.objects.routes.remove(route)), &Op::AddRoute(route.clone()).to_string());
        count_routes += 1;
    }
    assert_eq!((count_addresses, count_routes), (4, 3));
}

#[test]
fn each_firewall_element_of_its_network_and_ports_that_is_missing_is_named() {
    let own = own();
    let theirs = |text: &str| ["7000", "nd-", "10.80."].iter().any(|word| text.contains(word));
    let mut ports = 0;
    for element in &own.elements {
        let step = Op::AddElement(element.clone()).to_string();
        if theirs(&step) {
            continue;
        }
        ports += usize::from(matches!(element, netd_core::firewall::Element::Publish(_)));
        finds(|world| assert!(world.objects.elements.remove(element)), &step);
    }
    assert_eq!(ports, 6, "three ports in two families");
}

#[test]
fn each_sysctl_of_its_links_that_was_changed_is_named() {
    let own = own();
    let host_end = host_end(&own);
    let is_own = |key: &str, ns: &Ns| match ns {
        Ns::Host => key.contains("/cni0/") || key.contains(host_end.as_str()),
        Ns::At(path) => *path == netns(1) && key.contains("/eth0/"),
    };
    let mut count = 0;
    for (sysctl, value) in own.sysctls.iter().filter(|(sysctl, _)| is_own(&sysctl.key, &sysctl.ns)) {
        let meddle = |world: &mut World| drop(world.objects.sysctls.insert(sysctl.clone(), "7".to_owned()));
        finds(meddle, &Op::SetSysctl(sysctl.clone(), value.clone()).to_string());
        count += 1;
    }
    assert!(count >= 8, "{count}");
}

#[test]
fn links_flags_programs_and_buckets_that_were_changed_are_named() {
    let own = own();
    let (name, bridge): (_, netd_api::names::IfName) = (host_end(&own), "cni0".parse().unwrap());
    let veth = own.veths[&name].clone();
    let peer = veth.peer.clone().unwrap();
    let mut cases: Vec<(Meddling, Op)> = Vec::new();
    let mut case = |meddle: fn(&mut netd_core::objects::Veth), op: Op| {
        let name = name.clone();
        cases.push((Box::new(move |world: &mut World| meddle(world.objects.veths.get_mut(&name).unwrap())), op));
    };
    case(|veth| veth.up = false, Op::SetUp(Ns::Host, name.clone(), true));
    case(|veth| veth.mtu = 900, Op::SetMtu(Ns::Host, name.clone(), veth.mtu));
    case(|veth| veth.mac.0[5] ^= 1, Op::SetMac(Ns::Host, name.clone(), veth.mac));
    case(|veth| veth.bridge = None, Op::SetMaster(name.clone(), "cni0".parse().unwrap()));
    case(|veth| veth.hairpin = false, Op::SetPort { link: name.clone(), isolated: veth.isolated, hairpin: veth.hairpin });
    case(|veth| veth.peer.as_mut().unwrap().up = false, Op::SetUp(peer.ns.clone(), peer.name.clone(), true));
    case(|veth| veth.peer.as_mut().unwrap().mac.0[5] ^= 1, Op::SetMac(peer.ns.clone(), peer.name.clone(), peer.mac));
    case(|veth| veth.slot = None, Op::AddSlot(name.clone(), veth.slot.unwrap(), veth.from_container.clone(), veth.entry.clone()));
    case(|veth| veth.on_blocks = false, Op::JoinBlocks(name.clone()));
    case(|veth| veth.to_container = None, Op::SetBucket(name.clone(), veth.to_container.unwrap()));
    case(|veth| veth.from_container = None, Op::AddSlot(name.clone(), veth.slot.unwrap(), veth.from_container.clone(), veth.entry.clone()));
    for (meddle, op) in cases {
        finds(meddle, &op.to_string());
    }
    let ifb = veth.from_container.unwrap();
    let bucket = own.ifbs[&ifb].bucket.unwrap();
    finds(|world| world.objects.ifbs.get_mut(&ifb).unwrap().bucket = None, &Op::SetBucket(ifb.clone(), bucket).to_string());
    finds(|world| world.remove_link(&ifb).unwrap(), &Op::AddIfb(ifb.clone()).to_string());
    finds(|world| world.remove_link(&name).unwrap(), &format!("ip link add {name} "));
    let elsewhere = |world: &mut World| {
        let inside = Ns::At(netns(1));
        world.objects.veths.get_mut(&name).unwrap().peer = None;
        world.objects.addresses.retain(|address| address.ns != inside || address.link.as_str() != "eth0");
        world.objects.routes.retain(|route| route.ns != inside || route.link.as_str() != "eth0");
    };
    finds(elsewhere, &Op::DelLink(name.clone()).to_string());
    let of_bridge = |world: &mut World, meddle: fn(&mut netd_core::objects::Bridge)| {
        meddle(world.objects.bridges.get_mut(&"cni0".parse::<netd_api::names::IfName>().unwrap()).unwrap());
    };
    finds(|world| of_bridge(world, |bridge| bridge.up = false), &Op::SetUp(Ns::Host, bridge.clone(), true).to_string());
    finds(|world| of_bridge(world, |bridge| bridge.promiscuous = false), &Op::SetPromiscuous(bridge.clone(), true).to_string());
    finds(|world| world.remove_link(&bridge).unwrap(), "ip link add cni0 ");
    finds(|world| world.objects.filters = Filters::Stale, &Op::PutFilters.to_string());
    finds(
        |world| {
            world.objects.table = Table::Absent;
            world.objects.elements.clear();
        },
        &Op::PutTable.to_string(),
    );
}

#[test]
fn what_belongs_to_others_is_not_its_matter() {
    let (stage, mut daemon) = stage();
    let others: Vec<_> = {
        let objects = stage.kernel.world().objects.clone();
        let own = host_end(&objects);
        objects.veths.keys().filter(|name| **name != own).cloned().collect()
    };
    assert_eq!(others.len(), 2);
    for name in &others {
        stage.kernel.world().remove_link(name).unwrap();
    }
    stage.kernel.world().objects.elements.retain(|element| !element.to_string().contains("7000"));
    assert_eq!(wrong(&mut daemon, &check(1, "eth0")), [] as [&str; 0]);
    assert!(!wrong(&mut daemon, &check(1, "eth1")).is_empty() && !wrong(&mut daemon, &check(2, "eth0")).is_empty());
}

#[test]
fn what_the_runtime_remembers_otherwise_is_said() {
    let (_stage, mut daemon) = stage();
    let Request::CniCheck(asked) = check(1, "eth0") else { unreachable!("it is a CHECK") };
    let mut asked = *asked;
    asked.addresses = vec!["10.88.0.2/24".parse().unwrap(), "10.88.0.99/24".parse().unwrap()];
    asked.mac = Some("02:00:00:00:00:99".parse().unwrap());
    let Ok(Reply::CniChecked(checked)) = daemon.ask(&Request::CniCheck(Box::new(asked.clone()))) else { panic!("no answer") };
    let text = checked.wrong.join("\n");
    assert!(text.contains("not the address 10.88.0.99/24") && text.contains("02:00:00:00:00:99"), "{text}");
    assert!(!text.contains("not the address 10.88.0.2/24"), "{text}");
    asked.netns = netns(2);
    let Ok(Reply::CniChecked(checked)) = daemon.ask(&Request::CniCheck(Box::new(asked))) else { panic!("no answer") };
    assert!(checked.wrong.iter().any(|what| what.contains(&netns(2)) || what.contains("namespace")), "{:?}", checked.wrong);
}
