//! kill -9 at any moment: the next daemon finishes or undoes what was begun; nothing is leaked, nothing that was promised is lost.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use lab::{HOST_V4, Lab};
use netd_api::{
    client::Client,
    message::Request,
    spec::{AttachSpec, ContainerSpec, NetworkSpec},
};

/// Moments after a request was sent at which the daemon is killed: from before it was read to after it was answered.
const ROUNDS: u32 = 14;

/// Sends a request and kills the daemon `delay` later, whatever it was doing; whether an answer came first.
fn interrupted(lab: &Lab, request: &Request, delay: Duration) -> bool {
    let socket = lab.netd().socket();
    let sent = AtomicBool::new(false);
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let client = Client::at(&socket);
            sent.store(true, Ordering::Release);
            client.send(request).is_ok()
        });
        while !sent.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
        let start = Instant::now();
        while start.elapsed() < delay {
            std::hint::spin_loop();
        }
        lab.netd().kill9();
        client.join().expect("a client gets an answer or an error")
    })
}

/// Kills the daemon at many moments of a request, each time on a fresh start, and looks whether all is well.
#[track_caller]
fn survives(lab: &Lab, what: &str, mut request: impl FnMut(u32) -> Request, mut look: impl FnMut(u32, bool)) {
    for round in 0..ROUNDS {
        // 0, 0.1, 0.4, 0.9 … ms: dense where most is done, up to about 20 ms.
        let delay = Duration::from_micros(u64::from(round) * u64::from(round) * 100);
        let answered = interrupted(lab, &request(round), delay);
        lab.netd().start();
        assert_eq!(lab.plan(), Vec::<String>::new(), "{what}, killed after {delay:?}: kernel and wish differ");
        look(round, answered);
    }
}

#[test]
fn a_network_is_made_whole_or_not_at_all() {
    let lab = Lab::new();
    survives(
        &lab,
        "network create",
        |round| {
            let mut spec = NetworkSpec::named(format!("n{round}").parse().unwrap());
            spec.ipv6 = true;
            Request::CreateNetwork(spec)
        },
        |round, answered| {
            let there = lab.asks(&Request::Network(format!("n{round}").parse().unwrap())).is_ok();
            assert!(there || !answered, "a network that was promised is lost");
            if there {
                let net = lab.known_network(&format!("n{round}"));
                net.container(&format!("c{round}")).removed();
                net.removed();
            }
        },
    );
    lab.ends_clean();
}

#[test]
fn a_container_with_a_port_is_made_whole_or_not_at_all_and_removed_wholly() {
    let lab = Lab::new();
    let net = lab.network("web");
    let name = net.name().clone();
    survives(
        &lab,
        "container create",
        |round| {
            let mut spec = ContainerSpec::named(format!("c{round}").parse().unwrap());
            spec.networks.push(AttachSpec::to(name.clone()));
            spec.publish.push("8080:80".parse().unwrap());
            Request::CreateContainer(spec)
        },
        |round, answered| {
            let there = lab.asks(&Request::Container(format!("c{round}").parse().unwrap())).is_ok();
            assert!(there || !answered, "a container that was promised is lost");
            if there {
                let container = lab.container(&format!("c{round}")).listens(80);
                lab.outside().fetches((HOST_V4, 8080)).expect_from(&container);
                container.removed();
            }
            lab.outside().tries((HOST_V4, 8080)).expect_refused();
        },
    );
    survives(
        &lab,
        "container rm",
        |round| {
            lab.new_container(&format!("r{round}")).on(&net).publish("8080:80").made();
            Request::RemoveContainer(format!("r{round}").parse().unwrap())
        },
        |round, answered| {
            let id = format!("r{round}");
            let there = lab.asks(&Request::Container(id.parse().unwrap())).is_ok();
            assert!(!(there && answered), "a container that was removed is back");
            if there {
                lab.container(&id).removed();
            }
            assert!(!lab.host().path(&format!("/run/netns/{id}")).exists());
            assert!(lab.ports().is_empty());
        },
    );
    lab.ends_clean();
}

#[test]
fn a_port_is_published_and_withdrawn_wholly() {
    let lab = Lab::new();
    let a = lab.network("web").container("a").listens(80);
    survives(
        &lab,
        "publish",
        |_| Request::Publish(a.name().clone(), "8080:80".parse().unwrap()),
        |_, answered| {
            let there = !lab.ports().is_empty();
            assert!(there || !answered, "a port that was promised is lost");
            if there {
                lab.outside().fetches((HOST_V4, 8080)).expect_from(&a);
                a.withdraws("8080:80");
            }
            lab.outside().tries((HOST_V4, 8080)).expect_refused();
        },
    );
    survives(
        &lab,
        "unpublish",
        |_| {
            a.publishes("8080:80");
            Request::Unpublish(a.name().clone(), None)
        },
        |_, answered| {
            let there = !lab.ports().is_empty();
            assert!(!(there && answered), "a port that was withdrawn is back");
            if there {
                lab.outside().fetches((HOST_V4, 8080)).expect_from(&a);
                a.withdraws("8080:80");
            }
            lab.outside().tries((HOST_V4, 8080)).expect_refused();
        },
    );
    lab.ends_clean();
}

#[test]
fn a_cleanup_that_was_interrupted_is_finished_by_the_next() {
    let lab = Lab::new();
    let net = lab.network("web");
    for name in ["a", "b", "c"] {
        net.container(name);
    }
    interrupted(&lab, &Request::Cleanup, Duration::from_millis(8));
    lab.netd().start();
    assert_eq!(lab.plan(), Vec::<String>::new());
    lab.ends_clean();
}
