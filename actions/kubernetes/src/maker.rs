//! How what makes pods calls them, and of which API group it is: what nobody can write on a pod that is there.
//!
//! Pure. Keeps true: a name that Kubernetes' own controllers do not give is not taken for theirs. Of kinds that are not theirs nothing is known.

#[cfg(feature = "client")]
use std::borrow::Cow;

/// Kubernetes' own makers, and their groups.
const OWN: [(&str, &str); 8] = [
    ("ReplicaSet", "apps"),
    ("Deployment", "apps"),
    ("StatefulSet", "apps"),
    ("DaemonSet", "apps"),
    ("Job", "batch"),
    ("CronJob", "batch"),
    ("ReplicationController", ""),
    ("Node", ""),
];

/// Of an `apiVersion`: `apps` of `apps/v1`, nothing of `v1`.
#[cfg(feature = "client")]
pub(crate) fn group(version: &str) -> &str {
    version.split_once('/').map_or("", |(group, _)| group)
}

/// A kind as it is told: that of another group that has the name of one of Kubernetes' own with its group.
#[cfg(feature = "client")]
pub(crate) fn of_group<'k>(kind: &'k str, group: &str) -> Cow<'k, str> {
    match OWN.iter().find(|(own, _)| own.eq_ignore_ascii_case(kind)) {
        Some((_, own)) if *own != group => format!("{kind}.{}", if group.is_empty() { "core" } else { group }).into(),
        _ => kind.into(),
    }
}

/// Whether a kind of this group is one of Kubernetes' own makers.
#[cfg(feature = "client")]
pub(crate) fn is_known(kind: &str, group: &str) -> bool {
    OWN.iter().any(|(own, its)| own.eq_ignore_ascii_case(kind) && *its == group)
}

/// Whether a kind, as it is told, is one of Kubernetes' own makers.
#[cfg(feature = "client")]
pub(crate) fn is_told_own(kind: &str) -> bool {
    OWN.iter().any(|(own, _)| *own == kind)
}

/// Whether a kind of this group is that one of Kubernetes' own; whoever writes it need not spell it as Kubernetes does.
#[cfg(feature = "client")]
pub(crate) fn is_own((kind, group): (&str, &str), own: &str) -> bool {
    kind.eq_ignore_ascii_case(own) && OWN.contains(&(own, group))
}

/// What is left of every name that a pod's name begins with: of 63 characters the random end and its dash are 6, an index or a hash with its
/// dash 11 (apiserver's names/generate.go, `maxGeneratedNameLength`).
const KEPT: usize = 46;
/// Of which the ends of generated names are made (apimachinery's util/rand, `alphanums`; `SafeEncodeString` for hashes).
const ALPHABET: &str = "bcdfghjklmnpqrstvwxz2456789";
/// The random end.
const RANDOM: usize = 5;
/// A hash of a template.
const HASH: usize = 10;

/// Whether an owner of this kind and name makes pods of this name; of a kind that is not Kubernetes' own it may be.
pub(crate) fn makes(kind: &str, owner: &str, pod: &str) -> bool {
    let Some((kind, _)) = OWN.iter().find(|(own, _)| own.eq_ignore_ascii_case(kind)) else { return true };
    if owner.len() > KEPT {
        return owner.is_char_boundary(KEPT) && pod.starts_with(&owner[..KEPT]);
    }
    let Some(end) = pod.strip_prefix(owner).and_then(|rest| rest.strip_prefix('-')) else { return false };
    let is_random = |end: &str| end.len() == RANDOM && end.chars().all(|one| ALPHABET.contains(one));
    let is_number = |end: &str| !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit());
    let is_hash = |end: &str| (1..=HASH).contains(&end.len()) && end.chars().all(|one| ALPHABET.contains(one));
    let parts: Vec<&str> = end.split('-').collect();
    match (*kind, parts.as_slice()) {
        ("StatefulSet", [ordinal]) => is_number(ordinal),
        ("ReplicaSet" | "DaemonSet" | "ReplicationController" | "Job", [random]) => is_random(random),
        // Of an indexed job; and of a cron job's, which are called after the minute.
        ("Job" | "CronJob", [number, random]) => is_number(number) && is_random(random),
        ("CronJob", [minute, index, random]) => is_number(minute) && is_number(index) && is_random(random),
        ("Deployment", [hash, random]) => is_hash(hash) && is_random(random),
        // A static pod's is its file's and its node's.
        ("Node", _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_called_as_their_makers_call_them() {
        let long = "a".repeat(60);
        for (kind, owner, pod, is) in [
            ("Deployment", "web", "web-7d4b9c8f5-x2x7k", true),
            ("deployment", "web", "web-7d4b9c8f5-x2x7k", true),
            ("Deployment", "web", "web-frontend-7d4b9c8f5-x2x7k", false),
            ("Deployment", "web", "web-frontend-x2x7k", false),
            ("Deployment", "web", "evil-7d4b9c8f5-x2x7k", false),
            ("Deployment", "web", "web-1", false),
            ("ReplicaSet", "web-7d4b9c8f5", "web-7d4b9c8f5-x2x7k", true),
            ("ReplicaSet", "web", "web-7d4b9c8f5-x2x7k", false),
            ("StatefulSet", "db", "db-0", true),
            ("StatefulSet", "db", "db-x2x7k", false),
            ("StatefulSet", "db", "db-0-1", false),
            ("DaemonSet", "agent", "agent-x2x7k", true),
            ("Job", "report", "report-x2x7k", true),
            ("Job", "report", "report-3-x2x7k", true),
            ("CronJob", "report", "report-29384756-x2x7k", true),
            ("CronJob", "report", "report-29384756-0-x2x7k", true),
            ("CronJob", "report", "report-x2x7k", false),
            ("Rollout", "web", "anything", true),
            ("ReplicaSet", long.as_str(), &format!("{}x2x7k", "a".repeat(58)), true),
            ("ReplicaSet", long.as_str(), "aaa-x2x7k", false),
        ] {
            assert_eq!(makes(kind, owner, pod), is, "{kind}/{owner} {pod}");
        }
    }
}
