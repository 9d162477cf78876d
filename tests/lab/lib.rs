//! The lab: the language in which stories are told. It runs the real binaries in a private host with real sockets on both ends.
//! Never touches the machine's own namespaces, rules or sysctls, and never looks into netd but through its API and the kernel.
//!
//! Read in this order: `host` makes the private host, `daemon` runs netd in it, `network` and `container` ask netd for things, `station`
//! serves and asks (`serve`, `ask`, `stream`, `ping`, `wire`), `cni` is a runtime that runs plugins, `podman` and `containerd` are real ones in
//! a `pen`, `policy` says who may reach whom and `counted` what was counted, `clean` what must not be left, `explain` what to print when a
//! story fails.

mod api;
pub mod ask;
mod clean;
pub mod cni;
mod conditions;
pub mod container;
pub mod containerd;
pub mod counted;
pub mod cri;
pub mod daemon;
mod explain;
mod hooks;
pub mod host;
pub mod image;
pub mod netctl;
pub mod insist;
pub mod mailbox;
mod maps;
pub mod network;
mod no_bpf;
pub mod packet;
mod picture;
pub mod pen;
mod ping;
pub mod pour;
pub mod podman;
pub mod policy;
pub mod process;
pub mod prog;
mod reboot;
pub mod sctp;
pub mod serve;
pub mod space;
pub mod station;
pub mod stream;
pub mod wait;
pub mod wire;

use std::sync::{Arc, Mutex, MutexGuard};

pub use container::Container;
pub use host::{HOST_V4, HOST_V6, OUTSIDE_LINK, OUTSIDE_V4, OUTSIDE_V6, UPLINK};
pub use network::Network;
pub use station::Station;
pub use wait::{eventually, within};

use crate::{clean::Traces, daemon::Netd, host::Host, space::NetSpace};

/// A private host, an outside host, and netd between them. Dropping it ends and removes everything.
pub struct Lab {
    netd: Netd,
    here: Station,
    outside: Station,
    before: Mutex<Traces>,
    host: Arc<Host>,
}

impl Lab {
    /// With netd running.
    #[expect(clippy::new_without_default, reason = "a lab is a machine; nobody wants one by default")]
    #[track_caller]
    pub fn new() -> Self {
        let lab = Self::bare();
        lab.starts();
        lab
    }

    /// Starts netd on a host whose conditions are set: so it shall be again in the end.
    #[track_caller]
    pub fn starts(&self) {
        *self.before() = Traces::of(&self.host, &self.here);
        self.netd.start();
    }

    /// Without netd.
    pub fn bare() -> Self {
        let host = Arc::new(Host::made());
        let here = Station::new("host", host.net(), host.clone());
        let outside = Station::new("outside", host.outside_net(), host.clone());
        let before = Mutex::new(Traces::of(&host, &here));
        Self { netd: Netd::new(host.clone()), here, outside, before, host }
    }

    /// The host as a place of servers and clients.
    pub fn here(&self) -> &Station {
        &self.here
    }

    /// The outside host, on the uplink's other end.
    pub fn outside(&self) -> &Station {
        &self.outside
    }

    /// The private host: its files and programs.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The daemon.
    pub fn netd(&self) -> &Netd {
        &self.netd
    }

    /// Another runtime's namespace, made by iproute2.
    pub fn stranger(&self, name: &str) -> Station {
        self.host.run("ip", &["netns", "add", name]);
        self.at(name, &format!("/run/netns/{name}"))
    }

    /// A station at a namespace file of this host.
    pub fn at(&self, name: &str, path: &str) -> Station {
        Station::new(name, NetSpace::at(self.host.path(path)), self.host.clone())
    }

    /// The ruleset as nft prints it.
    pub fn nft(&self) -> String {
        self.host.run("nft", &["list", "ruleset"])
    }

    /// The tracked connections as conntrack prints them.
    pub fn conntrack(&self) -> String {
        self.host.run("conntrack", &["--dump"]) + &self.host.run("conntrack", &["--dump", "--family", "ipv6"])
    }

    /// Sets the sysctls back to what they were before netd.
    fn sysctls_as_at_boot(&self) {
        for (name, value) in self.before().sysctls() {
            if self.here.sysctl(name).as_deref() != Some(value) {
                self.here.sets(name, value);
            }
        }
    }

    /// What the host was like before netd.
    fn before(&self) -> MutexGuard<'_, Traces> {
        self.before.lock().expect("nobody panics with it in hand")
    }

    /// What is printed when a story fails.
    pub fn explanation(&self) -> String {
        explain::explain(&self.host, &self.netd)
    }

    /// Ends a story: every packet was counted once; nothing is left to mend; after a cleanup nothing of netd is left, and the host is as it was before.
    #[track_caller]
    pub fn ends_clean(&self) {
        self.ends_clean_but_for_tags(0);
    }

    /// The same where so many VLAN tags may have come or gone at an interface.
    #[track_caller]
    pub fn ends_clean_but_for_tags(&self, tags: u64) {
        self.all_counters_add_up(tags);
        self.ends_clean_uncounted();
    }

    /// The same but for the counters: of a story in which interfaces carried packets while nobody could count them, or began anew, or in which the programs
    /// were given packets that came by none.
    #[track_caller]
    pub fn ends_clean_uncounted(&self) {
        let plan = wait::poll(wait::PATIENCE, || Some(self.plan()).filter(Vec::is_empty));
        assert!(plan.is_some(), "netd still wants to do: {:#?}", self.plan());
        let cleanup = self.cleanup();
        assert!(cleanup.failed.is_empty(), "cleanup left: {:#?}", cleanup.failed);
        self.netd.stop();
        self.leaves_nothing();
    }

    /// Nothing of netd is in the kernel, and the host is as it was before.
    #[track_caller]
    pub fn leaves_nothing(&self) {
        self.leaves_nothing_but("");
    }

    /// The same, but for one thing that the story itself made.
    #[track_caller]
    pub fn leaves_nothing_but(&self, made: &str) {
        let left = || Traces::of(&self.host, &self.here).without(made).difference(&self.before().without(made));
        let clean = wait::poll(wait::PATIENCE, || left().is_empty().then_some(()));
        assert!(clean.is_some(), "netd left something: {}", left());
        let log = self.netd.log();
        assert!(!log.contains("panicked at"), "netd panicked:\n{log}");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.explanation());
            if std::env::var_os("NETD_LAB_KEEP").is_some() {
                eprintln!("NETD_LAB_KEEP is set: this host stays until the tests are interrupted");
                loop {
                    std::thread::park();
                }
            }
        }
    }
}
