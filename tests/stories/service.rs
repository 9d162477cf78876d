//! How netd stands on its host: who may ask it, what it logs of whom, and that it describes all it can do.

use std::os::unix::fs::PermissionsExt as _;

use lab::{Lab, eventually, policy::yaml::network_policy};
use serde_json::Value;

#[test]
fn only_root_may_ask_where_there_is_no_group_and_who_asked_is_logged() {
    let lab = Lab::new();
    let mode = std::fs::metadata(lab.netd().socket()).expect("netd listens").permissions().mode() & 0o777;
    let has_group = std::fs::read_to_string("/etc/group").is_ok_and(|groups| groups.lines().any(|group| group.starts_with("netd:")));
    assert_eq!(mode, if has_group { 0o660 } else { 0o600 }, "{mode:o}");
    let mut command = lab.host().command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(lab.host().program("netctl")).arg("status");
    let output = command.output().expect("setpriv can be started");
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{words}");
    assert!(words.contains("ermission") && words.contains("hint: "), "{words}");
    lab.netctl(["network", "create", "web"]).expect_done();
    let line = lab.netd().log().lines().find(|line| line.contains("network created")).map(str::to_owned);
    let line = line.expect("it is logged");
    assert!(line.contains("uid=0") && line.contains("web"), "{line}");
    lab.ends_clean();
}

#[test]
fn logs_for_machines_are_one_json_object_a_line() {
    let lab = Lab::bare();
    lab.netd().start_with(&[], &[("NETD_LOG_FORMAT", "json"), ("NETD_LOG_LEVEL", "debug")]);
    lab.network("web").container("a");
    lab.new_container("Bad").on(&lab.known_network("nobody")).refused();
    let lines = eventually("something is logged", || Some(lab.netd().log()).filter(|log| log.contains("container created")));
    for line in lines.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        assert!(event["level"].is_string() && event["message"].is_string(), "{line}");
    }
    lab.ends_clean();
}

#[test]
fn what_netd_describes_it_answers() {
    let lab = Lab::new();
    let a = lab.network("web").container("a");
    a.publishes("8080:80");
    lab.applies(&network_policy("default/it", "{podSelector: {}}"));
    let described: Value = serde_json::from_str(&lab.api().openapi().expect("netd describes itself")).expect("it is JSON");
    let paths = described["paths"].as_object().expect("it has paths");
    let mut asked = 0;
    for (path, _) in paths.iter().filter(|(_, item)| item["get"].is_object()) {
        let name = if path.contains("networks") { "web" } else { "a" };
        let path: String = path.split('/').map(|part| if part.starts_with('{') { name } else { part }).collect::<Vec<_>>().join("/");
        // The one that takes a name with a slash in it takes it behind the path.
        let path = if path.ends_with("/policy") { format!("{path}?name=default%2Fit") } else { path };
        let (status, answer) = lab.gets(&path);
        assert_eq!(status, 200, "GET {path}: {answer}");
        asked += 1;
    }
    assert!(asked >= 7, "{paths:?}");
    lab.ends_clean();
}
