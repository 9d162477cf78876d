//! `container exec` becomes a command in the container's network: with its status, its signals, its /sys and its files for /etc.

use std::{fs, os::unix::process::ExitStatusExt as _};

use lab::Lab;

#[test]
fn a_command_has_the_network_the_sys_and_the_input_of_its_place() {
    let lab = Lab::new();
    let net = lab.network("web");
    let _a = net.container("a");
    let process = lab.process();
    let _b = lab.new_container("b").on(&net).of_pid(process.pid()).made();
    for name in ["a", "b"] {
        let links = lab.netctl(["container", "exec", name, "--", "ls", "/sys/class/net"]).expect_done();
        assert_eq!(links.split_whitespace().collect::<Vec<_>>(), ["eth0", "lo"], "/sys of {name}");
        let said = lab.netctl_with(&["container", "exec", name, "cat"], &[], "through the pipe").expect_done();
        assert_eq!(said, "through the pipe");
    }
    // The host's own /sys is untouched.
    assert!(lab.here().run("ls", &["/sys/class/net"]).contains(lab::UPLINK));
    lab.ends_clean();
}

#[test]
fn the_status_is_the_commands_own_and_so_is_its_death() {
    let lab = Lab::new();
    let net = lab.network("web");
    let _a = net.container("a");
    let exec = |script: &str| {
        let mut command = lab.host().ours("netctl");
        command.args(["container", "exec", "a", "--", "sh", "-c", script]).output().expect("netctl can be started").status
    };
    assert_eq!(exec("exit 0").code(), Some(0));
    assert_eq!(exec("exit 3").code(), Some(3));
    assert_eq!(exec("kill -TERM $$").signal(), Some(libc::SIGTERM), "no process stays in between");
    let words = lab.netctl(["container", "exec", "a", "--", "/etc"]).expect_failed(126);
    assert!(words.contains("/etc"), "{words}");
    let words = lab.netctl(["container", "exec", "nobody", "--", "true"]).expect_failed(1);
    assert!(words.contains("nobody"), "{words}");
    lab.ends_clean();
}

#[test]
fn a_container_whose_namespace_has_gone_cannot_be_entered() {
    let lab = Lab::new();
    let net = lab.network("web");
    let process = lab.process();
    let b = lab.new_container("b").on(&net).of_pid(process.pid()).made();
    process.ends();
    let words = lab.netctl(["container", "exec", "b", "--", "true"]).expect_failed(1);
    assert!(words.starts_with("error: could not enter container b"), "{words}");
    b.removed();
    lab.ends_clean();
}

#[test]
fn iproute2_and_netctl_show_the_same_files_of_etc() {
    let lab = Lab::new();
    let _a = lab.network("web").container("a");
    let own = lab.host().path("/etc/netns/a");
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("resolv.conf"), "nameserver 203.0.113.9\n").unwrap();
    let netctl = lab.netctl(["container", "exec", "a", "--", "cat", "/etc/resolv.conf"]).expect_done();
    let iproute2 = lab.here().run("ip", &["netns", "exec", "a", "cat", "/etc/resolv.conf"]);
    assert_eq!((netctl.as_str(), iproute2.as_str()), ("nameserver 203.0.113.9\n", "nameserver 203.0.113.9\n"));
    assert!(!lab.here().run("cat", &["/etc/resolv.conf"]).contains("203.0.113.9"), "the host's own file is untouched");
    fs::remove_dir_all(&own).unwrap();
    lab.ends_clean();
}
