//! Which folder covers /etc, and the words and statuses where nothing runs. The entering itself is shown by stories, as root.

use netd_api::view::Kind;

use super::*;

fn container(id: &str, netns: &str) -> ContainerView {
    ContainerView {
        id: id.parse().unwrap(),
        name: "team/web".parse().unwrap(),
        namespace: "default".parse().unwrap(),
        kind: Kind::Adopted,
        state: Presence::Running,
        netns: netns.to_owned(),
        cgroup: None,
        labels: Default::default(),
        port_names: Default::default(),
        allow_addresses: Vec::new(),
        guard: Default::default(),
        policies: Default::default(),
        attachments: Vec::new(),
        ports: Vec::new(),
    }
}

#[test]
fn the_files_for_etc_are_those_of_ip_netns() {
    assert_eq!(etc(&container("web", "/run/netns/web")), Path::new("/etc/netns/web"));
    assert_eq!(etc(&container("4f2a", "/var/run/netns/cni-77")), Path::new("/etc/netns/cni-77"));
    assert_eq!(etc(&container("4f2a", "/proc/812/ns/net")), Path::new("/etc/netns/4f2a"));
    assert_eq!(etc(&container("4f2a", "/run/netns/..")), Path::new("/etc/netns/4f2a"));
}

#[test]
fn an_absent_container_is_not_entered() {
    let mut absent = container("web", "/run/netns/web");
    absent.state = Presence::Absent;
    let failure = exec(&absent, &["true".into()]).unwrap_err();
    assert_eq!(failure.status, FAILED);
    assert_eq!(failure.what, "could not enter container team/web: it is absent, its network namespace /run/netns/web has gone");
    assert_eq!(failure.hint, "see netctl container inspect team/web");
}

#[test]
fn what_is_no_network_namespace_is_not_entered() {
    for (path, said) in [
        ("/dev/null", "could not enter container team/web: /dev/null is no network namespace"),
        ("/proc/self/ns/uts", "could not enter container team/web: /proc/self/ns/uts is no network namespace"),
        ("/nowhere", "could not enter container team/web: could not open the network namespace /nowhere: No such file or directory"),
    ] {
        let failure = exec(&container("web", path), &["true".into()]).unwrap_err();
        assert!(failure.what.starts_with(said), "{}", failure.what);
    }
}

#[test]
fn the_status_says_whether_the_command_was_found() {
    let run = |kind| ExecError::Run { command: "x".into(), cause: io::Error::from(kind) };
    assert_eq!(run(io::ErrorKind::NotFound).status(), 127);
    assert_eq!(run(io::ErrorKind::PermissionDenied).status(), 126);
    assert_eq!(ExecError::NotRoot("web".parse().unwrap()).status(), FAILED);
}
