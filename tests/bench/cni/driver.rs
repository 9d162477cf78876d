//! A process of the private host that runs CNI plugins as libcni does, and measures what that takes: it is inside already, so that a plugin is spawned
//! without anything else. Never knows what a plugin does; orders and answers are lines of JSON.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio},
    sync::Barrier,
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use lab::Lab;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    sys::resource::{UsageWho, getrusage},
};
use serde_json::{Value, json};

/// Until threads that were started wait for the signal.
const SETTLE: Duration = Duration::from_millis(10);

/// One plugin run: `CNI_…` variables, what it reads, and whether the result of the one before it is put into that.
#[derive(Clone)]
pub(super) struct Step {
    pub(super) program: String,
    pub(super) environment: Vec<(&'static str, String)>,
    pub(super) config: Value,
    pub(super) takes_result: bool,
}

/// What an order took.
pub(super) struct Took {
    /// Milliseconds until the last job was done.
    pub(super) ms: f64,
    /// Milliseconds of CPU, user and system, of all the programs.
    pub(super) cpu_ms: f64,
    /// What the last step of each job printed.
    pub(super) results: Vec<Value>,
}

/// The driver, as seen from the bench.
pub(super) struct Driver {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Driver {
    pub(super) fn in_host(lab: &Lab) -> Self {
        let program = std::env::current_exe().expect("a program knows its file");
        let mut command = lab.host().command(program.to_str().expect("a path in UTF-8"));
        command.arg("cni-driver").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program can be started again");
        let (orders, answers) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Self { child, orders, answers: BufReader::new(answers) }
    }

    /// Makes named namespaces.
    pub(super) fn makes(&mut self, paths: &[String]) {
        self.orders(&json!({ "make": paths }));
    }

    /// Runs jobs at the same time, each of them step after step.
    pub(super) fn runs(&mut self, jobs: &[Vec<Step>]) -> Took {
        let jobs: Vec<Vec<Value>> = jobs.iter().map(|steps| steps.iter().map(Step::to_json).collect()).collect();
        let mut answer = self.orders(&json!({ "jobs": jobs }));
        let number = |key: &str| answer[key].as_f64().expect("a number");
        let (ms, cpu_ms) = (number("ms"), number("cpu_ms"));
        let Value::Array(results) = answer["results"].take() else { panic!("no results: {answer}") };
        Took { ms, cpu_ms, results }
    }

    fn orders(&mut self, order: &Value) -> Value {
        writeln!(self.orders, "{order}").expect("the driver listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the driver answers");
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|why| panic!("the driver said {line:?}: {why}"));
        assert!(answer["error"].is_null(), "{}", answer["error"]);
        answer
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Step {
    fn to_json(&self) -> Value {
        let environment: serde_json::Map<_, _> = self.environment.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        json!({ "program": self.program, "environment": environment, "config": self.config, "takes_result": self.takes_result })
    }
}

/// Works until stdin ends, in the private host.
pub(crate) fn serve() -> ExitCode {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let order: Value = serde_json::from_str(&line).unwrap_or_default();
        let done = match (&order["make"], &order["jobs"]) {
            (Value::Array(paths), _) => make(paths).map(|()| json!({})),
            (_, Value::Array(jobs)) => run(jobs),
            _ => Err(io::Error::other("an order that nobody understands")),
        };
        println!("{}", done.unwrap_or_else(|why| json!({ "error": why.to_string() })));
        let _ = io::stdout().flush();
    }
    ExitCode::SUCCESS
}

fn make(paths: &[Value]) -> io::Result<()> {
    let host = File::open("/proc/self/ns/net")?;
    for path in paths.iter().filter_map(Value::as_str) {
        File::create(path)?;
        unshare(CloneFlags::CLONE_NEWNET)?;
        mount(Some("/proc/self/ns/net"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        setns(&host, CloneFlags::CLONE_NEWNET)?;
    }
    Ok(())
}

fn run(jobs: &[Value]) -> io::Result<Value> {
    let mut ready = jobs.iter().map(Job::prepared).collect::<io::Result<Vec<_>>>()?;
    let before = cpu_ms()?;
    let (ms, results) = if let [only] = ready.as_mut_slice() {
        let began = Instant::now();
        let result = only.run();
        (began.elapsed(), vec![result])
    } else {
        let start = Barrier::new(ready.len() + 1);
        let start = &start;
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for job in &mut ready {
                threads.push(scope.spawn(move || {
                    start.wait();
                    job.run()
                }));
            }
            thread::sleep(SETTLE);
            let began = Instant::now();
            start.wait();
            let join =
                |thread: ScopedJoinHandle<'_, io::Result<Value>>| thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread died")));
            let results = threads.into_iter().map(join).collect();
            (began.elapsed(), results)
        })
    };
    let cpu_ms = cpu_ms()? - before;
    let results = results.into_iter().collect::<io::Result<Vec<Value>>>()?;
    Ok(json!({ "ms": ms.as_secs_f64() * 1e3, "cpu_ms": cpu_ms, "results": results }))
}

/// Of all children that have been waited for.
fn cpu_ms() -> io::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let ms = |time: nix::sys::time::TimeVal| {
        let seconds = f64::from(u32::try_from(time.tv_sec()).unwrap_or(u32::MAX));
        seconds * 1e3 + f64::from(u32::try_from(time.tv_usec()).unwrap_or_default()) / 1e3
    };
    Ok(ms(usage.user_time()) + ms(usage.system_time()))
}

struct Job(Vec<Prepared>);

struct Prepared {
    command: Command,
    config: Value,
    /// The configuration as bytes, where no result has to be put into it.
    bytes: Option<Vec<u8>>,
}

impl Job {
    fn prepared(steps: &Value) -> io::Result<Self> {
        let wrong = || io::Error::other(format!("no job: {steps}"));
        let steps = steps.as_array().ok_or_else(wrong)?;
        steps.iter().map(|step| Prepared::new(step).ok_or_else(wrong)).collect::<io::Result<_>>().map(Self)
    }

    /// What the last step printed.
    fn run(&mut self) -> io::Result<Value> {
        let mut result = Value::Null;
        for step in &mut self.0 {
            let bytes = step.bytes.take().unwrap_or_else(|| {
                step.config["prevResult"] = result.take();
                step.config.to_string().into_bytes()
            });
            result = step.run(&bytes)?;
        }
        Ok(result)
    }
}

impl Prepared {
    fn new(step: &Value) -> Option<Self> {
        let mut command = Command::new(step["program"].as_str()?);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(step["environment"].as_object()?.iter().filter_map(|(key, value)| Some((key, value.as_str()?))));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let config = step["config"].clone();
        let bytes = (step["takes_result"] != true).then(|| config.to_string().into_bytes());
        Some(Self { command, config, bytes })
    }

    /// Starts it, feeds it, reads all it prints and waits for its end.
    fn run(&mut self, input: &[u8]) -> io::Result<Value> {
        let mut child = self.command.spawn()?;
        // A program that does not read has ended by now, which its status tells better.
        let _ = child.stdin.take().expect("piped").write_all(input);
        let mut printed = Vec::new();
        child.stdout.take().expect("piped").read_to_end(&mut printed)?;
        if !child.wait()?.success() {
            let program = self.command.get_program().to_string_lossy().into_owned();
            return Err(io::Error::other(format!("{program}: {}", String::from_utf8_lossy(&printed))));
        }
        if printed.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&printed).map_err(io::Error::from)
    }
}
