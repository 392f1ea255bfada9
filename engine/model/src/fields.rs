//! The table of quell's own field names, by class: what `event.*` can be in playbooks.
//!
//! A name in the table that an event lacks reads as absent (`()`), one that is not in it is a mistake at check time.
//! The sensor's events and this table are held together by a test in detectors-ebpf.

use crate::Json;
use crate::event::Class;

/// Under every class, filled in from the head.
pub const HEAD: &[&str] = &["id", "class", "source", "node", "time", "subject", "entity", "actor"];

const PROCESS: &[&str] = &[
    "process.id",
    "process.pid",
    "process.start",
    "process.exec_id",
    "process.image",
    "process.inode",
    "process.device",
    "process.command_line",
    "process.args",
    "process.args_truncated",
    "process.cwd",
    "process.user",
    "process.uid",
    "process.euid",
    "process.gid",
    "process.caps",
    "process.tty",
    "process.cgroup",
    "process.cgroup_path",
    "process.unit",
    "process.parent",
    "process.ancestors",
    "process.session",
    "process.stdio.socket",
    "process.stdio.peer",
    // True when input (fd 0) and output (fd 1 or 2) both lead, over pipes, fifos, pseudo terminals or UNIX sockets and
    // what copies between them (`cat`), to processes that hold a connection, loopback too. Where they lead to two
    // different processes, the relay's pid, image and peer are lists of both, input first: `curl … | sh` in a session
    // of sshd's is no reverse shell, and only the two images tell.
    "process.stdio.relayed",
    "process.stdio.relay_pid",
    "process.stdio.relay_image",
    "process.stdio.relay_peer",
    "process.stdio.kinds",
    "process.memfd",
    "process.deleted",
    "process.in_shm",
    "process.overlay_upper",
    "process.confinement.seccomp",
    "process.confinement.no_new_privs",
    "process.confinement.caps",
    "process.confinement.label",
    "process.namespaces.pid",
    "process.namespaces.net",
    "process.namespaces.mnt",
    "container.id",
    "container.runtime",
    "container.name",
    "container.image",
    "container.image_digest",
    "pod.uid",
    "pod.namespace",
    "pod.name",
    "pod.labels",
    "pod.node",
    "pod.owner",
    "pod.service_account",
    "pod.host_network",
    "pod.ip",
];

const NETWORK: &[&str] = &[
    "network.protocol",
    "network.direction",
    "network.source_ip",
    "network.source_port",
    "network.destination_ip",
    "network.destination_port",
    "network.loopback",
    "network.private",
    // The same, seen from the connection that was opened after the shell: true when a shell's input and output both
    // lead to this process. `shell` is the shell's identity, as actions take it.
    "network.feeds_shell",
    "network.shell",
    "network.shell_pid",
];

const FILE: &[&str] =
    &["file.path", "file.operation", "file.mode", "file.inode", "file.device", "file.target", "file.watched"];

const CREDENTIALS: &[&str] = &["credentials.change", "credentials.old", "credentials.new"];
const ACCESS: &[&str] = &["access.target", "access.kind"];
const LOSS: &[&str] = &["loss.class", "loss.count", "loss.cgroup", "loss.cgroup_path", "loss.why"];
const EXIT: &[&str] = &["exit.code", "exit.signal"];
const RECORD: &[&str] = &[
    "raw",
    "cloud.account",
    "cloud.region",
    "cloud.principal",
    "cloud.action",
    "cloud.source_ip",
    // Of Kubernetes: as whom it was done, where that is somebody else; what it was done to, by its name.
    "cloud.acts_as",
    "cloud.object",
    // The path that a node, a pod or a service was asked for through the API server.
    "cloud.path",
    // The node's directories that are to be mounted, each without what leads nowhere.
    "cloud.host_paths",
    // True where what was asked and answered was left out of the record, for its size.
    "cloud.truncated",
    // The pod whose service account's token it was done with.
    "cloud.pod.namespace",
    "cloud.pod.name",
    "cloud.pod.uid",
    // The pod to which it was done.
    "pod.namespace",
    "pod.name",
    "pod.uid",
    "pod.labels",
    "pod.node",
    "pod.service_account",
];

fn parts(class: Class) -> [&'static [&'static str]; 3] {
    match class {
        Class::ProcessFork | Class::ProcessCreation => [HEAD, PROCESS, &[]],
        Class::ProcessTermination => [HEAD, PROCESS, EXIT],
        Class::NetworkConnection => [HEAD, PROCESS, NETWORK],
        Class::FileEvent => [HEAD, PROCESS, FILE],
        Class::Credentials => [HEAD, PROCESS, CREDENTIALS],
        Class::ProcessAccess => [HEAD, PROCESS, ACCESS],
        Class::Loss => [HEAD, LOSS, &[]],
        Class::Record => [HEAD, RECORD, &[]],
    }
}

/// Every own name of a class, without the `event.` prefix.
pub fn known(class: Class) -> impl Iterator<Item = &'static str> {
    parts(class).into_iter().flat_map(|list| list.iter().copied())
}

/// Every own name of any class, for a playbook that several classes may start. Names repeat.
pub fn known_anywhere() -> impl Iterator<Item = &'static str> {
    Class::ALL.into_iter().flat_map(known)
}

/// Sigma's names that the sensor's events of a class answer; quell's own come beside them.
#[must_use]
pub fn sigma(class: Class) -> &'static [&'static str] {
    match class {
        Class::ProcessCreation => &[
            "Image",
            "CommandLine",
            "CurrentDirectory",
            "User",
            "LogonId",
            "ProcessId",
            "ParentProcessId",
            "ParentImage",
            "ParentCommandLine",
            "ParentUser",
        ],
        Class::NetworkConnection => &[
            "Image",
            "CommandLine",
            "User",
            "ProcessId",
            "ParentImage",
            "ParentCommandLine",
            "Initiated",
            "Protocol",
            "SourceIp",
            "SourcePort",
            "DestinationIp",
            "DestinationPort",
        ],
        Class::FileEvent => {
            &["Image", "CommandLine", "User", "ProcessId", "ParentImage", "ParentCommandLine", "TargetFilename"]
        }
        Class::ProcessFork | Class::ProcessTermination | Class::Credentials | Class::ProcessAccess => {
            &["Image", "CommandLine", "User", "ProcessId", "ParentImage", "ParentCommandLine"]
        }
        Class::Loss | Class::Record => &[],
    }
}

/// Whether `path` is a name of this class, a part of one (`process.stdio`), or below a free-form one.
#[must_use]
pub fn is_known(class: Class, path: &str) -> bool {
    known(class).any(|name| covers(name, path))
}

/// Whether `path` is known under any class.
#[must_use]
pub fn is_known_anywhere(path: &str) -> bool {
    Class::ALL.into_iter().any(|class| is_known(class, path))
}

/// Values under which anything may stand: people's records and labels.
const FREE: &[&str] = &["raw", "pod.labels", "process.confinement.caps"];

/// What a parent is shown with. The sensor writes these, and no others: see `PARENT`'s test in detectors-ebpf.
pub const PARENT: &[&str] = &[
    "process.parent.id",
    "process.parent.pid",
    "process.parent.image",
    "process.parent.command_line",
    "process.parent.user",
    "process.parent.uid",
    "process.parent.start",
    "process.parent.exec_id",
    "process.parent.in_shm",
    "process.parent.memfd",
    "process.parent.deleted",
    "process.parent.stdio.socket",
    "process.parent.stdio.peer",
    "process.parent.stdio.kinds",
];

fn covers(name: &str, path: &str) -> bool {
    let below = |upper: &str, lower: &str| lower.strip_prefix(upper).is_some_and(|rest| rest.starts_with('.'));
    name == path
        || below(path, name)
        || (FREE.contains(&name) && below(name, path))
        || (name == "process.parent" && PARENT.iter().any(|part| *part == path || below(path, part)))
}

/// Puts `null` where a known name is missing, so that reading it gives `()` and not an error. A group whose parts
/// are all absent (`pod`, `container`) stays `null` as a whole: `event.pod == ()`.
pub(crate) fn ensure_known(event: &mut serde_json::Map<String, Json>, path: &str) {
    match path.split_once('.') {
        None => {
            event.entry(path).or_insert(Json::Null);
        }
        Some((group, rest)) => match event.get_mut(group) {
            Some(Json::Object(inner)) => ensure_known(inner, rest),
            Some(_) => {}
            None => {
                event.insert(group.to_owned(), Json::Null);
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_names_and_free_parts_are_known_and_others_are_not() {
        for path in [
            "process",
            "process.id",
            "process.stdio",
            "process.parent.image",
            "process.parent.stdio",
            "process.parent.stdio.peer",
            "node",
            "pod.labels.app",
        ] {
            assert!(is_known(Class::ProcessCreation, path), "{path}");
        }
        for path in [
            "proces",
            "process.idd",
            "network.protocol",
            "process.id.x",
            "process.parent.imgae",
            "process.parent.stdio.relayed",
            "process.parent.image.x",
            "process.ancestors.image",
        ] {
            assert!(!is_known(Class::ProcessCreation, path), "{path}");
        }
    }
}
