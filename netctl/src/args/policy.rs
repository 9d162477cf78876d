//! `netctl policy …`, as it is typed. Never reads a file.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use netd_api::{names::ContainerName, policy::PolicyName};

use super::container::List;

/// The second word.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Apply policy files: all of them, or none where one has an error
    ///
    /// A file holds documents of YAML or JSON: NetworkPolicy (networking.k8s.io/v1), ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2),
    /// Namespace (v1) for the labels of namespaces, and List. Policies that stand in no file stay as they are.
    Apply(Apply),
    /// List the policies, with what they select and how many packets they decided
    #[command(visible_alias = "list")]
    Ls(List),
    /// Print one policy as YAML
    Get(Get),
    /// Remove policies
    #[command(visible_alias = "remove")]
    Rm(Remove),
    /// Print the policy that the recorded traffic of a container needs, as YAML that can be applied
    Advise(Advise),
}

/// `netctl policy apply`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Apply {
    /// A file, a directory, or - for standard input; may be repeated
    ///
    /// Of a directory: its *.yaml, *.yml and *.json, in the order of their names, without those of directories below it.
    #[arg(short = 'f', long = "file", value_name = "FILE", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) files: Vec<PathBuf>,
    /// Change nothing; tell what would be changed, and which recorded flows would be judged otherwise
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Pass over documents of other kinds; else they are errors
    #[arg(long)]
    pub(crate) skip_other_kinds: bool,
}

/// `netctl policy get`.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The policy's name: NAMESPACE/NAME, or NAME alone for a ClusterNetworkPolicy
    #[arg(value_name = "POLICY")]
    pub(crate) name: PolicyName,
}

/// `netctl policy rm`.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The policies' names: NAMESPACE/NAME, or NAME alone for a ClusterNetworkPolicy
    #[arg(value_name = "POLICY", required = true)]
    pub(crate) names: Vec<PolicyName>,
}

/// `netctl policy advise`.
#[derive(Debug, Args)]
pub(crate) struct Advise {
    /// The container's name or id
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: ContainerName,
}
