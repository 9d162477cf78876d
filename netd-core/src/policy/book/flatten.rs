//! Which rule decides on which port: tiers, Pass, isolation, audit and reject resolved into one answer. Knows neither addresses nor maps.

use netd_abi::policy::{RuleValue, Verdict};

use super::law::{Action, Law, Span, Stage};

/// A way of asking the policies: those alone that are enforced, or with them those that are only watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Enforced,
    All,
}

/// Ports on which the same rule is the first to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    first: u16,
    last: u16,
    rule: u32,
}

/// The first rule that matches on each port, by view and stage.
#[derive(Debug, Clone, Default)]
pub(super) struct Painted([[Vec<Piece>; 3]; 2]);

/// What holds after the rules of a view.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct End {
    /// For those that NetworkPolicies isolate.
    pub(super) isolated: Option<RuleValue>,
    /// For the others.
    pub(super) otherwise: RuleValue,
}

/// A direction of a law, and what holds where no rule of it does.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) law: &'a Law,
    /// The direction's index.
    pub(super) way: usize,
    /// By view; the second only where a policy is in audit.
    pub(super) ends: &'a [End],
}

impl Painted {
    /// Of rules in their order, each with the ports on which it matches; only those of one kind of protocol count.
    pub(super) fn new(asked: Asked<'_>, kind: u8, rules: &[(u32, &[Span])]) -> Self {
        let mut painted = Self::default();
        if rules.is_empty() {
            return painted;
        }
        let statute = |rule: u32| &asked.law.statutes[asked.law.rules[asked.way][rule as usize].statute as usize];
        for (view, of_view) in [View::Enforced, View::All].into_iter().zip(&mut painted.0).take(asked.ends.len()) {
            for (stage, pieces) in [Stage::Admin, Stage::Network, Stage::Baseline].into_iter().zip(of_view) {
                let from = rules.partition_point(|(rule, _)| statute(*rule).stage < stage);
                let to = rules.partition_point(|(rule, _)| statute(*rule).stage <= stage);
                let counts = rules[from..to].iter().filter(|(rule, _)| view == View::All || !statute(*rule).audit);
                let spans = counts.flat_map(|(rule, spans)| spans.iter().filter(|span| span.0 == kind).map(|span| (*rule, span.1, span.2)));
                *pieces = paint(spans);
            }
        }
        painted
    }

    fn at(&self, view: View, stage: Stage, port: u16) -> Option<u32> {
        let pieces = &self.0[view as usize][stage as usize];
        let piece = pieces.get(pieces.partition_point(|piece| piece.last < port))?;
        (piece.first <= port).then_some(piece.rule)
    }

    /// Where a piece begins, or one that was there has ended.
    pub(super) fn edges(&self) -> Vec<u16> {
        let pieces = self.0.iter().flatten().flatten();
        let mut edges: Vec<u16> = pieces.flat_map(|piece| [Some(piece.first), piece.last.checked_add(1)]).flatten().collect();
        edges.sort_unstable();
        edges.dedup();
        edges
    }
}

/// Who comes first takes a port; later ones find what is left.
fn paint(spans: impl Iterator<Item = (u32, u16, u16)>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut gaps = vec![(0, u16::MAX)];
    for (rule, first, last) in spans {
        let from = gaps.partition_point(|gap| gap.1 < first);
        let to = gaps.partition_point(|gap| gap.0 <= last);
        let Some((head, tail)) = gaps.get(from..to).and_then(|taken| Some((*taken.first()?, *taken.last()?))) else { continue };
        pieces.extend(gaps[from..to].iter().map(|gap| Piece { first: gap.0.max(first), last: gap.1.min(last), rule }));
        let before = (head.0 < first).then(|| (head.0, first - 1));
        let after = (tail.1 > last).then(|| (last + 1, tail.1));
        gaps.splice(from..to, before.into_iter().chain(after));
        if gaps.is_empty() {
            break;
        }
    }
    pieces.sort_unstable_by_key(|piece: &Piece| piece.first);
    pieces
}

impl Asked<'_> {
    /// The answer on a port, of rules that speak of everybody and of rules that speak of somebody.
    pub(super) fn answer(self, everybody: &Painted, somebody: &Painted, port: u16) -> RuleValue {
        let enforced = self.view(View::Enforced, everybody, somebody, port);
        if self.ends.len() < 2 || !Verdict::from_number(enforced.verdict).passes() {
            return enforced;
        }
        let all = self.view(View::All, everybody, somebody, port);
        if Verdict::from_number(all.verdict).passes() { enforced } else { RuleValue { verdict: Verdict::Audit.number(), ..all } }
    }

    fn view(self, view: View, everybody: &Painted, somebody: &Painted, port: u16) -> RuleValue {
        let first = |stage| {
            let rules = [everybody.at(view, stage, port), somebody.at(view, stage, port)];
            rules.into_iter().flatten().min().map(|rule| &self.law.rules[self.way][rule as usize])
        };
        let decides = |stage| {
            let rule = first(stage)?;
            let verdict = match rule.action {
                Action::Accept => Verdict::Forward,
                Action::Deny => denial(self.law.statutes[rule.statute as usize].reject),
                Action::Pass => return None,
            };
            Some(RuleValue { rule: rule.number, verdict: verdict.number() })
        };
        let End { isolated, otherwise } = self.ends[view as usize];
        decides(Stage::Admin).or_else(|| decides(Stage::Network)).or(isolated).or_else(|| decides(Stage::Baseline)).unwrap_or(otherwise)
    }
}

/// How a policy denies.
pub(super) fn denial(reject: bool) -> Verdict {
    if reject { Verdict::Reject } else { Verdict::Drop }
}
