//! Somebody who never tires of sending: a numbered datagram each moment, whether there is a way or not. Never listens.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{Station, eventually};

/// Between two datagrams.
const MOMENT: Duration = Duration::from_micros(500);

/// See the module; it ends when dropped.
#[derive(Debug)]
pub struct Insistence {
    what: String,
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Station {
    /// Sends to an address from now on, even before it has a way there.
    pub fn insists_on(&self, to: SocketAddr) -> Insistence {
        let any: IpAddr = if to.is_ipv4() { [0u8; 4].into() } else { [0u16; 8].into() };
        let socket = self.net().inside(|| UdpSocket::bind((any, 0))).unwrap_or_else(|why| panic!("{self} has no socket: {why}"));
        let (sent, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (sent, stop) = (sent.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let number = sent.load(Ordering::Relaxed);
                    sent.fetch_add(u64::from(socket.send_to(&number.to_be_bytes(), to).is_ok()), Ordering::Relaxed);
                    thread::sleep(MOMENT);
                }
            }
        });
        Insistence { what: format!("{self} sends to {to}"), sent, stop, thread: Some(thread) }
    }
}

impl Insistence {
    /// Waits until so many more were sent, as far as the sender can know.
    #[track_caller]
    pub fn goes_on_for(&self, count: u64) {
        let wanted = self.sent.load(Ordering::Relaxed) + count;
        eventually(&format!("{} {count} times", self.what), || (self.sent.load(Ordering::Relaxed) >= wanted).then_some(()));
    }
}

impl Drop for Insistence {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
