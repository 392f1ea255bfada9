//! What is wrong with a playbook that can be read: all of it, each with its place.
//!
//! ```text
//! draft ─┬─ needs    do they exist, is it a DAG
//!        ├─ inputs   does the action exist, is its input what its schema says
//!        ├─ secrets  does each stand where one is taken, and nothing else there
//!        ├─ uses     do expressions compile, do they name what is there; absent: is it there whenever they walk through it,
//!        │           asked: what they have looked for before
//!        ├─ calls    are there the functions and methods that they call
//!        ├─ people   are those it asks known
//!        ├─ ways     is that configured by which they send, and are the hosts allowed that they ask
//!        ├─ never    what can never run, end or hold as it is written
//!        ├─ trigger  do the rules and tags exist that it asks for, or that its steps wait for, and are they bad enough
//!        └─ bounds   what has no limit, no way back, nobody who is asked
//! playbooks ─┬─ across   what two would both answer with the same act
//!            └─ subs     do those exist that steps start, with their inputs, and does it end
//! open runs ── running  what they have and a changed playbook lacks
//! routes ── route       do conditions over incidents compile, name what there is, give an answer
//! ```

mod absent;
pub(crate) mod across;
mod asked;
mod bounds;
mod calls;
mod cut;
pub(crate) mod inputs;
mod needs;
mod never;
mod people;
mod route;
mod running;
mod secrets;
pub(crate) mod subs;
mod trigger;
mod uses;
mod ways;

pub(crate) use route::{objection, route};
pub use running::{OpenRun, running};
pub(crate) use uses::can_be_named;

use crate::load::Known;
use crate::load::playbook::Draft;
use crate::load::reader::Reader;
use quell_model::{ActionSpec, Lane, Mistake, MistakeLevel};

/// Notes every mistake of one playbook.
pub(crate) fn draft(reader: &mut Reader<'_>, draft: &Draft<'_>, known: &Known<'_>) {
    let graph = needs::check(reader, draft);
    inputs::check(reader, draft, known);
    uses::check(reader, draft, known, graph.as_ref());
    people::check(reader, draft, known);
    ways::check(reader, draft, known);
    trigger::check(reader, &draft.on_places, known);
    draft.steps.iter().for_each(|(_, places)| trigger::check(reader, &places.wait, known));
    bounds::check(reader, draft, known, graph.as_ref());
    never::check(reader, draft, graph.as_ref());
}

/// Whether an action changes the world.
fn changes(spec: &ActionSpec) -> bool {
    matches!(spec.lane, Lane::Contain | Lane::Cloud)
}

/// Whether any of these keeps a playbook from being loaded.
#[must_use]
pub fn has_errors(mistakes: &[Mistake]) -> bool {
    mistakes.iter().any(|mistake| mistake.level == MistakeLevel::Error)
}
