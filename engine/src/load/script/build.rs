//! What the calls of a script have made so far, and the tree that comes of it.
//!
//! Owns the bounds of that tree and where its calls stand. Never decides whether a key or a value is right: the reader of
//! playbooks does, for scripts as for YAML. What only a script can do wrong is noted here, and the script goes on, so that
//! all of it is told.

use super::laid::{self, Laid};
use super::value::{kind, text};
use crate::load::found::{X_CLOSE, X_OPEN};
use crate::load::reader::{Reader, one_of};
use crate::load::yaml::{Entry, Node, Place, Source, Value};
use crate::playbook::template;
use quell_model::Mistake;
use rhai::{Dynamic, EvalAltResult, ImmutableString, NativeCallContext};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Steps of one playbook: more than a person could read, and few enough to be checked in no time.
pub(super) const MOST_STEPS: usize = 1000;
/// Values in the tree: twenty a step.
const MOST_VALUES: usize = 20_000;
/// Bytes of all texts in the tree.
const MOST_BYTES: usize = 1024 * 1024;
/// Mistakes that are told of one script before it is stopped.
const MOST_MISTAKES: usize = 100;

pub(super) type Fallible<T> = Result<T, Box<EvalAltResult>>;

/// A step, as a script holds it.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    number: usize,
    /// What it is called.
    pub(super) id: ImmutableString,
}

/// An expression, as a script holds it: evaluated when the step runs.
#[derive(Clone, Debug)]
pub(super) struct X {
    text: ImmutableString,
    at: Place,
}

impl Handle {
    /// Of a step that could not be made: what it is told goes nowhere.
    pub(super) fn of_none() -> Self {
        Self { number: usize::MAX, id: ImmutableString::new() }
    }
}

impl X {
    /// As YAML has it.
    pub(super) fn written(&self) -> String {
        format!("{X_OPEN}{}{X_CLOSE}", self.text)
    }

    /// Where its text stands.
    pub(super) fn at(&self) -> Place {
        self.at
    }
}

struct Step {
    id: String,
    at: Place,
    keys: Vec<Entry>,
    needs: Vec<Node>,
    needs_at: Place,
}

/// A call in the text: where it stands, and its arguments as they are written.
pub(super) struct Site {
    /// Its name.
    pub(super) at: Place,
    arguments: Vec<Laid>,
}

impl Site {
    /// The argument that is the `at`-th of the last `of`: one more may stand before a method's, or behind its dot.
    pub(super) fn argument(&self, at: usize, of: usize) -> Option<&Laid> {
        self.arguments.get(self.arguments.len().checked_sub(of)? + at)
    }
}

/// All that a script has made.
pub(super) struct Build {
    source: Arc<Source>,
    sites: HashMap<(usize, usize), Arc<Site>>,
    top: Vec<Entry>,
    named: Option<Place>,
    inputs: Vec<Entry>,
    outputs: Vec<Entry>,
    steps: Vec<Step>,
    /// Where each `x` stands, and whether something came of it.
    expressions: BTreeMap<Place, bool>,
    values: usize,
    bytes: usize,
    mistakes: Vec<Mistake>,
}

impl Build {
    pub(super) fn new(source: &Source) -> Self {
        Self {
            source: Arc::new(source.clone()),
            sites: HashMap::new(),
            top: Vec::new(),
            named: None,
            inputs: Vec::new(),
            outputs: Vec::new(),
            steps: Vec::new(),
            expressions: BTreeMap::new(),
            values: 0,
            bytes: 0,
            mistakes: Vec::new(),
        }
    }

    /// Where a call stands.
    pub(super) fn site(&mut self, call: &NativeCallContext<'_>) -> Arc<Site> {
        let position = call.call_position();
        let at = (position.line().unwrap_or(1), position.position().unwrap_or(1));
        let name = call.fn_name();
        let make = || {
            let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let at = self.source.place(narrow(at.0), narrow(at.1), narrow(name.chars().count()));
            let arguments = laid::arguments(&self.source, at.offset, name).unwrap_or_default();
            Arc::new(Site { at, arguments })
        };
        Arc::clone(self.sites.entry(at).or_insert_with(make))
    }

    /// Notes a mistake, each once. An error when there are too many to go on.
    pub(super) fn note(&mut self, mistake: Mistake) -> Fallible<()> {
        if !self.mistakes.contains(&mistake) {
            self.mistakes.push(mistake);
        }
        match self.mistakes.len() > MOST_MISTAKES {
            true => Err(format!("the script has more than {MOST_MISTAKES} mistakes").into()),
            false => Ok(()),
        }
    }

    /// Notes an error.
    pub(super) fn wrong(&mut self, at: Place, what: impl Into<String>, expected: impl Into<String>) -> Fallible<()> {
        self.note(self.source.error(at, what).expected(expected))
    }

    /// `x("…")`.
    pub(super) fn expression(&mut self, value: Dynamic, site: &Site) -> Fallible<X> {
        let at = literal(&self.source, site.argument(0, 1)).unwrap_or(site.at);
        let value = value.flatten();
        if let Some(x) = value.read_lock::<X>() {
            return Ok(x.clone());
        }
        let Ok(text) = value.as_immutable_string_ref().map(|text| text.clone()) else {
            self.wrong(at, format!("an expression is {}", kind(&value)), "its text: x(\"event.process.id\")")?;
            return Ok(X { text: "()".into(), at });
        };
        self.took(1, text.len())?;
        self.expressions.entry(at).or_insert(false);
        let x = X { text, at };
        let inside = x.text.trim();
        if inside.contains(template::OPEN) {
            self.wrong(at, "an expression stands inside `${{ }}`", "its text alone: x(\"event.process.id\")")?;
        } else if inside.is_empty() {
            self.wrong(at, "the expression is empty", "its text: x(\"event.process.id\")")?;
        } else if template::whole(&x.written()) != Some(inside) {
            self.wrong(at, "the expression closes more braces than it opens", "one whole expression")?;
        } else {
            return Ok(x);
        }
        let none = X { text: "()".into(), at };
        self.used(&none);
        Ok(none)
    }

    /// An expression, or the text of one.
    pub(super) fn condition(&mut self, value: Dynamic, site: &Site, laid: Option<&Laid>) -> Fallible<Node> {
        let value = value.flatten();
        if value.is_string() {
            let at = literal(&self.source, laid).or(laid.map(|laid| laid.at)).unwrap_or(site.at);
            let place = Site { at, arguments: Vec::new() };
            let x = self.expression(value, &place)?;
            return self.node(Dynamic::from(x), None, at, 0);
        }
        self.node(value, laid, site.at, 0)
    }

    /// Something came of an expression.
    pub(super) fn used(&mut self, x: &X) {
        self.expressions.insert(x.at, true);
    }

    /// Counts what is kept.
    pub(super) fn took(&mut self, values: usize, bytes: usize) -> Fallible<()> {
        self.values += values;
        self.bytes += bytes;
        if self.values > MOST_VALUES {
            return Err(format!("the playbook is made of more than {MOST_VALUES} values").into());
        }
        if self.bytes > MOST_BYTES {
            return Err(format!("the texts of the playbook take more than {MOST_BYTES} bytes").into());
        }
        Ok(())
    }

    /// A key of the playbook.
    pub(super) fn top(&mut self, entry: Entry) {
        self.top.push(entry);
    }

    /// What starts it: each call adds its keys.
    pub(super) fn on(&mut self, site: &Site, keys: Vec<Entry>) {
        let on = self.top.iter_mut().find(|entry| entry.key == "on").map(|entry| &mut entry.value.value);
        if let Some(Value::Map(all)) = on {
            return all.extend(keys);
        }
        let value = Node { value: Value::Map(keys), at: site.at };
        self.top.push(Entry { key: "on".to_owned(), at: site.at, value, merged: false });
    }

    /// The playbook's name.
    pub(super) fn name(&mut self, site: &Site, name: Node) {
        self.named.get_or_insert(site.at);
        self.top.push(Entry { key: "playbook".to_owned(), at: site.at, value: name, merged: false });
    }

    /// Notes the keys of a map that are not known.
    pub(super) fn known(&mut self, what: &str, node: &Node, keys: &[&str]) -> Fallible<()> {
        let source = Arc::clone(&self.source);
        let mut reader = Reader::new(&source);
        reader.fields(node, what, keys, &[]);
        reader.finish().into_iter().try_for_each(|mistake| self.note(mistake))
    }

    pub(super) fn input(&mut self, entry: Entry) {
        self.inputs.push(entry);
    }

    pub(super) fn output(&mut self, entry: Entry) {
        self.outputs.push(entry);
    }

    /// A new step.
    pub(super) fn step(&mut self, (id, at): (String, Place), keys: Vec<Entry>) -> Fallible<Handle> {
        if self.steps.len() >= MOST_STEPS {
            return Err(format!("the playbook has more than {MOST_STEPS} steps").into());
        }
        let handle = Handle { number: self.steps.len(), id: id.as_str().into() };
        self.steps.push(Step { id, at, keys, needs: Vec::new(), needs_at: at });
        Ok(handle)
    }

    /// A key of a step.
    pub(super) fn key(&mut self, step: &Handle, entry: Entry) {
        if let Some(step) = self.steps.get_mut(step.number) {
            step.keys.push(entry);
        }
    }

    /// What a step comes after.
    pub(super) fn after(&mut self, step: &Handle, value: Dynamic, site: &Site, laid: Option<&Laid>) -> Fallible<()> {
        let value = value.flatten();
        let at = laid.map_or(site.at, |laid| laid.at);
        let values = match value.is_array() {
            true => value.into_array().unwrap_or_default(),
            false => vec![value],
        };
        for (n, value) in values.into_iter().enumerate() {
            let value = value.flatten();
            let at = laid.and_then(|laid| laid.item(n)).map_or(at, |laid| laid.at);
            let handle = value.read_lock::<Handle>().map(|handle| handle.id.to_string());
            if handle.as_ref().is_some_and(String::is_empty) {
                continue;
            }
            let Some(id) = handle.or_else(|| value.is_string().then(|| text(&value)).flatten()) else {
                let what = format!("`after` is given {}", kind(&value));
                self.wrong(at, what, one_of(&["a step", "its id", "a list of them"]))?;
                continue;
            };
            self.took(1, id.len())?;
            if let Some(step) = self.steps.get_mut(step.number) {
                step.needs_at = site.at;
                step.needs.push(Node { value: Value::Text(id), at });
            }
        }
        Ok(())
    }

    /// What was noted so far.
    pub(super) fn mistakes(&mut self) -> Vec<Mistake> {
        std::mem::take(&mut self.mistakes)
    }

    /// The tree of the playbook, and what was noted; no tree where none was named.
    pub(super) fn finish(mut self) -> Result<(Node, Vec<Mistake>), Vec<Mistake>> {
        let Some(at) = self.named else {
            let mistake = self.source.error(Place::default(), "the script makes no playbook");
            self.mistakes.push(mistake.expected("a call like playbook(\"a-name\", #{ mode: \"observe\" })"));
            return Err(self.mistakes);
        };
        for (at, _) in self.expressions.iter().filter(|(_, used)| !**used) {
            let mistake = self.source.warning(*at, "nothing comes of this expression");
            self.mistakes.push(mistake.expected("a step, a trigger or an output that uses it"));
        }
        let mut top = self.top;
        let mut group = |key: &str, entries: Vec<Entry>| {
            if let Some(first) = entries.first() {
                let at = first.at;
                let value = Node { value: Value::Map(entries), at };
                top.push(Entry { key: key.to_owned(), at, value, merged: false });
            }
        };
        group("inputs", self.inputs);
        group("steps", self.steps.into_iter().map(Step::entry).collect());
        group("outputs", self.outputs);
        Ok((Node { value: Value::Map(top), at }, self.mistakes))
    }
}

impl Step {
    fn entry(mut self) -> Entry {
        if !self.needs.is_empty() {
            let at = self.needs_at;
            let value = Node { value: Value::List(self.needs), at };
            self.keys.push(Entry { key: "needs".to_owned(), at, value, merged: false });
        }
        let value = Node { value: Value::Map(self.keys), at: self.at };
        Entry { key: self.id, at: self.at, value, merged: false }
    }
}

/// The place of an argument that is a literal text.
fn literal(source: &Source, laid: Option<&Laid>) -> Option<Place> {
    laid.map(|laid| laid.at).filter(|at| source.text[at.offset..].starts_with(['"', '`']))
}
