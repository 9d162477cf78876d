//! What compiles the eBPF programs: which toolchain is there, and how to get one. Never compiles them itself; netd/build.rs does.
//!
//! Rust's stable toolchain has no `core` for the BPF target. Debian's rustc has a ready-made one (linked into rustup as `bpf`); otherwise a
//! nightly builds its own from rust-src. Both need bpf-linker. `NETD_BPF_TOOLCHAIN=bpf|nightly` forces one, here and in netd/build.rs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::{setup, shell};

/// What to do on a system without Debian's packages.
pub(crate) const ELSEWHERE: &str =
    "For the eBPF toolchain: rustup toolchain install nightly --component rust-src && cargo install bpf-linker --locked";

/// The version that the LLVM feature names below are from.
const LINKER_VERSION: &str = "0.13.0";

/// The folder of the ready-made `core`, below a toolchain's root.
const BPF_CORE: &str = "lib/rustlib/bpfel-unknown-none";

/// A toolchain that can compile for BPF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// Debian's rustc, linked as `bpf`.
    Bpf,
    /// Rustup's nightly with rust-src.
    Nightly,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Toolchain::Bpf => "rustup toolchain `bpf` (the system's rustc with a BPF core) and bpf-linker",
            Toolchain::Nightly => "rustup toolchain `nightly` with rust-src, and bpf-linker",
        })
    }
}

/// What keeps us from compiling for BPF.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    toolchain: bool,
    linker: bool,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.toolchain, self.linker) {
            (true, true) => "a Rust toolchain with a BPF core, and bpf-linker",
            (true, false) => "a Rust toolchain with a BPF core",
            _ => "bpf-linker",
        })
    }
}

/// Finds the toolchain by looking at files only, so that it costs nothing.
pub(crate) fn find() -> Result<Toolchain, Missing> {
    let toolchains = shell::rustup_home().map(|home| home.join("toolchains")).unwrap_or_default();
    let wanted = std::env::var("NETD_BPF_TOOLCHAIN").ok();
    match (find_in(&toolchains, wanted.as_deref()), shell::find("bpf-linker")) {
        (Some(toolchain), Some(_)) => Ok(toolchain),
        (toolchain, linker) => Err(Missing { toolchain: toolchain.is_none(), linker: linker.is_none() }),
    }
}

fn find_in(toolchains: &Path, wanted: Option<&str>) -> Option<Toolchain> {
    let wants = |name| wanted.is_none_or(|wanted| wanted == name);
    if wants("bpf") && toolchains.join("bpf").join(BPF_CORE).is_dir() {
        return Some(Toolchain::Bpf);
    }
    let mut names = toolchains.read_dir().ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let source = |name: &str| toolchains.join(name).join("lib/rustlib/src/rust/library/core").is_dir();
    (wants("nightly") && names.any(|name| name.starts_with("nightly") && source(&name))).then_some(Toolchain::Nightly)
}

/// The commands that bring what is missing, on Debian and its children.
pub(crate) fn commands() -> Result<Vec<Command>> {
    if shell::find("rustup").is_none() {
        bail!("rustup is not there; the eBPF build asks it for a second toolchain. Install rustup, then run this again");
    }
    let rust = RustPackages::offered();
    let llvm = rust.llvm()?;
    let mut packages: Vec<String> = Vec::new();
    if !Path::new("/usr").join(BPF_CORE).is_dir() {
        packages.extend([rust.compiler, rust.cargo, rust.core].map(str::to_owned));
    }
    if !llvm_folder(llvm).join("include").is_dir() {
        packages.extend([format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev"), "zlib1g-dev".to_owned()]);
    }
    let mut commands = Vec::new();
    if !packages.is_empty() {
        commands.push(setup::apt_get_install(&packages));
    }
    let mut link = Command::new("rustup");
    link.args(["toolchain", "link", "bpf", "/usr"]);
    commands.push(link);
    if shell::find("bpf-linker").is_none() {
        commands.push(install_linker(llvm));
    }
    Ok(commands)
}

/// Takes about 80 s on two cores; cargo shows each crate as it goes.
fn install_linker(llvm: u32) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args(["install", "bpf-linker", "--version", LINKER_VERSION, "--locked", "--no-default-features", "--features"]);
    cargo.arg(format!("llvm-{llvm}")).env("LLVM_PREFIX", llvm_folder(llvm));
    cargo
}

fn llvm_folder(version: u32) -> PathBuf {
    PathBuf::from(format!("/usr/lib/llvm-{version}"))
}

/// What Debian calls its Rust packages: a current compiler stands beside an older release's own one under names with `-web`.
struct RustPackages {
    compiler: &'static str,
    cargo: &'static str,
    core: &'static str,
}

impl RustPackages {
    fn offered() -> RustPackages {
        let current = RustPackages { compiler: "rustc", cargo: "cargo", core: "libstd-rust-dev-bpf" };
        let beside = RustPackages { compiler: "rustc-web", cargo: "cargo-web", core: "libstd-rust-web-dev-bpf" };
        if !setup::is_offered(beside.core) && setup::is_offered(current.core) { current } else { beside }
    }

    /// The LLVM that the compiler was built with: bpf-linker must read its bitcode.
    fn llvm(&self) -> Result<u32> {
        let tree = shell::output(Command::new("apt-cache").args(["depends", "--recurse", "--important", self.compiler]))?;
        match tree.lines().filter_map(llvm_version).max() {
            Some(version) => Ok(version),
            None => bail!("apt does not say which libllvm {} depends on; run apt-get update. {ELSEWHERE}", self.compiler),
        }
    }
}

/// `Depends: libllvm22` → 22.
fn llvm_version(line: &str) -> Option<u32> {
    let rest = line.trim().rsplit(' ').next()?.strip_prefix("libllvm")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_systems_rustc_is_preferred_and_a_nightly_needs_its_source() {
        let root = std::env::temp_dir().join(format!("netd-xtask-toolchains-{}", std::process::id()));
        let make = |path: &str| fs::create_dir_all(root.join(path)).unwrap();
        make("nightly-x86_64/lib");
        assert_eq!(find_in(&root, None), None);
        make("nightly-x86_64/lib/rustlib/src/rust/library/core");
        assert_eq!(find_in(&root, None), Some(Toolchain::Nightly));
        make("bpf/lib/rustlib/bpfel-unknown-none");
        assert_eq!(find_in(&root, None), Some(Toolchain::Bpf));
        assert_eq!(find_in(&root, Some("nightly")), Some(Toolchain::Nightly));
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn the_llvm_version_is_read_from_apt() {
        assert_eq!(llvm_version("  Depends: libllvm22"), Some(22));
        assert_eq!(llvm_version("libllvm19t64"), Some(19));
        assert_eq!(llvm_version("  Depends: libc6"), None);
    }
}
