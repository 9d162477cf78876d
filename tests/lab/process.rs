//! A process with a network namespace of its own, as a runtime's container has: known by its pid. Never does anything.

use std::{
    process::{Child, Stdio},
    sync::Arc,
};

use nix::sched::{CloneFlags, unshare};

use crate::{
    Lab, Station,
    host::Host,
    space::{NetSpace, before_exec},
};

/// See the module; it ends when dropped.
#[derive(Debug)]
pub struct Process {
    host: Arc<Host>,
    child: Child,
}

impl Lab {
    /// A process of the private host in a network namespace of its own.
    pub fn process(&self) -> Process {
        let mut command = self.host().command("sleep");
        command.arg("infinity").stdin(Stdio::null()).stdout(Stdio::null());
        // Runs after the step that enters the host.
        before_exec(&mut command, || unshare(CloneFlags::CLONE_NEWNET));
        Process { host: self.host().clone(), child: command.spawn().expect("a process can be started") }
    }
}

impl Process {
    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its namespace as a place of servers and clients.
    pub fn station(&self, name: &str) -> Station {
        Station::new(name, NetSpace::at(format!("/proc/{}/ns/net", self.pid())), self.host.clone())
    }

    /// Ends it.
    pub fn ends(self) {}
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
