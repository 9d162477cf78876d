//! Tests of the names: what is taken, what is refused and in which words; no text makes a parser panic.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn takes<T: FromStr<Err = NameError> + fmt::Display>(given: &str) {
    let name: T = given.parse().unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(name.to_string(), given);
}

#[track_caller]
fn refuses<T: FromStr<Err = NameError>>(given: &str) -> String {
    given.parse::<T>().err().unwrap_or_else(|| panic!("{given:?} should have been refused")).to_string()
}

#[test]
fn a_network_is_named_as_docker_allows() {
    for good in ["a", "0", "web", "Web_1.x-y", &"x".repeat(63)] {
        takes::<NetworkName>(good);
    }
    for bad in ["-x", ".x", "_x", "a/b", "ä", "a\n", "a\0", &"x".repeat(64)] {
        refuses::<NetworkName>(bad);
    }
}

#[test]
fn a_refusal_says_what_is_wrong_and_what_would_be_right() {
    let form = "use 1 to 63 of A-Z, a-z, 0-9, '_', '.' and '-', the first a letter or digit";
    assert_eq!(refuses::<NetworkName>("Web App"), format!("network name \"Web App\" has a space; {form}"));
    assert_eq!(refuses::<NetworkName>(""), format!("network name \"\" is empty; {form}"));
    assert_eq!(refuses::<NetworkName>("-x"), format!("network name \"-x\" is none; {form}"));
    let long = refuses::<ContainerId>(&"x".repeat(100_000));
    assert!(long.len() < 300, "a refusal repeats the beginning only: {} bytes", long.len());
}

#[test]
fn a_container_has_an_id_and_a_display_name_with_at_most_one_slash() {
    takes::<ContainerId>(&"f".repeat(128));
    refuses::<ContainerId>(&"f".repeat(129));
    refuses::<ContainerId>("a/b");
    for good in ["web", "prod/web", "prod/Web_1.x", &format!("{}/{}", "n".repeat(63), "p".repeat(253))] {
        takes::<ContainerName>(good);
    }
    for bad in ["/web", "prod/", "a/b/c", "Prod/web", "-p/web", &format!("{}/p", "n".repeat(64))] {
        refuses::<ContainerName>(bad);
    }
}

#[test]
fn an_id_of_any_length_gives_a_display_name_that_can_be_read_again() {
    for length in [1, 63, 64, 128] {
        let id: ContainerId = "x".repeat(length).parse().expect("a good id");
        takes::<ContainerName>(ContainerName::from(id).as_str());
    }
}

#[test]
fn an_interface_is_named_as_the_kernel_and_the_programs_around_it_allow() {
    for good in ["eth0", "a", "veth.1@x", &"i".repeat(15)] {
        takes::<IfName>(good);
    }
    for bad in ["", ".", "..", "all", "default", "a/b", "a:1", "eth%d", "eth*", "-eth", "a b", "a\"", "a\\", "ä", &"i".repeat(16)] {
        refuses::<IfName>(bad);
    }
}

#[test]
fn labels_are_those_of_kubernetes() {
    for good in ["app", "app.kubernetes.io/name", "A_b.c-d", &format!("{}/k", ["d"; 127].join("."))] {
        takes::<LabelKey>(good);
    }
    for bad in ["", "/k", "a/", "-a", "a-", "a/b/c", "under_score/k", "a..b/k", &format!("{}/k", ["d"; 128].join("."))] {
        refuses::<LabelKey>(bad);
    }
    for good in ["", "a", "A_b.c-9", &"v".repeat(63)] {
        takes::<LabelValue>(good);
    }
    for bad in ["-a", "a-", "a b", "a/b", &"v".repeat(64)] {
        refuses::<LabelValue>(bad);
    }
}

#[test]
fn a_namespace_is_a_dns_label() {
    for good in ["default", "a-1", &"n".repeat(63)] {
        takes::<Namespace>(good);
    }
    for bad in ["", "Prod", "a.b", "-a", "a-", &"n".repeat(64)] {
        refuses::<Namespace>(bad);
    }
    assert_eq!(Namespace::default().as_str(), "default");
}

#[test]
fn json_takes_the_same_names() {
    assert!(serde_json::from_str::<NetworkName>("\"web\"").is_ok());
    let why = serde_json::from_str::<NetworkName>("\"we b\"").expect_err("it has a space");
    assert!(why.to_string().starts_with("network name \"we b\" has a space"), "{why}");
}

/// A text is refused, or its name reads the same when it is written again.
fn round<T: FromStr<Err = NameError> + fmt::Display + PartialEq + fmt::Debug>(text: &str) -> Result<(), TestCaseError> {
    if let Ok(name) = text.parse::<T>() {
        prop_assert_eq!(name.to_string(), text);
        prop_assert_eq!(name.to_string().parse::<T>().ok(), Some(name));
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in prop_oneof![any::<String>(), "[a-zA-Z0-9_./:@ -]{0,70}"]) {
        round::<NetworkName>(&text)?;
        round::<ContainerId>(&text)?;
        round::<ContainerName>(&text)?;
        round::<Namespace>(&text)?;
        round::<IfName>(&text)?;
        round::<LabelKey>(&text)?;
        round::<LabelValue>(&text)?;
    }

    #[test]
    fn an_id_is_safe_as_a_file_s_name(text in any::<String>()) {
        if let Ok(id) = text.parse::<ContainerId>() {
            prop_assert!(!id.as_str().contains(['/', '\0']) && id.as_str() != "." && id.as_str() != "..");
        }
    }
}
