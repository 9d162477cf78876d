//! CNI's CHECK: what of one attachment is not as it was made, in words. Looks at that attachment's own objects and mends nothing.

use std::collections::BTreeSet;

use netd_api::{
    cni::{CniCheck, CniChecked},
    fault::Fault,
    names::IfName,
    spec::Source,
};
use netd_core::{
    change::cni,
    desired::{Attachment, Container},
    expand::{self, Parts, Scope},
    objects::{Ns, Objects, Sysctl},
    op::Op,
    plan,
};

use super::{Reconciler, fault};
use crate::kernel::{Kernel, Look};

impl<K: Kernel> Reconciler<K> {
    /// What differs from the runtime's memory, from the wish, and from the kernel.
    ///
    /// # Errors
    /// There is no such attachment, or the kernel cannot be read.
    pub(super) fn check(&mut self, check: &CniCheck) -> Result<CniChecked, Fault> {
        let found = self.kernel.find(&Source::Path(check.netns.clone())).ok();
        let mut wrong = cni::expectations(&self.desired, check, found.as_ref())?;
        let key = &check.key;
        let Some(container) = self.desired.containers().get(&key.container).cloned() else { return Ok(CniChecked { wrong }) };
        let is_it = |attachment: &&Attachment| {
            attachment.ifname == key.ifname && attachment.cni.as_ref().is_some_and(|cni| cni.config == key.config)
        };
        let Some(attachment) = container.attachments.iter().find(is_it) else { return Ok(CniChecked { wrong }) };
        let netns = container.netns();
        if self.kernel.netns(&netns) != container.origin.netns_id() {
            let gone = format!("its network namespace is no longer at {netns}");
            wrong.push(gone);
            return Ok(CniChecked { wrong });
        }
        let ports = attachment.cni.iter().flat_map(|cni| &cni.ports).map(|published| published.key(&container.id));
        let parts =
            Parts { networks: [attachment.network.clone()].into(), containers: [container.id.clone()].into(), publishes: ports.collect() };
        let mut wanted = expand::expand(&self.desired, &self.host, &Scope::Parts(parts));
        keep_only(&mut wanted, &container, attachment);
        let observed = self.kernel.observe(Look::At(&wanted)).map_err(|error| fault::observe(&error))?;
        let mut plan = plan::plan(&wanted, &observed);
        self.without_unheld(&mut plan);
        wrong.extend(plan.ops.iter().filter_map(|op| Some(format!("{} ({op})", words(op)?))));
        Ok(CniChecked { wrong })
    }
}

/// Leaves the other attachments of the container out.
fn keep_only(wanted: &mut Objects, container: &Container, attachment: &Attachment) {
    let inside = Ns::At(container.netns());
    let others = || container.attachments.iter().filter(|other| other.host_ifname != attachment.host_ifname);
    wanted.veths.retain(|name, _| *name == attachment.host_ifname);
    let paced = wanted.veths.values().find_map(|veth| veth.from_container.clone());
    wanted.ifbs.retain(|name, _| Some(name) == paced.as_ref());
    wanted.addresses.retain(|address| address.ns != inside || address.link == attachment.ifname);
    wanted.routes.retain(|route| route.ns != inside || route.link == attachment.ifname);
    let [outer, inner]: [BTreeSet<&str>; 2] =
        [others().map(|other| other.host_ifname.as_str()).collect(), others().map(|other| other.ifname.as_str()).collect()];
    wanted.sysctls.retain(|Sysctl { ns, key }, _| {
        let link = key.split('/').nth(3).unwrap_or_default();
        if *ns == inside { !inner.contains(link) } else { !outer.contains(link) }
    });
}

/// What is wrong where this step is needed; none where another step says it, or nothing depends on it.
fn words(op: &Op) -> Option<String> {
    let set = |name: &IfName, what: &str| Some(format!("{name} is not {what}"));
    match op {
        Op::PutTable => Some("the firewall table inet netd is missing or has been changed".to_owned()),
        Op::PutFilters => Some("the eBPF programs are missing or of another build".to_owned()),
        Op::AddNetns(path) => Some(format!("the network namespace {path} is missing")),
        Op::AddBridge(name, _) => Some(format!("the bridge {name} is missing")),
        Op::AddVeth(name, veth) => {
            Some(format!("the pair of {name} and {} is missing", veth.peer.as_ref().map_or("its other end", |peer| peer.name.as_str())))
        }
        Op::AddIfb(name) => Some(format!("the link {name}, which paces what the container sends, is missing")),
        Op::DelLink(name) => Some(format!("{name} does not lead to the container's interface")),
        Op::SetUp(_, name, up) => set(name, if *up { "up" } else { "down" }),
        Op::SetMtu(_, name, mtu) => Some(format!("the MTU of {name} is not {mtu}")),
        Op::SetMac(_, name, mac) => Some(format!("the hardware address of {name} is not {mac}")),
        Op::SetMaster(name, bridge) => set(name, &format!("a port of {bridge}")),
        Op::SetPort { link, .. } => Some(format!("the flags of bridge port {link} have been changed")),
        Op::SetPromiscuous(name, on) => set(name, if *on { "promiscuous" } else { "unpromiscuous" }),
        Op::SetBucket(name, _) => Some(format!("the token bucket of {name} is missing or has been changed")),
        Op::DelBucket(name) => Some(format!("{name} has a token bucket that nobody asked for")),
        Op::AddSlot(name, ..) => Some(format!("the eBPF programs do not know {name}, or know it as another")),
        Op::JoinBlocks(name) => Some(format!("the eBPF programs are not attached to {name}")),
        Op::AddAddress(address) => Some(format!("the address {} of {} is missing", address.net, address.link)),
        Op::DelAddress(address) => Some(format!("{} has an address {} that nobody asked for", address.link, address.net)),
        Op::AddRoute(route) => Some(format!("the route to {} by {} is missing", route.dst, route.link)),
        Op::DelRoute(route) => Some(format!("there is a route to {} by {} that nobody asked for", route.dst, route.link)),
        Op::SetSysctl(sysctl, value) => Some(format!("the sysctl {} is not {value}", sysctl.key)),
        Op::AddElement(_) => Some("a firewall element is missing".to_owned()),
        Op::DelElement(_) => Some("a firewall element leads elsewhere".to_owned()),
        Op::Reserve(port) => Some(format!("the host port {port} is not held")),
        // What is said to people, and what follows from another step.
        Op::Enforce(_) | Op::SetAlias(..) | Op::Announce { .. } | Op::FlushPort { .. } | Op::FlushAddress(..) => None,
        // What makes packets cheaper and decides nothing.
        Op::TakeHooks(_) | Op::LeaveHooks(_) => None,
        // Nothing of an attachment that is wanted has to go.
        Op::DelTable | Op::DelFilters | Op::DelNetns(_) | Op::DelSlot(_) | Op::Release(_) => None,
    }
}
