//! Which connections are forgotten, as messages. Never sends them.

use netd_core::firewall::element::Publish;

use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn published(host: Option<&str>, target: &str) -> Element {
    let address_of_host = host.map(address);
    Element::Publish(Publish { address: address_of_host, protocol: Protocol::Tcp, port: 8080, target: address(target), target_port: 80 })
}

#[test]
fn a_connection_is_as_it_should_be_if_it_is_led_where_a_new_one_would_be() {
    let mut now = Published::default();
    let target = |now: &Published, to: &str| now.target(Protocol::Tcp, address(to), 8080);
    assert_eq!(target(&now, "192.0.2.1"), None);
    now.add(&published(None, "10.4.0.2"));
    now.add(&published(None, "fd00::2"));
    now.add(&published(Some("192.0.2.9"), "10.4.0.3"));
    assert_eq!(target(&now, "192.0.2.1"), Some((address("10.4.0.2"), 80)));
    assert_eq!(target(&now, "2001:db8::1"), Some((address("fd00::2"), 80)));
    assert_eq!(target(&now, "192.0.2.9"), Some((address("10.4.0.3"), 80)));
    now.remove(&published(None, "10.4.0.2"));
    assert_eq!(target(&now, "192.0.2.1"), None);
}
