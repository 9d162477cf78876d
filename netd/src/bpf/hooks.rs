//! The programs at the own hooks of links that carry much (`tcx`), where they cost a packet a third of what the shared blocks cost it. Never decides which links
//! those are.
//!
//! The blocks stay behind them. [`flag::OWN_HOOKS`] is set before the first program is attached and cleared after the last was taken away: as long as it is set,
//! what goes on ends the chain, so that each packet is seen by a hook's program or by the block's, and never by both. Whoever takes our programs from a link
//! gives it back to the blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};

use netd_abi::attachment::flag;
use netd_abi::{Attachment, Direction};

use super::maps::Maps;
use super::object::Program;
use super::{Bpf, BpfError, object, tcx};

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
}

impl Hooks {
    /// What a former daemon left; a link that has not both programs gives back the one it has.
    pub(crate) fn find(maps: &mut Maps, programs: &[Program; 2]) -> Result<Self, BpfError> {
        let mut found =
            Self { are_there: tcx::programs(LOOPBACK, Direction::FromContainer).is_ok(), at: BTreeSet::new(), are_current: true };
        if !found.are_there {
            return Ok(found);
        }
        let mut names = Names::default();
        for (ifindex, attachment) in maps.attachments.all().clone() {
            let ours = Direction::ALL.map(|direction| names.ours_at(ifindex, direction, programs));
            let [Some(from), Some(to)] = ours else {
                detach(ifindex, ours)?;
                put(maps, ifindex, attachment, false)?;
                continue;
            };
            found.at.insert(ifindex);
            found.are_current &= [from, to] == programs.each_ref().map(|program| program.id);
            put(maps, ifindex, attachment, true)?;
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

    /// A link that has gone took its hooks along.
    pub(super) fn forget(&mut self, ifindex: u32) {
        self.at.remove(&ifindex);
    }

    /// Takes the programs from a link's hooks.
    pub(crate) fn detach(&mut self, ifindex: u32, programs: &[Program; 2]) -> Result<(), BpfError> {
        let mut names = Names::default();
        detach(ifindex, Direction::ALL.map(|direction| names.ours_at(ifindex, direction, programs)))?;
        self.forget(ifindex);
        Ok(())
    }

    /// The same of all links.
    pub(crate) fn detach_all(&mut self, programs: &[Program; 2]) -> Result<(), BpfError> {
        self.at.clone().into_iter().try_for_each(|ifindex| self.detach(ifindex, programs))
    }

    /// Puts the programs of this build in the place of older ones: one step for the packets that pass meanwhile.
    pub(crate) fn replace(&mut self, programs: &[Program; 2]) -> Result<(), BpfError> {
        if self.are_current {
            return Ok(());
        }
        let mut names = Names::default();
        for ifindex in &self.at {
            for (direction, program) in Direction::ALL.into_iter().zip(programs) {
                let Some(id) = names.ours_at(*ifindex, direction, programs).filter(|id| *id != program.id) else { continue };
                let former = tcx::open(id);
                let replaced = former.and_then(|former| tcx::attach(*ifindex, direction, program.fd(), Some(former.as_fd())));
                if_there(replaced).map_err(|error| failed("replace", *ifindex, direction, error))?;
            }
        }
        self.are_current = true;
        Ok(())
    }
}

/// Who of the programs at hooks is ours: this build's, and older ones by their names, for which all loaded programs are looked at once.
#[derive(Default)]
struct Names(Option<BTreeMap<u32, String>>);

impl Names {
    fn ours_at(&mut self, ifindex: u32, direction: Direction, programs: &[Program; 2]) -> Option<u32> {
        let at_hook = tcx::programs(ifindex, direction).unwrap_or_default();
        let current = programs[direction.number() as usize].id;
        at_hook.into_iter().find(|id| *id == current || self.all().get(id).is_some_and(|name| name == object::name(direction)))
    }

    fn all(&mut self) -> &BTreeMap<u32, String> {
        self.0.get_or_insert_with(|| {
            let loaded = aya::programs::loaded_programs().filter_map(Result::ok);
            loaded.map(|program| (program.id(), program.name_as_str().unwrap_or_default().to_owned())).collect()
        })
    }
}

/// Takes these programs from a link's hooks; that they or the link have gone is no error.
fn detach(ifindex: u32, programs: [Option<u32>; 2]) -> Result<(), BpfError> {
    for (direction, id) in Direction::ALL.into_iter().zip(programs) {
        let Some(id) = id else { continue };
        let detached = tcx::open(id).and_then(|program: OwnedFd| tcx::detach(ifindex, direction, program.as_fd()));
        if_there(detached).map_err(|error| failed("detach", ifindex, direction, error))?;
    }
    Ok(())
}

/// That something has gone meanwhile is no error.
fn if_there(done: std::io::Result<()>) -> std::io::Result<()> {
    match done {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT)) => Ok(()),
        other => other,
    }
}

fn failed(what: &str, ifindex: u32, direction: Direction, error: std::io::Error) -> BpfError {
    let hook = match direction {
        Direction::FromContainer => "tcx_ingress",
        Direction::ToContainer => "tcx_egress",
    };
    BpfError::new(format!("run `bpftool net {what} {hook} … dev #{ifindex}` with program {}", object::name(direction)), error.into())
}

/// Lets the programs know whether a link's chain ends with them, where they do not yet.
fn put(maps: &mut Maps, ifindex: u32, mut attachment: Attachment, is_at_hooks: bool) -> Result<(), BpfError> {
    if attachment.has(flag::OWN_HOOKS) == is_at_hooks {
        return Ok(());
    }
    attachment.end.flags ^= flag::OWN_HOOKS;
    maps.attachments.put(ifindex, attachment)
}

impl Bpf {
    /// Whether this kernel's links have hooks of their own.
    pub fn has_hooks(&self) -> bool {
        self.path.as_ref().is_ok_and(|path| path.hooks.are_there)
    }

    /// The numbers of the attachments whose links have the programs at their own hooks; none where there are no such hooks. A link from which somebody took one of
    /// them is given back to the shared blocks.
    pub fn at_own_hooks(&mut self) -> Result<Option<BTreeSet<u32>>, BpfError> {
        let Ok(path) = &self.path else { return Ok(None) };
        if !path.hooks.are_there {
            return Ok(None);
        }
        let has_both = |ifindex: u32| {
            let mut both = Direction::ALL.into_iter().zip(&path.programs);
            both.all(|(direction, program)| tcx::programs(ifindex, direction).is_ok_and(|ids| ids.contains(&program.id)))
        };
        let (whole, broken): (Vec<u32>, Vec<u32>) = path.hooks.at.iter().partition(|ifindex| has_both(**ifindex));
        let slots = whole.into_iter().filter_map(|ifindex| self.attachment(ifindex)).map(|attachment| attachment.slot).collect();
        broken.into_iter().try_for_each(|ifindex| self.leave_hooks(ifindex))?;
        Ok(Some(slots))
    }

    /// Puts the programs at a link's own hooks. One behind whose program a filter of the block leads on stays with the blocks.
    pub fn take_hooks(&mut self, ifindex: u32) -> Result<(), BpfError> {
        let path = self.on("put the programs at a link's own hooks")?;
        let attachment = path.maps.attachments.get(ifindex).filter(|attachment| !attachment.is_paced_behind());
        let Some(attachment) = attachment.filter(|_| path.hooks.are_there) else { return Ok(()) };
        path.hooks.at.insert(ifindex);
        put(&mut path.maps, ifindex, attachment, true)?;
        let mut attached = Ok(());
        for (direction, program) in Direction::ALL.into_iter().zip(&path.programs) {
            attached = match tcx::attach(ifindex, direction, program.fd(), None) {
                // It was there already.
                Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
                other => other.map_err(|error| failed("attach", ifindex, direction, error)),
            };
            if attached.is_err() {
                break;
            }
        }
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
