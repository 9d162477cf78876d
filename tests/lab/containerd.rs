//! containerd on the private host: its own folders, its own cgroup, no registry. Driven by `ctr` and, as a kubelet does, by CRI.
//! Never configured beyond what a user of netd writes, but for what a machine without all cgroup controllers needs.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Stdio},
    sync::Mutex,
};

use crate::{
    Lab, Station,
    cni::Conflist,
    cri::{Cri, Nothing, PodSandboxConfig, PodSandboxMetadata, PortMapping, Refused},
    image::IMAGE,
    netctl::{Said, said},
    pen::Pen,
    wait::{PATIENCE, poll},
};

const SOCKET: &str = "/run/containerd/containerd.sock";

/// Nothing here is about networks: containerd looks for plugins in `/opt/cni/bin` and for lists in `/etc/cni/net.d` by itself.
const CONFIGURATION: &str = r#"
version = 2
oom_score = 0

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/busybox:1"
restrict_oom_score_adj = true
disable_apparmor = true
disable_cgroup = true
"#;

/// See the module.
pub struct Containerd<'lab> {
    lab: &'lab Lab,
    child: Mutex<Option<Child>>,
    cri: Cri,
    pen: Pen,
}

/// A sandbox to be made.
#[derive(Clone)]
pub struct Pod(PodSandboxConfig);

impl Lab {
    /// containerd with an image, and with these lists in `/etc/cni/net.d`; pods are attached by the first.
    #[track_caller]
    pub fn containerd(&self, lists: &[&Conflist]) -> Containerd<'_> {
        self.installs(lists);
        fs::write(self.host().path("/run/containerd.toml"), CONFIGURATION).expect("/run is private");
        let containerd =
            Containerd { lab: self, child: Mutex::default(), cri: Cri(self.host().path(SOCKET)), pen: Pen::made(self.host().clone()) };
        containerd.starts();
        for namespace in ["default", "k8s.io"] {
            containerd.ctr(["--namespace", namespace, "images", "import", &self.image_archive().to_string_lossy()]).expect_done();
        }
        containerd
    }
}

impl<'lab> Containerd<'lab> {
    /// Whether it could attach a pod.
    pub fn has_network(&self) -> bool {
        self.is("NetworkReady")
    }

    fn is(&self, condition: &str) -> bool {
        self.cri.conditions().is_ok_and(|all| all.iter().any(|one| one.r#type == condition && one.status))
    }

    /// Starts it, and waits until it is ready.
    #[track_caller]
    pub fn starts(&self) {
        let log = File::options().append(true).create(true).open(self.log_path()).expect("the scratch directory can be written");
        let mut command = self.pen.command("containerd");
        command.args(["--config", "/run/containerd.toml", "--log-level", "warn"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().unwrap_or_else(|why| panic!("cannot run containerd: {why}; install it first: cargo xtask setup"));
        *self.child.lock().expect("nobody panics with it in hand") = Some(child);
        assert!(poll(PATIENCE, || self.is("RuntimeReady").then_some(())).is_some(), "containerd is not ready: {}", self.log());
    }

    /// Kills it; its shims and what runs in them stay.
    pub fn kill9(&self) {
        let mut child = self.child.lock().expect("nobody panics with it in hand").take().expect("it runs");
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }

    /// Kills it and all that runs by it: nobody is left who could send a DEL.
    pub fn loses_all(&self) {
        self.kill9();
        self.pen.empties();
    }

    /// All that it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.lab.host().scratch.path().join("containerd.log")
    }

    /// Runs its `ctr`.
    pub fn ctr<const N: usize>(&self, arguments: [&str; N]) -> Said {
        let output = self.pen.command("ctr").args(arguments).stdin(Stdio::null()).output().expect("ctr comes with containerd");
        said(format!("ctr {}", arguments.join(" ")), &output)
    }

    /// Runs a command in a container on the network, to its end, and gives what it printed.
    #[track_caller]
    pub fn ctr_runs(&self, id: &str, command: &[&str]) -> String {
        let mut all = vec!["run", "--rm", "--cni", "--cpu-shares", "0", IMAGE, id];
        all.extend(command);
        let output = self.pen.command("ctr").args(&all).stdin(Stdio::null()).output().expect("ctr comes with containerd");
        said(format!("ctr {}", all.join(" ")), &output).expect_done()
    }

    /// Its CRI.
    pub fn cri(&self) -> &Cri {
        &self.cri
    }

    /// Makes a sandbox; gives its id.
    #[track_caller]
    pub fn runs(&self, pod: &Pod) -> String {
        self.cri.run(pod.0.clone()).unwrap_or_else(|Refused(why)| panic!("no sandbox: {why}\n{}", self.log()))
    }

    /// Tries to make a sandbox; gives the refusal.
    #[track_caller]
    pub fn refuses(&self, pod: &Pod) -> String {
        match self.cri.run(pod.0.clone()) {
            Err(Refused(why)) => why,
            Ok(id) => panic!("a sandbox was made all the same: {id}"),
        }
    }

    /// The addresses of a sandbox.
    #[track_caller]
    pub fn addresses(&self, id: &str) -> Vec<String> {
        let status = self.cri.sandbox(id).unwrap_or_else(|Refused(why)| panic!("{why}"));
        let network = status.network.unwrap_or_default();
        [network.ip].into_iter().chain(network.additional_ips.into_iter().map(|more| more.ip)).collect()
    }

    /// The network of a sandbox, as a station.
    #[track_caller]
    pub fn station(&self, id: &str) -> Station {
        let shown = self.ctr(["--namespace", "k8s.io", "containers", "info", id]).json();
        let namespaces = shown["Spec"]["linux"]["namespaces"].as_array().expect("a sandbox has namespaces");
        let net = namespaces.iter().find(|one| one["type"] == "network").and_then(|one| one["path"].as_str());
        self.lab.at(id, net.expect("the pod has a network of its own"))
    }

    /// Stops and removes a sandbox.
    #[track_caller]
    pub fn removes(&self, id: &str) {
        for done in [self.cri.stop(id), self.cri.remove(id)] {
            done.unwrap_or_else(|Refused(why)| panic!("{why}\n{}", self.log()));
        }
    }
}

impl Drop for Containerd<'_> {
    fn drop(&mut self) {
        if let Ok(mut child) = self.child.lock()
            && let Some(mut child) = child.take()
        {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Pod {
    /// A pod of a namespace.
    pub fn named(namespace: &str, name: &str) -> Self {
        let metadata =
            PodSandboxMetadata { name: name.to_owned(), uid: format!("uid-of-{name}"), namespace: namespace.to_owned(), attempt: 0 };
        let linux = Some(Nothing {});
        Self(PodSandboxConfig { metadata: Some(metadata), hostname: name.to_owned(), linux, ..Default::default() })
    }

    /// The next try of the same pod, as a kubelet makes it when a sandbox is broken.
    pub fn again(mut self) -> Self {
        let metadata = self.0.metadata.get_or_insert_default();
        metadata.attempt += 1;
        self
    }

    /// With a TCP port of the host.
    pub fn port(mut self, host_port: u16, container_port: u16) -> Self {
        let port = PortMapping { host_port: host_port.into(), container_port: container_port.into(), ..Default::default() };
        self.0.port_mappings.push(port);
        self
    }

    /// With an annotation.
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.0.annotations.insert(key.to_owned(), value.to_owned());
        self
    }
}
