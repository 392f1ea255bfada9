//! Reading definitions from disk, and refusing those that anybody could have written.
//!
//! Whoever can write a playbook can make quell kill and cut what they like. So a file, and the folder that it stands
//! in, must belong to root or to the user who runs quell, and be writable by nobody else. (A ConfigMap's volume seems so, and is not.)

use super::{mounted, script};
use quell_model::{Mistake, Span};
use rustix::fs::{FileType, Mode, Stat};
use std::io;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

/// Definitions are text that people write: no file is larger.
const LARGEST: u64 = 4 * 1024 * 1024;

/// Files and folders that are looked at below one: nobody keeps more beside playbooks, and a whole disk takes minutes.
const MOST_ENTRIES: usize = 100_000;

/// The text of a definition, or why it is not taken.
pub(crate) fn read(path: &Path) -> Result<String, Box<Mistake>> {
    let failed = |error: &io::Error| wrong(path, format!("it cannot be read: {error}"));
    let stat = stat(path).map_err(|error| failed(&error))?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(wrong(path, "it is no file"));
    }
    check(path, &stat)?;
    if u64::try_from(stat.st_size).unwrap_or(0) > LARGEST {
        let mut mistake = wrong(path, format!("it has {} bytes", stat.st_size));
        mistake.expected = Some(format!("text that people write: {} MiB at most", LARGEST >> 20));
        return Err(mistake);
    }
    let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
    String::from_utf8(bytes).map_err(|error| Box::new(no_utf8(path, &error)))
}

/// With the place of the first byte that is none.
fn no_utf8(path: &Path, error: &FromUtf8Error) -> Mistake {
    let good = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
    let line = good.matches('\n').count() + 1;
    let column = good.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let narrow = |number: usize| u32::try_from(number).unwrap_or(0);
    let span = Span { line: narrow(line), column: narrow(column), length: 1 };
    Mistake::error(path, span, "the file is no UTF-8 from here on")
        .expected("text in UTF-8: save the file in that encoding")
}

/// Refuses a file that others than root or the one who runs quell can change: the file, the folder that it stands in, and
/// of a link the folder that it leads to.
pub fn trusted(path: &Path) -> Result<(), Box<Mistake>> {
    let stat = stat(path).map_err(|error| wrong(path, format!("it cannot be read: {error}")))?;
    check(path, &stat)
}

fn check(path: &Path, stat: &Stat) -> Result<(), Box<Mistake>> {
    only_ours(path, stat)?;
    let real = std::fs::canonicalize(path).ok();
    let folders = [folder(path), real.as_deref().and_then(folder)];
    for folder in folders.into_iter().flatten() {
        let failed = |error: io::Error| wrong(&folder, format!("it cannot be read: {error}"));
        only_ours(&folder, &self::stat(&folder).map_err(failed)?)?;
    }
    Ok(())
}

/// The YAML files and scripts below a folder, sorted, without tests (`*.test.yaml`); links to folders are not followed.
pub(crate) fn below(folder: &Path) -> Result<Vec<PathBuf>, Box<Mistake>> {
    walk(folder, true, is_definition, MOST_ENTRIES)
}

/// The same of the folder alone.
pub(crate) fn beside(folder: &Path) -> Result<Vec<PathBuf>, Box<Mistake>> {
    walk(folder, false, is_definition, MOST_ENTRIES)
}

/// The tests (`*.test.yaml`) below a folder, sorted.
pub(crate) fn tests_below(folder: &Path) -> Result<Vec<PathBuf>, Box<Mistake>> {
    walk(folder, true, is_test, MOST_ENTRIES)
}

fn walk(folder: &Path, deep: bool, wanted: fn(&Path) -> bool, most: usize) -> Result<Vec<PathBuf>, Box<Mistake>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    let mut looked = 0;
    while let Some(next) = open.pop() {
        let failed = |error: io::Error| wrong(&next, format!("it cannot be read: {error}"));
        for entry in std::fs::read_dir(&next).map_err(failed)? {
            looked += 1;
            if looked > most {
                let what = format!("it holds more than {most} files and folders");
                return Err(wrong(folder, format!("{what}; hint: name the folder of the playbooks itself")));
            }
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !hidden && deep => open.push(path),
                Ok(kind) if !kind.is_dir() && !hidden && wanted(&path) => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

fn wrong(path: &Path, what: impl Into<String>) -> Box<Mistake> {
    Box::new(Mistake::error(path, Span::default(), what))
}

fn is_definition(path: &Path) -> bool {
    has_yaml_end(path) && !is_test(path) || script::is_script(path)
}

/// Whether a file is a test of a playbook by its name.
pub(crate) fn is_test(path: &Path) -> bool {
    has_yaml_end(path) && path.file_stem().is_some_and(|stem| stem.as_encoded_bytes().ends_with(b".test"))
}

fn has_yaml_end(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "yaml" || end == "yml")
}

fn stat(path: &Path) -> io::Result<Stat> {
    Ok(rustix::fs::stat(path)?)
}

fn folder(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
}

/// Refuses what others can write.
fn only_ours(path: &Path, stat: &Stat) -> Result<(), Box<Mistake>> {
    let me = rustix::process::geteuid().as_raw();
    let shown = path.display();
    if stat.st_uid != 0 && stat.st_uid != me {
        let what = format!("`{shown}` belongs to user {}, who could change what quell does", stat.st_uid);
        return Err(wrong(path, format!("{what}; hint: chown root {shown}")));
    }
    let mode = Mode::from_raw_mode(stat.st_mode);
    // In a folder with the sticky bit (/tmp) others can only add files of their own, which are refused themselves.
    let sticky = mode.contains(Mode::SVTX);
    let others = mode.contains(Mode::WOTH) && !sticky;
    // Root's group, and the group that a user has for itself, hold nobody else.
    let group = mode.contains(Mode::WGRP) && !sticky && stat.st_gid != 0 && stat.st_gid != me;
    let is_folder = || FileType::from_raw_mode(stat.st_mode).is_dir();
    if (others || group) && !(is_folder() && mounted::is_of_the_kubelet(path)) {
        let who = if others { "anybody".to_owned() } else { format!("group {}", stat.st_gid) };
        let what = format!("`{shown}` can be written by {who}, who could change what quell does");
        return Err(wrong(path, format!("{what}; hint: chmod go-w {shown}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn set(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_can_write_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.yaml");
        std::fs::write(&file, "x: 1\n").unwrap();
        set(&file, 0o644);
        assert_eq!(read(&file).unwrap(), "x: 1\n");
        set(&file, 0o646);
        let mistake = read(&file).unwrap_err();
        assert!(mistake.what.contains("anybody"), "{mistake:?}");
        assert!(mistake.what.contains("hint: chmod go-w"), "{mistake:?}");
        set(&file, 0o644);
        set(dir.path(), 0o777);
        assert!(read(&file).unwrap_err().what.contains("anybody"));
        set(dir.path(), 0o1777);
        assert!(read(&file).is_ok());
        set(dir.path(), 0o755);
        std::fs::write(&file, b"a: 1\nb: \xff\n").unwrap();
        let span = read(&file).unwrap_err().span;
        assert_eq!((span.line, span.column), (2, 4));
        std::fs::write(&file, vec![b'a'; LARGEST as usize + 1]).unwrap();
        let mistake = read(&file).unwrap_err();
        assert!(mistake.what.contains("4194305 bytes") && mistake.expected.unwrap().contains("4 MiB"));
        assert!(read(dir.path()).unwrap_err().what.contains("no file"));
    }

    #[test]
    fn beside_a_file_is_its_folder_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("deep")).unwrap();
        for name in ["a.yaml", "deep/b.yaml", "a.test.yaml", ".c.yaml"] {
            std::fs::write(dir.path().join(name), "x: 1\n").unwrap();
        }
        assert_eq!(beside(dir.path()).unwrap(), [dir.path().join("a.yaml")]);
        assert_eq!(below(dir.path()).unwrap(), [dir.path().join("a.yaml"), dir.path().join("deep/b.yaml")]);
        assert_eq!(tests_below(dir.path()).unwrap(), [dir.path().join("a.test.yaml")]);
        assert_eq!(walk(dir.path(), true, is_test, 5).unwrap().len(), 1);
        let mistake = walk(dir.path(), true, is_test, 4).unwrap_err();
        assert!(mistake.what.contains("more than 4 files and folders; hint: name the folder"), "{mistake:?}");
    }
}
