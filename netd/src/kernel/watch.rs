//! Hears what others change of ours, and of the host's ways out, and says so once for a burst. Changes nothing; what it cannot hear, the slow check finds.
//!
//! Heard are links, addresses, routes, clsact and filters, nft, and of the sysctls those that notify; files below /proc/sys are watched for the others.
//! In containers' namespaces only what is ours counts. What our own steps cause is told apart by [`Expected`].

mod files;
mod links;
mod socket;
mod tables;

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use netd_api::names::IfName;
use netd_core::mark;
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};

use self::{
    files::Files,
    links::Links,
    socket::{Ear, Everywhere},
    tables::Tables,
};
use super::{
    KernelError, News,
    expected::Expected,
    netlink::{self, Rtnetlink},
};

/// RTNLGRP_… of linux/rtnetlink.h: LINK, TC, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE, IPV4_NETCONF, IPV6_NETCONF.
const ROUTE_GROUPS: [u32; 8] = [1, 4, 5, 7, 9, 11, 24, 25];
/// NFNLGRP_NFTABLES of linux/netfilter/nfnetlink.h.
const NFT_GROUPS: [u32; 1] = [7];
/// What comes within this time after the first news is told with it: a flush or a restart of somebody's service is many notifications.
const BURST: Duration = Duration::from_millis(20);
/// Between one telling and the next, so that a host that is always changing does not keep us busy; drift is to be mended within a second.
const PAUSE: Duration = Duration::from_millis(300);

/// Starts to listen, on a thread that ends when `tell` gives false.
pub(crate) fn start(expected: Expected, tell: impl FnMut(News) -> bool + Send + 'static) -> Result<(), KernelError> {
    // Without CAP_NET_BROADCAST in this user namespace only our own is heard.
    let route =
        Ear::open(NETLINK_ROUTE, &ROUTE_GROUPS, Everywhere::Yes).or_else(|_| Ear::open(NETLINK_ROUTE, &ROUTE_GROUPS, Everywhere::No))?;
    let nft = Ear::open(NETLINK_NETFILTER, &NFT_GROUPS, Everywhere::No)?;
    let files = Files::open()?;
    // After the sockets are open: what changes meanwhile is heard.
    let links = Links::read(&mut Rtnetlink::open()?)?;
    let watch = Watch { route, nft, files, links, tables: Tables::default(), expected };
    thread::Builder::new().name("watch".to_owned()).spawn(move || watch.run(tell))?;
    Ok(())
}

struct Watch {
    route: Ear,
    nft: Ear,
    files: Files,
    links: Links,
    tables: Tables,
    expected: Expected,
}

impl Watch {
    fn run(mut self, mut tell: impl FnMut(News) -> bool) {
        let mut news = Burst::default();
        let mut told: Option<Instant> = None;
        loop {
            self.files.watch(&self.expected);
            let wait = news.since.map(|since| {
                let due = told.map_or(since + BURST, |told| (since + BURST).max(told + PAUSE));
                due.saturating_duration_since(Instant::now())
            });
            if wait == Some(Duration::ZERO) {
                told = Some(Instant::now());
                if !tell(news.take()) {
                    return;
                }
                continue;
            }
            // A millisecond more: poll counts whole ones, and rounding down would have us turn idly at the end.
            let wait = wait.map(|wait| wait + Duration::from_millis(1));
            match netlink::wait([&self.route, &self.nft, &self.files], wait) {
                Ok([route, nft, files]) => self.listen([route, nft, files], &mut news),
                Err(error) => {
                    tracing::warn!(%error, "drift is not heard any more; the regular check still finds it");
                    return;
                }
            }
        }
    }

    fn listen(&mut self, [route, nft, files]: [bool; 3], news: &mut Burst) {
        if route {
            let (links, expected) = (&mut self.links, &self.expected);
            drain(&self.route, news, |heard, news| {
                netlink::parts(&heard.bytes).for_each(|part| news.extend(links.hear(heard.ns, &part, expected)));
            });
        }
        if nft {
            let (tables, expected) = (&mut self.tables, &self.expected);
            drain(&self.nft, news, |heard, news| {
                netlink::parts(&heard.bytes).for_each(|part| news.extend(tables.hear(&part, expected)));
            });
        }
        if files {
            self.files.hear(&self.expected).into_iter().for_each(|key| news.add(key));
        }
    }
}

fn drain(ear: &Ear, news: &mut Burst, mut each: impl FnMut(&socket::Heard, &mut Burst)) {
    loop {
        match ear.hear() {
            Ok(None) => return,
            Ok(Some(heard)) => each(&heard, news),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => news.add("more changes than could be heard".to_owned()),
            Err(error) => {
                tracing::debug!(%error, "a notification could not be read");
                return;
            }
        }
    }
}

/// What will be told.
#[derive(Default)]
struct Burst {
    first: String,
    more: usize,
    since: Option<Instant>,
    /// The host ends that all of it is about so far; none once it is about anything else.
    only: Option<BTreeSet<IfName>>,
}

impl Burst {
    fn add(&mut self, what: String) {
        let about = host_end(&what);
        if self.since.is_none() {
            self.since = Some(Instant::now());
            self.only = Some(BTreeSet::new());
            self.first = what;
        } else if what != self.first {
            self.more += 1;
        }
        match (about, &mut self.only) {
            (Some(link), Some(only)) => drop(only.insert(link)),
            _ => self.only = None,
        }
    }

    fn extend(&mut self, what: Option<String>) {
        what.into_iter().for_each(|what| self.add(what));
    }

    fn take(&mut self) -> News {
        let Self { first, more, only, .. } = std::mem::take(self);
        let words = if more == 0 { first } else { format!("{first}, and {more} more") };
        News { words, only: only.unwrap_or_default() }
    }
}

/// The attachment's host end that a piece of news is about: every such piece names it, and nothing else is named like one.
fn host_end(what: &str) -> Option<IfName> {
    let word = what.split([' ', '/']).find(|word| word.starts_with(mark::VETH_PREFIX))?;
    word.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_of_host_ends_alone_says_which() {
        let mut burst = Burst::default();
        burst.add("link ndvvcdhamysmh51 was changed".to_owned());
        burst.add("sysctl net/ipv6/conf/ndvhzcc901j7ca7/disable_ipv6 is 0 instead of 1".to_owned());
        let news = burst.take();
        assert_eq!(news.words, "link ndvvcdhamysmh51 was changed, and 1 more");
        assert_eq!(news.only, ["ndvhzcc901j7ca7", "ndvvcdhamysmh51"].iter().map(|name| name.parse().unwrap()).collect());
    }

    #[test]
    fn news_of_anything_else_is_about_everything() {
        let mut burst = Burst::default();
        burst.add("link ndvvcdhamysmh51 was changed".to_owned());
        burst.add("table inet netd was changed by nft (pid 9)".to_owned());
        burst.add("link ndvhzcc901j7ca7 was changed".to_owned());
        assert!(burst.take().only.is_empty());
        assert_eq!(burst.take(), News::default());
    }
}
