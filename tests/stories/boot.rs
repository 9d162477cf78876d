//! What survives a reboot: networks and made containers with their addresses and ports. Adopted ones are gone with their processes.

use lab::{HOST_V4, HOST_V6, Lab};
use netd_api::view::PortState;

#[test]
fn networks_and_made_containers_come_back_after_a_reboot_and_adopted_ones_do_not() {
    let lab = Lab::new();
    let net = lab.network("web");
    let a = net.container("a").listens(80);
    a.publishes("8080:80");
    lab.stranger("theirs");
    lab.new_container("theirs").on(&net).at("/run/netns/theirs").made();
    let (network, container) = (net.inspect(), a.inspect());
    lab.reboots();
    let again = lab.container("a").listens(80);
    let view = again.inspect();
    assert_eq!(view.attachments[0].addresses, container.attachments[0].addresses);
    assert_eq!(view.attachments[0].mac, container.attachments[0].mac);
    assert_eq!(view.ports[0].state, PortState::Active);
    assert_eq!(net.inspect().subnets[0].subnet, network.subnets[0].subnet);
    assert_eq!(net.inspect().containers.len(), 1, "the adopted one is gone");
    for host in [HOST_V4, HOST_V6] {
        lab.outside().fetches((host, 8080)).expect_from(&again);
    }
    lab.ends_clean();
}
