//! The way to the reconciler: what it can be told, and a bounded queue. Never waits for room: a full queue is said at once.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use netd_api::{
    fault::{Code, Fault},
    message::{Reply, Request},
};
use tokio::sync::oneshot;

use super::Settings;
use crate::{kernel::News, observe::flows::RawFlow};

/// So many requests and notifications may wait. A request takes a few milliseconds at most, so the last one waits for some seconds.
const QUEUE: usize = 1024;

/// What the reconciler can be told.
#[derive(Debug)]
pub enum Event {
    /// Somebody asks for something.
    Ask(Ask),
    /// Somebody else changed something in the kernel that concerns us.
    KernelChanged(News),
    /// The settings were read anew.
    Reload(Settings),
    /// What was seen of flows, and how much of it was lost so far.
    Flows(SeenFlows),
    /// The daemon ends.
    Stop,
}

/// Records of flows, for nobody but the reconciler.
#[derive(Debug)]
pub struct SeenFlows {
    /// The records.
    pub(crate) records: Vec<RawFlow>,
    /// How many could not be told since the maps were made.
    pub(crate) lost: u64,
}

/// One request that waits for its reply.
#[derive(Debug)]
pub struct Ask {
    /// What is asked for.
    pub request: Request,
    /// Who asks.
    pub caller: Caller,
    /// Where the reply goes.
    pub answer: oneshot::Sender<Result<Reply, Fault>>,
}

/// Who is at the other end of a connection (SO_PEERCRED, unix(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub uid: u32,
    /// The process that connected; 0 where it is in a pid namespace that we do not see.
    pub pid: i32,
}

/// One end of the queue; as many as are needed.
#[derive(Debug, Clone)]
pub struct Asker {
    queue: SyncSender<Event>,
}

/// The queue to a reconciler: the end that asks, and the one that [`super::Reconciler::run`] works from.
pub fn queue() -> (Asker, Receiver<Event>) {
    let (queue, events) = sync_channel(QUEUE);
    (Asker { queue }, events)
}

impl Asker {
    /// Asks, and waits for the reply without blocking the thread. A request that is in the queue is carried out even if nobody waits any more.
    ///
    /// # Errors
    /// The reconciler's refusal, or that it cannot be asked.
    pub async fn ask(&self, request: Request, caller: Caller) -> Result<Reply, Fault> {
        let (answer, reply) = oneshot::channel();
        let ask = Ask { request, caller, answer };
        match self.queue.try_send(Event::Ask(ask)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                let what = format!("netd is busy: {QUEUE} requests are waiting");
                return Err(Fault::new(Code::Unavailable, what).hint("nothing was changed; ask again in a second"));
            }
            Err(TrySendError::Disconnected(_)) => {
                return Err(Fault::new(Code::Unavailable, "netd is stopping").hint("nothing was changed; ask again when it is back"));
            }
        }
        reply.await.unwrap_or_else(|_| {
            let fault = Fault::new(Code::Unavailable, "netd stopped before it answered");
            Err(fault.hint("look whether it was done when it is back"))
        })
    }

    /// Tells of something that happened. Gives false where the queue is full or its other end is gone: then a later look finds what it was.
    pub fn tell(&self, event: Event) -> bool {
        self.queue.try_send(event).is_ok()
    }

    /// Tells something that must arrive, waiting for room. Only for threads that may block.
    pub fn insist(&self, event: Event) -> bool {
        self.queue.send(event).is_ok()
    }
}
