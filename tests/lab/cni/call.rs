//! One run of a plugin: its file, its environment, its input. Each can be left out or spoilt; the run can be killed. Never retries.

use std::{
    collections::BTreeMap,
    io::Write,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Instant,
};

use serde_json::Value;

use super::answer::Spoken;
use crate::host::Host;

/// A run to be made.
#[derive(Debug, Clone)]
pub struct Call {
    host: Arc<Host>,
    file: String,
    environment: BTreeMap<String, String>,
    input: Vec<u8>,
    /// By a user who is not root.
    as_nobody: bool,
}

/// A run under way.
#[derive(Debug)]
pub struct Running {
    line: String,
    child: Child,
    start: Instant,
}

impl Call {
    pub(super) fn new(host: Arc<Host>, file: String) -> Self {
        Self { host, file, environment: BTreeMap::new(), input: Vec::new(), as_nobody: false }
    }

    /// With a variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Without a variable.
    pub fn without(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// By a user who may nothing.
    pub fn as_nobody(mut self) -> Self {
        self.as_nobody = true;
        self
    }

    /// With this on its standard input.
    pub fn json(self, input: &Value) -> Self {
        self.text(input.to_string())
    }

    /// With these bytes on its standard input, whatever they are.
    pub fn text(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Its input, read back as JSON, for a story that changes some of it.
    pub fn input(&self) -> Value {
        serde_json::from_slice(&self.input).expect("it was written as JSON")
    }

    /// With another value of a key of its input.
    pub fn with(self, key: &str, value: Value) -> Self {
        let mut input = self.input();
        input[key] = value;
        self.json(&input)
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn runs(&self) -> Spoken {
        self.starts().ends()
    }

    /// Starts it.
    #[track_caller]
    pub fn starts(&self) -> Running {
        let start = Instant::now();
        let mut child = self.command().spawn().unwrap_or_else(|why| panic!("cannot run {}: {why}", self.file));
        self.feed(&mut child);
        Running { line: self.line(), child, start }
    }

    /// Writes its input. A plugin that does not read all of it, or none, must not stop the story.
    pub(super) fn feed(&self, child: &mut Child) {
        let mut pipe = child.stdin.take().expect("a pipe was asked for");
        // 64 KiB fit into a pipe.
        if self.input.len() <= 1 << 15 {
            let _ = pipe.write_all(&self.input);
        } else {
            let input = self.input.clone();
            thread::spawn(move || pipe.write_all(&input));
        }
    }

    /// The program with its environment; nothing that the test runner has is handed on.
    pub(super) fn command(&self) -> Command {
        let mut command = if self.as_nobody {
            let mut command = self.host.command("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", &self.file]);
            command
        } else {
            self.host.command(&self.file)
        };
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("CNI_") || ["NETD_SOCKET", "NETCONFPATH"].contains(&name)) {
                command.env_remove(name);
            }
        }
        command.envs(&self.environment).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(super) fn line(&self) -> String {
        let name = self.file.rsplit('/').next().unwrap_or_default();
        let said = |variable: &str| self.environment.get(variable).map(String::as_str).unwrap_or_default();
        format!("{name} {} {} {}", said("CNI_COMMAND"), said("CNI_CONTAINERID"), said("CNI_IFNAME"))
    }
}

impl Running {
    /// Waits for its end.
    #[track_caller]
    pub fn ends(self) -> Spoken {
        let output = self.child.wait_with_output().expect("it is our child");
        Spoken::new(self.line, &output, self.start.elapsed())
    }

    /// Kills it, with no chance to do anything more.
    pub fn kill9(mut self) {
        let _ = self.child.kill();
        self.child.wait().expect("it is our child");
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }
}
