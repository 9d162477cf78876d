//! The document, the router and the client say the same.

use std::collections::BTreeSet;

use netd_api::{
    client::{Sent, sent},
    cni::{CniAdd, CniAttachment, CniCheck, CniGc, CniKey, CniNetwork, CniStatus},
    flow::FlowQuery,
    policy::{FlowVerdict, PolicyFile, PolicyFiles},
    publish::Protocol,
    spec::{AttachSpec, ContainerChange, ContainerSpec, Guard, NamedPort, NetworkSpec},
};
use serde_json::{Value, json};

use super::*;
use crate::server::{
    given::{self, Given},
    openapi,
    routes::{ROUTES, Route},
};

/// At least one of each kind.
fn every_request() -> Vec<Request> {
    let name = || "prod/web-1".parse().expect("a good name");
    let net = || "lan".parse().expect("a good name");
    let policy = || "shop/db.v1".parse().expect("a good name");
    let publish = || "[fd00::1]:8080:80/udp".parse().expect("a good publish");
    let mut network = NetworkSpec::named(net());
    network.subnets = vec!["10.4.0.0/24".parse().expect("good"), "fd00:4::/64".parse().expect("good")];
    network.ip_ranges = vec!["10.4.0.128/25".parse().expect("good")];
    network.labels.insert("team".parse().expect("good"), "shop".parse().expect("good"));
    let mut attach = AttachSpec::to(net());
    attach.addresses = vec!["10.4.0.9".parse().expect("good")];
    attach.mac = Some("02:42:ac:11:00:02".parse().expect("good"));
    attach.ifname = Some("eth1".parse().expect("good"));
    let mut container = ContainerSpec::named("web".parse().expect("good"));
    container.networks = vec![attach.clone()];
    container.publish = vec![publish()];
    let mut adopted = ContainerSpec::named("other".parse().expect("good"));
    adopted.netns = netd_api::spec::Source::Pid(7);
    adopted.allow_addresses = vec!["10.9.0.0/24".parse().expect("good"), "fd00:9::1/128".parse().expect("good")];
    adopted.guard = Guard::Off;
    let mut change = ContainerChange::default();
    change.labels.insert("app".parse().expect("good"), None);
    change.namespace = "prod".parse().ok();
    change.ports.insert("dns".to_owned(), Some(NamedPort { port: 53, protocol: Protocol::Udp }));
    change.ports.insert("old".to_owned(), None);
    vec![
        Request::Status,
        Request::Networks,
        Request::Network(net()),
        Request::CreateNetwork(network),
        Request::RemoveNetwork(net()),
        Request::PruneNetworks,
        Request::Connect(name(), attach),
        Request::Disconnect(name(), net(), None),
        Request::Disconnect(name(), net(), "eth+1".parse().ok()),
        Request::Containers,
        Request::Container(name()),
        Request::CreateContainer(container),
        Request::CreateContainer(adopted),
        Request::ChangeContainer(name(), change),
        Request::RemoveContainer(name()),
        Request::Ports(None),
        Request::Ports(Some(name())),
        Request::Publish(name(), publish()),
        Request::Unpublish(name(), None),
        Request::Unpublish(name(), Some(publish())),
        Request::CniAdd(Box::new(cni_add())),
        Request::CniDel(cni_key()),
        Request::CniCheck(Box::new(CniCheck {
            key: cni_key(),
            netns: "/run/netns/c0ffee".to_owned(),
            addresses: vec!["10.4.0.9/24".parse().expect("good"), "fd00:4::9/64".parse().expect("good")],
            routes: cni_add().routes.unwrap_or_default(),
            mac: cni_add().mac,
        })),
        Request::CniStatus(Box::new(CniStatus { config: net(), network: CniNetwork::Named(net()) })),
        Request::CniGc(CniGc { config: net(), valid: vec![CniAttachment { container: cni_key().container, ifname: cni_key().ifname }] }),
        Request::Policies,
        Request::ApplyPolicies(Box::new(PolicyFiles {
            files: vec![PolicyFile { name: "-".to_owned(), text: "kind: List\n# \u{e4} and \"\n".to_owned() }],
            skip_other_kinds: true,
            dry_run: true,
        })),
        Request::Policy(policy()),
        Request::RemovePolicy(policy()),
        Request::Advise(name()),
        Request::Flows(FlowQuery::default()),
        Request::Flows(FlowQuery {
            container: Some(name()),
            verdict: Some(FlowVerdict::Audit),
            since: Some(1_796_000_000),
            after: Some(7),
        }),
        Request::Plan,
        Request::Cleanup,
    ]
}

fn cni_key() -> CniKey {
    serde_json::from_value(json!({ "config": "podman", "container": "c0ffee", "ifname": "eth0" })).expect("good")
}

/// With everything that can be asked for.
fn cni_add() -> CniAdd {
    let range = json!({ "subnet": "10.4.0.0/24", "first": "10.4.0.2", "last": "10.4.0.99", "gateway": "10.4.0.1" });
    let inline = json!({
        "bridge": "cni0", "mtu": 1400, "masquerade": true, "gateway": true, "hairpin": true, "promiscuous": true, "icc": false,
        "labels": { "team": "shop" }, "addressing": { "sets": [[range], [{ "subnet": "fd00:4::/64" }]] },
    });
    serde_json::from_value(json!({
        "key": cni_key(),
        "netns": "/run/netns/c0ffee",
        "name": "prod/web",
        "namespace": "prod",
        "labels": { "app": "web" },
        "cgroup": "/machine.slice/c0ffee",
        "network": { "inline": inline },
        "addresses": [{ "address": "10.4.0.9", "prefix": 24, "gateway": "10.4.0.1" }],
        "mac": "02:42:ac:11:00:02",
        "routes": [{ "dst": "0.0.0.0/0", "gw": "10.4.0.1", "mtu": 1400, "advmss": 1360, "priority": 7, "table": 100, "scope": 0 }],
        "publish": ["8080:80", "[fd00::1]:5353:53/udp"],
        "bandwidth": { "ingress": { "bits_per_second": 1000, "burst_bits": 80 }, "egress": { "bits_per_second": 1000 } },
        "sysctls": { "net/ipv4/conf/eth0/arp_ignore": "1" },
        "aliases": ["db"],
    }))
    .expect("good")
}

/// The route that a path belongs to, and what was given with it: what axum does, in small.
fn route(sent: &Sent) -> (&'static Route, Given) {
    let (path, query) = sent.path.split_once('?').unwrap_or((&sent.path, ""));
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |route: &&Route| {
        let known: Vec<&str> = route.path.split('/').collect();
        route.method == sent.method
            && known.len() == parts.len()
            && known.iter().zip(&parts).all(|(known, part)| known.starts_with('{') || known == part)
    };
    let route = ROUTES.iter().find(fits).unwrap_or_else(|| panic!("no route for {sent:?}"));
    let names = route.path.split('/').zip(&parts).filter_map(|(known, part)| {
        let name = known.strip_prefix('{')?.strip_suffix('}')?;
        let value = given::query(&format!("x={part}")).expect("the client encodes well").remove(0).1;
        Some((name.to_owned(), value))
    });
    let given = Given {
        names: names.collect(),
        query: given::query(query).expect("the client encodes well"),
        body: sent.body.clone().unwrap_or_default().into(),
    };
    (route, given)
}

#[test]
fn what_the_client_sends_the_server_reads_as_the_same_request() {
    let mut used = BTreeSet::new();
    for request in every_request() {
        let (route, given) = route(&sent(&request));
        assert_eq!(route.request(&given).unwrap_or_else(|fault| panic!("{request:?}: {fault}")), request);
        used.insert((route.method, route.path));
    }
    assert_eq!(used.len(), ROUTES.len(), "every route is used by the client");
}

#[test]
fn what_the_client_sends_arrives_over_the_socket() {
    let (tell, heard) = channel();
    let api = Api::answering(Limits::default(), move |ask| {
        tell.send(ask.request).expect("the test listens");
        let _gone = ask.answer.send(Ok(Reply::Removed));
    });
    let client = api.client();
    for request in every_request() {
        // The player's reply fits only some; what matters is what was asked.
        let _reply = client.send(&request);
        assert_eq!(heard.try_recv().as_ref(), Ok(&request));
    }
}

#[test]
fn every_route_stands_in_the_document_and_nothing_else_does() {
    let document = openapi::document();
    let mut listed = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            listed.insert((method.to_uppercase(), path.clone()));
        }
    }
    let mut known: BTreeSet<_> = ROUTES.iter().map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
    assert_eq!(known.len(), ROUTES.len(), "no route stands there twice");
    known.insert(("GET".to_owned(), "/v1/openapi.json".to_owned()));
    assert_eq!(listed, known);
    assert_eq!(document["openapi"], "3.1.0");
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let in_path = path.matches('{').count();
            let told = operation["parameters"].as_array().into_iter().flatten().filter(|parameter| parameter["in"] == "path").count();
            assert_eq!(told, in_path, "{method} {path}");
            assert!(operation["summary"].is_string() && operation["responses"].is_object(), "{method} {path}");
        }
    }
}

#[test]
fn a_word_that_must_be_there_is_so_in_the_document() {
    let document = openapi::document();
    let needed = |path: &str, word: &str| {
        let parameters = document["paths"][path]["get"]["parameters"].as_array().expect("it has some");
        parameters.iter().find(|parameter| parameter["name"] == word).expect("it is told")["required"].as_bool()
    };
    assert_eq!(needed("/v1/policy", "name"), Some(true));
    assert_eq!(needed("/v1/flows", "container"), Some(false));
}

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    fn follow(document: &Value, at: &Value) {
        match at {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let target = reference.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
                    assert!(target.is_some(), "{reference} leads nowhere");
                }
                fields.values().for_each(|value| follow(document, value));
            }
            Value::Array(items) => items.iter().for_each(|value| follow(document, value)),
            _ => {}
        }
    }
    let document = openapi::document();
    follow(&document, &document);
}

#[test]
fn each_example_and_each_sent_body_fits_its_schema_and_a_wrong_one_does_not() {
    let document = openapi::document();
    let content = |route: &Route| &document["paths"][route.path][route.method.to_lowercase()]["requestBody"]["content"]["application/json"];
    for route in ROUTES.iter().filter(|route| route.takes.is_some()) {
        let schema = &content(route)["schema"];
        fits(&document, schema, &content(route)["example"]).unwrap_or_else(|why| panic!("{} {}: {why}", route.method, route.path));
        let wrong = json!({ "no such field": 1 });
        assert!(fits(&document, schema, &wrong).is_err(), "{} {} takes anything", route.method, route.path);
        let body = content(route)["example"].to_string().into();
        let names = ["name", "network"].map(|key| (key.to_owned(), "x".to_owned())).into();
        let given = Given { names, query: Vec::new(), body };
        route.request(&given).unwrap_or_else(|fault| panic!("{} {}: {fault}", route.method, route.path));
    }
    for request in every_request() {
        let sent = sent(&request);
        if let Some(body) = &sent.body {
            let body: Value = serde_json::from_slice(body).expect("it is JSON");
            fits(&document, &content(route(&sent).0)["schema"], &body).unwrap_or_else(|why| panic!("{request:?}: {why}"));
        }
    }
}

/// As much of JSON Schema as our types use, but patterns: those are compared with the parsers in netd-api.
fn fits(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let refused = |why: &str| Err(format!("{value} {why} {schema}"));
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#')).ok_or("a reference to nowhere")?;
        fits(document, target, value)?;
    }
    for (word, least) in [("anyOf", 1), ("oneOf", 1)] {
        if let Some(ways) = schema[word].as_array() {
            let count = ways.iter().filter(|way| fits(document, way, value).is_ok()).count();
            if count < least || (word == "oneOf" && count > 1) {
                return refused("fits none or too many of");
            }
        }
    }
    let is = |kind: &Value| match kind.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("null") => value.is_null(),
        _ => false,
    };
    match &schema["type"] {
        Value::Null => {}
        Value::Array(kinds) if kinds.iter().any(is) => {}
        kind if is(kind) => {}
        _ => return refused("is of another type than"),
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) || schema.get("const").is_some_and(|word| word != value) {
        return refused("is another word than");
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        if value.is_object() && value.get(required.as_str().unwrap_or_default()).is_none() {
            return refused("lacks a field of");
        }
    }
    for (key, field) in value.as_object().into_iter().flatten() {
        if let Some(known) = schema["properties"].get(key) {
            fits(document, known, field)?;
        } else if let Some(pattern) = schema["patternProperties"].as_object().and_then(|patterns| patterns.values().next()) {
            fits(document, pattern, field)?;
        } else if schema["additionalProperties"] == json!(false) {
            return refused("has a field more than");
        } else if schema["additionalProperties"].is_object() {
            fits(document, &schema["additionalProperties"], field)?;
        }
    }
    value.as_array().into_iter().flatten().try_for_each(|item| fits(document, &schema["items"], item))
}
