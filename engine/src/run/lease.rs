//! Containments that stand, and the moments at which their leases end.
//!
//! ```text
//! step ended well ──▶ granted ──▶ its end ─┬─ undo ──▶ taken back, or renewed where it was needed again
//!                        ▲                 ├─ keep ──▶ stands, without an end
//!                        └──── kept ◀──────┴─ ask ───▶ stands until a person says
//! ```
//!
//! Owns what is granted, and what happens at an end. While every action is paused no lease ends. Keeps true: a lease ends
//! at its moment or later, never sooner; how it ended is a record of its run, and of the system's stream, where a start
//! finds it.

use super::attempt::{ask, place};
use super::job::{Answer, Work};
use super::leases::{Place, Standing, Why};
use super::shell::Core;
use super::take_back::Whose;
use super::unread::{Later, Unread};
use crate::incident;
use crate::load::units::print_duration;
use futures_util::future::FutureExt;
use quell_model::action::Want;
use quell_model::playbook::{AtEnd, Lease};
use quell_model::record::{LeaseChanged, LeaseGranted, NewRecord, NoteAdded, Owner, Part, StepIntended};
use quell_model::world::Verb;
use quell_model::{
    ActionError, Body, Detection, IncidentId, Json, Kind, Lane, Name, Plan, RunId, Stamp, StepId, StreamId, Truth,
};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// Leases that end in one turn of the engine.
const AT_ONCE: usize = 16;
/// Why it was over, where a person took quell off this machine.
const UNINSTALLED: &str = "quell was uninstalled since";

impl<W: Send + 'static> Core<W> {
    /// What a step that has just contained something is granted.
    pub(super) fn lease_of(&self, id: &RunId, part: &Part) -> Option<LeaseGranted> {
        let live = self.runs.get(id)?;
        let intent = live.run.intent(part).or_else(|| live.run.acted(part))?;
        let verb = self.parts.crew.get(intent.action.as_str()).filter(|verb| verb.spec().undoable)?;
        let Lease { lasts, at_end } = live.run.playbook.step(&part.step)?.lease.unwrap_or_default();
        let own = if let Verb::Acts(verb) = verb { verb.ends_after(&intent.plan) } else { None };
        let own_end = own.is_some_and(|own| own <= lasts);
        let lasts = own.filter(|_| own_end).unwrap_or(lasts);
        let started = &live.run.started;
        let word = |json: &Json, key: &str| json.get(key).and_then(|v| v.as_str()).map(Name::from);
        let answers = word(&started.detection, "rule").zip(word(&started.event, "entity"));
        let (incident, action) = (started.incident.clone(), intent.action.clone());
        let playbook = || Owner::Playbook(started.playbook.clone());
        let owner = Some(started.by.clone().map_or_else(playbook, Owner::Person));
        let (run, part) = (id.clone(), part.clone());
        Some(LeaseGranted { run, part, action, owner, lasts, at_end, own_end, incident, answers })
    }

    /// Before a step is left that waited to be tried again, or whose items did: what was tried may have been done in part, and
    /// is to be found when the run is taken back.
    pub(super) fn leases_of_left(&mut self, id: &RunId, step: &StepId) {
        let Some(live) = self.runs.get(id) else { return };
        let numbers = 0u32..;
        let items = numbers.zip(live.run.items(step)).filter(|(_, (_, outcome, ..))| outcome.is_none());
        let items = items.map(|(at, _)| Part { step: step.clone(), item: Some(at) });
        let whole = live.run.outcome(step).is_none().then(|| Part { step: step.clone(), item: None });
        let left = items.chain(whole).filter(|part| live.run.acted(part).is_some());
        let granted: Vec<LeaseGranted> = left.filter_map(|part| self.lease_of(id, &part)).collect();
        let now = self.parts.clock.now();
        for granted in granted {
            self.ink.hold();
            self.record(id, vec![NewRecord::new(now, granted.clone())]);
            self.lease_granted(now, granted);
            self.ink.let_go();
        }
    }

    /// Notes a lease that was written into its run.
    pub(super) fn lease_granted(&mut self, now: Stamp, granted: LeaseGranted) {
        self.leases.grant(now, &granted);
        self.is_to_be_held(&granted.action);
        self.write_system(vec![NewRecord::new(now, granted)]);
    }

    /// Writes down that a lease has changed: in its run, and where a start finds it.
    pub(super) fn lease_changes(
        &mut self,
        run: &RunId,
        part: &Part,
        state: &str,
        why: String,
        lasts: Option<Duration>,
    ) {
        let Some(action) = self.leases.at(run, part).map(|standing| standing.action.clone()) else { return };
        let (run, part, state) = (run.clone(), part.clone(), Name::from(state));
        self.write_change(LeaseChanged { run, part, action, state, why, lasts, owner: None, plan: None, via: None });
    }

    /// A person keeps what stands: from now on it is theirs.
    pub(super) fn lease_kept(&mut self, run: &RunId, part: &Part, (by, via): (&Name, &Name), lasts: Option<Duration>) {
        let Some(action) = self.leases.at(run, part).map(|standing| standing.action.clone()) else { return };
        let (run, part, state, why) = (run.clone(), part.clone(), Name::from("kept"), format!("{by} keeps it"));
        let (owner, via) = (Some(Owner::Person(by.clone())), Some(via.clone()));
        self.write_change(LeaseChanged { run, part, action, state, why, lasts, owner, plan: None, via });
    }

    /// Before what stood no more is done again: by this plan it is taken back from now on.
    pub(super) fn lease_returns(&mut self, run: &RunId, part: &Part, plan: Plan) {
        let Some(action) = self.leases.at(run, part).map(|standing| standing.action.clone()) else { return };
        let (run, part, state) = (run.clone(), part.clone(), Name::from("returning"));
        let why = "its lease stands, and the world was asked: it stood no more".to_owned();
        let plan = Some(Box::new(plan));
        self.write_change(LeaseChanged { run, part, action, state, why, lasts: None, owner: None, plan, via: None });
    }

    fn write_change(&mut self, changed: LeaseChanged) {
        let (now, run) = (self.parts.clock.now(), changed.run.clone());
        self.leases.change(now, &changed);
        self.is_to_be_held(&changed.action);
        let record = NewRecord::new(now, changed);
        if self.runs.contains_key(&run) {
            self.ink.hold();
            self.record(&run, vec![record.clone()]);
        } else {
            self.ink.hold();
            self.ink.append(StreamId::run(&run), std::slice::from_ref(&record));
        }
        self.write_system(vec![record]);
        self.ink.let_go();
    }

    /// A line for the incident's timeline, if there is an incident. One that was closed takes it too, and is not read for it.
    pub(super) fn tell_incident(&mut self, incident: Option<&IncidentId>, text: String) {
        if let Some(incident) = incident {
            let now = self.parts.clock.now();
            self.add_to_incident(incident, NewRecord::new(now, NoteAdded { by: "quell".into(), text }));
        }
    }

    /// A record of an incident, which may be in the journal alone.
    pub(super) fn add_to_incident(&mut self, id: &IncidentId, record: NewRecord) {
        let records = [record];
        let stream = StreamId::incident(id);
        if let Some(live) = self.incidents.get_mut(id) {
            self.ink.write(stream, live.seq, &records);
            incident::apply_all(live, &records);
        } else if self.ink.has(&stream) {
            self.ink.append(stream, &records);
        } else {
            let kind = records[0].body.kind();
            tracing::error!(incident = %id, %kind, "an incident that is not there any more was to be told something");
        }
    }

    /// A detection: leases that end by undoing stand for longer where it is what they answered. Those that it has just
    /// been answered with are from `now` and no part of it, so that this comes after the answer.
    pub(super) fn leases_see(&mut self, detection: &Detection, now: Stamp) {
        if self.leases.all.is_empty() {
            return;
        }
        let (rule, entities) = (&detection.rule.name, self.incidents.entities(detection));
        let is_it = |standing: &Standing| {
            let same = standing.answers.as_ref().is_some_and(|(by, of)| by == rule && entities.contains(of.as_str()));
            same && standing.at_end == AtEnd::Undo && !standing.needed && standing.since < now
        };
        let needed: Vec<Place> = self.leases.all.iter().filter(|(_, s)| is_it(s)).map(|(p, _)| p.clone()).collect();
        for place in needed {
            if let Some(standing) = self.leases.all.get_mut(&place) {
                standing.needed = true;
            }
            self.leases.unwritten.push((place, format!("`{rule}` was seen again")));
        }
        self.write_needed();
    }

    /// What waits for the journal has the numbers that these would take: they come after it, and hold from the moment on
    /// that they were seen.
    fn write_needed(&mut self) {
        if self.ink.waiting() > 0 {
            return;
        }
        for ((run, part), why) in std::mem::take(&mut self.leases.unwritten) {
            self.lease_changes(&run, &part, "needed", why, None);
        }
    }

    /// Whether leases have changed and nobody has looked when the nearest ends.
    pub(super) fn leases_have_changed(&self) -> bool {
        self.leases.changed
    }

    /// Something that leases waited for is there.
    pub(super) fn leases_look_again(&mut self) {
        (self.leases.changed, self.leases.is_to_hold) = (true, true);
    }

    /// Ends the leases whose moment has come.
    pub(super) fn leases_end(&mut self) {
        let now = self.parts.clock.now();
        self.write_needed();
        let is_due = self.leases.changed || self.leases.next.is_some_and(|next| next <= now);
        if !is_due || self.paused || self.ink.waiting() > 0 {
            return;
        }
        let mut due = Vec::new();
        let mut next: Option<Duration> = None;
        for (place, standing) in &self.leases.all {
            let is_at_it = standing.due || standing.asked.is_some() || standing.hold.is_tried();
            let is_at_it = is_at_it || self.is_not_looked_at(standing);
            let is_at_it = is_at_it || self.runs.get(&place.0).is_some_and(|live| live.run.takes_back(&place.1));
            let is_at_it = is_at_it || self.unread.waits(&place.0, &place.1, Later::Lease);
            let Some(lasts) = standing.lasts.filter(|_| !is_at_it) else { continue };
            match lasts.checked_sub(self.age(standing.since)).filter(|left| !left.is_zero()) {
                Some(left) => next = Some(next.map_or(left, |next| next.min(left))),
                None => due.push(place.clone()),
            }
        }
        self.leases.changed = false;
        let before = self.leases.next.filter(|before| *before > now);
        self.leases.next = next.map(|left| now.after(left));
        // A timer that is set already wakes it as well.
        if let Some(at) = self.leases.next.filter(|at| before.is_none_or(|before| *at < before)) {
            self.wake_at(at);
        }
        // Each reads what it did: the rest has its turn after what else waits.
        if due.len() > AT_ONCE {
            self.leases.changed = true;
            (self.handle.wake)();
        }
        for place in due.into_iter().take(AT_ONCE) {
            self.lease_ends(place);
        }
    }

    fn lease_ends(&mut self, (run, part): Place) {
        let Some(standing) = self.leases.all.get(&(run.clone(), part.clone())).cloned() else { return };
        let lasts = standing.lasts.unwrap_or_default();
        if standing.at_end != AtEnd::Undo || standing.own_end {
            return self.ask_whether_it_stands(run, part, Why::End);
        }
        if standing.needed {
            let why = "what it answered was seen again meanwhile".to_owned();
            return self.lease_changes(&run, &part, "renewed", why, Some(lasts));
        }
        self.lease_undoes(&run, &part, lasts, standing.incident.as_ref());
    }

    fn lease_undoes(&mut self, run: &RunId, part: &Part, lasts: Duration, incident: Option<&IncidentId>) {
        let opened = self.open_again(run);
        let Some(opened) = self.once_read(run, part, Later::Lease, opened) else { return };
        match opened {
            Ok(()) => {
                let why = format!("its lease of {} is over", print_duration(lasts));
                self.begin_undo(run, Some(part.clone()), Whose::quell(false), why);
                self.drive(run);
            }
            Err(why) => {
                let why = format!("its lease is over, and it cannot be taken back by itself: {why}");
                self.lease_due(run, part, incident, why);
            }
        }
    }

    /// Whether nobody has looked yet if it stands, of what may stand again.
    fn is_not_looked_at(&self, standing: &Standing) -> bool {
        standing.at_end != AtEnd::Undo
            && !standing.own_end
            && standing.hold.is_open()
            && self.ends_by_itself(&standing.action)
    }

    /// A person has to say, and is told so.
    pub(super) fn lease_due(&mut self, run: &RunId, part: &Part, incident: Option<&IncidentId>, why: String) {
        let heard = self.heard(run, incident);
        let Some(Ok(heard)) = self.once_read(run, part, Later::Lease, heard) else { return };
        let step = &part.step;
        let hint = format!("`quell run keep {run}/{step}` or `quell run undo {run}/{step}`");
        let text = format!("step {step} of run {run} stands: {why}; {hint}");
        self.ink.hold();
        self.lease_changes(run, part, "due", why, None);
        self.trouble(run, heard, text);
        self.ink.let_go();
    }

    /// What is to stand, by what its lease says, stands no more, and people are told so; `later`: where that has to wait.
    pub(super) fn lease_lapses(&mut self, run: &RunId, part: &Part, why: String, later: Later) {
        let Some(standing) = self.leases.at(run, part) else { return };
        let (incident, action) = (standing.incident.clone(), standing.action.clone());
        let heard = self.heard(run, incident.as_ref());
        let Some(Ok(heard)) = self.once_read(run, part, later, heard) else { return };
        let text = format!("{action} of run {run} stands no more: {why}; `quell run show {run}` has what it did");
        self.ink.hold();
        self.lease_changes(run, part, "lapsed", why, None);
        self.trouble(run, heard, text);
        self.ink.let_go();
    }

    /// After a boot: what did not outlive it stands no more.
    pub(super) fn leases_after_boot(&mut self) {
        let from = self.boot_from;
        // What is held is looked after at every start, and may stand again.
        let is_old = |standing: &Standing| {
            from.is_none_or(|from| standing.since.wall < from.wall) && !self.ends_by_itself(&standing.action)
        };
        let old = self.leases.all.iter().filter(|(_, standing)| is_old(standing)).map(|(place, _)| place.clone());
        for (run, part) in old.collect::<Vec<_>>() {
            self.ask_whether_it_stands(run, part, Why::Boot);
        }
    }

    /// Before a run ends: of what it ended itself nothing stands.
    pub(super) fn leases_of_ended(&mut self, run: &RunId) {
        for part in self.leases.of(run, None) {
            // What is held in the world does not end with what a run kills.
            if self.leases.at(run, &part).is_some_and(|standing| self.ends_by_itself(&standing.action)) {
                continue;
            }
            self.ask_whether_it_stands(run.clone(), part, Why::RunOver);
        }
    }

    /// It could not be asked at once what has outlived the boot.
    pub(super) fn ask_after_boot(&mut self, run: RunId, part: Part) {
        self.ask_whether_it_stands(run, part, Why::Boot);
    }

    pub(super) fn ask_whether_it_stands(&mut self, run: RunId, part: Part, asked: Why) {
        let later = if asked == Why::Boot { Later::Boot } else { Later::Lease };
        let intents = self.intents_of(&run, &part);
        let Some(intents) = self.once_read(&run, &part, later, intents) else { return };
        let plan = |intent: StepIntended| self.contents.whole_plan(intent.plan).map_err(|error| error.to_string());
        let plans = intents.and_then(|all| all.into_iter().map(plan).collect::<Result<Vec<Plan>, String>>());
        let plans = plans.ok().filter(|plans| !plans.is_empty());
        let Some(standing) = self.leases.all.get_mut(&(run.clone(), part.clone())) else { return };
        standing.asked.get_or_insert(asked);
        let verb = self.parts.crew.get(standing.action.as_str()).cloned();
        let (Some(plans), Some(Verb::Acts(verb))) = (plans, verb) else {
            let why = "this engine has no hands, or no plan, to ask with".to_owned();
            return self.lease_stands(&run, &part, Err(ActionError::give_up(why)));
        };
        let clock = Arc::clone(&self.parts.clock);
        let lane = verb.spec().lane;
        let work: Work<Answer> = Box::pin(async move {
            let mut undone = Ok(Truth::Holds);
            for plan in plans {
                let asked = AssertUnwindSafe(ask(&clock, &*verb, &plan, Want::Undone)).catch_unwind().await;
                let died = |_| Err(ActionError::give_up("its code panicked, which is a mistake in quell"));
                undone = asked.unwrap_or_else(died);
                // It stands as long as anything of it does.
                if undone != Ok(Truth::Holds) {
                    break;
                }
            }
            Answer::Stands(undone)
        });
        self.send_work(&run, part, place(if lane == Lane::Contain { lane } else { Lane::Read }), work);
    }

    /// What a part that stands did, the latest first, of a run that may have ended.
    pub(super) fn intents_of(&mut self, run: &RunId, part: &Part) -> Result<Vec<StepIntended>, Unread> {
        if let Some(live) = self.runs.get(run) {
            return Ok(live.run.acts(part).cloned().collect());
        }
        let kinds = [Kind::StepIntended, Kind::StepFailed, Kind::StepFinished, Kind::LeaseChanged];
        let records = self.ink.readable(&StreamId::run(run))?.kinds(&kinds)?;
        let (mut intended, mut is_open): (Vec<StepIntended>, bool) = (Vec::new(), false);
        for record in records {
            match record.body {
                Body::StepIntended(intent) if intent.part == *part => {
                    intended.push(*intent);
                    is_open = true;
                }
                Body::StepFailed(failed) if failed.part == *part => is_open = false,
                Body::StepFinished(finished) if finished.part == *part => is_open = false,
                Body::LeaseChanged(changed) if changed.part == *part => match changed.state.as_str() {
                    // What is being done just then is none of it.
                    "lapsed" | "ended" => drop(intended.drain(..intended.len() - usize::from(is_open))),
                    _ => {
                        if let (Some(plan), Some(last)) = (changed.plan, intended.last_mut()) {
                            last.plan = *plan;
                        }
                    }
                },
                _ => {}
            }
        }
        intended.reverse();
        Ok(intended)
    }

    /// The world has said whether a containment stands.
    pub(super) fn lease_stands(&mut self, run: &RunId, part: &Part, undone: Result<Truth, ActionError>) {
        let Some(standing) = self.leases.all.get_mut(&(run.clone(), part.clone())) else { return };
        let Some(asked) = standing.asked.take() else { return };
        self.leases.changed = true;
        let (incident, at_end, lasts) =
            (standing.incident.clone(), standing.at_end, standing.lasts.unwrap_or_default());
        let (action, own_end) = (standing.action.clone(), standing.own_end);
        let gone = undone == Ok(Truth::Holds);
        match (asked, gone, at_end) {
            (Why::Lapsed(why), true, _) => self.lease_lapses(run, part, why, Later::Lease),
            (Why::Uninstalled, true, _) => {
                // A person wanted that, and knows.
                self.tell_incident(incident.as_ref(), format!("{action} of run {run} stands no more: {UNINSTALLED}"));
                self.lease_changes(run, part, "lapsed", UNINSTALLED.to_owned(), None);
            }
            (Why::Lapsed(why), false, _) => self.stands_in_part(run, part, &why, &undone),
            (Why::Uninstalled, false, _) => self.stands_in_part(run, part, UNINSTALLED, &undone),
            (Why::End, true, _) if own_end => {
                let why = format!("it was to stand for {}, and ended by itself", print_duration(lasts));
                self.tell_incident(incident.as_ref(), format!("{action} of run {run} stands no more: {why}"));
                self.lease_changes(run, part, "lapsed", why, None);
                // It may have stood in the place of another, which is not there now.
                self.leases_stood_by(&action);
            }
            (Why::End, false, _) if own_end => self.lease_undoes(run, part, lasts, incident.as_ref()),
            (Why::Boot, true, _) => {
                self.lease_lapses(run, part, "it did not outlive the boot".to_owned(), Later::Boot);
            }
            (_, true, _) => self.lease_changes(run, part, "lapsed", "what it contained is gone".to_owned(), None),
            (Why::Boot | Why::RunOver, false, _) => {}
            (Why::End, false, AtEnd::Keep) => {
                let why = format!("its lease of {} is over, and says `at_end: keep`", print_duration(lasts));
                self.tell_incident(incident.as_ref(), format!("{action} of run {run} stays as it is: {why}"));
                self.lease_changes(run, part, "kept", why, None);
            }
            (Why::End, false, _) => {
                self.lease_due(run, part, incident.as_ref(), format!("its lease of {} is over", print_duration(lasts)));
            }
        }
    }
}
