//! Killed or stopped in the middle: at each kind of step that the kernel is asked for, and with many requests under way.

use std::{collections::BTreeSet, thread};

use lab::{HOST_V4, Lab, eventually, wait};
use netd_api::{
    client::Client,
    message::Request,
    spec::{AttachSpec, ContainerSpec, NetworkSpec},
};
use nix::sys::signal::Signal;

/// Each step is logged before it is made.
pub(crate) const LOUD: &[&str] = &["--log-level", "debug"];
const CLIENTS: u32 = 40;

/// What kind of step a line of the log tells of: the command's words without names and numbers.
pub(crate) fn kind(line: &str) -> Option<String> {
    let (_, op) = line.split_once("step op=")?;
    let plain = |word: &&str| !word.contains(|letter: char| letter.is_ascii_digit() || matches!(letter, '{' | ':' | '.' | '\'' | '"'));
    Some(op.split_whitespace().filter(plain).collect::<Vec<_>>().join(" "))
}

pub(crate) fn kinds(log: &str) -> BTreeSet<String> {
    log.lines().filter_map(kind).collect()
}

/// The life of a network and a container with a port, in requests.
fn life(number: usize) -> Vec<Request> {
    let network = || format!("n{number}").parse().unwrap();
    let container = format!("c{number}");
    let mut spec = NetworkSpec::named(network());
    spec.ipv6 = true;
    let mut made = ContainerSpec::named(container.parse().unwrap());
    made.networks.push(AttachSpec::to(network()));
    made.publish.push("8080:80".parse().unwrap());
    vec![
        Request::CreateNetwork(spec),
        Request::CreateContainer(made),
        Request::RemoveContainer(container.parse().unwrap()),
        Request::RemoveNetwork(network()),
    ]
}

/// Asks for all of a life, and kills the daemon when it is about to make a step of this kind. Which request was not answered?
fn killed_at(lab: &Lab, step: &str, number: usize) -> Option<usize> {
    let from = lab.netd().log().len();
    let client = Client::at(lab.netd().socket());
    thread::scope(|scope| {
        let asking = scope.spawn(move || life(number).iter().position(|request| client.send(request).is_err()));
        let reached = || lab.netd().log()[from..].lines().any(|line| kind(line).as_deref() == Some(step)).then_some(());
        let came = wait::poll(wait::PATIENCE, reached);
        lab.netd().kill9();
        came.unwrap_or_else(|| panic!("there was no step like `{step}`"));
        asking.join().expect("a client gets an answer or an error")
    })
}

#[test]
fn killed_at_each_kind_of_step_netd_leaks_nothing_and_loses_nothing() {
    let lab = Lab::bare();
    lab.netd().start_with(LOUD, &[]);
    life(0).iter().for_each(|request| drop(lab.done(request)));
    let all = kinds(&lab.netd().log());
    assert!(all.len() >= 20, "fewer kinds of steps than there should be: {all:#?}");
    let mut cut = 0;
    for (number, step) in all.iter().enumerate() {
        let unanswered = killed_at(&lab, step, number + 1);
        cut += usize::from(unanswered.is_some());
        lab.netd().start_with(LOUD, &[]);
        assert_eq!(lab.plan(), Vec::<String>::new(), "killed at `{step}`: kernel and wish differ");
        // Whatever was answered is so: a network that was made is there until its removal was asked for.
        let [network, container] = [&lab.status().networks, &lab.status().containers].map(|count| *count > 0);
        match unanswered {
            Some(2) => assert!(network, "killed at `{step}`: a promised network is lost"),
            Some(3) => assert!(!container, "killed at `{step}`: a removed container is back"),
            None => assert!(!network && !container, "killed at `{step}`: what was removed is back"),
            _ => {}
        }
        if container {
            let container = lab.container(&format!("c{}", number + 1)).listens(80);
            lab.outside().fetches((HOST_V4, 8080)).expect_from(&container);
        }
        for request in life(number + 1).iter().skip(2) {
            let _not_there_any_more = lab.asks(request);
        }
        assert_eq!((lab.status().networks, lab.status().containers, lab.status().ports), (0, 0, 0), "killed at `{step}`");
    }
    assert!(cut >= all.len() / 2, "only {cut} of {} kills came in the middle of a request", all.len());
    lab.ends_clean();
}

#[test]
fn stopped_amid_many_requests_netd_keeps_each_promise_and_makes_no_other() {
    let lab = Lab::new();
    let net = lab.new_network("web").subnet("10.5.0.0/20").made();
    let socket = lab.netd().socket();
    let promised: Vec<(String, bool)> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (socket, name) = (&socket, net.name().clone());
                scope.spawn(move || {
                    let mut spec = ContainerSpec::named(format!("c{number}").parse().unwrap());
                    spec.networks.push(AttachSpec::to(name));
                    (format!("c{number}"), Client::at(socket).send(&Request::CreateContainer(spec)).is_ok())
                })
            })
            .collect();
        eventually("some are made", || lab.host().path("/run/netns/").read_dir().is_ok_and(|all| all.count() > 3).then_some(()));
        lab.netd().signal(Signal::SIGTERM);
        clients.into_iter().map(|client| client.join().expect("a client gets an answer or an error")).collect()
    });
    lab.netd().stop();
    lab.netd().start();
    assert_eq!(lab.plan(), Vec::<String>::new());
    for (name, promised) in promised {
        let there = lab.asks(&Request::Container(name.parse().unwrap())).is_ok();
        assert!(there || !promised, "{name} was promised and is not there");
    }
    lab.ends_clean();
}
