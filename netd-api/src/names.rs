//! Names of things. A value of these types is well formed; the parsers say what is wrong with one that is not.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A name that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {given:?} {why}")]
pub struct NameError {
    /// What it should have named.
    pub kind: &'static str,
    /// What was given.
    pub given: String,
    /// What is wrong, and what would be right.
    pub why: String,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::borrow::Borrow<str> for $type {
            /// Names compare as their text does, so a set of them can be asked by text.
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $type {
            type Err = NameError;
            fn from_str(given: &str) -> Result<Self, NameError> {
                match $check(given) {
                    Ok(()) => Ok(Self(given.to_owned())),
                    Err(form) => Err(NameError { kind: $kind, given: given.chars().take(80).collect(), why: format!("{}; {form}", wrong(given)) }),
                }
            }
        }
        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(given: String) -> Result<Self, NameError> {
                given.parse()
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// 1 to 63 of `A-Z a-z 0-9 _ . -`, the first a letter or digit, as Docker and CNI allow. Interface names use a hash of it
    /// (IFNAMSIZ is 15 bytes and a NUL).
    NetworkName, "network name", word63
);
name!(
    /// What files, URLs and interface names are made from: 1 to 128 of `A-Z a-z 0-9 _ . -`, the first a letter or digit
    /// (the CNI specification's form of CNI_CONTAINERID; Docker's ids have 64).
    ContainerId, "container id", word128
);
name!(
    /// A display name: one word, as long as an id may be, or `namespace/pod`.
    ContainerName, "container name", one_slash
);
name!(
    /// The Kubernetes namespace a container counts to: a DNS label (RFC 1123), 1 to 63 of `a-z 0-9 -`.
    Namespace, "namespace", dns_label
);
name!(
    /// An interface name: 1 to 15 bytes, no `/`, `:` or white space, not `.`, `..`, `all`, `default` (dev_valid_name in net/core/dev.c;
    /// the last two are directories of /proc/sys/net/ipv4/conf). Nor what programs read otherwise: `%` asks the kernel for a number, `*` is nft's
    /// wildcard, `-` at the beginning an option.
    IfName, "interface name", ifname
);
name!(
    /// A label's key: Kubernetes' form, an optional DNS prefix of up to 253 and `/`, then 1 to 63 of `A-Z a-z 0-9 _ . -`.
    LabelKey, "label key", label_key
);
name!(
    /// A label's value: empty, or up to 63 of `A-Z a-z 0-9 _ . -` with a letter or digit at both ends, as Kubernetes allows.
    LabelValue, "label value", label_value
);
impl Default for Namespace {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl From<ContainerId> for ContainerName {
    /// Every id is a good display name.
    fn from(id: ContainerId) -> Self {
        Self(id.0)
    }
}

/// The commonest slips by name.
fn wrong(given: &str) -> &'static str {
    if given.is_empty() {
        "is empty"
    } else if given.contains(char::is_whitespace) {
        "has a space"
    } else {
        "is none"
    }
}

fn word(given: &str, most: usize) -> bool {
    given.len() <= most
        && given.starts_with(|c: char| c.is_ascii_alphanumeric())
        && given.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

fn word63(given: &str) -> Result<(), &'static str> {
    word(given, 63).then_some(()).ok_or("use 1 to 63 of A-Z, a-z, 0-9, '_', '.' and '-', the first a letter or digit")
}

fn word128(given: &str) -> Result<(), &'static str> {
    word(given, 128).then_some(()).ok_or("use 1 to 128 of A-Z, a-z, 0-9, '_', '.' and '-', the first a letter or digit")
}

fn one_slash(given: &str) -> Result<(), &'static str> {
    let good = match given.split_once('/') {
        None => word(given, 128),
        Some((namespace, pod)) => dns_label(namespace).is_ok() && word(pod, 253),
    };
    good.then_some(()).ok_or("use 1 to 128 of A-Z, a-z, 0-9, '_', '.' and '-', the first a letter or digit, or namespace/pod")
}

fn dns_label(given: &str) -> Result<(), &'static str> {
    let good = (1..=63).contains(&given.len())
        && given.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !given.starts_with('-')
        && !given.ends_with('-');
    good.then_some(()).ok_or("use 1 to 63 of a-z, 0-9 and '-', a letter or digit at both ends")
}

fn dns_name(given: &str) -> Result<(), &'static str> {
    let good = given.len() <= 253
        && given.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
    good.then_some(()).ok_or("use labels of 1 to 63 of A-Z, a-z, 0-9, '_' and '-', joined by dots, 253 bytes in all")
}

fn ifname(given: &str) -> Result<(), &'static str> {
    let good = (1..=15).contains(&given.len())
        && given.bytes().all(|b| b.is_ascii_graphic() && !b"/:%*\"\\".contains(&b))
        && !given.starts_with('-')
        && ![".", "..", "all", "default"].contains(&given);
    good.then_some(())
        .ok_or("use 1 to 15 visible ASCII characters without / : % * \" and \\, the first no -, and not '.', '..', 'all' or 'default'")
}

fn label_key(given: &str) -> Result<(), &'static str> {
    let (prefix, name) = given.split_once('/').map_or((None, given), |(prefix, name)| (Some(prefix), name));
    let good =
        !name.is_empty() && label_value(name).is_ok() && prefix.is_none_or(|prefix| dns_name(prefix).is_ok() && !prefix.contains('_'));
    good.then_some(())
        .ok_or("use 1 to 63 of A-Z, a-z, 0-9, '_', '.' and '-' with a letter or digit at both ends, after an optional example.com/")
}

fn label_value(given: &str) -> Result<(), &'static str> {
    let good = given.len() <= 63
        && given.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && given.chars().next().is_none_or(|c| c.is_ascii_alphanumeric())
        && given.chars().last().is_none_or(|c| c.is_ascii_alphanumeric());
    good.then_some(()).ok_or("use up to 63 of A-Z, a-z, 0-9, '_', '.' and '-' with a letter or digit at both ends")
}

#[cfg(test)]
mod tests;
