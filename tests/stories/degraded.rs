//! What cannot work is said in `status`, with what mends it, and what can work works: without eBPF, and beside firewalls that drop.

use lab::{
    Container, HOST_V4, HOST_V6, Lab, OUTSIDE_V4, OUTSIDE_V6,
    policy::{reach::tcp, yaml::network_policy},
    within,
};
use netd_api::{fault::Code, view::Trouble};

/// Far more than a notification takes, far less than the full check.
const SOON: std::time::Duration = std::time::Duration::from_secs(6);

/// Where no eBPF can be pinned.
const NO_BPFFS: (&str, &str) = ("NETD_PIN_DIR", "/run/no-bpffs");

fn ebpf_is_on(lab: &Lab) -> bool {
    let feature = lab.status().features.into_iter().find(|feature| feature.name == "ebpf").expect("status speaks of eBPF");
    assert!(!feature.note.is_empty());
    feature.on
}

#[track_caller]
fn expect_working(lab: &Lab, a: &Container<'_>, port: u16) {
    for host in [HOST_V4, HOST_V6] {
        lab.outside().fetches((host, port)).expect_from(a);
    }
    for outside in [OUTSIDE_V4, OUTSIDE_V6] {
        a.fetches((outside, 90)).expect_from(lab.outside());
    }
    assert_eq!(lab.plan(), Vec::<String>::new());
}

#[test]
fn without_ebpf_networking_works_and_with_it_again_everything_is_counted() {
    let lab = Lab::bare();
    lab.outside().serves(90);
    lab.netd().start_with(&[], &[NO_BPFFS]);
    assert!(!ebpf_is_on(&lab));
    let net = lab.network("web");
    let a = net.container("a").listens(80);
    a.publishes("8080:80");
    assert!(a.attachment(&net).counters.is_none(), "what is not counted is not shown as nothing");
    expect_working(&lab, &a, 8080);

    lab.netd().restart();
    assert!(ebpf_is_on(&lab));
    expect_working(&lab, &a, 8080);
    assert!(a.attachment(&net).counters.expect("it is counted now").from.packets > 0);

    // And off again: the programs that are there go on, and a new container has none.
    lab.netd().stop();
    lab.netd().start_with(&[], &[NO_BPFFS]);
    let b = net.container("b").listens(80);
    b.publishes("8081:80");
    expect_working(&lab, &a, 8080);
    expect_working(&lab, &b, 8081);
    lab.netd().restart();
    expect_working(&lab, &b, 8081);
    assert!(b.attachment(&net).counters.expect("it is counted now").from.packets > 0);
    lab.ends_clean_uncounted();
}

#[test]
fn without_ebpf_a_policy_is_refused_with_the_reason_and_networking_works() {
    let closed = network_policy("default/closed", "{podSelector: {}, policyTypes: [Ingress]}");
    let lab = Lab::bare();
    lab.outside().serves(90);
    lab.netd().start_with(&[], &[NO_BPFFS]);
    let net = lab.network("web");
    let (a, b) = (net.container("a").listens(80), net.container("b"));
    a.publishes("8080:80");
    let note = lab.status().features.into_iter().find(|feature| feature.name == "ebpf").expect("status speaks of eBPF").note;
    let fault = lab.cannot_apply(&closed);
    assert_eq!(fault.code, Code::Unsupported, "{fault:?}");
    assert!(fault.what.contains(&note), "{fault:?} does not say {note}");
    let complaint = lab.netctl_with(&["policy", "apply", "-f", "-"], &[], &closed).expect_failed(1);
    assert!(complaint.contains(&note) && complaint.contains("hint: "), "{complaint}");
    assert_eq!(lab.policy_names(), Vec::<String>::new());
    b.reaches(&a, tcp(80));
    expect_working(&lab, &a, 8080);

    // With eBPF it is applied; and where that goes again, what is not enforced is said, and may be taken back.
    lab.netd().restart();
    lab.applies(&closed);
    b.reaches_not(&a, tcp(80));
    lab.netd().stop();
    lab.netd().start_with(&[], &[NO_BPFFS]);
    within(SOON, "it is named", || lab.status().degraded.into_iter().find(|trouble| trouble.what.contains("not enforced")));
    assert_eq!(lab.policy_names(), ["default/closed"]);
    lab.netd().restart();
    b.reaches_not(&a, tcp(80));
    lab.withdraws_policy("default/closed");
    b.reaches(&a, tcp(80));
    lab.ends_clean_uncounted();
}

/// As where a runtime's seccomp profile keeps it, or the unit's capabilities do.
#[test]
fn without_the_right_to_ebpf_policies_are_refused_with_the_reason_and_networking_works() {
    let closed = network_policy("default/closed", "{podSelector: {}, policyTypes: [Ingress]}");
    let lab = Lab::bare();
    lab.outside().serves(90);
    lab.netd().start_without_bpf();
    let net = lab.network("web");
    let (a, b) = (net.container("a").listens(80), net.container("b"));
    a.publishes("8080:80");
    let fault = lab.cannot_apply(&closed);
    assert_eq!(fault.code, Code::Unsupported, "{fault:?}");
    assert!(fault.what.contains("Operation not permitted") && fault.what.contains("CAP_BPF"), "{fault:?}");
    b.reaches(&a, tcp(80));
    expect_working(&lab, &a, 8080);
    lab.netd().restart();
    lab.applies(&closed);
    b.reaches_not(&a, tcp(80));
    lab.ends_clean_uncounted();
}

/// The trouble with a foreign chain of this name.
fn trouble_with(lab: &Lab, chain: &str) -> Trouble {
    within(SOON, &format!("{chain} is named"), || lab.status().degraded.into_iter().find(|trouble| trouble.what.contains(chain)))
}

#[test]
fn each_foreign_drop_is_named_and_its_command_mends_it() {
    let lab = Lab::bare();
    lab.outside().serves(90);
    // As `iptables -P FORWARD DROP` leaves it, before netd is there; and a rule for everything at the end, as a host's own script writes it.
    lab.here().run("nft", &["add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }"]);
    lab.starts();
    let a = lab.new_network("web").bridge("br-web").dual().made().container("a").listens(80);
    a.publishes("8080:80");
    let ends = "add table inet own; add chain inet own last { type filter hook forward priority 5; }; add rule inet own last counter drop";
    lab.here().run("nft", &[ends]);
    for chain in ["ip filter FORWARD", "inet own last"] {
        let trouble = trouble_with(&lab, chain);
        a.tries((OUTSIDE_V4, 90)).expect_nothing();
        assert!(lab.netctl(["status"]).expect_done().contains(chain), "people see it too");
        lab.here().run("sh", &["-c", &trouble.hint]);
    }
    within(SOON, "what was mended is forgotten", || lab.status().degraded.is_empty().then_some(()));
    expect_working(&lab, &a, 8080);
    lab.here().run("nft", &["delete table inet own"]);
    lab.ends_clean();
}
