//! The table as programs write it: what is shown, what is taken out, and what is left alone.

use netd_abi::maps;

use super::*;

fn table() -> FlowTable {
    let seeds = std::array::from_fn(|at| 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(at as u64 + 1).rotate_left(17));
    let spread = Spread { seeds, spilled: [0; BUCKETS as usize] };
    let marks = Values::without_map((MARKS.entries * WAYS) as usize).mapped().unwrap();
    let bytes = Values::without_map(size_of::<Spread>()).mapped().unwrap();
    FlowTable { marks, flows: Values::without_map(maps::FLOWS.entries as usize), spread, bytes }
}

fn key(port: u16) -> FlowKey {
    FlowKey { slot: 3, protocol: 6, local_port: port.to_be_bytes(), ..FlowKey::default() }
}

/// Writes a flow as a program does, and gives its place.
fn put(table: &FlowTable, way: u32, key: FlowKey, flow: Flow, confirmed: bool) -> usize {
    let place = Place::of(&table.spread, &key);
    let at = (place.bucket * WAYS + way) as usize;
    write(table, place.bucket, way, Entry { key, flow });
    let mark = Mark::of(place, &flow);
    table.marks.all()[at].store(if confirmed { mark.confirmed() } else { mark }.0, Ordering::Relaxed);
    at
}

fn write(table: &FlowTable, bucket: u32, way: u32, entry: Entry) {
    table.flows.mapped().unwrap().write(place_in_flows(bucket, way) as usize, entry);
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
    let flow = Flow { rule: 5, verdict: 3, opener: 1, ..Flow::default() };
    put(&table, 0, key(80), flow, false);
    let bucket = Place::of(&table.spread, &key(80)).bucket;
    let mut entry = Entry { key: key(80), flow: Flow { rule: 6, ..flow } };
    write(&table, bucket, 0, entry);
    assert_eq!(all(&table)[0].2.rule, 5);
    entry.key = key(81);
    write(&table, bucket, 0, entry);
    assert_eq!((all(&table), table.is_empty()), (Vec::new(), true));
}

#[test]
fn programs_look_for_spilled_flows_as_long_as_there_may_be_one() {
    use std::cell::Cell;

    let table = table();
    let bucket = Place::of(&table.spread, &key(80)).bucket as usize;
    let byte = |bucket: usize| &table.bytes.all()[SPILLED_AT + bucket];
    let says = || byte(bucket).load(Ordering::SeqCst);
    // As a program does: first the byte, then the flow.
    let (flows, spills) = (Cell::new(0), |flows: &Cell<u32>| {
        byte(bucket).store(ARE_SPILLED, Ordering::SeqCst);
        flows.set(flows.get() + 1);
    });
    let look = |seen: &mut Spilled<'_>| {
        (0..flows.get()).for_each(|_| seen.note(&key(80)));
        Ok(())
    };
    let spare = |wait: &dyn Fn()| {
        let mut seen = table.spilled();
        look(&mut seen).unwrap();
        table.spare_spilled(&seen, look, wait).unwrap();
    };
    spare(&|| panic!("nothing was ever spilled"));
    spills(&flows);
    spare(&|| panic!("one is there"));
    assert_eq!(says(), ARE_SPILLED);
    let other = (bucket + 1) % BUCKETS as usize;
    byte(other).store(ARE_SPILLED, Ordering::SeqCst);
    spare(&|| {});
    assert_eq!((says(), byte(other).load(Ordering::SeqCst)), (ARE_SPILLED, 0), "each bucket speaks for itself");
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
