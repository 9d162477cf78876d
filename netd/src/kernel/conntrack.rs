//! Forgets connections: through a host port whose meaning changed, or of an address that changes hands (and who had it). Never cuts one that is as it should be now.
//!
//! All of an address go: of IPv4 the kernel itself deletes them, of IPv6 it cannot be told which ([`Filter`]) and lists them. For a port it filters a listing
//! (CTA_FILTER, from Linux 5.8 on; before that it lists all), and what goes is decided here, by what a new connection to the same place would get: so a
//! connection that began after the change stays.
//!
//! A listing goes through every bucket of the table with its lock held and softirqs off: 9 ms for the 262,144 buckets of a large machine, however
//! few connections there are, in which nobody's RCU grace period ends and so no link is made or deleted. So a port or an IPv6 address that no connection has to
//! do with is looked for in /proc first (0.3 to 0.8 ms, no lock), one look serves the ports of some milliseconds, and all is done on a thread of its own, which
//! is there only while there is something to do.

mod message;

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use netd_api::publish::{PortRange, Protocol};
use netd_core::firewall::{Element, element::Publish};

use self::message::{Connection, Filter, Netfilter};
use super::{KernelError, address, neighbour, netlink::Rtnetlink};

/// How many connections are tracked in this namespace (Documentation/networking/nf_conntrack-sysctl.rst).
const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
/// All of them as text; only with CONFIG_NF_CONNTRACK_PROCFS.
const TEXT: &str = "/proc/thread-self/net/nf_conntrack";
/// With more connections than this the text takes longer than a listing that the kernel filters (some 130 bytes each).
const MANY: u64 = 10_000;
/// A port waits so long for others: a look for each would take as long as publishing does. An address does not wait, as who has it next may begin connections.
const GATHERED_IN: Duration = Duration::from_millis(20);
/// Bytes; the thread makes calls and little else.
const STACK: usize = 256 * 1024;

/// Which connections are to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Which {
    /// To these host ports; of this address, or of all that are the host's.
    Port {
        /// The protocol.
        protocol: Protocol,
        /// The host's address.
        address: Option<IpAddr>,
        /// The ports.
        ports: PortRange,
    },
    /// From an address, or answered by it: all of them go, and with them who had it on the bridge with this number.
    Address(IpAddr, u32),
}

/// The queue of what is to be forgotten, and what is published now.
#[derive(Default)]
pub(crate) struct Conntrack {
    /// The other is told when an address has come.
    shared: Arc<(Mutex<Shared>, Condvar)>,
}

#[derive(Default)]
struct Shared {
    queue: Vec<Which>,
    has_thread: bool,
    published: Published,
    /// Kept open: closing a netfilter socket has the kernel finish the deletions that nf_tables has queued, some 10 ms, while no ruleset can be
    /// changed (nft_rcv_nl_event in net/netfilter/nf_tables_api.c).
    netfilter: Option<Netfilter>,
}

/// What is published, by protocol and port.
#[derive(Default)]
struct Published(HashMap<(Protocol, u16), Vec<Publish>>);

impl Conntrack {
    /// Forgets these, soon; returns at once.
    pub(crate) fn flush(&self, which: Which) -> Result<(), KernelError> {
        let (shared, is_urgent) = &*self.shared;
        let mut shared = lock(shared);
        if let Which::Address(..) = which {
            is_urgent.notify_one();
        }
        shared.queue.push(which);
        if !shared.has_thread {
            let also = Arc::clone(&self.shared);
            thread::Builder::new().name("conntrack".to_owned()).stack_size(STACK).spawn(move || run(&also.0, &also.1))?;
            shared.has_thread = true;
        }
        Ok(())
    }

    /// A port leads somewhere from now on.
    pub(crate) fn published(&self, element: &Element) {
        lock(&self.shared.0).published.add(element);
    }

    /// It does no longer.
    pub(crate) fn withdrawn(&self, element: &Element) {
        lock(&self.shared.0).published.remove(element);
    }

    /// These are all that are published.
    pub(crate) fn all_published(&self, elements: &BTreeSet<Element>) {
        let mut published = Published::default();
        elements.iter().for_each(|element| published.add(element));
        lock(&self.shared.0).published = published;
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Published {
    fn add(&mut self, element: &Element) {
        let Element::Publish(publish) = element else { return };
        let at = self.0.entry((publish.protocol, publish.port)).or_default();
        if !at.contains(publish) {
            at.push(*publish);
        }
    }

    fn remove(&mut self, element: &Element) {
        let Element::Publish(publish) = element else { return };
        if let Some(at) = self.0.get_mut(&(publish.protocol, publish.port)) {
            at.retain(|other| other != publish);
            if at.is_empty() {
                self.0.remove(&(publish.protocol, publish.port));
            }
        }
    }

    /// Where a new connection to this port of the host would go.
    fn target(&self, protocol: Protocol, address: IpAddr, port: u16) -> Option<(IpAddr, u16)> {
        let at = self.0.get(&(protocol, port))?;
        let same_family = |publish: &&Publish| publish.target.is_ipv4() == address.is_ipv4();
        let exact = at.iter().find(|publish| publish.address == Some(address));
        let any = at.iter().filter(same_family).find(|publish| publish.address.is_none());
        exact.or(any).map(|publish| (publish.target, publish.target_port))
    }

    /// Whether a connection to the host is led where a new one would be.
    fn agrees(&self, connection: &Connection) -> bool {
        let is_led = connection.is_led.then_some((connection.answers, connection.answers_port));
        is_led == connection.protocol.and_then(|protocol| self.target(protocol, connection.to, connection.to_port))
    }
}

fn run(shared: &Mutex<Shared>, is_urgent: &Condvar) {
    while let Some(queue) = gathered(shared, is_urgent, GATHERED_IN) {
        if let Err(error) = forget(&queue, shared) {
            tracing::warn!(%error, "connections of a changed port or address could not be forgotten; they end by their own timeout");
        }
    }
}

/// What has come within a time, or until an address came. Nothing: there is no thread from now on.
fn gathered(shared: &Mutex<Shared>, is_urgent: &Condvar, within: Duration) -> Option<Vec<Which>> {
    let has_ports_only = |shared: &mut Shared| shared.queue.iter().all(|which| matches!(which, Which::Port { .. }));
    let waited = is_urgent.wait_timeout_while(lock(shared), within, has_ports_only);
    let mut shared = waited.unwrap_or_else(PoisonError::into_inner).0;
    shared.has_thread = !shared.queue.is_empty();
    shared.has_thread.then(|| std::mem::take(&mut shared.queue))
}

fn forget(queue: &[Which], shared: &Mutex<Shared>) -> Result<(), KernelError> {
    for which in queue {
        if let Which::Address(address, bridge) = which {
            neighbour::forget(&mut Rtnetlink::open()?, *bridge, *address)?;
        }
    }
    let count = fs::read_to_string(COUNT).ok().and_then(|count| count.trim().parse::<u64>().ok());
    if count == Some(0) {
        return Ok(());
    }
    let open = lock(shared).netfilter.take();
    let mut netfilter = open.map_or_else(Netfilter::open, Ok)?;
    let may_list = queue.iter().any(|which| !matches!(which, Which::Address(IpAddr::V4(_), _)));
    let is_short = may_list && count.is_some_and(|count| count <= MANY);
    let in_use = is_short.then(|| fs::read_to_string(TEXT).ok()).flatten().map(|text| InUse::in_text(&text));
    forget_connections(queue, in_use.as_ref(), shared, &mut netfilter)?;
    // After an error it is not put back: there may be an answer left in it.
    lock(shared).netfilter = Some(netfilter);
    Ok(())
}

/// What connections and their answers have to do with.
#[derive(Debug, Default, PartialEq, Eq)]
struct InUse {
    /// Destination ports.
    ports: BTreeSet<u16>,
    /// Source addresses of IPv6.
    sources: BTreeSet<Ipv6Addr>,
}

impl InUse {
    /// By the kernel's text.
    fn in_text(text: &str) -> Self {
        let mut in_use = Self::default();
        for word in text.split_ascii_whitespace() {
            match word.split_once('=') {
                Some(("dport", port)) => in_use.ports.extend(port.parse::<u16>()),
                Some(("src", source)) => in_use.sources.extend(source.parse::<Ipv6Addr>()),
                _ => {}
            }
        }
        in_use
    }
}

/// `in_use` where it is known.
fn forget_connections(
    queue: &[Which],
    in_use: Option<&InUse>,
    shared: &Mutex<Shared>,
    netfilter: &mut Netfilter,
) -> Result<(), KernelError> {
    let mut to_list = Vec::new();
    for which in queue {
        match which {
            Which::Address(IpAddr::V4(address), _) => netfilter.delete_all(*address)?,
            Which::Address(IpAddr::V6(address), _) if in_use.is_none_or(|in_use| in_use.sources.contains(address)) => {
                to_list.push(IpAddr::V6(*address));
            }
            _ => {}
        }
    }
    if !to_list.is_empty() {
        let all = netfilter.list(false, None)?;
        netfilter.delete(all.iter().filter(|connection| connection.is_of(&to_list)))?;
    }
    let ports: Vec<_> = queue
        .iter()
        .filter_map(|which| match which {
            Which::Port { protocol, address, ports } => Some((*protocol, *address, *ports)),
            Which::Address(..) => None,
        })
        .filter(|(_, _, ports)| in_use.is_none_or(|in_use| in_use.ports.range(ports.first..=ports.last).next().is_some()))
        .collect();
    if ports.is_empty() {
        return Ok(());
    }
    let locals: BTreeSet<IpAddr> = address::list(&mut Rtnetlink::open()?, None)?.into_iter().map(|address| address.net.addr()).collect();
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
        let of_protocol: Vec<_> = ports.iter().filter(|(other, ..)| *other == protocol).collect();
        // One listing for all of them: each goes through the whole table, whatever it filters.
        let filter = match of_protocol.as_slice() {
            [] => continue,
            [(_, _, one)] if one.first == one.last => Filter::To(protocol, Some(one.first)),
            _ => Filter::To(protocol, None),
        };
        for is_v4 in [true, false] {
            let concerned = |connection: &Connection| {
                connection.protocol == Some(protocol)
                    && of_protocol.iter().any(|(_, address, ports)| {
                        let here = address.map_or_else(
                            || locals.contains(&connection.to) || connection.to.is_loopback(),
                            |address| address == connection.to,
                        );
                        here && (ports.first..=ports.last).contains(&connection.to_port)
                    })
            };
            let all = netfilter.list(is_v4, Some(&filter))?;
            let wrong: Vec<&Connection> = {
                let shared = lock(shared);
                all.iter().filter(|connection| concerned(connection) && !shared.published.agrees(connection)).collect()
            };
            netfilter.delete(wrong.into_iter())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
