//! Policies as people type them: written from recorded traffic, tried, applied, looked at, withdrawn; and flows as they are printed and followed.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    sync::mpsc,
    thread,
};

use lab::{
    Lab,
    policy::{
        reach::tcp,
        yaml::{documents, namespace, network_policy},
    },
    wait::PATIENCE,
};
use netd_api::{flow::FlowEvent, policy::FlowVerdict};

const CLOSED: &str = "{podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress]}";

#[test]
fn a_policy_is_written_from_recorded_traffic_and_lets_in_what_was_recorded() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = lab.new_container("a").on(&net).label("app", "server").made().listens(80).listens(81);
    let b = lab.new_container("b").on(&net).label("app", "client").made();
    let stranger = net.container("stranger");
    b.reaches(&a, tcp(80));
    a.expect_flow(FlowEvent::Closed, FlowVerdict::Forward, |flow| flow.container.port == 80);
    let advice = lab.netctl(["policy", "advise", "a"]).expect_done();
    lab.netctl_with(&["policy", "apply", "-f", "-"], &[], &advice).expect_done();
    b.reaches(&a, tcp(80));
    b.reaches_not(&a, tcp(81));
    stranger.reaches_not(&a, tcp(80));
    lab.ends_clean();
}

#[test]
fn a_dry_run_names_the_recorded_flows_that_would_change_and_changes_nothing() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = lab.new_container("a").on(&net).label("app", "server").made().listens(80);
    let b = net.container("b").listens(81);
    b.reaches(&a, tcp(80));
    a.reaches(&b, tcp(81));
    a.expect_flow(FlowEvent::Closed, FlowVerdict::Forward, |flow| flow.container.port == 80);
    a.expect_flow(FlowEvent::Closed, FlowVerdict::Forward, |flow| flow.remote.port == 81);
    let file = documents([&network_policy("default/closed", CLOSED), &namespace("default", "{tried: \"yes\"}")]);
    let said = lab.netctl_with(&["-o", "json", "policy", "apply", "--dry-run", "-f", "-"], &[], &file).json();
    let changed = said["changed_flows"].as_array().expect("it is a list");
    assert!(!changed.is_empty(), "{said}");
    for it in changed {
        let flow = &it["flow"];
        assert_eq!(
            (&flow["container"]["name"], &flow["direction"], &it["verdict"]),
            (&"a".into(), &"ingress".into(), &"drop".into()),
            "{it}"
        );
        assert!(it["rule"].as_str().is_some_and(|rule| rule.contains("default/closed")), "{it}");
    }
    let said = lab.netctl_with(&["policy", "apply", "--dry-run", "-f", "-"], &[], &file).expect_done();
    assert!(said.contains("dry run: nothing was changed"), "{said}");
    assert_eq!(lab.policy_names(), Vec::<String>::new());
    b.reaches(&a, tcp(80));
    lab.ends_clean();
}

#[test]
fn policies_are_listed_with_their_hits_printed_and_withdrawn() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = lab.new_container("a").on(&net).label("app", "server").made().listens(80);
    let b = net.container("b");
    let listed = || lab.netctl(["policy", "ls"]).expect_done();
    let hits = || {
        let all = lab.netctl_json(["policy", "ls"]);
        let rules = all[0]["rules"].as_array().expect("it has rules").clone();
        rules.iter().map(|rule| rule["hits"]["packets"].as_u64().expect("a number")).sum::<u64>()
    };
    lab.netctl_with(&["policy", "apply", "-f", "-"], &[], &network_policy("default/closed", CLOSED)).expect_done();
    assert_eq!(hits(), 0);
    b.reaches_not(&a, tcp(80));
    let counted = a.counted(&net, "drop_policy");
    lab::eventually("each drop is a hit", || (hits() == counted).then_some(()));
    assert!(counted > 0 && listed().contains("default/closed") && listed().contains(&counted.to_string()), "{counted}: {}", listed());
    let printed = lab.netctl(["policy", "get", "default/closed"]).expect_done();
    let dropped = lab.netctl(["flows", "--container", "a", "--verdict", "drop"]).expect_done();
    assert!(dropped.contains("default/closed") && dropped.contains(":80"), "{dropped}");
    lab.netctl(["policy", "rm", "default/closed"]).expect_done();
    assert!(!listed().contains("default/closed"), "{}", listed());
    b.reaches(&a, tcp(80));
    // What was printed can be applied.
    lab.netctl_with(&["policy", "apply", "-f", "-"], &[], &printed).expect_done();
    b.reaches_not(&a, tcp(80));
    lab.ends_clean();
}

#[test]
fn who_follows_flows_sees_them_as_they_happen() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (net.container("a").listens(80), net.container("b"));
    let mut command = lab.host().ours("netctl");
    command.args(["flows", "--follow", "--container", "a"]).env_remove("NETD_SOCKET").stdout(Stdio::piped()).stderr(Stdio::null());
    let mut follower = command.spawn().expect("netctl can be started");
    let printed = BufReader::new(follower.stdout.take().expect("a pipe was asked for"));
    let (says, hears) = mpsc::channel();
    let reader = thread::spawn(move || printed.lines().map_while(Result::ok).for_each(|line| drop(says.send(line))));
    let port = b.fetches(a.v4(80)).expect_from(&a).seen.port();
    let line = loop {
        let line = hears.recv_timeout(PATIENCE).expect("the end of the connection is printed");
        if line.contains("closed") && line.contains(&port.to_string()) {
            break line;
        }
    };
    assert!(line.contains("a eth0:80 <- b ") && line.contains("tcp forward"), "{line}");
    follower.kill().expect("it runs until it is interrupted");
    follower.wait().expect("it is our child");
    reader.join().expect("it ends with the pipe");
    lab.ends_clean();
}
