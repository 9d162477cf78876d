//! The API: HTTP/1.1 with JSON on a Unix socket. Knows who asks and in what form; what is asked goes to the reconciler.
//!
//! Every request gets an answer: limits, time-outs and a full queue are faults like any other. Never touches the kernel or the state.

mod answer;
mod connection;
mod given;
mod openapi;
mod routes;
pub mod socket;

use std::{io, sync::Arc, time::Duration};

use netd_api::fault::{Code, Fault};
use tokio::{net::UnixListener, sync::Semaphore, task::JoinSet, time::sleep};
use tracing::warn;

use crate::{drain::Drain, reconciler::Asker};

/// What a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a body: a container with 10,000 published ports fits. Policy files may have more (`netd_api::policy::FILES_MOST`).
    pub body: usize,
    /// For the head of a request to come, counted from the one before; and as long again for its body.
    pub patience: Duration,
    /// Connections at once. Each has one of the process's file descriptors, of which published ports need theirs.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 1 << 20, patience: Duration::from_secs(10), connections: 1024 }
    }
}

/// Serves until the drain begins, then finishes what was begun.
pub async fn serve(listener: UnixListener, asker: Asker, limits: Limits, mut drain: Drain) {
    let router = answer::router(&asker, limits);
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = drain.begun() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(why) => {
                    pause_after(&why).await;
                    continue;
                }
            },
        };
        // Those that have ended leave their results; they are none.
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            connections.spawn(connection::turn_away(stream, limits.patience));
            continue;
        };
        let serving = connection::serve(stream, router.clone(), limits.patience, drain.clone());
        connections.spawn(async move {
            serving.await;
            drop(place);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// A client that gave up while it waited (ECONNABORTED) needs nothing; without descriptors (EMFILE) the next try would fail at once, too.
async fn pause_after(why: &io::Error) {
    if why.kind() != io::ErrorKind::ConnectionAborted {
        warn!(%why, "could not accept a connection to the API");
        sleep(Duration::from_millis(100)).await;
    }
}

fn too_many_connections() -> Fault {
    Fault::new(Code::Unavailable, "netd is busy: too many connections are open").hint("nothing was changed; ask again in a second")
}

#[cfg(test)]
mod tests;
