//! What notifications of nf_tables say: whether our table, or rules of others that our packets meet, were changed by somebody else. Reads no rule.

use netlink_packet_core::NlasIterator;

use crate::kernel::{expected::Expected, netlink::Part};

/// NFNL_SUBSYS_NFTABLES of linux/netfilter/nfnetlink.h, in the upper byte of a message's type.
const NFTABLES: u16 = 10;
/// NFT_MSG_NEWGEN of linux/netfilter/nf_tables.h, which ends each transaction's notifications; NEWTABLE to DELRULE are 0 to 8.
const NEWGEN: u16 = 15;
const LAST_OF_RULES: u16 = 8;
/// NFTA_GEN_PROC_PID and NFTA_GEN_PROC_NAME.
const PROC_PID: u16 = 2;
const PROC_NAME: u16 = 3;
/// The first attribute of every object names its table (NFTA_TABLE_NAME, NFTA_RULE_TABLE, …).
const TABLE: u16 = 1;
/// Bytes of `struct nfgenmsg`, whose first is the family; NFPROTO_INET.
const HEADER: usize = 4;
const INET: u8 = 1;

/// What the transaction that is being told of has touched so far.
#[derive(Debug, Default)]
pub(super) struct Tables {
    ours: bool,
    others_rules: bool,
}

impl Tables {
    /// Hears one message; news come with a transaction's last.
    pub(super) fn hear(&mut self, part: &Part<'_>, expected: &Expected) -> Option<String> {
        if part.kind >> 8 != NFTABLES {
            return None;
        }
        let attributes = || NlasIterator::new(part.payload.get(HEADER..).unwrap_or_default()).filter_map(Result::ok);
        let kind = part.kind & 0xff;
        if kind != NEWGEN {
            let is_ours = part.payload.first() == Some(&INET)
                && attributes().any(|attribute| attribute.kind() == TABLE && attribute.value() == b"netd\0");
            self.ours |= is_ours;
            self.others_rules |= !is_ours && kind <= LAST_OF_RULES;
            return None;
        }
        let Self { ours, others_rules } = std::mem::take(self);
        let text = |value: &[u8]| String::from_utf8_lossy(value).trim_end_matches('\0').to_owned();
        let name =
            attributes().find(|attribute| attribute.kind() == PROC_NAME).map(|attribute| text(attribute.value())).unwrap_or_default();
        if expected.is_ours(part.port) || (name == "nft" && expected.is_our_nft()) {
            return None;
        }
        let pid = attributes()
            .find(|attribute| attribute.kind() == PROC_PID)
            .and_then(|attribute| Some(u32::from_be_bytes(attribute.value().try_into().ok()?)));
        let by = format!("{} (pid {})", if name.is_empty() { "somebody" } else { &name }, pid.unwrap_or(0));
        if others_rules {
            expected.others_rules_changed();
        }
        match (ours, others_rules) {
            (true, _) => Some(format!("table inet netd was changed by {by}")),
            (false, true) => Some(format!("firewall rules were changed by {by}")),
            (false, false) => None, // elements of others' sets: no packet of ours is dropped by that alone
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(kind: u16, port: u32, payload: &[u8]) -> Part<'_> {
        Part { kind: NFTABLES << 8 | kind, flags: 0, sequence: 0, port, payload }
    }

    fn payload(family: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![family, 0, 0, 0];
        for (kind, value) in attributes {
            bytes.extend(((4 + value.len()) as u16).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn a_strangers_transaction_on_our_table_is_news_once() {
        let (mut tables, expected) = (Tables::default(), Expected::default());
        expected.port(77);
        let element = payload(INET, &[(TABLE, b"netd\0")]);
        let end = payload(0, &[(PROC_PID, &9_u32.to_be_bytes()), (PROC_NAME, b"nft\0")]);
        assert_eq!(tables.hear(&part(14, 5, &element), &expected), None);
        assert_eq!(tables.hear(&part(NEWGEN, 5, &end), &expected), Some("table inet netd was changed by nft (pid 9)".to_owned()));
        assert_eq!(tables.hear(&part(NEWGEN, 5, &end), &expected), None);
    }

    #[test]
    fn our_own_sockets_and_elements_of_others_are_no_news() {
        let (mut tables, expected) = (Tables::default(), Expected::default());
        expected.port(77);
        let ours = payload(INET, &[(TABLE, b"netd\0")]);
        let others = payload(INET, &[(TABLE, b"docker\0")]);
        let end = payload(0, &[]);
        assert_eq!(tables.hear(&part(12, 77, &ours), &expected), None);
        assert_eq!(tables.hear(&part(NEWGEN, 77, &end), &expected), None);
        assert_eq!(tables.hear(&part(12, 5, &others), &expected), None);
        assert_eq!(tables.hear(&part(NEWGEN, 5, &end), &expected), None);
        assert_eq!(tables.hear(&part(6, 5, &others), &expected), None);
        assert!(tables.hear(&part(NEWGEN, 5, &end), &expected).is_some_and(|news| news.contains("firewall rules")));
    }
}
