//! The programs at each interface's own hooks (tcx, Linux 6.6), which the kernel asks before the shared tc blocks and in less time. Never decides which
//! interface is whose.
//!
//! Putting a program there waits for an RCU grace period, some 10 ms, with the lock that every change of a link takes (tcx_prog_attach in
//! linux/kernel/bpf/tcx.c). So it is done later, on a thread of its own that is there only while there is something to do, one interface after the
//! other, and when nobody has been connected for a while. Until then, and wherever it cannot be done, the programs on the blocks see the packets.
//!
//! Each packet meets a program once: what passes at the hook has passed for good, and the block behind is not asked (sch_handle_ingress in
//! linux/net/core/dev.c). What is there stays until the interface goes, whatever becomes of netd.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use netd_abi::Direction;

use super::object::Program;

/// Nobody has been connected for so long.
const QUIET: Duration = Duration::from_secs(2);
/// From one interface to the next, so that others get the lock of links most of the time.
const BREATH: Duration = Duration::from_millis(50);
/// Bytes; the thread makes calls and little else.
const STACK: usize = 64 * 1024;

/// Commands of bpf(2), places and flags: linux/bpf.h.
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_DETACH: libc::c_long = 9;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;
const BPF_F_REPLACE: u32 = 1 << 2;

/// From this release on what passes at a hook may have passed for good: before it, filters behind the programs lead to the pacers ([`super::tc::pacer`]).
pub(crate) fn are_used(release: &str) -> bool {
    super::tc::pacer::takes_redirected(release)
}

/// The interfaces that get the programs, and who puts them there.
pub(crate) struct Hooks {
    shared: Arc<Shared>,
    /// Those that have them, or will.
    seen: BTreeSet<u32>,
}

struct Shared {
    /// By [`Direction::number`].
    programs: [OwnedFd; 2],
    queue: Mutex<Queue>,
}

struct Queue {
    waiting: VecDeque<u32>,
    /// When the last one came.
    last: Instant,
    has_thread: bool,
}

impl Hooks {
    /// For these programs, by [`Direction::number`].
    pub(crate) fn new(programs: &[Program; 2]) -> io::Result<Self> {
        let [from, to] = programs;
        let programs = [from.fd().try_clone_to_owned()?, to.fd().try_clone_to_owned()?];
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), last: Instant::now(), has_thread: false });
        Ok(Self { shared: Arc::new(Shared { programs, queue }), seen: BTreeSet::new() })
    }

    /// An interface gets the programs, later. Returns at once; one that has been seen to already is no news.
    pub(crate) fn put_soon(&mut self, ifindex: u32) -> io::Result<()> {
        if !self.seen.insert(ifindex) {
            return Ok(());
        }
        let mut queue = self.shared.queue();
        queue.waiting.push_back(ifindex);
        queue.last = Instant::now();
        if !queue.has_thread {
            let shared = Arc::clone(&self.shared);
            thread::Builder::new().name("hooks".to_owned()).stack_size(STACK).spawn(move || shared.run())?;
            queue.has_thread = true;
        }
        Ok(())
    }

    /// An interface goes, or its index may be another's from now on.
    pub(crate) fn forget(&mut self, ifindex: u32) {
        if self.seen.remove(&ifindex) {
            self.shared.queue().waiting.retain(|waiting| *waiting != ifindex);
        }
    }

    /// Puts the programs in place of another build's, where those are: at once, as nothing has to be waited for.
    pub(crate) fn replace(&self, ifindex: u32, direction: Direction, former: BorrowedFd<'_>) -> io::Result<()> {
        let done = Attach::new(ifindex, direction, self.shared.program(direction)).in_place_of(former).call(BPF_PROG_ATTACH);
        unless(done, &[libc::ENOENT, libc::EEXIST, libc::ENODEV])
    }

    /// Takes the programs away; the blocks see the packets from then on.
    pub(crate) fn take_away(&mut self, ifindex: u32) -> io::Result<()> {
        self.forget(ifindex);
        Direction::ALL.into_iter().try_for_each(|direction| {
            let done = Attach::new(ifindex, direction, self.shared.program(direction)).call(BPF_PROG_DETACH);
            unless(done, &[libc::ENOENT, libc::ENODEV])
        })
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn program(&self, direction: Direction) -> BorrowedFd<'_> {
        self.programs[direction.number() as usize & 1].as_fd()
    }

    fn run(&self) {
        while let Some(ifindex) = self.next() {
            for direction in Direction::ALL {
                let done = Attach::new(ifindex, direction, self.program(direction)).call(BPF_PROG_ATTACH);
                // It is there already, or the interface has just gone.
                if let Err(error) = unless(done, &[libc::EEXIST, libc::ENODEV]) {
                    tracing::info!(ifindex, %error, "an interface keeps the programs of the shared tc block, as its own hook takes none");
                }
            }
            thread::sleep(BREATH);
        }
    }

    /// The next interface, once nobody is being connected; none is left: the thread ends.
    fn next(&self) -> Option<u32> {
        loop {
            let mut queue = self.queue();
            let left = QUIET.saturating_sub(queue.last.elapsed());
            if queue.waiting.is_empty() || left.is_zero() {
                let next = queue.waiting.pop_front();
                queue.has_thread = next.is_some();
                return next;
            }
            drop(queue);
            thread::sleep(left);
        }
    }
}

/// `union bpf_attr` as both commands read it.
#[repr(C)]
struct Attach {
    ifindex: u32,
    program: u32,
    place: u32,
    flags: u32,
    former: u32,
    relative: u32,
    revision: u64,
}

impl Attach {
    fn new(ifindex: u32, direction: Direction, program: BorrowedFd<'_>) -> Self {
        let place = match direction {
            Direction::FromContainer => BPF_TCX_INGRESS,
            Direction::ToContainer => BPF_TCX_EGRESS,
        };
        Self { ifindex, program: program.as_raw_fd() as u32, place, flags: 0, former: 0, relative: 0, revision: 0 }
    }

    fn in_place_of(self, former: BorrowedFd<'_>) -> Self {
        Self { flags: BPF_F_REPLACE, former: former.as_raw_fd() as u32, ..self }
    }

    fn call(&self, command: libc::c_long) -> io::Result<()> {
        // SAFETY: the attribute has the layout of these two commands (`union bpf_attr`) and is only read; its descriptors are open through the call, as they are
        // borrowed by whoever made it.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(self), size_of::<Self>()) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// No error where it is one of these.
fn unless(done: io::Result<()>, errnos: &[i32]) -> io::Result<()> {
    match done {
        Err(error) if error.raw_os_error().is_some_and(|errno| errnos.contains(&errno)) => Ok(()),
        other => other,
    }
}
