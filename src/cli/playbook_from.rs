//! `quell playbook test --from run ID`: a test that is written from a run, and played once before it is given away.
//!
//! Owns the asking and the trial. What is written is the engine's; the text goes to standard output, also where the trial
//! shows that a played world cannot show all of it again, which then is told.

use super::client::{Client, segment};
use super::escape::escape;
use super::mistakes::{self, Tally};
use super::place::must_exist;
use super::playbook_test::on_a_bench;
use super::{Exit, Fail, Global, Term};
use crate::daemon::around::{self, Asked, Found};
use quell_engine::report::{DefinitionView, RunView};
use quell_engine::trial::{self, Coverage};
use quell_model::playbook::Playbook;
use quell_model::record::stored;
use quell_model::{Level, Mistake, RuleRef};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Writes it.
pub(super) fn run(
    from: &[String],
    (rules, config): (&[PathBuf], Option<&Path>),
    global: &Global,
    term: &Term,
) -> Result<Exit, Fail> {
    must_exist(rules.iter().map(PathBuf::as_path).chain(config))?;
    let [what, id] = from else { return Err(Fail::usage("`--from` takes `run` and its id")) };
    if what != "run" {
        return Err(Fail::usage(format!("a test is written from a run, not from a `{what}`")).hint("`--from run ID`"));
    }
    let client = Client::new(global)?;
    let mut run: RunView = client.get(&format!("/runs/{}", segment(id)))?;
    make_whole(&client, &mut run)?;
    let pinned: DefinitionView = client.get(&format!("/runs/{}/playbook", segment(id)))?;
    let playbook = crate::daemon::reread(Path::new(&pinned.file), &pinned.text).ok_or_else(|| {
        let what = format!("the playbook that run `{id}` began with is no longer understood by this version");
        Fail::not_right(what)
    })?;
    // What stands around the file that the run went by, where it still stands.
    let file = [PathBuf::from(&pinned.file)];
    let paths = if file[0].is_file() { file.as_slice() } else { &[] };
    let around = around::gather(&Asked { paths, rules, config });
    // What is wrong with the playbook as its file has it now is no matter; what it is held against is.
    let others: Vec<Mistake> =
        around.mistakes.iter().filter(|mistake| mistake.file != Path::new(&pinned.file)).cloned().collect();
    mistakes::draw(term, &others);
    let wrong: Vec<Mistake> = others.into_iter().filter(|mistake| config == Some(&mistake.file)).collect();
    if Tally::of(&wrong).errors > 0 {
        return Err(Fail::usage(format!("the configuration has mistakes: {}", Tally::of(&wrong))));
    }
    let text = trial::written(&run, &playbook, &crate::daemon::specs(), around.people.as_ref())
        .map_err(|why| Fail::not_right(format!("no test can be written from it: {why}")))?;
    let holds = holds(&text, &run, &Arc::new(playbook), around, term)?;
    if term.is_json() {
        term.document(&json!({ "ok": holds, "run": run.id, "text": text }));
    } else {
        text.lines().for_each(|line| term.whole(escape(line)));
    }
    Ok(if holds { Exit::Right } else { Exit::NotRight })
}

/// A test has what the steps gave, and not where it lies.
fn make_whole(client: &Client, run: &mut RunView) -> Result<(), Fail> {
    let at = format!("/runs/{}/output", segment(run.id.as_str()));
    let every = run.steps.iter_mut().flat_map(|step| {
        let own = (step.id.clone(), &mut step.output, &mut step.input);
        std::iter::once(own)
            .chain(step.items.iter_mut().map(|item| (item.id.clone(), &mut item.output, &mut item.input)))
    });
    for (id, output, input) in every {
        let asked = match id.strip_suffix(']').and_then(|id| id.rsplit_once('[')) {
            Some((step, item)) => format!("step={step}&item={item}"),
            None => format!("step={id}"),
        };
        for (value, given) in [(output, ""), (input, "&given=true")] {
            if stored::refers(value) {
                *value = client.get(&format!("{at}?{asked}{given}"))?;
            }
        }
    }
    make_own_whole(client, run)
}

/// What the run itself was given and gave, and not where it lies.
pub(super) fn make_own_whole(client: &Client, run: &mut RunView) -> Result<(), Fail> {
    let at = format!("/runs/{}/output", segment(run.id.as_str()));
    for (value, given) in [(&mut run.outputs, ""), (&mut run.inputs, "?given=true")] {
        if stored::refers(value) {
            *value = client.get(&format!("{at}{given}"))?;
        }
    }
    Ok(())
}

/// Whether the test passes against the text that the run went by.
fn holds(text: &str, run: &RunView, playbook: &Arc<Playbook>, around: Found, term: &Term) -> Result<bool, Fail> {
    let mut refs: Vec<RuleRef> = around.rules.refs().cloned().collect();
    refs.extend(rule(run).filter(|rule| refs.iter().all(|other| other.name != rule.name)));
    // Of namesakes the one that the run went by comes first.
    let all: Vec<Arc<Playbook>> = std::iter::once(playbook).chain(&around.playbooks).map(Arc::clone).collect();
    let (suite, found) = trial::read(Path::new("from-run.test.yaml"), text, &all, &around.known(&refs));
    mistakes::draw(term, &found);
    let Some(suite) = suite else { return Ok(false) };
    let misses = on_a_bench(around.rules, around.config.vars.clone(), |bench| {
        let mut coverage = Coverage::of(playbook);
        let played = suite.cases.iter().map(|case| trial::play(&suite, case, bench, &mut coverage).misses);
        played.flatten().collect::<Vec<_>>()
    })?;
    for miss in &misses {
        let (expected, found) = (escape(&miss.expected), escape(&miss.found));
        term.note(format!("played again it differs: expected {expected}, found {found}"));
    }
    Ok(misses.is_empty())
}

/// The rule as the run knew it: it may not be among those that are loaded here.
fn rule(run: &RunView) -> Option<RuleRef> {
    let text = |key: &str| run.detection.get(key).and_then(Value::as_str);
    let level: Level = text("level")?.parse().ok()?;
    let tags = run.detection.get("tags").and_then(Value::as_array).into_iter().flatten();
    let tags = tags.filter_map(Value::as_str).map(Into::into).collect();
    Some(RuleRef { name: text("rule")?.into(), id: None, title: text("title")?.into(), level, tags })
}
