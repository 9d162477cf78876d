//! A blocking client over the daemon's Unix socket: one request, one answer, on a connection that is kept. Starts no thread and no runtime, and
//! never sends a request twice.

mod answer;
mod path;

use std::{
    cell::RefCell,
    io::{self, Read as _, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::de::DeserializeOwned;
use socket2::{Domain, SockAddr, Socket, Type};

pub use self::{
    answer::{Answer, Broken, read_answer},
    path::{Sent, sent},
};
use crate::{
    fault::Fault,
    message::{Reply, Request},
};

/// How long an answer may take. The longest, a cleanup with a thousand containers, needs some 20 seconds: the kernel deletes 50 links in one.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// No timeout is shorter.
const SHORTEST: Duration = Duration::from_millis(1);

/// Talks to one daemon. Keeps its connection from one request to the next.
pub struct Client {
    socket: PathBuf,
    patience: Duration,
    kept: RefCell<Option<UnixStream>>,
}

/// Why a request has no reply.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket, whoever does takes no connection, or the user may not connect.
    #[error("cannot reach netd at {socket}", socket = .socket.display())]
    Unreachable {
        /// Where it should listen.
        socket: PathBuf,
        /// Why it cannot be reached.
        #[source]
        cause: io::Error,
    },
    /// The daemon refused, or failed.
    #[error(transparent)]
    Fault(Fault),
    /// What came back is no answer: the daemon died meanwhile, was silent for too long, or is none.
    #[error("cannot read netd's answer from {socket}", socket = .socket.display())]
    Protocol {
        /// Where it listens.
        socket: PathBuf,
        /// What is wrong with the answer.
        #[source]
        cause: Broken,
    },
}

impl ClientError {
    /// What to do now; empty where nothing helps.
    pub fn hint(&self) -> &str {
        match self {
            Self::Unreachable { cause, .. } if cause.kind() == io::ErrorKind::PermissionDenied => {
                "run it as root, or as a member of the group netd"
            }
            Self::Unreachable { cause, .. } if cause.kind() == io::ErrorKind::WouldBlock => {
                "it has too many connections that it has not taken yet: try again, and see netd's log (journalctl -u netd)"
            }
            Self::Unreachable { .. } => "start it (systemctl start netd), or name its socket (--socket, NETD_SOCKET)",
            Self::Fault(fault) => &fault.hint,
            Self::Protocol { .. } => "see netd's log (journalctl -u netd), then look whether it was done",
        }
    }
}

impl Client {
    /// A client of the daemon that listens at `socket`. Connects with the first request.
    pub fn at(socket: impl AsRef<Path>) -> Self {
        Self { socket: socket.as_ref().to_owned(), patience: PATIENCE, kept: RefCell::new(None) }
    }

    /// The same, waiting so long for the connection, and for each read and write.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Asks, and waits for the reply.
    ///
    /// # Errors
    /// See [`ClientError`]. After `Protocol` it is not known whether the request was carried out.
    pub fn send(&self, request: &Request) -> Result<Reply, ClientError> {
        self.send_within(request, self.patience)
    }

    /// The same, waiting only so long for the connection.
    ///
    /// # Errors
    /// See [`ClientError`]. After `Unreachable` it was not carried out; its cause is `WouldBlock` where a daemon listens and took no connection.
    pub fn send_within(&self, request: &Request, connecting: Duration) -> Result<Reply, ClientError> {
        let answer = self.exchange(&sent(request), connecting)?;
        if (200..300).contains(&answer.status) {
            reply(request, &answer).map_err(|cause| self.broken(cause))
        } else {
            match serde_json::from_slice(&answer.body) {
                Ok(fault) => Err(ClientError::Fault(fault)),
                Err(_) => Err(self.broken(Broken::Status(answer.status))),
            }
        }
    }

    /// The daemon's description of its interface, as JSON text (`GET /v1/openapi.json`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn openapi(&self) -> Result<String, ClientError> {
        let answer =
            self.exchange(&Sent { method: "GET", path: format!("/{}/openapi.json", crate::API_VERSION), body: None }, self.patience)?;
        match String::from_utf8(answer.body) {
            Ok(text) if answer.status == 200 => Ok(text),
            _ => Err(self.broken(Broken::Status(answer.status))),
        }
    }

    fn exchange(&self, sent: &Sent, connecting: Duration) -> Result<Answer, ClientError> {
        let mut stream = match self.kept.take() {
            Some(kept) if is_quiet(&kept) => kept,
            _ => self.connect(connecting)?,
        };
        let answer = stream
            .write_all(&sent.bytes())
            .map_err(Broken::Io)
            // A daemon that refuses a request before it has read all of it answers and hangs up: its answer is worth more than our EPIPE.
            .or_else(|why| if matches!(&why, Broken::Io(why) if why.kind() == io::ErrorKind::BrokenPipe) { Ok(()) } else { Err(why) })
            .and_then(|()| read_answer(&mut stream))
            .map_err(|cause| self.broken(cause))?;
        if answer.keep {
            self.kept.replace(Some(stream));
        }
        Ok(answer)
    }

    fn connect(&self, within: Duration) -> Result<UnixStream, ClientError> {
        connected(&self.socket, within)
            .and_then(|stream| {
                stream.set_read_timeout(Some(self.patience))?;
                stream.set_write_timeout(Some(self.patience))?;
                Ok(stream)
            })
            .map_err(|cause| ClientError::Unreachable { socket: self.socket.clone(), cause })
    }

    fn broken(&self, cause: Broken) -> ClientError {
        ClientError::Protocol { socket: self.socket.clone(), cause }
    }
}

/// Where the listener's backlog is full connect(2) waits for room as long as a write may take, by default for ever (SO_SNDTIMEO, socket(7)); std can
/// only set that on a socket that is connected.
fn connected(path: &Path, within: Duration) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A timeout of nothing means none at all to the kernel.
    socket.set_write_timeout(Some(within.max(SHORTEST)))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(OwnedFd::from(socket).into())
}

/// Whether a kept connection is still there and nothing unasked has come over it. So a daemon that restarted is noticed before a request is lost.
fn is_quiet(kept: &UnixStream) -> bool {
    let mut byte = [0];
    kept.set_nonblocking(true).is_ok()
        && matches!((&*kept).read(&mut byte), Err(why) if why.kind() == io::ErrorKind::WouldBlock)
        && kept.set_nonblocking(false).is_ok()
}

/// What an answer means depends on what was asked.
fn reply(request: &Request, answer: &Answer) -> Result<Reply, Broken> {
    Ok(match request {
        Request::Status => Reply::Status(json(answer)?),
        Request::Networks | Request::PruneNetworks => Reply::Networks(json(answer)?),
        Request::Network(_) | Request::CreateNetwork(_) => Reply::Network(json(answer)?),
        Request::Containers => Reply::Containers(json(answer)?),
        Request::Container(_)
        | Request::CreateContainer(_)
        | Request::ChangeContainer(..)
        | Request::Connect(..)
        | Request::Disconnect(..) => Reply::Container(json(answer)?),
        Request::Ports(_) | Request::Publish(..) | Request::Unpublish(..) => Reply::Ports(json(answer)?),
        Request::CniAdd(_) => Reply::CniAdded(json(answer)?),
        Request::CniCheck(_) => Reply::CniChecked(json(answer)?),
        Request::CniStatus(_) => Reply::CniReadiness(json(answer)?),
        Request::CniGc(_) => Reply::CniCollected(json(answer)?),
        Request::Policies => Reply::Policies(json(answer)?),
        Request::ApplyPolicies(_) => Reply::PoliciesApplied(json(answer)?),
        Request::Policy(_) => Reply::Policy(json(answer)?),
        Request::Advise(_) => Reply::Advice(json(answer)?),
        Request::Flows(_) => Reply::Flows(json(answer)?),
        Request::Plan => Reply::Plan(json(answer)?),
        Request::Cleanup => Reply::Cleanup(json(answer)?),
        Request::RemoveNetwork(_) | Request::RemoveContainer(_) | Request::RemovePolicy(_) | Request::CniDel(_) => Reply::Removed,
    })
}

fn json<T: DeserializeOwned>(answer: &Answer) -> Result<T, Broken> {
    serde_json::from_slice(&answer.body).map_err(Broken::Json)
}

#[cfg(test)]
mod tests;
