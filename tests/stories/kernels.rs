//! The stories that can end differently on another kernel, told again as few: `stories kernels::` runs them inside guests with other kernels.

use std::net::SocketAddr;

use lab::{
    HOST_V4, HOST_V6, Lab, OUTSIDE_V4, OUTSIDE_V6,
    cni::Conflist,
    eventually,
    policy::{
        reach::{ECHO, tcp, udp},
        yaml::{annotated_policy, network_policy},
    },
};
use netd_api::addr::Family;

const HOSTS: [(&str, &str); 2] = [(HOST_V4, OUTSIDE_V4), (HOST_V6, OUTSIDE_V6)];

#[test]
fn containers_talk_reach_the_outside_and_are_published_on_this_kernel() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = net.container("a").listens(80).listens_udp(53);
    let b = net.container("b");
    lab.outside().serves(90);
    a.publishes("8080:80");
    a.publishes("5353:53/udp");
    for (host, outside) in HOSTS {
        b.fetches((outside, 90)).expect_from(lab.outside());
        assert_eq!(lab.outside().fetches((host, 8080)).expect_from(&a).seen.ip().to_string(), outside);
        lab.outside().asks((host, 5353)).expect_from(&a);
        lab.here().fetches((host, 8080)).expect_from(&a);
        b.fetches((host, 8080)).expect_from(&a);
        a.fetches((host, 8080)).expect_from(&a);
    }
    b.fetches(a.v4(80)).expect_from(&a);
    b.fetches(a.v6(80)).expect_from(&a);
    lab.here().fetches("127.0.0.1:8080").expect_from(&a);
    lab.here().tries("[::1]:8080").expect_refused();
    let counters = a.attachment(&net).counters.expect("the program counts on this kernel");
    assert!(counters.to.packets > 0 && counters.from.packets > 0, "{counters:?}");
    a.withdraws("8080:80");
    lab.outside().tries((HOST_V4, 8080)).expect_refused();
    lab.ends_clean();
}

#[test]
fn networks_are_isolated_on_this_kernel() {
    let lab = Lab::new();
    let (one, two) = (lab.network("one"), lab.network("two"));
    let vault = lab.new_network("vault").dual().internal().made();
    let cells = lab.new_network("cells").dual().no_icc().made();
    let a = one.container("a").listens(80);
    let b = two.container("b").listens(80);
    let c = vault.container("c").listens(80);
    let (d, e) = (cells.container("d").listens(80), cells.container("e"));
    lab.outside().serves(90);
    for (family, (host, outside)) in Family::BOTH.into_iter().zip(HOSTS) {
        b.tries((a.address(family), 80)).expect_nothing();
        c.tries((outside, 90)).expect_nothing();
        e.tries((d.address(family), 80)).expect_nothing();
        e.fetches((outside, 90)).expect_from(lab.outside());
        lab.outside().routes(one.subnet(family), host);
        lab.outside().tries((a.address(family), 80)).expect_nothing();
    }
    lab.ends_clean();
}

#[test]
fn kill_9_interrupts_nothing_on_this_kernel() {
    let lab = Lab::new();
    let a = lab.network("web").container("a").listens(80);
    a.publishes("8080:80");
    let streams = HOSTS.map(|(host, _)| lab.outside().streams((host, 8080)));
    lab.netd().kill9();
    streams.iter().for_each(lab::stream::Stream::expect_flowing);
    lab.netd().start();
    streams.iter().for_each(lab::stream::Stream::expect_flowing);
    assert_eq!(lab.plan(), Vec::<String>::new());
    assert_eq!(lab.status().reconcile.expect("it started").done, 1, "it holds the port again, and has nothing to repair");
    drop(streams);
    lab.ends_clean();
}

#[test]
fn a_flushed_ruleset_and_a_deleted_link_are_mended_on_this_kernel() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = net.container("a").listens(80);
    a.publishes("8080:80");
    lab.here().run("nft", &["flush", "ruleset"]);
    lab::eventually("the ruleset is back", || lab.outside().tries((HOST_V4, 8080)).answer());
    lab.here().run("ip", &["link", "del", a.attachment(&net).host_ifname.as_str()]);
    lab::eventually("the link is back", || lab.outside().tries((HOST_V6, 8080)).answer());
    lab.ends_clean_uncounted();
}

#[test]
fn real_sctp_sockets_reach_a_published_port_where_the_kernel_has_them() {
    let lab = Lab::new();
    let a = lab.network("web").container("a");
    let ports = a.publishes("9000:90/sctp");
    let any = |port| SocketAddr::new([0u8; 4].into(), port);
    let Some(listener) = lab::sctp::listen(a.net(), any(90)) else {
        // Said, not skipped: without SCTP sockets the port cannot be held, and publish tells.
        assert!(ports[0].note.contains("SCTP"), "{ports:?}");
        lab.ends_clean();
        return;
    };
    let host: SocketAddr = (HOST_V4.parse::<std::net::IpAddr>().unwrap(), 9000).into();
    let client = lab::sctp::connect_to(lab.outside().net(), host).expect("the association is made");
    assert_eq!(listener.accepts().ip().to_string(), OUTSIDE_V4);
    drop(client);
    assert!(lab::sctp::listen(lab.here().net(), any(9000)).is_none(), "the port is held");
    lab.ends_clean();
}

#[test]
fn a_paced_container_talks_through_its_buckets_on_this_kernel() {
    let lab = Lab::new();
    let net = lab.network("web");
    let free = net.container("free").listens(80);
    let limited = crate::bandwidth::paced_at(&lab, &net, "a", 5).listens(80);
    let pacer = crate::bandwidth::pacers(&lab).pop().expect("it has a pacer");
    let through = || lab.here().link(&pacer)["stats64"]["tx"]["packets"].as_u64().unwrap();
    for family in Family::BOTH {
        let before = through();
        free.fetches((limited.address(family), 80)).expect_from(&limited);
        limited.fetches((free.address(family), 80)).expect_from(&free);
        assert!(through() > before, "what it sends goes through its pacer over {family:?}");
    }
    lab.here().run("ip", &["link", "del", &pacer]);
    lab::eventually("the pacer is back, and leads on", || limited.tries(free.v4(80)).answer());
    let there = free.v6(80);
    lab.netd().kill9();
    limited.fetches(there).expect_from(&free);
    lab.netd().start();
    assert_eq!(lab.status().reconcile.expect("it started").done, 0, "a start finds everything as it should be");
    crate::bandwidth::ends(&lab, &net, "a");
    assert_eq!(crate::bandwidth::pacers(&lab), Vec::<String>::new());
    // The shared block of what containers send; on some kernels a filter there leads to the pacer.
    let filters = lab.here().run("tc", &["filter", "show", "block", "1852047361"]);
    assert!(filters.contains("bpf") && !filters.contains("mirred"), "{filters}");
    lab.ends_clean();
}

#[test]
fn busy_links_get_their_own_hooks_where_this_kernel_has_them_and_paced_ones_go_on_waiting() {
    let lab = Lab::bare();
    lab.configures(crate::own_hooks::SOON);
    lab.starts();
    let net = lab.network("web");
    let free = net.container("free").listens(80);
    let limited = crate::bandwidth::paced_at(&lab, &net, "a", 5).listens(80);
    let pacer = crate::bandwidth::pacers(&lab).pop().expect("it has a pacer");
    let through = || lab.here().link(&pacer)["stats64"]["tx"]["packets"].as_u64().unwrap();
    let release = nix::sys::utsname::uname().expect("uname(2) does not fail").release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    let release = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    // Before 6.13 a filter on the block leads to the pacer, and nothing before it may end the chain.
    let at_hooks = if release < (6, 6) { None } else { Some(if release < (6, 13) { 1 } else { 2 }) };
    crate::own_hooks::while_busy(&limited, &free, || {
        eventually("busy links are at their own hooks", || (lab.policy_status().own_hooks == at_hooks).then_some(()));
    });
    let host_end = limited.attachment(&net).host_ifname.to_string();
    assert!(release < (6, 6) || lab.at_hooks(&host_end).0.is_empty() == (release < (6, 13)), "{:?}", lab.at_hooks(&host_end));
    let mut seen = 0;
    eventually("its pacer is empty", || std::mem::replace(&mut seen, through()).eq(&through()).then_some(()));
    let before = through();
    limited.fetches(free.v4(80)).expect_from(&free);
    free.fetches(limited.v6(80)).expect_from(&limited);
    assert!(through() > before, "what it sends goes through its pacer");
    lab.applies(&network_policy("default/closed", "{podSelector: {}, policyTypes: [Ingress]}"));
    limited.tries(free.v4(80)).expect_silence();
    free.tries(limited.v6(80)).expect_silence();
    crate::bandwidth::ends(&lab, &net, "a");
    lab.ends_clean();
}

#[test]
fn a_cni_container_is_added_checked_and_deleted_without_a_trace_on_this_kernel() {
    let lab = Lab::new();
    let list = Conflist::dual("web");
    let a = lab.cni().sandbox("a").listens(80);
    lab.outside().serves(90);
    let wish = a.eth0().port(8080, 80, "tcp");
    let added = wish.joins(&list);
    added.expect_real(&a, lab.here());
    let own = [added.v4(80), added.v6(80)];
    for ((host, outside), own) in HOSTS.into_iter().zip(own) {
        assert_eq!(lab.outside().fetches((host, 8080)).expect_from("a").seen.ip().to_string(), outside);
        a.fetches((outside, 90)).expect_from(lab.outside());
        lab.here().fetches(own).expect_from("a");
    }
    wish.is_well(&list);
    let streams = HOSTS.map(|(host, _)| lab.outside().streams((host, 8080)));
    // Ended connections are remembered for two minutes, flowing ones for days: what is gone in seconds was forgotten.
    let tracked = |words: &[&str]| lab.conntrack().lines().any(|line| words.iter().all(|word| line.contains(word)));
    for ((host, outside), own) in HOSTS.into_iter().zip(own) {
        let (from, to) = (format!("src={} ", own.ip()), format!("dst={} ", own.ip()));
        assert!(tracked(&[&format!("{from}dst={outside} "), "dport=90 "]), "what it began: {}", lab.conntrack());
        assert!(tracked(&[&to, "dport=80 ", &from]), "what the host began: {}", lab.conntrack());
        assert!(tracked(&[&format!("dst={host} "), "dport=8080 ", &from]), "what its port led to it: {}", lab.conntrack());
    }
    wish.leaves(&list);
    streams.iter().for_each(lab::stream::Stream::expect_cut);
    for own in own.map(|own| own.ip().to_string()) {
        eventually("its connections are forgotten", || (!tracked(&[&format!("={own} ")])).then_some(()));
    }
    for (host, _) in HOSTS {
        lab.outside().tries((host, 8080)).expect_refused();
    }
    assert_eq!((a.links(), lab.ports().len(), lab.status().containers), (vec!["lo".to_owned()], 0, 0));
    assert_eq!(lab.plan(), Vec::<String>::new());
    a.ends();
    lab.ends_clean();
}

#[test]
fn the_usual_policies_mean_what_the_documentation_says_on_this_kernel() {
    crate::policy_table::small_table_holds("[datapath]\nfast_path = false\n");
}

#[test]
fn the_fast_path_gives_the_same_answers_on_this_kernel() {
    crate::policy_table::small_table_holds("[datapath]\nfast_path = true\n");
}

#[test]
fn denied_clients_are_answered_where_a_policy_says_so_and_all_is_counted_on_this_kernel() {
    let lab = Lab::new();
    let net = lab.network("web");
    let (a, b) = (net.container("a").listens(80).listens_udp(53), net.container("b"));
    let closed = "{podSelector: {}, policyTypes: [Ingress]}";
    lab.applies(&annotated_policy("default/closed", "netd.io/reject", closed));
    b.is_refused(&a, tcp(80));
    b.is_refused(&a, udp(53));
    let stream = lab.here().streams(a.v4(80));
    lab.applies(&network_policy("default/closed", closed));
    [tcp(80), udp(53), ECHO].iter().for_each(|service| b.reaches_not(&a, *service));
    lab.netd().kill9();
    stream.expect_flowing();
    lab.netd().start();
    b.reaches_not(&a, tcp(80));
    drop(stream);
    lab.ends_clean();
}
