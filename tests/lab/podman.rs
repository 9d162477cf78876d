//! podman with its CNI backend on the private host: its own storage, its own cgroup, no registry. Driven by its command line, as a user does.
//! Never configured beyond what a user of netd writes, but for what a machine without all cgroup controllers needs.

use std::{fs, os::unix::fs::symlink, path::Path};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    Lab, Station,
    cni::{Conflist, OWN, REFERENCE},
    netctl::{Said, said},
    pen::Pen,
    wait::eventually,
};

/// What its containers are made of.
pub const IMAGE: &str = "busybox";

/// What a user writes, and below it what makes podman run where cgroups are not its own.
const CONFIGURATION: &str = r#"
[network]
network_backend = "cni"

[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"

[containers]
cgroups = "disabled"
default_ulimits = []
log_driver = "k8s-file"
"#;

/// See the module.
pub struct Podman<'lab> {
    lab: &'lab Lab,
    pen: Pen,
}

impl Lab {
    /// podman with an image, and with these lists in `/etc/cni/net.d`, in this order.
    #[track_caller]
    pub fn podman(&self, lists: &[&Conflist]) -> Podman<'_> {
        self.installs(lists);
        fs::write(self.host().path("/run/containers.conf"), CONFIGURATION).expect("/run is private");
        // Its locks, which all podmans of a machine share, are here.
        self.host().run("mount", &["-t", "tmpfs", "tmpfs", "/dev/shm"]);
        let podman = Podman { lab: self, pen: Pen::made(self.host().clone()) };
        podman.does(["import", "--quiet", "--change", "CMD [\"/bin/sleep\",\"1000000\"]", &self.root_tar().to_string_lossy(), IMAGE]);
        podman
    }

    /// The plugin beside the reference plugins in `/opt/cni/bin`, and lists in `/etc/cni/net.d`, as an administrator puts them there.
    pub(crate) fn installs(&self, lists: &[&Conflist]) {
        let ours = self.host().program("netd-cni");
        let reference = fs::read_dir(REFERENCE).expect("the reference plugins are there: cargo xtask setup").flatten();
        let reference = reference.map(|entry| entry.path()).filter(|plugin| plugin.file_name() != ours.file_name());
        for plugin in reference.chain([ours.clone()]) {
            let link = Path::new(OWN).join(plugin.file_name().expect("a file has a name"));
            symlink(&plugin, self.host().path(&link.to_string_lossy())).expect("/opt is private");
        }
        self.lists(lists);
    }

    /// Writes lists in `/etc/cni/net.d`, in place of those of the same place and name.
    pub fn lists(&self, lists: &[&Conflist]) {
        let folder = self.host().path("/etc/cni/net.d");
        fs::create_dir_all(&folder).expect("/etc/cni is private");
        for (number, list) in lists.iter().enumerate() {
            fs::write(folder.join(format!("{}-{}.conflist", 10 + number, list.name)), list.file()).expect("/etc/cni is private");
        }
    }
}

impl<'lab> Podman<'lab> {
    /// Runs it.
    pub fn runs<const N: usize>(&self, arguments: [&str; N]) -> Said {
        let mut command = self.pen.command("podman");
        command.args(arguments).env("CONTAINERS_CONF", "/run/containers.conf").stdin(std::process::Stdio::null());
        let output = command.output().unwrap_or_else(|why| panic!("cannot run podman: {why}; install it first: cargo xtask setup"));
        said(format!("podman {}", arguments.join(" ")), &output)
    }

    /// Runs it, with success; gives what it printed.
    #[track_caller]
    pub fn does<const N: usize>(&self, arguments: [&str; N]) -> String {
        self.runs(arguments).expect_done().trim_end().to_owned()
    }

    /// What it knows of a container.
    #[track_caller]
    pub fn inspect(&self, container: &str) -> Value {
        self.runs(["container", "inspect", container]).json()[0].take()
    }

    /// What it says of a container's attachment to a network.
    #[track_caller]
    pub fn attachment(&self, container: &str, network: &str) -> Value {
        self.inspect(container)["NetworkSettings"]["Networks"][network].take()
    }

    /// Its address on a network.
    #[track_caller]
    pub fn address(&self, container: &str, network: &str) -> String {
        let attachment = self.attachment(container, network);
        attachment["IPAddress"]
            .as_str()
            .filter(|address| !address.is_empty())
            .map_or_else(|| panic!("podman knows no address of {container} on {network}: {attachment}"), str::to_owned)
    }

    /// Its network, as a station.
    #[track_caller]
    pub fn station(&self, container: &str) -> Station {
        let path = self.inspect(container)["NetworkSettings"]["SandboxKey"].take();
        self.lab.at(container, path.as_str().expect("a running container has a namespace"))
    }

    /// The monitor of a running container.
    #[track_caller]
    pub fn conmon(&self, container: &str) -> Pid {
        let file = self.inspect(container)["ConmonPidFile"].take();
        let pid = fs::read_to_string(self.lab.host().path(file.as_str().expect("there is a monitor")));
        Pid::from_raw(pid.expect("the monitor wrote its number").trim().parse().expect("a number"))
    }

    /// Kills a container's monitor and its process, so that nobody is left who would clean up.
    #[track_caller]
    pub fn kills(&self, container: &str) {
        let process = self.inspect(container)["State"]["Pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        for pid in [self.conmon(container), Pid::from_raw(process.expect("it runs"))] {
            kill(pid, Signal::SIGKILL).expect("podman said that it runs");
            eventually("a killed process ends", || (!Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
        }
    }

    /// What runs is forgotten, as after a reboot: all that podman and crun wrote below `/run` about it.
    pub fn forgets_what_runs(&self) {
        for folder in ["/run/libpod", "/run/crun"] {
            fs::remove_dir_all(self.lab.host().path(folder)).expect("podman ran before");
        }
    }
}
