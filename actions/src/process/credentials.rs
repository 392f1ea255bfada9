//! What in a process looks like a cloud credential: its kind and its id, never a secret.
//!
//! Pure but for one reading of the workload's first process. Keeps true: what leaves here is a key's id, a role's ARN, a
//! client's id or a path; no value that opens anything.
//!
//! **Owned** is a claim about whose credential it is, so that nobody can have another's key disabled by planting its id.
//! It is made only when the value stands in the process' own environment, not in its arguments, and the *first* process
//! of its cgroup that it descends from was started with the same value. A process in the root cgroup owns nothing. Who
//! controls the first process of a workload can still lie.

use super::cgroup::Paths;
use super::stat::Stat;
use crate::world::HostWorld;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The longest id that is told: role ARNs and paths are shorter.
const ID_MOST: usize = 256;

/// Where the service account's token is mounted in a pod.
const KUBERNETES_TOKEN: &str = "/kubernetes.io/serviceaccount/";

/// One credential.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Credential {
    /// `aws_access_key`, `aws_session_key`, `aws_role`, `aws_web_identity`, `azure_client`, `azure_web_identity`,
    /// `kubernetes_token`.
    pub kind: String,
    /// A key's id, a role's ARN, a client's id, or a token file's path; never a secret.
    pub id: String,
    /// It belongs to this workload, as far as its first process' environment shows.
    pub owned: bool,
    /// `environment`, `command_line`, `open_file`, or `mount`.
    pub found_in: String,
}

/// What a process holds in which credentials are looked for.
#[derive(Debug, Default)]
pub(crate) struct Sources<'a> {
    pub(crate) environ: &'a [u8],
    pub(crate) first_environ: &'a [u8],
    pub(crate) command_line: &'a [u8],
    /// Paths of open files.
    pub(crate) open: Vec<String>,
    /// What stands in those of them that [`is_worth_reading`].
    pub(crate) texts: Vec<Vec<u8>>,
    pub(crate) mountinfo: &'a str,
}

/// All credentials, each once: the environment's first, then arguments, open files and mounts.
pub(crate) fn find(sources: &Sources<'_>) -> Vec<Credential> {
    let mut found: BTreeMap<(String, String), (bool, &'static str)> = BTreeMap::new();
    let mut order = Vec::new();
    let mut add = |kind: &str, id: String, owned: bool, place: &'static str| {
        found.entry((kind.to_owned(), id)).or_insert_with_key(|key| {
            order.push(key.clone());
            (owned, place)
        });
    };
    let first = in_environment(sources.first_environ);
    let arguments = keys(sources.command_line);
    for (kind, id) in in_environment(sources.environ) {
        let passed = contains(sources.command_line, id.as_bytes());
        let owned = !passed && first.contains(&(kind, id.clone()));
        add(kind, id, owned, "environment");
    }
    for (kind, id) in arguments {
        add(kind, id, false, "command_line");
    }
    for (kind, id) in sources.texts.iter().flat_map(|text| keys(text)) {
        add(kind, id, false, "open_file");
    }
    for path in sources.open.iter().filter(|path| path.contains(KUBERNETES_TOKEN) && path.ends_with("/token")) {
        if let Some(path) = a_path(path.as_bytes()) {
            add("kubernetes_token", path, false, "open_file");
        }
    }
    // The kubelet mounts it: nothing inside the pod can.
    let mounts = sources.mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    for at in mounts.filter(|at| format!("{at}/").contains(KUBERNETES_TOKEN)) {
        if let Some(path) = a_path(format!("{}/token", at.trim_end_matches('/')).as_bytes()) {
            add("kubernetes_token", path, true, "mount");
        }
    }
    let tell = |key: (String, String)| {
        let (owned, place) = found.get(&key).copied().unwrap_or((false, ""));
        Credential { kind: key.0, id: key.1, owned, found_in: place.to_owned() }
    };
    order.into_iter().map(tell).collect()
}

/// Whether an open file is one in which AWS' tools keep keys.
pub(crate) fn is_worth_reading(path: &str) -> bool {
    path.contains("/.aws/")
}

/// What the variables of one environment name.
fn in_environment(environ: &[u8]) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for variable in environ.split(|&b| b == 0) {
        let Some(at) = variable.iter().position(|&b| b == b'=') else { continue };
        let (name, value) = (&variable[..at], &variable[at + 1..]);
        let one = match name {
            b"AWS_ROLE_ARN" => a_role(value).map(|id| ("aws_role", id)),
            b"AWS_WEB_IDENTITY_TOKEN_FILE" => a_path(value).map(|id| ("aws_web_identity", id)),
            b"AZURE_CLIENT_ID" | b"ARM_CLIENT_ID" => a_guid(value).map(|id| ("azure_client", id)),
            b"AZURE_FEDERATED_TOKEN_FILE" => a_path(value).map(|id| ("azure_web_identity", id)),
            _ => None,
        };
        found.extend(one);
        found.extend(keys(value));
    }
    found
}

/// AWS key ids: AKIA (a user's) or ASIA (a session's) and sixteen capital letters or digits, standing alone.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>
fn keys(bytes: &[u8]) -> Vec<(&'static str, String)> {
    const LENGTH: usize = 20;
    let word = |b: u8| b.is_ascii_alphanumeric();
    let mut found = Vec::new();
    for (at, window) in bytes.windows(LENGTH).enumerate() {
        let kind = match &window[..4] {
            b"AKIA" => "aws_access_key",
            b"ASIA" => "aws_session_key",
            _ => continue,
        };
        let alone = !at.checked_sub(1).is_some_and(|before| word(bytes[before]))
            && !bytes.get(at + LENGTH).is_some_and(|&b| word(b));
        if alone && window.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) {
            found.push((kind, String::from_utf8_lossy(window).into_owned()));
        }
    }
    found
}

fn a_role(value: &[u8]) -> Option<String> {
    a_word(value).filter(|text| text.starts_with("arn:") && text.contains(":role/"))
}

fn a_path(value: &[u8]) -> Option<String> {
    a_word(value).filter(|text| text.starts_with('/'))
}

/// `8-4-4-4-12` hex digits: anything else may be a secret in the wrong variable.
fn a_guid(value: &[u8]) -> Option<String> {
    let text = a_word(value)?;
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    (lengths == [8, 4, 4, 4, 12] && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())).then_some(text)
}

/// Printable, without spaces, and no longer than an id is.
fn a_word(value: &[u8]) -> Option<String> {
    let fits = !value.is_empty() && value.len() <= ID_MOST && value.iter().all(u8::is_ascii_graphic);
    fits.then(|| String::from_utf8_lossy(value).into_owned())
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && bytes.windows(part.len()).any(|window| window == part)
}

/// The environment of the first process of its cgroup that this one descends from; empty in the root cgroup.
pub(crate) fn first_environ(world: &HostWorld, of: &Stat) -> Vec<u8> {
    let cgroup = |pid| Paths::read(world, pid).ok().flatten().and_then(|paths| paths.path().map(str::to_owned));
    let Some(own) = cgroup(of.pid).filter(|path| path != "/") else { return Vec::new() };
    let mut first = of.clone();
    while let Ok(Some(parent)) = Stat::read(world, first.parent) {
        if parent.start_ticks > first.start_ticks || cgroup(parent.pid).as_ref() != Some(&own) {
            break;
        }
        first = parent;
    }
    std::fs::read(world.of(first.pid, "environ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Ids of AWS' own documentation; they open nothing.
    const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
    const SESSION: &str = "ASIAIOSFODNN7EXAMPLE";
    const CLIENT: &str = "01234567-89ab-cdef-0123-456789abcdef";

    fn one(sources: &Sources<'_>) -> Vec<(String, String, bool, String)> {
        find(sources).into_iter().map(|c| (c.kind, c.id, c.owned, c.found_in)).collect()
    }

    #[test]
    fn ids_are_told_and_secrets_never() {
        let environ = format!(
            "AWS_ACCESS_KEY_ID={KEY}\0AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\0\
             AWS_SESSION_TOKEN=IQoJb3JpZ2lu\0AWS_ROLE_ARN=arn:aws:iam::123456789012:role/app\0\
             AWS_WEB_IDENTITY_TOKEN_FILE=/var/run/secrets/eks/token\0AZURE_CLIENT_ID={CLIENT}\0\
             AZURE_CLIENT_SECRET=hush-hush\0AZURE_FEDERATED_TOKEN_FILE=/var/run/secrets/azure/tokens/t\0"
        );
        let sources = Sources { environ: environ.as_bytes(), first_environ: environ.as_bytes(), ..Sources::default() };
        let found = find(&sources);
        let kinds: Vec<_> = found.iter().map(|c| c.kind.as_str()).collect();
        assert_eq!(kinds, ["aws_access_key", "aws_role", "aws_web_identity", "azure_client", "azure_web_identity"]);
        assert!(found.iter().all(|c| c.owned && c.found_in == "environment"));
        let text = serde_json::to_string(&found).unwrap();
        for secret in ["wJalr", "IQoJ", "hush"] {
            assert!(!text.contains(secret), "{text}");
        }
    }

    #[test]
    fn a_planted_key_is_not_owned() {
        let environ = format!("AWS_ACCESS_KEY_ID={KEY}\0");
        let own = environ.as_bytes();
        let planted = |sources: Sources<'_>| one(&sources)[0].2;
        assert!(planted(Sources { environ: own, first_environ: own, ..Sources::default() }));
        assert!(!planted(Sources { environ: own, ..Sources::default() }), "its workload began without it");
        let line = format!("aws\0--key\0{KEY}\0");
        let passed = Sources { environ: own, first_environ: own, command_line: line.as_bytes(), ..Sources::default() };
        assert!(!planted(passed), "it came by the arguments");
        assert_eq!(
            one(&Sources { command_line: format!("x\0{SESSION}").as_bytes(), ..Sources::default() }),
            [("aws_session_key".to_owned(), SESSION.to_owned(), false, "command_line".to_owned())]
        );
    }

    #[test]
    fn what_only_looks_like_one_is_none() {
        for text in
            ["AKIAIOSFODNN7EXAMPL", "XAKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLEX", "AKIAiosfodnn7example", ""]
        {
            assert!(keys(text.as_bytes()).is_empty(), "{text}");
        }
        let environ =
            "AZURE_CLIENT_ID=S3cr3t~value\0AWS_ROLE_ARN=nonsense\0AWS_WEB_IDENTITY_TOKEN_FILE=a b\0NAME\0=x\0";
        assert!(one(&Sources { environ: environ.as_bytes(), ..Sources::default() }).is_empty());
    }

    #[test]
    fn tokens_of_service_accounts_are_found_open_and_mounted() {
        let path = "/run/secrets/kubernetes.io/serviceaccount/token".to_owned();
        let mountinfo =
            "1 2 0:3 / /run/secrets/kubernetes.io/serviceaccount ro - tmpfs tmpfs ro\n4 5 0:6 / / rw - x x rw\n";
        let row = |owned, place: &str| [("kubernetes_token".to_owned(), path.clone(), owned, place.to_owned())];
        assert_eq!(one(&Sources { open: vec![path.clone()], ..Sources::default() }), row(false, "open_file"));
        let texts = vec![format!("[default]\naws_access_key_id = {KEY}\naws_secret_access_key = hush\n").into_bytes()];
        let kept = [("aws_access_key".to_owned(), KEY.to_owned(), false, "open_file".to_owned())];
        assert_eq!(one(&Sources { texts, ..Sources::default() }), kept);
        assert_eq!(one(&Sources { mountinfo, ..Sources::default() }), row(true, "mount"));
    }
}
