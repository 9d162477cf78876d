//! `netctl flows`: asks for recorded flows, once or again and again, and prints them as they come. What was lost it tells on the way, and never hides.

use std::{
    io::{self, Write},
    time::Duration,
};

use netd_api::flow::{FlowQuery, FlowView, FlowsView};

use crate::{
    args::{
        Output,
        flows::{Flows, Since},
    },
    failure::{FAILED, Failure},
    show,
};

/// How long it waits before it asks for what follows.
pub(crate) const PAUSE: Duration = Duration::from_millis(500);

/// What it does outside of itself.
pub(crate) struct Ways<'a, W> {
    /// Asks the daemon.
    pub(crate) ask: &'a mut dyn FnMut(FlowQuery) -> Result<FlowsView, Failure>,
    /// Where the flows go.
    pub(crate) out: W,
    /// Tells what belongs beside them.
    pub(crate) tell: &'a mut dyn FnMut(&str),
    /// Waits before the next question.
    pub(crate) pause: &'a mut dyn FnMut(),
}

/// The first question, `now` being seconds since 1970.
fn query(wish: &Flows, now: u64) -> FlowQuery {
    let since = wish.since.map(|since| match since {
        Since::Ago(ago) => now.saturating_sub(ago.as_secs()),
        Since::At(then) => then,
    });
    FlowQuery { container: wish.container.clone(), verdict: wish.verdict, since, after: None }
}

/// Prints what there is; where it follows, it ends with an error or with its reader.
pub(crate) fn run<W: Write>(wish: &Flows, output: Output, now: u64, mut ways: Ways<'_, W>) -> Result<(), Failure> {
    let query = query(wish, now);
    let first = (ways.ask)(query.clone())?;
    let reads_on = printed(&mut ways.out, &first.flows, output)?;
    for note in [lost(first.lost, "since netd started"), made_room(first.forgotten)].into_iter().flatten() {
        (ways.tell)(&note);
    }
    if !(wish.follow && reads_on) {
        return Ok(());
    }
    follow(&query, output, Seen { last: first.last, lost: first.lost }, ways)
}

/// Asks again and again for what came after the last answer.
fn follow<W: Write>(query: &FlowQuery, output: Output, mut seen: Seen, mut ways: Ways<'_, W>) -> Result<(), Failure> {
    loop {
        (ways.pause)();
        let view = (ways.ask)(FlowQuery { since: None, after: Some(seen.last), ..query.clone() })?;
        if view.last < seen.last {
            // Numbers begin anew with a daemon: its records are all new to us.
            (ways.tell)("netd has started anew: what was recorded before and not printed yet is gone");
            seen = Seen::default();
            continue;
        }
        for note in seen.missed(&view) {
            (ways.tell)(&note);
        }
        seen = Seen { last: view.last, lost: view.lost };
        if !printed(&mut ways.out, &view.flows, output)? {
            return Ok(());
        }
    }
}

/// How far it has come.
#[derive(Debug, Default)]
struct Seen {
    /// The number of the last record.
    last: u64,
    /// The daemon's count of lost records.
    lost: u64,
}

impl Seen {
    /// What a new answer does not have that came before it.
    fn missed(&self, view: &FlowsView) -> Vec<String> {
        // Records are numbered from 1, so that those up to `forgotten` are the ones that are gone.
        let gone = view.forgotten.saturating_sub(self.last);
        let gap = (gone > 0).then(|| format!("{} forgotten to make room before they could be printed", records(gone)));
        [lost(view.lost.saturating_sub(self.lost), "meanwhile"), gap].into_iter().flatten().collect()
    }
}

fn lost(count: u64, when: &str) -> Option<String> {
    (count > 0).then(|| {
        format!("{} lost {when}: the kernel's buffer was full, too much was denied or begun in a moment, or a port was used again at once; counters have it all", records(count))
    })
}

fn made_room(count: u64) -> Option<String> {
    (count > 0).then(|| format!("older than these {} forgotten to make room", records(count)))
}

fn records(count: u64) -> String {
    if count == 1 { "1 record was".to_owned() } else { format!("{count} records were") }
}

/// Writes flows, each a line, and sends them on at once. Whether there is still a reader.
fn printed(out: &mut impl Write, flows: &[FlowView], output: Output) -> Result<bool, Failure> {
    let mut text = String::new();
    for flow in flows {
        text += &match output {
            Output::Table => show::flow_line(flow),
            Output::Json => serde_json::to_string(flow).map_err(|error| Failure::of(&error, FAILED, ""))?,
        };
        text.push('\n');
    }
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure { status: FAILED, what: format!("could not write to standard output: {error}"), hint: String::new() }),
    }
}

#[cfg(test)]
mod tests;
