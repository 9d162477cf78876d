//! The results of all versions and every error, against goldens.

use std::{collections::BTreeMap, fs, path::Path};

use cni_plugin::{
    error::{CniError, During, of},
    result, run,
    spec::Dns,
    version::{self, Version},
};
use netd_api::{
    client::{Broken, ClientError},
    cni::CniAdded,
    fault::{Code, Fault},
};
use serde_json::{Value, json};

use super::{NETNS, made, variables};

/// Compares with a golden; `UPDATE_GOLDEN=1` writes it.
fn golden(name: &str, value: &Value) {
    let text = serde_json::to_string_pretty(value).unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&path).unwrap(), "see {name}; UPDATE_GOLDEN=1 writes it anew");
}

#[test]
fn one_add_has_the_result_of_each_version() {
    let dns = Dns { nameservers: vec!["10.22.0.1".to_owned()], search: vec!["blue".to_owned()], ..Dns::default() };
    let previous = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{ "name": "lo", "sandbox": NETNS, "socketPath": "/run/x" }],
        "ips": [{ "interface": 0, "address": "127.0.0.1/8" }],
        "routes": [{ "dst": "192.0.2.0/24" }],
        "dns": { "nameservers": ["192.0.2.53"] },
    });
    let mut results: BTreeMap<String, Value> =
        version::ALL.into_iter().map(|version| (version.to_string(), result::added(version, &made(), "eth0", NETNS, &dns, None))).collect();
    results.insert(
        "1.1.0 behind another plugin".to_owned(),
        result::added(Version::V110, &made(), "eth0", NETNS, &Dns::default(), Some(&previous)),
    );
    let layer2 = CniAdded { addresses: Vec::new(), routes: Vec::new(), ..made() };
    results.insert("1.0.0 without IP".to_owned(), result::added(Version::V100, &layer2, "eth0", NETNS, &Dns::default(), None));
    golden("cni-results.json", &json!(results));
}

#[test]
fn every_error_has_its_code_and_says_what_to_do() {
    let socket = || "/run/netd/netd.sock".into();
    let fault = |code| ClientError::Fault(Fault::new(code, "cannot attach cafe to blue: the interface cni0 is taken").hint("do this"));
    let add = During::Add { ifname: "eth0", netns: NETNS, bridge: None };
    let mut errors = BTreeMap::new();
    for code in [
        Code::BadRequest,
        Code::TooLarge,
        Code::NotFound,
        Code::Exists,
        Code::InUse,
        Code::SubnetOverlap,
        Code::Exhausted,
        Code::BadAddress,
        Code::PortTaken,
        Code::BridgeFull,
        Code::BadNamespace,
        Code::BadInterface,
        Code::Impossible,
        Code::Unsupported,
        Code::Kernel,
        Code::Store,
        Code::Unavailable,
    ] {
        errors.insert(format!("ADD, netd says {code:?}"), of(&fault(code), add));
    }
    let named = During::Add { ifname: "eth0", netns: NETNS, bridge: Some("cni0") };
    errors.insert("ADD, the bridge is somebody else's".to_owned(), of(&fault(Code::BadInterface), named));
    errors.insert("CHECK, netd does not know it".to_owned(), of(&fault(Code::NotFound), During::Check));
    errors.insert("STATUS, netd says NotFound".to_owned(), of(&fault(Code::NotFound), During::Status));
    for (name, kind) in [("absent", std::io::ErrorKind::NotFound), ("not accessible", std::io::ErrorKind::PermissionDenied)] {
        let error = || ClientError::Unreachable { socket: socket(), cause: kind.into() };
        errors.insert(format!("ADD, netd is {name}"), of(&error(), add));
        errors.insert(format!("STATUS, netd is {name}"), of(&error(), During::Status));
    }
    let broken = |cause| ClientError::Protocol { socket: socket(), cause };
    errors.insert("ADD, netd hangs".to_owned(), of(&broken(Broken::Silent), add));
    errors.insert("ADD, netd died".to_owned(), of(&broken(Broken::Ended), add));
    errors.insert("ADD, it is no netd".to_owned(), of(&broken(Broken::Http("a malformed head")), add));
    for (name, verb, pairs, stdin) in [
        ("without any variable", "ADD", &[("CNI_CONTAINERID", ""), ("CNI_NETNS", ""), ("CNI_IFNAME", "")][..], "{}"),
        ("an unknown verb", "FLY", &[], "{}"),
        ("a bad container id", "ADD", &[("CNI_CONTAINERID", "../x")], r#"{"name":"blue"}"#),
        ("a long interface name", "ADD", &[("CNI_IFNAME", "a234567890123456")], r#"{"name":"blue"}"#),
        ("an interface name with a slash", "DEL", &[("CNI_IFNAME", "a/b")], r#"{"name":"blue"}"#),
        ("a relative namespace", "ADD", &[("CNI_NETNS", "blue")], r#"{"name":"blue"}"#),
        ("bad CNI_ARGS", "ADD", &[("CNI_ARGS", "IgnoreUnknown=1;IP")], r#"{"name":"blue"}"#),
        ("a bad namespace of Kubernetes", "ADD", &[("CNI_ARGS", "K8S_POD_NAMESPACE=Shop")], r#"{"name":"blue"}"#),
        ("an empty stdin", "ADD", &[], " \n"),
        ("no JSON", "ADD", &[], "{\"name\":"),
        ("a list", "ADD", &[], "[]"),
        ("no name", "ADD", &[], "{}"),
        ("a bad name", "ADD", &[], r#"{"name":"a b"}"#),
        ("an unknown version", "ADD", &[], r#"{"cniVersion":"9.9.9","name":"blue"}"#),
        ("a wrong type", "ADD", &[], r#"{"cniVersion":"0.4.0","name":"blue","ipMasq":"yes"}"#),
        ("a wrong type inside", "ADD", &[], r#"{"name":"blue","ipam":{"ranges":[[{"subnet":7}]]}}"#),
        ("a key that netd cannot do", "ADD", &[], r#"{"name":"blue","vlan":100}"#),
        ("CHECK before there was one", "CHECK", &[], r#"{"cniVersion":"0.3.1","name":"blue"}"#),
        ("CHECK without prevResult", "CHECK", &[], r#"{"cniVersion":"1.0.0","name":"blue"}"#),
        ("STATUS before there was one", "STATUS", &[], r#"{"cniVersion":"1.0.0","name":"blue"}"#),
        ("GC before there was one", "GC", &[], r#"{"cniVersion":"1.0.0","name":"blue"}"#),
        ("GC without the attachments", "GC", &[], r#"{"cniVersion":"1.1.0","name":"blue"}"#),
    ] {
        let pairs: Vec<_> = pairs.iter().copied().chain([("CNI_COMMAND", verb)]).collect();
        let answer = run::answer(&variables(&pairs), stdin.as_bytes());
        assert!(answer.is_error(), "{name}");
        let object: Value = serde_json::from_str(&answer.text().unwrap()).unwrap();
        let said = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
        let code = object["code"].as_u64().unwrap().try_into().unwrap();
        errors.insert(format!("{verb}, {name}"), CniError { code, msg: said("msg"), details: said("details") });
    }
    golden("cni-errors.json", &json!(errors.iter().map(|(when, error)| (when, error.object(Version::V110))).collect::<BTreeMap<_, _>>()));
}

#[test]
fn an_interface_name_that_is_taken_is_of_the_environment_though_network_and_bridge_are_called_alike() {
    let during = |ifname| During::Add { ifname, netns: NETNS, bridge: Some("blue") };
    let code = |what: &str, ifname| of(&ClientError::Fault(Fault::new(Code::BadInterface, what)), during(ifname)).code;
    assert_eq!(code("cannot attach cafe to network blue: the container has an interface eth0 already", "eth0"), 4);
    assert_eq!(code("cannot attach cafe to network blue: the container has an interface blue already", "blue"), 4);
    let raced = "could not apply `ip link add ndv1 master blue type veth peer name eth0 netns /run/netns/cafe`: File exists";
    assert_eq!(code(raced, "eth0"), 4);
    for ifname in ["eth0", "blue"] {
        assert_eq!(code("cannot create network blue: interface name blue is taken on this host", ifname), 7);
        assert_eq!(code("could not apply `ip link add blue address 02:00:00:00:00:01 type bridge`: File exists", ifname), 7);
    }
}
