//! The runtime's list that we are part of, as far as it lies in the configuration directory. Never changes it.

use std::{fs, path::Path};

use serde_json::Value;

use crate::config::{Config, MOST_BYTES};

/// So many files are looked at.
const MOST_FILES: usize = 256;
/// Plugins that cannot stand behind ours: they want the ingress hook of the host's end, which all our containers share.
const CANNOT_FOLLOW: &str = "bandwidth";

/// Why our list cannot work, where it cannot.
pub fn unworkable(config: &Config) -> Option<(String, String)> {
    let list = list_named(&config.conf_dir, &config.name)?;
    let types: Vec<_> = list.get("plugins")?.as_array()?.iter().map(|plugin| plugin.get("type").and_then(Value::as_str)).collect();
    let ours = types.iter().position(|name| *name == Some(config.kind.as_str()))?;
    types[ours + 1..].contains(&Some(CANNOT_FOLLOW)).then(|| {
        (
            format!("the plugin {CANNOT_FOLLOW} behind {} in the list {} cannot work: its tc hook is taken", config.kind, config.name),
            format!("drop it from the list, and add \"bandwidth\": true to the capabilities of {}", config.kind),
        )
    })
}

/// The first list of that name, in the order in which runtimes read them.
fn list_named(dir: &Path, name: &str) -> Option<Value> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "conflist"))
        .take(MOST_FILES)
        .collect();
    files.sort();
    files.into_iter().find_map(|path| {
        if !fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= MOST_BYTES) {
            return None;
        }
        let list: Value = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        (list.get("name")?.as_str()? == name).then_some(list)
    })
}
