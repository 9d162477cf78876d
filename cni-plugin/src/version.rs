//! The versions of the specification: which are spoken, which one is meant, which verbs they have. Never writes a result.

use std::fmt;

use serde_json::Value;

use crate::error::{CniError, INCOMPATIBLE_VERSION};

/// A version that we speak. They compare by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The first one; meant where a configuration says nothing.
    V010,
    /// With the verb VERSION.
    V020,
    /// With the interfaces in the result, and with chains.
    V030,
    /// The same, corrected in its text.
    V031,
    /// With CHECK, and `prevResult` for DEL.
    V040,
    /// Without the family beside each address.
    V100,
    /// With STATUS and GC, and with more about interfaces and routes.
    V110,
}

/// Every version, the oldest first.
pub const ALL: [Version; 7] = [Version::V010, Version::V020, Version::V030, Version::V031, Version::V040, Version::V100, Version::V110];

impl Version {
    /// The newest: that of errors which come before a configuration is read.
    pub const NEWEST: Self = Self::V110;

    /// As it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V010 => "0.1.0",
            Self::V020 => "0.2.0",
            Self::V030 => "0.3.0",
            Self::V031 => "0.3.1",
            Self::V040 => "0.4.0",
            Self::V100 => "1.0.0",
            Self::V110 => "1.1.0",
        }
    }

    /// Whether a result lists interfaces; before that it has one address of each family and nothing else.
    pub fn has_interfaces(self) -> bool {
        self >= Self::V030
    }

    /// The version with this text.
    pub fn named(text: &str) -> Option<Self> {
        ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// The one that a configuration means: its `cniVersion`; else the newest that we speak of its `cniVersions`; else the first of all.
    ///
    /// # Errors
    /// It is none that we speak.
    pub fn meant(config: &Value) -> Result<Self, CniError> {
        match config.get("cniVersion") {
            None | Some(Value::Null) => {}
            Some(Value::String(said)) if said.is_empty() => {}
            Some(Value::String(said)) => return Self::named(said).ok_or_else(|| incompatible(said)),
            Some(_) => return Err(CniError::config("cniVersion must be text")),
        }
        let offered: Vec<_> = config.get("cniVersions").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        if offered.is_empty() {
            return Ok(Self::V010);
        }
        offered.iter().filter_map(|text| Self::named(text)).max().ok_or_else(|| incompatible(&offered.join(", ")))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The texts of all versions.
pub fn supported() -> Vec<&'static str> {
    ALL.iter().map(|version| version.as_str()).collect()
}

fn incompatible(said: &str) -> CniError {
    let said: String = said.chars().take(80).collect();
    CniError::new(INCOMPATIBLE_VERSION, "incompatible CNI versions")
        .details(format!("config is {said:?}, plugin supports {:?}", supported()))
}
