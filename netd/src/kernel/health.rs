//! How the kernel serves netd, for `netctl status`: what is used, what stands in for what is not there. Changes nothing.

use netd_api::view::{Feature, Trouble};
use netd_core::host::Features;

use super::Health;
use crate::bpf::{Bpf, State};

/// What the kernel gives, and what of it is in our way.
pub(crate) fn health(bpf: &Bpf, features: Features, mut troubles: Vec<Trouble>) -> Health {
    let release = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    let feature = |name: &str, on: bool, used: &str, instead: &str| Feature {
        name: name.to_owned(),
        on,
        note: if on { used } else { instead }.to_owned(),
    };
    let datapath = match bpf.state() {
        State::On { .. } => {
            Feature { name: "ebpf".to_owned(), on: true, note: "counts every container's packets on shared tc blocks".to_owned() }
        }
        State::Off { why } => Feature { name: "ebpf".to_owned(), on: false, note: why },
    };
    if !features.sysctls {
        troubles.push(Trouble {
            what: "/proc/sys is read-only: forwarding cannot be switched on, so containers reach only each other and this host".to_owned(),
            hint: "start netd where /proc/sys/net can be written, or switch forwarding on yourself".to_owned(),
        });
    }
    let features = vec![
        datapath,
        feature(
            "tcx",
            bpf.has_hooks(),
            "busy links run the programs at their own hooks",
            if bpf.is_on() { "needs Linux 6.6: all links stay on the shared tc blocks" } else { "needs eBPF" },
        ),
        feature("ipv6", features.ipv6, "dual-stack networks", "IPv6 is switched off on this host: IPv4 only"),
        feature(
            "ipv6 forwarding per interface",
            features.force_forwarding,
            "net.ipv6.conf.IF.force_forwarding on networks and uplinks",
            "needs Linux 6.17: net.ipv6.conf.all.forwarding is used, and strangers are kept from being routed",
        ),
        feature(
            "sctp sockets",
            features.sctp_sockets,
            "SCTP ports are held",
            "published SCTP ports work, but are not held against other programs",
        ),
        feature("sysctls", features.sysctls, "forwarding is switched on where networks need it", "/proc/sys is read-only"),
    ];
    Health { release, features, troubles }
}
