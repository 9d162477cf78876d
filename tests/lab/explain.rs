//! What the lab prints when a story fails: all that one would look at by hand. Never panics itself.

use std::process::Stdio;

use crate::{daemon::Netd, host::Host};

/// How much of netd's log is shown, in lines.
const LOG_TAIL: usize = 60;

/// The whole picture of a host.
pub(crate) fn explain(host: &Host, netd: &Netd) -> String {
    let looks: [&[&str]; 9] = [
        &["ip", "-details", "-brief", "link"],
        &["ip", "-brief", "address"],
        &["ip", "route"],
        &["ip", "-6", "route"],
        &["ip", "neighbour"],
        &["nft", "list", "ruleset"],
        &["conntrack", "--dump"],
        &["find", "/sys/fs/bpf", "/run/netns", "/run/netd"],
        &["bpftool", "map", "list", "pinned", "/sys/fs/bpf/netd"],
    ];
    let mut page = String::from("\n──── the host when the story failed ────\n");
    for look in looks {
        page += &format!("$ {}\n{}", look.join(" "), said(host, look));
    }
    let log = netd.log();
    let lines: Vec<&str> = log.lines().collect();
    page += &format!("──── netd's log ────\n{}\n", lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n"));
    page + &format!("──── to look around (with NETD_LAB_KEEP=1 the host stays) ────\n{}\n", host.entry_line())
}

fn said(host: &Host, look: &[&str]) -> String {
    let output = host.command(look[0]).args(&look[1..]).stdin(Stdio::null()).output();
    match output {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        Err(why) => format!("{why}\n"),
    }
}
