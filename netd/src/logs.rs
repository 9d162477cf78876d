//! Structured logs on stderr: how a line looks, and how many there are. Never decides what is worth a line.

use std::io::stderr;

use tracing_subscriber::{Layer as _, Registry, filter::Targets, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _};

use crate::config::{Format, Level};

/// The running logs; their level can be changed.
pub struct Logs {
    filter: reload::Handle<Targets, Registry>,
}

impl Logs {
    /// Starts them, once in a process.
    pub fn start(level: Level, format: Format) -> Self {
        let (filter, handle) = reload::Layer::new(filter(level));
        // journald and other supervisors put the time before each line themselves, and say so (systemd.exec(5)).
        let timed = std::env::var_os("JOURNAL_STREAM").is_none();
        let plain = tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(false).with_target(false);
        let lines = match (format, timed) {
            (Format::Text, true) => plain.compact().boxed(),
            (Format::Text, false) => plain.compact().without_time().boxed(),
            (Format::Json, true) => plain.json().flatten_event(true).boxed(),
            (Format::Json, false) => plain.json().flatten_event(true).without_time().boxed(),
        };
        tracing_subscriber::registry().with(lines.with_filter(filter)).init();
        Self { filter: handle }
    }

    /// From now on so much.
    pub fn set(&self, level: Level) {
        // It fails only when the subscriber is gone, and with it all logs.
        let _gone = self.filter.reload(filter(level));
    }
}

/// What is ours as asked; of libraries only what is wrong, and all they have to say at the last level.
fn filter(level: Level) -> Targets {
    use tracing::Level as Tracing;
    let ours = match level {
        Level::Error => Tracing::ERROR,
        Level::Warn => Tracing::WARN,
        Level::Info => Tracing::INFO,
        Level::Debug => Tracing::DEBUG,
        Level::Trace => Tracing::TRACE,
    };
    let theirs = if level == Level::Trace { Tracing::TRACE } else { Tracing::ERROR };
    Targets::new().with_default(theirs).with_target("netd", ours)
}
