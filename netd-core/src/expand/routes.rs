//! The routes of a container: what its attachments ask for, and the default routes that its networks give. Never adds one that another attachment
//! has already.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use netd_api::{addr::Family, cni::CniRoute};

use crate::{
    desired::{Attachment, Container, Desired, Network},
    objects::{Ns, Route, TABLE_MAIN},
};

/// RT_SCOPE_LINK (rtnetlink(7)): whoever is on the link.
pub(crate) const SCOPE_LINK: u8 = 253;
/// IP6_RT_PRIO_USER of linux/ipv6_route.h, which stands for no metric.
pub(crate) const METRIC_V6: u32 = 1024;

/// The routes of a container. Of two with the same destination, table and metric the one of the earlier attachment; the other takes over when that goes.
pub(crate) fn routes(desired: &Desired, container: &Container) -> Vec<Route> {
    let ns = Ns::At(container.netns());
    let mut known = BTreeSet::new();
    let mut routes = Vec::new();
    for attachment in &container.attachments {
        let Some(network) = desired.networks().get(&attachment.network) else { continue };
        for route in wanted(&ns, attachment, network) {
            if known.insert(route.key()) {
                routes.push(route);
            }
        }
    }
    routes
}

fn wanted(ns: &Ns, attachment: &Attachment, network: &Network) -> Vec<Route> {
    if let Some(asked) = attachment.cni.as_ref().and_then(|cni| cni.routes.as_ref()) {
        return asked.iter().map(|asked| route(ns, attachment, network, asked)).collect();
    }
    if network.internal || !network.is_gateway() {
        return Vec::new();
    }
    let gateways = Family::BOTH.into_iter().filter_map(|family| gateway(attachment, network, family));
    gateways.map(|via| Route::default_via(ns.clone(), attachment.ifname.clone(), via)).collect()
}

/// The gateway of the subnet that an attachment's first address of a family is of.
fn gateway(attachment: &Attachment, network: &Network, family: Family) -> Option<IpAddr> {
    let first: &IpNet = attachment.addresses.iter().find(|net| Family::of(net.addr()) == family)?;
    network.pool_of(*first)?.gateway
}

/// What a runtime's route amounts to.
fn route(ns: &Ns, attachment: &Attachment, network: &Network, asked: &CniRoute) -> Route {
    let family = Family::of(asked.dst.addr());
    let on_link = asked.scope.is_some_and(|scope| scope >= SCOPE_LINK);
    let via = asked.gw.or_else(|| if on_link { None } else { gateway(attachment, network, family) });
    let metric = asked.priority.unwrap_or(0);
    Route {
        ns: ns.clone(),
        link: attachment.ifname.clone(),
        dst: asked.dst.trunc(),
        via,
        metric: if family == Family::V6 && metric == METRIC_V6 { 0 } else { metric },
        table: asked.table.filter(|table| *table != 0).unwrap_or(TABLE_MAIN),
        scope: match family {
            Family::V4 => asked.scope.unwrap_or(if via.is_none() { SCOPE_LINK } else { 0 }),
            Family::V6 => 0,
        },
        mtu: asked.mtu.unwrap_or(0),
        advmss: asked.advmss.unwrap_or(0),
    }
}
