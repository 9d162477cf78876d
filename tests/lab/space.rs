//! Entering namespaces: work done, and programs started, inside another network namespace. The only place of the lab that calls setns.
//! Never enters one on the caller's own thread: the test process stays where it is.

use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use nix::sched::{CloneFlags, setns};

/// A network namespace, known by its file. Opened anew for each use, so that the lab never keeps a namespace alive by itself.
#[derive(Debug, Clone)]
pub struct NetSpace(PathBuf);

impl NetSpace {
    /// The namespace of a file such as `/proc/1/ns/net`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Runs `work` on a thread of its own that has entered the namespace, and gives its result. A socket that was opened there stays there.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = self.open().unwrap_or_else(|why| panic!("cannot open the namespace {}: {why}", self.0.display()));
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                setns(file.as_fd(), CloneFlags::CLONE_NEWNET).unwrap_or_else(|why| panic!("cannot enter {}: {why}", self.0.display()));
                work()
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn open(&self) -> io::Result<File> {
        File::open(&self.0)
    }
}

/// All namespaces of a private host, held by their files: what a program must enter to live there.
#[derive(Debug)]
pub struct Spaces {
    files: Vec<(File, CloneFlags)>,
}

impl Spaces {
    /// Those of a process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let kinds = [
            ("uts", CloneFlags::CLONE_NEWUTS),
            ("ipc", CloneFlags::CLONE_NEWIPC),
            ("cgroup", CloneFlags::CLONE_NEWCGROUP),
            ("net", CloneFlags::CLONE_NEWNET),
            ("mnt", CloneFlags::CLONE_NEWNS),
        ];
        let files = kinds.into_iter().map(|(name, kind)| Ok((File::open(format!("/proc/{pid}/ns/{name}"))?, kind)));
        Ok(Self { files: files.collect::<io::Result<_>>()? })
    }

    /// A program that will be started inside, in `net` instead of the host's network where one is given. It dies with the calling thread.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>, net: Option<&NetSpace>) -> Command {
        let mut files = Vec::new();
        for (file, kind) in &self.files {
            match net {
                Some(net) if *kind == CloneFlags::CLONE_NEWNET => {
                    let file = net.open().unwrap_or_else(|why| panic!("cannot open the namespace {}: {why}", net.path().display()));
                    files.push((file, *kind));
                }
                _ => files.push((file.try_clone().expect("a descriptor can be duplicated"), *kind)),
            }
        }
        let mut command = Command::new(program);
        before_exec(&mut command, move || {
            for (file, kind) in &files {
                setns(file.as_fd(), *kind)?;
            }
            Ok(())
        });
        command
    }
}

/// Makes `command` do `enter` in the new process before it becomes the program, and die when the thread that starts it ends.
/// `enter` must only make system calls: no allocation, no lock.
pub(crate) fn before_exec(command: &mut Command, enter: impl Fn() -> nix::Result<()> + Send + Sync + 'static) {
    let step = move || {
        // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
            return Err(io::Error::last_os_error());
        }
        enter().map_err(io::Error::from)
    };
    // SAFETY: the closure runs between fork and exec; it only makes system calls on data prepared before (the contract of `enter`).
    unsafe { command.pre_exec(step) };
}
