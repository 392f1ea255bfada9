//! `mocks` of a case: how the world answers, read and held against what the actions can give.
//!
//! Keeps true: a mock that nothing could ask for is a mistake, since whoever wrote it believes that it is tried.

use super::case::{Answer, Mock, Mocked};
use super::names;
use super::read::{Against, action_of, step_of};
use crate::load::reader::{Reader, one_of};
use crate::load::yaml::{Entry, Node, Value};
use quell_model::Lane;
use quell_model::playbook::StepKind;

const KEYS: &[&str] = &["ok", "hang", "lie", "fail", "already", "for_good", "proved", "times", "undo"];
/// The same, of what takes it back.
const UNDO_KEYS: &[&str] = &["ok", "hang", "lie", "fail", "for_good", "times"];
const KINDS: &[&str] = &["ok", "fail", "hang", "lie", "already"];
const WORDS: &[(&str, Word)] =
    &[("ok", Word::Ok), ("hang", Word::Hang), ("lie", Word::Lie), ("fail", Word::Fail), ("already", Word::Already)];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Ok,
    Hang,
    Lie,
    Fail,
    Already,
}

impl Word {
    /// The answer where nothing more is said.
    fn plain(self) -> Answer {
        match self {
            Self::Ok => Answer::Ok { output: None, proved: true },
            Self::Hang => Answer::Hang,
            Self::Lie => Answer::Lie("it does not hold".to_owned()),
            Self::Fail => Answer::Fail { why: "it failed".to_owned(), for_good: false },
            Self::Already => Answer::Already,
        }
    }
}

/// Whether there is a step, an item or an action of this name.
pub(super) fn known(reader: &mut Reader<'_>, entry: &Entry, against: &Against<'_>) {
    let key = entry.key.as_str();
    let action = action_of(key, against);
    let Some(spec) = against.known.action(action) else {
        let steps = against.playbook.steps.iter().filter(|step| matches!(step.kind, StepKind::Action { .. }));
        let names: Vec<&str> = steps.map(|step| step.id.as_str()).collect();
        let mistake = reader.source.error(entry.at, format!("`{key}` is no step with an action, and no action"));
        let all = names.iter().copied().chain(against.known.actions.iter().map(|spec| spec.name));
        reader.note_near(mistake.expected(one_of(&names)), key, all);
        return;
    };
    if spec.lane == Lane::Read && action != key {
        let what = format!("`{action}` only reads, which has no step's name");
        reader.error(entry.at, what, format!("its answers under the action's name, `{action}`"));
    }
    let id = step_of(key);
    let step = against.playbook.steps.iter().find(|step| step.id.as_str() == id);
    if id != key && step.is_some_and(|step| step.for_each.is_none()) {
        reader.error(entry.at, format!("`{id}` has no items"), format!("`{id}`, or a step with `for_each`"));
    }
}

/// How the world answers under one name.
pub(super) fn of(reader: &mut Reader<'_>, entry: &Entry, against: &Against<'_>) -> Mocked {
    let mut undos = Vec::new();
    let acts = list(reader, &entry.value, |reader, item| {
        let mock = act(reader, item, &entry.key, against, &mut undos)?;
        if matches!(mock.answer, Answer::Already) && action_of(&entry.key, against) != entry.key {
            let action = action_of(&entry.key, against);
            reader.error(item.at, "what is so already is seen when it is planned, which has no step's name", {
                format!("`already` under the action's name, `{action}`")
            });
        }
        Some(mock)
    });
    Mocked { at: reader.source.error(entry.at, ""), acts, undos }
}

/// One answer, or one for each attempt.
fn list(
    reader: &mut Reader<'_>,
    node: &Node,
    mut read: impl FnMut(&mut Reader<'_>, &Node) -> Option<Mock>,
) -> Vec<Mock> {
    let one = std::slice::from_ref(node);
    let (items, listed) = if let Value::List(list) = &node.value { (list.as_slice(), true) } else { (one, false) };
    let last = items.len().saturating_sub(1);
    let each = items.iter().enumerate().filter_map(|(at, item)| {
        let mut mock = read(reader, item)?;
        if listed && at < last {
            mock.times = mock.times.or(Some(1));
        }
        Some(mock)
    });
    each.collect()
}

/// An answer to what is done, with what it says of the taking back.
fn act(reader: &mut Reader<'_>, node: &Node, key: &str, against: &Against<'_>, undos: &mut Vec<Mock>) -> Option<Mock> {
    if matches!(node.value, Value::Text(_)) {
        return mock(reader, node, KEYS, key, against);
    }
    if let Some(entry) = node.entry("undo") {
        let action = action_of(key, against);
        if against.known.action(action).is_some_and(|spec| !spec.undoable) {
            reader.error(entry.at, format!("`{action}` cannot be undone, and nothing tries to"), "no `undo`");
        } else if !undos.is_empty() {
            reader.error(entry.at, "`undo` stands in two answers", "once: it is a list, if attempts differ");
        } else {
            *undos = list(reader, &entry.value, |reader, item| mock(reader, item, UNDO_KEYS, key, against));
        }
        if !matches!(&node.value, Value::Map(map) if map.len() > 1) {
            return Some(Mock { answer: Word::Ok.plain(), times: None });
        }
    }
    mock(reader, node, KEYS, key, against)
}

/// One answer, which may have these keys.
fn mock(reader: &mut Reader<'_>, node: &Node, keys: &[&str], key: &str, against: &Against<'_>) -> Option<Mock> {
    let is_undo = keys == UNDO_KEYS;
    if matches!(node.value, Value::Text(_)) {
        let words: Vec<(&str, Word)> = WORDS.iter().filter(|(word, _)| keys.contains(word)).copied().collect();
        return Some(Mock { answer: reader.word(node, "answer of the world", &words)?.plain(), times: None });
    }
    let fields = reader.fields(node, "an answer of the world", keys, &[])?;
    let kinds = fields.present(KINDS);
    let [entry] = kinds.as_slice() else {
        let kinds: Vec<String> =
            KINDS.iter().filter(|kind| keys.contains(kind)).map(|kind| format!("`{kind}`")).collect();
        reader.error(fields.at, "an answer of the world is exactly one thing", format!("one of {}", one_of(&kinds)));
        return None;
    };
    let for_good = fields.get("for_good").and_then(|node| reader.bool(node, "`for_good`"));
    let proved = fields.get("proved").and_then(|node| reader.bool(node, "`proved`"));
    for (word, beside, is_there) in [("for_good", "fail", for_good.is_some()), ("proved", "ok", proved.is_some())] {
        if is_there && entry.key != beside {
            reader.error(entry.at, format!("`{word}` stands beside `{beside}` only"), format!("`{beside}` with it"));
        }
    }
    let value = &entry.value;
    let word = WORDS.iter().find(|(known, _)| *known == entry.key)?.1;
    let answer = match (word, &value.value) {
        (_, Value::Null) => word.plain(),
        (Word::Ok, _) if is_undo => {
            reader.error(value.at, format!("`ok` is {}", value.shown()), "nothing: an undo gives no outputs");
            return None;
        }
        (Word::Ok, _) => {
            let entries = reader.map(value, "`ok`")?;
            names::outputs_of(reader, action_of(key, against), entries, against);
            Answer::Ok { output: Some(value.to_json()), proved: true }
        }
        (Word::Fail, _) => Answer::Fail { why: reader.text(value, "`fail`")?.to_owned(), for_good: false },
        (Word::Lie, _) => Answer::Lie(reader.text(value, "`lie`")?.to_owned()),
        (Word::Hang, _) => {
            let what = format!("`hang` is {}", value.shown());
            reader.error(value.at, what, "nothing: it ends with the step's `timeout`");
            return None;
        }
        (Word::Already, _) => {
            let what = format!("`already` is {}", value.shown());
            reader.error(value.at, what, "nothing: it is so, and nothing is done");
            return None;
        }
    };
    let answer = match answer {
        Answer::Fail { why, .. } => Answer::Fail { why, for_good: for_good.unwrap_or(false) },
        Answer::Ok { output, .. } => Answer::Ok { output, proved: proved.unwrap_or(true) },
        other @ (Answer::Hang | Answer::Lie(_) | Answer::Already) => other,
    };
    let times = fields.get("times").and_then(|node| reader.count(node, "`times`", 1));
    Some(Mock { answer, times })
}
