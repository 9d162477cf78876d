//! Whatever comes, changes and goes, in any order: the maps hold what the book says, the answers are those of the text, and on the way from
//! one state to the next every answer is an old or a new one.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, option, prelude::*, sample::select as one_of};

use super::{
    mirror::Mirror,
    naive::{Naive, reason},
    *,
};
use crate::policy::book::{steps::Write, wish::Host};

const ADDRESSES: [&str; 12] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.0.9",
    "10.0.0.254",
    "203.0.113.1",
    "192.0.2.7",
    "8.8.8.8",
    "fd00::1",
    "fd00::2",
    "fd00::fe",
    "2001:db8::1",
];
const QUESTIONS: [(u8, u16); 7] = [(6, 80), (6, 443), (6, 53), (17, 53), (17, 81), (132, 80), (1, 0)];

#[derive(Debug, Clone)]
enum Act {
    Set(Wish),
    /// A policy comes or changes, one goes, the host changes: each or not, at once.
    Change(Box<Option<Policy>>, bool, Option<Host>),
    /// A policy gets other ports, and nothing else changes.
    Ports(usize, Vec<Port>),
    Place(u32, Option<Placed>),
}

fn some_labels() -> impl Strategy<Value = String> {
    one_of(vec!["", "app=a", "app=b", "app=a tier=x", "tier=x", "k8s-app=kube-dns"]).prop_map(ToOwned::to_owned)
}

fn a_selector() -> impl Strategy<Value = Selector> {
    prop_oneof![
        4 => some_labels().prop_map(|given| select(&given)),
        1 => one_of(vec![Condition::Exists, Condition::DoesNotExist, Condition::NotIn(vec!["a".parse().unwrap()])])
            .prop_map(|condition| express("app", condition)),
    ]
}

fn namespaces() -> impl Strategy<Value = Selector> {
    one_of(vec!["", "team=red", "kubernetes.io/metadata.name=one", "kubernetes.io/metadata.name=kube-system"]).prop_map(select)
}

fn a_pod() -> impl Strategy<Value = Pod> {
    let port = option::of((one_of(vec!["web", "dns"]), one_of(vec![80_u16, 443, 53])));
    (one_of(vec!["one", "two"]), some_labels(), port).prop_map(|(namespace, given, port)| {
        let pod = pod(namespace, &given);
        port.map_or(pod.clone(), |(name, port)| with_port(pod, name, port))
    })
}

fn a_net() -> impl Strategy<Value = &'static str> {
    one_of(vec![
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.0.0.0/24",
        "10.0.0.0/30",
        "10.0.0.1/32",
        "10.0.0.254/32",
        "203.0.113.1/32",
        "192.0.2.0/24",
        "::/0",
        "fd00::/64",
        "fd00::1/128",
    ])
}

fn a_block() -> impl Strategy<Value = Block> {
    (a_net(), vec(a_net(), 0..3)).prop_map(|(cidr, except)| {
        let cidr = net(cidr);
        let except = except.into_iter().map(net).filter(|except| cidr.contains(except) && *except != cidr).collect();
        Block { cidr, except }
    })
}

fn a_port() -> impl Strategy<Value = Port> {
    let protocol = one_of(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
    let which = prop_oneof![
        1 => Just(WhichPort::All),
        3 => one_of(vec![(80, 80), (1, 1023), (53, 53), (443, 65535), (81, 500)])
            .prop_map(|(first, last)| WhichPort::Range(PortRange { first, last })),
        1 => one_of(vec!["web", "dns"]).prop_map(|name| WhichPort::Named(name.to_owned())),
    ];
    (protocol, which, any::<bool>()).prop_map(|(protocol, which, open)| {
        let any = open && matches!(which, WhichPort::Named(_));
        Port { protocol: (!any).then_some(protocol), which }
    })
}

fn rules() -> impl Strategy<Value = Option<Vec<Rule>>> {
    let peer = prop_oneof![
        (option::of(namespaces()), a_selector()).prop_map(|(namespaces, pods)| Peer::Pods { namespaces, pods }),
        a_block().prop_map(Peer::Block),
    ];
    let rule = (vec(peer, 0..3), vec(a_port(), 0..3)).prop_map(|(peers, ports)| Rule { peers, ports });
    option::weighted(0.7, vec(rule, 0..3))
}

fn cluster_rules() -> impl Strategy<Value = Vec<ClusterRule>> {
    let peer = prop_oneof![
        2 => (namespaces(), a_selector()).prop_map(|(namespaces, pods)| ClusterPeer::Pods(Subject { namespaces, pods })),
        1 => one_of(vec!["", "kubernetes.io/hostname=here", "kubernetes.io/hostname=there"]).prop_map(|given| ClusterPeer::Nodes(select(given))),
        2 => vec(a_net().prop_map(net), 1..3).prop_map(ClusterPeer::Networks),
    ];
    let action = one_of(vec![ClusterAction::Accept, ClusterAction::Deny, ClusterAction::Pass]);
    let rule =
        (action, vec(peer, 1..3), vec(a_port(), 0..2)).prop_map(|(action, peers, ports)| ClusterRule { name: None, action, peers, ports });
    vec(rule, 0..4)
}

fn a_policy() -> impl Strategy<Value = Policy> {
    let manner = (any::<[bool; 4]>()).prop_map(|[a, b, c, d]| Manner { audit: a && b, reject: c && d });
    let body = prop_oneof![
        (a_selector(), rules(), rules()).prop_map(|(pods, ingress, egress)| Body::Network(NetworkPolicy { pods, ingress, egress })),
        (one_of(vec![Tier::Admin, Tier::Baseline]), 0..3_u16, namespaces(), a_selector(), cluster_rules(), cluster_rules()).prop_map(
            |(tier, priority, namespaces, pods, ingress, egress)| {
                Body::Cluster(ClusterPolicy { tier, priority, subject: Subject { namespaces, pods }, ingress, egress })
            }
        ),
    ];
    (one_of(vec!["p", "q", "r", "s"]), one_of(vec!["one", "two"]), body, manner).prop_map(|(name, namespace, body, manner)| {
        let namespace = matches!(body, Body::Network(_)).then(|| ns(namespace));
        policy(PolicyName { namespace, name: name.to_owned() }, body, manner)
    })
}

fn a_host() -> impl Strategy<Value = Host> {
    let some = |given: Vec<&'static str>| {
        proptest::sample::subsequence(given.clone(), 0..=given.len()).prop_map(|some| some.into_iter().map(ip).collect())
    };
    (some(vec!["203.0.113.1", "10.0.0.3"]), some(vec!["10.0.0.254", "fd00::fe"])).prop_map(|(addresses, gateways)| Host {
        addresses,
        gateways,
        labels: labels("kubernetes.io/hostname=here"),
    })
}

fn a_wish() -> impl Strategy<Value = Wish> {
    (vec(a_policy(), 0..5), any::<bool>(), a_host(), any::<[bool; 3]>()).prop_map(|(policies, red, host, deny)| Wish {
        namespaces: [(ns("two"), labels(if red { "team=red" } else { "" }))].into(),
        host,
        default: if deny == [true; 3] { ByDefault::Deny } else { ByDefault::Allow },
        ..wish(policies)
    })
}

fn an_act() -> impl Strategy<Value = Act> {
    let placed = (a_pod(), vec(one_of(vec![0_usize, 1, 2, 3, 4, 8, 9]), 1..3))
        .prop_map(|(pod, at)| Placed { pod: Arc::new(pod), addresses: at.into_iter().map(|n| ip(ADDRESSES[n])).collect() });
    prop_oneof![
        1 => a_wish().prop_map(Act::Set),
        2 => (option::of(a_policy()), proptest::bool::weighted(0.2), option::of(a_host()))
            .prop_map(|(policy, one_goes, host)| Act::Change(policy.into(), one_goes, host)),
        1 => (0..5_usize, vec(a_port(), 0..3)).prop_map(|(which, ports)| Act::Ports(which, ports)),
        3 => (1..5_u32, option::weighted(0.8, placed)).prop_map(|(slot, placed)| Act::Place(slot, placed)),
    ]
}

fn with_ports(old: &Policy, ports: &[Port]) -> Policy {
    let mut body = old.body.clone();
    match &mut body {
        Body::Network(body) => {
            [&mut body.ingress, &mut body.egress].into_iter().flatten().flatten().for_each(|rule| rule.ports = ports.to_vec());
        }
        Body::Cluster(body) => body.ingress.iter_mut().chain(&mut body.egress).for_each(|rule| rule.ports = ports.to_vec()),
    }
    policy(old.name.clone(), body, old.manner)
}

type Answers = BTreeMap<(u32, Direction, IpAddr, u8, u16), netd_abi::policy::RuleValue>;

fn answers(mirror: &Mirror, slots: &BTreeSet<u32>) -> Answers {
    let mut answers = Answers::new();
    for slot in slots {
        for direction in Direction::ALL {
            for address in ADDRESSES.map(ip) {
                for (protocol, port) in QUESTIONS {
                    answers.insert((*slot, direction, address, protocol, port), mirror.ask(*slot, direction, address, protocol, port));
                }
            }
        }
    }
    answers
}

/// The next act's old answers; after each write and flip every one is among them or the new ones.
fn perform(mirror: &mut Mirror, steps: &Steps, gone: Option<u32>, own: (u32, &BTreeSet<IpAddr>)) {
    let mut end = mirror.clone();
    steps.before.iter().for_each(|write| end.write(*write));
    end.attachments.extend(&steps.flips);
    if let Some(gone) = gone {
        mirror.attachments.remove(&gone);
        end.attachments.remove(&gone);
    }
    let slots: BTreeSet<u32> = mirror.attachments.keys().copied().collect();
    let (old, new) = (answers(mirror, &slots), answers(&end, &slots));
    let check = |mirror: &Mirror, what: &dyn std::fmt::Display| {
        for (question, answer) in answers(mirror, &slots) {
            let is_own = question.0 == own.0 && own.1.contains(&question.2);
            assert!(is_own || answer == old[&question] || answer == new[&question], "{question:?} is {answer:?} after {what} of\n{steps}");
        }
    };
    let changes = old != new;
    for write in &steps.before {
        mirror.write(*write);
        // Entries of a rule alone are many, and each is seen when the next other thing is written.
        if !matches!(write, Write::PutRule(..) | Write::ZeroRule(_)) {
            check(mirror, write);
        }
    }
    for (slot, sets) in &steps.flips {
        mirror.attachments.insert(*slot, *sets);
        check(mirror, &slot);
    }
    assert!(steps.rejudge || !changes, "answers change without a word in\n{steps}");
    for write in &steps.after {
        mirror.write(*write);
        assert!(answers(mirror, &slots) == new, "{write} changes answers in\n{steps}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn maps_follow_the_book_and_answers_follow_the_text(acts in vec(an_act(), 1..14)) {
        let mut book = Book::new(Numbers::new(), 1);
        let (mut mirror, mut slots, mut wished) = (Mirror::default(), BTreeMap::new(), Wish::default());
        for act in acts {
            let mut own = (0, BTreeSet::new());
            let mut gone = None;
            let steps = match act {
                Act::Set(wish) => {
                    wished = wish;
                    book.set(wished.clone()).unwrap()
                }
                Act::Change(policy, one_goes, host) => {
                    let policies = Arc::make_mut(&mut wished.policies);
                    policies.extend((*policy).map(|policy| (policy.name.clone(), Arc::new(policy))));
                    if one_goes {
                        policies.pop_first();
                    }
                    wished.host = host.unwrap_or(wished.host);
                    book.set(wished.clone()).unwrap()
                }
                Act::Ports(which, ports) => {
                    if let Some(policy) = Arc::make_mut(&mut wished.policies).values_mut().nth(which) {
                        *policy = Arc::new(with_ports(policy, &ports));
                    }
                    book.set(wished.clone()).unwrap()
                }
                Act::Place(slot, placed) => {
                    let steps = book.place(slot, placed.clone()).unwrap();
                    gone = placed.is_none().then_some(slot);
                    let is_new = !slots.contains_key(&slot);
                    own.0 = slot;
                    own.1.extend(placed.iter().flat_map(|placed: &Placed| placed.addresses.clone()));
                    let was = match placed {
                        Some(placed) => slots.insert(slot, placed),
                        None => slots.remove(&slot),
                    };
                    own.1.extend(was.into_iter().flat_map(|placed| placed.addresses));
                    if is_new && gone.is_none() {
                        // Nobody asks before it is there.
                        own.1.extend(ADDRESSES.map(ip));
                    }
                    steps
                }
            };
            perform(&mut mirror, &steps, gone, (own.0, &own.1));
            for slot in slots.keys() {
                mirror.attachments.entry(*slot).or_default();
            }

            let mut whole = Mirror::default();
            whole.attachments.clone_from(&mirror.attachments);
            book.entries().for_each(|write| whole.write(write));
            prop_assert_eq!(&whole, &mirror);
            let fill = book.fill();
            prop_assert_eq!(fill.rules + fill.sets + fill.nets + fill.addresses, book.entries().count());
            for rule in mirror.named().into_iter().filter(|rule| *rule != 0) {
                prop_assert!(book.rule(rule).is_some());
            }

            let naive = Naive { wish: &wished, slots: &slots };
            for slot in slots.keys() {
                prop_assert_eq!(book.sets(*slot), mirror.attachments[slot]);
                for direction in Direction::ALL {
                    for address in ADDRESSES.map(ip) {
                        for (protocol, port) in QUESTIONS {
                            let answer = book.judge(book.sets(*slot), direction, address, protocol, port);
                            prop_assert_eq!(answer, mirror.ask(*slot, direction, address, protocol, port));
                            let said = (Verdict::from_number(answer.verdict), reason(book.rule(answer.rule)));
                            let meant = naive.ask(*slot, direction, address, protocol, port);
                            prop_assert_eq!(said, meant, "{} {} {} {}/{}", slot, direction, address, protocol, port);
                        }
                    }
                }
            }
        }
    }
}
