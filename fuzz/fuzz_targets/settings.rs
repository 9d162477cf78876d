//! netd.toml: any text is settings or an error in one line that names the file. Never touches a file.
#![no_main]

use std::path::Path;

use clap::Parser as _;
use libfuzzer_sys::fuzz_target;
use netd::config::{Config, Flags};

fuzz_target!(|text: &str| {
    let flags = Flags::parse_from(["netd"]);
    if let Err(error) = Config::of(&flags, Path::new("/etc/netd/netd.toml"), text) {
        assert!(error.to_string().contains("netd.toml"), "{error}");
    }
});
