//! Another build of netd takes over while traffic runs: it replaces both programs, and not a packet is missed by the counters.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Child,
};

use lab::{Lab, eventually, wait::meanwhile};
use netd_api::{client::Client, message::Request};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Machine type of BPF in an ELF header (elf.h), and where it stands.
const EM_BPF: [u8; 2] = [247, 0];
const MACHINE: usize = 18;
/// The first byte of an ELF header that means nothing (EI_PAD).
const PADDING: usize = 9;

/// The same netd with an eBPF object that differs in one byte without a meaning, as the next build's would.
pub(crate) fn another_build(lab: &Lab) -> PathBuf {
    let ours = lab.host().path(lab.host().program("netd").to_str().expect("a plain path"));
    let mut bytes = fs::read(ours).expect("the daemon's file can be read");
    let is_object = |at: &usize| bytes[*at..].starts_with(b"\x7fELF") && bytes.get(at + MACHINE..at + MACHINE + 2) == Some(&EM_BPF);
    let objects: Vec<usize> = memchr(&bytes).filter(is_object).collect();
    assert_eq!(objects.len(), 1, "netd holds one eBPF object");
    bytes[objects[0] + PADDING] ^= 1;
    let path = lab.host().scratch.path().join("netd-next");
    fs::write(&path, bytes).expect("the scratch directory can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    path
}

/// Where an ELF header could begin.
fn memchr(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    bytes.iter().enumerate().filter(|(_, byte)| **byte == 0x7f).map(|(at, _)| at)
}

/// The names of the filters on the shared blocks.
fn filters(lab: &Lab, veth: &str) -> Vec<String> {
    let qdisc = lab.here().run("tc", &["qdisc", "show", "dev", veth]);
    let words: Vec<&str> = qdisc.split_whitespace().collect();
    let blocks = words.windows(2).filter(|pair| pair[0].ends_with("_block")).map(|pair| pair[1]);
    let shown: String = blocks.map(|block| lab.here().run("tc", &["filter", "show", "block", block])).collect();
    shown.split_whitespace().filter(|word| word.starts_with("netd:")).map(str::to_owned).collect()
}

pub(crate) fn started(lab: &Lab, program: &Path) -> Child {
    let child = lab.host().command(program.to_str().expect("a plain path")).spawn().expect("the other build can be started");
    eventually("the other build answers", || Client::at(lab.netd().socket()).send(&Request::Status).ok());
    child
}

pub(crate) fn ended(mut child: Child) {
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("it is our child");
    assert!(child.wait().expect("it is our child").success());
}

#[test]
fn the_next_build_replaces_the_programs_while_traffic_runs_and_misses_no_packet() {
    let lab = Lab::new();
    let next = another_build(&lab);
    let net = lab.network("web");
    let a = net.container("a").listens(80);
    let b = net.container("b");
    let veth = a.attachment(&net).host_ifname.to_string();
    let stream = b.streams(a.v4(80));
    let before = filters(&lab, &veth);
    assert_eq!(before.len(), 2);
    // Datagrams to a port where nobody listens, as fast as one thread can: something is under way in every moment of the change.
    let target = a.v4(9);
    let socket = b.net().inside(|| std::net::UdpSocket::bind("0.0.0.0:0")).expect("a socket can be opened");
    let floods = || {
        let _refused_by_the_other_end = socket.send_to(b"packet", target);
    };
    meanwhile(floods, || {
        lab.netd().stop();
        for _ in 0..2 {
            let child = started(&lab, &next);
            let after = filters(&lab, &veth);
            assert!(after.len() == 2 && after.iter().all(|name| !before.contains(name)), "{before:?} {after:?}");
            assert_eq!(lab.plan(), Vec::<String>::new());
            stream.expect_flowing();
            ended(child);
            lab.netd().start();
            assert_eq!(filters(&lab, &veth), before);
            lab.netd().stop();
        }
    });
    lab.netd().start();
    drop(stream);
    // Not a packet was missed.
    lab.ends_clean();
}
