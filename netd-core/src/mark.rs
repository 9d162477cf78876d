//! How we know our own objects among a host's. Decides nothing.

use netd_api::{
    addr::Mac,
    names::{ContainerId, IfName, NetworkName},
};

/// The link group of every link we make (IFLA_GROUP, honoured in the create message, unlike an alias): free in iproute2's /etc/iproute2/group.
pub const GROUP: u32 = 110;
/// The protocol of every route we make: free in iproute2's /etc/iproute2/rt_protos, below the 186 and up of routing daemons.
pub const ROUTE_PROTOCOL: u8 = 110;
/// What each bridge of ours starts with, unless the user named it.
pub const BRIDGE_PREFIX: &str = "nd-";
/// What each host end of a veth pair starts with.
pub const VETH_PREFIX: &str = "ndv";
/// What each link that paces a container's sending starts with.
pub const IFB_PREFIX: &str = "ndi";
/// The handle of every token bucket of ours, "nd" in ASCII: a queueing discipline of another handle at the root of our link is a stranger's.
pub const BUCKET_HANDLE: u32 = 0x6e64_0000;
/// The bridge without ports that keeps the shared tc blocks alive.
pub const ANCHOR: &str = "nd-anchor";
/// Where `ip netns` keeps its names, and we those of made containers.
pub const NETNS_DIR: &str = "/run/netns";

/// The bridge of a network: 12 characters of a hash, so that any name fits into IFNAMSIZ.
pub fn bridge_name(network: &NetworkName) -> IfName {
    parsed(&format!("{BRIDGE_PREFIX}{}", letters::<12>(hash(&["bridge", network.as_str()]))))
}

/// The host end of an attachment.
pub fn veth_name(network: &NetworkName, container: &ContainerId, ifname: &IfName) -> IfName {
    parsed(&format!("{VETH_PREFIX}{}", letters::<12>(hash(&["veth", network.as_str(), container.as_str(), ifname.as_str()]))))
}

/// The link that paces what an attachment's container sends.
pub fn ifb_name(network: &NetworkName, container: &ContainerId, ifname: &IfName) -> IfName {
    parsed(&format!("{IFB_PREFIX}{}", letters::<12>(hash(&["ifb", network.as_str(), container.as_str(), ifname.as_str()]))))
}

/// A hardware address made from what it is for; locally administered, unicast (IEEE 802, the second-lowest bit of the first byte).
pub fn mac(parts: &[&str]) -> Mac {
    let bytes = hash(parts).to_be_bytes();
    Mac([0x02, bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]])
}

/// Hardware addresses made from what they are for, one after the other: the next is for where somebody has chosen the one before.
pub fn macs<'a>(parts: &'a [&'a str]) -> impl Iterator<Item = Mac> + 'a {
    let further = (1..=u8::MAX).map(move |n| mac(&[parts, &[n.to_string().as_str()]].concat()));
    std::iter::once(mac(parts)).chain(further)
}

/// 64 bits of FNV-1a with a final mix: not secret, only spread. Parts are kept apart by a NUL, which no name holds.
fn hash(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    // The finaliser of MurmurHash3: every bit of the input reaches every bit of the output.
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// The lowest `5 * N` bits as letters and digits; none that look alike (Crockford's base 32, in lower case).
fn letters<const N: usize>(mut bits: u64) -> String {
    (0..N)
        .map(|_| {
            let letter = b"0123456789abcdefghjkmnpqrstvwxyz"[(bits & 31) as usize];
            bits >>= 5;
            char::from(letter)
        })
        .collect()
}

fn parsed(name: &str) -> IfName {
    name.parse().expect("our own interface names are well formed")
}

/// What people see in `ip link`: `netd:` and a container's id, network and interface, as far as 255 bytes go (IFALIASZ is 256 with the NUL).
pub fn alias(container: &crate::desired::Container, attachment: &crate::desired::Attachment) -> String {
    let mut alias = format!("netd:{} {} {} {}", short(container.id.as_str()), container.name, attachment.network, attachment.ifname);
    alias.truncate(255);
    alias
}

/// The first 12 bytes of an id, as Docker and podman show them; ids are ASCII.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests;
