//! The journal's records: what happened, in the past tense, versioned, append-only.
//!
//! Owns the shapes of the bodies; the store numbers and chains them. A kind is never changed, only joined by others;
//! a golden test pins the text.

use crate::Json;
use crate::action::Plan;
use crate::event::Class;
use crate::hash::Hash;
use crate::ids::{IncidentId, Name, RunId, Seq, StepId};
use crate::mode::Mode;
use crate::outcome::Outcome;
use crate::process::BootId;
use crate::time::Stamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

mod by_hand;
mod detection;
mod exception;
mod incident;
mod ladder;
mod lease;
mod prune;
mod question;
mod redact;
mod reflex;
mod seal;
mod silence;
pub mod source;
mod starts;
pub mod stored;
mod sub;
pub use by_hand::{BreakerChanged, ModeChanged, PauseChanged, PersonActed, RunReopened};
pub use detection::{Decided, DetectionAccepted, DetectionHeld, DetectionJoined, MomentDecided, TriggerDecision};
pub use exception::{ExceptionDrafted, NotExcepted};
pub use incident::{
    AcknowledgementChanged, IncidentChanged, IncidentJoined, IncidentOpened, IncidentState, NoteAdded, RecorderPinned,
    Verdict,
};
pub use ladder::{
    Carried, LadderChange, LadderChanged, LadderClosed, LadderEnded, LadderMoved, LadderRouted, LadderStarted, Nobody,
    PageReceipted, PageState, Place, Queued,
};
pub use lease::{LeaseChanged, LeaseGranted, Owner, UndoBegan, UndoFailed, UndoFinished, UndoIntended};
pub use prune::{PrunedStream, StreamPruned};
pub use question::{
    AnswerRefused, AnswerRemembered, AnswerTooLate, Intended, QuestionAnswered, QuestionAsked, QuestionKind,
};
pub use redact::StreamRedacted;
pub use reflex::{ReflexFired, Struck};
pub use seal::{HeadsSealed, SealedHead};
pub use silence::{Covers, LadderSilenced, SilenceAdded, SilenceEnded};
pub use source::SourceAdvanced;
pub use starts::{IncidentCame, PlaybookSeen, ScheduleMissed, ScheduleSet};
pub use stored::{Content, NewRecord, Stored, StoredAs};
pub use sub::{ParentRun, SubRunStarted};

/// The version that new records carry.
pub const RECORD_VERSION: u16 = 1;

macro_rules! bodies {
    ($($(#[$doc:meta])* $kind:ident),+ $(,)?) => {
        /// What a record says.
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
        #[serde(tag = "kind", content = "body")]
        pub enum Body {
            $($(#[$doc])* $kind(Box<$kind>),)+
        }

        /// The kind of a record.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema)]
        pub enum Kind {
            $($(#[$doc])* $kind,)+
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)+];

            /// The word in the journal.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$kind => stringify!($kind),)+ }
            }
        }

        impl Body {
            /// Its kind.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind,)+ }
            }

            /// Writes its JSON without the tag.
            ///
            /// # Errors
            /// As `serde_json` does: a map with keys that are no texts.
            pub fn write_json(&self, into: &mut Vec<u8>) -> serde_json::Result<()> {
                match self { $(Self::$kind(body) => serde_json::to_writer(into, body),)+ }
            }
        }

        $(impl From<$kind> for Body {
            fn from(body: $kind) -> Self {
                Self::$kind(Box::new(body))
            }
        })+
    };
}

bodies! {
    /// An engine took the directory.
    EngineStarted,
    /// A playbook's text, kept for the runs that began with it.
    DefinitionPinned,
    /// A detection was taken in, and what every playbook decided about it.
    DetectionAccepted,
    /// A playbook wanted a detection and something held it back.
    DetectionHeld,
    /// Events were lost.
    LossSeen,
    /// A run began.
    RunStarted,
    /// A step was planned and, in observe mode, left at that.
    StepPlanned,
    /// A step is about to act.
    StepIntended,
    /// A mark of an action that takes long.
    StepProgressed,
    /// A step ended with an outcome of its own.
    StepFinished,
    /// An attempt failed.
    StepFailed,
    /// A step's `if` was false.
    StepSkipped,
    /// A step's need failed, or the run ended before it.
    StepBlocked,
    /// A guard said no.
    GuardRefused,
    /// A moment was set.
    TimerSet,
    /// It came.
    TimerFired,
    /// A person did something.
    PersonActed,
    /// A run ended.
    RunFinished,
    /// An incident began.
    IncidentOpened,
    /// A detection or a run joined an incident.
    IncidentJoined,
    /// An incident's state changed.
    IncidentChanged,
    /// A line for the timeline.
    NoteAdded,
    /// Every action was stopped, or let go on.
    PauseChanged,
    /// The breaker opened or closed for a playbook.
    BreakerChanged,
    /// What surrounds an incident was kept out of the recorder's ring, or let go.
    RecorderPinned,
    /// What was entered in the kernel struck, or stopped striking.
    ReflexFired,
    /// A containment stands for longer, stands anew, or stands no longer.
    LeaseChanged,
    /// A containment stands, and has an end.
    LeaseGranted,
    /// What a run did is to be taken back.
    UndoBegan,
    /// A step is about to be taken back.
    UndoIntended,
    /// An attempt to take a step back failed.
    UndoFailed,
    /// A step was taken back, or could not be.
    UndoFinished,
    /// The records of streams that were over were taken away for their age.
    StreamPruned,
    /// A person was asked.
    QuestionAsked,
    /// They answered, or nobody did in time.
    QuestionAnswered,
    /// They answered when it was over.
    AnswerTooLate,
    /// A playbook's schedule came into force, or went.
    ScheduleSet,
    /// Moments of a schedule passed without a run.
    ScheduleMissed,
    /// A run that had ended goes on: what had not ended well is done again.
    RunReopened,
    /// A text of a playbook was loaded that had not been here before.
    PlaybookSeen,
    /// A step starts a run of another playbook.
    SubRunStarted,
    /// An answer also answers the same question for a while.
    AnswerRemembered,
    /// Somebody looks after an incident, or no longer.
    AcknowledgementChanged,
    /// A person let a playbook go so far, and no further.
    ModeChanged,
    /// An incident came to a moment, and what every playbook decided that waits for moments of incidents.
    MomentDecided,
    /// An exception to the rules of a false positive was written, for a person to commit.
    ExceptionDrafted,
    /// A detection joined an open run.
    DetectionJoined,
    /// A person's answer came by a way that does not count.
    AnswerRefused,
    /// Where the streams stood: what ties them together.
    HeadsSealed,
    /// A source was read so far.
    SourceAdvanced,
    /// What a record said was taken away, and the record stayed.
    StreamRedacted,
    /// Somebody is to be told of an incident.
    LadderStarted,
    /// By which policy.
    LadderRouted,
    /// A step of it came, with the pages that go out by it.
    LadderMoved,
    /// A channel took a page, or did not.
    PageReceipted,
    /// Somebody, or something, made it wait, begin again or go on.
    LadderChanged,
    /// Nobody is to be told any more, but those who were that it is over.
    LadderEnded,
    /// They were.
    LadderClosed,
    /// It waits for the end of a silence, or no longer.
    LadderSilenced,
    /// Of some incidents nobody is told for a while.
    SilenceAdded,
    /// Its time was up, or somebody ended it.
    SilenceEnded,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record as it stands in the journal.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The version of its shape.
    pub v: u16,
    /// Its number in its stream, from 1.
    pub seq: Seq,
    /// The chained sum of the record before it; all zeros for the first.
    pub prev: Hash,
    /// When it happened.
    pub at: Stamp,
    /// 16 random bytes in hex, so that a body can be redacted and not be guessed from its sum; empty: it was.
    pub salt: String,
    /// What it says.
    #[serde(flatten)]
    pub body: Body,
}

/// See [`Kind::EngineStarted`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct EngineStarted {
    /// quell's version.
    pub version: String,
    /// Which boot.
    pub boot: BootId,
    /// Its pid.
    pub pid: u32,
    /// Its ceiling.
    pub mode: Mode,
    /// The version of the time zones by which it says who is on call, as IANA counts them: `2026f`; none: the quell of then did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tzdb: Option<String>,
}

/// See [`Kind::DefinitionPinned`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DefinitionPinned {
    /// Which playbook.
    pub playbook: Name,
    /// The sum of the text.
    pub hash: Hash,
    /// Where it was read.
    pub file: String,
    /// The text as it was read.
    pub text: String,
}

/// See [`Kind::LossSeen`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LossSeen {
    /// Events of which class; none: any.
    pub class: Option<Class>,
    /// How many.
    pub count: u64,
    /// Whose, where known; 0: of several that could not be told apart.
    pub cgroup: Option<u64>,
    /// That cgroup's path, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Name>,
    /// When the first of them was told; none: when the record was made, which is when the last was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Stamp>,
    /// Where and why.
    pub why: String,
}

/// See [`Kind::RunStarted`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RunStarted {
    /// Which run.
    pub run: RunId,
    /// Which playbook.
    pub playbook: Name,
    /// The sum of the pinned text.
    pub definition: Hash,
    /// How far it may go.
    pub mode: Mode,
    /// What made the mode what it is, for people.
    pub mode_because: String,
    /// The incident it belongs to.
    pub incident: Option<IncidentId>,
    /// The value of `run_per`.
    pub per: String,
    /// `event` in expressions; null for a manual start with inputs only.
    pub event: Json,
    /// `detection` in expressions.
    pub detection: Json,
    /// `inputs` in expressions.
    pub inputs: Json,
    /// `vars` in expressions.
    pub vars: Json,
    /// The source of the event is one that anybody can write.
    pub untrusted: bool,
    /// What started it is of what a source held before it was first followed: the run acts on nothing and asks nobody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backfill: bool,
    /// Who started it by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Name>,
    /// The run whose step started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentRun>,
    /// The moment of its incident that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came: Option<Box<IncidentCame>>,
    /// The kernel's and the sensor's moments of the event.
    pub moments: Moments,
}

/// The five moments of a step, where they exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Moments {
    /// The kernel saw the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Stamp>,
    /// The sensor had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Stamp>,
    /// The trigger had decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Stamp>,
    /// The act began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Stamp>,
    /// The world had answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Stamp>,
}

/// Which part of a step: an item of its `for_each`, or the whole.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema)]
pub struct Part {
    /// Which step.
    pub step: StepId,
    /// Which item, from 0; none without `for_each`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
}

impl Part {
    /// Whether `other` is this, or an item of this.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.step == other.step && (self.item.is_none() || self.item == other.item)
    }
}

/// `step`, or `step[3]` for an item.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.item {
            None => write!(f, "{}", self.step),
            Some(item) => write!(f, "{}[{item}]", self.step),
        }
    }
}

/// See [`Kind::StepPlanned`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StepPlanned {
    /// Which part.
    pub part: Part,
    /// Which action.
    pub action: Name,
    /// With what.
    pub input: Json,
    /// What it would do.
    pub plan: Plan,
    /// Why it is left at that, for people.
    pub because: String,
    /// How it ended: `planned`, or `already`.
    pub outcome: Outcome,
}

/// See [`Kind::StepIntended`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StepIntended {
    /// Which part.
    pub part: Part,
    /// From 1.
    pub attempt: u32,
    /// Which action.
    pub action: Name,
    /// With what.
    pub input: Json,
    /// What will be done, `before` included.
    pub plan: Plan,
}

/// See [`Kind::StepProgressed`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StepProgressed {
    /// Which part.
    pub part: Part,
    /// The action's own mark.
    pub mark: Json,
}

/// See [`Kind::StepFinished`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StepFinished {
    /// Which part; a step with `for_each` finishes as a whole after its items.
    pub part: Part,
    /// Which action; none for scripts and messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Name>,
    /// How.
    pub outcome: Outcome,
    /// What it gives to later steps.
    pub output: Json,
    /// The proof, or why there is none, for people.
    pub proof: String,
    /// From 1; 0 when nothing was tried.
    pub attempts: u32,
    /// The moments.
    pub moments: Moments,
}

/// See [`Kind::StepFailed`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StepFailed {
    /// Which part.
    pub part: Part,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Why.
    pub error: String,
    /// What would make it work.
    pub hint: Option<String>,
    /// The next attempt's moment; none: this was the last.
    pub again_at: Option<Stamp>,
    /// It may have happened all the same: nobody has seen its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
}

/// See [`Kind::StepSkipped`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StepSkipped {
    /// Which step.
    pub step: StepId,
    /// Why, for people.
    pub why: String,
}

/// See [`Kind::StepBlocked`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StepBlocked {
    /// Which step.
    pub step: StepId,
    /// The need that is in the way; none when the run halted or was cancelled.
    pub by: Option<StepId>,
    /// `blocked` or `cancelled`.
    pub outcome: Outcome,
}

/// See [`Kind::GuardRefused`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct GuardRefused {
    /// Which part.
    pub part: Part,
    /// Which action.
    pub action: Name,
    /// Which guard.
    pub guard: Name,
    /// What it protects, for people.
    pub target: String,
    /// Why.
    pub why: String,
}

/// See [`Kind::TimerSet`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TimerSet {
    /// Which part waits.
    pub part: Part,
    /// What for: `wait`, of a step that waits.
    pub what: Name,
    /// Until when.
    pub until: Stamp,
}

/// See [`Kind::TimerFired`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TimerFired {
    /// Which part waited.
    pub part: Part,
    /// What for.
    pub what: Name,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Steps are running.
    Running,
    /// It waits for something named.
    Waiting,
    /// Every step without `on_failure: continue` ended well.
    Succeeded,
    /// One did not.
    Failed,
    /// A person ended it.
    Cancelled,
    /// What it did is being taken back.
    Undoing,
    /// Nothing that it did stands any more.
    Undone,
    /// Something that it did could not be taken back.
    Stuck,
}

impl RunState {
    /// The word as people read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
            Self::Stuck => "stuck",
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Running | Self::Waiting | Self::Undoing)
    }
}

/// See [`Kind::RunFinished`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RunFinished {
    /// How.
    pub state: RunState,
    /// The playbook's `outputs`.
    pub outputs: Json,
    /// For people: which step failed and why.
    pub summary: String,
}
