//! JSON read with care: each error names the key and what stands there. Knows no key itself.
//!
//! Keys are found as Go finds them: exactly, else in any case (runtimes send `HostPort` for `hostPort`); null and an empty text are nothing.

use std::{fmt, str::FromStr};

use serde_json::{Map, Value};

use crate::error::CniError;

/// A value and the way to it.
pub(crate) struct Field<'a> {
    pub(crate) value: &'a Value,
    pub(crate) path: String,
}

/// A JSON object and the way to it.
pub(crate) struct Object<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

impl<'a> Object<'a> {
    /// The outermost object.
    pub(crate) fn root(value: &'a Value) -> Result<Self, CniError> {
        value
            .as_object()
            .map(|map| Self { map, path: String::new() })
            .ok_or_else(|| CniError::config(format!("the network configuration must be an object, and is {}", shown(value))))
    }

    fn way(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// What stands under a key; null is nothing.
    pub(crate) fn get(&self, key: &str) -> Option<Field<'a>> {
        let value =
            self.map.get(key).or_else(|| self.map.iter().find(|(other, _)| other.eq_ignore_ascii_case(key)).map(|(_, value)| value))?;
        (!value.is_null()).then(|| Field { value, path: self.way(key) })
    }

    /// Whether the key is there, even with null.
    pub(crate) fn names(&self, key: &str) -> bool {
        self.map.keys().any(|other| other.eq_ignore_ascii_case(key))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Keys and values, in the order of the keys.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'a str, Field<'a>)> {
        self.map.iter().map(|(key, value)| (key.as_str(), Field { value, path: self.way(key) }))
    }

    /// A text; an empty one is none.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, CniError> {
        self.get(key).map(|field| field.text()).transpose().map(|text| text.filter(|text| !text.is_empty()))
    }

    /// A text that is read further: an address, a name.
    pub(crate) fn parsed<T: FromStr<Err: fmt::Display>>(&self, key: &str, what: &str) -> Result<Option<T>, CniError> {
        match self.get(key) {
            Some(field) if field.value.as_str() != Some("") => field.parsed(what).map(Some),
            _ => Ok(None),
        }
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, CniError> {
        self.get(key).map(|field| field.value.as_bool().ok_or_else(|| field.wrong("true or false"))).transpose()
    }

    /// A number from 0 up to `most`.
    pub(crate) fn number(&self, key: &str, most: u64) -> Result<Option<u64>, CniError> {
        let Some(field) = self.get(key) else {
            return Ok(None);
        };
        let number = field.value.as_u64().ok_or_else(|| field.wrong("a whole number, not below 0"))?;
        if number > most { Err(field.wrong(&format!("at most {most}"))) } else { Ok(Some(number)) }
    }

    pub(crate) fn object(&self, key: &str) -> Result<Option<Object<'a>>, CniError> {
        self.get(key).map(Field::object).transpose()
    }

    /// A list; what is not there is empty.
    pub(crate) fn list(&self, key: &str) -> Result<Vec<Field<'a>>, CniError> {
        self.get(key).map_or_else(|| Ok(Vec::new()), Field::list)
    }

    /// A list of texts; empty ones are left out.
    pub(crate) fn texts(&self, key: &str) -> Result<Vec<String>, CniError> {
        let mut texts = Vec::new();
        for field in self.list(key)? {
            let text = field.text()?;
            if !text.is_empty() {
                texts.push(text.to_owned());
            }
        }
        Ok(texts)
    }
}

impl<'a> Field<'a> {
    /// This stands here, and something else should.
    pub(crate) fn wrong(&self, should: &str) -> CniError {
        CniError::config(format!("{} must be {should}, and is {}", self.path, shown(self.value)))
    }

    pub(crate) fn text(&self) -> Result<&'a str, CniError> {
        self.value.as_str().ok_or_else(|| self.wrong("text"))
    }

    pub(crate) fn parsed<T: FromStr<Err: fmt::Display>>(&self, what: &str) -> Result<T, CniError> {
        self.text()?.trim().parse().map_err(|why| CniError::config(format!("{} must be {what}: {why}", self.path)))
    }

    pub(crate) fn object(self) -> Result<Object<'a>, CniError> {
        self.value.as_object().map(|map| Object { map, path: self.path.clone() }).ok_or_else(|| self.wrong("an object"))
    }

    pub(crate) fn list(self) -> Result<Vec<Field<'a>>, CniError> {
        let list = self.value.as_array().ok_or_else(|| self.wrong("a list"))?;
        Ok(list.iter().enumerate().map(|(index, value)| Field { value, path: format!("{}[{index}]", self.path) }).collect())
    }
}

/// A value for a message, cut where it is long.
fn shown(value: &Value) -> String {
    let kind = match value {
        Value::Array(_) => return "a list".to_owned(),
        Value::Object(_) => return "an object".to_owned(),
        other => other.to_string(),
    };
    if kind.chars().count() > 60 { kind.chars().take(60).chain("…".chars()).collect() } else { kind }
}
