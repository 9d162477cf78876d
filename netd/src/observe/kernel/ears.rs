//! What the flows thread sleeps on: a bell that others ring, and the ring buffer. Never reads a record.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Where the ring buffer woke, others may have more to write: many records are one waking.
const BURST: Duration = Duration::from_millis(20);
/// Marks of both sources.
const BELL: u64 = 0;
const RING: u64 = 1;

/// Wakes the thread. Rung twice before it wakes, it wakes once.
#[derive(Clone)]
pub(crate) struct Bell(Arc<EventFd>);

impl Bell {
    /// A bell that is silent.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?)))
    }

    /// Rings.
    pub(crate) fn ring(&self) {
        // It can only be full, and then it has been rung.
        let _rung = self.0.write(1);
    }
}

/// Bell and ring buffer.
pub(crate) struct Ears {
    epoll: Epoll,
    bell: Bell,
}

impl Ears {
    /// Listens to both.
    pub(crate) fn new(bell: Bell, ring: BorrowedFd<'_>) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&*bell.0, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        // Edges only: programs wake for some records and let others wait, and whether there are any would be found at each look.
        epoll.add(ring, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, RING))?;
        Ok(Self { epoll, bell })
    }

    /// Sleeps until the bell is rung, or a program wakes for its record, or the time is over; without one for ever. The bell is silent afterwards.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map_or(EpollTimeout::NONE, |timeout| EpollTimeout::try_from(millis(timeout)).unwrap_or(EpollTimeout::MAX));
        let mut heard = [EpollEvent::empty(); 2];
        let count = match self.epoll.wait(&mut heard, timeout) {
            Ok(count) => count,
            Err(nix::Error::EINTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let is_rung = heard[..count].iter().any(|event| event.data() == BELL);
        if count > 0 && !is_rung {
            wait_for(self.bell.0.as_raw_fd(), BURST);
        }
        // Silent already is as good.
        let _silenced = self.bell.0.read();
        Ok(())
    }
}

/// Sleeps until there is something to read, or for so long.
fn wait_for(fd: RawFd, timeout: Duration) {
    let mut polled = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: `polled` is one pollfd that lives through the call. If it fails the thread goes on a little sooner.
    unsafe { libc::poll(&raw mut polled, 1, millis(timeout)) };
}

/// Rounded up: a millisecond too early would be a turn in vain.
fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_bell_that_was_rung_wakes_once_and_a_record_waits_for_others() {
        let (bell, ring) = (Bell::new().unwrap(), Bell::new().unwrap());
        let ears = Ears::new(bell.clone(), ring.0.as_fd()).unwrap();
        bell.ring();
        bell.ring();
        ears.wait(None).unwrap();
        let start = Instant::now();
        ears.wait(Some(Duration::from_millis(30))).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(30));
        ring.ring();
        let start = Instant::now();
        ears.wait(None).unwrap();
        assert!(start.elapsed() >= BURST);
    }
}
