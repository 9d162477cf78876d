//! Containers as rows and as pages. Never says more of a container than the daemon does.

use netd_api::{
    spec::Guard,
    view::{AttachmentView, ContainerView, Counters, Kind, Presence, ReasonView},
};

use super::{
    joined, labels, port,
    table::{Paint, Tone, Word, facts, table},
};

pub(super) fn rows(containers: &[ContainerView], paint: Paint) -> String {
    let row = |container: &ContainerView| {
        [
            container.name.to_string().into(),
            container.namespace.to_string().into(),
            state(container.state),
            kind(container.kind).into(),
            joined(container.attachments.iter().map(|attachment| &attachment.network)).into(),
            joined(container.attachments.iter().flat_map(|attachment| &attachment.addresses).map(|net| net.addr())).into(),
            joined(container.ports.iter().map(port::short)).into(),
        ]
    };
    table(["NAME", "NAMESPACE", "STATE", "KIND", "NETWORKS", "ADDRESSES", "PORTS"], containers.iter().map(row), paint)
}

pub(super) fn page(container: &ContainerView, paint: Paint) -> String {
    let mut page = facts(
        [
            ("Name", container.name.to_string().into()),
            ("Id", container.id.to_string().into()),
            ("Namespace", container.namespace.to_string().into()),
            ("Kind", kind(container.kind).into()),
            ("State", state(container.state)),
            ("Network namespace", container.netns.clone().into()),
            ("Labels", labels(&container.labels).into()),
            (
                "Port names",
                joined(container.port_names.iter().map(|(name, named)| format!("{name}={}/{}", named.port, named.protocol))).into(),
            ),
            ("Guard", guard(container.guard)),
            ("May also send from", joined(&container.allow_addresses).into()),
            ("Ingress policies", policies(container, "ingress").into()),
            ("Egress policies", policies(container, "egress").into()),
        ],
        paint,
    );
    page.push('\n');
    if container.attachments.is_empty() {
        page.push_str("attached to no network\n");
    } else {
        page.push_str(&attachments(&container.attachments, paint));
        page.push('\n');
        page.push_str(&counters(&container.attachments, paint));
        if container.attachments.iter().any(|attachment| !attachment.reasons.is_empty()) {
            page.push('\n');
            page.push_str(&reasons(&container.attachments, paint));
        }
    }
    if !container.ports.is_empty() {
        page.push('\n');
        page.push_str(&port::rows(&container.ports, paint));
    }
    page
}

fn attachments(attachments: &[AttachmentView], paint: Paint) -> String {
    let row = |attachment: &AttachmentView| {
        [
            attachment.ifname.to_string().into(),
            attachment.network.to_string().into(),
            joined(&attachment.addresses).into(),
            joined(&attachment.gateways).into(),
            attachment.mac.to_string().into(),
            attachment.host_ifname.to_string().into(),
        ]
    };
    table(["INTERFACE", "NETWORK", "ADDRESSES", "GATEWAYS", "MAC", "ON HOST"], attachments.iter().map(row), paint)
}

/// What the container sent and was sent, or a line on why that is not known.
fn counters(attachments: &[AttachmentView], paint: Paint) -> String {
    let counted: Vec<(&AttachmentView, Counters)> =
        attachments.iter().filter_map(|attachment| Some((attachment, attachment.counters?))).collect();
    if counted.is_empty() {
        return "packets are not counted (see netctl status)\n".to_owned();
    }
    let rows = counted.into_iter().flat_map(|(attachment, counters)| {
        [("sent", counters.from), ("received", counters.to)].map(|(direction, traffic)| {
            [
                attachment.ifname.to_string().into(),
                direction.into(),
                traffic.packets.to_string().into(),
                traffic.segments.to_string().into(),
                traffic.bytes.to_string().into(),
            ]
        })
    });
    table(["INTERFACE", "DIRECTION", "PACKETS", "SEGMENTS", "BYTES"], rows, paint)
}

/// What was not simply passed on, and why.
fn reasons(attachments: &[AttachmentView], paint: Paint) -> String {
    let row = |attachment: &AttachmentView, reason: &ReasonView| {
        let direction = match reason.direction.as_str() {
            "from" => "sent",
            "to" => "received",
            other => other,
        };
        [
            attachment.ifname.to_string().into(),
            direction.into(),
            verdict(&reason.verdict),
            reason.reason.clone().into(),
            reason.counted.packets.to_string().into(),
            reason.counted.segments.to_string().into(),
            reason.counted.bytes.to_string().into(),
        ]
    };
    let rows = attachments.iter().flat_map(|attachment| attachment.reasons.iter().map(move |reason| row(attachment, reason)));
    table(["INTERFACE", "DIRECTION", "VERDICT", "REASON", "PACKETS", "SEGMENTS", "BYTES"], rows, paint)
}

fn verdict(verdict: &str) -> Word {
    let tone = if ["drop", "reject", "audit"].contains(&verdict) { Tone::Mind } else { Tone::Plain };
    Word::new(verdict, tone)
}

fn guard(guard: Guard) -> Word {
    match guard {
        Guard::On => "on".into(),
        Guard::Off => Word::new("off", Tone::Mind),
    }
}

fn policies(container: &ContainerView, direction: &str) -> String {
    joined(container.policies.get(direction).into_iter().flatten())
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Made => "made",
        Kind::Adopted => "adopted",
        Kind::Cni => "cni",
    }
}

fn state(state: Presence) -> Word {
    match state {
        Presence::Running => Word::new("running", Tone::Good),
        Presence::Absent => Word::new("absent", Tone::Mind),
    }
}
