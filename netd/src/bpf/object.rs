//! The embedded eBPF object: what build it is, and how it gets into the kernel. Never attaches a program.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use aya::EbpfLoader;
use aya::programs::SchedClassifier;
use netd_abi::Direction;

use super::pins::Pins;
use super::syscall::bpf;
use super::{BpfError, Cause};

/// The object that netd/build.rs made; empty when it was told to skip that.
pub(crate) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/netd-ebpf"));

/// What one build of the programs is known by: in the names of filters and pins.
pub(crate) fn build() -> String {
    // FNV-1a with 64 bits: it only tells builds apart.
    let hash = OBJECT.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

/// The program of one direction: its function's name in netd-ebpf.
pub(crate) fn name(direction: Direction) -> &'static str {
    match direction {
        Direction::FromContainer => "from_container",
        Direction::ToContainer => "to_container",
    }
}

/// The CPUs that the machine may have, those that are not there now among them.
const POSSIBLE_CPUS: &str = "/sys/devices/system/cpu/possible";
/// The map with a place to work in for each CPU.
const PLACES_TO_WORK: &str = "WORK";

/// bpf(2)'s command to pin what a descriptor stands for. (aya pins a program only once.)
const BPF_OBJ_PIN: libc::c_long = 6;

/// `union bpf_attr` as that command reads it.
#[repr(C)]
struct PinAttr {
    path: u64,
    fd: u32,
    flags: u32,
}

/// A program in the kernel.
pub(crate) struct Program {
    fd: OwnedFd,
    /// The kernel's number of it.
    pub(crate) id: u32,
    maps: BTreeSet<u32>,
}

impl Program {
    /// For the filter that shall run it.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The program pinned here.
    pub(crate) fn open(path: &Path) -> Result<Self, BpfError> {
        let failed = |cause| BpfError::new(format!("open the program pinned at {}", path.display()), cause);
        let program = SchedClassifier::from_pin(path).map_err(|error| failed(error.into()))?;
        let info = program.info().map_err(|error| failed(error.into()))?;
        let maps = info.map_ids().map_err(|error| failed(error.into()))?.unwrap_or_default();
        let fd = program.fd().map_err(|error| failed(error.into()))?.as_fd().try_clone_to_owned().map_err(|error| failed(error.into()))?;
        Ok(Self { fd, id: info.id(), maps: maps.into_iter().collect() })
    }

    /// Pins it here.
    pub(crate) fn pin(&self, path: &Path) -> Result<(), BpfError> {
        let failed = |error: io::Error| BpfError::new(format!("pin a program at {}", path.display()), error.into());
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| failed(error.into()))?;
        let mut attr = PinAttr { path: name.as_ptr() as u64, fd: self.fd.as_raw_fd() as u32, flags: 0 };
        // SAFETY: the attribute is this command's, and the path ends with a NUL and outlives the call.
        unsafe { bpf(BPF_OBJ_PIN, &mut attr) }.map(drop).map_err(failed)
    }

    /// The kernel's numbers of the maps that it works on, those without a pin among them.
    pub(crate) fn maps(&self) -> &BTreeSet<u32> {
        &self.maps
    }
}

/// The kernel's numbers of the maps that a running program works on. None for a program that is gone.
pub(crate) fn maps_of(program: u32) -> Result<Vec<u32>, BpfError> {
    let failed = |error: aya::programs::ProgramError| BpfError::new(format!("look at the program with id {program}"), error.into());
    let found = aya::programs::loaded_programs().filter_map(Result::ok).find(|info| info.id() == program);
    found.map_or(Ok(Vec::new()), |info| Ok(info.map_ids().map_err(failed)?.unwrap_or_default()))
}

/// Loads the object: makes and pins the maps that have no pin yet, and pins both programs.
pub(crate) fn load(pins: &Pins) -> Result<(), BpfError> {
    let failed = |cause: Cause| BpfError::new("load the eBPF object".to_owned(), cause);
    // aya takes the pin of each map as the truth, and keeps borrowed paths.
    let paths: Vec<(&str, PathBuf)> = netd_abi::MAPS.iter().map(|map| (map.name, pins.map(map))).collect();
    let mut loader = EbpfLoader::new();
    loader.map_max_entries(PLACES_TO_WORK, places_to_work()?);
    for (name, path) in &paths {
        loader.map_pin_path(name, path.as_path());
    }
    let mut object = loader.load(OBJECT).map_err(|error| failed(error.into()))?;
    for direction in Direction::ALL {
        let program = object.program_mut(name(direction)).ok_or_else(|| failed(Cause::NoProgram(name(direction))))?;
        let classifier: &mut SchedClassifier = program.try_into().map_err(|error: aya::programs::ProgramError| failed(error.into()))?;
        classifier.load().map_err(|error| failed(error.into()))?;
        let path = pins.program(direction);
        if path.exists() {
            fs::remove_file(&path).map_err(|error| failed(error.into()))?;
        }
        classifier.pin(&path).map_err(|error| failed(error.into()))?;
    }
    drop(object);
    drop(loader);
    release_memory();
    Ok(())
}

/// One more than the highest number that a CPU of this machine may have.
fn places_to_work() -> Result<u32, BpfError> {
    let failed = |error: io::Error| BpfError::new(format!("read which CPUs there may be in {POSSIBLE_CPUS}"), error.into());
    let cpus = fs::read_to_string(POSSIBLE_CPUS).map_err(failed)?;
    highest(&cpus).map(|cpu| cpu + 1).ok_or_else(|| failed(io::Error::other(format!("{:?} names none", cpus.trim()))))
}

/// The highest number of a list as the kernel writes it: `0,2-7` (Documentation/admin-guide/cputopology.rst).
fn highest(cpus: &str) -> Option<u32> {
    cpus.trim().split([',', '-']).filter_map(|cpu| cpu.parse().ok()).max()
}

/// Parsing took some tens of megabytes for a moment (the kernel's BTF); a daemon that sleeps gives them back.
fn release_memory() {
    // SAFETY: malloc_trim only returns free pages of the C library's heap to the kernel; it may be called at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::highest;

    #[test]
    fn the_highest_cpu_of_a_list_is_found_wherever_it_stands() {
        for (cpus, wanted) in [("0\n", Some(0)), ("0-1\n", Some(1)), ("0,2-7\n", Some(7)), ("0-63,128\n", Some(128)), ("\n", None)] {
            assert_eq!(highest(cpus), wanted, "{cpus}");
        }
    }
}
