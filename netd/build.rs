//! Builds netd-ebpf and leaves its object where `src/bpf/object.rs` embeds it. Never downloads or installs anything: `cargo xtask setup` does.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use aya_build::{Package, Toolchain};

/// Where the package lies, seen from this one.
const PACKAGE: &str = "../netd-ebpf";

fn main() -> Result<(), Box<dyn Error>> {
    for changed in ["src", "Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={PACKAGE}/{changed}");
    }
    println!("cargo:rerun-if-changed=../netd-abi/src");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=NETD_BPF_TOOLCHAIN");
    println!("cargo:rerun-if-env-changed=AYA_BUILD_SKIP");

    let out = PathBuf::from(env::var("OUT_DIR")?);
    if env::var("AYA_BUILD_SKIP").is_ok_and(|skip| skip == "1" || skip.eq_ignore_ascii_case("true")) {
        // An empty object: netd then says at start that it counts nothing.
        println!("cargo:warning=AYA_BUILD_SKIP is set: netd is built without its eBPF programs");
        return Ok(fs::write(out.join("netd-ebpf"), [])?);
    }

    let toolchain = toolchain()?;
    if Command::new("bpf-linker").arg("--version").output().is_err() {
        return Err("cannot build netd-ebpf: bpf-linker is not in PATH; run cargo xtask setup".into());
    }
    set_environment(&toolchain);
    // netd-ebpf is a workspace of its own, and aya-build runs cargo in the current directory. Its own report of what
    // changed names the root it is given, so that is a path that does not change.
    let root = fs::canonicalize(PACKAGE)?;
    env::set_current_dir(&root)?;
    let source = root.join("src").display().to_string();
    aya_build::build_ebpf([Package { name: "netd-ebpf", root_dir: &source, ..Package::default() }], toolchain)?;
    Ok(())
}

/// The toolchain that has a `core` for the BPF target, as `cargo xtask setup` leaves it: the distribution's, linked as `bpf`, else a nightly with its source.
fn toolchain() -> Result<Toolchain<'static>, Box<dyn Error>> {
    match env::var("NETD_BPF_TOOLCHAIN").as_deref() {
        Ok("bpf") => return Ok(Toolchain::Custom("bpf")),
        Ok("nightly") => return Ok(Toolchain::Nightly),
        Ok(other) => return Err(format!("NETD_BPF_TOOLCHAIN={other}: it is `bpf` or `nightly`").into()),
        Err(_) => {}
    }
    if sysroot("bpf").is_some_and(|root| root.join("lib/rustlib/bpfel-unknown-none").is_dir()) {
        return Ok(Toolchain::Custom("bpf"));
    }
    if sysroot("nightly").is_some_and(|root| root.join("lib/rustlib/src/rust/library/core").is_dir()) {
        return Ok(Toolchain::Nightly);
    }
    Err("cannot build netd-ebpf: no toolchain has `core` for BPF, neither `bpf` (the distribution's) nor `nightly` with rust-src; \
         run cargo xtask setup, or set AYA_BUILD_SKIP=1 to build netd without its eBPF programs"
        .into())
}

/// The directory of a rustup toolchain, where it is installed.
fn sysroot(toolchain: &str) -> Option<PathBuf> {
    let output = Command::new("rustup").args(["run", toolchain, "rustc", "--print", "sysroot"]).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| Path::new(path.trim()).to_owned())
}

/// What the build of netd-ebpf has in its environment besides. The distribution's compiler is a stable one, and aya-ebpf needs one unstable feature
/// (inline assembly for BPF): named here it is allowed there and nowhere else, and aya-build does not ask for -Zbuild-std.
#[expect(clippy::disallowed_methods, reason = "aya-build starts cargo itself and passes nothing on but this process's environment")]
fn set_environment(toolchain: &Toolchain<'_>) {
    // SAFETY: a build script has one thread.
    unsafe {
        if matches!(toolchain, Toolchain::Custom(_)) {
            env::set_var("RUSTC_BOOTSTRAP", "aya_ebpf");
        }
        env::set_var("CARGO_TERM_QUIET", "true"); // every line of progress would become a warning of ours
    }
}
