//! The whole of what users and the kernel see of netd at one moment, to show that nothing has changed. Never judges what it should be.

use netd_api::{
    message::{Reply, Request},
    view::{ContainerView, NetworkView, PortView},
};

use crate::{Lab, clean::Traces, wait};

/// See the module. Counters are left out, for packets may flow.
#[derive(Debug, PartialEq)]
pub struct Picture {
    traces: Traces,
    nft: String,
    networks: Vec<NetworkView>,
    containers: Vec<ContainerView>,
    ports: Vec<PortView>,
}

impl Lab {
    /// As it is now.
    #[track_caller]
    pub fn picture(&self) -> Picture {
        let Reply::Networks(networks) = self.done(&Request::Networks) else { panic!("networks were asked for") };
        let Reply::Containers(mut containers) = self.done(&Request::Containers) else { panic!("containers were asked for") };
        for attachment in containers.iter_mut().flat_map(|container| &mut container.attachments) {
            attachment.counters = None;
        }
        let traces = Traces::of(self.host(), self.here());
        Picture { traces, nft: self.nft(), networks, containers, ports: self.ports() }
    }

    /// Does what must not change anything.
    #[track_caller]
    pub fn unchanged_by(&self, attempts: impl FnOnce()) {
        let before = self.picture();
        attempts();
        self.expect_same(&before);
    }

    /// All is as in a picture; deletions may still be under way for a moment.
    #[track_caller]
    pub fn expect_same(&self, before: &Picture) {
        if wait::poll(wait::PATIENCE, || (self.picture() == *before).then_some(())).is_none() {
            let now = self.picture();
            let traces = now.traces.difference(&before.traces);
            assert!(traces.is_empty(), "the kernel changed: {traces}");
            assert_eq!(now.nft, before.nft, "the ruleset changed");
            assert_eq!(now, *before, "what netd shows changed");
        }
        assert_eq!(self.plan(), Vec::<String>::new(), "kernel and wish differ");
    }
}
