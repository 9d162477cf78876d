//! Builds netd-ebpf and leaves its object where `src/bpf/object.rs` embeds it. Never downloads or installs anything: `cargo xtask setup` does.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

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
    let built = build(&toolchain, &out.join("ebpf"))?;
    fs::copy(&built, out.join("netd-ebpf")).map_err(|why| format!("cannot copy {}: {why}", built.display()))?;
    Ok(())
}

/// Builds netd-ebpf, a workspace of its own, and gives its object. By cargo itself and not by aya-build, which leaves no room for the instruction set: version
/// 3 (Linux 5.1) has 32-bit jumps and arithmetic, without which the verifier looks at several times as many instructions, more than it may.
fn build(toolchain: &Toolchain, target_dir: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let arch = env::var("CARGO_CFG_TARGET_ARCH")?;
    let endian = if env::var("CARGO_CFG_TARGET_ENDIAN")? == "big" { "bpfeb" } else { "bpfel" };
    let target = format!("{endian}-unknown-none");
    let flags = [
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Ctarget-cpu=v3".to_owned(),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
    ];
    let mut cargo = Command::new("rustup");
    cargo.args(["run", toolchain.name(), "cargo", "build", "--quiet", "--release", "--bins", "--target", &target]);
    cargo.arg("--target-dir").arg(target_dir).current_dir(PACKAGE).env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    match toolchain {
        // A stable compiler, and aya-ebpf needs one unstable feature (inline assembly for BPF): allowed there and nowhere else.
        Toolchain::Distribution => cargo.env("RUSTC_BOOTSTRAP", "aya_ebpf"),
        Toolchain::Nightly => cargo.arg("-Zbuild-std=core"),
    };
    // What cargo tells the compiler of this build is not meant for that one.
    for key in ["RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CARGO"] {
        cargo.env_remove(key);
    }
    let output = cargo.output().map_err(|why| format!("cannot run rustup to build netd-ebpf: {why}"))?;
    if !output.status.success() {
        return Err(format!("cannot build netd-ebpf ({}):\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(target_dir.join(target).join("release/netd-ebpf"))
}

/// A toolchain with a `core` for BPF.
enum Toolchain {
    /// The distribution's, linked as `bpf`.
    Distribution,
    /// A nightly with its source.
    Nightly,
}

impl Toolchain {
    fn name(&self) -> &'static str {
        match self {
            Self::Distribution => "bpf",
            Self::Nightly => "nightly",
        }
    }
}

/// The toolchain that has a `core` for the BPF target, as `cargo xtask setup` leaves it: the distribution's, linked as `bpf`, else a nightly with its source.
fn toolchain() -> Result<Toolchain, Box<dyn Error>> {
    match env::var("NETD_BPF_TOOLCHAIN").as_deref() {
        Ok("bpf") => return Ok(Toolchain::Distribution),
        Ok("nightly") => return Ok(Toolchain::Nightly),
        Ok(other) => return Err(format!("NETD_BPF_TOOLCHAIN={other}: it is `bpf` or `nightly`").into()),
        Err(_) => {}
    }
    if sysroot("bpf").is_some_and(|root| root.join("lib/rustlib/bpfel-unknown-none").is_dir()) {
        return Ok(Toolchain::Distribution);
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
