//! What a plugin said, and what the specification lets it say: a result, nothing, or one error object. Never knows what a story expects.

use std::{fmt, process::Output, time::Duration};

use serde_json::Value;

/// One run of a plugin, ended.
#[derive(Debug, Clone)]
pub struct Spoken {
    /// What was run, for messages.
    pub line: String,
    /// Its exit status; -1 where a signal ended it.
    pub status: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
    /// How long it took.
    pub took: Duration,
}

/// The specification's error object.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// What was run, for messages.
    line: String,
    /// `code`.
    pub code: u64,
    /// `msg`.
    pub msg: String,
    /// `details`; empty where there are none.
    pub details: String,
    /// `cniVersion`.
    pub version: String,
    /// How long it took to say so.
    pub took: Duration,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` says: {} (code {}; {}; after {:?})", self.line, self.msg, self.code, self.details, self.took)
    }
}

impl Refusal {
    /// The same, if it has this code.
    #[track_caller]
    pub fn with_code(self, code: u64) -> Self {
        assert!(self.code == code, "expected code {code}: {self}");
        self
    }

    /// The same, if its code is one of netd's own, which the specification leaves to plugins.
    #[track_caller]
    pub fn of_our_own(self) -> Self {
        assert!(self.code >= 100, "expected a code of netd's own: {self}");
        self
    }

    /// The same, if its words hold these.
    #[track_caller]
    pub fn naming(self, words: impl fmt::Display) -> Self {
        let words = words.to_string();
        assert!(self.msg.contains(&words) || self.details.contains(&words), "{words:?} is not named: {self}");
        self
    }

    /// The same, if its details say what to do.
    #[track_caller]
    pub fn with_hint(self) -> Self {
        assert!(!self.details.is_empty(), "there is no hint: {self}");
        self
    }
}

impl Spoken {
    pub(super) fn new(line: String, output: &Output, took: Duration) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { line, status: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr), took }
    }

    /// A result, as ADD and VERSION give, or the error.
    #[track_caller]
    pub fn result(self) -> Result<Value, Refusal> {
        if self.status != 0 {
            return Err(self.refusal());
        }
        Ok(serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("no result ({why}): {self:?}")))
    }

    /// Nothing, as the other commands give, or the error.
    #[track_caller]
    pub fn nothing(self) -> Result<(), Refusal> {
        if self.status != 0 {
            return Err(self.refusal());
        }
        assert!(self.out.is_empty(), "nothing belongs on standard output here: {self:?}");
        Ok(())
    }

    /// A result and no error; gives it.
    #[track_caller]
    pub fn expect_result(self) -> Value {
        self.result().unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// Success without a word.
    #[track_caller]
    pub fn expect_nothing(self) {
        self.nothing().unwrap_or_else(|refusal| panic!("{refusal}"));
    }

    /// An error object with this code and nothing else; gives it.
    #[track_caller]
    pub fn expect_error(self, code: u64) -> Refusal {
        assert!(self.status != 0, "expected code {code}, but it succeeded: {self:?}");
        self.refusal().with_code(code)
    }

    /// The error object, which must be all that it printed.
    #[track_caller]
    fn refusal(self) -> Refusal {
        let object: Value = serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("no error object ({why}): {self:?}"));
        let text = |key: &str| object[key].as_str().map(str::to_owned);
        let (Some(code), Some(msg)) = (object["code"].as_u64(), text("msg")) else { panic!("an error object has code and msg: {self:?}") };
        assert!(code != 0 && !msg.is_empty(), "an error has a code and says something: {self:?}");
        // Plugins of Debian's version leave the version out of some errors.
        let version = text("cniVersion").unwrap_or_default();
        Refusal { line: self.line, code, msg, details: text("details").unwrap_or_default(), version, took: self.took }
    }
}
