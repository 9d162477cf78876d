//! Installs the CNI plugin and its configuration for container runtimes, and takes both away again. Never asks the daemon, and never touches a file
//! that is not netd's.

use std::{
    env, fs, io,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    args::cni::{CniCommand, Install, Places, Uninstall},
    failure::{FAILED, Failure},
};

/// The plugin's file, and its type in a configuration.
const PLUGIN: &str = "netd-cni";
/// The configuration's file. Runtimes take the first of a directory as their default.
const CONFLIST: &str = "10-netd.conflist";
/// What the plugin says of itself: by that its binary is known.
const SAYS: &[u8] = b"the CNI plugin of netd";
/// No plugin of ours is larger.
const MOST_BYTES: u64 = 64 << 20;

/// What was done, for people and for programs.
#[derive(Debug, PartialEq)]
pub(crate) struct Done {
    pub(crate) text: String,
    pub(crate) json: Value,
    /// What was left alone, and why.
    pub(crate) notes: Vec<String>,
}

/// Does it.
pub(crate) fn run(command: &CniCommand) -> Result<Done, Failure> {
    match command {
        CniCommand::Install(wish) => install(wish),
        CniCommand::Uninstall(Uninstall { places }) => uninstall(places),
    }
}

/// The binary first: a runtime that finds the configuration looks for the plugin at once.
fn install(wish: &Install) -> Result<Done, Failure> {
    let binary = wish.places.bin_dir.join(PLUGIN);
    let conflist = wish.places.conf_dir.join(CONFLIST);
    if !wish.force && conflist.symlink_metadata().is_ok() && !is_our_list(&conflist) {
        return Err(Failure {
            status: FAILED,
            what: format!("cannot write {}: it is there and is not netd's", conflist.display()),
            hint: "move it away, or overwrite it with --force".to_owned(),
        });
    }
    let source = source(wish.plugin.as_deref())?;
    let bytes = fs::read(&source).map_err(|why| failed("read", &source, &why))?;
    put(&binary, &bytes, 0o755)?;
    let list = list(wish);
    let text = serde_json::to_string_pretty(&list).map_err(|error| Failure::of(&error, FAILED, ""))? + "\n";
    put(&conflist, text.as_bytes(), 0o644)?;
    Ok(Done {
        text: format!("{}\n{}\n", binary.display(), conflist.display()),
        json: json!({ "plugin": binary, "conflist": conflist, "name": list["name"], "network": wish.network }),
        notes: Vec::new(),
    })
}

/// The configuration. A runtime with an old libcni reads `cniVersion` alone, a newer one the highest of `cniVersions` that it knows.
fn list(wish: &Install) -> Value {
    // Runtimes name the network by this: `podman run --network netd`.
    let name = if wish.network.as_str() == "default" { "netd" } else { wish.network.as_str() };
    let mut list = json!({
        "cniVersion": wish.cni_version.as_deref().unwrap_or("1.0.0"),
        "name": name,
        "plugins": [{
            "type": PLUGIN,
            "network": wish.network,
            // Not ipRanges: the network has its own.
            "capabilities": {
                "aliases": true,
                "bandwidth": true,
                "cgroupPath": true,
                "dns": true,
                "ips": true,
                "mac": true,
                "portMappings": true,
            },
        }],
    });
    if wish.cni_version.is_none() {
        list["cniVersions"] = json!(["0.4.0", "1.0.0", "1.1.0"]);
    }
    list
}

/// The configuration first: no runtime shall look for a plugin that is gone.
fn uninstall(places: &Places) -> Result<Done, Failure> {
    let mut removed = Vec::new();
    let mut kept = Vec::new();
    let (conflist, binary) = (places.conf_dir.join(CONFLIST), places.bin_dir.join(PLUGIN));
    for (is_ours, file) in [(is_our_list(&conflist), conflist), (is_our_binary(&binary), binary)] {
        if is_ours {
            fs::remove_file(&file).map_err(|why| failed("remove", &file, &why))?;
            removed.push(file);
        } else if file.symlink_metadata().is_ok() {
            kept.push(file);
        }
    }
    Ok(Done {
        text: removed.iter().map(|file| format!("{}\n", file.display())).collect(),
        notes: kept.iter().map(|file| format!("{} is not netd's and was left alone", file.display())).collect(),
        json: json!({ "removed": removed, "kept": kept }),
    })
}

/// The binary to be copied.
fn source(given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let beside = env::current_exe().ok().and_then(|netctl| Some(netctl.parent()?.join(PLUGIN)));
    let path = env::var_os("PATH").unwrap_or_default();
    beside.into_iter().chain(env::split_paths(&path).map(|dir| dir.join(PLUGIN))).find(|file| file.is_file()).ok_or_else(|| Failure {
        status: FAILED,
        what: format!("cannot find {PLUGIN}: it is neither beside netctl nor in PATH"),
        hint: "name it with --plugin".to_owned(),
    })
}

/// Writes a file whole or not at all: beside its place, on the disk, then under its name.
fn put(file: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let dir = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(|why| failed("make", dir, &why))?;
    // Runtimes read files that end in .conf, .conflist or .json, and run plugins by name.
    let draft = dir.join(format!(".{PLUGIN}.{}.tmp", std::process::id()));
    let written = write_draft(&draft, bytes, mode).and_then(|()| fs::rename(&draft, file)).and_then(|()| fs::File::open(dir)?.sync_all());
    written.map_err(|why| {
        let _ = fs::remove_file(&draft);
        failed("write", file, &why)
    })
}

fn write_draft(draft: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let _ = fs::remove_file(draft);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(draft)?;
    file.write_all(bytes)?;
    // The umask shall not take away what runtimes need.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

/// Whether the first plugin of a configuration is ours.
fn is_our_list(file: &Path) -> bool {
    bytes(file).and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok()).is_some_and(|list| list["plugins"][0]["type"] == PLUGIN)
}

fn is_our_binary(file: &Path) -> bool {
    bytes(file).is_some_and(|bytes| bytes.windows(SAYS.len()).any(|part| part == SAYS))
}

/// What stands in a file; nothing where it is no plain file, or larger than any of ours.
fn bytes(file: &Path) -> Option<Vec<u8>> {
    let meta = file.symlink_metadata().ok()?;
    (meta.is_file() && meta.len() <= MOST_BYTES).then(|| fs::read(file).ok()).flatten()
}

fn failed(verb: &str, file: &Path, why: &io::Error) -> Failure {
    let hint = if why.kind() == io::ErrorKind::PermissionDenied { "run it as root" } else { "" };
    Failure { status: FAILED, what: format!("could not {verb} {}: {why}", file.display()), hint: hint.to_owned() }
}

#[cfg(test)]
mod tests;
