//! Tests of the wishes: names of ports, and what a body may leave away.

use super::*;

#[test]
fn a_port_s_name_is_that_of_a_service_in_lower_case() {
    for good in ["http", "a", "1a", "web-1", "a-b-c", &"x".repeat(15)] {
        assert!(is_port_name(good), "{good}");
    }
    for bad in ["", "80", "1-2", "-a", "a-", "a--b", "HTTP", "a_b", "a.b", "ä", &"x".repeat(16)] {
        assert!(!is_port_name(bad), "{bad}");
    }
}

#[test]
fn a_container_is_guarded_and_has_no_further_addresses_unless_it_is_said() {
    let spec: ContainerSpec = serde_json::from_str(r#"{"name": "web"}"#).expect("it is whole");
    assert_eq!((spec.guard, spec.allow_addresses.len()), (Guard::On, 0));
    let spec: ContainerSpec =
        serde_json::from_str(r#"{"name": "web", "guard": "off", "allow_addresses": ["10.9.0.0/24", "fd00::1/128"]}"#).expect("it is whole");
    assert_eq!((spec.guard, spec.allow_addresses.len()), (Guard::Off, 2));
    assert!(serde_json::from_str::<ContainerSpec>(r#"{"name": "web", "guard": false}"#).is_err());
}

#[test]
fn a_change_sets_a_port_s_name_and_takes_another_away() {
    let change: ContainerChange =
        serde_json::from_str(r#"{"ports": {"http": {"port": 80}, "dns": {"port": 53, "protocol": "udp"}, "old": null}}"#)
            .expect("it is whole");
    assert_eq!(change.ports["http"], Some(NamedPort { port: 80, protocol: Protocol::Tcp }));
    assert_eq!(change.ports["dns"], Some(NamedPort { port: 53, protocol: Protocol::Udp }));
    assert_eq!(change.ports["old"], None);
    let again = serde_json::to_string(&change).expect("it can be written");
    assert_eq!(serde_json::from_str::<ContainerChange>(&again).expect("it was written"), change);
}
