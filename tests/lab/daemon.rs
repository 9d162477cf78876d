//! The daemon under test: started, stopped, killed and started again as an operator or a crash would. Never talks to it but to see that it is up.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use netd_api::{client::Client, message::Request};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    host::Host,
    no_bpf::without_bpf,
    wait::{PATIENCE, poll},
};

/// How long a start may take: the kernel looks at the programs first, which takes an emulated machine half a minute when it has other things to do.
const STARTS: Duration = Duration::from_secs(120);
/// Where the daemon listens, inside the private host.
pub const SOCKET: &str = "/run/netd/netd.sock";

/// See the module.
#[derive(Debug)]
pub struct Netd {
    host: Arc<Host>,
    child: Mutex<Option<Child>>,
}

impl Netd {
    pub(crate) fn new(host: Arc<Host>) -> Self {
        Self { host, child: Mutex::new(None) }
    }

    /// Starts it and waits until it answers.
    #[track_caller]
    pub fn start(&self) {
        self.start_with(&[], &[]);
    }

    /// Starts it with arguments and environment, and waits until it answers.
    #[track_caller]
    pub fn start_with(&self, arguments: &[&str], environment: &[(&str, &str)]) {
        self.launch(arguments, environment);
        self.is_up();
    }

    /// Starts it without the right to use eBPF, and waits until it answers.
    #[track_caller]
    pub fn start_without_bpf(&self) {
        let mut command = self.host.ours("netd");
        without_bpf(&mut command);
        self.spawn(command);
        self.is_up();
    }

    #[track_caller]
    fn is_up(&self) {
        let up = poll(STARTS, || {
            if let Some(status) = self.ended() {
                panic!("netd ended at its start ({status}):\n{}", self.log());
            }
            Client::at(self.socket()).send(&Request::Status).ok()
        });
        assert!(up.is_some(), "netd does not answer:\n{}", self.log());
    }

    /// Starts it and does not wait.
    pub fn launch(&self, arguments: &[&str], environment: &[(&str, &str)]) {
        let mut command = self.host.ours("netd");
        command.args(arguments).envs(environment.iter().copied());
        self.spawn(command);
    }

    fn spawn(&self, mut command: Command) {
        let mut child = self.child();
        assert!(child.is_none(), "netd runs already");
        let log = File::options().append(true).create(true).open(self.log_path()).expect("the scratch directory can be written");
        let errors = log.try_clone().expect("a descriptor can be duplicated");
        command.env("RUST_BACKTRACE", "1").stdin(Stdio::null()).stdout(log).stderr(errors);
        *child =
            Some(command.spawn().unwrap_or_else(|why| panic!("cannot start netd: {why}; build it first: cargo build -p netd -p netctl")));
    }

    /// Starts it by another program, as `setpriv …` or nothing, where it cannot work; waits for its end and gives its status and what it printed.
    #[track_caller]
    pub fn fails_to_start_by(&self, starter: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
        let before = self.log().len();
        let mut command = match starter {
            [] => self.host.ours("netd"),
            [program, arguments @ ..] => {
                let mut command = self.host.command(program);
                command.args(arguments).arg(self.host.program("netd"));
                command
            }
        };
        command.envs(environment.iter().copied());
        self.spawn(command);
        let status = poll(PATIENCE, || self.ended());
        let said = self.log().split_off(before);
        let status = status.unwrap_or_else(|| panic!("netd started all the same:\n{said}"));
        (status.code().unwrap_or(-1), said)
    }

    /// Kills it, with no chance to do anything more.
    pub fn kill9(&self) {
        let mut child = self.child().take().expect("netd runs");
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }

    /// Asks it to stop, and waits until it did.
    #[track_caller]
    pub fn stop(&self) {
        self.signal(Signal::SIGTERM);
        let status = poll(PATIENCE, || self.ended());
        let status = status.unwrap_or_else(|| panic!("netd does not stop:\n{}", self.log()));
        assert!(status.success(), "netd stopped with {status}:\n{}", self.log());
    }

    /// Stops it and starts it again.
    #[track_caller]
    pub fn restart(&self) {
        self.stop();
        self.start();
    }

    /// Kills it and starts it again.
    #[track_caller]
    pub fn crash(&self) {
        self.kill9();
        self.start();
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).expect("it is our child");
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child().as_ref().expect("netd runs").id()
    }

    /// Whether it has been started and not yet been ended by this lab.
    pub fn runs(&self) -> bool {
        self.child().is_some()
    }

    /// Its socket as the machine sees it.
    pub fn socket(&self) -> PathBuf {
        self.host.path(SOCKET)
    }

    /// All it logged, over all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// What it logged behind so many bytes.
    pub fn log_since(&self, bytes: u64) -> String {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(self.log_path())?;
            file.seek(SeekFrom::Start(bytes))?;
            let mut rest = Vec::new();
            file.read_to_end(&mut rest)?;
            Ok(rest)
        };
        String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.host.scratch.path().join("netd.log")
    }

    /// How it ended, if it did; it can be started again then.
    fn ended(&self) -> Option<std::process::ExitStatus> {
        let mut child = self.child();
        let status = child.as_mut()?.try_wait().expect("it is our child")?;
        *child = None;
        Some(status)
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().expect("nobody panics with the child in hand")
    }
}

impl Drop for Netd {
    fn drop(&mut self) {
        if let Ok(mut child) = self.child.lock()
            && let Some(mut child) = child.take()
        {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
