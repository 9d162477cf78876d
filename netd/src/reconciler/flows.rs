//! Flows with names: records as they come, and what is open when somebody asks. Never reads a map itself.

use std::{net::IpAddr, sync::Arc};

use netd_abi::{Counters, Verdict, Why};
use netd_api::{
    fault::Fault,
    flow::{FlowEnd, FlowEvent, FlowQuery, FlowView, FlowsView},
    names::{IfName, NetworkName},
    policy::{Advice, ChangedFlow, FlowVerdict, PoliciesApplied, PolicyFiles},
    view::Traffic,
};
use netd_core::{
    change,
    desired::{Attachment, Container},
    policy::{
        book::{
            number::RuleName,
            wish::{Direction as Way, Wish},
        },
        preview::{self, Observed},
    },
};

use tracing::debug;

use super::{
    Reconciler,
    asks::{Asks, way},
    departed::Departed,
    policy::words,
};
use crate::{
    bpf::places::address,
    kernel::Kernel,
    observe::{Clock, Observer, flows::RawFlow, record::Recorder},
};

/// What is recorded, and who is asked for the rest.
pub(super) struct Flows {
    observer: Option<Observer>,
    records: Recorder<Named>,
    lost: u64,
    departed: Departed,
}

impl Default for Flows {
    fn default() -> Self {
        Self::of(None)
    }
}

impl Flows {
    pub(super) fn of(observer: Option<Observer>) -> Self {
        Self { observer, records: Recorder::default(), lost: 0, departed: Departed::default() }
    }
}

/// A record with the names that were true when it came.
#[derive(Clone)]
struct Named {
    raw: RawFlow,
    container: Arc<Container>,
    network: NetworkName,
    ifname: IfName,
    remote: Option<Arc<Container>>,
    /// Whether the other end is this host.
    host: bool,
    rule: Option<Arc<RuleName>>,
}

impl<K: Kernel> Reconciler<K> {
    /// How many flows were given up for room; none where nobody looks.
    pub(super) fn evicted(&self) -> Option<u64> {
        self.flows.observer.as_ref().map(Observer::evicted)
    }

    /// Keeps what was seen.
    pub(super) fn record_flows(&mut self, records: Vec<RawFlow>, lost: u64) {
        self.flows.lost = lost;
        for raw in records {
            if let Some(named) = self.named(raw) {
                self.flows.records.add(named);
            }
        }
    }

    /// An attachment goes: its flows are told under its name for some time yet.
    pub(super) fn note_departure(&mut self, container: &Arc<Container>, attachment: &Attachment) {
        self.flows.departed.add(container, attachment, Clock::now().real);
        if let Some(observer) = &self.flows.observer {
            observer.forget_slot(attachment.slot);
        }
    }

    /// Both ends are who had the addresses when it began, whoever has them now.
    fn named(&self, raw: RawFlow) -> Option<Named> {
        let (local, remote) = (address(raw.key.local), address(raw.key.remote));
        let slot = u32::from(raw.key.slot);
        let there = self.desired.attachment_at(slot);
        let departed = self.flows.departed.at_slot(slot);
        let (container, network, ifname) = match (departed, there) {
            (Some(gone), _) if gone.had(local, raw.began) => (&gone.container, &gone.network, &gone.ifname),
            (_, Some((container, attachment))) => (container, &attachment.network, &attachment.ifname),
            (Some(gone), None) => (&gone.container, &gone.network, &gone.ifname),
            (None, None) => return None,
        };
        let gone = self.flows.departed.with_address(remote, raw.began).map(|gone| &gone.container);
        let rule = self.policing.book.as_ref().and_then(|book| book.rule(raw.rule)).cloned().map(Arc::new);
        Some(Named {
            container: Arc::clone(container),
            network: network.clone(),
            ifname: ifname.clone(),
            remote: gone.or_else(|| self.desired.container_with(remote)).cloned(),
            host: self.is_host(remote),
            rule,
            raw,
        })
    }

    pub(super) fn is_host(&self, address: IpAddr) -> bool {
        self.host.addresses.contains(&address)
            || self.desired.networks().values().flat_map(|network| &network.pools).any(|pool| pool.gateway == Some(address))
    }

    /// What a client gets to see.
    pub(super) fn flows_view(&mut self, query: &FlowQuery) -> Result<FlowsView, Fault> {
        let wanted = match &query.container {
            Some(name) => Some(self.find(name)?.id.clone()),
            None => None,
        };
        let open = self.look_at_flows(query.after.is_some());
        let open: Vec<Named> =
            if query.after.is_some() { Vec::new() } else { open.into_iter().filter_map(|raw| self.named(raw)).collect() };
        let is_meant = |view: &FlowView| {
            wanted.as_ref().is_none_or(|id| view.container.id.as_ref() == Some(id))
                && query.verdict.is_none_or(|verdict| view.verdict == verdict)
                && query.since.is_none_or(|since| view.last_seen >= since as f64)
        };
        let recorded = self.flows.records.after(query.after.unwrap_or(0)).map(|(number, named)| view(number, named));
        let mut flows: Vec<FlowView> = recorded.filter(is_meant).collect();
        flows.extend(open.iter().map(|named| view(0, named)).filter(is_meant));
        Ok(FlowsView { flows, last: self.flows.records.last(), lost: self.flows.lost, forgotten: self.flows.records.forgotten() })
    }

    /// What is open now; what was recorded meanwhile is taken in first.
    fn look_at_flows(&mut self, follows: bool) -> Vec<RawFlow> {
        let Some(observer) = self.flows.observer.clone() else { return Vec::new() };
        if follows && let Err(error) = observer.watch() {
            debug!(why = error.line(), "new flows are not told");
        }
        let seen = observer.open_flows();
        self.record_flows(seen.records, seen.lost);
        seen.open
    }

    /// All flows that are known, each once, open ones last: one that began is open, or has closed since.
    fn all_flows(&mut self) -> Vec<Named> {
        let open = self.look_at_flows(false);
        let recorded: Vec<Named> = self.flows.records.after(0).map(|(_, named)| named.clone()).collect();
        recorded
            .into_iter()
            .filter(|flow| flow.raw.event != FlowEvent::New)
            .chain(open.into_iter().filter_map(|raw| self.named(raw)))
            .collect()
    }

    /// Which recorded flows would be judged otherwise, if these files were applied.
    pub(super) fn preview(&mut self, files: &PolicyFiles) -> Result<PoliciesApplied, Fault> {
        let mut applied = change::policy::applied(&self.desired, files)?;
        let change = change::policy::apply(&self.desired, files)?;
        let Some(book) = &self.policing.book else { return Ok(applied) };
        let mut book = book.clone();
        let mut desired = self.desired.clone();
        desired.apply(&change);
        let wish = Wish { policies: Arc::clone(desired.policies()), namespaces: desired.namespaces().clone(), ..self.wish() };
        book.set(wish).map(drop).map_err(|error| super::fault::too_large(&words(&super::carry::Refused::Policy(error))))?;
        let published = self.published();
        for flow in self.all_flows() {
            let slot = u32::from(flow.raw.key.slot);
            // Of who has gone, or has gone and whose address is another's, policies say nothing any more.
            let is_there = self.desired.attachment_at(slot).is_some_and(|(container, _)| container.id == flow.container.id);
            let remote_now = self.desired.container_with(address(flow.raw.key.remote)).map(|container| &container.id);
            let is_same = remote_now == flow.remote.as_ref().map(|container| &container.id);
            let Some(was) = verdict(&flow.raw).filter(|_| is_there && is_same) else { continue };
            applied.judged_flows += 1;
            let Asks { way, remote, port, target } = self.asks(&published, &flow.raw);
            // The host reaches its own containers whatever is said, and who comes by its published ports is judged where the connection starts.
            if way == Way::Ingress && flow.host {
                continue;
            }
            let protocol = flow.raw.key.protocol;
            let mut said = book.judge(book.sets(slot), way, remote, protocol, port);
            if let Some((_, target)) = target.filter(|_| passes(of_verdict(Verdict::from_number(said.verdict)))) {
                let at_target = book.judge(book.sets(target.slot), Way::Ingress, address(flow.raw.key.local), protocol, port);
                if !passes(of_verdict(Verdict::from_number(at_target.verdict))) {
                    said = at_target;
                }
            }
            let would = of_verdict(Verdict::from_number(said.verdict));
            if would != was {
                let rule = book.rule(said.rule).map_or_else(|| "no policy".to_owned(), ToString::to_string);
                applied.changed_flows.push(ChangedFlow { flow: view(0, &flow), verdict: would, rule });
            }
        }
        Ok(applied)
    }

    /// The policy that a container's recorded traffic needs.
    pub(super) fn advice(&mut self, container: &Arc<Container>) -> Advice {
        let (flows, published) = (self.all_flows(), self.published());
        let pod = |container: &Arc<Container>| (container.namespace.clone(), container.labels.clone());
        let observed = flows.iter().filter_map(|flow| {
            let Asks { way, remote, port, target } = self.asks(&published, &flow.raw);
            let (protocol, verdict) = (flow.raw.key.protocol, verdict(&flow.raw)?);
            let at = |direction, remote, pod, is_host| Observed { direction, remote, pod, is_host, protocol, port, verdict };
            if flow.container.id == container.id {
                let other = target.map_or_else(|| flow.remote.as_ref().map(pod), |(target, _)| Some(pod(target)));
                return Some(at(way, remote, other, flow.host && target.is_none()));
            }
            // Who came by a published port may stand at the container itself under the host's address.
            let came = target.filter(|(target, _)| target.id == container.id);
            came.map(|_| at(Way::Ingress, address(flow.raw.key.local), Some(pod(&flow.container)), false))
        });
        preview::advise(&self.desired, container, &observed.collect::<Vec<_>>())
    }
}

const fn passes(verdict: FlowVerdict) -> bool {
    matches!(verdict, FlowVerdict::Forward | FlowVerdict::Audit)
}

/// What policy said; none where a guard or the parser did.
fn verdict(raw: &RawFlow) -> Option<FlowVerdict> {
    match Why::from_number(raw.why)? {
        Why::Forward | Why::AuditPolicy | Why::DropPolicy | Why::RejectPolicy => {
            Why::from_number(raw.why).map(|why| of_verdict(why.verdict()))
        }
        _ => None,
    }
}

fn of_verdict(verdict: Verdict) -> FlowVerdict {
    match verdict {
        Verdict::Forward => FlowVerdict::Forward,
        Verdict::Drop => FlowVerdict::Drop,
        Verdict::Reject => FlowVerdict::Reject,
        Verdict::Audit => FlowVerdict::Audit,
    }
}

fn view(number: u64, named: &Named) -> FlowView {
    let Named { raw, container, network, ifname, remote, host, rule } = named;
    let why = Why::from_number(raw.why);
    let [sent, received] = raw.counters.map(traffic);
    let [flags_sent, flags_received] = raw.flags.map(flags);
    let (way, _) = way(raw);
    FlowView {
        number,
        event: raw.event,
        began: raw.began,
        last_seen: raw.last_seen,
        container: end(address(raw.key.local), raw.key.local_port, Some(container), false),
        network: network.clone(),
        ifname: ifname.clone(),
        remote: end(address(raw.key.remote), raw.key.remote_port, remote.as_ref(), *host),
        direction: way.to_string(),
        protocol: protocol(raw.key.protocol),
        verdict: of_verdict(why.map_or(Verdict::Drop, Why::verdict)),
        reason: why.map_or_else(|| raw.why.to_string(), |why| why.name().to_owned()),
        policy: rule.as_ref().and_then(|rule| rule.policies.first().cloned()),
        rule: rule.as_ref().map(|rule| rule.to_string()),
        sent,
        received,
        flags_sent,
        flags_received,
    }
}

fn end(address: IpAddr, port: [u8; 2], container: Option<&Arc<Container>>, host: bool) -> FlowEnd {
    FlowEnd {
        address,
        port: u16::from_be_bytes(port),
        id: container.map(|container| container.id.clone()),
        name: container.map(|container| container.name.clone()),
        namespace: container.map(|container| container.namespace.clone()),
        labels: container.map(|container| container.labels.clone()).unwrap_or_default(),
        host,
    }
}

fn traffic(counters: Counters) -> Traffic {
    Traffic { packets: counters.packets, bytes: counters.bytes, segments: counters.segments }
}

fn protocol(number: u8) -> String {
    match number {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        132 => "sctp".to_owned(),
        other => other.to_string(),
    }
}

/// As tcpdump writes them.
fn flags(seen: u8) -> String {
    ["F", "S", "R", "P", ".", "U", "E", "W"]
        .iter()
        .enumerate()
        .filter(|(bit, _)| seen & (1 << bit) != 0)
        .map(|(_, letter)| *letter)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_written_as_tcpdump_does() {
        assert_eq!(flags(0x12), "S.");
        assert_eq!(flags(0x1b), "FSP.");
        assert_eq!(flags(0), "");
    }
}
