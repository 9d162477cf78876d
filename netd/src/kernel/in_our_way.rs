//! What others' firewall rules do to containers' packets, looked for in the background: `nft` needs half a second to list 10,000 rules of somebody
//! else, and no request is to wait for that. Never changes a rule.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use netd_api::{names::IfName, view::Trouble};

use super::nft::foreign;

/// What was found so far.
#[derive(Clone, Default)]
pub(crate) struct InOurWay(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The bridges that were looked for last; none before the first look.
    bridges: Option<Vec<IfName>>,
    found: Vec<Trouble>,
    is_looking: bool,
    /// Something changed while a look was under way.
    again: bool,
}

impl InOurWay {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found by the last look that ended.
    pub(crate) fn found(&self) -> Vec<Trouble> {
        self.lock().found.clone()
    }

    /// Looks anew where others' rules or our bridges have changed.
    pub(crate) fn look(&self, bridges: Vec<IfName>, rules_changed: bool) {
        let mut state = self.lock();
        if !rules_changed && state.bridges.as_ref() == Some(&bridges) {
            return;
        }
        state.bridges = Some(bridges);
        if mem::replace(&mut state.is_looking, true) {
            state.again = true;
            return;
        }
        drop(state);
        let this = self.clone();
        if let Err(error) = thread::Builder::new().name("foreign-rules".to_owned()).spawn(move || this.work()) {
            self.lock().is_looking = false;
            tracing::warn!(%error, "others' firewall rules are not looked at");
        }
    }

    fn work(&self) {
        loop {
            let bridges = self.lock().bridges.clone().unwrap_or_default();
            let found = if bridges.is_empty() { Vec::new() } else { foreign::find(&bridges) };
            let mut state = self.lock();
            for trouble in found.iter().filter(|trouble| !state.found.contains(trouble)) {
                tracing::warn!(mend = trouble.hint, "{}", trouble.what);
            }
            state.found = found;
            if !mem::take(&mut state.again) {
                state.is_looking = false;
                return;
            }
        }
    }
}
