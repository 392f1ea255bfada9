//! The directories of a node that something asked of an API server mounts.
//!
//! Owns how such a path is read: as the node's kernel would, without what leads nowhere (`/./etc//`), so that one rule finds all its
//! spellings. Knows nothing of which of them are dangerous.

use quell_model::Json;

/// At most so many are told.
const MOST: usize = 64;

/// The paths of all `hostPath` volumes, wherever they stand in what was asked: a pod, what makes pods, a JSON patch.
pub(super) fn of(asked: &Json) -> Vec<String> {
    let mut found = Vec::new();
    gather(asked, &mut found);
    found
}

fn gather(json: &Json, found: &mut Vec<String>) {
    match json {
        Json::Array(list) => list.iter().for_each(|one| gather(one, found)),
        Json::Object(map) => {
            let place = map.get("path").and_then(Json::as_str);
            // An operation of a JSON patch that changes the path alone, or puts the volume's source there.
            let patched = match place.and_then(|place| place.rsplit_once('/')) {
                Some((_, "hostPath")) => map.get("value").and_then(|value| value.get("path")),
                Some((upper, "path")) if upper.ends_with("/hostPath") => map.get("value"),
                _ => None,
            };
            let mounted = map.get("hostPath").and_then(|source| source.get("path"));
            for path in [patched, mounted].into_iter().flatten().filter_map(Json::as_str) {
                let path = plain(path);
                if found.len() < MOST && !found.contains(&path) {
                    found.push(path);
                }
            }
            map.values().for_each(|one| gather(one, found));
        }
        _ => {}
    }
}

/// From the root, whatever the runtime's own directory is: theirs is the root.
fn plain(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_has_one_spelling() {
        for (path, plainly) in [
            ("/", "/"),
            ("", "/"),
            ("/.", "/"),
            ("//./", "/"),
            ("/..", "/"),
            ("/srv/..", "/"),
            ("/./etc//kubernetes/.", "/etc/kubernetes"),
            ("etc", "/etc"),
            ("/var/run/../lib/kubelet/", "/var/lib/kubelet"),
            ("/srv/..data", "/srv/..data"),
        ] {
            assert_eq!(plain(path), plainly, "{path}");
        }
    }

    #[test]
    fn they_are_found_wherever_they_stand() {
        let volumes = json!([{ "name": "a", "hostPath": { "path": "/etc/" } }, { "name": "b", "emptyDir": {} }]);
        for asked in [
            json!({ "spec": { "volumes": volumes } }),
            json!({ "spec": { "template": { "spec": { "volumes": volumes } } } }),
            json!({ "spec": { "jobTemplate": { "spec": { "template": { "spec": { "volumes": volumes } } } } } }),
            json!([{ "op": "add", "path": "/spec/template/spec/volumes", "value": volumes }]),
            json!([{ "op": "add", "path": "/spec/template/spec/volumes/-", "value": volumes[0] }]),
            json!([{ "op": "replace", "path": "/spec/volumes/0/hostPath", "value": { "path": "/etc" } }]),
            json!([{ "op": "replace", "path": "/spec/volumes/0/hostPath/path", "value": "/./etc" }]),
        ] {
            assert_eq!(of(&asked), ["/etc"], "{asked}");
        }
        assert!(of(&json!({ "spec": { "path": "/etc", "hostPath": "/etc" } })).is_empty());
        let many = (0..1000).map(|n| json!({ "hostPath": { "path": format!("/{n}") } })).collect();
        assert_eq!(of(&Json::Array(many)).len(), MOST);
    }
}
