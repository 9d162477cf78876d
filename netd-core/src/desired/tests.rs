//! What is looked up is always what a search through everything would find.

use netd_api::{message::Request, names::ContainerName};
use proptest::prelude::*;

use super::*;
use crate::{
    change::{self, Context},
    host::Found,
};

fn json<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

/// Answers a request as the daemon would; one that is refused changes nothing.
fn ask(desired: &mut Desired, request: &Request, pid: u64) -> Option<Change> {
    let pools: Vec<_> = crate::ipam::default_v4().into_iter().chain(crate::ipam::default_v6(7)).collect();
    let found = Found { path: format!("/proc/{pid}/ns/net"), id: NetnsId { dev: 4, ino: pid }, links: BTreeSet::new() };
    let host = Host { ephemeral: (32768, 32800), ..Host::default() };
    let change =
        change::change(desired, request, Context { host: &host, pools: &pools, found: Some(&found), busy: &[], held: &[] }).ok()?;
    desired.apply(&change);
    Some(change)
}

/// The same wish, made at once: its indexes are made from nothing.
fn anew(desired: &Desired) -> Desired {
    let networks = desired.networks.values().map(|network| Edit::Network { before: None, after: Some(Arc::clone(network)) });
    let containers = desired.containers.values().map(|container| Edit::Container { before: None, after: Some(Arc::clone(container)) });
    let ports =
        desired.publishes.iter().map(|(key, port)| Edit::Publish { container: key.container.clone(), before: None, after: Some(*port) });
    let mut anew = Desired::default();
    anew.apply(&Change { edits: networks.chain(containers).chain(ports).collect() });
    anew
}

/// The last address given is history: it follows from nothing else.
fn without_history(desired: &Desired) -> Index {
    Index { last: BTreeMap::new(), ..desired.index.clone() }
}

fn request() -> impl Strategy<Value = (Request, u64)> {
    let name = |n: u8| format!("c{n}").parse::<ContainerName>().unwrap();
    let request = prop_oneof![
        (0..3_u8, any::<bool>()).prop_map(|(n, six)| Request::CreateNetwork(json(&format!(r#"{{"name":"n{n}","ipv6":{six}}}"#)))),
        (0..3_u8).prop_map(|n| Request::RemoveNetwork(format!("n{n}").parse().unwrap())),
        (0..6_u8, 0..3_u8, 0..3_u8, any::<bool>(), any::<bool>()).prop_map(|(c, n, m, adopted, ports)| {
            let netns = if adopted { r#"{"pid":1}"# } else { r#""made""# };
            let ports = if ports { r#"["80","53/udp","127.0.0.1:8080:80"]"# } else { "[]" };
            Request::CreateContainer(json(&format!(
                r#"{{"name":"c{c}","netns":{netns},"networks":[{{"network":"n{n}"}},{{"network":"n{m}","ifname":"x0"}}],"publish":{ports}}}"#
            )))
        }),
        (0..6_u8).prop_map(move |c| Request::RemoveContainer(name(c))),
        (0..6_u8, 0..3_u8).prop_map(move |(c, n)| Request::Connect(name(c), json(&format!(r#"{{"network":"n{n}"}}"#)))),
        (0..6_u8, 0..3_u8).prop_map(move |(c, n)| Request::Disconnect(name(c), format!("n{n}").parse().unwrap(), None)),
        (0..6_u8, 1..9_u16).prop_map(move |(c, port)| Request::Publish(name(c), format!("{port}-{}:1-3", port + 2).parse().unwrap())),
        (0..6_u8, 1..9_u16).prop_map(move |(c, port)| Request::Publish(name(c), format!("0.0.0.0:{port}:1").parse().unwrap())),
        (0..6_u8).prop_map(move |c| Request::Unpublish(name(c), None)),
        (0..6_u8).prop_map(move |c| Request::ChangeContainer(name(c), json(r#"{"labels":{"a":"b"}}"#))),
        (0..6_u8, 0..3_u8, 0..3_u8, any::<bool>(), any::<bool>()).prop_map(|(c, n, form, named, ports)| {
            let subnets = [r#"[{"subnet":"10.7.0.0/24"}]"#, r#"[{"subnet":"10.7.0.0/24"}],[{"subnet":"fd00:7::/64"}]"#, ""][usize::from(form)];
            let inline = format!(r#"{{"inline":{{"gateway":true,"hairpin":false,"icc":true,"addressing":{{"sets":[{subnets}]}}}}}}"#);
            let network = if named { format!(r#"{{"named":"n{n}"}}"#) } else { inline };
            let ports = if ports { r#"["80:80","53:53/udp"]"# } else { "[]" };
            Request::CniAdd(json(&format!(
                r#"{{"key":{{"config":"f{n}","container":"s{c}","ifname":"eth{n}"}},"netns":"/x","name":"c{}","network":{network},"publish":{ports}}}"#,
                c / 2
            )))
        }),
        (0..6_u8, 0..3_u8).prop_map(|(c, n)| Request::CniDel(json(&format!(
            r#"{{"config":"f{n}","container":"s{c}","ifname":"eth{n}"}}"#
        )))),
        (0..6_u8, 0..3_u8).prop_map(|(c, n)| Request::CniGc(json(&format!(
            r#"{{"config":"f{n}","valid":[{{"container":"s{c}","ifname":"eth{n}"}}]}}"#
        )))),
        Just(Request::PruneNetworks),
        Just(Request::Cleanup),
    ];
    (request, 1..9_u64)
}

proptest! {
    #[test]
    fn indexes_are_what_the_wish_makes_them(requests in prop::collection::vec(request(), 1..40), back in any::<prop::sample::Index>()) {
        let mut desired = Desired::default();
        let mut changes = Vec::new();
        for (request, pid) in &requests {
            changes.extend(ask(&mut desired, request, *pid));
            prop_assert_eq!(without_history(&desired), without_history(&anew(&desired)), "after {:?}", request);
        }
        let keep = if changes.is_empty() { 0 } else { back.index(changes.len()) };
        for change in changes.drain(keep..).rev() {
            desired.apply(&change.reverse());
            prop_assert_eq!(without_history(&desired), without_history(&anew(&desired)), "back over {:?}", change);
        }
    }

    #[test]
    fn no_two_attachments_share_what_must_be_their_own(requests in prop::collection::vec(request(), 1..60)) {
        let mut desired = Desired::default();
        for (request, pid) in &requests {
            ask(&mut desired, request, *pid);
        }
        let all: Vec<&Attachment> = desired.containers.values().flat_map(|container| &container.attachments).collect();
        let count = |set: BTreeSet<String>| set.len();
        prop_assert_eq!(count(all.iter().map(|one| one.host_ifname.to_string()).collect()), all.len());
        prop_assert_eq!(count(all.iter().map(|one| one.slot.to_string()).collect()), all.len());
        prop_assert_eq!(count(all.iter().map(|one| format!("{} {}", one.network, one.mac)).collect()), all.len());
        let addresses: Vec<String> = all.iter().flat_map(|one| &one.addresses).map(ToString::to_string).collect();
        prop_assert_eq!(count(addresses.iter().cloned().collect()), addresses.len());
    }
}

#[test]
fn labels_of_an_old_container_do_not_send_the_choice_of_addresses_back() {
    let mut desired = Desired::default();
    ask(&mut desired, &Request::CreateNetwork(json(r#"{"name":"n","subnets":["10.1.0.0/24"]}"#)), 1).unwrap();
    for name in ["a", "b", "c"] {
        ask(&mut desired, &Request::CreateContainer(json(&format!(r#"{{"name":"{name}","networks":[{{"network":"n"}}]}}"#))), 1).unwrap();
    }
    ask(&mut desired, &Request::RemoveContainer("b".parse().unwrap()), 1).unwrap();
    ask(&mut desired, &Request::ChangeContainer("a".parse().unwrap(), json(r#"{"labels":{"x":"y"}}"#)), 1).unwrap();
    ask(&mut desired, &Request::CreateContainer(json(r#"{"name":"d","networks":[{"network":"n"}]}"#)), 1).unwrap();
    assert_eq!(desired.containers["d"].attachments[0].address(Family::V4), Some("10.1.0.5".parse().unwrap()));
}

#[test]
fn what_is_absent_stays_absent_when_its_labels_change_and_is_forgotten_with_it() {
    let mut desired = Desired::default();
    let create = Request::CreateContainer(json(r#"{"name":"a","netns":{"pid":1}}"#));
    ask(&mut desired, &create, 1).unwrap();
    let id = "a".parse().unwrap();
    assert!(desired.note_presence(&id, false) && !desired.note_presence(&id, false));
    ask(&mut desired, &Request::ChangeContainer("a".parse().unwrap(), json(r#"{"labels":{"x":"y"}}"#)), 1).unwrap();
    assert!(desired.is_absent(&id));
    ask(&mut desired, &Request::RemoveContainer("a".parse().unwrap()), 1).unwrap();
    ask(&mut desired, &create, 2).unwrap();
    assert!(!desired.is_absent(&id));
}

#[test]
fn addresses_of_the_host_conflict_where_they_overlap() {
    let port = |address: &str| Published {
        address: (!address.is_empty()).then(|| address.parse().unwrap()),
        protocol: Protocol::Tcp,
        host: PortRange::one(80),
        target: PortRange::one(80),
    };
    for (one, other, conflict) in [
        ("", "", true),
        ("", "127.0.0.1", true),
        ("", "0.0.0.0", true),
        ("", "::", true),
        ("0.0.0.0", "::", false),
        ("0.0.0.0", "127.0.0.1", true),
        ("0.0.0.0", "fd00::1", false),
        ("::", "fd00::1", true),
        ("127.0.0.1", "127.0.0.2", false),
        ("127.0.0.1", "127.0.0.1", true),
    ] {
        assert_eq!((port(one).conflicts(&port(other)), port(other).conflicts(&port(one))), (conflict, conflict), "{one:?} and {other:?}");
    }
    assert_eq!(port("0.0.0.0").families().collect::<Vec<_>>(), [Family::V4]);
    assert_eq!(port("::").families().collect::<Vec<_>>(), [Family::V6]);
    assert_eq!(port("").families().collect::<Vec<_>>(), Family::BOTH);
}
