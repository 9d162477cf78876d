//! Reading what the kernel sent, from bytes as it sends them.

use super::*;

/// The payload of a message as the kernel would send it.
fn payload(message: &Message, family: &[u8]) -> Vec<u8> {
    let header = Message::new(0, 0, &[]).0.len();
    [family, &message.0[header..]].concat()
}

#[test]
fn a_bound_clsact_is_recognised_and_any_other_qdisc_is_not() {
    let blocks = Blocks { from_container: 7, to_container: 8 };
    let attributes = Message::new(0, 0, &[]).text(TCA_KIND, "clsact").number(TCA_INGRESS_BLOCK, 7).number(TCA_EGRESS_BLOCK, 8);
    let bound = binding(&payload(&attributes, &clsact(3))).unwrap();
    assert_eq!(bound.ifindex, 3);
    assert!(bound.is_to(blocks));
    assert!(!bound.is_to(Blocks { from_container: 8, to_container: 7 }));

    let plain = Message::new(0, 0, &[]).text(TCA_KIND, "noqueue");
    assert_eq!(binding(&payload(&plain, &tcmsg(3, 0, 0xffff_ffff, 0))), None);
}

#[test]
fn a_filter_is_ours_by_name_and_in_place_by_priority_and_handle() {
    let options = |message: Message| {
        message.text(TCA_KIND, "bpf").nest(TCA_OPTIONS, |options| options.text(TCA_BPF_NAME, "netd:1").number(TCA_BPF_ID, 5))
    };
    let ours = filter(&payload(&options(Message::new(0, 0, &[])), &tcmsg(-1, HANDLE, 7, info()))).unwrap();
    assert_eq!((ours.name.as_str(), ours.program), ("netd:1", 5));
    assert!(ours.is_ours() && ours.is_in_place());

    let elsewhere = filter(&payload(&options(Message::new(0, 0, &[])), &tcmsg(-1, 2, 7, info()))).unwrap();
    assert!(elsewhere.is_ours() && !elsewhere.is_in_place());
}

#[test]
fn a_priority_without_a_program_and_other_classifiers_are_no_filters() {
    let head = Message::new(0, 0, &[]).text(TCA_KIND, "bpf");
    assert_eq!(filter(&payload(&head, &tcmsg(-1, 0, 7, info()))), None);
    let other = Message::new(0, 0, &[]).text(TCA_KIND, "matchall").nest(TCA_OPTIONS, |options| options.number(1, 1));
    assert_eq!(filter(&payload(&other, &tcmsg(-1, 1, 7, info()))), None);
}

#[test]
fn a_filter_is_a_strangers_unless_it_has_our_name_or_leads_to_a_pacer() {
    let named = |kind: &str, name: &str, info| {
        let message = Message::new(0, 0, &[]).text(TCA_KIND, kind).nest(TCA_OPTIONS, |options| options.text(TCA_BPF_NAME, name));
        is_strangers(&payload(&message, &tcmsg(-1, 1, 7, info)))
    };
    assert!(!named("bpf", "netd:1", info()) && !named("bpf", "netd:0", 0), "also where an older netd put it");
    assert!(named("bpf", "cilium", info()) && named("bpf", "", 10 << 16) && named("flower", "netd:1", info()));
    assert!(!named("flower", "", info() + (1 << 16)), "a pacer's");
    let priority = Message::new(0, 0, &[]).text(TCA_KIND, "bpf");
    assert!(!is_strangers(&payload(&priority, &tcmsg(-1, 0, 7, info()))), "no filter at all");
}

#[test]
fn blocks_are_shown_as_tc_takes_them() {
    let blocks = Blocks { from_container: FIRST_BLOCK, to_container: FIRST_BLOCK + 1 };
    assert_eq!(blocks.to_string(), "ingress_block 1852047361 egress_block 1852047362");
}
