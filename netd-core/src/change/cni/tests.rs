//! What a runtime's requests amount to: who is attached, by which name, with which ports; each decision by itself.

use netd_api::{cni::CniAttachment, message::Request, publish::Protocol};
use serde_json::{Value, json};

use super::*;
use crate::{
    desired::PublishKey,
    expand::{Scope, expand},
    host::{Features, Holder, Taken, Uplink},
    objects::{Objects, Reservation},
};

mod lost;
mod networks;
mod told;
mod walk;

/// A wish on a host with namespaces of runtimes.
struct World {
    desired: Desired,
    host: Host,
    held: Vec<(Reservation, String)>,
    /// The number of the namespace at a path, where it is not the path's own.
    renumbered: BTreeMap<String, u64>,
}

impl World {
    fn new() -> Self {
        let uplink = Uplink { mtu: 1500, families: Family::BOTH.into(), lives_from_ra: false };
        let taken = |net: &str, by| Taken { net: net.parse().unwrap(), by };
        let host = Host {
            uplinks: [("up0".parse().unwrap(), uplink)].into(),
            taken: vec![
                taken("192.0.2.0/24", Holder::Address("up0".parse().unwrap())),
                taken("10.244.0.0/16", Holder::Route("up0".parse().unwrap())),
            ],
            foreign_links: ["cni0".parse().unwrap()].into(),
            ephemeral: (32768, 60999),
            features: Features { ipv6: true, force_forwarding: true, datapath: true, sctp_sockets: true, sysctls: true },
            ..Host::default()
        };
        Self { desired: Desired::default(), host, held: Vec::new(), renumbered: BTreeMap::new() }
    }

    /// What is at a path: `/ns/7` has the number 7, and the interfaces that the wish has put there.
    fn found(&self, path: &str) -> Found {
        let own = path.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or(1);
        let id = NetnsId { dev: 4, ino: *self.renumbered.get(path).unwrap_or(&own) };
        let here = self.desired.containers().values().filter(|one| one.origin.netns_id() == Some(id) && one.netns() == path);
        let links = here.flat_map(|container| &container.attachments).map(|attachment| attachment.ifname.clone());
        Found { path: path.to_owned(), id, links: links.chain(["lo".parse().unwrap()]).collect() }
    }

    fn with<T>(&self, found: Option<&Found>, then: impl FnOnce(Context<'_>) -> T) -> T {
        let pools: Vec<_> = crate::ipam::default_v4().into_iter().chain(crate::ipam::default_v6(7)).collect();
        then(Context { host: &self.host, pools: &pools, found, busy: &[], held: &self.held })
    }

    fn decide(&self, request: &Request) -> Result<Change, Fault> {
        let path = match request {
            Request::CniAdd(add) => Some(add.netns.clone()),
            Request::CreateContainer(spec) => match &spec.netns {
                netd_api::spec::Source::Path(path) => Some(path.clone()),
                _ => None,
            },
            Request::Connect(name, _) => self.desired.find(name).map(|container| container.netns()),
            _ => None,
        };
        let found = path.map(|path| self.found(&path));
        self.with(found.as_ref(), |context| crate::change::change(&self.desired, request, context))
    }

    fn ask(&mut self, request: &Request) -> Result<Change, Fault> {
        let change = self.decide(request)?;
        self.desired.apply(&change);
        Ok(change)
    }

    /// ADD by configuration `net`, interface eth0, in the namespace of the container's number.
    fn add(&mut self, wanted: Value) -> Result<Change, Fault> {
        self.ask(&add(wanted))
    }

    #[track_caller]
    fn refused(&self, wanted: Value, code: Code, words: &str) {
        let fault = self.decide(&add(wanted)).expect_err("it was not refused");
        assert_eq!(fault.code, code, "{fault}");
        assert!(fault.what.contains(words), "{:?} does not say {words:?}", fault.what);
        assert!(!fault.hint.is_empty(), "{fault:?} says nothing of what to do");
    }

    #[track_caller]
    fn found_as(&self, name: &str) -> Option<&str> {
        self.desired.find(&name.parse().unwrap()).map(|container| container.id.as_str())
    }

    fn attachment(&self, container: &str, ifname: &str) -> &Attachment {
        let attachments = &self.desired.containers()[container].attachments;
        attachments.iter().find(|attachment| attachment.ifname.as_str() == ifname).expect("an attachment")
    }

    fn addresses(&self, container: &str) -> Vec<String> {
        let attachments = &self.desired.containers()[container].attachments;
        attachments.iter().flat_map(|attachment| &attachment.addresses).map(ToString::to_string).collect()
    }

    fn objects(&self) -> Objects {
        expand(&self.desired, &self.host, &Scope::Everything)
    }

    /// Routes as `DST VIA LINK`.
    fn routes(&self) -> Vec<String> {
        let via = |route: &Route| route.via.map_or_else(|| "-".to_owned(), |via| via.to_string());
        self.objects().routes.iter().map(|route| format!("{} {} {}", route.dst, via(route), route.link)).collect()
    }
}

/// A key of a configuration `net` and interface eth0 where it says nothing else.
fn key(of: &Value) -> CniKey {
    let text = |name: &str, default: &str| of.get(name).and_then(Value::as_str).unwrap_or(default).to_owned();
    CniKey {
        config: text("config", "net").parse().unwrap(),
        container: text("id", "c1").parse().unwrap(),
        ifname: text("ifname", "eth0").parse().unwrap(),
    }
}

/// An ADD with the parts that are given; by default on a network described with one subnet, in the namespace `/ns/1`.
fn add(mut wanted: Value) -> Request {
    let parts = wanted.as_object_mut().unwrap();
    let key = key(&Value::Object(parts.clone()));
    for name in ["config", "id", "ifname"] {
        parts.remove(name);
    }
    parts.insert("key".to_owned(), serde_json::to_value(&key).unwrap());
    parts.entry("netns").or_insert_with(|| json!("/ns/1"));
    parts.entry("network").or_insert_with(|| subnet("10.1.0.0/24"));
    Request::CniAdd(serde_json::from_value(wanted).unwrap())
}

fn del_of(of: &Value) -> Request {
    Request::CniDel(key(of))
}

fn gc_of(config: &str, valid: &[(&str, &str)]) -> Request {
    let one = |(container, ifname): &(&str, &str)| CniAttachment { container: container.parse().unwrap(), ifname: ifname.parse().unwrap() };
    Request::CniGc(CniGc { config: config.parse().unwrap(), valid: valid.iter().map(one).collect() })
}

/// A network that the configuration describes, with these changed.
fn inline(parts: &Value) -> Value {
    let mut all = json!({ "gateway": true, "hairpin": false, "icc": true, "addressing": { "sets": [] } });
    all.as_object_mut().unwrap().extend(parts.as_object().unwrap().clone());
    json!({ "inline": all })
}

fn subnet(subnet: &str) -> Value {
    inline(&json!({ "addressing": { "sets": [[{ "subnet": subnet }]] } }))
}

fn named(name: &str) -> Value {
    json!({ "named": name })
}

fn request(json: &str) -> Request {
    Request::CreateContainer(serde_json::from_str(json).unwrap())
}

fn create_network(json: &str) -> Request {
    Request::CreateNetwork(serde_json::from_str(json).unwrap())
}

fn port(address: Option<&str>, host: u16, target: u16) -> Published {
    use netd_api::publish::PortRange;
    let address = address.map(|address| address.parse().unwrap());
    Published { address, protocol: Protocol::Tcp, host: PortRange::one(host), target: PortRange::one(target) }
}

fn publish_key(container: &str, first: u16) -> PublishKey {
    PublishKey { container: container.parse().unwrap(), protocol: Protocol::Tcp, first, address: None }
}

#[test]
fn a_container_comes_with_its_first_attachment_and_goes_with_its_last() {
    let mut world = World::new();
    world.add(json!({ "id": "0123456789abcdef", "labels": { "a": "1" }, "cgroup": "/x" })).unwrap();
    let container = &world.desired.containers()["0123456789abcdef"];
    assert_eq!((container.name.as_str(), container.netns().as_str()), ("0123456789ab", "/ns/1"));
    assert!(matches!(container.origin, Origin::Cni { id: NetnsId { ino: 1, .. }, .. }));
    world
        .add(
            json!({ "id": "0123456789abcdef", "config": "other", "ifname": "eth1", "network": subnet("10.2.0.0/24"), "labels": { "b": "2" },
        "cgroup": "/y", "name": "late" }),
        )
        .unwrap();
    let container = &world.desired.containers()["0123456789abcdef"];
    assert_eq!((container.attachments.len(), container.name.as_str(), container.cgroup.as_deref()), (2, "0123456789ab", Some("/x")));
    assert_eq!(container.labels.len(), 2);
    world.ask(&del_of(&json!({ "id": "0123456789abcdef" }))).unwrap();
    assert_eq!(world.addresses("0123456789abcdef"), ["10.2.0.2/24"]);
    world.ask(&del_of(&json!({ "id": "0123456789abcdef", "config": "other", "ifname": "eth1" }))).unwrap();
    assert!(world.desired.containers().is_empty());
    assert_eq!(world.desired.networks().len(), 2, "networks stay, as the reference plugin's bridge does");
}

#[test]
fn a_key_that_nobody_knows_is_removed_already() {
    let mut world = World::new();
    world.add(json!({})).unwrap();
    for other in [json!({ "id": "c2" }), json!({ "config": "other" }), json!({ "ifname": "eth1" })] {
        assert!(world.ask(&del_of(&other)).unwrap().edits.is_empty(), "{other}");
    }
    world.ask(&del_of(&json!({}))).unwrap();
    assert!(world.ask(&del_of(&json!({}))).unwrap().edits.is_empty());
}

#[test]
fn the_same_add_twice_finds_the_interface_taken() {
    let mut world = World::new();
    world.add(json!({})).unwrap();
    world.refused(json!({}), Code::BadInterface, "has an interface eth0 already");
    world.refused(json!({ "config": "other", "network": subnet("10.2.0.0/24") }), Code::BadInterface, "eth0");
    world.refused(json!({ "ifname": "lo" }), Code::BadInterface, "lo");
    world.add(json!({ "ifname": "eth1" })).unwrap();
    assert_eq!(world.addresses("c1"), ["10.1.0.2/24", "10.1.0.3/24"]);
}

#[test]
fn a_container_that_comes_again_in_another_namespace_replaces_what_was_left() {
    let mut world = World::new();
    let wanted = |netns: &str, ports: Value| json!({ "netns": netns, "addresses": [{ "address": "10.1.0.9" }], "mac": "02:00:00:00:00:09", "publish": ports });
    world.add(wanted("/ns/1", json!(["80:80", "81:81"]))).unwrap();
    world.add(json!({ "ifname": "eth1", "netns": "/ns/1" })).unwrap();
    let before = world.desired.clone();
    let change = world.add(wanted("/ns/2", json!(["80:80", "81:82"]))).unwrap();
    assert_eq!(world.addresses("c1"), ["10.1.0.9/24"], "a lost namespace keeps no interface");
    assert_eq!(world.desired.containers()["c1"].netns(), "/ns/2");
    let ports: Vec<(u16, u16)> = world.desired.publishes().values().map(|port| (port.host.first, port.target.first)).collect();
    assert_eq!(ports, [(80, 80), (81, 82)]);
    world.desired.apply(&change.reverse());
    assert!(world.desired == before);
}

#[test]
fn what_is_replaced_makes_room_on_a_full_bridge() {
    let mut world = World::new();
    for n in 1..=1023 {
        world.add(json!({ "id": format!("c{n}"), "netns": format!("/ns/{n}"), "network": subnet("10.1.0.0/16") })).unwrap();
    }
    world.refused(json!({ "id": "one-more", "netns": "/ns/2000", "network": subnet("10.1.0.0/16") }), Code::BridgeFull, "1023 ports");
    world.add(json!({ "netns": "/ns/2000", "network": subnet("10.1.0.0/16") })).unwrap();
}

#[test]
fn a_container_whose_namespace_has_gone_may_come_again_at_the_same_number() {
    let mut world = World::new();
    world.add(json!({})).unwrap();
    world.desired.note_presence(&"c1".parse().unwrap(), false);
    let found = Found { path: "/ns/1".to_owned(), id: NetnsId { dev: 4, ino: 1 }, links: [].into() };
    let change = world.with(Some(&found), |context| crate::change::change(&world.desired, &add(json!({})), context)).unwrap();
    world.desired.apply(&change);
    assert_eq!(world.desired.containers()["c1"].attachments.len(), 1);
}

#[test]
fn a_namespace_that_netd_made_or_that_another_container_has_is_in_use() {
    let mut world = World::new();
    world.ask(&request(r#"{"name":"made","networks":[]}"#)).unwrap();
    for path in ["/run/netns/made", "/var/run/netns/made"] {
        world.refused(json!({ "netns": path }), Code::InUse, "is the namespace of container made");
    }
    world.ask(&request(r#"{"name":"adopted","netns":{"path":"/ns/5"}}"#)).unwrap();
    world.refused(json!({ "netns": "/ns/5" }), Code::InUse, "is the namespace of container adopted");
    world.add(json!({ "id": "c6", "netns": "/ns/6" })).unwrap();
    world.refused(json!({ "id": "c7", "netns": "/ns/6" }), Code::InUse, "is the namespace of container c6");
}

#[test]
fn a_namespace_with_the_number_of_one_that_has_gone_is_no_trouble() {
    let mut world = World::new();
    world.add(json!({ "id": "old", "netns": "/ns/1", "publish": ["80:80"] })).unwrap();
    world.renumbered.insert("/ns/2".to_owned(), 1);
    world.add(json!({ "id": "new", "netns": "/ns/2", "publish": ["80:80"] })).unwrap_err();
    world.add(json!({ "id": "new", "netns": "/ns/2" })).unwrap();
    assert_eq!(world.desired.containers().keys().map(ContainerId::as_str).collect::<Vec<_>>(), ["new"]);
    assert!(world.desired.publishes().is_empty());
}

#[test]
fn an_id_of_a_container_that_no_runtime_brought_is_taken() {
    let mut world = World::new();
    world.ask(&request(r#"{"name":"c1","networks":[]}"#)).unwrap();
    world.refused(json!({}), Code::Exists, "netd has a container of that name");
    assert!(world.ask(&del_of(&json!({}))).unwrap().edits.is_empty());
    assert_eq!(world.desired.containers().len(), 1);
}

#[test]
fn a_name_goes_to_the_newest_and_comes_back() {
    let mut world = World::new();
    for (n, id) in ["old-sandbox-1", "new-sandbox-2"].iter().enumerate() {
        world.add(json!({ "id": id, "netns": format!("/ns/{n}"), "name": "default/web" })).unwrap();
    }
    assert_eq!(world.found_as("default/web"), Some("new-sandbox-2"));
    assert_eq!(world.found_as("old-sandbox-1"), Some("old-sandbox-1"));
    assert_eq!(world.found_as("new-sandbox-"), Some("new-sandbox-2"), "12 bytes of an id will do");
    assert_eq!(world.found_as("new-sandbox"), None, "11 will not");
    world.ask(&del_of(&json!({ "id": "new-sandbox-2" }))).unwrap();
    assert_eq!(world.found_as("default/web"), Some("old-sandbox-1"));
    for (n, id) in ["aaaaaaaaaaaa-1", "aaaaaaaaaaaa-2"].iter().enumerate() {
        world.add(json!({ "id": id, "netns": format!("/ns/1{n}"), "name": format!("pod{n}") })).unwrap();
    }
    assert_eq!(world.found_as("aaaaaaaaaaaa"), None, "two ids begin so");
    world.ask(&request(r#"{"name":"pod","networks":[]}"#)).unwrap();
    world.add(json!({ "id": "late", "netns": "/ns/20", "name": "pod" })).unwrap();
    assert_eq!(world.found_as("pod"), Some("pod"), "what people named so is meant first");
    world.add(json!({ "id": "later", "netns": "/ns/21", "name": "old-sandbox-1" })).unwrap();
    assert_eq!(world.found_as("old-sandbox-1"), Some("later"), "a display name before an id of a runtime's");
}

#[test]
fn gc_takes_what_is_not_valid_and_leaves_other_configurations_alone() {
    let mut world = World::new();
    for (n, id) in ["a", "b"].iter().enumerate() {
        for (config, ifname, net) in [("net", "eth0", "10.1.0.0/24"), ("net", "eth1", "10.1.0.0/24"), ("other", "eth2", "10.2.0.0/24")] {
            world
                .add(json!({ "id": id, "config": config, "ifname": ifname, "netns": format!("/ns/{n}"), "network": subnet(net) }))
                .unwrap();
        }
    }
    let change = world.ask(&gc_of("net", &[("a", "eth0"), ("stranger", "eth0")])).unwrap();
    let gone: Vec<String> = removed(&change).iter().map(|key| format!("{} {} {}", key.config, key.container, key.ifname)).collect();
    assert_eq!(gone, ["net a eth1", "net b eth0", "net b eth1"]);
    let left = |id: &str| -> Vec<&str> {
        world.desired.containers()[id].attachments.iter().map(|attachment| attachment.ifname.as_str()).collect()
    };
    assert_eq!((left("a"), left("b")), (vec!["eth0", "eth2"], vec!["eth2"]));
    assert!(world.ask(&gc_of("net", &[("a", "eth0")])).unwrap().edits.is_empty());
    let change = world.ask(&gc_of("other", &[])).unwrap();
    assert_eq!(removed(&change).len(), 2);
    assert_eq!(world.desired.containers().keys().map(ContainerId::as_str).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn two_attachments_may_ask_for_one_port_and_it_stays_until_the_last_has_gone() {
    let mut world = World::new();
    let second = json!({ "config": "other", "ifname": "eth1", "network": subnet("10.2.0.0/24"), "publish": ["80:8080", "90:90"] });
    world.add(json!({ "publish": ["80:8080", "80:8080"] })).unwrap();
    world.add(second).unwrap();
    assert_eq!(world.desired.publishes().len(), 2);
    let target = |world: &World| {
        let elements = world.objects().elements;
        let mut ports = elements.iter().filter_map(|element| match element {
            crate::firewall::Element::Publish(publish) if publish.port == 80 && publish.target.is_ipv4() => {
                Some(publish.target.to_string())
            }
            _ => None,
        });
        ports.next()
    };
    assert_eq!(target(&world).as_deref(), Some("10.1.0.2"));
    world.ask(&del_of(&json!({}))).unwrap();
    assert_eq!(target(&world).as_deref(), Some("10.2.0.2"));
    assert_eq!(world.desired.publishes().len(), 2);
    world.ask(&del_of(&json!({ "config": "other", "ifname": "eth1" }))).unwrap();
    assert!(world.desired.publishes().is_empty());
}

#[test]
fn ports_of_a_runtime_are_not_held_and_those_of_netctl_are() {
    let mut world = World::new();
    world.add(json!({ "publish": ["80:80"], "name": "web" })).unwrap();
    world.ask(&Request::Publish("web".parse().unwrap(), "81:81".parse().unwrap())).unwrap();
    let held: Vec<u16> = world.objects().reservations.iter().map(|port| port.port).collect();
    assert_eq!(held, [81]);
}

#[test]
fn a_port_that_somebody_has_is_refused_with_his_name() {
    let mut world = World::new();
    world.add(json!({ "id": "first", "publish": ["80:80"], "name": "web" })).unwrap();
    world.refused(json!({ "netns": "/ns/2", "publish": ["80:81"] }), Code::PortTaken, "port 80 is published for container web");
    world.refused(json!({ "id": "first", "ifname": "eth1", "publish": ["80:81"] }), Code::PortTaken, "container web");
    world.held = vec![(Reservation { protocol: Protocol::Tcp, address: None, port: 443 }, "nginx (pid 7)".to_owned())];
    world.refused(json!({ "netns": "/ns/2", "publish": ["400-500:400-500"] }), Code::PortTaken, "port 443 is in use by nginx (pid 7)");
    world.refused(json!({ "netns": "/ns/2", "publish": ["127.0.0.1:443:1"] }), Code::PortTaken, "nginx");
    for free in ["443:443/udp", "444:443"] {
        assert!(world.decide(&add(json!({ "netns": "/ns/2", "publish": [free] }))).is_ok(), "{free}");
    }
}

#[test]
fn ports_wait_for_a_network_with_a_way_out() {
    let mut world = World::new();
    world.ask(&create_network(r#"{"name":"in","internal":true}"#)).unwrap();
    world.add(json!({ "network": named("in"), "publish": ["80:80"] })).unwrap();
    let published = |world: &World| world.objects().elements.iter().any(|element| matches!(element, crate::firewall::Element::Publish(_)));
    assert!(!published(&world));
    let container = &world.desired.containers()["c1"];
    let view = crate::show::container(&world.desired, container);
    assert_eq!(view.ports[0].state, netd_api::view::PortState::Waiting);
    world.add(json!({ "config": "other", "ifname": "eth1", "publish": ["80:80"] })).unwrap();
    assert!(published(&world));
}

#[test]
fn what_netctl_withdraws_or_disconnects_of_a_runtime_leaves_no_trace() {
    let mut world = World::new();
    world.add(json!({ "publish": ["80:80", "81:81"], "name": "web" })).unwrap();
    world.add(json!({ "config": "other", "ifname": "eth1", "network": subnet("10.2.0.0/24"), "publish": ["80:80", "82:82"] })).unwrap();
    world.ask(&Request::Unpublish("web".parse().unwrap(), Some("80:80".parse().unwrap()))).unwrap();
    assert_eq!(world.desired.publishes().keys().map(|key| key.first).collect::<Vec<_>>(), [81, 82]);
    world.ask(&Request::Disconnect("web".parse().unwrap(), "other".parse().unwrap(), None)).unwrap();
    assert_eq!(world.desired.publishes().get(&publish_key("c1", 81)), Some(&port(None, 81, 81)));
    assert_eq!(world.desired.publishes().len(), 1, "80 does not come again, and 82 went with its attachment");
    let last = Request::Disconnect("web".parse().unwrap(), "net".parse().unwrap(), None);
    assert_eq!(world.ask(&last).unwrap_err().code, Code::InUse);
    world.ask(&create_network(r#"{"name":"more"}"#)).unwrap();
    world.ask(&Request::Connect("web".parse().unwrap(), serde_json::from_str(r#"{"network":"more"}"#).unwrap())).unwrap();
    assert_eq!(world.ask(&last).unwrap_err().code, Code::InUse, "the runtime would not take it away any more");
    world.ask(&del_of(&json!({}))).unwrap();
    assert!(world.desired.containers().is_empty(), "what netctl connected goes with the runtime's last attachment");
}

#[test]
fn sysctls_are_those_of_a_namespace_and_not_netds_own() {
    let mut world = World::new();
    for (key, code) in [
        ("kernel/hostname", Code::BadRequest),
        ("net/../kernel/hostname", Code::BadRequest),
        ("/net/ipv4/ip_forward", Code::BadRequest),
        ("net//ipv4", Code::BadRequest),
        ("net/", Code::BadRequest),
        ("net/ipv6/conf/eth0/disable_ipv6", Code::Impossible),
    ] {
        world.refused(json!({ "sysctls": { key: "0" } }), code, key);
    }
    let asked = json!({ "net/ipv4/conf/eth0/arp_ignore": "1", "net/ipv6/conf/eth0/disable_ipv6": "1" });
    world.add(json!({ "sysctls": asked })).unwrap();
    let set = world.objects().sysctls;
    let inside =
        |key: &str| set.iter().find(|(sysctl, _)| sysctl.key == key && sysctl.ns.path().is_some()).map(|(_, value)| value.as_str());
    assert_eq!((inside("net/ipv4/conf/eth0/arp_ignore"), inside("net/ipv6/conf/eth0/disable_ipv6")), (Some("1"), Some("1")));
    world.refused(
        json!({ "config": "other", "ifname": "eth1", "network": subnet("10.2.0.0/24"), "sysctls": { "net/ipv6/conf/eth0/disable_ipv6": "0" } }),
        Code::Impossible,
        "eth0/disable_ipv6 cannot be 0",
    );
}

#[test]
fn without_a_namespace_nothing_is_decided() {
    let world = World::new();
    let fault = world.with(None, |context| crate::change::change(&world.desired, &add(json!({})), context)).unwrap_err();
    assert_eq!(fault.code, Code::BadNamespace);
}

#[test]
fn aliases_and_routes_that_cannot_be_are_refused() {
    let world = World::new();
    for (part, value, words) in [
        ("aliases", json!([""]), "an alias has 0 bytes"),
        ("aliases", json!(["x".repeat(254)]), "an alias has 254 bytes"),
        ("aliases", json!(vec!["x"; 257]), "257 aliases"),
        ("routes", json!([{ "dst": "10.9.0.0/16", "gw": "fd00::1" }]), "cannot lead by fd00::1"),
        ("routes", json!([{ "dst": "10.9.0.0/16", "gw": "0.0.0.0" }]), "cannot lead by 0.0.0.0"),
    ] {
        world.refused(json!({ part: value }), Code::BadRequest, words);
    }
}

#[test]
fn what_a_container_sends_is_paced_by_the_programs_or_the_add_is_refused() {
    let mut world = World::new();
    world.host.features.datapath = false;
    let rate = json!({ "bits_per_second": 1_000_000 });
    world.refused(json!({ "bandwidth": { "egress": rate } }), Code::Unsupported, "programs are off");
    world.add(json!({ "bandwidth": { "ingress": rate } })).unwrap();
    world.host.features.datapath = true;
    world.add(json!({ "id": "c2", "netns": "/ns/2", "bandwidth": { "egress": rate } })).unwrap();
}
