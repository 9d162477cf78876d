//! Reservations on loopback ports of this machine that the kernel chose. Never takes a well-known one.

use std::net::{TcpListener, UdpSocket};

use super::*;

/// Holds a port that was free a moment ago; tests of other programs may take it, so it tries again.
fn held(protocol: Protocol, address: Option<IpAddr>) -> (Ports, Reservation) {
    let mut ports = Ports { held: BTreeMap::new(), has_store: false };
    for _ in 0..100 {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr()).expect("a free port").port();
        let port = Reservation { protocol, address, port: free };
        if ports.reserve(&port).is_ok() {
            return (ports, port);
        }
    }
    panic!("no port could be held");
}

#[test]
fn a_held_port_is_refused_to_strangers_of_both_families_and_free_again_after() {
    let (mut ports, port) = held(Protocol::Tcp, None);
    assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port.port)).is_err());
    assert!(TcpListener::bind((Ipv6Addr::LOCALHOST, port.port)).is_err());
    ports.reserve(&port).expect("held already is no error");
    ports.release(&port);
    TcpListener::bind((Ipv4Addr::LOCALHOST, port.port)).expect("free again");
}

#[test]
fn a_port_of_one_address_is_free_at_another() {
    let (ports, port) = held(Protocol::Udp, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, port.port)).is_err());
    UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), port.port)).expect("another address");
    assert_eq!(ports.held().into_iter().collect::<Vec<_>>(), [port]);
}

#[test]
fn an_address_that_the_host_does_not_have_yet_can_be_held() {
    // 192.0.2.0/24 is for documentation (RFC 5737): no host has it.
    let (ports, port) = held(Protocol::Tcp, Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))));
    assert!(ports.held().contains(&port));
}

#[test]
fn a_refusal_names_the_process_that_has_the_port() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let mut ports = Ports { held: BTreeMap::new(), has_store: false };
    let error = ports.reserve(&Reservation { protocol: Protocol::Tcp, address: None, port }).expect_err("taken");
    let KernelError::PortTaken { holder } = error else { panic!("{error}") };
    assert!(holder.contains(&format!("(pid {})", std::process::id())), "{holder}");
}

#[test]
fn a_refusal_names_our_own_port_that_overlaps() {
    let (mut ports, port) = held(Protocol::Tcp, None);
    let error = ports.reserve(&Reservation { address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), ..port }).expect_err("taken");
    assert!(error.to_string().contains("another published port"), "{error}");
}

#[test]
fn a_descriptor_tells_what_it_holds_and_its_name_has_no_colon() {
    for address in [None, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), Some(IpAddr::V6(Ipv6Addr::LOCALHOST))] {
        let (mut ports, port) = held(Protocol::Udp, address);
        let fd = ports.held.remove(&port).expect("held");
        assert_eq!(reservation_of(&fd), Some(port));
        assert!(!name(&port).contains(':'), "{}", name(&port));
    }
}
