//! Starts the daemon's tasks, names, joins and drains them; says in one line why it cannot start. Never works itself.

use std::{
    env, fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    sync::mpsc::Receiver,
    thread,
    time::Duration,
};

use netd_core::desired::Desired;
use sd_notify::{NotifyState, notify};
use tokio::{
    net::UnixListener,
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::timeout,
};
use tracing::{error, info, warn};

use crate::{
    bpf::Bpf,
    config::{Config, ConfigError, Flags},
    drain::{Drain, Stopper, Tasks, drain},
    kernel::{KernelError, boot::this_boot, linux::LinuxKernel},
    logs::Logs,
    observe::Observer,
    reconciler::{Asker, Event, Queue, Reconciler, SeenFlows, ask},
    server::{self, Limits, socket},
    store::{Store, StoreError},
};

/// Requests that were begun are finished within this, and then the one that the reconciler works on within the rest: 5 s in all.
const DRAIN: Duration = Duration::from_secs(3);
const LAST_STEP: Duration = Duration::from_secs(2);

/// Why the daemon could not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A user other than root.
    #[error("netd needs root: it makes interfaces, routes and firewall rules; start it with systemctl start netd, or with sudo")]
    NotRoot,
    /// There is no nft.
    #[error("netd needs the program nft: it is not in PATH; install the package nftables")]
    NoNft,
    /// Flags or file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The API's socket.
    #[error(transparent)]
    Listen(#[from] socket::ListenError),
    /// The state.
    #[error("{}; {}", chain(.0), .0.hint())]
    Store(StoreError),
    /// netlink, nf_tables or the like.
    #[error("cannot open the kernel's network interfaces: {0}; netd needs nf_tables (modprobe nf_tables) and the capability CAP_NET_ADMIN")]
    Kernel(KernelError),
    /// The runtime, a thread, or a signal.
    #[error("cannot {what}: {cause}")]
    Process {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        cause: io::Error,
    },
    /// The task that owns the state is gone.
    #[error("the reconciler ended by itself; see the log above")]
    Died,
}

fn process(what: &'static str) -> impl Fn(io::Error) -> DaemonError {
    move |cause| DaemonError::Process { what, cause }
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {}", chain(cause)))
}

/// Runs until told to stop.
///
/// # Errors
/// See [`DaemonError`]; then nothing runs.
pub fn run(flags: &Flags) -> Result<(), DaemonError> {
    let config = Config::load(flags)?;
    check_process()?;
    let logs = Logs::start(config.log_level, config.log_format);
    let listener = socket::listen(&config.socket)?;
    let inode = |path| fs::metadata(path).map(|meta| meta.ino()).ok();
    let ours = inode(&config.socket);
    let ended = serve(flags, config.clone(), &logs, listener);
    // A socket without a listener would be replaced by the next daemon; without the file, clients hear at once that nobody is there.
    if ours.is_some() && inode(&config.socket) == ours {
        let _gone = fs::remove_file(&config.socket);
    }
    ended
}

fn serve(flags: &Flags, config: Config, logs: &Logs, listener: std::os::unix::net::UnixListener) -> Result<(), DaemonError> {
    let boot = this_boot().map_err(process("read the boot's id"))?;
    let (store, desired) = Store::open(&config.state_dir, &config.run_dir, &boot).map_err(DaemonError::Store)?;
    let bpf = Bpf::start(&config.pin_dir);
    if let Some(missing) = bpf.unsupported() {
        warn!(%missing, "nothing is counted");
    }
    let (asker, events) = ask::queue();
    let observer = start_observer(&bpf, &config, asker.clone());
    let kernel = LinuxKernel::open(bpf, &config.run_dir).map_err(DaemonError::Kernel)?;
    let drift = asker.clone();
    kernel.watch(move |news| drift.insist(Event::KernelChanged(news))).map_err(DaemonError::Kernel)?;
    let dead = start_reconciler(&config, kernel, (store, desired), observer, events)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(process("start the runtime"))?;
    runtime.block_on(async {
        let listener = UnixListener::from_std(listener).map_err(process("poll the API's socket"))?;
        let (stopper, drain) = drain();
        let mut tasks = Tasks::default();
        tasks.spawn("server", server::serve(listener, asker.clone(), Limits::default(), drain.clone()));
        Running { flags, config, logs, asker, dead, stopper, tasks }.until_stopped(drain).await
    })
}

/// Root, and the programs it needs: what would otherwise fail at the first network.
fn check_process() -> Result<(), DaemonError> {
    // A process's directory in /proc belongs to its effective user.
    if fs::metadata("/proc/self").map_err(process("find out who runs netd"))?.uid() != 0 {
        return Err(DaemonError::NotRoot);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let is_program = |meta: fs::Metadata| meta.is_file() && meta.permissions().mode() & 0o111 != 0;
    if !env::split_paths(&path).any(|dir| fs::metadata(dir.join("nft")).is_ok_and(is_program)) {
        return Err(DaemonError::NoNft);
    }
    Ok(())
}

/// The thread that owns the state. What comes back is told, or dropped, when it ends.
fn start_reconciler(
    config: &Config,
    kernel: LinuxKernel,
    (store, desired): (Store, Desired),
    observer: Option<Observer>,
    events: Receiver<Event>,
) -> Result<oneshot::Receiver<()>, DaemonError> {
    let reconciler = Reconciler::new(kernel, store, desired, config.settings(), Queue::at(config.run_dir.join("cni")))
        .with_numbers(config.run_dir.join("rules.json"))
        .with_flows(observer);
    let (alive, dead) = oneshot::channel();
    let work = move || {
        let _alive: oneshot::Sender<()> = alive;
        reconciler.run(&events, || tell_supervisor(&[NotifyState::Ready]));
    };
    let name = "reconciler".to_owned();
    thread::Builder::new().name(name).spawn(work).map_err(process("start the reconciler's thread"))?;
    Ok(dead)
}

/// The thread that reads flows; none where no program runs, or it cannot be had: everything else works on.
fn start_observer(bpf: &Bpf, config: &Config, asker: Asker) -> Option<Observer> {
    let switch = bpf.switch()?;
    // Never waits for room: the reconciler may be waiting for the thread. What is not taken is counted as lost.
    let tell = move |records, lost| asker.tell(Event::Flows(SeenFlows { records, lost }));
    Observer::start(&config.pin_dir, switch, tell).inspect_err(|why| warn!(why = why.line(), "flows are not recorded")).ok()
}

/// systemd's word for a change of state, where it asked for it (sd_notify(3)).
fn tell_supervisor(state: &[NotifyState<'_>]) {
    if let Err(why) = notify(state) {
        warn!(%why, "could not notify the service manager");
    }
}

/// Everything that runs.
struct Running<'a> {
    flags: &'a Flags,
    config: Config,
    logs: &'a Logs,
    asker: Asker,
    dead: oneshot::Receiver<()>,
    stopper: Stopper,
    tasks: Tasks,
}

impl Running<'_> {
    async fn until_stopped(mut self, drain: Drain) -> Result<(), DaemonError> {
        // The tasks have theirs; this one is told by signals.
        drop(drain);
        let catch = |kind| signal(kind).map_err(process("catch signals"));
        let (mut terminate, mut interrupt) = (catch(SignalKind::terminate())?, catch(SignalKind::interrupt())?);
        let mut hangup: Signal = catch(SignalKind::hangup())?;
        let died = loop {
            tokio::select! {
                _ = terminate.recv() => break false,
                _ = interrupt.recv() => break false,
                _ = hangup.recv() => self.reload(),
                _ = &mut self.dead => break true,
                Some((name, panicked)) = self.tasks.ended() => {
                    error!(name, panicked, "a task ended by itself");
                    break true;
                }
            }
        };
        tell_supervisor(&[NotifyState::Stopping]);
        self.stopper.stop();
        for name in self.tasks.join(DRAIN).await {
            warn!(name, "a task did not end in time");
        }
        if died {
            return Err(DaemonError::Died);
        }
        self.asker.tell(Event::Stop);
        if timeout(LAST_STEP, &mut self.dead).await.is_err() {
            warn!("the reconciler did not end in time; the next start finishes what it does now");
        }
        info!("netd stopped; networks and published ports keep working");
        Ok(())
    }

    /// Takes over what can change while it runs; of the rest it is said that it waits for a restart.
    fn reload(&mut self) {
        let now = NotifyState::monotonic_usec_now().ok();
        tell_supervisor(&std::iter::once(NotifyState::Reloading).chain(now).collect::<Vec<_>>());
        match Config::load(self.flags) {
            Ok(newer) => {
                for key in self.config.needs_restart(&newer) {
                    warn!(key, "changes with the next start only");
                }
                self.logs.set(newer.log_level);
                if !self.asker.tell(Event::Reload(newer.settings())) {
                    warn!("netd is too busy to take the new settings over; reload again");
                }
                self.config.log_level = newer.log_level;
                self.config.pools = newer.pools;
                self.config.check_interval = newer.check_interval;
                self.config.policy_default = newer.policy_default;
                self.config.fast_path = newer.fast_path;
                self.config.own_hooks = newer.own_hooks;
            }
            Err(why) => warn!(%why, "could not reload; the former settings stay"),
        }
        tell_supervisor(&[NotifyState::Ready]);
    }
}
