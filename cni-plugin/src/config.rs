//! The keys that every verb needs: who is meant, where netd is, how long to wait. Never reads what only ADD needs, so that DEL is not in its way.

use std::{path::PathBuf, time::Duration};

use netd_api::{DEFAULT_SOCKET, names::NetworkName};
use serde_json::Value;

use crate::{
    env::{Variables, Verb, is_word},
    error::{BAD_CONFIG, CniError, UNDECODABLE},
    ipam::Kind,
    json::Object,
    version::Version,
};

/// A configuration may have so many bytes.
pub const MOST_BYTES: u64 = 1 << 20;
/// How long is tried to connect.
const CONNECT: Duration = Duration::from_secs(3);
/// How long is waited for an answer.
const ANSWER: Duration = Duration::from_secs(20);

/// What every verb needs.
#[derive(Debug, Clone)]
pub struct Config {
    /// The version that results are written in.
    pub version: Version,
    /// `name`, in the form that the specification wants.
    pub name: String,
    /// `type`: the name that we run under in this configuration.
    pub kind: String,
    /// Who gives addresses.
    pub ipam: Kind,
    /// `prevResult`.
    pub previous: Option<Value>,
    /// netd's socket.
    pub socket: PathBuf,
    /// netd's directory for what ends with the boot.
    pub run_dir: PathBuf,
    /// Where the runtime's configurations are.
    pub conf_dir: PathBuf,
    /// How long netd may be unreachable.
    pub connect: Duration,
    /// How long netd, or a delegated plugin, may take to answer.
    pub answer: Duration,
}

/// What came on stdin, as JSON.
///
/// # Errors
/// It is none, or too large.
pub fn decode(stdin: &[u8]) -> Result<Value, CniError> {
    if stdin.len() as u64 > MOST_BYTES {
        return Err(CniError::new(UNDECODABLE, format!("the network configuration on stdin is larger than {MOST_BYTES} bytes"))
            .details("a plugin gets its own part of the list, not the list"));
    }
    if stdin.iter().all(u8::is_ascii_whitespace) {
        return Err(CniError::new(UNDECODABLE, "there is no network configuration on stdin").details("a container runtime writes it there"));
    }
    serde_json::from_slice(stdin).map_err(|why| CniError::new(UNDECODABLE, format!("the network configuration on stdin is no JSON: {why}")))
}

impl Config {
    /// Reads them.
    ///
    /// # Errors
    /// What is wrong, by key.
    pub fn of(value: &Value, variables: &Variables, verb: Verb) -> Result<Self, CniError> {
        let root = Object::root(value)?;
        let version = Version::meant(value)?;
        let name = root.text("name")?.ok_or_else(|| CniError::config("missing network name").details("the key \"name\" is needed"))?;
        if !is_word(name) {
            return Err(CniError::config(format!(
                "invalid characters found in network name: {:?}",
                name.chars().take(80).collect::<String>()
            ))
            .details("use A-Z, a-z, 0-9, '_', '.' and '-', the first a letter or digit"));
        }
        let path = |key: &str, variable: &str, default: &str| -> Result<PathBuf, CniError> {
            let said = root.text(key)?.map(PathBuf::from).or_else(|| variables.raw(variable).map(PathBuf::from));
            Ok(said.unwrap_or_else(|| PathBuf::from(default)))
        };
        let patience = root.number("patienceMs", 600_000)?.map(Duration::from_millis);
        Ok(Self {
            version,
            name: name.to_owned(),
            kind: root.text("type")?.unwrap_or("netd-cni").to_owned(),
            // What ADD refused has left nothing that DEL must take away.
            ipam: Kind::of(&root).or_else(|error| if verb == Verb::Del { Ok(Kind::Netd) } else { Err(error) })?,
            previous: root.get("prevResult").map(|field| field.value.clone()),
            socket: path("socket", "NETD_SOCKET", DEFAULT_SOCKET)?,
            run_dir: path("runDir", "NETD_RUN_DIR", "/run/netd")?,
            conf_dir: path("confDir", "NETCONFPATH", "/etc/cni/net.d")?,
            connect: patience.map_or(CONNECT, |patience| patience.min(CONNECT)),
            // A timeout of nothing means none at all to the kernel.
            answer: patience.map_or(ANSWER, |patience| patience.max(Duration::from_millis(1))),
        })
    }

    /// The name as netd's type.
    ///
    /// # Errors
    /// The specification allows it, netd does not.
    pub fn network_name(&self) -> Result<NetworkName, CniError> {
        self.name.parse().map_err(|why| CniError::new(BAD_CONFIG, format!("name cannot be used: {why}")))
    }
}
