//! An event told in parts, for who keeps many: the same names and values as the owned event has, each from where it is.
//!
//! Owns what goes together under one token: an image, who a process is, where its streams lead, its parent, its line of
//! ancestors. Asks nothing of /proc: relays are told where a rule has asked for them, a process's label never.

use super::pod::{CONTAINER, POD};
use super::process::{ANCESTORS_SHOWN, seccomp, session, stdio};
use super::{SensorEvent, fields};
use crate::process::{Image, Process};
use crate::record::Stdio;
use quell_model::{Class, Field, Teller, Token, Told};
use std::borrow::Cow;
use std::net::IpAddr;

/// What each kind of shared part begins its token with; [`Image::token`] has 1.
const WHO: u64 = 2;
const STREAMS: u64 = 3;
const PARENT: u64 = 4;
const PARENT_STREAMS: u64 = 5;
const ANCESTORS: u64 = 6;

const NETWORK: [&str; 8] = [
    "network.protocol",
    "network.direction",
    "network.source_ip",
    "network.source_port",
    "network.destination_ip",
    "network.destination_port",
    "network.loopback",
    "network.private",
];
const SHELL: [&str; 3] = ["network.feeds_shell", "network.shell", "network.shell_pid"];
const FILE: [&str; 7] =
    ["file.path", "file.operation", "file.mode", "file.inode", "file.device", "file.target", "file.watched"];
const EXIT: [&str; 2] = ["exit.code", "exit.signal"];
const CREDENTIALS: [&str; 3] = ["credentials.change", "credentials.old", "credentials.new"];
const ACCESS: [&str; 2] = ["access.target", "access.kind"];
const LOSS: [&str; 5] = ["loss.class", "loss.count", "loss.cgroup", "loss.cgroup_path", "loss.why"];
const RELAYS: [&str; 4] = ["stdio.relayed", "stdio.relay_pid", "stdio.relay_image", "stdio.relay_peer"];
/// Sigma's names that go with the process's shared parts.
const SHARED: [&str; 6] = ["Image", "CommandLine", "User", "ProcessId", "ParentImage", "ParentCommandLine"];

fn number(n: u64) -> Told<'static> {
    Told::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

fn text_or_null(text: &str) -> Told<'_> {
    if text.is_empty() { Told::Null } else { Told::text(text) }
}

/// As the owned event does it: what is absent is left out.
fn own(to: &mut dyn Teller, path: &str, value: Option<Field<'_>>) {
    if let Some(value) = value.filter(|value| *value != Field::Null) {
        to.own(path, value.into());
    }
}

impl SensorEvent<'_> {
    pub(super) fn tell_parts(&self, to: &mut dyn Teller) {
        let class = self.what.class();
        match self.process {
            Some(process) => {
                self.tell_process(process, to);
                let rest = quell_model::fields::sigma(class).iter().filter(|name| !SHARED.contains(name));
                for name in rest {
                    if let Some(value) = self.sigma_value(name) {
                        to.sigma(name, value.into());
                    }
                }
            }
            None => {
                for name in quell_model::fields::sigma(class) {
                    if let Some(value) = self.sigma_value(name) {
                        to.sigma(name, value.into());
                    }
                }
                to.entity("node", self.cx.node.as_str(), self.cx.node.as_str());
            }
        }
        self.tell_part(class, to);
    }

    /// What is this class's own.
    fn tell_part(&self, class: Class, to: &mut dyn Teller) {
        let names: &[&str] = match class {
            Class::NetworkConnection => &NETWORK,
            Class::FileEvent => &FILE,
            Class::ProcessTermination => &EXIT,
            Class::Credentials => &CREDENTIALS,
            Class::ProcessAccess => &ACCESS,
            Class::Loss => &LOSS,
            Class::ProcessFork | Class::ProcessCreation | Class::Record => &[],
        };
        for name in names {
            own(to, name, self.part_value(name));
        }
        if self.fed.get().is_some() {
            for name in SHELL {
                own(to, name, self.part_value(name));
            }
        }
    }

    fn tell_process(&self, process: &Process, to: &mut dyn Teller) {
        to.sigma("ProcessId", Told::Int(process.key.pid.into()));
        to.own("process.id", Told::Process(self.id_of(process)));
        to.own("process.pid", Told::Int(process.key.pid.into()));
        to.own("process.start", Told::Moment(process.start));
        to.own("process.exec_id", number(process.exec_id));
        to.shared(process.image.token(), &mut |to| tell_image(&process.image, to));
        to.shared(who(process).with(self.pod().map_or(0, |pod| pod.version)), &mut |to| self.tell_who(process, to));
        to.shared(streams(STREAMS, &process.stdio), &mut |to| {
            for (path, name) in
                [("process.stdio.socket", "socket"), ("process.stdio.peer", "peer"), ("process.stdio.kinds", "kinds")]
            {
                own(to, path, stdio(&process.stdio, name));
            }
        });
        if self.relays.get().is_some() {
            for name in RELAYS {
                own(to, &format!("process.{name}"), self.process_value(name));
            }
        }
        self.tell_line(process, to);
    }

    /// The parent and those before it.
    fn tell_line(&self, process: &Process, to: &mut dyn Teller) {
        let mut line = Token::new(ANCESTORS);
        let mut first = None;
        for above in self.table.ancestors(process).take(ANCESTORS_SHOWN) {
            let token = relative(above);
            line = line.with(token.0);
            first.get_or_insert((above, token));
        }
        match first {
            Some((parent, token)) => {
                to.shared(token, &mut |to| {
                    to.sigma("ParentImage", text_or_null(&parent.image.path));
                    to.sigma("ParentCommandLine", Told::text(&parent.image.command_line));
                    to.own("process.parent", self.told_brief(parent));
                });
                let ends = self.stdio_of_parent(parent);
                to.shared(streams(PARENT_STREAMS, ends), &mut |to| {
                    for (path, name) in [
                        ("process.parent.stdio.socket", "socket"),
                        ("process.parent.stdio.peer", "peer"),
                        ("process.parent.stdio.kinds", "kinds"),
                    ] {
                        to.own(path, stdio(ends, name).map_or(Told::Null, Into::into));
                    }
                });
            }
            None => {
                to.sigma("ParentImage", Told::Null);
                to.sigma("ParentCommandLine", Told::Null);
            }
        }
        to.shared(line, &mut |to| {
            let chain = self.table.ancestors(process).take(ANCESTORS_SHOWN);
            to.own("process.ancestors", Told::List(chain.map(|above| self.told_brief(above)).collect()));
        });
    }

    fn tell_who(&self, process: &Process, to: &mut dyn Teller) {
        let ids = &process.ids;
        to.sigma("User", Told::text(&process.user));
        to.own("process.user", Told::text(&process.user));
        to.own("process.uid", Told::Int(ids.uid.into()));
        to.own("process.euid", Told::Int(ids.euid.into()));
        to.own("process.gid", Told::Int(ids.gid.into()));
        to.own("process.caps", fields::capabilities(ids.cap_effective).into());
        to.own("process.confinement.caps", fields::capabilities(ids.cap_effective).into());
        to.own("process.confinement.seccomp", Told::text(seccomp(process.confinement)));
        to.own("process.confinement.no_new_privs", Told::Bool(process.confinement.no_new_privs));
        let spaces = &process.namespaces;
        let named = ["process.namespaces.pid", "process.namespaces.net", "process.namespaces.mnt"];
        for (path, n) in named.into_iter().zip([spaces.pid, spaces.net, spaces.mnt]) {
            if n != 0 {
                to.own(path, Told::Int(n.into()));
            }
        }
        to.own("process.cgroup", number(process.cgroup_id));
        let group = &process.cgroup;
        let path = Some(&*group.path).filter(|path| !path.is_empty());
        let texts =
            [("process.tty", process.tty()), ("process.cgroup_path", path), ("process.unit", group.unit.as_deref())];
        for (path, text) in texts {
            if let Some(text) = text {
                to.own(path, Told::text(text));
            }
        }
        own(to, "process.session", Some(session(process)));
        for path in CONTAINER.into_iter().chain(POD) {
            own(to, path, self.place_value(path));
        }
        self.entity_of(process, &mut |kind, id, node| to.entity(kind, id, node));
    }

    /// What a parent or ancestor is shown as.
    fn told_brief<'p>(&self, process: &'p Process) -> Told<'p> {
        let image = &process.image;
        let parts = [
            ("id", Told::Process(self.id_of(process))),
            ("pid", Told::Int(process.key.pid.into())),
            ("image", text_or_null(&image.path)),
            ("command_line", Told::text(&image.command_line)),
            ("user", Told::text(&process.user)),
            ("uid", Told::Int(process.ids.uid.into())),
            ("start", Told::Moment(process.start)),
            ("exec_id", number(process.exec_id)),
            ("in_shm", Told::Bool(image.in_shm())),
            ("memfd", Told::Bool(image.memfd)),
            ("deleted", Told::Bool(image.deleted)),
        ];
        Told::Map(parts.into_iter().map(|(name, value)| (Cow::Borrowed(name), value)).collect())
    }
}

fn tell_image(image: &Image, to: &mut dyn Teller) {
    to.sigma("Image", text_or_null(&image.path));
    to.sigma("CommandLine", Told::text(&image.command_line));
    if !image.path.is_empty() {
        to.own("process.image", Told::text(&image.path));
    }
    to.own("process.inode", number(image.inode));
    to.own("process.device", Told::Text(fields::Device(image.device).to_string().into()));
    to.own("process.command_line", Told::text(&image.command_line));
    to.own("process.args", Told::List(image.args().map(Told::text).collect()));
    to.own("process.args_truncated", Told::Bool(image.args_cut));
    to.own("process.cwd", Told::text(&image.cwd));
    to.own("process.memfd", Told::Bool(image.memfd));
    to.own("process.deleted", Told::Bool(image.deleted));
    to.own("process.in_shm", Told::Bool(image.in_shm()));
    if let Some(upper) = image.upper {
        to.own("process.overlay_upper", Told::Bool(upper));
    }
}

fn who(process: &Process) -> Token {
    let (ids, spaces, held) = (&process.ids, &process.namespaces, &process.confinement);
    let pair = |a: u32, b: u32| u64::from(a) << 32 | u64::from(b);
    Token::new(WHO)
        .with(pair(ids.uid, ids.euid))
        .with(pair(ids.gid, process.session))
        .with(ids.cap_effective)
        .with(pair(spaces.pid, spaces.net))
        .with(pair(spaces.mnt, u32::from(held.seccomp) << 1 | u32::from(held.no_new_privs)))
        .with(process.cgroup_id)
        .with_text(&process.user)
        .with_text(&process.tty)
        .with_text(&process.cgroup.path)
}

/// A parent or ancestor, as far as it is shown.
fn relative(process: &Process) -> Token {
    Token::new(PARENT)
        .with(process.start)
        .with(u64::from(process.key.pid) << 32 | u64::from(process.ids.uid))
        .with(process.exec_id)
        .with(process.image.token().0)
        .with_text(&process.user)
}

fn streams(kind: u64, ends: &[Stdio; 3]) -> Token {
    ends.iter().fold(Token::new(kind), |token, end| {
        let token = token.with((end.kind as u64) << 32 | u64::from(end.rdev));
        match end.peer() {
            None => token,
            Some(peer) => {
                let ip = match peer.ip() {
                    IpAddr::V4(v4) => u128::from(u32::from(v4)) | 1 << 100,
                    IpAddr::V6(v6) => u128::from(v6),
                };
                token.with(u64::from(peer.port()) | 1 << 40).with(ip as u64).with((ip >> 64) as u64)
            }
        }
    })
}
