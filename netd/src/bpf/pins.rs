//! The pin directory: what each pin is called, which ones are of this build and layout, and which are older. Never reads what is in a map.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use aya::maps::{MapData, MapInfo, MapType};
use netd_abi::{Direction, MapKind, MapSpec, maps};

use super::{BpfError, object};

/// The directory of all pins. (A BPF file system takes no dot in a name.)
#[derive(Debug)]
pub(crate) struct Pins {
    dir: PathBuf,
    build: String,
}

impl Pins {
    /// Makes the directory where it is missing.
    pub(crate) fn open(dir: &Path) -> Result<Self, BpfError> {
        let pins = Self { dir: dir.to_owned(), build: object::build() };
        pins.make_directory()?;
        Ok(pins)
    }

    fn make_directory(&self) -> Result<(), BpfError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|error| BpfError::new(format!("make the directory {}", self.dir.display()), error.into()))
    }

    /// The build of the embedded programs.
    pub(crate) fn build(&self) -> &str {
        &self.build
    }

    /// Where a map of today's layout is pinned: `COUNTERS_v1`.
    pub(crate) fn map(&self, spec: &MapSpec) -> PathBuf {
        self.dir.join(format!("{}{}", prefix(spec), spec.version))
    }

    /// Where a program of this build is pinned: `from_container_0123456789abcdef`.
    pub(crate) fn program(&self, direction: Direction) -> PathBuf {
        self.dir.join(format!("{}_{}", object::name(direction), self.build))
    }

    /// The pins of a map in layouts other than today's, oldest name first.
    pub(crate) fn older(&self, spec: &MapSpec) -> Result<Vec<PathBuf>, BpfError> {
        let current = self.map(spec);
        let mut older: Vec<PathBuf> = self.all()?.into_iter().filter(|path| *path != current && starts_with(path, &prefix(spec))).collect();
        older.sort();
        Ok(older)
    }

    /// Sets a map aside that has the pin of today's layout but not its shape, so that one of today's shape can be made.
    pub(crate) fn set_aside_misfits(&self) -> Result<(), BpfError> {
        for spec in &netd_abi::MAPS {
            let path = self.map(spec);
            let failed = |cause| BpfError::new(format!("check the map pinned at {}", path.display()), cause);
            let map = match MapData::from_pin(&path) {
                Ok(map) => map,
                Err(_) if !path.exists() => continue,
                Err(error) => return Err(failed(error.into())),
            };
            let info = map.info().map_err(|error| failed(error.into()))?;
            if !fits(&info, spec) {
                fs::rename(&path, self.misfit(spec, &info)).map_err(|error| failed(error.into()))?;
            }
        }
        Ok(())
    }

    /// Whether every map and program has its pin.
    pub(crate) fn are_complete(&self) -> bool {
        self.have_maps() && Direction::ALL.into_iter().all(|direction| self.program(direction).exists())
    }

    /// Whether every map has its pin.
    pub(crate) fn have_maps(&self) -> bool {
        netd_abi::MAPS.iter().all(|spec| self.map(spec).exists())
    }

    /// Pins a map that lost its pin, or never had one here. `id` is the kernel's number of it. One that is none of ours is left alone.
    pub(crate) fn pin_again(&self, id: u32) -> Result<(), BpfError> {
        let failed = |cause| BpfError::new(format!("pin the map with id {id} again"), cause);
        let map = MapData::from_id(id).map_err(|error| failed(error.into()))?;
        let info = map.info().map_err(|error| failed(error.into()))?;
        let Some(spec) = netd_abi::MAPS.iter().find(|spec| info.name_as_str() == Some(spec.name)) else { return Ok(()) };
        let path = if fits(&info, spec) { self.map(spec) } else { self.misfit(spec, &info) };
        // One that has the pin of an older layout is none of today's, even of the same shape.
        if path.exists() || self.older(spec)?.iter().any(|path| is_pin_of(path, info.id())) {
            return Ok(());
        }
        self.make_directory()?;
        map.pin(&path).map_err(|error| failed(error.into()))
    }

    /// Where a map of another shape is pinned: [`Pins::older`] finds it there.
    fn misfit(&self, spec: &MapSpec, info: &MapInfo) -> PathBuf {
        self.dir.join(format!("{}{}_was_{}", prefix(spec), spec.version, info.id()))
    }

    /// Removes the pins of programs of other builds. Filters that still run them keep them alive until they are replaced.
    pub(crate) fn remove_older_programs(&self) -> Result<(), BpfError> {
        for direction in Direction::ALL {
            let current = self.program(direction);
            for path in self.all()? {
                if path != current && starts_with(&path, &format!("{}_", object::name(direction))) {
                    remove(&path)?;
                }
            }
        }
        Ok(())
    }

    /// Removes the pins of maps of other layouts, and of such as there are none any more, but for those that count: what they hold is added to today's.
    pub(crate) fn remove_older_maps(&self) -> Result<(), BpfError> {
        let is_kept = |path: &PathBuf| {
            netd_abi::MAPS.iter().any(|spec| *path == self.map(spec)) || TAKEN_OVER.iter().any(|spec| starts_with(path, &prefix(spec)))
        };
        self.all()?.iter().filter(|path| is_map(path) && !is_kept(path)).try_for_each(|path| remove(path))
    }

    /// Whether the directory is there.
    pub(crate) fn are_there(&self) -> bool {
        self.dir.exists()
    }

    /// Removes the directory and all that is in it.
    pub(crate) fn remove_all(&self) -> Result<(), BpfError> {
        for path in self.all()? {
            remove(&path)?;
        }
        match fs::remove_dir(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(BpfError::new(format!("remove the directory {}", self.dir.display()), error.into()))
            }
            _ => Ok(()),
        }
    }

    fn all(&self) -> Result<Vec<PathBuf>, BpfError> {
        let failed = |error: io::Error| BpfError::new(format!("list the pins in {}", self.dir.display()), error.into());
        match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => entries.map_err(failed)?.map(|entry| Ok(entry.map_err(failed)?.path())).collect(),
        }
    }
}

/// Maps of which older layouts are still read.
const TAKEN_OVER: [MapSpec; 4] = [maps::ATTACHMENTS, maps::COUNTERS, maps::DROPS, maps::RULE_HITS];

/// Whether a pin has the name of a map: capitals, and the layout.
fn is_map(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let layout = name.split_once("_v").map(|(name, layout)| (name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), layout));
    layout.is_some_and(|(is_name, layout)| is_name && layout.starts_with(|digit: char| digit.is_ascii_digit()))
}

/// Whether this map is pinned here.
fn is_pin_of(path: &Path, id: u32) -> bool {
    MapData::from_pin(path).and_then(|map| map.info()).is_ok_and(|info| info.id() == id)
}

/// Removes a pin. What it pinned goes with its last user.
pub(crate) fn remove(path: &Path) -> Result<(), BpfError> {
    fs::remove_file(path).map_err(|error| BpfError::new(format!("remove the pin {}", path.display()), error.into()))
}

/// Whether a map in the kernel has the shape of today's layout.
fn fits(info: &MapInfo, spec: &MapSpec) -> bool {
    let kind = match spec.kind {
        MapKind::Hash => MapType::Hash,
        MapKind::LruHash => MapType::LruHash,
        MapKind::PerCpuHash => MapType::PerCpuHash,
        MapKind::Array | MapKind::Mapped => MapType::Array,
        MapKind::PerCpuArray => MapType::PerCpuArray,
        MapKind::Lpm => MapType::LpmTrie,
        MapKind::Ring => MapType::RingBuf,
    };
    info.map_type().is_ok_and(|found| found == kind)
        && (spec.kind != MapKind::Mapped || info.map_flags() & BPF_F_MMAPABLE != 0)
        && (info.key_size(), info.value_size(), info.max_entries()) == (spec.key, spec.value, spec.entries)
}

/// A flag of maps whose values can be had in a process's memory: linux/bpf.h.
const BPF_F_MMAPABLE: u32 = 1 << 10;

/// What the pins of a map begin with, in every layout.
fn prefix(spec: &MapSpec) -> String {
    format!("{}_v", spec.name)
}

fn starts_with(path: &Path, prefix: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_say_layout_and_build_and_have_no_dot() {
        let pins = Pins { dir: "/pins".into(), build: "0123456789abcdef".into() };
        assert_eq!(pins.map(&netd_abi::maps::COUNTERS), Path::new("/pins/COUNTERS_v1"));
        assert_eq!(pins.program(Direction::ToContainer), Path::new("/pins/to_container_0123456789abcdef"));
    }

    #[test]
    fn maps_of_another_layout_are_found_beside_todays() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["COUNTERS_v1", "COUNTERS_v0", "COUNTERS_v1_was_7", "ATTACHMENTS_v0", "from_container_0"] {
            fs::write(dir.path().join(name), []).unwrap();
        }
        let pins = Pins::open(dir.path()).unwrap();
        let older = pins.older(&netd_abi::maps::COUNTERS).unwrap();
        assert_eq!(older, [dir.path().join("COUNTERS_v0"), dir.path().join("COUNTERS_v1_was_7")]);
        pins.remove_older_programs().unwrap();
        assert!(!dir.path().join("from_container_0").exists());
        let today = pins.map(&maps::FLOWS);
        fs::write(&today, []).unwrap();
        let gone = ["FLOWS_v0", "FLOWS_v2_was_9", "NEW_FLOWS_v2"].map(|name| dir.path().join(name));
        gone.iter().for_each(|path| fs::write(path, []).unwrap());
        pins.remove_older_maps().unwrap();
        assert!(gone.iter().all(|path| !path.exists()) && today.exists());
        assert_eq!(pins.older(&maps::COUNTERS).unwrap(), older, "they still count");
        pins.remove_all().unwrap();
        assert!(!dir.path().exists());
    }
}
