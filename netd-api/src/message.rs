//! The whole protocol on one page: what can be asked, and what comes back. HTTP carries it (see `client.rs` for the paths).

use crate::{
    cni::{CniAdd, CniAdded, CniCheck, CniChecked, CniCollected, CniGc, CniKey, CniReadiness, CniStatus},
    flow::{FlowQuery, FlowsView},
    names::{ContainerName, IfName, NetworkName},
    policy::{Advice, PoliciesApplied, PolicyFiles, PolicyName, PolicyView},
    publish::PublishSpec,
    spec::{AttachSpec, ContainerChange, ContainerSpec, NetworkSpec},
    view::{Cleanup, ContainerView, NetworkView, PlanView, PortView, Status},
};

/// What can be asked of the daemon. A container is named by its display name or its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `GET /v1/status`
    Status,
    /// `GET /v1/networks`
    Networks,
    /// `GET /v1/networks/NAME`
    Network(NetworkName),
    /// `POST /v1/networks`
    CreateNetwork(NetworkSpec),
    /// `DELETE /v1/networks/NAME`
    RemoveNetwork(NetworkName),
    /// `POST /v1/networks/prune`: removes those without containers.
    PruneNetworks,
    /// `POST /v1/containers/ID/attachments`
    Connect(ContainerName, AttachSpec),
    /// `DELETE /v1/containers/ID/attachments/NETWORK?ifname=IF`; without `ifname` all its attachments there.
    Disconnect(ContainerName, NetworkName, Option<IfName>),
    /// `GET /v1/containers`
    Containers,
    /// `GET /v1/containers/ID`
    Container(ContainerName),
    /// `POST /v1/containers`
    CreateContainer(ContainerSpec),
    /// `PATCH /v1/containers/ID`
    ChangeContainer(ContainerName, ContainerChange),
    /// `DELETE /v1/containers/ID`
    RemoveContainer(ContainerName),
    /// `GET /v1/ports?container=ID`
    Ports(Option<ContainerName>),
    /// `POST /v1/containers/ID/ports`
    Publish(ContainerName, PublishSpec),
    /// `DELETE /v1/containers/ID/ports?publish=SPEC`; without `publish` all of them.
    Unpublish(ContainerName, Option<PublishSpec>),
    /// `POST /v1/cni/add`: attaches a runtime's container.
    CniAdd(Box<CniAdd>),
    /// `POST /v1/cni/del`: detaches it; what is not there is gone already.
    CniDel(CniKey),
    /// `POST /v1/cni/check`
    CniCheck(Box<CniCheck>),
    /// `POST /v1/cni/status`
    CniStatus(Box<CniStatus>),
    /// `POST /v1/cni/gc`
    CniGc(CniGc),
    /// `GET /v1/policies`
    Policies,
    /// `POST /v1/policies`: applies files, whole or not at all.
    ApplyPolicies(Box<PolicyFiles>),
    /// `GET /v1/policy?name=NAME`
    Policy(PolicyName),
    /// `DELETE /v1/policy?name=NAME`
    RemovePolicy(PolicyName),
    /// `GET /v1/containers/ID/advice`: the policy that its recorded traffic needs.
    Advise(ContainerName),
    /// `GET /v1/flows?container=ID&verdict=V&since=T&after=N`
    Flows(FlowQuery),
    /// `GET /v1/plan`
    Plan,
    /// `POST /v1/cleanup`: forgets everything and removes every object with our mark.
    Cleanup,
}

/// What comes back where nothing was refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// To `Status`.
    Status(Box<Status>),
    /// To `Networks`, and the removed ones to `PruneNetworks`.
    Networks(Vec<NetworkView>),
    /// To `Network` and `CreateNetwork`.
    Network(Box<NetworkView>),
    /// To `Containers`.
    Containers(Vec<ContainerView>),
    /// To `Container`, `CreateContainer`, `ChangeContainer`, `Connect`, `Disconnect`.
    Container(Box<ContainerView>),
    /// To `Ports`, `Publish` (the new ones) and `Unpublish` (those withdrawn).
    Ports(Vec<PortView>),
    /// To `CniAdd`.
    CniAdded(Box<CniAdded>),
    /// To `CniCheck`.
    CniChecked(CniChecked),
    /// To `CniStatus`.
    CniReadiness(CniReadiness),
    /// To `CniGc`.
    CniCollected(CniCollected),
    /// To `Policies`.
    Policies(Vec<PolicyView>),
    /// To `ApplyPolicies`.
    PoliciesApplied(Box<PoliciesApplied>),
    /// To `Policy`.
    Policy(Box<PolicyView>),
    /// To `Advise`.
    Advice(Box<Advice>),
    /// To `Flows`.
    Flows(Box<FlowsView>),
    /// To `Plan`.
    Plan(PlanView),
    /// To `Cleanup`.
    Cleanup(Cleanup),
    /// To the removals, and to `CniDel`.
    Removed,
}
