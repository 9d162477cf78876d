//! Bad input: each gets a status, a code and a hint, and the reconciler is not asked.

use netd_api::policy::FILES_MOST;

use super::*;

/// One whose reconciler must not be asked.
fn unasked(limits: Limits) -> Api {
    Api::answering(limits, |ask| panic!("it was asked for {:?}", ask.request))
}

#[track_caller]
fn refuses(api: &Api, method: &str, path: &str, body: &str, status: u16, says: &str, hint: &str) {
    let (given, fault) = api.asks(method, path, body);
    let (what, hinted) = (fault["what"].as_str().unwrap_or_default(), fault["hint"].as_str().unwrap_or_default());
    assert!(given == status && what.contains(says) && hinted.contains(hint), "{method} {path} {body:.100}: {given} {fault}");
}

#[test]
fn unknown_fields_are_refused_with_their_place_and_the_one_that_was_meant() {
    let api = unasked(Limits::default());
    let says = "unknown field `subnet`, expected one of `name`, `driver`, `subnets`";
    refuses(&api, "POST", "/v1/networks", r#"{"name": "a", "subnet": []}"#, 400, says, "did you mean `subnets`?");
    refuses(&api, "POST", "/v1/networks", "{\n\"nam\": 1}", 400, "at line 2 column 5", "did you mean `name`?");
    refuses(&api, "POST", "/v1/containers", r#"{"name": "a", "colour": 1}"#, 400, "unknown field `colour`", "openapi.json");
}

#[test]
fn malformed_bodies_are_refused() {
    let api = unasked(Limits::default());
    for (body, says) in [
        ("", "no body"),
        ("{", "is no JSON"),
        (r#"{"name": "a"} {}"#, "is no JSON"),
        ("[", "is no JSON"),
        ("[]", "cannot be used"),
        (r#"{"name": "a", "name": "b"}"#, "duplicate field `name`"),
        (r#"{"name": "We b"}"#, "has a space"),
        (r#"{"driver": "bridge"}"#, "missing field `name`"),
        (r#"{"name": "a", "driver": "ovs"}"#, "unknown variant `ovs`"),
        (r#"{"name": "a", "mtu": -1}"#, "invalid value"),
    ] {
        refuses(&api, "POST", "/v1/networks", body, 400, says, "");
    }
    refuses(&api, "POST", "/v1/networks", &"[".repeat(10_000), 400, "", "openapi.json");
    refuses(&api, "POST", "/v1/cleanup", "{}", 400, "takes no body", "");
}

#[test]
fn bad_names_and_queries_are_refused() {
    let api = unasked(Limits::default());
    refuses(&api, "GET", "/v1/networks/a%20b", "", 400, "has a space", "");
    refuses(&api, "GET", "/v1/networks/%ff", "", 400, "cannot decode the path", "");
    refuses(&api, "GET", "/v1/ports?containr=a", "", 400, "`containr`", "did you mean `container`?");
    refuses(&api, "GET", "/v1/ports?container=a&container=b", "", 400, "twice", "");
    refuses(&api, "GET", "/v1/ports?container=%zz", "", 400, "cannot decode", "%25");
    refuses(&api, "GET", "/v1/policy", "", 400, "lacks the word `name`", "?name=");
    refuses(&api, "DELETE", "/v1/policy?name=a%2Fb%2Fc", "", 400, "policy name \"a/b/c\" is none", "");
    refuses(&api, "GET", "/v1/flows?verdict=denied", "", 400, "use forward, drop, reject or audit", "");
    refuses(&api, "GET", "/v1/flows?since=10m", "", 400, "`since` in the query is no whole number: \"10m\"", "?since=0");
    refuses(&api, "GET", "/v1/flows?after=-1", "", 400, "`after` in the query is no whole number", "");
    refuses(&api, "GET", "/v1/plan?now=1", "", 400, "`now`", "takes no query");
    refuses(&api, "DELETE", "/v1/containers/a/ports?publish=80:80:80:80", "", 400, "write it as 8080:80", "");
}

#[test]
fn unknown_paths_and_methods_are_faults_too() {
    let api = unasked(Limits::default());
    refuses(&api, "GET", "/v2/status", "", 404, "there is no path /v2/status", "/v1/openapi.json");
    refuses(&api, "GET", "/", "", 404, "there is no path /", "");
    refuses(&api, "GET", "/v1/../../etc/passwd", "", 404, "there is no path", "");
    refuses(&api, "DELETE", "/v1/networks", "", 405, "cannot be asked with DELETE", "use GET, POST");
    refuses(&api, "BREW", "/v1/status", "", 405, "BREW", "use GET");
    refuses(&api, "POST", "/v1/openapi.json", "", 405, "POST", "use GET");
    let answer = api.hears(b"DELETE /v1/networks HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert!(answer.contains("\r\nallow: GET, POST\r\n"), "{answer}");
}

#[test]
fn a_body_that_is_too_large_is_refused_however_its_length_is_told() {
    let api = unasked(IMPATIENT);
    refuses(&api, "POST", "/v1/networks", &"x".repeat(1001), 413, "larger than 1000 bytes", "");
    refuses(&api, "POST", "/v1/networks", &"x".repeat(4 << 20), 413, "larger than 1000 bytes", "");
    let mut chunks = b"POST /v1/networks HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..3 {
        chunks.extend(format!("190\r\n{}\r\n", "x".repeat(400)).bytes());
    }
    let (status, fault) = told(&api.hears(&chunks));
    assert_eq!((status, fault["code"].as_str()), (413, Some("too_large")));
}

#[test]
fn policy_files_may_be_larger_than_other_bodies_but_not_without_end() {
    let (tell, heard) = channel();
    let api = Api::answering(IMPATIENT, move |ask| {
        let Request::ApplyPolicies(files) = &ask.request else { panic!("it was asked for {:?}", ask.request) };
        tell.send(files.files[0].text.len()).expect("the test listens");
        let _gone = ask.answer.send(Ok(nothing()));
    });
    let body = |length: usize| format!(r#"{{"files": [{{"name": "-", "text": "{}"}}]}}"#, "x".repeat(length));
    let (status, _) = api.asks("POST", "/v1/policies", &body(4 << 20));
    assert_eq!((status, heard.try_recv()), (200, Ok(4 << 20)));
    refuses(&api, "POST", "/v1/policies", &body(FILES_MOST), 413, "larger than 16777216 bytes", "");
    refuses(&api, "POST", "/v1/networks", &body(1001), 413, "larger than 1000 bytes", "");
}

#[test]
fn a_request_that_ends_halfway_gets_an_answer() {
    let api = unasked(IMPATIENT);
    for (bytes, hung_up, silent) in [
        (&b"GET /v1/sta"[..], 408, 408),
        (b"POST /v1/networks HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"name\"", 400, 408),
        (b"POST /v1/networks HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{\"n", 400, 408),
    ] {
        let mut stream = api.connect();
        stream.write_all(bytes).expect("it reads");
        let (status, fault) = told(&rest(&mut stream));
        assert_eq!((status, fault["code"].as_str()), (silent, Some("bad_request")), "silent after {bytes:?}: {fault}");
        let mut stream = api.connect();
        stream.write_all(bytes).expect("it reads");
        stream.shutdown(std::net::Shutdown::Write).expect("it is connected");
        let (status, fault) = told(&rest(&mut stream));
        assert_eq!((status, fault["code"].as_str()), (hung_up, Some("bad_request")), "hung up after {bytes:?}: {fault}");
    }
}

#[test]
fn a_client_that_says_nothing_is_hung_up_on_without_a_word() {
    let api = unasked(IMPATIENT);
    assert_eq!(rest(&mut api.connect()), "");
}

#[test]
fn what_is_no_http_is_refused() {
    let api = unasked(IMPATIENT);
    for bytes in [&b"\0\x01\x02\xff\xfe\r\n\r\n"[..], b"SSH-2.0-x\r\n", b"GET /v1/plan HTTP/9.9\r\n\r\n"] {
        let answer = api.hears(bytes);
        assert!(answer.starts_with("HTTP/1.1 4"), "{bytes:?}: {answer}");
    }
    let endless = format!("GET /v1/plan HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    assert!(api.hears(endless.as_bytes()).starts_with("HTTP/1.1 431 "));
}

#[test]
fn a_connection_too_many_is_answered_and_turned_away() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let api = Api::idle(limits);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = api.connect();
        stream.write_all(b"GET /v1/plan HTTP/1.1\r\nhost: x\r\n\r\n").expect("it reads");
        netd_api::client::read_answer(&mut stream).expect("it answers");
        held.push(stream);
    }
    let (status, fault) = api.asks("GET", "/v1/plan", "");
    assert_eq!((status, fault["code"].as_str()), (503, Some("unavailable")));
    drop(held);
}

#[test]
fn a_full_queue_is_a_fault_and_no_wait() {
    let (asker, events) = queue();
    while asker.tell(Event::KernelChanged(crate::kernel::News::default())) {}
    let mut api = Api::asking(Limits::default(), asker);
    let (status, fault) = api.asks("GET", "/v1/plan", "");
    assert_eq!((status, fault["code"].as_str()), (503, Some("unavailable")), "{fault}");
    assert!(fault["hint"].as_str().is_some_and(|hint| hint.contains("again")), "{fault}");
    drop(events);
    let (status, fault) = api.asks("GET", "/v1/plan", "");
    assert_eq!((status, fault["what"].as_str()), (503, Some("netd is stopping")));
    api.reconciler = None;
}

#[test]
fn a_reconciler_that_dies_meanwhile_is_a_fault() {
    let api = Api::answering(Limits::default(), |ask| drop(ask.answer));
    let (status, fault) = api.asks("GET", "/v1/plan", "");
    assert_eq!((status, fault["what"].as_str()), (503, Some("netd stopped before it answered")));
}

#[test]
fn a_refusal_of_the_reconciler_goes_through_with_its_code() {
    let api = Api::answering(Limits::default(), |ask| {
        let fault = Fault::new(Code::PortTaken, "cannot publish 80/tcp: port is in use by nginx").hint("choose another");
        let _gone = ask.answer.send(Err(fault));
    });
    let (status, fault) = api.asks("POST", "/v1/containers/web/ports", "\"80:80\"");
    assert_eq!(status, 409);
    assert_eq!(
        fault,
        serde_json::json!({ "code": "port_taken", "what": "cannot publish 80/tcp: port is in use by nginx", "hint": "choose another" })
    );
}
