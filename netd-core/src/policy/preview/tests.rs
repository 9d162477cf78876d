//! What is advised reads as somebody would have written it, and allows what was recorded and nothing near it.

use std::sync::Arc;

use netd_abi::policy::Verdict;
use netd_api::addr::Subnet;
use proptest::prelude::*;

use super::*;
use crate::{
    desired::{Attachment, Change, Edit, Inline, Network, Pool},
    policy::{
        book::{
            Book,
            number::Numbers,
            wish::{Host, Wish},
        },
        parse::{File, OtherKinds, parse},
        pod::{self, placed},
    },
};

const GATEWAY: &str = "10.9.0.1";

fn ip(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

fn network() -> Network {
    let subnet: Subnet = "10.9.0.0/24".parse().expect("a subnet");
    Network {
        name: "web".parse().expect("a name"),
        bridge: "nd-web".parse().expect("a name"),
        mac: netd_api::addr::Mac([2, 0, 0, 0, 0, 1]),
        mtu: None,
        internal: false,
        routed: [].into(),
        masquerade: true,
        icc: true,
        pools: vec![Pool { subnet, gateway: Some(ip(GATEWAY)), range: subnet.net(), excludes: Vec::new(), set: 0 }],
        labels: Labels::new(),
        inline: None::<Inline>,
    }
}

/// With the address 10.9.0.`last`.
fn container(id: &str, namespace: &str, given: &str, last: u8) -> Container {
    let attachment = Attachment {
        network: "web".parse().expect("a name"),
        ifname: "eth0".parse().expect("a name"),
        host_ifname: format!("ndv{last}").parse().expect("a name"),
        mac: netd_api::addr::Mac([2, 0, 0, 0, 1, last]),
        host_mac: netd_api::addr::Mac([2, 0, 0, 0, 2, last]),
        addresses: vec![format!("10.9.0.{last}/24").parse().expect("a net")],
        slot: u32::from(last),
        cni: None,
    };
    Container { attachments: vec![attachment], ..pod::tests::container(id, namespace, given) }
}

fn wish(containers: &[Container]) -> Desired {
    let mut desired = Desired::default();
    let mut edits = vec![Edit::Network { before: None, after: Some(Arc::new(network())) }];
    edits.extend(containers.iter().map(|one| Edit::Container { before: None, after: Some(Arc::new(one.clone())) }));
    desired.apply(&Change { edits });
    desired
}

/// A flow with whoever has the address in this wish.
fn seen(desired: &Desired, direction: Direction, remote: &str, protocol: u8, port: u16) -> Observed {
    let remote = ip(remote);
    let has = |container: &&Arc<Container>| container.attachments.iter().flat_map(|one| &one.addresses).any(|net| net.addr() == remote);
    let pod = desired.containers().values().find(has).map(|container| (container.namespace.clone(), container.labels.clone()));
    Observed { direction, remote, pod, is_host: remote == ip(GATEWAY), protocol, port, verdict: FlowVerdict::Forward }
}

use Direction::{Egress, Ingress};

fn usual() -> Desired {
    wish(&[
        container("web", "shop", "app=web pod-template-hash=5f7", 2),
        container("db", "shop", "app=db statefulset.kubernetes.io/pod-name=db-0", 3),
        container("metrics", "watch", "app=prom", 4),
        container("bare", "shop", "", 5),
    ])
}

#[test]
fn advice_reads_as_somebody_would_have_written_it() {
    let desired = usual();
    let flows = [
        seen(&desired, Ingress, "10.9.0.4", 6, 9100),
        seen(&desired, Ingress, "203.0.113.7", 6, 80),
        seen(&desired, Ingress, "203.0.113.7", 6, 81),
        seen(&desired, Ingress, "203.0.113.7", 6, 443),
        seen(&desired, Ingress, GATEWAY, 6, 80),
        seen(&desired, Egress, "10.9.0.3", 6, 5432),
        seen(&desired, Egress, "10.9.0.3", 6, 5432),
        seen(&desired, Egress, "10.9.0.5", 132, 7),
        seen(&desired, Egress, GATEWAY, 17, 53),
        seen(&desired, Egress, GATEWAY, 6, 53),
        seen(&desired, Egress, "198.51.100.1", 1, 0),
        Observed { verdict: FlowVerdict::Drop, ..seen(&desired, Egress, "198.51.100.2", 6, 22) },
        Observed { verdict: FlowVerdict::Audit, ..seen(&desired, Egress, "2001:db8::1", 17, 123) },
    ];
    let advice = advise(&desired, &desired.containers()["web"], &flows);
    assert_eq!(
        advice.policy,
        "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: advised-web
  namespace: shop
spec:
  podSelector:
    matchLabels:
      app: web
  policyTypes:
  - Ingress
  - Egress
  ingress:
  - from:
    - ipBlock:
        cidr: 203.0.113.7/32
    ports:
    - protocol: TCP
      port: 80
      endPort: 81
    - protocol: TCP
      port: 443
  - from:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: watch
      podSelector:
        matchLabels:
          app: prom
    ports:
    - protocol: TCP
      port: 9100
  egress:
  - to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
      podSelector:
        matchLabels:
          k8s-app: kube-dns
    ports:
    - protocol: TCP
      port: 53
    - protocol: UDP
      port: 53
  - to:
    - podSelector:
        matchLabels:
          app: db
    ports:
    - protocol: TCP
      port: 5432
  - to:
    - ipBlock:
        cidr: \"2001:db8::1/128\"
    ports:
    - protocol: UDP
      port: 123
  - to:
    - ipBlock:
        cidr: 10.9.0.5/32
    ports:
    - protocol: SCTP
      port: 7
"
    );
    assert_eq!(advice.flows, 12);
    assert_eq!(
        advice.notes,
        [
            "ICMP to 198.51.100.1 was seen; a NetworkPolicy cannot allow it, but by a rule without ports",
            "the container in namespace shop at 10.9.0.5 has no labels and is allowed by its address; label it (netctl container set C --label K=V)",
            "what comes from this host itself needs no rule: it always reaches its own containers",
        ]
    );
}

#[test]
fn many_addresses_of_one_network_are_allowed_together_and_a_few_apart() {
    let desired = usual();
    let flows =
        |count: u8| -> Vec<Observed> { (1..=count).map(|last| seen(&desired, Egress, &format!("198.51.100.{last}"), 6, 443)).collect() };
    let advice = |count| advise(&desired, &desired.containers()["db"], &flows(count));
    assert_eq!(advice(8).policy.matches("/32").count(), 8);
    let nine = advice(9);
    assert!(nine.policy.contains("cidr: 198.51.100.0/24") && !nine.policy.contains("/32"), "{}", nine.policy);
    assert_eq!(
        nine.notes,
        [
            "egress to 9 addresses of 198.51.100.0/24 was seen; all of it is allowed",
            "no ingress that needs a rule was recorded, and all of it is denied"
        ]
    );
}

#[test]
fn a_container_without_labels_is_selected_only_where_it_is_alone() {
    let alone = wish(&[container("only", "den", "", 2)]);
    let advice = advise(&alone, &alone.containers()["only"], &[]);
    assert!(advice.policy.contains("podSelector: {}"), "{}", advice.policy);
    assert!(advice.notes.iter().any(|note| note.contains("where it is alone now")), "{:?}", advice.notes);
    let desired = usual();
    let advice = advise(&desired, &desired.containers()["bare"], &[]);
    assert!(advice.policy.contains("netd.io/name: bare"), "{}", advice.policy);
    assert!(advice.notes.iter().any(|note| note.contains("netctl container set bare --label netd.io/name=bare")), "{:?}", advice.notes);
}

#[test]
fn who_else_has_the_same_labels_is_said() {
    let desired = wish(&[container("one", "shop", "app=web", 2), container("two", "shop", "app=web tier=front", 3)]);
    let note = "it selects two too, which have the same labels".to_owned();
    assert!(advise(&desired, &desired.containers()["one"], &[]).notes.contains(&note));
    assert!(!advise(&desired, &desired.containers()["two"], &[]).notes.iter().any(|note| note.contains("too")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn advice_parses_and_allows_all_that_was_recorded_and_no_other_port(
        whom in 0..6_usize,
        flows in prop::collection::vec((any::<bool>(), 0..40_u8, 0..3_usize, 1..6_u16), 0..60),
    ) {
        let containers = [
            container("web", "shop", "app=web pod-template-hash=5f7", 2),
            container("web2", "shop", "app=web pod-template-hash=6a8", 3),
            container("db", "shop", "app=db tier=back", 4),
            container("prom", "watch", "app=prom", 5),
            container("bare", "watch", "", 6),
            container("den", "den", "", 7),
        ];
        let mut desired = wish(&containers);
        let all = ["10.9.0.1", "10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.0.5", "10.9.0.6", "10.9.0.7", "203.0.113.9", "2001:db8::7"];
        let address = |which: u8| all.get(usize::from(which)).map_or_else(|| format!("198.51.100.{which}"), |&one| one.to_owned());
        let flows: Vec<Observed> = flows
            .into_iter()
            .map(|(comes, which, protocol, port)| {
                // Ports from 50 to 55, the DNS server's among them.
                seen(&desired, if comes { Ingress } else { Egress }, &address(which), TCP_UDP_SCTP[protocol], 49 + port)
            })
            .collect();
        let advice = advise(&desired, &containers[whom], &flows);
        let file = File { name: "advice", text: &advice.policy };
        let mut parsed = parse(&[file], OtherKinds::Refuse).map_err(|errors| TestCaseError::fail(format!("{errors}\n{}", advice.policy)))?;
        let policy = parsed.policies.remove(0);
        prop_assert_eq!(&policy.source, &advice.policy);

        let mut subject = containers[whom].clone();
        if advice.notes.iter().any(|note| note.contains("first give it one")) {
            subject.labels = name_label(&subject);
            let before = desired.containers().get(&subject.id).cloned();
            desired.apply(&Change { edits: vec![Edit::Container { before, after: Some(Arc::new(subject.clone())) }] });
        }
        let host = Host { addresses: [ip(GATEWAY)].into(), gateways: [ip(GATEWAY)].into(), labels: Labels::new() };
        let policies = Arc::new([(policy.name.clone(), Arc::new(policy))].into());
        let mut book = Book::new(Numbers::new(), 1);
        let _ = book.set(Wish { policies, host, ..Wish::default() }).expect("it fits");
        for container in desired.containers().values() {
            let attachment = &container.attachments[0];
            let _ = book.place(attachment.slot, Some(placed(container, attachment))).expect("it fits");
        }
        let sets = book.sets(subject.attachments[0].slot);
        let passes = |flow: &Observed, port: u16| {
            Verdict::from_number(book.judge(sets, flow.direction, flow.remote, flow.protocol, port).verdict).passes()
        };
        prop_assert!(sets.ingress != 0 && sets.egress != 0, "it is governed both ways");
        for flow in flows.iter().filter(|flow| !(flow.is_host && flow.direction == Ingress)) {
            prop_assert!(passes(flow, flow.port), "{flow:?}\n{}", advice.policy);
            prop_assert!(!passes(flow, 22), "{flow:?}\n{}", advice.policy);
        }
    }
}
