//! The daemon may stop or be killed at any moment: what works goes on working, and the next one has nothing to repair.

use std::time::Duration;

use lab::{HOST_V4, HOST_V6, Lab, OUTSIDE_V4, OUTSIDE_V6};
use netd_api::view::PortState;

/// What a running flow may stand still for while a daemon starts: less than a retransmission of TCP (200 ms at the least) would need on
/// a quiet machine, with room for a busy one.
const PAUSE: Duration = Duration::from_secs(2);

#[test]
fn after_kill_9_everything_goes_on_and_the_next_daemon_has_nothing_to_repair() {
    let lab = Lab::new();
    let (web, db) = (lab.network("web"), lab.network("db"));
    let a = web.container("a").listens(80).listens_udp(53);
    let b = web.container("b").listens(80);
    let c = db.container("c").listens(80);
    a.publishes("8080:80");
    a.publishes("5353:53/udp");
    lab.outside().serves(90);
    let streams = [
        lab.outside().streams((HOST_V4, 8080)),
        lab.outside().streams((HOST_V6, 8080)),
        b.streams(a.v4(80)),
        a.streams((OUTSIDE_V4, 90)),
        a.streams((OUTSIDE_V6, 90)),
    ];
    let before = (lab.nft(), a.inspect(), web.inspect());
    lab.netd().kill9();
    // Without a daemon.
    for host in [HOST_V4, HOST_V6] {
        lab.outside().fetches((host, 8080)).expect_from(&a);
        lab.outside().asks((host, 5353)).expect_from(&a);
        c.fetches((host, 8080)).expect_from(&a);
    }
    streams.iter().for_each(lab::stream::Stream::expect_flowing);
    lab.netd().start();
    assert_eq!(lab.plan(), Vec::<String>::new());
    let status = lab.status();
    let reconcile = status.reconcile.expect("the start compares kernel and wish");
    // Sockets die with their process: holding the ports again is all there is to do.
    assert_eq!((reconcile.done, reconcile.failed), (2, vec![]), "the new daemon repaired something");
    assert_eq!(status.drift_repaired, 0);
    assert_eq!(lab.nft(), before.0);
    assert_eq!(a.inspect().attachments[0].addresses, before.1.attachments[0].addresses);
    assert_eq!(web.inspect(), before.2);
    assert!(lab.ports().iter().all(|port| port.state == PortState::Active));
    for stream in &streams {
        stream.expect_flowing();
        assert!(stream.longest_pause() < PAUSE, "a flow stood still for {:?}", stream.longest_pause());
    }
    a.tries(c.v4(80)).expect_nothing();
    drop(streams);
    lab.ends_clean();
}

#[test]
fn a_graceful_stop_leaves_the_data_path_running() {
    let lab = Lab::new();
    let a = lab.network("web").container("a").listens(80);
    a.publishes("8080:80");
    let stream = lab.outside().streams((HOST_V4, 8080));
    lab.netd().stop();
    stream.expect_flowing();
    lab.outside().fetches((HOST_V6, 8080)).expect_from(&a);
    lab.netd().start();
    stream.expect_flowing();
    assert_eq!(lab.status().reconcile.expect("it started").done, 1, "it holds the port again, and has nothing to repair");
    drop(stream);
    lab.ends_clean();
}

#[test]
fn what_was_broken_while_no_daemon_ran_is_mended_at_the_start() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = net.container("a").listens(80);
    a.publishes("8080:80");
    let bridge = net.bridge();
    lab.netd().kill9();
    lab.here().run("nft", &["flush", "ruleset"]);
    lab.here().run("ip", &["link", "del", &bridge]);
    lab.netd().start();
    for host in [HOST_V4, HOST_V6] {
        lab.outside().fetches((host, 8080)).expect_from(&a);
    }
    lab.ends_clean();
}

#[test]
fn a_second_daemon_says_that_one_runs_and_leaves_it_alone() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = net.container("a").listens(80);
    a.publishes("8080:80");
    let second = lab.second_netd();
    assert_ne!(second.status, 0);
    assert!(second.err.contains("netd.sock") || second.err.contains("runs"), "{}", second.err);
    assert!(lab.plan().is_empty());
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&a);
    lab.ends_clean();
}
