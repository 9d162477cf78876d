//! What netd could leave behind, and whether the host is as it was. Never removes anything.

use std::{collections::BTreeMap, fs, path::Path};

use crate::{host::Host, station::Station};

/// What a host looks like to somebody who searches for leftovers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Traces(BTreeMap<String, String>);

impl Traces {
    /// Those of a host now.
    pub(crate) fn of(host: &Host, here: &Station) -> Self {
        let mut all = BTreeMap::new();
        for link in here.links() {
            all.insert(format!("link {link}"), String::new());
        }
        for table in host.run("nft", &["list", "tables"]).lines() {
            all.insert(table.to_owned(), String::new());
        }
        for place in ["/sys/fs/bpf", "/run/netns", "/etc/netns"] {
            for name in names(&host.path(place)) {
                all.insert(format!("file {place}/{name}"), String::new());
            }
        }
        for route in host
            .run("ip", &["route", "show", "table", "all"])
            .lines()
            .chain(host.run("ip", &["-6", "route", "show", "table", "all"]).lines())
        {
            // Ours by their protocol, or by an interface of ours; stories add routes of their own.
            // What the kernel makes in `local` comes and goes with addresses, some of it a moment later.
            if ["proto 110", "dev nd", "dev br-"].iter().any(|mark| route.contains(mark)) && !route.contains("table local proto kernel") {
                // Whether a bridge has a carrier is its ports' doing, and comes up to a second later.
                all.insert(format!("route {}", route.replace(" linkdown", "").trim()), String::new());
            }
        }
        for (name, value) in sysctls(here) {
            all.insert(format!("sysctl {name}"), value);
        }
        Self(all)
    }

    /// The sysctls of the host's own interfaces, with their values.
    pub(crate) fn sysctls(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(key, value)| Some((key.strip_prefix("sysctl ")?, value.as_str())))
    }

    /// All but one.
    pub(crate) fn without(&self, key: &str) -> Self {
        Self(self.0.iter().filter(|(name, _)| *name != key).map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// What is more, less or different than `before`.
    pub(crate) fn difference(&self, before: &Self) -> String {
        let more = self.0.iter().filter(|(key, value)| before.0.get(*key) != Some(value)).map(|(key, value)| match before.0.get(key) {
            None => format!("\n  new: {key} {value}"),
            Some(was) => format!("\n  changed: {key} from {was} to {value}"),
        });
        let less = before.0.keys().filter(|key| !self.0.contains_key(*key)).map(|key| format!("\n  gone: {key}"));
        more.chain(less).collect()
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The sysctls that netd may set, of every interface that is not its own.
fn sysctls(here: &Station) -> Vec<(String, String)> {
    let mut names = vec!["ipv4/ip_forward".to_owned()];
    for interface in ["all", "default", "lo", crate::UPLINK] {
        for key in ["forwarding", "rp_filter", "route_localnet", "proxy_arp", "arp_notify", "accept_local"] {
            names.push(format!("ipv4/conf/{interface}/{key}"));
        }
        for key in ["forwarding", "accept_ra", "disable_ipv6", "proxy_ndp", "force_forwarding"] {
            names.push(format!("ipv6/conf/{interface}/{key}"));
        }
    }
    for key in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables"] {
        names.push(format!("bridge/{key}"));
    }
    names.into_iter().filter_map(|name| here.sysctl(&name).map(|value| (name, value))).collect()
}
