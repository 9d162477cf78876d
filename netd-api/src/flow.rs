//! Flows: connections as seen at a container's veth, with their verdicts.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{
    names::{ContainerId, ContainerName, IfName, Namespace, NetworkName},
    policy::{FlowVerdict, PolicyName},
    spec::Labels,
    view::Traffic,
};

/// Which flows are meant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlowQuery {
    /// Only those of this container.
    pub container: Option<ContainerName>,
    /// Only those with this verdict.
    pub verdict: Option<FlowVerdict>,
    /// Only those that ended, or were denied, or are still there, since this time (seconds since 1970).
    pub since: Option<u64>,
    /// Only records after this one ([`FlowView::number`]), and no connections that are still open but those that are new since: what a client asks that
    /// follows. For some seconds after such a request new connections are recorded as they begin.
    pub after: Option<u64>,
}

/// Recorded flows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FlowsView {
    /// The records, oldest first.
    pub flows: Vec<FlowView>,
    /// The number to ask `after` for what follows.
    pub last: u64,
    /// Records that were lost since the daemon started: the kernel's buffer was full, more connections were denied in a moment than are told one by one,
    /// or one began in the place of another before that one's end was told. Counters have them all the same.
    pub lost: u64,
    /// Records that had to make room for newer ones.
    pub forgotten: u64,
}

/// What a record says happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum FlowEvent {
    /// A connection began.
    New,
    /// It is there now.
    Open,
    /// It ended.
    Closed,
    /// It was not let through.
    Denied,
}

/// One connection, or several attempts of one that was denied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FlowView {
    /// Grows with each record; 0 for an open connection, which is no record yet.
    pub number: u64,
    /// What happened.
    pub event: FlowEvent,
    /// When it began: seconds since 1970, with fractions.
    pub began: f64,
    /// When its last packet was seen, likewise.
    pub last_seen: f64,
    /// The container at whose veth it was seen.
    pub container: FlowEnd,
    /// The network.
    pub network: NetworkName,
    /// The container's interface.
    pub ifname: IfName,
    /// The other end.
    pub remote: FlowEnd,
    /// `egress`: the container opened it; `ingress`: the other end did.
    pub direction: String,
    /// `tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, or the protocol's number.
    pub protocol: String,
    /// The verdict.
    pub verdict: FlowVerdict,
    /// Why, as in the counters.
    pub reason: String,
    /// The policy that decided, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyName>,
    /// Policy and rule in words: `policy shop/web ingress rule 1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What the container sent.
    pub sent: Traffic,
    /// What it received.
    pub received: Traffic,
    /// TCP flags that the container has sent, as tcpdump writes them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub flags_sent: String,
    /// TCP flags that it has received.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub flags_received: String,
}

/// One end of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FlowEnd {
    /// The address.
    pub address: IpAddr,
    /// The port; for ICMP echo its identifier; 0 where there is none.
    pub port: u16,
    /// The container's id, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ContainerId>,
    /// Its display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ContainerName>,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Whether it is this host itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub host: bool,
}
