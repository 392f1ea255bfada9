//! What the engine answers to what people ask of it: a shape for each.
//!
//! Owns the shapes, so that whoever asks reads what the engine's thread wrote. Decides nothing.

use crate::incident::Acknowledged;
use jiff::Timestamp;
use quell_model::playbook::AtEnd;
use quell_model::record::{Covers, IncidentState, Owner};
use quell_model::{Hash, IncidentId, Json, LadderId, Level, Mode, Name, RunId, Stamp, StepId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// How the engine stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineStatus {
    /// Playbooks that ask before each act now, though they may act.
    pub held: Vec<Held>,
    /// What people said of how far playbooks may go.
    #[serde(default)]
    pub by_hand: Vec<Held>,
    /// How far each playbook may go now.
    pub modes: Vec<ModeNow>,
    /// The ceiling.
    pub mode: Mode,
    /// Every action is stopped.
    pub paused: bool,
    /// Runs that have not ended.
    pub runs_open: u64,
    /// Runs that began since the start.
    pub runs_started: u64,
    /// Detections since the start.
    pub detections: u64,
    /// Open incidents that may have missed something.
    pub incidents_degraded: u64,
    /// Events that were lost since the start.
    pub events_lost: u64,
    /// Questions that wait for an answer.
    pub questions: u64,
    /// Containments that stand and can be taken back.
    pub standing: u64,
    /// Of these, whose lease is over.
    pub standing_due: u64,
    /// Of these, what a person has to say, then what ends first; so many that a list of them can be read.
    #[serde(default)]
    pub leases: Vec<StandingLease>,
    /// Silences that stand, by their ends.
    #[serde(default)]
    pub silences: Vec<SilenceView>,
    /// Ladders of which the last resort was told, and that nobody has answered.
    #[serde(default)]
    pub exhausted: Exhausted,
    /// Records that the journal has not taken yet.
    pub records_waiting: u64,
    /// Records that could not be kept at all.
    pub records_lost: u64,
}

/// What a message of a ladder would say now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoticeNow {
    /// That.
    pub notice: quell_model::notice::Notice,
    /// The words of those of its acts for which the link has been used by which it was asked.
    pub used: BTreeSet<String>,
}

/// A containment that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StandingLease {
    /// `RUN/STEP`, or `RUN/STEP/ITEM`.
    pub id: String,
    /// The run whose step contained.
    pub run: RunId,
    /// By which action.
    pub action: Name,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Its end; none: it has no end.
    pub until: Option<Timestamp>,
    /// What happens then.
    pub at_end: AtEnd,
    /// It ends by itself then, as its input says, and nobody is asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_end: bool,
    /// Its end has come, and a person has to say.
    pub due: bool,
}

/// A playbook that does less than it may, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Held {
    /// Its name.
    pub id: Name,
    /// Why.
    pub why: String,
}

/// How far a playbook may go now, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModeNow {
    /// Its name.
    pub id: Name,
    /// So far.
    pub mode: Mode,
    /// What says so.
    pub because: String,
}

/// The run that was meant: what was asked of it is done, or under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OfRun {
    /// Its id.
    pub id: RunId,
}

/// The incident that was meant: what was asked of it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OfIncident {
    /// Its id.
    pub id: IncidentId,
}

/// Who looks after an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IncidentAcknowledged {
    /// Its id.
    pub id: IncidentId,
    /// Open or acknowledged.
    pub state: IncidentState,
    /// It was not so before.
    pub changed: bool,
    /// Who looks after it; none: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledged>,
    /// It counts, and others have to say so too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits_for_others: bool,
}

/// What of a run is being taken back. How it ends stands in the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunUndoing {
    /// The run.
    pub id: RunId,
    /// The steps that are being taken back, an item of a `for_each` as `step[0]`. Empty: nothing of it stands, and nothing new starts.
    #[serde(default)]
    pub undoing: Vec<String>,
    /// Why nothing of this run is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What of an incident's runs is being taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IncidentUndoing {
    /// The incident.
    pub id: IncidentId,
    /// Its runs, the latest first.
    pub runs: Vec<RunUndoing>,
}

/// An incident that was no attack: it is resolved as that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsFalsePositive {
    /// The incident.
    pub id: IncidentId,
    /// Its runs that are being taken back, the latest first; none: nothing that they did stands and can be.
    pub runs: Vec<RunUndoing>,
}

/// What of a run stands for longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunKept {
    /// The run.
    pub id: RunId,
    /// The steps whose containment stands, an item of a `for_each` as `step[0]`.
    pub kept: Vec<String>,
}

/// What of an incident's runs stands for longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IncidentKept {
    /// The incident.
    pub id: IncidentId,
    /// Its runs of which something stands, the latest first.
    pub runs: Vec<RunKept>,
}

/// What of a run is done again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunAgain {
    /// The run.
    pub id: RunId,
    /// The steps that are done again, an item of a `for_each` as `step[0]`.
    pub again: Vec<String>,
}

/// What of a run is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunSkipped {
    /// The run.
    pub id: RunId,
    /// The step.
    pub skipped: StepId,
}

/// A run that does not move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotMoving {
    /// The run.
    pub id: RunId,
    /// Why.
    pub why: String,
}

/// A silence that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SilenceView {
    /// Its name.
    #[schema(examples("s-41"))]
    pub id: Name,
    /// Which incidents it covers.
    pub covers: Covers,
    /// What happens meanwhile was planned.
    pub maintenance: bool,
    /// Whose it is.
    pub by: Name,
    /// Which way they said so: `socket`, `token`.
    pub via: Name,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Its end.
    pub until: Timestamp,
    /// How many incidents it holds back now.
    pub holds_back: u64,
    /// The first of them.
    pub incidents: Vec<IncidentId>,
}

/// Incidents and questions of which the last resort was told, and that nobody has answered: they stay so until somebody does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Exhausted {
    /// How many.
    pub count: u64,
    /// Some of them, the worst first.
    pub first: Vec<ExhaustedLadder>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExhaustedLadder {
    /// Of what it tells.
    pub id: LadderId,
    /// How bad that is.
    pub level: Level,
    /// In a line.
    pub title: String,
}

/// A silence that was ended before its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SilenceGone {
    /// Its name.
    pub id: Name,
    /// How many incidents it held back: what still burns is told now, as far as no other silence covers it.
    pub released: u64,
}

/// The breaker of a playbook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BreakerView {
    /// The playbook.
    pub id: Name,
    /// The playbook asks before it acts.
    pub open: bool,
    /// Who opened it; none: the engine did, or it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Name>,
    /// Why it was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Since when it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When it closes by itself; none: only by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closes: Option<Timestamp>,
}

/// A breaker that was switched by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BreakerSwitched {
    /// The playbook.
    pub id: Name,
    /// The playbook asks before it acts.
    pub open: bool,
}

/// What a person said of how far a playbook may go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PersonsMode {
    /// So far.
    pub mode: Mode,
    /// Who.
    pub by: Name,
    /// Why; may be empty.
    pub why: String,
    /// When.
    pub at: Stamp,
    /// It is about the text that is loaded: a promotion is bound to the text of its time.
    pub holds: bool,
}

/// How the mode of a playbook stands, and what makes it so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModeStands {
    /// The playbook.
    pub id: Name,
    /// The sum of its text as it is loaded.
    pub hash: Hash,
    /// So far it may go here and now.
    pub mode: Mode,
    /// What says so.
    pub because: String,
    /// What its own text says.
    pub own: Mode,
    /// No promotion goes further than this.
    pub most: Mode,
    /// What in the configuration says so.
    pub most_because: String,
    /// The last word of a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<PersonsMode>,
}

/// A playbook that was let go so far by a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModeSet {
    /// The playbook.
    pub id: Name,
    /// How far it went before.
    pub from: Mode,
    /// How far it may go.
    pub to: Mode,
    /// How far it goes here and now: something else may hold it back.
    pub mode: Mode,
    /// What says so.
    pub because: String,
}

/// What became of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnswerTaken {
    /// The run that asked.
    pub id: RunId,
    /// What was answered.
    pub choice: Name,
    /// The steps whose question is over by it, an item of a `for_each` as `step[0]`. Empty: others have to say the same.
    pub answered: Vec<String>,
    /// How many others have to say the same before it is.
    pub missing: u64,
}

/// Whether actions run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Paused {
    /// Every action is stopped.
    pub paused: bool,
    /// It was not so before.
    pub changed: bool,
    /// How many acts were refused while it was paused, and are not done now. 0 in the answer to a pause.
    pub refused_meanwhile: u64,
}

/// What came of what the kernel's reflex struck.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReflexWritten {
    /// How many entries were written down.
    pub written: u64,
    /// How many records the journal has not taken yet.
    pub waiting: u64,
}

/// An answer as it goes to whoever asked.
pub(super) fn json(answer: impl Serialize) -> Json {
    serde_json::to_value(answer).expect("the shapes above have text keys only")
}
