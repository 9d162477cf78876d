//! Policies as rows, as YAML, and what applying them did. Never says more of a policy than the daemon does.

use std::fmt::Write as _;

use netd_api::policy::{Advice, PoliciesApplied, PolicyApplied, PolicyChange, PolicyView};

use super::{
    flow, joined,
    table::{Paint, Tone, Word, printable, table},
};

/// So many containers are named in a row; the rest is counted.
const NAMED: usize = 4;

pub(super) fn rows(policies: &[PolicyView], paint: Paint) -> String {
    let row = |policy: &PolicyView| {
        let packets: u64 = policy.rules.iter().map(|rule| rule.hits.packets).fold(0, u64::saturating_add);
        [
            policy.name.to_string().into(),
            policy.kind.clone().into(),
            mode(policy),
            selects(policy.selects.len()),
            packets.to_string().into(),
        ]
    };
    table(["NAME", "KIND", "MODE", "SELECTS", "HITS"], policies.iter().map(row), paint)
}

/// One that only audits drops nothing, so that nothing is answered.
fn mode(policy: &PolicyView) -> Word {
    match (policy.audit, policy.reject) {
        (true, _) => Word::new("audit", Tone::Mind),
        (false, true) => "reject".into(),
        (false, false) => "enforce".into(),
    }
}

/// A policy that selects nobody is rarely meant.
fn selects(count: usize) -> Word {
    match count {
        0 => Word::new("nothing", Tone::Mind),
        1 => "1 container".into(),
        many => format!("{many} containers").into(),
    }
}

/// The policy as it can be applied again.
pub(super) fn source(policy: &PolicyView) -> String {
    yaml(&policy.source)
}

/// The policy that is advised, under comments with what to know of it.
pub(super) fn advice(advice: &Advice) -> String {
    let mut text = match advice.flows {
        1 => "# From 1 recorded flow.\n".to_owned(),
        many => format!("# From {many} recorded flows.\n"),
    };
    for line in advice.notes.iter().flat_map(|note| note.lines()) {
        let _ = writeln!(text, "# {}", printable(line));
    }
    text + &yaml(&advice.policy)
}

/// Control characters are made visible; YAML has none but tabs and ends of lines (YAML 1.2.2, 5.1).
fn yaml(source: &str) -> String {
    source.lines().map(|line| line.split('\t').map(printable).collect::<Vec<_>>().join("\t") + "\n").collect()
}

pub(super) fn applied(applied: &PoliciesApplied, dry_run: bool, paint: Paint) -> String {
    let row = |policy: &PolicyApplied| {
        let selected = &policy.selects;
        let who = match selected.len() {
            0 => Word::new("nothing", Tone::Mind),
            // One more needs no more room than to be counted.
            count if count > NAMED + 1 => format!("{} and {} more", joined(&selected[..NAMED]), count - NAMED).into(),
            _ => joined(selected).into(),
        };
        [policy.name.to_string().into(), change(policy.change, dry_run).into(), who]
    };
    let mut text = String::new();
    if !applied.policies.is_empty() {
        text += &table(["NAME", if dry_run { "WOULD BE" } else { "CHANGE" }, "SELECTS"], applied.policies.iter().map(row), paint);
    }
    if !applied.namespaces.is_empty() {
        let verb = if dry_run { "would get" } else { "got" };
        let _ = writeln!(text, "{}namespaces that {verb} labels: {}", between(&text), joined(&applied.namespaces));
    }
    if text.is_empty() {
        text.push_str("there is nothing to apply\n");
    }
    if dry_run { text + "\n" + &judged(applied) } else { text }
}

/// An empty line where something stands before it.
fn between(before: &str) -> &'static str {
    if before.is_empty() { "" } else { "\n" }
}

fn change(change: PolicyChange, dry_run: bool) -> &'static str {
    match (change, dry_run) {
        (PolicyChange::Created, _) => "created",
        (PolicyChange::Changed, _) => "changed",
        (PolicyChange::Unchanged, false) => "unchanged",
        (PolicyChange::Unchanged, true) => "left as it is",
    }
}

fn judged(applied: &PoliciesApplied) -> String {
    let judged = match applied.judged_flows {
        0 => return "dry run: nothing was changed; no flows are recorded that could be judged\n".to_owned(),
        1 => "the 1 recorded flow".to_owned(),
        many => format!("{many} recorded flows"),
    };
    let mut text = match applied.changed_flows.len() {
        0 => format!("dry run: nothing was changed; none of {judged} would be judged otherwise\n"),
        count => format!("dry run: nothing was changed; {count} of {judged} would be judged otherwise:\n"),
    };
    for changed in &applied.changed_flows {
        text += &flow::changed(changed);
    }
    text
}
