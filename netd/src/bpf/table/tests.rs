//! The table as programs write it: what is shown, what is taken out, and what is left alone.

use netd_abi::maps;
use netd_abi::table::ARE_SPILLED;

use super::*;

fn table() -> FlowTable {
    let spread =
        Spread { seeds: std::array::from_fn(|at| 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(at as u64 + 1).rotate_left(17)), spilled: 0 };
    let marks = Values::without_map((MARKS.entries * WAYS) as usize).mapped().unwrap();
    let words = Values::without_map(SPILLED_AT + 1).mapped().unwrap();
    FlowTable { marks, flows: Values::without_map(maps::FLOWS.entries as usize), spread, words }
}

fn key(port: u16) -> FlowKey {
    FlowKey { slot: 3, protocol: 6, local_port: port.to_be_bytes(), ..FlowKey::default() }
}

/// Writes a flow as a program does, and gives its place.
fn put(table: &FlowTable, way: u32, key: FlowKey, flow: Flow, confirmed: bool) -> usize {
    let place = Place::of(&table.spread, &key);
    let at = (place.bucket * WAYS + way) as usize;
    table.flows.mapped().unwrap().write(at, Entry { key, flow, padding: 0 });
    let mark = Mark::of(place, &flow);
    table.marks.all()[at].store(if confirmed { mark.confirmed() } else { mark }.0, Ordering::Relaxed);
    at
}

fn all(table: &FlowTable) -> Vec<(FlowKey, Stage, Flow)> {
    let mut all = Vec::new();
    let see = |key: &FlowKey, stage, flow: &Flow| {
        all.push((*key, stage, *flow));
        false
    };
    table.walk(see, |_, _| panic!("nothing is over")).unwrap();
    all.sort_by_key(|(key, ..)| *key);
    all
}

#[test]
fn every_flow_is_shown_with_its_stage_and_counted() {
    let table = table();
    assert!(table.is_empty());
    let flow = Flow { first_ns: 5, last_ns: 7, rule: 9, ..Flow::default() };
    put(&table, 0, key(80), flow, false);
    put(&table, 7, key(443), flow, true);
    assert_eq!(all(&table), [(key(80), Stage::New, flow), (key(443), Stage::Confirmed, flow)]);
    assert_eq!((table.count(), table.is_empty()), ((2, 1), false));
}

#[test]
fn what_is_over_is_taken_out_and_told_and_nothing_else() {
    let table = table();
    put(&table, 1, key(80), Flow { last_ns: 1, ..Flow::default() }, false);
    put(&table, 2, key(443), Flow { last_ns: 2, ..Flow::default() }, true);
    let mut told = Vec::new();
    table.walk(|_, _, flow| flow.last_ns == 2, |key, flow| told.push((*key, flow.last_ns))).unwrap();
    assert_eq!(told, [(key(443), 2)]);
    assert_eq!(all(&table).iter().map(|(key, ..)| *key).collect::<Vec<_>>(), [key(80)]);
}

#[test]
fn a_flow_that_a_program_marks_meanwhile_stays() {
    let table = table();
    let at = put(&table, 0, key(80), Flow::default(), false);
    let is_over = |key: &FlowKey, _, flow: &Flow| {
        let mark = Mark::of(Place::of(&table.spread, key), flow).confirmed();
        table.marks.all()[at].store(mark.0, Ordering::Relaxed);
        true
    };
    table.walk(is_over, |_, _| panic!("a reply has come")).unwrap();
    assert_eq!(table.count(), (1, 1));
}

#[test]
fn what_the_mark_says_counts_and_a_mark_of_nobody_goes() {
    let table = table();
    let at = put(&table, 0, key(80), Flow { rule: 5, verdict: 3, opener: 1, ..Flow::default() }, false);
    let mut entry = table.flows.mapped().unwrap().read(at).unwrap();
    entry.flow.rule = 6;
    table.flows.mapped().unwrap().write(at, entry);
    assert_eq!(all(&table)[0].2.rule, 5);
    entry.key = key(81);
    table.flows.mapped().unwrap().write(at, entry);
    assert_eq!((all(&table), table.is_empty()), (Vec::new(), true));
}

#[test]
fn programs_look_for_spilled_flows_as_long_as_there_may_be_one() {
    use std::cell::Cell;

    let table = table();
    let says = || table.words.all()[SPILLED_AT].load(Ordering::SeqCst);
    // As a program does: first the word, then the flow.
    let (flows, spills) = (Cell::new(0), |flows: &Cell<u32>| {
        table.words.all()[SPILLED_AT].store(ARE_SPILLED, Ordering::SeqCst);
        flows.set(flows.get() + 1);
    });
    let spare = |wait: &dyn Fn()| table.spare_spilled(|| Ok(flows.get() == 0), wait).unwrap();
    spare(&|| panic!("nothing was ever spilled"));
    spills(&flows);
    spare(&|| panic!("one is there"));
    assert_eq!(says(), ARE_SPILLED);
    flows.set(0);
    spare(&|| spills(&flows));
    assert_ne!(says(), 0, "one was spilled while it was looked");
    flows.set(0);
    spare(&|| {
        spills(&flows);
        flows.set(0);
    });
    assert_ne!(says(), 0, "one came and went, and the next may be on its way");
    spare(&|| flows.set(1));
    assert_ne!(says(), 0, "a program that had said so before has put it there now");
    flows.set(0);
    spare(&|| assert_ne!(says(), 0, "they look until it is sure"));
    assert_eq!(says(), 0);
}
