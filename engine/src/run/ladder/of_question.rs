//! The ladder of a question: whoever may answer is told, then whoever the policy names, until it is settled.
//!
//! ```text
//! QuestionAsked ──▶ LadderStarted ──▶ who may answer ──▶ the policy's steps ──▶ last resort
//!    an item more, one less ──▶ LadderChanged: an answer to what stood there before changes nothing
//! settled, or its step ended ──▶ LadderEnded: those who were told are told how
//! ```
//!
//! Owns which questions one ladder carries (those of a step and all its items), and what its messages show. Never takes an
//! answer: `question.rs` does. Keeps true: a question that waits has a ladder, and a ladder of questions has one that waits; both
//! are in one append. Nobody who is suspected is told, and no way is taken by which an answer does not count.

use super::Change;
use super::radius::radius;
use crate::escalation::DEFAULT;
use crate::escalation::outbox::Outbox;
use crate::escalation::policy::{Ack, Policy, Step, Target};
use crate::run::machine::{Asked, QuestionTurned, Run};
use crate::run::shell::Core;
use quell_model::notice::{Asking, Page, To, Way};
use quell_model::record::{
    Carried, LadderChange, LadderStarted, NewRecord, Nobody, Part, QuestionAnswered, QuestionKind,
};
use quell_model::{Body, Entity, Json, LadderId, Level, Name, RunId, Stamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// So many targets, and so many calls, stand in a message.
const MOST_SHOWN: usize = 20;
/// However short the time of a question is, no step waits less.
const SHORTEST: Duration = Duration::from_secs(10);

impl<W: Send + 'static> Core<W> {
    /// A run's records have been taken up: ladders of its questions begin, change and end with them. `turned` is what began to
    /// wait for an answer, and what does no longer.
    pub(in crate::run) fn questions_changed(&mut self, id: &RunId, turned: Vec<QuestionTurned>, records: &[NewRecord]) {
        let now = self.parts.clock.now();
        let mut changed: BTreeMap<LadderId, (Carried, bool)> = BTreeMap::new();
        for QuestionTurned { part, kind, waits } in turned {
            let carried = Carried::of(id, &part, kind);
            changed.entry(carried.ladder()).or_insert((carried, false)).1 |= waits;
        }
        let mut counted = BTreeMap::new();
        for record in records {
            if let Body::QuestionAnswered(answered) = &record.body
                && !answered.settles
            {
                let carried = Carried::of(id, &answered.part, answered.question);
                counted.insert(carried.ladder(), carried);
            }
        }
        for (ladder, (carried, is_more)) in changed {
            counted.remove(&ladder);
            let waits = self.runs.get(id).is_some_and(|live| carried_by(&live.run, &carried).next().is_some());
            if !waits {
                self.end_ladder(&ladder, how_it_ended(&carried, records), now);
            } else if !self.has_ladder(&ladder) {
                self.question_begins(carried, now);
            } else if is_more && !self.is_gathering(&ladder) {
                let what = "more is asked than before".to_owned();
                self.change_ladder(&ladder, Change::by_engine(LadderChange::Grown, what), now);
            } else {
                self.question_progresses(&ladder, "a part of what was asked is answered", now);
            }
        }
        for ladder in counted.into_keys() {
            self.question_progresses(&ladder, "somebody has said yes, and others have to as well", now);
        }
    }

    /// Only the messages that can be put right say so. While more of the same may come nothing is: what shows a part of it would answer
    /// for all of it under the same number, and in a moment the next step puts them right.
    fn question_progresses(&mut self, ladder: &LadderId, what: &str, now: Stamp) {
        let has_messages = |outbox: &Outbox| !outbox.is_over() && outbox.has_messages();
        if self.ladders.all.get(ladder).is_some_and(has_messages) && !self.is_gathering(ladder) {
            self.change_ladder(ladder, Change::by_engine(LadderChange::Progressed, what.to_owned()), now);
        }
    }

    /// Whether nobody was told of it yet as it is now.
    fn is_gathering(&self, ladder: &LadderId) -> bool {
        self.ladders.all.get(ladder).is_some_and(|outbox| outbox.ladder().is_none_or(|ladder| ladder.place().is_none()))
    }

    /// What waits for an answer and has no ladder gets one; a ladder that carries nothing more ends. For a start. Of a run that
    /// cannot be read now nobody knows whether it waits.
    pub(in crate::run) fn questions_recovered(&mut self, now: Stamp) {
        let mut waiting = BTreeMap::new();
        for live in self.runs.values_mut() {
            drop(live.run.take_turned());
            for (part, kind) in live.run.waiting() {
                let carried = Carried::of(&live.run.started.run, part, *kind);
                waiting.insert(carried.ladder(), carried);
            }
        }
        let open = self.ladders.all.iter().filter(|(_, outbox)| !outbox.is_over());
        let carried = open.filter_map(|(id, outbox)| Some((id.clone(), outbox.started.question.clone()?)));
        let is_left =
            |(id, carried): &(LadderId, Carried)| !waiting.contains_key(id) && !self.broken.contains_key(&carried.run);
        for (id, _) in carried.filter(is_left).collect::<Vec<_>>() {
            self.end_ladder(&id, "its step ended before an answer came".to_owned(), now);
        }
        for (id, carried) in waiting {
            if !self.has_ladder(&id) {
                self.question_begins(carried, now);
            }
        }
    }

    fn has_ladder(&self, id: &LadderId) -> bool {
        self.ladders.all.get(id).is_some_and(|outbox| !outbox.is_over())
    }

    fn question_begins(&mut self, carried: Carried, now: Stamp) {
        let Some(live) = self.runs.get(&carried.run) else { return };
        let Some((part, asked)) = carried_by(&live.run, &carried).next() else { return };
        let run = &live.run.started;
        let gathers = part.item.is_some() && carried.item.is_none();
        let (title, detection) = (asked.question.text.clone(), run.detection.clone());
        let because = format!("run {} of {} asks", carried.run, run.playbook);
        let itself = Entity { kind: "run".into(), id: carried.run.as_str().into(), node: self.parts.node.clone() };
        let incident = run.incident.clone();
        let own = |name: &str| detection.get(name).cloned().unwrap_or_default();
        let of_incident = incident.as_ref().and_then(|id| self.incidents.get_mut(id));
        let (entity, level) =
            of_incident.map_or((itself, Level::High), |incident| (incident.entity.clone(), incident.level));
        let started = LadderStarted {
            title,
            entity,
            // What the run answers, where its incident is over by now.
            level: serde_json::from_value::<Level>(own("level")).map_or(level, |own| own.max(level)),
            tags: serde_json::from_value(own("tags")).unwrap_or_default(),
            rules: serde_json::from_value::<Name>(own("rule")).into_iter().collect(),
            because,
            generation: 0,
            gathers,
            incident,
            question: Some(carried),
        };
        self.begin_ladder(started, now);
    }

    /// By which policy a question goes up: first those who may answer it.
    pub(super) fn policy_of_question(&self, carried: &Carried, outbox: &Outbox, now: Stamp) -> (Name, Policy, String) {
        let asked = self.runs.get(&carried.run).and_then(|live| Some((live, carried_by(&live.run, carried).next()?.1)));
        let Some((live, asked)) = asked else { return self.routed(outbox, now) };
        let question = &asked.question;
        if let Some(person) = &question.person {
            let target = || vec![Target::Person(person.clone())];
            let wait = question.within / 2;
            let step = Step { notify: target(), by: Vec::new(), wait, ack: Ack::Any };
            let policy = Policy { steps: vec![step], last_resort: target(), ..Policy::default() };
            return (DEFAULT.into(), policy, format!("{person} alone can answer"));
        }
        let escalation = self.told_by();
        let group = question.by.as_ref().and_then(|name| escalation.people.approvers.get(name));
        let named = group.and_then(|group| group.policy.as_ref());
        let carries = named.and_then(|name| Some((name.clone(), escalation.policies.get(name)?.clone())));
        let (name, mut policy, why) = match carries {
            Some((name, policy)) => {
                let by = question.by.as_ref().map(Name::as_str).unwrap_or_default();
                (name, policy, format!("the approvers `{by}` name it"))
            }
            None => self.routed(outbox, now),
        };
        let may = group.map_or_else(|| escalation.people.deciders.clone(), |group| group.people.clone());
        let may = may.into_iter().filter(|name| self.does_not_count(&live.run, question, name).is_none());
        let notify: Vec<Target> = may.map(Target::Person).collect();
        if !notify.is_empty() {
            let wait = policy.steps.first().map_or(question.within / 3, |step| step.wait);
            policy.steps.insert(0, Step { notify, by: Vec::new(), wait, ack: Ack::Any });
        }
        policy.ack_timeout = None;
        // All of them hear of it before its time is over.
        let all = u32::try_from(policy.steps.len()).unwrap_or(u32::MAX).saturating_add(1);
        let most = (question.within / all).max(SHORTEST);
        policy.steps.iter_mut().for_each(|step| step.wait = step.wait.min(most));
        policy.severity.values_mut().for_each(|at| at.wait = at.wait.map(|wait| wait.min(most)));
        (name, policy, why)
    }

    /// Leaves out whom a question must not reach, and the ways by which no answer counts.
    pub(super) fn without_suspects(&self, carried: &Carried, pages: Vec<Page>) -> (Vec<Page>, Vec<Nobody>) {
        let Some(live) = self.runs.get(&carried.run) else { return (pages, Vec::new()) };
        let asked: Vec<&Asked> = carried_by(&live.run, carried).map(|(_, asked)| asked).collect();
        // Whoever has said what they say to all of it need not be asked again.
        let has_said = |person: &Name| {
            !asked.is_empty() && asked.iter().all(|asked| asked.said.iter().any(|(by, _)| by == person))
        };
        let suspects = match carried.kind {
            QuestionKind::Ask => BTreeSet::new(),
            QuestionKind::Approve | QuestionKind::Confirm => self.suspected(&live.run),
        };
        let is_barred = |way: &Way| self.is_barred(carried, way);
        let (mut left, mut nobody, mut elsewhere) = (Vec::<Page>::new(), Vec::new(), Vec::new());
        for page in pages {
            // Whoever else is behind an address sees what goes there.
            if page.people().any(|person| suspects.contains(person)) {
                elsewhere.push((page, "they were asked whether it was them".to_owned()));
            } else if page.people().next().is_some() && page.people().all(has_said) {
                let others = page.also.iter().map(|name| To::Person(name.clone()).shown());
                let all = std::iter::once(page.to.shown()).chain(others);
                nobody.extend(all.map(|target| Nobody { target, because: "they have answered".to_owned() }));
            } else if is_barred(&page.way) {
                let because = format!("no answer counts that comes by {}", page.way.channel());
                elsewhere.push((page, because));
            } else {
                left.push(page);
            }
        }
        // Whoever is reached by none of those ways is by another of theirs.
        let escalation = self.told_by();
        let console = escalation.channels.console.then_some(Way::Console);
        for (page, because) in elsewhere {
            if let To::Channel(_) = page.to {
                nobody.push(Nobody { target: page.to.shown(), because });
                continue;
            }
            for person in page.people() {
                let to = To::Person(person.clone());
                if left.iter().any(|other| other.tells(&to)) {
                    continue;
                }
                let own = escalation.ways_to(person, &[]).into_iter().chain(console.clone());
                let other =
                    own.filter(|way| *way != page.way && !suspects.contains(person)).find(|way| !is_barred(way));
                match other {
                    Some(way) => match left.iter_mut().find(|there| there.way == way) {
                        Some(there) => there.also.push(person.clone()),
                        None => left.push(Page::new(to, way, format!("{}; {because}", page.because))),
                    },
                    None => nobody.push(Nobody { target: to.shown(), because: because.clone() }),
                }
            }
        }
        (left, nobody)
    }

    /// Without those who were asked, since they were told, whether it was them.
    pub(in crate::run) fn not_to_suspects(&self, outbox: &Outbox, mut pages: Vec<Page>) -> Vec<Page> {
        let carried = outbox.started.question.as_ref().filter(|carried| carried.kind != QuestionKind::Ask);
        if let Some(live) = carried.and_then(|carried| self.runs.get(&carried.run)) {
            let suspects = self.suspected(&live.run);
            pages.retain(|page| !page.people().any(|person| suspects.contains(person)));
        }
        pages
    }

    /// Whether no answer counts that comes by this way.
    pub(in crate::run) fn is_barred(&self, carried: &Carried, way: &Way) -> bool {
        let run = self.runs.get(&carried.run).map(|live| &live.run);
        let asked = run.and_then(|run| carried_by(run, carried).next());
        asked.is_some_and(|(_, asked)| asked.question.not_via.iter().any(|barred| barred.as_str() == way.channel()))
    }

    /// What a message shows of what is asked now; none: nothing is any more.
    pub(in crate::run) fn asking(&self, carried: &Carried) -> Option<Asking> {
        let live = self.runs.get(&carried.run)?;
        let all: Vec<&Asked> = carried_by(&live.run, carried).map(|(_, asked)| asked).collect();
        let question = &all.first()?.question;
        let plans = all.iter().filter_map(|asked| asked.question.plan.as_deref());
        let mut targets: Vec<_> = plans.clone().flat_map(|plan| &plan.targets).collect();
        targets.sort_by_key(|target| !target.named);
        let calls = plans.clone().flat_map(|plan| plan.calls.iter().map(shown));
        let open = plans.clone().flat_map(|plan| plan.still_open.iter().map(|what| format!("still open: {what}")));
        let fails = plans.flat_map(|plan| plan.would_fail.iter().map(|why| format!("it would fail here: {why}")));
        Some(Asking {
            run: carried.run.clone(),
            playbook: live.run.started.playbook.clone(),
            step: carried.step.clone(),
            detected: self.detected(&live.run),
            because: question.because.clone(),
            choices: question.choices.clone(),
            action: question.action.clone(),
            calls: bounded(calls),
            blast_radius: radius(targets.iter().copied()),
            targets: bounded(targets.into_iter().map(quell_model::Target::told)),
            warnings: bounded(open.chain(fails)),
            who: self.who_may(question),
            until: all.iter().map(|asked| asked.until.wall).min()?,
            otherwise: question.otherwise.clone(),
            not_via: question.not_via.clone(),
        })
    }

    /// What the run of a question answers, as its incident is called.
    fn detected(&self, run: &Run) -> String {
        let of_incident = run.started.incident.as_ref().map(LadderId::incident);
        let called = of_incident.and_then(|id| self.ladders.all.get(&id)).map(|outbox| outbox.started.title.clone());
        let own = || run.started.detection.get("title").and_then(Json::as_str).map(str::to_owned);
        called.or_else(own).unwrap_or_default()
    }

    fn who_may(&self, question: &quell_model::record::QuestionAsked) -> String {
        if let Some(person) = &question.person {
            return person.to_string();
        }
        let people = &self.definitions.people;
        let quorum = people.quorum(question.by.as_ref());
        let group = question.by.as_ref().and_then(|name| people.approvers.get(name));
        let may = group.map_or(&people.deciders, |group| &group.people);
        let names: Vec<&str> = may.iter().map(Name::as_str).collect();
        let not = if group.is_some_and(|group| group.not_requester) { ", but not who started the run" } else { "" };
        match names.as_slice() {
            [] => "whoever may use the daemon's socket".to_owned(),
            names => format!("{quorum} of {}{not}", names.join(", ")),
        }
    }
}

/// What of a run a ladder carries.
fn carried_by<'a>(run: &'a Run, carried: &'a Carried) -> impl Iterator<Item = (&'a Part, &'a Asked)> {
    let waiting = run.waiting_of(&carried.step).filter(|(part, kind)| carried.covers(part, *kind));
    waiting.filter_map(|(part, kind)| Some((part, run.question(part, *kind)?)))
}

/// How what a ladder carried came to its end.
fn how_it_ended(carried: &Carried, records: &[NewRecord]) -> String {
    let settled = records.iter().find_map(|record| match &record.body {
        Body::QuestionAnswered(answered) if answered.settles && carried.covers(&answered.part, answered.question) => {
            Some(answered)
        }
        _ => None,
    });
    let Some(QuestionAnswered { choice, by, why, .. }) = settled.map(|answered| &**answered) else {
        return "its step ended before an answer came".to_owned();
    };
    let more = if why.is_empty() { String::new() } else { format!(": {why}") };
    match by {
        Some(by) => format!("{by} answered `{choice}`{more}"),
        None => format!("{why}, which means `{choice}`"),
    }
}

/// `NAME key=value …`, where the action has named it; what is no plain word is in quotes, as JSON has it.
fn shown(call: &Json) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@+".contains(c);
    let value = |value: &Json| match value.as_str() {
        Some(word) if !word.is_empty() && word.chars().all(is_plain) => word.to_owned(),
        _ => value.to_string(),
    };
    match (call.as_object(), call.get("call").and_then(Json::as_str)) {
        (Some(parts), Some(name)) => {
            let given = parts.iter().filter(|(key, _)| *key != "call");
            given.fold(name.to_owned(), |all, (key, of)| format!("{all} {key}={}", value(of)))
        }
        _ => call.as_str().map_or_else(|| call.to_string(), str::to_owned),
    }
}

/// The first of them, and how many more there are.
fn bounded(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut shown: Vec<String> = Vec::new();
    let mut more = 0;
    for one in all {
        if shown.len() < MOST_SHOWN {
            shown.push(one);
        } else {
            more += 1;
        }
    }
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{MOST_SHOWN, bounded, shown};
    use serde_json::json;

    #[test]
    fn of_many_the_first_are_shown_and_how_many_more_there_are() {
        let rows = |many: usize| (0..many).map(|number| number.to_string());
        for many in [0, 1, MOST_SHOWN] {
            assert_eq!(bounded(rows(many)), rows(many).collect::<Vec<_>>());
        }
        for (many, last) in [(MOST_SHOWN + 1, "and 1 more"), (MOST_SHOWN + 4_000, "and 4000 more")] {
            let shown = bounded(rows(many));
            assert_eq!(shown[..MOST_SHOWN], rows(MOST_SHOWN).collect::<Vec<_>>());
            assert_eq!(shown[MOST_SHOWN..], [last]);
        }
    }

    #[test]
    fn a_call_is_read_by_people_and_shows_all_of_it() {
        for (call, read) in [
            (
                json!({ "call": "pidfd_send_signal", "signal": "KILL", "process": "bash (41)" }),
                "pidfd_send_signal signal=KILL process=\"bash (41)\"",
            ),
            (json!({ "call": "freeze", "cgroup": "/web.slice/a b" }), "freeze cgroup=\"/web.slice/a b\""),
            (json!({ "call": "read", "of": ["exe"], "at_most": 7, "x": "" }), "read of=[\"exe\"] at_most=7 x=\"\""),
            (json!({ "call": "kill", "of": "1 signal=TERM" }), "kill of=\"1 signal=TERM\""),
            (json!({ "method": "GET" }), "{\"method\":\"GET\"}"),
            (json!("plain words"), "plain words"),
        ] {
            assert_eq!(shown(&call), read);
        }
    }
}
