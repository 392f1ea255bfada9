//! auditd's clothes: the sensor's events as the records that auditd would have written of them.
//!
//! Owns the names and shapes of those records (`type: EXECVE` with `a0…`, `SYSCALL`, `PATH`), so that rules written
//! for auditd match without it. Reads quell's own fields of the event; adds no fact that the event does not hold.
//! What auditd alone knows (a login's `auid`, the addresses in `a0…a3` of a system call) stays absent.

use super::operation::Operation;
use super::view::{self, texts, value};
use quell_model::{Class, Event, Field, Json};
use rsigma_eval::EventValue;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};

/// The record types that an event can be dressed as; rules that name another type cannot match the sensor's events.
pub(super) const TYPES: &[&str] = &["EXECVE", "SYSCALL", "PATH"];

/// The system calls that the clothes can name.
pub(super) const SYSCALLS: &[&str] = &[
    "execve",
    "connect",
    "accept",
    "bind",
    "openat",
    "unlinkat",
    "renameat",
    "fchmodat",
    "fchownat",
    "linkat",
    "symlinkat",
    "mkdirat",
];

/// The fields of the three record types, `a0…` apart.
pub(super) const FIELDS: &[&str] = &[
    "type", "argc", "SYSCALL", "syscall", "success", "comm", "exe", "uid", "euid", "gid", "pid", "ppid", "key", "name",
    "nametype", "item", "cwd",
];

/// Which record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Record {
    Execve,
    Syscall,
    Path,
}

/// The records that auditd writes of such an event. Of a file that was only read it writes none: watches are for
/// writes and attribute changes (`-p wa`).
pub(super) fn records(class: Class, file: Option<Operation>) -> &'static [Record] {
    match (class, file) {
        (Class::ProcessCreation, _) => &[Record::Syscall, Record::Execve, Record::Path],
        (Class::FileEvent, Some(Operation::Read)) => &[],
        (Class::FileEvent, _) => &[Record::Syscall, Record::Path],
        (Class::NetworkConnection, _) => &[Record::Syscall],
        _ => &[],
    }
}

/// The keys that the loaded rules expect auditd to be configured with (`-w PATH -p x -k KEY` in a rule's
/// `logsource.definition`): they are given without that configuration. A watch of a folder is about all below it, as
/// auditd has it.
#[derive(Default, Debug)]
pub(super) struct Keys {
    run: Watches,
    write: Watches,
}

/// Watched paths, each with the keys of all rules that watch it.
#[derive(Default, Debug)]
struct Watches {
    keys: HashMap<String, Vec<String>>,
    /// The lengths of the paths: others are not looked for.
    lengths: BTreeSet<usize>,
}

impl Watches {
    fn learn(&mut self, path: &str, key: &str) {
        self.lengths.insert(path.len());
        let keys = self.keys.entry(path.to_owned()).or_default();
        if !keys.iter().any(|known| known == key) {
            keys.push(key.to_owned());
        }
    }

    /// The keys of the path and of the folders above it.
    fn of(&self, path: &str) -> Vec<&str> {
        let ends = |end: &&usize| **end == path.len() || path.as_bytes().get(**end) == Some(&b'/');
        let watched = self.lengths.range(..=path.len()).filter(ends).filter_map(|end| self.keys.get(path.get(..*end)?));
        watched.flatten().map(String::as_str).collect()
    }
}

impl Keys {
    /// Takes in the watches that one definition names.
    pub(super) fn learn(&mut self, definition: &str) {
        for line in definition.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let after =
                |flag: &str| words.iter().position(|word| *word == flag).and_then(|at| words.get(at + 1)).copied();
            let (Some(path), Some(key)) = (after("-w"), after("-k")) else { continue };
            let (path, access) = (plain(path.trim_end_matches('/')), after("-p").unwrap_or("rwxa"));
            if access.contains('x') {
                self.run.learn(path, key);
            }
            if access.contains('w') || access.contains('a') {
                self.write.learn(path, key);
            }
        }
    }

    fn of(&self, class: Class, path: &str) -> Vec<&str> {
        let watches = match class {
            Class::ProcessCreation => &self.run,
            Class::FileEvent => &self.write,
            _ => return Vec::new(),
        };
        let mut keys = watches.of(plain(path));
        if plain(path) != path {
            // `/usr` itself may be watched.
            keys.extend(watches.of(path));
        }
        keys
    }

    pub(super) fn is_empty(&self) -> bool {
        self.run.keys.is_empty() && self.write.keys.is_empty()
    }
}

/// `/bin` is `/usr/bin` on every system of today.
fn plain(path: &str) -> &str {
    path.strip_prefix("/usr").filter(|rest| rest.starts_with('/')).unwrap_or(path)
}

/// An event dressed as one record.
pub(super) struct Clothed<'e> {
    event: &'e dyn Event,
    class: Class,
    record: Record,
    keys: &'e Keys,
    /// Asked for once: rules look at `a0`, `a1` … one by one.
    args: OnceCell<Vec<Field<'e>>>,
    line: OnceCell<String>,
}

impl<'e> Clothed<'e> {
    pub(super) fn new(event: &'e dyn Event, class: Class, record: Record, keys: &'e Keys) -> Self {
        Self { event, class, record, keys, args: OnceCell::new(), line: OnceCell::new() }
    }

    fn own(&self, path: &str) -> Option<Field<'e>> {
        self.event.own(path).filter(|field| *field != Field::Null)
    }

    fn text(&self, path: &str) -> Option<Cow<'e, str>> {
        match self.own(path)? {
            Field::Str(text) => Some(text),
            _ => None,
        }
    }

    fn args(&self) -> &[Field<'e>] {
        self.args.get_or_init(|| match self.own("process.args") {
            Some(Field::List(args)) => args,
            _ => Vec::new(),
        })
    }

    fn arg(&self, at: usize) -> Option<Field<'_>> {
        match self.args().get(at)? {
            Field::Str(text) => Some(Field::text(text)),
            other => Some(other.clone()),
        }
    }

    fn field(&self, name: &str) -> Option<Field<'_>> {
        let class = self.class;
        match (self.record, name) {
            (Record::Execve, "type") => Some(Field::text("EXECVE")),
            (Record::Execve, "argc") => i64::try_from(self.args().len()).ok().map(Field::Int),
            (Record::Execve, name) => self.arg(name.strip_prefix('a')?.parse().ok()?),
            (Record::Path, "type") => Some(Field::text("PATH")),
            (Record::Path, "name") => self.own(if class == Class::FileEvent { "file.path" } else { "process.image" }),
            (Record::Path, "nametype") => Some(Field::text(match self.text("file.operation").as_deref() {
                Some("create") => "CREATE",
                Some("unlink" | "rmdir" | "rename") => "DELETE",
                _ => "NORMAL",
            })),
            (Record::Path, "item") => Some(Field::Int(0)),
            (Record::Path, _) => None,
            (Record::Syscall, "type") => Some(Field::text("SYSCALL")),
            (Record::Syscall, "SYSCALL" | "syscall") => Some(Field::text(self.syscall(class))),
            (Record::Syscall, "success") => Some(Field::text("yes")),
            (Record::Syscall, "exe") => self.own("process.image"),
            (Record::Syscall, "comm") => Some(Field::Str(comm(self.text("process.image")?))),
            (Record::Syscall, "pid") => self.own("process.pid"),
            (Record::Syscall, "ppid") => self.own("process.parent.pid"),
            (Record::Syscall, "uid") => self.own("process.uid"),
            (Record::Syscall, "euid") => self.own("process.euid"),
            (Record::Syscall, "gid") => self.own("process.gid"),
            (Record::Syscall, "cwd") => self.own("process.cwd"),
            (Record::Syscall, "key") => {
                if self.keys.is_empty() {
                    return None;
                }
                let path = self.text(if class == Class::FileEvent { "file.path" } else { "process.image" })?;
                let keys: Vec<Field<'_>> = self.keys.of(class, &path).into_iter().map(Field::text).collect();
                match keys.len() {
                    0 => None,
                    1 => keys.into_iter().next(),
                    _ => Some(Field::List(keys)),
                }
            }
            (Record::Syscall, _) => None,
        }
    }

    fn syscall(&self, class: Class) -> &'static str {
        match class {
            Class::NetworkConnection => match self.text("network.direction").as_deref() {
                Some("inbound") => "accept",
                Some("listen") => "bind",
                _ => "connect",
            },
            Class::FileEvent => match self.text("file.operation").as_deref() {
                Some("unlink" | "rmdir") => "unlinkat",
                Some("rename") => "renameat",
                Some("chmod") => "fchmodat",
                Some("chown") => "fchownat",
                Some("link") => "linkat",
                Some("symlink") => "symlinkat",
                Some("mkdir") => "mkdirat",
                _ => "openat",
            },
            _ => "execve",
        }
    }

    /// Every field of the record, for keyword rules: the arguments are one text.
    pub(super) fn fields(&self, each: &mut dyn FnMut(&str, Field<'_>)) {
        for name in FIELDS {
            if let Some(field) = self.field(name) {
                each(name, field);
            }
        }
        if self.record == Record::Execve && !self.args().is_empty() {
            each("a", Field::text(self.line.get_or_init(|| self.joined())));
        }
    }

    /// The arguments as one text: keywords are searched in the whole record, and may reach over several.
    fn joined(&self) -> String {
        let mut line = String::new();
        for arg in self.args() {
            if let Field::Str(text) = arg {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(text);
            }
        }
        line
    }
}

/// The kernel's name of a process: the file's name, 15 bytes of it at most.
fn comm(image: Cow<'_, str>) -> Cow<'_, str> {
    const LONGEST: usize = 15; // TASK_COMM_LEN - 1, include/linux/sched.h
    fn cut(image: &str) -> &str {
        let name = image.rsplit('/').next().unwrap_or(image);
        let end = (0..=LONGEST.min(name.len())).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
        &name[..end]
    }
    match image {
        Cow::Borrowed(image) => Cow::Borrowed(cut(image)),
        Cow::Owned(image) => Cow::Owned(cut(&image).to_owned()),
    }
}

impl rsigma_eval::Event for Clothed<'_> {
    /// What auditd would have said, else what quell knows under its own names: where it was, for rules and for exceptions.
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        match self.field(path).or_else(|| self.own(path))? {
            Field::Null => None,
            field => Some(value(field)),
        }
    }

    fn any_string_value(&self, pred: &dyn Fn(&str) -> bool) -> bool {
        view::any_string(self, pred)
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        view::all_strings(self)
    }

    fn visit_string_values(&self, visit: &mut dyn FnMut(&str)) {
        self.fields(&mut |_, field| texts(&field, visit));
    }

    fn to_json(&self) -> Json {
        serde_json::json!({ "id": self.event.head().id })
    }
}
