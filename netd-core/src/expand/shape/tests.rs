//! A rate as a bucket, and where buckets stand.

use std::{collections::BTreeMap, sync::Arc};

use netd_api::{cni::Bandwidth, message::Request};

use super::*;
use crate::{
    change::{Context, change},
    desired::{Change, Cni, Desired, Edit},
    expand::{Scope, expand},
    host::Features,
};

const ALL: Features = Features { ipv6: true, force_forwarding: true, datapath: true, sctp_sockets: true, sysctls: true };

fn rate(bits_per_second: u64, burst_bits: Option<u64>) -> Rate {
    Rate { bits_per_second, burst_bits }
}

#[test]
fn a_rate_is_rounded_up_to_bytes_and_none_is_none() {
    assert_eq!(bucket(rate(0, None), 1500), None);
    assert_eq!(bucket(rate(1, None), 1500).unwrap().rate, 1);
    assert_eq!(bucket(rate(50_000_001, None), 1500).unwrap().rate, 6_250_001);
}

#[test]
fn a_burst_is_as_asked_but_for_the_numbers_that_stand_for_none() {
    let burst = |bits| bucket(rate(80_000_000, Some(bits)), 1500).unwrap().burst;
    assert_eq!(burst(800_000), 100_000);
    assert_eq!(burst(800_001), 100_001);
    let own = bucket(rate(80_000_000, None), 1500).unwrap().burst;
    for none in [0, 1 << 31, u64::from(u32::MAX), u64::MAX] {
        assert_eq!(burst(none), own, "{none}");
    }
    // What runtimes write for "none", math.MaxInt32, is below 2^31 by one.
    assert_eq!(burst(i32::MAX as u64), own);
}

#[test]
fn a_frame_fits_into_the_smallest_bucket() {
    // A VLAN-tagged frame; below the MTU of an ifb the kernel would complain.
    for (mtu, least) in [(1500, 1518), (576, 1518), (9000, 9018), (65_535, 65_553)] {
        assert_eq!(bucket(rate(80_000_000, Some(8)), mtu).unwrap().burst, least);
        assert!(bucket(rate(8, None), mtu).unwrap().burst >= 2 * least);
    }
}

#[test]
fn a_packet_of_the_largest_size_and_a_tick_fit_where_that_is_no_large_part_of_a_second() {
    for megabits in [33, 50, 200, 1_000, 10_000, 100_000] {
        let bucket = bucket(rate(megabits * 1_000_000, None), 1500).unwrap();
        assert!(u64::from(bucket.burst) >= u64::from(WHOLE) + bucket.rate / TICKS, "{megabits}: {bucket:?}");
        assert!(u64::from(bucket.burst) * 1000 / bucket.rate <= 30, "no more than 30 ms' worth at {megabits}: {bucket:?}");
    }
    for kilobits in [1_000, 5_000, 10_000, 32_000] {
        let bucket = bucket(rate(kilobits * 1_000, None), 1500).unwrap();
        assert!(u64::from(bucket.burst) == 2 * 1518 + bucket.rate / TICKS, "{kilobits}: {bucket:?}");
    }
}

#[test]
fn what_may_wait_is_50_ms_and_never_less_than_a_large_packet() {
    let limit = |bits| bucket(rate(bits, None), 1500).unwrap().limit;
    assert_eq!(limit(200_000_000), 1_250_000);
    assert_eq!(limit(64_000), WHOLE);
    assert_eq!(limit(u64::MAX), LONGEST_QUEUE);
    // The numbers of the highest rate fit, too.
    assert_eq!(bucket(rate(u64::MAX, None), 1500).unwrap().burst, u32::MAX);
}

/// Container `a` on network `n`, with a bandwidth that a runtime asked for.
fn with(bandwidth: Bandwidth, features: Features) -> Objects {
    let host = Host { features, ..Host::default() };
    let mut desired = Desired::default();
    let request = Request::CreateContainer(serde_json::from_str(r#"{"name":"a"}"#).unwrap());
    let pools = crate::ipam::default_v4();
    let made = change(&desired, &request, Context { host: &host, pools: &pools, found: None, busy: &[], held: &[] }).unwrap();
    desired.apply(&made);
    let before = desired.containers().values().next().unwrap().clone();
    let mut after = (*before).clone();
    after.attachments[0].cni = Some(Arc::new(Cni {
        config: "n".parse().unwrap(),
        routes: None,
        ports: Vec::new(),
        bandwidth,
        sysctls: BTreeMap::new(),
        aliases: Vec::new(),
    }));
    desired.apply(&Change { edits: vec![Edit::Container { before: Some(before), after: Some(Arc::new(after)) }] });
    expand(&desired, &host, &Scope::Everything)
}

#[test]
fn each_direction_has_its_own_bucket() {
    let both = with(Bandwidth { ingress: Some(rate(80_000_000, None)), egress: Some(rate(8_000_000, None)) }, ALL);
    let veth = both.veths.values().next().unwrap();
    assert_eq!(veth.to_container.unwrap().rate, 10_000_000);
    let (name, ifb) = both.ifbs.iter().next().unwrap();
    assert_eq!(veth.from_container.as_ref(), Some(name));
    assert!(ifb.up && ifb.bucket.unwrap().rate == 1_000_000 && name.as_str().starts_with(mark::IFB_PREFIX), "{name} {ifb:?}");
    assert!(both.sysctls.keys().any(|sysctl| sysctl.key == format!("net/ipv6/conf/{name}/disable_ipv6")));
    assert!(!both.sysctls.keys().any(|sysctl| sysctl.key.contains(mark::IFB_PREFIX) && crate::expand::is_hosts_own(sysctl, &both)));

    let only_in = with(Bandwidth { ingress: Some(rate(80_000_000, None)), egress: None }, ALL);
    let veth = only_in.veths.values().next().unwrap();
    assert!(veth.to_container.is_some() && veth.from_container.is_none() && only_in.ifbs.is_empty());

    let none = with(Bandwidth::default(), ALL);
    let veth = none.veths.values().next().unwrap();
    assert!(veth.to_container.is_none() && veth.from_container.is_none() && none.ifbs.is_empty());
}

#[test]
fn without_programs_nothing_is_led_to_a_pacer_and_there_is_none() {
    let bandwidth = Bandwidth { ingress: Some(rate(80_000_000, None)), egress: Some(rate(8_000_000, None)) };
    let objects = with(bandwidth, Features { datapath: false, ..ALL });
    let veth = objects.veths.values().next().unwrap();
    assert!(veth.to_container.is_some() && veth.from_container.is_none() && objects.ifbs.is_empty());
}
