//! From YAML to trees, within bounds. Never judges what the documents say.

use std::{borrow::Cow, collections::HashMap};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::{
    TEXT_MOST,
    report::{Report, Step, short},
    tree::{Field, Node, Value},
};

/// Levels of a document. Kubernetes' own objects need a dozen; readers may recurse as deep without fear for the stack.
pub const LEVELS_MOST: usize = 64;

/// Values and names in all files, those that aliases stand for counted as often as they are used.
pub const NODES_MOST: usize = 1_000_000;

/// How much may come yet.
pub(super) struct Room {
    /// Bytes, those that aliases stand for among them.
    pub(super) text: usize,
    /// Values and names.
    pub(super) nodes: usize,
}

/// The documents of a file, without empty ones. What cannot be read goes into the report; the documents before it are returned.
pub(super) fn load<'a>(text: &'a str, room: &mut Room, report: &mut Report) -> Vec<Node<'a>> {
    let mut loader = Loader { room, report, open: Vec::new(), anchors: HashMap::new(), documents: Vec::new() };
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        match next {
            Ok((event, span)) => {
                if loader.take(event, span).is_err() {
                    break;
                }
            }
            Err(error) => {
                loader.report.error(error.marker().line(), format!("is no YAML: {}", error.info()));
                break;
            }
        }
    }
    loader.documents
}

/// The rest of the file cannot be read; the report says why.
struct Stop;

/// A collection whose end has not come yet.
struct Open<'a> {
    line: usize,
    anchor: usize,
    inside: Inside<'a>,
}

enum Inside<'a> {
    List(Vec<Node<'a>>),
    /// And the name whose value comes next.
    Map(Vec<Field<'a>>, Option<(Cow<'a, str>, usize)>),
}

struct Loader<'a, 'r> {
    room: &'r mut Room,
    report: &'r mut Report,
    open: Vec<Open<'a>>,
    anchors: HashMap<usize, Node<'a>>,
    documents: Vec<Node<'a>>,
}

impl<'a> Loader<'a, '_> {
    fn take(&mut self, event: Event<'a>, span: Span) -> Result<(), Stop> {
        let line = span.start.line();
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.charge(1, line)?;
                let plain = style == ScalarStyle::Plain && !self.is_text(tag.as_deref(), line);
                if self.awaits_name() {
                    self.name(text, plain, line);
                    return Ok(());
                }
                let value = if plain { Value::plain(text) } else { Value::Text(text) };
                self.place(Node { line, value }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.is_text(tag.as_deref(), line);
                self.enter(Open { line, anchor, inside: Inside::List(Vec::new()) })
            }
            Event::MappingStart(anchor, tag) => {
                self.is_text(tag.as_deref(), line);
                self.enter(Open { line, anchor, inside: Inside::Map(Vec::new(), None) })
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            Event::Alias(anchor) => self.alias(anchor, line),
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => Ok(()),
        }
    }

    /// Whether a tag makes a text of what has it. Other tags are refused: what they mean is for a program's own types.
    fn is_text(&mut self, tag: Option<&Tag>, line: usize) -> bool {
        let Some(tag) = tag else { return false };
        let text = (tag.is_yaml_core_schema() && tag.suffix == "str") || (tag.handle.is_empty() && tag.suffix == "!");
        if !text {
            self.complain(line, format!("has the tag {}", short(&tag.to_string())), "take it out");
        }
        text
    }

    fn charge(&mut self, nodes: usize, line: usize) -> Result<(), Stop> {
        let Some(rest) = self.room.nodes.checked_sub(nodes) else {
            self.report.advise(
                line,
                format!("there are more than {NODES_MOST} values, those counted that aliases stand for"),
                "apply in several steps",
            );
            return Err(Stop);
        };
        self.room.nodes = rest;
        Ok(())
    }

    fn enter(&mut self, open: Open<'a>) -> Result<(), Stop> {
        self.charge(1, open.line)?;
        if self.awaits_name() {
            self.complain(open.line, "a name is a list or mapping itself", "names of fields are texts");
            return Err(Stop);
        }
        self.check_levels(1, open.line)?;
        self.open.push(open);
        Ok(())
    }

    fn check_levels(&mut self, more: usize, line: usize) -> Result<(), Stop> {
        if self.open.len() + more > LEVELS_MOST {
            self.report.error(line, format!("is nested more than {LEVELS_MOST} levels deep"));
            return Err(Stop);
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Stop> {
        let Some(Open { line, anchor, inside }) = self.open.pop() else { return Ok(()) };
        let value = match inside {
            Inside::List(items) => Value::List(items),
            Inside::Map(fields, _) => {
                self.check_twice(&fields);
                Value::Map(fields)
            }
        };
        self.place(Node { line, value }, anchor)
    }

    fn alias(&mut self, anchor: usize, line: usize) -> Result<(), Stop> {
        if self.awaits_name() {
            self.complain(line, "a name is an alias", "names of fields are texts");
            return Err(Stop);
        }
        let Some((size, levels)) = self.anchors.get(&anchor).map(Node::measure) else {
            // The library knows no alias without an anchor; this one's is still open, or in another document.
            self.complain(line, "an alias stands inside of what it stands for, or for a part of another document", "write it out");
            return Err(Stop);
        };
        self.charge(size, line)?;
        let Some(rest) = self.room.text.checked_sub(self.anchors[&anchor].text_len()) else {
            let what = format!("the files have more than {} MiB, with what aliases stand for", TEXT_MOST >> 20);
            self.report.advise(line, what, "apply in several steps");
            return Err(Stop);
        };
        self.room.text = rest;
        self.check_levels(levels, line)?;
        let node = self.anchors[&anchor].clone();
        self.place(node, 0)
    }

    /// Puts a whole value where it belongs.
    fn place(&mut self, node: Node<'a>, anchor: usize) -> Result<(), Stop> {
        if anchor > 0 {
            self.charge(node.measure().0, node.line)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.inside) {
            Some(Inside::List(items)) => items.push(node),
            Some(Inside::Map(fields, name)) => {
                if let Some((name, line)) = name.take() {
                    fields.push(Field { name, line, value: node });
                }
            }
            None if matches!(node.value, Value::Null) => {}
            None => self.documents.push(node),
        }
        Ok(())
    }

    fn awaits_name(&self) -> bool {
        matches!(self.open.last(), Some(Open { inside: Inside::Map(_, None), .. }))
    }

    fn name(&mut self, text: Cow<'a, str>, plain: bool, line: usize) {
        let other = if plain { Value::plain(text.clone()) } else { Value::Null };
        match other {
            Value::Null if plain => self.complain(line, "a name is empty", "write one, or take the line out"),
            Value::Bool(_) | Value::Number(_) => {
                let quoted = format!("quote it: \"{}\"", short(&text));
                self.complain(line, format!("the name {} {}", short(&text), other.described()), quoted);
            }
            _ => {}
        }
        if let Some(Open { inside: Inside::Map(_, name), .. }) = self.open.last_mut() {
            *name = Some((text, line));
        }
    }

    /// YAML forbids a name twice (3.2.1.3); other readers take the last one, so two readers could see two policies.
    fn check_twice(&mut self, fields: &[Field<'a>]) {
        let mut by_name: Vec<&Field<'a>> = fields.iter().collect();
        by_name.sort_by(|one, other| one.name.cmp(&other.name));
        for pair in by_name.windows(2).filter(|pair| pair[0].name == pair[1].name) {
            let what = format!("{:?} is here twice, first in line {}", short(&pair[1].name), pair[0].line);
            self.complain(pair[1].line, what, "take one of them out");
        }
    }

    /// An error at the place that the open collections lead to.
    fn complain(&mut self, line: usize, what: impl Into<String>, hint: impl Into<String>) {
        let steps: Vec<Step> = self.open.iter().filter_map(Open::step).collect();
        self.report.at(steps).advise(line, what, hint);
        self.report.at(Vec::new());
    }
}

impl Open<'_> {
    /// Where the value that is read stands in it.
    fn step(&self) -> Option<Step> {
        match &self.inside {
            Inside::List(items) => Some(Step::Item(items.len())),
            Inside::Map(_, name) => name.as_ref().map(|(name, _)| Step::Unknown(name.to_string())),
        }
    }
}
