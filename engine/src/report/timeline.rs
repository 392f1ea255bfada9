//! One line for each thing that happened, for people.
//!
//! Owns the sentences. Never escapes (the printer does) and never guesses: what a record does not say is not told.
//! Records that only the machine needs (marks, timers, intents that were carried out) have no line.

use super::moments::{Times, span};
use crate::load::reader::few;
use crate::load::units::print_duration;
use quell_model::record::{
    DetectionAccepted, IncidentJoined, IncidentOpened, IncidentState, LossSeen, Part, ReflexFired, RunReopened,
    RunStarted, StepFailed, StepFinished, Stored, StoredAs, TriggerDecision, Verdict,
};
use quell_model::{Body, Json, Kind, Mode, Name, Outcome, OwnedEvent, Plan, Record, RunId, Stamp, StreamId};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::time::Duration;
use utoipa::ToSchema;

/// No piece of foreign text in a line is longer.
const MOST_CHARS: usize = 160;
/// A line that a playbook or a person wrote for others to read may say more.
const MOST_TOLD: usize = 1000;
/// So many of a list are named, the rest counted.
const MOST_NAMED: usize = 4;

/// A line of a timeline.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct TimelineLine {
    /// When.
    pub at: Stamp,
    /// The record's kind.
    pub kind: Kind,
    /// What happened, in words; holds text that an attacker may have shaped.
    pub text: String,
    /// The run that it belongs to, if one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

/// The lines of one stream.
pub(super) fn lines(stream: &StreamId, records: &[Record]) -> Vec<TimelineLine> {
    let run = stream.as_run();
    let mut teller = Teller::new(records);
    records.iter().filter_map(|record| teller.line(record, run.as_ref())).collect()
}

/// A boot clock that goes back so far is another boot's; what was counted is written a minute late at most.
const REBOOT: Duration = Duration::from_secs(120);

/// Several streams' lines as one story, in the order of the boot clock, which nobody steps; by the wall clock where the
/// story outlived a boot. Lines of one stream keep their order.
pub(super) fn merge(mut streams: Vec<Vec<TimelineLine>>) -> Vec<TimelineLine> {
    let outlived = |lines: &[TimelineLine]| lines.windows(2).any(|two| two[0].at.since(two[1].at) > REBOOT);
    let one_boot = !streams.iter().any(|lines| outlived(lines));
    for lines in &mut streams {
        lines.reverse();
    }
    let mut story = Vec::with_capacity(streams.iter().map(Vec::len).sum());
    let place = |at: Stamp| if one_boot { i128::from(at.boot_ns) } else { at.wall.as_nanosecond() };
    let first = |(at, lines): (usize, &Vec<TimelineLine>)| Some(Reverse((place(lines.last()?.at), at)));
    let mut firsts: BinaryHeap<_> = streams.iter().enumerate().filter_map(first).collect();
    while let Some(Reverse((_, at))) = firsts.pop() {
        story.extend(streams[at].pop());
        firsts.extend(first((at, &streams[at])));
    }
    story
}

/// What must be known of earlier records to tell a later one.
pub(super) struct Teller {
    run: Option<RunStarted>,
    /// The action of a part, where a record named it.
    actions: HashMap<Part, Name>,
    /// Parts that were refused: their end needs no second line.
    refused: HashSet<Part>,
    planned: HashSet<Part>,
    /// What would have made a failed part work.
    hints: HashMap<Part, String>,
    /// Parts that have ended.
    ended: HashSet<Part>,
    /// The detection rules by their sums.
    titles: HashMap<quell_model::Hash, String>,
    /// Whom pages were for.
    pages: super::ladder::Pages,
    only: Only,
}

/// Whether all detections so far were of one rule.
enum Only {
    None,
    One(String),
    Several,
}

impl Only {
    fn add(&mut self, title: &str) {
        match self {
            Self::None => *self = Self::One(title.to_owned()),
            Self::One(known) if known != title => *self = Self::Several,
            Self::One(_) | Self::Several => {}
        }
    }
}

/// Titles of detections that are remembered: a later one is told without.
const MOST_TITLES: usize = 10_000;

impl Teller {
    /// `records` are those of the stream in which steps may have ended already.
    pub(super) fn new(records: &[Record]) -> Self {
        let mut ended = HashSet::new();
        for record in records {
            match &record.body {
                Body::StepFinished(finished) => drop(ended.insert(finished.part.clone())),
                Body::RunReopened(reopened) => ended.retain(|part| !is_again(reopened, part)),
                _ => {}
            }
        }
        Self {
            run: None,
            actions: HashMap::new(),
            pages: super::ladder::Pages::default(),
            refused: HashSet::new(),
            planned: HashSet::new(),
            hints: HashMap::new(),
            ended,
            titles: HashMap::new(),
            only: Only::None,
        }
    }

    /// The line of the next record, if it has one.
    pub(super) fn line(&mut self, record: &Record, run: Option<&RunId>) -> Option<TimelineLine> {
        let text = self.tell(record)?;
        Some(TimelineLine { at: record.at, kind: record.body.kind(), text, run: run.cloned() })
    }

    /// What a part is called: its action, else its step.
    fn name(&self, part: &Part) -> String {
        let item = part.item.map(|item| format!("[{item}]")).unwrap_or_default();
        match self.actions.get(part) {
            Some(action) => format!("{action}{item}"),
            None => format!("step {}{item}", part.step),
        }
    }

    fn playbook(&self) -> String {
        self.run.as_ref().map_or_else(|| "the run".to_owned(), |run| run.playbook.to_string())
    }

    fn tell(&mut self, record: &Record) -> Option<String> {
        match &record.body {
            Body::EngineStarted(started) => {
                let zones = started.tzdb.as_ref().map(|tzdb| format!(", time zones {tzdb}")).unwrap_or_default();
                Some(format!("quell {} started: pid {}, mode {}{zones}", started.version, started.pid, started.mode))
            }
            Body::SubRunStarted(sub) => {
                Some(format!("{} starts {} as run {}", self.name(&sub.part), sub.playbook, sub.run))
            }
            // A detection stands in its incident.
            Body::DefinitionPinned(_) | Body::StepProgressed(_) | Body::TimerFired(_) | Body::DetectionJoined(_) => {
                None
            }
            Body::TimerSet(timer) => {
                let most = print_duration(timer.until.since(record.at));
                Some(format!("{} waits for {most} at most", self.name(&timer.part)))
            }
            Body::DetectionAccepted(accepted) => {
                let title = &accepted.detection.rule.title;
                self.only.add(title);
                if self.titles.len() < MOST_TITLES {
                    self.titles.insert(accepted.detection.id, title.to_string());
                }
                Some(detected(accepted))
            }
            Body::DetectionHeld(held) => {
                let by = held.playbook.as_ref().map(|playbook| format!(" by {playbook}")).unwrap_or_default();
                Some(format!("{} held back{by}: {}", held.rule, cut(&held.reason)))
            }
            Body::LossSeen(lost) => Some(loss(lost)),
            Body::RunStarted(started) => {
                self.run = Some((**started).clone());
                Some(started_line(started))
            }
            Body::StepPlanned(planned) => {
                self.actions.insert(planned.part.clone(), planned.action.clone());
                self.planned.insert(planned.part.clone());
                let targets = targets(&planned.plan);
                let on = if targets.is_empty() { String::new() } else { format!(" on {targets}") };
                let name = self.name(&planned.part);
                Some(format!("{name} {}{on}, nothing done: {}", planned.outcome, cut(&planned.because)))
            }
            Body::StepIntended(intended) => {
                self.actions.insert(intended.part.clone(), intended.action.clone());
                let open = !self.ended.contains(&intended.part);
                open.then(|| format!("{} is under way on {}", self.name(&intended.part), targets(&intended.plan)))
            }
            Body::StepFinished(finished) => {
                if let Some(action) = &finished.action {
                    self.actions.insert(finished.part.clone(), action.clone());
                }
                self.finished(finished)
            }
            Body::StepFailed(failed) => self.failed(record.at, failed),
            Body::StepSkipped(skipped) => Some(format!("step {} skipped: {}", skipped.step, cut(&skipped.why))),
            Body::StepBlocked(blocked) => {
                let by = blocked.by.as_ref().map(|step| format!(": {step} did not end well")).unwrap_or_default();
                Some(format!("step {} {}{by}", blocked.step, blocked.outcome))
            }
            Body::GuardRefused(refused) => {
                self.actions.insert(refused.part.clone(), refused.action.clone());
                self.refused.insert(refused.part.clone());
                let on =
                    if refused.target.is_empty() { String::new() } else { format!(" on {}", cut(&refused.target)) };
                let name = self.name(&refused.part);
                Some(format!("{name} refused by the guard {}{on}: {}", refused.guard, cut(&refused.why)))
            }
            // The step's own line says by whom.
            Body::PersonActed(acted) if acted.what.as_str() == "skip" => None,
            Body::PersonActed(acted) => Some(format!("{}: {}", acted.by, acted.what)),
            Body::RunReopened(reopened) => {
                self.refused.retain(|part| !is_again(reopened, part));
                self.planned.retain(|part| !is_again(reopened, part));
                self.hints.retain(|part, _| !is_again(reopened, part));
                let parts: Vec<String> = reopened.again.iter().map(ToString::to_string).collect();
                let why = if reopened.why.is_empty() { String::new() } else { format!(": {}", cut(&reopened.why)) };
                Some(format!("{} is tried again by {} ({}){why}", self.playbook(), reopened.by, some(&parts)))
            }
            Body::RunFinished(finished) => {
                let summary = cut(&finished.summary);
                let why = if summary.is_empty() { summary } else { format!(": {summary}") };
                Some(format!("{} {}{why}", self.playbook(), finished.state.as_str()))
            }
            Body::IncidentOpened(opened) => Some(opened_line(opened)),
            Body::IncidentJoined(joined) => self.joined(joined),
            Body::IncidentChanged(changed) => {
                let what = match (changed.state, changed.verdict) {
                    (IncidentState::Resolved, Some(Verdict::FalsePositive)) => "resolved as a false positive",
                    (IncidentState::Resolved, None) => "resolved",
                    _ => "opened again",
                };
                let why = if changed.why.is_empty() { String::new() } else { format!(": {}", cut(&changed.why)) };
                Some(format!("{what} by {}{why}", changed.by))
            }
            Body::AcknowledgementChanged(changed) => {
                let what = if changed.acknowledged { "acknowledged by" } else { "no longer acknowledged, says" };
                let why = if changed.why.is_empty() { String::new() } else { format!(": {}", cut(&changed.why)) };
                Some(format!("{what} {}{why}", changed.by))
            }
            // The run's own line says that it started; the others stand in the explanation.
            Body::MomentDecided(_) => None,
            Body::ExceptionDrafted(drafted) => {
                let rules: Vec<String> = drafted.rules.iter().map(ToString::to_string).collect();
                let (by, expires) = (&drafted.by, drafted.expires);
                Some(format!("an exception to {} was drafted for {by}, which ends at {expires:.0}", some(&rules)))
            }
            Body::NoteAdded(note) => Some(format!("{}: {}", note.by, cut_at(&note.text, MOST_TOLD))),
            Body::PauseChanged(changed) if changed.paused => Some(format!("every action paused by {}", changed.by)),
            Body::PauseChanged(changed) => Some(format!("actions resumed by {}", changed.by)),
            // What is kept stands beside the timeline; that it no longer is belongs into it.
            Body::RecorderPinned(pinned) => {
                pinned.let_go.then(|| "the events around it were let go: newer incidents needed the room".to_owned())
            }
            Body::BreakerChanged(changed) => {
                let what = if changed.open { "opened, it asks before it acts" } else { "closed" };
                let by = changed.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
                Some(format!("the breaker of {} {what}{by}: {}", changed.playbook, cut(&changed.why)))
            }
            Body::ModeChanged(changed) => {
                let why = if changed.why.is_empty() { String::new() } else { format!(": {}", cut(&changed.why)) };
                Some(format!("{} goes as far as {} by {}{why}", changed.playbook, changed.to, changed.by))
            }
            Body::ReflexFired(fired) => Some(fired_line(fired)),
            Body::LadderStarted(_)
            | Body::LadderRouted(_)
            | Body::LadderMoved(_)
            | Body::PageReceipted(_)
            | Body::LadderChanged(_)
            | Body::LadderEnded(_)
            | Body::LadderClosed(_)
            | Body::LadderSilenced(_) => self.pages.line(record),
            // Of no incident.
            Body::ScheduleSet(_)
            | Body::ScheduleMissed(_)
            | Body::PlaybookSeen(_)
            | Body::AnswerRemembered(_)
            | Body::HeadsSealed(_)
            | Body::SourceAdvanced(_)
            | Body::SilenceAdded(_)
            | Body::SilenceEnded(_) => None,
            Body::LeaseChanged(changed) => {
                Some(format!("{} of {} {}: {}", changed.action, changed.run, changed.state, cut(&changed.why)))
            }
            // The step's own line says that it acted; its end stands in the run.
            Body::LeaseGranted(_) | Body::UndoIntended(_) => None,
            Body::UndoBegan(began) => {
                let what = began.only.as_ref().map_or_else(|| self.playbook(), |part| self.name(part));
                Some(format!("{what} is taken back by {}: {}", began.by, cut(&began.why)))
            }
            Body::UndoFailed(failed) => {
                let (name, attempt, wait) =
                    (self.name(&failed.part), failed.attempt, span(failed.again_at.since(record.at)));
                let error = cut(&failed.error);
                Some(format!("{name} was not taken back at attempt {attempt}: {error}; again in {wait}"))
            }
            Body::StreamRedacted(redacted) => {
                let (stream, seq, by) = (&redacted.stream, redacted.seq, &redacted.by);
                Some(format!("{by} redacted record {seq} of {stream}: {}", cut(&redacted.reason)))
            }
            Body::StreamPruned(pruned) => {
                let (streams, blobs) = (pruned.streams.len(), pruned.blobs.len());
                Some(format!("{} pruned {streams} streams and {blobs} blobs for their age", pruned.by))
            }
            Body::QuestionAsked(asked) => {
                let (name, text) = (self.name(&asked.part), cut(&asked.text));
                let (choices, until) = (words(&asked.choices), span(asked.within));
                let who = asked.person.as_ref().map(|person| format!(" {person}")).unwrap_or_default();
                Some(format!("{name} asks{who}: {text} ({choices}, within {until}, else {})", asked.otherwise))
            }
            Body::QuestionAnswered(answered) => {
                let who = answered.by.as_ref().map_or("nobody", |by| by.as_str());
                let why = if answered.why.is_empty() { String::new() } else { format!(": {}", cut(&answered.why)) };
                let more = if answered.settles { "" } else { "; somebody else has to as well" };
                let via = by_way(answered.via.as_ref());
                Some(format!("{}: {who} says {}{via}{why}{more}", self.name(&answered.part), answered.choice))
            }
            Body::AnswerTooLate(late) => {
                let (name, why) = (self.name(&late.part), cut(&late.why));
                Some(format!("{name}: {} says {}, too late: {why}", late.by, late.choice))
            }
            Body::AnswerRefused(refused) => {
                let (name, why, via) = (self.name(&refused.part), cut(&refused.why), by_way(Some(&refused.via)));
                Some(format!("{name}: {} says {}{via}, which does not count: {why}", refused.by, refused.choice))
            }
            Body::UndoFinished(finished) => {
                Some(format!("{} {}: {}", self.name(&finished.part), finished.outcome, cut(&finished.proof)))
            }
        }
    }

    fn finished(&self, finished: &StepFinished) -> Option<String> {
        let part = &finished.part;
        if self.refused.contains(part) || (self.planned.contains(part) && finished.outcome != Outcome::Failed) {
            return None;
        }
        if let Some(told) = finished.output.get("told").and_then(Json::as_str)
            && !self.actions.contains_key(part)
        {
            return Some(cut_at(told, MOST_TOLD));
        }
        let mut text = format!("{} {}", self.name(part), finished.outcome);
        let (deed, proof) = (deed(&finished.output), cut(&finished.proof));
        // `verified` and what was done say it all; the proof's words stand in the run.
        let proof = if finished.outcome == Outcome::Verified && !deed.is_empty() { String::new() } else { proof };
        let what: Vec<String> = [deed, proof].into_iter().filter(|piece| !piece.is_empty()).collect();
        if !what.is_empty() {
            text += &format!(": {}", what.join("; "));
        }
        if finished.attempts > 1 && finished.outcome != Outcome::Failed {
            text += &format!(" ({} attempts)", finished.attempts);
        }
        let acted = finished.moments.started.and(Times::of(&finished.moments).verified_ns);
        if let Some(ns) = acted {
            text += &format!(", {} after the kernel saw it", span(Duration::from_nanos(ns)));
        }
        if let Some(hint) = self.hints.get(part).filter(|_| finished.outcome == Outcome::Failed) {
            text += &format!("; hint: {}", cut(hint));
        }
        Some(text)
    }

    /// An attempt after which there is another; of the last one the step's end tells.
    fn failed(&mut self, at: Stamp, failed: &StepFailed) -> Option<String> {
        if let Some(hint) = &failed.hint {
            self.hints.insert(failed.part.clone(), hint.clone());
        }
        let again = failed.again_at?;
        let (name, attempt) = (self.name(&failed.part), failed.attempt);
        let wait = span(again.since(at));
        Some(format!("{name} failed at attempt {attempt}: {}; again in {wait}", cut(&failed.error)))
    }

    /// A run that joins is told by its own first line.
    fn joined(&self, joined: &IncidentJoined) -> Option<String> {
        let detection = joined.detection?;
        // A count comes under an id of its own; where one rule alone was seen it can only be that one.
        let only = || match &self.only {
            Only::One(title) => Some(title),
            Only::None | Only::Several => None,
        };
        let title = self.titles.get(&detection).or_else(only);
        let title = title.map_or_else(|| format!("one of these ({})", joined.level), |title| cut(title));
        let times = if joined.count > 1 { format!(", {} times so far", joined.count) } else { String::new() };
        Some(format!("seen again: {title}{times}"))
    }
}

/// Whether a part is done again.
fn is_again(reopened: &RunReopened, part: &Part) -> bool {
    reopened.again.iter().any(|again| again.covers(part))
}

fn fired_line(fired: &ReflexFired) -> String {
    let away = if fired.unattended { " while no quell was there" } else { "" };
    if fired.action.as_str().starts_with("network.") {
        return format!("the kernel dropped {} packets and calls of {}{away}", fired.count, cut(&fired.image));
    }
    let whom: Vec<String> = fired.struck.iter().map(|struck| format!("pid {}", struck.pid)).collect();
    let whom = if whom.is_empty() { String::new() } else { format!(": {}", some(&whom)) };
    let spent = if fired.spent { "; its budget is used up, it strikes no more" } else { "" };
    let missed = match fired.missed {
        0 => String::new(),
        missed => format!("; {missed} times its signal could not be sent"),
    };
    format!("the kernel kept {} from starting, {} times{away}{whom}{missed}{spent}", cut(&fired.image), fired.count)
}

fn detected(accepted: &DetectionAccepted) -> String {
    let (detection, event) = (&accepted.detection, &accepted.detection.event);
    let rule = &detection.rule;
    let mut text = format!("detected: {} (rule {}, {}), by {}", cut(&rule.title), rule.name, rule.level, who(event));
    let late = event.head.seen.since(event.head.at);
    if late > Duration::from_secs(60) {
        text += &format!(", {} ago when it was seen", span(late));
    }
    let started = accepted.decided.iter().filter(|decided| decided.decision == TriggerDecision::Started);
    let started: Vec<String> = started.map(|decided| decided.playbook.to_string()).collect();
    if started.is_empty() {
        let joined = accepted.decided.iter().any(|decided| decided.decision == TriggerDecision::Joined);
        text += if joined { "; an open run took it" } else { "; no playbook started" };
    }
    text
}

/// Who did it, as people know it: `bash (4242): bash -i`, else the subject's name.
pub(super) fn who(event: &OwnedEvent) -> String {
    let Some(process) = event.own.get("process") else {
        return cut(&event.subject.to_string());
    };
    let text = |key: &str| process.get(key).and_then(Json::as_str).unwrap_or_default();
    let Some(pid) = process.get("pid").and_then(Json::as_u64) else {
        return cut(&event.subject.to_string());
    };
    let name = text("image").rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("process");
    let command = match text("command_line") {
        "" => String::new(),
        line => format!(": {}", cut(line)),
    };
    format!("{} ({pid}){command}", cut(name))
}

/// By which way somebody has said it: a person at the socket, and one in Slack, are known by other means.
fn by_way(via: Option<&quell_model::Name>) -> String {
    via.map(|via| format!(" by {via}")).unwrap_or_default()
}

fn words(choices: &[quell_model::Name]) -> String {
    choices.iter().map(quell_model::Name::as_str).collect::<Vec<_>>().join(" or ")
}

fn started_line(started: &RunStarted) -> String {
    let moment = started.came.as_ref().map(|came| format!(" ({})", came.moment)).unwrap_or_default();
    let by = started.by.as_ref().map(|by| format!(" by {by}{moment}")).unwrap_or_default();
    let mode = match started.mode {
        Mode::Enforce => String::new(),
        mode => format!(" in {mode} mode: {}", cut(&started.mode_because)),
    };
    let of =
        started.parent.as_ref().map(|parent| format!(" for {} of run {}", parent.part, parent.run)).unwrap_or_default();
    format!("{} started{by}{of}{mode}", started.playbook)
}

fn opened_line(opened: &IncidentOpened) -> String {
    format!("incident opened ({}): {}, about {}", opened.level, cut(&opened.title), cut(&opened.entity.to_string()))
}

/// What was lost, as people say it.
pub(super) fn loss(lost: &LossSeen) -> String {
    let what = lost.class.map_or_else(|| "events".to_owned(), |class| format!("{class} events"));
    let whose = lost.cgroup.map(|cgroup| format!(" of cgroup {cgroup}")).unwrap_or_default();
    format!("{} {what}{whose} were lost: {}", lost.count, cut(&lost.why))
}

/// What was done, from an output's lists: `killed 2 processes (bash (7), nc (8))`, `3 sockets`.
fn deed(output: &Json) -> String {
    let Json::Object(output) = output else { return String::new() };
    let phrase = |(key, value): (&String, &Json)| {
        // Of a list that lies apart it is known how long it is.
        if let Some(items) =
            Stored::of(value).filter(|stored| stored.is == StoredAs::List).and_then(|stored| stored.items)
        {
            return (items > 0).then(|| format!("{key}: {items}"));
        }
        let list = value.as_array()?;
        let named: Vec<String> = list.iter().filter_map(process).collect();
        if named.len() == list.len() && !list.is_empty() {
            let what = if list.len() == 1 { "process" } else { "processes" };
            return Some(format!("{key} {} {what} ({})", list.len(), some(&named)));
        }
        (!list.is_empty()).then(|| format!("{key}: {}", list.len()))
    };
    output.iter().filter_map(phrase).collect::<Vec<_>>().join(", ")
}

fn process(entry: &Json) -> Option<String> {
    let pid = entry.get("pid")?.as_u64()?;
    let image = entry.get("image").and_then(Json::as_str).unwrap_or_default();
    let name = image.trim_end_matches(" (deleted)").rsplit('/').next().filter(|name| !name.is_empty());
    Some(name.map_or_else(|| format!("pid {pid}"), |name| format!("{} ({pid})", cut(name))))
}

/// What a plan touches: the named targets first.
fn targets(plan: &Plan) -> String {
    let mut targets: Vec<_> = plan.targets.iter().collect();
    targets.sort_by_key(|target| !target.named);
    some(&targets.into_iter().map(|target| cut(&target.label)).collect::<Vec<_>>())
}

fn some(names: &[String]) -> String {
    few(names, MOST_NAMED)
}

/// At most so many characters, and a mark where something was cut.
pub(super) fn cut(text: &str) -> String {
    cut_at(text, MOST_CHARS)
}

fn cut_at(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
