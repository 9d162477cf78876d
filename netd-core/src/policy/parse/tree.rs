//! A YAML document as a tree whose nodes know their lines. Never knows what the document is about.

use std::borrow::Cow;

/// A value and the line where it begins.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    pub(super) line: usize,
    pub(super) value: Value<'a>,
}

/// What YAML can say.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`, as written.
    Bool(Cow<'a, str>),
    /// A number, as written.
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Map(Vec<Field<'a>>),
}

/// An entry of a mapping.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) line: usize,
    pub(super) value: Node<'a>,
}

impl<'a> Value<'a> {
    /// What an unquoted scalar is, by the core schema of YAML 1.2 (10.3.2): `yes` and `on` are texts, `012` is twelve.
    pub(super) fn plain(text: Cow<'a, str>) -> Self {
        match &*text {
            "" | "~" | "null" | "Null" | "NULL" => Self::Null,
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Self::Bool(text),
            number if whole(number).is_some() || is_float(number) => Self::Number(text),
            _ => Self::Text(text),
        }
    }

    /// What it is, in a sentence that begins with "is".
    pub(super) fn described(&self) -> &'static str {
        match self {
            Self::Null => "is empty",
            Self::Bool(_) => "is a boolean",
            Self::Number(_) => "is a number",
            Self::Text(_) => "is a text",
            Self::List(_) => "is a list",
            Self::Map(_) => "is a mapping",
        }
    }
}

impl Node<'_> {
    /// Whether it is `[]`.
    pub(super) fn is_empty_list(&self) -> bool {
        matches!(&self.value, Value::List(items) if items.is_empty())
    }

    /// How many values and names it is made of, and how many levels deep.
    pub(super) fn measure(&self) -> (usize, usize) {
        let below: Vec<(usize, usize)> = match &self.value {
            Value::List(items) => items.iter().map(Node::measure).collect(),
            Value::Map(fields) => fields.iter().map(|field| field.value.measure()).map(|(size, levels)| (size + 1, levels)).collect(),
            _ => Vec::new(),
        };
        (1 + below.iter().map(|(size, _)| size).sum::<usize>(), 1 + below.iter().map(|(_, levels)| *levels).max().unwrap_or(0))
    }

    /// How many bytes of text it is made of.
    pub(super) fn text_len(&self) -> usize {
        match &self.value {
            Value::Null => 0,
            Value::Bool(text) | Value::Number(text) | Value::Text(text) => text.len(),
            Value::List(items) => items.iter().map(Node::text_len).sum(),
            Value::Map(fields) => fields.iter().map(|field| field.name.len() + field.value.text_len()).sum(),
        }
    }
}

/// A whole number; of those that do not fit, the nearest that does.
pub(super) fn whole(text: &str) -> Option<i64> {
    let (digits, base) = match text.as_bytes() {
        [b'0', b'x', ..] => (&text[2..], 16),
        [b'0', b'o', ..] => (&text[2..], 8),
        _ => (text.strip_prefix(['-', '+']).unwrap_or(text), 10),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    let size = i64::from_str_radix(digits, base).unwrap_or(i64::MAX);
    Some(if text.starts_with('-') { -size } else { size })
}

fn is_float(text: &str) -> bool {
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return true;
    }
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(before, after)| (before, Some(after)));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.is_none_or(|text| {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        !unsigned.is_empty() && digits(unsigned)
    });
    digits(before) && digits(after) && !(before.is_empty() && after.is_empty()) && exponent
}
