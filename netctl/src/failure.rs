//! How a run ends badly: `error: …`, `hint: …` and the exit status. Never decides whether it does.

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
};

use netd_api::client::ClientError;

use crate::show::printable_lines;

/// Refused, or failed.
pub(crate) const FAILED: u8 = 1;
/// Typed wrong.
pub(crate) const USAGE: u8 = 2;
/// The daemon cannot be reached.
pub(crate) const UNREACHABLE: u8 = 3;

/// What went wrong, what helps, and the exit status.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: u8,
    /// One sentence, no full stop; the kernel's words and errors in files may have lines of their own.
    pub(crate) what: String,
    /// Empty where nothing helps.
    pub(crate) hint: String,
}

impl Failure {
    /// A failure in the words of an error and of those that caused it.
    pub(crate) fn of(error: &dyn Error, status: u8, hint: impl Into<String>) -> Self {
        let mut what = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            what = format!("{what}: {error}");
            cause = error.source();
        }
        Self { status, what, hint: hint.into() }
    }

    /// Tells it on stderr; the value is for `main` to return.
    pub(crate) fn told(&self) -> ExitCode {
        tell(&self.to_string());
        ExitCode::from(self.status)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "error: {}", printable_lines(&self.what))?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "\nhint: {}", printable_lines(&self.hint)) }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let status = if matches!(error, ClientError::Unreachable { .. }) { UNREACHABLE } else { FAILED };
        Self::of(&error, status, error.hint())
    }
}

/// A line on stderr. Where nobody reads it there is nobody to tell.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests;
