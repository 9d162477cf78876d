#![no_main]
//! The CNI plugin: whatever stands in the environment and on stdin, there is an answer, and it is a request that netd can read or an error object.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};

use cni_plugin::{
    config::{Config, decode},
    env::{Attachment, Variables, Verb},
    error::CniError,
    result,
    spec::{Allocation, Dns, Expected},
    translate,
    version::Version,
    wish::Wish,
};
use libfuzzer_sys::fuzz_target;
use netd_api::cni::{CniAdd, CniAdded};

const ADDED: &str = r#"{"name":"a","network":"b","bridge":"c","bridge_mac":"02:00:00:00:00:01","host_ifname":"d","host_mac":"02:00:00:00:00:02",
    "mac":"02:00:00:00:00:03","mtu":1500,"addresses":[{"net":"10.0.0.2/24","gateway":null}],"routes":[{"dst":"0.0.0.0/0"}]}"#;

/// The variables are the first lines, one each; stdin is the rest.
fn cut(data: &[u8]) -> (Variables, &[u8]) {
    const NAMES: [&str; 5] = ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"];
    let mut lines = data.splitn(NAMES.len() + 1, |byte| *byte == b'\n');
    let given: Vec<_> = NAMES.into_iter().zip(lines.by_ref().take(NAMES.len())).collect();
    let variables = Variables::from(|name| {
        let (_, value) = given.iter().find(|(other, _)| *other == name)?;
        Some(OsString::from_vec(value.to_vec()))
    });
    (variables, lines.next().unwrap_or_default())
}

/// Every verb, as far as it goes without a daemon.
fn all(variables: &Variables, stdin: &[u8], version: &mut Version) -> Result<(), CniError> {
    let verb = Verb::of(variables)?;
    verb.has_all(variables)?;
    let value = decode(stdin)?;
    *version = Version::meant(&value)?;
    let config = Config::of(&value, variables, verb)?;
    let _ = translate::status(&config, &value);
    let _ = translate::gc(&config, &value);
    let _ = Attachment::to_remove(variables);
    let attachment = Attachment::of(variables)?;
    let _ = translate::check(&config, &attachment);
    let _ = Expected::of(&value, attachment.ifname.as_str(), &attachment.netns);
    let wish = Wish::of(&value, &config.name, &config.ipam, attachment.ifname.as_str(), &attachment.args)?;
    let allocation = Allocation::of(&value).ok();
    for brought in [None, allocation.as_ref()] {
        let add = translate::add(&config, &wish, &attachment, brought)?;
        let text = serde_json::to_string(&add).expect("a request is JSON");
        assert_eq!(serde_json::from_str::<CniAdd>(&text).expect("netd reads it"), add);
    }
    let added: CniAdded = serde_json::from_str(ADDED).expect("it is netd's answer");
    let dns = Dns::of_resolv_conf(&String::from_utf8_lossy(stdin));
    let result = result::added(config.version, &added, attachment.ifname.as_str(), &attachment.netns, &dns, config.previous.as_ref());
    assert_eq!(result["cniVersion"], config.version.as_str());
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let (variables, stdin) = cut(data);
    let mut version = Version::NEWEST;
    if let Err(error) = all(&variables, stdin, &mut version) {
        let object = error.object(version);
        assert!(object["code"].as_u64().is_some_and(|code| code > 0) && object["msg"].as_str().is_some_and(|msg| !msg.is_empty()));
    }
});
