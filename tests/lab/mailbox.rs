//! A place where datagrams arrive and wait to be looked at: a UDP port of a station. Never answers.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Instant,
};

use crate::{
    Station,
    wait::{PATIENCE, SILENCE},
};

/// See the module. What arrives is kept from its making on.
#[derive(Debug)]
pub struct Mailbox {
    what: String,
    socket: UdpSocket,
}

impl Station {
    /// Datagrams for a port, over both families, are kept from now on.
    pub fn mailbox(&self, port: u16) -> Mailbox {
        let socket = self.net().inside(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)));
        let socket = socket.unwrap_or_else(|why| panic!("{self} has no port {port}/udp: {why}"));
        Mailbox { what: format!("port {port}/udp of {self}"), socket }
    }
}

impl Station {
    /// Sends one datagram, in as many fragments as the kernel makes of it.
    #[track_caller]
    pub fn posts_letter(&self, to: SocketAddr, payload: &[u8]) {
        let any: IpAddr = if to.is_ipv4() { [0u8; 4].into() } else { [0u16; 8].into() };
        let sent = self.net().inside(|| UdpSocket::bind((any, 0)).and_then(|socket| socket.send_to(payload, to)));
        assert_eq!(sent.unwrap_or_else(|why| panic!("{self} cannot send to {to}: {why}")), payload.len());
    }
}

impl Mailbox {
    /// Nothing has arrived, and nothing does for a while.
    #[track_caller]
    pub fn expect_empty(&self) {
        self.socket.set_read_timeout(Some(SILENCE)).expect("a socket has a timeout");
        let mut letter = [0; 65536];
        if let Ok((length, from)) = self.socket.recv_from(&mut letter) {
            panic!("{}: {length} bytes arrived from {from}", self.what);
        }
    }

    /// This arrives, or has arrived, whatever else does.
    #[track_caller]
    pub fn expect(&self, payload: &[u8]) {
        let begun = Instant::now();
        let mut letter = [0; 65536];
        while begun.elapsed() < PATIENCE {
            self.socket.set_read_timeout(Some(SILENCE)).expect("a socket has a timeout");
            if self.socket.recv(&mut letter).is_ok_and(|length| letter[..length] == *payload) {
                return;
            }
        }
        panic!("{}: {} bytes never arrived", self.what, payload.len());
    }

    /// Something arrives.
    #[track_caller]
    pub fn expect_something(&self) {
        self.socket.set_read_timeout(Some(PATIENCE)).expect("a socket has a timeout");
        self.socket.recv(&mut [0; 65536]).unwrap_or_else(|why| panic!("{}: nothing arrived: {why}", self.what));
    }
}
