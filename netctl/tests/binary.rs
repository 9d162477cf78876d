//! The program as it is run: exit statuses, and which stream says what. A listener stands in for the daemon; the real one is met in the stories.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
};

const NETWORK: &str = r#"{"name":"web","driver":"bridge","bridge":"nd-1","mtu":1500,"internal":false,"routed":[],"masquerade":true,"icc":true,
    "subnets":[],"labels":{},"containers":[],"cni":false}"#;

fn netctl(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netctl"));
    command.args(arguments).env("NETD_SOCKET", socket).env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

fn run(socket: &Path, arguments: &[&str]) -> Output {
    netctl(socket, arguments).output().unwrap()
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Answers with these, one after the other, and returns the first lines of the requests.
fn daemon(socket: &Path, answers: Vec<(u16, String)>) -> thread::JoinHandle<Vec<String>> {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(connection.try_clone().unwrap());
        let mut asked = Vec::new();
        for (status, body) in answers {
            let mut first = String::new();
            reader.read_line(&mut first).unwrap();
            asked.push(first.trim_end().to_owned());
            let mut length = 0;
            loop {
                let mut header = String::new();
                reader.read_line(&mut header).unwrap();
                if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if header.trim().is_empty() {
                    break;
                }
            }
            reader.by_ref().take(length).read_to_end(&mut Vec::new()).unwrap();
            let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
            connection.write_all((head + &body).as_bytes()).unwrap();
        }
        asked
    })
}

#[test]
fn without_a_daemon_the_status_is_3() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&folder.path().join("none.sock"), &["status"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(out(&output), "");
    assert!(err(&output).starts_with("error: cannot reach netd at "), "{}", err(&output));
    assert!(err(&output).contains("\nhint: "), "{}", err(&output));
}

#[test]
fn a_wrong_word_is_usage_and_says_so_on_stderr() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in
        [&["network", "create", "a b"][..], &["nothing"], &[], &["container", "set", "a", "--label", "k=1", "--label", "k-"], &["cleanup"]]
    {
        let output = run(&folder.path().join("none.sock"), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(out(&output), "", "{arguments:?}");
    }
}

#[test]
fn the_answer_goes_to_stdout_as_table_and_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("netd.sock");
    let asked = daemon(&socket, vec![(200, format!("[{NETWORK}]"))]);
    let output = run(&socket, &["network", "ls"]);
    assert_eq!((output.status.code(), err(&output)), (Some(0), ""));
    assert_eq!(out(&output).lines().next().unwrap(), "NAME   DRIVER   SUBNETS   REACH         ATTACHED   BRIDGE");
    assert!(asked.join().unwrap()[0].starts_with("GET /v1/networks "));

    let socket = folder.path().join("json.sock");
    let asked = daemon(&socket, vec![(200, NETWORK.to_owned())]);
    let output = run(&socket, &["network", "inspect", "web", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(out(&output)).unwrap();
    assert_eq!(json, serde_json::from_str::<serde_json::Value>(NETWORK).unwrap());
    assert!(asked.join().unwrap()[0].starts_with("GET /v1/networks/web "));
}

#[test]
fn a_refusal_is_told_and_the_rest_is_done_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("netd.sock");
    let fault = r#"{"code":"in_use","what":"cannot remove network web: front is attached","hint":"netctl network disconnect web front"}"#;
    let asked = daemon(&socket, vec![(409, fault.to_owned()), (204, String::new())]);
    let output = run(&socket, &["network", "rm", "web", "db"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(out(&output), "db\n");
    assert_eq!(err(&output), "error: cannot remove network web: front is attached\nhint: netctl network disconnect web front\n");
    assert_eq!(asked.join().unwrap().len(), 2);
}

#[test]
fn a_cleanup_that_leaves_something_has_failed() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("netd.sock");
    let asked = daemon(&socket, vec![(200, r#"{"removed":7,"failed":["ip link del nd-1: busy"]}"#.to_owned())]);
    let output = run(&socket, &["cleanup", "--yes"]);
    assert_eq!((output.status.code(), out(&output)), (Some(1), "removed 7 kernel objects\n"));
    assert_eq!(err(&output), "error: ip link del nd-1: busy\n");
    assert!(asked.join().unwrap()[0].starts_with("POST /v1/cleanup "));
}

/// Runs it with this on standard input.
fn run_fed(socket: &Path, arguments: &[&str], stdin: &str) -> Output {
    let mut command = netctl(socket, arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn advice_can_be_piped_into_apply() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("netd.sock");
    let advice = r#"{"policy":"kind: NetworkPolicy\n","flows":3,"notes":["look at it"]}"#;
    let asked = daemon(&socket, vec![(200, advice.to_owned())]);
    let advised = run(&socket, &["policy", "advise", "shop/web"]);
    assert_eq!((advised.status.code(), err(&advised)), (Some(0), ""));
    assert_eq!(out(&advised), "# From 3 recorded flows.\n# look at it\nkind: NetworkPolicy\n");
    assert!(asked.join().unwrap()[0].starts_with("GET /v1/containers/shop%2Fweb/advice "));

    let socket = folder.path().join("apply.sock");
    let applied = r#"{"policies":[{"name":"shop/web","change":"created","selects":["shop/web"]}],"namespaces":[]}"#;
    let asked = daemon(&socket, vec![(200, applied.to_owned())]);
    let output = run_fed(&socket, &["policy", "apply", "-f", "-"], out(&advised));
    assert_eq!((output.status.code(), err(&output)), (Some(0), ""));
    assert_eq!(out(&output), "NAME       CHANGE    SELECTS\nshop/web   created   shop/web\n");
    assert!(asked.join().unwrap()[0].starts_with("POST /v1/policies "));
}

#[test]
fn a_policy_file_that_cannot_be_read_is_not_asked_about() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&folder.path().join("none.sock"), &["policy", "apply", "-f", "/nonexistent/db.yaml"]);
    assert_eq!((output.status.code(), out(&output)), (Some(1), ""));
    assert_eq!(err(&output), "error: could not read /nonexistent/db.yaml: No such file or directory (os error 2)\n");
}

fn flow(number: u64) -> String {
    let counted = r#"{"packets":1,"bytes":60,"segments":1}"#;
    format!(
        r#"{{"number":{number},"event":"denied","began":1795770721.0,"last_seen":1795770721.0,
        "container":{{"address":"10.4.0.2","port":80,"name":"web"}},"network":"lan","ifname":"eth0",
        "remote":{{"address":"10.4.0.3","port":{number}}},"direction":"ingress","protocol":"udp","verdict":"drop","reason":"policy",
        "sent":{counted},"received":{counted}}}"#
    )
}

fn flows(numbers: &[u64], last: u64, lost: u64) -> (u16, String) {
    let flows: Vec<String> = numbers.iter().map(|number| flow(*number)).collect();
    (200, format!(r#"{{"flows":[{}],"last":{last},"lost":{lost},"forgotten":0}}"#, flows.join(",")))
}

#[test]
fn flows_are_followed_until_the_daemon_goes_and_no_loss_is_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("netd.sock");
    let asked = daemon(&socket, vec![flows(&[1], 1, 0), flows(&[], 1, 0), flows(&[2], 2, 5)]);
    let output = run(&socket, &["flows", "-f", "--container", "web", "-o", "json"]);
    assert_eq!(out(&output).lines().count(), 2);
    for line in out(&output).lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).unwrap()["number"].is_number(), "{line}");
    }
    assert!(err(&output).starts_with("note: 5 records were lost meanwhile: "), "{}", err(&output));
    assert!(err(&output).contains("\nerror: cannot "), "{}", err(&output));
    assert_ne!(output.status.code(), Some(0));
    let asked = asked.join().unwrap();
    let paths: Vec<&str> = asked.iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(paths, ["/v1/flows?container=web", "/v1/flows?container=web&after=1", "/v1/flows?container=web&after=1"]);
}

#[test]
fn a_follower_whose_reader_goes_away_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("netd.sock");
    let asked = daemon(&socket, vec![flows(&[1], 1, 0), flows(&[2], 2, 0)]);
    let mut child = netctl(&socket, &["flows", "-f"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("2026-11-27 09:12:01.000 denied  web eth0:80 <- 10.4.0.3:1 udp drop (policy)  "), "{line}");
    drop(reader);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), err(&output)), (Some(0), ""));
    assert_eq!(asked.join().unwrap().len(), 2);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = netctl(folder.path(), &["completion", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), err(&output)), (Some(0), ""));
}

#[test]
fn every_shell_has_a_completion_that_knows_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(folder.path(), &["completion", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        for word in ["disconnect", "unpublish", "no-masquerade", "ifname", "advise", "dry-run", "allow-address", "port-name"] {
            assert!(out(&output).contains(word), "{shell} knows no {word}");
        }
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man/man1");
    let output = run(folder.path(), &["man", pages.to_str().unwrap()]);
    assert_eq!((output.status.code(), err(&output)), (Some(0), ""));
    for (page, said) in [
        ("netctl.1", "NETD_SOCKET"),
        ("netctl-network-create.1", "\\-\\-no\\-masquerade"),
        ("netctl-container-exec.1", "/etc/netns/CONTAINER"),
        ("netctl-publish.1", "HOSTIP"),
        ("netctl-policy-apply.1", "\\-\\-skip\\-other\\-kinds"),
        ("netctl-flows.1", "\\-\\-since"),
    ] {
        let text = fs::read_to_string(pages.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(said), "{page} does not say {said}:\n{text}");
    }
    let blocked = folder.path().join("file");
    fs::write(&blocked, "").unwrap();
    let output = run(folder.path(), &["man", blocked.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).starts_with("error: could not write manual pages to "), "{}", err(&output));
}
