//! A random walk: requests, drift and restarts in any order, and after each of them there is nothing to do.

use netd_api::message::Request;
use netd_core::objects::{Filters, Table};
use proptest::prelude::*;

use super::{Reason, Stage, assert_nothing_to_do, cni, json};

/// One step of the walk. Numbers choose among what is there.
#[derive(Debug, Clone)]
enum Step {
    Network { n: u8, six: bool, internal: bool, routed: bool, icc: bool },
    RemoveNetwork(u8),
    Container { n: u8, networks: Vec<u8>, ports: bool },
    RemoveContainer(u8),
    Connect(u8, u8),
    Disconnect(u8, u8),
    Publish(u8, u16),
    Unpublish(u8),
    CniAdd { n: u64, ifname: u8, inline: bool, flavour: u8, ports: bool },
    CniDel { n: u64, ifname: u8 },
    CniGc(u8),
    Netns { n: u64, same: bool },
    Drift(usize),
    Uplink(bool),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4_u8, any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(n, six, internal, routed, icc)| Step::Network { n, six, internal, routed: routed && !internal, icc }),
        1 => (0..4_u8).prop_map(Step::RemoveNetwork),
        4 => (0..5_u8, prop::collection::vec(0..4_u8, 0..3), any::<bool>()).prop_map(|(n, networks, ports)| Step::Container { n, networks, ports }),
        1 => (0..9_u8).prop_map(Step::RemoveContainer),
        2 => (0..9_u8, 0..4_u8).prop_map(|(c, n)| Step::Connect(c, n)),
        1 => (0..9_u8, 0..4_u8).prop_map(|(c, n)| Step::Disconnect(c, n)),
        2 => (0..9_u8, 1..20_u16).prop_map(|(c, port)| Step::Publish(c, port)),
        1 => (0..9_u8).prop_map(Step::Unpublish),
        6 => (1..5_u64, 0..2_u8, any::<bool>(), 0..4_u8, any::<bool>())
            .prop_map(|(n, ifname, inline, flavour, ports)| Step::CniAdd { n, ifname, inline, flavour, ports }),
        2 => (1..5_u64, 0..2_u8).prop_map(|(n, ifname)| Step::CniDel { n, ifname }),
        1 => any::<u8>().prop_map(Step::CniGc),
        1 => (1..5_u64, any::<bool>()).prop_map(|(n, same)| Step::Netns { n, same }),
        4 => any::<usize>().prop_map(Step::Drift),
        1 => any::<bool>().prop_map(Step::Uplink),
        1 => Just(Step::Restart),
    ]
}

fn request(step: &Step) -> Option<Request> {
    // Those of runtimes by their ids.
    let container = |n: &u8| if *n < 5 { format!("c{n}") } else { format!("cccccccccccc{}", n - 4) }.parse().unwrap();
    let network = |n: &u8| format!("n{n}").parse().unwrap();
    Some(match step {
        Step::Network { n, six, internal, routed, icc } => {
            let routed = if *routed { r#"["v4","v6"]"# } else { "[]" };
            Request::CreateNetwork(json(&format!(r#"{{"name":"n{n}","ipv6":{six},"internal":{internal},"routed":{routed},"icc":{icc}}}"#)))
        }
        Step::RemoveNetwork(n) => Request::RemoveNetwork(network(n)),
        Step::Container { n, networks, ports } => {
            let networks: Vec<String> = networks.iter().map(|n| format!(r#"{{"network":"n{n}"}}"#)).collect();
            let ports = if *ports { r#"["80","53/udp"]"# } else { "[]" };
            Request::CreateContainer(json(&format!(r#"{{"name":"c{n}","networks":[{}],"publish":{ports}}}"#, networks.join(","))))
        }
        Step::RemoveContainer(n) => Request::RemoveContainer(container(n)),
        Step::Connect(c, n) => Request::Connect(container(c), json(&format!(r#"{{"network":"n{n}"}}"#))),
        Step::Disconnect(c, n) => Request::Disconnect(container(c), network(n), None),
        Step::Publish(c, port) => Request::Publish(container(c), format!("{}:80", 8000 + port).parse().unwrap()),
        Step::Unpublish(c) => Request::Unpublish(container(c), None),
        Step::CniAdd { n, ifname, inline, flavour, ports } => {
            let network = match inline {
                true => inlines(*flavour),
                false => format!(r#""network":{{"named":"{}"}}"#, if *flavour == 0 { "default".to_owned() } else { format!("n{flavour}") }),
            };
            let ports = if *ports { format!(r#","publish":["{}:80","53:53/udp"]"#, 8000 + n) } else { String::new() };
            cni::add(*n, &format!("eth{ifname}"), &(network + &ports))
        }
        Step::CniDel { n, ifname } => Request::CniDel(cni::key(*n, &format!("eth{ifname}"))),
        Step::CniGc(which) => {
            let valid = (1..5).filter(|n| which & (1 << n) != 0).map(|n| format!(r#"{{"container":"cccccccccccc{n}","ifname":"eth0"}}"#));
            Request::CniGc(json(&format!(r#"{{"config":"net","valid":[{}]}}"#, valid.collect::<Vec<_>>().join(","))))
        }
        Step::Netns { .. } | Step::Drift(_) | Step::Uplink(_) | Step::Restart => return None,
    })
}

/// One configuration, as it is and as somebody changed it; and one that brings its addresses.
fn inlines(flavour: u8) -> String {
    match flavour {
        0 | 1 => cni::inline(),
        2 => cni::inline().replace(r#""icc":false"#, r#""icc":true,"mtu":1400"#).replace(r#""gateway":true"#, r#""gateway":false"#),
        _ => cni::inline().replace("10.88.0.0/24", "10.89.0.0/24") + r#","bandwidth":{"egress":{"bits_per_second":8000000}}"#,
    }
}

/// Takes away, or changes, one thing of ours.
fn meddle(stage: &Stage, choice: usize) {
    let mut world = stage.kernel.world();
    let (kind, which) = (choice % 10, choice / 10);
    fn pick<T: Clone>(items: impl Iterator<Item = T>, which: usize) -> Option<T> {
        let items: Vec<T> = items.collect();
        (!items.is_empty()).then(|| items[which % items.len()].clone())
    }
    match kind {
        0 => {
            if let Some(name) = pick(world.objects.veths.keys().cloned(), which) {
                world.remove_link(&name).unwrap();
            }
        }
        1 => {
            if let Some(name) = pick(world.objects.bridges.keys().cloned(), which) {
                world.remove_link(&name).unwrap();
            }
        }
        2 => {
            if let Some(address) = pick(world.objects.addresses.iter().cloned(), which) {
                world.objects.addresses.remove(&address);
            }
        }
        3 => {
            if let Some(route) = pick(world.objects.routes.iter().cloned(), which) {
                world.objects.routes.remove(&route);
            }
        }
        4 => {
            if let Some(sysctl) = pick(world.objects.sysctls.keys().cloned(), which) {
                world.objects.sysctls.insert(sysctl, "7".to_owned());
            }
        }
        5 => {
            world.objects.table = Table::Absent;
            world.objects.elements.clear();
        }
        6 => {
            if let Some(element) = pick(world.objects.elements.iter().cloned(), which) {
                world.objects.elements.remove(&element);
            }
        }
        7 => {
            if world.objects.filters == Filters::Current {
                world.objects.filters = Filters::Stale;
            }
        }
        8 => {
            if let Some(path) = pick(world.objects.netns.keys().filter(|path| path.starts_with("/run/netns/")).cloned(), which) {
                world.remove_netns(&path);
            }
        }
        _ => {
            if let Some(name) = pick(world.objects.veths.keys().cloned(), which) {
                let veth = world.objects.veths.get_mut(&name).unwrap();
                (veth.up, veth.on_blocks, veth.slot, veth.bridge, veth.hairpin) = (false, false, None, None, false);
                veth.peer.as_mut().unwrap().up = false;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn from_any_state_to_any_other_and_then_there_is_nothing_to_do(steps in prop::collection::vec(step(), 1..24)) {
        let stage = Stage::new();
        let pristine = stage.kernel.world().objects.clone();
        let mut daemon = stage.daemon(stage.kernel.clone());
        for step in &steps {
            match step {
                Step::Restart => {
                    drop(daemon);
                    daemon = stage.daemon(stage.kernel.reopened());
                }
                Step::Drift(choice) => {
                    meddle(&stage, *choice);
                    daemon.reconcile(&Reason::Timer);
                }
                Step::Uplink(there) => {
                    let uplink = stage.kernel.world().host.uplinks.values().next().cloned().unwrap_or_default();
                    let name = "up1".parse().unwrap();
                    let key = |key: &str| netd_core::objects::Sysctl { ns: netd_core::objects::Ns::Host, key: format!("net/{key}") };
                    let keys = [key("ipv4/conf/up1/forwarding"), key("ipv6/conf/up1/force_forwarding"), key("ipv6/conf/up1/accept_ra")];
                    let mut world = stage.kernel.world();
                    if *there {
                        world.host.uplinks.insert(name, uplink);
                        keys.into_iter().for_each(|key| { world.objects.sysctls.entry(key).or_insert_with(|| "0".to_owned()); });
                    } else {
                        world.host.uplinks.remove(&name);
                        keys.iter().for_each(|key| { world.objects.sysctls.remove(key); });
                    }
                    drop(world);
                    daemon.reconcile(&Reason::Timer);
                }
                Step::Netns { n, same } => {
                    let path = cni::netns(*n);
                    let mut world = stage.kernel.world();
                    if world.objects.netns.contains_key(&path) {
                        world.remove_netns(&path);
                    } else {
                        world.add_stranger(&path, 4_026_532_000 + n + if *same { 0 } else { 100 });
                    }
                    drop(world);
                    daemon.reconcile(&Reason::Timer);
                }
                step => {
                    let before = stage.kernel.world().objects.clone();
                    let done = daemon.ask(&request(step).unwrap());
                    if done.is_err() {
                        prop_assert_eq!(&stage.kernel.world().objects, &before);
                    } else if let Step::CniAdd { n, ifname, .. } = step {
                        prop_assert_eq!(cni::wrong(&mut daemon, &cni::check(*n, &format!("eth{ifname}"))), [] as [&str; 0]);
                    }
                }
            }
            prop_assert!(daemon.survey.last.as_ref().unwrap().failed.is_empty(), "{:?}", daemon.survey.last);
            assert_nothing_to_do(&mut daemon);
        }
        stage.kernel.world().host.uplinks.remove("up1");
        stage.kernel.world().objects.sysctls.retain(|sysctl, _| !sysctl.key.contains("up1"));
        daemon.ask(&Request::Cleanup).unwrap();
        let mut left = stage.kernel.world().objects.clone();
        for n in 1..5 {
            left.netns.insert(cni::netns(n), pristine.netns[&cni::netns(n)].clone());
        }
        // Meddled values of the host's own are given back as they were first seen.
        for (key, value) in &mut left.sysctls {
            if let Some(first) = pristine.sysctls.get(key) {
                value.clone_from(first);
            }
        }
        prop_assert_eq!(left, pristine);
    }
}
