//! Request → method, path and body of HTTP. The daemon's table of routes is the other half; a test of the daemon's holds them together.

use std::fmt::Write as _;

use serde::Serialize;

use crate::{API_VERSION, flow::FlowQuery, message::Request};

/// A request as HTTP carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The method.
    pub method: &'static str,
    /// The path with the query, percent-encoded.
    pub path: String,
    /// The JSON text, where there is any.
    pub body: Option<Vec<u8>>,
}

impl Sent {
    /// The bytes on the wire (RFC 9112). Over a Unix socket a host has no name.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let body = self.body.as_deref().unwrap_or_default();
        let mut bytes = format!("{} {} HTTP/1.1\r\nhost: netd\r\n", self.method, self.path).into_bytes();
        if self.body.is_some() {
            bytes.extend(format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()).bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(body);
        bytes
    }
}

/// The way of each request.
pub fn sent(request: &Request) -> Sent {
    match request {
        Request::Status => get("status".to_owned()),
        Request::Networks => get("networks".to_owned()),
        Request::Network(name) => get(format!("networks/{}", encoded(name.as_str()))),
        Request::CreateNetwork(spec) => with("POST", "networks".to_owned(), spec),
        Request::RemoveNetwork(name) => bare("DELETE", format!("networks/{}", encoded(name.as_str()))),
        Request::PruneNetworks => bare("POST", "networks/prune".to_owned()),
        Request::Connect(container, spec) => with("POST", format!("containers/{}/attachments", encoded(container.as_str())), spec),
        Request::Disconnect(container, network, ifname) => {
            let path = format!("containers/{}/attachments/{}", encoded(container.as_str()), encoded(network.as_str()));
            bare("DELETE", path + &query("ifname", ifname.as_ref()))
        }
        Request::Containers => get("containers".to_owned()),
        Request::Container(name) => get(format!("containers/{}", encoded(name.as_str()))),
        Request::CreateContainer(spec) => with("POST", "containers".to_owned(), spec),
        Request::ChangeContainer(name, change) => with("PATCH", format!("containers/{}", encoded(name.as_str())), change),
        Request::RemoveContainer(name) => bare("DELETE", format!("containers/{}", encoded(name.as_str()))),
        Request::Ports(container) => get("ports".to_owned() + &query("container", container.as_ref())),
        Request::Publish(name, spec) => with("POST", format!("containers/{}/ports", encoded(name.as_str())), spec),
        Request::Unpublish(name, spec) => {
            bare("DELETE", format!("containers/{}/ports", encoded(name.as_str())) + &query("publish", spec.as_ref()))
        }
        Request::CniAdd(add) => with("POST", "cni/add".to_owned(), add),
        Request::CniDel(key) => with("POST", "cni/del".to_owned(), key),
        Request::CniCheck(check) => with("POST", "cni/check".to_owned(), check),
        Request::CniStatus(status) => with("POST", "cni/status".to_owned(), status),
        Request::CniGc(gc) => with("POST", "cni/gc".to_owned(), gc),
        Request::Policies => get("policies".to_owned()),
        Request::ApplyPolicies(files) => with("POST", "policies".to_owned(), files),
        Request::Policy(name) => get("policy".to_owned() + &query("name", Some(name))),
        Request::RemovePolicy(name) => bare("DELETE", "policy".to_owned() + &query("name", Some(name))),
        Request::Advise(name) => get(format!("containers/{}/advice", encoded(name.as_str()))),
        Request::Flows(meant) => get("flows".to_owned() + &flows(meant)),
        Request::Plan => get("plan".to_owned()),
        Request::Cleanup => bare("POST", "cleanup".to_owned()),
    }
}

fn get(path: String) -> Sent {
    bare("GET", path)
}

#[expect(clippy::needless_pass_by_value, reason = "every caller has just made it")]
fn bare(method: &'static str, path: String) -> Sent {
    Sent { method, path: format!("/{API_VERSION}/{path}"), body: None }
}

fn with(method: &'static str, path: String, body: &impl Serialize) -> Sent {
    Sent { body: Some(serde_json::to_vec(body).expect("our own types have text keys and no failing fields")), ..bare(method, path) }
}

fn query(key: &str, value: Option<&impl ToString>) -> String {
    value.map_or_else(String::new, |value| format!("?{key}={}", encoded(&value.to_string())))
}

/// The words of a question for flows.
fn flows(meant: &FlowQuery) -> String {
    let FlowQuery { container, verdict, since, after } = meant;
    let words = [
        query("container", container.as_ref()),
        query("verdict", verdict.as_ref()),
        query("since", since.as_ref()),
        query("after", after.as_ref()),
    ];
    // Each word begins with the question mark of a first one.
    words.concat().replace('?', "&").replacen('&', "?", 1)
}

/// Everything but the unreserved characters of RFC 3986, section 2.3, as `%XX`.
fn encoded(text: &str) -> String {
    let mut path = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            write!(path, "%{byte:02X}").expect("a String takes every write");
        }
    }
    path
}
