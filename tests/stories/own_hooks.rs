//! Links that carry much get the programs at their own hooks: what is judged and counted stays the same, through a restart, another build and a theft.

use lab::{
    Container, Lab, Network, eventually,
    policy::{
        reach::{tcp, udp},
        yaml::network_policy,
    },
    wait::meanwhile,
};
use nix::sys::signal::Signal;

use crate::{
    fast_path::PATHS,
    upgrade::{another_build, ended, started},
};

/// A look each second, so that a story need not wait for half a minute.
pub(crate) const SOON: &str = "check_interval_s = 1\n";
/// No client but web may come in.
const ONLY_WEB: &str = "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}";
/// What is at the hooks of a link that is busy.
const BOTH: [&str; 2] = ["from_container", "to_container"];

fn at_hooks(lab: &Lab, net: &Network<'_>, container: &Container<'_>) -> Vec<String> {
    lab.at_hooks(container.attachment(net).host_ifname.as_str()).0
}

/// Datagrams to a port where nobody listens, as fast as one thread can.
pub(crate) fn while_busy(from: &Container<'_>, to: &Container<'_>, during: impl FnOnce()) {
    let target = to.v4(9);
    let socket = from.net().inside(|| std::net::UdpSocket::bind("0.0.0.0:0")).expect("a socket can be opened");
    let floods = || {
        let _refused_by_the_other_end = socket.send_to(b"packet", target);
    };
    meanwhile(floods, during);
}

/// Waits until so many links are at their own hooks while these two are busy.
fn become_busy(lab: &Lab, [one, other]: [&Container<'_>; 2], links: u64) {
    while_busy(one, other, || eventually("their links are busy", || (lab.policy_status().own_hooks == Some(links)).then_some(())));
}

/// A network with a database, its client, who are both busy, and somebody who is not.
fn told(path: &str, story: impl Fn(&Lab, &Network<'_>, [&Container<'_>; 3])) {
    // Not a packet was counted twice, and none was missed.
    told_until(path, story, Lab::ends_clean);
}

fn told_until(path: &str, story: impl Fn(&Lab, &Network<'_>, [&Container<'_>; 3]), ends: impl Fn(&Lab)) {
    let lab = Lab::bare();
    lab.configures(&format!("{SOON}{path}"));
    lab.starts();
    let net = lab.network("web");
    let made = |name: &str| lab.new_container(name).on(&net).label("app", name).made().listens(80).listens_udp(53);
    let [db, web, idle] = ["db", "web", "idle"].map(made);
    become_busy(&lab, [&web, &db], 2);
    assert_eq!([&db, &web].map(|container| at_hooks(&lab, &net, container)), [BOTH, BOTH]);
    assert!(at_hooks(&lab, &net, &idle).is_empty(), "who carries little stays on the blocks");
    story(&lab, &net, [&db, &web, &idle]);
    ends(&lab);
}

#[test]
fn at_their_own_hooks_links_are_judged_and_counted_as_on_the_blocks() {
    for path in PATHS {
        told(path, |lab, net, [db, web, idle]| {
            let stream = idle.streams(db.v4(80));
            stream.expect_flowing();
            lab.applies(&network_policy("default/only-web", ONLY_WEB));
            stream.expect_cut();
            for service in [tcp(80), udp(53)] {
                web.reaches(db, service);
                idle.reaches_not(db, service);
                db.reaches(idle, service);
            }
            lab.withdraws_policy("default/only-web");
            idle.reaches(db, tcp(80));
            let other = lab.network("other");
            while_busy(web, db, || {
                db.connects(&other);
                db.becomes("app", "cache");
            });
            assert_eq!(at_hooks(lab, net, db), BOTH);
        });
    }
}

#[test]
fn a_restart_finds_busy_links_at_their_hooks_and_a_reload_gives_them_back_to_the_blocks() {
    told("[datapath]\n", |lab, net, [db, web, idle]| {
        lab.applies(&network_policy("default/only-web", ONLY_WEB));
        let closed = db.v4(80);
        while_busy(web, idle, || {
            lab.netd().kill9();
            idle.tries(closed).expect_silence();
            lab.netd().start();
        });
        assert_eq!(at_hooks(lab, net, db), BOTH, "neither gone nor there twice");
        lab.configures(&format!("{SOON}[datapath]\nown_hooks = false\n"));
        while_busy(web, idle, || {
            lab.netd().signal(Signal::SIGHUP);
            eventually("all are on the blocks again", || (lab.policy_status().own_hooks.is_none()).then_some(()));
        });
        for container in [db, web, idle] {
            assert!(at_hooks(lab, net, container).is_empty());
        }
        idle.reaches_not(db, tcp(80));
        web.reaches(db, tcp(80));
    });
}

#[test]
fn the_next_build_replaces_programs_at_hooks_and_misses_no_packet() {
    told("[datapath]\n", |lab, net, [db, web, idle]| {
        let next = another_build(lab);
        let host_end = db.attachment(net).host_ifname.to_string();
        let (_, before) = lab.at_hooks(&host_end);
        while_busy(web, idle, || {
            lab.netd().stop();
            let child = started(lab, &next);
            let (names, after) = lab.at_hooks(&host_end);
            assert_eq!(names, BOTH);
            assert!(before.iter().all(|program| !after.contains(program)), "{before:?} and then {after:?}");
            ended(child);
        });
        lab.netd().start();
        assert_eq!(at_hooks(lab, net, db), BOTH);
    });
}

#[test]
fn a_filter_of_somebody_else_on_the_block_goes_on_seeing_busy_links() {
    let story = |lab: &Lab, net: &Network<'_>, [db, web, _]: [&Container<'_>; 3]| {
        // Before netd's own: it drops UDP to port 7 (`ret #2` is TC_ACT_SHOT) and lets all else go on.
        let block = "1852047361";
        let code = "9,40 0 0 12,21 0 6 2048,48 0 0 23,21 0 4 17,177 0 0 14,72 0 0 16,21 0 1 7,6 0 0 2,6 0 0 4294967295";
        let drops = ["filter", "add", "block", block, "protocol", "ip", "pref", "10", "bpf", "direct-action", "bytecode", code];
        lab.here().run("tc", &drops);
        eventually("both links are on the blocks", || (lab.policy_status().own_hooks == Some(0)).then_some(()));
        assert!(at_hooks(lab, net, db).is_empty());
        web.reaches(db, udp(53));
        db.serves_udp(7);
        web.tries_to_ask(db.v4(7)).expect_silence();
        lab.here().run("tc", &["filter", "del", "block", block, "protocol", "ip", "pref", "10"]);
        web.asks(db.v4(7)).expect_from(db);
        become_busy(lab, [web, db], 2);
    };
    // What is dropped before netd's programs they do not count.
    told_until("[datapath]\n", story, Lab::ends_clean_uncounted);
}

#[test]
fn programs_of_maps_that_nobody_knows_any_more_are_taken_from_hooks() {
    let lab = Lab::bare();
    lab.configures(SOON);
    lab.starts();
    let net = lab.network("web");
    let made = |name: &str| lab.new_container(name).on(&net).label("app", name).made().listens(80);
    let [db, web, idle] = ["db", "web", "idle"].map(made);
    become_busy(&lab, [&web, &db], 2);
    let host_end = db.attachment(&net).host_ifname.to_string();
    let (_, before) = lab.at_hooks(&host_end);
    lab.netd().stop();
    lab.here().run("rm", &["-r", &lab.host().path("/sys/fs/bpf/netd").display().to_string()]);
    lab.here().run("ip", &["link", "del", "nd-anchor"]);
    lab.netd().start();
    lab.applies(&network_policy("default/only-web", ONLY_WEB));
    idle.reaches_not(&db, tcp(80));
    web.reaches(&db, tcp(80));
    let (_, after) = lab.at_hooks(&host_end);
    assert!(before.iter().all(|program| !after.contains(program)), "{before:?} and then {after:?}");
    // What was counted into the former maps is lost with them.
    lab.ends_clean_uncounted();
}

#[test]
fn who_takes_a_program_from_a_link_gives_it_back_to_the_blocks() {
    told("[datapath]\n", |lab, net, [db, web, idle]| {
        lab.applies(&network_policy("default/only-web", ONLY_WEB));
        let host_end = db.attachment(net).host_ifname.to_string();
        lab.robs_ingress(&host_end);
        idle.reaches_not(db, tcp(80));
        web.reaches(db, tcp(80));
        eventually("a link that is not busy any more stays on the blocks", || {
            let (names, _) = lab.at_hooks(&host_end);
            if names == BOTH {
                lab.robs_ingress(&host_end);
            }
            names.is_empty().then_some(())
        });
        idle.reaches_not(db, tcp(80));
        web.reaches(db, tcp(80));
        become_busy(lab, [web, db], 2);
        assert_eq!(lab.at_hooks(&host_end).0, BOTH, "it is busy again");
    });
}
