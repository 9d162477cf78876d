//! The door to the kernel: what is there is observed, what is planned is applied one step at a time. Decides nothing.

pub mod linux;
pub mod memory;
pub(crate) mod boot;
pub(crate) mod observe;
pub(crate) mod netns;
pub(crate) mod made;
pub(crate) mod link;
pub(crate) mod shape;
pub(crate) mod delete;
pub(crate) mod address;
pub(crate) mod route;
pub(crate) mod neighbour;
pub(crate) mod sysctl;
pub(crate) mod announce;
pub(crate) mod port;
pub(crate) mod holder;
pub(crate) mod conntrack;
pub(crate) mod host;
pub(crate) mod health;
pub(crate) mod in_our_way;
pub(crate) mod watch;
pub(crate) mod expected;
pub mod nft;
pub(crate) mod netlink;

use std::{collections::BTreeSet, net::IpAddr};

use netd_api::{
    names::IfName,
    spec::Source,
    view::{Counters, Feature, ReasonView, Traffic, Trouble},
};
use netd_core::{
    firewall::element::Publish,
    host::{Found, Host},
    objects::{NetnsId, Objects, Reservation},
    op::Op,
    policy::book::{Fill, steps::Write},
};

/// What to look at.
#[derive(Debug, Clone, Copy)]
pub enum Look<'a> {
    /// All objects with our mark, and of the wanted ones those that cannot carry a mark (sysctls, what is inside containers' namespaces).
    Everything(&'a Objects),
    /// Only objects with the same keys as these; what else there is does not show.
    At(&'a Objects),
}

/// A kernel: Linux, or a fake in memory that refuses what Linux refuses.
///
/// Calls are answered within microseconds to a few milliseconds, so they are not futures: the one task that owns the state makes them itself.
pub trait Kernel: Send {
    /// What is there. An object that vanishes while it is looked at is not there.
    fn observe(&mut self, look: Look<'_>) -> Result<Objects, ObserveError>;

    /// Does one step. A step whose effect is there already is no error where the doc of the `Op` says so.
    fn apply(&mut self, op: &Op) -> Result<(), ApplyError>;

    /// Forgets what was opened for the steps of one plan: an adopted namespace must not be kept alive by us.
    fn settle(&mut self);

    /// The host's own facts, read anew.
    fn host(&mut self) -> Result<Host, ObserveError>;

    /// The namespace of a container that somebody else made: checked to be one, and not the host's. It stays open for the steps that follow,
    /// until [`Self::settle`].
    fn find(&mut self, source: &Source) -> Result<Found, KernelError>;

    /// What the namespace at a path is known by; none where there is none. Asked for many containers at once, so it enters none.
    fn netns(&mut self, path: &str) -> Option<NetnsId>;

    /// The first of these host ports, in their order, that a stranger has a socket on which it could not be held because of; nothing of ours, and no
    /// mere connections. `caller` is the process that asks for the ports. All at once: whose a socket is needs a look at every process of the host.
    fn stranger(&mut self, ports: &[Reservation], caller: i32, is_stranger: &dyn Fn(&Holder) -> bool) -> Option<(Reservation, Holder)>;

    /// Whose links have the programs at their own hooks, looked at anew; none where links have no such hooks, or no program runs.
    fn at_own_hooks(&mut self) -> Option<AtHooks>;

    /// How many links that are, without a look.
    fn count_at_hooks(&mut self) -> Option<u64>;

    /// What the eBPF programs counted under a number; none where they do not run.
    fn counters(&mut self, slot: u32) -> Option<Counters>;

    /// What the programs counted of a number's packets besides those that simply went on.
    fn reasons(&mut self, slot: u32) -> Vec<ReasonView>;

    /// The highest number that an earlier daemon's policies have in the maps; none where no program runs, so that policies cannot be enforced.
    fn policy_numbers(&mut self) -> Option<u32>;

    /// Makes the maps of policy hold these entries and no others, and lets established connections be judged again. For a daemon that has just started.
    fn hold_policy(&mut self, entries: &[Write]) -> Result<(), KernelError>;

    /// Tells the programs what they cannot see for themselves: the host's addresses, all published ports (where they are given), and whether the short way is taken.
    fn inform(&mut self, hosts: &BTreeSet<IpAddr>, published: Option<&BTreeSet<Publish>>, fast_path: bool) -> Result<(), KernelError>;

    /// What a rule of this number decided.
    fn hits(&mut self, rule: u32) -> Traffic;

    /// How full tables are, and what the programs gave up.
    fn tables(&mut self, book: Fill) -> Tables;

    /// What the kernel gives, what stands in for what it does not, and what of it is in our way, for `netctl status`.
    fn health(&mut self) -> Health;
}

/// The kernel could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {what} from the kernel")]
pub struct ObserveError {
    /// What was to be read.
    pub what: String,
    /// Why it could not be.
    #[source]
    pub cause: KernelError,
}

/// A step could not be done.
#[derive(Debug, thiserror::Error)]
#[error("could not apply `{op}`")]
pub struct ApplyError {
    /// The step.
    pub op: Box<Op>,
    /// Why.
    #[source]
    pub cause: KernelError,
}

/// Why the kernel refused, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// A system call or netlink request failed: extack's text, if there was one, and the errno's.
    #[error("{}{}", .said.as_ref().map(|said| format!("{said}: ")).unwrap_or_default(), std::io::Error::from_raw_os_error(*.errno))]
    Errno {
        /// The error number (errno(3)).
        errno: i32,
        /// What the kernel said besides (NLMSGERR_ATTR_MSG).
        said: Option<String>,
    },
    /// A host port is held by somebody else.
    #[error("port is in use by {holder}")]
    PortTaken {
        /// The process, socket or container that holds it.
        holder: String,
    },
    /// `nft` refused the ruleset; its own words.
    #[error("nft: {0}")]
    Nft(String),
    /// The namespace is not what it should be.
    #[error("{0}")]
    Namespace(String),
    /// The eBPF part; the verifier's last lines ride along.
    #[error("{0}")]
    Bpf(String),
}

impl KernelError {
    /// The kernel has something of that name or place already (EEXIST).
    pub fn is_exists(&self) -> bool {
        matches!(self, Self::Errno { errno: libc::EEXIST, .. })
    }
    /// There is no such interface (ENODEV).
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Errno { errno: libc::ENODEV, .. })
    }
    /// There is no room for one more (EXFULL: a bridge's ports).
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Errno { errno: libc::EXFULL, .. })
    }
}

/// What somebody changed, as far as notifications tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct News {
    /// In words, the first of it.
    pub words: String,
    /// The host ends of attachments that it is about; none where it is about anything else too.
    pub only: BTreeSet<IfName>,
}

/// Who has a socket on a host port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holder {
    /// In words: `nginx (pid 812)`.
    pub words: String,
    /// The processes that have it open; several where it was handed on, none where they cannot be found.
    pub processes: Vec<Process>,
}

/// A process that has a socket open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Process {
    /// Its arguments, with spaces between them.
    pub command_line: String,
    /// Whether it started the process that asked, itself or by one in between: a plugin's runtime.
    pub started_caller: bool,
}

/// Who is at its own hooks, and who cannot be; by the numbers of attachments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AtHooks {
    /// Those whose links have the programs at their own hooks.
    pub at: BTreeSet<u32>,
    /// Those whose links stay on the shared blocks: a filter there leads their packets on, or is somebody else's and is to see them.
    pub barred: BTreeSet<u32>,
}

/// How full tables are, and what the programs gave up, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables {
    /// Name, entries used, entries that fit.
    pub fill: Vec<(&'static str, u64, u64)>,
    /// What happened, and how often; and the packets that were counted by their reason alone.
    pub events: Vec<(&'static str, u64)>,
}

/// How the kernel serves us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// uname(2)'s release.
    pub release: String,
    /// What is used and what is not.
    pub features: Vec<Feature>,
    /// What keeps something of ours from working.
    pub troubles: Vec<Trouble>,
}

#[cfg(test)]
pub(crate) mod fake;
