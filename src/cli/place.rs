//! Where the daemon's directory is, when nobody says.

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
        None if rustix::process::geteuid().is_root() || Path::new(SYSTEM).join(SOCKET).exists() => SYSTEM.into(),
        None => of_user(),
    }
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
