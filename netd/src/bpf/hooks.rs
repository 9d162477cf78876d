//! The programs at the own hooks of links that carry much (`tcx`), where they cost a packet less than on the shared blocks. Never decides which links those are.
//!
//! The blocks stay behind them. [`flag::OWN_HOOKS`] is set before the first program is attached and cleared after the last was taken away: as long as it is set,
//! what goes on ends the chain, so that each packet is seen by a hook's program or by the block's, and never by both. Whoever takes our programs from a link
//! gives it back to the blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::MapData;
use netd_abi::attachment::flag;
use netd_abi::{Attachment, Direction};

use super::maps::Maps;
use super::object::Program;
use super::{Bpf, BpfError, object, tcx};
use crate::kernel::AtHooks;

/// The loopback interface's index in every network namespace, to ask whether there are such hooks at all.
const LOOPBACK: u32 = 1;

/// Which links have the programs at their own hooks.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    /// Whether this kernel has such hooks.
    are_there: bool,
    at: BTreeSet<u32>,
    /// Whether all run the programs of this build.
    are_current: bool,
    /// No link was known at the start: those that are made known may run programs of maps that nobody knows any more.
    may_be_forgotten: bool,
}

impl Hooks {
    /// What a former daemon left; a link that has not both programs gives back the one it has.
    pub(crate) fn find(maps: &mut Maps, programs: &[Program; 2]) -> Result<Self, BpfError> {
        let known = maps.attachments.all().clone();
        let are_there = tcx::programs(LOOPBACK, Direction::FromContainer).is_ok();
        let mut found = Self { are_there, at: BTreeSet::new(), are_current: true, may_be_forgotten: known.is_empty() };
        let mut ours = Ours::of(programs);
        for (ifindex, attachment) in known {
            if !are_there {
                break;
            }
            match ours.at_both(ifindex) {
                Ok([from, to]) if !from.is_empty() && !to.is_empty() => {
                    found.at.insert(ifindex);
                    found.are_current &= [from, to] == programs.each_ref().map(|program| vec![program.id]);
                }
                Ok([from, to]) if from.is_empty() && to.is_empty() => {}
                // As long as one of them may be there the flag stays.
                left => {
                    if let Err(error) = left.and_then(|left| detach(ifindex, left)) {
                        tracing::warn!(why = error.line(), "a link has one program at its own hooks and not both");
                        found.at.insert(ifindex);
                    }
                }
            }
            let is_at_hooks = found.at.contains(&ifindex);
            put(maps, ifindex, attachment, is_at_hooks)?;
        }
        Ok(found)
    }

    /// Whether all run the programs of this build.
    pub(crate) fn are_current(&self) -> bool {
        self.are_current
    }

    /// What an attachment's flags say of this.
    pub(crate) fn flag(&self, ifindex: u32) -> u32 {
        if self.at.contains(&ifindex) { flag::OWN_HOOKS } else { 0 }
    }

    /// Takes the programs from a link's hooks. One that has gone has none.
    pub(crate) fn detach(&mut self, ifindex: u32, programs: &[Program; 2]) -> Result<(), BpfError> {
        if self.are_there {
            detach(ifindex, Ours::of(programs).at_both(ifindex)?)?;
        }
        self.at.remove(&ifindex);
        Ok(())
    }

    /// A link that goes takes its hooks along.
    pub(crate) fn forget(&mut self, ifindex: u32) {
        self.at.remove(&ifindex);
    }

    /// Takes the programs from a link that is to be known no more, or by another number, where it has them.
    pub(crate) fn release(&mut self, ifindex: u32, programs: &[Program; 2]) -> Result<(), BpfError> {
        if self.at.contains(&ifindex) { self.detach(ifindex, programs) } else { Ok(()) }
    }

    /// Takes them from a link that was not known, and may run programs of former maps.
    pub(crate) fn expel(&mut self, ifindex: u32, programs: &[Program; 2]) -> Result<(), BpfError> {
        if self.may_be_forgotten { self.detach(ifindex, programs) } else { self.release(ifindex, programs) }
    }

    /// Takes them from all links.
    pub(crate) fn detach_all(&mut self, programs: &[Program; 2]) -> Result<(), BpfError> {
        self.at.clone().into_iter().try_for_each(|ifindex| self.detach(ifindex, programs))
    }

    /// Puts the programs of this build in the place of older ones: one step for the packets that pass meanwhile. Gives the links where that could not be done.
    pub(crate) fn replace(&mut self, programs: &[Program; 2]) -> Vec<u32> {
        if self.are_current {
            return Vec::new();
        }
        let mut ours = Ours::of(programs);
        let failed = self.at.iter().copied().filter(|ifindex| {
            let replaced = ours.at_both(*ifindex).and_then(|at| replace(*ifindex, at, programs));
            replaced.inspect_err(|error| tracing::warn!(why = error.line(), "a link goes back to the shared blocks")).is_err()
        });
        let failed = failed.collect();
        self.are_current = true;
        failed
    }
}

/// Who of the programs at hooks is ours: this build's, and older ones by their names and maps, for which all loaded programs are looked at once.
struct Ours {
    current: [u32; 2],
    loaded: Option<BTreeMap<u32, (String, Vec<u32>)>>,
}

impl Ours {
    fn of(programs: &[Program; 2]) -> Self {
        Self { current: programs.each_ref().map(|program| program.id), loaded: None }
    }

    /// The numbers of ours at a link's hooks, by direction.
    fn at_both(&mut self, ifindex: u32) -> Result<[Vec<u32>; 2], BpfError> {
        let [from, to] = Direction::ALL.map(|direction| match tcx::programs(ifindex, direction) {
            Ok(all) => Ok(all.into_iter().filter(|id| self.has(*id, direction)).collect()),
            Err(error) if is_gone(&error) => Ok(Vec::new()),
            Err(error) => Err(failed("look at", ifindex, direction, error)),
        });
        Ok([from?, to?])
    }

    fn has(&mut self, id: u32, direction: Direction) -> bool {
        if id == self.current[direction.number() as usize] {
            return true;
        }
        let loaded = self.loaded.get_or_insert_with(|| {
            let all = aya::programs::loaded_programs().filter_map(Result::ok);
            all.map(|program| {
                let maps = program.map_ids().ok().flatten().unwrap_or_default();
                (program.id(), (program.name_as_str().unwrap_or_default().to_owned(), maps))
            })
            .collect()
        });
        loaded.get(&id).is_some_and(|(name, maps)| name == object::name(direction) && maps.iter().any(|map| is_attachments(*map)))
    }
}

/// Whether a map is one of netd's attachments, in whatever layout.
fn is_attachments(map: u32) -> bool {
    let info = MapData::from_id(map).and_then(|map| map.info());
    info.is_ok_and(|info| info.name_as_str() == Some(netd_abi::maps::ATTACHMENTS.name))
}

/// Takes these programs from a link's hooks; that they or the link have gone is no error.
fn detach(ifindex: u32, programs: [Vec<u32>; 2]) -> Result<(), BpfError> {
    each(programs, |direction, id| {
        let detached = tcx::open(id).and_then(|program| tcx::detach(ifindex, direction, program.as_fd()));
        if_there(detached).map_err(|error| failed("detach from", ifindex, direction, error))
    })
}

/// Puts the programs of this build in the place of these.
fn replace(ifindex: u32, former: [Vec<u32>; 2], programs: &[Program; 2]) -> Result<(), BpfError> {
    each(former, |direction, id| {
        let program = &programs[direction.number() as usize];
        if id == program.id {
            return Ok(());
        }
        let replaced = tcx::open(id).and_then(|former| tcx::attach(ifindex, direction, program.fd(), Some(former.as_fd())));
        if_there(replaced).map_err(|error| failed("replace at", ifindex, direction, error))
    })
}

fn each(programs: [Vec<u32>; 2], act: impl Fn(Direction, u32) -> Result<(), BpfError>) -> Result<(), BpfError> {
    let all = Direction::ALL.into_iter().zip(programs);
    all.flat_map(|(direction, ids)| ids.into_iter().map(move |id| (direction, id))).try_for_each(|(direction, id)| act(direction, id))
}

/// That something has gone meanwhile is no error.
fn if_there(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if is_gone(&error) => Ok(()),
        other => other,
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT))
}

fn failed(what: &str, ifindex: u32, direction: Direction, error: io::Error) -> BpfError {
    let hook = match direction {
        Direction::FromContainer => "tcx ingress",
        Direction::ToContainer => "tcx egress",
    };
    BpfError::new(format!("{what} the {hook} of interface #{ifindex} the program {}", object::name(direction)), error.into())
}

/// Lets the programs know whether a link's chain ends with them, where they do not yet.
fn put(maps: &mut Maps, ifindex: u32, mut attachment: Attachment, is_at_hooks: bool) -> Result<(), BpfError> {
    if attachment.has(flag::OWN_HOOKS) == is_at_hooks {
        return Ok(());
    }
    attachment.end.flags ^= flag::OWN_HOOKS;
    maps.attachments.put(ifindex, attachment)
}

/// Puts a program at a hook; there already is no error.
fn attach(ifindex: u32, direction: Direction, program: BorrowedFd<'_>) -> Result<(), BpfError> {
    match tcx::attach(ifindex, direction, program, None) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        other => other.map_err(|error| failed("attach to", ifindex, direction, error)),
    }
}

impl Bpf {
    /// Whether this kernel's links have hooks of their own.
    pub fn has_hooks(&self) -> bool {
        self.path.as_ref().is_ok_and(|path| path.hooks.are_there)
    }

    /// How many links have the programs at their own hooks, as far as is known.
    pub fn count_at_hooks(&self) -> Option<usize> {
        self.path.as_ref().ok().filter(|path| path.hooks.are_there).map(|path| path.hooks.at.len())
    }

    /// Who has the programs at the own hooks, looked at anew; none where there are no such hooks. A link from which somebody took one of them, or whose packets a
    /// filter of somebody else's on the blocks is to see, is given back to the blocks.
    pub fn at_own_hooks(&mut self) -> Result<Option<AtHooks>, BpfError> {
        let Ok(path) = &mut self.path else { return Ok(None) };
        let Some(blocks) = path.blocks.filter(|_| path.hooks.are_there) else { return Ok(None) };
        let mut has_strangers = false;
        for direction in Direction::ALL {
            let block = blocks.of(direction);
            has_strangers |=
                path.tc.has_strangers(block).map_err(|refusal| BpfError::new(format!("look at tc block {block}"), refusal.into()))?;
        }
        let both = path.programs.each_ref().map(|program| vec![program.id]);
        let mut ours = Ours::of(&path.programs);
        let mut broken = Vec::new();
        for ifindex in &path.hooks.at {
            match ours.at_both(*ifindex) {
                Ok(found) if !has_strangers && found == both => {}
                // What cannot be asked stays as it is; that is no reason not to look at the others.
                Err(error) if !has_strangers => tracing::warn!(why = error.line(), "a link's own hooks could not be looked at"),
                _ => broken.push(*ifindex),
            }
        }
        for ifindex in broken {
            if let Err(error) = self.leave_hooks(ifindex) {
                tracing::warn!(why = error.line(), "a link could not be given back to the shared blocks");
            }
        }
        let path = self.on("look at links' own hooks")?;
        let mut found = AtHooks::default();
        for (ifindex, attachment) in path.maps.attachments.all() {
            if path.hooks.at.contains(ifindex) {
                found.at.insert(attachment.slot);
            } else if has_strangers || attachment.is_paced_behind() {
                found.barred.insert(attachment.slot);
            }
        }
        Ok(Some(found))
    }

    /// Puts the programs at a link's own hooks. One behind whose program a filter of the block leads on stays with the blocks.
    pub fn take_hooks(&mut self, ifindex: u32) -> Result<(), BpfError> {
        let path = self.on("put the programs at a link's own hooks")?;
        let attachment = path.maps.attachments.get(ifindex).filter(|attachment| !attachment.is_paced_behind());
        let Some(attachment) = attachment.filter(|_| path.hooks.are_there) else { return Ok(()) };
        path.hooks.at.insert(ifindex);
        put(&mut path.maps, ifindex, attachment, true)?;
        let mut both = Direction::ALL.into_iter().zip(&path.programs);
        let attached = both.try_for_each(|(direction, program)| attach(ifindex, direction, program.fd()));
        if attached.is_err() {
            self.leave_hooks(ifindex)?;
        }
        attached
    }

    /// Gives a link back to the shared blocks.
    pub fn leave_hooks(&mut self, ifindex: u32) -> Result<(), BpfError> {
        let path = self.on("take the programs from a link's own hooks")?;
        path.hooks.detach(ifindex, &path.programs)?;
        match path.maps.attachments.get(ifindex) {
            Some(attachment) => put(&mut path.maps, ifindex, attachment, false),
            None => Ok(()),
        }
    }
}
