//! `NAME=PORT[/PROTO]` and `NAME-`: a port's name to set or to take away. Never asks the daemon whether it is in use.

use std::str::FromStr;

use netd_api::{
    names::NameError,
    publish::Protocol,
    spec::{NamedPort, is_port_name},
};

/// A name and the port that shall have it; none takes the name away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortNameEdit {
    pub(crate) name: String,
    pub(crate) port: Option<NamedPort>,
}

impl FromStr for PortNameEdit {
    type Err = NameError;
    fn from_str(given: &str) -> Result<Self, NameError> {
        let error = |kind, given: &str, why: &str| NameError { kind, given: given.chars().take(80).collect(), why: why.to_owned() };
        let (name, port) = match (given.split_once('='), given.strip_suffix('-')) {
            (Some((name, port)), _) => (name, Some(port)),
            (None, Some(name)) => (name, None),
            (None, None) => {
                return Err(error("port name", given, "has no port; write it as NAME=PORT[/PROTO], or as NAME- to take it away"));
            }
        };
        if !is_port_name(name) {
            return Err(error("port name", name, "is none; use 1 to 15 of a-z, 0-9 and single '-' between them, at least one a letter"));
        }
        let Some(port) = port else {
            return Ok(Self { name: name.to_owned(), port: None });
        };
        let (number, protocol) = port.split_once('/').map_or((port, None), |(number, protocol)| (number, Some(protocol)));
        let protocol = match protocol.map(Protocol::from_str) {
            None => Protocol::Tcp,
            Some(Ok(protocol)) => protocol,
            Some(Err(why)) => return Err(NameError { kind: why.kind, given: why.given, why: why.why }),
        };
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        match number.parse() {
            Ok(port) if is_number && port > 0 => Ok(Self { name: name.to_owned(), port: Some(NamedPort { port, protocol }) }),
            _ => Err(error("port", number, "is none; ports go from 1 to 65535")),
        }
    }
}

#[cfg(test)]
mod tests {
    //! What is taken, and the words where it is not.

    use super::*;

    #[test]
    fn a_port_gets_a_name_or_loses_it() {
        let edit = |name: &str, port| Ok(PortNameEdit { name: name.to_owned(), port });
        let port = |port, protocol| Some(NamedPort { port, protocol });
        assert_eq!("http=80".parse(), edit("http", port(80, Protocol::Tcp)));
        assert_eq!("dns-1=53/udp".parse(), edit("dns-1", port(53, Protocol::Udp)));
        assert_eq!("m3ua=65535/SCTP".parse(), edit("m3ua", port(65_535, Protocol::Sctp)));
        assert_eq!("http-".parse(), edit("http", None));
    }

    #[test]
    fn a_wrong_one_says_which_part_is_wrong() {
        for (given, said) in [
            ("", r#"port name "" has no port; write it as NAME=PORT[/PROTO], or as NAME- to take it away"#),
            ("http", r#"port name "http" has no port"#),
            ("=80", r#"port name "" is none"#),
            ("-", r#"port name "" is none"#),
            ("80=80", r#"port name "80" is none; use 1 to 15 of a-z"#),
            ("a--b=80", r#"port name "a--b" is none"#),
            ("HTTP-", r#"port name "HTTP" is none"#),
            ("http=", r#"port "" is none; ports go from 1 to 65535"#),
            ("http=0", r#"port "0" is none"#),
            ("http=+80", r#"port "+80" is none"#),
            ("http=65536", r#"port "65536" is none"#),
            ("http=80-90", r#"port "80-90" is none"#),
            ("http=80/icmp", r#"protocol "icmp" is none; use tcp, udp or sctp"#),
            ("http=80/", r#"protocol "" is none"#),
        ] {
            let why = given.parse::<PortNameEdit>().expect_err(given).to_string();
            assert!(why.contains(said), "{given:?}: {why}");
        }
    }
}
