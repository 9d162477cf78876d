//! A kernel in memory: it keeps what it is given and refuses what Linux refuses. Knows nothing of what is wanted.

mod look;
mod verdicts;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use netd_api::{
    names::IfName,
    spec::Source,
    view::{Counters, ReasonView, Traffic, Trouble},
};
use netd_core::{
    firewall::element::Publish,
    host::{Found, Host},
    objects::{Bucket, Filters, Ifb, Netns, NetnsId, Ns, Objects, Peer, Reservation, Route, Table, Veth},
    op::Op,
    policy::book::{Fill, steps::Write},
};

use self::{
    look::{at, same_place},
    verdicts::Verdicts,
};
use super::{ApplyError, AtHooks, Health, Holder, Kernel, KernelError, Look, ObserveError, Tables};

/// What survives the daemon: the kernel's objects, and what was done to them.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) objects: Objects,
    pub(crate) host: Host,
    /// Ports that strangers hold, and who they are.
    pub(crate) strangers: Vec<(Reservation, String)>,
    /// Who has sockets on which ports, besides.
    pub(crate) listeners: Vec<(Reservation, Holder)>,
    /// How often was looked for who has them.
    pub(crate) scans: usize,
    /// Links that strangers made.
    pub(crate) foreign: BTreeSet<IfName>,
    /// What others do against us.
    pub(crate) troubles: Vec<Trouble>,
    /// How many ports of each bridge are strangers' links.
    pub(crate) strangers_ports: usize,
    /// What the maps of policy hold.
    pub(crate) verdicts: Verdicts,
    /// Packets that were counted, by number.
    pub(crate) packets: BTreeMap<u32, u64>,
    /// Who is at its own hooks, where links have such.
    pub(crate) at_own_hooks: Option<AtHooks>,
    /// Every step that was done, in order.
    pub(crate) done: Vec<Op>,
}

/// A daemon's view of the world; another one can be opened after it was killed.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeKernel {
    world: Arc<Mutex<World>>,
    fuse: Option<Fuse>,
}

#[derive(Debug, Clone, Copy)]
enum Fuse {
    Fails(usize),
    Kills { left: usize, after: bool },
}

impl FakeKernel {
    /// A kernel with these facts.
    pub(crate) fn with_host(host: Host) -> Self {
        let kernel = Self::default();
        kernel.world().host = host;
        kernel
    }
    /// The world, to be looked at or meddled with.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
    /// The same, but the `nth` step from now fails with EIO (0 is the next).
    pub(crate) fn failing_at(&self, nth: usize) -> Self {
        Self { world: Arc::clone(&self.world), fuse: Some(Fuse::Fails(nth)) }
    }
    /// The same, but the daemon is killed at the `nth` step from now, before or after it is done.
    pub(crate) fn killed_at(&self, nth: usize, after: bool) -> Self {
        Self { world: Arc::clone(&self.world), fuse: Some(Fuse::Kills { left: nth, after }) }
    }
    /// The same kernel after its daemon has gone: sockets went with it.
    pub(crate) fn reopened(&self) -> Self {
        self.world().objects.reservations.clear();
        Self { world: Arc::clone(&self.world), fuse: None }
    }
}

/// The panic that stands for kill -9.
pub(crate) const KILLED: &str = "killed by the test";

impl Kernel for FakeKernel {
    fn observe(&mut self, look: Look<'_>) -> Result<Objects, ObserveError> {
        let world = self.world();
        Ok(match look {
            Look::Everything(_) => world.objects.clone(),
            Look::At(keys) => at(&world.objects, keys),
        })
    }

    fn apply(&mut self, op: &Op) -> Result<(), ApplyError> {
        let refuse = |errno| ApplyError { op: Box::new(op.clone()), cause: KernelError::Errno { errno, said: None } };
        let mut killed_after = false;
        match &mut self.fuse {
            Some(Fuse::Fails(0)) => {
                self.fuse = None;
                return Err(refuse(libc::EIO));
            }
            Some(Fuse::Kills { left: 0, after }) => {
                killed_after = *after;
                assert!(killed_after, "{KILLED}");
            }
            Some(Fuse::Fails(left) | Fuse::Kills { left, .. }) => *left -= 1,
            None => {}
        }
        let mut world = self.world();
        world.apply(op).map_err(|cause| ApplyError { op: Box::new(op.clone()), cause })?;
        world.done.push(op.clone());
        drop(world);
        assert!(!killed_after, "{KILLED}");
        Ok(())
    }

    fn settle(&mut self) {}

    fn host(&mut self) -> Result<Host, ObserveError> {
        Ok(self.world().host.clone())
    }

    fn find(&mut self, source: &Source) -> Result<Found, KernelError> {
        let path = match source {
            Source::Path(path) => path.clone(),
            Source::Pid(pid) => format!("/proc/{pid}/ns/net"),
            Source::Made => return Err(KernelError::Namespace("a made container has no source".to_owned())),
        };
        let world = self.world();
        let peers = world.objects.veths.values().filter_map(|veth| veth.peer.as_ref()).filter(|peer| peer.ns.path() == Some(path.as_str()));
        let links = peers.map(|peer| peer.name.clone()).collect();
        match world.objects.netns.get(&path) {
            Some(Netns::Adopted(id)) => Ok(Found { id: *id, links, path }),
            // Its number is nobody else's; which one it is matters to nobody.
            Some(Netns::Made) => Ok(Found { id: NetnsId { dev: 4, ino: netd_core::firewall::fingerprint(path.as_bytes()) }, links, path }),
            None => Err(KernelError::Namespace(format!("{path} is no network namespace"))),
        }
    }

    fn netns(&mut self, path: &str) -> Option<NetnsId> {
        self.find(&Source::Path(path.to_owned())).ok().map(|found| found.id)
    }

    fn stranger(&mut self, ports: &[Reservation], _caller: i32, is_stranger: &dyn Fn(&Holder) -> bool) -> Option<(Reservation, Holder)> {
        let mut world = self.world();
        world.scans += 1;
        let on = |port| world.listeners.iter().find(|(held, holder)| held == port && is_stranger(holder));
        ports.iter().find_map(on).cloned()
    }

    fn count_at_hooks(&mut self) -> Option<u64> {
        Some(self.world().at_own_hooks.as_ref()?.at.len() as u64)
    }

    fn at_own_hooks(&mut self) -> Option<AtHooks> {
        self.world().at_own_hooks.clone()
    }

    fn counters(&mut self, slot: u32) -> Option<Counters> {
        let packets = *self.world().packets.get(&slot)?;
        Some(Counters { from: Traffic { packets, ..Traffic::default() }, ..Counters::default() })
    }

    fn reasons(&mut self, _slot: u32) -> Vec<ReasonView> {
        Vec::new()
    }

    fn policy_numbers(&mut self) -> Option<u32> {
        let world = self.world();
        world.host.features.datapath.then(|| world.verdicts.highest())
    }

    fn hold_policy(&mut self, entries: &[Write]) -> Result<(), KernelError> {
        self.world().verdicts.hold(entries);
        Ok(())
    }

    fn inform(&mut self, hosts: &BTreeSet<IpAddr>, published: Option<&BTreeSet<Publish>>, fast_path: bool) -> Result<(), KernelError> {
        self.world().verdicts.inform(hosts, published, fast_path);
        Ok(())
    }

    fn hits(&mut self, _rule: u32) -> Traffic {
        Traffic::default()
    }

    fn tables(&mut self, _book: Fill) -> Tables {
        Tables::default()
    }

    fn health(&mut self) -> Health {
        Health { troubles: self.world().troubles.clone(), ..Health::default() }
    }
}

impl World {
    fn apply(&mut self, op: &Op) -> Result<(), KernelError> {
        let errno = |errno| Err(KernelError::Errno { errno, said: None });
        let objects = &mut self.objects;
        match op {
            Op::PutTable => objects.table = Table::Current,
            Op::DelTable => {
                objects.table = Table::Absent;
                objects.elements.clear();
            }
            Op::AddNetns(path) => {
                if objects.netns.contains_key(path) {
                    return errno(libc::EEXIST);
                }
                objects.netns.insert(path.clone(), Netns::Made);
            }
            Op::DelNetns(path) => {
                if !objects.netns.contains_key(path) {
                    return errno(libc::ENOENT);
                }
                self.remove_netns(path);
            }
            Op::AddBridge(name, bridge) => {
                if objects.bridges.contains_key(name) || objects.veths.contains_key(name) || self.foreign.contains(name) {
                    return errno(libc::EEXIST);
                }
                objects.bridges.insert(name.clone(), netd_core::objects::Bridge { up: false, ..bridge.clone() });
            }
            Op::AddVeth(name, veth) => return self.add_veth(name, veth),
            Op::DelLink(name) => return self.remove_link(name),
            Op::SetUp(ns, name, up) => return self.with_link(ns, name, |end| end.up(*up)),
            Op::SetMtu(ns, name, mtu) => return self.with_link(ns, name, |end| end.mtu(*mtu)),
            Op::SetMac(ns, name, mac) => return self.with_link(ns, name, |end| end.mac(*mac)),
            Op::SetMaster(name, bridge) => {
                let known = objects.bridges.contains_key(bridge);
                match objects.veths.get_mut(name) {
                    Some(veth) if known => (veth.bridge, veth.isolated, veth.hairpin) = (Some(bridge.clone()), false, false),
                    _ => return errno(libc::ENODEV),
                }
            }
            Op::SetPort { link, isolated, hairpin } => match objects.veths.get_mut(link) {
                Some(veth) => (veth.isolated, veth.hairpin) = (*isolated, *hairpin),
                None => return errno(libc::ENODEV),
            },
            Op::SetAlias(link, alias) => match objects.veths.get_mut(link) {
                Some(veth) => veth.alias.clone_from(alias),
                None => return errno(libc::ENODEV),
            },
            Op::AddAddress(address) => {
                if !self.has_link(&address.ns, &address.link) {
                    return errno(libc::ENODEV);
                }
                if !self.objects.addresses.insert(address.clone()) {
                    return errno(libc::EEXIST);
                }
            }
            Op::DelAddress(address) => {
                if !objects.addresses.remove(address) {
                    return errno(libc::EADDRNOTAVAIL);
                }
            }
            Op::AddRoute(route) => {
                let up = |peer: &Peer| peer.ns == route.ns && peer.name == route.link && peer.up;
                if !objects.veths.values().filter_map(|veth| veth.peer.as_ref()).any(up) {
                    return errno(libc::ENETDOWN);
                }
                let same =
                    |other: &Route| (&other.ns, other.dst, other.table, other.metric) == (&route.ns, route.dst, route.table, route.metric);
                if objects.routes.iter().any(same) {
                    return errno(libc::EEXIST);
                }
                let on_link = |via: &std::net::IpAddr| {
                    let mut addresses = objects.addresses.iter().filter(|address| address.ns == route.ns && address.link == route.link);
                    addresses.any(|address| address.net.contains(via))
                };
                if !route.via.as_ref().is_none_or(on_link) {
                    return errno(libc::ENETUNREACH);
                }
                objects.routes.insert(route.clone());
            }
            Op::DelRoute(route) => {
                if !objects.routes.remove(route) {
                    return errno(libc::ESRCH);
                }
            }
            Op::SetSysctl(sysctl, value) => {
                let link = sysctl.key.split('/').nth(3).and_then(|name| name.parse().ok());
                let there = self.objects.sysctls.contains_key(sysctl) || link.is_some_and(|link| self.has_link(&sysctl.ns, &link));
                if !there {
                    return errno(libc::ENOENT);
                }
                self.objects.sysctls.insert(sysctl.clone(), value.clone());
            }
            Op::AddElement(element) => {
                if objects.table == Table::Absent {
                    return errno(libc::ENOENT);
                }
                if objects.elements.iter().any(|other| other != element && same_place(other, element)) {
                    return errno(libc::EEXIST);
                }
                objects.elements.insert(element.clone());
            }
            Op::DelElement(element) => {
                objects.elements.remove(element);
            }
            Op::PutFilters => objects.filters = Filters::Current,
            Op::DelFilters => {
                objects.filters = Filters::Absent;
                objects.left_slots.clear();
            }
            Op::AddIfb(name) => {
                if self.has_link(&Ns::Host, name) || self.foreign.contains(name) {
                    return errno(libc::EEXIST);
                }
                self.objects.ifbs.insert(name.clone(), Ifb { up: true, bucket: None });
            }
            Op::SetBucket(name, bucket) => return self.put_bucket(name, Some(*bucket)),
            Op::DelBucket(name) => return self.put_bucket(name, None),
            Op::SetPromiscuous(name, on) => match objects.bridges.get_mut(name) {
                Some(bridge) => bridge.promiscuous = *on,
                None => return errno(libc::ENODEV),
            },
            Op::AddSlot(_, _, Some(ifb), _) if !objects.ifbs.contains_key(ifb) => return errno(libc::ENODEV),
            Op::AddSlot(link, slot, ifb, entry) => match objects.veths.get_mut(link) {
                Some(veth) => {
                    objects.left_slots.remove(slot);
                    (veth.slot, veth.from_container, veth.entry) = (Some(*slot), ifb.clone(), entry.clone());
                }
                None => return errno(libc::ENODEV),
            },
            Op::DelSlot(slot) => drop(objects.left_slots.remove(slot)),
            Op::JoinBlocks(link) => match objects.veths.get_mut(link) {
                Some(veth) if objects.filters == Filters::Current => veth.on_blocks = true,
                Some(_) => return errno(libc::EINVAL),
                None => return errno(libc::ENODEV),
            },
            Op::Reserve(port) => {
                if let Some((_, holder)) = self.strangers.iter().find(|(held, _)| held == port) {
                    return Err(KernelError::PortTaken { holder: holder.clone() });
                }
                objects.reservations.insert(*port);
            }
            Op::Release(port) => {
                objects.reservations.remove(port);
            }
            Op::TakeHooks(link) | Op::LeaveHooks(link) => {
                let Some(slot) = objects.veths.get(link).and_then(|veth| veth.slot) else { return errno(libc::ENODEV) };
                let Some(at_own_hooks) = &mut self.at_own_hooks else { return errno(libc::EINVAL) };
                if matches!(op, Op::TakeHooks(_)) {
                    at_own_hooks.at.insert(slot)
                } else {
                    at_own_hooks.at.remove(&slot)
                };
            }
            // Verdicts are no objects.
            Op::Enforce(steps) => self.verdicts.enforce(steps),
            Op::FlushPort { .. } | Op::FlushAddress(..) | Op::Announce { .. } => {}
        }
        Ok(())
    }

    fn put_bucket(&mut self, name: &IfName, bucket: Option<Bucket>) -> Result<(), KernelError> {
        match (self.objects.veths.get_mut(name), self.objects.ifbs.get_mut(name)) {
            (Some(veth), _) => veth.to_container = bucket,
            (_, Some(ifb)) => ifb.bucket = bucket,
            _ => return Err(KernelError::Errno { errno: libc::ENODEV, said: None }),
        }
        Ok(())
    }

    fn has_link(&self, ns: &Ns, name: &IfName) -> bool {
        match ns {
            Ns::Host => {
                let Objects { bridges, veths, ifbs, .. } = &self.objects;
                bridges.contains_key(name) || veths.contains_key(name) || ifbs.contains_key(name)
            }
            Ns::At(_) => self.objects.veths.values().filter_map(|veth| veth.peer.as_ref()).any(|peer| peer.ns == *ns && peer.name == *name),
        }
    }

    fn add_veth(&mut self, name: &IfName, veth: &Veth) -> Result<(), KernelError> {
        let errno = |errno| Err(KernelError::Errno { errno, said: None });
        let Some(peer) = &veth.peer else { return errno(libc::EINVAL) };
        if self.has_link(&Ns::Host, name) || self.has_link(&peer.ns, &peer.name) {
            return errno(libc::EEXIST);
        }
        if !veth.bridge.as_ref().is_some_and(|bridge| self.objects.bridges.contains_key(bridge)) {
            return errno(libc::ENODEV);
        }
        if self.objects.veths.values().filter(|other| other.bridge == veth.bridge).count() + self.strangers_ports >= 1023 {
            return errno(libc::EXFULL);
        }
        if !peer.ns.path().is_some_and(|path| self.objects.netns.contains_key(path)) {
            return errno(libc::ENOENT);
        }
        let peer = Peer { up: false, ..peer.clone() };
        let born = Veth {
            up: false,
            alias: String::new(),
            isolated: false,
            hairpin: false,
            on_blocks: false,
            slot: None,
            entry: None,
            peer: Some(peer),
            ..veth.clone()
        };
        self.objects.veths.insert(name.clone(), born);
        Ok(())
    }

    fn forget(&mut self, ns: &Ns, link: &IfName) {
        self.objects.addresses.retain(|address| address.ns != *ns || address.link != *link);
        self.objects.routes.retain(|route| route.ns != *ns || route.link != *link);
        let of_link = |key: &str| key.split('/').nth(3) == Some(link.as_str());
        self.objects.sysctls.retain(|sysctl, _| sysctl.ns != *ns || !of_link(&sysctl.key));
    }

    pub(crate) fn remove_link(&mut self, name: &IfName) -> Result<(), KernelError> {
        if self.objects.ifbs.remove(name).is_some() {
            // Nothing but its own sysctls goes with it.
        } else if self.objects.bridges.remove(name).is_some() {
            self.objects.veths.values_mut().filter(|veth| veth.bridge.as_ref() == Some(name)).for_each(|veth| veth.bridge = None);
        } else if let Some(veth) = self.objects.veths.remove(name) {
            if let Some(peer) = veth.peer {
                self.forget(&peer.ns, &peer.name);
            }
        } else {
            return Err(KernelError::Errno { errno: libc::ENODEV, said: None });
        }
        self.forget(&Ns::Host, name);
        Ok(())
    }

    pub(crate) fn remove_netns(&mut self, path: &str) {
        self.objects.netns.remove(path);
        let inside = |veth: &Veth| veth.peer.as_ref().is_some_and(|peer| peer.ns.path() == Some(path));
        let links: Vec<IfName> = self.objects.veths.iter().filter(|(_, veth)| inside(veth)).map(|(name, _)| name.clone()).collect();
        for link in links {
            self.objects.left_slots.extend(self.objects.veths.get(&link).and_then(|veth| veth.slot));
            self.remove_link(&link).unwrap_or_default();
        }
    }

    /// A namespace that somebody else made.
    pub(crate) fn add_stranger(&mut self, path: &str, ino: u64) {
        self.objects.netns.insert(path.to_owned(), Netns::Adopted(NetnsId { dev: 4, ino }));
    }

    fn with_link(&mut self, ns: &Ns, name: &IfName, set: impl Fn(End<'_>)) -> Result<(), KernelError> {
        match ns {
            Ns::Host => match (self.objects.bridges.get_mut(name), self.objects.veths.get_mut(name)) {
                (Some(bridge), _) => set(End { up: &mut bridge.up, mtu: &mut bridge.mtu, mac: &mut bridge.mac }),
                (None, Some(veth)) => set(End { up: &mut veth.up, mtu: &mut veth.mtu, mac: &mut veth.mac }),
                (None, None) => return Err(KernelError::Errno { errno: libc::ENODEV, said: None }),
            },
            Ns::At(_) => {
                let is_it = |veth: &&mut Veth| veth.peer.as_ref().is_some_and(|peer| peer.ns == *ns && peer.name == *name);
                match self.objects.veths.values_mut().find(is_it) {
                    Some(Veth { peer: Some(peer), mtu, .. }) => set(End { up: &mut peer.up, mtu, mac: &mut peer.mac }),
                    _ => return Err(KernelError::Errno { errno: libc::ENODEV, said: None }),
                }
            }
        }
        Ok(())
    }
}

/// One end of a link, whatever it is.
struct End<'a> {
    up: &'a mut bool,
    mtu: &'a mut u32,
    mac: &'a mut netd_api::addr::Mac,
}

impl End<'_> {
    fn up(self, up: bool) {
        *self.up = up;
    }
    fn mtu(self, mtu: u32) {
        *self.mtu = mtu;
    }
    fn mac(self, mac: netd_api::addr::Mac) {
        *self.mac = mac;
    }
}
