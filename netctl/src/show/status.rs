//! The daemon's health as a page. Never judges; what is wrong the daemon says.

use std::fmt::Write as _;

use netd_api::view::{Reconcile, Status};

use super::{
    joined,
    table::{Paint, Tone, Word, facts, printable, table},
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
    for step in failed {
        let _ = write!(page, "\nfailed: {}\n", printable(step));
    }
    for trouble in &status.degraded {
        let _ = write!(page, "\ndegraded: {}\n", printable(&trouble.what));
        if !trouble.hint.is_empty() {
            let _ = writeln!(page, "hint: {}", printable(&trouble.hint));
        }
    }
    page
}

fn reconcile(last: &Reconcile) -> String {
    let steps = if last.done == 1 { "step" } else { "steps" };
    let failed = if last.failed.is_empty() { String::new() } else { format!(", {} failed", last.failed.len()) };
    format!("{} ago ({}): {} {steps} done{failed}, in {:.1} ms", duration(last.ago_s), last.reason, last.done, last.took_ms)
}

/// Seconds in the two largest units: `3d 4h`, `5m 1s`.
fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}
