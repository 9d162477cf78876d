//! JSON schemas of the types that travel as text: the patterns that their parsers have, for tools that read `openapi.json`. Checks nothing itself.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::{
    addr::{Mac, Subnet},
    names::{ContainerId, ContainerName, IfName, LabelKey, LabelValue, Namespace, NetworkName},
    policy::PolicyName,
    publish::PublishSpec,
};

/// One word of names: as `names.rs` has it.
const WORD_63: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$";

macro_rules! text {
    ($type:ty, $name:literal, $pattern:expr, $example:literal, $about:literal) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "examples": [$example], "description": $about })
            }
        }
    };
}

text!(NetworkName, "NetworkName", WORD_63, "lan", "A network's name.");
text!(ContainerId, "ContainerId", "^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$", "web", "What a container is known by.");
text!(
    ContainerName,
    "ContainerName",
    "^([A-Za-z0-9][A-Za-z0-9_.-]{0,62}|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/[A-Za-z0-9][A-Za-z0-9_.-]{0,252})$",
    "prod/web",
    "A container's display name, or its id."
);
text!(Namespace, "Namespace", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "default", "The namespace that a container counts to.");
text!(
    IfName,
    "IfName",
    "^[!#$&-)+,.0-9;-\\[\\]-~][!#$&-)+-.0-9;-\\[\\]-~]{0,14}$",
    "eth0",
    "An interface name; not `.`, `..`, `all` or `default`."
);
text!(
    LabelKey,
    "LabelKey",
    "^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$",
    "app",
    "A label's key, as Kubernetes has them."
);
text!(LabelValue, "LabelValue", "^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$", "shop", "A label's value; may be empty.");
text!(
    PolicyName,
    "PolicyName",
    "^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$",
    "default/db",
    "A policy's name of up to 253 letters, with its namespace before it where it has one."
);
text!(Mac, "Mac", "^[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}$", "02:42:ac:11:00:02", "A hardware address.");
text!(Subnet, "Subnet", "^[0-9A-Fa-f:.]+/[0-9]{1,3}$", "10.4.0.0/24", "A subnet without host bits.");
text!(
    PublishSpec,
    "Publish",
    "^((\\[[0-9A-Fa-f:.]+\\]|[0-9.]+):)?(([0-9]+(-[0-9]+)?)?:)?[0-9]+(-[0-9]+)?(/(tcp|udp|sctp))?$",
    "8080:80",
    "[HOSTIP:]HOST[-END]:PORT[-END][/tcp|udp|sctp]; PORT alone, or HOST 0 or empty: a free host port is chosen. HOSTIP 0.0.0.0 is all of IPv4, [::] all of IPv6, none both."
);

/// A net, also of one address: stands for ipnet's type, whose text has a length behind the address.
pub struct Net;
text!(Net, "Net", "^[0-9A-Fa-f:.]+/[0-9]{1,3}$", "10.4.0.5/24", "An address and the length of its prefix.");

#[cfg(test)]
mod tests {
    //! The patterns and the parsers mean the same.

    use std::str::FromStr;

    use proptest::{prelude::*, string::string_regex, test_runner::TestRunner};

    use super::*;

    /// No length of a whole name stands in a pattern where its parts have none.
    const LONG: usize = 253;

    /// Texts made from the pattern are taken by the parser, but for those that `except` names.
    fn agrees<T: JsonSchema + FromStr<Err: std::fmt::Display>>(except: &[&str]) {
        let schema = T::json_schema(&mut SchemaGenerator::default());
        let pattern = schema.get("pattern").and_then(|pattern| pattern.as_str()).expect("it has one");
        let made = string_regex(pattern.trim_start_matches('^').trim_end_matches('$')).expect("a pattern without look-around");
        let run = TestRunner::default().run(&made, |text| {
            if let Err(why) = text.parse::<T>() {
                prop_assert!(except.contains(&text.as_str()) || text.len() > LONG, "{}", why);
            }
            Ok(())
        });
        run.expect("the parser takes all that the pattern does");
        let example = schema.get("examples").and_then(|all| all[0].as_str()).expect("it has one");
        assert!(example.parse::<T>().is_ok(), "{example}");
    }

    #[test]
    fn what_a_name_s_pattern_takes_its_parser_takes() {
        agrees::<NetworkName>(&[]);
        agrees::<ContainerId>(&[]);
        agrees::<ContainerName>(&[]);
        agrees::<Namespace>(&[]);
        agrees::<IfName>(&[".", "..", "all", "default"]);
        agrees::<LabelValue>(&[]);
        agrees::<PolicyName>(&[]);
        agrees::<Mac>(&["00:00:00:00:00:00"]);
    }
}
