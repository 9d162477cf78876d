//! Things that must be named elsewhere: each golden in some test, each crate in README. Never judges what is said about them.

use super::{Breach, File};

const GOLDENS: &str = "tests/golden/";

pub(super) fn judge(files: &[File]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for golden in files.iter().filter(|file| file.path.starts_with(GOLDENS)) {
        if !files.iter().any(|file| file.is_rust() && file.text.contains(golden.name())) {
            breaches.push(golden.breach(0, "no .rs file names this golden; compare something with it, or delete it"));
        }
    }
    let Some(readme) = files.iter().find(|file| file.path == "README.md") else {
        breaches.push(Breach { path: "README.md".to_owned(), line: 0, what: "there is none; write it".to_owned() });
        return breaches;
    };
    for manifest in files {
        let Some(folder) = manifest.path.strip_suffix("/Cargo.toml") else {
            continue;
        };
        if !readme.text.contains(&format!("`{folder}`")) && !readme.text.contains(&format!("{folder}/")) {
            breaches.push(readme.breach(0, format!("does not mention `{folder}`; say in its map what the crate is for")));
        }
    }
    breaches
}
