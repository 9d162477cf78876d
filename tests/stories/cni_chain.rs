//! netd-cni among other plugins: it delegates to another IPAM plugin and gives back what it got where its own part fails; it passes on what came
//! before it, and Debian's reference plugins work behind it.

use lab::{HOST_V4, Lab, OUTSIDE_V4, cni::Conflist};
use serde_json::{Value, json};

/// A list whose addresses come from another plugin.
fn delegating(kind: &str) -> Conflist {
    Conflist::netd("web", json!({"isDefaultGateway": true, "ipMasq": true, "ipam": {"type": kind, "site": 7}}))
}

fn lease(last: u8) -> Value {
    json!({
        "cniVersion": "1.1.0",
        "ips": [{"address": format!("10.44.0.{last}/24"), "gateway": "10.44.0.1"}, {"address": format!("fd00:44::{last}/64"), "gateway": "fd00:44::1"}],
        "routes": [{"dst": "10.50.0.0/16"}],
        "dns": {"nameservers": ["10.44.0.53"]},
    })
}

#[test]
fn addresses_of_another_ipam_plugin_are_the_containers() {
    let lab = Lab::new();
    let cni = lab.cni();
    let ipam = lab.ipam("company");
    let list = delegating("company");
    lab.outside().serves(90);
    let [a, b] = ["a", "b"].map(|id| cni.sandbox(id).listens(80));
    ipam.gives(&lease(7));
    let added = a.eth0().port(8080, 80, "tcp").joins(&list);
    assert_eq!(added.addresses(), ["10.44.0.7/24", "fd00:44::7/64"]);
    assert_eq!(added.json["dns"]["nameservers"], json!(["10.44.0.53"]));
    added.expect_real(&a, lab.here());
    let asked = ipam.asked("ADD");
    assert_eq!(
        (&asked["ipam"]["site"], &asked["name"], &asked["type"]),
        (&json!(7), &json!("web"), &json!("netd-cni")),
        "the whole configuration"
    );
    ipam.gives(&lease(8));
    b.joins(&list);
    b.fetches(added.v4(80)).expect_from("a");
    b.fetches(added.v6(80)).expect_from("a");
    a.fetches((OUTSIDE_V4, 90)).expect_from(lab.outside());
    lab.outside().fetches((HOST_V4, 8080)).expect_from("a");
    a.eth0().is_well(&list);
    ipam.asked("CHECK");
    cni.status(&list).unwrap();
    ipam.asked("STATUS");
    cni.collects(&list, &[a.eth0(), b.eth0()]).unwrap();
    assert!(ipam.asked("GC")["cni.dev/valid-attachments"].is_array());
    a.leaves(&list);
    b.leaves(&list);
    let ends = |call: &str| ipam.calls().iter().filter(|said| said.starts_with(call)).count();
    assert_eq!((ends("DEL a eth0"), ends("DEL b eth0")), (1, 1), "{:?}", ipam.calls());
    a.ends();
    b.ends();
    lab.ends_clean();
}

#[test]
fn where_our_part_fails_the_other_plugins_addresses_are_given_back() {
    let lab = Lab::new();
    let ipam = lab.ipam("company");
    let list = delegating("company");
    let a = lab.cni().sandbox("a");
    a.run("ip", &["link", "add", "eth0", "type", "bridge"]);
    ipam.gives(&lease(7));
    lab.unchanged_by(|| {
        a.eth0().cannot_join(&list, 4).naming("eth0");
    });
    assert_eq!(ipam.calls(), ["ADD a eth0 /run/netns/a", "DEL a eth0 /run/netns/a"]);
    // Without netd too: code 11, and nothing is kept.
    a.run("ip", &["link", "del", "eth0"]);
    lab.netd().stop();
    a.eth0().cannot_join(&list, 11);
    let calls = ipam.calls();
    let [adds, dels] = ["ADD", "DEL"].map(|command| calls.iter().filter(|call| call.starts_with(command)).count());
    assert_eq!(adds, dels, "{calls:?}");
    lab.netd().start();
    a.ends();
    lab.ends_clean();
}

#[test]
fn where_the_other_plugin_fails_its_error_is_passed_on_and_nothing_is_made() {
    let lab = Lab::new();
    let ipam = lab.ipam("company");
    let list = delegating("company");
    let a = lab.cni().sandbox("a");
    ipam.fails("ADD", &json!({"cniVersion": "1.1.0", "code": 117, "msg": "no lease", "details": "the server is silent"}));
    lab.unchanged_by(|| {
        a.eth0().cannot_join(&list, 117).naming("no lease");
        a.eth0().is_refused(&delegating("nobody")).naming("nobody");
        a.eth0().is_refused(&delegating("../etc/passwd")).naming("../etc/passwd");
    });
    assert_eq!(a.links(), ["lo"]);
    ipam.fails("STATUS", &json!({"cniVersion": "1.1.0", "code": 50, "msg": "the server is silent"}));
    lab.cni().status(&list).expect_err("the IPAM plugin cannot serve").with_code(50).naming("silent");
    a.ends();
    lab.ends_clean();
}

#[test]
fn debians_host_local_under_another_name_works_as_a_delegate() {
    let lab = Lab::new();
    let cni = lab.cni();
    // Debian's host-local itself, under a name that netd does not know.
    lab.here().run("install", &["-m", "755", "/usr/lib/cni/host-local", "/opt/cni/bin/files"]);
    let ipam =
        json!({"type": "files", "ranges": [[{"subnet": "10.45.0.0/24"}], [{"subnet": "fd00:45::/64"}]], "routes": [{"dst": "0.0.0.0/0"}]});
    let list = delegating("files").with("ipam", ipam).version("1.0.0");
    let [a, b] = ["a", "b"].map(|id| cni.sandbox(id).listens(80));
    let added = a.joins(&list);
    added.expect_real(&a, lab.here());
    b.joins(&list).expect_real(&b, lab.here());
    b.fetches(added.v4(80)).expect_from("a");
    a.eth0().is_well(&list);
    let kept = || std::fs::read_dir(lab.host().path("/var/lib/cni/networks/web")).unwrap().flatten().count();
    let two = kept();
    a.leaves(&list);
    assert!(kept() < two, "its address is given back");
    b.leaves(&list);
    a.ends();
    b.ends();
    lab.ends_clean();
}

#[test]
fn what_came_before_in_the_chain_is_passed_on() {
    let lab = Lab::new();
    let a = lab.cni().sandbox("a").listens(80);
    let alone = Conflist::dual("web").version("1.0.0");
    let list = Conflist { plugins: vec![json!({"type": "loopback"}), alone.plugins[0].clone()], ..alone };
    let added = a.joins(&list);
    let names: Vec<&str> = added.json["interfaces"].as_array().unwrap().iter().filter_map(|interface| interface["name"].as_str()).collect();
    assert!(names.contains(&"lo") && names.contains(&"eth0"), "{names:?}");
    assert!(added.addresses().iter().any(|net| net.starts_with("127.0.0.1")), "{}", added.json);
    for ip in added.json["ips"].as_array().unwrap() {
        let index = usize::try_from(ip["interface"].as_u64().expect("each address has its interface")).unwrap();
        let loopback = ip["address"].as_str().is_some_and(|net| net.starts_with("127.") || net.starts_with("::1"));
        assert_eq!(added.json["interfaces"][index]["name"], if loopback { "lo" } else { "eth0" }, "{}", added.json);
    }
    a.eth0().is_well(&list);
    a.leaves(&list);
    a.ends();
    lab.ends_clean();
}

#[test]
fn the_reference_plugins_work_behind_ours() {
    let lab = Lab::new();
    let cni = lab.cni();
    lab.outside().serves(90);
    let ours = Conflist::dual("web").version("1.0.0").with("capabilities", json!({"ips": true}));
    let list = ours
        .then(json!({"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}))
        .then(json!({"type": "firewall"}))
        .then(json!({"type": "tuning", "sysctl": {"net.core.somaxconn": "321"}}));
    let [a, b] = ["a", "b"].map(|id| cni.sandbox(id).listens(80));
    let wish = a.eth0().port(8080, 80, "tcp");
    let added = wish.joins(&list);
    added.expect_real(&a, lab.here());
    b.joins(&list);
    lab.outside().fetches((HOST_V4, 8080)).expect_from("a");
    b.fetches(added.v4(80)).expect_from("a");
    a.fetches((OUTSIDE_V4, 90)).expect_from(lab.outside());
    assert_eq!(a.sysctl("core/somaxconn").as_deref(), Some("321"));
    // Ours alone: portmap 1.1.1 looks for rules of IPv6 where it made none.
    wish.runs(&list, "CHECK").runs().expect_nothing();
    a.leaves(&list);
    b.leaves(&list);
    assert_eq!((a.links(), lab.status().containers), (vec!["lo".to_owned()], 0));
    a.ends();
    b.ends();
    // What the reference plugins leave is theirs.
    for table in ["nat", "filter"] {
        for family in ["iptables", "ip6tables"] {
            lab.here().run(family, &["-t", table, "-F"]);
        }
    }
}

#[test]
fn the_reference_bandwidth_plugin_behind_ours_is_refused_with_what_to_do_instead() {
    let lab = Lab::new();
    let cni = lab.cni();
    let shaping = json!({"type": "bandwidth", "ingressRate": 1_000_000, "ingressBurst": 1_000_000, "egressRate": 1_000_000, "egressBurst": 1_000_000});
    let list = Conflist::dual("web").then(shaping);
    let a = cni.sandbox("a");
    std::fs::create_dir_all(lab.host().path("/etc/cni/net.d")).unwrap();
    let file = lab.host().path("/etc/cni/net.d/20-web.conflist");
    std::fs::write(&file, list.file()).unwrap();
    std::fs::write(lab.host().path("/etc/cni/net.d/10-broken.conflist"), "{").unwrap();
    lab.unchanged_by(|| {
        a.eth0().cannot_join(&list, 7).with_hint().naming("bandwidth");
    });
    cni.status(&list).expect_err("this list cannot work").with_code(50).with_hint().naming("bandwidth");
    // Another list of that directory is no matter.
    let other = Conflist::dual_at("other", 5);
    a.joins(&other);
    a.leaves(&other);
    let elsewhere = list.with("confDir", json!("/run/confs"));
    let alone = Conflist { plugins: vec![elsewhere.plugins[0].clone()], ..elsewhere };
    a.joins(&alone);
    a.leaves(&alone);
    std::fs::remove_file(&file).unwrap();
    a.ends();
    lab.ends_clean();
}
