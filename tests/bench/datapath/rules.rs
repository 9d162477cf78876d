//! One list of rules in two languages, policies and nft, and policies of other shapes that the parts need. Never applies one.

use std::{fmt::Write as _, net::Ipv4Addr};

use netd_api::{
    message::Request,
    policy::{PolicyFile, PolicyFiles},
};

use super::load::{CLIENT, PORTS, SERVER};

/// Rules in one policy; the others are in the next ones.
const PER_POLICY: usize = 1000;

/// A list of so many rules: half of them say what may come to the server, half of them where the client may go. Only the last one of each half lets the
/// load through; of the others every second one names an address of nobody's, and the rest another port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules(pub(super) usize);

/// What a rule lets through.
enum Rule {
    /// From or to one address, on TCP port 80.
    Address(Ipv4Addr),
    /// From or to everybody, on this TCP port.
    Port(usize),
    /// The load.
    Load,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

impl Rules {
    fn of(self, way: Way) -> impl Iterator<Item = Rule> {
        let count = self.0 / 2;
        // Networks for benchmarks (RFC 2544), which nobody has here.
        let net = Ipv4Addr::new(198, if way == Way::In { 18 } else { 19 }, 0, 0).to_bits();
        (0..count).map(move |at| match at {
            last if last + 1 == count => Rule::Load,
            at if at.is_multiple_of(2) => Rule::Address(Ipv4Addr::from_bits(net + u32::try_from(at).expect("some thousands"))),
            at => Rule::Port(10_000 + at),
        })
    }

    /// As policies.
    pub(super) fn policies(self) -> String {
        let ways = [
            (Way::In, "in", "Ingress", "ingress", "server", "client", "from"),
            (Way::Out, "out", "Egress", "egress", "client", "server", "to"),
        ];
        let mut text = String::new();
        for (way, name, kind, list, who, peer, word) in ways {
            let ports = |protocol: &str| format!("{{protocol: {protocol}, port: {}, endPort: {}}}", PORTS.start(), PORTS.end());
            let ports = ["TCP", "UDP"].map(ports).join(", ");
            for (at, rule) in self.of(way).enumerate() {
                if at.is_multiple_of(PER_POLICY) {
                    text += &head(&format!("{name}-{}", at / PER_POLICY), &format!("{{matchLabels: {{role: {who}}}}}"), kind);
                    let _ = writeln!(text, "  {list}:");
                }
                let _ = match rule {
                    Rule::Address(address) => {
                        writeln!(text, "  - {{{word}: [{{ipBlock: {{cidr: {address}/32}}}}], ports: [{{protocol: TCP, port: 80}}]}}")
                    }
                    Rule::Port(port) => writeln!(text, "  - {{ports: [{{protocol: TCP, port: {port}}}]}}"),
                    Rule::Load => {
                        writeln!(text, "  - {{{word}: [{{podSelector: {{matchLabels: {{role: {peer}}}}}}}], ports: [{ports}]}}")
                    }
                };
            }
        }
        text
    }

    /// As an nft ruleset, in the table that is named; what belongs to a known connection passes first, as in every good ruleset.
    pub(super) fn nft(self, table: &str, shape: Shape) -> String {
        let (first, last) = (PORTS.start(), PORTS.end());
        let mut sets = String::new();
        let mut chains = String::new();
        for (way, name, peer, done) in [(Way::Out, "egress", "daddr", "goto ingress"), (Way::In, "ingress", "saddr", "accept")] {
            let _ = writeln!(chains, "chain {name} {{");
            let (mut addresses, mut ports) = (Vec::new(), Vec::new());
            for rule in self.of(way) {
                let _ = match (rule, shape) {
                    (Rule::Address(address), Shape::Linear) => writeln!(chains, "ip {peer} {address} tcp dport 80 {done}"),
                    (Rule::Port(port), Shape::Linear) => writeln!(chains, "tcp dport {port} {done}"),
                    (Rule::Address(address), Shape::Sets) => {
                        addresses.push(address.to_string());
                        Ok(())
                    }
                    (Rule::Port(port), Shape::Sets) => {
                        ports.push(port.to_string());
                        Ok(())
                    }
                    (Rule::Load, _) => {
                        if shape == Shape::Sets {
                            let _ = writeln!(chains, "ip {peer} @{name}_addresses tcp dport 80 {done}\ntcp dport @{name}_ports {done}");
                        }
                        let other = if way == Way::Out { SERVER } else { CLIENT };
                        writeln!(chains, "ip {peer} {other} meta l4proto {{ tcp, udp }} th dport {first}-{last} {done}")
                    }
                };
            }
            chains += "drop\n}\n";
            if shape == Shape::Sets {
                let mut set = |part: &str, kind: &str, elements: &[String]| {
                    let _ = writeln!(sets, "set {name}_{part} {{ type {kind}; elements = {{ {} }}; }}", elements.join(", "));
                };
                set("addresses", "ipv4_addr", &addresses);
                set("ports", "inet_service", &ports);
            }
        }
        // A chain is named before it is gone to.
        format!(
            "add table {table}\nadd chain {table} ingress\nadd chain {table} egress\ntable {table} {{\n{sets}{chains}\
             chain forward {{ type filter hook forward priority 0; meta protocol != ip accept\nct state established,related accept\n\
             ip saddr {CLIENT} goto egress\nip daddr {SERVER} goto ingress\n}}\n}}\n"
        )
    }
}

/// How an nft ruleset is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Rule after rule.
    Linear,
    /// One rule for all of a kind, with a set.
    Sets,
}

/// So many policies that differ from each other: every tenth selects all, and the others each those that are `app: aN` of their own. They deny what
/// they do not list, which is not much.
pub(super) fn different(count: usize) -> String {
    let mut text = String::new();
    for at in 0..count {
        let selector = if at.is_multiple_of(10) { "{}".to_owned() } else { format!("{{matchLabels: {{app: a{at}}}}}") };
        text += &head(&format!("different-{at}"), &selector, "Ingress, Egress");
        text += "  ingress:\n";
        for rule in 0..10 {
            let (app, port) = ((at + rule + 1) % count, 1000 + 10 * at + rule);
            let _ = writeln!(
                text,
                "  - {{from: [{{podSelector: {{matchLabels: {{app: a{app}}}}}}}], ports: [{{protocol: TCP, port: {port}}}]}}"
            );
            let _ = writeln!(
                text,
                "  - {{from: [{{ipBlock: {{cidr: 198.18.{at}.{}/32}}}}], ports: [{{protocol: TCP, port: {port}}}]}}",
                10 * rule
            );
        }
        let _ = writeln!(
            text,
            "  egress:\n  - {{to: [{{ipBlock: {{cidr: 0.0.0.0/0, except: [198.19.{at}.0/24]}}}}], ports: [{{protocol: TCP, port: 443}}]}}"
        );
    }
    text
}

/// The label `app` of the container with this number, so that [`different`] policies select all of them, and each about as many.
pub(super) fn app(number: usize) -> String {
    format!("a{}", number % 50)
}

/// A policy's document up to its rules.
pub(super) fn head(name: &str, selector: &str, kinds: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  podSelector: {selector}\n  policyTypes: [{kinds}]\n"
    )
}

/// Asks for policies to be applied.
pub(super) fn applying(text: String) -> Request {
    let files = vec![PolicyFile { name: "bench.yaml".to_owned(), text }];
    Request::ApplyPolicies(Box::new(PolicyFiles { files, skip_other_kinds: false, dry_run: false }))
}
