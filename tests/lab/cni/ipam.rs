//! An IPAM plugin of a story's own, as `dhcp` or a company's own would be: it gives what it was told to give, and writes down each call.
//! Never looks at what it is asked; a story does.

use std::fs;

use serde_json::Value;

use super::OWN;
use crate::{Lab, host::Host};

/// Where it writes down what it was asked.
const NOTES: &str = "/run/ipam";

/// The plugin's text: one line for each call, and its whole input in a file of its own.
const PROGRAM: &str = r#"#!/bin/sh
cat > "/run/ipam/$CNI_COMMAND.in"
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $CNI_NETNS" >> /run/ipam/calls
echo "a word of the plugin's own" >&2
if [ -e "/run/ipam/$CNI_COMMAND.fails" ]; then cat "/run/ipam/$CNI_COMMAND.fails"; exit 1; fi
if [ "$CNI_COMMAND" = ADD ]; then cat /run/ipam/result; fi
"#;

/// See the module.
pub struct Ipam<'lab> {
    host: &'lab Host,
    /// Its type.
    pub name: String,
}

impl Lab {
    /// Installs the plugin under a name.
    pub fn ipam(&self, name: &str) -> Ipam<'_> {
        let text = self.host().scratch.path().join(name);
        fs::write(&text, PROGRAM).expect("the scratch directory can be written");
        fs::create_dir_all(self.host().path(NOTES)).expect("the private host's /run can be written");
        // By a program: a file that this process has written may not be executed while another story's thread starts a program.
        self.host().run("install", &["-m", "755", text.to_str().expect("a plain path"), &format!("{OWN}/{name}")]);
        Ipam { host: self.host(), name: name.to_owned() }
    }
}

impl Ipam<'_> {
    /// From now on it gives this result.
    pub fn gives(&self, result: &Value) -> &Self {
        self.note("result", result)
    }

    /// From now on a command fails with this error object.
    pub fn fails(&self, command: &str, error: &Value) -> &Self {
        self.note(&format!("{command}.fails"), error)
    }

    /// The calls so far: command, container, interface, namespace.
    pub fn calls(&self) -> Vec<String> {
        let read = fs::read_to_string(self.host.path(&format!("{NOTES}/calls"))).unwrap_or_default();
        read.lines().map(str::to_owned).collect()
    }

    /// What the last call of a command had on its input.
    #[track_caller]
    pub fn asked(&self, command: &str) -> Value {
        let read = fs::read(self.host.path(&format!("{NOTES}/{command}.in")));
        let read = read.unwrap_or_else(|_| panic!("{} got no {command}; it got {:?}", self.name, self.calls()));
        serde_json::from_slice(&read).unwrap_or_else(|why| panic!("{} got no JSON: {why}", self.name))
    }

    fn note(&self, name: &str, value: &Value) -> &Self {
        fs::write(self.host.path(&format!("{NOTES}/{name}")), value.to_string()).expect("the private host's /run can be written");
        self
    }
}
