//! What a client is told when store or kernel refuse: what was tried, why it failed, what to do now. Changes nothing.

use netd_api::{
    fault::{Code, Fault},
    message::Request,
};

use netd_core::op::Op;

use super::{carry::Refused, survey::chain};
use crate::kernel::{ApplyError, KernelError, ObserveError};

/// What a request tries, as the beginning of a sentence.
fn tried(request: &Request) -> String {
    match request {
        Request::CreateNetwork(spec) => format!("cannot create network {}", spec.name),
        Request::RemoveNetwork(name) => format!("cannot remove network {name}"),
        Request::PruneNetworks => "cannot prune networks".to_owned(),
        Request::CreateContainer(spec) => format!("cannot make container {}", spec.name),
        Request::RemoveContainer(name) => format!("cannot remove container {name}"),
        Request::ChangeContainer(name, _) => format!("cannot change container {name}"),
        Request::Connect(name, spec) => format!("cannot connect {name} to network {}", spec.network),
        Request::Disconnect(name, network, _) => format!("cannot disconnect {name} from network {network}"),
        Request::Publish(name, spec) => format!("cannot publish {spec} for {name}"),
        Request::Unpublish(name, _) => format!("cannot withdraw ports of {name}"),
        Request::Cleanup => "cannot clean up".to_owned(),
        Request::CniAdd(add) => format!("cannot attach {} by {} for CNI network {}", add.key.container, add.key.ifname, add.key.config),
        Request::CniDel(key) => format!("cannot detach {} by {} from CNI network {}", key.container, key.ifname, key.config),
        Request::CniGc(gc) => format!("cannot collect what CNI network {} left", gc.config),
        Request::CniCheck(check) => {
            format!("cannot check {} by {} in CNI network {}", check.key.container, check.key.ifname, check.key.config)
        }
        Request::CniStatus(status) => format!("cannot say whether CNI network {} is ready", status.config),
        Request::ApplyPolicies(_) => "cannot apply policies".to_owned(),
        Request::RemovePolicy(name) => format!("cannot remove policy {name}"),
        Request::Policies
        | Request::Policy(_)
        | Request::Advise(_)
        | Request::Flows(_)
        | Request::Status
        | Request::Networks
        | Request::Network(_)
        | Request::Containers
        | Request::Container(_)
        | Request::Ports(_)
        | Request::Plan => "cannot answer".to_owned(),
    }
}

pub(super) fn refused(request: &Request, refused: Refused) -> Fault {
    let tried = tried(request);
    match refused {
        Refused::PortTaken { protocol, ports, holder } => {
            Fault::new(Code::PortTaken, format!("{tried}: port {ports}/{protocol} is in use by {holder}"))
                .hint("free it, choose another host port, or name none to have one chosen")
        }
        Refused::NetnsTaken { path } => Fault::new(Code::Exists, format!("{tried}: {path} is there already, and netd did not make it"))
            .hint(format!("choose another name, or adopt it under one (netctl container attach NAME --netns {path})")),
        Refused::Store(error) => Fault::new(Code::Store, format!("{tried}: {}", chain(&error)))
            .hint("nothing was changed; make room or mend the disk, then try again"),
        Refused::Policy(error) => too_large(&format!("{tried}: {error}")),
        Refused::Policing(error) => Fault::new(Code::Kernel, format!("{tried}: policies could not be made true: {error}"))
            .hint("the former policies hold; see `netctl status`"),
        Refused::Observe(error) => {
            Fault::new(Code::Kernel, format!("{tried}: {}", chain(&error))).hint("nothing was changed; see `netctl status`")
        }
        Refused::Apply(error) => {
            let (code, hint) = known(&error).unwrap_or((Code::Kernel, "nothing was changed; see `netctl status`"));
            Fault::new(code, format!("{tried}: {}", chain(&error))).hint(hint)
        }
    }
}

/// Policies that do not fit.
pub(super) fn too_large(what: &str) -> Fault {
    Fault::new(Code::TooLarge, what).hint("nothing was applied, the former policies hold; say the same with fewer rules or ranges")
}

/// Refusals of the kernel that a user can do something about.
fn known(error: &ApplyError) -> Option<(Code, &'static str)> {
    Some(match (&*error.op, &error.cause) {
        (Op::AddBridge(..) | Op::AddVeth(..), cause) if cause.is_exists() => (
            Code::BadInterface,
            "an interface of that name is there already; choose another one (--bridge of a network, ifname= of a container)",
        ),
        (Op::AddVeth(..), cause) if cause.is_full() => {
            (Code::BridgeFull, "the bridge has 1023 ports, the most that Linux allows; make another network")
        }
        (Op::AddRoute(route), cause) if cause.is_exists() && route.dst.prefix_len() > 0 => {
            (Code::Impossible, "the container has such a route of its own; remove that one, or ask for none")
        }
        (Op::AddRoute(_), cause) if cause.is_exists() => {
            (Code::Impossible, "the container has a default route of its own; remove that one, or attach it to an internal network")
        }
        (_, KernelError::Namespace(_)) => (Code::BadNamespace, "nothing was changed; look whether the container still runs"),
        (_, KernelError::PortTaken { .. }) => (Code::PortTaken, "free it, or choose another host port"),
        _ => return None,
    })
}

pub(super) fn namespace(request: &Request, error: &KernelError) -> Fault {
    let hint = match request {
        Request::CniAdd(_) => "CNI_NETNS has to be the path of a network namespace that is there, and not the host's",
        _ => "give a path such as /run/netns/NAME or /proc/PID/ns/net, or the pid of a running process",
    };
    Fault::new(Code::BadNamespace, format!("{}: {}", tried(request), chain(error))).hint(hint)
}

pub(super) fn observe(error: &ObserveError) -> Fault {
    Fault::new(Code::Kernel, chain(error)).hint("see `netctl status` and netd's log (journalctl -u netd)")
}
