//! The real kernel: one match from each `Op` to the file that does it, and what is looked at put together. Never decides.

mod attached;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
};

use netd_abi::{Direction, Why, attachment::NO_PACER};
use netd_api::{names::IfName, spec::Source, view};
use netd_core::{
    firewall::{Element, element::Publish},
    host::{Features, Found, Host},
    objects::{Address, Netns, NetnsId, Ns, Objects, Reservation, Sysctl, Veth},
    op::Op,
    policy::book::{Fill, steps::Write},
};

use super::{
    ApplyError, AtHooks, Health, Holder, Kernel, KernelError, Look, News, ObserveError, Tables, address,
    announce::Announcer,
    conntrack::{self, Conntrack},
    delete,
    expected::Expected,
    host,
    in_our_way::InOurWay,
    link,
    made::Made,
    netlink::Rtnetlink,
    netns::{self, Inside},
    nft::Nft,
    observe,
    port::{self, Ports},
    route,
    shape::Shaper,
    sysctl, watch,
};
use crate::bpf::{Bpf, BpfError};

/// Linux.
pub struct LinuxKernel {
    rtnetlink: Rtnetlink,
    /// The namespaces that this plan works on.
    inside: BTreeMap<String, Inside>,
    /// The numbers of the host's links that this plan asked for.
    indices: BTreeMap<IfName, u32>,
    nft: Nft,
    bpf: Bpf,
    ports: Ports,
    shaper: Shaper,
    conntrack: Conntrack,
    announcer: Announcer,
    made: Made,
    features: Features,
    expected: Expected,
    /// Chains of others in our way, and the bridges for which they were looked for.
    in_our_way: InOurWay,
}

impl LinuxKernel {
    /// Opens what lasts as long as the daemon; the ports that systemd kept are held from here on. `run` is a directory that dies with the boot.
    pub fn open(bpf: Bpf, run: &Path) -> Result<Self, KernelError> {
        port::raise_descriptors();
        let (rtnetlink, nft) = (Rtnetlink::open()?, Nft::open(run.join("table.json"))?);
        let expected = Expected::default();
        [rtnetlink.port()].into_iter().chain(nft.ports()).chain(bpf.ports()).for_each(|port| expected.port(port));
        Ok(Self {
            rtnetlink,
            inside: BTreeMap::new(),
            indices: BTreeMap::new(),
            nft,
            features: host::features(bpf.is_on()),
            bpf,
            ports: Ports::from_store(),
            shaper: Shaper::default(),
            conntrack: Conntrack::default(),
            announcer: Announcer::on_host()?,
            made: Made::at(run.join("made")),
            expected,
            in_our_way: InOurWay::default(),
        })
    }

    /// Tells of what others change, in words and once for a burst, until `tell` gives false. To be called before the first look, so that nothing is missed.
    pub fn watch(&self, tell: impl FnMut(News) -> bool + Send + 'static) -> Result<(), KernelError> {
        watch::start(self.expected.clone(), tell)
    }

    fn step(&mut self, op: &Op) -> Result<(), KernelError> {
        match op {
            Op::PutTable => {
                self.expected.nft();
                self.nft.put_table()
            }
            Op::DelTable => self.nft.delete_table(),
            Op::AddElement(element) => {
                if let Element::Publish(publish) = element {
                    self.bpf.publish(publish).map_err(bpf)?;
                }
                self.nft.add(std::slice::from_ref(element)).inspect(|()| self.conntrack.published(element))
            }
            Op::DelElement(element) => {
                self.nft.delete(std::slice::from_ref(element)).inspect(|()| self.conntrack.withdrawn(element))?;
                match element {
                    Element::Publish(publish) => self.bpf.withdraw(publish).map_err(bpf),
                    _ => Ok(()),
                }
            }

            Op::AddNetns(path) => {
                self.made.note(path)?;
                Inside::create(path).map(|inside| drop(self.inside.insert(path.clone(), inside)))
            }
            Op::DelNetns(path) => {
                self.inside.remove(path);
                netns::remove(path)?;
                self.made.forget(path)
            }
            Op::AddBridge(name, bridge) => link::add_bridge(&mut self.rtnetlink, name, bridge),
            Op::AddVeth(name, veth) => self.add_veth(name, veth),
            Op::DelLink(name) => self.del_link(name),
            Op::SetUp(ns, name, up) => link::set_up(self.at(ns)?, name, *up),
            Op::SetMtu(ns, name, mtu) => link::set_mtu(self.at(ns)?, name, *mtu),
            Op::SetMac(ns, name, mac) => link::set_mac(self.at(ns)?, name, *mac),
            Op::SetMaster(name, bridge) => {
                let master = self.index(&Ns::Host, bridge)?;
                link::set_master(&mut self.rtnetlink, name, master)
            }
            Op::SetPort { link, isolated, hairpin } => link::set_port(&mut self.rtnetlink, link, *isolated, *hairpin),
            Op::SetAlias(name, alias) => link::set_alias(&mut self.rtnetlink, name, alias),

            Op::AddAddress(Address { ns, link, net }) => {
                let index = self.index(ns, link)?;
                address::add(self.at(ns)?, index, *net)
            }
            Op::DelAddress(Address { ns, link, net }) => {
                let index = self.index(ns, link)?;
                address::delete(self.at(ns)?, index, *net)
            }
            Op::AddRoute(route) => {
                let index = self.index(&route.ns, &route.link)?;
                route::add(self.at(&route.ns)?, index, route)
            }
            Op::DelRoute(route) => {
                let index = self.index(&route.ns, &route.link)?;
                route::delete(self.at(&route.ns)?, index, route)
            }
            Op::SetSysctl(Sysctl { ns: Ns::Host, key }, value) => {
                self.expected.sysctl(key, value);
                sysctl::write(key, value)
            }
            Op::SetSysctl(Sysctl { ns: Ns::At(path), key }, value) => {
                let (key, value) = (key.clone(), value.clone());
                self.inside(path)?.run(move |tree| tree.write(&key, &value))?
            }

            Op::PutFilters => self.bpf.put_filters().map_err(bpf),
            Op::DelFilters => self.bpf.remove().map_err(bpf),
            Op::AddSlot(link, slot, ifb, entry) => {
                let index = self.number(link)?;
                let pacer = ifb.as_ref().map(|ifb| self.number(ifb)).transpose()?.unwrap_or(NO_PACER);
                let bridge = entry.as_ref().and_then(|entry| entry.bridge.clone());
                let bridge = bridge.map(|bridge| self.number(&bridge)).transpose()?.unwrap_or(0);
                self.bpf.put_attachment(link.as_str(), index, *slot, pacer, entry.as_deref(), bridge).map_err(bpf)
            }
            Op::TakeHooks(link) => {
                let index = self.number(link)?;
                self.bpf.take_hooks(index).map_err(bpf)
            }
            Op::LeaveHooks(link) => {
                let index = self.number(link)?;
                self.bpf.leave_hooks(index).map_err(bpf)
            }
            Op::Enforce(steps) => self.bpf.enforce(steps).map_err(bpf),
            Op::DelSlot(slot) => self.bpf.remove_slot(*slot).map_err(bpf),
            Op::AddIfb(name) => link::add_ifb(&mut self.rtnetlink, name),
            Op::SetBucket(name, bucket) => {
                let index = self.number(name)?;
                self.shaper.set(index, *bucket, &self.expected)
            }
            Op::DelBucket(name) => {
                let index = self.number(name)?;
                self.shaper.delete(index, &self.expected)
            }
            Op::SetPromiscuous(name, on) => link::set_promiscuous(&mut self.rtnetlink, name, *on),
            Op::JoinBlocks(link) => {
                let index = self.number(link)?;
                self.bpf.attach(index).map_err(bpf)
            }

            Op::Reserve(port) => self.ports.reserve(port),
            Op::Release(port) => {
                self.ports.release(port);
                Ok(())
            }
            Op::FlushPort { protocol, address, ports } => {
                self.conntrack.flush(conntrack::Which::Port { protocol: *protocol, address: *address, ports: *ports })
            }
            Op::FlushAddress(bridge, address) => {
                let index = self.number(bridge)?;
                self.conntrack.flush(conntrack::Which::Address(*address, index))
            }
            Op::Announce { ns, link, mac, address } => self.announce(ns, link, *mac, *address),
        }
    }

    /// The rtnetlink socket of a namespace.
    fn at(&mut self, ns: &Ns) -> Result<&mut Rtnetlink, KernelError> {
        match ns {
            Ns::Host => Ok(&mut self.rtnetlink),
            Ns::At(path) => Ok(&mut self.inside(path)?.rtnetlink),
        }
    }

    /// A namespace of this plan, entered at its first step.
    fn inside(&mut self, path: &str) -> Result<&mut Inside, KernelError> {
        if !self.inside.contains_key(path) {
            let inside = Inside::enter(path)?;
            self.keep(path, inside);
        }
        Ok(self.inside.get_mut(path).expect("it was put there above"))
    }

    fn keep(&mut self, path: &str, inside: Inside) {
        self.expected.port(inside.rtnetlink.port());
        self.inside.insert(path.to_owned(), inside);
    }

    /// The number of a link, asked for once in a plan.
    fn index(&mut self, ns: &Ns, name: &IfName) -> Result<u32, KernelError> {
        if let Ns::At(path) = ns {
            return self.inside(path)?.index(name);
        }
        if let Some(index) = self.indices.get(name) {
            return Ok(*index);
        }
        let index = link::index(&mut self.rtnetlink, name)?;
        self.indices.insert(name.clone(), index);
        Ok(index)
    }

    /// The number of a host's link that has been there before or is no bridge; asked for once in a plan.
    fn number(&mut self, name: &IfName) -> Result<u32, KernelError> {
        if let Some(index) = self.indices.get(name) {
            return Ok(*index);
        }
        let index = link::number(&self.rtnetlink, name)?;
        self.indices.insert(name.clone(), index);
        Ok(index)
    }

    fn add_veth(&mut self, name: &IfName, veth: &Veth) -> Result<(), KernelError> {
        let master = veth.bridge.as_ref().map(|bridge| self.number(bridge)).transpose()?;
        if let Some(path) = veth.peer.as_ref().and_then(|peer| peer.ns.path()) {
            self.inside(path)?;
        }
        let ns = veth.peer.as_ref().and_then(|peer| self.inside.get(peer.ns.path()?));
        link::add_veth(&mut self.rtnetlink, name, veth, master, ns.map(Inside::ns))
    }

    fn del_link(&mut self, name: &IfName) -> Result<(), KernelError> {
        let index = self.number(name)?;
        self.indices.remove(name);
        // Interface numbers inside may be those of the other end.
        self.inside.values_mut().for_each(Inside::forget_indices);
        self.expected.deletion(index, name.as_str());
        delete::delete(index)?;
        if self.bpf.attachment(index).is_some() {
            self.bpf.remove_attachment(index).map_err(bpf)?;
        }
        Ok(())
    }

    fn announce(&mut self, ns: &Ns, link: &IfName, mac: netd_api::addr::Mac, address: std::net::IpAddr) -> Result<(), KernelError> {
        let Ns::At(path) = ns else { return Ok(()) }; // the host's own addresses are announced by whoever needs them: with ARP
        let (link, announcer) = (link.clone(), self.announcer.clone());
        self.inside(path)?.start_job(move |_| {
            if let Err(error) = super::announce::from_here(&announcer, &link, mac, address) {
                tracing::debug!(%address, %error, "an address was not announced");
            }
        })
    }

    fn look(&mut self, look: Look<'_>) -> Result<Objects, ObserveError> {
        let because = |what: &str| {
            let what = what.to_owned();
            move |cause| ObserveError { what, cause }
        };
        let mut found = observe::observe(&mut self.rtnetlink, look).map_err(because("links, addresses and namespaces"))?;
        let (Look::Everything(wanted) | Look::At(wanted)) = look;
        let is_all = matches!(look, Look::Everything(_));

        // What stands on a network trusts that network's table: it is watched, and looking at all its rules takes longer than a publish.
        if !is_all && wanted.bridges.is_empty() {
            found.objects.table = wanted.table;
            found.objects.filters = wanted.filters;
        } else {
            found.objects.table = self.nft.observe_table().map_err(because("table inet netd"))?;
        }
        if is_all || !wanted.elements.is_empty() {
            found.objects.elements = self.nft.observe_elements(look).map_err(because("the elements of table inet netd"))?;
        }
        if is_all {
            for path in self.made.all().map_err(because("which namespaces netd made"))? {
                // What is only half made is made whole if it is wanted, and else removed.
                let half_made = || !wanted.netns.contains_key(&path) && Path::new(&path).exists();
                if netns::id(&path).is_some() || half_made() {
                    found.objects.netns.entry(path).or_insert(Netns::Made);
                }
            }
            self.expected.sysctls(wanted);
            self.in_our_way.look(found.objects.bridges.keys().cloned().collect(), self.expected.take_others_rules());
            self.conntrack.all_published(&found.objects.elements);
        }
        if is_all || !wanted.bridges.is_empty() {
            found.objects.filters = self.bpf.filters().map_err(bpf).map_err(because("the tc filters"))?;
        }
        self.add_attachments(&mut found, wanted, is_all).map_err(bpf).map_err(because("the eBPF maps"))?;
        self.add_buckets(&mut found, wanted, is_all).map_err(because("the queues of links"))?;
        found.objects.reservations = if is_all { self.ports.held() } else { self.ports.held_of(&wanted.reservations) };
        Ok(found.objects)
    }
}

impl Kernel for LinuxKernel {
    fn observe(&mut self, look: Look<'_>) -> Result<Objects, ObserveError> {
        self.look(look)
    }

    fn apply(&mut self, op: &Op) -> Result<(), ApplyError> {
        self.step(op).map_err(|cause| ApplyError { op: Box::new(op.clone()), cause })
    }

    fn settle(&mut self) {
        self.inside.clear();
        self.indices.clear();
    }

    fn host(&mut self) -> Result<Host, ObserveError> {
        // Read anew: /proc/sys may have been remounted since.
        self.features = host::features(self.bpf.is_on());
        host::host(&mut self.rtnetlink, self.features)
            .map_err(|cause| ObserveError { what: "the host's links, routes and addresses".to_owned(), cause })
    }

    fn find(&mut self, source: &Source) -> Result<Found, KernelError> {
        let (path, id) = match source {
            Source::Made => return Err(KernelError::Namespace("a namespace that netd makes is not looked for".to_owned())),
            Source::Path(path) => {
                netns::open(path)?;
                let gone = || KernelError::Namespace(format!("{path} is not there; is its container still running?"));
                (path.clone(), netns::id(path).ok_or_else(gone)?)
            }
            Source::Pid(pid) => netns::of_process(*pid)?,
        };
        let mut inside = Inside::enter(&path)?;
        let links = link::all(&mut inside.rtnetlink)?.into_iter().filter_map(|link| link.name.parse().ok()).collect();
        // The plan that follows works in it.
        self.keep(&path, inside);
        Ok(Found { path, id, links })
    }

    fn netns(&mut self, path: &str) -> Option<NetnsId> {
        netns::id(path)
    }

    fn stranger(&mut self, ports: &[Reservation], caller: i32, is_stranger: &dyn Fn(&Holder) -> bool) -> Option<(Reservation, Holder)> {
        self.ports.stranger(ports, caller, is_stranger)
    }

    fn count_at_hooks(&mut self) -> Option<u64> {
        self.bpf.count_at_hooks().map(|links| links as u64)
    }

    fn at_own_hooks(&mut self) -> Option<AtHooks> {
        self.bpf.at_own_hooks().inspect_err(|why| tracing::warn!(why = why.line(), "could not look at links' own hooks")).ok().flatten()
    }

    fn counters(&mut self, slot: u32) -> Option<view::Counters> {
        let [from, to] = self.bpf.counters(slot).ok()?;
        Some(view::Counters { from: traffic(&from), to: traffic(&to) })
    }

    fn reasons(&mut self, slot: u32) -> Vec<view::ReasonView> {
        let all = self.bpf.reasons_of(slot).unwrap_or_default();
        let shown = |(direction, why, counters): (Direction, Why, netd_abi::Counters)| view::ReasonView {
            direction: match direction {
                Direction::FromContainer => "from",
                Direction::ToContainer => "to",
            }
            .to_owned(),
            verdict: if why.is_made() { "made" } else { why.verdict().name() }.to_owned(),
            reason: why.name().to_owned(),
            counted: traffic(&counters),
        };
        all.into_iter().map(shown).collect()
    }

    fn policy_numbers(&mut self) -> Option<u32> {
        self.bpf.is_on().then(|| self.bpf.highest_number().unwrap_or(0))
    }

    fn hold_policy(&mut self, entries: &[Write]) -> Result<(), KernelError> {
        if !self.bpf.is_on() {
            return Ok(());
        }
        self.bpf.hold_only(entries.iter().copied()).and_then(|_| self.bpf.rejudge()).map_err(bpf)
    }

    fn inform(&mut self, hosts: &BTreeSet<IpAddr>, published: Option<&BTreeSet<Publish>>, fast_path: bool) -> Result<(), KernelError> {
        if !self.bpf.is_on() {
            return Ok(());
        }
        self.bpf
            .set_hosts(hosts)
            .and_then(|()| published.map_or(Ok(()), |published| self.bpf.set_published(published.iter())))
            .and_then(|()| self.bpf.set_fast_path(fast_path))
            .map_err(bpf)
    }

    fn hits(&mut self, rule: u32) -> view::Traffic {
        self.bpf.hits(rule).map(|counters| traffic(&counters)).unwrap_or_default()
    }

    fn tables(&mut self, book: Fill) -> Tables {
        let events = self.bpf.happened().unwrap_or_default().into_iter().map(|(what, times)| (what.name(), times));
        Tables { fill: self.bpf.fills(book), events: events.chain(self.bpf.alone().unwrap_or_default()).collect() }
    }

    fn health(&mut self) -> Health {
        super::health::health(&self.bpf, self.features, self.in_our_way.found())
    }
}

fn traffic(counters: &netd_abi::Counters) -> view::Traffic {
    view::Traffic { packets: counters.packets, bytes: counters.bytes, segments: counters.segments }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands over the error")]
fn bpf(error: BpfError) -> KernelError {
    KernelError::Bpf(error.line())
}
