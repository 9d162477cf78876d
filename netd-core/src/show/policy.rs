//! Policies as people and programs see them: each rule with what it decided. Never counts anything itself.

use std::collections::BTreeMap;

use netd_api::{
    policy::{PolicyName, PolicyView, RuleView},
    view::Traffic,
};

use crate::{
    desired::Desired,
    policy::{
        book::{number::RuleName, wish::Direction},
        model::{Body, ClusterAction, Policy},
        pod,
    },
};

/// Rules with their numbers by the policies that they are of.
pub(super) type ByPolicy<'a> = BTreeMap<&'a PolicyName, Vec<(u32, &'a RuleName)>>;

/// One policy.
pub(super) fn view(desired: &Desired, policy: &Policy, by_policy: &ByPolicy<'_>, hits: &impl Fn(u32) -> Traffic) -> PolicyView {
    let known = by_policy.get(&policy.name).map_or(&[][..], Vec::as_slice);
    let mut rules = said(policy);
    let mut places: BTreeMap<(String, Option<u32>), usize> =
        rules.iter().enumerate().map(|(place, view)| ((view.direction.clone(), view.rule), place)).collect();
    for (number, name) in known {
        let rule = name.rule.and_then(|rule| u32::try_from(rule).ok());
        let direction = name.direction.to_string();
        // What several policies together let nobody do has a number for each such group of them.
        let place = *places.entry((direction.clone(), rule)).or_insert(rules.len());
        if place == rules.len() {
            rules.push(RuleView { direction, rule, name: name.name.clone(), hits: Traffic::default() });
        }
        let (sum, more) = (&mut rules[place].hits, hits(*number));
        sum.packets = sum.packets.saturating_add(more.packets);
        sum.bytes = sum.bytes.saturating_add(more.bytes);
        sum.segments = sum.segments.saturating_add(more.segments);
    }
    PolicyView {
        name: policy.name.clone(),
        kind: match &policy.body {
            Body::Network(_) => "NetworkPolicy",
            Body::Cluster(_) => "ClusterNetworkPolicy",
        }
        .to_owned(),
        audit: policy.manner.audit,
        reject: policy.manner.reject,
        selects: pod::selects(policy, desired),
        rules,
        source: policy.source.clone(),
    }
}

/// Which numbers are of which policy.
pub(super) fn by_policy(rules: &BTreeMap<u32, RuleName>) -> ByPolicy<'_> {
    let mut by_policy = ByPolicy::new();
    for (number, name) in rules {
        for policy in &name.policies {
            by_policy.entry(policy).or_default().push((*number, name));
        }
    }
    by_policy
}

/// The rules that a policy has, whether they select anybody or not. A Pass decides nothing.
fn said(policy: &Policy) -> Vec<RuleView> {
    let view = |direction: Direction, index: Option<usize>, name: Option<String>| RuleView {
        direction: direction.to_string(),
        rule: index.and_then(|index| u32::try_from(index + 1).ok()),
        name,
        hits: Traffic::default(),
    };
    let mut views = Vec::new();
    match &policy.body {
        Body::Network(body) => {
            for (direction, rules) in Direction::ALL.into_iter().zip([&body.ingress, &body.egress]) {
                let Some(rules) = rules else { continue };
                views.extend((0..rules.len()).map(|index| view(direction, Some(index), None)));
                views.push(view(direction, None, None));
            }
        }
        Body::Cluster(body) => {
            for (direction, rules) in Direction::ALL.into_iter().zip([&body.ingress, &body.egress]) {
                let deciding = rules.iter().enumerate().filter(|(_, rule)| rule.action != ClusterAction::Pass);
                views.extend(deciding.map(|(index, rule)| view(direction, Some(index), rule.name.clone())));
            }
        }
    }
    views
}
