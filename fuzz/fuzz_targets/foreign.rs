//! What `nft -j list ruleset` prints of others' rules: any text is findings or an error. Never runs nft.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netd::kernel::nft::foreign::foreign_drops;

fuzz_target!(|json: &str| {
    let bridge = "nd-0123456789ab".parse().expect("a good name");
    for drop in foreign_drops(json, &[bridge]).into_iter().flatten() {
        assert!(!drop.chain.is_empty() && !drop.mend.is_empty(), "{drop:?}");
    }
});
