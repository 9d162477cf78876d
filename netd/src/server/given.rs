//! What a client gave with a request: names in the path, the query, the body. Parsed strictly; every complaint names the thing and what would be right.

use std::{fmt::Display, str::FromStr};

use axum::body::Bytes;
use netd_api::fault::{Code, Fault};
use netd_core::suggest::nearest;
use serde::de::DeserializeOwned;

use crate::suggest;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// From the path, decoded.
    pub(super) names: Vec<(String, String)>,
    /// From the query, decoded.
    pub(super) query: Vec<(String, String)>,
    /// The body.
    pub(super) body: Bytes,
}

fn bad(what: impl Display) -> Fault {
    Fault::new(Code::BadRequest, what.to_string())
}

impl Given {
    /// A name from the path.
    pub(super) fn name<T: FromStr<Err: Display>>(&self, key: &str) -> Result<T, Fault> {
        let found = self.names.iter().find(|(known, _)| known == key);
        found.map_or("", |(_, value)| value).parse().map_err(bad)
    }

    /// A word of the query.
    pub(super) fn word<T: FromStr<Err: Display>>(&self, key: &str) -> Result<Option<T>, Fault> {
        let found = self.query.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.parse()).transpose().map_err(bad)
    }

    /// A word of the query that must be there.
    pub(super) fn needed<T: FromStr<Err: Display>>(&self, key: &str) -> Result<T, Fault> {
        self.word(key)?.ok_or_else(|| bad(format!("the query lacks the word `{key}`")).hint(format!("write it behind the path: ?{key}=…")))
    }

    /// A word of the query that is a number.
    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, Fault> {
        let Some(text) = self.word::<String>(key)? else {
            return Ok(None);
        };
        let wrong = || bad(format!("`{key}` in the query is no whole number: {:?}", text.chars().take(80).collect::<String>()));
        text.parse().map(Some).map_err(|_| wrong().hint(format!("write it as ?{key}=0, up to {}", u64::MAX)))
    }

    /// The body, as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        if self.body.is_empty() {
            return Err(bad("the request has no body").hint("send a JSON object, as GET /v1/openapi.json says"));
        }
        serde_json::from_slice(&self.body).map_err(|why| {
            let said = why.to_string();
            let is = if why.is_data() { "cannot be used" } else { "is no JSON" };
            let hint = suggest::for_unknown_field(&said).unwrap_or_else(|| "GET /v1/openapi.json says what it can hold".to_owned());
            bad(format!("the body {is}: {said}")).hint(hint)
        })
    }

    /// Refuses what this route does not take.
    pub(super) fn only(&self, words: &[&str], body: bool) -> Result<(), Fault> {
        for (at, (word, _)) in self.query.iter().enumerate() {
            if !words.contains(&word.as_str()) {
                let hint = match (nearest(word, words.iter().copied()), words) {
                    (Some(near), _) => format!("did you mean `{near}`?"),
                    (None, []) => "this path takes no query".to_owned(),
                    (None, known) => format!("this path takes {}", known.join(", ")),
                };
                return Err(bad(format!("unknown word `{word}` in the query")).hint(hint));
            }
            if self.query[..at].iter().any(|(before, _)| before == word) {
                return Err(bad(format!("the query has `{word}` twice")));
            }
        }
        if !body && !self.body.is_empty() {
            return Err(bad("this path takes no body").hint("leave it away"));
        }
        Ok(())
    }
}

/// The words of a query: `a=1&b=2`, each part percent-decoded (`+` is a plus: names have no spaces).
pub(super) fn query(text: &str) -> Result<Vec<(String, String)>, Fault> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (word, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(word)?, decoded(value)?))
        })
        .collect()
}

fn decoded(text: &str) -> Result<String, Fault> {
    let wrong = || bad(format!("cannot decode {text:?} in the query")).hint("write % as %25, and only UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(wrong());
        };
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| wrong())?);
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}
