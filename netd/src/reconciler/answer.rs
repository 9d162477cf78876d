//! What a client gets to see: the wish, with what the kernel counts and holds. Changes nothing.

use netd_api::{
    cni::{CniAddress, CniCollected, CniNetwork, CniReadiness, CniStatus},
    fault::{Code, Fault},
    message::{Reply, Request},
    names::{ContainerName, NetworkName},
    publish::{PortRange, Protocol},
    view::{ContainerView, PlanView, PortState, PortView, Reconcile, Status, Trouble},
};
use netd_core::{
    change::{Context, cni, policy},
    desired::{Change, Container, Desired, Edit},
    objects::Reservation,
    show,
};

use super::{Reconciler, fault};
use crate::kernel::Kernel;

/// Whether these host ports were our choice, so that others may serve as well: the request names none of them.
pub(super) fn chosen_by_us(request: &Request, protocol: Protocol, ports: PortRange) -> bool {
    let specs = match request {
        Request::Publish(_, spec) => std::slice::from_ref(spec),
        Request::CreateContainer(spec) => &spec.publish,
        Request::CniAdd(add) => &add.publish,
        _ => return false,
    };
    let of_protocol = || specs.iter().filter(|spec| spec.protocol == protocol);
    let named = of_protocol().filter_map(|spec| spec.host).any(|host| host.overlaps(ports));
    !named && of_protocol().any(|spec| spec.host.is_none())
}

/// Whether a request may make a network: `default` is made on first use, and what a CNI configuration describes.
pub(super) fn may_choose_subnet(request: &Request, desired: &Desired) -> bool {
    let is_new = |network: &CniNetwork, config: &NetworkName, addresses: &[CniAddress]| match network {
        CniNetwork::Named(name) => name.as_str() == "default" && !desired.networks().contains_key(name),
        CniNetwork::Inline(_) => desired.networks().get(config).is_none_or(|network| {
            let of_network = |address: &CniAddress| network.pools.iter().any(|pool| pool.subnet.contains(address.address));
            !addresses.iter().all(of_network)
        }),
    };
    match request {
        Request::CreateNetwork(_) => true,
        Request::CreateContainer(spec) => spec.networks.is_empty(),
        Request::CniAdd(add) => is_new(&add.network, &add.key.config, &add.addresses),
        Request::CniStatus(status) => is_new(&status.network, &status.config, &[]),
        _ => false,
    }
}

impl<K: Kernel> Reconciler<K> {
    /// The reply to a request whose change, if it has one, has been carried out.
    pub(super) fn reply(&mut self, request: &Request, change: &Change) -> Result<Reply, Fault> {
        match request {
            Request::Status => Ok(Reply::Status(Box::new(self.status()))),
            Request::Networks => Ok(Reply::Networks(
                self.desired.networks().values().map(|network| show::network(&self.desired, network, &self.host)).collect(),
            )),
            Request::Network(name) => self.network(name),
            Request::CreateNetwork(spec) => self.network(&spec.name),
            Request::PruneNetworks => {
                let gone = change.edits.iter().filter_map(|edit| match edit {
                    Edit::Network { before: Some(network), .. } => Some(show::network(&self.desired, network, &self.host)),
                    _ => None,
                });
                Ok(Reply::Networks(gone.collect()))
            }
            Request::RemoveNetwork(_) | Request::RemoveContainer(_) => Ok(Reply::Removed),
            Request::Containers => {
                let all: Vec<_> = self.desired.containers().values().cloned().collect();
                Ok(Reply::Containers(all.iter().map(|container| self.container_view(container)).collect()))
            }
            Request::CreateContainer(spec) => self.container(&spec.name.clone().into()),
            Request::Container(name) | Request::ChangeContainer(name, _) | Request::Connect(name, _) | Request::Disconnect(name, _, _) => {
                self.container(name)
            }
            Request::Ports(None) => {
                Ok(Reply::Ports(show::ports(&self.desired, None).into_iter().map(|port| self.with_holder(port)).collect()))
            }
            Request::Ports(Some(name)) => {
                let id = self.find(name)?.id.clone();
                Ok(Reply::Ports(show::ports(&self.desired, Some(&id)).into_iter().map(|port| self.with_holder(port)).collect()))
            }
            Request::Publish(name, _) | Request::Unpublish(name, _) => {
                let container = self.find(name)?;
                let ports = change.edits.iter().filter_map(|edit| match edit {
                    Edit::Publish { before, after, .. } => after.or(*before),
                    _ => None,
                });
                let ports: Vec<PortView> = ports.map(|published| show::port(&self.desired, &container, &published)).collect();
                Ok(Reply::Ports(ports.into_iter().map(|port| self.with_holder(port)).collect()))
            }
            Request::Plan => {
                let (plan, ..) = self.plan_everything().map_err(|error| fault::observe(&error))?;
                self.kernel.settle();
                Ok(Reply::Plan(PlanView { ops: plan.ops.iter().map(ToString::to_string).collect() }))
            }
            Request::Policies => Ok(Reply::Policies(self.policy_views())),
            Request::Policy(name) => match self.policy_view(name) {
                Some(view) => Ok(Reply::Policy(Box::new(view))),
                None => Err(policy::find(&self.desired, name)
                    .err()
                    .unwrap_or_else(|| Fault::new(Code::NotFound, format!("there is no policy {name}")))),
            },
            Request::ApplyPolicies(files) if files.dry_run => Ok(Reply::PoliciesApplied(Box::new(self.preview(files)?))),
            Request::ApplyPolicies(files) => Ok(Reply::PoliciesApplied(Box::new(self.applied(files, change)?))),
            Request::Advise(name) => {
                let container = self.find(name)?;
                Ok(Reply::Advice(Box::new(self.advice(&container))))
            }
            Request::Flows(query) => Ok(Reply::Flows(Box::new(self.flows_view(query)?))),
            Request::RemovePolicy(_) | Request::Cleanup | Request::CniDel(_) => Ok(Reply::Removed),
            Request::CniAdd(add) => {
                let missing = || Fault::new(Code::NotFound, format!("{} has no interface {} any more", add.key.container, add.key.ifname));
                Ok(Reply::CniAdded(Box::new(cni::added(&self.desired, &add.key, &self.host).ok_or_else(missing)?)))
            }
            Request::CniCheck(check) => Ok(Reply::CniChecked(self.check(check)?)),
            Request::CniStatus(status) => Ok(Reply::CniReadiness(self.readiness(status))),
            Request::CniGc(_) => Ok(Reply::CniCollected(CniCollected { removed: cni::removed(change) })),
        }
    }

    pub(super) fn find(&self, name: &ContainerName) -> Result<std::sync::Arc<Container>, Fault> {
        self.desired
            .find(name)
            .cloned()
            .ok_or_else(|| Fault::new(Code::NotFound, format!("there is no container {name}")).hint("see `netctl container ls`"))
    }

    fn network(&self, name: &NetworkName) -> Result<Reply, Fault> {
        let network = self
            .desired
            .networks()
            .get(name)
            .ok_or_else(|| Fault::new(Code::NotFound, format!("there is no network {name}")).hint("see `netctl network ls`"))?;
        Ok(Reply::Network(Box::new(show::network(&self.desired, network, &self.host))))
    }

    fn container(&mut self, name: &ContainerName) -> Result<Reply, Fault> {
        let container = self.find(name)?;
        Ok(Reply::Container(Box::new(self.container_view(&container))))
    }

    fn container_view(&mut self, container: &Container) -> ContainerView {
        let mut view = show::container(&self.desired, container);
        for (shown, attachment) in view.attachments.iter_mut().zip(&container.attachments) {
            shown.counters = self.kernel.counters(attachment.slot);
            shown.reasons = self.kernel.reasons(attachment.slot);
        }
        view.ports = view.ports.into_iter().map(|port| self.with_holder(port)).collect();
        view
    }

    /// Says of a port that is not held why it is not.
    fn with_holder(&self, mut port: PortView) -> PortView {
        if port.state != PortState::Active {
            return port;
        }
        let held = |number| self.unheld.get(&Reservation { protocol: port.protocol, address: port.address, port: number });
        if let Some(holder) = (port.host.first..=port.host.last).find_map(held) {
            port.note = format!("held by {holder}; it still leads to the container");
            port.state = PortState::Degraded;
        } else if port.protocol == netd_api::publish::Protocol::Sctp && !self.host.features.sctp_sockets {
            port.note = "not held: this kernel has no SCTP sockets".to_owned();
        }
        port
    }

    /// Whether ADD would work. What is in the way of containers that are there is in that of new ones too.
    fn readiness(&mut self, status: &CniStatus) -> CniReadiness {
        let pools = self.pools();
        let context = Context { host: &self.host, pools: &pools, found: None, busy: &[], held: &[] };
        let mut readiness = cni::readiness(&self.desired, status, context);
        readiness.limited.extend(self.kernel.health().troubles);
        readiness
    }

    fn status(&mut self) -> Status {
        let health = self.kernel.health();
        let mut degraded = health.troubles;
        degraded.extend(
            self.survey
                .last
                .iter()
                .flat_map(|last| &last.failed)
                .map(|what| Trouble { what: what.clone(), hint: "it is tried again by itself".to_owned() }),
        );
        degraded.extend(self.unheld.iter().map(|(port, holder)| Trouble {
            what: format!("published port {port} is held by {holder}"),
            hint: "it still leads to its container; stop the other, or withdraw the port (netctl unpublish)".to_owned(),
        }));
        degraded.extend(self.policy_troubles());
        Status {
            policy: self.policy_status(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: self.started.elapsed().as_secs(),
            kernel: health.release,
            features: health.features,
            networks: self.desired.networks().len() as u64,
            containers: self.desired.containers().len() as u64,
            attachments: self.desired.slots().count(),
            ports: self.desired.publishes().values().map(|published| u64::from(published.host.count())).sum(),
            uplinks: self.host.uplinks.keys().cloned().collect(),
            reconcile: self.survey.last.as_ref().map(|last| Reconcile {
                reason: last.reason.clone(),
                ago_s: last.ended.elapsed().as_secs(),
                took_ms: last.took.as_secs_f64() * 1e3,
                done: last.done,
                failed: last.failed.clone(),
            }),
            drift_repaired: self.survey.drift_repaired,
            degraded,
        }
    }
}
