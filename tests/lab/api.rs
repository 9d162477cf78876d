//! Asking netd through its API, by the client that netctl uses, and by bytes of a story's own. Never through anything else.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use netd_api::{
    client::{Client, ClientError},
    fault::Fault,
    message::{Reply, Request},
    view::{Cleanup, Status},
};
use serde_json::Value;

use crate::{Lab, wait::PATIENCE};

impl Lab {
    /// A client of the daemon.
    pub fn api(&self) -> Client {
        Client::at(self.netd().socket())
    }

    /// Asks for something; a refusal is an answer, no answer is a panic.
    #[track_caller]
    pub fn asks(&self, request: &Request) -> Result<Reply, Fault> {
        match self.api().send(request) {
            Ok(reply) => Ok(reply),
            Err(ClientError::Fault(fault)) => Err(fault),
            Err(why) => panic!("netd did not answer {request:?}: {why}\n{}", self.netd().log()),
        }
    }

    /// Asks for something that must be done.
    #[track_caller]
    pub fn done(&self, request: &Request) -> Reply {
        self.asks(request).unwrap_or_else(|fault| panic!("{request:?} was refused: {} ({:?}; {})", fault.what, fault.code, fault.hint))
    }

    /// Asks for something that must be refused.
    #[track_caller]
    pub fn refused(&self, request: &Request) -> Fault {
        match self.asks(request) {
            Err(fault) => fault,
            Ok(reply) => panic!("{request:?} should have been refused, but: {reply:?}"),
        }
    }

    /// How the daemon is.
    #[track_caller]
    pub fn status(&self) -> Status {
        match self.done(&Request::Status) {
            Reply::Status(status) => *status,
            other => panic!("a status was asked for, not {other:?}"),
        }
    }

    /// What netd would mend now.
    #[track_caller]
    pub fn plan(&self) -> Vec<String> {
        match self.done(&Request::Plan) {
            Reply::Plan(plan) => plan.ops,
            other => panic!("a plan was asked for, not {other:?}"),
        }
    }

    /// Removes networks without containers, and tells which.
    #[track_caller]
    pub fn prunes(&self) -> Vec<String> {
        match self.done(&Request::PruneNetworks) {
            Reply::Networks(networks) => networks.iter().map(|network| network.name.to_string()).collect(),
            other => panic!("networks were asked for, not {other:?}"),
        }
    }

    /// Has netd forget and remove everything.
    #[track_caller]
    pub fn cleanup(&self) -> Cleanup {
        match self.done(&Request::Cleanup) {
            Reply::Cleanup(cleanup) => cleanup,
            other => panic!("a cleanup was asked for, not {other:?}"),
        }
    }

    /// Sends bytes as they are, and no more after them; gives what came back until the daemon hung up.
    #[track_caller]
    pub fn sends(&self, bytes: &[u8]) -> String {
        self.exchanges(bytes, true)
    }

    #[track_caller]
    fn exchanges(&self, bytes: &[u8], hang_up: bool) -> String {
        let mut stream = UnixStream::connect(self.netd().socket()).expect("netd listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket has a timeout");
        // The daemon may hang up before all of a bad request is sent.
        let _ = stream.write_all(bytes);
        if hang_up {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// `GET` of a path, as a stranger's program would send it: status and JSON.
    #[track_caller]
    pub fn gets(&self, path: &str) -> (u16, Value) {
        self.speaks(&format!("GET {path} HTTP/1.1\r\nhost: netd\r\nconnection: close\r\n\r\n"))
    }

    /// `POST` of a body to a path, as a stranger's program would send it: status and JSON.
    #[track_caller]
    pub fn posts(&self, path: &str, body: &str) -> (u16, Value) {
        let head = format!("POST {path} HTTP/1.1\r\nhost: netd\r\nconnection: close\r\ncontent-type: application/json\r\n");
        self.speaks(&format!("{head}content-length: {}\r\n\r\n{body}", body.len()))
    }

    /// `POST` of what must be refused with this code, and words that hold `says`.
    #[track_caller]
    pub fn posts_in_vain(&self, path: &str, body: &str, code: &str, says: &str) {
        let (status, fault) = self.posts(path, body);
        let what = fault["what"].as_str().unwrap_or_default();
        assert!(
            (400..500).contains(&status) && fault["code"] == code && what.contains(says),
            "POST {path} {body:.200}: {status} {fault}, not {code} with {says:?}"
        );
    }

    #[track_caller]
    fn speaks(&self, request: &str) -> (u16, Value) {
        let answer = self.exchanges(request.as_bytes(), false);
        let status = answer.split_whitespace().nth(1).and_then(|status| status.parse().ok());
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        let body = serde_json::from_str(body).unwrap_or_else(|why| panic!("no JSON ({why}) came back: {answer:.500}"));
        (status.unwrap_or(0), body)
    }
}
