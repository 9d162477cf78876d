//! The socket's file: made for those who may ask, never taken from a daemon that still listens there.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _, chown},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How long what a killed daemon left behind may take to end; far more than an exec.
const ENDING: Duration = Duration::from_secs(1);
/// Its members may ask; where it exists.
const GROUP: &str = "netd";

/// The socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody answers there.
    #[error("another netd listens on {socket}; stop it, or choose another socket (--socket)", socket = .0.display())]
    Taken(PathBuf),
    /// Something lies there that is not ours to remove.
    #[error("cannot listen on {socket}: it exists and is no socket; remove it, or choose another socket (--socket)", socket = .0.display())]
    NoSocket(PathBuf),
    /// The file system refused.
    #[error("cannot listen on {socket}: cannot {what}: {cause}", socket = .socket.display())]
    Refused {
        /// Where.
        socket: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why not.
        cause: io::Error,
    },
}

/// Listens at `path`, for root and the group netd.
///
/// # Errors
/// See [`ListenError`].
pub fn listen(path: &Path) -> Result<UnixListener, ListenError> {
    listen_for(path, group(&fs::read_to_string("/etc/group").unwrap_or_default(), GROUP))
}

fn listen_for(path: &Path, group: Option<u32>) -> Result<UnixListener, ListenError> {
    let refused = |what| move |cause| ListenError::Refused { socket: path.to_owned(), what, cause };
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(refused("make its directory"))?;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(ListenError::NoSocket(path.to_owned())),
        Ok(_) => match knock(path) {
            // A daemon that was killed leaves its socket behind, and nobody listens.
            Err(why) if why.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(refused("remove the stale one"))?,
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(why) => return Err(refused("find out whether anybody listens there")(why)),
            Ok(_) => return Err(ListenError::Taken(path.to_owned())),
        },
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(refused("bind it"))?;
    // Until here only the umask guards it: with the usual 0022 nobody else can connect, as that takes write permission (unix(7)).
    let mode = |mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(refused("set its mode"));
    mode(0o600)?;
    if let Some(group) = group {
        chown(path, None, Some(group)).map_err(refused("give it to the group netd"))?;
        mode(0o660)?;
    }
    listener.set_nonblocking(true).map_err(refused("make it non-blocking"))?;
    Ok(listener)
}

/// Whether somebody listens. Asked again for a moment: a process that a killed daemon was just starting holds a copy of its socket
/// until it becomes another program.
fn knock(path: &Path) -> io::Result<UnixStream> {
    let start = Instant::now();
    loop {
        let answer = UnixStream::connect(path);
        if answer.is_err() || start.elapsed() > ENDING {
            return answer;
        }
        thread::sleep(ENDING / 20);
    }
}

/// A group's number in the text of group(5).
fn group(groups: &str, name: &str) -> Option<u32> {
    let fields = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields.into_iter().find(|fields| fields.first() == Some(&name))?.get(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    //! Tests of the socket's file.

    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("below/netd.sock");
        let first = listen_for(&path, None).expect("nobody is there");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let taken = listen_for(&path, None).expect_err("the first one listens");
        assert!(taken.to_string().starts_with("another netd listens on "), "{taken}");
        drop(first);
        listen_for(&path, None).expect("it is stale now");
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("netd.sock");
        fs::write(&path, "a letter").expect("the directory can be written");
        assert!(matches!(listen_for(&path, None), Err(ListenError::NoSocket(_))));
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "a letter");
    }

    #[test]
    fn the_group_comes_from_the_groups_file() {
        let groups = "root:x:0:\nnetdata:x:998:\nnetd:x:997:alice\n";
        assert_eq!(group(groups, "netd"), Some(997));
        assert_eq!(group(groups, "wheel"), None);
        assert_eq!(group("netd", "netd"), None);
    }
}
