//! The change from one wish to the next, and the way back. Makes none: that is `Desired::apply`.

use std::sync::Arc;

use netd_api::{
    names::{ContainerId, Namespace},
    spec::Labels,
};

use super::{Container, Network, Published};
use crate::{
    objects::Sysctl,
    policy::model::{Policy, PolicyName},
};

/// One difference between two wishes. `before` and `after` are none where there was or will be nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Of a network.
    Network {
        /// As it was.
        before: Option<Arc<Network>>,
        /// As it shall be.
        after: Option<Arc<Network>>,
    },
    /// Of a container.
    Container {
        /// As it was.
        before: Option<Arc<Container>>,
        /// As it shall be.
        after: Option<Arc<Container>>,
    },
    /// Of a published port. The container is there before as long as its ports, and after.
    Publish {
        /// Whose.
        container: ContainerId,
        /// As it was.
        before: Option<Published>,
        /// As it shall be.
        after: Option<Published>,
    },
    /// Of a policy.
    Policy {
        /// Its name.
        name: PolicyName,
        /// As it was.
        before: Option<Arc<Policy>>,
        /// As it shall be.
        after: Option<Arc<Policy>>,
    },
    /// Of a namespace's labels.
    Namespace {
        /// The namespace.
        namespace: Namespace,
        /// As they were.
        before: Option<Labels>,
        /// As they shall be.
        after: Option<Labels>,
    },
    /// Of what a sysctl was before netd changed it, to be given back.
    Original {
        /// The sysctl.
        sysctl: Sysctl,
        /// As remembered so far.
        before: Option<String>,
        /// As remembered from now on.
        after: Option<String>,
    },
}

/// Several differences, made together or not at all.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Change {
    /// In an order in which each is possible after the ones before.
    pub edits: Vec<Edit>,
}

impl Change {
    /// The way back.
    #[must_use]
    pub fn reverse(&self) -> Self {
        let back = |edit: &Edit| match edit.clone() {
            Edit::Network { before, after } => Edit::Network { before: after, after: before },
            Edit::Container { before, after } => Edit::Container { before: after, after: before },
            Edit::Publish { container, before, after } => Edit::Publish { container, before: after, after: before },
            Edit::Policy { name, before, after } => Edit::Policy { name, before: after, after: before },
            Edit::Namespace { namespace, before, after } => Edit::Namespace { namespace, before: after, after: before },
            Edit::Original { sysctl, before, after } => Edit::Original { sysctl, before: after, after: before },
        };
        Self { edits: self.edits.iter().rev().map(back).collect() }
    }
}
