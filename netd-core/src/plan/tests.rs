//! Plans as people read them, against golden files; `UPDATE_GOLDEN=1` writes them anew.

use netd_api::{message::Request, names::IfName};

use crate::{
    change::{Context, change},
    desired::{Change, Desired},
    expand::{Scope, expand, given_back},
    host::{Features, Host, Uplink},
    objects::{Bucket, Ifb, Ns, Objects, Sysctl},
    op::Op,
    plan::{aftermath, plan, remember},
};

fn host() -> Host {
    let uplink = Uplink { mtu: 1500, families: netd_api::addr::Family::BOTH.into_iter().collect(), lives_from_ra: true };
    Host {
        uplinks: [("up0".parse().unwrap(), uplink)].into(),
        ephemeral: (32768, 60999),
        features: Features { ipv6: true, force_forwarding: true, datapath: true, sctp_sockets: true, sysctls: true },
        ..Host::default()
    }
}

fn ask(desired: &Desired, request: &Request) -> Change {
    let pools = crate::ipam::default_v4();
    change(desired, request, Context { host: &host(), pools: &pools, found: None, busy: &[], held: &[] }).unwrap()
}

fn everything(desired: &Desired) -> Objects {
    expand(desired, &host(), &Scope::Everything)
}

/// The wish, its change, and the plan for it on a kernel that was as wanted before.
fn step(desired: &mut Desired, request: &Request) -> String {
    let mut before = everything(desired);
    for (key, value) in [("ipv4/conf/up0/forwarding", "0"), ("ipv6/conf/up0/force_forwarding", "0"), ("ipv6/conf/up0/accept_ra", "1")] {
        before.sysctls.entry(Sysctl { ns: Ns::Host, key: format!("net/{key}") }).or_insert_with(|| value.to_owned());
    }
    let change = ask(desired, request);
    let bridges = desired.networks().clone();
    desired.apply(&change);
    let wanted = everything(desired);
    let mut steps = plan(&wanted, &before);
    let originals = remember(&steps, &before, &wanted, |sysctl| desired.originals().contains_key(sysctl));
    if !originals.edits.is_empty() {
        desired.apply(&originals);
        steps = plan(&everything(desired), &before);
    }
    desired.apply(&given_back(desired, &host()));
    let after = aftermath(&change, &steps, |name| bridges.get(name).map(|network| network.bridge.clone()));
    steps.ops.extend(after);
    steps.to_string()
}

#[track_caller]
fn golden(name: &str, text: &str) {
    let path = format!("{}/../tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{text}\n")).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(wanted.trim_end(), text, "{name} differs; UPDATE_GOLDEN=1 writes it anew");
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_network_a_container_a_port_and_back_again() {
    let mut desired = Desired::default();
    let network = Request::CreateNetwork(json(r#"{"name":"web","subnets":["10.9.0.0/24","fd00:9::/64"]}"#));
    golden("network-create.plan", &step(&mut desired, &network));
    let container = Request::CreateContainer(json(r#"{"name":"a","networks":[{"network":"web"}]}"#));
    golden("container-create.plan", &step(&mut desired, &container));
    let publish = Request::Publish("a".parse().unwrap(), "8080:80".parse().unwrap());
    golden("publish.plan", &step(&mut desired, &publish));
    let second = Request::CreateNetwork(json(r#"{"name":"back","internal":true,"icc":false,"subnets":["10.10.0.0/24"]}"#));
    step(&mut desired, &second);
    let connect = Request::Connect("a".parse().unwrap(), json(r#"{"network":"back"}"#));
    golden("connect.plan", &step(&mut desired, &connect));
    golden("container-remove.plan", &step(&mut desired, &Request::RemoveContainer("a".parse().unwrap())));
    step(&mut desired, &Request::RemoveNetwork("back".parse().unwrap()));
    golden("network-remove.plan", &step(&mut desired, &Request::RemoveNetwork("web".parse().unwrap())));
}

#[test]
fn equal_states_need_no_step() {
    let mut desired = Desired::default();
    step(&mut desired, &Request::CreateContainer(json(r#"{"name":"a","publish":["80:80","53:53/udp"]}"#)));
    let objects = everything(&desired);
    assert!(plan(&objects, &objects).is_empty());
}

#[test]
fn a_part_of_the_wish_is_the_same_as_that_part_of_everything() {
    let mut desired = Desired::default();
    step(&mut desired, &Request::CreateContainer(json(r#"{"name":"a","publish":["80:80"]}"#)));
    let request = Request::CreateContainer(json(r#"{"name":"b","publish":["81:80"]}"#));
    let change = ask(&desired, &request);
    let before = everything(&desired);
    desired.apply(&change);
    let part = expand(&desired, &host(), &Scope::of(&change, &desired));
    let all = plan(&everything(&desired), &before);
    let mut beside = Objects { table: before.table, filters: before.filters, ..Objects::default() };
    beside.bridges.clone_from(&before.bridges);
    let mut with_bridge = part;
    with_bridge.bridges.clone_from(&before.bridges);
    assert_eq!(plan(&with_bridge, &beside), all);
}

/// What is wanted of one attachment that is paced both ways, and a network that takes in frames for everybody.
fn paced() -> Objects {
    let mut desired = Desired::default();
    step(&mut desired, &Request::CreateContainer(json(r#"{"name":"a"}"#)));
    let mut objects = everything(&desired);
    let bucket = |rate| Bucket { rate, burst: 100_000, limit: 200_000 };
    let pacer: IfName = "ndi1".parse().unwrap();
    let veth = objects.veths.values_mut().next().unwrap();
    (veth.to_container, veth.from_container) = (Some(bucket(1_000_000)), Some(pacer.clone()));
    objects.ifbs.insert(pacer, Ifb { up: true, bucket: Some(bucket(2_000_000)) });
    objects.bridges.values_mut().for_each(|bridge| bridge.promiscuous = true);
    objects
}

/// The first words of the steps that are about what is paced, with generated names taken out.
fn pacing(wanted: &Objects, observed: &Objects) -> Vec<String> {
    let of_ours = |op: &&Op| {
        let is_pacer = |name: &IfName| name.as_str().starts_with(crate::mark::IFB_PREFIX);
        match op {
            Op::SetBucket(..) | Op::DelBucket(_) | Op::AddSlot(..) | Op::AddIfb(_) | Op::AddVeth(..) | Op::SetPromiscuous(..) => true,
            Op::DelLink(name) | Op::SetUp(Ns::Host, name, _) => {
                is_pacer(name) || wanted.veths.contains_key(name) || observed.veths.contains_key(name)
            }
            _ => false,
        }
    };
    plan(wanted, observed)
        .ops
        .iter()
        .filter(of_ours)
        .map(|op| op.to_string().split(" address").next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn a_pacer_is_there_before_packets_are_led_to_it_and_goes_when_none_are() {
    let wanted = paced();
    let (veth, bridge) = (wanted.veths.keys().next().unwrap(), wanted.bridges.keys().next().unwrap());
    let bare = Objects { veths: [].into(), ifbs: [].into(), bridges: [].into(), ..wanted.clone() };
    assert_eq!(
        pacing(&wanted, &bare),
        [
            format!("ip link set {bridge} promisc on"),
            "ip link add ndi1 group 110 up type ifb".to_owned(),
            "tc qdisc replace dev ndi1 root handle 6e64: tbf rate 2000000bps burst 100000 limit 200000".to_owned(),
            format!("ip link add {veth}"),
            format!("tc qdisc replace dev {veth} root handle 6e64: tbf rate 1000000bps burst 100000 limit 200000"),
            format!("bpftool map update pinned attachments key {veth} value 0 ndi1"),
            format!("ip link set {veth} up"),
        ]
    );
    let none = Objects { veths: [].into(), ifbs: [].into(), ..wanted.clone() };
    assert_eq!(pacing(&none, &wanted), [format!("ip link del {veth}"), "ip link del ndi1".to_owned()]);
}

#[test]
fn a_limit_is_changed_or_lifted_in_place() {
    let wanted = paced();
    let veth = wanted.veths.keys().next().unwrap();
    let mut slower = wanted.clone();
    let halved = |bucket: &mut Option<Bucket>| bucket.as_mut().unwrap().rate /= 2;
    slower.veths.values_mut().for_each(|veth| halved(&mut veth.to_container));
    slower.ifbs.values_mut().for_each(|ifb| halved(&mut ifb.bucket));
    assert_eq!(
        pacing(&slower, &wanted),
        [
            "tc qdisc replace dev ndi1 root handle 6e64: tbf rate 1000000bps burst 100000 limit 200000".to_owned(),
            format!("tc qdisc replace dev {veth} root handle 6e64: tbf rate 500000bps burst 100000 limit 200000"),
        ]
    );
    let mut lifted = wanted.clone();
    lifted.veths.values_mut().for_each(|veth| (veth.to_container, veth.from_container) = (None, None));
    lifted.ifbs.clear();
    lifted.bridges.values_mut().for_each(|bridge| bridge.promiscuous = false);
    assert_eq!(
        pacing(&lifted, &wanted),
        [
            format!("ip link set {} promisc off", wanted.bridges.keys().next().unwrap()),
            format!("tc qdisc del dev {veth} root"),
            format!("bpftool map update pinned attachments key {veth} value 0"),
            "ip link del ndi1".to_owned(),
        ]
    );
}

#[test]
fn the_number_of_a_link_that_went_is_forgotten_unless_its_link_comes_back() {
    let wanted = paced();
    let slot = wanted.veths.values().next().unwrap().slot.unwrap();
    let went = Objects { veths: [].into(), left_slots: [slot, slot + 1].into(), ..wanted.clone() };
    let forgotten = |wanted: &Objects| plan(wanted, &went).ops.into_iter().filter(|op| matches!(op, Op::DelSlot(_))).collect::<Vec<_>>();
    assert_eq!(forgotten(&wanted), [Op::DelSlot(slot + 1)]);
    assert_eq!(forgotten(&Objects { veths: [].into(), ..wanted }), [Op::DelSlot(slot), Op::DelSlot(slot + 1)]);
}

#[test]
fn what_somebody_took_from_a_pacer_comes_back() {
    let wanted = paced();
    let veth = wanted.veths.keys().next().unwrap();
    let mended = |take: &dyn Fn(&mut Objects)| {
        let mut observed = wanted.clone();
        take(&mut observed);
        pacing(&wanted, &observed)
    };
    let bucket = "tc qdisc replace dev ndi1 root handle 6e64: tbf rate 2000000bps burst 100000 limit 200000".to_owned();
    assert_eq!(mended(&|objects| objects.ifbs.values_mut().for_each(|ifb| ifb.bucket = None)), std::slice::from_ref(&bucket));
    assert_eq!(mended(&|objects| objects.ifbs.values_mut().for_each(|ifb| ifb.up = false)), ["ip link set ndi1 up"]);
    // A pacer that is made anew has another number, which the programs must learn.
    let anew = mended(&|objects| {
        objects.ifbs.clear();
        objects.veths.values_mut().for_each(|veth| veth.from_container = Some("#9".parse().unwrap()));
    });
    let led = format!("bpftool map update pinned attachments key {veth} value 0 ndi1");
    assert_eq!(anew, ["ip link add ndi1 group 110 up type ifb".to_owned(), bucket, led]);
}
