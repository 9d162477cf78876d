//! What libcni remembers of an attachment, in the file where it does: `/var/lib/cni/results/NETWORK-CONTAINER-INTERFACE`.
//! (libcni writes the configuration in base64; nobody reads it here.) Never decides which attachment is stale.

use std::{fs, path::PathBuf};

use serde_json::{Map, Value, json};

use super::{Conflist, Interface};
use crate::Lab;

const DIR: &str = "/var/lib/cni/results";

/// An attachment that was added and not deleted.
pub(super) struct Cached {
    pub(super) id: String,
    pub(super) ifname: String,
    pub(super) netns: String,
    pub(super) arguments: Vec<(String, String)>,
    pub(super) given: Map<String, Value>,
}

/// Remembers what ADD was given, and its result.
pub(super) fn keep(interface: &Interface<'_>, list: &Conflist, result: &Value) {
    let file = file(interface, list);
    fs::create_dir_all(file.parent().expect("it is in a directory")).expect("the private host's /var/lib can be written");
    let cached = json!({
        "kind": "cniCacheV1",
        "containerId": interface.id,
        "config": list.file(),
        "ifName": interface.name,
        "networkName": list.name,
        "netns": interface.netns,
        "cniArgs": interface.arguments,
        "capabilityArgs": interface.given,
        "result": result,
    });
    fs::write(file, cached.to_string()).expect("the private host's /var/lib can be written");
}

/// The result of ADD.
pub(super) fn result(interface: &Interface<'_>, list: &Conflist) -> Option<Value> {
    read(&file(interface, list)).map(|mut cached| cached["result"].take())
}

/// What ADD was given.
pub(super) fn attachment(interface: &Interface<'_>, list: &Conflist) -> Option<Cached> {
    read(&file(interface, list)).map(|cached| Cached::from(&cached))
}

/// Forgets it.
pub(super) fn forget(interface: &Interface<'_>, list: &Conflist) {
    // It may never have been added.
    let _ = fs::remove_file(file(interface, list));
}

/// All attachments of a network, in the order of their files' names.
pub(super) fn all(lab: &Lab, network: &str) -> Vec<Cached> {
    let mut files: Vec<PathBuf> = fs::read_dir(lab.host().path(DIR)).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    let cached = files.iter().filter_map(read).filter(|cached| cached["networkName"] == network);
    cached.map(|cached| Cached::from(&cached)).collect()
}

impl From<&Value> for Cached {
    fn from(cached: &Value) -> Self {
        let text = |key: &str| cached[key].as_str().unwrap_or_default().to_owned();
        Self {
            id: text("containerId"),
            ifname: text("ifName"),
            netns: text("netns"),
            arguments: serde_json::from_value(cached["cniArgs"].clone()).unwrap_or_default(),
            given: cached["capabilityArgs"].as_object().cloned().unwrap_or_default(),
        }
    }
}

fn file(interface: &Interface<'_>, list: &Conflist) -> PathBuf {
    interface.cni.lab.host().path(&format!("{DIR}/{}-{}-{}", list.name, interface.id, interface.name))
}

fn read(file: &PathBuf) -> Option<Value> {
    let cached: Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    (cached["kind"] == "cniCacheV1").then_some(cached)
}
