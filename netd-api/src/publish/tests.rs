//! Tests of what `publish` takes.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn reads(given: &str) -> String {
    let spec: PublishSpec = given.parse().unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(spec.to_string().parse(), Ok(spec), "it reads the same when it is written again");
    spec.to_string()
}

#[track_caller]
fn refused(given: &str) -> String {
    let why = given.parse::<PublishSpec>();
    why.expect_err(&format!("{given:?} should have been refused")).to_string()
}

#[test]
fn every_form_is_read_and_written_in_full() {
    for (given, full) in [
        ("80", "80/tcp"),
        ("0:80", "80/tcp"),
        (":80", "80/tcp"),
        ("8080:80", "8080:80/tcp"),
        ("8080:80/udp", "8080:80/udp"),
        ("8080:80/SCTP", "8080:80/sctp"),
        ("8000-8009:80-89", "8000-8009:80-89/tcp"),
        ("80-80", "80/tcp"),
        ("127.0.0.1:8080:80", "127.0.0.1:8080:80/tcp"),
        ("127.0.0.1::80", "127.0.0.1:0:80/tcp"),
        ("127.0.0.1:80", "127.0.0.1:0:80/tcp"),
        ("[fd00::1]:8080:80", "[fd00::1]:8080:80/tcp"),
        ("[fd00:0::1]:0:80/udp", "[fd00::1]:0:80/udp"),
        ("0.0.0.0:8080:80", "0.0.0.0:8080:80/tcp"),
        ("[::]:8080:80", "[::]:8080:80/tcp"),
        ("[::ffff:192.0.2.1]:8080:80", "192.0.2.1:8080:80/tcp"),
        ("65535:1", "65535:1/tcp"),
    ] {
        assert_eq!(reads(given), full, "{given}");
    }
}

#[test]
fn what_is_no_publish_is_refused_with_examples() {
    for bad in [
        "",
        ":",
        "a:80",
        "80:",
        "8080:80:80",
        "::1:8080:80",
        "[::1]8080:80",
        "[::1",
        "1.2.3:8080:80",
        "8080:80-",
        "8080:-80",
        "0x50:80",
        "+80:80",
        "80 ",
    ] {
        assert!(refused(bad).contains("write it as 8080:80"), "{bad}: {}", refused(bad));
    }
}

#[test]
fn ports_protocols_and_ranges_have_words_of_their_own() {
    assert!(refused("70000:80").contains("1 to 65535"));
    assert!(refused("8080:0").contains("1 to 65535"));
    assert!(refused("8009-8000:80-89").contains("ends before it begins"));
    assert!(refused("80:80/icmp").contains("use tcp, udp or sctp"));
    assert_eq!(
        refused("8000-8009:80-88"),
        "publish \"8000-8009:80-88\" has 10 host ports and 9 container ports; both ranges must be of the same length"
    );
}

#[test]
fn a_refusal_repeats_the_beginning_only() {
    for long in ["9".repeat(100_000), format!("80/{}", "x".repeat(100_000)), "x".repeat(100_000)] {
        assert!(refused(&long).len() < 400);
    }
}

#[test]
fn ranges_know_their_length_and_what_they_share() {
    let range = |first, last| PortRange { first, last };
    assert_eq!((PortRange::one(80).count(), range(1, 65535).count()), (1, 65535));
    assert!(range(80, 90).overlaps(range(90, 99)) && !range(80, 89).overlaps(range(90, 99)));
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in prop_oneof![any::<String>(), "[0-9a-f:./\\[\\]tcpud-]{0,40}"]) {
        if let Ok(spec) = text.parse::<PublishSpec>() {
            prop_assert_eq!(spec.to_string().parse::<PublishSpec>(), Ok(spec));
            prop_assert!(spec.host.is_none_or(|host| host.count() == spec.container.count()));
        }
    }

    #[test]
    fn what_is_written_is_read(address: Option<IpAddr>, first in 1u16..60000, host in prop::option::of(1u16..60000), more in 0u16..5000, protocol in 0usize..3) {
        let range = |first: u16| PortRange { first, last: first + more };
        let spec = PublishSpec {
            address: address.map(|address| address.to_canonical()),
            host: host.map(range),
            container: range(first),
            protocol: [Protocol::Tcp, Protocol::Udp, Protocol::Sctp][protocol],
        };
        prop_assert_eq!(spec.to_string().parse::<PublishSpec>(), Ok(spec));
    }
}
