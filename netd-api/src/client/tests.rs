//! Tests of the client: paths, answers cut anywhere, a daemon that is played by a thread.

use std::{
    io::{self, Read, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    thread,
    time::Duration,
};

use proptest::prelude::*;

use super::*;
use crate::{
    fault::Code,
    flow::{FlowQuery, FlowsView},
    policy::{FlowVerdict, PolicyChange, PolicyFile, PolicyFiles},
    publish::PublishSpec,
    spec::{AttachSpec, ContainerSpec},
    view::PlanView,
};

fn path(request: &Request) -> String {
    let sent = sent(request);
    format!("{} {}", sent.method, sent.path)
}

#[test]
fn a_display_name_with_a_slash_is_one_part_of_the_path() {
    let name = "prod/web-1".parse().expect("a good name");
    assert_eq!(path(&Request::Container(name)), "GET /v1/containers/prod%2Fweb-1");
}

#[test]
fn a_publish_to_withdraw_stands_in_the_query() {
    let spec: PublishSpec = "[fd00::1]:8080:80".parse().expect("a good publish");
    let request = Request::Unpublish("web".parse().expect("a good name"), Some(spec));
    assert_eq!(path(&request), "DELETE /v1/containers/web/ports?publish=%5Bfd00%3A%3A1%5D%3A8080%3A80%2Ftcp");
    let request = Request::Unpublish("web".parse().expect("a good name"), None);
    assert_eq!(path(&request), "DELETE /v1/containers/web/ports");
}

#[test]
fn a_policy_s_name_stands_in_the_query_for_its_slash() {
    let name = || "shop/db.v1".parse().expect("a good name");
    assert_eq!(path(&Request::Policies), "GET /v1/policies");
    assert_eq!(path(&Request::Policy(name())), "GET /v1/policy?name=shop%2Fdb.v1");
    assert_eq!(path(&Request::RemovePolicy(name())), "DELETE /v1/policy?name=shop%2Fdb.v1");
    assert_eq!(path(&Request::Advise("prod/web".parse().expect("a good name"))), "GET /v1/containers/prod%2Fweb/advice");
    let files = PolicyFiles {
        files: vec![PolicyFile { name: "-".to_owned(), text: "kind: List\n".to_owned() }],
        skip_other_kinds: false,
        dry_run: true,
    };
    let request = Request::ApplyPolicies(Box::new(files.clone()));
    assert_eq!(path(&request), "POST /v1/policies");
    assert_eq!(serde_json::from_slice::<PolicyFiles>(&sent(&request).body.expect("it has one")).expect("it is JSON"), files);
}

#[test]
fn a_question_for_flows_has_the_words_that_were_given_and_no_more() {
    assert_eq!(path(&Request::Flows(FlowQuery::default())), "GET /v1/flows");
    let of = |container: &str| container.parse().ok();
    assert_eq!(path(&Request::Flows(FlowQuery { after: Some(7), ..FlowQuery::default() })), "GET /v1/flows?after=7");
    assert_eq!(
        path(&Request::Flows(FlowQuery { container: of("web"), since: Some(0), ..FlowQuery::default() })),
        "GET /v1/flows?container=web&since=0"
    );
    let all = FlowQuery { container: of("prod/web"), verdict: Some(FlowVerdict::Drop), since: Some(1_796_000_000), after: Some(u64::MAX) };
    assert_eq!(path(&Request::Flows(all)), "GET /v1/flows?container=prod%2Fweb&verdict=drop&since=1796000000&after=18446744073709551615");
}

#[test]
fn an_answer_is_read_as_what_was_asked_for() {
    let answer = |body: &str| Answer { status: 200, body: body.as_bytes().to_vec(), keep: true };
    let flows = r#"{"flows": [], "last": 3, "lost": 2, "forgotten": 1}"#;
    let read = reply(&Request::Flows(FlowQuery::default()), &answer(flows)).expect("it fits");
    assert_eq!(read, Reply::Flows(Box::new(FlowsView { flows: Vec::new(), last: 3, lost: 2, forgotten: 1 })));
    let applied = r#"{"policies": [{"name": "a/b", "change": "created", "selects": ["web"]}], "namespaces": ["a"]}"#;
    let files = PolicyFiles { files: Vec::new(), skip_other_kinds: false, dry_run: false };
    let Ok(Reply::PoliciesApplied(read)) = reply(&Request::ApplyPolicies(Box::new(files)), &answer(applied)) else {
        panic!("it does not fit");
    };
    assert_eq!((read.policies[0].change, read.changed_flows.len(), read.judged_flows), (PolicyChange::Created, 0, 0));
    assert_eq!(reply(&Request::RemovePolicy("a/b".parse().expect("good")), &answer("")).expect("it is empty"), Reply::Removed);
    let advice = r#"{"policy": "kind: NetworkPolicy\n", "flows": 4, "notes": []}"#;
    let read = reply(&Request::Advise("web".parse().expect("good")), &answer(advice)).expect("it fits");
    assert!(matches!(read, Reply::Advice(advice) if advice.flows == 4));
    assert!(reply(&Request::Policies, &answer(flows)).is_err(), "it is no list");
}

#[test]
fn a_body_is_json_and_comes_with_its_length() {
    let spec = AttachSpec::to("lan".parse().expect("a good name"));
    let sent = sent(&Request::Connect("web".parse().expect("a good name"), spec.clone()));
    let body = sent.body.clone().expect("it has one");
    assert_eq!(serde_json::from_slice::<AttachSpec>(&body).expect("it is JSON"), spec);
    let text = String::from_utf8(sent.bytes()).expect("it is text");
    assert!(text.starts_with("POST /v1/containers/web/attachments HTTP/1.1\r\n"), "{text}");
    assert!(text.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{text}");
}

/// Gives the bytes in pieces of one size, as a slow network might.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(self.0.len()).min(buffer.len());
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

const WITH_LENGTH: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello";
const IN_CHUNKS: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;note=x\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer: 1\r\n\r\n";
const TO_THE_END: &[u8] = b"HTTP/1.0 200 OK\r\n\r\nhello";

#[test]
fn an_answer_is_the_same_however_it_is_cut() {
    for (bytes, status, keep) in [(WITH_LENGTH, 201, true), (IN_CHUNKS, 200, true), (TO_THE_END, 200, false)] {
        for size in 1..=bytes.len() {
            let answer = read_answer(&mut Pieces(bytes, size)).expect("it is whole");
            assert_eq!((answer.status, answer.body.as_slice(), answer.keep), (status, b"hello".as_slice(), keep), "in pieces of {size}");
        }
    }
}

#[test]
fn an_answer_that_ends_early_is_no_answer() {
    for bytes in [WITH_LENGTH, IN_CHUNKS] {
        for end in 0..bytes.len() {
            let cut = read_answer(&mut Pieces(&bytes[..end], 7));
            assert!(matches!(cut, Err(Broken::Ended)), "cut at {end}: {cut:?}");
        }
    }
}

#[test]
fn an_answer_that_contradicts_itself_is_refused() {
    let refused = |bytes: &[u8]| read_answer(&mut Pieces(bytes, 4096)).expect_err("it is bad").to_string();
    assert_eq!(refused(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), "it is not HTTP: two lengths");
    assert_eq!(refused(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), "it is not HTTP: a length that is no number");
    assert_eq!(refused(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"), "it is not HTTP: an unknown transfer encoding");
    assert_eq!(refused(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "it is not HTTP: a chunk without its size");
    assert_eq!(
        refused(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n"),
        "it is not HTTP: a chunk longer than its size"
    );
    assert_eq!(refused(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"), "it is too large");
    assert_eq!(refused(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"), "it is too large");
    assert_eq!(refused(b"SSH-2.0-OpenSSH\r\n"), "it is not HTTP: a malformed head");
}

#[test]
fn bytes_behind_an_answer_cost_the_connection() {
    let answer = read_answer(&mut Pieces(b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n", 4096)).expect("the first is whole");
    assert!(!answer.keep);
}

#[test]
fn what_comes_before_the_answer_is_passed_over() {
    let answer = read_answer(&mut Pieces(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 3)).expect("it is whole");
    assert_eq!((answer.status, answer.keep), (204, true));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in 1usize..64) {
        let _ = read_answer(&mut Pieces(&bytes, size));
    }

    #[test]
    fn no_bytes_behind_a_good_head_make_it_panic(head in 0usize..2, bytes in "[0-9a-f;\r\n]{0,60}", size in 1usize..64) {
        let head = ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: "][head];
        let _ = read_answer(&mut Pieces([head, &bytes].concat().as_bytes(), size));
    }

    #[test]
    fn names_survive_the_path(name in "[ -~]{1,40}") {
        let path = sent(&Request::Ports("web".parse().ok())).path;
        prop_assert_eq!(path, "/v1/ports?container=web");
        if let Ok(name) = name.parse() {
            let path = sent(&Request::Container(name)).path;
            prop_assert!(path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/%-._~".contains(&b)), "{}", path);
            prop_assert_eq!(path.matches('/').count(), 3);
        }
    }
}

/// A socket where a thread answers: one list of answers for each connection, then it hangs up.
struct Daemon {
    socket: PathBuf,
    thread: Option<thread::JoinHandle<()>>,
}

impl Daemon {
    fn answering(name: &str, connections: &'static [&'static [&'static str]]) -> Self {
        let socket = std::env::temp_dir().join(format!("netd-client-{name}-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).expect("the temporary directory takes a socket");
        let thread = thread::spawn(move || {
            for answers in connections {
                let (mut stream, _) = listener.accept().expect("a client comes");
                for answer in *answers {
                    request(&mut stream);
                    stream.write_all(answer.as_bytes()).expect("the client listens");
                }
            }
        });
        Self { socket, thread: Some(thread) }
    }

    fn client(&self) -> Client {
        Client::at(&self.socket).patience(Duration::from_secs(20))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.thread.take().expect("it was started").join();
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn request(stream: &mut UnixStream) {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a whole request comes");
        seen.push(byte[0]);
    }
}

const NO_PLAN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"ops\":[]}";
const REFUSAL: &str = "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n\
    {\"code\":\"not_found\",\"what\":\"there is no container web\",\"hint\":\"look\"}";
const EMPTY: Reply = Reply::Plan(PlanView { ops: Vec::new() });

#[test]
fn a_connection_is_kept_and_a_lost_one_is_made_anew_before_anything_is_sent() {
    let daemon = Daemon::answering("kept", &[&[NO_PLAN, NO_PLAN], &[NO_PLAN]]);
    let client = daemon.client();
    for _ in 0..2 {
        assert_eq!(client.send(&Request::Plan).expect("it answers"), EMPTY);
    }
    // The daemon hangs up after the second answer; wait until that has arrived.
    let kept = client.kept.take().expect("it was kept");
    assert_eq!((&kept).read(&mut [0]).expect("it ends"), 0);
    client.kept.replace(Some(kept));
    assert_eq!(client.send(&Request::Plan).expect("it answers again"), EMPTY);
}

#[test]
fn a_refusal_comes_with_its_code_and_hint() {
    let daemon = Daemon::answering("fault", &[&[REFUSAL]]);
    let why = daemon.client().send(&Request::Container("web".parse().expect("a good name"))).expect_err("it was refused");
    assert_eq!((why.to_string().as_str(), why.hint()), ("there is no container web", "look"));
    assert!(matches!(why, ClientError::Fault(fault) if fault.code == Code::NotFound));
}

#[test]
fn a_daemon_that_dies_while_it_answers_is_a_protocol_error() {
    let daemon = Daemon::answering("dies", &[&["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"op"]]);
    let spec = ContainerSpec::named("web".parse().expect("a good name"));
    let why = daemon.client().send(&Request::CreateContainer(spec)).expect_err("it died");
    assert!(matches!(why, ClientError::Protocol { cause: Broken::Ended, .. }), "{why:?}");
}

#[test]
fn where_nobody_listens_the_error_says_where_and_what_to_do() {
    let why = Client::at("/nonexistent/netd.sock").send(&Request::Status).expect_err("nobody is there");
    assert_eq!(why.to_string(), "cannot reach netd at /nonexistent/netd.sock");
    assert!(why.hint().contains("systemctl start netd"), "{}", why.hint());
}
