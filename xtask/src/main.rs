//! The tasks of the workshop, one enum of them. Never part of the product: it depends on no crate of ours.
#![forbid(unsafe_code)]

mod bench;
mod demo;
mod ebpf;
mod guest;
mod setup;
mod shell;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::setup::Need;
use crate::test::Tier;
use crate::workspace::Workspace;

/// Set up, try, test and measure netd.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Find or install the eBPF toolchain and the packages that the tests use
    Setup,
    /// Show netd at work in a private host that is removed afterwards (as root)
    Demo,
    /// Run the tests: all tiers, or one
    Test {
        /// Run only this tier
        #[arg(long)]
        tier: Option<Tier>,
    },
    /// Run a benchmark with release binaries (as root)
    Bench {
        /// Which benchmark
        name: String,
        /// What the benchmark takes
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Check the house rules
    Tidy,
    /// Run a command on another kernel, in an emulated machine with this machine's files (as root)
    Guest {
        /// The kernel's series
        #[arg(long, default_value = guest::SERIES[0], value_parser = clap::builder::PossibleValuesParser::new(guest::SERIES))]
        kernel: String,
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("error: {why:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    let workspace = Workspace::here();
    match task {
        Task::Setup => setup::run(&workspace, &Need::ALL, setup::Words::All)?,
        Task::Demo => return demo::run(&workspace),
        Task::Test { tier } => return test::run(&workspace, tier),
        Task::Bench { name, args } => return bench::run(&workspace, &name, &args),
        Task::Tidy => return tidy::run(&workspace),
        Task::Guest { kernel, command } => return guest::run(&workspace, &kernel, &command),
    }
    Ok(ExitCode::SUCCESS)
}
