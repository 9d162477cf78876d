//! How fields are read: each by its name, strictly by type, with an error and a default where it is bad. Never knows an object's fields.

use std::{ops::RangeInclusive, str::FromStr};

use netd_api::names::NameError;

use super::{
    report::{Report, Step, short},
    tree::{self, Field, Node, Value},
};
use crate::suggest::nearest;

/// The fields of a mapping. One that is null counts as left out, as with Kubernetes.
#[derive(Clone, Copy)]
pub(super) struct Fields<'t> {
    pub(super) line: usize,
    all: &'t [Field<'t>],
}

impl<'t> Fields<'t> {
    /// The value of a field, if it has one.
    pub(super) fn get(&self, name: &str) -> Option<&'t Node<'t>> {
        self.all.iter().find(|field| field.name == name).map(|field| &field.value).filter(|node| !matches!(node.value, Value::Null))
    }

    /// All fields, null ones too.
    pub(super) fn iter(&self) -> std::slice::Iter<'t, Field<'t>> {
        self.all.iter()
    }

    /// Where a field or the mapping stands.
    pub(super) fn line_of(&self, name: &str) -> usize {
        self.all.iter().find(|field| field.name == name).map_or(self.line, |field| field.line)
    }
}

/// Readers return none where they have reported an error: no policy comes of a file that has one, so what stands in for it does not matter.
impl Report {
    /// A mapping with any fields.
    pub(super) fn mapping<'t>(&mut self, node: &'t Node<'t>) -> Option<Fields<'t>> {
        match &node.value {
            Value::Map(all) => Some(Fields { line: node.line, all }),
            Value::Null => {
                self.advise(node.line, "is empty, where a mapping is needed", "write {} for one without fields");
                None
            }
            other => {
                self.error(node.line, format!("{}, where a mapping is needed", other.described()));
                None
            }
        }
    }

    /// A mapping with no other fields than these.
    pub(super) fn fields<'t>(&mut self, node: &'t Node<'t>, known: &[&str]) -> Option<Fields<'t>> {
        self.fields_explained(node, known, |_| None)
    }

    /// The same; of some other fields it can be said better why they are not taken.
    pub(super) fn fields_explained<'t>(
        &mut self,
        node: &'t Node<'t>,
        known: &[&str],
        explain: impl Fn(&str) -> Option<(&'static str, &'static str)>,
    ) -> Option<Fields<'t>> {
        let fields = self.mapping(node)?;
        for field in fields.iter().filter(|field| !known.contains(&&*field.name)) {
            if self.is_full() {
                // Nobody reads a suggestion of which there are thousands.
                self.error(field.line, "unknown field");
                continue;
            }
            let (what, hint) = match (explain(&field.name), near(&field.name, known)) {
                (Some((what, hint)), _) => (what, hint.to_owned()),
                (None, Some(near)) => ("unknown field", format!("did you mean {near}?")),
                (None, None) => ("unknown field", format!("known here: {}", known.join(", "))),
            };
            self.within(Step::Unknown(field.name.to_string()), |report| report.advise(field.line, what, hint));
        }
        Some(fields)
    }

    /// What a field says, if it is there.
    pub(super) fn optional<'t, T>(
        &mut self,
        fields: Fields<'t>,
        name: &'static str,
        read: impl FnOnce(&mut Self, &'t Node<'t>) -> Option<T>,
    ) -> Option<T> {
        let node = fields.get(name)?;
        self.within(Step::Field(name), |report| read(report, node))
    }

    /// What a field says that must be there.
    pub(super) fn required<'t, T>(
        &mut self,
        fields: Fields<'t>,
        name: &'static str,
        read: impl FnOnce(&mut Self, &'t Node<'t>) -> Option<T>,
    ) -> Option<T> {
        if fields.get(name).is_none() {
            self.within(Step::Field(name), |report| report.error(fields.line_of(name), "is missing"));
        }
        self.optional(fields, name, read)
    }

    /// A list, the good ones of its elements.
    pub(super) fn list<'t, T>(&mut self, node: &'t Node<'t>, mut read: impl FnMut(&mut Self, &'t Node<'t>) -> Option<T>) -> Option<Vec<T>> {
        let Value::List(items) = &node.value else {
            self.error(node.line, format!("{}, where a list is needed", node.value.described()));
            return None;
        };
        Some(items.iter().enumerate().filter_map(|(at, item)| self.within(Step::Item(at), |report| read(report, item))).collect())
    }

    /// A list that has at least one element, and not too many.
    pub(super) fn some<'t, T>(
        &mut self,
        node: &'t Node<'t>,
        most: usize,
        read: impl FnMut(&mut Self, &'t Node<'t>) -> Option<T>,
    ) -> Option<Vec<T>> {
        if let Value::List(items) = &node.value {
            if items.is_empty() {
                self.error(node.line, "is empty, where at least one is needed");
            }
            self.at_most(node, most);
        }
        self.list(node, read)
    }

    /// Refuses a list with too many elements.
    pub(super) fn at_most(&mut self, node: &Node<'_>, most: usize) {
        if let Value::List(items) = &node.value
            && items.len() > most
        {
            self.error(node.line, format!("has {} elements; Kubernetes takes at most {most}", items.len()));
        }
    }

    /// A text. Numbers and the like are none, as with Kubernetes.
    pub(super) fn text<'t>(&mut self, node: &'t Node<'t>) -> Option<&'t str> {
        match &node.value {
            Value::Text(text) => return Some(text),
            Value::Bool(text) | Value::Number(text) => {
                let what = format!("{} {}, where a text is needed", short(text), node.value.described());
                self.advise(node.line, what, format!("quote it: \"{}\"", short(text)));
            }
            Value::Null => self.advise(node.line, "is empty, where a text is needed", "write \"\" for an empty one"),
            other => self.error(node.line, format!("{}, where a text is needed", other.described())),
        }
        None
    }

    /// A text that is one of netd's names.
    pub(super) fn named<T: FromStr<Err = NameError>>(&mut self, node: &Node<'_>) -> Option<T> {
        let text = self.text(node)?;
        self.parsed(text, node.line)
    }

    /// One of netd's names.
    pub(super) fn parsed<T: FromStr<Err = NameError>>(&mut self, text: &str, line: usize) -> Option<T> {
        text.parse().map_err(|why: NameError| self.error(line, why.to_string())).ok()
    }

    /// One of some words, by letter and case.
    pub(super) fn word<T: Copy>(&mut self, node: &Node<'_>, words: &[(&str, T)]) -> Option<T> {
        let text = match &node.value {
            Value::Bool(text) | Value::Number(text) => text,
            _ => self.text(node)?,
        };
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let what = format!("{} is none of {}", short(text), known.join(", "));
            match near(text, &known) {
                Some(near) => self.advise(node.line, what, format!("did you mean {near}?")),
                None => self.error(node.line, what),
            }
        }
        found
    }

    /// A whole number in a range.
    pub(super) fn whole(&mut self, node: &Node<'_>, range: RangeInclusive<u16>) -> Option<u16> {
        let (least, most) = (range.start(), range.end());
        match &node.value {
            Value::Number(text) => match tree::whole(text) {
                Some(number) => match u16::try_from(number).ok().filter(|number| range.contains(number)) {
                    Some(number) => return Some(number),
                    None => self.error(node.line, format!("{} is out of range; use {least} to {most}", short(text))),
                },
                None => self.error(node.line, format!("{} is no whole number; use {least} to {most}", short(text))),
            },
            Value::Text(text) if tree::whole(text).is_some() => {
                let what = format!("{:?} is a text, where a number is needed", short(text));
                self.advise(node.line, what, format!("write it without quotes: {}", short(text)));
            }
            other => self.error(node.line, format!("{}, where a number from {least} to {most} is needed", other.described())),
        }
        None
    }
}

/// The known word that was meant: the same in other case, or the nearest.
fn near<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    known.iter().copied().find(|word| word.eq_ignore_ascii_case(given)).or_else(|| nearest(given, known.iter().copied()))
}
