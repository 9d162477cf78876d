//! What the data path knows of each attachment: its counters' place, and where what it sends is paced. Never decides either.

use std::collections::BTreeMap;

use netd_abi::Attachment;
use netd_abi::attachment::{BEHIND, NO_PACER};

use super::{Bpf, BpfError, zero};

impl Bpf {
    /// Counts a link under this slot, and paces what comes in by it at another one. A slot that no link had starts at zero; one that
    /// moves to another link (the veth was made again) goes on counting, and the former one is forgotten.
    pub fn put_attachment(&mut self, link: &str, ifindex: u32, slot: u32, pacer: u32) -> Result<(), BpfError> {
        let behind = pacer != NO_PACER && !self.takes_redirected;
        let attachment = Attachment { slot, pacer: if behind { pacer | BEHIND } else { pacer } };
        let former = self.on("let the programs know an interface")?.maps.attachments.ifindex_of(slot);
        if behind || [Some(ifindex), former].into_iter().flatten().filter_map(|link| self.attachment(link)).any(Attachment::is_paced_behind)
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
        let maps = &mut self.on("let the programs know an interface")?.maps;
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

    /// Forgets an interface; its packets drop from now on, if it is still bound. None is no error.
    pub fn remove_attachment(&mut self, ifindex: u32) -> Result<(), BpfError> {
        let path = self.on("forget an interface")?;
        let behind = path.maps.attachments.get(ifindex).filter(|attachment| attachment.is_paced_behind());
        if let (Some(attachment), Some(blocks)) = (behind, path.blocks) {
            let block = blocks.from_container;
            path.tc
                .remove_pacer(block, attachment.slot)
                .map_err(|refusal| BpfError::new(format!("run `tc filter del block {block}`"), refusal.into()))?;
        }
        path.maps.attachments.remove(ifindex)
    }

    /// Forgets the interface that has this slot, though it has gone: the next one counts from zero. None is no error.
    pub fn remove_slot(&mut self, slot: u32) -> Result<(), BpfError> {
        match self.on("forget an interface")?.maps.attachments.ifindex_of(slot) {
            Some(ifindex) => self.remove_attachment(ifindex),
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
