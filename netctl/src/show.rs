//! What comes back, as text for people or as JSON. Never asks anything, and prints nothing itself.

mod container;
mod flow;
mod network;
mod policy;
mod port;
mod status;
mod table;

use std::fmt::Write as _;

use netd_api::{
    message::{Reply, Request},
    view::{Cleanup, PlanView},
};

use crate::ask::Show;
pub(crate) use flow::line as flow_line;
pub(crate) use table::{Paint, printable, printable_lines};

/// An answer for people.
pub(crate) fn text(request: &Request, reply: &Reply, show: Show, paint: Paint) -> String {
    match (show, reply) {
        (Show::Quiet, _) => String::new(),
        (_, Reply::Status(status)) => status::page(status, paint),
        (Show::Brief, Reply::Networks(networks)) => lines(networks.iter().map(|network| &network.name)),
        (Show::Brief, Reply::Network(network)) => lines([&network.name]),
        (_, Reply::Networks(networks)) => network::rows(networks, paint),
        (_, Reply::Network(network)) => network::page(network, paint),
        (Show::Brief, Reply::Containers(containers)) => lines(containers.iter().map(|container| &container.name)),
        (Show::Brief, Reply::Container(container)) => lines([&container.name]) + &port::ways(&container.ports),
        (_, Reply::Containers(containers)) => container::rows(containers, paint),
        (_, Reply::Container(container)) => container::page(container, paint),
        (Show::Brief, Reply::Ports(ports)) => port::ways(ports),
        (_, Reply::Ports(ports)) => port::rows(ports, paint),
        (Show::Brief, Reply::Policies(policies)) => lines(policies.iter().map(|policy| &policy.name)),
        (_, Reply::Policies(policies)) => policy::rows(policies, paint),
        (_, Reply::Policy(policy)) => policy::source(policy),
        (_, Reply::PoliciesApplied(applied)) => policy::applied(applied, is_dry_run(request), paint),
        (_, Reply::Advice(advice)) => policy::advice(advice),
        (_, Reply::Flows(flows)) => lines(flows.flows.iter().map(flow::line)),
        (_, Reply::Plan(plan)) => plan_text(plan),
        (_, Reply::Cleanup(cleanup)) => cleanup_text(cleanup),
        // netctl asks none of CNI's verbs; they are for runtimes.
        (_, Reply::CniAdded(_) | Reply::CniChecked(_) | Reply::CniReadiness(_) | Reply::CniCollected(_)) => String::new(),
        (_, Reply::Removed) => lines(removed(request)),
    }
}

/// The answers of one run as one JSON document: the daemon's view itself, or `{"removed": […]}` with the names.
pub(crate) fn json(answers: &[(Request, Reply)]) -> Result<String, serde_json::Error> {
    let pretty = match answers {
        [(_, Reply::Status(status))] => serde_json::to_string_pretty(status),
        [(_, Reply::Networks(networks))] => serde_json::to_string_pretty(networks),
        [(_, Reply::Network(network))] => serde_json::to_string_pretty(network),
        [(_, Reply::Containers(containers))] => serde_json::to_string_pretty(containers),
        [(_, Reply::Container(container))] => serde_json::to_string_pretty(container),
        [(_, Reply::Ports(ports))] => serde_json::to_string_pretty(ports),
        [(_, Reply::Policies(policies))] => serde_json::to_string_pretty(policies),
        [(_, Reply::Policy(policy))] => serde_json::to_string_pretty(policy),
        [(_, Reply::PoliciesApplied(applied))] => serde_json::to_string_pretty(applied),
        [(_, Reply::Advice(advice))] => serde_json::to_string_pretty(advice),
        [(_, Reply::Flows(flows))] => serde_json::to_string_pretty(flows),
        [(_, Reply::Plan(plan))] => serde_json::to_string_pretty(plan),
        [(_, Reply::Cleanup(cleanup))] => serde_json::to_string_pretty(cleanup),
        answers => {
            let removed: Vec<_> = answers.iter().filter_map(|(request, _)| removed(request)).collect();
            serde_json::to_string_pretty(&serde_json::json!({ "removed": removed }))
        }
    };
    Ok(pretty? + "\n")
}

/// What an answer says beside its subject: notes on the ports that were just published.
pub(crate) fn notes(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Container(container) => port::notes(&container.ports),
        Reply::Ports(ports) => port::notes(ports),
        _ => Vec::new(),
    }
}

/// The name in a removal.
fn removed(request: &Request) -> Option<String> {
    match request {
        Request::RemoveNetwork(name) => Some(name.to_string()),
        Request::RemoveContainer(name) => Some(name.to_string()),
        Request::RemovePolicy(name) => Some(name.to_string()),
        _ => None,
    }
}

fn is_dry_run(request: &Request) -> bool {
    matches!(request, Request::ApplyPolicies(files) if files.dry_run)
}

fn plan_text(plan: &PlanView) -> String {
    if plan.ops.is_empty() { "nothing to do\n".to_owned() } else { lines(&plan.ops) }
}

fn cleanup_text(cleanup: &Cleanup) -> String {
    let objects = if cleanup.removed == 1 { "object" } else { "objects" };
    format!("removed {} kernel {objects}\n", cleanup.removed)
}

fn lines<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let mut text = String::new();
    for item in items {
        text.push_str(&printable(&item.to_string()));
        text.push('\n');
    }
    text
}

/// `a, b`, or a dash for none.
fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let mut text = String::new();
    for item in items {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{}", item.to_string());
    }
    if text.is_empty() { "-".to_owned() } else { text }
}

fn labels(labels: &netd_api::spec::Labels) -> String {
    joined(labels.iter().map(|(key, value)| format!("{key}={value}")))
}

#[cfg(test)]
mod tests;
