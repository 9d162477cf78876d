//! The CNI plugin of netd. So far it only refuses, in the way that a container runtime understands; it never touches the kernel itself.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use netd_api as _; // the words that ADD, DEL and CHECK will be translated to
use serde_json::json;

/// The CNI specification's first code that a plugin may give its own meaning.
const NOT_BUILT_YET: u32 = 100;

fn main() -> ExitCode {
    eprintln!("netd-cni is the CNI plugin of netd. The CNI verbs are not built yet; attach containers with `netctl container attach`.");
    let error = json!({
        "cniVersion": "1.0.0",
        "code": NOT_BUILT_YET,
        "msg": "netd-cni cannot do this yet",
        "details": "the CNI verbs are not built yet; attach the container with `netctl container attach`",
    });
    println!("{error}");
    ExitCode::FAILURE
}
