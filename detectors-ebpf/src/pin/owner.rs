//! Whose the pins are: a data directory, told apart from others that are called the same.
//!
//! ```text
//! owner → DEVICE:INODE@NAMESPACE /var/lib/quell        a `-` for a directory that was not there yet
//! ```
//!
//! Keeps true: two containers that call their data directory the same are two owners; a directory that was moved, or is
//! seen from a new container, is the same one; what cannot be judged from here (a path in another mount namespace) stands.
//! Pins end with the boot, and so device and inode are name enough.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Owner {
    /// The data directory, as its daemon calls it.
    pub(super) path: PathBuf,
    /// Device and inode of it, where it was there.
    place: Option<String>,
    /// In which mount namespace the path holds; none where an earlier quell did not say.
    namespace: Option<String>,
}

impl Owner {
    /// Whose data is in this directory, seen from here.
    pub(super) fn of(dir: &Path) -> Self {
        let path = resolved(dir);
        Self { place: place(&path), namespace: Some(namespace()), path }
    }

    /// From the text of a link.
    pub(super) fn read(text: &Path) -> Self {
        let bytes = text.as_os_str().as_bytes();
        let whole = |path: &[u8]| PathBuf::from(OsString::from_vec(path.to_vec()));
        let parts = bytes.iter().position(|byte| *byte == b' ').map(|at| (&bytes[..at], &bytes[at + 1..]));
        match parts.and_then(|(head, path)| Some((std::str::from_utf8(head).ok()?.split_once('@')?, path))) {
            Some(((place, namespace), path)) if !bytes.starts_with(b"/") => Self {
                path: whole(path),
                place: (place != "-").then(|| place.to_owned()),
                namespace: Some(namespace.to_owned()),
            },
            _ => Self { path: whole(bytes), place: None, namespace: None },
        }
    }

    /// For a link.
    pub(super) fn text(&self) -> OsString {
        let (place, namespace) = (self.place.as_deref().unwrap_or("-"), self.namespace.as_deref().unwrap_or("-"));
        let mut text = OsString::from(format!("{place}@{namespace} "));
        text.push(OsStr::new(&self.path));
        text
    }

    /// Whether this, seen from here, is the one that was written down.
    pub(super) fn is(&self, known: &Self) -> bool {
        match (&self.place, &known.place) {
            (Some(own), Some(place)) => own == place,
            // It was not there, or an earlier quell did not say.
            _ => self.path == known.path && known.namespace.as_ref().is_none_or(|n| self.namespace.as_ref() == Some(n)),
        }
    }

    /// Whether it is there still, or cannot be asked about from here.
    pub(super) fn stands(&self) -> bool {
        if self.namespace.as_ref().is_some_and(|namespace| *namespace != self::namespace()) {
            return true;
        }
        match &self.place {
            Some(known) => match fs::metadata(&self.path) {
                Ok(meta) => format!("{}:{}", meta.dev(), meta.ino()) == *known,
                Err(error) => error.kind() != std::io::ErrorKind::NotFound,
            },
            None => self.path.try_exists().unwrap_or(true),
        }
    }
}

fn place(path: &Path) -> Option<String> {
    fs::metadata(path).ok().map(|meta| format!("{}:{}", meta.dev(), meta.ino()))
}

fn namespace() -> String {
    let link = fs::read_link("/proc/self/ns/mnt").unwrap_or_default();
    let text = link.to_string_lossy();
    text.strip_prefix("mnt:[").and_then(|text| text.strip_suffix(']')).unwrap_or("-").to_owned()
}

/// The same directory is written in the same way, wherever it is named from, and before it is made.
fn resolved(owner: &Path) -> PathBuf {
    let whole = std::path::absolute(owner).unwrap_or_else(|_| owner.to_owned());
    let real = whole.ancestors().find_map(|above| Some((above, fs::canonicalize(above).ok()?)));
    match real.and_then(|(above, real)| Some((real, whole.strip_prefix(above).ok()?))) {
        // `join` of nothing would end with a slash.
        Some((real, rest)) if rest.as_os_str().is_empty() => real,
        Some((real, rest)) => real.join(rest),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_is_not_the_same_directory() {
        let at = tempfile::tempdir().unwrap();
        let dir = at.path().join("data with a space");
        let before = Owner::of(&dir);
        fs::create_dir(&dir).unwrap();
        let known = Owner::read(Path::new(&Owner::of(&dir).text()));
        assert!(Owner::of(&dir).is(&known) && known.stands() && known == Owner::of(&dir));
        assert!(Owner::of(&dir).is(&Owner::read(Path::new(&before.text()))), "it was not made yet");
        // Another directory that is called so in another container.
        let there = Owner { place: Some("7:9".into()), namespace: Some("1".into()), ..known.clone() };
        assert!(!Owner::of(&dir).is(&there) && there.stands(), "it cannot be judged from here");
        let unmade = Owner { place: None, ..there };
        assert!(!Owner::of(&dir).is(&unmade));
        // The same one, seen from a new container, and after it was moved.
        assert!(Owner::of(&dir).is(&Owner { namespace: Some("1".into()), ..known.clone() }));
        let moved = at.path().join("moved");
        fs::rename(&dir, &moved).unwrap();
        assert!(Owner::of(&moved).is(&known) && !known.stands());
        // One that took its place is another, and the former is gone.
        fs::create_dir(&dir).unwrap();
        assert!(!Owner::of(&dir).is(&known) && !known.stands());
        // As an earlier quell wrote it.
        assert!(Owner::of(&dir).is(&Owner::read(&fs::canonicalize(&dir).unwrap())));
    }
}
