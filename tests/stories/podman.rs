//! podman with its CNI backend attaches its containers through netd: by what a user types, and by what happens to a user.

use lab::{
    HOST_V4, HOST_V6, Lab, OUTSIDE_V4, OUTSIDE_V6, Station,
    cni::Conflist,
    podman::{IMAGE, Podman},
};
use netd_api::{publish::PortRange, view::PortState};
use serde_json::{Value, json};

/// The list of podman's default network, dual stack and masqueraded.
fn default_list() -> Conflist {
    Conflist::netd("podman", json!({"subnets": ["10.88.0.0/16", "fd88::/64"], "isDefaultGateway": true, "ipMasq": true})).version("1.0.0")
}

/// A list for a network of netd's.
fn list_of(network: &str) -> Conflist {
    Conflist::netd(network, json!({"network": network})).version("1.0.0")
}

/// A port is reached from outside and from the host, and podman's monitor holds it.
fn expect_published(lab: &Lab, port: u16, container: &Station) {
    for (host, outside) in [(HOST_V4, OUTSIDE_V4), (HOST_V6, OUTSIDE_V6)] {
        let seen = lab.outside().fetches((host, port)).expect_from(container).seen;
        assert_eq!(seen.ip().to_string(), outside, "the container sees who asks");
        lab.here().fetches((host, port)).expect_from(container);
    }
    lab.here().fetches(("127.0.0.1", port)).expect_from(container);
    let known = lab.ports();
    assert!(
        known.iter().any(|one| one.host == PortRange::one(port)) && known.iter().all(|one| one.state == PortState::Active),
        "{known:?}"
    );
    let holders = lab.here().run("ss", &["--listening", "--tcp", "--numeric", "--processes", "--no-header"]);
    let holder = holders.lines().find(|line| line.contains(&format!(":{port} ")));
    assert!(holder.is_some_and(|line| line.contains("\"conmon\"")), "not podman's monitor holds {port}: {holders}");
}

/// podman and netd say the same address of a container on a network; gives it.
#[track_caller]
fn expect_same_address(lab: &Lab, podman: &Podman<'_>, container: &str, network: &str) -> String {
    let theirs = podman.attachment(container, network);
    let ours = lab.container(container).attachment(&lab.known_network(network));
    let address = theirs["IPAddress"].as_str().unwrap_or_default();
    let net = format!("{address}/{}", theirs["IPPrefixLen"]);
    assert!(ours.addresses.iter().any(|known| known.to_string() == net), "podman says {net}, netd {:?}", ours.addresses);
    assert_eq!(theirs["MacAddress"], ours.mac.to_string());
    address.to_owned()
}

/// netd knows no container any more.
#[track_caller]
fn expect_forgotten(lab: &Lab) {
    assert_eq!(lab.netctl_json(["container", "ls"]), json!([]));
    assert!(lab.ports().is_empty());
}

#[test]
fn podman_runs_here_with_the_reference_plugins() {
    let lab = Lab::bare();
    lab.here().sets("ipv4/ip_forward", "1");
    let bridge = json!({
        "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]},
    });
    let ports = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    let podman = lab.podman(&[&Conflist::of("podman", bridge).then(ports).version("0.4.0")]);
    podman.does(["run", "--detach", "--name", "web", "--publish", "8080:80", IMAGE]);
    let web = podman.station("web");
    web.serves(80);
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&web);
    podman.does(["rm", "--force", "--time", "0", "web"]);
}

#[test]
fn a_container_of_podman_has_the_address_name_and_port_that_netd_knows() {
    let lab = Lab::new();
    let podman = lab.podman(&[&default_list()]);
    podman.does(["run", "--detach", "--name", "web", "--publish", "8080:80", "--publish", "8053:53/udp", IMAGE]);
    let web = podman.station("web");
    web.serves(80).serves_udp(53);
    let address = expect_same_address(&lab, &podman, "web", "podman");
    expect_published(&lab, 8080, &web);
    lab.outside().asks((HOST_V4, 8053)).expect_from(&web);
    lab.outside().asks((HOST_V6, 8053)).expect_from(&web);
    let shown = podman.does(["exec", "web", "ip", "-4", "address", "show", "dev", "eth0"]);
    assert!(shown.contains(&format!("inet {address}/16")), "{shown}");
    lab.outside().serves(90);
    assert_eq!(web.fetches((OUTSIDE_V4, 90)).expect_from(lab.outside()).seen.ip().to_string(), HOST_V4);
    let listed = lab.netctl(["container", "ls"]).expect_done();
    assert!(listed.lines().any(|line| line.starts_with("web ") && line.contains(&address)), "{listed}");
    // Its neighbour finds it by its address and by the published port.
    podman.does(["run", "--detach", "--name", "db", IMAGE]);
    let db = podman.station("db");
    db.fetches((address.as_str(), 80)).expect_from(&web);
    db.fetches((HOST_V4, 8080)).expect_from(&web);
    podman.does(["rm", "--force", "--time", "0", "web", "db"]);
    lab.outside().tries((HOST_V4, 8080)).expect_refused();
    expect_forgotten(&lab);
    lab.ends_clean();
}

#[test]
fn a_container_that_ends_by_itself_is_gone_from_netd_too() {
    let lab = Lab::new();
    let podman = lab.podman(&[&default_list()]);
    let shown = podman.does(["run", "--rm", IMAGE, "ip", "-4", "route"]);
    assert!(shown.contains("default via 10.88.0.1 dev eth0"), "{shown}");
    expect_forgotten(&lab);
    let refused = podman.runs(["run", "--rm", IMAGE, "no-such-program"]).expect_failed(127);
    assert!(refused.contains("no-such-program"), "{refused}");
    expect_forgotten(&lab);
    lab.ends_clean();
}

#[test]
fn a_container_joins_and_leaves_networks_while_it_runs() {
    let lab = Lab::new();
    let (front, back) = (lab.network("front"), lab.network("back"));
    let db = back.container("db").listens(5432);
    let podman = lab.podman(&[&list_of("front"), &list_of("back")]);
    podman.does(["run", "--detach", "--name", "web", "--network", "front", "--publish", "8080:80", IMAGE]);
    let web = podman.station("web");
    web.serves(80);
    web.tries(db.v4(5432)).expect_nothing();
    podman.does(["network", "connect", "back", "web"]);
    expect_same_address(&lab, &podman, "web", "front");
    expect_same_address(&lab, &podman, "web", "back");
    assert_eq!(web.links(), ["lo", "eth0", "eth1"]);
    web.fetches(db.v4(5432)).expect_from("db");
    expect_published(&lab, 8080, &web);
    podman.does(["network", "disconnect", "front", "web"]);
    assert_eq!(web.links(), ["lo", "eth1"]);
    assert_eq!(lab.container("web").inspect().attachments.len(), 1);
    // The port follows to the network that is left.
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&web);
    podman.does(["network", "connect", "front", "web"]);
    podman.does(["network", "disconnect", "back", "web"]);
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&web);
    web.tries(db.v4(5432)).expect_nothing();
    podman.does(["rm", "--force", "--time", "0", "web"]);
    assert!(front.inspect().containers.is_empty());
    // From its birth on both.
    podman.does(["run", "--detach", "--name", "both", "--network", "front,back", "--publish", "8080:80", IMAGE]);
    let both = podman.station("both");
    both.serves(80).fetches(db.v4(5432)).expect_from("db");
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&both);
    podman.does(["rm", "--force", "--time", "0", "both"]);
    assert!(lab.ports().is_empty());
    lab.ends_clean();
}

#[test]
fn podman_may_choose_addresses() {
    let lab = Lab::new();
    let podman = lab.podman(&[&default_list()]);
    podman.does(["run", "--detach", "--name", "web", "--ip", "10.88.7.7", "--mac-address", "02:00:00:00:77:07", IMAGE]);
    assert_eq!(expect_same_address(&lab, &podman, "web", "podman"), "10.88.7.7");
    assert_eq!(podman.station("web").mac("eth0"), [2, 0, 0, 0, 0x77, 7]);
    // podman says a static address twice then.
    podman.does(["network", "reload", "web"]);
    assert_eq!(expect_same_address(&lab, &podman, "web", "podman"), "10.88.7.7");
    assert_eq!(podman.station("web").mac("eth0"), [2, 0, 0, 0, 0x77, 7]);
    let taken = podman.runs(["run", "--name", "other", "--ip", "10.88.7.7", IMAGE]).expect_failed(126);
    assert!(taken.contains("10.88.7.7") && taken.contains("web"), "the refusal does not say who has it: {taken}");
    let outside = podman.runs(["run", "--name", "another", "--ip", "10.99.7.7", IMAGE]).expect_failed(126);
    assert!(outside.contains("10.99.7.7"), "{outside}");
    podman.does(["rm", "--force", "--time", "0", "--all"]);
    expect_forgotten(&lab);
    lab.ends_clean();
}

#[test]
fn a_stopped_container_gives_all_back_and_a_started_one_has_its_port_again() {
    let lab = Lab::new();
    let podman = lab.podman(&[&default_list()]);
    podman.does(["run", "--detach", "--name", "web", "--publish", "8080:80", IMAGE]);
    for _ in 0..2 {
        podman.does(["stop", "--time", "0", "web"]);
        expect_forgotten(&lab);
        lab.outside().tries((HOST_V4, 8080)).expect_refused();
        podman.does(["start", "web"]);
        let web = podman.station("web");
        web.serves(80);
        expect_published(&lab, 8080, &web);
    }
    podman.does(["rm", "--force", "--time", "0", "web"]);
    expect_forgotten(&lab);
    lab.ends_clean();
}

#[test]
fn a_port_is_published_once_and_the_second_container_is_told_who_has_it() {
    let lab = Lab::new();
    let podman = lab.podman(&[&default_list()]);
    podman.does(["run", "--detach", "--name", "web", "--publish", "8080:80", IMAGE]);
    let web = podman.station("web");
    web.serves(80);
    let refused = podman.runs(["run", "--name", "other", "--publish", "8080:80", IMAGE]).expect_failed(126);
    assert!(refused.contains("8080") && refused.contains("web"), "{refused}");
    podman.does(["rm", "--force", "--time", "0", "other"]);
    // The one that has it keeps it.
    expect_published(&lab, 8080, &web);
    let stranger = lab.holder(8081);
    let refused = podman.runs(["run", "--name", "other", "--publish", "8081:80", IMAGE]).expect_failed(126);
    assert!(refused.contains("8081") && refused.contains("socat"), "{refused}");
    stranger.ends();
    podman.does(["rm", "--force", "--time", "0", "other", "web"]);
    expect_forgotten(&lab);
    lab.ends_clean();
}

#[test]
fn a_container_whose_monitor_was_killed_has_its_port_again_in_its_next_life() {
    let lab = Lab::new();
    let podman = lab.podman(&[&default_list()]);
    podman.does(["run", "--detach", "--name", "web", "--publish", "8080:80", IMAGE]);
    let first = podman.station("web");
    podman.kills("web");
    // podman 4.3 holds it for running until it is told that all is new, as after a boot. It knows of no namespace then and sends no DEL,
    // but ADD for the same id and another namespace.
    podman.forgets_what_runs();
    podman.does(["start", "web"]);
    let second = podman.station("web");
    second.serves(80);
    assert_ne!(first.net().path(), second.net().path());
    expect_published(&lab, 8080, &second);
    expect_same_address(&lab, &podman, "web", "podman");
    assert_eq!(lab.container("web").inspect().attachments.len(), 1);
    // Or one makes a new one in its place.
    podman.kills("web");
    podman.does(["run", "--detach", "--replace", "--name", "web", "--publish", "8080:80", IMAGE]);
    let third = podman.station("web");
    third.serves(80);
    expect_published(&lab, 8080, &third);
    podman.does(["rm", "--force", "--time", "0", "web"]);
    expect_forgotten(&lab);
    lab.sweeps_namespaces();
    lab.ends_clean();
}

#[test]
fn what_podman_attached_outlives_restarts_of_netd_and_goes_while_netd_is_away() {
    let lab = Lab::new();
    let podman = lab.podman(&[&default_list()]);
    podman.does(["run", "--detach", "--name", "web", "--publish", "8080:80", IMAGE]);
    podman.does(["run", "--detach", "--name", "db", IMAGE]);
    let (web, address) = (podman.station("web"), podman.address("web", "podman"));
    web.serves(80);
    lab.netd().crash();
    assert_eq!(lab.plan(), Vec::<String>::new());
    expect_published(&lab, 8080, &web);
    assert_eq!(expect_same_address(&lab, &podman, "web", "podman"), address);
    podman.does(["stop", "--time", "0", "web"]);
    podman.does(["start", "web"]);
    let web = podman.station("web");
    web.serves(80);
    expect_published(&lab, 8080, &web);
    // Away: what runs goes on, a DEL is kept for later, an ADD fails with the reason.
    lab.netd().stop();
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&web);
    podman.does(["rm", "--force", "--time", "0", "db"]);
    let refused = podman.runs(["run", "--name", "late", IMAGE]).expect_failed(127);
    assert!(refused.contains("netd"), "{refused}");
    podman.does(["rm", "--force", "--time", "0", "late"]);
    lab.netd().start();
    let names: Vec<Value> =
        lab.netctl_json(["container", "ls"]).as_array().expect("a list").iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["web"]);
    podman.does(["run", "--detach", "--name", "db", IMAGE]);
    podman.station("db").fetches((podman.address("web", "podman").as_str(), 80)).expect_from(&web);
    podman.does(["rm", "--force", "--time", "0", "web", "db"]);
    expect_forgotten(&lab);
    lab.ends_clean();
}

#[test]
fn podman_lists_shows_reloads_and_removes_our_networks() {
    let lab = Lab::new();
    lab.network("front");
    let podman = lab.podman(&[&default_list(), &list_of("front")]);
    let listed = podman.does(["network", "ls", "--format", "{{.Name}} {{.Driver}}"]);
    assert_eq!(listed.lines().collect::<Vec<_>>(), ["front netd-cni", "podman netd-cni"]);
    assert_eq!(podman.runs(["network", "exists", "front"]).status, 0);
    assert_eq!(podman.runs(["network", "exists", "none"]).status, 1);
    let shown = podman.runs(["network", "inspect", "front"]).json();
    assert_eq!(shown[0]["name"], "front");
    podman.does(["run", "--detach", "--name", "web", "--network", "front", "--publish", "8080:80", IMAGE]);
    let web = podman.station("web");
    web.serves(80);
    let address = podman.address("web", "front");
    podman.does(["network", "reload", "web"]);
    expect_published(&lab, 8080, &web);
    assert_eq!(expect_same_address(&lab, &podman, "web", "front"), address, "reload keeps addresses");
    let refused = podman.runs(["network", "rm", "front"]).expect_failed(2);
    assert!(refused.contains("in use") || refused.contains("being used"), "{refused}");
    podman.does(["rm", "--force", "--time", "0", "web"]);
    podman.does(["network", "rm", "front"]);
    assert_eq!(podman.runs(["network", "exists", "front"]).status, 1);
    assert!(!lab.host().path("/etc/cni/net.d/11-front.conflist").exists());
    // podman removed its file; netd's network is netd's.
    lab.netctl(["network", "rm", "front"]).expect_done();
    lab.ends_clean();
}

#[test]
fn ports_are_published_in_all_the_ways_that_podman_knows() {
    let lab = Lab::new();
    let podman = lab.podman(&[&default_list()]);
    let one =
        ["run", "--detach", "--name", "web", "--publish", "127.0.0.1:8081:80", "--publish", "9000-9002:90-92", "--publish", "80", IMAGE];
    podman.does(one);
    let web = podman.station("web");
    web.serves(80).serves(92);
    lab.here().fetches("127.0.0.1:8081").expect_from(&web);
    lab.outside().tries((HOST_V4, 8081)).expect_refused();
    lab.outside().fetches((HOST_V4, 9002)).expect_from(&web);
    // A port of podman's choice.
    let chosen = podman.does(["port", "web", "80/tcp"]);
    let chosen = chosen.lines().filter_map(|line| line.strip_prefix("0.0.0.0:")?.parse().ok()).find(|port: &u16| *port != 8081);
    lab.outside().fetches((HOST_V4, chosen.expect("podman chose one"))).expect_from(&web);
    let shown = lab.netctl(["ports", "web"]).expect_done();
    // podman names each port of a range; a row of them is one range to netd.
    assert_eq!((shown.matches("/tcp").count(), shown.matches("*:9000-9002 ").count()), (3, 1), "{shown}");
    podman.does(["rm", "--force", "--time", "0", "web"]);
    expect_forgotten(&lab);
    lab.ends_clean();
}

#[test]
fn the_containers_of_a_pod_share_its_address_and_ports() {
    let lab = Lab::new();
    let podman = lab.podman(&[&default_list()]);
    podman.does([
        "pod",
        "create",
        "--name",
        "shop",
        "--infra-image",
        IMAGE,
        "--infra-command",
        "/bin/sleep 1000000",
        "--publish",
        "8080:80",
    ]);
    podman.does(["run", "--detach", "--pod", "shop", "--name", "web", IMAGE]);
    let shown = podman.does(["exec", "web", "ip", "-4", "address", "show", "dev", "eth0"]);
    let known = lab.netctl_json(["container", "ls"]);
    let address = known[0]["attachments"][0]["addresses"][0].as_str().expect("the pod is there");
    assert!(known.as_array().is_some_and(|all| all.len() == 1) && shown.contains(address), "{known}: {shown}");
    let infra = podman.does(["pod", "inspect", "--format", "{{.InfraContainerID}}", "shop"]);
    let pod = podman.station(&infra);
    pod.serves(80);
    expect_published(&lab, 8080, &pod);
    podman.does(["pod", "rm", "--force", "--time", "0", "shop"]);
    expect_forgotten(&lab);
    lab.ends_clean();
}

#[test]
fn what_netctl_installs_is_all_that_podman_needs() {
    let lab = Lab::new();
    let podman = lab.podman(&[]);
    lab.netctl(["cni", "install"]).expect_done();
    podman.does(["run", "--detach", "--name", "web", "--network", "netd", "--publish", "8080:80", IMAGE]);
    let web = podman.station("web");
    web.serves(80);
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&web);
    // On the same network as containers that netctl makes.
    let db = lab.known_network("default").container("db").listens(5432);
    web.fetches(db.v4(5432)).expect_from("db");
    podman.does(["rm", "--force", "--time", "0", "web"]);
    db.removed();
    lab.netctl(["cni", "uninstall"]).expect_done();
    assert_eq!(podman.runs(["network", "exists", "netd"]).status, 1);
    lab.ends_clean();
}

/// The list that Debian's podman comes with, but for one word.
fn debians_list() -> Conflist {
    let ipam =
        json!({"type": "host-local", "routes": [{"dst": "0.0.0.0/0"}], "ranges": [[{"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}]]});
    let bridge = json!({"type": "netd-cni", "bridge": "cni-podman0", "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": ipam});
    Conflist::of("podman", bridge).version("0.4.0")
}

#[test]
fn the_list_that_podman_comes_with_works_when_its_first_type_is_ours() {
    let lab = Lab::new();
    let chain = debians_list().then(json!({"type": "portmap", "capabilities": {"portMappings": true}}));
    let podman = lab.podman(&[&chain.then(json!({"type": "firewall"})).then(json!({"type": "tuning"}))]);
    podman.does(["run", "--detach", "--name", "web", "--publish", "8080:80", IMAGE]);
    let web = podman.station("web");
    web.serves(80);
    expect_same_address(&lab, &podman, "web", "podman");
    assert!(lab.here().links().contains(&"cni-podman0".to_owned()));
    lab.outside().serves(90);
    assert_eq!(web.fetches((OUTSIDE_V4, 90)).expect_from(lab.outside()).seen.ip().to_string(), HOST_V4);
    // Others' plugins do ports here, as the list says.
    assert!(lab.ports().is_empty());
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&web);
    podman.does(["rm", "--force", "--time", "0", "web"]);
    expect_forgotten(&lab);
    // Ours does all of it where it is asked to.
    lab.lists(&[&debians_list().with("capabilities", json!({"portMappings": true}))]);
    podman.does(["run", "--detach", "--name", "web", "--publish", "8080:80", IMAGE]);
    let web = podman.station("web");
    web.serves(80);
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&web);
    assert_eq!(lab.ports().len(), 1);
    podman.does(["rm", "--force", "--time", "0", "web"]);
    expect_forgotten(&lab);
    // What the others never take away.
    for (family, table) in [("ip", "nat"), ("ip", "filter"), ("ip6", "nat"), ("ip6", "filter")] {
        if lab.nft().contains(&format!("table {family} {table} ")) {
            lab.here().run("nft", &["delete", "table", family, table]);
        }
    }
    lab.ends_clean();
}

#[test]
fn several_podmans_at_once_are_in_nobodys_way() {
    let lab = Lab::new();
    let podman = lab.podman(&[&default_list()]);
    let names = ["a", "b", "c", "d", "e", "f"];
    std::thread::scope(|scope| {
        for (number, name) in names.iter().enumerate() {
            let podman = &podman;
            scope.spawn(move || {
                let port = format!("{}:80", 8080 + number);
                podman.does(["run", "--detach", "--name", name, "--publish", &port, IMAGE]);
                podman.does(["stop", "--time", "0", name]);
                podman.does(["start", name]);
            });
        }
    });
    let addresses: std::collections::BTreeSet<_> = names.iter().map(|name| expect_same_address(&lab, &podman, name, "podman")).collect();
    assert_eq!(addresses.len(), names.len(), "each has an address of its own");
    for (number, name) in names.iter().enumerate() {
        let container = podman.station(name);
        container.serves(80);
        lab.outside().fetches((HOST_V4, 8080 + u16::try_from(number).expect("a few"))).expect_from(&container);
    }
    podman.does(["rm", "--force", "--time", "0", "--all"]);
    expect_forgotten(&lab);
    lab.ends_clean();
}
