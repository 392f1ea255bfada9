//! What is needed beside what is granted: `quell action permissions --compare`.
//!
//! Owns how grants are read, and the three words: missing, needed, unused. Grants nothing. Keeps true: a grant that could not be read is an
//! error and no empty one; one that is broader than what is needed is told.

use super::permissions::Format;
use super::table::{Table, cell};
use super::term::Ink;
use super::{Exit, Fail, Term};
use crate::daemon::{Kube, Needs, privilege};
use quell_kubernetes::rbac::{self, Grant};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Read;

/// What stands for the world itself, in place of a file.
const LIVE: &str = "live";
/// What a manifest or a unit has at most.
const LARGEST: u64 = 4 << 20;

/// What is granted.
pub(super) struct Granted {
    rules: Vec<Grant>,
    capabilities: BTreeSet<String>,
    /// Why there may be more than that.
    incomplete: Option<String>,
}

/// One line.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    id: String,
    state: &'static str,
    #[serde(rename = "for")]
    needed_by: Vec<String>,
    why: String,
}

impl Granted {
    /// Of a file, of stdin, or of the world.
    pub(super) fn read(
        from: &str,
        format: Format,
        kube: impl Fn() -> Kube,
        namespaces: &[String],
    ) -> Result<Self, Fail> {
        let none = Self { rules: Vec::new(), capabilities: BTreeSet::new(), incomplete: None };
        match (from, format) {
            (LIVE, Format::LinuxCapabilities) => {
                let missing = privilege::missing()
                    .map_err(|error| Fail::missing(format!("this process's capabilities cannot be read: {error}")))?;
                let held =
                    privilege::NEEDED.iter().filter(|one| missing.iter().all(|missing| missing.name != one.name));
                Ok(Self { capabilities: held.map(|one| one.name.to_owned()).collect(), ..none })
            }
            (LIVE, Format::KubernetesRbac) => live(&kube(), namespaces),
            (from, Format::LinuxCapabilities) => Ok(Self { capabilities: capabilities(&text(from)?), ..none }),
            (from, Format::KubernetesRbac) => {
                let read = text(from)?;
                let wrong = |why: String| Fail::not_right(format!("`{from}` is no manifest that can be read: {why}"));
                let documents: Result<Vec<Value>, _> =
                    serde_yaml::Deserializer::from_str(&read).map(Value::deserialize).collect();
                let documents = documents.map_err(|error| wrong(error.to_string()))?;
                Ok(Self { rules: rbac::granted(&documents).map_err(wrong)?, ..none })
            }
        }
    }
}

fn text(from: &str) -> Result<String, Fail> {
    let cannot = |error: std::io::Error| Fail::not_right(format!("`{from}` cannot be read: {error}"));
    let mut text = String::new();
    let source: Box<dyn Read> = match from {
        "-" => Box::new(std::io::stdin().lock()),
        file => Box::new(std::fs::File::open(file).map_err(cannot)?),
    };
    source.take(LARGEST + 1).read_to_string(&mut text).map_err(cannot)?;
    if text.len() as u64 > LARGEST {
        return Err(Fail::not_right(format!("`{from}` has more than 4 MiB")));
    }
    Ok(text)
}

/// Of a unit its bounding set; of a manifest what its containers add and do not drop; of any other text all that are named: `CAP_KILL`, or
/// `KILL` in a list of a container's.
fn capabilities(text: &str) -> BTreeSet<String> {
    let code: Vec<&str> = text.lines().map(|line| line.split('#').next().unwrap_or_default()).collect();
    let bounding: Vec<&str> =
        code.iter().filter_map(|line| line.trim().strip_prefix("CapabilityBoundingSet=")).collect();
    if !bounding.is_empty() {
        return bounding_set(&bounding);
    }
    let documents: Result<Vec<Value>, _> = serde_yaml::Deserializer::from_str(text).map(Value::deserialize).collect();
    let documents = documents.unwrap_or_default();
    if documents.iter().any(|document| document.is_object() || document.is_array()) {
        let mut granted = BTreeSet::new();
        for document in &documents {
            of_manifest(document, &mut granted);
            // One of these lists by itself.
            let bare = document.as_array().into_iter().flatten().filter_map(Value::as_str);
            granted.extend(bare.flat_map(named));
        }
        return granted;
    }
    code.into_iter().flat_map(of_line).collect()
}

/// What a line of a unit or a script names, but for what it drops: `DropCapability=KILL`, `--cap-drop KILL`.
fn of_line(line: &str) -> Vec<String> {
    let (mut granted, mut is_dropped) = (Vec::new(), false);
    if drops(line.split(['=', ' ']).next().unwrap_or_default()) {
        return granted;
    }
    for word in line.split_whitespace() {
        if drops(word) {
            is_dropped = !word.contains('=');
        } else if !std::mem::take(&mut is_dropped) {
            granted.extend(named(word));
        }
    }
    granted
}

/// All lines together, as systemd.exec(5) has it: each adds, one with `~` takes away (the first of these from all), an empty one begins anew.
fn bounding_set(lines: &[&str]) -> BTreeSet<String> {
    let mut set: Option<BTreeSet<String>> = None;
    for line in lines.iter().map(|line| line.trim()) {
        match line.strip_prefix('~') {
            Some(without) => {
                let without: BTreeSet<String> = named(without).collect();
                set.get_or_insert_with(all).retain(|name| !without.contains(name));
            }
            None if line.is_empty() => set = Some(BTreeSet::new()),
            None => set.get_or_insert_default().extend(named(line)),
        }
    }
    set.unwrap_or_default()
}

/// What a manifest grants: of each pair of lists what is added and not dropped by name, of a list beside none all that it has.
fn of_manifest(value: &Value, granted: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            let list = |is_it: &dyn Fn(&str) -> bool| -> Vec<&str> {
                let own = fields.iter().filter(|(key, _)| is_it(key)).filter_map(|(_, list)| list.as_array());
                own.flatten().filter_map(Value::as_str).collect()
            };
            let (added, dropped) = (list(&adds), list(&drops));
            let takes_all = dropped.iter().any(|item| is_all(item));
            // Who drops all has what is added by name.
            let own = added.iter().flat_map(|item| match is_all(item) {
                true if takes_all => BTreeSet::new(),
                true => all(),
                false => named(item).collect(),
            });
            let dropped: BTreeSet<String> = dropped.iter().flat_map(|item| named(item)).collect();
            granted.extend(own.filter(|name| !dropped.contains(name)));
            if fields.get("privileged") == Some(&Value::Bool(true)) {
                granted.extend(all());
            }
            fields.values().for_each(|below| of_manifest(below, granted));
        }
        Value::Array(items) => items.iter().for_each(|item| of_manifest(item, granted)),
        _ => {}
    }
}

/// `add` of a pod's, `cap_add` of a compose file's, `CapAdd` as a container is shown, and a runtime's own lists.
fn adds(key: &str) -> bool {
    matches!(key, "add" | "cap_add" | "CapAdd" | "bounding")
}

/// Whoever is named there is taken away: `drop`, `cap_drop`, `DropCapability`, `--cap-drop`.
fn drops(key: &str) -> bool {
    key.to_ascii_lowercase().contains("drop")
}

fn is_all(item: &str) -> bool {
    item.eq_ignore_ascii_case("all")
}

/// Every one that quell may need.
fn all() -> BTreeSet<String> {
    privilege::NEEDED.iter().map(|one| one.name.to_owned()).collect()
}

/// Those that a text names.
fn named(text: &str) -> impl Iterator<Item = String> {
    let known = |word: &str| privilege::NEEDED.iter().any(|one| one.name.trim_start_matches("CAP_") == word);
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(move |word| word.starts_with("CAP_") || known(word));
    names.map(|word| if word.starts_with("CAP_") { word.to_owned() } else { format!("CAP_{word}") })
}

#[cfg(feature = "kubernetes")]
fn live(kube: &Kube, namespaces: &[String]) -> Result<Granted, Fail> {
    let away = |why: String| {
        Fail::missing(format!("the cluster does not say what it grants: {why}"))
            .hint("give a manifest: `--compare FILE`, or `-` for stdin")
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| away(error.to_string()))?;
    let mut granted = Granted { rules: Vec::new(), capabilities: BTreeSet::new(), incomplete: None };
    // What holds everywhere is listed in each: in one where nothing of its own is granted nothing else is.
    const NOWHERE: &str = "quell-no-such-namespace";
    let mut all = vec![NOWHERE];
    all.extend(namespaces.iter().map(String::as_str));
    for namespace in all {
        let rules = runtime.block_on(kube.cluster().rules(namespace)).map_err(|error| away(error.to_string()))?;
        granted.incomplete = granted.incomplete.or(rules.incomplete);
        let known: Vec<Grant> = granted.rules.iter().filter(|grant| grant.namespace.is_none()).cloned().collect();
        let is_new = |grant: &Grant| known.iter().all(|other| (&other.of, &other.names) != (&grant.of, &grant.names));
        let own = rules.grants.into_iter().filter(is_new);
        let place = |grant: Grant| if namespace == NOWHERE { Grant { namespace: None, ..grant } } else { grant };
        granted.rules.extend(own.map(place));
    }
    // Whoever is authenticated may ask about itself; nobody grants that to quell.
    granted.rules.retain(|grant| !grant.of.resource.starts_with("selfsubject"));
    Ok(granted)
}

/// Without hands nobody can be asked.
#[cfg(not(feature = "kubernetes"))]
fn live(kube: &Kube, _: &[String]) -> Result<Granted, Fail> {
    Err(Fail::missing(kube.told().err().unwrap_or_default())
        .hint("give a manifest: `--compare FILE`, or `-` for stdin"))
}

/// Everything that is needed, and what is granted besides.
pub(super) fn rows(format: Format, needs: &Needs, namespaces: &[String], granted: &Granted) -> Vec<Row> {
    let row = |id: String, is_granted: bool, needed_by: &BTreeSet<String>| Row {
        id,
        state: if is_granted { "needed" } else { "missing" },
        needed_by: needed_by.iter().cloned().collect(),
        why: String::new(),
    };
    let mut rows: Vec<Row> = match format {
        Format::LinuxCapabilities => needs
            .of_kernel()
            .map(|(name, needed_by)| row(name.to_owned(), granted.capabilities.contains(name), needed_by))
            .collect(),
        Format::KubernetesRbac => {
            let wanted = needs.wanted(namespaces, &[]);
            let each = wanted.each().map(|(one, namespace)| {
                let place = namespace.map(|name| format!(" in {name}")).unwrap_or_default();
                let by: Vec<&Grant> = granted.rules.iter().filter(|grant| grant.covers(one, namespace)).collect();
                let needed_by = needs.of_cluster().find(|(known, _)| known == one).map(|(_, by)| by.clone());
                let row = row(format!("{one}{place}"), !by.is_empty(), &needed_by.unwrap_or_default());
                Row { why: by_name(&by), ..row }
            });
            each.collect()
        }
    };
    rows.extend(unused(format, needs, namespaces, granted));
    rows.sort_by_key(|row| ["missing", "unused", "needed"].iter().position(|state| *state == row.state));
    rows
}

/// Of which names alone these grant it, if so.
fn by_name(grants: &[&Grant]) -> String {
    if grants.iter().any(|grant| grant.names.is_empty()) {
        return String::new();
    }
    let names: BTreeSet<&str> = grants.iter().flat_map(|grant| &grant.names).map(String::as_str).collect();
    let names: Vec<&str> = names.into_iter().collect();
    if names.is_empty() { String::new() } else { format!("only of {}; a plan for another says so", names.join(", ")) }
}

fn unused(format: Format, needs: &Needs, namespaces: &[String], granted: &Granted) -> Vec<Row> {
    let row = |id: String, why: &str| Row { id, state: "unused", needed_by: Vec::new(), why: why.to_owned() };
    match format {
        Format::LinuxCapabilities => {
            let is_needed = |name: &str| needs.of_kernel().any(|(needed, _)| needed == name);
            granted.capabilities.iter().filter(|name| !is_needed(name)).map(|name| row(name.clone(), "")).collect()
        }
        Format::KubernetesRbac => {
            let wanted = needs.wanted(namespaces, &[]);
            let gives = |grant: &Grant| wanted.each().any(|(one, namespace)| grant.covers(one, namespace));
            let each = granted.rules.iter().filter_map(|grant| match (gives(grant), grant.is_broad()) {
                (true, false) => None,
                (true, true) => Some(row(grant.to_string(), "broader than what is needed")),
                (false, _) if !grant.names.is_empty() => Some(row(grant.to_string(), "holds for these names alone")),
                (false, _) => Some(row(grant.to_string(), "")),
            });
            each.collect()
        }
    }
}

/// As people, or programs, read it; 1 when something is missing.
pub(super) fn print(format: &str, rows: &[Row], granted: &Granted, term: &Term) -> Exit {
    let is_enough = rows.iter().all(|row| row.state != "missing");
    if term.is_json() {
        term.document(
            &json!({ "ok": is_enough, "format": format, "permissions": rows, "incomplete": granted.incomplete }),
        );
    } else {
        let mut table = Table::new(&["state", "permission", "for"]);
        for row in rows {
            let ink = match row.state {
                "missing" => Ink::Bad,
                "unused" => Ink::Warn,
                _ => Ink::Dim,
            };
            let why = if row.why.is_empty() { row.needed_by.join(", ") } else { row.why.clone() };
            table.row([(ink, row.state.to_owned()), (Ink::Name, row.id.clone()), cell(why)]);
        }
        table.print(term, "nothing is needed, and nothing granted");
        if let Some(why) = &granted.incomplete {
            term.note(format!("the cluster may grant more than it lists: {why}"));
        }
    }
    if is_enough { Exit::Right } else { Exit::NotRight }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_found_in_units_and_in_the_lists_of_containers() {
        let of = |text: &str| capabilities(text).into_iter().collect::<Vec<_>>();
        assert_eq!(of("add: [BPF, \"PERFMON\"]\ndrop: [ALL]"), ["CAP_BPF", "CAP_PERFMON"]);
        // What is dropped is not granted, however the list is written.
        let manifest = "kind: Pod\nspec:\n  containers:\n  - args: [KILL]\n    securityContext:\n      capabilities:\n        \
                        # CAP_SYS_PTRACE\n        add:\n        - BPF\n        - CAP_PERFMON\n        - SYS_NICE\n        drop:\n        - KILL\n        - SYS_NICE\n";
        assert_eq!(of(manifest), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(of("---\nsecurityContext: { capabilities: { drop: [KILL, BPF] } }\n"), [""; 0]);
        assert_eq!(of("services: { quell: { cap_drop: [ALL], cap_add: [KILL] } }\n"), ["CAP_KILL"]);
        let every = privilege::NEEDED.len();
        assert_eq!(of("capabilities: { add: [ALL], drop: [KILL] }").len(), every - 1);
        assert_eq!(of("securityContext: { privileged: true }").len(), every);
        assert_eq!(of("- KILL\n- BPF\n"), ["CAP_BPF", "CAP_KILL"]);
        assert_eq!(of("exec podman run --cap-drop=KILL --cap-drop BPF --cap-add CAP_CHOWN quell\n"), ["CAP_CHOWN"]);
        assert_eq!(of("[Container]\nAddCapability=KILL\nDropCapability=CAP_BPF\n"), ["CAP_KILL"]);
        let inverted = of("[Service]\nCapabilityBoundingSet=~CAP_KILL CAP_BPF\n");
        assert_eq!(inverted.len(), every - 2, "{inverted:?}");
        assert_eq!(of("CapabilityBoundingSet=CAP_KILL CAP_BPF\nCapabilityBoundingSet=~CAP_BPF\n"), ["CAP_KILL"]);
        assert_eq!(
            of("CapabilityBoundingSet=CAP_KILL\nCapabilityBoundingSet=\nCapabilityBoundingSet=CAP_BPF\n"),
            ["CAP_BPF"]
        );
        assert_eq!(
            of("# CAP_KILL\nAmbientCapabilities=CAP_CHOWN\nCapabilityBoundingSet=CAP_BPF  CAP_X\n"),
            ["CAP_BPF", "CAP_X"]
        );
        assert_eq!(of("cap_kill, killed, KILLED"), [""; 0]);
    }

    #[test]
    fn what_is_broader_than_needed_is_told_and_so_is_what_holds_for_some_names() {
        let needs = Needs::of(&[], &[], &[]);
        let rule = |of: Value| rbac::of_rule(&of, None).unwrap();
        let all = rule(json!({ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }));
        let some =
            rule(json!({ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"], "resourceNames": ["n-1"] }));
        let granted = |rules| Granted { rules, capabilities: BTreeSet::new(), incomplete: None };
        let told = |rules| {
            let rows = rows(Format::KubernetesRbac, &needs, &[], &granted(rules));
            rows.into_iter().map(|row| format!("{} {}: {}", row.state, row.id, row.why)).collect::<Vec<_>>()
        };
        let broad = told(all);
        assert_eq!(broad[0], "unused * *.*: broader than what is needed");
        assert!(broad[1..].iter().all(|row| row.starts_with("needed ")), "{broad:?}");
        let named = told(some);
        assert!(named.contains(&"missing get nodes: ".to_owned()), "{named:?}");
        assert!(named.contains(&"unused get nodes, only n-1: holds for these names alone".to_owned()), "{named:?}");
    }
}
