//! Policy files: any text is policies, which are written and read again the same, or errors that name the file. Never touches a file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netd_core::policy::parse::{File, OtherKinds, parse};

fuzz_target!(|input: (&str, bool)| {
    let (text, skip) = input;
    let other_kinds = if skip { OtherKinds::Skip } else { OtherKinds::Refuse };
    match parse(&[File { name: "fuzzed", text }], other_kinds) {
        Ok(parsed) => {
            for policy in parsed.policies {
                let again = parse(&[File { name: "-", text: &policy.source }], OtherKinds::Refuse);
                assert_eq!(again.map(|parsed| parsed.policies).as_deref(), Ok(&[policy][..]));
            }
        }
        Err(errors) => assert!(errors.errors.iter().all(|error| error.file == "fuzzed" && error.line > 0), "{errors}"),
    }
});
