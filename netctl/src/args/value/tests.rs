//! What the values accept, and their words where they do not.

use super::*;

#[test]
fn a_label_needs_an_equals_sign() {
    let label: Label = "example.com/tier=web".parse().unwrap();
    assert_eq!((label.key.as_str(), label.value.as_str()), ("example.com/tier", "web"));
    assert_eq!("tier=".parse::<Label>().unwrap().value.as_str(), "");
    assert_eq!("tier".parse::<Label>().unwrap_err().to_string(), r#"label "tier" is none; write it as KEY=VALUE"#);
    assert!("-=web".parse::<Label>().unwrap_err().to_string().starts_with(r#"label key "-" is none"#));
    assert!("tier=a b".parse::<Label>().unwrap_err().to_string().starts_with(r#"label value "a b" has a space"#));
}

#[test]
fn a_dash_after_the_key_takes_the_label_away() {
    assert_eq!("tier-".parse(), Ok(LabelEdit::Drop("tier".parse().unwrap())));
    assert_eq!("tier=web".parse(), Ok(LabelEdit::Set("tier=web".parse().unwrap())));
    assert!("tier".parse::<LabelEdit>().unwrap_err().to_string().contains("KEY-"));
    // a value cannot end with a dash, so that the two are never mixed up
    assert!("tier=web-".parse::<LabelEdit>().is_err());
}

#[test]
fn an_attachment_takes_its_options_in_any_order() {
    let spec = attach("web,ifname=lan0,ip=10.4.0.7,mac=02:00:00:00:00:07,ip=fd00:4::7").unwrap();
    assert_eq!(spec.network.as_str(), "web");
    assert_eq!(spec.addresses, ["10.4.0.7".parse::<IpAddr>().unwrap(), "fd00:4::7".parse().unwrap()]);
    assert_eq!(spec.mac.unwrap().to_string(), "02:00:00:00:00:07");
    assert_eq!(spec.ifname.unwrap().as_str(), "lan0");
    assert_eq!(attach("web").unwrap(), AttachSpec::to("web".parse().unwrap()));
}

#[test]
fn an_attachment_says_which_option_is_wrong() {
    for (given, said) in [
        ("", r#"network name "" is empty"#),
        ("web,", r#"option "" is none; use ip=IP, mac=MAC or ifname=IF"#),
        ("web,alias=x", r#"option "alias" is none"#),
        ("web,ip=10.4.0", r#"address "10.4.0" is none"#),
        ("web,ip=10.4.0.7,ip=10.4.0.8", "addresses 10.4.0.7 and 10.4.0.8 are of one family"),
        ("web,mac=01:00:5e:00:00:01", "is a group address"),
        ("web,mac=02:00:00:00:00:07,mac=02:00:00:00:00:08", "option mac is given twice"),
        ("web,ifname=sixteen-letters-", r#"interface name "sixteen-letters-" is none"#),
    ] {
        let error = attach(given).unwrap_err();
        assert!(error.contains(said), "{given:?}: {error}");
    }
}

#[test]
fn an_exclude_is_one_address_or_a_range() {
    assert_eq!(exclude("10.4.0.7").unwrap().to_string(), "10.4.0.7/32");
    assert_eq!(exclude("fd00:4::7").unwrap().to_string(), "fd00:4::7/128");
    assert_eq!(exclude("10.4.0.16/28").unwrap().to_string(), "10.4.0.16/28");
    assert_eq!(exclude("10.4.0.17/28").unwrap_err().to_string(), r#"range "10.4.0.17/28" has host bits set; did you mean 10.4.0.16/28?"#);
    assert!(exclude("here").unwrap_err().to_string().starts_with(r#"range "here" is none"#));
}

#[test]
fn a_namespace_is_given_from_the_root() {
    assert_eq!(netns("/run/netns/web").unwrap(), "/run/netns/web");
    assert!(netns("web").unwrap_err().contains("/run/netns/NAME"));
}
