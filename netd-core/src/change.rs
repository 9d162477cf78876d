//! (Desired, Request) → Change or Fault: everything that can be refused without asking the kernel is refused here, and nothing has happened yet.

mod network;
mod container;
mod attachment;
pub mod policy;
pub mod cni;
pub(crate) mod publish;

use netd_api::{
    fault::{Code, Fault},
    message::Request,
    names::ContainerName,
    publish::{PortRange, Protocol},
};

use crate::{
    desired::{Change, Container, Desired, Edit},
    host::{Found, Host},
    ipam::PoolBase,
    objects::Reservation,
};

/// What a decision may look at besides the wish.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The host.
    pub host: &'a Host,
    /// Where automatic subnets come from, IPv4 and IPv6 in one list.
    pub pools: &'a [PoolBase],
    /// The namespace that the request is about, where it is somebody else's.
    pub found: Option<&'a Found>,
    /// Host ports that strangers were found to hold while a free one was sought.
    pub busy: &'a [(Protocol, PortRange)],
    /// Host ports of a CNI request that somebody has a socket on who is neither the runtime nor its monitor, with who that is.
    pub held: &'a [(Reservation, String)],
}

/// What a request amounts to. Requests that only ask amount to nothing.
///
/// # Errors
/// The fault that goes back to the client.
pub fn change(desired: &Desired, request: &Request, context: Context<'_>) -> Result<Change, Fault> {
    match request {
        Request::Status
        | Request::Networks
        | Request::Network(_)
        | Request::Containers
        | Request::Container(_)
        | Request::Ports(_)
        | Request::CniCheck(_)
        | Request::CniStatus(_)
        | Request::Policies
        | Request::Policy(_)
        | Request::Flows(_)
        | Request::Advise(_)
        | Request::Plan => Ok(Change::default()),
        Request::CniAdd(add) => cni::add(desired, add, context),
        Request::CniDel(key) => Ok(cni::del(desired, key)),
        Request::CniGc(gc) => Ok(cni::gc(desired, gc)),
        Request::CreateNetwork(spec) => network::create(desired, spec, context),
        Request::RemoveNetwork(name) => network::remove(desired, name),
        Request::PruneNetworks => Ok(network::prune(desired)),
        Request::CreateContainer(spec) => container::create(desired, spec, context),
        Request::ChangeContainer(name, wanted) => container::alter(desired, name, wanted),
        Request::RemoveContainer(name) => Ok(container::remove(desired, container(desired, name)?)),
        Request::Connect(name, spec) => container::connect(desired, name, spec, context),
        Request::Disconnect(name, network, ifname) => container::disconnect(desired, name, network, ifname.as_ref()),
        Request::Publish(name, spec) => publish::publish(desired, container(desired, name)?, spec, context),
        Request::Unpublish(name, spec) => publish::withdraw(desired, container(desired, name)?, spec.as_ref()),
        Request::ApplyPolicies(files) if files.dry_run => policy::apply(desired, files).map(|_| Change::default()),
        Request::ApplyPolicies(files) => policy::apply(desired, files),
        Request::RemovePolicy(name) => policy::remove(desired, name),
        Request::Cleanup => Ok(everything_gone(desired)),
    }
}

fn everything_gone(desired: &Desired) -> Change {
    let mut change = Change::default();
    for container in desired.containers().values() {
        change.edits.extend(container::remove(desired, container).edits);
    }
    change.edits.extend(desired.networks().values().map(|network| Edit::Network { before: Some(network.clone()), after: None }));
    change.edits.extend(policy::everything_gone(desired));
    change
}

fn container<'a>(desired: &'a Desired, name: &ContainerName) -> Result<&'a std::sync::Arc<Container>, Fault> {
    desired.find(name).ok_or_else(|| Fault::new(Code::NotFound, format!("there is no container {name}")).hint("see `netctl container ls`"))
}

#[cfg(test)]
mod tests;
