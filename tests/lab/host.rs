//! The private host: namespaces with their own network, /run, /etc/netd, /var/lib and bpffs, and the outside host behind its uplink.
//! Never changes the machine's own namespaces, files or rules; all of it is gone when the two holders are.

use std::{
    ffi::CString,
    fs, io,
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::stat::Mode,
    unistd::{mkdir, symlinkat},
};

use crate::space::{NetSpace, Spaces, before_exec};

/// The host's uplink.
pub const UPLINK: &str = "up0";
/// The outside host's interface.
pub const OUTSIDE_LINK: &str = "eth0";
/// The host's IPv4 address on the uplink (TEST-NET-1, RFC 5737).
pub const HOST_V4: &str = "192.0.2.1";
/// The host's IPv6 address on the uplink (RFC 3849).
pub const HOST_V6: &str = "2001:db8::1";
/// The outside host's IPv4 address.
pub const OUTSIDE_V4: &str = "192.0.2.2";
/// The outside host's IPv6 address.
pub const OUTSIDE_V6: &str = "2001:db8::2";

/// A private host and the one outside of it.
#[derive(Debug)]
pub struct Host {
    holder: Child,
    outside: Child,
    spaces: Spaces,
    /// Where the binaries are, seen from inside.
    programs: PathBuf,
    /// Files of this lab on the machine: logs, configuration to be bound, output.
    pub scratch: tempfile::TempDir,
}

impl Host {
    /// Makes both hosts and the link between them.
    pub fn made() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "the lab makes network namespaces: run it as root (sudo -E cargo test -p netd-tests)");
        let bin = bin_dir();
        let scratch = tempfile::Builder::new().prefix("netd-lab-").tempdir().expect("a scratch directory can be made");
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).expect("the scratch directory is ours");
        let attic = attic(&bin);
        let holder = hold(private_mounts(&bin, attic, scratch.path()));
        let outside = hold(|| unshare(CloneFlags::CLONE_NEWNET));
        let spaces = Spaces::of(holder.id()).expect("the holder was started just now");
        let host = Self { holder, outside, spaces, programs: attic.join("bin"), scratch };
        host.cable();
        host
    }

    /// A program to be started on this host.
    pub fn command(&self, program: &str) -> Command {
        self.spaces.command(program, None)
    }

    /// Where one of the binaries under test is, seen from inside.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// One of the binaries under test, to be started on this host.
    pub fn ours(&self, program: &str) -> Command {
        self.spaces.command(self.program(program), None)
    }

    /// A program to be started on this host, but in another network namespace.
    pub fn command_in(&self, net: &NetSpace, program: &str) -> Command {
        self.spaces.command(program, Some(net))
    }

    /// Runs a program to its end and gives what it printed; panics with its words where it fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        finish(self.command(program).args(arguments), program, arguments)
    }

    /// The same in another network namespace.
    pub fn run_in(&self, net: &NetSpace, program: &str, arguments: &[&str]) -> String {
        finish(self.command_in(net, program).args(arguments), program, arguments)
    }

    /// A path of the private host as the machine sees it.
    pub fn path(&self, inside: &str) -> PathBuf {
        // /var/run is a link to /run, which the machine would follow to its own.
        let inside = inside.strip_prefix("/var").filter(|rest| rest.starts_with("/run/")).unwrap_or(inside);
        PathBuf::from(format!("/proc/{}/root{inside}", self.holder.id()))
    }

    /// The host's network namespace.
    pub fn net(&self) -> NetSpace {
        NetSpace::at(format!("/proc/{}/ns/net", self.holder.id()))
    }

    /// The outside host's network namespace.
    pub fn outside_net(&self) -> NetSpace {
        NetSpace::at(format!("/proc/{}/ns/net", self.outside.id()))
    }

    /// The process whose namespaces are the host.
    pub fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// What one types to look around in it.
    pub fn entry_line(&self) -> String {
        format!("nsenter --target {} --net --mount --uts --ipc --cgroup", self.holder.id())
    }

    /// Names the resolver of the host.
    pub fn resolves_with(&self, server: &str) {
        fs::write(resolver_file(self.scratch.path()), format!("nameserver {server}\n")).expect("the scratch directory can be written");
    }

    fn cable(&self) {
        let quiet = || {
            let _ = fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
            let _ = fs::write("/proc/sys/net/ipv6/conf/all/accept_dad", "0");
        };
        self.outside_net().inside(quiet);
        let peer = self.outside.id().to_string();
        let link = ["link", "add", UPLINK, "type", "veth", "peer", "name", OUTSIDE_LINK, "netns", &peer];
        self.run("ip", &link);
        self.net().inside(|| fs::write(format!("/proc/sys/net/ipv6/conf/{UPLINK}/accept_dad"), "0")).expect("IPv6 is there");
        let here = self.net();
        let there = self.outside_net();
        for (net, interface, v4, v6) in [(&here, UPLINK, HOST_V4, HOST_V6), (&there, OUTSIDE_LINK, OUTSIDE_V4, OUTSIDE_V6)] {
            self.run_in(net, "ip", &["link", "set", "lo", "up"]);
            self.run_in(net, "ip", &["link", "set", interface, "up"]);
            self.run_in(net, "ip", &["address", "add", &format!("{v4}/24"), "dev", interface]);
            self.run_in(net, "ip", &["address", "add", &format!("{v6}/64"), "dev", interface, "nodad"]);
        }
        self.run("ip", &["route", "add", "default", "via", OUTSIDE_V4]);
        self.run("ip", &["-6", "route", "add", "default", "via", OUTSIDE_V6]);
    }

    /// Ends every process that lives in this host's mount namespace; they are all children of this lab or of those.
    fn end_processes(&self) {
        let ours = fs::read_link(format!("/proc/{}/ns/mnt", self.holder.id())).ok();
        let Some(ours) = ours else { return };
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            if fs::read_link(format!("/proc/{pid}/ns/mnt")).is_ok_and(|theirs| theirs == ours) {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.end_processes();
        for child in [&mut self.holder, &mut self.outside] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The outside host's and the host's own address of a family.
pub fn addresses(v6: bool) -> (IpAddr, IpAddr) {
    let (host, outside) = if v6 { (HOST_V6, OUTSIDE_V6) } else { (HOST_V4, OUTSIDE_V4) };
    (host.parse().expect("a constant"), outside.parse().expect("a constant"))
}

/// Where netd and netctl are: `NETD_BIN_DIR`, or target/debug beside this package.
fn bin_dir() -> PathBuf {
    let given = std::env::var_os("NETD_BIN_DIR").map(PathBuf::from);
    let dir = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug"));
    dir.canonicalize().unwrap_or_else(|why| {
        panic!("no binaries in {}: {why}; build them first: cargo build -p netd -p netctl -p cni-plugin", dir.display())
    })
}

/// A process that does nothing but hold the namespaces that `enter` makes.
fn hold(enter: impl Fn() -> nix::Result<()> + Send + Sync + 'static) -> Child {
    let mut command = Command::new("sleep");
    command.arg("infinity").stdin(Stdio::null()).stdout(Stdio::null());
    before_exec(&mut command, enter);
    command.spawn().unwrap_or_else(|why| panic!("cannot make a private host: {why}"))
}

fn finish(command: &mut Command, program: &str, arguments: &[&str]) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|why| panic!("cannot run {program}: {why}"));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{program} {}` failed ({}): {words}", arguments.join(" "), output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A directory of the machine that the private host can do without; the machine's /etc and the binaries go there.
fn attic(bin: &Path) -> &'static Path {
    let attic = ["/mnt", "/media", "/srv"].into_iter().map(Path::new).find(|dir| dir.is_dir() && !bin.starts_with(dir));
    attic.expect("one of /mnt, /media and /srv is a directory that does not hold the binaries")
}

/// Everything that is private about the file system, as system calls on strings made beforehand: it runs between fork and exec.
fn private_mounts(bin: &Path, attic: &Path, scratch: &Path) -> impl Fn() -> nix::Result<()> + Send + Sync + 'static {
    let text = |path: &Path| CString::new(path.as_os_str().as_encoded_bytes()).expect("a path has no NUL");
    let old_etc = attic.join("etc");
    let links: Vec<(CString, CString)> = etc_entries(&old_etc).iter().map(|(target, link)| (text(target), text(link))).collect();
    let [bin, attic_c, attic_bin, etc_c] = [bin, attic, &attic.join("bin"), &old_etc].map(text);
    let resolv = text(&resolver_file(scratch));
    fs::write(resolver_file(scratch), "nameserver 198.51.100.53\n").expect("the scratch directory can be written");
    move || {
        let none: Option<&str> = None;
        let fresh = |kind: &str, at: &str| mount(Some(kind), at, Some(kind), MsFlags::empty(), none);
        let bind =
            |from: &CString, to: &CString| mount(Some(from.as_c_str()), to.as_c_str(), none, MsFlags::MS_BIND | MsFlags::MS_REC, none);
        let dir = |at: &str| mkdir(at, Mode::from_bits_truncate(0o755));
        unshare(
            CloneFlags::CLONE_NEWNET
                | CloneFlags::CLONE_NEWNS
                | CloneFlags::CLONE_NEWUTS
                | CloneFlags::CLONE_NEWIPC
                | CloneFlags::CLONE_NEWCGROUP,
        )?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(Some("tmpfs"), attic_c.as_c_str(), Some("tmpfs"), MsFlags::empty(), none)?;
        for at in [&attic_bin, &etc_c] {
            mkdir(at.as_c_str(), Mode::from_bits_truncate(0o755))?;
        }
        bind(&bin, &attic_bin)?;
        mount(Some("/etc"), etc_c.as_c_str(), none, MsFlags::MS_BIND | MsFlags::MS_REC, none)?;
        fresh("tmpfs", "/etc")?;
        for (target, link) in &links {
            symlinkat(target.as_c_str(), nix::fcntl::AT_FDCWD, link.as_c_str())?;
        }
        symlinkat(resolv.as_c_str(), nix::fcntl::AT_FDCWD, "/etc/resolv.conf")?;
        for at in ["/run", "/var/lib", "/opt"] {
            fresh("tmpfs", at)?;
        }
        for at in ["/etc/netd", "/etc/cni", "/etc/netns", "/run/netns", "/var/lib/netd", "/opt/cni", "/opt/cni/bin"] {
            dir(at)?;
        }
        fresh("sysfs", "/sys")?;
        fresh("bpf", "/sys/fs/bpf")?;
        // Read by nobody yet; where the machine has no cgroup v2 its place stays empty.
        let _ = mount(Some("cgroup2"), "/sys/fs/cgroup", Some("cgroup2"), MsFlags::MS_RDONLY, none);
        Ok(())
    }
}

/// The private host's /etc/resolv.conf, which is a link to this.
fn resolver_file(scratch: &Path) -> PathBuf {
    scratch.join("resolv.conf")
}

/// The links that make up the private /etc: everything of the machine's but what must be private.
fn etc_entries(old_etc: &Path) -> Vec<(PathBuf, PathBuf)> {
    let private = ["netd", "cni", "netns", "resolv.conf"];
    let entries = fs::read_dir("/etc").and_then(Iterator::collect::<io::Result<Vec<_>>>).expect("/etc can be read");
    let public = entries.iter().filter(|entry| !entry.file_name().to_str().is_some_and(|name| private.contains(&name)));
    let links = public.filter_map(|entry| {
        let target = entry.path().canonicalize().ok()?;
        let target = target.strip_prefix("/etc").map(|rest| old_etc.join(rest)).unwrap_or(target);
        Some((target, entry.path()))
    });
    links.collect()
}
