//! What is committed is what is found: after any changes, in the forms of all versions, for each file's records. Makes no kernel objects.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use netd_api::{
    addr::{Family, Mac},
    cni::{Bandwidth, CniRoute, Rate},
    names::{Namespace, NetworkName},
    publish::{PortRange, Protocol},
    spec::{Guard, NamedPort},
};
use netd_core::{
    desired::{Attachment, Cni, Inline, Pool},
    objects::{NetnsId, Ns, Sysctl},
    policy::parse::{self, OtherKinds, parse},
};
use proptest::prelude::*;

use super::*;

mod versions;

/// In memory where that is possible: these tests make thousands of files, and what a sync is worth they try with disks of their own.
pub(super) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

fn store(dir: &Path) -> Result<(Store, Desired), StoreError> {
    Store::open(&dir.join("lib"), &dir.join("run"), "today")
}

/// What a daemon finds that starts after this one was killed: a copy of the files as they are now.
fn found_after_kill(dir: &Path) -> Desired {
    let copy = directory();
    for part in ["lib", "run"] {
        fs::create_dir(copy.path().join(part)).expect("a directory");
        fs::copy(dir.join(part).join(FILE), copy.path().join(part).join(FILE)).expect("a copy");
    }
    store(copy.path()).expect("the copy opens").1
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn network(number: u8, flavour: u8) -> Arc<Network> {
    let name: NetworkName = format!("n{number}").parse().expect("a name");
    let pool = |subnet: &str, gateway: &str, exclude: &str| Pool {
        subnet: subnet.parse().expect("a subnet"),
        gateway: (flavour != 3).then(|| gateway.parse().expect("an address")),
        range: subnet.parse().expect("a net"),
        excludes: vec![exclude.parse().expect("a net")],
        set: u8::from(subnet.contains(':')),
    };
    let v4 = pool(&format!("10.{number}.0.0/24"), &format!("10.{number}.0.1"), &format!("10.{number}.0.8/29"));
    let v6 = pool(&format!("fd00:{number}::/64"), &format!("fd00:{number}::1"), &format!("fd00:{number}::8/125"));
    Arc::new(Network {
        bridge: format!("nd-{number}").parse().expect("a name"),
        mac: mac(number),
        mtu: (flavour == 1).then_some(1400),
        internal: flavour == 3,
        routed: if flavour == 2 { [Family::V4, Family::V6].into() } else { BTreeSet::new() },
        masquerade: flavour != 2,
        icc: flavour != 1,
        pools: if flavour == 0 { vec![v4] } else { vec![v4, v6] },
        labels: [("tier".parse().expect("a key"), format!("f{flavour}").parse().expect("a value"))].into(),
        inline: None,
        name,
    })
}

/// The same as a CNI configuration describes it: routed, and in sets.
fn inline(number: u8, flavour: u8) -> Arc<Network> {
    let mut network = Network::clone(&network(number, flavour));
    (network.internal, network.routed, network.masquerade) = (false, [Family::V4, Family::V6].into(), flavour == 1);
    network.pools.iter_mut().rev().enumerate().for_each(|(set, pool)| pool.set = u8::try_from(set).expect("two"));
    network.inline = Some(Inline { gateway: flavour != 2, hairpin: flavour == 1, promiscuous: flavour == 2, brought: flavour == 3 });
    Arc::new(network)
}

/// A container of a CNI runtime on two networks, one of which a configuration describes.
fn attached(number: u8, flavour: u8) -> Arc<Container> {
    let mut container = Container::clone(&container(number, 2, false));
    let id = NetnsId { dev: 4, ino: 4_026_533_000 + u64::from(number) };
    container.origin = Origin::Cni { path: format!("/var/run/netns/cni-{number}"), id, order: 7 };
    container.cgroup = (flavour == 1).then(|| "/machine.slice/libpod-1.scope".to_owned());
    container.labels = [("app".parse().expect("a key"), format!("v{flavour}").parse().expect("a value"))].into();
    container.attachments[1].network = "n3".parse().expect("a name");
    let route = |text: &str| serde_json::from_str::<CniRoute>(text).expect("a route");
    let rate = |bits_per_second, burst_bits| Some(Rate { bits_per_second, burst_bits });
    for (attachment, all) in container.attachments.iter_mut().zip([true, false]) {
        let routes = vec![
            route(r#"{"dst": "0.0.0.0/0"}"#),
            route(r#"{"dst": "fd01::/48", "gw": "fd00::9", "mtu": 1400, "advmss": 1360, "priority": 5, "table": 100, "scope": 0}"#),
        ];
        attachment.cni = Some(Arc::new(Cni {
            config: format!("conf{flavour}").parse().expect("a name"),
            routes: all.then_some(routes),
            ports: if all { vec![published(number, 1), published(number, 2)] } else { Vec::new() },
            bandwidth: if all { Bandwidth { ingress: rate(1_000_000, Some(80_000)), egress: rate(8, None) } } else { Bandwidth::default() },
            sysctls: if all { [("net/ipv4/conf/eth0/arp_ignore".to_owned(), "1".to_owned())].into() } else { BTreeMap::new() },
            aliases: if all { vec!["db".to_owned()] } else { Vec::new() },
        }));
    }
    Arc::new(container)
}

fn container(number: u8, flavour: u8, made: bool) -> Arc<Container> {
    let id: ContainerId = format!("c{number}").parse().expect("an id");
    let attachment = |network: u8| Attachment {
        network: format!("n{network}").parse().expect("a name"),
        ifname: format!("eth{network}").parse().expect("a name"),
        host_ifname: format!("ndv{number}x{network}").parse().expect("a name"),
        mac: mac(number * 4 + network),
        host_mac: mac(100 + number * 4 + network),
        addresses: vec![
            format!("10.{network}.0.{}/24", number + 2).parse().expect("a net"),
            format!("fd00:{network}::{}/64", number + 2).parse().expect("a net"),
        ],
        slot: u32::from(number) * 4 + u32::from(network),
        cni: None,
    };
    let adopted =
        Origin::Adopted { path: format!("/var/run/netns/cni-{number}"), id: NetnsId { dev: 4, ino: 4_026_532_000 + u64::from(number) } };
    Arc::new(Container {
        name: format!("shop/c{number}").parse().expect("a name"),
        namespace: "shop".parse().expect("a namespace"),
        cgroup: None,
        origin: if made { Origin::Made } else { adopted },
        labels: [("app".parse().expect("a key"), format!("v{flavour}").parse().expect("a value"))].into(),
        ports: BTreeMap::new(),
        allow: Vec::new(),
        guard: Guard::On,
        attachments: (0..flavour % 3).map(attachment).collect(),
        id,
    })
}

/// The same with what policies brought.
fn guarded(number: u8, made: bool) -> Arc<Container> {
    let mut container = Container::clone(&container(number, 1, made));
    let named = |port, protocol| NamedPort { port, protocol };
    container.ports = [("http".to_owned(), named(80, Protocol::Tcp)), ("dns".to_owned(), named(53, Protocol::Udp))].into();
    container.allow = vec!["0.0.0.0/0".parse().expect("a net"), "fd00:7::/64".parse().expect("a net")];
    container.guard = if made { Guard::Off } else { Guard::On };
    Arc::new(container)
}

fn policy(number: u8, flavour: u8) -> Arc<Policy> {
    let text = if number.is_multiple_of(2) {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p{number}, namespace: shop, annotations: {{netd.io/audit: \"true\"}}}}\n\
             spec: {{podSelector: {{matchLabels: {{app: v{flavour}}}}}, ingress: [{{ports: [{{port: 80}}]}}]}}\n"
        )
    } else {
        format!(
            "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{name: p{number}}}\n\
             spec: {{tier: Admin, priority: {flavour}, subject: {{namespaces: {{}}}}, egress: [{{action: Deny, to: [{{networks: [10.0.0.0/8]}}]}}]}}\n"
        )
    };
    let mut parsed = parse(&[parse::File { name: "-", text: &text }], OtherKinds::Refuse).expect("it parses");
    Arc::new(parsed.policies.remove(0))
}

fn namespace(number: u8, flavour: u8) -> (Namespace, Labels) {
    let label = ("team".parse().expect("a key"), format!("t{flavour}").parse().expect("a value"));
    (format!("n{number}").parse().expect("a name"), [label].into())
}

fn published(port: u8, flavour: u8) -> Published {
    let first = 8000 + u16::from(port) * 10;
    let length = u16::from(flavour);
    Published {
        address: [None, Some("127.0.0.1".parse().expect("an address")), Some("fd00::7".parse().expect("an address"))]
            [usize::from(flavour % 3)],
        protocol: [Protocol::Tcp, Protocol::Udp, Protocol::Sctp][usize::from(port % 3)],
        host: PortRange { first, last: first + length },
        target: PortRange { first: 80, last: 80 + length },
    }
}

fn sysctl(number: u8) -> Sysctl {
    let ns = if number == 0 { Ns::Host } else { Ns::At(format!("/run/netns/c{number}")) };
    Sysctl { ns, key: "net/ipv4/conf/eth0.5/forwarding".to_owned() }
}

/// One wish of somebody: (what, which, how).
fn edits(desired: &Desired, (what, number, flavour): (u8, u8, u8)) -> Vec<Edit> {
    let gone = flavour == 7;
    match what {
        0 => {
            // A name stays with its kind, as those who decide see to.
            let after = (!gone).then(|| if number == 3 { inline(number, flavour % 4) } else { network(number, flavour % 4) });
            let before = desired.networks().get(&network(number, 0).name).cloned();
            vec![Edit::Network { before, after }]
        }
        1 => {
            let before = desired.containers().get(&container(number, 0, true).id).cloned();
            let ports = before
                .iter()
                .filter(|_| gone)
                .flat_map(|one| desired.publishes_of(&one.id))
                .map(|(key, published)| Edit::Publish { container: key.container.clone(), before: Some(*published), after: None });
            let made = before.as_ref().map_or(flavour % 2 == 0, |one| one.origin == Origin::Made);
            let after = || match (made, number) {
                (false, 3) => attached(number, flavour),
                (_, 2) => guarded(number, made),
                _ => container(number, flavour, made),
            };
            let last = Edit::Container { after: (!gone).then(after), before: before.clone() };
            ports.chain([last]).collect()
        }
        2 => {
            let Some(one) = desired.containers().get(&container(number, 0, true).id) else { return Vec::new() };
            let before = desired.publishes_of(&one.id).nth(usize::from(flavour % 4)).map(|(_, published)| *published);
            let wanted = published(number * 8 + flavour, flavour % 3);
            let after = (!gone && (before == Some(wanted) || desired.conflict(&wanted).is_none())).then_some(wanted);
            vec![Edit::Publish { container: one.id.clone(), before, after }]
        }
        4 => {
            let before = desired.policies().get(&policy(number, 0).name).cloned();
            vec![Edit::Policy { name: policy(number, 0).name.clone(), before, after: (!gone).then(|| policy(number, flavour)) }]
        }
        5 => {
            let before = desired.namespaces().get(&namespace(number, 0).0).cloned();
            let (namespace, labels) = namespace(number, flavour);
            vec![Edit::Namespace { namespace, before, after: (!gone).then_some(labels) }]
        }
        _ => {
            let before = desired.originals().get(&sysctl(number)).cloned();
            vec![Edit::Original { sysctl: sysctl(number), before, after: (!gone).then(|| flavour.to_string()) }]
        }
    }
}

fn apply(desired: &mut Desired, edits: &[Edit]) {
    desired.apply(&Change { edits: edits.to_vec() });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_was_committed_is_found_after_a_restart_a_kill_or_a_reboot(
        changes in prop::collection::vec((prop::collection::vec((0..6_u8, 0..4_u8, 0..8_u8), 1..4), 0..6_u8), 1..24),
    ) {
        let dir = directory();
        let (mut store, mut desired) = store(dir.path()).expect("new files");
        for (wishes, then) in changes {
            let mut all = Vec::new();
            for wish in wishes {
                let edits = edits(&desired, wish);
                apply(&mut desired, &edits);
                all.extend(edits);
            }
            store.commit(&all).expect("it commits");
            match then {
                0 => prop_assert_eq!(found_after_kill(dir.path()), desired.clone()),
                1 => {
                    drop(store);
                    let (again, found) = super::tests::store(dir.path()).expect("it opens");
                    prop_assert_eq!(&found, &desired);
                    store = again;
                }
                2 => {}
                _ => store.settle().expect("it settles"),
            }
        }
        drop(store);
        let (_, found) = Store::open(&dir.path().join("lib"), &dir.path().join("run"), "tomorrow").expect("it opens");
        let made = |id: &ContainerId| desired.containers().get(id).is_some_and(|one| one.origin == Origin::Made);
        let is_lasting = |network: &Network| network.inline.is_none();
        prop_assert!(found.networks().iter().eq(desired.networks().iter().filter(|(_, network)| is_lasting(network))));
        prop_assert!(found.originals().is_empty());
        prop_assert_eq!((found.policies(), found.namespaces()), (desired.policies(), desired.namespaces()));
        prop_assert!(found.containers().iter().eq(desired.containers().iter().filter(|(id, _)| made(id))));
        prop_assert!(found.publishes().iter().eq(desired.publishes().iter().filter(|(key, _)| made(&key.container))));
    }
}

#[test]
fn a_second_daemon_is_refused_in_one_line() {
    let dir = directory();
    let (_first, _) = store(dir.path()).expect("new files");
    let refusal = store(dir.path()).err().expect("a refusal");
    assert!(matches!(refusal, StoreError::Locked { .. }), "{refusal:?}");
    assert!(refusal.to_string().contains("another netd") && !refusal.to_string().contains('\n'), "{refusal}");
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let dir = directory();
    let path = dir.path().join("lib").join(FILE);
    drop(store(dir.path()).expect("new files"));
    versions::mark(&path, "4");
    let bytes = fs::read(&path).expect("the file");
    let refusal = store(dir.path()).err().expect("a refusal");
    assert!(matches!(refusal, StoreError::Newer { found: 4, .. }), "{refusal:?}");
    assert!(refusal.hint().contains("install that version"), "{}", refusal.hint());
    assert!(fs::read(&path).expect("the file") == bytes, "left as it was");
}

#[test]
fn an_empty_or_foreign_file_is_damage_not_a_new_start() {
    for content in [&b""[..], b"hello", &[0; 4096]] {
        let dir = directory();
        fs::create_dir(dir.path().join("lib")).expect("a directory");
        fs::write(dir.path().join("lib").join(FILE), content).expect("a file");
        let refusal = store(dir.path()).err().expect("a refusal");
        assert!(matches!(refusal, StoreError::Damaged { lasting: true, .. }), "{refusal:?}");
        assert_eq!(fs::read(dir.path().join("lib").join(FILE)).expect("the file"), content);
    }
}

#[test]
fn a_record_that_nobody_wrote_is_damage_and_named() {
    for (key, value) in [("n1", "{}"), ("n1", r#"{"name": "n1", "extra": 1}"#), ("n9", "not JSON")] {
        let why = decode(Table::Networks, key, value.as_bytes()).expect_err("damage");
        assert!(!why.is_empty());
    }
    let bytes = encode(&record::Network::from(network(1, 1).as_ref()));
    assert!(decode(Table::Networks, "n2", &bytes).expect_err("under another's key").contains("n1"));
}

#[test]
fn a_policy_that_cannot_be_read_any_more_is_named_and_kept() {
    let dir = directory();
    let edit = Edit::Policy { name: policy(0, 1).name.clone(), before: None, after: Some(policy(0, 1)) };
    let (mut first, desired) = store(dir.path()).expect("new files");
    first.commit(std::slice::from_ref(&edit)).expect("it commits");
    drop(first);
    let table = redb::TableDefinition::<'_, &str, &[u8]>::new("policies");
    // What was there, when something else takes its place.
    let swap = |text: &str| {
        let redb = redb::Database::open(dir.path().join("lib").join(FILE)).expect("redb opens it");
        let transaction = redb.begin_write().expect("a transaction");
        let mut records = transaction.open_table(table).expect("a table");
        let before = records.insert("shop/p0", text.as_bytes()).expect("an insert").expect("a record").value().to_vec();
        drop(records);
        transaction.commit().expect("a commit");
        String::from_utf8(before).expect("JSON")
    };
    let good = swap("");
    let bad = good.replace("port:", "pirt:");
    swap(&bad);
    let refusal = store(dir.path()).err().expect("a refusal");
    let words = refusal.to_string();
    assert!(matches!(&refusal, StoreError::Policy { policy, .. } if policy == "shop/p0"), "{refusal:?}");
    assert!(words.contains("policy shop/p0 in ") && words.contains("ports[0].pirt: unknown field; did you mean port?"), "{words}");
    assert!(refusal.hint().contains("it is kept as it is"), "{}", refusal.hint());
    assert_eq!(swap(&good), bad, "it was kept");
    let mut wanted = desired;
    apply(&mut wanted, &[edit]);
    assert_eq!(store(dir.path()).expect("it opens").1, wanted);
}

/// A file whose syncs fail as long as the switch is on.
#[derive(Debug)]
struct Unsyncable(File, Arc<AtomicBool>);

impl backend::Disk for Unsyncable {
    fn len(&self) -> io::Result<u64> {
        backend::Disk::len(&self.0)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        backend::Disk::read(&self.0, offset, out)
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        backend::Disk::write(&self.0, offset, data)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        backend::Disk::set_len(&self.0, len)
    }
    fn sync(&self) -> io::Result<()> {
        if self.1.load(Ordering::SeqCst) { Err(io::Error::from_raw_os_error(nix::libc::EIO)) } else { Ok(()) }
    }
}

#[test]
fn a_change_of_both_files_that_the_disk_does_not_take_is_in_neither() {
    let dir = directory();
    let broken = Arc::new(AtomicBool::new(false));
    let disks: Disks = Arc::new({
        let broken = Arc::clone(&broken);
        move |file| Arc::new(Unsyncable(file, Arc::clone(&broken)))
    });
    let (mut store, mut desired) = Store::open_on(&dir.path().join("lib"), &dir.path().join("run"), "today", &disks).expect("new files");
    let adopted = vec![
        Edit::Network { before: None, after: Some(network(1, 1)) },
        Edit::Container { before: None, after: Some(container(2, 2, false)) },
        Edit::Publish { container: container(2, 2, false).id.clone(), before: None, after: Some(published(1, 0)) },
    ];
    let original = [Edit::Original { sysctl: sysctl(0), before: None, after: Some("0".to_owned()) }];
    broken.store(true, Ordering::SeqCst);
    store.commit(&adopted).expect("it is in the page cache");
    store.commit(&original).expect("tmpfs takes it, and does not wait for the disk");
    let refusal = store.settle().expect_err("a refusal");
    assert!(matches!(refusal, StoreError::Sync { .. }), "{refusal:?}");
    assert!(matches!(store.commit(&adopted), Err(StoreError::Write { .. } | StoreError::Sync { .. })), "the disk is still bad");
    apply(&mut desired, &original);

    broken.store(false, Ordering::SeqCst);
    let network = [Edit::Network { before: None, after: Some(network(0, 0)) }];
    store.commit(&network).and_then(|()| store.settle()).expect("the disk is good again");
    apply(&mut desired, &network);
    assert_eq!(found_after_kill(dir.path()), desired);
    store.commit(&adopted).and_then(|()| store.settle()).expect("what was refused can be tried again");
    apply(&mut desired, &adopted);
    assert_eq!(found_after_kill(dir.path()), desired);
}

/// A file that shows both to whoever starts when this process is killed, before each of its writes.
#[derive(Debug)]
struct Shown(File, Arc<Witness>);

#[derive(Debug)]
struct Witness {
    dir: std::path::PathBuf,
    watching: AtomicBool,
    found: std::sync::Mutex<Vec<Desired>>,
}

impl backend::Disk for Shown {
    fn len(&self) -> io::Result<u64> {
        backend::Disk::len(&self.0)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        backend::Disk::read(&self.0, offset, out)
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.1.watching.load(Ordering::SeqCst) {
            self.1.found.lock().expect("nobody panicked").push(found_after_kill(&self.1.dir));
        }
        backend::Disk::write(&self.0, offset, data)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        backend::Disk::set_len(&self.0, len)
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_kill_between_the_files_never_leaves_a_container_of_a_runtime_without_its_network() {
    let dir = directory();
    let witness =
        Arc::new(Witness { dir: dir.path().to_owned(), watching: AtomicBool::new(false), found: std::sync::Mutex::new(Vec::new()) });
    let disks: Disks = Arc::new({
        let witness = Arc::clone(&witness);
        move |file| Arc::new(Shown(file, Arc::clone(&witness)))
    });
    let (mut store, _) = Store::open_on(&dir.path().join("lib"), &dir.path().join("run"), "today", &disks).expect("new files");
    let change = vec![
        Edit::Network { before: None, after: Some(network(0, 0)) },
        Edit::Network { before: None, after: Some(inline(3, 1)) },
        Edit::Container { before: None, after: Some(attached(3, 1)) },
        Edit::Publish { container: attached(3, 1).id.clone(), before: None, after: Some(published(3, 1)) },
    ];
    witness.watching.store(true, Ordering::SeqCst);
    store.commit(&change).expect("it commits");
    store.commit(&Change { edits: change }.reverse().edits).expect("it commits");
    witness.watching.store(false, Ordering::SeqCst);
    let found = witness.found.lock().expect("nobody panicked");
    let with_container = |desired: &&Desired| !desired.containers().is_empty();
    assert!(found.iter().filter(with_container).count() > 1 && found.iter().any(|desired| !with_container(&desired)), "{}", found.len());
    for (at, desired) in found.iter().enumerate() {
        for attachment in desired.containers().values().flat_map(|container| &container.attachments) {
            assert!(desired.networks().contains_key(&attachment.network), "before write {at}: no network {}", attachment.network);
        }
        assert!(desired.publishes().keys().all(|key| desired.containers().contains_key(&key.container)), "before write {at}");
    }
}
