//! What a running data path holds: pins, maps, programs, the tc blocks and the interfaces' hooks; how they are opened and how they stand. Never decides what is
//! wanted of them.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd as _;
use std::path::Path;

use netd_abi::Direction;
use netd_core::objects::Filters;
use netd_core::policy::book::steps::Sets;

use super::hooks::Hooks;
use super::maps::Maps;
use super::object::Program;
use super::pins::Pins;
use super::tc::{Blocks, Tc};
use super::{BpfError, object, tc};
use crate::kernel::KernelError;

/// What is needed of it while the daemon runs: descriptors, no object.
pub(super) struct DataPath {
    pub(super) pins: Pins,
    pub(super) maps: Maps,
    pub(super) programs: [Program; 2],
    pub(super) tc: Tc,
    pub(super) blocks: Option<Blocks>,
    /// None where the kernel has no hooks for us.
    pub(super) hooks: Option<Hooks>,
    /// Whether the blocks run this build's programs, as last seen.
    pub(super) is_current: bool,
    /// What each attachment's entry says of policy, also of one that is not there yet.
    pub(super) sets: BTreeMap<u32, Sets>,
}

impl DataPath {
    /// Opens the pins; loads what is missing. Says whether all was there.
    pub(super) fn open(dir: &Path, with_hooks: bool) -> Result<(Self, bool), BpfError> {
        let pins = Pins::open(dir)?;
        let (mut tc, blocks) = Self::open_tc()?;
        if let Some(blocks) = blocks.filter(|_| !pins.have_maps()) {
            Self::rescue(&pins, &mut tc, blocks)?;
        }
        pins.set_aside_misfits()?;
        let mut adopted = true;
        let (maps, programs) = match Self::adopt(&pins)? {
            Some(found) => found,
            None => {
                adopted = false;
                object::load(&pins, with_hooks)?;
                (Maps::open(&pins)?, Self::programs(&pins)?)
            }
        };
        let sets = maps.attachments.sets();
        let hooks = with_hooks.then(|| Hooks::new(&programs)).transpose();
        let hooks = hooks.map_err(|error| BpfError::new("keep the programs for the interfaces' hooks".to_owned(), error.into()))?;
        Ok((Self { pins, maps, programs, tc, blocks, hooks, is_current: false, sets }, adopted))
    }

    /// Puts the programs on an interface's own hooks, later; not before the blocks run the same ones.
    pub(super) fn put_on_hooks(&mut self, ifindex: u32) -> Result<(), BpfError> {
        let Some(hooks) = self.hooks.as_mut().filter(|_| self.is_current) else { return Ok(()) };
        hooks.put_soon(ifindex).map_err(|error| {
            BpfError::new(format!("start the thread that puts programs on the hooks of interface #{ifindex}"), error.into())
        })
    }

    /// Replaces another build's programs on the interfaces' hooks.
    pub(super) fn renew_hooks(&mut self, blocks: Blocks) -> Result<(), BpfError> {
        let Some(hooks) = &self.hooks else { return Ok(()) };
        for (direction, program) in Direction::ALL.into_iter().zip(&self.programs) {
            let block = blocks.of(direction);
            let filters = self.tc.filters(block).map_err(|refusal| BpfError::new(format!("look at tc block {block}"), refusal.into()))?;
            for former in filters.iter().filter(|filter| filter.is_ours() && filter.program != program.id) {
                let Some(fd) = object::fd_of(former.program)? else { continue };
                for (ifindex, _) in self.maps.attachments.read()?.clone() {
                    hooks.replace(ifindex, direction, fd.as_fd()).map_err(|error| {
                        let name = object::name(direction);
                        BpfError::new(
                            format!("replace program #{} by {name} on the hook of interface #{ifindex}", former.program),
                            error.into(),
                        )
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Takes the programs off all interfaces' hooks.
    pub(super) fn leave_hooks(&mut self) -> Result<(), BpfError> {
        let Some(hooks) = &mut self.hooks else { return Ok(()) };
        for (ifindex, _) in self.maps.attachments.read()?.clone() {
            hooks
                .take_away(ifindex)
                .map_err(|error| BpfError::new(format!("take the programs off the hooks of interface #{ifindex}"), error.into()))?;
        }
        Ok(())
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
    pub(super) fn restore_pins(&mut self) -> Result<(), BpfError> {
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

    pub(super) fn filter_name(&self) -> String {
        format!("{}{}", tc::NAME_PREFIX, self.pins.build())
    }

    pub(super) fn remove_from_kernel(&mut self) -> Result<(), KernelError> {
        if let Some(blocks) = self.tc.blocks()? {
            for direction in Direction::ALL {
                self.tc.remove_filters(blocks.of(direction), |_| true)?;
            }
        }
        self.tc.remove_anchor()
    }

    pub(super) fn filters(&mut self) -> Result<Filters, KernelError> {
        self.blocks = self.tc.blocks()?;
        let Some(blocks) = self.blocks else { return Ok(Filters::Absent) };
        let mut current = self.pins.are_complete();
        let mut any = false;
        for (direction, program) in Direction::ALL.into_iter().zip(&self.programs) {
            let filters = self.tc.filters(blocks.of(direction))?;
            let mut ours = filters.iter().filter(|filter| filter.is_ours());
            let first = ours.next();
            any |= first.is_some();
            current &= first.is_some_and(|filter| filter.program == program.id) && ours.next().is_none();
        }
        self.is_current = any && current;
        Ok(match (any, current) {
            (false, _) => Filters::Absent,
            (true, false) => Filters::Stale,
            (true, true) => Filters::Current,
        })
    }
}
