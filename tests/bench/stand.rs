//! The measuring stand: netd in a private host with one kept connection to it, and the floor in the same host. Never judges a figure.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    time::Instant,
};

use lab::Lab;
use netd_api::{
    client::Client,
    message::{Reply, Request},
    spec::{ContainerSpec, NetworkSpec},
};

/// netd with one large network.
pub(crate) struct Stand {
    pub(crate) lab: Lab,
    pub(crate) client: Client,
    pub(crate) bridge: String,
    /// Where the state is kept: on the machine's disk, until the stand is gone.
    pub(crate) disk: tempfile::TempDir,
}

impl Stand {
    pub(crate) fn new() -> Self {
        Self::configured("")
    }

    /// With the fast path between containers of a network on or off.
    pub(crate) fn with_fast_path(fast: bool) -> Self {
        let mut stand = Self::configured(&format!("[datapath]\nfast_path = {fast}\n"));
        let Reply::Status(status) = stand.asks(&Request::Status) else { panic!("no status") };
        let policy = status.policy.expect("eBPF programs run on this kernel");
        assert_eq!(policy.fast_path, fast, "the configuration is not what netd runs with");
        stand
    }

    fn configured(file: &str) -> Self {
        let lab = Lab::bare();
        fs::write(lab.host().path("/etc/netd/netd.toml"), file).expect("the private /etc can be written");
        // A lab's /var/lib is in memory; a benchmark that has no disk in it would flatter.
        let disk = tempfile::tempdir_in("/var/tmp").expect("/var/tmp can be written");
        let state = disk.path().to_str().expect("a path in UTF-8").to_owned();
        lab.netd().start_with(&["--state-dir", &state], &[]);
        let client = lab.api();
        let mut stand = Self { lab, client, bridge: String::new(), disk };
        stand.network("bench");
        stand
    }

    /// Makes a network of 10.N.0.0/16 and notes its bridge.
    pub(crate) fn network(&mut self, name: &str) {
        let mut spec = NetworkSpec::named(name.parse().expect("a good name"));
        let second = 128 + u8::try_from(name.len() % 64).unwrap_or_default();
        spec.subnets.push(format!("10.{second}.0.0/16").parse().expect("a good subnet"));
        let Reply::Network(view) = self.asks(&Request::CreateNetwork(spec)) else { panic!("no network") };
        self.bridge = view.bridge.to_string();
    }

    /// Starts the daemon again after its end.
    pub(crate) fn starts_again(&mut self) {
        let state = self.disk.path().to_str().expect("a path in UTF-8").to_owned();
        self.lab.netd().start_with(&["--state-dir", &state], &[]);
        self.client = self.lab.api();
    }

    /// Asks, and panics where it is refused.
    pub(crate) fn asks(&mut self, request: &Request) -> Reply {
        self.client.send(request).unwrap_or_else(|why| panic!("{request:?}: {why}"))
    }

    /// The same, with the milliseconds it took.
    pub(crate) fn times(&mut self, request: &Request) -> f64 {
        let began = Instant::now();
        self.asks(request);
        began.elapsed().as_secs_f64() * 1e3
    }

    /// The floor in this host, on the same bridge.
    pub(crate) fn floor(&self) -> Floor {
        Floor::on(&self.lab, &self.bridge)
    }
}

/// A container of the bench network.
pub(crate) fn container(name: &str, network: &str) -> Request {
    let mut spec = ContainerSpec::named(name.parse().expect("a good name"));
    spec.networks.push(netd_api::spec::AttachSpec::to(network.parse().expect("a good name")));
    Request::CreateContainer(spec)
}

/// Its removal.
pub(crate) fn removal(name: &str) -> Request {
    Request::RemoveContainer(name.parse().expect("a good name"))
}

/// The kernel's floor, as a process in the private host.
pub(crate) struct Floor {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Floor {
    /// Starts it on a bridge of a host.
    pub(crate) fn on(lab: &Lab, bridge: &str) -> Self {
        // There already is no error.
        lab.host().run("nft", &["add", "table", "ip", "floor"]);
        for (map, target) in [("ports", "ipv4_addr"), ("ports6", "ipv6_addr")] {
            let kind = format!("{{ type inet_proto . inet_service : {target} . inet_service; }}");
            lab.host().run("nft", &["add", "map", "ip", "floor", map, &kind]);
        }
        let program = std::env::current_exe().expect("a program knows its file");
        let mut command = lab.host().command(program.to_str().expect("a path in UTF-8"));
        command.args(["floor", bridge]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program can be started again");
        let (orders, answers) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Self { child, orders, answers: BufReader::new(answers) }
    }

    /// Carries an order out and gives its milliseconds, as that process measured them.
    pub(crate) fn does(&mut self, order: &str, number: usize) -> f64 {
        self.says(&format!("{order} {number}"))
    }

    /// The same, for an order of more words.
    pub(crate) fn says(&mut self, order: &str) -> f64 {
        writeln!(self.orders, "{order}").expect("the floor listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the floor answers");
        line.trim().parse().unwrap_or_else(|_| panic!("the floor ended at {order}"))
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
