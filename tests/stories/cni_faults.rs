//! netd away, starting, silent or closed to the caller; containers that are gone; many at once: each ADD is whole or not at all, each DEL succeeds,
//! and nobody waits without bound.

use std::{collections::BTreeSet, fs, thread, time::Duration};

use lab::{
    HOST_V4, Lab,
    cni::{Conflist, Interface, attachments},
    eventually,
};
use nix::sys::signal::Signal;
use serde_json::json;

/// How long the plugin tries to reach netd (3 s), and room for a machine that is busy with other stories.
const UNREACHED: Duration = Duration::from_secs(8);
/// How long the plugin waits for an answer (20 s, once more for the DEL of an ADD that may be half done), and the same room.
const UNANSWERED: Duration = Duration::from_secs(50);
/// Containers that come at the same time.
const MANY: usize = 50;
/// Rounds of an ADD and a DEL of one container at the same time.
const ROUNDS: u32 = 25;

/// The DELs that wait for netd.
fn queued(lab: &Lab) -> usize {
    fs::read_dir(lab.host().path("/run/netd/cni")).map_or(0, |all| all.flatten().filter(|file| file.path().extension().is_some()).count())
}

#[test]
fn without_netd_the_runtime_is_told_to_try_again_in_bounded_time() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let a = lab.cni().sandbox("a");
    a.joins(&list);
    lab.netd().stop();
    let b = lab.cni().sandbox("b");
    let gc = a.eth0().runs(&list, "GC").with("cni.dev/valid-attachments", attachments(&[a.eth0()]));
    for call in [b.eth0().runs(&list, "ADD"), a.eth0().runs(&list, "CHECK"), gc] {
        let refusal = call.runs().expect_error(11).with_hint().naming("systemctl start netd");
        assert!(refusal.took < UNREACHED, "{refusal}");
    }
    assert_eq!(b.links(), ["lo"]);
    let refusal = a.eth0().runs(&list, "STATUS").runs().expect_error(50).with_hint();
    assert!(refusal.took < Duration::from_secs(2), "STATUS waits for nobody: {refusal}");
    lab.netd().start();
    a.eth0().is_well(&list);
    a.leaves(&list);
    a.ends();
    b.ends();
    lab.ends_clean();
}

#[test]
fn while_netd_starts_an_add_waits_and_succeeds() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let a = lab.cni().sandbox("a").listens(80);
    a.joins(&list);
    a.leaves(&list);
    lab.netd().stop();
    let add = a.eth0().runs(&list, "ADD").starts();
    lab.netd().start();
    add.ends().expect_result();
    assert_eq!(a.links(), ["lo", "eth0"]);
    a.leaves(&list);
    a.ends();
    lab.ends_clean();
}

#[test]
fn a_silent_netd_is_waited_for_in_bounded_time_and_what_it_did_meanwhile_is_undone() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let cni = lab.cni();
    let [a, b] = ["a", "b"].map(|id| cni.sandbox(id));
    b.joins(&list);
    lab.netd().signal(Signal::SIGSTOP);
    let refusal = a.eth0().runs(&list, "ADD").runs().expect_error(11).with_hint();
    assert!(refusal.took < UNANSWERED, "{refusal}");
    let impatient = list.clone().with("patienceMs", json!(300));
    let refusal = b.eth0().runs(&impatient, "CHECK").runs().expect_error(11);
    assert!(refusal.took < UNREACHED, "{refusal}");
    lab.netd().signal(Signal::SIGCONT);
    eventually("netd is as if it had never been asked", || (lab.status().containers == 1 && a.links() == ["lo"]).then_some(()));
    a.joins(&list);
    for sandbox in [&a, &b] {
        sandbox.leaves(&list);
        sandbox.ends();
    }
    lab.ends_clean();
}

#[test]
fn a_socket_that_the_caller_may_not_open_is_an_io_error_with_a_hint() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let a = lab.cni().sandbox("a");
    lab.unchanged_by(|| {
        let refusal = a.eth0().runs(&list, "ADD").as_nobody().runs().expect_error(5).with_hint().naming("netd.sock");
        assert!(refusal.took < UNREACHED, "{refusal}");
        a.eth0().runs(&list, "ADD").with("socket", json!("/run/netd/nobody.sock")).runs().expect_error(11).naming("nobody.sock");
        a.eth0().runs(&list, "ADD").env("NETD_SOCKET", "/run/elsewhere.sock").runs().expect_error(11).naming("elsewhere.sock");
    });
    a.ends();
    lab.ends_clean();
}

#[test]
fn a_del_without_netd_succeeds_and_is_done_when_netd_starts() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let cni = lab.cni();
    let [a, b] = ["a", "b"].map(|id| cni.sandbox(id).listens(80));
    a.eth0().port(8080, 80, "tcp").joins(&list);
    b.joins(&list);
    lab.netd().kill9();
    a.leaves(&list);
    a.eth0().runs(&list, "DEL").runs().expect_nothing();
    cni.sandbox_at("ghost", lab.at("ghost", "/run/netns/a"), "").leaves(&list);
    assert_eq!(queued(&lab), 2, "the same one twice is one");
    fs::write(lab.host().path("/run/netd/cni/nonsense.json"), "{").unwrap();
    lab.netd().start();
    assert_eq!((lab.status().containers, lab.ports().len(), queued(&lab)), (1, 0, 0));
    assert_eq!(a.links(), ["lo"]);
    b.eth0().is_well(&list);
    a.joins(&list);
    a.leaves(&list);
    b.leaves(&list);
    a.ends();
    b.ends();
    lab.ends_clean();
}

#[test]
fn a_del_of_nothing_succeeds() {
    let lab = Lab::new();
    let cni = lab.cni();
    let list = Conflist::dual("web");
    let a = cni.sandbox("a");
    let del = |interface: &Interface<'_>| interface.runs(&list, "DEL");
    // Never added, to a network that never was.
    lab.unchanged_by(|| del(&a.eth0()).runs().expect_nothing());
    for netns in ["", "/run/netns/nobody", "/etc/hostname"] {
        a.joins(&list);
        // containerd's second DEL comes without a namespace; the first one may have been lost.
        del(&a.eth0()).env("CNI_NETNS", netns).runs().expect_nothing();
        del(&a.eth0()).env("CNI_NETNS", netns).runs().expect_nothing();
        del(&a.eth0()).without("CNI_NETNS").runs().expect_nothing();
        assert_eq!((a.links(), lab.status().containers), (vec!["lo".to_owned()], 0), "CNI_NETNS={netns:?}");
    }
    // After an ADD that failed.
    a.eth0().given("ips", json!(["10.9.9.9"])).is_refused(&list);
    del(&a.eth0()).runs().expect_nothing();
    // The namespace is gone with all in it.
    let b = cni.sandbox("b").listens(80);
    b.eth0().port(8080, 80, "tcp").joins(&list);
    b.ends();
    b.leaves(&list);
    assert_eq!((lab.status().containers, lab.ports().len()), (0, 0));
    a.ends();
    lab.ends_clean();
}

#[test]
fn the_same_add_twice_is_refused_and_the_first_one_lives() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let a = lab.cni().sandbox("a").listens(80);
    let wish = a.eth0().port(8080, 80, "tcp");
    wish.joins(&list);
    lab.unchanged_by(|| {
        wish.cannot_join(&list, 4).naming("CNI_IFNAME").naming("eth0");
    });
    lab.outside().fetches((HOST_V4, 8080)).expect_from("a");
    wish.is_well(&list);
    a.leaves(&list);
    a.ends();
    lab.ends_clean();
}

#[test]
fn an_add_with_a_new_namespace_replaces_what_was_lost_without_a_del() {
    let lab = Lab::new();
    let cni = lab.cni();
    let list = Conflist::dual("web");
    let lost = cni.sandbox_at("a", lab.stranger("first"), "/run/netns/first");
    lost.eth0().port(8080, 80, "tcp").joins(&list);
    let again = cni.sandbox_at("a", lab.stranger("second"), "/run/netns/second").listens(80);
    again.eth0().port(8080, 80, "tcp").joins(&list).expect_real(&again, lab.here());
    lab.outside().fetches((HOST_V4, 8080)).expect_from("second");
    assert_eq!((lost.links(), lab.status().containers), (vec!["lo".to_owned()], 1));
    again.ends();
    let third = cni.sandbox_at("a", lab.stranger("third"), "/run/netns/third").listens(80);
    third.joins(&list);
    third.leaves(&list);
    lost.ends();
    third.ends();
    lab.ends_clean();
}

#[test]
fn fifty_adds_at_once_all_succeed_with_addresses_of_their_own_and_fifty_dels_take_all_away() {
    let lab = Lab::new();
    let cni = lab.cni();
    let list = Conflist::dual("web");
    let sandboxes: Vec<_> = (0..MANY).map(|number| cni.sandbox(&format!("c{number}"))).collect();
    let all = |work: &(dyn Fn(usize) -> Vec<String> + Sync)| -> Vec<String> {
        thread::scope(|scope| {
            let workers: Vec<_> = (0..MANY).map(|number| scope.spawn(move || work(number))).collect();
            workers.into_iter().flat_map(|worker| worker.join().expect("each one is answered")).collect()
        })
    };
    let addresses = all(&|number| {
        let wish = sandboxes[number].eth0().port(u16::try_from(8000 + number).expect("few"), 80, "tcp");
        wish.joins(&list).addresses()
    });
    assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), 2 * MANY, "no address is given twice");
    assert_eq!((lab.status().containers, lab.ports().len()), (MANY as u64, MANY));
    assert_eq!(lab.plan(), Vec::<String>::new());
    all(&|number| {
        sandboxes[number].eth0().is_well(&list);
        sandboxes[number].leaves(&list);
        Vec::new()
    });
    assert_eq!((lab.status().containers, lab.ports().len()), (0, 0));
    sandboxes.iter().for_each(|sandbox| sandbox.ends());
    lab.ends_clean();
}

#[test]
fn add_and_del_of_one_container_at_once_end_in_one_of_the_two() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let a = lab.cni().sandbox("a").listens(80);
    let wish = a.eth0().port(8080, 80, "tcp");
    let (add, del) = (wish.runs(&list, "ADD"), wish.runs(&list, "DEL"));
    let mut stayed = 0;
    for round in 0..ROUNDS {
        let (added, deleted) = if round % 2 == 0 {
            (add.starts(), del.starts())
        } else {
            let del = del.starts();
            (add.starts(), del)
        };
        added.ends().expect_result();
        deleted.ends().expect_nothing();
        let there = lab.status().containers == 1;
        stayed += u32::from(there);
        assert_eq!(a.links().len(), if there { 2 } else { 1 }, "round {round}");
        assert_eq!(lab.ports().len(), usize::from(there), "round {round}");
        assert_eq!(lab.plan(), Vec::<String>::new(), "round {round}");
        if there {
            lab.outside().fetches((HOST_V4, 8080)).expect_from("a");
        }
        del.runs().expect_nothing();
        assert_eq!((a.links().len(), lab.status().containers), (1, 0), "round {round}");
    }
    println!("{stayed} of {ROUNDS} times the ADD came last");
    a.ends();
    lab.ends_clean();
}

#[test]
fn a_port_that_a_stranger_has_is_refused_and_the_stranger_is_named() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let a = lab.cni().sandbox("a").listens(80);
    let holder = lab.holder(8080);
    lab.unchanged_by(|| {
        let refusal = a.eth0().port(8080, 80, "tcp").is_refused(&list).of_our_own().with_hint();
        refusal.naming("8080").naming("socat").naming(holder.pid());
    });
    holder.ends();
    a.eth0().port(8080, 80, "tcp").joins(&list);
    lab.outside().fetches((HOST_V4, 8080)).expect_from("a");
    a.leaves(&list);
    a.ends();
    lab.ends_clean();
}

#[test]
fn the_runtimes_own_socket_and_its_monitors_are_no_strangers() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let id = "4f1e0d6a7b3c9e8f4f1e0d6a7b3c9e8f";
    let a = lab.cni().sandbox(id).listens(80);
    // The runtime is this process: podman binds each port before ADD, and hands the sockets to its monitor.
    lab.here().serves(8080);
    let monitor = lab.holder_called(8081, id);
    let wish = a.eth0().port(8080, 80, "tcp").port(8081, 80, "tcp");
    wish.joins(&list);
    for port in [8080, 8081] {
        lab.outside().fetches((HOST_V4, port)).expect_from(id);
    }
    wish.is_well(&list);
    assert!(lab.status().degraded.is_empty(), "{:?}", lab.status().degraded);
    a.leaves(&list);
    lab.here().stops_serving();
    monitor.ends();
    a.ends();
    lab.ends_clean();
}
