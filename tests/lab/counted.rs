//! What the programs counted by verdict and reason, and whether the sums are the interface's own. Never forgives a packet.

use netd_api::{
    message::{Reply, Request},
    view::{AttachmentView, ContainerView, Presence, ReasonView, Traffic},
};

use crate::{Container, Lab, Network, Station, wait::PATIENCE, wait::poll};

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
    /// what was passed on and audited, and what netd made for it, is what the container's end received, with what the pair itself says it dropped on the way.
    /// To the packet and the byte; of packets that the pair dropped it does not know the bytes.
    #[track_caller]
    pub fn counters_add_up(&self, container: &Container<'_>, net: &Network<'_>) {
        self.counters_add_up_but_for_tags(container, net, 0);
    }

    /// The same where so many VLAN tags may have come or gone: each is four bytes that an interface counts or does not, by where the kernel keeps it.
    #[track_caller]
    pub fn counters_add_up_but_for_tags(&self, container: &Container<'_>, net: &Network<'_>, tags: u64) {
        self.interface_adds_up(&format!("{container} on {net}"), container, || container.attachment(net), tags);
    }

    /// The equations of every interface of every container that is there and is counted.
    #[track_caller]
    pub(crate) fn all_counters_add_up(&self, tags: u64) {
        let look = || match self.done(&Request::Containers) {
            Reply::Containers(all) => all,
            other => panic!("containers were asked for, not {other:?}"),
        };
        let attachment = |id: &ContainerView, at: usize| {
            let found = look().into_iter().find(|container| container.id == id.id);
            found.unwrap_or_else(|| panic!("{} is there", id.name)).attachments.swap_remove(at)
        };
        for container in look().iter().filter(|container| container.state == Presence::Running) {
            let station = self.at(container.name.as_str(), &container.netns);
            for (at, view) in container.attachments.iter().enumerate().filter(|(_, view)| view.counters.is_some()) {
                let who = format!("{} on {}", container.name, view.network);
                self.interface_adds_up(&who, &station, || attachment(container, at), tags);
            }
        }
    }

    #[track_caller]
    fn interface_adds_up(&self, who: &str, station: &Station, view: impl Fn() -> AttachmentView, tags: u64) {
        let sides = || {
            let view = view();
            let host_end = self.here().link(view.host_ifname.as_str());
            let (host, dropped) = (received(&host_end), host_end["stats64"]["tx"]["dropped"].as_u64().expect("iproute2 prints counters"));
            let own = received(&station.link(view.ifname.as_str()));
            let from = sum(&view, Way::From, &["forward", "drop", "reject", "audit"]);
            let to = sum(&view, Way::To, &["forward", "audit", "made"]);
            let to = if dropped == 0 { (to.packets, to.bytes) } else { (to.packets - dropped, own.1) };
            ([(from.packets, from.bytes), to], [host, own], dropped, view.reasons)
        };
        let is_equal = |(packets, bytes): (u64, u64), (of_link, bytes_of_link): (u64, u64)| {
            packets == of_link && bytes.abs_diff(bytes_of_link) <= tags * 4
        };
        // Packets go on arriving between two looks; they agree as soon as none does.
        let agree = poll(PATIENCE, || {
            let (counted, received, ..) = sides();
            (is_equal(counted[0], received[0]) && is_equal(counted[1], received[1])).then_some(())
        });
        let words = "counted, received (packets, bytes; from, to), dropped by the pair, and reasons";
        assert!(agree.is_some(), "{who}: {words}: {:#?}", sides());
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
