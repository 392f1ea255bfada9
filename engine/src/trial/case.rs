//! What a test file says: its cases, what they begin with, how the world answers, and what is expected.
//!
//! Owns the shapes. Invariant: every expectation knows where it is written.

use super::answers::Given;
use crate::load::SecretFrom;
use quell_model::playbook::{IncidentMoment, Playbook};
use quell_model::record::RunState;
use quell_model::{Json, Mistake, Mode, Name, Outcome, OwnedEvent, People, RuleRef, Stamp};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A test file.
#[derive(Debug)]
pub struct Suite {
    /// Where it was read.
    pub file: PathBuf,
    /// What it tests.
    pub playbook: Arc<Playbook>,
    /// Who is who in its cases.
    pub people: Arc<People>,
    /// Those that its steps start, and theirs.
    pub(super) others: Vec<Arc<Playbook>>,
    /// In the order of the file.
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// Line and column of it.
    pub line: (u32, u32),
    /// What the clock shows at first.
    pub(super) at: Stamp,
    /// How old the events are when they are taken in.
    pub(super) age: Duration,
    pub(super) mode: Option<Mode>,
    pub(super) start: Start,
    /// What happens later.
    pub(super) then: Vec<Later>,
    /// Instead of quell.yaml's.
    pub(super) vars: Option<Json>,
    /// By step, item of a step, or action.
    pub(super) mocks: BTreeMap<String, Mocked>,
    /// The secrets that its inputs name.
    pub(super) secrets: BTreeMap<Name, SecretFrom>,
    /// What people say.
    pub(super) answers: Vec<Given>,
    /// How long after its beginning, or its last event, the case is looked at; none: when no run is open.
    pub(super) advance: Option<Duration>,
    /// Of every run, and of how many there are.
    pub(super) expect: Vec<Expectation>,
    /// Of each run in their order, where the case says it of each.
    pub(super) each: Vec<Vec<Expectation>>,
}

/// What a case begins with.
#[derive(Debug)]
pub(super) enum Start {
    /// Events; with a rule: it is this one that matched, else the rules are asked.
    Events(Vec<OwnedEvent>, Option<RuleRef>),
    /// Inputs, by hand.
    Inputs(Json),
}

/// What happens later.
#[derive(Debug)]
pub(super) struct Later {
    /// So long after the case began.
    pub(super) after: Duration,
    pub(super) what: Happens,
}

/// See [`Later`].
#[derive(Debug)]
pub(super) enum Happens {
    /// A further event; with a rule: it is this one that matched, else the rules are asked.
    Event(Box<OwnedEvent>, Option<RuleRef>),
    /// Somebody looks after the latest incident, or ends it.
    Moment(IncidentMoment, Name),
}

/// How the world answers an attempt.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// It worked, with these outputs; none: those that the action predicts. The world is asked, or nobody can be.
    Ok { output: Option<Json>, proved: bool },
    /// It was so before: there is nothing to do.
    Already,
    /// It did not.
    Fail { why: String, for_good: bool },
    /// It does not end.
    Hang,
    /// It says that it worked, and the world says otherwise.
    Lie(String),
}

/// An answer to so many attempts; none: to all that follow.
#[derive(Clone, Debug)]
pub(super) struct Mock {
    pub(super) answer: Answer,
    pub(super) times: Option<u32>,
}

/// How the world answers what stands under one name.
#[derive(Clone, Debug)]
pub(super) struct Mocked {
    /// Where it is written: one that nothing asks for is a miss.
    pub(super) at: Mistake,
    /// Attempts to do it.
    pub(super) acts: Vec<Mock>,
    /// Attempts to take it back; none: they work.
    pub(super) undos: Vec<Mock>,
}

/// Something expected, and the mistake that it is if it does not hold.
#[derive(Debug)]
pub(super) struct Expectation {
    pub(super) at: Mistake,
    pub(super) what: Wanted,
}

/// What is expected.
#[derive(Debug)]
pub(super) enum Wanted {
    /// The run's end, or that it waits; none: no run.
    Run(Option<RunState>),
    Runs(u32),
    Outcome(String, Outcome),
    Attempts(String, u32),
    With(String, Json),
    Output(String, Json),
    Error(String, String),
    /// Their ends come in this order.
    Order(Vec<String>),
    NotRun(String),
    /// It asked somebody.
    Asked(String),
    Told(String),
    Outputs(Json),
}
