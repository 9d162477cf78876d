//! Another plugin, run as the specification says: found in CNI_PATH, with our environment and our stdin, for a bounded time. Never reads what it
//! prints but as JSON.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::error::{BAD_ENVIRONMENT, CniError, DELEGATE_FAILED, TRY_AGAIN_LATER};

/// An answer may have so many bytes; a result has some hundred.
const MOST_BYTES: u64 = 1 << 20;
/// Between two looks at whether it has ended.
const PAUSE: Duration = Duration::from_millis(1);

/// A plugin that is to be run.
#[derive(Debug, Clone)]
pub struct Delegate {
    name: String,
    program: PathBuf,
    patience: Duration,
}

impl Delegate {
    /// Looks for it in CNI_PATH.
    ///
    /// # Errors
    /// The name is none of a program, or nowhere to be found.
    pub fn find(name: &str, path: Option<&OsStr>, patience: Duration) -> Result<Self, CniError> {
        if name.is_empty() || [".", ".."].contains(&name) || name.contains(['/', '\0']) {
            return Err(CniError::config(format!("ipam.type {name:?} is no name of a plugin")).details("it is looked for in CNI_PATH"));
        }
        let path = path.ok_or_else(|| {
            CniError::new(BAD_ENVIRONMENT, "required env variables [CNI_PATH] missing")
                .details(format!("ipam.type is {name}, looked for there"))
        })?;
        let found = env::split_paths(path)
            .filter(|dir| !dir.as_os_str().is_empty())
            .map(|dir| dir.join(name))
            .find(|program| fs::metadata(program).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0));
        let program = found.ok_or_else(|| {
            CniError::config(format!("ipam.type {name}: failed to find plugin {name:?} in CNI_PATH {:?}", path.to_string_lossy()))
                .details("install it there, or let netd give the addresses (\"ipam\": {\"type\": \"netd\"})")
        })?;
        Ok(Self { name: name.to_owned(), program, patience })
    }

    /// Runs a verb; what it printed, where it printed anything.
    ///
    /// # Errors
    /// Its own error object, or what kept it from giving one.
    pub fn run(&self, verb: &str, stdin: &[u8]) -> Result<Option<Value>, CniError> {
        let failed = |why: String| CniError::new(DELEGATE_FAILED, format!("ipam plugin {}: {verb}: {why}", self.name));
        let mut child = Command::new(&self.program)
            .env("CNI_COMMAND", verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|why| failed(format!("could not run {}: {why}", self.program.display())))?;
        let since = Instant::now();
        let (sender, printed) = mpsc::channel();
        // Two threads, because it may print before it has read, and may do neither.
        if let (Some(mut to), Some(from)) = (child.stdin.take(), child.stdout.take()) {
            let stdin = stdin.to_owned();
            thread::spawn(move || to.write_all(&stdin));
            thread::spawn(move || {
                let mut bytes = Vec::new();
                let read = from.take(MOST_BYTES).read_to_end(&mut bytes);
                let _ = sender.send(read.map(|_| bytes));
            });
        }
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if since.elapsed() < self.patience => thread::sleep(PAUSE),
                Ok(None) => return Err(self.too_slow(verb, &mut child)),
                Err(why) => return Err(failed(why.to_string())),
            }
        };
        let left = self.patience.saturating_sub(since.elapsed()).max(PAUSE);
        let Ok(Ok(bytes)) = printed.recv_timeout(left) else {
            return Err(failed("its output does not end".to_owned()));
        };
        let value = serde_json::from_slice::<Value>(&bytes).ok();
        if status.success() {
            return Ok(value);
        }
        Err(value.as_ref().and_then(|value| self.own(verb, value)).unwrap_or_else(|| failed(format!("{status}, without a reason"))))
    }

    fn too_slow(&self, verb: &str, child: &mut Child) -> CniError {
        let _ = child.kill();
        let _ = child.wait();
        CniError::new(TRY_AGAIN_LATER, format!("ipam plugin {}: {verb}: no answer came in {} ms", self.name, self.patience.as_millis()))
    }

    /// Its error object in our words: the code is its own.
    fn own(&self, verb: &str, value: &Value) -> Option<CniError> {
        let code = value.get("code")?.as_u64().and_then(|code| u32::try_from(code).ok()).filter(|code| *code > 0)?;
        let msg = value.get("msg").and_then(Value::as_str).unwrap_or("no reason given");
        let details = value.get("details").and_then(Value::as_str).unwrap_or_default();
        Some(CniError::new(code, format!("ipam plugin {}: {verb}: {msg}", self.name)).details(details))
    }
}
