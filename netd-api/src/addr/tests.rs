//! Tests of subnets and hardware addresses.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn refused<T: FromStr<Err = AddrError>>(given: &str) -> String {
    given.parse::<T>().err().unwrap_or_else(|| panic!("{given:?} should have been refused")).to_string()
}

#[test]
fn a_subnet_is_a_unicast_net_without_host_bits() {
    for good in
        ["10.4.0.0/24", "10.0.0.0/8", "192.168.1.4/31", "100.64.0.0/10", "203.0.113.0/24", "fd00:4::/64", "2001:db8::/126", "fd00::/127"]
    {
        let subnet: Subnet = good.parse().unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(subnet.to_string(), good);
    }
}

#[test]
fn a_subnet_with_host_bits_is_corrected_in_the_refusal() {
    assert_eq!(refused::<Subnet>("10.4.0.1/24"), "subnet \"10.4.0.1/24\" has host bits set; did you mean 10.4.0.0/24?");
    assert_eq!(refused::<Subnet>("fd00::1/64"), "subnet \"fd00::1/64\" has host bits set; did you mean fd00::/64?");
}

#[test]
fn a_subnet_that_is_reserved_or_covers_what_is_is_refused() {
    for bad in ["0.0.0.0/8", "127.0.0.0/16", "169.254.1.0/24", "169.0.0.0/8", "169.128.0.0/9", "224.0.0.0/8", "255.255.255.0/24"] {
        assert!(refused::<Subnet>(bad).contains("reserved"), "{bad}");
    }
    for bad in ["::/64", "::1/128", "::ffff:10.0.0.0/104", "::fffe:0:0/95", "fe80::/64", "fe00::/8", "ff02::/16"] {
        assert!(refused::<Subnet>(bad).contains("reserved"), "{bad}");
    }
}

#[test]
fn a_subnet_of_one_address_or_half_the_world_is_refused() {
    for bad in ["10.4.0.0/32", "16.0.0.0/7", "fd00::/128", "2000::/3"] {
        assert!(refused::<Subnet>(bad).contains("prefix length"), "{bad}");
    }
}

#[test]
fn what_is_no_subnet_is_refused_with_an_example() {
    for bad in ["", "10.4.0.0", "10.4.0.0/33", "10.4.0.0/-1", "10.4.0/24", "fd00::/129", "web", "10.4.0.0/24 ", "/24"] {
        assert!(refused::<Subnet>(bad).contains("10.4.0.0/24 or fd00:4::/64"), "{bad}");
    }
}

#[test]
fn subnets_overlap_when_they_share_an_address() {
    let subnet: Subnet = "10.4.0.0/16".parse().expect("a good subnet");
    let net = |text: &str| text.parse::<IpNet>().expect("a good net");
    assert!(subnet.overlaps(net("10.4.3.0/24")) && subnet.overlaps(net("10.0.0.0/8")) && subnet.overlaps(net("10.4.0.1/32")));
    assert!(!subnet.overlaps(net("10.5.0.0/16")) && !subnet.overlaps(net("fd00::/8")));
    assert!(subnet.contains(IpAddr::from([10, 4, 255, 255])) && !subnet.contains(IpAddr::from([10, 5, 0, 0])));
}

#[test]
fn a_hardware_address_is_one_station_s() {
    let mac: Mac = "02:42:AC:11:00:02".parse().expect("a good one");
    assert_eq!((mac, mac.to_string().as_str()), (Mac([2, 0x42, 0xac, 0x11, 0, 2]), "02:42:ac:11:00:02"));
    assert!(refused::<Mac>("01:00:5e:00:00:01").contains("group"));
    assert!(refused::<Mac>("ff:ff:ff:ff:ff:ff").contains("group"));
    assert!(refused::<Mac>("00:00:00:00:00:00").contains("zeroes"));
    for bad in
        ["", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "2:42:ac:11:00:02", "02-42-ac-11-00-02", "+2:42:ac:11:00:02", "gg:42:ac:11:00:02"]
    {
        assert!(refused::<Mac>(bad).contains("02:42:ac:11:00:02"), "{bad}");
    }
}

#[test]
fn a_hardware_address_keeps_its_column() {
    assert_eq!(format!("{:>19}|", Mac([2, 0, 0, 0, 0, 1])), "  02:00:00:00:00:01|");
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in prop_oneof![any::<String>(), "[0-9a-f:./]{0,50}"]) {
        if let Ok(subnet) = text.parse::<Subnet>() {
            prop_assert_eq!(subnet.to_string().parse::<Subnet>(), Ok(subnet));
        }
        if let Ok(mac) = text.parse::<Mac>() {
            prop_assert_eq!(mac.to_string().parse::<Mac>(), Ok(mac));
        }
    }

    #[test]
    fn a_subnet_that_is_taken_holds_no_reserved_address(address: [u8; 4], length in 0u8..=32) {
        let net = IpNet::new(IpAddr::from(address), length).expect("a length of IPv4").trunc();
        if let Ok(subnet) = net.to_string().parse::<Subnet>() {
            for bad in [[127, 0, 0, 1], [169, 254, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255], [0, 0, 0, 1]] {
                prop_assert!(!subnet.contains(IpAddr::from(bad)));
            }
        }
    }
}
