//! The ladder: which step of a policy comes when, until somebody acknowledges.
//!
//! ```text
//!            ┌───────────── generation + 1: unacknowledged, a higher level, nobody moved it ─────────────┐
//!            ▼                                                                                           │
//!        climbing ── step, step, … ── again, `repeat` times ── last resort ──▶ exhausted, and stays so   │
//!            └──────────────────────────── acknowledged ─────────────────────────────────────────────────┘
//! ```
//!
//! Owns what is due, and what an answer means. Pure: what happened is applied, [`Ladder::next`] says what comes then. Never
//! says who is reached, never sends, reads no clock. Keeps true: an acknowledged ladder tells nobody; one that nobody
//! acknowledges reaches its last resort; an answer to an earlier generation changes nothing; what has ended begins never again;
//! who sends a ladder up passes nobody over: whom no step on the way has told is told with those at its end.

use super::policy::{Ack, Policy};
use quell_model::record::Place;
use quell_model::{Level, Name, Stamp};
use std::collections::BTreeSet;
use std::time::Duration;

/// How it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It tells one after the other.
    Climbing,
    /// Somebody looks after it.
    Acknowledged {
        /// Who.
        by: Name,
        /// When it is raised again if nobody moves it; none: never.
        until: Option<Stamp>,
    },
    /// The last resort was told, and has not answered. It stays red.
    Exhausted,
    /// What it was about is over.
    Ended,
}

/// What comes now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Move {
    /// Which generation it belongs to.
    pub generation: u32,
    /// Where to.
    pub to: Place,
    /// Why, for people.
    pub because: String,
}

/// Whom a move has told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// The people.
    pub people: BTreeSet<Name>,
    /// Whether it told anybody at all: a channel that whoever may read is nobody's.
    pub anybody: bool,
}

/// What an answer came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answered {
    /// It is acknowledged now.
    Acknowledged,
    /// It counts, and others have to answer too.
    Counts,
    /// It counted before.
    Again,
    /// It answers what has been asked anew since.
    Stale,
    /// There is nothing to acknowledge.
    Over,
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ladder {
    policy: Policy,
    level: Level,
    generation: u32,
    standing: Standing,
    /// None: nothing was told in this generation.
    place: Option<Place>,
    /// When what comes next is due. It is set while the ladder climbs.
    due: Stamp,
    /// Why it goes on, where nobody's silence is the reason.
    because: Option<String>,
    /// It was sent up to this step, and has not gone there yet; past the last step: to the last resort.
    up_to: Option<u32>,
    /// The people whom the step at hand has told.
    told: BTreeSet<Name>,
    /// Whether any step of the round at hand has reached somebody, and whether one before the step at hand has.
    reached: bool,
    reached_before: bool,
    /// Who has answered since it began.
    answered: BTreeSet<Name>,
}

impl Ladder {
    /// A ladder by this policy, which begins at once.
    #[must_use]
    pub fn new(policy: Policy, level: Level, because: String, now: Stamp, generation: u32) -> Self {
        let (told, answered, because) = (BTreeSet::new(), BTreeSet::new(), Some(because));
        let (standing, place) = (Standing::Climbing, None);
        Self {
            policy,
            level,
            generation,
            standing,
            place,
            due: now,
            because,
            up_to: None,
            told,
            reached: false,
            reached_before: false,
            answered,
        }
    }

    /// The number that answers have to name.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Where it is; none before its first step.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.place
    }

    /// Whether nobody comes after those whom it tells now.
    #[must_use]
    pub fn is_at_last_resort(&self) -> bool {
        self.place == Some(Place::LastResort)
    }

    /// The policy that it began with.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// When [`Ladder::next`] has something at the latest; none: never by itself.
    #[must_use]
    pub fn due(&self) -> Option<Stamp> {
        match &self.standing {
            Standing::Climbing => Some(self.due),
            Standing::Acknowledged { until, .. } => *until,
            Standing::Exhausted | Standing::Ended => None,
        }
    }

    /// What comes now; none: nothing is due.
    #[must_use]
    pub fn next(&self, now: Stamp) -> Option<Move> {
        self.due().filter(|due| *due <= now)?;
        match &self.standing {
            Standing::Climbing => {
                let because = self.because.clone().unwrap_or_else(|| self.silence());
                Some(Move { generation: self.generation, to: self.following(), because })
            }
            Standing::Acknowledged { by, .. } => {
                let because = format!("{by} acknowledged it, and nobody has moved it since");
                Some(Move { generation: self.generation + 1, to: self.first(), because })
            }
            Standing::Exhausted | Standing::Ended => None,
        }
    }

    /// A move was made. Where it reached nobody, nobody is waited for.
    pub fn moved(&mut self, made: &Move, told: Told, now: Stamp) {
        if made.generation > self.generation {
            self.answered.clear();
        }
        let begins = !matches!(made.to, Place::Step { step, .. } if step > 0);
        self.reached_before = self.reached && !begins;
        self.reached = told.anybody || self.reached_before;
        self.generation = made.generation;
        self.place = Some(made.to);
        self.due = now.after(if told.anybody { self.wait(made.to) } else { Duration::ZERO });
        self.told = told.people;
        (self.because, self.up_to) = (None, None);
        self.standing = match made.to {
            Place::LastResort => Standing::Exhausted,
            Place::Step { .. } => Standing::Climbing,
        };
    }

    /// Why it goes on, where that is said and has told nobody yet.
    #[must_use]
    pub fn untold(&self) -> Option<&str> {
        self.because.as_deref().filter(|_| self.standing == Standing::Climbing)
    }

    /// Whether the move that is due comes because the step at hand was waited out, and for no other reason.
    #[must_use]
    pub fn is_waited_out(&self) -> bool {
        self.standing == Standing::Climbing && self.place.is_some() && self.because.is_none() && self.up_to.is_none()
    }

    /// A page of the step at hand goes out only now, before any channel was asked: whom it calls has the step's whole wait.
    pub fn waits_anew(&mut self, from: Stamp) {
        if let Some(place) = self.place.filter(|_| self.is_waited_out()) {
            self.due = self.due.max(from.after(self.wait(place)));
        }
    }

    /// None of the pages of the step at hand can be sent: nobody is waited for.
    pub fn lost(&mut self, now: Stamp) {
        if self.standing == Standing::Climbing && self.place.is_some() {
            self.due = self.due.min(now);
            self.reached = self.reached_before;
        }
    }

    /// What an answer would come to.
    #[must_use]
    pub fn would(&self, by: &Name, generation: u32) -> Answered {
        match self.standing {
            Standing::Ended => Answered::Over,
            _ if generation != self.generation => Answered::Stale,
            Standing::Acknowledged { .. } => Answered::Again,
            Standing::Climbing | Standing::Exhausted if self.is_enough_with(by) => Answered::Acknowledged,
            Standing::Climbing | Standing::Exhausted if self.answered.contains(by) => Answered::Again,
            Standing::Climbing | Standing::Exhausted => Answered::Counts,
        }
    }

    /// Somebody answers.
    pub fn acknowledge(&mut self, by: &Name, generation: u32, now: Stamp) -> Answered {
        let answered = self.would(by, generation);
        if matches!(answered, Answered::Acknowledged | Answered::Counts) {
            self.answered.insert(by.clone());
        }
        if answered == Answered::Acknowledged {
            self.standing = Standing::Acknowledged { by: by.clone(), until: self.until(now) };
            self.up_to = None;
        }
        answered
    }

    /// Somebody has done something about it: it counts as looked after from here on.
    pub fn touched(&mut self, now: Stamp) {
        let again = self.until(now);
        if let Standing::Acknowledged { until, .. } = &mut self.standing {
            *until = again;
        }
    }

    /// It begins anew: nobody looks after it any longer, or it is worse than it was.
    pub fn begin_again(&mut self, level: Level, because: String, now: Stamp) {
        if self.standing == Standing::Ended {
            return;
        }
        self.level = self.level.max(level);
        self.anew(None, because, now);
    }

    /// Somebody hands it on: the next step comes at once, whoever looked after it.
    pub fn escalate(&mut self, because: String, now: Stamp) {
        if self.standing == Standing::Ended {
            return;
        }
        self.anew(self.place, because, now);
    }

    /// Whether it is at this step already, or past it, and tells: nobody more would be told by sending it up to there.
    #[must_use]
    pub fn is_up_to(&self, step: u32) -> bool {
        let is_sent = self.up_to.is_some_and(|up_to| up_to >= step);
        let is_there = match self.place {
            None => step == 0,
            Some(Place::Step { step: at, .. }) => at >= step,
            Some(Place::LastResort) => true,
        };
        (is_sent || is_there) && matches!(self.standing, Standing::Climbing | Standing::Exhausted)
    }

    /// Whether the move that is due goes on from a step that it is at, because it was sent up.
    #[must_use]
    pub fn is_sent_on(&self) -> bool {
        self.up_to.is_some() && self.place.is_some()
    }

    /// The step after the one that it is at, from 0.
    #[must_use]
    pub fn after(&self) -> u32 {
        match self.place {
            None => 0,
            Some(Place::Step { step, .. }) => step + 1,
            Some(Place::LastResort) => u32::MAX,
        }
    }

    /// It is sent up to a step of its policy, at once; where somebody looked after it, from the beginning.
    pub fn send_up(&mut self, up_to: u32, because: String, now: Stamp) {
        if self.standing == Standing::Ended {
            return;
        }
        let place = self.place.filter(|_| self.standing == Standing::Climbing);
        self.anew(place, because, now);
        self.up_to = Some(up_to);
    }

    /// It goes by another policy from here on, up to this step of it, at once.
    pub fn go_by(&mut self, policy: Policy, up_to: u32, because: String, now: Stamp) {
        if self.standing == Standing::Ended {
            return;
        }
        self.policy = policy;
        (self.reached, self.reached_before) = (false, false);
        self.anew(None, because, now);
        self.up_to = Some(up_to);
    }

    /// The steps whose people a move to there tells: more than one where it was sent up past some that told nobody. The last
    /// resort comes beside them.
    #[must_use]
    pub fn telling(&self, to: Place) -> &[super::policy::Step] {
        let index = |step: u32| usize::try_from(step).unwrap_or(usize::MAX);
        let steps = &self.policy.steps;
        let (first, end) = match (to, self.up_to) {
            (Place::Step { step, .. }, None) => (index(step), index(step) + 1),
            (Place::LastResort, None) => (0, 0),
            (Place::Step { step, .. }, Some(_)) => (index(self.after()).min(index(step)), index(step) + 1),
            (Place::LastResort, Some(_)) => (index(self.after()), steps.len()),
        };
        steps.get(first..end.min(steps.len())).unwrap_or_default()
    }

    /// Its moments of an earlier boot, by the clocks of this one as they stand now.
    pub fn rebase(&mut self, now: Stamp) {
        // By a wall clock that stands back nothing comes later than by its own wait.
        self.due = self.due.on_boot_of(now).min(self.due);
        if let Standing::Acknowledged { until: Some(until), .. } = &mut self.standing {
            *until = until.on_boot_of(now).min(*until);
        }
    }

    /// What it was about is over.
    pub fn end(&mut self) {
        self.standing = Standing::Ended;
    }

    fn anew(&mut self, place: Option<Place>, because: String, now: Stamp) {
        self.generation += 1;
        self.standing = Standing::Climbing;
        (self.place, self.because, self.due) = (place, Some(because), now);
        self.up_to = None;
        self.answered.clear();
        self.told.clear();
    }

    fn first(&self) -> Place {
        if self.policy.steps.is_empty() { Place::LastResort } else { Place::Step { round: 0, step: 0 } }
    }

    fn following(&self) -> Place {
        if let Some(step) = self.up_to {
            let round = if let Some(Place::Step { round, .. }) = self.place { round } else { 0 };
            let is_there = usize::try_from(step).is_ok_and(|step| step < self.policy.steps.len());
            return if is_there { Place::Step { round, step } } else { Place::LastResort };
        }
        let Some(place) = self.place else { return self.first() };
        let Place::Step { round, step } = place else { return Place::LastResort };
        let last = u32::try_from(self.policy.steps.len()).unwrap_or(u32::MAX).saturating_sub(1);
        if step < last {
            Place::Step { round, step: step + 1 }
        } else if round < self.policy.repeat && self.reached {
            Place::Step { round: round + 1, step: 0 }
        } else {
            Place::LastResort
        }
    }

    fn step(&self, place: Place) -> Option<&super::policy::Step> {
        let Place::Step { step, .. } = place else { return None };
        self.policy.steps.get(usize::try_from(step).ok()?)
    }

    fn wait(&self, place: Place) -> Duration {
        let of_level = self.policy.severity.get(&self.level).and_then(|at| at.wait);
        self.step(place).map_or(Duration::ZERO, |step| of_level.unwrap_or(step.wait))
    }

    fn until(&self, now: Stamp) -> Option<Stamp> {
        self.policy.ack_timeout.map(|timeout| now.after(timeout))
    }

    /// Whether those who have answered, and `by`, are enough for the step at hand.
    fn is_enough_with(&self, by: &Name) -> bool {
        let ack = self.place.and_then(|place| self.step(place)).map_or(Ack::Any, |step| step.ack);
        match ack {
            Ack::Any => true,
            Ack::Each => self.told.iter().all(|told| told == by || self.answered.contains(told)),
            Ack::Count(count) => {
                let answered = self.answered.len() + usize::from(!self.answered.contains(by));
                answered >= usize::try_from(count).unwrap_or(usize::MAX)
            }
        }
    }

    fn silence(&self) -> String {
        match (self.reached, self.answered.is_empty()) {
            (false, _) => "nobody could be reached so far".to_owned(),
            (true, true) => "nobody answered in time".to_owned(),
            (true, false) => "not enough people answered in time".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
