//! The usual way to publish a port, for comparison: one nft rule a port in a chain, added and deleted by a process. Never used by netd.

use std::{io::Write, process::Stdio, time::Instant};

use crate::stand::Stand;

/// A table of linear rules in the private host.
pub(crate) struct Linear {
    host: std::sync::Arc<lab::host::Host>,
    rules: usize,
}

impl Linear {
    pub(crate) fn new(stand: &Stand) -> Self {
        let linear = Self { host: stand.lab.host().clone(), rules: 0 };
        // Without a hook: its rules cost their user something to change, but no packet passes them.
        linear.nft("add table ip linear\nadd chain ip linear ports\n");
        linear
    }

    /// Adds rules until there are so many.
    pub(crate) fn grow(&mut self, rules: usize) {
        let new: String =
            (self.rules..rules).map(|n| format!("add rule ip linear ports tcp dport {} dnat to 10.1.2.3:80\n", 1 + n)).collect();
        if !new.is_empty() {
            self.nft(&new);
        }
        self.rules = self.rules.max(rules);
    }

    /// Adds one rule and deletes it by its handle; milliseconds of each.
    pub(crate) fn once(&self) -> (f64, f64) {
        let began = Instant::now();
        let said = self.host.run("nft", &["--echo", "--handle", "add rule ip linear ports tcp dport 65000 dnat to 10.1.2.3:80"]);
        let added = began.elapsed().as_secs_f64() * 1e3;
        let handle =
            said.split("# handle ").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("nft echoes the handle").to_owned();
        let began = Instant::now();
        self.host.run("nft", &["delete", "rule", "ip", "linear", "ports", "handle", &handle]);
        (added, began.elapsed().as_secs_f64() * 1e3)
    }

    fn nft(&self, script: &str) {
        let mut nft = self.host.command("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft is installed");
        nft.stdin.take().expect("piped").write_all(script.as_bytes()).expect("nft reads");
        assert!(nft.wait().expect("it is our child").success(), "nft refused the linear rules");
    }
}
