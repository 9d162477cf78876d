#![no_main]
//! The bodies of the API: none panics, and what is taken reads the same when it is written again.

use std::fmt;

use libfuzzer_sys::fuzz_target;
use netd_api::{
    fault::Fault,
    policy::PolicyFiles,
    publish::PublishSpec,
    spec::{AttachSpec, ContainerChange, ContainerSpec, NetworkSpec},
};
use serde::{Serialize, de::DeserializeOwned};

fn round<T: Serialize + DeserializeOwned + fmt::Debug + PartialEq>(bytes: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(bytes) {
        let again = serde_json::to_vec(&value).expect("what was read can be written");
        assert_eq!(serde_json::from_slice::<T>(&again).ok(), Some(value));
    }
}

fuzz_target!(|bytes: &[u8]| {
    round::<NetworkSpec>(bytes);
    round::<ContainerSpec>(bytes);
    round::<ContainerChange>(bytes);
    round::<AttachSpec>(bytes);
    round::<PublishSpec>(bytes);
    round::<PolicyFiles>(bytes);
    round::<Fault>(bytes);
});
