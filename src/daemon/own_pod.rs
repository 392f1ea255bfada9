//! The pod that quell itself runs in, and the node that this is: what the downward API, the service account's files and the host tell.
//!
//! Owns the names of the variables. Asks no cluster. Keeps true: what is not told is not guessed: without a namespace there is no pod.

use quell_model::guard::OwnPod;
use std::path::Path;

/// What the kubelet puts into a pod that may speak to the API server.
const NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// It, where quell runs in one.
pub(crate) fn own_pod() -> Option<OwnPod> {
    let namespace = std::fs::read_to_string(Path::new(NAMESPACE)).ok();
    of(|name| std::env::var(name).ok(), namespace.as_deref(), super::node().as_str())
}

/// What the node that this is is called, as far as it was told: by `kubernetes.node` of quell.yaml, or by the downward API.
pub(crate) fn told_node(config: &quell_engine::load::Config) -> Option<String> {
    let own = config.kubernetes.node.as_ref().map(ToString::to_string);
    own.or_else(|| std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty()))
}

fn of(set: impl Fn(&str) -> Option<String>, namespace: Option<&str>, host: &str) -> Option<OwnPod> {
    let set = |name: &str| set(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let namespace = set("POD_NAMESPACE").or_else(|| namespace.map(|text| text.trim().to_owned()))?;
    // A pod without the host's network is called as its machine is.
    let name = set("POD_NAME").unwrap_or_else(|| host.to_owned());
    Some(OwnPod { namespace, name, uid: set("POD_UID") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_the_downward_api_says_else_as_its_files_and_its_host_do() {
        let all = |name: &str| {
            let text = match name {
                "POD_NAMESPACE" => "quell",
                "POD_NAME" => "quell-x7",
                "POD_UID" => "5e0b\n",
                _ => return None,
            };
            Some(text.to_owned())
        };
        let pod = |name: &str, uid: Option<&str>| {
            Some(OwnPod { namespace: "quell".into(), name: name.into(), uid: uid.map(str::to_owned) })
        };
        assert_eq!(of(all, Some("other"), "host"), pod("quell-x7", Some("5e0b")));
        assert_eq!(of(|_| None, Some("quell\n"), "quell-x7"), pod("quell-x7", None));
        assert_eq!(of(|_| Some(String::new()), Some("quell"), "host"), pod("host", None));
        assert_eq!(of(|_| None, None, "host"), None);
    }
}
