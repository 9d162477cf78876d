//! One rule set: what the policies that select a container say, as entries by identity. Never says whose it is.

use std::collections::BTreeMap;

use netd_abi::policy::{ANYBODY, PREFIXES, RuleKey, RuleValue, SetValue};

use super::{
    cut::{Segment, append, cut},
    flatten::{Asked, End, Painted},
    identity::Identity,
    law::{Content, Law, PROTOCOLS, Ports, Rule, Span, kind_of},
    limit::{Limit, RULES_MOST, TooLarge},
    wish::Direction,
};

/// A rule entry's key without its set and identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) protocol: u8,
    pub(super) prefix: u8,
    pub(super) port: [u8; 2],
}

impl Entry {
    pub(super) fn key(self, set: u32, identity: u32) -> RuleKey {
        let Self { protocol, prefix, port } = self;
        RuleKey { set, identity, port, prefix, protocol }
    }
}

/// What a set says of one identity, ascending.
pub(super) type Entries = Vec<(Entry, RuleValue)>;

/// A rule set.
#[derive(Debug, Clone)]
pub(super) struct Set {
    pub(super) direction: Direction,
    pub(super) content: Content,
    /// Containers, as different ones, that it governs.
    pub(super) users: usize,
    pub(super) default: RuleValue,
    /// By identity.
    pub(super) entries: BTreeMap<u32, Entries>,
    /// Entries with a prefix of so many bits.
    lengths: [usize; 17],
    ends: Vec<End>,
    everybody: [Everybody; 4],
}

/// What holds for everybody, by kind of protocol.
#[derive(Debug, Clone, Default)]
struct Everybody {
    painted: Painted,
    /// Where the answer can change.
    edges: Vec<u16>,
}

impl Set {
    /// With what it says of everybody, and of nobody else yet.
    pub(super) fn new(law: &Law, direction: Direction, content: Content, ends: Vec<End>) -> Self {
        let asked = Asked { law, way: direction.index(), ends: &ends };
        let rules: Vec<(u32, Vec<Span>)> = content
            .statutes
            .iter()
            .flat_map(|statute| law.statutes[*statute as usize].ways[direction.index()].rules.clone())
            .map(|number| (number, &law.rules[direction.index()][number as usize]))
            .filter(|(_, rule)| rule.everybody)
            // What a sender calls the receiver's port is known of the receiver alone.
            .map(|(number, rule)| (number, spans(rule, (direction == Direction::Ingress).then_some(&content.ports))))
            .collect();
        let rules: Vec<(u32, &[Span])> = rules.iter().map(|(number, spans)| (*number, spans.as_slice())).collect();
        let nobody = Painted::default();
        let default = asked.answer(&nobody, &nobody, 0);
        let mut entries = Entries::new();
        let everybody = [0, 1, 2, 3].map(|kind| {
            let painted = Painted::new(asked, kind, &rules);
            let mut edges = painted.edges();
            if edges.first() != Some(&0) {
                edges.insert(0, 0);
            }
            let mut segments = Vec::new();
            for (n, first) in edges.iter().enumerate() {
                let last = edges.get(n + 1).map_or(u16::MAX, |next| next - 1);
                let answer = asked.answer(&painted, &nobody, *first);
                append(&mut segments, Segment { first: *first, last, answer, same: answer == default });
            }
            push(&mut entries, kind, &segments);
            Everybody { painted, edges }
        });
        entries.sort_unstable();
        let mut set = Self { direction, content, users: 0, default, entries: BTreeMap::new(), lengths: [0; 17], ends, everybody };
        set.put(ANYBODY, entries);
        set
    }

    /// Kinds of peers that it names, some of them more than once.
    pub(super) fn atoms<'a>(&'a self, law: &'a Law) -> impl Iterator<Item = u32> + 'a {
        self.content.statutes.iter().flat_map(|statute| &law.statutes[*statute as usize].ways[self.direction.index()].atoms).copied()
    }

    /// What it says of an identity that is not said of everybody.
    pub(super) fn of(&self, law: &Law, identity: &Identity) -> Entries {
        let way = self.direction.index();
        let mut matching: Vec<(u32, bool)> = Vec::new();
        for atom in &identity.atoms {
            let atom = &law.atoms[*atom as usize];
            let rules = &atom.rules[way];
            let statutes = &self.content.statutes;
            if rules.len() <= statutes.len() {
                let of_set = rules.iter().filter(|rule| statutes.binary_search(&law.rules[way][**rule as usize].statute).is_ok());
                matching.extend(of_set.map(|rule| (*rule, !atom.named)));
            } else {
                for statute in statutes {
                    let range = &law.statutes[*statute as usize].ways[way].rules;
                    let from = rules.partition_point(|rule| *rule < range.start);
                    matching.extend(rules[from..].iter().take_while(|rule| **rule < range.end).map(|rule| (*rule, !atom.named)));
                }
            }
        }
        if matching.is_empty() {
            return Entries::new();
        }
        // A rule that means it as a container, with names of ports, goes before the same one that means its address.
        matching.sort_unstable();
        matching.dedup_by_key(|(rule, _)| *rule);
        let spans: Vec<(u32, Vec<Span>)> = matching
            .into_iter()
            .map(|(number, by_address)| {
                let ports = match self.direction {
                    Direction::Ingress => Some(&self.content.ports),
                    Direction::Egress => identity.ports().filter(|_| !by_address),
                };
                (number, spans(&law.rules[way][number as usize], ports))
            })
            .collect();
        let rules: Vec<(u32, &[Span])> = spans.iter().map(|(number, spans)| (*number, spans.as_slice())).collect();
        let mut entries = Entries::new();
        for kind in 0..4 {
            push(&mut entries, kind, &self.segments(law, kind, &rules));
        }
        entries.sort_unstable();
        entries
    }

    /// The answers on those ports that some of the rules speak of.
    fn segments(&self, law: &Law, kind: u8, rules: &[(u32, &[Span])]) -> Vec<Segment> {
        let asked = Asked { law, way: self.direction.index(), ends: &self.ends };
        let everybody = &self.everybody[usize::from(kind)];
        let nobody = Painted::default();
        let somebody = Painted::new(asked, kind, rules);
        let mut ranges: Vec<(u16, u16)> =
            rules.iter().flat_map(|(_, spans)| *spans).filter(|span| span.0 == kind).map(|span| (span.1, span.2)).collect();
        let mut cuts: Vec<u16> = ranges.iter().flat_map(|(first, last)| [Some(*first), last.checked_add(1)]).flatten().collect();
        cuts.sort_unstable();
        cuts.dedup();
        ranges.sort_unstable();
        let mut segments = Vec::new();
        let mut next = 0_u32;
        for (first, last) in ranges {
            // What an earlier range has covered is done.
            let mut first = u32::from(first).max(next);
            while first <= u32::from(last) {
                let after =
                    |edges: &[u16]| edges.get(edges.partition_point(|edge| u32::from(*edge) <= first)).map(|edge| u32::from(*edge) - 1);
                let end = [after(&cuts), after(&everybody.edges), Some(u32::from(last))].into_iter().flatten().min().unwrap_or(first);
                let (from, to) = (first as u16, end as u16);
                let answer = asked.answer(&everybody.painted, &somebody, from);
                let same = answer == asked.answer(&everybody.painted, &nobody, from);
                append(&mut segments, Segment { first: from, last: to, answer, same });
                first = end + 1;
            }
            next = next.max(u32::from(last) + 1);
        }
        segments
    }

    /// Takes over what it says of an identity.
    pub(super) fn put(&mut self, identity: u32, entries: Entries) {
        if !entries.is_empty() {
            entries.iter().for_each(|(entry, _)| self.lengths[usize::from(entry.prefix)] += 1);
            self.entries.insert(identity, entries);
        }
    }

    /// Forgets what it says of an identity.
    pub(super) fn take(&mut self, identity: u32) -> Entries {
        let entries = self.entries.remove(&identity).unwrap_or_default();
        entries.iter().for_each(|(entry, _)| self.lengths[usize::from(entry.prefix)] -= 1);
        entries
    }

    /// The same with other numbers for identities.
    pub(super) fn renumbered(self, renumber: impl Fn(u32) -> u32) -> Self {
        let entries = self.entries.into_iter().map(|(identity, entries)| (renumber(identity), entries)).collect();
        Self { entries, ..self }
    }

    /// How many entries it has.
    pub(super) fn len(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// Its value in the map.
    pub(super) fn value(&self) -> SetValue {
        let prefixes = (0..17).filter(|bits| self.lengths[*bits] > 0).map(|bits| 1 << bits).sum();
        SetValue { default: self.default, prefixes }
    }

    /// Its answer, as the kernel program finds it.
    pub(super) fn judge(&self, identity: u32, protocol: u8, port: u16) -> RuleValue {
        let find = |identity: u32| {
            let entries = self.entries.get(&identity)?;
            PREFIXES.into_iter().find_map(|prefix| {
                let masked = port & 0xffff_u16.checked_shl(16 - prefix).unwrap_or(0);
                let entry = Entry { protocol, prefix: prefix as u8, port: masked.to_be_bytes() };
                entries.binary_search_by_key(&entry, |(entry, _)| *entry).ok().map(|found| entries[found].1)
            })
        };
        find(identity).or_else(|| find(ANYBODY)).unwrap_or(self.default)
    }

    /// An error that counting stopped at, with the policy whose rules most of its entries are from.
    pub(super) fn too_large(&self, law: &Law, others: usize, further: &Entries) -> TooLarge {
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        for (_, value) in self.entries.values().flatten().chain(further) {
            *counts.entry(value.rule).or_default() += 1;
        }
        let rules = self.content.statutes.iter().flat_map(|statute| {
            let statute = &law.statutes[*statute as usize];
            law.rules[self.direction.index()][statute.ways[self.direction.index()].rules.start as usize..]
                .iter()
                .take(statute.ways[self.direction.index()].rules.len())
                .map(move |rule| (&statute.name, rule.number))
        });
        let mut by_policy = BTreeMap::new();
        for (name, rule) in rules {
            *by_policy.entry(name).or_insert(0) += counts.get(&rule).copied().unwrap_or(0);
        }
        let policy = by_policy.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name.clone());
        TooLarge { limit: Limit::Rules, wanted: (others + self.len() + further.len()).max(RULES_MOST + 1), policy }
    }
}

/// The ports of a rule, with those given by name as somebody calls them.
fn spans(rule: &Rule, ports: Option<&Ports>) -> Vec<Span> {
    let named = rule.names.iter().filter_map(|(protocol, name)| {
        let called = ports?.get(name)?.iter();
        Some(called.filter(move |(of, _)| protocol.is_none_or(|protocol| protocol == *of)).map(|(of, port)| (kind_of(*of), *port, *port)))
    });
    rule.spans.iter().copied().chain(named.flatten()).collect()
}

fn push(entries: &mut Entries, kind: u8, segments: &[Segment]) {
    cut(segments, |(port, prefix), answer| {
        entries.push((Entry { protocol: PROTOCOLS[usize::from(kind)], prefix, port: port.to_be_bytes() }, answer));
    });
}
