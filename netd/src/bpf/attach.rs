//! What the data path knows of each attachment: its counters' place, and where what it sends is paced. Never decides either.

use std::collections::BTreeMap;

use netd_abi::Attachment;
use netd_abi::attachment::{BEHIND, End, NO_PACER, allowance, flag};
use netd_core::objects::{Checks, Entry};
use netd_core::policy::book::steps::Sets;

use super::places::Allowances;
use super::{Bpf, BpfError, zero};

/// Bits of [`flag`] for what is checked.
const fn checks(checks: Checks) -> u32 {
    match checks {
        Checks::Nothing => 0,
        Checks::Mac => flag::GUARD_MAC,
        Checks::All => flag::GUARD_MAC | flag::GUARD_IP,
    }
}

/// Where an attachment is: the index of its link, its number, the index of its pacer, and that of its bridge or 0.
#[derive(Clone, Copy)]
struct Place {
    ifindex: u32,
    slot: u32,
    pacer: u32,
    bridge: u32,
}

/// What the map says of an attachment.
fn value(place: Place, entry: Option<&Entry>, sets: Sets) -> Attachment {
    let Place { ifindex, slot, pacer, bridge } = place;
    let Sets { generation, ingress, egress } = sets;
    let end = End { ifindex, slot, pacer, ..End::default() };
    let Some(entry) = entry else { return Attachment { end, generation, ingress, egress } };
    Attachment { end: End { bridge, ..known_by(end, entry) }, generation, ingress, egress }
}

/// What it is known by, and what of it is checked.
fn known_by(mut end: End, entry: &Entry) -> End {
    for address in &entry.addresses {
        match address {
            std::net::IpAddr::V4(v4) if end.v4 == [0; 4] => end.v4 = v4.octets(),
            std::net::IpAddr::V6(v6) if end.v6 == [0; 16] => end.v6 = v6.octets(),
            _ => {}
        }
    }
    end.mac = entry.mac.0;
    end.flags = checks(entry.checks)
        | if allowed(entry).is_empty() { 0 } else { flag::ALLOWED }
        | if entry.isolated { flag::ISOLATED } else { 0 }
        | if entry.paced { flag::PACED } else { 0 };
    end
}

/// What it may send from besides the first address of each family.
fn allowed(entry: &Entry) -> Allowances {
    let further = |v4: bool| entry.addresses.iter().filter(move |address| address.is_ipv4() == v4).skip(1);
    let own = further(true).chain(further(false)).chain(&entry.elsewhere).map(|address| (ipnet::IpNet::from(*address), allowance::OWN));
    own.chain(entry.allowed.iter().map(|net| (*net, allowance::OTHERS))).collect()
}

impl Bpf {
    /// Counts a link under this slot, lets policy and guards know who it is, and paces what comes in by it at another one. A slot that no link had starts at
    /// zero; one that moves to another link (the veth was made again) goes on counting, and the former one is forgotten.
    pub fn put_attachment(
        &mut self,
        link: &str,
        ifindex: u32,
        slot: u32,
        pacer: u32,
        entry: Option<&Entry>,
        bridge: u32,
    ) -> Result<(), BpfError> {
        let behind = pacer != NO_PACER && !self.takes_redirected;
        let path = self.on("let the programs know an interface")?;
        let sets = path.sets.get(&slot).copied().unwrap_or_default();
        let pacer_there = if behind { pacer | BEHIND } else { pacer };
        let former = path.maps.attachments.ifindex_of(slot);
        if former != Some(ifindex) {
            path.hooks.expel(ifindex, &path.programs)?;
        } else if behind && path.hooks.flag(ifindex) != 0 {
            // What stands on the block leads it to its pacer.
            self.leave_hooks(ifindex)?;
        }
        let path = self.on("let the programs know an interface")?;
        let mut attachment = value(Place { ifindex, slot, pacer: pacer_there, bridge }, entry, sets);
        attachment.end.flags |= path.hooks.flag(ifindex);
        if behind
            || [Some(ifindex), former]
                .into_iter()
                .flatten()
                .filter_map(|link| self.attachment(link))
                .any(|attachment| attachment.is_paced_behind())
        {
            let block = self.prepare_anchor()?.from_container;
            let tc = &mut self.on("lead packets to a pacer")?.tc;
            let done = if behind { tc.put_pacer(block, slot, link, pacer) } else { tc.remove_pacer(block, slot) };
            done.map_err(|refusal| {
                BpfError::new(
                    format!("run `tc filter replace block {block} flower indev {link} action mirred egress redirect dev #{pacer}`"),
                    refusal.into(),
                )
            })?;
        }
        let path = self.on("let the programs know an interface")?;
        let maps = &mut path.maps;
        if let Some(former) = former.filter(|former| *former != ifindex) {
            path.hooks.release(former, &path.programs)?;
            maps.places.remove(slot, former)?;
        }
        if let Some(entry) = entry {
            maps.places.put(slot, ifindex, &entry.addresses, allowed(entry))?;
        }
        match former {
            Some(former) if former == ifindex => {
                if maps.attachments.get(ifindex) == Some(attachment) {
                    Ok(())
                } else {
                    maps.attachments.put(ifindex, attachment)
                }
            }
            Some(former) => {
                maps.attachments.put(ifindex, attachment)?;
                maps.attachments.remove(former)
            }
            None => {
                zero(maps, attachment.slot)?;
                maps.attachments.put(ifindex, attachment)
            }
        }
    }

    /// Forgets an interface that has gone, or is about to; its packets drop from now on, if it is still bound. None is no error.
    pub fn remove_attachment(&mut self, ifindex: u32) -> Result<(), BpfError> {
        let path = self.on("forget an interface")?;
        let behind = path.maps.attachments.get(ifindex).filter(|attachment| attachment.is_paced_behind());
        if let (Some(attachment), Some(blocks)) = (behind, path.blocks) {
            let block = blocks.from_container;
            path.tc
                .remove_pacer(block, attachment.slot)
                .map_err(|refusal| BpfError::new(format!("run `tc filter del block {block}`"), refusal.into()))?;
        }
        if let Some(attachment) = path.maps.attachments.get(ifindex) {
            path.maps.places.remove(attachment.slot, ifindex)?;
        }
        path.hooks.forget(ifindex);
        path.maps.attachments.remove(ifindex)
    }

    /// Whether the programs know an interface as this entry says.
    pub fn knows_as(&self, ifindex: u32, entry: &Entry, bridge: u32) -> bool {
        let Ok(path) = &self.path else { return false };
        path.maps.attachments.get(ifindex).is_some_and(|known| {
            let sets = path.sets.get(&known.slot).copied().unwrap_or_default();
            let mut expected = value(Place { ifindex, slot: known.slot, pacer: known.pacer, bridge }, Some(entry), sets);
            expected.end.flags |= path.hooks.flag(ifindex);
            known == expected && path.maps.places.has(known.slot, ifindex, &entry.addresses, &allowed(entry))
        })
    }

    /// Forgets the interface that has this slot, though it has gone: the next one counts from zero. None is no error.
    pub fn remove_slot(&mut self, slot: u32) -> Result<(), BpfError> {
        match self.on("forget an interface")?.maps.attachments.ifindex_of(slot) {
            Some(ifindex) => {
                let path = self.on("forget an interface")?;
                path.hooks.release(ifindex, &path.programs)?;
                self.remove_attachment(ifindex)
            }
            None => Ok(()),
        }
    }

    /// Whether an interface has this slot, be it one that has gone.
    pub fn knows_slot(&self, slot: u32) -> bool {
        self.path.as_ref().is_ok_and(|path| path.maps.attachments.ifindex_of(slot).is_some())
    }

    /// Where filters behind the programs lead each slot's packets.
    pub fn paced_behind(&mut self) -> Result<BTreeMap<u32, u32>, BpfError> {
        let path = self.on("look at what leads to pacers")?;
        let Some(blocks) = path.blocks else { return Ok(BTreeMap::new()) };
        let block = blocks.from_container;
        path.tc.pacers(block).map_err(|refusal| BpfError::new(format!("look at tc block {block}"), refusal.into()))
    }

    /// The numbers of its sockets: notifications of what they asked for carry them.
    pub fn ports(&self) -> impl Iterator<Item = u32> {
        self.path.iter().map(|path| path.tc.port())
    }
}
