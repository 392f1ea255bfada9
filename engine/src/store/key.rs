//! The installation's own key, under which the marks of messages are made: a message of before a restart still counts after it.
//!
//! Owns the file `marks.key`. Never shows the key, and never takes one that others can read. Keeps true: the file is whole or not
//! there; where it cannot be had the caller hears why.

use rustix::fs::{AtFlags, CWD, linkat};
use rustix::rand::{GetRandomFlags, getrandom};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

const NAME: &str = "marks.key";

/// Reads the key of this data directory, and makes it where there is none.
///
/// # Errors
/// It can be neither read nor made, or is none.
pub fn marks_key(dir: &Path) -> io::Result<[u8; 32]> {
    match read(&dir.join(NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(dir),
        read => read,
    }
}

/// A key that ends with this process.
///
/// # Errors
/// The kernel has no random bytes.
pub fn fleeting_key() -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    let mut filled = 0;
    while filled < key.len() {
        filled += getrandom(&mut key[filled..], GetRandomFlags::empty())?;
    }
    Ok(key)
}

fn read(path: &Path) -> io::Result<[u8; 32]> {
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    // What is no file is not waited for.
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(nofollow | nonblock).open(path)?;
    let found = file.metadata()?;
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    if !found.is_file() || found.uid() != rustix::process::geteuid().as_raw() {
        return Err(wrong("it is no file of whoever runs quell; hint: delete it"));
    }
    if found.mode() & 0o077 != 0 {
        return Err(wrong(
            "others can read it; hint: delete it, and the next start makes another: buttons and links of before count no more",
        ));
    }
    let mut key = Vec::new();
    file.read_to_end(&mut key)?;
    key.try_into().map_err(|_| wrong("it is no key of 32 bytes; hint: delete it"))
}

fn make(dir: &Path) -> io::Result<[u8; 32]> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let (key, path, new) = (fleeting_key()?, dir.join(NAME), dir.join(format!("{NAME}.new")));
    // What a start left that was killed here.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&key)?;
    file.sync_all()?;
    // Whoever was first has made it.
    let linked = linkat(CWD, &new, CWD, &path, AtFlags::empty());
    std::fs::remove_file(&new)?;
    match linked {
        Ok(()) => std::fs::File::open(dir)?.sync_all()?,
        Err(rustix::io::Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    read(&path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_one_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("data");
        let key = marks_key(&dir).unwrap();
        assert_eq!(marks_key(&dir).unwrap(), key);
        assert_ne!(fleeting_key().unwrap(), key);
        let file = dir.join(NAME);
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(marks_key(&dir).unwrap_err().to_string().contains("others can read it"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&file, "short").unwrap();
        assert!(marks_key(&dir).unwrap_err().to_string().contains("32 bytes"));
    }
}
