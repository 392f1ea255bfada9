//! Places: what somebody with one foothold cannot multiply, so that a flood out of one place counts once.
//!
//! Owns the cut of a cgroup's path. Never asks the world. Keeps true: what starts processes, images, sessions or
//! cgroups of its own at will stays in its place.

use crate::Json;

/// The place of a cgroup: of a user all that is theirs (with their own managers they make sessions and cgroups at will),
/// else the container, else the unit, each with all below it, else the cgroup itself.
#[must_use]
pub fn place(cgroup: &str) -> &str {
    let cut = |is_it: &dyn Fn(&str) -> bool| {
        let mut end = 0;
        for part in cgroup.split('/') {
            end += part.len();
            if is_it(part) {
                return Some(&cgroup[..end]);
            }
            end += 1;
        }
        None
    };
    let user = |part: &str| part.starts_with("user-") && part.ends_with(".slice");
    let unit = |part: &str| part.ends_with(".service") || part.ends_with(".scope");
    cut(&user).or_else(|| cut(&is_container)).or_else(|| cut(&unit)).unwrap_or(cgroup)
}

/// Somewhere in the name stands a container's id: 64 hexadecimal digits.
fn is_container(part: &str) -> bool {
    part.split(|c: char| !c.is_ascii_hexdigit()).any(|piece| piece.len() == 64)
}

/// The place that an event speaks of, as playbooks see the event: its process's, else its entity.
#[must_use]
pub fn place_of_event(event: &Json) -> &str {
    let cgroup = event.get("process").and_then(|process| process.get("cgroup_path")).and_then(Json::as_str);
    match cgroup.filter(|path| !path.is_empty()) {
        Some(path) => place(path),
        None => event.get("entity").and_then(Json::as_str).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whoever_makes_cgroups_of_their_own_stays_in_one_place() {
        let id = "0123456789abcdef".repeat(4);
        for (path, is) in [
            ("/", "/"),
            ("/box/inner", "/box/inner"),
            ("/user.slice/user-1000.slice/session-4.scope", "/user.slice/user-1000.slice"),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/run-r12.scope", "/user.slice/user-1000.slice"),
            ("/system.slice/nginx.service", "/system.slice/nginx.service"),
            ("/system.slice/nginx.service/worker-7/x.scope", "/system.slice/nginx.service"),
            ("", ""),
        ] {
            assert_eq!(place(path), is, "{path}");
        }
        let container = format!("/system.slice/docker-{id}.scope");
        assert_eq!(place(&format!("{container}/init/deeper.service")), container);
        assert_eq!(place(&format!("/docker/{id}/sub")), format!("/docker/{id}"));
        let below = format!("/system.slice/containerd.service/kubepods/pod1/{id}");
        assert_eq!(place(&below), below, "one container of many below their runtime's unit");
    }

    #[test]
    fn an_event_without_a_process_is_about_its_entity() {
        let event = json!({ "process": { "cgroup_path": "/system.slice/a.service/b" }, "entity": "unit a on n" });
        assert_eq!(place_of_event(&event), "/system.slice/a.service");
        assert_eq!(
            place_of_event(&json!({ "process": { "cgroup_path": null }, "entity": "unit a on n" })),
            "unit a on n"
        );
        assert_eq!(place_of_event(&json!({})), "");
    }
}
