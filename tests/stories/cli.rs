//! netctl as people and scripts use it: tables, stable JSON, errors with hints, exit codes.

use lab::{HOST_V4, Lab};

#[test]
fn the_commands_of_the_readme_work_as_typed() {
    let lab = Lab::new();
    lab.netctl(["network", "create", "web", "--subnet", "10.4.0.0/24", "--ipv6", "--label", "tier=front"]).expect_done();
    lab.netctl(["container", "create", "a", "--network", "web,ip=10.4.0.9", "-p", "8080:80", "--label", "app=shop"]).expect_done();
    let a = lab.container("a").listens(80);
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&a);
    let table = lab.netctl(["network", "ls"]).expect_done();
    assert!(table.contains("web") && table.contains("10.4.0.0/24"), "{table}");
    let table = lab.netctl(["container", "ls"]).expect_done();
    assert!(table.contains('a') && table.contains("10.4.0.9"), "{table}");
    let table = lab.netctl(["ports"]).expect_done();
    assert!(table.contains("8080") && table.contains("10.4.0.9"), "{table}");
    let table = lab.netctl(["status"]).expect_done();
    assert!(table.contains("netd"), "{table}");
    assert_eq!(lab.netctl_json(["network", "inspect", "web"])["subnets"][0]["subnet"], "10.4.0.0/24");
    assert_eq!(lab.netctl_json(["container", "inspect", "a"])["attachments"][0]["addresses"][0], "10.4.0.9/24");
    assert_eq!(lab.netctl_json(["ports", "a"])[0]["host"]["first"], 8080);
    assert_eq!(lab.netctl_json(["status"])["containers"], 1);
    assert_eq!(lab.netctl_json(["plan"])["ops"], serde_json::json!([]));
    lab.netctl(["publish", "a", "9090:80"]).expect_done();
    lab.outside().fetches((HOST_V4, 9090)).expect_from(&a);
    lab.netctl(["unpublish", "a", "9090:80"]).expect_done();
    lab.outside().tries((HOST_V4, 9090)).expect_refused();
    lab.netctl(["network", "create", "db"]).expect_done();
    lab.netctl(["network", "connect", "db", "a"]).expect_done();
    assert_eq!(a.inspect().attachments.len(), 2);
    lab.netctl(["network", "disconnect", "db", "a"]).expect_done();
    lab.netctl(["container", "set", "a", "--label", "app-", "--namespace", "prod"]).expect_done();
    assert!(a.inspect().labels.is_empty());
    lab.netctl(["container", "rm", "a"]).expect_done();
    lab.netctl(["network", "prune"]).expect_done();
    assert_eq!(lab.netctl_json(["network", "ls"]), serde_json::json!([]));
    lab.netctl(["cleanup"]).expect_failed(2);
    lab.netctl(["cleanup", "--yes"]).expect_done();
    lab.ends_clean();
}

#[test]
fn a_free_port_that_was_chosen_is_printed() {
    let lab = Lab::new();
    let a = lab.network("web").container("a").listens(80);
    let said = lab.netctl(["publish", "a", "80"]).expect_done();
    let port = lab.ports()[0].host.first;
    assert!(said.contains(&port.to_string()), "{said}");
    lab.outside().fetches((HOST_V4, port)).expect_from(&a);
    lab.ends_clean();
}

#[test]
fn exec_enters_the_container_with_its_resolver_and_gives_the_commands_status() {
    let lab = Lab::new();
    let a = lab.network("web").container("a");
    let said = lab.netctl(["container", "exec", "a", "--", "ip", "-brief", "address"]).expect_done();
    assert!(said.contains(&a.address(netd_api::addr::Family::V4).to_string()), "{said}");
    assert_eq!(lab.netctl(["container", "exec", "a", "--", "sh", "-c", "exit 42"]).status, 42);
    lab.netctl(["container", "exec", "a", "--", "no-such-program"]).expect_failed(127);
    std::fs::create_dir_all(lab.host().path("/etc/netns/a")).unwrap();
    std::fs::write(lab.host().path("/etc/netns/a/resolv.conf"), "nameserver 203.0.113.9\n").unwrap();
    assert_eq!(lab.netctl(["container", "exec", "a", "--", "cat", "/etc/resolv.conf"]).expect_done(), "nameserver 203.0.113.9\n");
    std::fs::remove_dir_all(lab.host().path("/etc/netns/a")).unwrap();
    lab.ends_clean();
}

#[test]
fn attach_by_path_and_by_pid_works_from_the_command_line() {
    let lab = Lab::new();
    let net = lab.network("web");
    let b = net.container("b").listens(80);
    let theirs = lab.stranger("theirs");
    let process = lab.process();
    lab.netctl(["container", "attach", "one", "--netns", "/run/netns/theirs", "--network", "web"]).expect_done();
    lab.netctl(["container", "attach", "two", "--pid", &process.pid().to_string(), "--network", "web"]).expect_done();
    theirs.fetches(b.v4(80)).expect_from(&b);
    process.station("two").fetches(b.v4(80)).expect_from(&b);
    lab.netctl(["container", "rm", "one", "two"]).expect_done();
    lab.here().run("ip", &["netns", "del", "theirs"]);
    lab.ends_clean();
}

#[test]
fn errors_have_a_hint_and_exit_codes_say_who_is_to_blame() {
    let lab = Lab::new();
    let net = lab.network("web");
    net.container("a");
    let complaint = lab.netctl(["network", "rm", "web"]).expect_failed(1);
    assert!(complaint.starts_with("error: ") && complaint.contains("\nhint: "), "{complaint}");
    let complaint = lab.netctl(["network", "rm", "nobody"]).expect_failed(1);
    assert!(complaint.contains("nobody"), "{complaint}");
    lab.netctl(["network", "create", "Web App"]).expect_failed(2);
    lab.netctl(["publish", "a", "99999:80"]).expect_failed(2);
    lab.netctl(["no-such-command"]).expect_failed(2);
    let complaint = lab.netctl(["--socket", "/run/nobody.sock", "status"]).expect_failed(3);
    assert!(complaint.contains("/run/nobody.sock") && complaint.contains("hint: "), "{complaint}");
    assert_eq!(lab.netctl_with(&["status"], &[("NETD_SOCKET", "/run/nobody.sock")], "").status, 3);
    lab.netd().stop();
    lab.netctl(["status"]).expect_failed(3);
    lab.netd().start();
    lab.ends_clean();
}

#[test]
fn completions_and_json_are_for_programs() {
    let lab = Lab::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(lab.netctl(["completion", shell]).expect_done().contains("netctl"));
    }
    let out = lab.netctl_with(&["-o", "json", "network", "ls"], &[("NO_COLOR", "1")], "").json();
    assert!(out.is_array());
    let openapi: serde_json::Value = serde_json::from_str(&lab.api().openapi().expect("netd describes itself")).unwrap();
    assert!(openapi["paths"]["/v1/networks"].is_object(), "{openapi}");
    lab.ends_clean();
}
