//! The help of every command names its options, and wrong values are refused in the parsers' own words.

use clap::{Command, CommandFactory as _, Parser as _, error::ErrorKind};

use super::*;

/// Every command with the words that lead to it.
fn commands(command: &Command, words: &str, all: &mut Vec<(String, Command)>) {
    all.push((words.to_owned(), command.clone()));
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        commands(below, &format!("{words} {}", below.get_name()), all);
    }
}

fn every_command() -> Vec<(String, Command)> {
    let mut built = Cli::command();
    built.build();
    let mut all = Vec::new();
    commands(&built, "netctl", &mut all);
    all
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn there_are_these_commands() {
    let words: Vec<String> = every_command().into_iter().map(|(words, _)| words).collect();
    let expected = "netctl|netctl status|netctl network|netctl network create|netctl network ls|netctl network inspect|netctl network rm|\
        netctl network prune|netctl network connect|netctl network disconnect|netctl container|netctl container create|\
        netctl container attach|netctl container set|netctl container ls|netctl container inspect|netctl container rm|\
        netctl container exec|netctl publish|netctl unpublish|netctl ports|netctl policy|netctl policy apply|netctl policy ls|\
        netctl policy get|netctl policy rm|netctl policy advise|netctl flows|netctl plan|netctl cleanup|netctl cni|\
        netctl cni install|netctl cni uninstall|netctl completion|netctl man";
    assert_eq!(words.join("|"), expected);
}

#[test]
fn the_help_of_every_command_says_what_it_does_and_names_its_options() {
    for (words, mut command) in every_command() {
        assert!(command.get_about().is_some(), "{words} does not say what it does");
        let help = command.render_long_help().to_string();
        for argument in command.get_arguments() {
            let name = argument
                .get_long()
                .map_or_else(|| argument.get_value_names().unwrap_or_default()[0].to_string(), |long| format!("--{long}"));
            assert!(help.contains(&name), "{words} --help does not name {name}:\n{help}");
            assert!(argument.get_help().is_some(), "{words} does not say what {name} is for");
        }
        for below in command.get_subcommands() {
            assert!(help.contains(below.get_name()), "{words} --help does not name {}", below.get_name());
        }
    }
}

#[test]
fn options_of_later_features_are_absent() {
    for typed in ["network create web --no-dns", "container attach web --pid 7 --cgroup /x"] {
        assert_eq!(refused(typed).kind(), ErrorKind::UnknownArgument, "{typed}");
    }
    for typed in ["events", "trace", "why a b", "doctor", "stats", "top"] {
        assert_eq!(refused(typed).kind(), ErrorKind::InvalidSubcommand, "{typed}");
    }
}

#[test]
fn wrong_values_are_refused_in_the_parsers_own_words() {
    for (typed, said) in [
        ("network create Web_1/x", r#"network name "Web_1/x" is none; use 1 to 63"#),
        ("network create web --subnet 10.4.0.1/24", r#"subnet "10.4.0.1/24" has host bits set; did you mean 10.4.0.0/24?"#),
        ("network create web --subnet 127.0.0.0/8", "is reserved for another use"),
        ("network create web --gateway here", "invalid IP address"),
        ("network create web --mtu 40", "40 is not in 68..=65535"),
        ("network create web --driver macvlan", "[possible values: bridge]"),
        ("network create web --routed=5", "[possible values: 4, 6, both]"),
        ("network create web --bridge all", r#"interface name "all" is none"#),
        ("network create web --label a", "write it as KEY=VALUE"),
        ("network connect web c --mac ff:ff:ff:ff:ff:ff", "is a group address"),
        ("container create a/b", r#"container id "a/b" is none"#),
        ("container create web --namespace Prod", r#"namespace "Prod" is none"#),
        ("container create web -p 70000:80", r#"port "70000" is out of range"#),
        ("container create web -p 8000-8009:80", "both ranges must be of the same length"),
        ("container create web --guard maybe", "[possible values: on, off]"),
        ("container create web --allow-address 10.4.0.1/24", "has host bits set; did you mean 10.4.0.0/24?"),
        ("container set web --port-name http", "write it as NAME=PORT[/PROTO], or as NAME- to take it away"),
        ("container set web --port-name http=0", "ports go from 1 to 65535"),
        ("policy get Web", r#"policy name "Web" is none"#),
        ("policy rm a/b/c", r#"policy name "a/b/c" is none"#),
        ("flows --verdict denied", "[possible values: forward, drop, reject, audit]"),
        ("flows --since yesterday", r#"time "yesterday" is none; write it as 30s, 10m, 2h, 3d or 2026-11-27T09:12:01Z"#),
        ("flows --container a/b/c", r#"container name "a/b/c" is none"#),
        ("container attach web --pid 0", "0 is not in 1..=2147483647"),
        ("container attach web --netns web", "is not one from the root"),
        ("publish web 80/icmp", r#"protocol "icmp" is none; use tcp, udp or sctp"#),
        ("publish web 90-80", r#"port "90-80" ends before it begins"#),
    ] {
        let error = refused(typed);
        assert_eq!(error.exit_code(), 2, "{typed}");
        assert!(error.to_string().contains(said), "{typed}: {error}");
    }
}

#[test]
fn what_is_missing_or_too_much_is_refused() {
    for (typed, kind) in [
        ("container attach web", ErrorKind::MissingRequiredArgument),
        ("container attach web --pid 7 --netns /run/netns/x", ErrorKind::ArgumentConflict),
        ("container set web", ErrorKind::MissingRequiredArgument),
        ("container exec web", ErrorKind::MissingRequiredArgument),
        ("container rm", ErrorKind::MissingRequiredArgument),
        ("network rm", ErrorKind::MissingRequiredArgument),
        ("network create", ErrorKind::MissingRequiredArgument),
        ("policy apply", ErrorKind::MissingRequiredArgument),
        ("policy rm", ErrorKind::MissingRequiredArgument),
        ("policy get a/b c/d", ErrorKind::UnknownArgument),
        ("policy advise", ErrorKind::MissingRequiredArgument),
        ("flows web", ErrorKind::UnknownArgument),
        ("publish web", ErrorKind::MissingRequiredArgument),
        ("-o yaml status", ErrorKind::InvalidValue),
    ] {
        assert_eq!(refused(typed).kind(), kind, "{typed}");
    }
}

#[test]
fn the_global_options_stand_before_or_after_the_command() {
    for typed in ["--socket /tmp/s -o json status", "status --socket /tmp/s -o json", "network --socket /tmp/s ls -o json"] {
        let cli = Cli::try_parse_from(words(typed)).unwrap();
        assert_eq!((cli.global.socket.to_str(), cli.global.output), (Some("/tmp/s"), Output::Json), "{typed}");
    }
}

fn refused(typed: &str) -> clap::Error {
    Cli::try_parse_from(words(typed)).expect_err(typed)
}

fn words(typed: &str) -> impl Iterator<Item = &str> {
    ["netctl"].into_iter().chain(typed.split(' '))
}
