//! Address choice: what every choice keeps to, and the cases people trip over.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn pool(subnet: &str, range: &str, excludes: &[&str]) -> Pool {
    let subnet: Subnet = subnet.parse().unwrap();
    let excludes: Vec<IpNet> = excludes.iter().map(|net| net.parse().unwrap()).collect();
    Pool { gateway: default_gateway(subnet, &excludes), subnet, range: range.parse().unwrap(), excludes, set: 0 }
}

#[test]
fn the_gateway_is_the_first_address_and_is_never_given_away() {
    let pool = pool("10.4.0.0/24", "10.4.0.0/24", &[]);
    assert_eq!(pool.gateway, Some("10.4.0.1".parse().unwrap()));
    assert_eq!(choose_address(&pool, None, None), Some("10.4.0.2".parse().unwrap()));
    assert_eq!(free(&pool, None), 253);
}

#[test]
fn an_address_is_not_reused_at_once_and_the_range_goes_round() {
    let pool = pool("10.4.0.0/29", "10.4.0.0/29", &[]);
    let mut used = Ranges::default();
    let mut last = None;
    let mut given = Vec::new();
    for _ in 0..8 {
        let address = choose_address(&pool, Some(&used), last).unwrap();
        given.push(address.to_string());
        used.insert(number(address));
        used.remove(number(address));
        last = Some(address);
    }
    assert_eq!(given, ["10.4.0.2", "10.4.0.3", "10.4.0.4", "10.4.0.5", "10.4.0.6", "10.4.0.2", "10.4.0.3", "10.4.0.4"]);
}

#[test]
fn point_to_point_subnets_work_in_both_families() {
    for (subnet, addresses) in [("10.4.0.0/31", ["10.4.0.0", "10.4.0.1"]), ("fd00::/127", ["fd00::", "fd00::1"])] {
        let pool = Pool { gateway: None, ..pool(subnet, subnet, &[]) };
        let first = choose_address(&pool, None, None).unwrap();
        let mut used = Ranges::default();
        used.insert(number(first));
        let second = choose_address(&pool, Some(&used), Some(first)).unwrap();
        assert_eq!([first.to_string(), second.to_string()], addresses);
        used.insert(number(second));
        assert_eq!(choose_address(&pool, Some(&used), Some(second)), None);
        assert_eq!(free(&pool, Some(&used)), 0);
    }
}

#[test]
fn a_range_and_excludes_are_kept_to() {
    let pool = pool("10.4.0.0/24", "10.4.0.64/30", &["10.4.0.65/32", "10.4.0.0/28"]);
    assert_eq!(pool.gateway, Some("10.4.0.16".parse().unwrap()));
    let mut used = Ranges::default();
    let mut given = Vec::new();
    while let Some(address) = choose_address(&pool, Some(&used), None) {
        used.insert(number(address));
        given.push(address.to_string());
    }
    assert_eq!(given, ["10.4.0.64", "10.4.0.66", "10.4.0.67"]);
}

#[test]
fn sixty_four_bit_subnets_are_counted_without_overflow() {
    let pool = pool("fd00:4::/64", "fd00:4::/64", &[]);
    assert_eq!(free(&pool, None), u64::MAX - 1); // 2^64 less the anycast address and the gateway
    let wide = pool_of("fd00::/48");
    assert_eq!(free(&wide, None), u64::MAX);
}

fn pool_of(subnet: &str) -> Pool {
    pool(subnet, subnet, &[])
}

#[test]
fn a_subnet_is_chosen_around_everything_that_is_taken() {
    let taken: Vec<IpNet> =
        ["10.80.0.0/16", "10.81.0.0/24", "10.81.1.128/25", "0.0.0.0/32"].iter().map(|net| net.parse().unwrap()).collect();
    assert_eq!(choose_subnet(&default_v4(), &taken).unwrap().to_string(), "10.81.2.0/24");
    let all: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "172.16.0.0/12".parse().unwrap()];
    assert_eq!(choose_subnet(&default_v4(), &all), None);
    let six = choose_subnet(&default_v6(0x12_3456_789a), &[]).unwrap();
    assert_eq!(six.to_string(), "fd12:3456:789a::/64");
}

proptest! {
    #[test]
    fn ranges_behave_as_a_set(steps in prop::collection::vec((any::<bool>(), 0..40_u128), 0..200)) {
        let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
        for (insert, value) in steps {
            if insert { ranges.insert(value); set.insert(value); } else { ranges.remove(value); set.remove(&value); }
            prop_assert_eq!(ranges.count(), set.len() as u64);
            for value in 0..41 {
                prop_assert_eq!(ranges.contains(value), set.contains(&value));
                prop_assert_eq!(ranges.next_free(value), (value..).find(|value| !set.contains(value)));
            }
            for ((_, last), (first, _)) in ranges.runs.iter().zip(ranges.runs.iter().skip(1)) {
                prop_assert!(last + 1 < *first, "runs touch");
            }
        }
    }

    #[test]
    fn every_free_address_is_given_once_and_only_those(prefix in 24..31_u8, seed in any::<u32>(), excluded in prop::collection::vec((0..=255_u8, 28..33_u8), 0..4), start in 0..=255_u8) {
        let subnet: Subnet = format!("10.9.{}.0/{prefix}", seed % 256).parse().unwrap();
        let excludes: Vec<IpNet> = excluded.iter().map(|(last, length)| format!("10.9.{}.{last}/{length}", seed % 256).parse::<IpNet>().unwrap().trunc()).filter(|net| subnet.net().contains(net)).collect();
        let Some(gateway) = default_gateway(subnet, &excludes) else { return Ok(()) };
        let pool = Pool { subnet, gateway: Some(gateway), range: subnet.net(), excludes, set: 0 };
        let mut used = Ranges::default();
        let mut last = Some(format!("10.9.{}.{start}", seed % 256).parse().unwrap());
        let expected = free(&pool, None);
        for left in (0..expected).rev() {
            let address = choose_address(&pool, Some(&used), last).unwrap();
            prop_assert!(subnet.contains(address) && address != gateway);
            prop_assert!(!pool.excludes.iter().any(|net| net.contains(&address)));
            prop_assert!(address != subnet.net().network() && address != subnet.net().broadcast());
            prop_assert!(!used.contains(number(address)));
            used.insert(number(address));
            last = Some(address);
            prop_assert_eq!(free(&pool, Some(&used)), left);
        }
        prop_assert_eq!(choose_address(&pool, Some(&used), last), None);
    }

    #[test]
    fn a_chosen_subnet_overlaps_nothing(taken in prop::collection::vec((10..=10_u8, 80..90_u8, any::<u8>(), 10..25_u8), 0..12)) {
        let taken: Vec<IpNet> = taken.iter().map(|(a, b, c, length)| format!("{a}.{b}.{c}.0/{length}").parse::<IpNet>().unwrap().trunc()).collect();
        if let Some(subnet) = choose_subnet(&default_v4(), &taken) {
            prop_assert!(taken.iter().all(|net| !subnet.overlaps(*net)));
        }
    }
}
