//! The three tiers of tests and what they came to. Never skips in silence: a tier that cannot run has failed.

mod count;
mod kernels;
mod lab;
mod pure;
mod step;

use std::fmt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;

use crate::workspace::Workspace;

use count::Count;
pub(crate) use lab::binaries;

/// A tier of tests.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    /// Format, lints, house rules, and all tests that need no root
    Pure,
    /// The stories: real binaries in private hosts on this kernel (as root)
    Lab,
    /// The stories that can differ by kernel, in emulated machines with other kernels (as root)
    Kernels,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tier::Pure => "pure",
            Tier::Lab => "lab",
            Tier::Kernels => "kernels",
        })
    }
}

/// What one tier came to.
struct Outcome {
    tier: Tier,
    count: Count,
    took: Duration,
}

/// Runs one tier, or all in the order of their cost, and says which ran and what they came to.
pub(crate) fn run(workspace: &Workspace, only: Option<Tier>) -> Result<ExitCode> {
    let tiers = only.map_or_else(|| Tier::value_variants().to_vec(), |tier| vec![tier]);
    let outcomes: Vec<_> = tiers.into_iter().map(|tier| run_tier(workspace, tier)).collect();
    println!("\n== summary");
    let mut sum = Count::default();
    for Outcome { tier, count, took } in &outcomes {
        println!("{tier:8} {:6}  {count}  ({:.0} s)", if count.is_good() { "ok" } else { "FAILED" }, took.as_secs_f64());
        sum += *count;
    }
    for tier in Tier::value_variants().iter().filter(|tier| outcomes.iter().all(|outcome| outcome.tier != **tier)) {
        println!("{tier:8} not asked for");
    }
    println!("{sum}");
    Ok(if sum.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_tier(workspace: &Workspace, tier: Tier) -> Outcome {
    println!("\n== tier {tier}");
    let start = Instant::now();
    let result = match tier {
        Tier::Pure => pure::run(workspace),
        Tier::Lab => lab::run(workspace),
        Tier::Kernels => kernels::run(workspace),
    };
    let count = result.unwrap_or_else(|why| {
        println!("tier {tier} could not run: {why:#}");
        Count::FAILURE
    });
    Outcome { tier, count: count.or_nothing_ran(tier), took: start.elapsed() }
}
