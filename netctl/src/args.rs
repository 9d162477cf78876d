//! What can be typed: the doc comments are the help. Never decides what a word leads to; `ask.rs` does.

pub(crate) mod cni;
pub(crate) mod container;
pub(crate) mod flows;
pub(crate) mod network;
pub(crate) mod policy;
pub(crate) mod port_name;
pub(crate) mod value;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use netd_api::{DEFAULT_SOCKET, names::ContainerName, publish::PublishSpec};

use cni::CniCommand;
use container::ContainerCommand;
use flows::Flows;
use network::NetworkCommand;
use policy::PolicyCommand;

/// Container networks of this host: what there is, what it does, and changes to it
///
/// netctl talks to the daemon netd over a Unix socket.
///
/// Exit status: 0 done; 1 refused or failed; 2 wrong usage; 3 the daemon cannot be reached.
///
/// Environment: NETD_SOCKET names the daemon's socket; NO_COLOR, if not empty, forbids colours.
#[derive(Debug, Parser)]
#[command(
    name = "netctl",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The daemon's socket
    #[arg(long, global = true, help_heading = "Global options", display_order = 900, value_name = "PATH", env = "NETD_SOCKET", default_value = DEFAULT_SOCKET, value_hint = ValueHint::FilePath)]
    pub(crate) socket: PathBuf,
    /// What is printed: tables for people, or JSON for programs
    #[arg(
        short,
        long,
        global = true,
        help_heading = "Global options",
        display_order = 901,
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub(crate) output: Output,
}

/// The forms of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Tables and lines
    Table,
    /// The daemon's own JSON; fields are added, never renamed or taken away
    Json,
}

/// The first word.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The daemon's health: what the kernel gives, what there is, what is not as it should be
    Status,
    /// Make, show, change and remove networks
    #[command(subcommand, visible_alias = "net")]
    Network(NetworkCommand),
    /// Make, adopt, show, change, enter and remove containers
    #[command(subcommand)]
    Container(ContainerCommand),
    /// Publish a container's port on this host, and print the way there
    Publish(Publish),
    /// Withdraw a published port of a container, or all of them
    Unpublish(Unpublish),
    /// List published ports
    Ports(Ports),
    /// Apply, show and remove policies: who may talk to whom
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Recorded connections, one a line, with their verdicts
    ///
    /// A line has the time (UTC), what happened, the container, -> where it opened the connection and <- where the other end did, that
    /// other end, the verdict, what the container sent / received, and the policy that decided. With -o json: one object a line.
    Flows(Flows),
    /// What the daemon would do now to make the kernel as it shall be; nothing where all is well
    Plan,
    /// Remove every network, container and published port, and every kernel object that netd made
    Cleanup(Cleanup),
    /// Install netd's CNI plugin for container runtimes, and remove it
    #[command(subcommand)]
    Cni(CniCommand),
    /// Print the completion script for a shell
    Completion(Completion),
    /// Write the manual pages of netctl and its commands into a directory
    Man(Man),
}

/// `netctl publish`.
#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// The container's name or id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: ContainerName,
    /// [HOSTIP:]HOST[-END]:PORT[-END][/tcp|udp|sctp]
    ///
    /// PORT alone, or a HOST of 0 or nothing: a free host port is chosen. An IPv6 address stands in brackets: [fd00::1]:8080:80.
    /// Without an address the port is open on every address of this host, IPv4 and IPv6.
    #[arg(value_name = "SPEC")]
    pub(crate) spec: PublishSpec,
}

/// `netctl unpublish`.
#[derive(Debug, Args)]
pub(crate) struct Unpublish {
    /// The container's name or id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: ContainerName,
    /// The port as it was published; without it all ports of the container
    #[arg(value_name = "SPEC")]
    pub(crate) spec: Option<PublishSpec>,
}

/// `netctl ports`.
#[derive(Debug, Args)]
pub(crate) struct Ports {
    /// Only those of this container
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: Option<ContainerName>,
}

/// `netctl cleanup`.
#[derive(Debug, Args)]
pub(crate) struct Cleanup {
    /// Do not ask; needed where no terminal can answer
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// `netctl completion`.
#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// `netctl man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Where the pages go; made where it is missing
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
}

#[cfg(test)]
mod tests;
