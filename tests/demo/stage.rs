//! The demo's stage: commands are printed with what they printed, claims with whether they hold. Decides nothing about netd.

use std::{
    fs,
    io::Write,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use lab::{Lab, wait::poll, within};

/// A command's end.
pub(crate) struct Said {
    pub(crate) output: String,
    pub(crate) good: bool,
}

impl Said {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.output).unwrap_or_default()
    }
}

/// Where the demo plays.
pub(crate) struct Stage {
    lab: Lab,
    servers: Vec<Child>,
    claims: u32,
    broken: Vec<String>,
    colour: bool,
}

impl Stage {
    pub(crate) fn new(lab: Lab) -> Self {
        let colour = nix::unistd::isatty(std::io::stdout()).unwrap_or(false) && std::env::var_os("NO_COLOR").is_none();
        Self { lab, servers: Vec::new(), claims: 0, broken: Vec::new(), colour }
    }

    /// A headline.
    pub(crate) fn says(&self, text: &str) {
        println!("\n{}", self.paint("1", &format!("── {text}")));
    }

    /// A claim, and whether it holds.
    pub(crate) fn proves(&mut self, what: &str, holds: bool) {
        self.claims += 1;
        let mark = if holds { self.paint("32", "✓") } else { self.paint("31", "✗") };
        println!("  {mark} {what}");
        if !holds {
            self.broken.push(what.to_owned());
        }
    }

    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.lab.host().path(inside)
    }

    /// Runs a command on the host; it must succeed.
    pub(crate) fn host(&mut self, line: &str) -> Said {
        let said = self.tries(line);
        self.must(line, said)
    }

    /// Runs `netctl`; it must succeed.
    pub(crate) fn netctl(&mut self, arguments: &str) -> Said {
        self.host(&format!("netctl {arguments}"))
    }

    /// Runs a command on the outside host; it must succeed.
    pub(crate) fn outside(&mut self, line: &str) -> Said {
        let said = self.tries_outside(line);
        self.must(line, said)
    }

    /// Runs a command on the host that may fail.
    pub(crate) fn tries(&self, line: &str) -> Said {
        let command = self.command(line);
        self.show("host", line, command)
    }

    /// Runs a command on the outside host that may fail.
    pub(crate) fn tries_outside(&self, line: &str) -> Said {
        let command = self.command_outside(line);
        self.show("outside", line, command)
    }

    fn must(&mut self, line: &str, said: Said) -> Said {
        if !said.good {
            self.claims += 1;
            self.broken.push(format!("`{line}` failed"));
        }
        said
    }

    fn command(&self, line: &str) -> Command {
        let mut words = line.split(' ');
        let program = words.next().unwrap_or_default();
        let mut command =
            if matches!(program, "netctl" | "netd") { self.lab.host().ours(program) } else { self.lab.host().command(program) };
        command.args(words);
        command
    }

    fn command_outside(&self, line: &str) -> Command {
        let mut words = line.split(' ');
        let mut command = self.lab.host().command_in(&self.lab.host().outside_net(), words.next().unwrap_or_default());
        command.args(words);
        command
    }

    fn show(&self, whose: &str, line: &str, mut command: Command) -> Said {
        self.prompt(whose, line);
        let output = command.stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|why| panic!("cannot run `{line}`: {why}; `cargo xtask setup` installs what is missing"));
        let (out, errors) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned());
        for text in out.lines().chain(errors.lines()) {
            println!("    {text}");
        }
        Said { output: out, good: output.status.success() }
    }

    fn prompt(&self, whose: &str, line: &str) {
        println!("{} {}", self.paint("36", &format!("{whose} #")), self.paint("1", line));
        let _ = std::io::stdout().flush();
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Starts netd, and waits until it answers.
    pub(crate) fn starts_netd(&self) {
        self.prompt("host", "netd &");
        self.lab.netd().start();
    }

    pub(crate) fn kills_netd(&self) {
        self.prompt("host", &format!("kill -9 {}    # netd", self.lab.netd().pid()));
        self.lab.netd().kill9();
    }

    pub(crate) fn stops_netd(&self) {
        self.prompt("host", "kill -TERM %netd");
        self.lab.netd().stop();
    }

    /// Starts a server in a container, by netctl, and waits until it listens.
    pub(crate) fn serves(&mut self, container: &str, line: &str) {
        let line = format!("netctl container exec {container} -- {line}");
        self.prompt("host", &format!("{line} &"));
        let mut command = self.command(&line);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        self.servers.push(command.spawn().unwrap_or_else(|why| panic!("cannot run `{line}`: {why}")));
        let listening = || {
            let sockets = self.lab.host().run("ip", &["netns", "exec", container, "ss", "--listening", "--tcp", "--no-header"]);
            (!sockets.trim().is_empty()).then_some(())
        };
        within(Duration::from_secs(20), "the server listens", listening);
    }

    pub(crate) fn ends_servers(&mut self) {
        for server in &mut self.servers {
            let _gone = server.kill();
            let _status = server.wait();
        }
    }

    /// The first address of a container.
    pub(crate) fn address(&self, container: &str) -> String {
        let inspect = self.lab.netctl_json(["container", "inspect", container, "-o", "json"]);
        let address = inspect["attachments"][0]["addresses"][0].as_str().unwrap_or_default();
        address.split('/').next().unwrap_or_default().to_owned()
    }

    /// Starts a download on the outside host.
    pub(crate) fn downloads(&self, line: &str) -> Download {
        self.prompt("outside", &format!("{line} &"));
        let mut command = self.command_outside(line);
        let curl = command.stdin(Stdio::null()).spawn().unwrap_or_else(|why| panic!("cannot run `{line}`: {why}"));
        Download { curl, file: self.path("/run/download") }
    }

    /// Says how it went; nothing of netd may be left.
    pub(crate) fn ends(mut self) -> ExitCode {
        self.lab.leaves_nothing();
        self.proves("nothing of netd is left on the host", true);
        if self.broken.is_empty() {
            println!("\nAll {} claims hold.", self.claims);
            return ExitCode::SUCCESS;
        }
        println!("\n{} of {} claims do not hold:", self.broken.len(), self.claims);
        self.broken.iter().for_each(|what| println!("  ✗ {what}"));
        println!("{}", self.lab.explanation());
        ExitCode::FAILURE
    }
}

/// A download that runs.
pub(crate) struct Download {
    curl: Child,
    file: PathBuf,
}

impl Download {
    pub(crate) fn size(&self) -> u64 {
        fs::metadata(&self.file).map_or(0, |file| file.len())
    }
    pub(crate) fn runs(&mut self) -> bool {
        self.curl.try_wait().is_ok_and(|status| status.is_none())
    }
    /// Waits for its end; whether it was a good one.
    pub(crate) fn ends(&mut self, limit: Duration) -> bool {
        let began = Instant::now();
        let status = poll(limit, || self.curl.try_wait().ok().flatten());
        println!("    download ended after another {:.1} s", began.elapsed().as_secs_f64());
        status.is_some_and(|status| status.success())
    }
    pub(crate) fn content(&self) -> Vec<u8> {
        fs::read(&self.file).unwrap_or_default()
    }
}
