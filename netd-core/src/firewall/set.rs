//! The sets and maps of the table, with the types of their keys and data. Never holds an element.

use std::fmt;

/// One field of a key or of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// An interface name: 16 bytes, the rest NUL (IFNAMSIZ).
    IfName,
    /// IPv4 or IPv6, as NFPROTO_IPV4 or NFPROTO_IPV6: one byte.
    NfProto,
    /// Four bytes, in network order.
    Ipv4,
    /// 16 bytes, in network order.
    Ipv6,
    /// The protocol number of the IP header: one byte.
    InetProto,
    /// A port: two bytes, in network order.
    InetService,
}

impl Field {
    /// Bytes without padding.
    pub const fn bytes(self) -> usize {
        match self {
            Self::NfProto | Self::InetProto => 1,
            Self::InetService => 2,
            Self::Ipv4 => 4,
            Self::IfName | Self::Ipv6 => 16,
        }
    }

    /// nft's name and number of the type (enum datatypes of nft's datatype.h), which it keeps with a set to print it by.
    const fn datatype(self) -> (&'static str, u32) {
        match self {
            Self::NfProto => ("nf_proto", 2),
            Self::Ipv4 => ("ipv4_addr", 7),
            Self::Ipv6 => ("ipv6_addr", 8),
            Self::InetProto => ("inet_proto", 12),
            Self::InetService => ("inet_service", 13),
            Self::IfName => ("ifname", 41),
        }
    }
}

/// A set, or a map where it has data.
#[derive(Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name in the table.
    pub name: &'static str,
    /// Fields of the key.
    pub key: Fields,
    /// Fields of the data; none for a set.
    pub data: Fields,
    /// Whether a key is a range.
    pub interval: bool,
    /// What is in it, for the reader of the ruleset.
    pub why: &'static str,
}

/// Fields in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields(pub &'static [Field]);

/// What the kernel knows of a set; two sets of the same shape can take the same elements.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetShape {
    /// Its name.
    pub name: String,
    /// NFTA_SET_FLAGS: of them, NFT_SET_INTERVAL and NFT_SET_MAP.
    pub flags: u32,
    /// NFTA_SET_KEY_TYPE and NFTA_SET_KEY_LEN.
    pub key: (u32, u32),
    /// NFTA_SET_DATA_TYPE and NFTA_SET_DATA_LEN; zeroes for a set.
    pub data: (u32, u32),
}

/// NFT_SET_INTERVAL and NFT_SET_MAP (linux/netfilter/nf_tables.h): the flags that tell shapes apart.
pub const SHAPE_FLAGS: u32 = NFT_SET_INTERVAL | NFT_SET_MAP;
const NFT_SET_INTERVAL: u32 = 0x4;
const NFT_SET_MAP: u32 = 0x8;

/// All of them, in the order in which they are listed.
pub static SETS: [Set; 14] = {
    use Field::{IfName, InetProto, InetService, Ipv4, Ipv6, NfProto};
    const fn set(name: &'static str, key: &'static [Field], why: &'static str) -> Set {
        Set { name, key: Fields(key), data: Fields(&[]), interval: false, why }
    }
    const fn interval(name: &'static str, key: &'static [Field], why: &'static str) -> Set {
        Set { name, key: Fields(key), data: Fields(&[]), interval: true, why }
    }
    const fn map(name: &'static str, key: &'static [Field], data: &'static [Field], why: &'static str) -> Set {
        Set { name, key: Fields(key), data: Fields(data), interval: false, why }
    }
    [
        set("bridges", &[IfName], "a bridge for each network"),
        set("within", &[IfName, IfName], "a link with itself: what goes in and out of it is not routed"),
        set("internal", &[IfName], "bridges without a way out"),
        set("routed", &[IfName, NfProto], "bridges that are reachable from outside"),
        set("switched_on", &[IfName, NfProto], "not ours, forwarding because of us"),
        interval("masquerade4", &[Ipv4], "subnets that outside does not know"),
        interval("masquerade6", &[Ipv6], "subnets that outside does not know"),
        interval("hairpin4", &[Ipv4, Ipv4], "from a subnet to itself"),
        interval("hairpin6", &[Ipv6, Ipv6], "from a subnet to itself"),
        map("publish4", &[Ipv4, InetProto, InetService], &[Ipv4, InetService], "published on one address"),
        map("publish4_any", &[InetProto, InetService], &[Ipv4, InetService], "published on all addresses"),
        map("publish6", &[Ipv6, InetProto, InetService], &[Ipv6, InetService], "published on one address"),
        map("publish6_any", &[InetProto, InetService], &[Ipv6, InetService], "published on all addresses"),
        set("refuse6", &[InetProto, InetService], "published over IPv6, refused to ::1"),
    ]
};

impl Set {
    /// The set of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        SETS.iter().find(|set| set.name == name)
    }

    /// What the kernel says of it once it is made.
    pub fn shape(&self) -> SetShape {
        let is_map = !self.data.0.is_empty();
        let flags = if self.interval { NFT_SET_INTERVAL } else { 0 } | if is_map { NFT_SET_MAP } else { 0 };
        SetShape {
            name: self.name.to_owned(),
            flags,
            key: (self.key.datatype(), self.key.bytes()),
            data: (self.data.datatype(), self.data.bytes()),
        }
    }

    /// Its declaration, with elements as nft prints them, already in text.
    pub(super) fn declared(&self, elements: &str) -> String {
        let kind = if self.data.0.is_empty() { "set" } else { "map" };
        let data = if self.data.0.is_empty() { String::new() } else { format!(" : {}", self.data) };
        let flags = if self.interval { "\t\tflags interval\n" } else { "" };
        let elements = if elements.is_empty() { String::new() } else { format!("\t\telements = {{ {elements} }}\n") };
        format!("\t{kind} {} {{\n\t\ttype {}{data}\n{flags}\t\tcomment \"{}\"\n{elements}\t}}\n", self.name, self.key, self.why)
    }
}

impl Fields {
    /// Bytes on the wire: a single field as it is, each of several padded to 4 bytes (a register of nf_tables).
    pub fn bytes(self) -> u32 {
        match self.0 {
            [one] => one.bytes() as u32,
            several => several.iter().map(|field| field.bytes().next_multiple_of(4) as u32).sum(),
        }
    }

    /// nft's number for the row: six bits a field (TYPE_BITS of nft's datatype.h).
    fn datatype(self) -> u32 {
        self.0.iter().fold(0, |number, field| number << 6 | field.datatype().1)
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, field) in self.0.iter().enumerate() {
            write!(f, "{}{}", if number == 0 { "" } else { " . " }, field.datatype().0)?;
        }
        Ok(())
    }
}
