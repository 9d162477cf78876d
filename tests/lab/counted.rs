//! What the programs counted by verdict and reason, and whether the sums are the interface's own. Never forgives a packet.

use netd_api::view::{AttachmentView, ReasonView, Traffic};

use crate::{Container, Lab, Network, wait::PATIENCE, wait::poll};

/// Both directions, from where the container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What it sends.
    From,
    /// What it is sent.
    To,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::To => "to",
        }
    }
}

impl Container<'_> {
    /// How many packets were counted under a reason, both directions together.
    #[track_caller]
    pub fn counted(&self, net: &Network<'_>, reason: &str) -> u64 {
        let view = self.attachment(net);
        view.reasons.iter().filter(|it| it.reason == reason).map(|it| it.counted.packets).sum()
    }

    /// Waits until exactly so many packets are counted under a reason, and no more.
    #[track_caller]
    pub fn expect_counted(&self, net: &Network<'_>, reason: &str, packets: u64) {
        let seen = poll(PATIENCE, || (self.counted(net, reason) >= packets).then_some(()));
        let counted = self.counted(net, reason);
        let all = self.attachment(net).reasons;
        assert!(seen.is_some() && counted == packets, "{self} on {net}: {reason} was counted {counted} times, not {packets}; of {all:#?}");
    }

    /// The reasons for which packets of it were dropped or refused, each once, in the order of their names.
    #[track_caller]
    pub fn denials(&self, net: &Network<'_>) -> Vec<String> {
        let denied = |it: &ReasonView| ["drop", "reject"].contains(&it.verdict.as_str()) && it.counted.packets > 0;
        let view = self.attachment(net);
        let mut all: Vec<String> = view.reasons.iter().filter(|it| denied(it)).map(|it| it.reason.clone()).collect();
        all.sort();
        all.dedup();
        all
    }
}

impl Lab {
    /// The equations: from the container, what was passed on, dropped, refused and audited is what the host's end received; to the container,
    /// what was passed on and audited, and what netd made for it, is what the container's end received. To the packet and the byte.
    #[track_caller]
    pub fn counters_add_up(&self, container: &Container<'_>, net: &Network<'_>) {
        let sides = || {
            let view = container.attachment(net);
            let host = received(&self.here().link(view.host_ifname.as_str()));
            let own = received(&container.link(view.ifname.as_str()));
            let from = sum(&view, Way::From, &["forward", "drop", "reject", "audit"]);
            let to = sum(&view, Way::To, &["forward", "audit", "made"]);
            ([(from.packets, from.bytes), (to.packets, to.bytes)], [host, own], view.reasons)
        };
        // Packets go on arriving between two looks; they agree as soon as none does.
        let agree = poll(PATIENCE, || {
            let (counted, received, _) = sides();
            (counted == received).then_some(())
        });
        assert!(agree.is_some(), "{container} on {net}: counted, received (packets, bytes; from, to) and reasons: {:#?}", sides());
    }
}

/// All that was counted in a direction with one of these verdicts. What was simply passed on stands in `counters`.
fn sum(view: &AttachmentView, way: Way, verdicts: &[&str]) -> Traffic {
    let simply = view.counters.expect("the programs count on this kernel");
    let mut sum = if way == Way::From { simply.from } else { simply.to };
    for it in &view.reasons {
        if it.direction == way.name() && it.reason != "forward" && verdicts.contains(&it.verdict.as_str()) {
            sum.packets += it.counted.packets;
            sum.bytes += it.counted.bytes;
            sum.segments += it.counted.segments;
        }
    }
    sum
}

/// Packets and bytes that an interface received, as iproute2 prints them.
fn received(link: &serde_json::Value) -> (u64, u64) {
    let stat = |unit: &str| link["stats64"]["rx"][unit].as_u64().expect("iproute2 prints counters");
    (stat("packets"), stat("bytes"))
}
