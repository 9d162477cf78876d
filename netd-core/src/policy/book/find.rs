//! Finds the selectors that select a container without asking each one. Knows nothing of what they are for.

use std::collections::BTreeMap;

use netd_api::{
    names::{LabelKey, LabelValue, Namespace},
    spec::Labels,
};

use super::wish::Pod;
use crate::policy::model::Selector;

/// In which namespaces a selector looks for containers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// In this one.
    Own(Namespace),
    /// In those with such labels.
    Chosen(Selector),
}

/// Selectors by what a container must have for them to be worth asking. Each has a number.
#[derive(Debug, Clone, Default)]
pub(super) struct Finder {
    rows: Vec<(Scope, Selector, u32)>,
    by_label: BTreeMap<LabelKey, BTreeMap<LabelValue, Vec<usize>>>,
    by_namespace: BTreeMap<Namespace, Vec<usize>>,
    rest: Vec<usize>,
}

impl Finder {
    pub(super) fn add(&mut self, scope: Scope, pods: Selector, number: u32) {
        let row = self.rows.len();
        if let Some((key, value)) = pods.labels.first_key_value() {
            self.by_label.entry(key.clone()).or_default().entry(value.clone()).or_default().push(row);
        } else if let Scope::Own(namespace) = &scope {
            self.by_namespace.entry(namespace.clone()).or_default().push(row);
        } else {
            self.rest.push(row);
        }
        self.rows.push((scope, pods, number));
    }

    /// The numbers of those that select a container, ascending.
    pub(super) fn find(&self, pod: &Pod, namespace_labels: &Labels) -> Vec<u32> {
        let by_label = pod.labels.iter().filter_map(|(key, value)| self.by_label.get(key)?.get(value)).flatten();
        let by_namespace = self.by_namespace.get(&pod.namespace).into_iter().flatten();
        let mut found: Vec<u32> = by_label
            .chain(by_namespace)
            .chain(&self.rest)
            .filter_map(|row| {
                let (scope, pods, number) = &self.rows[*row];
                let in_scope = match scope {
                    Scope::Own(namespace) => *namespace == pod.namespace,
                    Scope::Chosen(selector) => selector.selects(namespace_labels),
                };
                (in_scope && pods.selects(&pod.labels)).then_some(*number)
            })
            .collect();
        found.sort_unstable();
        found
    }
}
