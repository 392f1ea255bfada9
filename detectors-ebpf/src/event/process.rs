//! `process.*`: the process that did it, its parents, its standard streams, what holds it in.

use super::{SensorEvent, What, fields, text};
use crate::process::{Confinement, NO_LOGIN, Process};
use crate::record::Stdio;
use crate::relay::Relay;
use quell_model::Field;
use std::borrow::Cow;
use std::fs;

/// Of a chain of parents at most so many are written out.
pub(super) const ANCESTORS_SHOWN: usize = 16;

/// The image's path; where none is known, nothing.
pub(super) fn image(process: &Process) -> Field<'_> {
    if process.image.path.is_empty() { Field::Null } else { Field::text(&process.image.path) }
}

/// The login: logind's session by the cgroup, or audit's.
pub(super) fn session(process: &Process) -> Field<'_> {
    match &process.cgroup.session {
        Some(session) => Field::text(session),
        None if process.session != NO_LOGIN => text(process.session),
        None => Field::Null,
    }
}

impl SensorEvent<'_> {
    pub(super) fn process_value(&self, name: &str) -> Option<Field<'_>> {
        let process = self.process?;
        let parent = self.parent();
        Some(match name {
            "parent" => Field::or_null(parent, |p| {
                let mut shown = self.brief(p);
                if let Field::Map(parts) = &mut shown {
                    let names = ["socket", "peer", "kinds"];
                    let ends =
                        names.map(|n| (Cow::Borrowed(n), stdio(self.stdio_of_parent(p), n).unwrap_or(Field::Null)));
                    parts.push((Cow::Borrowed("stdio"), Field::Map(ends.into())));
                }
                shown
            }),
            "ancestors" => {
                let chain = self.table.ancestors(process).take(ANCESTORS_SHOWN);
                Field::List(chain.map(|p| self.brief(p)).collect())
            }
            "stdio.relayed" => Field::Bool(!self.relays().is_empty()),
            "stdio.relay_pid" => self.each_relay(|r| Field::Int(r.key.pid.into())),
            "stdio.relay_image" => self.each_relay(|r| Field::text(&r.image)),
            "stdio.relay_peer" => self.each_relay(|r| text(r.peer)),
            "parent.stdio" | "parent.confinement" | "parent.namespaces" => return None,
            _ if name.starts_with("parent.stdio.") => {
                let name = name.trim_start_matches("parent.stdio.");
                return parent.map_or(Some(Field::Null), |p| stdio(self.stdio_of_parent(p), name));
            }
            _ => match name.strip_prefix("parent.") {
                Some(rest) => return parent.map_or(Some(Field::Null), |p| self.plain(p, rest)),
                None => return self.plain(process, name),
            },
        })
    }

    /// Where the parent's streams led when this image was executed; of other events, when the parent's own was.
    pub(super) fn stdio_of_parent<'p>(&'p self, parent: &'p Process) -> &'p [Stdio; 3] {
        match self.process {
            Some(process) if matches!(self.what, What::Exec) && !self.scanned => &process.parent_stdio,
            _ => &parent.stdio,
        }
    }

    /// One relay as it is; where input and output have two, a list of both, the input's first.
    fn each_relay<'e>(&'e self, show: impl Fn(&'e Relay) -> Field<'e>) -> Field<'e> {
        match self.relays() {
            [] => Field::Null,
            [one] => show(one),
            both => Field::List(both.iter().map(show).collect()),
        }
    }

    /// What a parent or ancestor is shown as.
    fn brief<'p>(&self, process: &'p Process) -> Field<'p> {
        let names =
            ["id", "pid", "image", "command_line", "user", "uid", "start", "exec_id", "in_shm", "memfd", "deleted"];
        let part = |name: &'static str| {
            let value = match name {
                "id" => text(self.id_of(process)),
                "start" => text(self.cx.stamp(process.start).wall),
                _ => self.of_process(process, name)?,
            };
            Some((Cow::Borrowed(name), value))
        };
        Field::Map(names.into_iter().filter_map(part).collect())
    }

    /// A field that needs neither parents nor relays.
    fn plain<'p>(&self, process: &'p Process, name: &str) -> Option<Field<'p>> {
        match name {
            "id" => Some(text(self.id_of(process))),
            "start" => Some(text(self.cx.stamp(process.start).wall)),
            // Asked of /proc: the label has no one place in the kernel.
            "confinement.label" if !self.cx.labels => Some(Field::Null),
            "confinement.label" => {
                let label = fs::read_to_string(format!("/proc/{}/attr/current", process.key.pid)).unwrap_or_default();
                let label = label.trim_end_matches(['\0', '\n']);
                Some(if label.is_empty() { Field::Null } else { text(label) })
            }
            _ => self.of_process(process, name),
        }
    }

    fn of_process<'p>(&self, process: &'p Process, name: &str) -> Option<Field<'p>> {
        let image = &process.image;
        let number = |n: u64| Field::Int(i64::try_from(n).unwrap_or(i64::MAX));
        let known = |n: u32| if n == 0 { Field::Null } else { Field::Int(n.into()) };
        Some(match name {
            "pid" => Field::Int(process.key.pid.into()),
            "exec_id" => number(process.exec_id),
            "image" => self::image(process),
            "inode" => number(image.inode),
            "device" => text(fields::Device(image.device)),
            "command_line" => Field::text(&image.command_line),
            "args" => Field::List(image.args().map(Field::text).collect()),
            "args_truncated" => Field::Bool(image.args_cut),
            "cwd" => Field::text(&image.cwd),
            "user" => Field::text(&process.user),
            "uid" => Field::Int(process.ids.uid.into()),
            "euid" => Field::Int(process.ids.euid.into()),
            "gid" => Field::Int(process.ids.gid.into()),
            "caps" | "confinement.caps" => fields::capabilities(process.ids.cap_effective),
            "tty" => Field::or_null(process.tty(), Field::text),
            "cgroup" => number(process.cgroup_id),
            "cgroup_path" => match &*process.cgroup.path {
                "" => Field::Null,
                path => Field::text(path),
            },
            "unit" => Field::or_null(process.cgroup.unit.as_deref(), Field::text),
            "session" => session(process),
            "memfd" => Field::Bool(image.memfd),
            "deleted" => Field::Bool(image.deleted),
            "in_shm" => Field::Bool(image.in_shm()),
            "overlay_upper" => Field::or_null(image.upper, Field::Bool),
            "confinement.seccomp" => Field::text(seccomp(process.confinement)),
            "confinement.no_new_privs" => Field::Bool(process.confinement.no_new_privs),
            "namespaces.pid" => known(process.namespaces.pid),
            "namespaces.net" => known(process.namespaces.net),
            "namespaces.mnt" => known(process.namespaces.mnt),
            _ if name.starts_with("stdio.") => return stdio(&process.stdio, name.trim_start_matches("stdio.")),
            _ => return None,
        })
    }
}

/// Where fds 0-2 lead.
pub(super) fn stdio(ends: &[Stdio; 3], name: &str) -> Option<Field<'static>> {
    Some(match name {
        "socket" => Field::Bool(ends.iter().any(|s| s.peer().is_some())),
        "peer" => Field::or_null(ends.iter().find_map(Stdio::peer), text),
        "kinds" => Field::List(ends.iter().map(|s| Field::text(s.word())).collect()),
        _ => return None,
    })
}

pub(super) fn seccomp(confinement: Confinement) -> &'static str {
    match confinement.seccomp {
        0 => "none",
        1 => "strict",
        _ => "filter",
    }
}
