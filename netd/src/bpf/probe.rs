//! What the kernel and our rights allow, decided once at start. Never looks at a version number, never changes anything.

use std::path::Path;

use aya::maps::MapType;
use aya::programs::ProgramType;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

/// Something the data path would use and this host does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{feature} is not there ({since}); instead: {instead}")]
pub struct Unsupported {
    /// What is missing.
    pub feature: String,
    /// Since when there is such a thing, or what gives the right to it.
    pub since: &'static str,
    /// What netd does without it, or what to do to get it.
    pub instead: &'static str,
}

/// Without any of these nothing is counted, and policies cannot be enforced.
const NOTHING_COUNTED: &str = "containers are connected, nothing is counted, and policies are refused";

/// Tries what the programs need: a place for pins, the right to load, the types of program and maps.
pub(crate) fn probe(object: &[u8], pins: &Path) -> Result<(), Unsupported> {
    if object.is_empty() {
        return Err(missing("the eBPF object", "netd was built with AYA_BUILD_SKIP"));
    }
    // The pin directory need not be there yet; what it will be made in has to be a BPF file system.
    let place = pins.ancestors().find(|path| path.is_dir()).unwrap_or(pins);
    match statfs(place).map(|stat| stat.filesystem_type()) {
        Ok(BPF_FS_MAGIC) => {}
        Ok(_) => {
            return Err(missing(format!("a BPF file system at {}", place.display()), "mount -t bpf bpf /sys/fs/bpf, then restart netd"));
        }
        Err(error) => return Err(missing(format!("{} ({error})", place.display()), "mount -t bpf bpf /sys/fs/bpf, then restart netd")),
    }
    for (name, kind, since) in [
        ("BPF hash maps", MapType::Hash, "4.6, and CAP_BPF"),
        ("BPF per-CPU arrays", MapType::PerCpuArray, "4.6, and CAP_BPF"),
        ("BPF LRU hash maps", MapType::LruHash, "4.10, and CAP_BPF"),
        ("BPF prefix maps", MapType::LpmTrie, "4.11, and CAP_BPF"),
        ("BPF ring buffers", MapType::RingBuf, "5.8, and CAP_BPF"),
    ] {
        answer(name, since, aya::sys::is_map_supported(kind).map_err(|error| error.io_error.to_string()))?;
    }
    let classifier = aya::sys::is_program_supported(ProgramType::SchedClassifier).map_err(|error| error.to_string());
    answer("BPF programs on tc", "4.1, and CAP_BPF with CAP_NET_ADMIN", classifier)
}

/// The blocks came out missing when the anchor was to be bound: the kernel has no `clsact`, or none with shared blocks.
pub(crate) fn without_blocks(said: &str) -> Unsupported {
    Unsupported {
        feature: format!("clsact on shared tc blocks ({said})"),
        since: "4.17, CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF",
        instead: NOTHING_COUNTED,
    }
}

fn answer(feature: &str, since: &'static str, supported: Result<bool, String>) -> Result<(), Unsupported> {
    match supported {
        Ok(true) => Ok(()),
        Ok(false) => Err(Unsupported { feature: feature.to_owned(), since, instead: NOTHING_COUNTED }),
        Err(why) => Err(Unsupported { feature: format!("{feature} ({why})"), since, instead: NOTHING_COUNTED }),
    }
}

fn missing(feature: impl Into<String>, since: &'static str) -> Unsupported {
    Unsupported { feature: feature.into(), since, instead: NOTHING_COUNTED }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_programs_says_so() {
        let why = probe(&[], Path::new("/sys/fs/bpf/netd")).unwrap_err().to_string();
        assert_eq!(
            why,
            "the eBPF object is not there (netd was built with AYA_BUILD_SKIP); instead: containers are connected, nothing is counted, and policies are refused"
        );
    }

    #[test]
    fn a_directory_that_is_no_bpf_file_system_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let why = probe(&[1], &dir.path().join("netd")).unwrap_err();
        assert!(why.feature.contains(&dir.path().display().to_string()), "{why}");
    }
}
