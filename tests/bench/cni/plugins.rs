//! The configurations that are compared: Debian's reference chain, and ours that does the same work. Never runs anything.

use serde_json::{Value, json};

use super::driver::Step;

/// Where Debian's package puts the reference plugins.
pub(super) const REFERENCE: &str = "/usr/lib/cni";
const VERSION: &str = "1.0.0";

/// One attachment of a container, as a runtime asks for it.
#[derive(Clone)]
pub(super) struct Attachment {
    pub(super) container: String,
    pub(super) netns: String,
    /// The host port that leads to the container's port 80.
    pub(super) port: Option<u16>,
    /// Whether it has an IPv6 address too.
    pub(super) dual: bool,
}

/// The plugins of a configuration, in the order in which ADD runs them.
pub(super) enum Plugins {
    /// bridge with host-local, portmap, firewall.
    Chain,
    /// Ours, at this path.
    Ours(String),
}

impl Plugins {
    /// ADD: each step gets the result of the one before.
    pub(super) fn add(&self, attachment: &Attachment) -> Vec<Step> {
        let configs = self.configs(attachment);
        let steps = configs.into_iter().enumerate().map(|(place, config)| self.step("ADD", attachment, config, place > 0));
        steps.collect()
    }

    /// DEL: in reverse, each with the result that the runtime kept.
    pub(super) fn del(&self, attachment: &Attachment, result: &Value) -> Vec<Step> {
        let steps = self.configs(attachment).into_iter().rev().map(|mut config| {
            config["prevResult"] = result.clone();
            self.step("DEL", attachment, config, false)
        });
        steps.collect()
    }

    fn step(&self, verb: &str, attachment: &Attachment, config: Value, takes_result: bool) -> Step {
        let program = match self {
            Self::Chain => format!("{REFERENCE}/{}", config["type"].as_str().expect("a type")),
            Self::Ours(program) => program.clone(),
        };
        let environment = vec![
            ("CNI_COMMAND", verb.to_owned()),
            ("CNI_CONTAINERID", attachment.container.clone()),
            ("CNI_NETNS", attachment.netns.clone()),
            ("CNI_IFNAME", "eth0".to_owned()),
            ("CNI_PATH", REFERENCE.to_owned()),
            ("CNI_ARGS", String::new()),
        ];
        Step { program, environment, config, takes_result }
    }

    fn configs(&self, attachment: &Attachment) -> Vec<Value> {
        let ports: Vec<Value> =
            attachment.port.iter().map(|port| json!({ "hostPort": port, "containerPort": 80, "protocol": "tcp" })).collect();
        let mapped = json!({ "portMappings": ports });
        match self {
            // One bridge and one name for both families: what is there already counts for both.
            Self::Chain => vec![
                bridge("bench", "cni-bench", "bridge", attachment.dual, (99, "fd99::/64")),
                json!({ "cniVersion": VERSION, "name": "bench", "type": "portmap", "snat": true, "runtimeConfig": mapped }),
                json!({ "cniVersion": VERSION, "name": "bench", "type": "firewall" }),
            ],
            Self::Ours(_) => {
                let mut config = match attachment.dual {
                    false => bridge("bench4", "cni-bench4", "netd-cni", false, (98, "")),
                    true => bridge("bench46", "cni-bench46", "netd-cni", true, (97, "fd97::/64")),
                };
                config["runtimeConfig"] = mapped;
                vec![config]
            }
        }
    }
}

/// The reference plugin's configuration, which ours takes as it is.
fn bridge(name: &str, bridge: &str, kind: &str, dual: bool, (second, v6): (u8, &str)) -> Value {
    let mut ranges = vec![json!([{ "subnet": format!("10.{second}.0.0/16") }])];
    let mut routes = vec![json!({ "dst": "0.0.0.0/0" })];
    if dual {
        ranges.push(json!([{ "subnet": v6 }]));
        routes.push(json!({ "dst": "::/0" }));
    }
    json!({
        "cniVersion": VERSION, "name": name, "type": kind, "bridge": bridge, "isGateway": true, "ipMasq": true, "hairpinMode": true,
        "ipam": { "type": "host-local", "ranges": ranges, "routes": routes },
    })
}
