//! What the guard holds though nobody has written it: each thing, and the key of quell.yaml that changes it.
//!
//! Owns the words. The values are the configuration's own defaults. Keeps true: no guard and none of their keys that holds by itself is
//! left out.

use super::table::{Table, cell};
use super::term::{Ink, Term};
use quell_engine::load::Config;
use quell_model::Json;
use quell_model::guard::{BAIT, GuardName};
use serde::Serialize;

/// One thing that holds.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Held {
    id: String,
    what: String,
    /// What changes it; none: nothing does.
    key: Option<String>,
}

/// All of them; so many executables of this host are protected.
pub(super) fn held(executables: usize) -> Vec<Held> {
    let values: Vec<(String, Json)> = Config::default().show().into_iter().map(|row| (row.key, row.value)).collect();
    let by_itself = |id: &str, what: &str| Held { id: id.to_owned(), what: what.to_owned(), key: None };
    let keys = |section: &str| -> Vec<Held> {
        let section = format!("guard.{section}");
        let own = values.iter().filter(|(key, value)| is_below(key, &section) && is_on(value));
        own.map(|(key, value)| by_key(key, value)).collect()
    };
    let mut all = vec![Held {
        id: "mode".to_owned(),
        what: "`observe`: every playbook only plans, whatever its own mode".to_owned(),
        key: Some("mode".to_owned()),
    }];
    for guard in GuardName::ALL {
        match guard {
            GuardName::Protect => all.extend([
                by_itself("protect.processes", "pid 1, kernel threads, quell and what started it are never touched"),
                Held {
                    id: "protect.executables".to_owned(),
                    what: format!("{executables} executables of this host are never touched, by inode"),
                    key: Some("guard.protect.executables (adds others)".to_owned()),
                },
                by_itself(
                    "protect.images",
                    "shells, what the kernel starts programs with, what quell is made of and what packages own are never kept from starting",
                ),
            ]),
            GuardName::Bait => all.push(by_itself("bait", &format!("asked about: {BAIT}"))),
            GuardName::Trust => all.push(Held {
                id: "trust".to_owned(),
                what: "what a source that anybody can write says is asked about, never acted on alone".to_owned(),
                key: Some("sources.files[].trusted".to_owned()),
            }),
            GuardName::OnlyWithin | GuardName::Limits | GuardName::Pause | GuardName::Breaker | GuardName::WarmUp => {}
        }
        all.extend(keys(guard.as_str()));
    }
    all
}

fn is_below(key: &str, section: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether a value holds anything back.
fn is_on(value: &Json) -> bool {
    !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
}

fn by_key(key: &str, value: &Json) -> Held {
    let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let id = key.trim_start_matches("guard.").to_owned();
    let what = match id.as_str() {
        "limits.*" => format!("{shown} places of each action that has no row of its own"),
        "limits.all" => format!("{shown} places of all actions together"),
        "limits.per_playbook.*" => format!("{shown} places of each action, of each playbook"),
        "limits.per_playbook.all" => format!("{shown} places of all actions together, of each playbook"),
        "limits.nodes" => format!("at most {shown} of a cluster's nodes out of use at a time, and one at least in use"),
        id if id.starts_with("limits.min_ready.") => {
            let of = match id.trim_start_matches("limits.min_ready.") {
                "*" => "each action that has no row of its own".to_owned(),
                action => format!("`{action}`"),
            };
            format!("{shown} of an owner's replicas stay ready, and one at least, after {of}")
        }
        "protect.namespaces" => {
            let names: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Json::as_str).collect();
            format!("nothing in the namespaces {} of a cluster is touched, nor in quell's own", names.join(", "))
        }
        "breaker.images" => format!("a playbook asks first that would act on more than {shown} different executables"),
        "breaker.owners" => format!("the same for more than {shown} owners of pods"),
        "breaker.principals" => format!("the same for more than {shown} principals of clouds and clusters"),
        "breaker.within" => format!("within {shown}"),
        "breaker.quiet" => format!("until it has been quiet for {shown}"),
        _ => shown,
    };
    Held { id, what, key: Some(key.to_owned()) }
}

/// As people read it.
pub(super) fn print(all: &[Held], term: &Term) {
    term.line(term.ink(Ink::Bold, "guard: what holds though quell.yaml says nothing of it"));
    let mut table = Table::new(&["what", "changed by"]);
    for one in all {
        let key = one.key.as_ref().map_or((Ink::Dim, "nothing"), |key| (Ink::Name, key));
        table.row([cell(one.what.as_str()), (key.0, key.1.to_owned())]);
    }
    table.print(term, "");
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_engine::load::config::GuardConfig;
    use quell_engine::load::units::{print_duration, print_rate};
    use quell_model::guard::Breaker;

    /// Whoever gives the guard a further default has to say here where it is listed.
    #[test]
    fn every_default_of_the_guard_is_listed_with_its_key() {
        let all = held(7);
        let value = |key: &str, shown: &str| {
            let one =
                all.iter().find(|one| one.key.as_deref() == Some(key)).unwrap_or_else(|| panic!("{key}: {all:#?}"));
            assert!(one.what.contains(shown), "{key}: {one:?}, and no {shown}");
        };
        let GuardConfig {
            executables,
            units,
            users,
            namespaces,
            nodes,
            limits,
            per_playbook,
            min_ready,
            breaker,
            only_within,
            warm_up,
        } = Config::default().guard;
        for (section, limits) in [("guard.limits", &limits), ("guard.limits.per_playbook", &per_playbook)] {
            assert!(!limits.0.is_empty());
            limits.0.iter().for_each(|(name, rate)| value(&format!("{section}.{name}"), &print_rate(*rate)));
        }
        let Breaker { images, owners, principals, within, quiet } = breaker;
        for (name, count) in [("images", images), ("owners", owners), ("principals", principals)] {
            value(&format!("guard.breaker.{name}"), &format!("more than {count} "));
        }
        value("guard.breaker.within", &print_duration(within));
        value("guard.breaker.quiet", &print_duration(quiet));
        min_ready
            .rows
            .iter()
            .for_each(|(name, share)| value(&format!("guard.limits.min_ready.{name}"), &share.to_string()));
        value("guard.limits.nodes", &min_ready.nodes.unwrap().to_string());
        namespaces.iter().for_each(|name| value("guard.protect.namespaces", name));
        // These hold nothing by themselves.
        assert!(nodes.is_empty() && executables.is_empty() && units.is_empty() && users.is_empty());
        assert!(only_within.is_none() && warm_up.is_none());
        let ids: Vec<&str> = all.iter().map(|one| one.id.as_str()).collect();
        for id in ["mode", "protect.processes", "protect.executables", "protect.images", "bait", "trust"] {
            assert!(ids.contains(&id), "{id}: {ids:?}");
        }
        let keys = Config::default().show();
        for row in keys.iter().filter(|row| row.key.starts_with("guard.") && is_on(&row.value)) {
            value(&row.key, "");
        }
    }

    #[test]
    fn what_holds_is_told_at_80_columns() {
        let term = Term::catching(Some(80));
        print(&held(7), &term);
        insta::assert_snapshot!(term.caught());
    }
}
