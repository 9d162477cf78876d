//! netd as a service of systemd: when it is ready, what it takes over on SIGHUP, and that published ports stay held while it is restarted.

use std::{
    io::IoSliceMut,
    net::TcpListener,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::net::UnixDatagram,
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use lab::{HOST_V4, Lab, eventually};
use netd_api::view::PortState;
use nix::sys::{
    signal::{Signal, kill},
    socket::{ControlMessageOwned, MsgFlags, recvmsg},
};

/// The service manager's side of sd_notify(3).
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(lab: &Lab) -> Self {
        let path = lab.host().scratch.path().join("notify.sock");
        let socket = UnixDatagram::bind(&path).expect("the scratch directory can be written");
        socket.set_nonblocking(true).expect("a socket can be made so");
        Self { socket, path }
    }

    fn environment(&self) -> (&'static str, &str) {
        ("NOTIFY_SOCKET", self.path.to_str().expect("a plain path"))
    }

    /// The next message and the descriptors that came with it.
    #[track_caller]
    fn hears(&self, what: &str) -> (String, Vec<OwnedFd>) {
        eventually(what, || self.heard())
    }

    fn heard(&self) -> Option<(String, Vec<OwnedFd>)> {
        let mut text = [0; 1024];
        let mut space = nix::cmsg_space!([std::os::fd::RawFd; 8]);
        let mut slices = [IoSliceMut::new(&mut text)];
        let (length, given) = {
            let message = recvmsg::<()>(self.socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC).ok()?;
            let rights = message.cmsgs().expect("the space is large enough").filter_map(|control| match control {
                ControlMessageOwned::ScmRights(given) => Some(given),
                _ => None,
            });
            (message.bytes, rights.flatten().collect::<Vec<_>>())
        };
        // SAFETY: recvmsg made these descriptors for this process just now, and nobody else knows of them.
        let given = given.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).collect();
        Some((String::from_utf8_lossy(&text[..length]).into_owned(), given))
    }
}

#[test]
fn the_service_manager_hears_that_netd_is_ready_reloads_and_stops() {
    let lab = Lab::bare();
    let manager = Manager::new(&lab);
    lab.netd().start_with(&[], &[manager.environment()]);
    assert!(manager.hears("it is ready").0.contains("READY=1"));
    lab.netd().signal(Signal::SIGHUP);
    let reloading = manager.hears("it reloads").0;
    assert!(reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="), "{reloading}");
    assert!(manager.hears("it has reloaded").0.contains("READY=1"));
    lab.ends_clean();
    assert!(manager.hears("it stops").0.contains("STOPPING=1"));
}

#[test]
fn a_reload_takes_over_what_can_change_and_keeps_the_former_settings_where_it_cannot() {
    let lab = Lab::bare();
    let file = lab.host().path("/etc/netd/netd.toml");
    std::fs::write(&file, "[[pools]]\nbase = \"10.200.0.0/16\"\nprefix = 28\n").unwrap();
    lab.starts();
    let subnet = |name: &str| lab.new_network(name).made().subnet(netd_api::addr::Family::V4).to_string();
    assert!(subnet("one").starts_with("10.200.") && subnet("two").ends_with("/28"));
    std::fs::write(&file, "state_dir = \"/var/lib/other\"\n[[pools]]\nbase = \"10.201.0.0/16\"\nprefix = 24\n").unwrap();
    lab.netd().signal(Signal::SIGHUP);
    eventually("the settings are taken over", || lab.netd().log().contains("settings reloaded").then_some(()));
    assert!(lab.netd().log().contains("state_dir"), "what waits for a restart is named");
    assert!(subnet("three").starts_with("10.201."));
    std::fs::write(&file, "log_levle = \"debug\"\n").unwrap();
    lab.netd().signal(Signal::SIGHUP);
    let told = || lab.netd().log().lines().find(|line| line.contains("could not reload")).map(str::to_owned);
    let complaint = eventually("a bad file is complained of", told);
    assert!(complaint.contains("netd.toml:1") && complaint.contains("log_level"), "{complaint}");
    assert!(subnet("four").starts_with("10.201."));
    lab.cleanup();
    lab.netd().stop();
    let (status, said) = lab.netd().fails_to_start_by(&[], &[]);
    assert!(status != 0 && said.lines().count() == 1 && said.contains("netd.toml:1") && said.contains("log_level"), "{said}");
    std::fs::remove_file(&file).unwrap();
    lab.leaves_nothing();
}

#[test]
fn published_ports_stay_held_by_the_descriptor_store_while_netd_is_not_there() {
    let lab = Lab::bare();
    let manager = Manager::new(&lab);
    lab.netd().start_with(&[], &[manager.environment()]);
    manager.hears("it is ready");
    let a = lab.network("web").container("a").listens(80);
    a.publishes("8080:80");
    a.publishes("127.0.0.1:9090:80");
    let mut kept = Vec::new();
    for _ in 0..2 {
        let (words, mut given) = manager.hears("a descriptor to be kept");
        assert!(words.contains("FDSTORE=1"), "{words}");
        let name = words.lines().find_map(|line| line.strip_prefix("FDNAME=")).expect("it has a name").to_owned();
        kept.push((name, given.pop().expect("a descriptor came along")));
    }
    let stranger = || lab.here().net().inside(|| TcpListener::bind("0.0.0.0:8080")).is_ok();
    lab.netd().kill9();
    assert!(!stranger(), "a stranger took the port while netd was away");

    let names: Vec<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
    let mut successor = handed_over(&lab, &manager, &names.join(":"), kept.iter().map(|(_, fd)| fd.try_clone().unwrap()));
    manager.hears("the next one is ready");
    let status = lab.status();
    assert_eq!(status.reconcile.expect("the start compares").done, 0, "the ports are held already");
    assert!(lab.ports().iter().all(|port| port.state == PortState::Active), "{:?}", lab.ports());
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&a);
    a.withdraws("8080:80");
    let (words, _) = manager.hears("a descriptor to be forgotten");
    assert!(words.contains("FDSTOREREMOVE=1") && names.iter().any(|name| words.contains(name)), "{words}");
    drop(kept);
    // Not at once: a program that another story starts at this moment has a copy of the descriptors until it is executed.
    eventually("the port is free for others when it is withdrawn", || stranger().then_some(()));
    lab.cleanup();
    kill(nix::unistd::Pid::from_raw(successor.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert!(successor.wait().unwrap().success());
    lab.leaves_nothing();
}

/// Starts netd with two descriptors as systemd hands them over: from number 3 on, with their names (sd_listen_fds(3)).
fn handed_over(lab: &Lab, manager: &Manager, names: &str, mut given: impl Iterator<Item = OwnedFd>) -> Child {
    let mut command: Command = lab.host().command("sh");
    let script = "exec 3<&0 4>&1 </dev/null >/dev/null; LISTEN_PID=$$ exec \"$0\"";
    command.args(["-c", script]).arg(lab.host().program("netd"));
    let (key, value) = manager.environment();
    command.env(key, value).env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", names);
    command.stdin(Stdio::from(given.next().expect("two descriptors"))).stdout(Stdio::from(given.next().expect("two descriptors")));
    command.spawn().expect("a shell can be started")
}
