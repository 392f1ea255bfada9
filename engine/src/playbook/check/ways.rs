//! Ways: is there what a step sends by, may the host be asked that it asks, and is there the cluster in which it acts.
//!
//! Owns warnings alone: another installation may have what this one lacks. Goes by the marks in the inputs of actions, and by what is
//! written out; what an expression gives is known in the run.

use crate::load::Known;
use crate::load::playbook::Draft;
use crate::load::reader::Reader;
use crate::load::yaml::{Node, Place, Value};
use crate::playbook::{secret, template};
use http::Uri;
use quell_model::action::WAY_MARK;
use quell_model::hosts::{self, Method};
use quell_model::playbook::{Expression, StepKind};
use quell_model::{Json, Name};

pub(super) fn check(reader: &mut Reader<'_>, draft: &Draft<'_>, known: &Known<'_>) {
    // Nobody chose what ships: `quell doctor` says it of these.
    let is_chosen = !reader.source.file.starts_with("shipped");
    for (step, places) in &draft.steps {
        let (StepKind::Action { action, .. }, Some(at)) = (&step.kind, places.action) else { continue };
        let Some(spec) = known.action(action.as_str()) else { continue };
        // Where there is no cluster there are no pods: what asks for one first is not come to.
        let asks_for_a_pod =
            || draft.on.asks_for_a_pod() || step.condition.as_ref().is_some_and(Expression::asks_for_a_pod);
        if let Some(why) =
            known.no_cluster.filter(|_| is_chosen && spec.name.starts_with("kubernetes.") && !asks_for_a_pod())
        {
            let what = format!("`{}` would fail here: there is no cluster ({why})", spec.name);
            reader.warning(
                at,
                what,
                "`kubernetes: { kubeconfig: FILE }` in quell.yaml, or quell in a pod of the cluster",
            );
        }
        let schema = (spec.input)().to_value();
        let marked = schema.get("properties").and_then(Json::as_object).into_iter().flatten();
        for (key, way) in marked.filter_map(|(key, part)| Some((key, part.get(WAY_MARK)?.as_str()?))) {
            let given = places.with.and_then(|with| Some(&with.entry(key)?.value));
            match (way, known.channels) {
                ("slack", Some(channels)) if channels.slack.is_none() => {
                    missing(reader, at, spec.name, "Slack", "`channels.slack`");
                }
                ("email", Some(channels)) => {
                    if channels.email.is_none() {
                        missing(reader, at, spec.name, "mail", "`channels.email`");
                    }
                    given.into_iter().for_each(|given| recipients(reader, given, known));
                }
                ("webhook", Some(channels)) => {
                    let names = channels.webhooks.keys().map(Name::as_str);
                    given.into_iter().for_each(|given| webhook(reader, given, names.clone()));
                }
                ("http", _) => given.into_iter().for_each(|given| asked(reader, given, places.with, known)),
                _ => {}
            }
        }
    }
}

fn missing(reader: &mut Reader<'_>, at: Place, action: &str, what: &str, key: &str) {
    let what = format!("`{action}` would fail here: {what} is not configured");
    reader.warning(at, what, format!("{key} in an escalation.yaml beside quell.yaml"));
}

/// A text that is written out.
fn written(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text(text) if !text.contains(template::OPEN) => Some(text),
        _ => None,
    }
}

fn recipients(reader: &mut Reader<'_>, given: &Node, known: &Known<'_>) {
    let (Value::List(all), Some(people)) = (&given.value, known.people) else { return };
    for one in all {
        let Some(name) = written(one).filter(|text| !text.contains('@')) else { continue };
        match people.people.get(name) {
            Some(person) if person.mail().is_some() => {}
            Some(_) => {
                let what = format!("`{name}` has no address of mail in escalation.yaml");
                reader.warning(one.at, what, format!("`email` of `{name}` there"));
            }
            None => {
                let mistake = reader.source.warning(one.at, format!("there is no person `{name}` in escalation.yaml"));
                let names = people.people.keys().map(Name::as_str);
                reader.note_near(mistake.expected("one of its `people`, or an address"), name, names);
            }
        }
    }
}

fn webhook<'k>(reader: &mut Reader<'_>, given: &Node, names: impl Iterator<Item = &'k str>) {
    let Some(name) = written(given) else { return };
    let names: Vec<&str> = names.collect();
    if !names.contains(&name) {
        let mistake = reader.source.warning(given.at, format!("there is no webhook `{name}` in escalation.yaml"));
        reader.note_near(mistake.expected("one of its `channels.webhooks`"), name, names);
    }
}

/// Host, port and whether TLS is spoken, of an address whose begin is written out.
fn place(text: &str) -> Option<(String, u16, bool)> {
    let begin = text.split(template::OPEN).next()?;
    let (scheme, rest) = begin.split_once("://")?;
    let end = rest.find(['/', '?', '#']);
    // An expression may go on with the host.
    let authority = match end {
        Some(end) => &rest[..end],
        None if begin.len() == text.len() => rest,
        None => return None,
    };
    let uri: Uri = format!("{scheme}://{authority}/").parse().ok()?;
    let is_tls = uri.scheme_str() == Some("https");
    let host = uri.host()?;
    let port = hosts::port(uri.authority()?.as_str(), host, is_tls)?;
    Some((hosts::spelt(host.trim_start_matches('[').trim_end_matches(']')), port, is_tls))
}

fn asked(reader: &mut Reader<'_>, given: &Node, with: Option<&Node>, known: &Known<'_>) {
    let (Value::Text(text), Some(rows)) = (&given.value, known.hosts) else { return };
    let Some((host, port, is_tls)) = place(text) else { return };
    let Some(row) = hosts::row(rows, &host, port, is_tls) else {
        let what = format!("`{host}:{port}` is no host that quell.yaml allows");
        let names: Vec<String> = rows.iter().map(|row| row.shown()).collect();
        let mistake = reader.source.warning(given.at, what).expected("a row of it under `http.allow`");
        return reader.note_near(mistake, &host, names.iter().map(String::as_str));
    };
    let shown = row.shown();
    if !is_tls && !row.private {
        let what = format!("`{shown}` is asked by https alone");
        reader.warning(given.at, what, "`https://`, or `private: true` of its row under `http.allow`");
    }
    let Some(Value::Map(entries)) = with.map(|with| &with.value) else { return };
    let usual = Method::default();
    if !row.methods.contains(&usual) && entries.iter().all(|entry| entry.key.as_str() != "method") {
        let what = format!("`{shown}` may not be asked by {}, which it is without `method`", usual.as_str());
        reader.warning(given.at, what, "`method`, or `methods` of its row under `http.allow`");
    }
    for entry in entries {
        let node = &entry.value;
        match (entry.key.as_str(), written(node)) {
            ("method", Some(word)) => {
                let method = Method::WORDS.iter().find(|(known, _)| *known == word);
                if method.is_some_and(|(_, method)| !row.methods.contains(method)) {
                    let what = format!("`{shown}` may not be asked by {word}");
                    reader.warning(node.at, what, "`methods` of its row under `http.allow`");
                }
            }
            _ => secrets(reader, node, &shown, |name| row.secrets.contains(name)),
        }
    }
}

/// Those that may not be sent there.
fn secrets(reader: &mut Reader<'_>, node: &Node, shown: &str, may: impl Fn(&str) -> bool + Copy) {
    match &node.value {
        Value::Text(text) => {
            if let Some(name) = secret::named(text).filter(|name| !may(name)) {
                let what = format!("the secret `{name}` may not be sent to `{shown}`");
                reader.warning(node.at, what, "`secrets` of its row under `http.allow`");
            }
        }
        Value::Map(entries) => entries.iter().for_each(|entry| secrets(reader, &entry.value, shown, may)),
        _ => {}
    }
}
