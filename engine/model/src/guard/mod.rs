//! The guard: what may never be touched, and how much may be. Pure; decides on a plan, in one place.
//!
//! Invariant: only [`decide`] makes an [`Admitted`], and without one no action runs. It is asked when a step is planned
//! and again at the act. A refusal names the guard and the target.

mod bait;
mod breaker;
mod concern;
mod limits;
mod memory;
mod name;
mod object;
mod place;
mod protect;
mod replicas;
mod warm_up;
mod within;

pub use bait::{BAIT, Owned, bait};
pub use breaker::Breaker;
pub use concern::Concerns;
pub use limits::{ALL, EACH, Limits};
pub use memory::{APART, Act, Image, KEEP, MOST, Memory, Opened};
pub use name::GuardName;
pub use place::{place, place_of_event};
pub use protect::{OwnPod, Protect, ProtectedFile};
pub use replicas::{MinReady, Share, Taken};
pub use warm_up::{MOST_WARM, WarmUp};
pub use within::Within;

use crate::action::{ActionSpec, Plan, Target};
use crate::ids::{Name, RunId};
use crate::mode::Mode;
use crate::playbook::RunLimits;
use crate::time::Stamp;

/// A plan that the guard let through: the only key to an action's `run`.
#[derive(Clone, Debug, PartialEq)]
pub struct Admitted(Plan);

impl Admitted {
    /// What was admitted.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.0
    }
}

/// What the guard says of a plan.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Do it.
    Act(Admitted),
    /// Ask a person first.
    Ask {
        /// What would be done.
        plan: Plan,
        /// Which guard asks for it; none: the mode or the step does.
        guard: Option<Name>,
        /// What asks for it, for people.
        why: String,
    },
    /// Leave it at the plan.
    Observe {
        /// What would have been done.
        plan: Plan,
        /// Which rule leaves it at that, for people.
        why: String,
    },
    /// No.
    Refuse {
        /// Which guard.
        guard: Name,
        /// Which target, for people.
        target: String,
        /// Why.
        why: String,
    },
}

/// The guard's configuration, resolved: files to inodes, users to ids.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// What may never be touched.
    pub protect: Protect,
    /// So many in a time, of all playbooks together.
    pub limits: Limits,
    /// So many in a time, of each playbook.
    pub per_playbook: Limits,
    /// How many have to stay: of an owner's ready replicas, and of a cluster's nodes.
    pub min_ready: MinReady,
    /// When a playbook is believed to have gone wrong.
    pub breaker: Breaker,
    /// Outside of this nothing may be touched.
    pub only_within: Option<Within>,
    /// How long a playbook asks first that is new here; none: it does not.
    pub warm_up: Option<WarmUp>,
}

/// Who wants to act, and under which circumstances.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// Now.
    pub now: Stamp,
    /// The verb.
    pub action: &'static ActionSpec,
    /// Whose step.
    pub run: &'a RunId,
    /// Of which playbook.
    pub playbook: &'a Name,
    /// The strictest of configuration, playbook, run and step.
    pub mode: Mode,
    /// Why the mode is what it is, for people.
    pub mode_because: &'a str,
    /// The event came from where anybody can write.
    pub untrusted: bool,
    /// The playbook's own.
    pub limits: RunLimits,
    /// The runs above this one, each by the step of another, with their playbooks' own: what it touches, they touch.
    pub above: Vec<(&'a RunId, RunLimits)>,
    /// Every action is stopped.
    pub paused: bool,
    /// Whether a person is to be asked, or has said yes to this very plan.
    pub consent: Consent,
    /// When its intent was written, which is counted since: what is judged again is no further act.
    pub counted: Option<Stamp>,
    /// Whom the run's event is about.
    pub concerns: Concerns,
    /// In a run that began on a host or in a pod, the identities that its captures found to be owned.
    pub owned: Option<&'a Owned>,
}

/// Where the consent of a person stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Consent {
    /// It is needed only where the mode or a guard says so.
    #[default]
    AsNeeded,
    /// The step wants it, whatever the mode.
    Wanted,
    /// This plan has it.
    Given,
}

/// Why nothing acts while every action is paused.
pub const PAUSED: &str = "every action is paused; `quell resume` lets them go on";

/// Decides on a plan. Protection comes first, also in observe mode: a dry run has teeth. What it could not judge is added to what the plan says of
/// itself.
#[must_use]
pub fn decide(guard: &Guard, memory: &Memory, ask: &Ask<'_>, mut plan: Plan) -> Decision {
    let refuse = |guard: GuardName, target: &str, why: String| Decision::Refuse {
        guard: guard.into(),
        target: target.to_owned(),
        why,
    };
    for target in &plan.targets {
        if let Some(why) = guard.protect.objection(target) {
            return refuse(GuardName::Protect, &target.label, why);
        }
        if let Some(why) = guard.only_within.as_ref().and_then(|within| within.objection(target)) {
            return refuse(GuardName::OnlyWithin, &target.label, why);
        }
    }
    // Asked again at the act it is no further thing.
    let unsure = guard.protect.unsure(&plan).into_iter().filter(|what| !plan.still_open.contains(what));
    let unsure: Vec<String> = unsure.collect();
    plan.still_open.extend(unsure);
    if plan.already {
        return Decision::Observe { plan, why: "it is so already".to_owned() };
    }
    if let Some((target, why)) = over_limit(guard, memory, ask, &plan) {
        return refuse(GuardName::Limits, &target, why);
    }
    if ask.mode == Mode::Observe {
        // Whoever reads the plan wants to know whether it would act by itself.
        let first = asks(guard, memory, ask, Mode::Enforce, &plan);
        let first =
            first.map(|(_, why)| format!("; in enforce somebody would be asked first: {why}")).unwrap_or_default();
        return Decision::Observe { plan, why: format!("{}{first}", ask.mode_because) };
    }
    if ask.paused {
        let first = plan.targets.first().map(|t| t.label.clone()).unwrap_or_default();
        return refuse(GuardName::Pause, &first, PAUSED.to_owned());
    }
    match asks(guard, memory, ask, ask.mode, &plan) {
        Some((guard, why)) => Decision::Ask { plan, guard: guard.map(Name::from), why },
        None => Decision::Act(Admitted(plan)),
    }
}

/// Why a person is to be asked first in this mode, if one is, and which guard wants it.
fn asks(guard: &Guard, memory: &Memory, ask: &Ask<'_>, mode: Mode, plan: &Plan) -> Option<(Option<GuardName>, String)> {
    if ask.consent == Consent::Given {
        return None;
    }
    // It is said also where the mode asks anyway: a person judges by it.
    if let Some(why) = bait(ask, plan) {
        return Some((Some(GuardName::Bait), why));
    }
    match ask.consent {
        _ if mode != Mode::Enforce => Some((None, ask.mode_because.to_owned())),
        _ if ask.untrusted => {
            Some((Some(GuardName::Trust), "the event came from a source that anybody can write".to_owned()))
        }
        Consent::Wanted => Some((None, "a person is to say whether it acts".to_owned())),
        Consent::AsNeeded | Consent::Given => {
            Some((Some(GuardName::Breaker), guard.breaker.objection(memory, ask, plan)?))
        }
    }
}

/// Lets what was done be taken back, or be held for as long as its lease stands. Modes, limits, the breaker and protection do not
/// stand against it: it makes less of what they bound. What lies outside of `only_within` is not touched for that either.
///
/// # Errors
/// The guard, the target and why.
pub fn admit_undo(guard: &Guard, plan: Plan) -> Result<Admitted, (Name, String, String)> {
    let outside = plan.targets.iter().find_map(|target| {
        let why = guard.only_within.as_ref()?.objection(target)?;
        Some((GuardName::OnlyWithin.into(), target.label.clone(), why))
    });
    outside.map_or(Ok(Admitted(plan)), Err)
}

fn named(plan: &Plan) -> impl Iterator<Item = &Target> {
    plan.targets.iter().filter(|target| target.named)
}

fn over_limit(guard: &Guard, memory: &Memory, ask: &Ask<'_>, plan: &Plan) -> Option<(String, String)> {
    let first = plan.targets.first().map(|t| t.label.clone()).unwrap_or_default();
    for (run, limits) in std::iter::once((ask.run, ask.limits)).chain(ask.above.iter().copied()) {
        let Some(most) = limits.targets else { continue };
        let touched = memory.targets_of_run(run, named(plan).map(|t| t.id.as_str()));
        if touched > most as usize {
            let whose =
                if run == ask.run { "the run".to_owned() } else { format!("run `{run}`, with those that it started,") };
            return Some((first, format!("{whose} would touch {touched} targets, its playbook allows {most}")));
        }
    }
    if let Some(too_much) = guard.min_ready.objection(memory, ask.action.name, ask.now, plan) {
        return Some(too_much);
    }
    let why = guard.limits.objection(None, memory, ask, plan);
    let why = why.or_else(|| guard.per_playbook.objection(Some(ask.playbook), memory, ask, plan));
    why.map(|why| (first, why))
}

#[cfg(test)]
mod tests;
