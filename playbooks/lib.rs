//! The playbooks and rules that ship, and the files whose reads they need to be told of, embedded in the binary.
//!
//! One folder a threat: `playbook.yaml`, `rules/*.yml`, `README.md`. Owns their texts; never reads or checks them: the
//! engine does, as it does with anybody's files.

use include_dir::{Dir, include_dir};
use std::sync::LazyLock;

static FOLDER: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR");

/// A file that ships.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shipped {
    /// Below the folder of playbooks: `reverse-shell/playbook.yaml`.
    pub name: &'static str,
    /// The whole of it.
    pub text: &'static str,
}

/// Every `THREAT/playbook.yaml`, by name.
#[must_use]
pub fn playbooks() -> Vec<Shipped> {
    threats().filter_map(|threat| shipped(threat, "playbook.yaml")).collect()
}

/// Every `THREAT/rules/*.yml`, by name.
#[must_use]
pub fn rules() -> Vec<Shipped> {
    let folders = threats().filter_map(|threat| threat.get_dir(threat.path().join("rules")));
    let mut all: Vec<Shipped> = folders.flat_map(Dir::files).filter_map(read).collect();
    all.retain(|file| file.name.ends_with(".yml"));
    all.sort_by_key(|file| file.name);
    all
}

/// Every `THREAT/README.md`, by name: what the playbook sees, does, and cannot see.
#[must_use]
pub fn pages() -> Vec<Shipped> {
    threats().filter_map(|threat| shipped(threat, "README.md")).collect()
}

/// The files whose reads the rules are about, as the sensor takes them: `*` is any text within a component, `/**/` in
/// front any directories, a trailing `/**` everything below.
#[must_use]
pub fn watched() -> &'static [&'static str] {
    static WATCHED: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        include_str!("watch.txt").lines().filter(|line| line.starts_with('/')).map(str::trim_end).collect()
    });
    &WATCHED
}

fn threats() -> impl Iterator<Item = &'static Dir<'static>> {
    let mut folders: Vec<&Dir<'static>> = FOLDER.dirs().collect();
    folders.sort_by_key(|folder| folder.path());
    folders.into_iter().filter(|folder| folder.get_file(folder.path().join("playbook.yaml")).is_some())
}

fn shipped(threat: &'static Dir<'static>, file: &str) -> Option<Shipped> {
    threat.get_file(threat.path().join(file)).and_then(read)
}

fn read(file: &'static include_dir::File<'static>) -> Option<Shipped> {
    Some(Shipped { name: file.path().to_str()?, text: file.contents_utf8()? })
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod verdicts;
