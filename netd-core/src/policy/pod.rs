//! Containers as policies see them: a pod with labels and named ports, selected or not. Never resolves what a rule says.

use std::collections::BTreeMap;

use netd_api::{
    names::{ContainerName, LabelKey, LabelValue, Namespace},
    publish::Protocol,
    spec::{Labels, is_port_name},
};

use super::{
    book::wish::{Direction, Placed, Pod},
    model::{Body, Policy, PolicyName, Selector},
};
use crate::desired::{Attachment, Container, Desired};

/// The label that every namespace has by itself: its name.
pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// What a label that names a port begins with; its value is `PORT` or `PORT-PROTOCOL`.
pub const PORT_LABEL: &str = "netd.io/port.";

/// What policies can know of a container.
#[must_use]
pub fn pod(container: &Container) -> Pod {
    let mut ports: BTreeMap<String, Vec<(Protocol, u16)>> = BTreeMap::new();
    let by_label = container.labels.iter().filter_map(|(key, value)| {
        let name = key.as_str().strip_prefix(PORT_LABEL).filter(|name| is_port_name(name))?;
        Some((name.to_owned(), port_of_label(value.as_str())?))
    });
    let by_name = container.ports.iter().map(|(name, port)| (name.clone(), (port.protocol, port.port)));
    for (name, port) in by_label.chain(by_name) {
        let ports = ports.entry(name).or_default();
        // What `container set --port-name` says goes before a label of the same protocol.
        ports.retain(|(protocol, _)| *protocol != port.0);
        ports.push(port);
    }
    ports.values_mut().for_each(|ports| ports.sort_unstable());
    Pod { namespace: container.namespace.clone(), labels: container.labels.clone(), ports }
}

/// `PORT` or `PORT-PROTOCOL`.
fn port_of_label(value: &str) -> Option<(Protocol, u16)> {
    let (port, protocol) = match value.split_once('-') {
        None => (value, Protocol::Tcp),
        Some((port, "tcp")) => (port, Protocol::Tcp),
        Some((port, "udp")) => (port, Protocol::Udp),
        Some((port, "sctp")) => (port, Protocol::Sctp),
        Some(_) => return None,
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse::<u16>().ok().filter(|port| digits && *port != 0).map(|port| (protocol, port))
}

/// A container by one of its attachments.
#[must_use]
pub fn placed(container: &Container, attachment: &Attachment) -> Placed {
    Placed { pod: pod(container).into(), addresses: attachment.addresses.iter().map(ipnet::IpNet::addr).collect() }
}

/// The labels of a namespace: those it was given, and its name.
#[must_use]
pub fn namespace_labels(namespaces: &BTreeMap<Namespace, Labels>, namespace: &Namespace) -> Labels {
    let mut labels = namespaces.get(namespace).cloned().unwrap_or_default();
    if let (Ok(key), Ok(value)) = (NAMESPACE_NAME.parse::<LabelKey>(), namespace.as_str().parse::<LabelValue>()) {
        labels.insert(key, value);
    }
    labels
}

/// The policies that say something of a container, by direction (`ingress`, `egress`), with no entry where none does.
#[must_use]
pub fn selected_by<'a>(
    policies: impl IntoIterator<Item = &'a Policy>,
    namespaces: &BTreeMap<Namespace, Labels>,
    container: &Container,
) -> BTreeMap<String, Vec<PolicyName>> {
    let labels = namespace_labels(namespaces, &container.namespace);
    let mut selected: BTreeMap<String, Vec<PolicyName>> = BTreeMap::new();
    for policy in policies.into_iter().filter(|policy| is_selected(policy, &labels, container)) {
        for direction in Direction::ALL.into_iter().filter(|direction| speaks(policy, *direction)) {
            selected.entry(direction.to_string()).or_default().push(policy.name.clone());
        }
    }
    selected
}

/// The containers that a policy selects, by name.
#[must_use]
pub fn selects(policy: &Policy, desired: &Desired) -> Vec<ContainerName> {
    selected(policy, desired.namespaces(), desired.containers().values().map(AsRef::as_ref))
}

/// Those of the containers that a policy selects where namespaces have these labels.
pub(crate) fn selected<'a>(
    policy: &Policy,
    namespaces: &BTreeMap<Namespace, Labels>,
    containers: impl Iterator<Item = &'a Container>,
) -> Vec<ContainerName> {
    let mut labels: BTreeMap<&Namespace, Labels> = BTreeMap::new();
    let mut names = Vec::new();
    for container in containers {
        let labels = labels.entry(&container.namespace).or_insert_with(|| namespace_labels(namespaces, &container.namespace));
        if is_selected(policy, labels, container) {
            names.push(container.name.clone());
        }
    }
    names.sort_unstable();
    names
}

fn is_selected(policy: &Policy, namespace_labels: &Labels, container: &Container) -> bool {
    let pods = |selector: &Selector| selector.selects(&container.labels);
    match &policy.body {
        Body::Network(body) => policy.name.namespace.as_ref() == Some(&container.namespace) && pods(&body.pods),
        Body::Cluster(body) => body.subject.namespaces.selects(namespace_labels) && pods(&body.subject.pods),
    }
}

/// Whether a policy says anything of a direction.
fn speaks(policy: &Policy, direction: Direction) -> bool {
    match (&policy.body, direction) {
        (Body::Network(body), Direction::Ingress) => body.ingress.is_some(),
        (Body::Network(body), Direction::Egress) => body.egress.is_some(),
        (Body::Cluster(body), Direction::Ingress) => !body.ingress.is_empty(),
        (Body::Cluster(body), Direction::Egress) => !body.egress.is_empty(),
    }
}

#[cfg(test)]
pub(super) mod tests;
