//! The program netd: reads its arguments, runs the daemon, says in one line why it could not.

use std::process::ExitCode;

use clap::Parser as _;
use netd::{config::Flags, daemon, kernel::memory};

fn main() -> ExitCode {
    memory::frugal();
    match daemon::run(&Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {:#}", anyhow::Error::from(why));
            ExitCode::FAILURE
        }
    }
}
