//! A CNI runtime of the lab's own, as libcni is one: it runs the plugins of a list in order with their environment and input, keeps results in
//! `/var/lib/cni/results`, and gives them back to CHECK and DEL. Never does a plugin's work, and never corrects what a story gets wrong on purpose.

mod answer;
mod cache;
mod call;
mod conflist;
mod holder;
mod ipam;
mod kernel;
mod step;

use std::ops::Deref;

use serde_json::{Map, Value, json};

pub use self::{
    answer::{Refusal, Spoken},
    call::{Call, Running},
    conflist::Conflist,
    holder::Holder,
    ipam::Ipam,
    kernel::Added,
    step::Steps,
};
use crate::{Lab, Station};

/// Where Debian's package puts the reference plugins.
pub const REFERENCE: &str = "/usr/lib/cni";
/// Where a story's own plugins are.
pub const OWN: &str = "/opt/cni/bin";
/// The versions that a runtime of today speaks, oldest first.
pub const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// The runtime.
#[derive(Clone)]
pub struct Cni<'lab> {
    pub(crate) lab: &'lab Lab,
    /// The versions it speaks.
    speaks: Vec<String>,
}

/// A sandbox of the runtime: an id and a network namespace. It is a station.
pub struct Sandbox<'lab> {
    cni: Cni<'lab>,
    /// CNI_CONTAINERID.
    pub id: String,
    /// CNI_NETNS.
    pub netns: String,
    station: Station,
}

/// What the runtime knows of one interface of a sandbox, beside the list: libcni's `RuntimeConf`.
#[derive(Clone)]
pub struct Interface<'lab> {
    cni: Cni<'lab>,
    /// CNI_CONTAINERID.
    pub id: String,
    /// CNI_NETNS.
    pub netns: String,
    /// CNI_IFNAME.
    pub name: String,
    /// CNI_ARGS, in order.
    pub arguments: Vec<(String, String)>,
    /// What plugins get that have the capability.
    pub given: Map<String, Value>,
}

impl Lab {
    /// The runtime on this host.
    pub fn cni(&self) -> Cni<'_> {
        Cni { lab: self, speaks: VERSIONS.map(str::to_owned).to_vec() }
    }
}

impl<'lab> Cni<'lab> {
    /// An older runtime, which speaks no version above this one and knows nothing of `cniVersions`, STATUS and GC.
    pub fn until(mut self, version: &str) -> Self {
        self.speaks.retain(|spoken| newer(version, spoken) || spoken == version);
        self
    }

    /// A new sandbox: its namespace is made, and nothing is attached.
    pub fn sandbox(&self, id: &str) -> Sandbox<'lab> {
        // As long as a file's name is looked at comfortably; ids have 64 bytes.
        let path = format!("/run/netns/{}", self.lab.stranger(&id[..id.len().min(12)]));
        self.sandbox_at(id, self.lab.at(id, &path), &path)
    }

    /// A sandbox with a namespace that is there already.
    pub fn sandbox_at(&self, id: &str, station: Station, netns: &str) -> Sandbox<'lab> {
        Sandbox { cni: self.clone(), id: id.to_owned(), netns: netns.to_owned(), station }
    }

    /// Where plugins are searched, as CNI_PATH has it.
    pub fn path(&self) -> String {
        let ours = self.lab.host().program("");
        [ours.to_string_lossy().trim_end_matches('/'), OWN, REFERENCE].join(":")
    }

    /// What a plugin says to VERSION.
    #[track_caller]
    pub fn versions(&self, plugin: &str) -> Value {
        // libcni sends the newest version it knows, and names that are never used.
        let call = self.call(plugin, "VERSION").env("CNI_NETNS", "dummy").env("CNI_IFNAME", "dummy").env("CNI_CONTAINERID", "dummy");
        call.json(&json!({"cniVersion": self.speaks.last()})).runs().expect_result()
    }

    /// One run of a plugin, with an environment as libcni makes it where there is no attachment: all variables, most of them empty.
    pub fn call(&self, plugin: &str, command: &str) -> Call {
        let mut call = Call::new(self.lab.host().clone(), self.find(plugin)).env("CNI_COMMAND", command).env("CNI_PATH", &self.path());
        for name in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"] {
            call = call.env(name, "");
        }
        call
    }

    /// STATUS: asks each plugin of the list whether it could serve an ADD.
    pub fn status(&self, list: &Conflist) -> Result<(), Refusal> {
        let version = self.version(list);
        if newer("1.1.0", &version) {
            return Ok(());
        }
        list.plugins.iter().try_for_each(|plugin| {
            let input = list.input(plugin, &version, None, None);
            self.call(kind(plugin), "STATUS").json(&input).runs().nothing()
        })
    }

    /// GC: deletes what is cached and not valid, then tells each plugin what is valid, by both spellings of the key.
    pub fn collects(&self, list: &Conflist, valid: &[Interface<'_>]) -> Result<(), Refusal> {
        let version = self.version(list);
        let mut failed = None;
        for stale in cache::all(self.lab, &list.name) {
            if valid.iter().any(|valid| (&valid.id, &valid.name) == (&stale.id, &stale.ifname)) {
                continue;
            }
            let interface = Interface {
                cni: self.clone(),
                id: stale.id,
                netns: stale.netns,
                name: stale.ifname,
                arguments: stale.arguments,
                given: stale.given,
            };
            failed = interface.tries_to_leave(list).err().or(failed);
        }
        if !newer("1.1.0", &version) {
            let valid = attachments(valid);
            for plugin in &list.plugins {
                let mut input = list.input(plugin, &version, None, None);
                input["cni.dev/valid-attachments"] = valid.clone();
                input["cni.dev/attachments"] = valid.clone();
                failed = self.call(kind(plugin), "GC").json(&input).runs().nothing().err().or(failed);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// The version in which plugins of the list are spoken to: the highest of those that it names and the runtime speaks.
    pub fn version(&self, list: &Conflist) -> String {
        let knows_lists_of_versions = self.speaks.iter().any(|version| version == "1.1.0");
        let named = list.versions.iter().take(if knows_lists_of_versions { usize::MAX } else { 1 });
        let mut both: Vec<&String> = named.filter(|version| self.speaks.contains(version)).collect();
        both.sort_by_key(|version| number(version));
        both.last().map_or_else(|| list.versions[0].clone(), |version| (*version).clone())
    }

    /// The plugin's file, searched as libcni does.
    fn find(&self, plugin: &str) -> String {
        let path = self.path();
        let found = path.split(':').map(|dir| format!("{dir}/{plugin}")).find(|file| self.lab.host().path(file).exists());
        found.unwrap_or_else(|| panic!("there is no plugin {plugin} in {path}; build or install it first (cargo xtask setup)"))
    }
}

/// The attachments that are valid, as GC tells them.
pub fn attachments(valid: &[Interface<'_>]) -> Value {
    valid.iter().map(|valid| json!({"containerID": valid.id, "ifname": valid.name})).collect()
}

impl<'lab> Sandbox<'lab> {
    /// An interface to be attached.
    pub fn interface(&self, name: &str) -> Interface<'lab> {
        Interface {
            cni: self.cni.clone(),
            id: self.id.clone(),
            netns: self.netns.clone(),
            name: name.to_owned(),
            arguments: Vec::new(),
            given: Map::new(),
        }
    }

    /// Its `eth0`.
    pub fn eth0(&self) -> Interface<'lab> {
        self.interface("eth0")
    }

    /// Joins with `eth0`; gives the result.
    #[track_caller]
    pub fn joins(&self, list: &Conflist) -> Added {
        self.eth0().joins(list)
    }

    /// Leaves with `eth0`.
    #[track_caller]
    pub fn leaves(&self, list: &Conflist) {
        self.eth0().leaves(list);
    }

    /// Serves TCP on a port from now on.
    pub fn listens(self, port: u16) -> Self {
        self.station.serves(port);
        self
    }

    /// Its namespace goes, as when the container ended; its processes and sockets with it.
    pub fn ends(&self) {
        self.station.stops_serving();
        self.cni.lab.here().run("ip", &["netns", "del", self.netns.trim_start_matches("/run/netns/")]);
    }
}

impl Deref for Sandbox<'_> {
    type Target = Station;
    fn deref(&self) -> &Station {
        &self.station
    }
}

impl Interface<'_> {
    /// With one more of CNI_ARGS.
    pub fn argument(mut self, key: &str, value: &str) -> Self {
        self.arguments.push((key.to_owned(), value.to_owned()));
        self
    }

    /// As a kubelet names its pods.
    pub fn of_pod(self, namespace: &str, name: &str) -> Self {
        let id = self.id.clone();
        self.argument("IgnoreUnknown", "1")
            .argument("K8S_POD_NAMESPACE", namespace)
            .argument("K8S_POD_NAME", name)
            .argument("K8S_POD_INFRA_CONTAINER_ID", &id)
            .argument("K8S_POD_UID", "7d1c3c5e-0000-4000-8000-000000000001")
    }

    /// With something for plugins that have this capability.
    pub fn given(mut self, capability: &str, value: Value) -> Self {
        self.given.insert(capability.to_owned(), value);
        self
    }

    /// With a port of the host that leads to one of its own.
    pub fn port(mut self, host: u16, container: u16, protocol: &str) -> Self {
        let ports = self.given.entry("portMappings").or_insert_with(|| json!([]));
        let all = ports.as_array_mut().expect("only ports are given here");
        all.push(json!({"hostPort": host, "containerPort": container, "protocol": protocol}));
        self
    }

    /// ADD, which succeeds; gives the result.
    #[track_caller]
    pub fn joins(&self, list: &Conflist) -> Added {
        let tried = self.tries_to_join(list);
        tried.unwrap_or_else(|refusal| panic!("{} cannot join {}: {refusal}", self.id, list.name))
    }

    /// ADD, which is refused with this code; gives the refusal.
    #[track_caller]
    pub fn cannot_join(&self, list: &Conflist, code: u64) -> Refusal {
        self.is_refused(list).with_code(code)
    }

    /// ADD, which is refused; gives the refusal.
    #[track_caller]
    pub fn is_refused(&self, list: &Conflist) -> Refusal {
        match self.tries_to_join(list) {
            Ok(added) => panic!("{} should not have joined {}: {}", self.id, list.name, added.json),
            Err(refusal) => refusal,
        }
    }

    /// ADD, whatever comes of it: each plugin gets the former one's result, the last one's is cached.
    #[track_caller]
    pub fn tries_to_join(&self, list: &Conflist) -> Result<Added, Refusal> {
        let version = self.cni.version(list);
        let mut result = None;
        for plugin in &list.plugins {
            result = Some(self.adds(list, plugin, &version, result.as_ref()).runs().result()?);
        }
        let result = result.expect("a list has a plugin");
        cache::keep(self, list, &result);
        Ok(Added { json: result, ifname: self.name.clone(), netns: self.netns.clone() })
    }

    /// The run of one plugin for ADD.
    pub fn adds(&self, list: &Conflist, plugin: &Value, version: &str, before: Option<&Value>) -> Call {
        self.call(kind(plugin), "ADD").json(&list.input(plugin, version, Some(&self.given), before))
    }

    /// The run of the list's first plugin for a command, with what is cached.
    pub fn runs(&self, list: &Conflist, command: &str) -> Call {
        let cached = if command == "ADD" { None } else { cache::result(self, list) };
        self.call(kind(&list.plugins[0]), command).json(&list.input(
            &list.plugins[0],
            &self.cni.version(list),
            Some(&self.given),
            cached.as_ref(),
        ))
    }

    /// CHECK, which finds nothing wrong.
    #[track_caller]
    pub fn is_well(&self, list: &Conflist) {
        self.checks(list).unwrap_or_else(|refusal| panic!("{} on {} is not well: {refusal}", self.id, list.name));
    }

    /// CHECK: each plugin gets the cached result. Older versions have no CHECK.
    #[track_caller]
    pub fn checks(&self, list: &Conflist) -> Result<(), Refusal> {
        let version = self.cni.version(list);
        assert!(!newer("0.4.0", &version), "{version} has no CHECK");
        let cached = cache::result(self, list);
        list.plugins.iter().try_for_each(|plugin| {
            let input = list.input(plugin, &version, Some(&self.given), cached.as_ref());
            self.call(kind(plugin), "CHECK").json(&input).runs().nothing()
        })
    }

    /// DEL, which succeeds.
    #[track_caller]
    pub fn leaves(&self, list: &Conflist) {
        self.tries_to_leave(list).unwrap_or_else(|refusal| panic!("{} cannot leave {}: {refusal}", self.id, list.name));
    }

    /// DEL: the plugins in reverse order, each with the cached result where the version has it, and with what ADD was given.
    #[track_caller]
    pub fn tries_to_leave(&self, list: &Conflist) -> Result<(), Refusal> {
        let version = self.cni.version(list);
        let mut as_added = self.clone();
        if let Some(cached) = cache::attachment(self, list) {
            (as_added.arguments, as_added.given) = (cached.arguments, cached.given);
        }
        let cached = if newer("0.4.0", &version) { None } else { cache::result(self, list) };
        for plugin in list.plugins.iter().rev() {
            let input = list.input(plugin, &version, Some(&as_added.given), cached.as_ref());
            as_added.call(kind(plugin), "DEL").json(&input).runs().nothing()?;
        }
        cache::forget(self, list);
        Ok(())
    }

    /// A run of a plugin with the environment of this attachment, and no input yet.
    pub fn call(&self, plugin: &str, command: &str) -> Call {
        let arguments: Vec<String> = self.arguments.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let call = self.cni.call(plugin, command).env("CNI_CONTAINERID", &self.id).env("CNI_NETNS", &self.netns);
        call.env("CNI_IFNAME", &self.name).env("CNI_ARGS", &arguments.join(";"))
    }
}

fn kind(plugin: &Value) -> &str {
    plugin["type"].as_str().expect("a plugin has a type")
}

/// A version as numbers that compare.
fn number(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// Whether `version` is above `other`.
fn newer(version: &str, other: &str) -> bool {
    number(version) > number(other)
}
