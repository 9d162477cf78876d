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

#[test]
fn what_connections_have_to_do_with_is_read_from_the_kernels_text() {
    let text = "ipv4     2 tcp      6 117 SYN_SENT src=10.4.0.2 dst=192.0.2.2 sport=49152 dport=5001 [UNREPLIED] src=192.0.2.2 dst=10.4.0.2 sport=5001 \
                dport=49152 mark=0 zone=0 use=2\nipv6     10 icmpv6   58 28 src=fd00:0000:0000:0000:0000:0000:0000:0002 \
                dst=fd00:0000:0000:0000:0000:0000:0000:0001 type=128 code=0 id=7 src=fd00:0000:0000:0000:0000:0000:0000:0001 \
                dst=fd00:0000:0000:0000:0000:0000:0000:0002 type=129 code=0 id=7 mark=0 zone=0 use=2\n";
    let sources = ["fd00::1", "fd00::2"].map(|source| source.parse().expect("an address"));
    assert_eq!(InUse::in_text(text), InUse { ports: BTreeSet::from([5001, 49152]), sources: BTreeSet::from(sources) });
}

fn port(number: u16) -> Which {
    Which::Port { protocol: Protocol::Tcp, address: None, ports: PortRange { first: number, last: number } }
}

/// A queue whose thread is the test's own.
fn queue() -> Conntrack {
    let conntrack = Conntrack::default();
    lock(&conntrack.shared.0).has_thread = true;
    conntrack
}

fn next(conntrack: &Conntrack, within: Duration) -> Option<Vec<Which>> {
    gathered(&conntrack.shared.0, &conntrack.shared.1, within)
}

#[test]
fn ports_wait_for_each_other_until_an_address_comes() {
    let conntrack = queue();
    let given = [port(80), port(81), Which::Address(address("10.4.0.2"), 7)];
    let taken = thread::scope(|scope| {
        // Nobody waits so long: what is taken before all are there fails the test, and so does an address that ends nothing.
        let taken = scope.spawn(|| next(&conntrack, Duration::from_secs(3600)));
        given.iter().for_each(|which| conntrack.flush(which.clone()).expect("the thread is there"));
        taken.join().expect("it does not panic")
    });
    assert_eq!(taken, Some(given.to_vec()));
}

#[test]
fn ports_alone_are_taken_together_when_their_time_is_over_and_then_the_thread_ends() {
    let conntrack = queue();
    conntrack.flush(port(80)).expect("the thread is there");
    conntrack.flush(port(81)).expect("the thread is there");
    let moment = Duration::from_millis(1);
    assert_eq!(next(&conntrack, moment), Some(vec![port(80), port(81)]));
    assert_eq!((next(&conntrack, moment), lock(&conntrack.shared.0).has_thread), (None, false));
}
