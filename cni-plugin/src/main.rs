//! netd-cni: reads the environment and stdin, prints one JSON document or nothing. Never decides anything; `run.rs` does.
#![forbid(unsafe_code)]

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use cni_plugin::{env::Variables, run, version};

fn main() -> ExitCode {
    let variables = Variables::from(|name: &str| env::var_os(name));
    if variables.is_no_call() {
        let _ = writeln!(io::stderr(), "{}", about());
        return ExitCode::SUCCESS;
    }
    // A person at a terminal gives no configuration; the verb VERSION can do without.
    let answer = if io::stdin().is_terminal() { run::answer(&variables, io::empty()) } else { run::answer(&variables, io::stdin().lock()) };
    let mut stdout = io::stdout().lock();
    let written = answer.text().map_or(Ok(()), |text| writeln!(stdout, "{text}").and_then(|()| stdout.flush()));
    if written.is_err() {
        answer.was_lost();
        return ExitCode::FAILURE;
    }
    if answer.is_error() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn about() -> String {
    format!(
        "netd-cni {}: the CNI plugin of netd. Container runtimes call it; `netctl cni install` sets it up.\nCNI protocol versions supported: {}",
        env!("CARGO_PKG_VERSION"),
        version::supported().join(", ")
    )
}
