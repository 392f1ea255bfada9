//! auditd's log: `type=SYSCALL msg=audit(1700000000.123:42): arch=c000003e syscall=59 … comm="sh" exe="/usr/bin/dash"`.
//!
//! A line is a record and an event. Names are auditd's (github.com/linux-audit/audit-documentation, field dictionary);
//! text that auditd wrote as hex is decoded; an enriched log's upper-case names (`SYSCALL=execve`) stand beside the
//! raw ones, and the names of the commonest x86_64 system calls are filled in where the log has only numbers.

use super::reader::Wrong;
use super::record::{Foreign, id_of, logsource, machine};
use jiff::Timestamp;
use quell_model::{Json, Name, OwnedEvent, Subject};

/// The most fields of a line that are read: auditd itself splits longer argument lists.
const FIELDS: usize = 4_096;

/// Fields that auditd writes as text in quotes, or as hex where the text has blanks, quotes or control bytes.
const TEXTS: &[&str] = &[
    "acct",
    "cmd",
    "comm",
    "cwd",
    "data",
    "dir",
    "exe",
    "file",
    "key",
    "name",
    "new-chardev",
    "ocomm",
    "path",
    "proctitle",
    "sw",
    "vm",
    "watch",
];

/// asm/unistd_64.h: the system calls that rules ask for by name.
const SYSCALLS: &[(&str, &str)] = &[
    ("2", "open"),
    ("41", "socket"),
    ("42", "connect"),
    ("43", "accept"),
    ("49", "bind"),
    ("50", "listen"),
    ("56", "clone"),
    ("57", "fork"),
    ("59", "execve"),
    ("62", "kill"),
    ("82", "rename"),
    ("83", "mkdir"),
    ("84", "rmdir"),
    ("85", "creat"),
    ("86", "link"),
    ("87", "unlink"),
    ("88", "symlink"),
    ("90", "chmod"),
    ("91", "fchmod"),
    ("92", "chown"),
    ("93", "fchown"),
    ("99", "sysinfo"),
    ("101", "ptrace"),
    ("103", "syslog"),
    ("105", "setuid"),
    ("106", "setgid"),
    ("117", "setresuid"),
    ("126", "capset"),
    ("133", "mknod"),
    ("135", "personality"),
    ("155", "pivot_root"),
    ("161", "chroot"),
    ("165", "mount"),
    ("166", "umount2"),
    ("175", "init_module"),
    ("176", "delete_module"),
    ("248", "add_key"),
    ("257", "openat"),
    ("258", "mkdirat"),
    ("259", "mknodat"),
    ("263", "unlinkat"),
    ("264", "renameat"),
    ("265", "linkat"),
    ("266", "symlinkat"),
    ("268", "fchmodat"),
    ("272", "unshare"),
    ("288", "accept4"),
    ("308", "setns"),
    ("310", "process_vm_readv"),
    ("311", "process_vm_writev"),
    ("313", "finit_module"),
    ("316", "renameat2"),
    ("319", "memfd_create"),
    ("321", "bpf"),
    ("322", "execveat"),
    ("437", "openat2"),
];

/// Reads one line.
pub(super) fn read(line: &str) -> Result<OwnedEvent, Wrong> {
    let unknown = || Wrong::new("is of no known format").expected("JSON, or a line of auditd's log");
    let (mut node, mut rest) = (None, line.trim());
    if let Some(named) = rest.strip_prefix("node=") {
        let (name, after) = named.split_once(' ').ok_or_else(unknown)?;
        (node, rest) = (Some(name), after);
    }
    let (kind, after) = rest.strip_prefix("type=").and_then(|rest| rest.split_once(' ')).ok_or_else(unknown)?;
    let after = after.strip_prefix("msg=audit(").ok_or_else(unknown)?;
    let (stamp, body) = after.split_once("):").ok_or_else(unknown)?;
    let (seconds, serial) = stamp.split_once(':').ok_or_else(unknown)?;
    let at = moment(seconds).ok_or_else(|| Wrong::new(format!("has a time that is none: `{seconds}`")))?;

    let mut record = serde_json::Map::new();
    record.insert("type".into(), kind.into());
    record.insert("serial".into(), serial.into());
    fields(kind, body, &mut record);
    if kind == "SYSCALL" && !record.contains_key("SYSCALL") {
        let number = record.get("syscall").and_then(Json::as_str).unwrap_or_default();
        let x86_64 = record.get("arch").is_none_or(|arch| arch == "c000003e");
        if let Some((_, name)) = SYSCALLS.iter().find(|(known, _)| x86_64 && *known == number) {
            record.insert("SYSCALL".into(), (*name).into());
        }
    }

    let node = Name::from(node.unwrap_or("unknown"));
    let who = ["AUID", "UID", "acct"].iter().find_map(|key| record.get(*key).and_then(Json::as_str));
    let subject = match who {
        Some(user) if user != "unset" => Subject::User(user.into()),
        _ => Subject::Unknown,
    };
    Ok(Foreign {
        id: id_of("auditd", line),
        source: "auditd",
        at,
        logsource: logsource(None, Some("linux"), Some("auditd")),
        subject,
        entity: machine(&node),
        node,
        own: serde_json::Map::new(),
    }
    .event(record))
}

/// Takes in `name=value` pairs, also those within `msg='…'`.
fn fields(kind: &str, body: &str, record: &mut serde_json::Map<String, Json>) {
    // An enriched log sets its own names off with a group separator.
    let body = body.replace('\u{1d}', " ");
    let mut rest = body.trim_start();
    while let Some(at) = rest.find('=') {
        if record.len() >= FIELDS {
            return;
        }
        let name = rest[..at].rsplit(char::is_whitespace).next().unwrap_or_default();
        let after = &rest[at + 1..];
        let (value, next) = match after.chars().next() {
            Some('"') => quoted(&after[1..], '"'),
            Some('\'') => {
                let (inner, next) = quoted(&after[1..], '\'');
                if name == "msg" {
                    fields(kind, inner, record);
                    rest = next.trim_start();
                    continue;
                }
                (inner, next)
            }
            _ => {
                let (value, next) = after.split_once(' ').unwrap_or((after, ""));
                let decoded = if is_text(kind, name) { unhex(value) } else { None };
                if !name.is_empty() && value != "(null)" {
                    record.insert(name.to_owned(), decoded.unwrap_or_else(|| value.to_owned()).into());
                }
                rest = next.trim_start();
                continue;
            }
        };
        if !name.is_empty() {
            record.insert(name.to_owned(), value.into());
        }
        rest = next.trim_start();
    }
}

fn quoted(text: &str, end: char) -> (&str, &str) {
    text.split_once(end).unwrap_or((text, ""))
}

/// Whether hex stands for text here: in an EXECVE the arguments are text, in a SYSCALL they are numbers.
fn is_text(kind: &str, name: &str) -> bool {
    let argument = || {
        name.strip_prefix('a')
            .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()) && !name.ends_with("_len"))
    };
    TEXTS.contains(&name) || (kind == "EXECVE" && argument())
}

fn unhex(value: &str) -> Option<String> {
    if value.len() < 2 || !value.len().is_multiple_of(2) || !value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let bytes: Vec<u8> =
        (0..value.len()).step_by(2).filter_map(|at| u8::from_str_radix(&value[at..at + 2], 16).ok()).collect();
    // Arguments within a proctitle are set off by NUL.
    Some(String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', " "))
}

/// `1700000000.123`
fn moment(text: &str) -> Option<Timestamp> {
    let (seconds, millis) = text.split_once('.').unwrap_or((text, "0"));
    let nanos = millis.get(..millis.len().min(9))?;
    let scale = 10i32.checked_pow(u32::try_from(9 - nanos.len()).ok()?)?;
    Timestamp::new(seconds.parse().ok()?, nanos.parse::<i32>().ok()?.checked_mul(scale)?).ok()
}
