//! The programs' maps in the hands of a story that makes them fuller or older than it has the time to wait for, or as a daemon leaves them that is killed
//! between two writes. Never while that one runs, where it alone writes.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use aya::{
    Pod,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuHashMap, PerCpuValues},
};

use crate::{Lab, wait::eventually};

/// Where netd pins them, on the host.
const PINS: &str = "/sys/fs/bpf/netd";
/// Values that hold when they were written, in nanoseconds since boot: those of connections through published ports, and of first fragments.
const OF_JUDGED: Range<usize> = 16..24;
const OF_FRAGMENTS: Range<usize> = 8..16;
/// Key, value and time of `FRAGMENTS` and of `JUDGED` are so many bytes.
const FRAGMENT_KEY: usize = 44;
const JUDGED_KEY: usize = 24;
/// A value of `ENDS` has so many bytes, among them its number and its interface's; the last number is nobody's in any story.
const END: usize = 48;
const SLOT: Range<usize> = 0..4;
const IFINDEX: Range<usize> = 16..20;
const ATTACHMENTS: u32 = 16_384;

impl Lab {
    /// Connections through published ports were let through so much longer ago.
    #[track_caller]
    pub fn lets_age_judged(&self, by: Duration) {
        age::<[u8; JUDGED_KEY], { OF_JUDGED.end }>(self.map("JUDGED"), OF_JUDGED, by);
    }

    /// First fragments came so much longer ago.
    #[track_caller]
    pub fn lets_age_fragments(&self, by: Duration) {
        age::<[u8; FRAGMENT_KEY], { OF_FRAGMENTS.end }>(self.map("FRAGMENTS"), OF_FRAGMENTS, by);
    }

    /// The counters by reason have no room for one more, as on a host of thousands of containers.
    #[track_caller]
    pub fn fills_reasons(&self) {
        let mut reasons: PerCpuHashMap<MapData, u32, [u64; 3]> = self.map("REASONS").try_into().expect("counters by reason");
        let cpus = aya::util::nr_cpus().unwrap_or_else(|(file, why)| panic!("{file}: {why}"));
        // These attachments there cannot be.
        for key in (0..=u32::MAX).rev() {
            // The kernel sets memory for such values aside behind our back (kernel/bpf/memalloc.c): who is faster than that is refused, and asks again.
            let is_full = eventually("the kernel has memory for one more reason", || {
                let nothing = PerCpuValues::try_from(vec![[0; 3]; cpus]).expect("a value for each CPU");
                match reasons.insert(key, nothing, 0) {
                    Ok(()) => Some(false),
                    Err(MapError::SyscallError(why)) if why.io_error.raw_os_error() == Some(libc::E2BIG) => Some(true),
                    Err(MapError::SyscallError(why)) if why.io_error.raw_os_error() == Some(libc::ENOMEM) => None,
                    Err(why) => panic!("REASONS cannot be filled: {why:?}"),
                }
            });
            if is_full {
                return;
            }
        }
    }

    /// The programs take a host end of a container for nobody's, as its second place was not written any more.
    #[track_caller]
    pub fn mistakes(&self, host_end: &str) {
        assert!(!self.netd().runs(), "netd writes there");
        let mut ends: Array<MapData, [u8; END]> = self.map("ENDS").try_into().expect("an array of this layout");
        let index = self.here().link(host_end)["ifindex"].as_u64().expect("iproute2 prints indexes") as u32;
        let mut end = ends.get(&index, 0).expect("so few interfaces have a place of their own each");
        assert_eq!(end[IFINDEX], index.to_ne_bytes(), "the place is that of {host_end}");
        end[SLOT].copy_from_slice(&(ATTACHMENTS - 1).to_ne_bytes());
        ends.set(index, end, 0).expect("it can be written");
    }

    /// A map has the pin that a netd of the former layout gave it.
    #[track_caller]
    pub fn takes_back_layout(&self, name: &str) {
        assert!(!self.netd().runs(), "netd pins there");
        let pin = self.pin(name);
        let layout = self.layout(name) - 1;
        let former = pin.with_file_name(format!("{name}_v{layout}"));
        std::fs::rename(&pin, &former).unwrap_or_else(|why| panic!("{} cannot be renamed: {why}", pin.display()));
    }

    /// The kernel's number of a map in its newest layout.
    #[track_caller]
    pub fn map_id(&self, name: &str) -> u32 {
        self.data(name).info().expect("the kernel knows its maps").id()
    }

    /// The newest layout of a map.
    #[track_caller]
    pub fn layout(&self, name: &str) -> u32 {
        layout_of(name, &self.pin(name)).expect("the pin has one")
    }

    #[track_caller]
    fn map(&self, name: &str) -> Map {
        Map::from_map_data(self.data(name)).unwrap_or_else(|why| panic!("{name} is of no known kind: {why:?}"))
    }

    #[track_caller]
    fn data(&self, name: &str) -> MapData {
        MapData::from_pin(self.pin(name)).unwrap_or_else(|why| panic!("{name} cannot be opened: {why:?}"))
    }

    /// Where the map of this name is pinned, in its newest layout.
    #[track_caller]
    fn pin(&self, name: &str) -> PathBuf {
        let pins = self.host().path(PINS);
        let there = std::fs::read_dir(&pins).unwrap_or_else(|why| panic!("{} cannot be listed: {why}", pins.display()));
        let layout = |path: &PathBuf| layout_of(name, path);
        let newest = there.flatten().map(|entry| entry.path()).filter(|path| layout(path).is_some()).max_by_key(layout);
        newest.unwrap_or_else(|| panic!("no map {name} is pinned in {}", pins.display()))
    }
}

/// The layout that a map's pin names.
fn layout_of(name: &str, pin: &Path) -> Option<u32> {
    pin.file_name()?.to_str()?.strip_prefix(name)?.strip_prefix("_v")?.parse().ok()
}

#[track_caller]
fn age<K: Pod, const VALUE: usize>(map: Map, time: Range<usize>, by: Duration) {
    let mut map: HashMap<MapData, K, [u8; VALUE]> = map.try_into().expect("a map of this layout");
    let all: Vec<(K, [u8; VALUE])> = map.iter().collect::<Result<_, _>>().expect("it can be read");
    assert!(!all.is_empty(), "nothing is there that could age");
    for (key, mut value) in all {
        let since = u64::from_ne_bytes(value[time.clone()].try_into().expect("eight bytes"));
        let earlier = since - u64::try_from(by.as_nanos()).expect("some seconds");
        value[time.clone()].copy_from_slice(&earlier.to_ne_bytes());
        map.insert(key, value, 0).expect("it can be written");
    }
}
