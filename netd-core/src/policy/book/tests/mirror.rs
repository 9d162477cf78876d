//! Maps as the kernel has them, written by steps and asked as the program asks them. Shares nothing with what makes the steps.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use netd_abi::policy::{ANYBODY, AddressKey, AddressValue, NO_SET, OTHER_PROTOCOL, RuleKey, RuleValue, SetValue, Verdict};

use crate::policy::book::{
    steps::{Sets, Write},
    wish::Direction,
};

#[derive(Clone, Default, PartialEq, Debug)]
pub(super) struct Mirror {
    rules: BTreeMap<RuleKey, RuleValue>,
    sets: BTreeMap<u32, SetValue>,
    addresses: BTreeMap<AddressKey, AddressValue>,
    nets: BTreeMap<(AddressKey, u8), AddressValue>,
    pub(super) attachments: BTreeMap<u32, Sets>,
}

fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
        IpAddr::V6(address) => u128::from(address),
    }
}

impl Mirror {
    pub(super) fn write(&mut self, write: Write) {
        match write {
            Write::PutRule(key, value) => drop(self.rules.insert(key, value)),
            Write::DelRule(key) => assert!(self.rules.remove(&key).is_some(), "{write}"),
            Write::PutSet(set, value) => drop(self.sets.insert(set, value)),
            Write::DelSet(set) => assert!(self.sets.remove(&set).is_some(), "{write}"),
            Write::PutAddress(key, value) => drop(self.addresses.insert(key, value)),
            Write::DelAddress(key) => assert!(self.addresses.remove(&key).is_some(), "{write}"),
            Write::PutNet(key, bits, value) => drop(self.nets.insert((key, bits), value)),
            Write::DelNet(key, bits) => assert!(self.nets.remove(&(key, bits)).is_some(), "{write}"),
            Write::ZeroRule(rule) => assert!(!self.named().contains(&rule), "{write} while it is in use"),
        }
    }

    /// Rules that some entry names.
    pub(super) fn named(&self) -> BTreeSet<u32> {
        self.rules.values().map(|value| value.rule).chain(self.sets.values().map(|value| value.default.rule)).collect()
    }

    pub(super) fn ask(&self, slot: u32, direction: Direction, remote: IpAddr, protocol: u8, port: u16) -> RuleValue {
        let Sets { generation, ingress, egress } = self.attachments.get(&slot).copied().unwrap_or_default();
        let (set, egress) = if direction == Direction::Ingress { (ingress, false) } else { (egress, true) };
        if set == NO_SET {
            return RuleValue { rule: 0, verdict: Verdict::Forward.number() };
        }
        let address = mapped(remote);
        let key = |address: u128| AddressKey { generation, address: address.to_be_bytes() };
        let prefixes = (0..=128_u8).rev().filter_map(|bits| {
            let masked = address & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            self.nets.get(&(key(masked), bits))
        });
        let value = self.addresses.get(&key(address)).or_else(|| prefixes.into_iter().next()).copied().unwrap_or_default();
        let dns = egress && port == 53 && (protocol == 6 || protocol == 17) && value.dns != 0;
        let identity = if dns { value.dns } else { value.identity };
        let (protocol, port) = if [6, 17, 132].contains(&protocol) { (protocol, port) } else { (OTHER_PROTOCOL, 0) };
        let of_set = self.sets.get(&set).expect("the set is there");
        for identity in [identity, ANYBODY] {
            for prefix in [16_u8, 12, 8, 4, 0].into_iter().filter(|bits| of_set.prefixes >> bits & 1 == 1) {
                let masked = if prefix == 0 { 0 } else { port >> (16 - prefix) << (16 - prefix) };
                if let Some(value) = self.rules.get(&RuleKey { set, identity, port: masked.to_be_bytes(), prefix, protocol }) {
                    return *value;
                }
            }
        }
        of_set.default
    }
}
