//! Aligned columns and pages of facts, with a little colour on a terminal. Knows nothing of networks.

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets::NOTHING};

/// Spaces between columns.
const GAP: u16 = 3;

/// Whether colours are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Colour,
}

/// What a word means to its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Mind,
    Bad,
}

/// A text with its tone.
pub(super) struct Word {
    text: String,
    tone: Tone,
}

impl Word {
    pub(super) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Word {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// A table without borders: upper-case headers, then the rows.
pub(super) fn table<const N: usize>(headers: [&str; N], rows: impl IntoIterator<Item = [Word; N]>, paint: Paint) -> String {
    let mut table = bare(paint);
    table.set_header(headers);
    for row in rows {
        table.add_row(row.each_ref().map(cell));
    }
    rendered(table)
}

/// One fact a line: its name and a colon, then what it is.
pub(super) fn facts<const N: usize>(facts: [(&str, Word); N], paint: Paint) -> String {
    let mut table = bare(paint);
    for (name, word) in facts {
        table.add_row([Cell::new(format!("{name}:")), cell(&word)]);
    }
    rendered(table)
}

fn bare(paint: Paint) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    match paint {
        Paint::Plain => table.force_no_tty(),
        Paint::Colour => table.enforce_styling(),
    };
    table
}

fn cell(word: &Word) -> Cell {
    let cell = Cell::new(printable(&word.text));
    match word.tone {
        Tone::Plain => cell,
        Tone::Good => cell.fg(Color::DarkGreen),
        Tone::Mind => cell.fg(Color::DarkYellow),
        Tone::Bad => cell.fg(Color::DarkRed).add_attribute(Attribute::Bold),
    }
}

fn rendered(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// The text with control characters made visible: names of processes and the kernel's words may hold any.
pub(crate) fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// The same of a text that may have several lines. Those behind the first are set in, so that none can pass for a line of its own.
pub(crate) fn printable_lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n  ")
}
