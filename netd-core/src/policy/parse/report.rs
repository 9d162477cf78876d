//! What is wrong with the files, and where. Never decides what is.

use std::fmt;

/// As many errors are kept; the others are only counted.
pub const ERRORS_MOST: usize = 20;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The way to the field: `spec.ingress[0].ports[1].endPort`; empty for the document as a whole.
    pub field: String,
    /// What is wrong.
    pub what: String,
    /// What to do, where that can be said.
    pub hint: Option<String>,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.what)?;
        self.hint.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

/// All that is wrong: the first errors by file and line, and how many more there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseErrors {
    /// The errors, one at least and [`ERRORS_MOST`] at most.
    pub errors: Vec<ParseError>,
    /// How many were left out.
    pub more: usize,
}

impl fmt::Display for ParseErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.errors.iter().enumerate() {
            write!(f, "{}{error}", if at == 0 { "" } else { "\n" })?;
        }
        if self.more > 0 { write!(f, "\nand {} more", self.more) } else { Ok(()) }
    }
}

impl std::error::Error for ParseErrors {}

/// One step of the way from a document to a field.
#[derive(Debug)]
pub(super) enum Step {
    /// A field that netd knows.
    Field(&'static str),
    /// A field that it does not know.
    Unknown(String),
    /// An entry of a mapping whose keys are data.
    Key(String),
    /// An element of a list, from 0.
    Item(usize),
}

/// Collects errors while files are read.
#[derive(Debug, Default)]
pub(super) struct Report {
    file: String,
    /// How many files there were before.
    before: usize,
    path: Vec<Step>,
    errors: Vec<(usize, ParseError)>,
    more: usize,
}

impl Report {
    /// The errors that follow are of this file.
    pub(super) fn begin(&mut self, file: &str) {
        file.clone_into(&mut self.file);
        self.before += 1;
    }

    /// The file that is read.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// The errors that `read` finds are of the field one step further.
    pub(super) fn within<T>(&mut self, step: Step, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let value = read(self);
        self.path.pop();
        value
    }

    /// The errors that follow are of the field at the end of this way.
    pub(super) fn at(&mut self, path: Vec<Step>) -> &mut Self {
        self.path = path;
        self
    }

    /// An error that says all there is to say.
    pub(super) fn error(&mut self, line: usize, what: impl Into<String>) {
        self.add(line, what.into(), None);
    }

    /// An error, and what to do.
    pub(super) fn advise(&mut self, line: usize, what: impl Into<String>, hint: impl Into<String>) {
        self.add(line, what.into(), Some(hint.into()));
    }

    /// Whether further errors are only counted.
    pub(super) fn is_full(&self) -> bool {
        self.errors.len() >= ERRORS_MOST
    }

    fn add(&mut self, line: usize, what: String, hint: Option<String>) {
        if self.is_full() {
            self.more += 1;
        } else {
            let error = ParseError { file: self.file.clone(), line, field: path(&self.path), what, hint };
            self.errors.push((self.before, error));
        }
    }

    /// All errors, if there are any.
    pub(super) fn end(mut self) -> Result<(), ParseErrors> {
        if self.errors.is_empty() {
            return Ok(());
        }
        self.errors.sort_by_key(|(file, error)| (*file, error.line));
        Err(ParseErrors { errors: self.errors.into_iter().map(|(_, error)| error).collect(), more: self.more })
    }
}

/// The way as Kubernetes writes it.
fn path(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Field(_) | Step::Unknown(_) if !text.is_empty() => text.push('.'),
            _ => {}
        }
        match step {
            Step::Field(name) => text.push_str(name),
            Step::Unknown(name) => text.push_str(&short(name)),
            Step::Key(key) => text.push_str(&format!("[{}]", short(key))),
            Step::Item(at) => text.push_str(&format!("[{at}]")),
        }
    }
    text
}

/// The beginning of what was given, in one line.
pub(super) fn short(given: &str) -> String {
    given.chars().take(80).flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
