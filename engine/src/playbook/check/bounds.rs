//! What should have a bound, a question or a way back, and has none.
//!
//! Looks at each step beside the whole: its action's declaration, the playbook's limits, and what else would be taken back.

use super::changes;
use super::cut::is_cut;
use crate::load::Known;
use crate::load::playbook::Draft;
use crate::load::reader::Reader;
use crate::load::step::StepPlaces;
use crate::playbook::graph::Graph;
use quell_model::playbook::{OnFailure, Step, StepKind, When};
use quell_model::{ActionSpec, Lane, Mode, Name};

pub(super) fn check(reader: &mut Reader<'_>, draft: &Draft<'_>, known: &Known<'_>, graph: Option<&Graph>) {
    let mut contained = Containments::of(draft, known);
    for (step, places) in &draft.steps {
        let spec = spec(step, known);
        endless(reader, draft, step, places, spec);
        if let Some(graph) = graph {
            takes_back(reader, &mut contained, graph, (step, places), spec);
        }
        let StepKind::Action { action, .. } = &step.kind else {
            does_nothing(reader, step, places);
            continue;
        };
        asks_too_late(reader, action, places, spec);
        irreversible(reader, draft, step, places, spec);
    }
}

fn spec(step: &Step, known: &Known<'_>) -> Option<&'static ActionSpec> {
    match &step.kind {
        StepKind::Action { action, .. } => known.action(action.as_str()),
        _ => None,
    }
}

/// How many items an expression gives nobody knows, and whoever attacks may make them many.
fn endless(
    reader: &mut Reader<'_>,
    draft: &Draft<'_>,
    step: &Step,
    places: &StepPlaces<'_>,
    spec: Option<&'static ActionSpec>,
) {
    let (Some(each), Some(at)) = (&step.for_each, places.unbounded) else { return };
    // Targets are what inputs of actions name; of messages and scripts there are as many as there are items.
    let is_action = matches!(step.kind, StepKind::Action { .. });
    let counts = is_action && spec.is_none_or(|spec| !spec.targets.is_empty());
    if is_cut(&each.list.text) || (counts && draft.limits.targets.is_some()) {
        return;
    }
    let what = format!("the `for_each` of step `{}` has no bound", step.id);
    let expected = match counts {
        true => "`limits: { targets: 20/run }`, or a list that is cut: ${{ ….extract(0, 20) }}",
        false => "a list that is cut: ${{ ….extract(0, 20) }}",
    };
    reader.warning(at, what, expected);
}

/// What would be taken back where a step fails under `on_failure: undo`.
struct Containments<'d> {
    /// Steps that change the world, and whose change can be taken back.
    steps: Vec<&'d Step>,
    /// Questions to the graph that are left: they are as many as pairs of steps.
    left: usize,
}

/// Containments that are named in a mistake.
const NAMED: usize = 3;
/// Questions to the graph about one playbook: all pairs of some hundreds of steps. Of more it is not counted how many
/// containments there are beside those that are named.
const COUNTED: usize = 100_000;
/// Questions about one step once those are used up.
const LOOKED_AT: usize = 64;

impl<'d> Containments<'d> {
    fn of(draft: &'d Draft<'_>, known: &Known<'_>) -> Self {
        let contains = |step: &&Step| spec(step, known).is_some_and(|spec| changes(spec) && spec.undoable);
        Self { steps: draft.steps.iter().map(|(step, _)| step).filter(contains).collect(), left: COUNTED }
    }

    /// Those that a step's failure would take back, for people; none if there is none.
    fn taken_back(&mut self, step: &Step, graph: &Graph) -> Option<String> {
        let most = self.left.max(LOOKED_AT).min(self.steps.len());
        self.left -= most.min(self.left);
        // What waits for its success has not begun when it fails.
        let is_later = |other: &&&Step| other.when == When::Success && graph.is_ancestor(&step.id, &other.id);
        let stand = self.steps[..most].iter().filter(|other| !is_later(other));
        let mut names: Vec<String> = stand.map(|other| format!("`{}`", other.id)).collect();
        let others = names.len().saturating_sub(NAMED);
        names.truncate(NAMED);
        match (others, most == self.steps.len()) {
            (1.., true) => names.push(format!("{others} more")),
            (1.., false) => names.push("more".to_owned()),
            (0, _) => {}
        }
        (!names.is_empty()).then(|| and(&names))
    }
}

/// The failure of a step that only looks or tells, and with it the end of what contains.
fn takes_back(
    reader: &mut Reader<'_>,
    contained: &mut Containments<'_>,
    graph: &Graph,
    (step, places): (&Step, &StepPlaces<'_>),
    spec: Option<&'static ActionSpec>,
) {
    let only_looks = match &step.kind {
        StepKind::Action { .. } => spec.is_some_and(|spec| !changes(spec)),
        StepKind::Script(_) | StepKind::Tell(_) | StepKind::Escalate(_) => true,
        _ => false,
    };
    let (Some(at), true, OnFailure::Undo) = (places.on_failure, only_looks, step.on_failure) else { return };
    if let Some(names) = contained.taken_back(step, graph) {
        let what = format!("should `{}` fail, {names} would be taken back, which contains", step.id);
        reader.warning(at, what, "`on_failure: continue`: a containment stands without its evidence");
    }
}

/// `a`, `b` and `c`.
fn and(names: &[String]) -> String {
    match names {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// Keys of actions beside what does nothing to the world by itself.
fn does_nothing(reader: &mut Reader<'_>, step: &Step, places: &StepPlaces<'_>) {
    let starts = matches!(step.kind, StepKind::Playbook(_));
    for (key, at) in [("approve", places.approve), ("confirm", places.confirm)] {
        if let Some(at) = at {
            let (what, expected) = match starts {
                true => ("starts a playbook", "in the steps of that playbook"),
                false => ("does nothing to the world", "beside an `action`"),
            };
            reader.error(at, format!("step `{}` has `{key}` and {what}", step.id), format!("`{key}` {expected}"));
        }
    }
    if let Some(at) = places.lease {
        let what = format!("step `{}` has a `lease` and contains nothing", step.id);
        let expected = match starts {
            true => "a `lease` in the steps of that playbook",
            false => "a `lease` beside an `action` that can be undone",
        };
        reader.error(at, what, expected);
    }
}

fn asks_too_late(reader: &mut Reader<'_>, action: &Name, places: &StepPlaces<'_>, spec: Option<&'static ActionSpec>) {
    let Some(spec) = spec else { return };
    if let (Some(at), false) = (places.lease, spec.undoable) {
        let what = format!("`{action}` cannot be undone, and has a `lease`");
        reader.error(at, what, "no `lease`, or an action that can be undone (`quell action list`)");
    }
    if let (Some(at), false) = (places.confirm, spec.undoable) {
        let what = format!("`{action}` cannot be undone, and is to be confirmed afterwards");
        reader.error(at, what, "`approve`, which asks first, or an action that can be undone");
    }
    if let (Some(at), Lane::Read) = (places.approve.or(places.confirm), spec.lane) {
        reader.error(at, format!("`{action}` changes nothing, so that there is nothing to ask"), "neither");
    }
}

/// What cannot be taken back is asked about first, or held by a limit.
fn irreversible(
    reader: &mut Reader<'_>,
    draft: &Draft<'_>,
    step: &Step,
    places: &StepPlaces<'_>,
    spec: Option<&'static ActionSpec>,
) {
    let is_free = draft.mode.strictest(step.mode.unwrap_or(Mode::Enforce)) == Mode::Enforce;
    // `limits.runs` counts what detections and incidents start: no moments of a schedule, no people, no other runs.
    let counts = draft.on.detections.is_some() || !draft.on.incident.is_empty();
    let runs = draft.limits.runs.is_some() && counts && draft.on.schedule.is_none();
    let is_asked = step.approve.is_some() || spec.is_some_and(|spec| spec.asks_by_default);
    let is_held = is_asked || draft.limits.targets.is_some() || runs;
    let cannot = spec.is_some_and(|spec| !spec.undoable && changes(spec));
    if let (Some(at), true, false, StepKind::Action { action, .. }) =
        (places.action, is_free && cannot, is_held, &step.kind)
    {
        let what = format!("`{action}` cannot be taken back, nobody is asked, and nothing limits it");
        let expected = match (draft.on.schedule.is_some(), counts) {
            (true, _) => {
                "`limits: { targets: 5/run }` on the playbook (`runs` counts no moments), or `approve` on the step"
            }
            (false, false) => {
                "`limits: { targets: 5/run }` on the playbook (`runs` counts no starts by people or other runs), or \
                 `approve` on the step"
            }
            (false, true) => "`limits: { runs: 20/h, targets: 5/run }` on the playbook, or `approve` on the step",
        };
        reader.warning(at, what, expected);
    }
}
