//! Policies of a story: applied, refused, looked at and withdrawn; what containers are to them; the flows that they judged. Never judges.
//!
//! `model` has policies as values, `yaml` writes them, `evaluator` says what Kubernetes' documentation says of them, `chance` makes some up;
//! `responder` answers, `probe` asks, `reach` is how stories say it.

pub mod chance;
pub mod evaluator;
pub mod model;
pub mod probe;
pub mod reach;
pub mod responder;
pub mod yaml;

use std::fmt;

use netd_api::{
    fault::Fault,
    flow::{FlowEvent, FlowQuery, FlowView, FlowsView},
    message::{Reply, Request},
    policy::{FlowVerdict, PoliciesApplied, PolicyFile, PolicyFiles, PolicyView},
    publish::Protocol,
    spec::{ContainerChange, NamedPort},
    view::{ContainerView, PolicyStatus},
};

use crate::{Container, Lab, eventually, network::parsed};

fn files(yaml: &str) -> Request {
    let file = PolicyFile { name: "-".to_owned(), text: yaml.to_owned() };
    Request::ApplyPolicies(Box::new(PolicyFiles { files: vec![file], skip_other_kinds: false, dry_run: false }))
}

impl Lab {
    /// Applies the policies of a file.
    #[track_caller]
    pub fn applies(&self, yaml: &str) -> PoliciesApplied {
        match self.done(&files(yaml)) {
            Reply::PoliciesApplied(applied) => *applied,
            other => panic!("what was applied was asked for, not {other:?}"),
        }
    }

    /// Applies several files at once, each with its name.
    #[track_caller]
    pub fn tries_to_apply(&self, named: &[(&str, &str)]) -> Result<PoliciesApplied, Fault> {
        let files = named.iter().map(|(name, text)| PolicyFile { name: (*name).to_owned(), text: (*text).to_owned() }).collect();
        match self.asks(&Request::ApplyPolicies(Box::new(PolicyFiles { files, skip_other_kinds: false, dry_run: false })))? {
            Reply::PoliciesApplied(applied) => Ok(*applied),
            other => panic!("what was applied was asked for, not {other:?}"),
        }
    }

    /// Tries to apply a file, and gives the refusal.
    #[track_caller]
    pub fn cannot_apply(&self, yaml: &str) -> Fault {
        self.refused(&files(yaml))
    }

    /// All policies.
    #[track_caller]
    pub fn policies(&self) -> Vec<PolicyView> {
        match self.done(&Request::Policies) {
            Reply::Policies(policies) => policies,
            other => panic!("policies were asked for, not {other:?}"),
        }
    }

    /// One of them.
    #[track_caller]
    pub fn policy(&self, name: &str) -> PolicyView {
        match self.done(&Request::Policy(parsed(name))) {
            Reply::Policy(policy) => *policy,
            other => panic!("a policy was asked for, not {other:?}"),
        }
    }

    /// The names of all policies.
    #[track_caller]
    pub fn policy_names(&self) -> Vec<String> {
        self.policies().iter().map(|policy| policy.name.to_string()).collect()
    }

    /// Withdraws a policy.
    #[track_caller]
    pub fn withdraws_policy(&self, name: impl fmt::Display) {
        self.done(&Request::RemovePolicy(parsed(&name.to_string())));
    }

    /// Recorded flows.
    #[track_caller]
    pub fn flows(&self, query: &FlowQuery) -> FlowsView {
        match self.done(&Request::Flows(query.clone())) {
            Reply::Flows(flows) => *flows,
            other => panic!("flows were asked for, not {other:?}"),
        }
    }

    /// How policy is, and how full its tables are.
    #[track_caller]
    pub fn policy_status(&self) -> PolicyStatus {
        self.status().policy.expect("the programs run on this kernel")
    }
}

impl Container<'_> {
    /// Gives one of its ports a name.
    #[track_caller]
    pub fn calls_port(&self, name: &str, port: u16, protocol: Protocol) -> ContainerView {
        let ports = [(name.to_owned(), Some(NamedPort { port, protocol }))].into();
        self.changes(ContainerChange { ports, ..ContainerChange::default() })
    }

    /// Takes a port's name away.
    #[track_caller]
    pub fn forgets_port(&self, name: &str) -> ContainerView {
        self.changes(ContainerChange { ports: [(name.to_owned(), None)].into(), ..ContainerChange::default() })
    }

    /// Gets a label, or another value of it.
    #[track_caller]
    pub fn becomes(&self, key: &str, value: &str) -> ContainerView {
        self.changes(ContainerChange { labels: [(parsed(key), Some(parsed(value)))].into(), ..ContainerChange::default() })
    }

    /// Loses a label.
    #[track_caller]
    pub fn loses(&self, key: &str) -> ContainerView {
        self.changes(ContainerChange { labels: [(parsed(key), None)].into(), ..ContainerChange::default() })
    }

    /// Counts to another namespace.
    #[track_caller]
    pub fn moves_to(&self, namespace: &str) -> ContainerView {
        self.changes(ContainerChange { namespace: Some(parsed(namespace)), ..ContainerChange::default() })
    }

    /// The recorded flows that were seen at it.
    #[track_caller]
    pub fn flows(&self) -> Vec<FlowView> {
        self.lab().flows(&FlowQuery { container: Some(self.name().clone()), ..FlowQuery::default() }).flows
    }

    /// Waits for a flow that was seen at it, with this event and verdict, that `wanted` recognises.
    #[track_caller]
    pub fn expect_flow(&self, event: FlowEvent, verdict: FlowVerdict, wanted: impl Fn(&FlowView) -> bool) -> FlowView {
        eventually(&format!("a flow of {self} that is {event:?} with {verdict}, among {:#?}", self.flows()), || {
            self.flows().into_iter().find(|flow| flow.event == event && flow.verdict == verdict && wanted(flow))
        })
    }
}
