//! Expectations held against what happened.
//!
//! Pure. Invariant: every expectation that does not hold is told, each at the place where it is written.

use super::case::{Case, Expectation, Wanted};
use super::story::{StepStory, Story};
use super::world::Unused;
use quell_model::Json;

/// An expectation that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    /// `file:line:column`.
    pub place: String,
    /// What should have been.
    pub expected: String,
    /// What was.
    pub found: String,
}

impl Miss {
    pub(super) fn at(place: String, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { place, expected: expected.into(), found: found.into() }
    }
}

/// What does not hold. `place` is the case's own.
pub(super) fn judge(case: &Case, place: &str, stories: &[Story], unused: &Unused) -> Vec<Miss> {
    let counts = |one: &&Expectation| matches!(one.what, Wanted::Runs(_) | Wanted::Run(None));
    let mut misses: Vec<Miss> =
        case.expect.iter().filter(counts).filter_map(|one| missed(one, &Story::default(), stories, "")).collect();
    let none = [Story::default()];
    for (at, story) in if stories.is_empty() { &none } else { stories }.iter().enumerate() {
        let which = if stories.len() > 1 { format!("run {}: ", at + 1) } else { String::new() };
        let of_all = case.expect.iter().filter(|one| !counts(one));
        let own = case.each.get(at).into_iter().flatten();
        misses.extend(of_all.chain(own).filter_map(|one| missed(one, story, stories, &which)));
    }
    if stories.len() > 1 && !case.expect.iter().any(|one| counts(&one)) {
        let found = format!("{} runs, and no `runs: {0}`", stories.len());
        misses.push(Miss::at(place.to_owned(), "one run", found));
    }
    misses.extend(mocks(case, stories, unused));
    misses
}

fn missed(one: &Expectation, story: &Story, stories: &[Story], which: &str) -> Option<Miss> {
    let (expected, found) = verdict(&one.what, story, stories)?;
    Some(Miss::at(one.at.place(), format!("{which}{expected}"), found))
}

/// Mocks that nothing asked for: whoever wrote them believes that they are tried.
fn mocks<'c>(case: &'c Case, stories: &'c [Story], unused: &'c Unused) -> impl Iterator<Item = Miss> + 'c {
    let acts = unused.acts.iter().filter_map(|name| {
        let at = case.mocks.get(name)?.at.place();
        if let Some((id, _)) = name.split_once('[') {
            let most = stories.iter().filter_map(|story| Some(story.steps.get(id)?.listed.as_ref()?.len())).max();
            let found = match most {
                None => format!("{id} has no items"),
                Some(most) => format!("{id} has {most} items, from 0, and this one was not tried"),
            };
            return Some(Miss::at(at, format!("an item {name} for its mock"), found));
        }
        Some(Miss::at(at, format!("{name} to be tried, as its mock says how"), "nothing asked for it"))
    });
    let undos = unused.undos.iter().filter_map(|name| {
        let at = case.mocks.get(name)?.at.place();
        Some(Miss::at(at, format!("{name} to be taken back, as its `undo` says how"), "nothing asked for it"))
    });
    acts.chain(undos)
}

fn verdict(wanted: &Wanted, story: &Story, stories: &[Story]) -> Option<(String, String)> {
    let runs = stories.len();
    let step = |id: &String| story.steps.get(id).cloned().unwrap_or_default();
    let end = |step: &StepStory| step.outcome.map_or("not ended", quell_model::Outcome::as_str).to_owned();
    let outcome = |id: &String| end(&step(id));
    match wanted {
        Wanted::Run(None) => (runs > 0).then(|| ("no run".to_owned(), format!("{runs} started"))),
        Wanted::Run(Some(state)) => (runs == 0 || story.end() != *state).then(|| {
            let found = if runs == 0 { "no run started" } else { story.end().as_str() }.to_owned();
            let why = if story.summary.is_empty() { String::new() } else { format!(": {}", story.summary) };
            (format!("run {}", state.as_str()), format!("{found}{why}"))
        }),
        Wanted::Runs(count) => (runs != *count as usize).then(|| (format!("{count} runs"), format!("{runs}"))),
        Wanted::Outcome(id, wanted) => (step(id).outcome != Some(*wanted)).then(|| {
            let why = step(id).errors.last().map(|why| format!(": {why}")).unwrap_or_default();
            (format!("{id} {}", wanted.as_str()), format!("{}{why}", outcome(id)))
        }),
        Wanted::Attempts(id, count) => {
            let found = step(id).attempts;
            (found != *count).then(|| (format!("{id} with {count} attempts"), found.to_string()))
        }
        Wanted::With(id, part) => {
            let inputs = step(id).inputs;
            (!inputs.iter().any(|input| holds(part, input))).then(|| (format!("{id} with {part}"), last(&inputs)))
        }
        Wanted::Output(id, part) => {
            let output = step(id).output;
            (!holds(part, &output)).then(|| (format!("{id} gives {part}"), output.to_string()))
        }
        Wanted::Error(id, text) => {
            let errors = step(id).errors;
            (!errors.iter().any(|error| error.contains(text.as_str()))).then(|| {
                (format!("{id} with the error `{text}`"), errors.last().cloned().unwrap_or_else(|| "none".to_owned()))
            })
        }
        Wanted::Order(ids) => {
            let places: Vec<Option<usize>> = ids.iter().map(|id| story.ends.iter().position(|end| end == id)).collect();
            let right = places.iter().all(Option::is_some) && places.windows(2).all(|pair| pair[0] < pair[1]);
            // Who did not run has no place in an order.
            let idle = ids.iter().find(|id| !step(id).is_reached());
            match idle {
                Some(id) => Some((ids.join(", "), format!("{id} {}", outcome(id)))),
                None => (!right).then(|| (ids.join(", "), story.ends.join(", "))),
            }
        }
        Wanted::NotRun(id) if stories.is_empty() => Some((format!("{id} does not run"), "no run started".to_owned())),
        Wanted::NotRun(id) => step(id).ran().then(|| (format!("{id} does not run"), outcome(id))),
        Wanted::Asked(id) => (!step(id).asked).then(|| (format!("{id} asks"), "it asked nobody".to_owned())),
        Wanted::Told(text) => (!story.told.iter().any(|told| told.contains(text.as_str()))).then(|| {
            let found = if story.told.is_empty() { "nothing".to_owned() } else { story.told.join(" / ") };
            (format!("told: {text}"), found)
        }),
        Wanted::Outputs(part) => {
            (!holds(part, &story.outputs)).then(|| (format!("outputs {part}"), story.outputs.to_string()))
        }
    }
}

fn last(inputs: &[Json]) -> String {
    inputs.last().map_or_else(|| "it was never given an input".to_owned(), Json::to_string)
}

/// Whether all that is wanted is there: maps match in part, lists as long as they are.
fn holds(wanted: &Json, found: &Json) -> bool {
    match (wanted, found) {
        (Json::Object(wanted), Json::Object(found)) => {
            wanted.iter().all(|(key, part)| found.get(key).is_some_and(|found| holds(part, found)))
        }
        (Json::Array(wanted), Json::Array(found)) => {
            wanted.len() == found.len() && wanted.iter().zip(found).all(|(wanted, found)| holds(wanted, found))
        }
        _ => wanted == found,
    }
}
