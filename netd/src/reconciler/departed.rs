//! Attachments that went, by name, for records that come after them. Never knows who is there now.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::Arc,
};

use netd_api::names::{IfName, NetworkName};
use netd_core::desired::{Attachment, Container};

/// So many are remembered; of more the first ones are forgotten.
const MOST: usize = 4_096;

/// One that went.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    pub(super) container: Arc<Container>,
    pub(super) network: NetworkName,
    pub(super) ifname: IfName,
    slot: u32,
    addresses: Vec<IpAddr>,
    /// Seconds since 1970.
    at: f64,
}

impl Gone {
    /// Whether it still had this address at that time (seconds since 1970).
    pub(super) fn had(&self, address: IpAddr, at: f64) -> bool {
        self.at >= at && self.addresses.contains(&address)
    }
}

/// The last ones.
#[derive(Default)]
pub(super) struct Departed {
    in_order: VecDeque<Arc<Gone>>,
    by_slot: HashMap<u32, Arc<Gone>>,
    by_address: HashMap<IpAddr, Arc<Gone>>,
}

impl Departed {
    /// It goes now.
    pub(super) fn add(&mut self, container: &Arc<Container>, attachment: &Attachment, at: f64) {
        if self.in_order.len() >= MOST
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.forget(&oldest);
        }
        let gone = Arc::new(Gone {
            container: Arc::clone(container),
            network: attachment.network.clone(),
            ifname: attachment.ifname.clone(),
            slot: attachment.slot,
            addresses: attachment.addresses.iter().map(|net| net.addr()).collect(),
            at,
        });
        self.by_slot.insert(gone.slot, Arc::clone(&gone));
        for address in &gone.addresses {
            self.by_address.insert(*address, Arc::clone(&gone));
        }
        self.in_order.push_back(gone);
    }

    /// Who had this number last.
    pub(super) fn at_slot(&self, slot: u32) -> Option<&Gone> {
        self.by_slot.get(&slot).map(Arc::as_ref)
    }

    /// Who had this address last, if it still had it at that time (seconds since 1970).
    pub(super) fn with_address(&self, address: IpAddr, at: f64) -> Option<&Gone> {
        self.by_address.get(&address).map(Arc::as_ref).filter(|gone| gone.had(address, at))
    }

    fn forget(&mut self, gone: &Arc<Gone>) {
        if self.by_slot.get(&gone.slot).is_some_and(|last| Arc::ptr_eq(last, gone)) {
            self.by_slot.remove(&gone.slot);
        }
        for address in &gone.addresses {
            if self.by_address.get(address).is_some_and(|last| Arc::ptr_eq(last, gone)) {
                self.by_address.remove(address);
            }
        }
    }
}
