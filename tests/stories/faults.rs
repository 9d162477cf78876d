//! Bad input and faults: each gets a clear error with a stable code and a hint, and state and kernel are as they were before.

use lab::{Lab, UPLINK};
use netd_api::fault::Code;

#[test]
fn malformed_names_addresses_and_labels_are_refused() {
    let lab = Lab::new();
    lab.unchanged_by(|| {
        for (body, says) in [
            (r#"{"name": "Web App"}"#, "space"),
            (r#"{"name": ""}"#, "name"),
            (r#"{"name": "-x"}"#, "name"),
            (&*format!(r#"{{"name": "{}"}}"#, "x".repeat(64)), "63"),
            (r#"{"name": "a", "subnets": ["10.4.0.0"]}"#, "10.4.0.0"),
            (r#"{"name": "a", "subnets": ["10.4.0.1/24"]}"#, "10.4.0.0/24"),
            (r#"{"name": "a", "subnets": ["127.0.0.0/16"]}"#, "reserved"),
            (r#"{"name": "a", "subnets": ["10.4.0.0/33"]}"#, "10.4.0.0/33"),
            (r#"{"name": "a", "subnets": ["10.4.0.0/32"]}"#, "prefix"),
            (r#"{"name": "a", "subnets": ["10.4.0.0/24", "10.5.0.0/24"]}"#, "subnets"),
            (r#"{"name": "a", "mtu": 20}"#, "20"),
            (r#"{"name": "a", "bridge": "name-of-sixteen-"}"#, "name-of-sixteen-"),
            (r#"{"name": "a", "labels": {"-bad": "x"}}"#, "-bad"),
            (r#"{"name": "a", "labels": {"good": "b d"}}"#, "b d"),
            (r#"{"name": "a", "internal": true, "routed": ["v4"]}"#, "internal"),
            (r#"{"name": "a", "subnet": ["10.4.0.0/24"]}"#, "subnet"),
            (r#"{"name": "a""#, "JSON"),
        ] {
            lab.posts_in_vain("/v1/networks", body, "bad_request", says);
        }
        for (body, says) in [
            (r#"{"name": "a b"}"#, "a b"),
            (&*format!(r#"{{"name": "{}"}}"#, "x".repeat(64)), "64 bytes"),
            (r#"{"name": "a", "networks": [{"network": "x", "mac": "01:00:00:00:00:01"}]}"#, "group"),
            (r#"{"name": "a", "networks": [{"network": "x", "mac": "02:00"}]}"#, "02:00"),
            (r#"{"name": "a", "networks": [{"network": "x", "addresses": ["10.4.0.300"]}]}"#, "IP address"),
            (r#"{"name": "a", "publish": ["0x50:80"]}"#, "0x50"),
            (r#"{"name": "a", "publish": ["70000:80"]}"#, "65535"),
            (r#"{"name": "a", "publish": ["8080:0"]}"#, "65535"),
            (r#"{"name": "a", "publish": ["8000-8009:80-88"]}"#, "length"),
            (r#"{"name": "a", "publish": ["8009-8000:80-89"]}"#, "begins"),
            (r#"{"name": "a", "publish": ["80:80/icmp"]}"#, "icmp"),
            (r#"{"name": "a", "colour": "blue"}"#, "colour"),
        ] {
            lab.posts_in_vain("/v1/containers", body, "bad_request", says);
        }
    });
    lab.ends_clean();
}

#[test]
fn what_exists_overlaps_or_is_taken_is_refused_and_the_other_is_named() {
    let lab = Lab::new();
    lab.here().takes_address("10.77.0.1/24", UPLINK);
    lab.resolves_with("10.78.0.53");
    let net = lab.new_network("web").subnet("10.4.0.0/24").made();
    let a = net.container("a");
    lab.unchanged_by(|| {
        let fault = lab.new_network("web").refused();
        assert_eq!(fault.code, Code::Exists);
        for (subnet, other) in
            [("10.4.0.0/16", "web"), ("10.77.0.0/16", "10.77.0"), ("10.78.0.0/24", "10.78.0.53"), ("192.0.2.0/24", UPLINK)]
        {
            let fault = lab.new_network("b").subnet(subnet).refused();
            assert_eq!(fault.code, Code::SubnetOverlap, "{fault}");
            assert!(fault.what.contains(other) && !fault.hint.is_empty(), "{fault:?}");
        }
        assert_eq!(lab.new_network("b").subnet("10.5.0.0/24").gateway("10.6.0.1").refused().code, Code::BadAddress);
        assert_eq!(lab.new_network("b").subnet("10.5.0.0/24").range("10.6.0.0/28").refused().code, Code::BadAddress);
        assert_eq!(lab.new_network("b").bridge(UPLINK).refused().code, Code::BadInterface);
        assert_eq!(lab.new_container("a").on(&net).refused().code, Code::Exists);
        assert_eq!(net.cannot_be_removed().code, Code::InUse);
        let fault = lab.new_container("b").on(&net).address("10.4.0.1").refused();
        assert_eq!(fault.code, Code::BadAddress, "the gateway's address: {fault}");
        let mac = a.attachment(&net).mac.to_string();
        assert_eq!(lab.new_container("b").on(&net).mac(&mac).refused().code, Code::BadAddress);
    });
    lab.ends_clean();
}

#[test]
fn what_is_not_there_is_refused() {
    let lab = Lab::new();
    let ghost = lab.network("ghost");
    let a = lab.network("web").container("a");
    lab.unchanged_by(|| {
        for path in ["/v1/networks/nobody", "/v1/containers/nobody", "/v1/nothing"] {
            let (status, fault) = lab.gets(path);
            assert_eq!((status, fault["code"].as_str()), (404, Some("not_found")), "{path}: {fault}");
        }
    });
    lab.done(&netd_api::message::Request::RemoveNetwork(ghost.name().clone()));
    lab.unchanged_by(|| {
        assert_eq!(lab.new_container("b").on(&ghost).refused().code, Code::NotFound);
        assert_eq!(ghost.cannot_be_removed().code, Code::NotFound);
        let missing = netd_api::message::Request::Unpublish(a.name().clone(), Some("8080:80".parse().unwrap()));
        assert_eq!(lab.refused(&missing).code, Code::NotFound);
    });
    lab.ends_clean();
}

#[test]
fn a_namespace_that_is_none_or_the_hosts_own_is_refused() {
    let lab = Lab::new();
    let net = lab.network("web");
    let ended = lab.process();
    let pid = ended.pid();
    ended.ends();
    lab.unchanged_by(|| {
        for path in ["/etc/hostname", "/run", "/run/netns/nobody", "/proc/self/ns/net", "/proc/1/ns/mnt", "netns/a", ""] {
            let fault = lab.new_container("x").on(&net).at(path).refused();
            assert!(matches!(fault.code, Code::BadNamespace | Code::BadRequest), "{path}: {fault:?}");
        }
        for pid in [pid, 0, lab.netd().pid()] {
            let fault = lab.new_container("x").on(&net).of_pid(pid).refused();
            assert!(matches!(fault.code, Code::BadNamespace | Code::BadRequest), "{pid}: {fault:?}");
        }
    });
    lab.ends_clean();
}

#[test]
fn an_interface_name_that_is_taken_in_the_container_is_refused() {
    let lab = Lab::new();
    let net = lab.network("web");
    let theirs = lab.stranger("theirs");
    theirs.run("ip", &["link", "add", "eth0", "type", "bridge"]);
    lab.unchanged_by(|| {
        let fault = lab.new_container("a").on(&net).ifname("eth0").at("/run/netns/theirs").refused();
        assert_eq!(fault.code, Code::BadInterface, "{fault}");
        assert!(fault.what.contains("eth0"));
    });
    // Without a name of its own it gets the next free one.
    let a = lab.new_container("a").on(&net).at("/run/netns/theirs").made();
    assert_eq!(a.attachment(&net).ifname.as_str(), "eth1");
    a.removed();
    lab.here().run("ip", &["netns", "del", "theirs"]);
    lab.ends_clean();
}

#[test]
fn a_container_that_cannot_join_its_second_network_does_not_stay_on_the_first() {
    let lab = Lab::new();
    let (one, two) = (lab.network("one"), lab.network("two"));
    let theirs = lab.stranger("theirs");
    theirs.run("ip", &["link", "add", "eth5", "type", "bridge"]);
    lab.unchanged_by(|| {
        let draft = lab.new_container("a").on(&one).on(&two).ifname("eth5").publish("8080:80").at("/run/netns/theirs");
        assert_eq!(draft.refused().code, Code::BadInterface);
        assert_eq!(theirs.links(), ["lo", "eth5"]);
    });
    lab.here().run("ip", &["netns", "del", "theirs"]);
    lab.ends_clean();
}

#[test]
fn a_publish_that_cannot_work_is_refused_with_the_reason() {
    let lab = Lab::new();
    let vault = lab.new_network("vault").dual().internal().made();
    let a = vault.container("a");
    let b = lab.new_network("four").made().container("b");
    lab.unchanged_by(|| {
        let fault = a.cannot_publish("8080:80");
        assert_eq!(fault.code, Code::Impossible);
        assert!(fault.what.contains("internal") && !fault.hint.is_empty(), "{fault:?}");
        assert_eq!(b.cannot_publish("[2001:db8::1]:8080:80").code, Code::Impossible);
        assert_eq!(b.cannot_publish("[::1]:8080:80").code, Code::Impossible);
        let fault = lab.new_container("c").on(&vault).publish("8080:80").refused();
        assert_eq!(fault.code, Code::Impossible);
    });
    assert!(!lab.host().path("/run/netns/c").exists(), "a refused container leaves no namespace");
    lab.ends_clean();
}

#[test]
fn a_full_subnet_and_a_full_bridge_are_refused_before_anything_is_made() {
    let lab = Lab::new();
    let small = lab.new_network("small").subnet("10.4.0.0/30").made();
    small.container("a");
    let wide = lab.new_network("wide").subnet("10.5.0.0/20").made();
    lab.fills_bridge(&wide.bridge(), 1023);
    lab.unchanged_by(|| {
        let fault = lab.new_container("b").on(&small).refused();
        assert_eq!(fault.code, Code::Exhausted, "{fault}");
        let fault = lab.new_container("b").on(&wide).refused();
        assert_eq!(fault.code, Code::BridgeFull, "{fault}");
        assert!(fault.hint.contains("1023"), "{fault:?}");
    });
    lab.empties_bridge();
    wide.container("b");
    lab.ends_clean();
}

#[test]
fn oversized_half_sent_and_nonsensical_requests_do_no_harm() {
    let lab = Lab::new();
    lab.unchanged_by(|| {
        let huge = format!(r#"{{"name": "{}"}}"#, "x".repeat(4 << 20));
        let (status, fault) = lab.posts("/v1/networks", &huge);
        assert_eq!((status, fault["code"].as_str()), (413, Some("too_large")), "{fault}");
        for bytes in [
            &b"POST /v1/networks HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"name\""[..],
            b"GET /v1/sta",
            b"\0\x01\x02\xff\xfe",
            b"GET /v1/../../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n",
            b"BREW /v1/status HTTP/1.1\r\nhost: x\r\n\r\n",
        ] {
            let answer = lab.sends(bytes);
            assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
        }
        let held: Vec<_> = (0..50).map(|_| std::os::unix::net::UnixStream::connect(lab.netd().socket()).unwrap()).collect();
        lab.status();
        drop(held);
    });
    lab.ends_clean();
}

#[test]
fn two_hundred_clients_at_once_are_all_answered() {
    let lab = Lab::new();
    let net = lab.new_network("web").subnet("10.5.0.0/20").made();
    let name = net.name().clone();
    let socket = lab.netd().socket();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..200)
            .map(|number| {
                let (socket, name) = (&socket, name.clone());
                scope.spawn(move || {
                    let mut spec = netd_api::spec::ContainerSpec::named(format!("c{number}").parse().unwrap());
                    spec.networks.push(netd_api::spec::AttachSpec::to(name));
                    netd_api::client::Client::at(socket).send(&netd_api::message::Request::CreateContainer(spec)).map(drop)
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap().unwrap();
        }
    });
    let members = net.inspect().containers;
    assert_eq!(members.len(), 200);
    let addresses: std::collections::BTreeSet<_> = members.iter().map(|member| member.addresses[0]).collect();
    assert_eq!(addresses.len(), 200, "no address was given twice");
    lab.ends_clean();
}

#[test]
fn without_root_or_nft_netd_says_so_in_one_line() {
    let lab = Lab::bare();
    let (status, said) = lab.netd().fails_to_start_by(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"], &[]);
    assert_ne!(status, 0);
    assert!(said.lines().count() == 1 && said.contains("root"), "{said}");
    let (status, said) = lab.netd().fails_to_start_by(&[], &[("PATH", "/nonexistent")]);
    assert_ne!(status, 0);
    assert!(said.lines().count() == 1 && said.contains("nft"), "{said}");
    lab.leaves_nothing();
}

#[test]
fn with_proc_sys_read_only_netd_says_so_and_what_can_work_works() {
    let lab = Lab::bare();
    lab.here().run("mount", &["--bind", "/proc/sys", "/proc/sys"]);
    lab.here().run("mount", &["-o", "remount,bind,ro", "/proc/sys"]);
    lab.starts();
    let net = lab.network("web");
    let a = net.container("a").listens(80);
    let b = net.container("b");
    b.fetches(a.v4(80)).expect_from(&a);
    lab.here().fetches(a.v4(80)).expect_from(&a);
    let troubles = lab.status().degraded;
    assert!(troubles.iter().any(|trouble| trouble.what.contains("/proc/sys")), "{troubles:?}");
    lab.here().run("umount", &["/proc/sys"]);
    // What the kernel gives is found out at the start.
    lab.netd().restart();
    assert!(lab.status().degraded.is_empty(), "{:?}", lab.status().degraded);
    lab.outside().serves(90);
    a.fetches((lab::OUTSIDE_V4, 90)).expect_from(lab.outside());
    lab.ends_clean();
}

#[test]
fn with_a_full_disk_a_request_fails_and_leaves_nothing_in_the_kernel() {
    let lab = Lab::bare();
    lab.here().run("mount", &["-t", "tmpfs", "-o", "size=8m", "tmpfs", "/var/lib/netd"]);
    lab.starts();
    let net = lab.network("web");
    let a = net.container("a").listens(80);
    a.publishes("8080:80");
    let filler = lab.host().path("/var/lib/netd/filler");
    let full = std::fs::write(&filler, vec![0; 9 << 20]);
    assert!(full.is_err(), "the disk should be full");
    // The store may have some room of its own left.
    let mut failed = None;
    for round in 0..2000 {
        let before = lab.picture();
        let label = "x".repeat(60);
        let mut draft = lab.new_network(&format!("n{round}"));
        for key in 0..200 {
            draft = draft.label(&format!("{label}{key}"), &label);
        }
        if let Err(fault) = lab.asks(&netd_api::message::Request::CreateNetwork(draft.spec)) {
            lab.expect_same(&before);
            failed = Some(fault);
            break;
        }
    }
    let fault = failed.expect("a full disk is noticed");
    assert_eq!(fault.code, Code::Store, "{fault}");
    lab.outside().fetches((lab::HOST_V4, 8080)).expect_from(&a);
    std::fs::remove_file(&filler).unwrap();
    lab.network("after");
    lab.netd().crash();
    lab.outside().fetches((lab::HOST_V4, 8080)).expect_from(&a);
    lab.ends_clean();
}
