//! quell-model: the shapes that every part of quell shares, and the guard.
//!
//! Owns types and traits; does no I/O, reads no clock and starts no task. Whoever depends on this crate can be
//! built and tested without a kernel, a cluster or a cloud.
//!
//! ```text
//! Event ──▶ Detection ──▶ (trigger) ──▶ Plan ──guard──▶ Admitted ──▶ Action::run ──▶ Outcome
//!                                                                      every step a Record
//! ```

pub mod action;
pub mod cut;
pub mod detection;
pub mod doom;
pub mod event;
pub mod event_id;
pub mod evidence;
pub mod fields;
pub mod guard;
pub mod hash;
pub mod hosts;
pub mod ids;
pub mod mistake;
pub mod mode;
pub mod notice;
pub mod origin;
pub mod outcome;
pub mod people;
pub mod playbook;
pub mod pods;
pub mod process;
pub mod record;
pub mod reflex;
pub mod secret;
pub mod seeded;
pub mod store;
pub mod time;
pub mod told;
pub mod unseen;
pub mod world;

/// Any JSON value: inputs and outputs of actions, bodies of records.
pub type Json = serde_json::Value;

pub use action::{
    Action, ActionContext, ActionError, ActionSpec, Guarantee, IdempotencyKey, Lane, Look, Plan, Progress, Stop,
    Target, TargetFacts, Truth, Want,
};
pub use cut::{Cut, CutDevices, CutDropped, CutOpen, CutRule, CutSockets, CutStanding, CutTerms, Net};
pub use detection::{Detection, Level, RuleRef};
pub use doom::{Below, Doom};
pub use event::{Class, Entity, Event, EventHead, Field, LogSource, OwnedEvent, Subject};
pub use event_id::{EventId, EventIdParts};
pub use evidence::Evidence;
pub use guard::{Admitted, Decision};
pub use hash::Hash;
pub use ids::{IncidentId, LadderId, Name, OfLadder, RunId, Seq, StepId, StreamId};
pub use mistake::{Mistake, MistakeLevel, Span};
pub use mode::Mode;
pub use origin::Origin;
pub use outcome::Outcome;
pub use people::{Approvers, People, Person};
pub use pods::{InPod, Pod, PodContainer, PodPlace, Pods, PodsView};
pub use process::{BootId, ProcessId, TICK_NS};
pub use record::{Body, Kind, NewRecord, Record};
pub use reflex::{Around, Image, Reflex, Spot, Standing, Terms, reflex_id};
pub use secret::{Secret, SecretRef, Secrets};
pub use store::{Appended, Batch, BlobHash, Durability, Store, StoreError};
pub use time::{Clock, Stamp};
pub use told::{Gather, Teller, Token, Told};
pub use world::{Crew, Live, Replay, Sandbox};
