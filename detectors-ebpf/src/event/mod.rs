//! What the sensor saw, as rules and playbooks read it: [`quell_model::Event`] over a record and the process table.
//!
//! Builds no JSON on the way: a field is looked up when it is asked for, borrowed where it can be. What must be asked of
//! /proc (relays) is asked once for an event, and only if a rule wants to know.

mod context;
mod fields;
mod pod;
mod process;
mod told;

pub(crate) use context::Context;

use crate::probes;
use crate::process::{Ids, Key, Process, Table};
use crate::record::{FileOp, Net, address};
use crate::relay::{self, Relay};
use quell_model::told::put;
use quell_model::{
    Class, Entity, Event, EventHead, Field, Json, LogSource, OwnedEvent, Pod, ProcessId, Subject, Teller,
    event::EVENT_VERSION,
};
use std::cell::OnceCell;
use std::net::SocketAddr;
use std::sync::Arc;

/// A file event's own part.
#[derive(Debug)]
pub(crate) struct FileChange {
    pub(crate) op: FileOp,
    /// What it happened to: of a link, rename or symlink the old name, or the link's text in `target`.
    pub(crate) path: String,
    pub(crate) target: Option<String>,
    pub(crate) inode: u64,
    pub(crate) device: u32,
    pub(crate) mode: u32,
    pub(crate) watched: bool,
}

/// Events that nobody will see.
#[derive(Debug)]
pub(crate) struct Loss {
    pub(crate) class: Class,
    pub(crate) count: u64,
    /// 0: of cgroups that found no counter of their own.
    pub(crate) cgroup: u64,
    /// Empty where it is not known.
    pub(crate) path: Arc<str>,
    pub(crate) why: &'static str,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum What {
    Fork,
    Exec,
    Exit(i32),
    Net(Net),
    File(FileChange),
    Cred { call: u16, old: Ids },
    Access { call: u16, target: Option<Key> },
    Loss(Loss),
}

impl What {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Fork => Class::ProcessFork,
            Self::Exec => Class::ProcessCreation,
            Self::Exit(_) => Class::ProcessTermination,
            Self::Net(_) => Class::NetworkConnection,
            Self::File(_) => Class::FileEvent,
            Self::Cred { .. } => Class::Credentials,
            Self::Access { .. } => Class::ProcessAccess,
            Self::Loss(_) => Class::Loss,
        }
    }
}

/// One event, borrowed from the sensor's thread.
pub(crate) struct SensorEvent<'a> {
    cx: &'a Context,
    table: &'a Table,
    process: Option<&'a Process>,
    what: What,
    /// CLOCK_BOOTTIME.
    at: u64,
    tid: u32,
    scanned: bool,
    head: OnceCell<EventHead>,
    relays: OnceCell<Vec<Relay>>,
    fed: OnceCell<Option<Key>>,
    pod: OnceCell<Option<Arc<Pod>>>,
}

impl<'a> SensorEvent<'a> {
    pub(crate) fn new(cx: &'a Context, table: &'a Table, key: Option<Key>, what: What, at: u64, tid: u32) -> Self {
        let process = key.and_then(|key| table.get(key));
        let (head, relays, fed, pod) = Default::default();
        Self { cx, table, process, what, at, tid, scanned: false, head, relays, fed, pod }
    }

    /// Of a process that was there before.
    pub(crate) fn scanned(mut self) -> Self {
        self.scanned = true;
        self
    }

    fn id_of(&self, process: &Process) -> ProcessId {
        ProcessId {
            boot: self.cx.boot.clone(),
            pid: process.key.pid,
            start_ns: process.start,
            exec_id: u32::try_from(process.exec_id).unwrap_or(u32::MAX),
        }
    }

    fn relays(&self) -> &[Relay] {
        let ask = |p| relay::relays(self.table, p, &self.cx.allowance, self.at);
        self.relays.get_or_init(|| self.process.map(ask).unwrap_or_default())
    }

    fn fed_shell(&self) -> Option<Key> {
        let ask = || relay::fed_shell(self.table, self.process?, &self.cx.allowance, self.at);
        *self.fed.get_or_init(ask)
    }

    fn parent(&self) -> Option<&'a Process> {
        self.table.parent(self.process?)
    }

    fn sigma_value(&self, field: &str) -> Option<Field<'_>> {
        let int = |n: u32| Field::Int(n.into());
        let of = |p: Option<&'a Process>, get: fn(&'a Process) -> Field<'a>| p.map_or(Field::Null, get);
        let class = self.what.class();
        if class == Class::Loss {
            return None;
        }
        match field {
            "Image" => return Some(of(self.process, process::image)),
            "User" => return Some(of(self.process, |p| Field::text(&p.user))),
            "ProcessId" => return Some(of(self.process, |p| Field::Int(p.key.pid.into()))),
            "CommandLine" => return Some(of(self.process, |p| Field::text(&p.image.command_line))),
            "ParentImage" => return Some(of(self.parent(), process::image)),
            "ParentCommandLine" => return Some(of(self.parent(), |p| Field::text(&p.image.command_line))),
            _ => {}
        }
        match (&self.what, field) {
            (What::Exec, "CurrentDirectory") => Some(of(self.process, |p| Field::text(&p.image.cwd))),
            (What::Exec, "LogonId") => Some(of(self.process, process::session)),
            (What::Exec, "ParentProcessId") => {
                Some(Field::or_null(self.process.and_then(|p| p.parent), |p| Field::Int(p.pid.into())))
            }
            (What::Exec, "ParentUser") => Some(of(self.parent(), |p| Field::text(&p.user))),
            (What::Net(net), name) => {
                let (from, to) = ends(net);
                Some(match name {
                    "Initiated" => Field::Bool(net.direction == OUT),
                    "Protocol" => Field::text(protocol(net.protocol)),
                    "SourceIp" => text(from.ip()),
                    "SourcePort" => int(from.port().into()),
                    "DestinationIp" => text(to.ip()),
                    "DestinationPort" => int(to.port().into()),
                    "DestinationHostname" => Field::Null,
                    _ => return None,
                })
            }
            // The file that is there afterwards: of a rename or link the new name.
            (What::File(file), "TargetFilename") => Some(match (file.op, &file.target) {
                (FileOp::Rename | FileOp::Link, Some(target)) => Field::text(target),
                _ => Field::text(&file.path),
            }),
            _ => None,
        }
    }

    fn own_value(&self, path: &str) -> Option<Field<'_>> {
        let head = || self.head();
        Some(match path {
            "id" => Field::text(head().id.as_str()),
            "class" => Field::text(self.what.class().as_str()),
            "source" => Field::text(head().source.as_str()),
            "node" => Field::text(self.cx.node.as_str()),
            "time" => text(head().at.wall),
            "subject" => text(self.subject()),
            "entity" => text(self.entity()),
            "actor" => Field::Null,
            _ => {
                if let Some(rest) = path.strip_prefix("process.") {
                    return self.process_value(rest);
                }
                return self.part_value(path);
            }
        })
    }

    /// The fields of one class.
    fn part_value(&self, path: &str) -> Option<Field<'_>> {
        let (group, name) = path.split_once('.')?;
        match (&self.what, group) {
            (What::Loss(loss), "loss") => fields::loss(loss, name),
            (What::Net(net), "network") => match name {
                "feeds_shell" => Some(Field::Bool(self.fed_shell().is_some())),
                "shell" => {
                    Some(Field::or_null(self.fed_shell().and_then(|k| self.table.get(k)), |p| text(self.id_of(p))))
                }
                "shell_pid" => Some(Field::or_null(self.fed_shell(), |key| Field::Int(key.pid.into()))),
                _ => fields::network(net, name),
            },
            (What::File(file), "file") => fields::file(file, name),
            (What::Exit(status), "exit") => fields::exit(*status, name),
            (What::Cred { call, old }, "credentials") => match name {
                "change" => Some(Field::text(probes::call_name("credentials_change", *call))),
                "old" => Some(fields::ids(old)),
                "new" => Some(Field::or_null(self.process, |p| fields::ids(&p.ids))),
                _ => None,
            },
            (What::Access { call, target }, "access") => match name {
                "kind" => Some(Field::text(probes::call_name("process_access", *call))),
                "target" => Some(Field::or_null(target.and_then(|k| self.table.get(k)), |p| text(self.id_of(p)))),
                _ => None,
            },
            (_, "container" | "pod") => self.place_value(path),
            _ => None,
        }
    }

    /// Everything under quell's own names; what would have to be searched for only where it tells most.
    fn own_map(&self) -> serde_json::Map<String, Json> {
        let shell_starts = matches!(self.what, What::Exec) && self.process.is_some_and(Process::is_shell);
        let searched = self.relays.get().is_some() || shell_starts;
        let fed = self.fed.get().is_some();
        let mut out = serde_json::Map::new();
        for path in quell_model::fields::known(self.what.class()) {
            let of_relay = path.starts_with("process.stdio.relay");
            let of_shell = matches!(path, "network.feeds_shell" | "network.shell" | "network.shell_pid");
            let dear = (of_relay && !searched) || (of_shell && !fed);
            // The label is a file of /proc: read where a process begins, not with each thing that it does.
            let elsewhere = path == "process.confinement.label" && !matches!(self.what, What::Exec);
            if dear || elsewhere || quell_model::fields::HEAD.contains(&path) {
                continue;
            }
            if let Some(value) = self.own_value(path).filter(|v| *v != Field::Null) {
                put(&mut out, path, value.to_json());
            }
        }
        out
    }
}

impl Event for SensorEvent<'_> {
    fn head(&self) -> &EventHead {
        self.head.get_or_init(|| EventHead {
            id: self.cx.event_id(self.at, self.tid, self.what.class(), self.scanned),
            class: self.what.class(),
            source: self.cx.source(self.scanned),
            node: self.cx.node.clone(),
            at: self.cx.stamp(self.at),
            seen: self.cx.now(),
        })
    }

    fn logsource(&self) -> &LogSource {
        self.cx.logsource(self.what.class())
    }

    fn sigma(&self, field: &str) -> Option<Field<'_>> {
        self.sigma_value(field).or_else(|| self.own(field))
    }

    fn own(&self, path: &str) -> Option<Field<'_>> {
        if let Some(value) = self.own_value(path) {
            return Some(value);
        }
        if !quell_model::fields::is_known(self.what.class(), path) {
            return None;
        }
        // A group as a whole, or a name that this event lacks.
        let mut at = &Json::Object(self.own_map());
        for part in path.split('.') {
            match at.get(part) {
                Some(inner) => at = inner,
                None => return Some(Field::Null),
            }
        }
        Some(Field::from_json(at).into_owned())
    }

    fn sigma_fields(&self, each: &mut dyn FnMut(&str, Field<'_>)) {
        for name in quell_model::fields::sigma(self.what.class()) {
            if let Some(value) = self.sigma_value(name) {
                each(name, value);
            }
        }
    }

    fn subject(&self) -> Subject {
        self.process.map_or(Subject::Unknown, |p| Subject::Process(self.id_of(p)))
    }

    fn parent_id(&self) -> Option<ProcessId> {
        self.parent().map(|parent| self.id_of(parent))
    }

    fn entity(&self) -> Entity {
        let node = self.cx.node.clone();
        let mut found = None;
        if let Some(process) = self.process {
            let mut say = |kind: &str, id: &str, node: &str| {
                found = Some(Entity { kind: kind.into(), id: id.into(), node: node.into() });
            };
            self.entity_of(process, &mut say);
        }
        found.unwrap_or_else(|| Entity { kind: "node".into(), id: node.clone(), node })
    }

    fn to_owned(&self) -> OwnedEvent {
        let mut sigma = serde_json::Map::new();
        self.sigma_fields(&mut |name, value| {
            sigma.insert(name.to_owned(), value.to_json());
        });
        OwnedEvent {
            v: EVENT_VERSION,
            head: self.head().clone(),
            logsource: self.logsource().clone(),
            sigma,
            own: self.own_map(),
            subject: self.subject(),
            entity: self.entity(),
        }
    }

    fn tell(&self, to: &mut dyn Teller) {
        self.tell_parts(to);
    }
}

/// Directions, in the kernel side's numbers.
pub(crate) const OUT: u8 = 1;
pub(crate) const IN: u8 = 2;

/// Where a connection came from and goes to: of an inbound one the peer is the source.
fn ends(net: &Net) -> (SocketAddr, SocketAddr) {
    let local = SocketAddr::new(address(net.family, &net.local), net.local_port);
    let peer = SocketAddr::new(address(net.family, &net.peer), net.peer_port);
    if net.direction == IN { (peer, local) } else { (local, peer) }
}

fn protocol(number: u8) -> &'static str {
    match i32::from(number) {
        libc::IPPROTO_TCP => "tcp",
        libc::IPPROTO_UDP => "udp",
        libc::IPPROTO_ICMP => "icmp",
        libc::IPPROTO_SCTP => "sctp",
        _ => "other",
    }
}

fn text(value: impl ToString) -> Field<'static> {
    Field::Str(value.to_string().into())
}

#[cfg(test)]
mod tests;
