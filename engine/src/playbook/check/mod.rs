//! What is wrong with a playbook that can be read: all of it, each with its place.
//!
//! ```text
//! draft ─┬─ needs    do they exist, is it a DAG
//!        ├─ inputs   does the action exist, is its input what its schema says
//!        ├─ uses     do expressions compile, do they name what is there
//!        ├─ people   are those it asks known
//!        └─ trigger  do the rules and tags exist that it asks for, and that its steps wait for
//! playbooks ── across   names and triggers that two share
//! ```

pub(crate) mod across;
pub(crate) mod inputs;
mod needs;
mod people;
mod uses;

pub(crate) use uses::can_be_named;

use crate::load::Known;
use crate::load::playbook::Draft;
use crate::load::reader::Reader;
use crate::load::trigger::TriggerPlaces;
use quell_model::playbook::StepKind;
use quell_model::{ActionSpec, Lane, Mistake, MistakeLevel, Mode};

/// Notes every mistake of one playbook.
pub(crate) fn draft(reader: &mut Reader<'_>, draft: &Draft<'_>, known: &Known<'_>) {
    let graph = needs::check(reader, draft);
    inputs::check(reader, draft, known);
    uses::check(reader, draft, known, graph.as_ref());
    people::check(reader, draft, known);
    trigger(reader, &draft.on_places, known);
    draft.steps.iter().for_each(|(_, places)| trigger(reader, &places.wait, known));
    bounds(reader, draft, known);
}

/// Whether rules and tags that are asked for exist.
fn trigger(reader: &mut Reader<'_>, asked: &TriggerPlaces, known: &Known<'_>) {
    let Some(rules) = known.rules else { return };
    for (name, at) in &asked.rules {
        let mine = |text: &str| text == name.as_str();
        let found =
            rules.iter().any(|rule| mine(rule.name.as_str()) || rule.id.as_ref().is_some_and(|id| mine(id.as_str())));
        if !found {
            let mistake = reader.source.warning(*at, format!("no loaded rule is called `{name}`"));
            let names = rules.iter().map(|rule| rule.name.as_str());
            reader.note(mistake.expected("a rule's name, id or file stem").nearest(name.as_str(), names));
        }
    }
    for (tag, at) in &asked.tags {
        let tags = || rules.iter().flat_map(|rule| &rule.tags).map(|tag| tag.as_str());
        if !tags()
            .any(|other| other.strip_prefix(tag.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
        {
            let mistake = reader.source.warning(*at, format!("no loaded rule has the tag `{tag}`"));
            reader
                .note(mistake.expected("a tag as rules write it, like attack.t1059.004").nearest(tag.as_str(), tags()));
        }
    }
}

/// What should have a bound and has none.
fn bounds(reader: &mut Reader<'_>, draft: &Draft<'_>, known: &Known<'_>) {
    for (step, places) in &draft.steps {
        if let Some(at) = places.unbounded.filter(|_| draft.limits.targets.is_none()) {
            let what = format!("the `for_each` of step `{}` has no bound", step.id);
            reader.warning(at, what, "`limits: { targets: 20/run }`, or `max_parallel` beside it");
        }
        let action = match &step.kind {
            StepKind::Action { action, .. } => action,
            _ => {
                for (key, at) in [("approve", places.approve), ("confirm", places.confirm)] {
                    if let Some(at) = at {
                        let what = format!("step `{}` has `{key}` and does nothing to the world", step.id);
                        reader.error(at, what, format!("`{key}` beside an `action`"));
                    }
                }
                if let Some(at) = places.lease {
                    let what = format!("step `{}` has a `lease` and contains nothing", step.id);
                    reader.error(at, what, "a `lease` beside an `action` that can be undone");
                }
                continue;
            }
        };
        let spec = known.action(action.as_str());
        if let (Some(at), Some(false)) = (places.lease, spec.map(|spec| spec.undoable)) {
            let what = format!("`{action}` cannot be undone, and has a `lease`");
            reader.error(at, what, "no `lease`, or an action that can be undone (`quell action list`)");
        }
        if let (Some(at), Some(false)) = (places.confirm, spec.map(|spec| spec.undoable)) {
            let what = format!("`{action}` cannot be undone, and is to be confirmed afterwards");
            reader.error(at, what, "`approve`, which asks first, or an action that can be undone");
        }
        if let (Some(at), Some(spec)) = (places.approve.or(places.confirm), spec)
            && spec.lane == Lane::Read
        {
            reader.error(at, format!("`{action}` changes nothing, so that there is nothing to ask"), "neither");
        }
        let asked = places.approve.is_some();
        let held = asked || draft.limits.targets.is_some() || draft.limits.runs.is_some();
        if let (Some(at), true) =
            (places.action, draft.mode == Mode::Enforce && !held && spec.is_some_and(cannot_be_taken_back))
        {
            let mut note = reader.source.warning(at, format!("`{action}` cannot be taken back, and nothing limits it"));
            note.level = MistakeLevel::Note;
            reader.note(note.expected("`limits: { runs: 20/h, targets: 5/run }` on the playbook"));
        }
    }
}

fn cannot_be_taken_back(spec: &'static ActionSpec) -> bool {
    !spec.undoable && matches!(spec.lane, Lane::Contain | Lane::Cloud)
}

/// Whether any of these keeps a playbook from being loaded.
#[must_use]
pub fn has_errors(mistakes: &[Mistake]) -> bool {
    mistakes.iter().any(|mistake| mistake.level == MistakeLevel::Error)
}
