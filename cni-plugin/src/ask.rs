//! One question to netd, in a bounded time: waits for a daemon that starts, never asks twice. Never reads a configuration.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use netd_api::{
    client::{Broken, Client, ClientError},
    cni::CniKey,
    message::{Reply, Request},
};

use crate::{
    config::Config,
    error::{CniError, During, of},
    queue::Queue,
};

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(25);
/// How long a DEL may take that makes up for a broken ADD: the runtime has waited already.
const AFTERTHOUGHT: Duration = Duration::from_secs(2);

/// netd, as a configuration names it.
pub struct Daemon {
    client: Client,
    hasty: Client,
    connect: Duration,
    queue: Queue,
}

impl Daemon {
    /// Connects only when asked.
    pub fn of(config: &Config) -> Self {
        Self {
            client: Client::at(&config.socket).patience(config.answer),
            hasty: Client::at(&config.socket).patience(config.answer.min(AFTERTHOUGHT)),
            connect: config.connect,
            queue: Queue::below(&config.run_dir),
        }
    }

    /// Asks at once.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn ask(&self, request: &Request) -> Result<Reply, ClientError> {
        self.client.send_within(request, self.connect)
    }

    /// Asks, and waits for a daemon that is about to listen, or to take connections.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn ask_patiently(&self, request: &Request) -> Result<Reply, ClientError> {
        let since = Instant::now();
        loop {
            match self.client.send_within(request, self.connect.saturating_sub(since.elapsed())) {
                Err(ClientError::Unreachable { cause, .. }) if comes_yet(&cause) && since.elapsed() < self.connect => {
                    thread::sleep(PAUSE);
                }
                answer => return answer,
            }
        }
    }

    /// ADD is whole or not at all: where the connection broke it may have been done, so it is taken back.
    ///
    /// # Errors
    /// ADD's; the second part says what became of taking it back, where that failed.
    pub fn add(&self, request: &Request, key: &CniKey) -> Result<Reply, (ClientError, Option<CniError>)> {
        match self.ask_patiently(request) {
            Err(error @ ClientError::Protocol { .. }) => {
                let undone = self.undo(key);
                Err((error, undone.err()))
            }
            Err(error) => Err((error, None)),
            Ok(reply) => {
                // A DEL that still waits is older than this: netd does what waits before it answers anybody.
                self.queue.strike(key);
                Ok(reply)
            }
        }
    }

    /// DEL after an ADD of which nobody knows what became.
    ///
    /// # Errors
    /// It could neither be done nor be queued.
    pub fn undo(&self, key: &CniKey) -> Result<(), CniError> {
        match self.hasty.send(&Request::CniDel(key.clone())) {
            Ok(_) => Ok(()),
            Err(_) => self.queue.put(key),
        }
    }

    /// DEL, now or when netd starts.
    ///
    /// # Errors
    /// netd refused or is silent, or the queue cannot be written.
    pub fn del(&self, key: &CniKey) -> Result<(), CniError> {
        let request = Request::CniDel(key.clone());
        match self.client.send_within(&request, self.connect) {
            Err(error) if is_gone(&error) => self.queue.put(key)?,
            answer => return self.settled(key, answer),
        }
        // It may have come meanwhile, and have looked into the queue before the file was there.
        match self.client.send_within(&request, self.connect) {
            Err(error) if is_gone(&error) => Ok(()),
            answer => self.settled(key, answer),
        }
    }

    fn settled(&self, key: &CniKey, answer: Result<Reply, ClientError>) -> Result<(), CniError> {
        answer.map_err(|error| of(&error, During::Removal))?;
        self.queue.strike(key);
        Ok(())
    }
}

/// No daemon is there, or it went while we spoke to it.
fn is_gone(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { cause, .. } => nobody_listens(cause),
        ClientError::Protocol { cause, .. } => matches!(cause, Broken::Ended | Broken::Io(_)),
        ClientError::Fault(_) => false,
    }
}

/// A full backlog is no reason to queue a DEL: who listens looks into the queue only when it starts.
fn comes_yet(cause: &io::Error) -> bool {
    nobody_listens(cause) || cause.kind() == io::ErrorKind::WouldBlock
}

fn nobody_listens(cause: &io::Error) -> bool {
    [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionReset].contains(&cause.kind())
}
