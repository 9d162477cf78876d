//! A small emulated machine with another kernel and this machine's files. Never writes to them: its root is an overlay whose upper half is its memory.
//!
//! The way of a boot: kernel and initramfs (initramfs.rs) → virtiofs shows this machine's root, read-only → an overlay makes it writable for
//! the guest alone → guest.sh mounts what a host has, runs the command and says its exit code on the second serial line.

mod console;
mod initramfs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, bail};

use crate::setup::{self, Emulator, Kernel, Need, Words};
use crate::shell;
use crate::workspace::Workspace;

/// The kernels that we test on beside the machine's own: Debian 12's, and the newest long-term one that Debian offers for it.
pub(crate) const SERIES: [&str; 2] = ["6.1", "6.12"];

/// What a boot may take, and then the command. A boot takes 10 to 20 s, emulated.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Memory of the guest; its files' changes live there too.
const MEMORY: &str = "2G";

/// How a run in the guest ended.
pub(crate) enum Ended {
    /// The command's own exit code.
    Exit(u8),
    /// The machine stopped or had to be stopped before the command's end.
    Lost(String),
}

/// A kernel, and what is to be run on it.
pub(crate) struct Guest<'a> {
    pub(crate) emulator: &'a Emulator,
    pub(crate) kernel: &'a Kernel,
    pub(crate) command: &'a [String],
    /// Environment of the command.
    pub(crate) env: &'a [(&'a str, String)],
    /// Folder in which the command runs.
    pub(crate) folder: &'a Path,
}

/// `cargo xtask guest`: runs a command on a kernel and ends as it ended.
pub(crate) fn run(workspace: &Workspace, series: &str, command: &[String]) -> Result<ExitCode> {
    setup::run(workspace, &[Need::Programs, Need::Emulator, Need::Kernels], Words::Changes)?;
    let kernel = Kernel::find(workspace, series).with_context(|| format!("kernel {series} is not there; run cargo xtask setup"))?;
    let env = [("NETD_BIN_DIR", workspace.binaries(crate::workspace::Profile::Dev).display().to_string())];
    let emulator = Emulator::find(workspace).map_err(Error::msg)?;
    let guest = Guest { emulator: &emulator, kernel: &kernel, command, env: &env, folder: &workspace.root };
    match guest.boot(LIMIT, |line| println!("{line}"))? {
        Ended::Exit(code) => Ok(ExitCode::from(code)),
        Ended::Lost(why) => bail!("{why}\n{}", guest.last_words()),
    }
}

impl Guest<'_> {
    /// Boots the machine, hands each line that the command prints to `line`, and waits for the end.
    pub(crate) fn boot(&self, limit: Duration, line: impl FnMut(&str)) -> Result<Ended> {
        if !shell::is_root() {
            bail!("a guest shows this machine's root file system to another kernel, which only root may do; run this as root");
        }
        let _alone = self.alone()?;
        let work = self.kernel.folder.join("guest");
        let _ = fs::remove_dir_all(&work);
        fs::create_dir_all(&work).with_context(|| format!("could not make {}", work.display()))?;
        let initramfs = initramfs::build(self, &work)?;
        let socket = work.join("virtiofs.sock");
        let files = Files::serve(self.emulator.files(), &socket, &work.join("virtiofsd.log"))?;
        let mut machine = self.machine(&initramfs, &socket).spawn().context("could not start qemu-system-x86_64")?;
        let ended = console::follow(&mut machine, &self.console(), limit, line);
        let _ = machine.kill();
        let _ = machine.wait();
        drop(files);
        ended
    }

    /// Waits until no other guest runs on this kernel: they share its folder. The lock ends with the file, and so with this process at the latest.
    fn alone(&self) -> Result<fs::File> {
        let path = self.kernel.folder.join("lock");
        let lock = fs::File::create(&path).with_context(|| format!("could not write {}", path.display()))?;
        if lock.try_lock().is_err() {
            println!("another guest runs on {}; waiting for its end", self.kernel.release);
            lock.lock().with_context(|| format!("could not lock {}", path.display()))?;
        }
        Ok(lock)
    }

    /// Everything that the scripts and the command said in the last boot.
    fn console(&self) -> PathBuf {
        self.kernel.folder.join("console.log")
    }

    /// Everything that the kernel said in the last boot.
    fn kernel_log(&self) -> PathBuf {
        self.kernel.folder.join("kernel.log")
    }

    /// The end of both logs, for a person who has to find out why.
    pub(crate) fn last_words(&self) -> String {
        let tail = |log: PathBuf| {
            let text = fs::read(&log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<_> = text.lines().collect();
            format!("--- last lines of {}\n{}\n---", log.display(), lines[lines.len().saturating_sub(100)..].join("\n"))
        };
        format!("{}\n{}", tail(self.console()), tail(self.kernel_log()))
    }

    fn machine(&self, initramfs: &Path, socket: &Path) -> Command {
        let mut qemu = self.emulator.machine();
        // TCG even where /dev/kvm can be opened: inside many virtual machines guests die in it. One thread for both
        // processors: with one each (thread=multi) a processor may run code that the other has just patched, and the kernel dies of a stray int3.
        qemu.args(["-accel", "tcg,thread=single", "-cpu", "max", "-smp", "2", "-m", MEMORY]);
        qemu.args(["-nographic", "-nodefaults", "-no-reboot"]);
        // The kernel has a line of its own, so that its messages never stand in the middle of what the command prints.
        qemu.arg("-serial").arg(format!("file:{}", self.kernel_log().display())).args(["-serial", "stdio"]);
        qemu.arg("-object").arg(format!("memory-backend-memfd,id=mem,size={MEMORY},share=on")).args(["-numa", "node,memdev=mem"]);
        qemu.arg("-chardev").arg(format!("socket,id=files,path={}", socket.display()));
        qemu.args(["-device", "vhost-user-fs-pci,chardev=files,tag=rootfs"]);
        qemu.arg("-kernel").arg(self.kernel.image()).arg("-initrd").arg(initramfs);
        qemu.args(["-append", "console=ttyS0 loglevel=6 panic=-1 oops=panic"]);
        qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        qemu
    }
}

/// The virtiofs server for this machine's root, ended with this value.
struct Files(Child);

impl Files {
    fn serve(mut command: Command, socket: &Path, log: &Path) -> Result<Files> {
        let out = fs::File::create(log).with_context(|| format!("could not write {}", log.display()))?;
        // Nobody changes the files while a guest runs. Asking anew before each use (cache=auto) makes starting a program ten times as slow.
        command.arg(format!("--socket-path={}", socket.display())).args(["-o", "source=/", "-o", "cache=always", "-o", "sandbox=chroot"]);
        let server = command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).spawn().context("could not start virtiofsd")?;
        let mut files = Files(server);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !socket.exists() {
            if Instant::now() > deadline || files.0.try_wait()?.is_some() {
                bail!("virtiofsd made no socket:\n{}", fs::read_to_string(log).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(files)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
