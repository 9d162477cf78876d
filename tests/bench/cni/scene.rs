//! Three private hosts: one with netd, one for the reference chain, one for the kernel's floor; each with as many attachments as the others. Measures what
//! it is told to, and never judges.

use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use lab::Lab;
use serde_json::json;

use super::{
    AT_ONCE,
    driver::{Driver, Step, Took},
    plugins::{Attachment, Plugins},
};
use crate::stand::Floor;

/// Namespaces in which samples are taken: for those at once, and one more.
const SAMPLED: usize = AT_ONCE + 1;
/// How long the chain may take to have as many attachments as the others.
const PATIENCE: Duration = Duration::from_secs(300);

/// What an attachment has.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) dual: bool,
    pub(super) port: bool,
}

impl Shape {
    pub(super) const ALL: [Self; 4] = [
        Self { dual: false, port: false },
        Self { dual: false, port: true },
        Self { dual: true, port: false },
        Self { dual: true, port: true },
    ];

    pub(super) fn name(self) -> &'static str {
        match (self.dual, self.port) {
            (false, false) => "v4",
            (false, true) => "v4, port",
            (true, false) => "dual",
            (true, true) => "dual, port",
        }
    }

    /// The floor's words for it.
    fn words(self) -> String {
        format!("{} {}", if self.dual { "46" } else { "4" }, u8::from(self.port))
    }

    /// A part of a container's id.
    pub(super) fn part(self) -> String {
        self.words().replace(' ', "-")
    }
}

pub(super) struct Scene {
    existing: usize,
    ours: Driver,
    chain: Driver,
    floor: Floor,
    // Dropped after what runs in them, and the disk after netd.
    ours_lab: Lab,
    _others: [Lab; 2],
    _disk: tempfile::TempDir,
}

/// A private host with netd, and an attachment on each network.
pub(super) struct Netd {
    driver: Driver,
    lab: Lab,
    _disk: tempfile::TempDir,
}

impl Netd {
    pub(super) fn new() -> Self {
        let (lab, disk) = with_netd();
        let mut driver = Driver::in_host(&lab);
        driver.makes(&["/run/netns/bench0".to_owned()]);
        let mut netd = Self { driver, lab, _disk: disk };
        let first = |dual: bool| {
            let name = format!("old{}", u8::from(dual));
            Attachment { netns: format!("/run/netns/{name}"), container: name, port: dual.then_some(10_000), dual }
        };
        netd.has(&[first(true), first(false)]);
        netd
    }

    /// Makes attachments that stay.
    pub(super) fn has(&mut self, attachments: &[Attachment]) {
        let plugin = plugin_in(&self.lab);
        self.driver.makes(&attachments.iter().map(|attachment| attachment.netns.clone()).collect::<Vec<_>>());
        self.driver.runs(&attachments.iter().map(|attachment| plugin.add(attachment)).collect::<Vec<_>>());
    }

    /// Milliseconds of an ADD, which is taken away again.
    pub(super) fn adds(&mut self, attachment: &Attachment) -> f64 {
        let plugin = plugin_in(&self.lab);
        let add = self.driver.runs(&[plugin.add(attachment)]);
        self.driver.runs(&[plugin.del(attachment, &add.results[0])]);
        add.ms
    }
}

/// A lab's /var/lib is in memory; a benchmark that has no disk in it would flatter.
fn with_netd() -> (Lab, tempfile::TempDir) {
    let lab = Lab::bare();
    let disk = tempfile::tempdir_in("/var/tmp").expect("/var/tmp can be written");
    lab.netd().start_with(&["--state-dir", disk.path().to_str().expect("a path in UTF-8")], &[]);
    (lab, disk)
}

/// Our plugin, as seen from inside.
fn plugin_in(lab: &Lab) -> Plugins {
    Plugins::Ours(lab.host().program("netd-cni").to_str().expect("a path in UTF-8").to_owned())
}

impl Scene {
    pub(super) fn new() -> Self {
        let ((ours_lab, disk), chain_lab, floor_lab) = (with_netd(), Lab::bare(), Lab::bare());
        let (mut ours, mut chain) = (Driver::in_host(&ours_lab), Driver::in_host(&chain_lab));
        let paths: Vec<_> = (0..SAMPLED).map(|number| format!("/run/netns/bench{number}")).collect();
        ours.makes(&paths);
        chain.makes(&paths);
        let mut floor = bridged(&floor_lab);
        floor.does("make", 0);
        Self { existing: 0, ours, chain, floor, ours_lab, _others: [chain_lab, floor_lab], _disk: disk }
    }

    /// Our plugin, as seen from inside.
    pub(super) fn plugin(&self) -> Plugins {
        plugin_in(&self.ours_lab)
    }

    /// Our plugin's file, as seen from the machine.
    pub(super) fn plugin_file(&self) -> PathBuf {
        self.ours_lab.host().path(self.ours_lab.host().program("netd-cni").to_str().expect("a path in UTF-8"))
    }

    /// A directory for files of this run.
    pub(super) fn scratch(&self) -> &Path {
        self.ours_lab.host().scratch.path()
    }

    /// Starts an attachment, takes it away, and gives both.
    pub(super) fn once(&mut self, plugins: &Plugins, attachment: &Attachment) -> [Took; 2] {
        self.together(plugins, std::slice::from_ref(attachment))
    }

    /// All ADDs at the same time, then all DELs.
    pub(super) fn together(&mut self, plugins: &Plugins, attachments: &[Attachment]) -> [Took; 2] {
        let driver = self.driver(plugins);
        let jobs: Vec<_> = attachments.iter().map(|attachment| plugins.add(attachment)).collect();
        let add = driver.runs(&jobs);
        let jobs: Vec<_> = attachments.iter().zip(&add.results).map(|(attachment, result)| plugins.del(attachment, result)).collect();
        let del = driver.runs(&jobs);
        [add, del]
    }

    /// Milliseconds that a program needs which does nothing, started and fed as a plugin is.
    pub(super) fn empty_program(&mut self) -> f64 {
        let step = Step { program: "/bin/true".to_owned(), environment: Vec::new(), config: json!({}), takes_result: false };
        self.ours.runs(&[vec![step]]).ms
    }

    /// Milliseconds of the floor for an attachment and its removal.
    pub(super) fn floor(&mut self, shape: Shape) -> [f64; 2] {
        ["attach 0", "detach 0"].map(|order| self.floor.says(&format!("{order} {}", shape.words())))
    }

    /// Makes attachments until so many are there, dual stack and with a port each, in all three hosts; in ours the first also on the network of IPv4 alone.
    pub(super) fn grows_to(&mut self, level: usize) {
        let began = Instant::now();
        while self.existing < level {
            let batch: Vec<_> = (self.existing..level.min(self.existing + AT_ONCE)).collect();
            let port = |number: usize| Some(10_000 + u16::try_from(number).expect("a few hundred"));
            let attachment = |number: usize| Attachment {
                container: format!("old{number}"),
                netns: format!("/run/netns/old{number}"),
                port: port(number),
                dual: true,
            };
            let all: Vec<_> = batch.iter().map(|number| attachment(*number)).collect();
            let paths: Vec<_> = all.iter().map(|attachment| attachment.netns.clone()).collect();
            self.chain.makes(&paths);
            self.chain.runs(&all.iter().map(|attachment| Plugins::Chain.add(attachment)).collect::<Vec<_>>());
            self.ours_exist(&all);
            for number in &batch {
                let number = number + 1;
                self.floor.does("make", number);
                self.floor.says(&format!("attach {number} 46 1"));
            }
            self.existing += batch.len();
            if io::stderr().is_terminal() {
                eprint!("\r{} of {level} attachments are there, after {:.0} s ", self.existing, began.elapsed().as_secs_f64());
            }
            assert!(began.elapsed() < PATIENCE, "the reference chain needs more than {} s for them", PATIENCE.as_secs());
        }
        if io::stderr().is_terminal() {
            eprint!("\r{:60}\r", "");
        }
    }

    fn ours_exist(&mut self, all: &[Attachment]) {
        let other = |attachment: &Attachment| Attachment {
            container: format!("{}-4", attachment.container),
            netns: format!("{}-4", attachment.netns),
            port: None,
            dual: false,
        };
        let first = all.iter().take(usize::from(self.existing == 0)).map(other);
        let all: Vec<_> = all.iter().cloned().chain(first).collect();
        let paths: Vec<_> = all.iter().map(|attachment| attachment.netns.clone()).collect();
        let plugin = self.plugin();
        self.ours.makes(&paths);
        self.ours.runs(&all.iter().map(|attachment| plugin.add(attachment)).collect::<Vec<_>>());
    }

    fn driver(&mut self, plugins: &Plugins) -> &mut Driver {
        match plugins {
            Plugins::Chain => &mut self.chain,
            Plugins::Ours(_) => &mut self.ours,
        }
    }
}

/// The floor in a host with a bridge of its own.
fn bridged(lab: &Lab) -> Floor {
    let host = lab.host();
    host.run("ip", &["link", "add", "floor0", "type", "bridge"]);
    host.run("ip", &["address", "add", "10.99.0.1/16", "dev", "floor0"]);
    host.run("ip", &["address", "add", "fd99::1/64", "dev", "floor0", "nodad"]);
    host.run("ip", &["link", "set", "floor0", "up"]);
    Floor::on(lab, "floor0")
}
