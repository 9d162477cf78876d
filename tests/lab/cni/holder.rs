//! A process of its own that listens on a port of the host, as a stranger's server or a runtime's monitor does. Never answers.

use std::process::{Child, Stdio};

use crate::{Lab, wait::eventually};

/// See the module; it ends when dropped.
#[derive(Debug)]
pub struct Holder(Child);

impl Lab {
    /// A stranger's process that listens on a TCP port of the host.
    pub fn holder(&self, port: u16) -> Holder {
        self.holder_called(port, "server")
    }

    /// The same, with a word on its command line, as a monitor has the id of its container there.
    pub fn holder_called(&self, port: u16, word: &str) -> Holder {
        let mut command = self.host().command("socat");
        command.args([&format!("TCP-LISTEN:{port},reuseaddr,fork"), &format!("SYSTEM:true # {word}")]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("socat can be started");
        let holder = Holder(child);
        let listens = || self.here().run("ss", &["-ltn"]).contains(&format!(":{port} ")).then_some(());
        eventually("a stranger listens", listens);
        holder
    }
}

impl Holder {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Lets go of the port.
    pub fn ends(self) {}
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
