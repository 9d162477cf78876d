//! Policies as clients give and see them: files of Kubernetes' YAML in, what they do out. Knows nothing of YAML itself.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    flow::FlowView,
    names::{ContainerName, NameError, Namespace},
    view::Traffic,
};

/// What a policy is known by: `namespace/name`, or `name` alone for a ClusterNetworkPolicy. The name is a DNS subdomain (RFC 1123).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PolicyName {
    /// The namespace; none for a ClusterNetworkPolicy.
    pub namespace: Option<Namespace>,
    /// The name.
    pub name: String,
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => f.pad(&format!("{namespace}/{}", self.name)),
            None => f.pad(&self.name),
        }
    }
}

impl FromStr for PolicyName {
    type Err = NameError;
    fn from_str(given: &str) -> Result<Self, NameError> {
        let (namespace, name) = match given.split_once('/') {
            Some((namespace, name)) => (Some(namespace.parse::<Namespace>()?), name),
            None => (None, given),
        };
        if is_subdomain(name) {
            return Ok(Self { namespace, name: name.to_owned() });
        }
        let why = "is none; use up to 253 of a-z, 0-9, '-' and '.', a letter or digit at both ends of each part".to_owned();
        Err(NameError { kind: "policy name", given: given.chars().take(80).collect(), why })
    }
}

/// Whether it is a DNS subdomain in lower case (RFC 1123).
#[must_use]
pub fn is_subdomain(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(is_inner);
    name.len() <= 253 && name.split('.').all(is_label)
}

impl TryFrom<String> for PolicyName {
    type Error = NameError;
    fn try_from(given: String) -> Result<Self, NameError> {
        given.parse()
    }
}

impl From<PolicyName> for String {
    fn from(name: PolicyName) -> Self {
        name.to_string()
    }
}

/// Bytes that the body of `POST /v1/policies` may have, as JSON.
pub const FILES_MOST: usize = 16 << 20;

/// Policy files to be applied: all of them, or nothing. No more than [`FILES_MOST`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PolicyFiles {
    /// The files.
    pub files: Vec<PolicyFile>,
    /// Whether documents of kinds that are no policies are passed over, instead of being errors.
    #[serde(default)]
    pub skip_other_kinds: bool,
    /// Whether nothing is to be changed, only told: which recorded flows would be judged otherwise.
    #[serde(default)]
    pub dry_run: bool,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// What errors call it: a path, or `-`.
    pub name: String,
    /// YAML, of one or more documents.
    pub text: String,
}

/// What applying did, or in a dry run would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PoliciesApplied {
    /// What became of each policy.
    pub policies: Vec<PolicyApplied>,
    /// The namespaces that were given labels.
    pub namespaces: Vec<Namespace>,
    /// In a dry run: the recorded flows that would be judged otherwise. Empty else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed_flows: Vec<ChangedFlow>,
    /// In a dry run: how many recorded flows were judged.
    #[serde(default)]
    pub judged_flows: u64,
}

/// What became of one policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyApplied {
    /// Its name.
    pub name: PolicyName,
    /// What became of it.
    pub change: PolicyChange,
    /// The containers that it selects.
    pub selects: Vec<ContainerName>,
}

/// What became of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PolicyChange {
    /// It is new.
    Created,
    /// It was there and said something else.
    Changed,
    /// It was there and said the same.
    Unchanged,
}

/// A recorded flow that would be judged otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChangedFlow {
    /// The flow, as it was judged.
    pub flow: FlowView,
    /// The verdict that it would get.
    pub verdict: FlowVerdict,
    /// The policy and rule that would say so, in words as those of [`FlowView::rule`].
    pub rule: String,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum FlowVerdict {
    /// It goes on.
    Forward,
    /// It is dropped in silence.
    Drop,
    /// It is dropped, and its sender is told.
    Reject,
    /// It goes on, though a policy in audit would drop it.
    Audit,
}

impl FlowVerdict {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Forward, Self::Drop, Self::Reject, Self::Audit];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::Audit => "audit",
        }
    }
}

impl fmt::Display for FlowVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for FlowVerdict {
    type Err = NameError;
    fn from_str(given: &str) -> Result<Self, NameError> {
        Self::ALL.into_iter().find(|verdict| verdict.name() == given).ok_or_else(|| NameError {
            kind: "verdict",
            given: given.chars().take(80).collect(),
            why: "is none; use forward, drop, reject or audit".to_owned(),
        })
    }
}

/// A policy and what it has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyView {
    /// Its name.
    pub name: PolicyName,
    /// `NetworkPolicy` or `ClusterNetworkPolicy`.
    pub kind: String,
    /// Whether it drops nothing and only counts and logs.
    pub audit: bool,
    /// Whether what it denies is answered.
    pub reject: bool,
    /// The containers that it selects now.
    pub selects: Vec<ContainerName>,
    /// Each rule that decided something or could, with what it decided.
    pub rules: Vec<RuleView>,
    /// Its YAML.
    pub source: String,
}

/// A rule of a policy and what it decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RuleView {
    /// `ingress` or `egress`.
    pub direction: String,
    /// Its place in the list of that direction, from 1; none: what no rule matches.
    pub rule: Option<u32>,
    /// Its name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The packets of the connections that it decided.
    pub hits: Traffic,
}

/// A policy that recorded traffic needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Advice {
    /// The policy, as YAML that can be applied.
    pub policy: String,
    /// How many recorded flows it rests on.
    pub flows: u64,
    /// What could not be expressed, or what to look at before applying it.
    pub notes: Vec<String>,
}

#[cfg(test)]
mod tests;
