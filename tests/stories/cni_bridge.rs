//! What a configuration says about its bridge and the ports of it, with the keys of the reference plugin `bridge`: seen in the kernel.

use lab::{HOST_V4, HOST_V6, Lab, OUTSIDE_V4, OUTSIDE_V6, Station, cni::Conflist};
use serde_json::{Value, json};

/// A flag of the bridge port `link`.
#[track_caller]
fn port_flag(host: &Station, link: &str, flag: &str) -> bool {
    let said = host.link(link);
    said["linkinfo"]["info_slave_data"][flag].as_bool().unwrap_or_else(|| panic!("{link} is no port of a bridge: {said}"))
}

/// Whether somebody set the interface to take in frames for everybody.
fn is_promiscuous(host: &Station, link: &str) -> bool {
    host.link(link)["flags"].as_array().expect("an interface has flags").iter().any(|flag| flag == "PROMISC")
}

#[test]
fn a_port_sends_back_what_came_from_it_unless_hairpin_mode_is_off() {
    let lab = Lab::bare();
    // With br_netfilter what is led back is led back in the bridge, and the flag alone decides.
    lab.bridge_filter("1");
    lab.starts();
    let a = lab.cni().sandbox("a").listens(80);
    let wish = a.eth0().port(8080, 80, "tcp");
    for (said, on) in [(Value::Null, true), (json!(true), true), (json!(false), false)] {
        let list = Conflist::dual("web").with("hairpinMode", said.clone());
        wish.joins(&list);
        let view = lab.container("a").inspect();
        assert_eq!(port_flag(lab.here(), view.attachments[0].host_ifname.as_str(), "hairpin"), on, "hairpinMode {said}");
        wish.is_well(&list);
        for host in [HOST_V4, HOST_V6] {
            lab.outside().fetches((host, 8080)).expect_from("a");
            if on {
                a.fetches((host, 8080)).expect_from("a");
            } else {
                a.tries((host, 8080)).expect_nothing();
            }
        }
        a.leaves(&list);
    }
    a.ends();
    lab.ends_clean();
}

#[test]
fn a_bridge_takes_in_frames_for_everybody_where_promisc_mode_is_on() {
    let lab = Lab::new();
    let a = lab.cni().sandbox("a");
    for (said, on) in [(Value::Null, false), (json!(true), true), (json!(false), false)] {
        let list = Conflist::dual("web").with("bridge", json!("cni0")).with("promiscMode", said.clone());
        a.joins(&list);
        assert_eq!(is_promiscuous(lab.here(), "cni0"), on, "promiscMode {said}");
        a.eth0().is_well(&list);
        a.leaves(&list);
    }
    a.ends();
    lab.ends_clean();
}

#[test]
fn port_isolation_keeps_containers_of_a_network_apart_and_nobody_else() {
    let lab = Lab::new();
    let cni = lab.cni();
    lab.outside().serves(90);
    let [a, b] = ["a", "b"].map(|id| cni.sandbox(id).listens(80));
    for (said, apart) in [(Value::Null, false), (json!(true), true), (json!(false), false)] {
        let list = Conflist::dual("web").with("portIsolation", said.clone());
        let added = a.eth0().port(8080, 80, "tcp").joins(&list);
        b.joins(&list);
        for name in ["a", "b"] {
            let view = lab.container(name).inspect();
            assert_eq!(port_flag(lab.here(), view.attachments[0].host_ifname.as_str(), "isolated"), apart, "portIsolation {said}");
        }
        for (own, outside, host) in [(added.v4(80), OUTSIDE_V4, HOST_V4), (added.v6(80), OUTSIDE_V6, HOST_V6)] {
            if apart {
                b.tries(own).expect_nothing();
            } else {
                b.fetches(own).expect_from("a");
            }
            lab.here().fetches(own).expect_from("a");
            b.fetches((outside, 90)).expect_from(lab.outside());
            lab.outside().fetches((host, 8080)).expect_from("a");
        }
        b.eth0().is_well(&list);
        a.leaves(&list);
        b.leaves(&list);
    }
    a.ends();
    b.ends();
    lab.ends_clean();
}
