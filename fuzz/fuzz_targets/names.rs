#![no_main]
//! Every parser of a short text: none panics, and what is taken reads the same when it is written again.

use std::{fmt, str::FromStr};

use libfuzzer_sys::fuzz_target;
use netd_api::{
    addr::{Mac, Subnet},
    names::{ContainerId, ContainerName, IfName, LabelKey, LabelValue, Namespace, NetworkName},
    policy::{FlowVerdict, PolicyName},
    publish::{Protocol, PublishSpec},
};

fn round<T: FromStr + fmt::Display + fmt::Debug + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let again = value.to_string().parse::<T>();
        assert_eq!(again.ok(), Some(value), "from {text:?}");
    }
}

fuzz_target!(|text: &str| {
    round::<NetworkName>(text);
    round::<ContainerId>(text);
    round::<ContainerName>(text);
    round::<Namespace>(text);
    round::<IfName>(text);
    round::<LabelKey>(text);
    round::<LabelValue>(text);
    round::<Subnet>(text);
    round::<Mac>(text);
    round::<Protocol>(text);
    round::<PublishSpec>(text);
    round::<PolicyName>(text);
    round::<FlowVerdict>(text);
});
