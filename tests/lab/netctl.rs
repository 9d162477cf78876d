//! The real netctl, run as a user would, and what it said. Never guesses what it meant.

use std::{
    io::Write,
    process::{Output, Stdio},
};

use serde_json::Value;

use crate::Lab;

/// What a run of a program said, and how it ended.
#[derive(Debug, Clone)]
pub struct Said {
    line: String,
    /// Its exit status.
    pub status: i32,
    /// What it printed.
    pub out: String,
    /// What it complained.
    pub err: String,
}

impl Said {
    /// It did what it was asked; gives what it printed.
    #[track_caller]
    pub fn expect_done(self) -> String {
        assert!(self.status == 0, "`{}` ended with {}: {}{}", self.line, self.status, self.err, self.out);
        self.out
    }
    /// It failed with this status and a complaint; gives the complaint.
    #[track_caller]
    pub fn expect_failed(self, status: i32) -> String {
        assert!(self.status == status, "`{}` ended with {} instead of {status}: {}{}", self.line, self.status, self.err, self.out);
        assert!(!self.err.is_empty(), "`{}` failed without a word", self.line);
        self.err
    }
    /// What it printed, as JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        let line = self.line.clone();
        let out = self.expect_done();
        serde_json::from_str(&out).unwrap_or_else(|why| panic!("`{line}` printed no JSON ({why}):\n{out}"))
    }
}

impl Lab {
    /// Runs netctl.
    pub fn netctl<const N: usize>(&self, arguments: [&str; N]) -> Said {
        self.netctl_with(&arguments, &[], "")
    }

    /// Starts a second netd beside the one that runs, waits for its end, and gives what it said.
    pub fn second_netd(&self) -> Said {
        let mut command = self.host().ours("netd");
        command.stdin(Stdio::null());
        said("netd".to_owned(), &command.output().expect("netd can be started"))
    }

    /// Runs netctl with `-o json`.
    #[track_caller]
    pub fn netctl_json<const N: usize>(&self, arguments: [&str; N]) -> Value {
        let all: Vec<&str> = ["-o", "json"].into_iter().chain(arguments).collect();
        self.netctl_with(&all, &[], "").json()
    }

    /// Runs netctl with an environment and an input.
    pub fn netctl_with(&self, arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Said {
        let mut command = self.host().ours("netctl");
        command.args(arguments).env_remove("NETD_SOCKET").envs(environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|why| panic!("cannot run netctl: {why}; build it first: cargo build -p netd -p netctl"));
        // A program that does not read its input may have ended already.
        let _ = child.stdin.take().expect("a pipe was asked for").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("it is our child");
        said(format!("netctl {}", arguments.join(" ")), &output)
    }
}

pub(crate) fn said(line: String, output: &Output) -> Said {
    Said {
        line,
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
