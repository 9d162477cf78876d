//! `netctl plan` says what would be done now, in the commands one would type; what cannot be done is tried again and shown in `status`.

use lab::{HOST_V4, Lab, OUTSIDE_V4, eventually};

#[test]
fn a_step_that_cannot_be_made_is_planned_shown_and_tried_again_until_it_can() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = net.container("a").listens(80);
    a.publishes("8080:80");
    assert_eq!(lab.netctl(["plan"]).expect_done().trim(), "nothing to do");
    let bridge = net.bridge();
    // While no daemon runs, a stranger takes the bridge's name: it carries no mark of netd's and is left alone.
    lab.netd().stop();
    lab.here().run("ip", &["link", "del", &bridge]);
    lab.here().run("ip", &["link", "add", &bridge, "type", "bridge"]);
    let mac = lab.here().mac(&bridge);
    lab.netd().start();
    let failed =
        eventually("the failed step is shown", || lab.status().degraded.into_iter().find(|trouble| trouble.what.contains(&bridge)));
    assert!(!failed.hint.is_empty(), "{failed:?}");
    assert!(lab.netctl(["status"]).expect_done().contains(&bridge));
    let plan = lab.netctl(["plan"]).expect_done();
    assert!(plan.lines().any(|line| line.starts_with(&format!("ip link add {bridge} "))), "{plan}");
    assert_eq!(lab.netctl_json(["plan"])["ops"].as_array().map(Vec::len), Some(plan.lines().count()));
    assert_eq!(lab.here().mac(&bridge), mac, "the stranger's link is left alone");
    // It works on, and what is not concerned is none the worse.
    let other = lab.network("other").container("b");
    lab.outside().serves(90);
    other.fetches((OUTSIDE_V4, 90)).expect_from(lab.outside());
    lab.here().run("ip", &["link", "del", &bridge]);
    eventually("it is mended", || (lab.status().degraded.is_empty() && lab.plan().is_empty()).then_some(()));
    lab.outside().fetches((HOST_V4, 8080)).expect_from(&a);
    lab.ends_clean();
}
