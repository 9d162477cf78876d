//! Network configuration lists, and what one plugin of a list gets on its standard input. Never checks what a story wrote.

use serde_json::{Map, Value, json};

/// What a plugin may declare; ours declares all that is of use to it.
const CAPABILITIES: [&str; 8] = ["portMappings", "ips", "ipRanges", "mac", "aliases", "dns", "cgroupPath", "bandwidth"];

/// A list as a file of `/etc/cni/net.d` has it.
#[derive(Debug, Clone)]
pub struct Conflist {
    /// The network's name.
    pub name: String,
    /// `cniVersion`, then `cniVersions`.
    pub versions: Vec<String>,
    /// The plugins, in order.
    pub plugins: Vec<Value>,
}

impl Conflist {
    /// A list of one plugin; version 1.1.0.
    pub fn of(name: &str, plugin: Value) -> Self {
        Self { name: name.to_owned(), versions: vec!["1.1.0".to_owned()], plugins: vec![plugin] }
    }

    /// A list of our plugin alone, with all its capabilities and these further keys.
    pub fn netd(name: &str, keys: Value) -> Self {
        let mut plugin = keys;
        plugin["type"] = json!("netd-cni");
        plugin["capabilities"] = CAPABILITIES.iter().map(|name| ((*name).to_owned(), json!(true))).collect::<Map<_, _>>().into();
        Self::of(name, plugin)
    }

    /// A list as a user of the reference plugin `bridge` has it: two families, the bridge as the way out, masqueraded.
    pub fn dual(name: &str) -> Self {
        let ipam = json!({"type": "host-local", "ranges": [[{"subnet": "10.4.0.0/24"}], [{"subnet": "fd00:4::/64"}]]});
        Self::netd(name, json!({"isDefaultGateway": true, "ipMasq": true, "ipam": ipam}))
    }

    /// The same with another subnet of each family, `10.N.0.0/24` and `fd00:N::/64`.
    pub fn dual_at(name: &str, number: u8) -> Self {
        let ranges = json!([[{"subnet": format!("10.{number}.0.0/24")}], [{"subnet": format!("fd00:{number}::/64")}]]);
        Self::dual(name).with("ipam", json!({"type": "host-local", "ranges": ranges}))
    }

    /// A list that names one of netd's networks.
    pub fn named(name: &str, network: &str) -> Self {
        Self::netd(name, json!({"network": network}))
    }

    /// One more plugin, after those that are there.
    pub fn then(mut self, plugin: Value) -> Self {
        self.plugins.push(plugin);
        self
    }

    /// In this version.
    pub fn version(mut self, version: &str) -> Self {
        self.versions = vec![version.to_owned()];
        self
    }

    /// Offers this version too.
    pub fn or_version(mut self, version: &str) -> Self {
        self.versions.push(version.to_owned());
        self
    }

    /// With another value of a key of its first plugin; null takes the key away.
    pub fn with(mut self, key: &str, value: Value) -> Self {
        let plugin = self.plugins[0].as_object_mut().expect("a plugin is an object");
        if value.is_null() {
            plugin.remove(key);
        } else {
            plugin.insert(key.to_owned(), value);
        }
        self
    }

    /// The file.
    pub fn file(&self) -> String {
        json!({"cniVersion": self.versions[0], "cniVersions": self.versions, "name": self.name, "plugins": self.plugins}).to_string()
    }

    /// What one of its plugins reads: its own keys, name and version of the list, what the runtime has for its capabilities (none: the command
    /// is about no attachment), and a result.
    pub fn input(&self, plugin: &Value, version: &str, given: Option<&Map<String, Value>>, result: Option<&Value>) -> Value {
        let mut input = plugin.clone();
        input["name"] = json!(self.name);
        input["cniVersion"] = json!(version);
        if let Some(result) = result {
            input["prevResult"] = result.clone();
        }
        if let Some(given) = given {
            let has = |name: &str| plugin["capabilities"][name] == true;
            let fitting: Map<_, _> =
                given.iter().filter(|(name, _)| has(name)).map(|(name, value)| (name.clone(), value.clone())).collect();
            if !fitting.is_empty() {
                input["runtimeConfig"] = fitting.into();
            }
        }
        input
    }
}
