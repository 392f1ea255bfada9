//! What a machine cannot do without: shells, what a package manager owns, what quell itself is made of.
//!
//! Reads the file system below the root that the image is in. Keeps true: files are compared by device and inode, so that
//! a second name changes nothing; where no package database can be read, all below the system's own directories counts.

use super::image::Opened;
use super::packages::{Owner, Packages, regular};
use crate::world::HostWorld;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Shells and what many names lead to, wherever /etc/shells does not list them.
const SHELLS: [&str; 9] = [
    "/bin/sh",
    "/bin/bash",
    "/bin/dash",
    "/bin/ash",
    "/bin/zsh",
    "/bin/busybox",
    "/bin/toybox",
    "/usr/bin/busybox",
    "/usr/bin/coreutils",
];
/// What a distribution puts its own programs into.
const SYSTEM: [&str; 9] =
    ["/usr/bin/", "/usr/sbin/", "/usr/lib/", "/usr/lib64/", "/usr/libexec/", "/bin/", "/sbin/", "/lib/", "/lib64/"];

/// Why it may not be kept from starting, if it may not.
pub(super) fn why(world: &HostWorld, packages: &Packages, opened: &Opened) -> Option<String> {
    let path = &opened.path;
    if is_mapped_here(world, opened.file) {
        return Some(format!("quell itself needs `{path}`"));
    }
    if is_interpreter(path) {
        return Some(format!("`{path}` is what the kernel starts programs with"));
    }
    let root = &opened.root;
    if is_shell(root, opened.file) {
        return Some(format!("`{path}` is a shell"));
    }
    match packages.owner(root, &names(path)) {
        Owner::Package(package) => Some(format!("`{path}` belongs to the package `{package}`")),
        Owner::Nobody => None,
        Owner::Unknown => {
            let system = names(path).iter().any(|name| SYSTEM.iter().any(|dir| name.starts_with(dir)));
            system.then(|| format!("`{path}` lies where only packages put programs"))
        }
    }
}

/// quell's own image and all that it is linked with: the C library and the ELF interpreter among them.
fn is_mapped_here(world: &HostWorld, file: (u64, u64)) -> bool {
    let own = std::process::id();
    let mapped = fs::read_to_string(world.of(own, "maps")).unwrap_or_default();
    let mut paths: Vec<&str> = mapped.lines().filter_map(|line| line.find('/').map(|at| &line[at..])).collect();
    paths.dedup();
    paths.into_iter().map(PathBuf::from).chain([world.of(own, "exe")]).any(|path| is(&path, file))
}

fn is(path: &Path, file: (u64, u64)) -> bool {
    fs::metadata(path).is_ok_and(|meta| (meta.dev(), meta.ino()) == file)
}

/// `ld-linux-x86-64.so.2`, `ld-2.31.so`, `ld-musl-x86_64.so.1`, `libc.so.6`, in a directory of libraries.
fn is_interpreter(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let library = path.split('/').any(|part| part.starts_with("lib"));
    library && name.contains(".so") && (name.starts_with("ld-") || name.starts_with("ld.") || name.starts_with("libc."))
}

fn is_shell(root: &Path, file: (u64, u64)) -> bool {
    let below = |path: &str| root.join(path.trim_start_matches('/'));
    let mut listed = String::new();
    if let Ok(Err(error)) = regular(&below("/etc/shells")).map(|mut file| file.read_to_string(&mut listed)) {
        tracing::debug!(%error, "/etc/shells is read no further");
    }
    let listed = listed.lines().map(str::trim).filter(|line| line.starts_with('/')).map(&below);
    listed.chain(SHELLS.into_iter().map(&below)).any(|path| is(&path, file))
}

/// The names that a package database may know it by: before and after the directories of / were merged into /usr.
fn names(path: &str) -> Vec<String> {
    let mut names = vec![path.to_owned()];
    match path.strip_prefix("/usr") {
        Some(rest) => names.push(rest.to_owned()),
        None => names.push(format!("/usr{path}")),
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_asked_under_both_names() {
        let root = tempfile::tempdir().unwrap();
        let packages = Packages::default();
        let system = |path: &str| packages.owner(root.path(), &names(path)) == Owner::Unknown;
        assert!(system("/usr/bin/tar"));
        let info = root.path().join("var/lib/dpkg/info");
        fs::create_dir_all(&info).unwrap();
        fs::write(info.join("tar.list"), "/.\n/bin\n/bin/tar\n").unwrap();
        fs::write(info.join("libc6:amd64.list"), "/lib/x86_64-linux-gnu/libc.so.6\n").unwrap();
        let package = |path: &str| match packages.owner(root.path(), &names(path)) {
            Owner::Package(name) => name,
            Owner::Nobody => "nobody".into(),
            Owner::Unknown => "unknown".into(),
        };
        assert_eq!(package("/usr/bin/tar"), "tar");
        assert_eq!(package("/usr/lib/x86_64-linux-gnu/libc.so.6"), "libc6");
        assert_eq!(package("/tmp/tar"), "nobody");
    }

    #[test]
    fn what_starts_programs_is_known_by_its_place_and_name() {
        for (path, is_it) in [
            ("/lib64/ld-linux-x86-64.so.2", true),
            ("/lib/ld-musl-x86_64.so.1", true),
            ("/usr/lib/x86_64-linux-gnu/libc.so.6", true),
            ("/tmp/ld-x", false),
            ("/tmp/ld-1.so", false),
        ] {
            assert_eq!(is_interpreter(path), is_it, "{path}");
        }
    }
}
