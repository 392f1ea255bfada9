//! What a restriction may break in a template's containers, and what it leaves open.
//!
//! Pure. Keeps true: what nobody can know from a template is said to be unknown, not left out.

use super::fields::{containers, own_profile};
use quell_actions::text::plain;
use quell_model::Json;
use serde_json::json;

/// By how many lines each of both is told at most.
const LINES: usize = 40;

/// What its containers may no longer do.
pub(super) fn breaks(template: &Json) -> Vec<String> {
    let of_pod = &template["spec"]["securityContext"];
    let mut all = Vec::new();
    for (_, container) in containers(template) {
        let name = container["name"].as_str().unwrap_or_default();
        let context = &container["securityContext"];
        let mut says = |what: String| all.push(format!("container `{name}` {what}"));
        if context["privileged"] == json!(true) {
            says("runs privileged: it loses every device and capability".to_owned());
        }
        let added: Vec<&str> =
            context["capabilities"]["add"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        if !added.is_empty() {
            says(format!("loses the capabilities that were added: {}", plain(&added.join(", "))));
        }
        let set = |key: &str| if context[key].is_null() { &of_pod[key] } else { &context[key] };
        match (set("runAsUser").as_i64(), set("runAsNonRoot")) {
            (Some(0), _) => says(
                "runs as root: without capabilities it neither changes owners nor listens below port 1024".to_owned(),
            ),
            (Some(_), _) | (None, Json::Bool(true)) => {}
            _ => says("may run as root, and would lose what root may there: its image says".to_owned()),
        }
        if context["readOnlyRootFilesystem"] != json!(true) {
            says("can write only in its volumes from then on; whether it writes elsewhere is not known".to_owned());
        }
    }
    bounded(all)
}

/// What an attacker can still use of it.
pub(super) fn leaves_open(template: &Json) -> Vec<String> {
    let spec = &template["spec"];
    let mut all = Vec::new();
    for (key, what) in [("hostNetwork", "network"), ("hostPID", "processes"), ("hostIPC", "shared memory")] {
        if spec[key] == json!(true) {
            all.push(format!("its pods share the node's {what} (`{key}`)"));
        }
    }
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        if let Some(path) = volume["hostPath"]["path"].as_str() {
            all.push(format!("`{}` of the node is mounted", plain(path)));
        }
    }
    for (_, container) in containers(template) {
        if let Some(profile) = own_profile(template, container) {
            let name = container["name"].as_str().unwrap_or_default();
            all.push(format!("container `{name}` keeps its own seccomp profile `{}`", plain(&profile)));
        }
    }
    bounded(all)
}

fn bounded(mut all: Vec<String>) -> Vec<String> {
    let more = all.len().saturating_sub(LINES);
    all.truncate(LINES);
    if more > 0 {
        all.push(format!("and {more} more"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_is_said_of_each_container() {
        let template = json!({ "spec": {
            "securityContext": { "runAsUser": 7 },
            "containers": [
                { "name": "a", "securityContext": { "privileged": true, "runAsUser": 0 } },
                { "name": "b", "securityContext": { "readOnlyRootFilesystem": true, "capabilities": { "add": ["NET_ADMIN"] } } },
            ],
            "initContainers": [{ "name": "c", "securityContext": { "runAsNonRoot": true, "readOnlyRootFilesystem": true } }],
        } });
        assert_eq!(
            breaks(&template),
            [
                "container `a` runs privileged: it loses every device and capability",
                "container `a` runs as root: without capabilities it neither changes owners nor listens below port 1024",
                "container `a` can write only in its volumes from then on; whether it writes elsewhere is not known",
                "container `b` loses the capabilities that were added: NET_ADMIN",
            ]
        );
        let bare = json!({ "spec": { "containers": [{ "name": "a" }] } });
        assert_eq!(
            breaks(&bare)[0],
            "container `a` may run as root, and would lose what root may there: its image says"
        );
    }

    #[test]
    fn what_stays_open_is_said() {
        let template = json!({ "spec": {
            "hostPID": true,
            "volumes": [{ "name": "d", "hostPath": { "path": "/run/docker.sock" } }, { "name": "e", "emptyDir": {} }],
            "containers": [{ "name": "a", "securityContext": { "seccompProfile": { "type": "Localhost", "localhostProfile": "a.json" } } }],
        } });
        assert_eq!(
            leaves_open(&template),
            [
                "its pods share the node's processes (`hostPID`)",
                "`/run/docker.sock` of the node is mounted",
                "container `a` keeps its own seccomp profile `a.json`",
            ]
        );
    }
}
