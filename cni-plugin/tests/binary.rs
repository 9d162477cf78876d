//! The program as a runtime runs it: one document on stdout or nothing, the exit status, and how long it waits. A listener stands in for netd, a
//! script for another IPAM plugin; the real daemon is met in the stories.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    process::{Command, Output, Stdio},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use socket2::{Domain, SockAddr, Socket, Type};

/// What netd does with one connection.
enum Does {
    /// Answers with this status and body.
    Answers(u16, &'static str),
    /// Reads the request and hangs up.
    Dies,
    /// Reads the request and says nothing for so long.
    Hangs(Duration),
}

const ADDED: &str = r#"{"name":"cafe","network":"default","bridge":"nd-1","bridge_mac":"02:00:00:00:00:01","host_ifname":"ndv1",
    "host_mac":"02:00:00:00:00:02","mac":"02:00:00:00:00:03","mtu":1500,"addresses":[{"net":"10.80.0.2/24","gateway":"10.80.0.1"}],
    "routes":[{"dst":"0.0.0.0/0","gw":"10.80.0.1"}]}"#;

/// A folder with a socket, a queue and plugins of its own.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    #[expect(clippy::needless_pass_by_value, reason = "every caller has just made it")]
    fn config(&self, more: Value) -> Value {
        let mut config = json!({
            "cniVersion": "1.1.0", "name": "blue", "type": "netd-cni", "patienceMs": 400,
            "socket": self.path("netd.sock"), "runDir": self.path("run"), "confDir": self.path("net.d"),
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    }

    fn run(&self, verb: &str, more: Value) -> Output {
        self.call(verb, &self.config(more).to_string(), &[])
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netd-cni"));
        command
            .env_clear()
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", "cafe")
            .env("CNI_NETNS", "/run/netns/cafe")
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", self.path("bin"))
            .env("PATH", "/usr/bin:/bin");
        command
    }

    fn call(&self, verb: &str, stdin: &str, variables: &[(&str, &str)]) -> Output {
        let mut child = self
            .command(verb)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that does not read its stdin has ended before all is written.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Does these, one connection after the other; the requests' paths and bodies are given when it is joined.
    fn daemon(&self, connections: Vec<Does>) -> thread::JoinHandle<Vec<(String, Value)>> {
        let listener = UnixListener::bind(self.path("netd.sock")).unwrap();
        thread::spawn(move || {
            let mut asked = Vec::new();
            for does in connections {
                let (mut connection, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(connection.try_clone().unwrap());
                let mut lines = Vec::new();
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    if line.trim().is_empty() {
                        break;
                    }
                    lines.push(line.trim().to_owned());
                }
                let length = lines.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
                let mut body = Vec::new();
                reader.by_ref().take(length).read_to_end(&mut body).unwrap();
                asked.push((lines[0].split(' ').nth(1).unwrap().to_owned(), serde_json::from_slice(&body).unwrap_or_default()));
                match does {
                    Does::Answers(status, body) => {
                        // Who asked may have gone: that is for the test to see.
                        let _ = write!(connection, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    }
                    Does::Dies => {}
                    Does::Hangs(time) => thread::sleep(time),
                }
            }
            asked
        })
    }

    /// An IPAM plugin that writes down each verb and then does what the script says.
    fn plugin(&self, name: &str, script: &str) {
        fs::create_dir_all(self.path("bin")).unwrap();
        let file = self.path("bin").join(name);
        let log = self.path("verbs");
        fs::write(&file, format!("#!/bin/sh\necho \"$CNI_COMMAND $(cat | wc -c)\" >>{}\n{script}\n", log.display())).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The verbs that it was run with; each must have come with the whole configuration.
    fn verbs(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("verbs")).unwrap_or_default();
        log.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }

    fn queued(&self) -> Vec<Value> {
        let files = fs::read_dir(self.path("run/cni")).into_iter().flatten().map(|entry| entry.unwrap().path());
        files.map(|file| serde_json::from_slice(&fs::read(file).unwrap()).unwrap()).collect()
    }
}

/// The error object on stdout: the status must say so too.
fn error(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {output:?}"))
}

fn nothing(output: &Output) {
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
}

fn key() -> Value {
    json!({ "config": "blue", "container": "cafe", "ifname": "eth0" })
}

#[test]
fn version_needs_nothing_and_without_a_verb_it_says_what_it_is() {
    let place = Place::new();
    for (stdin, version) in [("", "1.1.0"), ("no JSON", "1.1.0"), (r#"{"cniVersion":"0.4.0"}"#, "0.4.0")] {
        let output = place.call("VERSION", stdin, &[("CNI_CONTAINERID", ""), ("CNI_NETNS", ""), ("CNI_IFNAME", ""), ("CNI_PATH", "")]);
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.success(), &value["cniVersion"]), (true, &json!(version)));
        assert_eq!(value["supportedVersions"], json!(["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]));
    }
    let output = place.call("", "", &[]);
    nothing(&output);
    assert!(String::from_utf8_lossy(&output.stderr).contains("CNI protocol versions supported: 0.1.0"), "{output:?}");
}

#[test]
fn an_add_prints_its_result_and_nothing_else() {
    let place = Place::new();
    let daemon = place.daemon(vec![Does::Answers(200, ADDED)]);
    let output = place.run("ADD", json!({}));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!((&result["ips"][0]["interface"], &result["interfaces"][2]["sandbox"]), (&json!(2), &json!("/run/netns/cafe")));
    let asked = daemon.join().unwrap();
    assert_eq!((asked[0].0.as_str(), &asked[0].1["key"], &asked[0].1["network"]), ("/v1/cni/add", &key(), &json!({ "named": "default" })));
}

#[test]
fn a_daemon_that_is_absent_is_11_within_the_bound_and_50_for_status() {
    let place = Place::new();
    let previous = json!({ "prevResult": { "ips": [] }, "cni.dev/valid-attachments": [] });
    for verb in ["ADD", "CHECK", "GC"] {
        let since = Instant::now();
        assert_eq!(error(&place.run(verb, previous.clone()))["code"], 11, "{verb}");
        assert!((Duration::from_millis(400)..Duration::from_secs(3)).contains(&since.elapsed()), "{verb} took {:?}", since.elapsed());
    }
    let object = error(&place.run("STATUS", json!({})));
    assert_eq!(object["code"], 50);
    assert!(object["details"].as_str().unwrap().contains("systemctl start netd"), "{object}");
}

#[test]
fn a_daemon_that_takes_no_connections_is_11_within_the_bound() {
    let place = Place::new();
    let address = SockAddr::unix(place.path("netd.sock")).unwrap();
    let socket = || Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    let listener = socket();
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    let mut waiting = Vec::new();
    let full = loop {
        let one = socket();
        one.set_nonblocking(true).unwrap();
        match one.connect(&address) {
            Ok(()) => waiting.push(one),
            Err(why) => break why,
        }
    };
    assert_eq!(full.kind(), std::io::ErrorKind::WouldBlock, "after {} connections: {full}", waiting.len());
    let (done, is_done) = channel::<()>();
    thread::scope(|scope| {
        // Who waits for ever is woken when the listener goes, so that the test ends and says who it was.
        scope.spawn(move || {
            let _ = is_done.recv_timeout(Duration::from_secs(20));
            drop(listener);
        });
        let previous = json!({ "prevResult": { "ips": [] }, "cni.dev/valid-attachments": [] });
        for (verb, code) in [("ADD", 11), ("CHECK", 11), ("GC", 11), ("DEL", 11), ("STATUS", 50)] {
            let since = Instant::now();
            let object = error(&place.run(verb, previous.clone()));
            assert!(object["code"] == code && object["msg"].as_str().unwrap().contains("takes no connections"), "{verb}: {object}");
            assert!((Duration::from_millis(400)..Duration::from_secs(3)).contains(&since.elapsed()), "{verb} took {:?}", since.elapsed());
        }
        assert!(place.queued().is_empty(), "who listens does not look into the queue");
        drop(done);
    });
}

#[test]
fn a_daemon_that_comes_while_add_waits_is_asked() {
    let place = Place::new();
    let config = place.config(json!({ "patienceMs": 20_000 })).to_string();
    thread::scope(|scope| {
        let call = scope.spawn(|| place.call("ADD", &config, &[]));
        thread::sleep(Duration::from_millis(100));
        let daemon = place.daemon(vec![Does::Answers(200, ADDED)]);
        assert!(call.join().unwrap().status.success());
        assert_eq!(daemon.join().unwrap().len(), 1);
    });
}

#[test]
fn a_daemon_that_hangs_is_11_within_the_bound_and_the_add_is_taken_back() {
    let place = Place::new();
    let daemon = place.daemon(vec![Does::Hangs(Duration::from_millis(900)), Does::Answers(204, "")]);
    let since = Instant::now();
    assert_eq!(error(&place.run("ADD", json!({})))["code"], 11);
    assert!(since.elapsed() < Duration::from_secs(3), "it took {:?}", since.elapsed());
    assert_eq!(place.queued(), [key()], "a daemon that hangs may do it yet");
    assert_eq!(daemon.join().unwrap().last().unwrap().0, "/v1/cni/del", "and it finds the DEL behind the ADD");
}

#[test]
fn an_add_whose_connection_broke_becomes_a_del() {
    let place = Place::new();
    let daemon = place.daemon(vec![Does::Dies, Does::Answers(204, "")]);
    assert_eq!(error(&place.run("ADD", json!({})))["code"], 11);
    let asked = daemon.join().unwrap();
    assert_eq!(asked.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["/v1/cni/add", "/v1/cni/del"]);
    assert_eq!((&asked[1].1, place.queued().len()), (&key(), 0));
    let daemon = Place::new();
    let thread = daemon.daemon(vec![Does::Dies]);
    assert_eq!(error(&daemon.run("ADD", json!({})))["code"], 11);
    thread.join().unwrap();
    assert_eq!(daemon.queued(), [key()], "no daemon came back to take it");
}

#[test]
fn an_add_whose_result_nobody_reads_is_taken_back() {
    let place = Place::new();
    let daemon = place.daemon(vec![Does::Answers(200, ADDED), Does::Answers(204, "")]);
    let mut child = place.command("ADD").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(place.config(json!({})).to_string().as_bytes()).unwrap();
    assert!(!child.wait().unwrap().success());
    let asked = daemon.join().unwrap();
    assert_eq!((asked[1].0.as_str(), &asked[1].1), ("/v1/cni/del", &key()));
}

#[test]
fn a_del_waits_in_the_queue_while_nobody_listens_and_is_struck_out_when_it_is_done() {
    let place = Place::new();
    nothing(&place.run("DEL", json!({ "patienceMs": 20_000 })));
    nothing(&place.call("DEL", &place.config(json!({})).to_string(), &[("CNI_NETNS", "")]));
    assert_eq!(place.queued(), [key()]);
    let mode = fs::metadata(place.path("run/cni")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let daemon = place.daemon(vec![Does::Answers(204, ""), Does::Answers(409, r#"{"code":"store","what":"disk full"}"#)]);
    nothing(&place.run("DEL", json!({})));
    assert!(place.queued().is_empty());
    assert_eq!(error(&place.run("DEL", json!({})))["code"], 104, "a refusal is told");
    assert_eq!(daemon.join().unwrap()[0], ("/v1/cni/del".to_owned(), key()));
}

#[test]
fn a_del_of_what_could_never_be_is_done_without_asking() {
    let place = Place::new();
    nothing(&place.call("DEL", &place.config(json!({})).to_string(), &[("CNI_IFNAME", "a%b")]));
    nothing(&place.run("DEL", json!({ "name": "n".repeat(64) })));
    assert!(place.queued().is_empty());
    assert_eq!(error(&place.call("ADD", &place.config(json!({})).to_string(), &[("CNI_IFNAME", "a%b")]))["code"], 4);
}

#[test]
fn a_queue_that_is_full_is_11() {
    let place = Place::new();
    fs::create_dir_all(place.path("run/cni")).unwrap();
    for number in 0..4096 {
        fs::write(place.path("run/cni").join(format!("blue:{number}:eth0.json")), "{}").unwrap();
    }
    assert_eq!(error(&place.run("DEL", json!({})))["code"], 11);
}

#[test]
fn check_names_what_is_wrong_and_status_what_is_limited() {
    let place = Place::new();
    let daemon = place.daemon(vec![
        Does::Answers(200, r#"{"wrong":["the address 10.80.0.2/24 is gone (ip address add …)"]}"#),
        Does::Answers(200, r#"{"wrong":[]}"#),
        Does::Answers(200, r#"{"unable":null,"limited":[{"what":"ufw drops what is forwarded","hint":"ufw route allow"}]}"#),
        Does::Answers(200, r#"{"unable":null,"limited":[]}"#),
        Does::Answers(200, r#"{"removed":[]}"#),
    ]);
    let previous =
        json!({ "prevResult": { "cniVersion": "1.1.0", "interfaces": [{ "name": "eth0", "sandbox": "/run/netns/cafe" }], "ips": [] } });
    let object = error(&place.run("CHECK", previous.clone()));
    assert!(object["code"] == 106 && object["msg"].as_str().unwrap().contains("10.80.0.2/24 is gone"), "{object}");
    nothing(&place.run("CHECK", previous));
    let object = error(&place.run("STATUS", json!({})));
    assert_eq!((&object["code"], &object["details"]), (&json!(51), &json!("ufw route allow")));
    nothing(&place.run("STATUS", json!({})));
    nothing(&place.run("GC", json!({ "cni.dev/attachments": [{ "containerID": "cafe", "ifname": "eth0" }] })));
    assert_eq!(daemon.join().unwrap()[4].1["valid"], json!([{ "container": "cafe", "ifname": "eth0" }]));
}

#[test]
fn a_delegates_address_is_used_and_given_back_when_the_add_fails() {
    let place = Place::new();
    place.plugin(
        "my-ipam",
        r#"[ "$CNI_COMMAND" != ADD ] || echo '{"ips":[{"address":"10.9.0.7/24","gateway":"10.9.0.1"}]}'; echo a word >&2"#,
    );
    let daemon = place.daemon(vec![Does::Answers(200, ADDED), Does::Answers(409, r#"{"code":"bad_address","what":"taken"}"#)]);
    let delegated = json!({ "ipam": { "type": "my-ipam" }, "padding": "x".repeat(100_000) });
    let output = place.run("ADD", delegated.clone());
    assert!(output.status.success() && String::from_utf8_lossy(&output.stderr) == "a word\n", "{output:?}");
    assert_eq!(place.verbs(), ["ADD"]);
    assert_eq!(error(&place.run("ADD", delegated.clone()))["code"], 7);
    assert_eq!(place.verbs(), ["ADD", "ADD", "DEL"]);
    let length = place.config(delegated).to_string().len().to_string();
    assert!(fs::read_to_string(place.path("verbs")).unwrap().lines().all(|line| line.ends_with(&length)), "each reads the whole stdin");
    let asked = daemon.join().unwrap();
    assert_eq!(asked[0].1["addresses"], json!([{ "address": "10.9.0.7", "prefix": 24, "gateway": "10.9.0.1" }]));
}

#[test]
fn a_delegate_that_fails_hangs_or_is_not_there_is_told() {
    let place = Place::new();
    let add = |kind: &str| error(&place.run("ADD", json!({ "ipam": { "type": kind } })));
    assert_eq!(add("nowhere")["code"], 7);
    assert_eq!(add("../bin/x")["code"], 7);
    place.plugin("says-why", r#"echo '{"code":111,"msg":"no lease","details":"wait"}'; exit 1"#);
    let object = add("says-why");
    assert_eq!(
        (&object["code"], &object["msg"], &object["details"]),
        (&json!(111), &json!("ipam plugin says-why: ADD: no lease"), &json!("wait"))
    );
    place.plugin("says-nothing", "exit 3");
    assert_eq!(add("says-nothing")["code"], 108);
    place.plugin("gives-nothing", "echo '{}'");
    assert_eq!(add("gives-nothing")["code"], 108);
    place.plugin("hangs", "[ $CNI_COMMAND = DEL ] || exec sleep 60");
    let since = Instant::now();
    assert_eq!(add("hangs")["code"], 11);
    assert!(since.elapsed() < Duration::from_secs(5), "it took {:?}", since.elapsed());
}

#[test]
fn a_del_goes_on_when_the_delegate_fails_and_tells_it() {
    let place = Place::new();
    place.plugin("says-why", r#"echo '{"code":111,"msg":"no lease"}'; exit 1"#);
    let daemon = place.daemon(vec![Does::Answers(204, "")]);
    assert_eq!(error(&place.run("DEL", json!({ "ipam": { "type": "says-why" } })))["code"], 111);
    assert_eq!(daemon.join().unwrap()[0].0, "/v1/cni/del");
}

#[test]
fn a_bandwidth_plugin_behind_ours_is_refused_and_one_before_is_not() {
    let place = Place::new();
    fs::create_dir(place.path("net.d")).unwrap();
    let list = |name: &str, types: [&str; 2]| {
        let plugins: Vec<_> = types.iter().map(|kind| json!({ "type": kind })).collect();
        fs::write(place.path("net.d").join(format!("10-{name}.conflist")), json!({ "name": name, "plugins": plugins }).to_string())
            .unwrap();
    };
    list("blue", ["netd-cni", "bandwidth"]);
    let object = error(&place.run("ADD", json!({})));
    assert!(object["code"] == 7 && object["details"].as_str().unwrap().contains("\"bandwidth\": true"), "{object}");
    assert_eq!(error(&place.run("STATUS", json!({})))["code"], 50);
    list("blue", ["bandwidth", "netd-cni"]);
    list("green", ["netd-cni", "bandwidth"]);
    assert_eq!(error(&place.run("ADD", json!({})))["code"], 11, "only netd is missing");
}

#[test]
fn more_than_a_megabyte_is_refused() {
    let place = Place::new();
    let output = place.run("ADD", json!({ "padding": "x".repeat(1 << 20) }));
    assert_eq!(error(&output)["code"], 6);
}
