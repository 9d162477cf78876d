//! Which boot and which network namespace the daemon runs in: what the boot's file holds is true there alone. Knows nothing of that file.

use std::{fs, io, os::fd::AsRawFd, os::unix::net::UnixDatagram};

use nix::libc;

/// A text that differs for every boot of the kernel and every network namespace.
///
/// # Errors
/// /proc is not mounted, or no socket can be made.
pub(crate) fn this_boot() -> io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(format!("{} netns {:#x}", boot.trim(), netns_cookie()?))
}

/// The number of our network namespace (SO_NETNS_COOKIE, Linux 5.14): unlike its inode number it is never given again in one boot.
fn netns_cookie() -> io::Result<u64> {
    let socket = UnixDatagram::unbound()?;
    let mut cookie = 0_u64;
    let mut size = libc::socklen_t::try_from(size_of_val(&cookie)).map_err(io::Error::other)?;
    // SAFETY: the kernel writes at most `size` bytes, which is the size of `cookie`, and both live until it returns.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NETNS_COOKIE, (&raw mut cookie).cast(), &raw mut size) };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::this_boot;

    #[test]
    fn the_boot_is_the_same_when_asked_twice() {
        let boot = this_boot().expect("/proc is there");
        assert_eq!(boot, this_boot().expect("/proc is there"));
        assert!(boot.len() > 36 + " netns 0x".len(), "{boot}");
    }
}
