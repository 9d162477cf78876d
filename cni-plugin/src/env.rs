//! The environment of a call: CNI_* and CNI_ARGS, read once and checked. Never reads the process's own; it is handed in.

use std::{collections::BTreeMap, ffi::OsString};

use netd_api::names::{ContainerId, ContainerName, IfName, LabelKey, LabelValue, Namespace};

use crate::error::{BAD_ENVIRONMENT, CniError};

/// Where Kubernetes' own tools keep a pod's UID among the labels of a container.
const UID_LABEL: &str = "io.kubernetes.pod.uid";

/// The variables that matter here. What is not set and what is empty is the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<&'static str, OsString>);

/// All of them; nothing else is read.
const NAMES: [&str; 9] =
    ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH", "NETCONFPATH", "NETD_RUN_DIR", "NETD_SOCKET"];

impl Variables {
    /// As a function gives them.
    pub fn from(get: impl Fn(&str) -> Option<OsString>) -> Self {
        Self(NAMES.into_iter().filter_map(|name| Some((name, get(name)?))).filter(|(_, value)| !value.is_empty()).collect())
    }

    /// Whether no verb is given: somebody typed the program's name.
    pub fn is_no_call(&self) -> bool {
        !self.0.contains_key("CNI_COMMAND")
    }

    /// A variable as it is, for paths.
    pub fn raw(&self, name: &str) -> Option<&OsString> {
        self.0.get(name)
    }

    fn text(&self, name: &str) -> Result<&str, CniError> {
        self.0.get(name).map_or(Ok(""), |value| value.to_str().ok_or_else(|| bad(name, "no UTF-8")))
    }
}

/// What a runtime wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// An interface for a container.
    Add,
    /// It goes.
    Del,
    /// Whether it is as it was made.
    Check,
    /// Whether ADD would work.
    Status,
    /// Everything but what is named goes.
    Gc,
    /// Which versions are spoken.
    Version,
}

impl Verb {
    /// What CNI_COMMAND says.
    ///
    /// # Errors
    /// It is none of the specification's.
    pub fn of(variables: &Variables) -> Result<Self, CniError> {
        Ok(match variables.text("CNI_COMMAND")? {
            "ADD" => Self::Add,
            "DEL" => Self::Del,
            "CHECK" => Self::Check,
            "STATUS" => Self::Status,
            "GC" => Self::Gc,
            "VERSION" => Self::Version,
            other => {
                let other: String = other.chars().take(40).collect();
                return Err(CniError::new(BAD_ENVIRONMENT, format!("unknown CNI_COMMAND: {other}"))
                    .details("it is one of ADD, DEL, CHECK, STATUS, GC, VERSION"));
            }
        })
    }

    /// The variables without which it cannot be done. DEL may lack the namespace: it may be gone.
    fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Add | Self::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
            Self::Del => &["CNI_CONTAINERID", "CNI_IFNAME"],
            Self::Status | Self::Gc | Self::Version => &[],
        }
    }

    /// That all it needs is there.
    ///
    /// # Errors
    /// The message names what is missing.
    pub fn has_all(self, variables: &Variables) -> Result<(), CniError> {
        let missing: Vec<_> = self.needs().iter().filter(|name| variables.raw(name).is_none()).copied().collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(CniError::new(BAD_ENVIRONMENT, format!("required env variables [{}] missing", missing.join(",")))
            .details("a container runtime sets them; see the CNI specification, section 2"))
    }
}

/// The attachment that the environment names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// CNI_CONTAINERID.
    pub container: ContainerId,
    /// CNI_IFNAME.
    pub ifname: IfName,
    /// CNI_NETNS, verbatim; empty with DEL where there is none any more.
    pub netns: String,
    /// CNI_ARGS.
    pub args: Args,
}

impl Attachment {
    /// For ADD and CHECK.
    ///
    /// # Errors
    /// The message names the variable.
    pub fn of(variables: &Variables) -> Result<Self, CniError> {
        let (container, ifname) = well_formed(variables)?;
        let container = container.parse().map_err(|why| bad("CNI_CONTAINERID", &format!("cannot be used: {why}")))?;
        let ifname = ifname.parse().map_err(|why| bad("CNI_IFNAME", &format!("cannot be used: {why}")))?;
        let netns = variables.text("CNI_NETNS")?;
        if !netns.starts_with('/') || netns.len() > 4095 {
            return Err(bad("CNI_NETNS", &format!("must be an absolute path, and is {:?}", netns.chars().take(80).collect::<String>())));
        }
        Ok(Self { container, ifname, netns: netns.to_owned(), args: Args::of(variables)? })
    }

    /// For DEL; none if netd could never have had it.
    ///
    /// # Errors
    /// The specification itself does not allow the name.
    pub fn to_remove(variables: &Variables) -> Result<Option<(ContainerId, IfName)>, CniError> {
        let (container, ifname) = well_formed(variables)?;
        Ok(container.parse().ok().zip(ifname.parse().ok()))
    }
}

/// Container id and interface name in the form that the specification wants. Ours is a little narrower.
fn well_formed(variables: &Variables) -> Result<(&str, &str), CniError> {
    let container = variables.text("CNI_CONTAINERID")?;
    if !is_word(container) {
        return Err(bad(
            "CNI_CONTAINERID",
            "invalid characters in containerID: use A-Z, a-z, 0-9, '_', '.' and '-', the first a letter or digit",
        ));
    }
    let ifname = variables.text("CNI_IFNAME")?;
    if ifname.len() > 15 {
        return Err(bad("CNI_IFNAME", "interface name is too long: use up to 15 bytes"));
    }
    if [".", ".."].contains(&ifname) || ifname.contains(|c: char| "/:".contains(c) || c.is_whitespace()) {
        return Err(bad("CNI_IFNAME", "interface name is . or .. or contains / or : or white space"));
    }
    Ok((container, ifname))
}

/// The form of container ids and network names.
pub fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

fn bad(name: &str, why: &str) -> CniError {
    CniError::new(BAD_ENVIRONMENT, format!("{name}: {why}"))
}

/// What CNI_ARGS says; what we do not know is passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Args {
    /// IP: addresses, each with or without the length of its prefix.
    pub ip: Vec<String>,
    /// GATEWAY, as the plugin `static` has it.
    pub gateway: Vec<String>,
    /// MAC, as the plugin `bridge` has it.
    pub mac: Option<String>,
    /// `K8S_POD_NAMESPACE/K8S_POD_NAME`, or the latter alone.
    pub name: Option<ContainerName>,
    /// K8S_POD_NAMESPACE.
    pub namespace: Namespace,
    /// K8S_POD_UID, as a label.
    pub uid: Option<(LabelKey, LabelValue)>,
}

impl Args {
    fn of(variables: &Variables) -> Result<Self, CniError> {
        let mut given = BTreeMap::new();
        for pair in variables.text("CNI_ARGS")?.split(';').filter(|pair| !pair.trim().is_empty()) {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| bad("CNI_ARGS", &format!("an invalid pair {:?}; write K=V;K=V", short(pair))))?;
            given.insert(key.trim(), value.trim());
        }
        let value = |key| given.get(key).copied().filter(|value: &&str| !value.is_empty());
        let several =
            |key| value(key).into_iter().flat_map(|list| list.split(',')).map(|one| one.trim().to_owned()).filter(|one| !one.is_empty());
        // Policies are chosen by the namespace, so a wrong one must not become the default one.
        let namespace = value("K8S_POD_NAMESPACE")
            .map(|text| text.parse::<Namespace>().map_err(|why| bad("CNI_ARGS", &format!("a bad K8S_POD_NAMESPACE: {why}"))))
            .transpose()?;
        // A name is for people: one that cannot be ours is left out.
        let name = value("K8S_POD_NAME").and_then(|pod| match &namespace {
            Some(namespace) => format!("{namespace}/{pod}").parse().ok(),
            None => pod.parse().ok(),
        });
        let uid = value("K8S_POD_UID").and_then(|uid| UID_LABEL.parse().ok().zip(uid.parse().ok()));
        Ok(Self {
            ip: several("IP").collect(),
            gateway: several("GATEWAY").collect(),
            mac: value("MAC").map(str::to_owned),
            name,
            namespace: namespace.unwrap_or_default(),
            uid,
        })
    }
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}
