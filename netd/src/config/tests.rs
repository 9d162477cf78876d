//! Tests of the configuration: defaults, precedence, and complaints that name the line.

use super::*;

fn flags(arguments: &[&str]) -> Flags {
    Flags::try_parse_from(std::iter::once(&"netd").chain(arguments)).expect("good flags")
}

fn of(text: &str) -> Result<Config, ConfigError> {
    Config::of(&Flags::default(), Path::new("/etc/netd/netd.toml"), text)
}

#[track_caller]
fn refused(text: &str) -> String {
    of(text).expect_err("it should have been refused").to_string()
}

#[test]
fn everything_has_a_default() {
    let config = of("").expect("an empty file");
    assert_eq!(config.socket, Path::new("/run/netd/netd.sock"));
    assert_eq!(config.state_dir, Path::new("/var/lib/netd"));
    assert_eq!(config.run_dir, Path::new("/run/netd"));
    assert_eq!(config.pin_dir, Path::new("/sys/fs/bpf/netd"));
    assert_eq!((config.log_level, config.log_format), (Level::Info, Format::Text));
    assert_eq!((config.check_interval, config.pools), (Duration::from_secs(30), Vec::new()));
}

#[test]
fn the_file_that_is_shipped_says_what_the_defaults_are() {
    let shipped = include_str!("../../../packaging/netd.toml");
    assert_eq!(of(shipped), of(""));
    // With every line of it switched on it is still a good file, and still the same.
    let on: String = shipped.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n").collect();
    let on = of(&on).expect("every example is good");
    let off = of("").expect("an empty file");
    assert_eq!(Config { pools: Vec::new(), ..on.clone() }, off);
    assert_eq!(on.pools, netd_core::ipam::default_v4());
}

#[test]
fn flags_win_over_the_file() {
    let text = "socket = \"/file.sock\"\nrun_dir = \"/file\"\nlog_level = \"debug\"\n[[pools]]\nbase = \"10.0.0.0/8\"\nprefix = 16\n";
    let flags = flags(&["--socket", "/flag.sock", "--pool", "172.30.0.0/16/28,fd00::/48/64", "--check-interval-s", "60"]);
    let config = Config::of(&flags, Path::new(FILE), text).expect("both are good");
    assert_eq!(config.socket, Path::new("/flag.sock"));
    assert_eq!(config.run_dir, Path::new("/file"));
    assert_eq!(config.log_level, Level::Debug);
    assert_eq!(config.check_interval, Duration::from_secs(60));
    let pools: Vec<_> = config.pools.iter().map(|pool| format!("{} {}", pool.base, pool.prefix)).collect();
    assert_eq!(pools, ["172.30.0.0/16 28", "fd00::/48 64"]);
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_one_that_was_meant() {
    let said = refused("# a comment\n\nsokcet = \"/run/x\"\n");
    assert!(said.starts_with("/etc/netd/netd.toml:3: unknown field `sokcet`"), "{said}");
    assert!(said.ends_with("did you mean `socket`?"), "{said}");
    let said = refused("[[pools]]\nbase = \"10.0.0.0/8\"\nprefx = 24\n");
    assert!(said.starts_with("/etc/netd/netd.toml:3: ") && said.ends_with("did you mean `prefix`?"), "{said}");
}

#[test]
fn every_complaint_names_the_line_and_is_one_line() {
    for (text, line, says) in [
        ("socket = 5", 1, "string"),
        ("\nlog_level = \"loud\"", 2, "loud"),
        ("\n\nsocket = \"unfinished", 3, ""),
        ("check_interval_s = 0", 1, "use 1 to 3600"),
        ("socket = \"/a\"\nsocket = \"/b\"", 2, "duplicate"),
        ("\n[[pools]]\nbase = \"10.80.0.0/13\"\nprefix = 8", 2, "use a prefix of 13 to 30"),
        ("\n[[pools]]\nbase = \"10.80.0.1/13\"\nprefix = 24", 2, "did you mean 10.80.0.0/13?"),
        ("[[pools]]\nbase = \"127.0.0.0/8\"\nprefix = 24", 1, "reserved"),
        ("[[pools]]\nbase = \"web\"\nprefix = 24", 2, ""),
    ] {
        let said = refused(text);
        assert!(said.starts_with(&format!("/etc/netd/netd.toml:{line}: ")), "{text:?}: {said}");
        assert!(said.contains(says) && !said.contains('\n'), "{text:?}: {said}");
    }
}

#[test]
fn policy_and_data_path_are_tables_of_their_own() {
    let settings = of("").expect("an empty file").settings();
    let shown = |settings: Settings| (settings.policy_default, settings.fast_path, settings.own_hooks);
    assert_eq!(shown(settings), (ByDefault::Allow, FAST_PATH, OWN_HOOKS));
    let config = of("[policy]\ndefault = \"deny\"\n[datapath]\nfast_path = false\nown_hooks = false\n").expect("all are known");
    assert_eq!(shown(config.settings()), (ByDefault::Deny, false, false));
    assert_eq!(of("[policy]\ndefault = \"allow\"\n").expect("it is known").policy_default, ByDefault::Allow);
    for (text, line, says) in [
        ("[policy]\ndefault = \"reject\"", 2, "`allow` or `deny`"),
        ("[policy]\n\ndefalt = \"deny\"", 3, "did you mean `default`?"),
        ("[datapath]\nfast_pth = true", 2, "unknown field `fast_pth`"),
        ("[datapath]\nfast_path = \"on\"", 2, "boolean"),
        ("[datapth]\n", 1, "did you mean `datapath`?"),
    ] {
        let said = refused(text);
        assert!(said.starts_with(&format!("/etc/netd/netd.toml:{line}: ")) && said.contains(says), "{text:?}: {said}");
    }
}

#[test]
fn policy_and_data_path_need_no_restart() {
    let newer = of("[policy]\ndefault = \"deny\"\n[datapath]\nfast_path = false\nown_hooks = false\n").expect("all are known");
    assert_eq!(of("").expect("an empty file").needs_restart(&newer), [] as [&str; 0]);
}

#[test]
fn pools_that_overlap_are_refused() {
    let said = refused("pools = [{ base = \"10.0.0.0/8\", prefix = 24 }, { base = \"10.80.0.0/13\", prefix = 24 }]");
    assert!(said.contains("10.0.0.0/8 and 10.80.0.0/13 overlap"), "{said}");
}

#[test]
fn a_relative_path_is_refused() {
    assert_eq!(refused("state_dir = \"netd\""), "state_dir: netd is not absolute; begin it with /");
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let flags = flags(&["--config", "/nonexistent/netd.toml"]);
    let said = Config::load(&flags).expect_err("there is none").to_string();
    assert!(said.starts_with("/nonexistent/netd.toml: cannot be read: "), "{said}");
}

#[test]
fn a_pool_on_the_command_line_has_its_form() {
    for bad in ["10.80.0.0/13", "10.80.0.0", "10.80.0.0/13/33", "x/13/24", "10.80.0.0/13/12"] {
        assert!(Flags::try_parse_from(["netd", "--pool", bad]).is_err(), "{bad}");
    }
}

#[test]
fn what_cannot_change_while_it_runs_is_told_apart() {
    let old = of("").expect("an empty file");
    let new = of("socket = \"/x\"\nlog_level = \"debug\"\nlog_format = \"json\"").expect("a good file");
    assert_eq!(old.needs_restart(&new), ["socket", "log_format"]);
    assert_eq!(old.needs_restart(&old), Vec::<&str>::new());
}
