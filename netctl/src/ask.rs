//! From what was typed to what shall be done: pure. Never talks to the daemon, and reads neither files nor environment.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt::Display,
    path::{Path, PathBuf},
};

use netd_api::{
    message::Request,
    names::{ContainerName, LabelKey, LabelValue},
    spec::{AttachSpec, ContainerChange, ContainerSpec, Labels, NetworkSpec, Source},
};

use crate::args::{
    Cleanup, Command,
    cni::CniCommand,
    container::{Attach, ContainerCommand, Create, Set, Wish},
    flows::Flows,
    network::{self, NetworkCommand},
    policy::{Apply, PolicyCommand},
    value::{self, Label, LabelEdit},
};

/// What netctl does in one run.
#[derive(Debug, PartialEq)]
pub(crate) enum Task {
    /// Asks the daemon, one request after the other, and shows what comes back.
    Ask(Vec<Request>, Show),
    /// Reads policy files and has them applied.
    Apply(Apply),
    /// Prints recorded flows, and maybe goes on.
    Flows(Flows),
    /// Asks for a cleanup, after a yes.
    Cleanup(Consent),
    /// Becomes a command in a container's network.
    Exec(ContainerName, Vec<OsString>),
    /// Installs the CNI plugin, or removes it.
    Cni(CniCommand),
    /// Prints a shell's completion.
    Completion(clap_complete::Shell),
    /// Writes manual pages.
    Man(PathBuf),
}

/// Whether the user has said yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    Given,
    ToBeAsked,
}

/// How much of an answer people see. With JSON it is always all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// A table, one row for each.
    Table,
    /// All there is to say.
    Detail,
    /// One line for each: its name, or the way of a published port.
    Brief,
    /// Nothing but troubles.
    Quiet,
}

/// Values that are good each by itself, but not together. A usage error.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Contradiction(String);

/// What a command line means.
pub(crate) fn task(command: Command) -> Result<Task, Contradiction> {
    Ok(match command {
        Command::Status => Task::Ask(vec![Request::Status], Show::Detail),
        Command::Network(command) => network_task(command)?,
        Command::Container(command) => container_task(command)?,
        Command::Publish(args) => Task::Ask(vec![Request::Publish(args.container, args.spec)], Show::Brief),
        Command::Unpublish(args) => Task::Ask(vec![Request::Unpublish(args.container, args.spec)], Show::Brief),
        Command::Ports(args) => Task::Ask(vec![Request::Ports(args.container)], Show::Table),
        Command::Policy(command) => policy_task(command)?,
        Command::Flows(args) => Task::Flows(args),
        Command::Plan => Task::Ask(vec![Request::Plan], Show::Detail),
        Command::Cleanup(Cleanup { yes: true }) => Task::Cleanup(Consent::Given),
        Command::Cleanup(Cleanup { yes: false }) => Task::Cleanup(Consent::ToBeAsked),
        Command::Cni(command) => Task::Cni(command),
        Command::Completion(args) => Task::Completion(args.shell),
        Command::Man(args) => Task::Man(args.dir),
    })
}

fn network_task(command: NetworkCommand) -> Result<Task, Contradiction> {
    let (request, show) = match command {
        NetworkCommand::Create(args) => (Request::CreateNetwork(network_spec(*args)?), Show::Brief),
        NetworkCommand::Ls(args) => (Request::Networks, list(args.quiet)),
        NetworkCommand::Inspect(args) => (Request::Network(args.name), Show::Detail),
        NetworkCommand::Rm(args) => return Ok(Task::Ask(args.names.into_iter().map(Request::RemoveNetwork).collect(), Show::Brief)),
        NetworkCommand::Prune => (Request::PruneNetworks, Show::Brief),
        NetworkCommand::Connect(args) => {
            value::one_of_each_family(&args.addresses).map_err(Contradiction)?;
            let spec = AttachSpec { network: args.network, addresses: args.addresses, mac: args.mac, ifname: args.ifname };
            (Request::Connect(args.container, spec), Show::Quiet)
        }
        NetworkCommand::Disconnect(args) => (Request::Disconnect(args.container, args.network, args.ifname), Show::Quiet),
    };
    Ok(Task::Ask(vec![request], show))
}

fn container_task(command: ContainerCommand) -> Result<Task, Contradiction> {
    let (request, show) = match command {
        ContainerCommand::Create(Create { name, wish }) => {
            (Request::CreateContainer(container_spec(ContainerSpec::named(name), wish)?), Show::Brief)
        }
        ContainerCommand::Attach(args) => (Request::CreateContainer(attach(args)?), Show::Brief),
        ContainerCommand::Set(Set { container, change }) => {
            let change = ContainerChange {
                labels: label_edits(change.labels)?,
                namespace: change.namespace,
                ports: each_once("port name", change.port_names.into_iter().map(|edit| (edit.name, edit.port)))?,
            };
            (Request::ChangeContainer(container, change), Show::Quiet)
        }
        ContainerCommand::Ls(args) => (Request::Containers, list(args.quiet)),
        ContainerCommand::Inspect(args) => (Request::Container(args.container), Show::Detail),
        ContainerCommand::Rm(args) => {
            return Ok(Task::Ask(args.containers.into_iter().map(Request::RemoveContainer).collect(), Show::Brief));
        }
        ContainerCommand::Exec(args) => return Ok(Task::Exec(args.container, args.command)),
    };
    Ok(Task::Ask(vec![request], show))
}

fn policy_task(command: PolicyCommand) -> Result<Task, Contradiction> {
    let (request, show) = match command {
        PolicyCommand::Apply(args) => {
            if args.files.iter().filter(|file| file.as_path() == Path::new("-")).count() > 1 {
                return Err(Contradiction("standard input is given twice; give -f - once".to_owned()));
            }
            return Ok(Task::Apply(args));
        }
        PolicyCommand::Ls(args) => (Request::Policies, list(args.quiet)),
        PolicyCommand::Get(args) => (Request::Policy(args.name), Show::Detail),
        PolicyCommand::Rm(args) => return Ok(Task::Ask(args.names.into_iter().map(Request::RemovePolicy).collect(), Show::Brief)),
        PolicyCommand::Advise(args) => (Request::Advise(args.container), Show::Detail),
    };
    Ok(Task::Ask(vec![request], show))
}

fn list(quiet: bool) -> Show {
    if quiet { Show::Brief } else { Show::Table }
}

fn network_spec(args: network::Create) -> Result<NetworkSpec, Contradiction> {
    Ok(NetworkSpec {
        name: args.name,
        driver: args.driver,
        subnets: args.subnets,
        ipv6: args.ipv6,
        gateways: args.gateways,
        ip_ranges: args.ip_ranges,
        excludes: args.excludes,
        mtu: args.mtu,
        internal: args.internal,
        routed: args.routed.map(value::Routed::families).unwrap_or_default(),
        masquerade: !args.no_masquerade,
        icc: !args.no_icc,
        bridge: args.bridge,
        labels: labels(args.labels)?,
    })
}

fn attach(args: Attach) -> Result<ContainerSpec, Contradiction> {
    let mut spec = ContainerSpec::named(args.name);
    spec.netns = match (args.source.netns, args.source.pid) {
        (Some(path), _) => Source::Path(path),
        (None, Some(pid)) => Source::Pid(pid),
        (None, None) => return Err(Contradiction("an adopted container needs --netns PATH or --pid PID".to_owned())),
    };
    container_spec(spec, args.wish)
}

fn container_spec(mut spec: ContainerSpec, wish: Wish) -> Result<ContainerSpec, Contradiction> {
    spec.networks = wish.networks;
    spec.publish = wish.publish;
    spec.labels = labels(wish.labels)?;
    spec.namespace = wish.namespace;
    spec.allow_addresses = wish.allow_addresses;
    spec.guard = wish.guard;
    Ok(spec)
}

fn labels(given: Vec<Label>) -> Result<Labels, Contradiction> {
    each_once("label", given.into_iter().map(|label| (label.key, label.value)))
}

fn label_edits(given: Vec<LabelEdit>) -> Result<BTreeMap<LabelKey, Option<LabelValue>>, Contradiction> {
    let edits = given.into_iter().map(|edit| match edit {
        LabelEdit::Set(label) => (label.key, Some(label.value)),
        LabelEdit::Drop(key) => (key, None),
    });
    each_once("label", edits)
}

fn each_once<K: Ord + Display, V>(kind: &str, given: impl Iterator<Item = (K, V)>) -> Result<BTreeMap<K, V>, Contradiction> {
    let mut map = BTreeMap::new();
    for (key, value) in given {
        if map.contains_key(&key) {
            return Err(Contradiction(format!("{kind} {key} is given twice; give it once")));
        }
        map.insert(key, value);
    }
    Ok(map)
}

#[cfg(test)]
mod tests;
