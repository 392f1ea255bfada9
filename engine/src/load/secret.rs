//! Where a secret's value is, and the reading of it.
//!
//! Reads when it is asked, so that a value that was changed is the changed one. Keeps true: why one cannot be read names
//! its place, if there is such a place, and never a part of it.

use quell_model::Secret;
use rustix::fs::OFlags;
use std::env::VarError;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// No secret is longer, in bytes: keys and certificates are shorter.
const LONGEST: u64 = 64 << 10;

/// Where a value is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SecretFrom {
    /// In this variable of the environment.
    Env(String),
    /// In this file, which only its owner can read.
    File(PathBuf),
    /// Here: in tests of playbooks.
    Fixed(Secret),
    /// Nowhere, for this reason: in tests of playbooks.
    Nowhere(String),
}

impl SecretFrom {
    /// The value as it is now.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub fn read(&self) -> Result<Secret, String> {
        let text = match self {
            Self::Env(name) => variable(name)?,
            Self::File(path) => file(path)?,
            Self::Fixed(secret) => return Ok(secret.clone()),
            Self::Nowhere(why) => return Err(why.clone()),
        };
        Ok(Secret::new(text))
    }

    /// Whether what is written is a place, and may be shown: a variable's name in the form that they have or of one that
    /// is there, or the path of something that is there. Else somebody may have written the value itself.
    #[must_use]
    pub fn is_a_place(&self) -> bool {
        match self {
            Self::Env(name) => !name.contains(|c: char| c.is_ascii_lowercase()) || is_set(name),
            Self::File(path) => path.symlink_metadata().is_ok(),
            Self::Fixed(_) | Self::Nowhere(_) => false,
        }
    }
}

pub(crate) fn is_set(name: &str) -> bool {
    #[expect(clippy::disallowed_methods, reason = "whether there is such a variable says whether it is a name")]
    let found = std::env::var_os(name);
    found.is_some()
}

fn variable(name: &str) -> Result<String, String> {
    #[expect(clippy::disallowed_methods, reason = "quell.yaml says that the value is there")]
    let found = std::env::var(name);
    match found {
        Ok(text) if text.is_empty() => Err(format!("the environment variable `{name}` is empty")),
        Ok(text) => Ok(text),
        // The error itself would show the value.
        Err(VarError::NotUnicode(_)) => Err(format!("the environment variable `{name}` is no UTF-8")),
        // What is not there may be no name: somebody wrote the value itself.
        Err(VarError::NotPresent) => {
            Err("there is no environment variable of the name that its `env` gives; hint: `env` takes a name, never the value".to_owned())
        }
    }
}

fn file(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let cannot = |error: std::io::Error| format!("`{shown}` cannot be read: {error}");
    // A pipe does not hold anybody up.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| match error.kind() {
        // What is not there may be no path: somebody wrote the value itself.
        ErrorKind::NotFound | ErrorKind::InvalidFilename | ErrorKind::InvalidInput | ErrorKind::NotADirectory => {
            "there is no file at the path that its `file` gives; hint: `file` takes a path, never the value".to_owned()
        }
        _ => cannot(error),
    })?;
    let found = opened.metadata().map_err(cannot)?;
    if !found.is_file() {
        return Err(format!("`{shown}` is no file"));
    }
    let me = rustix::process::geteuid().as_raw();
    if found.uid() != 0 && found.uid() != me {
        return Err(format!("`{shown}` belongs to user {}; hint: chown root {shown}", found.uid()));
    }
    if found.mode() & 0o077 != 0 {
        return Err(format!("others than its owner can read or write `{shown}`; hint: chmod 600 {shown}"));
    }
    let mut bytes = Vec::new();
    opened.take(LONGEST + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > LONGEST {
        return Err(format!("`{shown}` is larger than {LONGEST} bytes"));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| format!("`{shown}` is no UTF-8"))?;
    // Editors and `echo` end a file with a line's end, which is no part of it.
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    if text.is_empty() {
        return Err(format!("`{shown}` is empty"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_read_as_it_is_now_and_only_if_nobody_else_can() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ci");
        let from = SecretFrom::File(path.clone());
        let why = |from: &SecretFrom| from.read().unwrap_err();
        assert!(why(&from).starts_with("there is no file") && !why(&from).contains("ci"), "{}", why(&from));
        std::fs::write(&path, "hunter2\n").unwrap();
        for mode in [0o644, 0o640, 0o604, 0o622] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(why(&from).ends_with(&format!("hint: chmod 600 {}", path.display())), "{}", why(&from));
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(from.read().unwrap().expose(), "hunter2");
        std::fs::write(&path, "two lines\nof it\r\n").unwrap();
        assert_eq!(from.read().unwrap().expose(), "two lines\nof it");
        for (bytes, what) in [
            (&b"\n"[..], "is empty"),
            (&b"hunter2\xff"[..], "is no UTF-8"),
            (&[b'a'; LONGEST as usize + 1][..], "is larger"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert!(why(&from).contains(what) && !why(&from).contains("hunter2"), "{}", why(&from));
        }
        assert!(why(&SecretFrom::File(dir.path().to_owned())).contains("is no file"));
        for none in ["ci/hunter2", "hunter2\0", "hunter2"] {
            let from = SecretFrom::File(dir.path().join(none));
            assert!(why(&from).starts_with("there is no file") && !from.is_a_place(), "{}", why(&from));
        }
        assert!(from.is_a_place());
    }

    #[test]
    fn what_may_be_the_value_is_no_place() {
        for (name, is_a_place) in [("CI_TOKEN", true), ("hunter2", false), ("HOME", true)] {
            assert_eq!(SecretFrom::Env(name.into()).is_a_place(), is_a_place, "{name}");
        }
    }

    #[test]
    fn a_variable_that_is_not_there_is_not_named() {
        // Cargo sets it for every test.
        assert_eq!(SecretFrom::Env("CARGO_PKG_NAME".into()).read().unwrap().expose(), "quell-engine");
        let none = SecretFrom::Env("QUELL_TEST_NO_SUCH_SECRET".into()).read().unwrap_err();
        assert!(
            none.starts_with("there is no environment variable of the name") && !none.contains("NO_SUCH"),
            "{none}"
        );
    }
}
