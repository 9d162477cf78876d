//! The numbers of rules, in a file that dies with the boot, as their counters do. Never decides which rule has which.

use std::{fs, io, path::Path};

use netd_core::policy::book::number::{Numbers, RuleId};

/// What the file says; nothing where there is none or it cannot be read: then rules count from zero.
pub(crate) fn read(path: &Path) -> Numbers {
    let text = fs::read_to_string(path).unwrap_or_default();
    let all: std::collections::BTreeMap<String, u32> = serde_json::from_str(&text).unwrap_or_default();
    all.into_iter().map(|(id, number)| (RuleId(id), number)).collect()
}

/// Replaces the file, whole.
pub(crate) fn write(path: &Path, numbers: &Numbers) -> io::Result<()> {
    let all: std::collections::BTreeMap<&str, u32> = numbers.iter().map(|(id, number)| (id.0.as_str(), *number)).collect();
    let beside = path.with_extension("new");
    fs::write(&beside, serde_json::to_vec(&all)?)?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_a_spoilt_file_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rules.json");
        assert!(read(&path).is_empty());
        let numbers: Numbers = [(RuleId("default/db@0 ingress 1".to_owned()), 3)].into();
        write(&path, &numbers).unwrap();
        assert_eq!(read(&path), numbers);
        fs::write(&path, "{").unwrap();
        assert!(read(&path).is_empty());
    }
}
