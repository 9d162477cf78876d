//! Other people's chains that would drop our packets: an accept of ours does not undo a drop of theirs, so they are named together with what
//! mends them. Never changes one, and never fails anything: what cannot be read is said.
//!
//! Looked at are the chains that a forwarded packet meets. Input is not: whether containers may talk to the host's own services is the host's
//! firewall's to say. Rules of iptables-legacy are not in nf_tables and cannot be seen here.

use std::collections::HashMap;

use netd_api::{names::IfName, view::Trouble};
use netd_core::mark;
use nftables::helper;
use serde_json::Value;

use super::{load, table};

/// One chain in our way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignDrop {
    /// Family, table and chain: `ip filter FORWARD`.
    pub chain: String,
    /// What in it drops: its policy, or a rule for everything.
    pub why: String,
    /// The command that lets our packets pass.
    pub mend: String,
}

impl From<ForeignDrop> for Trouble {
    fn from(drop: ForeignDrop) -> Self {
        let what = format!(
            "chain {} ({}) drops what containers send and get; accepting it in table inet netd cannot undo that",
            drop.chain, drop.why
        );
        Self { what, hint: drop.mend }
    }
}

/// Reads the whole ruleset and looks for them; some milliseconds, more on a host with thousands of rules: for the start, and when foreign rules change.
pub fn find(bridges: &[IfName]) -> Vec<Trouble> {
    let listed = helper::get_current_ruleset_raw(Some(&load::program()), ["list", "ruleset"]).map_err(|error| error.to_string());
    match listed.and_then(|json| foreign_drops(&json, bridges)) {
        Ok(drops) => drops.into_iter().map(Trouble::from).collect(),
        Err(why) => vec![Trouble {
            what: format!("whether other firewall rules drop containers' packets is not known: {why}"),
            hint: "nft -j list ruleset".to_owned(),
        }],
    }
}

/// The foreign drops in what `nft -j list ruleset` printed. Rules are read loosely: one that is not understood decides nothing.
pub fn foreign_drops(json: &str, bridges: &[IfName]) -> Result<Vec<ForeignDrop>, String> {
    let ruleset: Value = serde_json::from_str(json).map_err(|error| format!("nft -j list ruleset: {error}"))?;
    let objects = ruleset["nftables"].as_array().ok_or("nft -j list ruleset: no list of objects")?;
    let mut rules: HashMap<ChainName<'_>, Vec<&[Value]>> = HashMap::new();
    for rule in objects.iter().filter_map(|object| object.get("rule")) {
        if let (Some(chain), Some(expr)) = (ChainName::of(rule, "chain"), rule["expr"].as_array()) {
            rules.entry(chain).or_default().push(expr);
        }
    }
    let ours = Ours::new(bridges);
    let chains = objects.iter().filter_map(|object| object.get("chain"));
    let drops = chains.filter_map(|chain| {
        let name = ChainName::of(chain, "name").filter(|name| name.forwards(chain))?;
        let mut way = Way { rules: &rules, ours: &ours, sent: vec![false; ours.0.len()], gotten: vec![false; ours.0.len()] };
        let why = match way.walk(name, 0) {
            Some(Verdict::Accept) => return None,
            Some(Verdict::Drop) => "a rule that drops everything",
            None if chain["policy"] == "drop" => "policy drop",
            None => return None,
        };
        let passes = way.sent.iter().chain(&way.gotten).all(|passes| *passes);
        (!passes).then(|| ForeignDrop {
            chain: format!("{} {} {}", name.family, name.table, name.chain),
            why: why.to_owned(),
            mend: name.mend(&rules, &ours),
        })
    });
    Ok(drops.collect())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ChainName<'a> {
    family: &'a str,
    table: &'a str,
    chain: &'a str,
}

impl<'a> ChainName<'a> {
    fn of(object: &'a Value, name: &str) -> Option<Self> {
        Some(Self { family: object["family"].as_str()?, table: object["table"].as_str()?, chain: object[name].as_str()? })
    }

    /// Whether it is a base chain on a forwarded packet's way, and not ours.
    fn forwards(self, chain: &Value) -> bool {
        let hooks: &[&str] = match self.family {
            "ip" | "ip6" | "inet" => &["forward", "prerouting", "postrouting"],
            "bridge" => &["forward", "prerouting", "postrouting", "input", "output"],
            _ => &[],
        };
        let ours = (self.family, self.table) == ("inet", table::NAME);
        !ours && chain["hook"].as_str().is_some_and(|hook| hooks.contains(&hook))
    }

    /// The command in the words of whoever made the chain.
    fn mend(self, rules: &HashMap<ChainName<'_>, Vec<&[Value]>>, ours: &Ours) -> String {
        let jumps_to = |prefix: &str| {
            rules.get(&self).is_some_and(|rules| rules.iter().any(|rule| target(rule).is_some_and(|to| to.starts_with(prefix))))
        };
        let iptables = match self.family {
            "ip6" => "ip6tables",
            _ => "iptables",
        };
        let commands = ours.0.iter().flat_map(|pattern| {
            let (wild, nft) = if pattern.ends_with('-') {
                (format!("{pattern}+"), format!("\"{pattern}*\""))
            } else {
                (pattern.clone(), format!("\"{pattern}\""))
            };
            if jumps_to("ufw-") {
                vec![format!("ufw route allow in on {wild}"), format!("ufw route allow out on {wild}")]
            } else if jumps_to("DOCKER-") {
                vec![format!("{iptables} -I DOCKER-USER -i {wild} -j ACCEPT"), format!("{iptables} -I DOCKER-USER -o {wild} -j ACCEPT")]
            } else if self.table == "firewalld" {
                vec![format!("firewall-cmd --permanent --zone=trusted --add-interface={wild}"), "firewall-cmd --reload".to_owned()]
            } else {
                let insert = format!("nft insert rule {} {} {}", self.family, self.table, self.chain);
                vec![format!("{insert} iifname {nft} accept"), format!("{insert} oifname {nft} accept")]
            }
        });
        commands.collect::<Vec<_>>().join(" && ")
    }
}

/// The names of our bridges as rules speak of them: the prefix of those that netd named, each of the others.
struct Ours(Vec<String>);

impl Ours {
    fn new(bridges: &[IfName]) -> Self {
        let named = bridges.iter().map(IfName::as_str).filter(|name| !name.starts_with(mark::BRIDGE_PREFIX)).map(str::to_owned);
        Self([mark::BRIDGE_PREFIX.to_owned()].into_iter().chain(named).collect())
    }

    /// Which of them a rule's interface means: `nd-*`, a name, or a list of both.
    fn meant(&self, interface: &Value) -> Vec<usize> {
        let given: Vec<&str> = match interface["set"].as_array() {
            Some(several) => several.iter().filter_map(Value::as_str).collect(),
            None => interface.as_str().into_iter().collect(),
        };
        let covers = |given: &str, pattern: &str| given.strip_suffix('*').map_or(given == pattern, |prefix| pattern.starts_with(prefix));
        (0..self.0.len()).filter(|number| given.iter().any(|given| covers(given, &self.0[*number]))).collect()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Accept,
    Drop,
}

/// A packet's way through one chain and those it jumps to.
struct Way<'a> {
    rules: &'a HashMap<ChainName<'a>, Vec<&'a [Value]>>,
    ours: &'a Ours,
    /// Of which of our bridges it accepts what containers send.
    sent: Vec<bool>,
    /// Of which it accepts what they get.
    gotten: Vec<bool>,
}

/// nf_tables' own limit on jumps within jumps (NFT_JUMP_STACK_SIZE).
const JUMPS: usize = 16;

impl<'a> Way<'a> {
    /// What happens to every packet in this chain; none: it depends on the packet, or falls through. Notes what is accepted of ours on the way.
    fn walk(&mut self, name: ChainName<'a>, depth: usize) -> Option<Verdict> {
        let rules = self.rules;
        for rule in rules.get(&name).into_iter().flatten() {
            let verdict = self.verdict(rule, name, depth);
            let conditions: Vec<&Value> = rule.iter().filter(|part| !is_neutral(part)).collect();
            match (conditions.as_slice(), verdict) {
                ([], Some(verdict)) => return Some(verdict),
                ([], None) if rule.iter().any(|part| part.get("return").is_some()) => return None,
                ([one], Some(Verdict::Accept)) => self.note(one),
                _ => {}
            }
        }
        None
    }

    /// What the rule does with a packet it is about.
    fn verdict(&mut self, rule: &'a [Value], name: ChainName<'a>, depth: usize) -> Option<Verdict> {
        if rule.iter().any(|part| part.get("accept").is_some()) {
            return Some(Verdict::Accept);
        }
        if rule.iter().any(|part| part.get("drop").is_some() || part.get("reject").is_some()) {
            return Some(Verdict::Drop);
        }
        let to = target(rule).filter(|_| depth < JUMPS)?;
        let before = (self.sent.clone(), self.gotten.clone());
        let verdict = self.walk(ChainName { chain: to, ..name }, depth + 1);
        if !rule.iter().all(is_neutral) {
            // What is accepted there is accepted of some packets only.
            (self.sent, self.gotten) = before;
        }
        verdict
    }

    /// A rule with one condition accepts.
    fn note(&mut self, condition: &Value) {
        let matched = &condition["match"];
        let is_equal = matched["op"] == "==" || matched["op"] == "in";
        match matched["left"]["meta"]["key"].as_str() {
            Some("iifname") if is_equal => self.ours.meant(&matched["right"]).into_iter().for_each(|number| self.sent[number] = true),
            Some("oifname") if is_equal => self.ours.meant(&matched["right"]).into_iter().for_each(|number| self.gotten[number] = true),
            // Answers pass, and what else containers get begins with the host's own DNAT, which each of these firewalls lets pass.
            _ if matched["left"]["ct"]["key"] == "state" && matched["right"].to_string().contains("established") => self.gotten.fill(true),
            _ => {}
        }
    }
}

/// The chain a rule goes on in.
fn target(rule: &[Value]) -> Option<&str> {
    rule.iter().find_map(|part| part["jump"]["target"].as_str().or_else(|| part["goto"]["target"].as_str()))
}

/// Whether a part of a rule neither asks nor decides: counting, logging, the verdict itself.
fn is_neutral(part: &Value) -> bool {
    ["counter", "log", "accept", "drop", "reject", "jump", "goto", "return", "continue"].iter().any(|word| part.get(word).is_some())
}

#[cfg(test)]
mod tests;
