//! A pen: a cgroup of the lab's own in which a container runtime lives. All that it starts is in there, however it daemonizes, and ends with the
//! pen. Never touches a cgroup but the one that it makes below that of the tests.

use std::{
    fs::{self, File},
    io::Write,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use nix::sched::{CloneFlags, unshare};

use crate::{
    Lab,
    host::Host,
    space::before_exec,
    wait::{PATIENCE, eventually, poll},
};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// See the module.
#[derive(Debug)]
pub struct Pen {
    cgroup: PathBuf,
    host: Arc<Host>,
}

impl Lab {
    /// Removes named namespaces that a runtime forgot, as a reboot does.
    pub fn sweeps_namespaces(&self) {
        for entry in fs::read_dir(self.host().path("/run/netns")).into_iter().flatten().flatten() {
            self.host().run("ip", &["netns", "del", &entry.file_name().to_string_lossy()]);
        }
    }
}

impl Pen {
    /// Makes one, and shows it to the private host as the root of all cgroups.
    pub fn made(host: Arc<Host>) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let cgroup = own_cgroup().join(format!("netd-lab-{}-{number}", std::process::id()));
        fs::create_dir(&cgroup).unwrap_or_else(|why| panic!("cannot make the cgroup {}: {why}", cgroup.display()));
        let pen = Self { cgroup, host };
        // What the host has there is the same file system, which the kernel does not stack; where there is none this fails, and well.
        let _ = pen.command("umount").arg("/sys/fs/cgroup").output();
        let mounted = pen.command("mount").args(["-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"]).output().expect("mount can be started");
        let words = String::from_utf8_lossy(&mounted.stderr);
        assert!(mounted.status.success(), "the pen's cgroup cannot be shown to the private host: {words}");
        pen
    }

    /// A program to be started in the pen, on the private host, with the pen as the root of its cgroups.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.host.command(program);
        let entry = File::options().write(true).open(self.cgroup.join("cgroup.procs")).expect("the cgroup is ours");
        before_exec(&mut command, move || {
            nix::unistd::write(entry.as_fd(), b"0")?;
            unshare(CloneFlags::CLONE_NEWCGROUP)
        });
        command
    }

    /// Kills all that live in it.
    pub fn empties(&self) {
        self.kills();
        eventually("the pen is empty", || {
            let events = fs::read_to_string(self.cgroup.join("cgroup.events")).expect("the cgroup is ours");
            events.contains("populated 0").then_some(())
        });
    }

    fn kills(&self) -> Vec<PathBuf> {
        let all = below(&self.cgroup);
        for cgroup in &all {
            let _ = File::options().write(true).open(cgroup.join("cgroup.kill")).and_then(|mut file| file.write_all(b"1"));
        }
        all
    }

    fn ends(&self) -> Option<()> {
        // Inner ones first: they are named after those that they are in.
        self.kills().iter().rev().for_each(|cgroup| drop(fs::remove_dir(cgroup)));
        (!self.cgroup.exists()).then_some(())
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        if poll(PATIENCE, || self.ends()).is_none() {
            eprintln!("the cgroup {} does not end; look who is in its cgroup.procs", self.cgroup.display());
        }
    }
}

/// The cgroup of the tests in the tree of version 2, as a folder of the machine.
fn own_cgroup() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is there");
    let mount = mounts.lines().find_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        tail.starts_with("cgroup2 ").then(|| head.split(' ').nth(4))?
    });
    let mount = mount.expect("cgroup2 is mounted somewhere: container runtimes are held in a cgroup");
    let own = fs::read_to_string("/proc/self/cgroup").expect("/proc is there");
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).expect("a process is in one cgroup of version 2");
    Path::new(mount).join(own)
}

/// A cgroup and all below it, outer ones first.
fn below(cgroup: &Path) -> Vec<PathBuf> {
    let mut all = vec![cgroup.to_owned()];
    let entries = fs::read_dir(cgroup).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        all.extend(below(&entry.path()));
    }
    all
}
