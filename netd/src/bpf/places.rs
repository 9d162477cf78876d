//! The maps that say who is where: `HOSTS`, `LOCALS`, `ALLOWED`, `PUBLISHED`. The daemon alone writes them, so that what they hold is kept beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya::Pod;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, MapData};
use ipnet::IpNet;
use netd_abi::attachment::AllowedKey;
use netd_abi::flow::{PublishedKey, PublishedValue};
use netd_abi::maps::{ALLOWED, HOSTS, LOCALS, PUBLISHED};
use netd_core::firewall::element::Publish;

use super::BpfError;
use super::maps::{is_absent, typed};
use super::pins::Pins;
use super::revision::Revision;

/// Bits of [`AllowedKey`] before its address.
const SLOT_BITS: u32 = 32;

/// What else an attachment may send from, and how: [`netd_abi::attachment::allowance`].
pub(crate) type Allowances = BTreeMap<IpNet, u32>;

/// See the module.
pub(crate) struct Places {
    hosts: Known<[u8; 16], u32>,
    locals: Known<[u8; 16], u32>,
    /// The addresses of each interface, so that none is searched for.
    at: BTreeMap<u32, BTreeSet<[u8; 16]>>,
    published: Known<PublishedKey, PublishedValue>,
    allowed: LpmTrie<MapData, AllowedKey, u32>,
    allowances: BTreeMap<u32, Allowances>,
}

/// A hash whose contents are known.
struct Known<K: Pod, V: Pod> {
    name: &'static str,
    map: HashMap<MapData, K, V>,
    known: BTreeMap<K, V>,
    /// Of a map by which policy judges.
    revision: Option<Revision>,
}

impl<K: Pod + Ord, V: Pod + PartialEq> Known<K, V> {
    fn open(pins: &Pins, spec: &netd_abi::MapSpec, revision: Option<&Revision>) -> Result<Self, BpfError> {
        let map: HashMap<MapData, K, V> = typed(&pins.map(spec))?;
        let known = map.iter().collect::<Result<_, _>>();
        let known = known.map_err(|error| BpfError::new(format!("read the map {}", spec.name), error.into()))?;
        Ok(Self { name: spec.name, map, known, revision: revision.cloned() })
    }

    /// Says whether it was another or none.
    fn put(&mut self, key: K, value: V) -> Result<bool, BpfError> {
        if self.known.get(&key) == Some(&value) {
            return Ok(false);
        }
        let put = self.map.insert(key, value, 0);
        self.revision.iter().for_each(Revision::next);
        put.map_err(|error| BpfError::new(format!("put an entry into the map {}", self.name), error.into()))?;
        self.known.insert(key, value);
        Ok(true)
    }

    /// Says whether it was there.
    fn remove(&mut self, key: &K) -> Result<bool, BpfError> {
        if self.known.remove(key).is_none() {
            return Ok(false);
        }
        let removed = self.map.remove(key);
        self.revision.iter().for_each(Revision::next);
        match removed {
            Err(error) if !is_absent(&error) => Err(BpfError::new(format!("remove an entry from the map {}", self.name), error.into())),
            _ => Ok(true),
        }
    }

    /// Makes it hold these and no others. Says whether that changed anything.
    fn hold_only(&mut self, wanted: &BTreeMap<K, V>) -> Result<bool, BpfError> {
        let surplus: Vec<K> = self.known.keys().filter(|key| !wanted.contains_key(*key)).copied().collect();
        surplus.iter().try_for_each(|key| self.remove(key).map(drop))?;
        wanted.iter().try_fold(!surplus.is_empty(), |changed, (key, value)| Ok(self.put(*key, *value)? || changed))
    }
}

impl Places {
    /// The maps pinned here.
    pub(crate) fn open(pins: &Pins, revision: &Revision) -> Result<Self, BpfError> {
        let allowed: LpmTrie<MapData, AllowedKey, u32> = typed(&pins.map(&ALLOWED))?;
        let mut allowances: BTreeMap<u32, Allowances> = BTreeMap::new();
        for entry in allowed.iter() {
            let (key, how) = entry.map_err(|error| BpfError::new("read the map ALLOWED".to_owned(), error.into()))?;
            let AllowedKey { slot, address } = key.data();
            allowances.entry(slot).or_default().insert(net_of(address, key.prefix_len() - SLOT_BITS), how);
        }
        let locals: Known<[u8; 16], u32> = Known::open(pins, &LOCALS, None)?;
        let mut at: BTreeMap<u32, BTreeSet<[u8; 16]>> = BTreeMap::new();
        for (address, ifindex) in &locals.known {
            at.entry(*ifindex).or_default().insert(*address);
        }
        let (hosts, published) = (Known::open(pins, &HOSTS, Some(revision))?, Known::open(pins, &PUBLISHED, Some(revision))?);
        Ok(Self { hosts, locals, at, published, allowed, allowances })
    }

    /// The host's own addresses, and no others. Like those of ports, says whether that changed anything.
    pub(crate) fn set_hosts(&mut self, addresses: &BTreeSet<IpAddr>) -> Result<bool, BpfError> {
        self.hosts.hold_only(&addresses.iter().map(|address| (bytes(*address), 0)).collect())
    }

    /// The published ports, and no others.
    pub(crate) fn set_published<'a>(&mut self, all: impl Iterator<Item = &'a Publish>) -> Result<bool, BpfError> {
        self.published.hold_only(&all.map(entry).collect())
    }

    /// A port is published.
    pub(crate) fn publish(&mut self, publish: &Publish) -> Result<bool, BpfError> {
        let (key, value) = entry(publish);
        self.published.put(key, value)
    }

    /// A port is published no more.
    pub(crate) fn withdraw(&mut self, publish: &Publish) -> Result<bool, BpfError> {
        self.published.remove(&entry(publish).0)
    }

    /// Where an attachment is found, and what else it may send from.
    pub(crate) fn put(&mut self, slot: u32, ifindex: u32, addresses: &[IpAddr], allowed: Allowances) -> Result<(), BpfError> {
        let wanted: BTreeSet<[u8; 16]> = addresses.iter().map(|address| bytes(*address)).collect();
        self.forget(ifindex, &wanted)?;
        wanted.iter().try_for_each(|address| self.locals.put(*address, ifindex).map(drop))?;
        if !wanted.is_empty() {
            self.at.insert(ifindex, wanted);
        }
        self.allow(slot, allowed)
    }

    /// Nobody is found there any more.
    pub(crate) fn remove(&mut self, slot: u32, ifindex: u32) -> Result<(), BpfError> {
        self.forget(ifindex, &BTreeSet::new())?;
        self.allow(slot, Allowances::new())
    }

    /// Whether an attachment is found where it should be, and may send from what it should.
    pub(crate) fn has(&self, slot: u32, ifindex: u32, addresses: &[IpAddr], allowed: &Allowances) -> bool {
        let none = Allowances::new();
        addresses.iter().all(|address| self.locals.known.get(&bytes(*address)) == Some(&ifindex))
            && self.allowances.get(&slot).unwrap_or(&none) == allowed
    }

    fn forget(&mut self, ifindex: u32, but: &BTreeSet<[u8; 16]>) -> Result<(), BpfError> {
        let Some(former) = self.at.remove(&ifindex) else { return Ok(()) };
        for address in former.difference(but) {
            // An address that went to another interface meanwhile stays there.
            if self.locals.known.get(address) == Some(&ifindex) {
                self.locals.remove(address)?;
            }
        }
        Ok(())
    }

    fn allow(&mut self, slot: u32, allowed: Allowances) -> Result<(), BpfError> {
        let failed = |error: aya::maps::MapError| BpfError::new(format!("change what the map ALLOWED has of slot {slot}"), error.into());
        let former = self.allowances.remove(&slot).unwrap_or_default();
        for net in former.keys().filter(|net| !allowed.contains_key(*net)) {
            match self.allowed.remove(&allowance(slot, *net)) {
                Err(error) if !is_absent(&error) => return Err(failed(error)),
                _ => {}
            }
        }
        for (net, how) in allowed.iter().filter(|(net, how)| former.get(*net) != Some(*how)) {
            self.allowed.insert(&allowance(slot, *net), how, 0).map_err(failed)?;
        }
        if !allowed.is_empty() {
            self.allowances.insert(slot, allowed);
        }
        Ok(())
    }
}

/// An address as the programs have it.
pub(crate) fn bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// An address as people have it.
pub(crate) fn address(bytes: [u8; 16]) -> IpAddr {
    let v6 = Ipv6Addr::from(bytes);
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}

fn allowance(slot: u32, net: IpNet) -> Key<AllowedKey> {
    let bits = u32::from(net.prefix_len()) + if net.addr().is_ipv4() { 96 } else { 0 };
    Key::new(SLOT_BITS + bits, AllowedKey { slot, address: bytes(net.network()) })
}

fn net_of(bytes: [u8; 16], bits: u32) -> IpNet {
    let bits = bits as u8;
    let v6 = Ipv6Addr::from(bytes);
    let net = match v6.to_ipv4_mapped() {
        Some(v4) if bits >= 96 => IpNet::new(IpAddr::V4(v4), bits - 96),
        _ => IpNet::new(IpAddr::V6(v6), bits),
    };
    net.unwrap_or_else(|_| IpNet::from(IpAddr::V6(v6)))
}

fn entry(publish: &Publish) -> (PublishedKey, PublishedValue) {
    let any = if publish.target.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let key = PublishedKey {
        address: bytes(publish.address.unwrap_or(any)),
        port: publish.port.to_be_bytes(),
        protocol: publish.protocol.number(),
        padding: 0,
    };
    (key, PublishedValue { address: bytes(publish.target), port: publish.target_port.to_be_bytes(), padding: [0; 2] })
}
