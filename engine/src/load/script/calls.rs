//! The functions that a script builds a playbook with.
//!
//! Owns their names and what each takes. They write keys of the YAML language and nothing else: `.only_if` is `if`,
//! `.after` is `needs`, and whatever they do not look at is the reader's to judge.

use super::build::{Build, Fallible, Handle, Site, X};
use super::laid::{Laid, Parts};
use crate::load::yaml::{Entry, Node, Value};
use crate::playbook::template::OPEN;
use rhai::{Dynamic, Engine, NativeCallContext};
use std::sync::{Arc, Mutex, PoisonError};

/// Every function with how it is called, for mistakes and the reference.
pub(super) const SIGNATURES: &[(&str, &str)] = &[
    ("playbook", "playbook(\"a-name\", #{ mode: \"enforce\" })"),
    ("on_detection", "on_detection(#{ rules: [\"a-rule\"], level: \"high\" })"),
    ("on_incident", "on_incident(\"opened\"), or on_incident([\"acknowledged\", \"resolved\"])"),
    ("limits", "limits(#{ runs: \"20/h\", targets: \"5/run\" })"),
    ("input", "input(\"a_name\", #{ type: \"string\" })"),
    ("output", "output(\"a_name\", x(\"steps.a.outcome\"))"),
    ("action", "action(\"an_id\", \"process.kill\", #{ process: x(\"event.process.id\") })"),
    ("script", "script(\"an_id\", \"#{ n: 1 }\")"),
    ("tell", "tell(\"an_id\", \"a text\")"),
    ("escalate", "escalate(\"an_id\", \"a-policy\"), or escalate(\"an_id\", #{ step: 2 })"),
    ("ask", "ask(\"an_id\", #{ question: \"Was it you?\", choices: [\"me\", \"not_me\"], otherwise: \"not_me\" })"),
    ("wait", "wait(\"an_id\", \"5m\"), or wait(\"an_id\", #{ \"until\": #{ rules: [\"a-rule\"] }, timeout: \"30m\" })"),
    ("sub_playbook", "sub_playbook(\"an_id\", \"a-playbook\", #{ an_input: x(\"event.node\") })"),
    ("detach", "step.detach(true)"),
    ("x", "x(\"event.process.id\")"),
    ("after", "step.after(another), or step.after([one, another])"),
    ("only_if", "step.only_if(\"event.pod != ()\")"),
    ("for_each", "step.for_each(x(\"steps.a.items\"), #{ max_parallel: 4 })"),
    ("when", "step.when(\"always\")"),
    ("timeout", "step.timeout(\"10s\")"),
    ("deadline", "step.deadline(\"1m\")"),
    ("retry", "step.retry(#{ attempts: 3, backoff: \"200ms..2s\" })"),
    ("on_failure", "step.on_failure(\"continue\")"),
    ("mode", "step.mode(\"observe\")"),
    ("lease", "step.lease(#{ \"for\": \"24h\", at_end: \"ask\" })"),
    ("approve", "step.approve(#{ by: \"security\", within: \"15m\", otherwise: \"deny\" })"),
    ("confirm", "step.confirm(#{ by: \"security\", within: \"30m\", otherwise: \"keep\" })"),
];

/// Methods of a step that write the key of their own name.
const PLAIN: [&str; 10] =
    ["detach", "when", "timeout", "deadline", "retry", "on_failure", "mode", "lease", "approve", "confirm"];

/// The keys of `on_detection`: the first stand in `on.detections`.
const FILTER: &[&str] = &["rules", "tags", "level"];
const TRIGGER: &[&str] = &["rules", "tags", "level", "only_if", "run_per", "max_age"];

/// What the calls of one script work on.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Build>>);

impl Shared {
    pub(super) fn new(build: Build) -> Self {
        Self(Arc::new(Mutex::new(build)))
    }

    /// Works on it. No call runs the script meanwhile.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Build) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn call<T>(
        &self,
        call: &NativeCallContext<'_>,
        work: impl FnOnce(&mut Build, &Site) -> Fallible<T>,
    ) -> Fallible<T> {
        self.with(|build| {
            let site = build.site(call);
            work(build, &site)
        })
    }
}

type Call<'a> = NativeCallContext<'a>;

/// Teaches an engine these functions.
pub(super) fn register(engine: &mut Engine, all: &Shared) {
    engine.register_type_with_name::<Handle>("a step").register_type_with_name::<X>("an expression");
    let shared = all.clone();
    engine.register_fn("x", move |call: Call, text: Dynamic| {
        shared.call(&call, |build, site| build.expression(text, site))
    });
    // Within a text an expression is what YAML has there, and a step is its id.
    let shared = all.clone();
    let print = move |x: &mut X| {
        shared.with(|build| build.used(x));
        x.written()
    };
    engine.register_fn("to_string", print.clone()).register_fn("to_debug", print);
    engine.register_fn("to_string", |step: &mut Handle| step.id.clone());
    engine.register_fn("to_debug", |step: &mut Handle| step.id.clone());
    whole(engine, all);
    steps(engine, all);
    methods(engine, all);
}

/// What the playbook as a whole has.
fn whole(engine: &mut Engine, all: &Shared) {
    let shared = all.clone();
    engine.register_fn("playbook", move |call: Call, name: Dynamic| {
        shared.call(&call, |build, site| named(build, site, name, site.argument(0, 1)))
    });
    let shared = all.clone();
    engine.register_fn("playbook", move |call: Call, name: Dynamic, keys: Dynamic| {
        shared.call(&call, |build, site| {
            named(build, site, name, site.argument(0, 2))?;
            let keys = build.map(keys, site, site.argument(1, 2), "what a playbook has")?;
            keys.into_iter().for_each(|entry| build.top(entry));
            Ok(())
        })
    });
    let shared = all.clone();
    engine.register_fn("on_detection", move |call: Call, keys: Dynamic| {
        shared.call(&call, |build, site| {
            let keys = build.map(keys, site, site.argument(0, 1), "what `on_detection` asks")?;
            trigger(build, site, keys)
        })
    });
    let shared = all.clone();
    engine.register_fn("on_incident", move |call: Call, moments: Dynamic| {
        shared.call(&call, |build, site| {
            let value = build.node(moments, site.argument(0, 1), site.at, 0)?;
            build.on(site, vec![entry("incident", site, value)]);
            Ok(())
        })
    });
    let shared = all.clone();
    engine.register_fn("limits", move |call: Call, limits: Dynamic| {
        shared.call(&call, |build, site| {
            let value = build.node(limits, site.argument(0, 1), site.at, 0)?;
            build.top(entry("limits", site, value));
            Ok(())
        })
    });
    let shared = all.clone();
    engine.register_fn("input", move |call: Call, name: Dynamic, keys: Dynamic| {
        shared.call(&call, |build, site| {
            let named = pair(build, site, name, keys, "the name of an input")?;
            named.into_iter().for_each(|entry| build.input(entry));
            Ok(())
        })
    });
    let shared = all.clone();
    engine.register_fn("output", move |call: Call, name: Dynamic, value: Dynamic| {
        shared.call(&call, |build, site| {
            let named = pair(build, site, name, value, "the name of an output")?;
            named.into_iter().for_each(|entry| build.output(entry));
            Ok(())
        })
    });
}

fn named(build: &mut Build, site: &Site, name: Dynamic, laid: Option<&Laid>) -> Fallible<()> {
    let name = build.node(name, laid, site.at, 0)?;
    build.name(site, name);
    Ok(())
}

/// A name with its value, the two arguments of a call.
fn pair(build: &mut Build, site: &Site, name: Dynamic, value: Dynamic, what: &str) -> Fallible<Option<Entry>> {
    let word = build.word(name, site, site.argument(0, 2), what)?;
    let value = build.node(value, site.argument(1, 2), site.at, 0)?;
    Ok(word.map(|(key, at)| Entry { key, at, value, merged: false }))
}

/// `on`, with `if` by the name that a step has for it.
fn trigger(build: &mut Build, site: &Site, keys: Vec<Entry>) -> Fallible<()> {
    let node = Node { value: Value::Map(keys), at: site.at };
    build.known("`on_detection`", &node, TRIGGER)?;
    let Value::Map(keys) = node.value else { return Ok(()) };
    let known = keys.into_iter().filter(|entry| TRIGGER.contains(&entry.key.as_str()));
    let (filter, mut on): (Vec<Entry>, Vec<Entry>) = known.partition(|entry| FILTER.contains(&entry.key.as_str()));
    for entry in &mut on {
        // An expression that is no `x` yet is the text of one.
        if let (Value::Text(text), true) = (&entry.value.value, entry.key != "max_age")
            && !text.contains(OPEN)
        {
            let laid = Laid { at: entry.value.at, parts: Parts::None };
            entry.value = build.condition(Dynamic::from(text.clone()), site, Some(&laid))?;
        }
        if entry.key == "only_if" {
            "if".clone_into(&mut entry.key);
        }
    }
    let detections = Node { value: Value::Map(filter), at: site.at };
    on.insert(0, entry("detections", site, detections));
    build.on(site, on);
    Ok(())
}

/// A key that stands where its call does.
fn entry(key: &str, site: &Site, value: Node) -> Entry {
    Entry { key: key.to_owned(), at: site.at, value, merged: false }
}

/// What makes a step.
fn steps(engine: &mut Engine, all: &Shared) {
    let shared = all.clone();
    engine.register_fn("action", move |call: Call, id: Dynamic, verb: Dynamic| {
        shared.call(&call, |build, site| step(build, site, 2, id, "action", verb, None))
    });
    let shared = all.clone();
    engine.register_fn("action", move |call: Call, id: Dynamic, verb: Dynamic, with: Dynamic| {
        shared.call(&call, |build, site| step(build, site, 3, id, "action", verb, Some(with)))
    });
    let shared = all.clone();
    engine.register_fn("sub_playbook", move |call: Call, id: Dynamic, name: Dynamic| {
        shared.call(&call, |build, site| step(build, site, 2, id, "playbook", name, None))
    });
    let shared = all.clone();
    engine.register_fn("sub_playbook", move |call: Call, id: Dynamic, name: Dynamic, with: Dynamic| {
        shared.call(&call, |build, site| step(build, site, 3, id, "playbook", name, Some(with)))
    });
    for kind in ["script", "tell", "escalate", "ask", "wait"] {
        let shared = all.clone();
        engine.register_fn(kind, move |call: Call, id: Dynamic, text: Dynamic| {
            shared.call(&call, |build, site| step(build, site, 2, id, kind, text, None))
        });
    }
}

fn step(
    build: &mut Build,
    site: &Site,
    count: usize,
    id: Dynamic,
    kind: &str,
    what: Dynamic,
    with: Option<Dynamic>,
) -> Fallible<Handle> {
    let id = build.word(id, site, site.argument(0, count), "a step's id")?;
    let at = |build: &mut Build, key: &str, value, n| -> Fallible<Entry> {
        let value: Node = build.node(value, site.argument(n, count), site.at, 0)?;
        Ok(Entry { key: key.to_owned(), at: value.at, value, merged: false })
    };
    let mut keys = vec![at(build, kind, what, 1)?];
    if let Some(with) = with {
        keys.push(at(build, "with", with, 2)?);
    }
    match id {
        Some(id) => build.step(id, keys),
        None => Ok(Handle::of_none()),
    }
}

/// What a step is told.
fn methods(engine: &mut Engine, all: &Shared) {
    for key in PLAIN {
        let shared = all.clone();
        engine.register_fn(key, move |call: Call, step: &mut Handle, value: Dynamic| {
            shared.call(&call, |build, site| {
                let value = build.node(value, site.argument(0, 1), site.at, 0)?;
                build.key(step, entry(key, site, value));
                Ok(step.clone())
            })
        });
    }
    let shared = all.clone();
    engine.register_fn("after", move |call: Call, step: &mut Handle, others: Dynamic| {
        shared.call(&call, |build, site| {
            build.after(step, others, site, site.argument(0, 1))?;
            Ok(step.clone())
        })
    });
    let shared = all.clone();
    engine.register_fn("only_if", move |call: Call, step: &mut Handle, condition: Dynamic| {
        shared.call(&call, |build, site| {
            let value = build.condition(condition, site, site.argument(0, 1))?;
            build.key(step, entry("if", site, value));
            Ok(step.clone())
        })
    });
    let shared = all.clone();
    engine.register_fn("for_each", move |call: Call, step: &mut Handle, list: Dynamic| {
        shared.call(&call, |build, site| {
            let value = build.node(list, site.argument(0, 1), site.at, 0)?;
            build.key(step, entry("for_each", site, value));
            Ok(step.clone())
        })
    });
    let shared = all.clone();
    engine.register_fn("for_each", move |call: Call, step: &mut Handle, list: Dynamic, keys: Dynamic| {
        shared.call(&call, |build, site| {
            let value = build.node(list, site.argument(0, 2), site.at, 0)?;
            build.key(step, entry("for_each", site, value));
            let keys = build.map(keys, site, site.argument(1, 2), "what `for_each` is told")?;
            let node = Node { value: Value::Map(keys), at: site.at };
            build.known("`for_each`", &node, &["max_parallel", "errors"])?;
            let Value::Map(keys) = node.value else { return Ok(step.clone()) };
            let known = keys.into_iter().filter(|entry| ["max_parallel", "errors"].contains(&entry.key.as_str()));
            known.for_each(|entry| build.key(step, entry));
            Ok(step.clone())
        })
    });
}
