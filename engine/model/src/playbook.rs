//! A playbook as the engine runs it: the same model whether it came from YAML or from a script.
//!
//! Owns the shape. Reading, checking and evaluating are the engine's; every expression keeps its place in its file.

use crate::Json;
use crate::detection::Level;
use crate::hash::Hash;
use crate::ids::{Name, StepId};
use crate::mistake::Span;
use crate::mode::Mode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

mod escalate;
mod starts;
mod sub;
mod wait;
mod web;
pub use escalate::Escalate;
pub use starts::{IncidentMoment, Schedule};
pub use sub::SubPlaybook;
pub use wait::{Wait, WaitUntil};
pub use web::Web;

/// The text of an expression (what stands inside `${{ … }}`) and its place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Expression {
    /// Rhai.
    pub text: String,
    /// Where it stands.
    #[serde(skip)]
    pub span: Span,
}

impl Expression {
    /// Whether it looks at the pod of the event.
    #[must_use]
    pub fn asks_for_a_pod(&self) -> bool {
        self.text.contains("event.pod")
    }
}

/// A playbook.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Playbook {
    /// `[a-z0-9-]+`, unique among what is loaded.
    pub name: Name,
    /// For people.
    pub description: String,
    /// What starts it.
    pub on: Trigger,
    /// How far its runs may go; the configuration and steps can only be stricter.
    pub mode: Mode,
    /// What holds it back.
    pub limits: RunLimits,
    /// For manual starts.
    pub inputs: BTreeMap<String, InputSpec>,
    /// The DAG, in the order of the file.
    pub steps: Vec<Step>,
    /// What a finished run gives: name → template.
    pub outputs: BTreeMap<String, Json>,
    /// The sum of `text`.
    pub hash: Hash,
    /// Where it was read; `shipped/…` for those in the binary.
    pub file: PathBuf,
    /// As it was read.
    #[serde(skip)]
    pub text: Arc<str>,
    /// Where each step stands among the others.
    #[serde(skip)]
    pub web: Web,
}

/// What starts a playbook.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Trigger {
    /// Which detections; none: no detection starts it.
    pub detections: Option<DetectionFilter>,
    /// Must be true.
    #[serde(rename = "if")]
    pub condition: Option<Expression>,
    /// One open run for each value of this.
    pub run_per: Expression,
    /// By event time: an older detection makes the run stricter.
    pub max_age: Duration,
    /// At which moments; none: at none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// At which moments of incidents; empty: at none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub incident: Vec<IncidentMoment>,
}

impl Trigger {
    /// Whether nothing starts it before its condition has looked at the event's pod.
    #[must_use]
    pub fn asks_for_a_pod(&self) -> bool {
        let by_detections_alone = self.schedule.is_none() && self.incident.is_empty();
        by_detections_alone && self.condition.as_ref().is_some_and(Expression::asks_for_a_pod)
    }
}

/// Any of the rules or tags, at this level or above.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DetectionFilter {
    /// Rules by name, id or file stem; empty and `tags` empty: every rule.
    pub rules: Vec<Name>,
    /// Tags as rules write them.
    pub tags: Vec<Name>,
    /// The least level.
    pub level: Level,
}

/// What holds a playbook back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct RunLimits {
    /// So many runs in a time; past it a run is stricter.
    pub runs: Option<Rate>,
    /// So many named targets in one run.
    pub targets: Option<u32>,
}

/// So many in a time: `20/h`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In how long.
    pub per: Duration,
}

/// An input of a manual start.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct InputSpec {
    /// `string`, `integer`, `boolean`, `list`, `map`.
    #[serde(rename = "type")]
    pub kind: InputType,
    /// Without one it must be given.
    pub default: Option<Json>,
}

/// The types of inputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputType {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// Yes or no.
    Boolean,
    /// Several values.
    List,
    /// Named values.
    Map,
}

impl InputType {
    /// Whether a value is of this type.
    #[must_use]
    pub fn takes(self, value: &Json) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Boolean => value.is_boolean(),
            Self::List => value.is_array(),
            Self::Map => value.is_object(),
        }
    }
}

/// A node of the DAG.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Step {
    /// Its name.
    pub id: StepId,
    /// What it does.
    #[serde(flatten)]
    pub kind: StepKind,
    /// What must have ended before.
    pub needs: Vec<StepId>,
    /// Must be true, else the step is skipped.
    #[serde(rename = "if")]
    pub condition: Option<Expression>,
    /// Whether it runs after needs that ended badly.
    pub when: When,
    /// Once for each item of a list.
    pub for_each: Option<ForEach>,
    /// For one attempt.
    pub timeout: Duration,
    /// For the step with its retries.
    pub deadline: Option<Duration>,
    /// Further attempts.
    pub retry: Retry,
    /// What a bad end does.
    pub on_failure: OnFailure,
    /// Stricter than the playbook's, if set.
    pub mode: Option<Mode>,
    /// How long what it does is meant to stand; none: as long as usual.
    pub lease: Option<Lease>,
    /// Ask a person before it acts.
    pub approve: Option<Approve>,
    /// Act, and ask a person afterwards.
    pub confirm: Option<Confirm>,
    /// Where it stands.
    #[serde(skip)]
    pub span: Span,
}

/// What a step does: exactly one thing.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// A verb on the world.
    Action {
        /// Which verb.
        action: Name,
        /// Its input: JSON whose strings may hold expressions.
        with: Json,
    },
    /// Rhai that returns a map.
    Script(Expression),
    /// A line into the incident's timeline.
    Tell(String),
    /// The incident is handed on.
    Escalate(Escalate),
    /// A question to a person.
    Ask(Box<AskPerson>),
    /// It waits.
    Wait(Wait),
    /// A playbook, which runs as a run of its own.
    Playbook(Box<SubPlaybook>),
}

/// Whether a step runs after needs that ended badly.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Only if all needs are met.
    #[default]
    Success,
    /// Only if one is not.
    Failure,
    /// Whatever happened.
    Always,
}

/// Once for each item.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ForEach {
    /// Gives the list.
    pub list: Expression,
    /// How many at once, at least 1.
    pub max_parallel: u32,
    /// Whether items go on after one failed.
    pub errors: ItemErrors,
}

/// Whether items go on after one failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemErrors {
    /// All items run.
    #[default]
    Collect,
    /// Nothing new starts.
    Stop,
}

/// Further attempts, with exponential backoff and full jitter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Retry {
    /// In all, at least 1.
    pub attempts: u32,
    /// The first wait's bound.
    pub backoff: Duration,
    /// No wait is longer.
    pub backoff_most: Duration,
}

/// What a bad end (failed, refused, denied) does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Dependents are blocked, independent branches go on.
    #[default]
    Block,
    /// Counts as met.
    Continue,
    /// Nothing new starts; `always` and `failure` steps still run.
    Halt,
    /// The same, and then all that was done is taken back.
    Undo,
}

/// How long a containment is meant to stand, and what happens then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lease {
    /// How long.
    #[serde(rename = "for")]
    pub lasts: Duration,
    /// What then.
    pub at_end: AtEnd,
}

impl Default for Lease {
    /// Of what says nothing itself.
    fn default() -> Self {
        Self { lasts: Duration::from_secs(24 * 3600), at_end: AtEnd::default() }
    }
}

/// What happens at the end of a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AtEnd {
    /// A person is asked; until then it stands.
    #[default]
    Ask,
    /// It is taken back, unless what it answered has happened again meanwhile.
    Undo,
    /// It stands, without an end.
    Keep,
}

/// A question before the act. Without one, the mode `approve` asks whoever may, for as long as [`Within`] is by itself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Approve {
    /// The approvers who may say so; none: whoever may answer.
    pub by: Option<Name>,
    /// How long is waited.
    pub within: Within,
    /// What holds when nobody has said anything: deny, or run.
    pub otherwise: Unanswered,
}

/// A question after the act: nothing waits for its answer but the run's end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Confirm {
    /// The approvers who may say so; none: whoever may answer.
    pub by: Option<Name>,
    /// How long is waited.
    pub within: Within,
    /// Whether it is taken back when nobody has said anything.
    pub undo: bool,
}

/// A question whose answer later steps go by.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AskPerson {
    /// What is asked: text that may hold expressions.
    pub question: String,
    /// The person who is asked; none: whoever may answer.
    pub person: Option<Expression>,
    /// The approvers who may answer; none: whoever may.
    pub by: Option<Name>,
    /// What can be answered.
    pub choices: Vec<Name>,
    /// How long is waited.
    pub within: Within,
    /// What holds when nobody has said anything: one of the choices.
    pub otherwise: Name,
    /// For so long an answer also answers the same question to the same person.
    pub remember: Option<Duration>,
    /// Ways by which no answer counts: the session that is suspected must not answer for itself.
    pub not_via: Vec<Name>,
}

/// What holds when nobody has answered whether a step may act.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unanswered {
    /// It is denied.
    #[default]
    Deny,
    /// It acts.
    Run,
}

/// How long a question waits for its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Within(pub Duration);

impl Default for Within {
    fn default() -> Self {
        Self(Duration::from_secs(15 * 60))
    }
}
