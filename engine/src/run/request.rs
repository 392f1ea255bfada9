//! What people ask of a running engine, and the handle through which they do.
//!
//! Owns the questions and the way to the engine's thread. The answers are made there, so that state has one owner.

use super::job::Input;
use super::question::AnswerGiven;
use quell_model::record::{ExceptionDrafted, HeadsSealed, RecorderPinned, StreamPruned};
use quell_model::{Hash, IncidentId, Json, LadderId, Mode, Name, Origin, RunId, StepId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// By which way somebody says what they want, and from where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Way {
    /// As `not_via` of a question names it.
    pub via: Name,
    /// Where on this host they stand, where that is known.
    pub from: Option<Box<Origin>>,
}

/// Whether somebody still may what they want: asked at the act, since roles may have been read anew since they came.
#[derive(Clone)]
pub struct May(Arc<dyn Fn() -> Result<(), String> + Send + Sync>);

impl May {
    /// By this, which is asked on the engine's thread and waits for nothing; else why they may not.
    pub fn by(asks: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(asks))
    }

    pub(super) fn ask(&self) -> Result<(), Refusal> {
        (self.0)().map_err(Refusal::Denied)
    }
}

impl std::fmt::Debug for May {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("May")
    }
}

/// An answer from a message that a ladder has sent.
#[derive(Debug)]
pub struct Pressed {
    /// Which ladder's.
    pub ladder: LadderId,
    /// The generation that the message named.
    pub generation: u32,
    /// The sum of the link that was followed, which does each thing once; none: it was no link.
    pub link: Option<Hash>,
    /// Who.
    pub by: Name,
    /// Which way.
    pub via: Name,
    /// What is to be done, in their name.
    pub wants: Request,
}

/// An answer from a message that had no effect, because of who gave it.
#[derive(Clone, Debug)]
pub struct Turned {
    /// Which ladder's.
    pub ladder: LadderId,
    /// The generation that the message named.
    pub generation: u32,
    /// Who, as far as that is known.
    pub by: Name,
    /// Which way.
    pub via: Name,
    /// What they wanted.
    pub act: Name,
    /// Why they may not.
    pub why: String,
}

/// Something that a person wants.
#[derive(Debug)]
pub enum Request {
    /// How does it stand?
    Status,
    /// The same in figures, with all that was counted: into this.
    Measure(oneshot::Sender<Box<super::measure::Measured>>),
    /// Start a playbook by hand.
    Start {
        /// Which.
        playbook: Name,
        /// `event` in its expressions, if one.
        event: Option<Box<quell_model::OwnedEvent>>,
        /// Its inputs.
        inputs: Json,
        /// Stricter than its own, if set.
        mode: Option<Mode>,
        /// Who.
        by: Name,
    },
    /// End a run: nothing new starts.
    Cancel {
        /// Which.
        run: RunId,
        /// Who.
        by: Name,
    },
    /// A run that has ended goes on: what did not end well is done again.
    Retry {
        /// Which.
        run: RunId,
        /// From this step on; none: what did not end well.
        from: Option<StepId>,
        /// Who.
        by: Name,
        /// Why.
        why: String,
    },
    /// Leave a step out that has not ended.
    Skip {
        /// Of which run.
        run: RunId,
        /// Which.
        step: StepId,
        /// Who.
        by: Name,
        /// Why.
        why: String,
    },
    /// Write down where the streams stand.
    Seal(Box<HeadsSealed>),
    /// Let streams go that are over, but for those that are worked with by now. The answer is the record as it was written.
    Prune(Box<StreamPruned>),
    /// Which runs do not move, and why.
    Stuck,
    /// How do the breakers stand?
    Breakers,
    /// Open the breaker of a playbook, or close it.
    Breaker {
        /// Of which.
        playbook: Name,
        /// Open, or close.
        open: bool,
        /// Who.
        by: Name,
        /// Why.
        why: String,
    },
    /// How does the mode of a playbook stand, and what makes it so?
    ModeStands(Name),
    /// Let a playbook go so far.
    SetMode {
        /// Which.
        playbook: Name,
        /// How far.
        to: Mode,
        /// The text that is meant; none: whichever is loaded.
        definition: Option<Hash>,
        /// Who.
        by: Name,
        /// Why.
        why: String,
    },
    /// Take back what a run did.
    Undo {
        /// Which.
        run: RunId,
        /// Only this step; none: all.
        step: Option<StepId>,
        /// Who.
        by: Name,
        /// Which way: it may answer a question.
        way: Way,
        /// Why.
        why: String,
    },
    /// Take back all that the runs of an incident did.
    UndoIncident {
        /// Which.
        incident: IncidentId,
        /// Who.
        by: Name,
        /// Which way: it may answer questions.
        way: Way,
        /// Why.
        why: String,
    },
    /// What a run contained is to stand for longer.
    Keep {
        /// Which.
        run: RunId,
        /// Only what this step contained; none: all.
        step: Option<StepId>,
        /// From now; none: without an end.
        lasts: Option<Duration>,
        /// Who.
        by: Name,
        /// Which way: it may answer a question.
        way: Way,
    },
    /// What the runs of an incident contained is to stand for longer.
    KeepIncident {
        /// Which.
        incident: IncidentId,
        /// From now; none: without an end.
        lasts: Option<Duration>,
        /// Who.
        by: Name,
        /// Which way: it may answer questions.
        way: Way,
    },
    /// A question is answered.
    Answer(Box<AnswerGiven>),
    /// Stop every action, or let them go on.
    Pause {
        /// Stop, or go on.
        paused: bool,
        /// Who.
        by: Name,
    },
    /// A line for the timeline.
    Note {
        /// Of which incident.
        incident: IncidentId,
        /// The line.
        text: String,
        /// Who.
        by: Name,
    },
    /// Somebody looks after an incident, or no longer.
    Acknowledge {
        /// Which.
        incident: IncidentId,
        /// Looks after it, or no longer.
        acknowledged: bool,
        /// Why.
        why: String,
        /// Who.
        by: Name,
        /// Which way they say it.
        via: Name,
        /// The generation that the message which they answer named; none: they mean how it stands.
        generation: Option<u32>,
    },
    /// Whoever is next is to be told of an incident at once.
    Escalate {
        /// Which.
        incident: IncidentId,
        /// Why.
        why: String,
        /// Who.
        by: Name,
        /// Which way they say it.
        via: Name,
    },
    /// Somebody answers a message: what they want holds as long as nothing has changed since it was written.
    Press(Box<Pressed>),
    /// What somebody wants, if they still may when its turn comes.
    IfMay {
        /// May they?
        may: May,
        /// What.
        wants: Box<Request>,
    },
    /// Of some incidents nobody is to be told for a while.
    Silence {
        /// Of which, for how long, and why.
        wanted: Box<super::ladder::Wanted>,
        /// Who.
        by: Name,
        /// Which way they say it.
        via: Name,
    },
    /// A silence ends before its time.
    EndSilence {
        /// Which.
        silence: Name,
        /// Who.
        by: Name,
        /// Which way they say it.
        via: Name,
    },
    /// Which silences stand, and what do they hold back?
    Silences,
    /// Somebody answered a message who may not: nothing is done, and it is kept that they tried.
    TurnedAway(Box<Turned>),
    /// What would a message of a ladder that is not closed say now? Changes nothing, and reads nothing from the journal.
    Notice {
        /// Which ladder's.
        ladder: LadderId,
        /// The sum of the link by which they look; none: it is no link.
        link: Option<Hash>,
    },
    /// An incident is over.
    Resolve {
        /// Which.
        incident: IncidentId,
        /// Why.
        why: String,
        /// Who.
        by: Name,
        /// Which way they say it.
        via: Name,
    },
    /// An incident was no attack: what was done about it is taken back, and it is over.
    FalsePositive {
        /// Which.
        incident: IncidentId,
        /// Why it was none.
        reason: String,
        /// Who.
        by: Name,
        /// Which way: it may answer questions.
        way: Way,
        /// The exception that was written to its rules, if one could be.
        exception: Option<Box<ExceptionDrafted>>,
    },
    /// It is not over after all.
    Reopen {
        /// Which.
        incident: IncidentId,
        /// Why.
        why: String,
        /// Who.
        by: Name,
        /// Which way they say it.
        via: Name,
    },
    /// What surrounds an incident was kept, or let go.
    Pinned {
        /// Of which incident.
        incident: IncidentId,
        /// What.
        pinned: Box<RecorderPinned>,
        /// It is the last word: also say in the incident what was dropped meanwhile.
        last: bool,
    },
    /// What was entered in the kernel struck.
    Reflex {
        /// Each entry that did.
        fired: Vec<quell_model::record::ReflexFired>,
    },
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such thing.
    #[error("there is no {kind} `{id}`")]
    NotFound {
        /// run, incident, playbook.
        kind: &'static str,
        /// As asked for.
        id: String,
    },
    /// It cannot be done as things stand.
    #[error("{0}")]
    NotNow(String),
    /// Not by this person, or not this way.
    #[error("{0}")]
    Denied(String),
    /// The request itself is wrong.
    #[error("{0}")]
    Wrong(String),
    /// Nobody has heard in time what came of it: it may have been done, and may still be.
    #[error("{0}")]
    Late(String),
    /// The engine has ended.
    #[error("the engine has ended")]
    Gone,
}

/// Bound of the engine's inbox: a thousand answers are waiting only when the engine's thread has stood still for
/// seconds; whoever sends then waits.
pub(super) const INBOX: usize = 1024;

/// The way to a running engine; cheap to clone.
#[derive(Clone)]
pub struct EngineHandle {
    pub(super) inbox: mpsc::Sender<Input>,
    pub(super) wake: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for EngineHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EngineHandle")
    }
}

impl EngineHandle {
    /// Asks, and waits for the answer. Cancel-safe: a request that was sent is done all the same.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn request(&self, request: Request) -> Result<Json, Refusal> {
        self.sent(request).await?.await
    }

    /// Asks, and gives what waits for the answer. Cancel-safe: as long as this has not returned, nothing was asked.
    ///
    /// # Errors
    /// [`Refusal::Gone`].
    pub async fn sent(
        &self,
        request: Request,
    ) -> Result<impl Future<Output = Result<Json, Refusal>> + Send + use<>, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.inbox.send(Input::Request(request, answer)).await.map_err(|_| Refusal::Gone)?;
        (self.wake)();
        Ok(async move { answered.await.map_err(|_| Refusal::Gone)? })
    }

    /// What waits in the inbox, and what it holds.
    pub(super) fn waiting(&self) -> (u64, u64) {
        let whole = self.inbox.max_capacity();
        ((whole - self.inbox.capacity()) as u64, whole as u64)
    }

    /// Sends without ever waiting: what finds no room goes on beside.
    pub(super) fn send_beside(&self, runtime: &tokio::runtime::Handle, input: Input) {
        match self.inbox.try_send(input) {
            Ok(()) => (self.wake)(),
            Err(mpsc::error::TrySendError::Full(input)) => {
                let home = self.clone();
                drop(runtime.spawn(async move { home.send(input).await }));
            }
            // The engine has ended.
            Err(mpsc::error::TrySendError::Closed(_)) => {}
        }
    }

    pub(super) async fn send(&self, input: Input) {
        if self.inbox.send(input).await.is_ok() {
            (self.wake)();
        }
    }
}
