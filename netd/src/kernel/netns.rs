//! Network namespaces: made, entered, removed and told apart. The only place that calls setns and unshare, always on a thread of its own that ends.
//! Never decides which namespace is wanted.

use std::{
    collections::BTreeMap,
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::Path,
    sync::{OnceLock, mpsc},
    thread,
};

use netd_api::names::IfName;
use netd_core::{mark, objects::NetnsId};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::statfs::{FsType, fstatfs, statfs},
};

use super::{KernelError, link, netlink::Rtnetlink, sysctl};

/// NSFS_MAGIC in linux/magic.h: what statfs says of a file that is a namespace.
const NSFS: FsType = FsType(0x6e73_6673);
/// The namespace of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";
/// The namespace of the process's first thread, which never leaves the host's.
const HOSTS: &str = "/proc/self/ns/net";
/// Bytes; these threads call the kernel and little else.
const STACK: usize = 256 * 1024;

/// Set once the directory of names is a shared mount: making it one visits every namespace bound below it.
static SHARED: OnceLock<()> = OnceLock::new();

type Job = Box<dyn FnOnce(&sysctl::Tree) + Send>;

/// A namespace that is being worked on: a socket inside, and a thread inside for what a socket cannot do. Keeps the namespace alive until dropped.
pub(crate) struct Inside {
    /// An rtnetlink socket of that namespace.
    pub(crate) rtnetlink: Rtnetlink,
    ns: OwnedFd,
    jobs: mpsc::Sender<Job>,
    indices: BTreeMap<IfName, u32>,
}

impl Inside {
    /// Makes a namespace with `lo` up and binds it to a path.
    pub(crate) fn create(path: &str) -> Result<Self, KernelError> {
        let made = claim(path)?;
        let bound = path.to_owned();
        Self::start(move || {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| KernelError::said(errno, "unshare"))?;
            mount(Some(OWN), bound.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .map_err(|errno| KernelError::said(errno, "bind mount"))?;
            let mut rtnetlink = Rtnetlink::open()?;
            link::set_lo_up(&mut rtnetlink)?;
            Ok((rtnetlink, fs::File::open(OWN)?.into()))
        })
        .inspect_err(|_| {
            let _not_mounted = umount2(path, MntFlags::MNT_DETACH);
            if made {
                let _gone = fs::remove_file(path);
            }
        })
    }

    /// Enters the namespace at a path.
    pub(crate) fn enter(path: &str) -> Result<Self, KernelError> {
        let ns = open(path)?;
        Self::start(move || {
            setns(&ns, CloneFlags::CLONE_NEWNET).map_err(|errno| KernelError::said(errno, "setns"))?;
            Ok((Rtnetlink::open()?, ns))
        })
    }

    /// Runs on the thread inside, which has a view of the sysctls there: what depends on the calling thread's namespace, as /proc/sys/net and new sockets do.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce(&sysctl::Tree) -> T + Send + 'static) -> Result<T, KernelError> {
        let (answer, result) = mpsc::sync_channel(1);
        self.start_job(move |tree| drop(answer.send(job(tree))))?;
        result.recv().map_err(|_| ended())
    }

    /// Runs on the thread inside, without waiting for it; what was begun before this is dropped is done.
    pub(crate) fn start_job(&self, job: impl FnOnce(&sysctl::Tree) + Send + 'static) -> Result<(), KernelError> {
        self.jobs.send(Box::new(job)).map_err(|_| ended())
    }

    /// The number of an interface, asked for once.
    pub(crate) fn index(&mut self, name: &IfName) -> Result<u32, KernelError> {
        if let Some(index) = self.indices.get(name) {
            return Ok(*index);
        }
        let index = link::number(&self.rtnetlink, name)?;
        self.indices.insert(name.clone(), index);
        Ok(index)
    }

    /// The namespace itself.
    pub(crate) fn ns(&self) -> BorrowedFd<'_> {
        self.ns.as_fd()
    }

    /// Forgets the numbers: a link that was deleted and made again has another.
    pub(crate) fn forget_indices(&mut self) {
        self.indices.clear();
    }

    fn start(enter: impl FnOnce() -> Result<(Rtnetlink, OwnedFd), KernelError> + Send + 'static) -> Result<Self, KernelError> {
        let (jobs, work) = mpsc::channel::<Job>();
        let (opened, entered) = mpsc::sync_channel(1);
        thread::Builder::new().name("netns".to_owned()).stack_size(STACK).spawn(move || {
            let inside = enter();
            let entered = inside.is_ok();
            if opened.send(inside).is_ok() && entered {
                let mut tree = None;
                work.into_iter().for_each(|job| job(tree.get_or_insert_with(sysctl::Tree::fresh)));
            }
        })?;
        let (rtnetlink, ns) = entered.recv().map_err(|_| ended())??;
        Ok(Self { rtnetlink, ns, jobs, indices: BTreeMap::new() })
    }
}

fn ended() -> KernelError {
    KernelError::Namespace("the thread inside the namespace has ended".to_owned())
}

/// Visits the namespaces at these paths one after the other, on one thread; a path that is none is passed over.
pub(crate) fn visit<T: Send>(
    paths: &[&str],
    each: impl Fn(&str, &mut Rtnetlink, &mut sysctl::Trees) -> Result<T, KernelError> + Sync,
) -> Result<Vec<T>, KernelError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, || {
            let mut seen = Vec::with_capacity(paths.len());
            let mut trees = sysctl::Trees::default();
            for path in paths {
                trees.next();
                let Ok(ns) = open(path) else { continue };
                setns(&ns, CloneFlags::CLONE_NEWNET).map_err(|errno| KernelError::said(errno, format!("setns {path}")))?;
                seen.push(each(path, &mut Rtnetlink::open()?, &mut trees)?);
            }
            Ok(seen)
        })?;
        thread.join().unwrap_or_else(|_| Err(KernelError::Namespace("the thread that looked into the namespaces died".to_owned())))
    })
}

/// Takes away the name of a namespace; the kernel removes it with its last user. Gone already is no error.
pub(crate) fn remove(path: &str) -> Result<(), KernelError> {
    match statfs(path) {
        Err(nix::Error::ENOENT) => return Ok(()),
        Err(errno) => return Err(KernelError::said(errno, path)),
        Ok(at) if at.filesystem_type() == NSFS => {
            umount2(path, MntFlags::MNT_DETACH).map_err(|errno| KernelError::said(errno, format!("umount {path}")))?;
        }
        Ok(_) if is_placeholder(path) => {}
        Ok(_) => {
            return Err(KernelError::Namespace(format!(
                "{path} is no namespace of netd's, so it is left alone; remove it by hand if nobody needs it"
            )));
        }
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(KernelError::said(error, format!("rm {path}"))),
        _ => Ok(()),
    }
}

/// What the namespace at a path is known by; none where the path leads to none.
pub(crate) fn id(path: &str) -> Option<NetnsId> {
    // Without opening it: that would be another hold on it, and ten times the work.
    let (at, file) = (statfs(path).ok()?, fs::metadata(path).ok()?);
    (at.filesystem_type() == NSFS).then(|| NetnsId { dev: file.dev(), ino: file.ino() })
}

/// Opens the namespace at a path, if it is a network namespace and not the host's.
pub(crate) fn open(path: &str) -> Result<OwnedFd, KernelError> {
    let wrong = |why: &str| KernelError::Namespace(format!("{path} {why}"));
    if !Path::new(path).is_absolute() {
        return Err(wrong("is no absolute path; name the namespace's file from / on, such as /run/netns/web"));
    }
    // O_PATH first: opening a FIFO or a device for reading may block or have effects.
    let file = match fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(wrong("is not there; is its container still running?")),
        other => other.map_err(|error| KernelError::said(error, path))?,
    };
    if fstatfs(&file).map_err(|errno| KernelError::said(errno, path))?.filesystem_type() != NSFS {
        let kind = file.metadata()?.file_type();
        let what = if kind.is_dir() {
            "a directory"
        } else if kind.is_file() {
            "a plain file"
        } else {
            "a special file"
        };
        return Err(wrong(&format!("is {what}, not a network namespace")));
    }
    let ns = fs::File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(|error| KernelError::said(error, path))?;
    match nstype(&ns)? {
        libc::CLONE_NEWNET => {}
        _ => return Err(wrong("is a namespace, but not a network namespace")),
    }
    let (hosts, found) = (fs::metadata(HOSTS)?, ns.metadata()?);
    if (hosts.dev(), hosts.ino()) == (found.dev(), found.ino()) {
        return Err(wrong("is the host's own namespace"));
    }
    Ok(ns.into())
}

/// The namespace of a process, by a path that is good as long as the process is.
pub(crate) fn of_process(pid: u32) -> Result<(String, NetnsId), KernelError> {
    let gone = || KernelError::Namespace(format!("process {pid} has gone"));
    let path = format!("/proc/{pid}/ns/net");
    // Held while we look: if it is still alive afterwards, the number was not given to another process meanwhile.
    let process = pidfd_open(pid).map_err(|error| match error.errno() {
        Some(libc::ESRCH | libc::EINVAL) => gone(),
        _ => KernelError::said(error, format!("pidfd_open {pid}")),
    })?;
    open(&path).map_err(|error| if is_alive(&process) { error } else { gone() })?;
    let id = id(&path).filter(|_| is_alive(&process)).ok_or_else(gone)?;
    Ok((path, id))
}

/// Makes the file that the namespace is bound to, below a mount that other mount namespaces see. Whether it was not there before.
fn claim(path: &str) -> Result<bool, KernelError> {
    if path.starts_with(mark::NETNS_DIR) && SHARED.get().is_none() {
        share(mark::NETNS_DIR)?;
        let _by_another_thread = SHARED.set(());
    }
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o444).open(path) {
        Ok(_) => Ok(true),
        // A crash between making the file and binding the namespace leaves it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_placeholder(path) => Ok(false),
        Err(error) => Err(KernelError::said(error, path)),
    }
}

/// An empty file where `ip netns` keeps its names, with no namespace on it: what is left of one that was half made.
fn is_placeholder(path: &str) -> bool {
    let no_ns = statfs(path).is_ok_and(|at| at.filesystem_type() != NSFS);
    path.starts_with(mark::NETNS_DIR) && no_ns && fs::symlink_metadata(path).is_ok_and(|file| file.is_file() && file.len() == 0)
}

/// Makes a directory a shared mount, as `ip netns add` does, so that a namespace bound below it is seen in other mount namespaces.
fn share(dir: &str) -> Result<(), KernelError> {
    fs::create_dir_all(dir).map_err(|error| KernelError::said(error, dir))?;
    let shared = || mount(None::<&str>, dir, None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>);
    match shared() {
        // It is no mount point yet.
        Err(nix::Error::EINVAL) => {
            let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(dir), dir, None::<&str>, bind, None::<&str>).and_then(|()| shared()).map_err(|errno| KernelError::said(errno, dir))
        }
        other => other.map_err(|errno| KernelError::said(errno, dir)),
    }
}

fn nstype(ns: &impl AsFd) -> Result<libc::c_int, KernelError> {
    /// NS_GET_NSTYPE in linux/nsfs.h: _IO(0xb7, 3).
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: the descriptor is open; this request takes no argument and returns a number.
    let kind = unsafe { libc::ioctl(ns.as_fd().as_raw_fd(), NS_GET_NSTYPE) };
    nix::errno::Errno::result(kind).map_err(KernelError::from)
}

fn pidfd_open(pid: u32) -> Result<OwnedFd, KernelError> {
    use std::os::fd::FromRawFd;
    // SAFETY: the call takes two numbers and returns a new descriptor or an error.
    let fd = nix::errno::Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel has just opened it for us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// A pidfd becomes readable when its process ends.
fn is_alive(process: &OwnedFd) -> bool {
    super::netlink::wait([process], Some(std::time::Duration::ZERO)).is_ok_and(|[ended]| !ended)
}
