//! Which crate may depend on which, read from cargo's own metadata. Never looks at the code.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Breach;

/// What a crate may depend on.
enum May {
    /// Exactly these and nothing else.
    Only(&'static [&'static str]),
    /// Of our own crates only these; of others whatever does not reach the kernel.
    OutsideKernel(&'static [&'static str]),
    /// Of our own crates only these; of others whatever it needs.
    Ours(&'static [&'static str]),
}

use May::{Only, Ours, OutsideKernel};

/// The arrows. README draws the same picture.
const ARROWS: &[(&str, May)] = &[
    ("netd-abi", Only(&["aya"])),
    ("netd-api", Only(&["httparse", "ipnet", "schemars", "serde", "serde_json", "socket2", "thiserror"])),
    ("netd-core", Only(&["ipnet", "netd-abi", "netd-api", "saphyr-parser", "serde", "serde_json", "thiserror"])),
    ("netd-ebpf", Only(&["aya-ebpf", "aya-log-ebpf", "netd-abi"])),
    ("netd", Ours(&["netd-abi", "netd-api", "netd-core"])),
    ("netctl", OutsideKernel(&["netd-api"])),
    ("cni-plugin", Only(&["ipnet", "netd-api", "serde_json"])),
    ("xtask", Only(&["anyhow", "clap", "serde_json"])),
    ("netd-tests", Ours(&["netd-api"])),
];

const KERNEL_CRATES: [&str; 4] = ["aya", "nftables", "rtnetlink", "redb"];

pub(super) fn judge(metadata: &str) -> Result<Vec<Breach>> {
    let metadata: Value = serde_json::from_str(metadata).context("cargo metadata printed no JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let mut breaches = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let breach = |what| Breach { path: format!("{name} (Cargo.toml)"), line: 0, what };
        let Some((_, may)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            breaches.push(breach("this crate has no arrows; add it to ARROWS in xtask/src/tidy/arrows.rs and to README".to_owned()));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            // Tests and build scripts may use what they like, but our own crates only along the arrows.
            let for_use = dependency["kind"].is_null();
            let on = dependency["name"].as_str().unwrap_or_default();
            if let Some(what) = refused(may, on, for_use) {
                breaches.push(breach(what));
            }
        }
    }
    Ok(breaches)
}

fn refused(may: &May, on: &str, for_use: bool) -> Option<String> {
    let ours = ARROWS.iter().any(|(name, _)| *name == on);
    let (May::Only(allowed) | May::OutsideKernel(allowed) | May::Ours(allowed)) = may;
    if allowed.contains(&on) || (!ours && !for_use) {
        return None;
    }
    match may {
        _ if ours => Some(format!("must not depend on {on}; move what both need to the crate below them")),
        Only(_) => Some(format!("must not depend on {on}; do it in a crate that may, or argue for it in xtask/src/tidy/arrows.rs")),
        OutsideKernel(_) if KERNEL_CRATES.contains(&on) || on.starts_with("netlink-") => {
            Some(format!("must not depend on {on}, which reaches the kernel; ask netd instead"))
        }
        _ => None,
    }
}
