//! Policies and routes: who is told in which order, and which policy an incident goes by.

use quell_model::{Level, Name};
use std::collections::BTreeMap;
use std::time::Duration;

/// Whom one is told to reach.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Target {
    /// Whoever a schedule has when the step comes.
    Schedule(Name),
    /// This person.
    Person(Name),
    /// Whoever reads this channel: `slack`, `console` or a webhook's name.
    Channel(Name),
}

/// By which way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum By {
    /// A message in Slack.
    Slack,
    /// A mail.
    Email,
    /// The person's own webhook, which wakes them.
    Wake,
    /// A line on the terminal of the daemon.
    Console,
}

impl By {
    /// All of them, with their words in files.
    pub const ALL: [(&'static str, Self); 4] =
        [("slack", Self::Slack), ("email", Self::Email), ("wake", Self::Wake), ("console", Self::Console)];
}

/// Whose acknowledgement ends a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ack {
    /// Anybody's.
    #[default]
    Any,
    /// Everybody's who was told.
    Each,
    /// So many people's, at least 1.
    Count(u32),
}

/// One step of a policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Whom.
    pub notify: Vec<Target>,
    /// By which ways; empty: by every way the person has.
    pub by: Vec<By>,
    /// How long it waits for an answer before the next step.
    pub wait: Duration,
    /// Whose answer ends it.
    pub ack: Ack,
}

/// What differs at a level.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AtLevel {
    /// Every step's `wait`.
    pub wait: Option<Duration>,
}

/// Who is told in which order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// One after the other.
    pub steps: Vec<Step>,
    /// How often the steps begin again after their last.
    pub repeat: u32,
    /// An acknowledged incident that nobody moves for so long is raised again; none: never.
    pub ack_timeout: Option<Duration>,
    /// Who is told when all of it came to nothing; never empty.
    pub last_resort: Vec<Target>,
    /// What differs at a level.
    pub severity: BTreeMap<Level, AtLevel>,
}

/// How long quell's own policy waits before its last resort.
const OWN_WAIT: Duration = Duration::from_secs(30 * 60);

impl Policy {
    /// quell's own: what it tells is printed on the terminal of the daemon, and printed again.
    #[must_use]
    pub fn on_the_terminal() -> Self {
        let console = || vec![Target::Channel("console".into())];
        let step = Step { notify: console(), by: Vec::new(), wait: OWN_WAIT, ack: Ack::Any };
        Self { steps: vec![step], repeat: 0, ack_timeout: None, last_resort: console(), severity: BTreeMap::new() }
    }
}

/// Which policy an incident goes by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// An expression over `incident`, without `${{ }}`; none: every incident.
    pub when: Option<String>,
    /// The policy's name.
    pub policy: Name,
}
