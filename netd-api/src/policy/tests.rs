//! Tests of the policies' words: what names a policy and a verdict, and in which words others are refused.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn refused(given: &str) -> String {
    given.parse::<PolicyName>().err().unwrap_or_else(|| panic!("{given:?} should have been refused")).to_string()
}

#[test]
fn a_policy_is_named_by_namespace_and_name_or_by_its_name_alone() {
    let name: PolicyName = "shop/db-allow".parse().expect("a good name");
    assert_eq!((name.namespace.as_ref().map(Namespace::as_str), name.name.as_str()), (Some("shop"), "db-allow"));
    let name: PolicyName = "baseline.example.com".parse().expect("a good name");
    assert_eq!((name.namespace, name.name.as_str()), (None, "baseline.example.com"));
    for good in ["a", "0", "a/b", "a-b.c-d", &"x".repeat(253), &format!("{}/{}", "n".repeat(63), "x".repeat(253))] {
        assert_eq!(good.parse::<PolicyName>().expect(good).to_string(), good);
    }
}

#[test]
fn what_is_no_policy_name_is_refused_in_the_words_of_the_part_that_is_wrong() {
    for bad in ["", "a/", "a/b/c", "A", "a_b", "-a", "a-", "a.", ".a", "a..b", "a.-b", "a b", "ä", &"x".repeat(254)] {
        assert!(refused(bad).starts_with("policy name "), "{bad:?}: {}", refused(bad));
    }
    assert!(refused("/a").starts_with(r#"namespace "" is empty"#), "{}", refused("/a"));
    assert!(refused("Shop/a").starts_with(r#"namespace "Shop" is none"#), "{}", refused("Shop/a"));
    assert_eq!(
        refused("Web"),
        r#"policy name "Web" is none; use up to 253 of a-z, 0-9, '-' and '.', a letter or digit at both ends of each part"#
    );
    assert!(refused(&"x".repeat(100_000)).len() < 300, "a refusal repeats the beginning only");
}

#[test]
fn a_policy_name_is_padded_as_one_word() {
    let name: PolicyName = "shop/db".parse().expect("a good name");
    assert_eq!(format!("{name:>9}|{name:<9}"), "  shop/db|shop/db  ");
}

#[test]
fn json_takes_the_same_policy_names() {
    assert_eq!(serde_json::from_str::<PolicyName>("\"shop/db\"").ok(), "shop/db".parse().ok());
    let why = serde_json::from_str::<PolicyName>("\"shop/D\"").expect_err("it has a capital letter");
    assert!(why.to_string().starts_with("policy name \"shop/D\" is none"), "{why}");
}

#[test]
fn a_subdomain_has_lower_case_labels_between_dots() {
    for good in ["a", "a.b", "1.2", "a-b", "a--b", &"x".repeat(253)] {
        assert!(is_subdomain(good), "{good}");
    }
    for bad in ["", ".", "a.", ".a", "a..b", "-a", "a-", "a-.b", "A", "a_b", "a/b", &"x".repeat(254)] {
        assert!(!is_subdomain(bad), "{bad}");
    }
}

#[test]
fn verdicts_are_read_and_written_by_their_names() {
    for verdict in FlowVerdict::ALL {
        assert_eq!(verdict.name().parse(), Ok(verdict));
        assert_eq!(serde_json::to_string(&verdict).expect("it can be written"), format!("\"{verdict}\""));
    }
    assert_eq!(format!("{:<8}|", FlowVerdict::Drop), "drop    |");
    for bad in ["", "Drop", "dropped", "allow"] {
        let why = bad.parse::<FlowVerdict>().expect_err(bad).to_string();
        assert_eq!(why, format!("verdict {bad:?} is none; use forward, drop, reject or audit"));
    }
}

#[test]
fn files_need_no_more_than_a_name_and_a_text() {
    let files: PolicyFiles = serde_json::from_str(r#"{"files": [{"name": "-", "text": ""}]}"#).expect("it is whole");
    assert_eq!((files.files.len(), files.dry_run, files.skip_other_kinds), (1, false, false));
    assert!(serde_json::from_str::<PolicyFiles>(r#"{"files": [], "dryrun": true}"#).is_err(), "unknown fields are refused");
}

proptest! {
    #[test]
    fn no_text_makes_the_parsers_panic(text in prop_oneof![any::<String>(), "[a-z0-9./-]{0,70}"]) {
        if let Ok(name) = text.parse::<PolicyName>() {
            prop_assert_eq!(name.to_string(), &*text);
        }
        if let Ok(verdict) = text.parse::<FlowVerdict>() {
            prop_assert_eq!(verdict.name(), text);
        }
    }
}
