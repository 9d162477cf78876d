//! Watches sysctls as files, for those that do not notify. A file that the kernel has dropped from its cache meanwhile is not heard; the slow check finds it.

use std::{
    collections::HashMap,
    os::fd::{AsFd, AsRawFd, RawFd},
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use crate::kernel::{KernelError, expected::Expected, sysctl};

/// The last parts of the keys that rtnetlink notifies of (RTM_NEWNETCONF); they need no watch.
const HEARD_ELSEWHERE: [&str; 4] = ["/forwarding", "/rp_filter", "/proxy_arp", "/force_forwarding"];

/// The watched files.
pub(super) struct Files {
    inotify: Inotify,
    by_key: HashMap<String, WatchDescriptor>,
    by_watch: HashMap<WatchDescriptor, String>,
}

impl Files {
    pub(super) fn open() -> Result<Self, KernelError> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        Ok(Self { inotify, by_key: HashMap::new(), by_watch: HashMap::new() })
    }

    /// Watches the files that are expected now, and no others.
    pub(super) fn watch(&mut self, expected: &Expected) {
        for (key, is_expected) in expected.take_changes() {
            if !is_expected {
                if let Some(watch) = self.by_key.remove(&key) {
                    self.by_watch.remove(&watch);
                    let _ended_with_its_interface = self.inotify.rm_watch(watch);
                }
            } else if !is_heard(&key)
                // None to watch, or none left to give (fs.inotify.max_user_watches): the slow check looks at it. The same file again is the same watch.
                && let Ok(watch) = self.inotify.add_watch(sysctl::path(&key).as_str(), AddWatchFlags::IN_MODIFY)
            {
                self.by_watch.insert(watch, key.clone());
                if let Some(before) = self.by_key.insert(key, watch).filter(|before| *before != watch) {
                    self.by_watch.remove(&before);
                    let _ended_with_its_interface = self.inotify.rm_watch(before);
                }
            }
        }
    }

    /// What was written and is not as expected.
    pub(super) fn hear(&mut self, expected: &Expected) -> Vec<String> {
        let mut news = Vec::new();
        while let Ok(events) = self.inotify.read_events() {
            let keys = events.iter().filter_map(|event| self.by_watch.get(&event.wd));
            news.extend(keys.filter_map(|key| differs(key, expected)));
        }
        news
    }
}

impl AsRawFd for Files {
    fn as_raw_fd(&self) -> RawFd {
        self.inotify.as_fd().as_raw_fd()
    }
}

/// Whether rtnetlink notifies of a sysctl.
pub(super) fn is_heard(key: &str) -> bool {
    HEARD_ELSEWHERE.iter().any(|end| key.ends_with(end))
}

/// What to say of a sysctl that is not as expected.
pub(super) fn differs(key: &str, expected: &Expected) -> Option<String> {
    let should = expected.value(key)?;
    let is = sysctl::read(key).ok().flatten()?;
    (is != should).then(|| format!("sysctl {key} is {is} instead of {should}"))
}
