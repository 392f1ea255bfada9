//! Where on a host an answer came from, and whether that is where the suspect stands.
//!
//! Owns the comparison. Never asks the world: whoever took the answer in says where its process stood. Keeps true: a host's own
//! ways (process tree, container, login session, user, cgroup) are compared with events of that host alone.

use crate::Json;
use crate::guard::place;
use crate::ids::Name;
use crate::process::ProcessId;
use serde::{Deserialize, Serialize};

/// The process at the other end of the socket, or of a connection from this host, as it stood when the answer came.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// Which host.
    pub node: Name,
    /// The process and those it descends from, the nearest first. Empty: it has ended, and where it stood is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessId>,
    /// Its user id, as the kernel told it with the connection.
    pub uid: u32,
    /// The login: logind's session by the cgroup, or audit's; as `event.process.session`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Its cgroup's path below its hierarchy's root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
}

impl Origin {
    /// Why an answer from here may be the suspect's own; none: it comes from elsewhere. `event` as playbooks see it.
    #[must_use]
    pub fn suspicion(&self, event: &Json) -> Option<String> {
        let text = |json: &Json, name: &str| json.get(name).and_then(Json::as_str).map(str::to_owned);
        let process = event.get("process").filter(|process| process.is_object())?;
        if event.get("node").and_then(Json::as_str) != Some(self.node.as_str()) {
            return None;
        }
        let id: Option<ProcessId> = text(process, "id").and_then(|id| id.parse().ok());
        if self.processes.is_empty() {
            return Some("whoever answered has ended, and nobody knows from where".to_owned());
        }
        if id.is_some_and(|id| self.processes.iter().any(|own| own.same_process(&id))) {
            return Some("it comes from the suspected process, or from one that it started".to_owned());
        }
        let cgroup = self.cgroup.as_deref().unwrap_or_default();
        if let Some(container) = event.get("container").and_then(|container| text(container, "id")) {
            return cgroup.contains(&container).then(|| "it comes from the suspected container".to_owned());
        }
        let session = text(process, "session");
        if let Some(session) = session.as_ref().filter(|session| self.session.as_ref() == Some(session)) {
            return Some(format!("it comes from the suspected login session {session}"));
        }
        let runs_as = |name: &str| process.get(name).and_then(Json::as_u64) == Some(u64::from(self.uid));
        // A user makes sessions and cgroups of their own at will; root is everywhere.
        if self.uid != 0 && (runs_as("uid") || runs_as("euid")) {
            return Some(format!("it comes from user id {}, as which the suspected process runs", self.uid));
        }
        if session.is_some() && self.session.is_some() {
            return None;
        }
        let suspected = text(process, "cgroup_path").unwrap_or_default();
        let suspected = place(&suspected);
        (!matches!(suspected, "" | "/") && suspected == place(cgroup))
            .then(|| format!("it comes from the suspected cgroup `{suspected}`"))
    }
}

/// Of an event, as playbooks see it, what [`Origin::suspicion`] reads.
#[must_use]
pub fn suspect(event: &Json) -> Json {
    let part = |of: &str, names: &[&str]| {
        let whole = event.get(of).and_then(Json::as_object)?;
        let parts = names.iter().filter_map(|name| Some(((*name).to_owned(), whole.get(*name)?.clone())));
        Some((of.to_owned(), Json::Object(parts.collect())))
    };
    let process = part("process", &["id", "uid", "euid", "session", "cgroup_path"]);
    let plain = ["node", "actor"].into_iter().filter_map(|name| Some((name.to_owned(), event.get(name)?.clone())));
    Json::Object(plain.chain(process).chain(part("container", &["id"])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CONTAINER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn id(pid: u32) -> String {
        format!("{pid}.{pid}0000000.1@b")
    }

    fn origin(pids: &[u32], uid: u32, session: Option<&str>, cgroup: &str) -> Origin {
        Origin {
            node: "n".into(),
            processes: pids.iter().map(|pid| id(*pid).parse().unwrap()).collect(),
            uid,
            session: session.map(str::to_owned),
            cgroup: Some(cgroup.to_owned()),
        }
    }

    fn event(uid: u32, session: Option<&str>, cgroup: &str) -> Json {
        let process = json!({ "id": id(70), "uid": uid, "euid": uid, "session": session, "cgroup_path": cgroup });
        json!({ "node": "n", "process": process, "container": { "id": null } })
    }

    #[test]
    fn where_the_suspect_stands_is_known_by_tree_session_user_and_cgroup() {
        let nginx = "/system.slice/nginx.service";
        let suspect = event(1000, Some("7"), "/user.slice/user-1000.slice/session-7.scope");
        for (from, said) in [
            (origin(&[90, 70, 1], 1001, Some("8"), "/"), Some("from one that it started")),
            (origin(&[90, 1], 1001, Some("7"), "/"), Some("login session 7")),
            (origin(&[90, 1], 1000, Some("8"), "/"), Some("user id 1000")),
            (origin(&[90, 1], 1001, None, "/user.slice/user-1000.slice/user@1000.service"), Some("suspected cgroup")),
            (origin(&[90, 1], 1001, Some("8"), "/user.slice/user-1000.slice"), None),
            (origin(&[90, 1], 1001, Some("8"), "/user.slice/user-1001.slice/session-8.scope"), None),
            (origin(&[], 1001, None, ""), Some("has ended")),
            (origin(&[90, 1], 0, None, nginx), None),
        ] {
            let found = from.suspicion(&suspect);
            assert_eq!(found, from.suspicion(&super::suspect(&suspect)), "what is kept of an event says the same");
            assert!(
                found.as_deref().is_some_and(|found| said.is_some_and(|said| found.contains(said)))
                    || (found.is_none() && said.is_none()),
                "{from:?}: {found:?}"
            );
        }
        let root = event(0, None, nginx);
        assert_eq!(origin(&[90, 1], 0, None, "/").suspicion(&root), None, "root is everywhere");
        assert!(origin(&[90, 1], 0, None, "/system.slice/nginx.service/x").suspicion(&root).is_some());
        assert_eq!(origin(&[90, 1], 0, None, "/").suspicion(&event(0, None, "/")), None, "no cgroup of its own");
    }

    #[test]
    fn a_container_is_compared_as_one_and_its_users_are_not_the_hosts() {
        let inside = format!("/kubepods/pod1/{CONTAINER}");
        let mut suspect = event(1000, None, &inside);
        suspect["container"]["id"] = CONTAINER.into();
        assert!(origin(&[90, 1], 5, None, &format!("{inside}/deeper")).suspicion(&suspect).is_some());
        assert_eq!(origin(&[90, 1], 1000, Some("7"), "/user.slice").suspicion(&suspect), None);
    }

    #[test]
    fn another_host_and_what_has_no_process_are_not_compared() {
        let here = origin(&[70], 1000, None, "/");
        let mut other = event(1000, None, "/");
        assert!(here.suspicion(&other).is_some());
        other["node"] = "another".into();
        assert_eq!(here.suspicion(&other), None);
        assert_eq!(here.suspicion(&json!({ "node": "n", "actor": "arn:aws:iam::1:user/bo" })), None);
        assert_eq!(here.suspicion(&Json::Null), None);
    }
}
