//! What was asked of a node, a pod or a service through the API server's `proxy`.
//!
//! Owns how the other's path is read out of `requestURI`: as the other reads it, whatever of it was written in percents. An API server
//! writes the address as it came.

use super::{Record, text};
use serde_json::json;

/// What of a kubelet's own API is done to one pod: `/exec/NAMESPACE/POD/CONTAINER` (kubernetes, pkg/kubelet/server).
const OF_A_POD: [&str; 5] = ["exec", "run", "attach", "portForward", "containerLogs"];

/// The path that the other was asked for.
pub(super) struct Proxied {
    of_node: bool,
    parts: Vec<String>,
}

impl Proxied {
    /// None: nothing was proxied.
    pub(super) fn of(record: &Record) -> Option<Self> {
        let resource = text(record, "objectRef.resource")?;
        if text(record, "objectRef.subresource") != Some("proxy") {
            return None;
        }
        let (path, _) = text(record, "requestURI")?.split_once('?').unwrap_or((text(record, "requestURI")?, ""));
        let mut parts: Vec<String> = Vec::new();
        for part in decoded(path).split('/') {
            match part {
                "" | "." => {}
                part => parts.push(part.to_owned()),
            }
        }
        let at = parts.windows(3).position(|three| three[0] == resource && three[2] == "proxy")?;
        Some(Self { of_node: resource == "nodes", parts: parts.split_off(at + 3) })
    }

    /// From the other's root.
    pub(super) fn path(&self) -> String {
        format!("/{}", self.parts.join("/"))
    }

    /// The pod that a kubelet was asked to do something to.
    pub(super) fn pod(&self) -> Option<quell_model::Json> {
        let [what, namespace, name, ..] = self.parts.as_slice() else { return None };
        let is_of_pod = self.of_node && OF_A_POD.contains(&what.as_str());
        is_of_pod.then(|| json!({ "namespace": namespace, "name": name }))
    }
}

/// What is written in percents, once.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(resource: &str, uri: &str) -> Option<(String, Option<String>)> {
        let record = json!({ "objectRef": { "resource": resource, "subresource": "proxy" }, "requestURI": uri });
        let proxied = Proxied::of(record.as_object().unwrap())?;
        Some((
            proxied.path(),
            proxied.pod().map(|pod| format!("{}/{}", pod["namespace"], pod["name"]).replace('"', "")),
        ))
    }

    #[test]
    fn the_others_path_is_read_as_the_other_reads_it() {
        for (resource, uri, path, pod) in [
            ("nodes", "/api/v1/nodes/n1/proxy/exec/shop/web-0/c?command=id", "/exec/shop/web-0/c", Some("shop/web-0")),
            (
                "nodes",
                "/api/v1/nodes/https:n1:10250/proxy//%65xec/./shop/web-0/c",
                "/exec/shop/web-0/c",
                Some("shop/web-0"),
            ),
            ("nodes", "/api/v1/nodes/n1/proxy/run%2Fshop%2Fweb-0/c", "/run/shop/web-0/c", Some("shop/web-0")),
            ("nodes", "/api/v1/nodes/n1/proxy/metrics/cadvisor", "/metrics/cadvisor", None),
            ("nodes", "/api/v1/nodes/proxy/proxy", "/", None),
            ("nodes", "/api/v1/nodes/n1/proxy/100%/%zz", "/100%/%zz", None),
            ("pods", "/api/v1/namespaces/shop/pods/web-0:80/proxy/exec/a/b", "/exec/a/b", None),
        ] {
            assert_eq!(proxied(resource, uri), Some((path.to_owned(), pod.map(str::to_owned))), "{uri}");
        }
        assert_eq!(proxied("nodes", "/api/v1/nodes/n1"), None);
    }
}
