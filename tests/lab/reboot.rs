//! A reboot of the private host: all that lives in the kernel or on tmpfs is gone, the disk stays, and the boot has another id.
//! Never removes what a reboot would keep.

use std::fs;

use crate::{Lab, UPLINK};

/// Where the kernel tells its boot's id.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

impl Lab {
    /// Loses power, and starts again with netd.
    #[track_caller]
    pub fn reboots(&self) {
        self.netd().kill9();
        for link in self.here().links() {
            if link != "lo" && link != UPLINK && self.here().links().contains(&link) {
                self.here().run("ip", &["link", "del", &link]);
            }
        }
        self.here().run("nft", &["flush", "ruleset"]);
        for name in self.here().run("ip", &["netns", "list"]).lines().filter_map(|line| line.split_whitespace().next()) {
            self.here().run("ip", &["netns", "del", name]);
        }
        for dir in ["/run/netd", "/sys/fs/bpf/netd"] {
            let _ = fs::remove_dir_all(self.host().path(dir));
        }
        let id = self.host().scratch.path().join("boot_id");
        fs::write(&id, "11111111-2222-3333-4444-555555555555\n").expect("the scratch directory can be written");
        self.here().run("mount", &["--bind", id.to_str().expect("a plain path"), BOOT_ID]);
        self.sysctls_as_at_boot();
        self.netd().start();
    }
}
