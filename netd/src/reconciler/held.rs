//! Host ports that a CNI runtime asks for, and who has sockets on them: the runtime and its monitor may, a stranger may not. Binds nothing itself.

use netd_api::{message::Request, names::ContainerId};
use netd_core::{
    desired::{Change, Edit, Published},
    objects::Reservation,
};

use super::Reconciler;
use crate::kernel::{Holder, Kernel};

impl<K: Kernel> Reconciler<K> {
    /// The first port that an ADD publishes anew and a stranger has a socket on, with who it is. Ports of netd's own are none of this: the wish has
    /// them.
    pub(super) fn held(&mut self, request: &Request, change: &Change, caller: i32) -> Option<(Published, Reservation, String)> {
        let Request::CniAdd(add) = request else { return None };
        let (mut asked, mut ports) = (Vec::new(), Vec::new());
        for edit in &change.edits {
            let Edit::Publish { container, before, after: Some(published) } = edit else { continue };
            if before.is_some() || *container != add.key.container {
                continue;
            }
            let on = |port| Reservation { protocol: published.protocol, address: published.address, port };
            ports.extend((published.host.first..=published.host.last).map(on));
            asked.push(*published);
        }
        if ports.is_empty() {
            return None;
        }
        let (port, holder) = self.kernel.stranger(&ports, caller, &|holder| is_stranger(holder, &add.key.container))?;
        let has_it = |published: &Published| {
            (published.protocol, published.address) == (port.protocol, port.address)
                && (published.host.first..=published.host.last).contains(&port.port)
        };
        Some((asked.into_iter().find(has_it)?, port, holder.words))
    }
}

/// Whether a holder of a port is neither the runtime that asks for it nor its monitor of that container (podman's conmon has the container's id
/// among its arguments, and the listening socket that the container's port is kept with).
pub(super) fn is_stranger(holder: &Holder, container: &ContainerId) -> bool {
    let of_id = |byte: char| byte.is_ascii_alphanumeric() || "_.-".contains(byte);
    let names_it = |line: &str| line.split(|byte| !of_id(byte)).any(|word| word == container.as_str());
    !holder.processes.iter().any(|process| process.started_caller || names_it(&process.command_line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Process;

    fn holder(processes: &[(&str, bool)]) -> Holder {
        let process = |(line, started_caller): &(&str, bool)| Process { command_line: (*line).to_owned(), started_caller: *started_caller };
        Holder { words: "somebody".to_owned(), processes: processes.iter().map(process).collect() }
    }

    #[test]
    fn the_runtime_and_its_monitor_of_this_container_may_have_the_port_and_nobody_else() {
        let id: ContainerId = "3b1c0ffee42a".parse().expect("an id");
        let stranger = |processes: &[(&str, bool)]| is_stranger(&holder(processes), &id);
        assert!(!stranger(&[("podman run -p 8080:80 web", true)]), "the runtime");
        assert!(!stranger(&[("/usr/bin/conmon -c 3b1c0ffee42a -u 3b1c0ffee42a -n web", false)]), "its monitor");
        assert!(!stranger(&[("conmon -b /var/lib/containers/3b1c0ffee42a/userdata", false)]), "by a path");
        assert!(!stranger(&[("sleep 1", false), ("podman start", true)]), "a socket that was handed on");
        assert!(stranger(&[("nginx: master process", false)]));
        assert!(stranger(&[("/usr/bin/conmon -c 3b1c0ffee42a77 -n other", false)]), "of another container, whose id begins alike");
        assert!(stranger(&[]), "nobody knows who");
    }
}
