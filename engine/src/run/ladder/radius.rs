//! How far what is asked about reaches: its blast radius, in a few lines.
//!
//! Owns the counting. Keeps true: it says what the plans say and guesses nothing; a target that two plans name counts once; what is left
//! out is counted.

use quell_model::Name;
use quell_model::action::{Replicas, Target, TargetFacts};
use std::collections::{BTreeMap, BTreeSet};

/// So many machines, places or owners are named, each of its kind.
const MOST_NAMED: usize = 5;

/// How many targets there are, how many of them only their scope has brought, what else they are a part of, and how many replicas are
/// left of what owns them.
pub(super) fn radius<'a>(targets: impl Iterator<Item = &'a Target>) -> Vec<String> {
    let all: BTreeMap<_, &Target> = targets.map(|target| ((&target.node, &target.kind, &target.id), target)).collect();
    if all.is_empty() {
        return Vec::new();
    }
    let targets = || all.values().copied();
    let mut kinds = BTreeMap::new();
    targets().for_each(|target| *kinds.entry(target.kind.as_str()).or_insert(0) += 1);
    let kinds: Vec<String> = kinds.into_iter().map(|(kind, many): (_, u32)| format!("{many} {kind}")).collect();
    let nodes = some(targets().map(|target| target.node.to_string()).collect());
    let word = if all.len() == 1 { "target" } else { "targets" };
    let by_scope = targets().filter(|target| !target.named).count();
    let unnamed = if by_scope == 0 { String::new() } else { format!(", {by_scope} of them by the scope alone") };
    let mut rows = vec![format!("{} {word} on {nodes} ({}){unnamed}", all.len(), kinds.join(", "))];
    let places: BTreeSet<String> = targets().filter_map(place).collect();
    rows.extend((!places.is_empty()).then(|| format!("part of {}", some(places))));
    rows.extend(owners(targets()));
    rows
}

/// What else may feel it.
fn place(target: &Target) -> Option<String> {
    let named = |path: &str| if path == "/" { "the whole host".to_owned() } else { format!("cgroup {path}") };
    match &target.facts {
        TargetFacts::Process { pod: Some(pod), .. }
        | TargetFacts::Image { pod: Some(pod), .. }
        | TargetFacts::Cgroup { pod: Some(pod), .. } => Some(format!("pod {pod}")),
        TargetFacts::Process { unit: Some(unit), .. } => Some(format!("unit {unit}")),
        TargetFacts::Process { cgroup, .. } => cgroup.as_deref().map(named),
        TargetFacts::Image { cgroup, .. } => Some(named(cgroup.as_deref().unwrap_or("/"))),
        TargetFacts::Cgroup { path, .. } => Some(named(path)),
        TargetFacts::Identity { provider, account, .. } => {
            Some(account.as_ref().map_or_else(|| provider.to_string(), |account| format!("{provider} {account}")))
        }
        TargetFacts::Object { replicas: Some(_), .. } | TargetFacts::Other => None,
        TargetFacts::Object { owner, namespace, .. } => {
            let namespace = namespace.as_ref().map(|name| format!("namespace {name}"));
            owner.clone().or(namespace).or_else(|| Some("the whole cluster".to_owned()))
        }
    }
}

/// Of what owns pods: how many of its replicas go, of how many.
fn owners<'a>(targets: impl Iterator<Item = &'a Target>) -> Vec<String> {
    let mut all: BTreeMap<(&Name, Option<&Name>, &str), (Replicas, u32)> = BTreeMap::new();
    for target in targets {
        let TargetFacts::Object { cluster, namespace, owner, replicas: Some(of), .. } = &target.facts else { continue };
        let owner = owner.as_deref().unwrap_or(&target.label);
        all.entry((cluster, namespace.as_ref(), owner)).or_insert((*of, 0)).1 += of.takes;
    }
    let left = all.len().saturating_sub(MOST_NAMED);
    let row = |((cluster, namespace, owner), (of, takes)): ((&Name, Option<&Name>, &str), (Replicas, u32))| {
        let place = namespace.map(|namespace| format!(" in {namespace}")).unwrap_or_default();
        format!("{owner}{place} of {cluster}: {takes} of {} ready replicas, of {} that are wanted", of.ready, of.wanted)
    };
    let mut rows: Vec<String> = all.into_iter().take(MOST_NAMED).map(row).collect();
    rows.extend((left > 0).then(|| format!("and replicas of {left} more")));
    rows
}

/// The first of them, and how many more there are.
fn some(all: BTreeSet<String>) -> String {
    let left = all.len().saturating_sub(MOST_NAMED);
    let shown: Vec<String> = all.into_iter().take(MOST_NAMED).collect();
    if left == 0 { shown.join(", ") } else { format!("{} and {left} more", shown.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_model::InPod;

    fn target(node: &str, kind: &str, id: &str, named: bool, facts: TargetFacts) -> Target {
        Target { node: node.into(), kind: kind.into(), id: id.into(), label: format!("the {id}"), named, facts }
    }

    fn process(id: &str, named: bool, unit: Option<&str>, pod: Option<InPod>) -> Target {
        let facts = TargetFacts::Process {
            id: "41.5.1@b".parse().unwrap(),
            image: None,
            file: None,
            cgroup: Some("/web.slice".into()),
            unit: unit.map(str::to_owned),
            uid: 33,
            kernel_thread: false,
            below_named: false,
            by_scope: !named,
            pod,
        };
        target("web-1", "process", id, named, facts)
    }

    fn pod(name: &str, owner: Option<&str>, takes: u32) -> Target {
        let facts = TargetFacts::Object {
            cluster: "prod".into(),
            resource: "pods".into(),
            namespace: Some("shop".into()),
            name: name.into(),
            uid: name.into(),
            owner: owner.map(str::to_owned),
            replicas: Some(Replicas { wanted: 4, ready: 3, takes }),
            needed: None,
        };
        target("prod", "pod", name, true, facts)
    }

    fn of(targets: &[Target]) -> Vec<String> {
        radius(targets.iter())
    }

    #[test]
    fn it_says_how_many_whose_and_of_how_many() {
        assert!(of(&[]).is_empty());
        let one = process("41", true, Some("nginx.service"), None);
        // Two plans name it, and it is one.
        let same = [one.clone(), one.clone()];
        assert_eq!(of(&same), ["1 target on web-1 (1 process)", "part of unit nginx.service"]);
        let in_pod = InPod { uid: "u".into(), namespace: Some("shop".into()), name: Some("web-1".into()) };
        let image = TargetFacts::Image { path: "/x".into(), file: (1, 2), cgroup: None, needed: None, pod: None };
        let all = [
            one,
            process("42", false, Some("nginx.service"), Some(in_pod)),
            process("43", false, None, None),
            target("web-2", "file", "/x", true, image),
        ];
        assert_eq!(
            of(&all),
            [
                "4 targets on web-1, web-2 (1 file, 3 process), 2 of them by the scope alone",
                "part of cgroup /web.slice, pod shop/web-1, the whole host, unit nginx.service",
            ]
        );
        let pods = [pod("a", Some("deployment/web"), 1), pod("b", Some("deployment/web"), 1), pod("c", None, 0)];
        assert_eq!(
            of(&pods),
            [
                "3 targets on prod (3 pod)",
                "deployment/web in shop of prod: 2 of 3 ready replicas, of 4 that are wanted",
                "the c in shop of prod: 0 of 3 ready replicas, of 4 that are wanted",
            ]
        );
    }

    #[test]
    fn of_many_the_first_are_named_and_the_others_counted() {
        let units: Vec<Target> =
            (0..9).map(|n| process(&n.to_string(), true, Some(format!("u{n}").as_str()), None)).collect();
        assert_eq!(of(&units)[1], "part of unit u0, unit u1, unit u2, unit u3, unit u4 and 4 more");
        let owners: Vec<Target> = (0..9).map(|n| pod(&n.to_string(), Some(&format!("deployment/{n}")), 1)).collect();
        let rows = of(&owners);
        assert_eq!((rows.len(), rows.last().map(String::as_str)), (7, Some("and replicas of 4 more")));
    }
}
