//! A plugin killed at a chosen step: just before its n-th system call. Traced by the thread that asks (ptrace(2)), so that it is the same step
//! each time. Never kills anything but its own child.

use std::{io::Read, os::unix::process::ExitStatusExt, process::Output};

use nix::{
    sys::{
        ptrace,
        signal::Signal,
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
};

use super::{answer::Spoken, call::Call};
use crate::space::before_exec;

/// How a traced run ended.
#[derive(Debug)]
pub enum Steps {
    /// It was killed at the step.
    Killed,
    /// It had ended before, after so many steps, and said this.
    Ended(u32, Box<Spoken>),
}

impl Call {
    /// Runs it and kills it when it is about to make system call number `last`.
    pub fn killed_at(&self, last: u32) -> Steps {
        let start = std::time::Instant::now();
        let mut command = self.command();
        before_exec(&mut command, ptrace::traceme);
        let mut child = command.spawn().unwrap_or_else(|why| panic!("cannot run `{}`: {why}", self.line()));
        self.feed(&mut child);
        let pid = Pid::from_raw(child.id().cast_signed());
        let waits = || waitpid(pid, None).unwrap_or_else(|why| panic!("a traced child can be waited for: {why}"));
        // The first stop is the end of execve.
        let mut status = waits();
        ptrace::setoptions(pid, ptrace::Options::PTRACE_O_TRACESYSGOOD).expect("it is stopped");
        let (mut entered, mut inside) = (0, false);
        loop {
            let signal = match status {
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => break,
                WaitStatus::PtraceSyscall(_) => {
                    inside = !inside;
                    entered += u32::from(inside);
                    if inside && entered == last {
                        let _ = child.kill();
                        let ended = waits();
                        assert!(matches!(ended, WaitStatus::Signaled(_, Signal::SIGKILL, _)), "it should have been killed: {ended:?}");
                        return Steps::Killed;
                    }
                    None
                }
                WaitStatus::Stopped(_, Signal::SIGTRAP) => None,
                WaitStatus::Stopped(_, signal) => Some(signal),
                _ => None,
            };
            ptrace::syscall(pid, signal).expect("it is stopped");
            status = waits();
        }
        let code = match status {
            WaitStatus::Exited(_, code) => code << 8,
            _ => Signal::SIGKILL as i32,
        };
        let all = |pipe: &mut dyn Read| {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).expect("a pipe can be read");
            bytes
        };
        let stdout = all(child.stdout.as_mut().expect("a pipe was asked for"));
        let stderr = all(child.stderr.as_mut().expect("a pipe was asked for"));
        let output = Output { status: std::process::ExitStatus::from_raw(code), stdout, stderr };
        Steps::Ended(entered, Box::new(Spoken::new(self.line(), &output, start.elapsed())))
    }
}
