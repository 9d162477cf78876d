//! Keeps package installs from starting services, by Debian's own switch. Never replaces a switch that somebody else has set.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Debian's maintainer scripts ask this program before they start a service; 101 means "no".
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// While this value lives, installed packages start nothing.
#[must_use = "services are held back only while this lives"]
pub(super) struct Services {
    ours: bool,
}

impl Services {
    pub(super) fn hold() -> Result<Services> {
        if Path::new(POLICY).exists() {
            return Ok(Services { ours: false });
        }
        fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(|| format!("could not write {POLICY}"))?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)).with_context(|| format!("could not make {POLICY} executable"))?;
        println!("hold services: {POLICY} says no until set-up is done");
        Ok(Services { ours: true })
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if self.ours
            && let Err(why) = fs::remove_file(POLICY)
        {
            eprintln!("could not remove {POLICY}, which keeps packages from starting services: {why}; remove it by hand");
        }
    }
}
