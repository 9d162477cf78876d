//! `netctl container …`, as it is typed. Never decides what a word leads to.

use std::ffi::OsString;

use clap::{Args, Subcommand, ValueHint, builder::RangedU64ValueParser};
use ipnet::IpNet;
use netd_api::{
    names::{ContainerId, ContainerName, Namespace},
    publish::PublishSpec,
    spec::{AttachSpec, Guard},
};

use super::{
    port_name::PortNameEdit,
    value::{self, Label, LabelEdit},
};

/// The second word.
#[derive(Debug, Subcommand)]
pub(crate) enum ContainerCommand {
    /// Make a network namespace /run/netns/NAME, now and at each boot, and attach it to networks
    Create(Create),
    /// Attach a network namespace that another runtime made
    Attach(Attach),
    /// Change labels, namespace and names of ports of a container, while it runs
    Set(Set),
    /// List the containers
    #[command(visible_alias = "list")]
    Ls(List),
    /// Show one container: interfaces, addresses, policies, counters, published ports
    Inspect(Inspect),
    /// Remove containers, with what they have published
    #[command(visible_alias = "remove")]
    Rm(Remove),
    /// Run a command in a container's network, with the container's own /etc files; needs root
    ///
    /// As with `ip netns exec`, files below /etc/netns/CONTAINER stand in for those of the same names in /etc, and /sys shows the
    /// container's interfaces. The command's exit status is that of netctl; 126 where it cannot be run, 127 where it is not found.
    Exec(Exec),
}

/// `netctl container create`.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The new container's name
    #[arg(value_name = "NAME")]
    pub(crate) name: ContainerId,
    #[command(flatten)]
    pub(crate) wish: Wish,
}

/// `netctl container attach`.
#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// The name it shall have here
    #[arg(value_name = "NAME")]
    pub(crate) name: ContainerId,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) wish: Wish,
}

/// Where an adopted namespace is found: one of both.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SourceArgs {
    /// The namespace's file, from the root: /run/netns/NAME or /proc/PID/ns/net
    #[arg(long, value_name = "PATH", value_parser = value::netns, value_hint = ValueHint::FilePath)]
    pub(crate) netns: Option<String>,
    /// A process that lives in the namespace
    #[arg(long, value_name = "PID", value_parser = RangedU64ValueParser::<u32>::new().range(1..=i32::MAX as u64))]
    pub(crate) pid: Option<u32>,
}

/// What a new container shall have, made or adopted.
#[derive(Debug, Args)]
pub(crate) struct Wish {
    /// A network, and how it is joined; may be repeated, the first is the way out
    ///
    /// Without any: the network `default`, made on first use. ip= may be given once for each family; what is not given is chosen.
    #[arg(long = "network", value_name = "NETWORK[,ip=IP][,mac=MAC][,ifname=IF]", value_parser = value::attach)]
    pub(crate) networks: Vec<AttachSpec>,
    /// A port to publish; may be repeated: [HOSTIP:]HOST[-END]:PORT[-END][/tcp|udp|sctp]
    #[arg(short, long, value_name = "SPEC")]
    pub(crate) publish: Vec<PublishSpec>,
    /// A label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<Label>,
    /// The namespace that the container counts to
    #[arg(long, value_name = "NAMESPACE", default_value = "default")]
    pub(crate) namespace: Namespace,
    /// An address or range that it may send from besides its own: a virtual IP, virtual machines, a routed prefix; may be repeated
    #[arg(long = "allow-address", value_name = "CIDR", value_parser = value::exclude)]
    pub(crate) allow_addresses: Vec<IpNet>,
    /// Whether what it sends is checked against what it is: its hardware and IP addresses, ARP and neighbour discovery; and whether it may
    /// send router advertisements, answer DHCP or route by the source
    #[arg(long, value_name = "on|off", default_value = "on", value_parser = value::guard())]
    pub(crate) guard: Guard,
}

/// `netctl container set`.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The container's name or id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: ContainerName,
    #[command(flatten)]
    pub(crate) change: Change,
}

/// What is changed: at least one thing.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Change {
    /// A label to set, or with a dash after its key to take away; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE|KEY-")]
    pub(crate) labels: Vec<LabelEdit>,
    /// The namespace that the container shall count to
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<Namespace>,
    /// A port's name for policies to set, or with a dash after the name to take away; may be repeated. Without PROTO: tcp
    #[arg(long = "port-name", value_name = "NAME=PORT[/PROTO]|NAME-")]
    pub(crate) port_names: Vec<PortNameEdit>,
}

/// `netctl container ls`, `netctl network ls`, `netctl policy ls`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Names only
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// `netctl container inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The container's name or id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: ContainerName,
}

/// `netctl container rm`.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The containers' names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub(crate) containers: Vec<ContainerName>,
}

/// `netctl container exec`.
#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// The container's name or id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: ContainerName,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true, value_hint = ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<OsString>,
}
