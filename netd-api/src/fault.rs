//! What a refused request gets back: a stable code, what went wrong on what, and what to do now.

use serde::{Deserialize, Serialize};

/// A refusal or failure as it travels to the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[error("{what}")]
pub struct Fault {
    /// Stable: scripts may compare it.
    pub code: Code,
    /// What was tried, on what, and why it failed: one sentence, no full stop.
    pub what: String,
    /// What to do now; empty where nothing helps.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

impl Fault {
    /// A fault without a hint.
    pub fn new(code: Code, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), hint: String::new() }
    }

    /// The same fault with what to do now.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

/// The kinds of refusal. The names on the wire are these in snake_case and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Malformed input: JSON, a name, an address, an unknown field.
    BadRequest,
    /// The request is larger than the limit.
    TooLarge,
    /// No such network, container, publish or path.
    NotFound,
    /// The name is taken.
    Exists,
    /// It is still used by something named in `what`.
    InUse,
    /// A subnet overlaps a network, a host route, an address or a resolver.
    SubnetOverlap,
    /// No free subnet or no free address is left.
    Exhausted,
    /// An address outside its subnet or range, or taken.
    BadAddress,
    /// A host port is taken; `what` names the holder.
    PortTaken,
    /// The bridge has no free port.
    BridgeFull,
    /// The namespace is none, is the host's own, or its process has gone.
    BadNamespace,
    /// An interface name is taken or not usable.
    BadInterface,
    /// What is asked cannot work, and `what` says why (a publish on `::1`, for a container with internal networks only).
    Impossible,
    /// The kernel lacks what this needs.
    Unsupported,
    /// The kernel refused a step; `what` has its words.
    Kernel,
    /// The state could not be written.
    Store,
    /// The daemon is starting, stopping or too busy.
    Unavailable,
}
