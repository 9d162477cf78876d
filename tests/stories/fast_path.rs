//! The short way between neighbours is taken where the configuration says so and nowhere else, and a reload turns it on and off.

use lab::{Container, Lab, Network, eventually};
use netd_api::addr::Family;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// Both configurations.
pub(crate) const PATHS: [&str; 2] = [LONG, SHORT];
pub(crate) const LONG: &str = "[datapath]\nfast_path = false\n";
pub(crate) const SHORT: &str = "[datapath]\nfast_path = true\n";

/// Tells a story on either path.
pub(crate) fn on_either_path(story: impl Fn(&Lab)) {
    for path in PATHS {
        let lab = Lab::bare();
        lab.configures(path);
        lab.starts();
        story(&lab);
        lab.ends_clean();
    }
}

/// Packets that came to a container over its host's end, which the short way passes by.
fn came_the_long_way(lab: &Lab, net: &Network<'_>, container: &Container<'_>) -> u64 {
    let host_end = lab.here().link(container.attachment(net).host_ifname.as_str());
    host_end["stats64"]["tx"]["packets"].as_u64().expect("iproute2 prints counters")
}

/// Gives netd another configuration, and waits until its log says for the `count`th time that it was taken over.
fn reloads_with(lab: &Lab, path: &str, count: usize) {
    lab.configures(path);
    lab.netd().signal(Signal::SIGHUP);
    eventually("the settings are taken over", || (lab.netd().log().matches("settings reloaded").count() == count).then_some(()));
}

#[test]
fn what_flows_already_takes_the_short_way_once_that_is_on() {
    // All on one CPU: there an answer meets what was noted of its flow when the question came.
    let mut one = CpuSet::new();
    let all = sched_getaffinity(Pid::from_raw(0)).expect("a thread runs somewhere");
    let first = (0..CpuSet::count()).find(|cpu| all.is_set(*cpu) == Ok(true)).expect("a thread runs somewhere");
    one.set(first).and_then(|()| sched_setaffinity(Pid::from_raw(0), &one)).expect("it is one of our CPUs");
    let lab = Lab::bare();
    lab.configures(LONG);
    lab.starts();
    let net = lab.network("web");
    let (a, b) = (net.container("a").listens(80), net.container("b"));
    let streams = Family::BOTH.map(|family| b.streams((a.address(family), 80)));
    // Of ten echoes each at least twenty packets come to either end, and neighbours are looked for over the bridge.
    let long = || {
        let before = [&a, &b].map(|end| came_the_long_way(&lab, &net, end));
        streams.iter().for_each(lab::stream::Stream::expect_flowing);
        [&a, &b].map(|end| came_the_long_way(&lab, &net, end)).iter().zip(before).map(|(after, before)| after - before).collect::<Vec<_>>()
    };
    let over_the_bridge = long();
    assert!(over_the_bridge.iter().all(|packets| *packets >= 20), "{over_the_bridge:?} came over the bridge to begin with");
    reloads_with(&lab, SHORT, 1);
    eventually("questions and answers take the short way", || long().iter().all(|packets| *packets < 5).then_some(()));
    streams.iter().for_each(lab::stream::Stream::expect_flowing);
    drop(streams);
    lab.ends_clean();
}

#[test]
fn a_neighbour_that_comes_back_is_met_on_the_short_way_by_what_goes_on() {
    const TIMES: u64 = 10;
    let lab = Lab::bare();
    lab.configures(SHORT);
    lab.starts();
    let net = lab.network("web");
    let b = net.container("b");
    // With its hardware address: nobody has to be looked for over the bridge.
    let draft = || lab.new_container("a").on(&net).mac("02:00:00:00:00:77");
    let a = draft().made().listens_udp(53);
    let at = a.address(Family::V4);
    let asker = b.asker((at, 53));
    asker.comes_to(&a);
    a.removed();
    asker.comes_to_nobody();
    let a = draft().address(&at.to_string()).made().listens_udp(53);
    eventually("the same client's questions take the short way", || {
        let before = came_the_long_way(&lab, &net, &a);
        (0..TIMES).for_each(|_| asker.comes_to(&a));
        (came_the_long_way(&lab, &net, &a) - before < TIMES / 4).then_some(())
    });
    lab.ends_clean();
}

#[test]
fn neighbours_meet_the_short_way_while_it_is_on_and_a_reload_turns_it() {
    const TIMES: u64 = 40;
    let lab = Lab::bare();
    lab.configures(LONG);
    lab.starts();
    let net = lab.network("web");
    let (a, b) = (net.container("a").listens_udp(53), net.container("b"));
    for (reloads, path) in [LONG, SHORT, LONG, SHORT].into_iter().enumerate() {
        if reloads > 0 {
            reloads_with(&lab, path, reloads);
        }
        for family in Family::BOTH {
            let before = came_the_long_way(&lab, &net, &a);
            for _ in 0..TIMES {
                b.asks((a.address(family), 53)).expect_from(&a);
            }
            let long = came_the_long_way(&lab, &net, &a) - before;
            // Neighbours are looked for over the bridge on either path.
            let is_as_configured = if path == SHORT { long < TIMES / 4 } else { long >= TIMES };
            assert!(is_as_configured, "{long} of {TIMES} packets came the long way over {family:?} with {path}");
        }
    }
    lab.ends_clean();
}
