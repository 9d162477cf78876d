//! The daemon's health as a page. Never judges; what is wrong the daemon says.

use std::fmt::Write as _;

use netd_api::view::{Fill, PolicyStatus, Reconcile, Status};

use super::{
    joined,
    table::{Paint, Tone, Word, facts, printable_lines, table},
};

pub(super) fn page(status: &Status, paint: Paint) -> String {
    let failed = status.reconcile.as_ref().map_or(&[][..], |last| &last.failed);
    let health = match status.degraded.len() + failed.len() {
        0 => Word::new("healthy", Tone::Good),
        1 => Word::new("1 thing is not as it should be", Tone::Bad),
        many => Word::new(format!("{many} things are not as they should be"), Tone::Bad),
    };
    let mut page = facts(
        [
            ("Health", health),
            ("Daemon", format!("netd {}, process {}, up {}", status.version, status.pid, duration(status.uptime_s)).into()),
            ("Kernel", status.kernel.clone().into()),
            ("Uplinks", joined(&status.uplinks).into()),
            ("Networks", status.networks.to_string().into()),
            ("Containers", status.containers.to_string().into()),
            ("Attachments", status.attachments.to_string().into()),
            ("Published ports", status.ports.to_string().into()),
            ("Policies", policies(status.policy.as_ref())),
            ("Last check", status.reconcile.as_ref().map_or("none yet".to_owned(), reconcile).into()),
            ("Repaired", format!("{} since the start", status.drift_repaired).into()),
        ],
        paint,
    );
    if !status.features.is_empty() {
        let features = status.features.iter().map(|feature| {
            let state = if feature.on { Word::new("on", Tone::Good) } else { Word::new("off", Tone::Mind) };
            [feature.name.clone().into(), state, feature.note.clone().into()]
        });
        page.push('\n');
        page.push_str(&table(["FEATURE", "STATE", "NOTE"], features, paint));
    }
    if let Some(policy) = &status.policy {
        page.push('\n');
        page.push_str(&policy_part(policy, paint));
    }
    for step in failed {
        let _ = write!(page, "\nfailed: {}\n", printable_lines(step));
    }
    for trouble in &status.degraded {
        let _ = write!(page, "\ndegraded: {}\n", printable_lines(&trouble.what));
        if !trouble.hint.is_empty() {
            let _ = writeln!(page, "hint: {}", printable_lines(&trouble.hint));
        }
    }
    page
}

fn policies(policy: Option<&PolicyStatus>) -> Word {
    match policy {
        None => Word::new("refused: no eBPF program runs", Tone::Mind),
        Some(policy) => policy.policies.to_string().into(),
    }
}

/// How policy is, how full its tables are, and what went wrong in the data path.
fn policy_part(policy: &PolicyStatus, paint: Paint) -> String {
    let audit = if policy.audit.is_empty() { "none".into() } else { Word::new(joined(&policy.audit), Tone::Mind) };
    let mut part = facts(
        [
            ("Only in audit", audit),
            ("Where none selects", policy.default.clone().into()),
            ("Fast path", if policy.fast_path { "on" } else { "off" }.into()),
            (
                "At own hooks",
                policy
                    .own_hooks
                    .map_or_else(|| "off".to_owned(), |links| format!("{links} busy link{}", if links == 1 { "" } else { "s" }))
                    .into(),
            ),
        ],
        paint,
    );
    if !policy.tables.is_empty() {
        let row = |fill: &Fill| [fill.name.clone().into(), fill.used.to_string().into(), fill.of.to_string().into(), full(fill)];
        part.push('\n');
        part.push_str(&table(["TABLE", "USED", "OF", "FULL"], policy.tables.iter().map(row), paint));
    }
    let mut events = policy.events.iter().filter(|(_, count)| **count > 0).peekable();
    if events.peek().is_some() {
        let row = |(name, count): (&String, &u64)| [name.clone().into(), Word::new(count.to_string(), Tone::Mind)];
        part.push('\n');
        part.push_str(&table(["EVENT", "COUNT"], events.map(row), paint));
    }
    part
}

/// In whole percent, rounded down: 100 % is full.
fn full(fill: &Fill) -> Word {
    let percent = u128::from(fill.used) * 100 / u128::from(fill.of.max(1));
    let tone = match percent {
        0..80 => Tone::Plain,
        80..95 => Tone::Mind,
        _ => Tone::Bad,
    };
    Word::new(format!("{percent} %"), tone)
}

fn reconcile(last: &Reconcile) -> String {
    let steps = if last.done == 1 { "step" } else { "steps" };
    let failed = if last.failed.is_empty() { String::new() } else { format!(", {} failed", last.failed.len()) };
    format!("{} ago ({}): {} {steps} done{failed}, in {:.1} ms", duration(last.ago_s), last.reason, last.done, last.took_ms)
}

/// Seconds in the two largest units: `3d 4h`, `5m 1s`.
pub(super) fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}
