//! The policies that Kubernetes' documentation shows, one by one. Only values.

use lab::policy::{
    chance::Words,
    model::{
        Action, Cidr, ClusterPeer, ClusterPolicy, ClusterRule, Direction, NetworkPolicy, Operator, Peer, Policy, Port, Protocol, Rule,
        Selector, Tier, Which,
    },
};

fn policy(name: &str, namespace: &'static str, types: &[Direction]) -> NetworkPolicy {
    NetworkPolicy { namespace, name: name.to_owned(), pods: Selector::default(), types: types.to_vec(), ingress: None, egress: None }
}

fn ingress(name: &str, namespace: &'static str, rules: Vec<Rule>) -> Policy {
    Policy::Network(NetworkPolicy { ingress: Some(rules), ..policy(name, namespace, &[Direction::Ingress]) })
}

fn egress(name: &str, namespace: &'static str, rules: Vec<Rule>) -> Policy {
    Policy::Network(NetworkPolicy { egress: Some(rules), ..policy(name, namespace, &[Direction::Egress]) })
}

fn from(peers: Vec<Peer>) -> Rule {
    Rule { peers, ports: Vec::new() }
}

fn on(ports: Vec<Port>) -> Rule {
    Rule { peers: Vec::new(), ports }
}

fn tcp(which: Which) -> Port {
    Port { protocol: Some(Protocol::Tcp), which }
}

fn everybody() -> ClusterPeer {
    ClusterPeer::Namespaces(Selector::default())
}

fn rule(action: Action, peers: Vec<ClusterPeer>, ports: Vec<Port>) -> ClusterRule {
    ClusterRule { action, peers, ports }
}

fn cluster(tier: Tier, priority: u16, subject: ClusterPeer, ingress: Vec<ClusterRule>, egress: Vec<ClusterRule>) -> Policy {
    let name = format!("{tier:?}-{priority}").to_lowercase();
    Policy::Cluster(ClusterPolicy { name, tier, priority, subject, ingress, egress })
}

/// Each with the words that say what it is.
pub(super) fn policies(words: &Words) -> Vec<(&'static str, Vec<Policy>)> {
    let mut all = isolating();
    all.extend(by_peer(&words.blocks));
    all.extend(by_port());
    all.extend(of_clusters(&words.blocks));
    all
}

fn isolating() -> Vec<(&'static str, Vec<Policy>)> {
    let red_web = Selector::label("app", "web");
    vec![
        ("deny all ingress", vec![ingress("deny", "red", vec![])]),
        ("deny all egress", vec![egress("deny", "red", vec![])]),
        ("deny all of both", vec![Policy::Network(policy("deny", "red", &Direction::BOTH))]),
        ("allow all ingress beside deny all", vec![ingress("deny", "red", vec![]), ingress("allow", "red", vec![Rule::default()])]),
        ("allow all egress beside deny all", vec![egress("deny", "red", vec![]), egress("allow", "red", vec![Rule::default()])]),
        ("no policyTypes and nothing else", vec![Policy::Network(NetworkPolicy { pods: red_web, ..policy("bare", "red", &[]) })]),
        (
            "no policyTypes but an empty egress",
            vec![Policy::Network(NetworkPolicy { egress: Some(vec![]), ..policy("empty", "green", &[]) })],
        ),
        (
            "no policyTypes but a rule of egress",
            vec![Policy::Network(NetworkPolicy { egress: Some(vec![on(vec![tcp(Which::One(80))])]), ..policy("egress", "green", &[]) })],
        ),
        (
            "rules of egress without the type",
            vec![Policy::Network(NetworkPolicy {
                egress: Some(vec![on(vec![tcp(Which::One(80))])]),
                ..policy("idle", "blue", &[Direction::Ingress])
            })],
        ),
    ]
}

fn by_peer(blocks: &[(Cidr, Cidr)]) -> Vec<(&'static str, Vec<Policy>)> {
    let jobs = || Selector::label("app", "job");
    let webs = || Selector::label("app", "web");
    let greens = || Selector::label("team", "green");
    let both = from(vec![Peer::Pods(Some(greens()), Some(webs()))]);
    let either = from(vec![Peer::Pods(Some(greens()), None), Peer::Pods(None, Some(jobs()))]);
    let not_red = Selector::expression("team", Operator::NotIn(vec!["red"]));
    let staged = Selector::expression("stage", Operator::Exists);
    let unserved = Selector::expression("tier", Operator::DoesNotExist);
    let but_one = blocks.iter().map(|(cidr, except)| Peer::Block(*cidr, vec![*except]));
    let four = |peers: Vec<Peer>| from(peers.into_iter().take(4).collect());
    vec![
        ("by podSelector", vec![ingress("pods", "red", vec![from(vec![Peer::Pods(None, Some(jobs()))])])]),
        ("by namespaceSelector", vec![ingress("namespaces", "red", vec![from(vec![Peer::Pods(Some(greens()), None)])])]),
        ("by both in one element", vec![ingress("both", "red", vec![both])]),
        ("by both in two elements", vec![ingress("either", "red", vec![either])]),
        (
            "by the namespace's own name",
            vec![egress("name", "blue", vec![from(vec![Peer::Pods(Some(Selector::label("kubernetes.io/metadata.name", "red")), None)])])],
        ),
        (
            "by expressions",
            vec![ingress(
                "words",
                "red",
                vec![from(vec![Peer::Pods(Some(not_red), Some(unserved))]), from(vec![Peer::Pods(Some(staged), Some(webs()))])],
            )],
        ),
        ("by ipBlock with except, in", vec![ingress("block", "red", vec![four(but_one.clone().collect())])]),
        ("by ipBlock with except, out", vec![egress("block", "red", vec![four(but_one.clone().collect())])]),
        ("by ipBlock of all with except", vec![egress("world", "green", vec![from(but_one.skip(4).collect())])]),
        ("out only, to one namespace", vec![egress("out", "red", vec![from(vec![Peer::Pods(Some(greens()), None)])])]),
        (
            "in of one and out of the other",
            vec![
                ingress("in", "green", vec![from(vec![Peer::Pods(Some(Selector::default()), Some(webs()))])]),
                egress("out", "red", vec![from(vec![Peer::Pods(Some(greens()), Some(jobs()))])]),
            ],
        ),
    ]
}

fn by_port() -> Vec<(&'static str, Vec<Policy>)> {
    let sctp = Port { protocol: Some(Protocol::Sctp), which: Which::One(80) };
    let udp = Port { protocol: Some(Protocol::Udp), which: Which::All };
    vec![
        ("a port without a protocol", vec![ingress("tcp", "red", vec![on(vec![Port { protocol: None, which: Which::One(80) }])])]),
        ("a protocol without a port", vec![ingress("udp", "red", vec![on(vec![udp])])]),
        ("a port of SCTP", vec![ingress("sctp", "red", vec![on(vec![sctp])])]),
        ("a range of ports", vec![ingress("range", "red", vec![on(vec![tcp(Which::Range(81, 90))])])]),
        ("a port by its name, in", vec![ingress("named", "blue", vec![on(vec![tcp(Which::Named("http"))])])]),
        ("a port by its name, out", vec![egress("named", "red", vec![on(vec![tcp(Which::Named("http"))])])]),
        ("a name of another protocol", vec![ingress("other", "red", vec![on(vec![tcp(Which::Named("game"))])])]),
    ]
}

fn of_clusters(blocks: &[(Cidr, Cidr)]) -> Vec<(&'static str, Vec<Policy>)> {
    let red = || ClusterPeer::Namespaces(Selector::label("team", "red"));
    let green = || ClusterPeer::Namespaces(Selector::label("team", "green"));
    let served = || ClusterPeer::Pods(Selector::default(), Selector::label("tier", "served"));
    let networks = ClusterPeer::Networks(blocks.iter().take(4).map(|(cidr, _)| *cidr).collect());
    let accept = |peers| vec![rule(Action::Accept, peers, vec![])];
    let deny = |peers| vec![rule(Action::Deny, peers, vec![])];
    let http = Port { protocol: None, which: Which::Named("http") };
    vec![
        (
            "Admin denies what a NetworkPolicy allows",
            vec![cluster(Tier::Admin, 10, red(), deny(vec![green()]), vec![]), ingress("allow", "red", vec![Rule::default()])],
        ),
        (
            "Admin accepts what a NetworkPolicy denies",
            vec![cluster(Tier::Admin, 10, red(), accept(vec![green()]), vec![]), ingress("deny", "red", vec![])],
        ),
        (
            "Admin passes to the NetworkPolicy what a later one denies",
            vec![
                cluster(Tier::Admin, 10, red(), vec![rule(Action::Pass, vec![green()], vec![])], vec![]),
                cluster(Tier::Admin, 20, red(), deny(vec![everybody()]), vec![]),
            ],
        ),
        (
            "the lower number goes first",
            vec![
                cluster(Tier::Admin, 20, red(), deny(vec![green()]), vec![]),
                cluster(Tier::Admin, 5, red(), accept(vec![served()]), vec![]),
            ],
        ),
        (
            "Baseline denies what nobody else decides",
            vec![cluster(Tier::Baseline, 10, everybody(), deny(vec![everybody()]), vec![]), ingress("allow", "red", vec![Rule::default()])],
        ),
        ("Baseline denies the way out to networks", vec![cluster(Tier::Baseline, 10, served(), vec![], deny(vec![networks]))]),
        (
            "Admin speaks of ports and names",
            vec![cluster(
                Tier::Admin,
                10,
                everybody(),
                vec![
                    rule(Action::Accept, vec![everybody()], vec![http, tcp(Which::Range(70, 80))]),
                    rule(Action::Deny, vec![red()], vec![]),
                ],
                vec![],
            )],
        ),
    ]
}
