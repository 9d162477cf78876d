//! The words behind `netctl cni`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint, builder::PossibleValuesParser};
use netd_api::names::NetworkName;

/// `netctl cni …`.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum CniCommand {
    /// Install the CNI plugin and a configuration that names it; the daemon need not run
    Install(Install),
    /// Remove both again; nothing that is not netd's
    Uninstall(Uninstall),
}

/// Where runtimes look.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Places {
    /// Where container runtimes look for plugins
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin", value_hint = ValueHint::DirPath)]
    pub(crate) bin_dir: PathBuf,
    /// Where they look for configurations
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d", value_hint = ValueHint::DirPath)]
    pub(crate) conf_dir: PathBuf,
}

/// `netctl cni install`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Install {
    #[command(flatten)]
    pub(crate) places: Places,
    /// The network of netd that containers are attached to; `default` is made on first use
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) network: NetworkName,
    /// Only this version of the specification; by default 1.0.0, and 1.1.0 for runtimes that know it
    #[arg(long, value_name = "VERSION", value_parser = PossibleValuesParser::new(["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]))]
    pub(crate) cni_version: Option<String>,
    /// The plugin's binary; by default netd-cni beside netctl, else the one in PATH
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) plugin: Option<PathBuf>,
    /// Overwrite a configuration of that name even if it is not netd's
    #[arg(long)]
    pub(crate) force: bool,
}

/// `netctl cni uninstall`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Uninstall {
    #[command(flatten)]
    pub(crate) places: Places,
}
