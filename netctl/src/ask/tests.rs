//! Every command becomes the request it should be.

use clap::Parser as _;
use netd_api::{
    addr::Family,
    publish::Protocol,
    spec::{Guard, NamedPort},
};

use super::*;
use crate::args::Cli;

fn typed(line: &str) -> Result<Task, Contradiction> {
    task(Cli::try_parse_from(["netctl"].into_iter().chain(line.split(' '))).unwrap_or_else(|error| panic!("{line}: {error}")).command)
}

#[track_caller]
fn asks(line: &str, request: Request, show: Show) {
    assert_eq!(typed(line), Ok(Task::Ask(vec![request], show)), "{line}");
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

#[test]
fn questions_without_arguments() {
    asks("status", Request::Status, Show::Detail);
    asks("plan", Request::Plan, Show::Detail);
    asks("ports", Request::Ports(None), Show::Table);
    asks("network ls", Request::Networks, Show::Table);
    asks("net list -q", Request::Networks, Show::Brief);
    asks("network prune", Request::PruneNetworks, Show::Brief);
    asks("container ls", Request::Containers, Show::Table);
    asks("container ls --quiet", Request::Containers, Show::Brief);
}

#[test]
fn a_network_with_defaults_only() {
    asks("network create web", Request::CreateNetwork(NetworkSpec::named(name("web"))), Show::Brief);
}

#[test]
fn a_network_with_everything() {
    let mut spec = NetworkSpec::named(name("web"));
    spec.subnets = vec![name("10.4.0.0/24"), name("fd00:4::/64")];
    spec.gateways = vec![name("10.4.0.254"), name("fd00:4::ff")];
    spec.ip_ranges = vec![name("10.4.0.128/25")];
    spec.excludes = vec![name("10.4.0.130/32"), name("10.4.0.192/28")];
    spec.mtu = Some(1400);
    spec.internal = true;
    spec.ipv6 = true;
    spec.routed = vec![Family::V6];
    spec.masquerade = false;
    spec.icc = false;
    spec.bridge = Some(name("br-web"));
    spec.labels = [(name("tier"), name("front")), (name("example.com/a"), name(""))].into();
    let line = "network create web --driver bridge --subnet 10.4.0.0/24 --subnet fd00:4::/64 --gateway 10.4.0.254 --gateway fd00:4::ff \
        --ip-range 10.4.0.128/25 --exclude 10.4.0.130 --exclude 10.4.0.192/28 --mtu 1400 --internal --ipv6 --routed=6 --no-masquerade --no-icc \
        --bridge br-web --label tier=front --label example.com/a=";
    asks(line, Request::CreateNetwork(spec), Show::Brief);
}

#[test]
fn routed_without_a_value_is_both_families_and_takes_no_name_with_it() {
    let mut spec = NetworkSpec::named(name("web"));
    spec.routed = vec![Family::V4, Family::V6];
    asks("network create --routed web", Request::CreateNetwork(spec.clone()), Show::Brief);
    spec.routed = vec![Family::V4];
    asks("network create --routed=4 web", Request::CreateNetwork(spec), Show::Brief);
}

#[test]
fn one_network_is_shown_and_several_are_removed() {
    asks("network inspect web", Request::Network(name("web")), Show::Detail);
    let requests = vec![Request::RemoveNetwork(name("web")), Request::RemoveNetwork(name("db"))];
    assert_eq!(typed("network rm web db"), Ok(Task::Ask(requests, Show::Brief)));
}

#[test]
fn connect_and_disconnect_name_the_network_first() {
    asks("network connect db web", Request::Connect(name("web"), AttachSpec::to(name("db"))), Show::Quiet);
    let spec = AttachSpec {
        network: name("db"),
        addresses: vec![name("10.5.0.7"), name("fd00:5::7")],
        mac: Some(name("02:00:00:00:00:07")),
        ifname: Some(name("db0")),
    };
    let line = "network connect db team/web --ip 10.5.0.7 --ip fd00:5::7 --mac 02:00:00:00:00:07 --ifname db0";
    asks(line, Request::Connect(name("team/web"), spec), Show::Quiet);
    asks("network disconnect db web", Request::Disconnect(name("web"), name("db"), None), Show::Quiet);
    asks("network disconnect db web --ifname eth1", Request::Disconnect(name("web"), name("db"), Some(name("eth1"))), Show::Quiet);
    assert!(typed("network connect db web --ip 10.5.0.7 --ip 10.5.0.8").unwrap_err().to_string().contains("of one family"));
}

#[test]
fn a_container_is_made() {
    asks("container create web", Request::CreateContainer(ContainerSpec::named(name("web"))), Show::Brief);
    let mut spec = ContainerSpec::named(name("web"));
    spec.networks = vec![AttachSpec { addresses: vec![name("10.4.0.7")], ..AttachSpec::to(name("front")) }, AttachSpec::to(name("back"))];
    spec.publish = vec![name("8080:80"), name("[fd00::1]:5353:53/udp")];
    spec.labels = [(name("tier"), name("front"))].into();
    spec.namespace = name("prod");
    let line = "container create web --network front,ip=10.4.0.7 --network back -p 8080:80 --publish [fd00::1]:5353:53/udp \
        --label tier=front --namespace prod";
    asks(line, Request::CreateContainer(spec), Show::Brief);
}

#[test]
fn a_container_is_adopted_by_path_or_process() {
    let mut spec = ContainerSpec::named(name("web"));
    spec.netns = Source::Path("/run/netns/x".to_owned());
    asks("container attach web --netns /run/netns/x", Request::CreateContainer(spec.clone()), Show::Brief);
    spec.netns = Source::Pid(4711);
    spec.publish = vec![name("80")];
    asks("container attach web --pid 4711 -p 80", Request::CreateContainer(spec), Show::Brief);
}

#[test]
fn a_container_is_changed() {
    let labels = [(name("tier"), Some(name("back"))), (name("old"), None)].into();
    let change = ContainerChange { labels, namespace: Some(name("prod")), ..ContainerChange::default() };
    asks("container set web --label tier=back --label old- --namespace prod", Request::ChangeContainer(name("web"), change), Show::Quiet);
    let dns = NamedPort { port: 53, protocol: Protocol::Udp };
    let change = ContainerChange { ports: [("dns".to_owned(), Some(dns)), ("http".to_owned(), None)].into(), ..ContainerChange::default() };
    asks("container set web --port-name dns=53/udp --port-name http-", Request::ChangeContainer(name("web"), change), Show::Quiet);
}

#[test]
fn a_container_may_send_from_further_addresses_or_unguarded() {
    let mut spec = ContainerSpec::named(name("web"));
    spec.allow_addresses = vec![name("10.9.0.0/24"), name("10.4.0.100/32"), name("fd00:9::/64")];
    spec.guard = Guard::Off;
    let line = "container create web --allow-address 10.9.0.0/24 --allow-address 10.4.0.100 --allow-address fd00:9::/64 --guard off";
    asks(line, Request::CreateContainer(spec.clone()), Show::Brief);
    spec.netns = Source::Pid(7);
    spec.allow_addresses.truncate(1);
    spec.guard = Guard::On;
    asks("container attach web --pid 7 --allow-address 10.9.0.0/24 --guard on", Request::CreateContainer(spec), Show::Brief);
}

#[test]
fn policies_are_listed_shown_removed_and_advised() {
    asks("policy ls", Request::Policies, Show::Table);
    asks("policy list -q", Request::Policies, Show::Brief);
    asks("policy get shop/db", Request::Policy(name("shop/db")), Show::Detail);
    asks("policy advise shop/web-1", Request::Advise(name("shop/web-1")), Show::Detail);
    let requests = vec![Request::RemovePolicy(name("shop/db")), Request::RemovePolicy(name("baseline"))];
    assert_eq!(typed("policy rm shop/db baseline"), Ok(Task::Ask(requests, Show::Brief)));
}

#[test]
fn policy_files_are_applied_in_the_order_given() {
    let files = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
    let apply = Apply { files: files(&["b.yaml", "-", "a"]), dry_run: false, skip_other_kinds: false };
    assert_eq!(typed("policy apply -f b.yaml -f - --file a"), Ok(Task::Apply(apply)));
    let apply = Apply { files: files(&["a"]), dry_run: true, skip_other_kinds: true };
    assert_eq!(typed("policy apply --dry-run --skip-other-kinds -f a"), Ok(Task::Apply(apply)));
    let error = typed("policy apply -f - -f a -f -").unwrap_err().to_string();
    assert_eq!(error, "standard input is given twice; give -f - once");
}

#[test]
fn flows_are_asked_for_as_they_are_meant() {
    let flows = Flows { follow: false, container: None, verdict: None, since: None };
    assert_eq!(typed("flows"), Ok(Task::Flows(flows)));
    let flows = Flows { follow: true, container: Some(name("shop/web")), verdict: Some(name("drop")), since: Some(name("10m")) };
    assert_eq!(typed("flows -f --container shop/web --verdict drop --since 10m"), Ok(Task::Flows(flows)));
}

#[test]
fn one_port_name_twice_is_a_contradiction() {
    let error = typed("container set web --port-name a=1 --port-name a-").unwrap_err().to_string();
    assert_eq!(error, "port name a is given twice; give it once");
}

#[test]
fn one_label_twice_is_a_contradiction() {
    for line in [
        "network create web --label a=1 --label a=2",
        "container create web --label a=1 --label a=1",
        "container set web --label a=1 --label a-",
    ] {
        assert_eq!(typed(line).unwrap_err().to_string(), "label a is given twice; give it once", "{line}");
    }
}

#[test]
fn containers_are_shown_and_removed() {
    asks("container inspect team/web", Request::Container(name("team/web")), Show::Detail);
    let requests = vec![Request::RemoveContainer(name("a")), Request::RemoveContainer(name("team/b"))];
    assert_eq!(typed("container rm a team/b"), Ok(Task::Ask(requests, Show::Brief)));
}

#[test]
fn a_command_to_run_keeps_its_own_options() {
    let expected = |words: &[&str]| Ok(Task::Exec(name("web"), words.iter().map(OsString::from).collect()));
    assert_eq!(typed("container exec web -- ip -o addr"), expected(&["ip", "-o", "addr"]));
    assert_eq!(typed("container exec web ip -o addr"), expected(&["ip", "-o", "addr"]));
    assert_eq!(typed("container exec web -- sh -c -- x"), expected(&["sh", "-c", "--", "x"]));
}

#[test]
fn ports_are_published_withdrawn_and_listed() {
    asks("publish web 8080:80", Request::Publish(name("web"), name("8080:80")), Show::Brief);
    asks("publish web [fd00::1]:0:53/udp", Request::Publish(name("web"), name("[fd00::1]:0:53/udp")), Show::Brief);
    asks("unpublish web", Request::Unpublish(name("web"), None), Show::Brief);
    asks("unpublish web 8080:80", Request::Unpublish(name("web"), Some(name("8080:80"))), Show::Brief);
    asks("ports web", Request::Ports(Some(name("web"))), Show::Table);
}

#[test]
fn what_the_daemon_does_not_answer() {
    assert_eq!(typed("cleanup"), Ok(Task::Cleanup(Consent::ToBeAsked)));
    assert_eq!(typed("cleanup --yes"), Ok(Task::Cleanup(Consent::Given)));
    assert_eq!(typed("completion zsh"), Ok(Task::Completion(clap_complete::Shell::Zsh)));
    assert_eq!(typed("man /tmp/man"), Ok(Task::Man(PathBuf::from("/tmp/man"))));
}
