//! netctl: parse, ask, print; the exit status. Never decides anything about networks; the daemon does.
#![forbid(unsafe_code)]

mod args;
mod ask;
mod cni;
mod exec;
mod failure;
mod flows;
mod moment;
mod netns;
mod policy;
mod show;

use std::{
    env, fs,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{CommandFactory as _, Parser as _};
use netd_api::{
    client::{Client, ClientError},
    message::{Reply, Request},
    names::ContainerName,
};

use args::{Cli, Output};
use ask::{Consent, Show, Task};
use failure::{FAILED, Failure, USAGE, tell};
use show::Paint;

fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let task = match ask::task(command) {
        Ok(task) => task,
        Err(error) => return Failure::of(&error, USAGE, "see --help").told(),
    };
    let client = Client::at(&global.socket);
    let done = match task {
        Task::Ask(requests, show) => ask(&client, requests, show, global.output),
        Task::Apply(wish) => apply(&client, &wish, global.output),
        Task::Flows(wish) => follow(&client, &wish, global.output),
        Task::Cleanup(consent) => cleanup(&client, consent, global.output),
        Task::Exec(container, command) => enter(&client, container, &command),
        Task::Cni(command) => cni(&command, global.output),
        Task::Completion(shell) => completion(shell),
        Task::Man(dir) => manual(&dir),
    };
    match done {
        Ok(status) => status,
        Err(failure) => failure.told(),
    }
}

/// Asks one after the other. A refusal is told and the rest is asked all the same; a daemon that is gone ends it.
fn ask(client: &Client, requests: Vec<Request>, show: Show, output: Output) -> Result<ExitCode, Failure> {
    let mut status = ExitCode::SUCCESS;
    let mut answers = Vec::new();
    for request in requests {
        match client.send(&request) {
            Ok(reply) => answers.push((request, reply)),
            Err(error @ ClientError::Fault(_)) => status = Failure::from(error).told(),
            Err(error) => {
                print(&answers, show, output)?;
                return Err(error.into());
            }
        }
    }
    print(&answers, show, output)?;
    Ok(status)
}

fn apply(client: &Client, wish: &args::policy::Apply, output: Output) -> Result<ExitCode, Failure> {
    let files = policy::read(wish, io::stdin().lock())?;
    ask(client, vec![Request::ApplyPolicies(Box::new(files))], Show::Detail, output)
}

/// Recorded flows, once or until it is interrupted.
fn follow(client: &Client, wish: &args::flows::Flows, output: Output) -> Result<ExitCode, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let ways = flows::Ways {
        ask: &mut |query| match client.send(&Request::Flows(query))? {
            Reply::Flows(view) => Ok(*view),
            _ => Err(Failure { status: FAILED, what: "netd's answer is not about flows".to_owned(), hint: String::new() }),
        },
        out: io::stdout().lock(),
        tell: &mut |note| tell(&format!("note: {}", show::printable(note))),
        pause: &mut || thread::sleep(flows::PAUSE),
    };
    flows::run(wish, output, now, ways)?;
    Ok(ExitCode::SUCCESS)
}

fn cleanup(client: &Client, consent: Consent, output: Output) -> Result<ExitCode, Failure> {
    if consent == Consent::ToBeAsked && !confirmed()? {
        return Err(Failure { status: FAILED, what: "nothing was removed".to_owned(), hint: String::new() });
    }
    let reply = client.send(&Request::Cleanup)?;
    let mut status = ExitCode::SUCCESS;
    if let Reply::Cleanup(cleanup) = &reply {
        for what in &cleanup.failed {
            status = Failure { status: FAILED, what: what.clone(), hint: String::new() }.told();
        }
    }
    print(&[(Request::Cleanup, reply)], Show::Detail, output)?;
    Ok(status)
}

/// Whether the person at the terminal says yes.
fn confirmed() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure {
            status: USAGE,
            what: "cleanup removes every network, container and published port, and no terminal is there to confirm it".to_owned(),
            hint: "netctl cleanup --yes".to_owned(),
        });
    }
    let _ = write!(io::stderr(), "Remove every network, container and published port of netd? [y/N] ");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::of(&error, FAILED, ""))?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}

fn enter(client: &Client, container: ContainerName, command: &[std::ffi::OsString]) -> Result<ExitCode, Failure> {
    exec::may_enter(&container)?;
    match client.send(&Request::Container(container))? {
        Reply::Container(view) => match exec::exec(&view, command)? {},
        _ => Err(Failure { status: FAILED, what: "netd's answer is not about a container".to_owned(), hint: String::new() }),
    }
}

/// The paths that were written or removed.
fn cni(command: &args::cni::CniCommand, output: Output) -> Result<ExitCode, Failure> {
    let done = cni::run(command)?;
    match output {
        Output::Json => {
            let text = serde_json::to_string_pretty(&done.json).map_err(|error| Failure::of(&error, FAILED, ""))?;
            write((text + "\n").as_bytes())?;
        }
        Output::Table => write(done.text.as_bytes())?,
    }
    for note in done.notes {
        tell(&format!("note: {}", show::printable(&note)));
    }
    Ok(ExitCode::SUCCESS)
}

fn completion(shell: clap_complete::Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "netctl", &mut script);
    write(&script)?;
    Ok(ExitCode::SUCCESS)
}

fn manual(dir: &Path) -> Result<ExitCode, Failure> {
    fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir)).map_err(|error| Failure {
        status: FAILED,
        what: format!("could not write manual pages to {}: {error}", dir.display()),
        hint: String::new(),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Answers go to stdout; what the daemon notes beside them goes to stderr.
fn print(answers: &[(Request, Reply)], show: Show, output: Output) -> Result<(), Failure> {
    if answers.is_empty() {
        return Ok(());
    }
    match output {
        Output::Json => write(show::json(answers).map_err(|error| Failure::of(&error, FAILED, ""))?.as_bytes())?,
        Output::Table => {
            let paint = paint();
            let text: String = answers.iter().map(|(request, reply)| show::text(request, reply, show, paint)).collect();
            write(text.as_bytes())?;
        }
    }
    if show == Show::Brief {
        for note in
            answers.iter().filter(|(request, _)| !matches!(request, Request::Unpublish(..))).flat_map(|(_, reply)| show::notes(reply))
        {
            tell(&format!("note: {}", show::printable(&note)));
        }
    }
    Ok(())
}

/// Colours on a terminal, unless the user wants none (no-color.org) or it can show none.
fn paint() -> Paint {
    let refused =
        env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || env::var_os("TERM").is_some_and(|value| value == "dumb");
    if io::stdout().is_terminal() && !refused { Paint::Colour } else { Paint::Plain }
}

/// A reader that has seen enough (`| head`) is no failure.
fn write(text: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure { status: FAILED, what: format!("could not write to standard output: {error}"), hint: String::new() })
        }
        _ => Ok(()),
    }
}
