//! Makes, changes and removes containers of users in the wish. What an attachment has is chosen elsewhere.

use std::{collections::BTreeSet, sync::Arc};

use ipnet::IpNet;
use netd_api::{
    fault::{Code, Fault},
    names::{ContainerId, ContainerName, IfName, NetworkName},
    spec::{AttachSpec, ContainerChange, ContainerSpec, NamedPort, NetworkSpec, Source, is_port_name},
};

use super::{
    Context,
    attachment::{Asked, Asker, attachment},
    network, publish,
};
use crate::{
    desired::{Attachment, Change, Container, Desired, Edit, Network, Origin, Published},
    host::Found,
    mark,
};

/// As many of its ports have names: what rules ask of each container is bounded.
const PORT_NAMES_MOST: usize = 64;

pub(super) fn create(desired: &Desired, spec: &ContainerSpec, context: Context<'_>) -> Result<Change, Fault> {
    let id = &spec.name;
    let name = ContainerName::from(id.clone());
    if id.as_str().len() > 63 {
        return Err(Fault::new(Code::BadRequest, format!("cannot make container {id}: its name has {} bytes", id.as_str().len()))
            .hint("use at most 63, as a host name has (RFC 1123)"));
    }
    if let Some(other) = desired.find(&name) {
        return Err(Fault::new(Code::Exists, format!("cannot make container {id}: there is one of that name (id {})", other.id))
            .hint(format!("remove it (netctl container rm {id}), or choose another name")));
    }
    let origin = match (&spec.netns, context.found) {
        (Source::Made, _) => Origin::Made,
        (_, Some(found)) => {
            let mut adopters = desired.adopters(found.id).filter(|other| !desired.is_absent(&other.id));
            if let Some(other) = maker(desired, found).or_else(|| adopters.next()) {
                return Err(Fault::new(
                    Code::InUse,
                    format!("cannot adopt {}: it is the namespace of container {}", found.path, other.name),
                )
                .hint(format!("connect that one to further networks (netctl network connect NET {})", other.name)));
            }
            Origin::Adopted { path: found.path.clone(), id: found.id }
        }
        (_, None) => {
            return Err(Fault::new(Code::BadNamespace, format!("cannot adopt container {id}: its namespace was not found"))
                .hint("give --netns PATH or --pid PID"));
        }
    };
    let mut container = Container {
        id: id.clone(),
        name,
        namespace: spec.namespace.clone(),
        origin,
        cgroup: None,
        labels: spec.labels.clone(),
        ports: [].into(),
        allow: allowed(&spec.allow_addresses),
        guard: spec.guard,
        attachments: Vec::new(),
    };
    let mut change = Change::default();
    let fallback = network::DEFAULT.parse::<NetworkName>().map_err(|error| Fault::new(Code::BadRequest, error.to_string()))?;
    let default = [AttachSpec::to(fallback.clone())];
    let wanted = if spec.networks.is_empty() { &default[..] } else { &spec.networks };
    let mut made_default = None;
    if spec.networks.is_empty() && !desired.networks().contains_key(&fallback) {
        let network = Arc::new(network::network(desired, &NetworkSpec::named(fallback), context)?);
        change.edits.push(Edit::Network { before: None, after: Some(Arc::clone(&network)) });
        made_default = Some(network);
    }
    for attach in wanted {
        let network = desired.networks().get(&attach.network).or(made_default.as_ref()).ok_or_else(|| network::missing(&attach.network))?;
        let attachment = self::attach(desired, &container, network, attach, context)?;
        container.attachments.push(attachment);
    }
    let container = Arc::new(container);
    change.edits.push(Edit::Container { before: None, after: Some(Arc::clone(&container)) });
    let preview = PreviewNetworks { desired, made: made_default.as_deref() };
    change.edits.extend(publish::edits(&preview, &container, &spec.publish, context)?);
    Ok(change)
}

/// What it may send from: prefixes without host bits, each once.
fn allowed(given: &[IpNet]) -> Vec<IpNet> {
    let nets: BTreeSet<IpNet> = given.iter().map(IpNet::trunc).collect();
    nets.into_iter().collect()
}

/// The made container whose namespace was found: one that netd made is known by its path, as it has no number before it is made.
pub(super) fn maker<'a>(desired: &'a Desired, found: &Found) -> Option<&'a Arc<Container>> {
    let path = found.path.strip_prefix("/var").filter(|path| path.starts_with("/run/")).unwrap_or(&found.path);
    let name = path.strip_prefix(mark::NETNS_DIR)?.strip_prefix('/')?;
    desired.containers().get(name).filter(|other| other.origin == Origin::Made)
}

/// The networks of the wish, with the one that the same request makes or changes.
pub(super) struct PreviewNetworks<'a> {
    pub(super) desired: &'a Desired,
    pub(super) made: Option<&'a Network>,
}

impl PreviewNetworks<'_> {
    pub(super) fn get(&self, name: &NetworkName) -> Option<&Network> {
        let made = self.made.filter(|made| made.name == *name);
        made.or_else(|| self.desired.networks().get(name).map(Arc::as_ref))
    }
    /// The network that has a subnet which an address is of, and whether the address is the host's there.
    pub(super) fn subnet_of(&self, address: std::net::IpAddr) -> Option<(&Network, bool)> {
        let kept = self.desired.networks().values().map(Arc::as_ref);
        let kept = kept.filter(|network| self.made.is_none_or(|made| made.name != network.name));
        let network = kept.chain(self.made).find(|network| network.pools.iter().any(|pool| pool.subnet.contains(address)))?;
        Some((network, network.is_gateway() && network.pools.iter().any(|pool| pool.gateway == Some(address))))
    }
}

/// A new attachment of a user's.
fn attach(
    desired: &Desired,
    container: &Container,
    network: &Network,
    spec: &AttachSpec,
    context: Context<'_>,
) -> Result<Attachment, Fault> {
    if network.inline.is_some() && container.origin == Origin::Made {
        return Err(Fault::new(
            Code::Impossible,
            format!(
                "cannot attach {} to network {}: a CNI configuration describes it, so it ends with the boot, and the container does not",
                container.id, network.name
            ),
        )
        .hint("make a network (netctl network create) and name it in the configuration (\"network\": NAME)"));
    }
    let asked = Asked { by: Asker::User, ifname: spec.ifname.as_ref(), addresses: &spec.addresses, mac: spec.mac };
    attachment(desired, container, network, &asked, context)
}

pub(super) fn connect(desired: &Desired, name: &ContainerName, spec: &AttachSpec, context: Context<'_>) -> Result<Change, Fault> {
    let before = super::container(desired, name)?;
    if desired.is_absent(&before.id) {
        return Err(absent(before).hint(format!("remove it (netctl container rm {name}) and attach it again")));
    }
    let network = desired.networks().get(&spec.network).ok_or_else(|| network::missing(&spec.network))?;
    let mut after = Container::clone(before);
    after.attachments.push(attach(desired, before, network, spec, context)?);
    Ok(Change { edits: vec![Edit::Container { before: Some(Arc::clone(before)), after: Some(Arc::new(after)) }] })
}

fn absent(container: &Container) -> Fault {
    Fault::new(Code::BadNamespace, format!("the network namespace of container {} ({}) has gone", container.name, container.netns()))
}

pub(super) fn disconnect(desired: &Desired, name: &ContainerName, network: &NetworkName, ifname: Option<&IfName>) -> Result<Change, Fault> {
    let before = super::container(desired, name)?;
    let meant = |attachment: &Attachment| attachment.network == *network && ifname.is_none_or(|ifname| attachment.ifname == *ifname);
    if !before.attachments.iter().any(meant) {
        let by = ifname.map_or(String::new(), |ifname| format!(" by {ifname}"));
        return Err(Fault::new(Code::NotFound, format!("container {name} is not attached to network {network}{by}"))
            .hint(format!("see `netctl container inspect {name}`")));
    }
    let by_runtime = |attachment: &Attachment| attachment.cni.is_some();
    if before.attachments.iter().any(by_runtime) && !before.attachments.iter().any(|other| by_runtime(other) && !meant(other)) {
        return Err(Fault::new(
            Code::InUse,
            format!("cannot disconnect {name} from network {network}: its runtime attached it there, and nowhere else"),
        )
        .hint(format!("use the runtime's own command, or take the container out of netd (netctl container rm {name})")));
    }
    let edits = detach(desired, before, meant);
    let (mut after, mut gone) = (Container::clone(before), Vec::new());
    for edit in &edits {
        match edit {
            Edit::Container { after: Some(container), .. } => after = Container::clone(container),
            Edit::Publish { before: Some(published), .. } => gone.push(*published),
            _ => {}
        }
    }
    let preview = PreviewNetworks { desired, made: None };
    for (_, published) in desired.publishes_of(&before.id).filter(|(_, published)| !gone.contains(published)) {
        if publish::reachable(&preview, before, published) && !publish::reachable(&preview, &after, published) {
            return Err(Fault::new(
                Code::InUse,
                format!("cannot disconnect {name} from network {network}: its published port {} would lead nowhere", published.host),
            )
            .hint(format!("withdraw it first (netctl unpublish {name}), or connect another network before")));
        }
    }
    Ok(Change { edits })
}

/// What takes attachments from a container, with the host ports that a runtime asked for with these alone; all of it goes with the last one that
/// the runtime of a container made.
pub(super) fn detach(desired: &Desired, before: &Arc<Container>, goes: impl Fn(&Attachment) -> bool) -> Vec<Edit> {
    let (gone, kept): (Vec<Attachment>, Vec<Attachment>) = before.attachments.iter().cloned().partition(|attachment| goes(attachment));
    if gone.is_empty() {
        return Vec::new();
    }
    if matches!(before.origin, Origin::Cni { .. }) && kept.iter().all(|attachment| attachment.cni.is_none()) {
        return remove(desired, before).edits;
    }
    let ports = |attachments: &[Attachment]| -> Vec<Published> {
        attachments.iter().filter_map(|attachment| attachment.cni.as_ref()).flat_map(|cni| cni.ports.iter().copied()).collect()
    };
    let (dropped, asked) = (ports(&gone), ports(&kept));
    let unasked = desired.publishes_of(&before.id).filter(|(_, published)| dropped.contains(published) && !asked.contains(published));
    let mut edits: Vec<Edit> =
        unasked.map(|(_, published)| Edit::Publish { container: before.id.clone(), before: Some(*published), after: None }).collect();
    let after = Container { attachments: kept, ..Container::clone(before) };
    edits.push(Edit::Container { before: Some(Arc::clone(before)), after: Some(Arc::new(after)) });
    edits
}

pub(super) fn alter(desired: &Desired, name: &ContainerName, wanted: &ContainerChange) -> Result<Change, Fault> {
    let before = super::container(desired, name)?;
    let mut after = Container::clone(before);
    for (key, value) in &wanted.labels {
        match value {
            Some(value) => after.labels.insert(key.clone(), value.clone()),
            None => after.labels.remove(key),
        };
    }
    if let Some(namespace) = &wanted.namespace {
        after.namespace = namespace.clone();
    }
    name_ports(&mut after, wanted)?;
    if after == **before {
        return Ok(Change::default());
    }
    Ok(Change { edits: vec![Edit::Container { before: Some(Arc::clone(before)), after: Some(Arc::new(after)) }] })
}

/// Gives names to ports, or takes them away.
fn name_ports(container: &mut Container, wanted: &ContainerChange) -> Result<(), Fault> {
    let refused = |why: String, hint: &str| {
        Err(Fault::new(Code::BadRequest, format!("cannot name ports of container {}: {why}", container.name)).hint(hint))
    };
    let mut ports = container.ports.clone();
    for (name, port) in &wanted.ports {
        match port {
            None => {
                ports.remove(name);
            }
            Some(_) if !is_port_name(name) => {
                let given: String = name.chars().take(80).collect();
                return refused(
                    format!("{given:?} is no name of a port"),
                    "use up to 15 of a-z, 0-9 and '-', with a letter, no '-' at either end and none after another",
                );
            }
            Some(NamedPort { port: 0, .. }) => return refused(format!("port 0 of {name} is none"), "give one of 1 to 65535"),
            Some(port) => {
                ports.insert(name.clone(), *port);
            }
        }
    }
    if ports.len() > PORT_NAMES_MOST {
        return refused(
            format!("{} names are too many", ports.len()),
            "take some away (netctl container set C --port-name NAME-); at most 64 are kept",
        );
    }
    container.ports = ports;
    Ok(())
}

/// Its published ports go first, then itself.
pub(super) fn remove(desired: &Desired, container: &Arc<Container>) -> Change {
    let id: &ContainerId = &container.id;
    let ports =
        desired.publishes_of(id).map(|(_, published)| Edit::Publish { container: id.clone(), before: Some(*published), after: None });
    let mut edits: Vec<Edit> = ports.collect();
    edits.push(Edit::Container { before: Some(Arc::clone(container)), after: None });
    Change { edits }
}
