//! The Unix socket: `DATA_DIR/quell.sock`, 0660 with the group `quell` where there is one, else 0600.
//!
//! Only whoever holds the directory's lock calls [`bind`], so a socket file found there is a dead one.

use super::Listener;
use rustix::fs::{Gid, Mode, chown};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// The socket cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("the socket `{path}` cannot be opened")]
pub(crate) struct SocketError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Listens at `path`. Must be called on the runtime.
pub(crate) fn bind(path: &Path, group: &str) -> Result<Listener, SocketError> {
    let wrong = |source: io::Error| SocketError { path: path.to_owned(), source };
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(wrong(e)),
    }
    // Nobody connects between bind and chmod: the file is born closed.
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = listener.map_err(wrong)?;
    if let Some(gid) = std::fs::read_to_string("/etc/group").ok().and_then(|groups| gid_of(group, &groups)) {
        let gid = Gid::from_raw(gid);
        // Without CAP_CHOWN (a user's own daemon) the socket stays the owner's alone.
        if chown(path, None, Some(gid)).is_ok() {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(wrong)?;
            if let Some(dir) = path.parent() {
                // Members must pass through the directory to reach the socket; they still cannot look around.
                pass_through(dir, gid).map_err(wrong)?;
            }
        }
    }
    Ok(Listener::Socket(listener))
}

fn pass_through(dir: &Path, gid: Gid) -> io::Result<()> {
    let mode = std::fs::metadata(dir)?.permissions().mode();
    if mode & 0o001 != 0 {
        return Ok(());
    }
    chown(dir, None, Some(gid))?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode((mode & 0o700) | 0o010))
}

/// The group's id in the text of /etc/group.
fn gid_of(name: &str, groups: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let groups = "root:x:0:\nquells:x:7:ana\nquell:x:990:ana,bo\n";
        assert_eq!(gid_of("quell", groups), Some(990));
        assert_eq!(gid_of("que", groups), None);
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_the_new_one_is_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("quell.sock");
        drop(bind(&path, "no-such-group-here").unwrap());
        let _listener = bind(&path, "no-such-group-here").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
