//! A night, played ahead: an incident, who is told of it when, by what and why, until somebody answers or nobody is left.
//!
//! ```text
//! what-ifs ──suppose──▶ Core, journal, simulated clock, channels that take what they are let ──records──▶ rows
//! ```
//!
//! Owns the channels of the night, and what is made of the ladder's records. Never says itself who is told or what an answer means: the
//! engine plays it, with its journal, as it would; a restart is one. Keeps true: nothing leaves this process; the same question has the
//! same answer; whoever should have been told and was not is named.

mod asked;
mod rows;
mod suppose;
#[cfg(test)]
mod tests;

pub use asked::Told;
pub use rows::{End, Outcome, Played, Row, What};
use suppose::Untaking;
pub use suppose::{Suppose, suppose};

use crate::clock::{Countdown, SimulatedClock};
use crate::escalation::Escalation;
use crate::run::pages::Post;
use crate::run::{Core, Definitions, IncidentRules, Parts, Refusal, Request};
use crate::store::{DirVault, Journal};
use jiff::Timestamp;
use quell_model::notice::{Channel, Letter, Receipt, SendError};
use quell_model::{BootId, Clock, Crew, IncidentId, LadderId, Level, Name, Sandbox, Stamp, StreamId};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

/// Real time without any progress, after which the night is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// No night is longer: policies wait for minutes and hours.
const LONGEST: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// What the boot clock shows at first.
const BOOTED_NS: u64 = 24 * 3_600 * 1_000_000_000;

/// Why a night could not be played.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Its journal.
    #[error("the journal of the simulation: {0}")]
    Journal(#[from] quell_model::StoreError),
    /// An answer that a what-if gives.
    #[error("the engine refuses what a what-if does: {0}")]
    Refused(#[from] Refusal),
    /// It does not move.
    #[error("the simulation does not go on: {0}")]
    Stands(&'static str),
}

/// A way of the night: it takes everything, or nothing.
struct Mouth {
    untaking: Option<Untaking>,
}

#[async_trait::async_trait]
impl Channel for Mouth {
    async fn send(&self, _: &Letter) -> Result<Receipt, SendError> {
        match self.untaking {
            Some(Untaking::Down) => Err(SendError::Later { why: "it is down (what-if)".to_owned(), after: None }),
            Some(Untaking::Refuses) => Err(SendError::Never { why: "it refuses (what-if)".to_owned() }),
            None => Ok(Receipt::Handed { reference: None }),
        }
    }
}

/// Plays a night in a directory of its own, which has to be empty.
///
/// # Errors
/// See [`Trouble`].
pub fn play(
    escalation: &Escalation,
    told: &Told,
    at: Timestamp,
    supposed: &[Suppose],
    (dir, runtime): (&Path, &tokio::runtime::Handle),
) -> Result<Played, Trouble> {
    let mut night = Night::new(escalation, told, at, supposed, (dir, runtime))?;
    let played = night.play(supposed);
    let Night { core, journal, incident, .. } = night;
    let stream = StreamId::ladder(&LadderId::incident(&incident));
    let records = played.and_then(|marks| Ok((marks, journal.read(&stream, 1)?)));
    drop(core);
    journal.close();
    let (marks, records) = records?;
    Ok(rows::played(escalation.channels.console, &records, marks))
}

struct Night<'a> {
    core: Core<Sandbox>,
    journal: Journal,
    clock: Arc<SimulatedClock>,
    woken: mpsc::Receiver<()>,
    incident: IncidentId,
    began: Stamp,
    definitions: Definitions,
    place: (&'a Path, &'a tokio::runtime::Handle),
}

impl<'a> Night<'a> {
    fn new(
        escalation: &Escalation,
        told: &Told,
        at: Timestamp,
        supposed: &[Suppose],
        place: (&'a Path, &'a tokio::runtime::Handle),
    ) -> Result<Self, Trouble> {
        let began = Stamp { wall: at, boot_ns: BOOTED_NS };
        let clock = Arc::new(SimulatedClock::new(began));
        let untaking: BTreeMap<&Name, Untaking> = supposed.iter().filter_map(Suppose::untaking).collect();
        let mouth = |name: Name| {
            let untaking = untaking.get(&name).copied();
            (name, Arc::new(Mouth { untaking }) as Arc<dyn Channel>)
        };
        let channels: BTreeMap<Name, Arc<dyn Channel>> =
            suppose::channels(escalation).into_iter().chain(["console".into()]).map(mouth).collect();
        let definitions = Definitions {
            people: Arc::new(escalation.people.clone()),
            escalation: Some(Arc::new(escalation.clone())),
            post: Post::new(channels),
            incidents: IncidentRules { min_level: Level::Informational, ..IncidentRules::default() },
            ..Definitions::default()
        };
        let journal = Journal::open(place.0)?;
        let (core, woken) = engine(&journal, &clock, &definitions, place)?;
        let mut night = Self { core, journal, clock, woken, incident: "none".into(), began, definitions, place };
        night.core.detections([told.detection(began)]);
        night.incident = night.core.only_incident().ok_or(Trouble::Stands("no incident was opened"))?;
        Ok(night)
    }

    /// Plays it to its end; gives the moments of what the what-ifs did.
    fn play(&mut self, supposed: &[Suppose]) -> Result<Vec<(Stamp, What)>, Trouble> {
        let mut marks = Vec::new();
        let mut later: Vec<(Stamp, &Suppose)> =
            supposed.iter().filter_map(|one| Some((self.began.after(one.after()?), one))).collect();
        later.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        loop {
            self.settle()?;
            let supposed = later.last().map(|(at, _)| *at);
            let now = self.clock.now();
            if now.since(self.began) > LONGEST || self.core.tells_nobody_more() && supposed.is_none() {
                return Ok(marks);
            }
            let next = self.core.next_moment().into_iter().chain(supposed).min();
            let at = next.ok_or(Trouble::Stands("it waits for nothing"))?;
            self.clock.set(at);
            // What is due at a moment comes before what is supposed of it.
            self.settle()?;
            if let Some((_, suppose)) = later.pop_if(|(then, _)| *then == at) {
                let what = self.happens(suppose)?;
                marks.push((self.clock.now(), what));
            }
        }
    }

    fn happens(&mut self, suppose: &Suppose) -> Result<What, Trouble> {
        if let Suppose::Acks(by, _) = suppose {
            let (incident, via, why) = (self.incident.clone(), Name::from("what-if"), String::new());
            let ack = Request::Acknowledge { incident, acknowledged: true, why, by: by.clone(), via, generation: None };
            self.core.person_asks(ack)?;
            return Ok(What::Answers { by: by.clone() });
        }
        // Whatever the engine knew and had not written is gone.
        self.journal.clone().close();
        self.journal = Journal::open(self.place.0)?;
        (self.core, self.woken) = engine(&self.journal, &self.clock, &self.definitions, self.place)?;
        Ok(What::Restarts)
    }

    /// Lets everybody work until nobody is at anything.
    fn settle(&mut self) -> Result<(), Trouble> {
        let patience = Countdown::of(PATIENCE);
        loop {
            self.core.turn();
            let is_due = self.core.next_moment().is_some_and(|next| next <= self.clock.now());
            if self.core.pages_under_way() == 0 && self.core.is_idle() && self.core.is_settled() && !is_due {
                return Ok(());
            }
            if patience.left().is_zero() {
                return Err(Trouble::Stands("a page was neither taken nor refused"));
            }
            // Woken, or time to look again.
            let _woken_or_late = self.woken.recv_timeout(Duration::from_millis(1));
        }
    }
}

/// An engine on what stands in this journal.
fn engine(
    journal: &Journal,
    clock: &Arc<SimulatedClock>,
    definitions: &Definitions,
    (dir, runtime): (&Path, &tokio::runtime::Handle),
) -> Result<(Core<Sandbox>, mpsc::Receiver<()>), Trouble> {
    let (bell, woken) = mpsc::sync_channel(1);
    let bell = Mutex::new(bell);
    // One ring that waits is enough.
    let wake: Arc<dyn Fn() + Send + Sync> =
        Arc::new(move || bell.lock().unwrap_or_else(PoisonError::into_inner).try_send(()).unwrap_or_default());
    let parts = Parts {
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        journal: journal.clone(),
        vault: Arc::new(DirVault::new(dir)),
        crew: Crew::new(Vec::new()),
        runtime: runtime.clone(),
        wake,
        node: "simulation".into(),
        boot: BootId("simulation".into()),
    };
    let mut core = Core::new(parts, definitions.clone());
    core.recover(Arc::new(|_, _| None))?;
    Ok((core, woken))
}
