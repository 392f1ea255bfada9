//! What a set of files looked like: compared with a later look, it says whether something changed.
//!
//! Owns names, sizes and change times; never contents. A rewrite within the file system's time step that keeps the
//! size is told by the inode and the change time, which no program can set back.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The most files that are looked at: beyond it, a folder is no rules folder.
const FILES: usize = 100_000;
/// How deep folders may nest: also the end of a loop of symbolic links.
const DEPTH: u32 = 32;

/// One look.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Snapshot(BTreeMap<PathBuf, Look>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Look {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Snapshot {
    /// Looks at files, and at the files of these endings in and below folders.
    #[must_use]
    pub fn of(paths: &[&Path], endings: &[&str]) -> Self {
        let mut seen = Self::default();
        for path in paths {
            seen.look(path, endings, DEPTH, true);
        }
        seen
    }

    fn look(&mut self, path: &Path, endings: &[&str], depth: u32, asked_for: bool) {
        let Ok(meta) = std::fs::metadata(path) else { return };
        if meta.is_dir() {
            let Ok(entries) = std::fs::read_dir(path) else { return };
            for entry in entries.flatten() {
                if depth > 0 && self.0.len() < FILES {
                    self.look(&entry.path(), endings, depth - 1, false);
                }
            }
            return;
        }
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if asked_for || endings.contains(&ending) {
            let look = Look { inode: meta.ino(), size: meta.size(), changed: (meta.ctime(), meta.ctime_nsec()) };
            self.0.insert(path.to_owned(), look);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Snapshot;

    #[test]
    fn a_new_a_changed_and_a_removed_file_are_seen_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let look = || Snapshot::of(&[dir.path()], &["yml"]);
        let empty = look();
        std::fs::write(dir.path().join("notes.txt"), "x").unwrap();
        assert_eq!(look(), empty);
        std::fs::create_dir(dir.path().join("below")).unwrap();
        let rule = dir.path().join("below/rule.yml");
        std::fs::write(&rule, "title: one").unwrap();
        let one = look();
        assert_ne!(one, empty);
        assert_eq!(look(), one);
        std::fs::write(&rule, "title: three").unwrap();
        assert_ne!(look(), one);
        std::fs::remove_file(&rule).unwrap();
        assert_eq!(look(), empty);
    }
}
