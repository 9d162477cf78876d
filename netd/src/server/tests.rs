//! Tests of the API on a real socket, with a reconciler that is played by a thread.

mod document;
mod faults;

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use netd_api::{
    client::Client,
    message::{Reply, Request},
    view::PlanView,
};
use tempfile::TempDir;
use tokio::net::UnixListener;

use super::*;
use crate::{
    drain::{Stopper, drain},
    reconciler::{
        Event,
        ask::{Ask, queue},
    },
};

/// A server on a socket of its own, until it is dropped.
struct Api {
    directory: TempDir,
    stopper: Stopper,
    server: Option<JoinHandle<()>>,
    reconciler: Option<JoinHandle<()>>,
}

/// Short, so that the tests of silence are.
const IMPATIENT: Limits = Limits { body: 1000, patience: Duration::from_millis(200), connections: 1024 };

impl Api {
    /// One whose reconciler does this with each request.
    fn answering(limits: Limits, answer: impl FnMut(Ask) + Send + 'static) -> Self {
        let (asker, events) = queue();
        let mut api = Self::asking(limits, asker);
        api.reconciler = Some(play(events, answer));
        api
    }

    /// One that hands requests to this queue.
    fn asking(limits: Limits, asker: crate::reconciler::Asker) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let listener = socket::listen(&directory.path().join("netd.sock")).expect("it is new");
        let (stopper, drain) = drain();
        let server = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
            runtime.block_on(async {
                serve(UnixListener::from_std(listener).expect("it polls"), asker, limits, drain).await;
            });
        });
        Self { directory, stopper, server: Some(server), reconciler: None }
    }

    /// One that always has nothing to do.
    fn idle(limits: Limits) -> Self {
        Self::answering(limits, |ask| {
            let _gone = ask.answer.send(Ok(nothing()));
        })
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("netd.sock")
    }

    fn client(&self) -> Client {
        Client::at(self.socket())
    }

    fn connect(&self) -> UnixStream {
        connect(&self.socket())
    }

    /// Sends these bytes and gives what comes back until the server hangs up.
    fn hears(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // A server that refuses the beginning does not read the rest.
        let _refused = stream.write_all(bytes);
        rest(&mut stream)
    }

    /// Asks by hand; gives the status, and the fault or what else the body is.
    fn asks(&self, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
        let length = body.len();
        let answer = self.hears(
            format!("{method} {path} HTTP/1.1\r\nhost: netd\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes(),
        );
        told(&answer)
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.stopper.stop();
        for thread in [self.server.take(), self.reconciler.take()].into_iter().flatten() {
            let ended = thread.join();
            if !thread::panicking() {
                ended.expect("no thread panicked");
            }
        }
    }
}

/// A thread that does this with each request until nobody can ask any more.
fn play(events: Receiver<Event>, mut answer: impl FnMut(Ask) + Send + 'static) -> JoinHandle<()> {
    thread::spawn(move || {
        for event in events {
            if let Event::Ask(ask) = event {
                answer(ask);
            }
        }
    })
}

fn nothing() -> Reply {
    Reply::Plan(PlanView { ops: Vec::new() })
}

fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket has a timeout");
    stream
}

fn rest(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    // The end may be a reset, where the server did not read all.
    let _reset = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[track_caller]
fn told(answer: &str) -> (u16, serde_json::Value) {
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let body =
        if body.is_empty() { serde_json::Value::Null } else { serde_json::from_str(body).unwrap_or_else(|why| panic!("{why}: {answer}")) };
    (status.unwrap_or_else(|| panic!("no status: {answer:?}")), body)
}

#[test]
fn two_hundred_clients_at_once_are_all_answered() {
    let (go, gate): (Sender<()>, _) = channel();
    let mut asked = 0;
    let api = Api::answering(Limits::default(), move |ask| {
        asked += 1;
        if asked == 1 {
            gate.recv().expect("the test opens the gate");
        }
        let _gone = ask.answer.send(Ok(nothing()));
    });
    let clients: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = api.connect();
            stream.write_all(b"GET /v1/plan HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("it reads");
            stream
        })
        .collect();
    go.send(()).expect("the reconciler waits");
    for mut client in clients {
        assert_eq!(told(&rest(&mut client)).0, 200);
    }
}

#[test]
fn many_requests_go_over_one_connection() {
    let api = Api::idle(Limits::default());
    let mut stream = api.connect();
    for _ in 0..3 {
        stream.write_all(b"GET /v1/plan HTTP/1.1\r\nhost: x\r\n\r\n").expect("it reads");
        let answer = netd_api::client::read_answer(&mut stream).expect("it answers");
        assert_eq!((answer.status, answer.keep, answer.body), (200, true, b"{\"ops\":[]}".to_vec()));
    }
}

#[test]
fn the_reconciler_hears_who_asks() {
    let (tell, heard) = channel();
    let api = Api::answering(Limits::default(), move |ask| {
        tell.send((ask.caller, ask.request)).expect("the test listens");
        let _gone = ask.answer.send(Ok(nothing()));
    });
    api.client().send(&Request::Plan).expect("it answers");
    let (caller, request) = heard.recv().expect("it was asked");
    assert_eq!((caller.pid, request), (std::process::id().cast_signed(), Request::Plan));
}

#[test]
fn what_was_begun_is_answered_before_the_server_ends() {
    let (asked, hear) = channel();
    let (go, gate) = channel();
    let api = Api::answering(Limits::default(), move |ask| {
        asked.send(()).expect("the test listens");
        gate.recv().expect("the test opens the gate");
        let _gone = ask.answer.send(Ok(nothing()));
    });
    let idle = api.connect();
    let client = api.client();
    let waits = thread::spawn(move || client.send(&Request::Plan));
    hear.recv().expect("it was asked");
    api.stopper.stop();
    go.send(()).expect("the reconciler waits");
    assert_eq!(waits.join().expect("it does not panic").expect("it is answered"), nothing());
    drop(api);
    drop(idle);
}

#[test]
fn a_client_that_does_not_wait_harms_nobody() {
    let api = Api::idle(Limits::default());
    for _ in 0..20 {
        let mut stream = api.connect();
        stream.write_all(b"GET /v1/plan HTTP/1.1\r\nhost: x\r\n\r\n").expect("it reads");
    }
    assert_eq!(api.client().send(&Request::Plan).expect("it answers"), nothing());
}
