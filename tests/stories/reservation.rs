//! A published port is held on the host: strangers get "address in use", and who holds a taken port is named.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
};

use lab::{HOST_V4, HOST_V6, Lab, eventually};
use netd_api::{fault::Code, message::Request, view::PortState};

#[test]
fn a_stranger_cannot_take_a_published_port_and_can_when_it_is_withdrawn() {
    let lab = Lab::new();
    let a = lab.network("web").container("a");
    a.publishes("8080:80");
    a.publishes("5353:53/udp");
    let taken = |address: &str, port: u16, udp: bool| {
        let tried = if udp { lab.here().tries_to_take_udp((address, port)) } else { lab.here().tries_to_take((address, port)) };
        tried.is_err_and(|why| why.kind() == ErrorKind::AddrInUse)
    };
    for address in ["0.0.0.0", "::", HOST_V4, HOST_V6, "127.0.0.1"] {
        assert!(taken(address, 8080, false), "{address}:8080/tcp could be taken");
        assert!(taken(address, 5353, true), "{address}:5353/udp could be taken");
        eventually(&format!("{address}:8080/udp, which is not ours, can be taken"), || (!taken(address, 8080, true)).then_some(()));
    }
    a.withdraws("8080:80");
    a.withdraws("5353:53/udp");
    for address in ["0.0.0.0", "::", HOST_V4] {
        // A process that another story starts at this moment may hold a copy of our own trial's socket until it is a program of its own.
        eventually(&format!("{address}:8080/tcp is free"), || (!taken(address, 8080, false)).then_some(()));
        eventually(&format!("{address}:5353/udp is free"), || (!taken(address, 5353, true)).then_some(()));
    }
    lab.ends_clean();
}

#[test]
fn a_port_that_a_process_has_is_refused_once_and_the_process_is_named() {
    let lab = Lab::new();
    let a = lab.network("web").container("a").listens(80);
    lab.here().serves(8080).serves_udp(5353).serves_at("127.0.0.1:8081");
    let me = std::process::id().to_string();
    for publish in ["8080:80", "5353:53/udp", "192.0.2.1:8080:80", "[2001:db8::1]:8080:80", "8081:80", "8070-8090:70-90"] {
        let fault = a.cannot_publish(publish);
        assert_eq!(fault.code, Code::PortTaken, "{publish}: {fault}");
        assert!(fault.what.contains(&me), "{publish}: the holder is not named: {fault}");
        assert!(!fault.hint.is_empty());
    }
    assert!(lab.ports().is_empty(), "a refused range leaves nothing behind");
    lab.here().fetches((HOST_V4, 8080)).expect_from(lab.here());
    lab.here().stops_serving();
    // Not at once: a program that another story starts at this moment has a copy of the sockets until it is executed.
    let publish = Request::Publish(a.name().clone(), "8070-8090:70-90".parse().unwrap());
    eventually("the ports can be published when their process lets go", || lab.asks(&publish).ok());
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&a);
    lab.ends_clean();
}

#[test]
fn a_port_that_a_container_has_is_refused_and_the_container_is_named() {
    let lab = Lab::new();
    let net = lab.network("web");
    let holder = net.container("holder").listens(80);
    let late = net.container("late");
    holder.publishes("8080:80");
    holder.publishes("192.0.2.1:9090:80");
    for publish in ["8080:81", "192.0.2.1:8080:80", "9090:80", "8070-8090:70-90"] {
        let fault = late.cannot_publish(publish);
        assert_eq!(fault.code, Code::PortTaken, "{publish}: {fault}");
        assert!(fault.what.contains("holder"), "{publish}: the holder is not named: {fault}");
    }
    late.publishes("8080:80/udp");
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&holder);
    lab.ends_clean();
}

#[test]
fn connections_in_time_wait_do_not_hinder() {
    let lab = Lab::new();
    let a = lab.network("web").container("a").listens(80);
    let (listener, address) = lab.here().net().inside(|| {
        let listener = TcpListener::bind((HOST_V4, 8080)).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    });
    let mut client = lab.outside().net().inside(|| TcpStream::connect(address).unwrap());
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    // The server's side closes first, so it is the one that waits.
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    drop(client);
    drop(listener);
    let waiting = || lab.here().run("ss", &["-tan", "state", "time-wait"]).contains(":8080");
    eventually("a connection waits", || waiting().then_some(()));
    a.publishes("8080:80");
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&a);
    lab.netd().crash();
    assert!(lab.ports().iter().all(|port| port.state == PortState::Active), "{:?}", lab.ports());
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&a);
    lab.ends_clean();
}

#[test]
fn a_port_of_an_address_that_is_not_there_yet_is_held_and_works_when_it_comes() {
    let lab = Lab::new();
    let a = lab.network("web").container("a").listens(80);
    a.publishes("192.0.2.50:8080:80");
    a.publishes("[2001:db8::50]:8080:80");
    lab.here().takes_address("192.0.2.50/24", lab::UPLINK).takes_address("2001:db8::50/64", lab::UPLINK);
    lab.outside().fetches("192.0.2.50:8080").expect_from(&a);
    lab.outside().fetches("[2001:db8::50]:8080").expect_from(&a);
    assert!(lab.here().tries_to_take("192.0.2.50:8080").is_err());
    lab.ends_clean();
}

#[test]
fn a_port_that_a_stranger_took_while_netd_was_down_works_on_and_is_shown_as_degraded() {
    let lab = Lab::new();
    let a = lab.network("web").container("a").listens(80);
    a.publishes("8080:80");
    lab.netd().kill9();
    lab.here().serves(8080);
    lab.netd().start();
    let port = &lab.ports()[0];
    assert_eq!(port.state, PortState::Degraded);
    assert!(port.note.contains(&std::process::id().to_string()), "{port:?}");
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&a);
    lab.outside().fetches((HOST_V6, 8080)).expect_from(&a);
    lab.here().stops_serving();
    lab.ends_clean();
}
