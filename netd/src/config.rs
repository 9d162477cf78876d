//! What an operator can set: flags, environment, `/etc/netd/netd.toml`, in this order; everything has a default. Reads one file, writes none.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Parser, ValueEnum};
use ipnet::IpNet;
use netd_core::{ipam::PoolBase, policy::book::wish::ByDefault};
use serde::Deserialize;

use crate::{reconciler::Settings, suggest};

/// Where the file is looked for unless told otherwise; there it may be absent.
pub const FILE: &str = "/etc/netd/netd.toml";
/// How often everything is compared unless told otherwise (a full look costs milliseconds, see `netctl status`).
const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// The short way is taken unless told otherwise: by measurement (`cargo xtask bench datapath`).
const FAST_PATH: bool = true;
/// Busy links get the programs at their own hooks unless told otherwise, by measurement too.
const OWN_HOOKS: bool = true;
/// An hour is enough for those who trust notifications; below one second the checks would be all that netd does.
const CHECK_INTERVALS_S: std::ops::RangeInclusive<u64> = 1..=3600;

/// Container networking and observability for one Linux host.
#[derive(Debug, Default, Clone, Parser)]
#[command(name = "netd", version, about, max_term_width = 100)]
pub struct Flags {
    /// The configuration file [default: /etc/netd/netd.toml, which may be absent]
    #[arg(long, env = "NETD_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to listen [default: /run/netd/netd.sock]
    #[arg(long, env = "NETD_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Where networks and made containers are remembered across reboots [default: /var/lib/netd]
    #[arg(long, env = "NETD_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Where the rest is remembered until the reboot [default: /run/netd]
    #[arg(long, env = "NETD_RUN_DIR", value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Where eBPF maps are pinned; a directory of a bpf file system [default: /sys/fs/bpf/netd]
    #[arg(long, env = "NETD_PIN_DIR", value_name = "DIR")]
    pub pin_dir: Option<PathBuf>,
    /// How much is logged [default: info]
    #[arg(long, env = "NETD_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<Level>,
    /// How a log line looks [default: text]
    #[arg(long, env = "NETD_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<Format>,
    /// Seconds between two full comparisons of kernel and wish [default: 30]
    #[arg(long, env = "NETD_CHECK_INTERVAL_S", value_name = "SECONDS")]
    pub check_interval_s: Option<u64>,
    /// A net from which automatic subnets are taken, and their length: 10.80.0.0/13/24; several with commas
    #[arg(long = "pool", env = "NETD_POOLS", value_name = "NET/LENGTH", value_delimiter = ',', value_parser = pool)]
    pub pools: Vec<PoolBase>,
}

/// How much is logged.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What failed.
    Error,
    /// What is not as it should be.
    Warn,
    /// What has been changed.
    #[default]
    Info,
    /// Each step.
    Debug,
    /// Each message.
    Trace,
}

/// How a log line looks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What the daemon runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the API listens.
    pub socket: PathBuf,
    /// What survives a reboot.
    pub state_dir: PathBuf,
    /// What dies with the boot.
    pub run_dir: PathBuf,
    /// eBPF pins.
    pub pin_dir: PathBuf,
    /// How much is logged.
    pub log_level: Level,
    /// How it looks.
    pub log_format: Format,
    /// Where automatic subnets come from; a family without one has the built-in ones of `netd_core::ipam`.
    pub pools: Vec<PoolBase>,
    /// Between two full comparisons.
    pub check_interval: Duration,
    /// What holds for containers that no policy selects.
    pub policy_default: ByDefault,
    /// Whether packets between containers of one network take the short way.
    pub fast_path: bool,
    /// Whether links that carry much get the programs at their own hooks.
    pub own_hooks: bool,
}

/// A configuration that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct ConfigError {
    /// File and line, or the flag.
    pub place: String,
    /// What is wrong there, and what would be right.
    pub why: String,
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    socket: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    run_dir: Option<PathBuf>,
    pin_dir: Option<PathBuf>,
    log_level: Option<Level>,
    log_format: Option<Format>,
    check_interval_s: Option<toml::Spanned<u64>>,
    #[serde(default)]
    pools: Vec<toml::Spanned<FilePool>>,
    #[serde(default)]
    policy: FilePolicy,
    #[serde(default)]
    datapath: FileDatapath,
}

/// The table `policy`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePolicy {
    default: Option<FileDefault>,
}

/// What holds where no policy selects.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileDefault {
    Allow,
    Deny,
}

/// The table `datapath`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileDatapath {
    fast_path: Option<bool>,
    own_hooks: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePool {
    base: IpNet,
    prefix: u8,
}

impl Config {
    /// Reads the file and puts the flags over it.
    ///
    /// # Errors
    /// What is wrong, with the file and line where it stands.
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        let path = flags.config.as_deref().unwrap_or(Path::new(FILE));
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(why) if why.kind() == std::io::ErrorKind::NotFound && flags.config.is_none() => String::new(),
            Err(why) => {
                return Err(ConfigError { place: path.display().to_string(), why: format!("cannot be read: {why}") });
            }
        };
        Self::of(flags, path, &text)
    }

    /// The same from a text that was read already.
    ///
    /// # Errors
    /// What is wrong, with the line where it stands.
    pub fn of(flags: &Flags, path: &Path, text: &str) -> Result<Self, ConfigError> {
        let source = Source { path, text };
        let file: File = toml::from_str(text).map_err(|why| source.refuses(&why))?;
        if let Some(seconds) = &file.check_interval_s {
            check_interval(*seconds.get_ref()).map_err(|why| source.error(Some(seconds.span().start), &why))?;
        }
        let mut pools = Vec::new();
        for given in file.pools {
            let at = given.span().start;
            let given = given.into_inner();
            pools.push(checked_pool(given.base, given.prefix).map_err(|why| source.error(Some(at), &why))?);
        }
        if !flags.pools.is_empty() {
            pools.clone_from(&flags.pools);
        }
        overlap(&pools).map_err(|why| source.error(None, &why))?;
        let seconds = match flags.check_interval_s {
            Some(seconds) => Some(check_interval(seconds).map_err(|why| ConfigError { place: "--check-interval-s".to_owned(), why })?),
            None => file.check_interval_s.map(toml::Spanned::into_inner),
        };
        let path = |flag: &Option<PathBuf>, file: Option<PathBuf>, name: &str, default: &str| {
            let path = flag.clone().or(file).unwrap_or_else(|| PathBuf::from(default));
            if path.is_absolute() {
                return Ok(path);
            }
            let why = format!("{} is not absolute; begin it with /", path.display());
            let place = name.to_owned();
            Err(ConfigError { place, why })
        };
        Ok(Self {
            socket: path(&flags.socket, file.socket, "socket", netd_api::DEFAULT_SOCKET)?,
            state_dir: path(&flags.state_dir, file.state_dir, "state_dir", "/var/lib/netd")?,
            run_dir: path(&flags.run_dir, file.run_dir, "run_dir", "/run/netd")?,
            pin_dir: path(&flags.pin_dir, file.pin_dir, "pin_dir", "/sys/fs/bpf/netd")?,
            log_level: flags.log_level.or(file.log_level).unwrap_or_default(),
            log_format: flags.log_format.or(file.log_format).unwrap_or_default(),
            pools,
            check_interval: seconds.map_or(CHECK_INTERVAL, Duration::from_secs),
            policy_default: match file.policy.default {
                Some(FileDefault::Deny) => ByDefault::Deny,
                Some(FileDefault::Allow) | None => ByDefault::Allow,
            },
            fast_path: file.datapath.fast_path.unwrap_or(FAST_PATH),
            own_hooks: file.datapath.own_hooks.unwrap_or(OWN_HOOKS),
        })
    }

    /// What the reconciler needs of it.
    pub fn settings(&self) -> Settings {
        Settings {
            pools: self.pools.clone(),
            check_every: self.check_interval,
            policy_default: self.policy_default,
            fast_path: self.fast_path,
            own_hooks: self.own_hooks,
        }
    }

    /// The keys that differ from a newer reading and can only change with a restart.
    pub fn needs_restart(&self, newer: &Self) -> Vec<&'static str> {
        let differs = [
            ("socket", self.socket != newer.socket),
            ("state_dir", self.state_dir != newer.state_dir),
            ("run_dir", self.run_dir != newer.run_dir),
            ("pin_dir", self.pin_dir != newer.pin_dir),
            ("log_format", self.log_format != newer.log_format),
        ];
        differs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        })
    }
}

/// The file, to say where in it something stands.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn error(&self, at: Option<usize>, why: &str) -> ConfigError {
        let path = self.path.display();
        let place = match at {
            Some(at) => format!("{path}:{}", 1 + self.text[..at.min(self.text.len())].matches('\n').count()),
            None => path.to_string(),
        };
        ConfigError { place, why: why.to_owned() }
    }

    fn refuses(&self, why: &toml::de::Error) -> ConfigError {
        let message = why.message().trim().replace('\n', "; ");
        let suggestion = suggest::for_unknown_field(&message).map(|suggestion| format!("; {suggestion}"));
        self.error(why.span().map(|span| span.start), &(message + &suggestion.unwrap_or_default()))
    }
}

fn check_interval(seconds: u64) -> Result<u64, String> {
    if CHECK_INTERVALS_S.contains(&seconds) {
        return Ok(seconds);
    }
    let (least, most) = (CHECK_INTERVALS_S.start(), CHECK_INTERVALS_S.end());
    Err(format!("a check interval of {seconds} s is out of range; use {least} to {most}"))
}

/// `BASE/LENGTH/LENGTH` as the flag has it.
fn pool(given: &str) -> Result<PoolBase, String> {
    let form = "write it as 10.80.0.0/13/24: a net, and the length of the subnets taken from it";
    let (base, prefix) = given.rsplit_once('/').ok_or(form)?;
    checked_pool(base.parse().map_err(|_| form)?, prefix.parse().map_err(|_| form)?)
}

fn checked_pool(base: IpNet, prefix: u8) -> Result<PoolBase, String> {
    if base.trunc() != base {
        return Err(format!("the pool {base} has host bits set; did you mean {}?", base.trunc()));
    }
    let most = if base.addr().is_ipv4() { 30 } else { 126 };
    if prefix < base.prefix_len() || prefix > most {
        let least = base.prefix_len();
        return Err(format!("subnets of /{prefix} cannot be taken from {base}; use a prefix of {least} to {most}"));
    }
    // The first subnet stands for all: special ranges are told by their first bits.
    let first = IpNet::new(base.addr(), prefix.max(8)).map_err(|why| why.to_string())?;
    if let Err(why) = first.to_string().parse::<netd_api::addr::Subnet>() {
        return Err(format!("the pool {base} {}", why.why));
    }
    Ok(PoolBase { base, prefix })
}

fn overlap(pools: &[PoolBase]) -> Result<(), String> {
    for (index, one) in pools.iter().enumerate() {
        let covers = |other: &&PoolBase| one.base.contains(&other.base) || other.base.contains(&one.base);
        if let Some(other) = pools[index + 1..].iter().find(covers) {
            return Err(format!("the pools {} and {} overlap; take one of them out", one.base, other.base));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
