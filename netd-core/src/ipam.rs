//! Chooses subnets for networks and addresses for attachments. Never looks at the kernel; what is taken comes in as an argument.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netd_api::addr::{Family, Subnet};

use crate::{
    desired::{Pool, number},
    host::{Host, Taken},
};

/// A set of numbers, kept as runs of neighbours: the next free one is found in the time of a tree's depth, however many are taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranges {
    /// First to last, no two touching.
    runs: BTreeMap<u128, u128>,
    count: u64,
}

impl Ranges {
    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
    /// How many numbers it holds.
    pub fn count(&self) -> u64 {
        self.count
    }
    /// Whether it holds a number.
    pub fn contains(&self, value: u128) -> bool {
        self.run_at(value).is_some()
    }
    fn run_at(&self, value: u128) -> Option<(u128, u128)> {
        self.runs.range(..=value).next_back().map(|(first, last)| (*first, *last)).filter(|(_, last)| value <= *last)
    }
    /// How many of `first..=last` it holds.
    pub fn count_in(&self, first: u128, last: u128) -> u64 {
        self.runs_in(first, last).map(|(from, to)| u64::try_from(to - from).unwrap_or(u64::MAX).saturating_add(1)).sum()
    }
    /// The first number from `from` on that it does not hold; none above the largest there is.
    pub fn next_free(&self, from: u128) -> Option<u128> {
        match self.run_at(from) {
            None => Some(from),
            Some((_, last)) => last.checked_add(1),
        }
    }
    /// The first number from `from` on that it holds.
    pub fn next_taken(&self, from: u128) -> Option<u128> {
        self.run_at(from).map(|_| from).or_else(|| self.runs.range(from..).next().map(|(first, _)| *first))
    }
    /// Its runs that have a number of `first..=last`, as far as they lie in there.
    fn runs_in(&self, first: u128, last: u128) -> impl Iterator<Item = (u128, u128)> {
        let from = self.run_at(first).map_or(first, |(start, _)| start);
        self.runs
            .range(from..)
            .take_while(move |(start, _)| **start <= last)
            .map(move |(start, end)| ((*start).max(first), (*end).min(last)))
    }
    /// Takes a number in.
    pub fn insert(&mut self, value: u128) {
        if self.contains(value) {
            return;
        }
        let before = value.checked_sub(1).and_then(|left| self.run_at(left));
        let after = value.checked_add(1).and_then(|right| self.run_at(right));
        let first = before.map_or(value, |(first, _)| first);
        let last = after.map_or(value, |(_, last)| last);
        if let Some((first, _)) = after {
            self.runs.remove(&first);
        }
        self.runs.insert(first, last);
        self.count += 1;
    }
    /// Lets a number go.
    pub fn remove(&mut self, value: u128) {
        let Some((first, last)) = self.run_at(value) else { return };
        self.runs.remove(&first);
        if first < value {
            self.runs.insert(first, value - 1);
        }
        if value < last {
            self.runs.insert(value + 1, last);
        }
        self.count -= 1;
    }
}

/// Where automatic subnets come from: each of `prefix` bits, out of `base`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolBase {
    /// The net they are taken from.
    pub base: IpNet,
    /// The length of each one's prefix.
    pub prefix: u8,
}

/// The default for IPv4: /24s of 10.80.0.0/13, then of 172.24.0.0/14; away from what Docker (172.17 to 172.23 first), Podman (10.88 and 10.89),
/// Kubernetes (10.96 and 10.244), clouds (10.0 and up) and home routers (192.168) take.
pub fn default_v4() -> Vec<PoolBase> {
    let base = |a, b, length| PoolBase { base: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, 0, 0), length)), prefix: 24 };
    vec![base(10, 80, 13), base(172, 24, 14)]
}

/// The default for IPv6: /64s of a /48 that is this host's alone (RFC 4193, with 40 bits made from the host's seed).
pub fn default_v6(seed: u64) -> Vec<PoolBase> {
    let bits = (0xfd_u128 << 120) | (u128::from(seed & 0xff_ffff_ffff) << 80);
    vec![PoolBase { base: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from(bits), 48)), prefix: 64 }]
}

/// The first subnet of the bases that overlaps none of the taken nets. Jumps over a taken net as a whole.
pub fn choose_subnet(bases: &[PoolBase], taken: &[IpNet]) -> Option<Subnet> {
    bases.iter().find_map(|base| {
        let bits = u32::from(base.base.max_prefix_len() - base.prefix);
        let step = 1_u128 << bits;
        let (mut at, end) = (number(base.base.network()), number(base.base.broadcast()));
        while at <= end {
            let net = IpNet::new(address(at, Family::of(base.base.addr())), base.prefix).ok()?;
            let blocking = taken.iter().filter(|other| net.contains(&other.network()) || other.contains(&net.network()));
            match blocking.map(|other| number(other.broadcast())).max() {
                None => return net.to_string().parse().ok(),
                Some(last) => at = (last.max(at) / step).checked_add(1)?.checked_mul(step)?,
            }
        }
        None
    })
}

/// Who of the host is in the way of a subnet.
pub fn overlap(host: &Host, subnet: Subnet) -> Option<&Taken> {
    host.taken.iter().find(|taken| subnet.overlaps(taken.net))
}

/// A number as an address.
pub fn address(number: u128, family: Family) -> IpAddr {
    match family {
        #[expect(clippy::cast_possible_truncation, reason = "numbers of IPv4 addresses are made from 32 bits")]
        Family::V4 => IpAddr::V4(Ipv4Addr::from(number as u32)),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

/// The first and last address of a subnet that a station may have: all but network and broadcast address in IPv4, all but the
/// subnet-router anycast address in IPv6 (RFC 4291, 2.6.1); both of a /31 (RFC 3021) and a /127 (RFC 6164).
pub fn usable(net: IpNet) -> (u128, u128) {
    let (first, last) = (number(net.network()), number(net.broadcast()));
    match (net, net.max_prefix_len() - net.prefix_len()) {
        (_, 0 | 1) => (first, last),
        (IpNet::V4(_), _) => (first + 1, last - 1),
        (IpNet::V6(_), _) => (first + 1, last),
    }
}

/// Whether a subnet is a link between two stations, without a network and a broadcast address.
pub fn is_point_to_point(net: IpNet) -> bool {
    net.max_prefix_len() - net.prefix_len() == 1
}

/// The host's address in a subnet where the user names none: the first that can be one and is not excluded.
pub fn default_gateway(subnet: Subnet, excludes: &[IpNet]) -> Option<IpAddr> {
    let (first, last) = usable(subnet.net());
    next_allowed(first, last, subnet.family(), None, &Ranges::default(), excludes)
}

/// The next address after the one given last, around the range once: an address is not reused at once.
pub fn choose_address(pool: &Pool, used: Option<&Ranges>, last_given: Option<IpAddr>) -> Option<IpAddr> {
    let nothing = Ranges::default();
    let used = used.unwrap_or(&nothing);
    let family = pool.subnet.family();
    let (first, last) = range(pool);
    let from = last_given.map(number).and_then(|given| given.checked_add(1)).filter(|from| (first..=last).contains(from)).unwrap_or(first);
    let after = next_allowed(from, last, family, pool.gateway, used, &pool.excludes);
    after.or_else(|| if from > first { next_allowed(first, from - 1, family, pool.gateway, used, &pool.excludes) } else { None })
}

/// The first and last address that may be chosen.
fn range(pool: &Pool) -> (u128, u128) {
    let (first, last) = usable(pool.subnet.net());
    (first.max(number(pool.range.network())), last.min(number(pool.range.broadcast())))
}

fn next_allowed(from: u128, last: u128, family: Family, gateway: Option<IpAddr>, used: &Ranges, excludes: &[IpNet]) -> Option<IpAddr> {
    let mut at = from;
    while at <= last {
        let candidate = address(at, family);
        let excluded = excludes.iter().filter(|net| net.contains(&candidate)).map(|net| number(net.broadcast())).max();
        at = match excluded {
            Some(end) => end.checked_add(1)?,
            None if gateway == Some(candidate) => at + 1,
            None => match used.next_free(at)? {
                free if free == at => return Some(candidate),
                free => free,
            },
        };
    }
    None
}

/// How many addresses of a subnet are used; of two sets that share it, those of the set.
pub fn used(pool: &Pool, used: Option<&Ranges>) -> u64 {
    let (first, last) = (number(pool.subnet.net().network()), number(pool.subnet.net().broadcast()));
    let Some(used) = used else { return 0 };
    let excluded = |net: &IpNet| used.count_in(number(net.network()), number(net.broadcast()));
    used.count_in(first, last).saturating_sub(pool.excludes.iter().map(excluded).sum())
}

/// How many addresses can still be chosen; `u64::MAX` where there are more.
pub fn free(pool: &Pool, used: Option<&Ranges>) -> u64 {
    let (first, last) = range(pool);
    if first > last {
        return 0;
    }
    let inside = |from: u128, to: u128| (from.max(first), to.min(last));
    let mut taken: Vec<(u128, u128)> = used.into_iter().flat_map(|used| used.runs_in(first, last)).collect();
    taken.extend(pool.excludes.iter().map(|net| inside(number(net.network()), number(net.broadcast()))).filter(|(from, to)| from <= to));
    taken.extend(pool.gateway.map(number).filter(|gateway| (first..=last).contains(gateway)).map(|gateway| (gateway, gateway)));
    taken.sort_unstable();
    let (mut free, mut at) = (0_u128, first);
    for (from, to) in taken {
        if from > at {
            free += from - at;
        }
        at = at.max(to.saturating_add(1));
    }
    if at <= last {
        free = free.saturating_add((last - at).saturating_add(1));
    }
    u64::try_from(free).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
