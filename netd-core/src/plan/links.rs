//! The steps for bridges, veth pairs and what paces them: which go, which are born, which only change.

use std::collections::{BTreeMap, BTreeSet};

use netd_api::{addr::Mac, names::IfName};

use crate::{
    objects::{Address, Bucket, Ns, Objects, Veth},
    op::Op,
};

/// Links that go, because they are not wanted or cannot be changed into what is wanted.
pub(super) struct Gone<'a> {
    pub(super) veths: BTreeSet<&'a IfName>,
    pub(super) bridges: BTreeSet<&'a IfName>,
    /// The containers' ends that go with them.
    peers: BTreeSet<(&'a Ns, &'a IfName)>,
}

impl Gone<'_> {
    /// Whether an interface of a container goes, and with it its addresses and routes.
    pub(super) fn inside(&self, ns: &Ns, link: &IfName) -> bool {
        self.peers.contains(&(ns, link))
    }
}

pub(super) fn gone<'a>(wanted: &'a Objects, observed: &'a Objects) -> Gone<'a> {
    // A veth whose other end is not where it should be is made anew: what became of that end is not ours to guess.
    let misplaced = |veth: &Veth, wish: &Veth| match (&veth.peer, &wish.peer) {
        (Some(peer), Some(wish)) => peer.ns != wish.ns || peer.name != wish.name,
        _ => true,
    };
    let veths = observed.veths.iter().filter(|(name, veth)| wanted.veths.get(*name).is_none_or(|wish| misplaced(veth, wish)));
    let veths: BTreeSet<&IfName> = veths.map(|(name, _)| name).collect();
    let bridges = observed.bridges.keys().filter(|name| !wanted.bridges.contains_key(*name)).collect();
    let peers = |objects: &'a Objects| {
        let veths = veths.iter().filter_map(|name| objects.veths.get(*name)?.peer.as_ref()).collect::<Vec<_>>();
        veths.into_iter().map(|peer| (&peer.ns, &peer.name))
    };
    Gone { peers: peers(observed).chain(peers(wanted)).collect(), veths, bridges }
}

pub(super) fn born(ops: &mut Vec<Op>, wanted: &Objects, observed: &Objects, gone: &Gone<'_>) {
    for (name, wish) in &wanted.bridges {
        match observed.bridges.get(name) {
            None => ops.push(Op::AddBridge(name.clone(), wish.clone())),
            Some(bridge) => {
                if bridge.mac != wish.mac {
                    ops.push(Op::SetMac(Ns::Host, name.clone(), wish.mac));
                }
                if bridge.mtu != wish.mtu {
                    ops.push(Op::SetMtu(Ns::Host, name.clone(), wish.mtu));
                }
            }
        }
        if wish.promiscuous != observed.bridges.get(name).is_some_and(|bridge| bridge.promiscuous) {
            ops.push(Op::SetPromiscuous(name.clone(), wish.promiscuous));
        }
    }
    // Whatever paces a container is there before the programs lead its packets there.
    for (name, wish) in &wanted.ifbs {
        let ifb = observed.ifbs.get(name);
        match ifb {
            None => ops.push(Op::AddIfb(name.clone())),
            Some(ifb) if ifb.up != wish.up => ops.push(Op::SetUp(Ns::Host, name.clone(), wish.up)),
            Some(_) => {}
        }
        bucket(ops, name, wish.bucket, ifb.and_then(|ifb| ifb.bucket));
    }
    for (name, wish) in &wanted.veths {
        match observed.veths.get(name).filter(|_| !gone.veths.contains(name)) {
            None => {
                ops.push(Op::AddVeth(name.clone(), wish.clone()));
                if wish.isolated || wish.hairpin {
                    ops.push(Op::SetPort { link: name.clone(), isolated: wish.isolated, hairpin: wish.hairpin });
                }
                ops.push(Op::SetAlias(name.clone(), wish.alias.clone()));
                bucket(ops, name, wish.to_container, None);
                join(ops, name, wish, None);
            }
            Some(veth) => change(ops, name, wish, veth),
        }
    }
    // Packets that are led to a link that is not there are lost, so it goes when nothing leads there any more.
    let surplus = observed.ifbs.keys().filter(|name| !wanted.ifbs.contains_key(*name));
    ops.extend(surplus.cloned().map(Op::DelLink));
}

/// The bucket at the root of a link, in place where there is one.
fn bucket(ops: &mut Vec<Op>, name: &IfName, wish: Option<Bucket>, bucket: Option<Bucket>) {
    match wish {
        Some(wish) if bucket != Some(wish) => ops.push(Op::SetBucket(name.clone(), wish)),
        None if bucket.is_some() => ops.push(Op::DelBucket(name.clone())),
        _ => {}
    }
}

fn change(ops: &mut Vec<Op>, name: &IfName, wish: &Veth, veth: &Veth) {
    if veth.mac != wish.mac {
        ops.push(Op::SetMac(Ns::Host, name.clone(), wish.mac));
    }
    if veth.mtu != wish.mtu {
        ops.push(Op::SetMtu(Ns::Host, name.clone(), wish.mtu));
    }
    if let (Some(peer), Some(wanted)) = (&veth.peer, &wish.peer) {
        if peer.mac != wanted.mac {
            ops.push(Op::SetMac(wanted.ns.clone(), wanted.name.clone(), wanted.mac));
        }
        if veth.mtu != wish.mtu {
            ops.push(Op::SetMtu(wanted.ns.clone(), wanted.name.clone(), wish.mtu));
        }
    }
    let moved = veth.bridge != wish.bridge;
    if let (true, Some(bridge)) = (moved, &wish.bridge) {
        ops.push(Op::SetMaster(name.clone(), bridge.clone()));
    }
    // A port that comes anew has both flags off.
    let flags = if moved { (false, false) } else { (veth.isolated, veth.hairpin) };
    if flags != (wish.isolated, wish.hairpin) {
        ops.push(Op::SetPort { link: name.clone(), isolated: wish.isolated, hairpin: wish.hairpin });
    }
    if veth.alias != wish.alias {
        ops.push(Op::SetAlias(name.clone(), wish.alias.clone()));
    }
    bucket(ops, name, wish.to_container, veth.to_container);
    join(ops, name, wish, Some(veth));
}

/// The map entry before the blocks: a program drops what comes from an interface it does not know.
fn join(ops: &mut Vec<Op>, name: &IfName, wish: &Veth, veth: Option<&Veth>) {
    let known = veth.map(|veth| (veth.slot, &veth.from_container, &veth.entry));
    if let Some(slot) = wish.slot
        && known != Some((Some(slot), &wish.from_container, &wish.entry))
    {
        ops.push(Op::AddSlot(name.clone(), slot, wish.from_container.clone(), wish.entry.clone()));
    }
    if wish.on_blocks && !veth.is_some_and(|veth| veth.on_blocks) {
        ops.push(Op::JoinBlocks(name.clone()));
    }
}

/// Bridges first, then the containers' ends, then the host's: the last one is the moment from which packets flow.
pub(super) fn up(ops: &mut Vec<Op>, wanted: &Objects, observed: &Objects, gone: &Gone<'_>) {
    for (name, wish) in &wanted.bridges {
        if observed.bridges.get(name).map(|bridge| bridge.up).unwrap_or(false) != wish.up {
            ops.push(Op::SetUp(Ns::Host, name.clone(), wish.up));
        }
    }
    for (name, wish) in &wanted.veths {
        let veth = observed.veths.get(name).filter(|_| !gone.veths.contains(name));
        if let Some(peer) = &wish.peer
            && veth.and_then(|veth| veth.peer.as_ref()).is_some_and(|peer| peer.up) != peer.up
        {
            ops.push(Op::SetUp(peer.ns.clone(), peer.name.clone(), peer.up));
        }
        if veth.is_some_and(|veth| veth.up) != wish.up {
            ops.push(Op::SetUp(Ns::Host, name.clone(), wish.up));
        }
    }
}

/// Tells the neighbours about containers' new addresses.
pub(super) fn announcements(wanted: &Objects, added: &[&Address]) -> Vec<Op> {
    let inside = || added.iter().filter(|address| address.ns != Ns::Host);
    if inside().next().is_none() {
        return Vec::new();
    }
    let peers = wanted.veths.values().filter_map(|veth| veth.peer.as_ref());
    let macs: BTreeMap<(&Ns, &IfName), Mac> = peers.map(|peer| ((&peer.ns, &peer.name), peer.mac)).collect();
    let announce = |address: &&Address| {
        let mac = *macs.get(&(&address.ns, &address.link))?;
        Some(Op::Announce { ns: address.ns.clone(), link: address.link.clone(), mac, address: address.net.addr() })
    };
    inside().filter_map(announce).collect()
}
