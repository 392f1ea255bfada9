//! What a machine cannot do without: shells, what a package manager owns, what quell itself is made of.
//!
//! Reads the file system below the root that the image is in. Keeps true: files are compared by device and inode, so that
//! a second name changes nothing; where no package database can be read, all below the system's own directories counts.

use super::image::Opened;
use crate::world::HostWorld;
use std::fs;
use std::io::{BufRead, BufReader};
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
pub(super) fn why(world: &HostWorld, opened: &Opened) -> Option<String> {
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
    match owner(root, &names(path)) {
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
    let listed = fs::read_to_string(below("/etc/shells")).unwrap_or_default();
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

enum Owner {
    Package(String),
    Nobody,
    /// There is no database that can be read.
    Unknown,
}

fn owner(root: &Path, names: &[String]) -> Owner {
    let lists = root.join("var/lib/dpkg/info");
    if let Ok(entries) = fs::read_dir(&lists) {
        let lists =
            entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "list"));
        for list in lists {
            let Ok(text) = fs::read_to_string(&list) else { continue };
            if text.lines().any(|line| names.iter().any(|name| name == line)) {
                let stem = list.file_stem().unwrap_or_default().to_string_lossy();
                return Owner::Package(stem.split(':').next().unwrap_or_default().to_owned());
            }
        }
        return Owner::Nobody;
    }
    match fs::File::open(root.join("lib/apk/db/installed")) {
        Ok(file) => in_apk(BufReader::new(file), names),
        Err(_) => Owner::Unknown,
    }
}

/// `P:` begins a package, `F:` a directory, `R:` names a file in it (apk's installed database).
fn in_apk(file: impl BufRead, names: &[String]) -> Owner {
    let (mut package, mut dir) = (String::new(), String::new());
    for line in file.lines().map_while(Result::ok) {
        match line.split_once(':') {
            Some(("P", name)) => name.clone_into(&mut package),
            Some(("F", name)) => name.clone_into(&mut dir),
            Some(("R", name)) if names.iter().any(|known| *known == format!("/{dir}/{name}")) => {
                return Owner::Package(package);
            }
            _ => {}
        }
    }
    Owner::Nobody
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_asked_under_both_names() {
        let root = tempfile::tempdir().unwrap();
        let system = |path: &str| matches!(owner(root.path(), &names(path)), Owner::Unknown);
        assert!(system("/usr/bin/tar"));
        let info = root.path().join("var/lib/dpkg/info");
        fs::create_dir_all(&info).unwrap();
        fs::write(info.join("tar.list"), "/.\n/bin\n/bin/tar\n").unwrap();
        fs::write(info.join("libc6:amd64.list"), "/lib/x86_64-linux-gnu/libc.so.6\n").unwrap();
        let package = |path: &str| match owner(root.path(), &names(path)) {
            Owner::Package(name) => name,
            Owner::Nobody => "nobody".into(),
            Owner::Unknown => "unknown".into(),
        };
        assert_eq!(package("/usr/bin/tar"), "tar");
        assert_eq!(package("/usr/lib/x86_64-linux-gnu/libc.so.6"), "libc6");
        assert_eq!(package("/tmp/tar"), "nobody");
    }

    #[test]
    fn apk_names_directories_first() {
        let text = "P:busybox\nF:bin\nR:busybox\n\nP:curl\nF:usr/bin\nR:curl\n";
        assert!(matches!(in_apk(text.as_bytes(), &names("/usr/bin/curl")), Owner::Package(p) if p == "curl"));
        assert!(matches!(in_apk(text.as_bytes(), &names("/tmp/curl")), Owner::Nobody));
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
