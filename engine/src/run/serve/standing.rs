//! What people want of what stands: take it back, or keep it.
//!
//! Owns the answers; what is asked for twice, or of what does not stand, is refused with a sentence.

use super::super::answers::{self, IncidentKept, IncidentUndoing, RunKept, RunUndoing, StandingLease};
use super::super::leases::{Place, Standing};
use super::super::question::{KEEP, UNDO};
use super::super::request::{Refusal, Way};
use super::super::shell::Core;
use super::super::take_back::Whose;
use super::TAKES_NOTHING;
use jiff::{SignedDuration, Timestamp};
use quell_model::action::IdempotencyKey;
use quell_model::record::{Part, SubRunStarted};
use quell_model::{Body, IncidentId, Json, Kind, Name, RunId, Stamp, StepId, StreamId};
use std::time::Duration;

/// Of what stands, `status` lists so many.
const LISTED: usize = 1000;
/// Of so many of an incident's runs it is looked up who has had them taken back.
const MOST_ASKED_ABOUT: usize = 8;

impl<W: Send + 'static> Core<W> {
    /// When a lease ends, by the wall clock; none: it has no end.
    pub(in crate::run) fn lease_end(&self, standing: &Standing) -> Option<Timestamp> {
        let signed = |span| SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
        let left = signed(standing.lasts?).checked_sub(signed(self.age(standing.since)))?;
        self.parts.clock.now().wall.checked_add(left).ok()
    }

    /// What stands: first what a person has to say, then what ends first.
    pub(in crate::run) fn leases_listed(&self) -> Vec<StandingLease> {
        let line = |((run, part), standing): (&Place, &Standing)| StandingLease {
            id: IdempotencyKey::of(run, part).0,
            run: run.clone(),
            action: standing.action.clone(),
            owner: standing.owner.clone(),
            until: self.lease_end(standing),
            at_end: standing.at_end,
            own_end: standing.own_end,
            due: standing.due,
        };
        let mut all: Vec<StandingLease> = self.leases.all().map(line).collect();
        all.sort_by_key(|one| (!one.due, one.until.is_none(), one.until));
        all.truncate(LISTED);
        all
    }

    /// A person wants what a run did taken back.
    pub(in crate::run) fn undo(
        &mut self,
        run: &RunId,
        step: Option<StepId>,
        (by, way): (&Name, &Way),
        why: String,
    ) -> Result<Json, Refusal> {
        let only = step.clone().map(|step| Part { step, item: None });
        self.may_confirm(run, only.as_ref(), UNDO, (by, way)).map_err(Refusal::Denied)?;
        self.undo_run(run, step, (by, &way.via), why).map(answers::json)
    }

    fn undo_run(
        &mut self,
        run: &RunId,
        step: Option<StepId>,
        (by, via): (&Name, &Name),
        why: String,
    ) -> Result<RunUndoing, Refusal> {
        let only = step.map(|step| Part { step, item: None });
        let open = self.runs.contains_key(run) || self.ink.has(&StreamId::run(run));
        if !open {
            return Err(Refusal::NotFound { kind: "run", id: run.to_string() });
        }
        let parts = self.standing_of(run, only.as_ref())?;
        if parts.is_empty() && !self.can_be_ended(run, only.as_ref()) {
            let what = only.as_ref().map_or_else(|| format!("run `{run}`"), |part| format!("`{run}/{}`", part.step));
            let who = self.undone_by(std::slice::from_ref(run));
            return Err(Refusal::NotNow(format!("nothing that {what} did stands and can be taken back{who}")));
        }
        self.open_again(run)?;
        if let Some(live) = self.runs.get(run).filter(|_| only.is_none()) {
            let forwards = live.under_way.iter().filter(|(part, _)| !live.run.takes_back(part));
            forwards.for_each(|(_, under_way)| under_way.stop.raise());
        }
        self.confirmed(run, only.as_ref(), false, by);
        self.begin_undo(run, only, Whose::person(by, via), why);
        self.drive(run);
        Ok(RunUndoing { id: run.clone(), undoing: parts, error: None })
    }

    /// Who has had it taken back what these runs did, as far as the journal shows it now: who comes second learns who came first.
    fn undone_by(&mut self, runs: &[RunId]) -> String {
        let mut last = None::<(Stamp, Name)>;
        for run in runs {
            let Ok(readable) = self.ink.readable(&StreamId::run(run)) else { continue };
            for record in readable.kinds(&[Kind::UndoBegan]).unwrap_or_default() {
                if let Body::UndoBegan(began) = &record.body
                    && began.person
                    && began.by.as_str() != "quell"
                    && last.as_ref().is_none_or(|(at, _)| at.wall <= record.at.wall)
                {
                    last = Some((record.at, began.by.clone()));
                }
            }
        }
        last.map(|(at, by)| format!(": {by} has had it taken back, at {:.0}", at.wall)).unwrap_or_default()
    }

    /// Whether a run goes on, or one that this part of it has started: though nothing of it stands, it is ended.
    fn can_be_ended(&self, run: &RunId, only: Option<&Part>) -> bool {
        let Some(live) = self.runs.get(run) else { return false };
        let goes_on = |sub: &SubRunStarted| !sub.detached && self.runs.contains_key(&sub.run);
        only.is_none_or(|only| live.run.subs().any(|sub| only.covers(&sub.part) && goes_on(sub)))
    }

    /// A person wants what all runs of an incident did taken back.
    pub(in crate::run) fn undo_incident(
        &mut self,
        incident: &IncidentId,
        (by, way): (&Name, &Way),
        why: &str,
    ) -> Result<Json, Refusal> {
        if !self.ink.has(&StreamId::incident(incident)) {
            return Err(Refusal::NotFound { kind: "incident", id: incident.to_string() });
        }
        let runs = self.undo_runs_of(incident, (by, way), why)?;
        if runs.is_empty() {
            let members = match self.ink.readable(&StreamId::incident(incident)) {
                Ok(_) => self.parts.journal.members(incident, MOST_ASKED_ABOUT).unwrap_or_default().0,
                Err(_) => Vec::new(),
            };
            let who = self.undone_by(&members);
            let what = format!("nothing that the runs of incident `{incident}` did stands and can be taken back{who}");
            return Err(Refusal::NotNow(what));
        }
        Ok(answers::json(IncidentUndoing { id: incident.clone(), runs }))
    }

    /// The latest run first: it may have built on what earlier ones did. None where nothing stands and none goes on. Nothing is taken
    /// back where it would answer a question that this way may not.
    pub(super) fn undo_runs_of(
        &mut self,
        incident: &IncidentId,
        (by, way): (&Name, &Way),
        why: &str,
    ) -> Result<Vec<RunUndoing>, Refusal> {
        let mut runs = self.leases.runs_of(incident);
        let open = self.runs.iter().filter(|(_, live)| live.run.started.incident.as_ref() == Some(incident));
        let open: Vec<RunId> = open.map(|(run, _)| run.clone()).filter(|run| !runs.contains(run)).collect();
        runs.extend(open);
        for run in &runs {
            let may = self.may_confirm(run, None, UNDO, (by, way));
            may.map_err(|why| Refusal::Denied(format!("run `{run}`: {why}")))?;
        }
        let mut undoing = Vec::new();
        // A disk that hangs is waited for once, and not for each run: so long all reads of a request wait together.
        for run in runs {
            // A later one took it back with it.
            if !self.runs.contains_key(&run) && self.leases.of(&run, None).is_empty() {
                continue;
            }
            let answer = self.undo_run(&run, None, (by, &way.via), why.to_owned());
            let refused = |error: Refusal| RunUndoing { id: run, undoing: Vec::new(), error: Some(error.to_string()) };
            undoing.push(answer.unwrap_or_else(refused));
        }
        Ok(undoing)
    }

    /// A person wants what a run contained to stand for longer.
    pub(in crate::run) fn keep(
        &mut self,
        run: &RunId,
        step: Option<StepId>,
        lasts: Option<Duration>,
        whose: (&Name, &Way),
    ) -> Result<Json, Refusal> {
        self.keep_run(run, step, lasts, whose).map(answers::json)
    }

    /// A person wants what the runs of an incident contained to stand for longer: all that may, each for itself.
    pub(in crate::run) fn keep_incident(
        &mut self,
        incident: &IncidentId,
        lasts: Option<Duration>,
        (by, way): (&Name, &Way),
    ) -> Result<Json, Refusal> {
        if !self.ink.has(&StreamId::incident(incident)) {
            return Err(Refusal::NotFound { kind: "incident", id: incident.to_string() });
        }
        let runs = self.leases.runs_of(incident);
        if runs.is_empty() {
            let what = format!("nothing that the runs of incident `{incident}` did stands and can be kept");
            return Err(Refusal::NotNow(what));
        }
        for run in &runs {
            let may = self.may_confirm(run, None, KEEP, (by, way));
            may.map_err(|why| Refusal::Denied(format!("run `{run}`: {why}")))?;
        }
        let (mut kept, mut refused) = (Vec::new(), Vec::new());
        for run in runs {
            match self.keep_run(&run, None, lasts, (by, way)) {
                Ok(one) => kept.push(one),
                Err(refusal) => refused.push((run, refusal)),
            }
        }
        match (kept.is_empty(), refused.as_slice()) {
            // None of it: as what was refused first.
            (true, [(run, Refusal::Denied(why)), ..]) => Err(Refusal::Denied(format!("run `{run}`: {why}"))),
            (_, []) => Ok(answers::json(IncidentKept { id: incident.clone(), runs: kept })),
            (_, refused) => {
                let why: Vec<String> = refused.iter().map(|(run, why)| format!("run `{run}`: {why}")).collect();
                let rest = if kept.is_empty() { "" } else { "; what its other runs did is kept" };
                let what = format!("not all of incident `{incident}` can be kept now: {}{rest}", why.join("; "));
                Err(Refusal::NotNow(what))
            }
        }
    }

    fn keep_run(
        &mut self,
        run: &RunId,
        step: Option<StepId>,
        lasts: Option<Duration>,
        (by, way): (&Name, &Way),
    ) -> Result<RunKept, Refusal> {
        if !self.ink.has(&StreamId::run(run)) {
            return Err(Refusal::NotFound { kind: "run", id: run.to_string() });
        }
        let only = step.map(|step| Part { step, item: None });
        let standing = self.leases.of(run, only.as_ref());
        if standing.is_empty() {
            return Err(Refusal::NotNow(format!("nothing that run `{run}` did there stands and can be kept")));
        }
        if self.ink.waiting() > 0 {
            return Err(Refusal::NotNow(TAKES_NOTHING.to_owned()));
        }
        let goes = |part: &&Part| self.runs.get(run).is_some_and(|live| live.run.takes_back(part));
        if let Some(part) = standing.iter().find(goes) {
            return Err(Refusal::NotNow(format!("`{run}/{part}` is being taken back")));
        }
        self.may_confirm(run, only.as_ref(), KEEP, (by, way)).map_err(Refusal::Denied)?;
        if let Some(why) = self.may_not_keep(run, only.as_ref(), by) {
            return Err(Refusal::Denied(why));
        }
        self.confirmed(run, only.as_ref(), true, by);
        for part in &standing {
            self.lease_kept(run, part, (by, &way.via), lasts);
        }
        self.drive(run);
        self.leases_hold();
        let loose = standing.iter().find_map(|part| Some((part, self.is_not_held(run, part)?)));
        if let Some((part, why)) = loose {
            let what = format!("the lease of `{run}/{part}` says so, but it may end before that: {why}");
            return Err(Refusal::NotNow(what));
        }
        let kept = standing.iter().map(Part::to_string).collect();
        Ok(RunKept { id: run.clone(), kept })
    }
}
