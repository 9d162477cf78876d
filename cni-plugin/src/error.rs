//! The specification's error object: which code, in which words. Never prints it.

use netd_api::{
    client::{Broken, ClientError},
    fault::{Code, Fault},
};
use serde_json::{Value, json};

use crate::version::Version;

/// The version of the configuration is none that we support.
pub const INCOMPATIBLE_VERSION: u32 = 1;
/// A key that we know and cannot do; the message has key and value.
pub const UNSUPPORTED_FIELD: u32 = 2;
/// The container is not known; a runtime need not DEL it.
pub const UNKNOWN_CONTAINER: u32 = 3;
/// CNI_COMMAND, CNI_CONTAINERID and their like; the message names them.
pub const BAD_ENVIRONMENT: u32 = 4;
/// Something could not be read or written: stdin, netd's socket.
pub const IO: u32 = 5;
/// What came on stdin is no JSON.
pub const UNDECODABLE: u32 = 6;
/// The configuration is wrong, or does not fit what netd has.
pub const BAD_CONFIG: u32 = 7;
/// Nothing is wrong with the request, but netd does not answer now.
pub const TRY_AGAIN_LATER: u32 = 11;
/// STATUS: ADD would be refused.
pub const UNABLE: u32 = 50;
/// STATUS: and containers that are there may be limited as well.
pub const LIMITED: u32 = 51;
/// A host port belongs to somebody else. The first of our own codes; they never change.
pub const PORT_TAKEN: u32 = 100;
/// No free address or subnet is left.
pub const EXHAUSTED: u32 = 101;
/// The bridge has no free port.
pub const BRIDGE_FULL: u32 = 102;
/// The kernel refused a step.
pub const KERNEL: u32 = 103;
/// netd could not write its state.
pub const STORE: u32 = 104;
/// The kernel lacks what this needs.
pub const UNSUPPORTED: u32 = 105;
/// CHECK: not as it was made.
pub const NOT_AS_MADE: u32 = 106;
/// What answered is no netd, or one of another version.
pub const NOT_UNDERSTOOD: u32 = 107;
/// The delegated IPAM plugin failed without an error object.
pub const DELEGATE_FAILED: u32 = 108;

/// An error as a runtime understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CniError {
    /// What kind: the constants above.
    pub code: u32,
    /// What was tried, on what, and why it failed: one sentence, no full stop.
    pub msg: String,
    /// What to do now; empty where nothing helps.
    pub details: String,
}

impl CniError {
    /// An error without details.
    pub fn new(code: u32, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: String::new() }
    }

    /// The configuration is wrong.
    pub fn config(msg: impl Into<String>) -> Self {
        Self::new(BAD_CONFIG, msg)
    }

    /// The same error with what to do now.
    #[must_use]
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// The same error, with one more thing that went wrong beside it.
    #[must_use]
    pub fn and(mut self, more: &str) -> Self {
        self.details = if self.details.is_empty() { more.to_owned() } else { format!("{}; {more}", self.details) };
        self
    }

    /// The error object.
    pub fn object(&self, version: Version) -> Value {
        let mut object = json!({ "cniVersion": version.as_str(), "code": self.code, "msg": self.msg });
        if !self.details.is_empty() {
            object["details"] = json!(self.details);
        }
        object
    }
}

/// What was asked when an error came: the same refusal means different things to a runtime.
#[derive(Debug, Clone, Copy)]
pub enum During<'a> {
    /// ADD of an interface, on a bridge that the configuration may name.
    Add {
        /// CNI_IFNAME.
        ifname: &'a str,
        /// CNI_NETNS.
        netns: &'a str,
        /// The key `bridge`.
        bridge: Option<&'a str>,
    },
    /// CHECK.
    Check,
    /// STATUS.
    Status,
    /// DEL or GC.
    Removal,
}

/// netd's answer, or its silence, in the specification's codes.
pub fn of(error: &ClientError, during: During<'_>) -> CniError {
    let hint = error.hint();
    let unable = |code| if matches!(during, During::Status) { UNABLE } else { code };
    match error {
        ClientError::Fault(fault) => of_fault(fault, during),
        ClientError::Unreachable { cause, .. } if cause.kind() == std::io::ErrorKind::PermissionDenied => {
            CniError::new(unable(IO), format!("{error}: {cause}")).details(hint)
        }
        ClientError::Unreachable { cause, .. } if cause.kind() == std::io::ErrorKind::WouldBlock => {
            CniError::new(unable(TRY_AGAIN_LATER), format!("{error}: it takes no connections ({cause})")).details(hint)
        }
        ClientError::Unreachable { cause, .. } => CniError::new(unable(TRY_AGAIN_LATER), format!("{error}: {cause}"))
            .details("start it (systemctl start netd), or name its socket in the network configuration (\"socket\") or in NETD_SOCKET"),
        ClientError::Protocol { cause: cause @ (Broken::Io(_) | Broken::Silent | Broken::Ended), .. } => {
            CniError::new(unable(TRY_AGAIN_LATER), format!("{error}: {cause}"))
                .details("see netd's log (journalctl -u netd), then try again")
        }
        ClientError::Protocol { cause, .. } => CniError::new(unable(NOT_UNDERSTOOD), format!("{error}: {cause}"))
            .details("netd-cni and netd must be of one version; install both anew (netctl cni install)"),
    }
}

fn of_fault(fault: &Fault, during: During<'_>) -> CniError {
    let what = &fault.what;
    let (code, msg) = match (during, fault.code) {
        (_, Code::Unavailable) if !matches!(during, During::Status) => (TRY_AGAIN_LATER, what.clone()),
        (During::Status, _) => (UNABLE, what.clone()),
        (During::Check, Code::NotFound) => (UNKNOWN_CONTAINER, what.clone()),
        // A bridge that the configuration names may be somebody else's: that is no matter of the environment.
        (During::Add { bridge: Some(bridge), ifname, .. }, Code::BadInterface) if is_of_bridge(what, bridge, ifname) => {
            (BAD_CONFIG, what.clone())
        }
        (During::Add { ifname, .. }, Code::BadInterface) => (BAD_ENVIRONMENT, format!("CNI_IFNAME {ifname:?}: {what}")),
        (During::Add { netns, .. }, Code::BadNamespace) => (BAD_ENVIRONMENT, format!("CNI_NETNS {netns:?}: {what}")),
        (_, Code::BadInterface) => (BAD_ENVIRONMENT, format!("CNI_IFNAME: {what}")),
        (_, Code::BadNamespace) => (BAD_ENVIRONMENT, format!("CNI_NETNS: {what}")),
        (_, code) => (own(code), what.clone()),
    };
    CniError::new(code, msg).details(&fault.hint)
}

/// Whether an interface that cannot be is the bridge. Networks and containers may be called alike, so its name alone says nothing.
fn is_of_bridge(what: &str, bridge: &str, ifname: &str) -> bool {
    what.contains(bridge) && !what.ends_with(&format!("an interface {ifname} already")) && !what.contains(" type veth ")
}

fn own(code: Code) -> u32 {
    match code {
        Code::BadRequest
        | Code::TooLarge
        | Code::NotFound
        | Code::Exists
        | Code::InUse
        | Code::SubnetOverlap
        | Code::BadAddress
        | Code::Impossible => BAD_CONFIG,
        Code::BadNamespace | Code::BadInterface => BAD_ENVIRONMENT,
        Code::Exhausted => EXHAUSTED,
        Code::PortTaken => PORT_TAKEN,
        Code::BridgeFull => BRIDGE_FULL,
        Code::Unsupported => UNSUPPORTED,
        Code::Kernel => KERNEL,
        Code::Store => STORE,
        Code::Unavailable => TRY_AGAIN_LATER,
    }
}
