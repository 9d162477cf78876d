//! Every path of the API in one table: from it come the router and the document. Serves nothing itself.

use netd_api::{
    cni::{CniAdd, CniAdded, CniCheck, CniChecked, CniCollected, CniGc, CniKey, CniReadiness, CniStatus},
    fault::Fault,
    flow::{FlowQuery, FlowsView},
    message::Request,
    names::{ContainerName, IfName},
    policy::{Advice, FILES_MOST, FlowVerdict, PoliciesApplied, PolicyFiles, PolicyName, PolicyView},
    publish::PublishSpec,
    spec::{AttachSpec, ContainerChange, ContainerSpec, NetworkSpec},
    view::{Cleanup, ContainerView, NetworkView, PlanView, PortView, Status},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::given::Given;

/// Where the document is.
pub(super) const DOCUMENT: &str = "/v1/openapi.json";

/// Writes a type's schema down and gives a reference to it.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// One method of one path.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// What it does, in a sentence.
    pub(super) about: &'static str,
    pub(super) query: &'static [Word],
    pub(super) takes: Option<Body>,
    /// HTTP's status of success.
    pub(super) status: u16,
    /// What comes back; none: an empty body.
    pub(super) gives: Option<SchemaOf>,
    read: fn(&Given) -> Result<Request, Fault>,
}

/// A word that a query may have.
pub(super) struct Word {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) schema: SchemaOf,
    /// Whether it must be there.
    pub(super) needed: bool,
}

impl Word {
    const fn new(name: &'static str, about: &'static str, schema: SchemaOf) -> Self {
        Self { name, about, schema, needed: false }
    }

    const fn needed(self) -> Self {
        Self { needed: true, ..self }
    }
}

/// A body that must be there.
pub(super) struct Body {
    pub(super) schema: SchemaOf,
    /// JSON text.
    pub(super) example: &'static str,
    /// How many bytes it may have; none: as many as bodies may in general.
    pub(super) most: Option<usize>,
}

impl Route {
    /// What is asked for.
    pub(super) fn request(&self, given: &Given) -> Result<Request, Fault> {
        let words: Vec<_> = self.query.iter().map(|word| word.name).collect();
        given.only(&words, self.takes.is_some())?;
        (self.read)(given)
    }
}

/// The paths, each once.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    let first = |(at, route): (usize, &'static Route)| (!ROUTES[..at].iter().any(|before| before.path == route.path)).then_some(route.path);
    ROUTES.iter().enumerate().filter_map(first)
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl Route {
    const fn new(method: &'static str, path: &'static str, about: &'static str, read: fn(&Given) -> Result<Request, Fault>) -> Self {
        Self { method, path, about, query: &[], takes: None, status: 204, gives: None, read }
    }

    const fn query(self, query: &'static [Word]) -> Self {
        Self { query, ..self }
    }

    const fn takes(self, schema: SchemaOf, example: &'static str) -> Self {
        let takes = Some(Body { schema, example, most: None });
        Self { takes, ..self }
    }

    /// The same for a body that may be as large as this.
    const fn takes_up_to(self, most: usize, schema: SchemaOf, example: &'static str) -> Self {
        let takes = Some(Body { schema, example, most: Some(most) });
        Self { takes, ..self }
    }

    const fn gives(self, status: u16, schema: SchemaOf) -> Self {
        let gives = Some(schema);
        Self { status, gives, ..self }
    }
}

/// An attachment as podman's default configuration would ask for it.
const ADD: &str = r#"{
    "key": {"config": "podman", "container": "c0ffee42", "ifname": "eth0"},
    "netns": "/run/netns/c0ffee42",
    "name": "web",
    "network": {"inline": {
        "bridge": "cni-podman0", "masquerade": true, "gateway": true, "hairpin": true, "icc": true,
        "addressing": {"sets": [[{"subnet": "10.88.0.0/16"}]]}
    }},
    "routes": [{"dst": "0.0.0.0/0"}],
    "publish": ["8080:80"],
    "bandwidth": {"egress": {"bits_per_second": 10000000}}
}"#;

/// A policy as Kubernetes has them.
const FILES: &str = r#"{
    "files": [{
        "name": "db.yaml",
        "text": "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: db\nspec:\n  podSelector:\n    matchLabels:\n      app: db\n  ingress: []\n"
    }],
    "dry_run": true
}"#;

const OF_CONTAINER: Word = Word::new("container", "Only those of this container.", schema::<ContainerName>);
const POLICY_NAME: Word = Word::new("name", "The policy's name.", schema::<PolicyName>).needed();

/// The table.
pub(super) static ROUTES: &[Route] = &[
    Route::new("GET", "/v1/status", "How the daemon and its host are.", |_| Ok(Request::Status)).gives(200, schema::<Status>),
    Route::new("GET", "/v1/networks", "All networks.", |_| Ok(Request::Networks)).gives(200, schema::<Vec<NetworkView>>),
    Route::new("POST", "/v1/networks", "Makes a network.", |given| given.json().map(Request::CreateNetwork))
        .takes(schema::<NetworkSpec>, r#"{"name": "lan", "subnets": ["10.4.0.0/24"], "labels": {"team": "shop"}}"#)
        .gives(201, schema::<NetworkView>),
    Route::new("POST", "/v1/networks/prune", "Removes the networks that have no containers, and tells which.", |_| {
        Ok(Request::PruneNetworks)
    })
    .gives(200, schema::<Vec<NetworkView>>),
    Route::new("GET", "/v1/networks/{name}", "One network.", |given| given.name("name").map(Request::Network))
        .gives(200, schema::<NetworkView>),
    Route::new("DELETE", "/v1/networks/{name}", "Removes a network without containers.", |given| {
        given.name("name").map(Request::RemoveNetwork)
    }),
    Route::new("GET", "/v1/containers", "All containers.", |_| Ok(Request::Containers)).gives(200, schema::<Vec<ContainerView>>),
    Route::new("POST", "/v1/containers", "Makes a container, or adopts the namespace of one.", |given| {
        given.json().map(Request::CreateContainer)
    })
    .takes(
        schema::<ContainerSpec>,
        r#"{"name": "web", "networks": [{"network": "lan", "addresses": ["10.4.0.9"]}], "publish": ["8080:80"]}"#,
    )
    .gives(201, schema::<ContainerView>),
    Route::new("GET", "/v1/containers/{name}", "One container, by its display name or id.", |given| {
        given.name("name").map(Request::Container)
    })
    .gives(200, schema::<ContainerView>),
    Route::new("PATCH", "/v1/containers/{name}", "Changes labels, the namespace or names of ports of a container.", |given| {
        Ok(Request::ChangeContainer(given.name("name")?, given.json()?))
    })
    .takes(schema::<ContainerChange>, r#"{"labels": {"app": "shop", "old": null}, "ports": {"http": {"port": 80}}}"#)
    .gives(200, schema::<ContainerView>),
    Route::new("DELETE", "/v1/containers/{name}", "Removes a container with all its published ports.", |given| {
        given.name("name").map(Request::RemoveContainer)
    }),
    Route::new("POST", "/v1/containers/{name}/attachments", "Connects a container to one more network.", |given| {
        Ok(Request::Connect(given.name("name")?, given.json()?))
    })
    .takes(schema::<AttachSpec>, r#"{"network": "lan", "ifname": "eth1"}"#)
    .gives(200, schema::<ContainerView>),
    Route::new("DELETE", "/v1/containers/{name}/attachments/{network}", "Disconnects a container from a network.", |given| {
        Ok(Request::Disconnect(given.name("name")?, given.name("network")?, given.word("ifname")?))
    })
    .query(&[Word::new("ifname", "The interface; without it all of the container's interfaces in that network.", schema::<IfName>)])
    .gives(200, schema::<ContainerView>),
    Route::new("POST", "/v1/containers/{name}/ports", "Publishes ports of a container, and tells which.", |given| {
        Ok(Request::Publish(given.name("name")?, given.json()?))
    })
    .takes(schema::<PublishSpec>, r#""127.0.0.1:8080:80/tcp""#)
    .gives(201, schema::<Vec<PortView>>),
    Route::new("DELETE", "/v1/containers/{name}/ports", "Withdraws published ports, and tells which.", |given| {
        Ok(Request::Unpublish(given.name("name")?, given.word("publish")?))
    })
    .query(&[Word::new("publish", "Which; without it all of the container's ports.", schema::<PublishSpec>)])
    .gives(200, schema::<Vec<PortView>>),
    Route::new("GET", "/v1/ports", "Published ports.", |given| given.word("container").map(Request::Ports))
        .query(&[OF_CONTAINER])
        .gives(200, schema::<Vec<PortView>>),
    Route::new("POST", "/v1/cni/add", "Attaches a CNI runtime's container to a network: whole, or not at all.", |given| {
        given.json().map(Request::CniAdd)
    })
    .takes(schema::<CniAdd>, ADD)
    .gives(200, schema::<CniAdded>),
    Route::new("POST", "/v1/cni/del", "Detaches a CNI runtime's container; what is not there is gone already.", |given| {
        given.json().map(Request::CniDel)
    })
    .takes(schema::<CniKey>, r#"{"config": "podman", "container": "c0ffee42", "ifname": "eth0"}"#),
    Route::new("POST", "/v1/cni/check", "Tells what of an attachment is not as it was made. Mends nothing.", |given| {
        given.json().map(Request::CniCheck)
    })
    .takes(
        schema::<CniCheck>,
        r#"{"key": {"config": "podman", "container": "c0ffee42", "ifname": "eth0"}, "netns": "/run/netns/c0ffee42", "addresses": ["10.88.0.2/16"]}"#,
    )
    .gives(200, schema::<CniChecked>),
    Route::new("POST", "/v1/cni/status", "Tells whether attaching would work for a CNI configuration.", |given| {
        given.json().map(Request::CniStatus)
    })
    .takes(schema::<CniStatus>, r#"{"config": "podman", "network": {"named": "lan"}}"#)
    .gives(200, schema::<CniReadiness>),
    Route::new("POST", "/v1/cni/gc", "Detaches everything of a CNI configuration but what is named, and tells what went.", |given| {
        given.json().map(Request::CniGc)
    })
    .takes(schema::<CniGc>, r#"{"config": "podman", "valid": [{"container": "c0ffee42", "ifname": "eth0"}]}"#)
    .gives(200, schema::<CniCollected>),
    Route::new("GET", "/v1/policies", "All policies, and what they decided.", |_| Ok(Request::Policies))
        .gives(200, schema::<Vec<PolicyView>>),
    Route::new("POST", "/v1/policies", "Applies policy files: whole, or not at all. A dry run changes nothing.", |given| {
        given.json().map(Request::ApplyPolicies)
    })
    .takes_up_to(FILES_MOST, schema::<PolicyFiles>, FILES)
    .gives(200, schema::<PoliciesApplied>),
    Route::new("GET", "/v1/policy", "One policy, and what it decided.", |given| given.needed("name").map(Request::Policy))
        .query(&[POLICY_NAME])
        .gives(200, schema::<PolicyView>),
    Route::new("DELETE", "/v1/policy", "Removes a policy.", |given| given.needed("name").map(Request::RemovePolicy)).query(&[POLICY_NAME]),
    Route::new("GET", "/v1/containers/{name}/advice", "The policy that a container's recorded traffic needs.", |given| {
        given.name("name").map(Request::Advise)
    })
    .gives(200, schema::<Advice>),
    Route::new("GET", "/v1/flows", "Recorded flows, the oldest first.", |given| {
        Ok(Request::Flows(FlowQuery {
            container: given.word("container")?,
            verdict: given.word("verdict")?,
            since: given.number("since")?,
            after: given.number("after")?,
        }))
    })
    .query(&[
        OF_CONTAINER,
        Word::new("verdict", "Only those with this verdict.", schema::<FlowVerdict>),
        Word::new("since", "Only those that ended, were denied or are still there since then, in seconds since 1970.", schema::<u64>),
        Word::new("after", "Only records with a higher number, and no connections that are still open.", schema::<u64>),
    ])
    .gives(200, schema::<FlowsView>),
    Route::new("GET", "/v1/plan", "What reconciling would do now.", |_| Ok(Request::Plan)).gives(200, schema::<PlanView>),
    Route::new("POST", "/v1/cleanup", "Forgets everything and removes every kernel object of netd's.", |_| Ok(Request::Cleanup))
        .gives(200, schema::<Cleanup>),
];
