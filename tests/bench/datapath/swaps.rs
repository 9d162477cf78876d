//! A thousand swaps between two policies while traffic runs that both allow and traffic that both deny: every datagram is followed to its end, so that one
//! wrong verdict shows. Never lets a socket's buffer overflow: an allowed one is sent when the one before it was answered.

mod flows;

use std::time::Instant;

use netd_api::message::{Reply, Request};

use self::flows::{Denied, Echo, Known, New, Over};
use super::{
    estimate::Estimate,
    rules::{app, applying, head},
    subject::on_network,
};
use crate::{stand::Stand, table::Goals};

/// Containers that are there beside the three.
const OTHERS: usize = 20;

pub(super) fn measured(fast: bool, swaps: usize, goals: &mut Goals) {
    let mut stand = Stand::with_fast_path(fast);
    for number in 0..OTHERS {
        stand.asks(&on_network(&format!("other{number}"), "bench", &[("app", &app(number))]));
    }
    let [server, allowed, denied] = ["server", "allowed", "denied"].map(|name| {
        let Reply::Container(view) = stand.asks(&on_network(name, "bench", &[("role", name)])) else { panic!("no container") };
        let address = view.attachments[0].addresses[0].addr();
        (stand.lab.at(name, &view.netns), address)
    });
    stand.asks(&policy(0));
    let echo = Echo::in_container(&server.0, denied.1);
    let dropped_before = dropped(&mut stand);
    let over = Over::default();
    let known = Known::starts(&allowed.0, echo.udp(server.1), &over);
    let new = New::starts(&allowed.0, echo.udp(server.1), &over);
    let connecting = New::connects(&allowed.0, echo.tcp(server.1), &over);
    let prober = Denied::starts(&denied.0, [echo.udp(server.1), echo.tcp(server.1)], &over);
    let began = Instant::now();
    let times: Vec<f64> = (0..swaps).map(|swap| stand.times(&policy(1 + swap))).collect();
    let took = began.elapsed();
    over.says_so();
    let (known, new, connecting, probed) = (known.ends(), new.ends(), connecting.ends(), prober.ends());
    let arrived = echo.ends();
    let dropped = dropped(&mut stand) - dropped_before;
    let name = if fast { "fast path on" } else { "fast path off" };
    println!(
        "\n{swaps} swaps of a policy under load in {:.1} s ({name}); a swap takes {} ms",
        took.as_secs_f64(),
        Estimate::of(&times).shown(2)
    );
    println!("  allowed: {} datagrams of one flow, {} of as many new flows, {} connections", known.tried, new.tried, connecting.tried);
    println!("           lost {}, {} and {}", known.failed, new.failed, connecting.failed);
    println!("  denied:  {} datagrams and connections tried, {arrived} arrived; netd counted {dropped} dropped packets", probed.tried);
    let wrong = known.failed + new.failed + connecting.failed + arrived.max(probed.failed);
    #[expect(clippy::cast_precision_loss, reason = "a few, at worst some thousands")]
    goals.at_most(&format!("wrong verdicts in {swaps} swaps ({name})"), wrong as f64, 0.0, "");
    let tried = [known.tried, new.tried, connecting.tried, probed.tried];
    goals.note(
        tried.iter().all(|count| *count >= swaps as u64 / 10),
        "load while swapping",
        &format!("{tried:?} tries, goal: at least one in ten swaps each"),
    );
}

/// Both allow the one and deny the other, and everything else about them is different: each time another port, and every second time another list.
fn policy(number: usize) -> Request {
    let load =
        "  - {from: [{podSelector: {matchLabels: {role: allowed}}}], ports: [{protocol: UDP, port: 5000}, {protocol: TCP, port: 5000}]}\n";
    let more = format!("  - {{ports: [{{protocol: TCP, port: {}}}]}}\n", 6000 + number % 1000);
    let rules = if number.is_multiple_of(2) {
        format!("{more}{load}")
    } else {
        format!("{load}{more}  - {{from: [{{podSelector: {{matchLabels: {{app: a1}}}}}}]}}\n")
    };
    applying(head("swapped", "{matchLabels: {role: server}}", "Ingress") + "  ingress:\n" + &rules)
}

/// Packets dropped at all attachments, for whatever reason.
fn dropped(stand: &mut Stand) -> u64 {
    let Reply::Containers(all) = stand.asks(&Request::Containers) else { panic!("no containers") };
    let reasons = all.iter().flat_map(|container| &container.attachments).flat_map(|attachment| &attachment.reasons);
    reasons.filter(|reason| reason.verdict == "drop").map(|reason| reason.counted.packets).sum()
}
