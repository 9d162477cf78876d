//! `netctl flows`, as it is typed. Never asks what time it is.

use std::{str::FromStr, time::Duration};

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use netd_api::{
    names::{ContainerName, NameError},
    policy::FlowVerdict,
};

use crate::moment;

/// `netctl flows`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Flows {
    /// Go on and print what happens from now on, until it is interrupted
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only flows of this container
    #[arg(long, value_name = "CONTAINER")]
    pub(crate) container: Option<ContainerName>,
    /// Only flows with this verdict
    #[arg(long, value_name = "VERDICT", value_parser = verdict())]
    pub(crate) verdict: Option<FlowVerdict>,
    /// Only flows that ended, were denied or are still there since then: 30s, 10m, 2h or 3d ago, or 2026-11-27T09:12:01Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Since>,
}

/// The verdicts there are, by name.
fn verdict() -> impl TypedValueParser<Value = FlowVerdict> {
    PossibleValuesParser::new(FlowVerdict::ALL.map(FlowVerdict::name)).try_map(|name| name.parse::<FlowVerdict>())
}

/// Since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// So long before now.
    Ago(Duration),
    /// Then: seconds since 1970.
    At(u64),
}

impl FromStr for Since {
    type Err = NameError;
    fn from_str(given: &str) -> Result<Self, NameError> {
        ago(given).map(Self::Ago).or_else(|| moment::rfc3339(given).map(Self::At)).ok_or_else(|| NameError {
            kind: "time",
            given: given.chars().take(80).collect(),
            why: "is none; write it as 30s, 10m, 2h, 3d or 2026-11-27T09:12:01Z".to_owned(),
        })
    }
}

/// A whole number with its unit.
fn ago(given: &str) -> Option<Duration> {
    let number = given.strip_suffix(['s', 'm', 'h', 'd'])?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let unit = match given.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3600,
        _ => 86_400,
    };
    Some(Duration::from_secs(number.parse::<u64>().ok()?.checked_mul(unit)?))
}

#[cfg(test)]
mod tests {
    //! The forms of a time.

    use super::*;

    #[test]
    fn a_time_is_so_long_ago_or_a_date() {
        for (given, seconds) in [("0s", 0), ("30s", 30), ("10m", 600), ("2h", 7200), ("3d", 259_200), ("007s", 7)] {
            assert_eq!(given.parse(), Ok(Since::Ago(Duration::from_secs(seconds))), "{given}");
        }
        assert_eq!("2026-11-27T10:12:01+01:00".parse(), Ok(Since::At(1_795_770_721)));
    }

    #[test]
    fn what_is_no_time_is_refused_with_examples() {
        for given in ["", "10", "m", "-1m", "+1m", "1.5h", "1h30m", "10 m", "1w", "yesterday", "2026-11-27", "99999999999999999999s"] {
            let why = given.parse::<Since>().expect_err(given).to_string();
            assert_eq!(why, format!("time {given:?} is none; write it as 30s, 10m, 2h, 3d or 2026-11-27T09:12:01Z"));
        }
        assert!("300000000000000d".parse::<Since>().is_err(), "more seconds than there are");
    }
}
