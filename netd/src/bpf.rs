//! The data path's eBPF side: programs, maps, pins, and the tc blocks they stand on. Never decides which container has which slot.
//!
//! What is in the kernel outlives the daemon: maps and programs are pinned, and filters stand on blocks that an anchor keeps. A new daemon opens the
//! pins and finds nothing to do; only a daemon of another build loads its programs, which [`Bpf::put_filters`] then puts in
//! the old ones' place in one step a block, over the same maps.
//!
//! Where the host cannot have eBPF, [`State::Off`] says why, and everything else of netd works on.

pub(crate) mod attach;
pub(crate) mod hooks;
pub(crate) mod laws;
pub(crate) mod mapped;
pub(crate) mod maps;
pub(crate) mod netlink;
pub(crate) mod object;
pub(crate) mod older;
pub(crate) mod pins;
pub(crate) mod places;
pub(crate) mod policy;
pub mod probe;
pub(crate) mod reasons;
pub(crate) mod revision;
pub(crate) mod switch;
pub(crate) mod syscall;
pub(crate) mod table;
pub mod tc;
pub(crate) mod tcx;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use netd_abi::{Attachment, Counters, Direction};
use netd_core::objects::Filters;
use netd_core::policy::book::steps::Sets;

use self::hooks::Hooks;
use self::maps::Maps;
use self::object::Program;
use self::pins::Pins;
use self::probe::Unsupported;
use self::tc::{Blocks, Tc};
use crate::kernel::KernelError;

/// Where netd keeps its pins.
pub const PINS: &str = "/sys/fs/bpf/netd";
/// How many of the verifier's last lines ride in an error.
const VERIFIER_LINES: usize = 20;

/// Something about the data path failed.
#[derive(Debug, thiserror::Error)]
#[error("could not {tried}")]
pub struct BpfError {
    /// What was tried, and on what.
    pub tried: String,
    /// Why it failed.
    #[source]
    pub cause: Cause,
}

impl BpfError {
    pub(crate) fn new(tried: String, cause: Cause) -> Self {
        Self { tried, cause }
    }

    /// Error and cause in one line, for a status or a message.
    pub fn line(&self) -> String {
        format!("{self}: {}", self.cause)
    }
}

/// Why it failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// eBPF is off on this host.
    #[error("{0}")]
    Off(#[from] Unsupported),
    /// rtnetlink refused.
    #[error("{0}")]
    Netlink(#[from] KernelError),
    /// A file or pin.
    #[error("{0}")]
    File(#[from] std::io::Error),
    /// A map; the kernel's words.
    #[error("{0}")]
    Map(String),
    /// A program; the kernel's words and the verifier's last lines.
    #[error("{0}")]
    Program(String),
    /// The embedded object has no such program: netd and netd-ebpf are not of one build.
    #[error("the object has no program `{0}`; build netd again")]
    NoProgram(&'static str),
    /// More attachments than the maps hold.
    #[error("slot {0} is beyond the {max} that the maps hold; remove containers that are not used", max = netd_abi::MAX_ATTACHMENTS)]
    NoSuchSlot(u32),
    /// A map of a layout that cannot be read.
    #[error("its keys are of a layout that this netd does not know; remove the pin if what it counted is not needed")]
    UnknownLayout,
}

impl From<aya::maps::MapError> for Cause {
    fn from(error: aya::maps::MapError) -> Self {
        Self::Map(with_sources(&error))
    }
}

impl From<aya::pin::PinError> for Cause {
    fn from(error: aya::pin::PinError) -> Self {
        Self::Map(with_sources(&error))
    }
}

impl From<aya::programs::ProgramError> for Cause {
    fn from(error: aya::programs::ProgramError) -> Self {
        Self::Program(with_sources(&error))
    }
}

impl From<aya::EbpfError> for Cause {
    fn from(error: aya::EbpfError) -> Self {
        Self::Program(with_sources(&error))
    }
}

/// An error of aya's with its causes, which it does not always repeat; of a long one (a verifier's log) the last lines.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        source = cause.source();
    }
    let lines: Vec<&str> = words.lines().collect();
    match lines.len().checked_sub(VERIFIER_LINES + 1) {
        Some(cut) if cut > 0 => format!("{}\n(… {cut} lines of the verifier)\n{}", lines[0], lines[cut + 1..].join("\n")),
        _ => words,
    }
}

/// Whether packets are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Programs and maps are in the kernel.
    On {
        /// Whether a former daemon's were found, so that nothing was loaded.
        adopted: bool,
    },
    /// They are not, for this reason; one line.
    Off {
        /// What is missing, or what failed.
        why: String,
    },
}

/// The data path, or why there is none.
pub struct Bpf {
    path: Result<DataPath, Unsupported>,
    adopted: bool,
    /// Whether a pacer takes what a program redirects.
    takes_redirected: bool,
}

/// What is needed of it while the daemon runs: descriptors, no object.
struct DataPath {
    pins: Pins,
    maps: Maps,
    programs: [Program; 2],
    tc: Tc,
    blocks: Option<Blocks>,
    /// What each attachment's entry says of policy, also of one that is not there yet.
    sets: BTreeMap<u32, Sets>,
    hooks: Hooks,
}

impl Bpf {
    /// Opens what is pinned in this directory, and loads and pins what is not. Never fails: without eBPF it is off.
    pub fn start(pins: &Path) -> Self {
        let opened = probe::probe(object::OBJECT, pins).and_then(|()| {
            DataPath::open(pins).map_err(|error| Unsupported {
                feature: format!("eBPF ({})", error.line()),
                since: "see the error",
                instead: "containers are connected, nothing is counted",
            })
        });
        match opened {
            Ok((path, adopted)) => {
                let release = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
                Self { path: Ok(path), adopted, takes_redirected: tc::pacer::takes_redirected(&release) }
            }
            Err(why) => Self::off(why),
        }
    }

    /// Without eBPF, because somebody wants it so.
    pub fn off(why: Unsupported) -> Self {
        Self { path: Err(why), adopted: false, takes_redirected: false }
    }

    /// Whether packets are counted.
    pub fn state(&self) -> State {
        match &self.path {
            Ok(_) => State::On { adopted: self.adopted },
            Err(why) => State::Off { why: why.to_string() },
        }
    }

    /// Whether the data path is there.
    pub fn is_on(&self) -> bool {
        self.path.is_ok()
    }

    /// What the host lacks for it, typed; for the status.
    pub fn unsupported(&self) -> Option<&Unsupported> {
        self.path.as_ref().err()
    }

    /// The build of the embedded programs; filters and pins carry it.
    pub fn build(&self) -> Option<&str> {
        self.path.as_ref().ok().map(|path| path.pins.build())
    }

    /// The blocks, once there is an anchor.
    pub fn blocks(&self) -> Option<Blocks> {
        self.path.as_ref().ok().and_then(|path| path.blocks)
    }

    /// How the shared blocks stand: `Current` if the anchor is there, all pins are, and each block runs this build's program
    /// on the pinned maps, and no second filter of ours. `Absent` where eBPF is off.
    pub fn filters(&mut self) -> Result<Filters, BpfError> {
        let Ok(path) = &mut self.path else { return Ok(Filters::Absent) };
        let found =
            path.filters().map_err(|refusal| BpfError::new("look at the filters on the shared tc blocks".to_owned(), refusal.into()))?;
        // Pins without filters are left of an earlier time, or of a start with no network yet: where no filter is wanted they go.
        Ok(if found == Filters::Absent && path.pins.are_there() { Filters::Stale } else { found })
    }

    /// Makes the anchor where it is missing, and binds it to the two blocks.
    pub fn prepare_anchor(&mut self) -> Result<Blocks, BpfError> {
        let path = self.on("make the anchor of the shared tc blocks")?;
        let refusal = match path.tc.prepare_anchor() {
            Ok(blocks) => {
                path.blocks = Some(blocks);
                return Ok(blocks);
            }
            Err(refusal) => refusal,
        };
        if matches!(refusal.errno(), Some(libc::ENOENT | libc::EOPNOTSUPP)) {
            // The kernel will not learn it: off from here on, and never tried again.
            self.path = Err(probe::without_blocks(&refusal.to_string()));
        }
        Err(BpfError::new(format!("bind {} to two tc blocks", netd_core::mark::ANCHOR), refusal.into()))
    }

    /// Puts the programs of this build on both blocks, making the anchor where it is missing. Packets that pass meanwhile
    /// meet the old program or the new one, never none, and both count into the same maps.
    pub fn put_filters(&mut self) -> Result<(), BpfError> {
        let blocks = self.prepare_anchor()?;
        let path = self.on("put the programs on the shared tc blocks")?;
        path.restore_pins()?;
        let name = path.filter_name();
        for (direction, program) in Direction::ALL.into_iter().zip(&path.programs) {
            let block = blocks.of(direction);
            path.tc.put_filter(block, program.fd(), &name).map_err(|refusal| {
                let program = object::name(direction);
                BpfError::new(
                    format!("run `tc filter replace block {block} bpf direct-action name {name}` with program {program}"),
                    refusal.into(),
                )
            })?;
        }
        let failed = path.hooks.replace(&path.programs);
        path.pins.remove_older_maps()?;
        path.pins.remove_older_programs()?;
        failed.into_iter().try_for_each(|ifindex| self.leave_hooks(ifindex))
    }

    /// Removes filters, anchor and all pins; interfaces that are still bound then pass everything, and none is an attachment. What this daemon still holds of
    /// programs and maps goes with it; [`Self::put_filters`] would pin and use them again.
    pub fn remove(&mut self) -> Result<(), BpfError> {
        let path = self.on("remove the data path")?;
        path.remove_from_kernel()
            .map_err(|refusal| BpfError::new(format!("run `ip link del {}`", netd_core::mark::ANCHOR), refusal.into()))?;
        path.blocks = None;
        let all = path.maps.attachments.read()?.clone();
        path.hooks.detach_all(&path.programs)?;
        for (ifindex, attachment) in all {
            path.maps.places.remove(attachment.slot, ifindex)?;
            path.maps.attachments.remove(ifindex)?;
        }
        path.pins.remove_all()
    }

    /// Binds a host-side veth to the blocks: from now on its packets are counted, and dropped while it is no attachment.
    pub fn attach(&mut self, ifindex: u32) -> Result<(), BpfError> {
        let tried = format!("bind interface #{ifindex} to the shared tc blocks");
        let path = self.on(&tried)?;
        let blocks = match path.blocks {
            Some(blocks) => blocks,
            None => self.prepare_anchor()?,
        };
        self.on(&tried)?
            .tc
            .bind(ifindex, blocks)
            .map_err(|refusal| BpfError::new(format!("run `tc qdisc add dev #{ifindex} {blocks} clsact`"), refusal.into()))
    }

    /// Whether an interface is bound to the blocks. One that is not there is not.
    pub fn is_attached(&mut self, ifindex: u32) -> Result<bool, BpfError> {
        let Ok(path) = &mut self.path else { return Ok(false) };
        let Some(blocks) = path.blocks else { return Ok(false) };
        path.tc
            .is_bound(ifindex, blocks)
            .map_err(|refusal| BpfError::new(format!("look at the clsact of interface #{ifindex}"), refusal.into()))
    }

    /// Every interface that is bound to the blocks, the anchor among them.
    pub fn attached(&mut self) -> Result<BTreeSet<u32>, BpfError> {
        let Ok(path) = &mut self.path else { return Ok(BTreeSet::new()) };
        let Some(blocks) = path.blocks else { return Ok(BTreeSet::new()) };
        path.tc.bound(blocks).map_err(|refusal| BpfError::new("look at the qdiscs of all interfaces".to_owned(), refusal.into()))
    }

    /// Which interface is which attachment, read from the map.
    pub fn attachments(&mut self) -> Result<BTreeMap<u32, Attachment>, BpfError> {
        let Ok(path) = &mut self.path else { return Ok(BTreeMap::new()) };
        path.maps.attachments.read().cloned()
    }

    /// What one interface is, as last read or written.
    pub fn attachment(&self, ifindex: u32) -> Option<Attachment> {
        self.path.as_ref().ok()?.maps.attachments.get(ifindex)
    }

    /// What a slot's container sent and received: indexed by [`Direction::number`].
    pub fn counters(&self, slot: u32) -> Result<[Counters; 2], BpfError> {
        let maps = &self.on_ref("read counters")?.maps;
        let [from, to] = places(slot)?;
        Ok([maps.counters.get(from)?, maps.counters.get(to)?])
    }

    /// Sets the counters of a slot to zero. Only for a slot that no interface has: what is counted meanwhile may be lost.
    pub fn zero_counters(&mut self, slot: u32) -> Result<(), BpfError> {
        zero(&mut self.on("zero counters")?.maps, slot)
    }

    /// Packets that were counted by their reason alone, where there were any: those of no attachment, and those that found no room among its counters.
    pub fn alone(&self) -> Result<Vec<(&'static str, u64)>, BpfError> {
        let all = maps::reasons(&self.on_ref("read counters")?.maps.drops)?;
        let packets = all.into_iter().map(|(why, [from, to])| (why.name(), from.packets + to.packets));
        Ok(packets.filter(|(_, packets)| *packets > 0).collect())
    }

    fn on(&mut self, tried: &str) -> Result<&mut DataPath, BpfError> {
        self.path.as_mut().map_err(|why| BpfError::new(tried.to_owned(), why.clone().into()))
    }

    fn on_ref(&self, tried: &str) -> Result<&DataPath, BpfError> {
        self.path.as_ref().map_err(|why| BpfError::new(tried.to_owned(), why.clone().into()))
    }
}

impl DataPath {
    /// Opens the pins; loads what is missing. Says whether all was there.
    fn open(dir: &Path) -> Result<(Self, bool), BpfError> {
        let pins = Pins::open(dir)?;
        let (mut tc, blocks) = Self::open_tc()?;
        if let Some(blocks) = blocks.filter(|_| !pins.have_maps()) {
            Self::rescue(&pins, &mut tc, blocks)?;
        }
        pins.set_aside_misfits()?;
        let mut adopted = true;
        let (mut maps, programs) = match Self::adopt(&pins)? {
            Some(found) => found,
            None => {
                adopted = false;
                object::load(&pins)?;
                (Maps::open(&pins)?, Self::programs(&pins)?)
            }
        };
        let hooks = Hooks::find(&mut maps, &programs)?;
        let sets = maps.attachments.sets();
        Ok((Self { pins, maps, programs, tc, blocks, sets, hooks }, adopted))
    }

    fn open_tc() -> Result<(Tc, Option<Blocks>), BpfError> {
        let mut tc = Tc::open().map_err(|refusal| BpfError::new("open a netlink socket".to_owned(), refusal.into()))?;
        let blocks = tc.blocks().map_err(|refusal| BpfError::new(format!("look at {}", netd_core::mark::ANCHOR), refusal.into()))?;
        Ok((tc, blocks))
    }

    /// Pins are missing though programs run: somebody removed them. The programs' maps are pinned again, with all that was counted.
    fn rescue(pins: &Pins, tc: &mut Tc, blocks: Blocks) -> Result<(), BpfError> {
        for direction in Direction::ALL {
            let block = blocks.of(direction);
            let filters = tc.filters(block).map_err(|refusal| BpfError::new(format!("look at tc block {block}"), refusal.into()))?;
            for filter in filters.iter().filter(|filter| filter.is_ours()) {
                object::maps_of(filter.program)?.into_iter().try_for_each(|map| pins.pin_again(map))?;
            }
        }
        Ok(())
    }

    /// Pins what lost its pin while the daemon ran.
    fn restore_pins(&mut self) -> Result<(), BpfError> {
        if self.pins.are_complete() {
            return Ok(());
        }
        self.maps.ids().into_iter().try_for_each(|map| self.pins.pin_again(map))?;
        // The programs are in the kernel as long as we hold them: loading them again would take the verifier as long as the first time.
        for (direction, program) in Direction::ALL.into_iter().zip(&self.programs) {
            let path = self.pins.program(direction);
            if !path.exists() {
                program.pin(&path)?;
            }
        }
        Ok(())
    }

    /// Maps and programs of this build, if all are pinned and belong together.
    fn adopt(pins: &Pins) -> Result<Option<(Maps, [Program; 2])>, BpfError> {
        if !pins.are_complete() {
            return Ok(None);
        }
        let (maps, programs) = (Maps::open(pins)?, Self::programs(pins)?);
        // A program whose maps' pins were lost counts where nobody reads.
        let used: BTreeSet<u32> = programs.iter().flat_map(Program::maps).copied().collect();
        Ok(maps.ids().is_subset(&used).then_some((maps, programs)))
    }

    fn programs(pins: &Pins) -> Result<[Program; 2], BpfError> {
        let [from, to] = Direction::ALL.map(|direction| Program::open(&pins.program(direction)));
        Ok([from?, to?])
    }

    fn filter_name(&self) -> String {
        format!("{}{}", tc::NAME_PREFIX, self.pins.build())
    }

    fn remove_from_kernel(&mut self) -> Result<(), KernelError> {
        if let Some(blocks) = self.tc.blocks()? {
            for direction in Direction::ALL {
                self.tc.remove_filters(blocks.of(direction), |_| true)?;
            }
        }
        self.tc.remove_anchor()
    }

    fn filters(&mut self) -> Result<Filters, KernelError> {
        self.blocks = self.tc.blocks()?;
        let Some(blocks) = self.blocks else { return Ok(Filters::Absent) };
        let mut current = self.pins.are_complete() && self.hooks.are_current();
        let mut any = false;
        for (direction, program) in Direction::ALL.into_iter().zip(&self.programs) {
            let filters = self.tc.filters(blocks.of(direction))?;
            let mut ours = filters.iter().filter(|filter| filter.is_ours());
            let first = ours.next();
            any |= first.is_some();
            current &= first.is_some_and(|filter| filter.program == program.id) && ours.next().is_none();
        }
        Ok(match (any, current) {
            (false, _) => Filters::Absent,
            (true, false) => Filters::Stale,
            (true, true) => Filters::Current,
        })
    }
}

/// Where the counters of a slot are.
fn places(slot: u32) -> Result<[u32; 2], BpfError> {
    let place = |direction: Direction| {
        direction.counter_of(slot).ok_or_else(|| BpfError::new(format!("find the counters of slot {slot}"), Cause::NoSuchSlot(slot)))
    };
    let [from, to] = Direction::ALL;
    Ok([place(from)?, place(to)?])
}

fn zero(maps: &mut Maps, slot: u32) -> Result<(), BpfError> {
    places(slot)?.into_iter().try_for_each(|at| maps.counters.zero(at))?;
    maps.reasons.zero(slot)
}

#[cfg(test)]
mod tests;
