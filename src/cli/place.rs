//! Where the daemon's directory is, when nobody says.

use std::io;
use std::path::{Path, PathBuf};

/// Of a system-wide installation.
pub(crate) const SYSTEM: &str = "/var/lib/quell";

/// The name of the socket in the data directory.
pub(crate) const SOCKET: &str = "quell.sock";

/// Where a daemon of this user keeps its data.
pub(crate) fn for_daemon() -> PathBuf {
    if rustix::process::geteuid().is_root() { PathBuf::from(SYSTEM) } else { of_user() }
}

/// Where a client looks: the system's daemon if there is one, else the user's own.
pub(crate) fn for_client(given: Option<&Path>) -> PathBuf {
    match given {
        Some(dir) => dir.to_owned(),
        None if rustix::process::geteuid().is_root() => SYSTEM.into(),
        None => {
            let (system, own) = (Path::new(SYSTEM), of_user());
            let systems = is_the_systems(system.join(SOCKET).try_exists(), own.join(SOCKET).exists());
            if systems { system.to_owned() } else { own }
        }
    }
}

/// Whether a user's client goes to the system's daemon. Who may not look there does not know that there is none.
fn is_the_systems(is_there: io::Result<bool>, has_own: bool) -> bool {
    is_there.unwrap_or(!has_own)
}

fn of_user() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("XDG_STATE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .map_or_else(|| PathBuf::from(SYSTEM), |state| state.join("quell"))
}

/// Wrong usage unless all of these paths are there.
pub(super) fn must_exist<'a, P: AsRef<Path> + ?Sized + 'a>(
    paths: impl IntoIterator<Item = &'a P>,
) -> Result<(), super::Fail> {
    match paths.into_iter().map(AsRef::as_ref).find(|path| !path.exists()) {
        Some(path) => Err(super::Fail::usage(format!("there is nothing at `{}`", path.display()))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_not_look_takes_the_systems_daemon_for_none_only_beside_their_own() {
        let closed = || Err(io::ErrorKind::PermissionDenied.into());
        assert!(is_the_systems(closed(), false));
        assert!(!is_the_systems(closed(), true));
        assert!(is_the_systems(Ok(true), true));
        assert!(!is_the_systems(Ok(false), false));
    }
}
