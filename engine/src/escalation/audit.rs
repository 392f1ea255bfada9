//! The auditor: what should have been sent by now, told from a ladder's records and the clock alone.
//!
//! ```text
//! records ──▶ Account: what is owed, and since when ──▶ differences(now) ──▶ log, metrics, `quell status`, the beat
//! ```
//!
//! Owns a fold of its own. **Invariant:** it asks neither the ladder nor the outbox what comes next: a mistake of theirs must not
//! excuse itself. Never sends, reads no clock. Keeps true: what is owed and late is a difference, and so is a step that has not
//! come, a move that leaves somebody out, a last resort of which no channel has told anybody, and an end of which those who were
//! told know nothing.

use super::policy::{Ack, Policy, Step, Target};
use super::reach::LAST_WORD;
use quell_model::notice::{Page, PageKey, To, Way};
use quell_model::record::{LadderChange, LadderChanged, LadderMoved, PageReceipted, PageState, Place, Queued};
use quell_model::{Body, LadderId, Level, Name, Record, Stamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// So much later than due anything may be: a journal that waits for its disk, a machine that is flooded.
pub const GRACE: Duration = Duration::from_secs(60);

/// What is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Of which ladder.
    pub ladder: LadderId,
    /// Which kind.
    pub kind: What,
    /// For people.
    pub why: String,
}

/// The kinds of what may be wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum What {
    /// A page was written down, and no channel has said anything for too long.
    PageLate,
    /// What comes next has not come.
    StepLate,
    /// The last resort has come, and no channel but the terminal has taken a page of it.
    Untold,
    /// A step names somebody of whom its move says nothing.
    LeftOut,
    /// It ended, and somebody who was told of it is not told so.
    EndUntold,
    /// Its records cannot be read as a ladder's.
    Unreadable,
}

impl What {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::PageLate, Self::StepLate, Self::Untold, Self::LeftOut, Self::EndUntold, Self::Unreadable];

    /// The word, in figures.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PageLate => "page_late",
            Self::StepLate => "step_late",
            Self::Untold => "untold",
            Self::LeftOut => "left_out",
            Self::EndUntold => "end_untold",
            Self::Unreadable => "unreadable",
        }
    }
}

/// By which clocks a ladder is judged.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// This moment.
    pub now: Stamp,
    /// Since when quell runs: before that nobody could have sent anything.
    pub since: Stamp,
    /// How long a channel may take to say something.
    pub patience: Duration,
}

impl Watch {
    /// A journaled moment by the clocks of this life: what comes of an earlier one is due since it began, at the earliest.
    fn due(&self, at: Stamp, later: Duration) -> Stamp {
        let is_ours = (self.since.boot_ns..=self.now.boot_ns).contains(&at.boot_ns) && at.wall >= self.since.wall;
        if is_ours { at.after(later) } else { at.after(later).on_boot_of(self.now).max(self.since) }
    }

    /// How late it is; none: not too late.
    fn late(&self, at: Stamp, later: Duration, allowed: Duration) -> Option<Duration> {
        let late = self.now.since(self.due(at, later));
        (late > allowed + GRACE && self.due(at, later) < self.now).then_some(late)
    }
}

/// How it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Stands {
    /// The next step is due so long after this moment.
    Climbing(Stamp, Duration),
    /// Somebody looks after it: it is raised again so long after this moment; none: never.
    Acknowledged(Stamp, Option<Duration>),
    /// The last resort has come.
    Exhausted,
    /// It is over.
    Over,
    /// And whoever was to be told was.
    Closed,
}

/// A page of which nobody knows yet that it went out.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Owed {
    page: Page,
    /// Since when, but for the pause that its channel was given.
    at: Stamp,
    pause: Duration,
}

/// What the records of one ladder say.
#[derive(Clone, Debug)]
pub struct Account {
    ladder: LadderId,
    policy: Option<Policy>,
    /// By its name.
    by: Option<Name>,
    /// Up to which step it was sent and has not gone yet.
    sent: Option<u32>,
    level: Level,
    pub(crate) generation: u32,
    pub(crate) place: Option<Place>,
    pub(crate) stands: Stands,
    /// Whom the step at hand calls by name.
    told: BTreeSet<Name>,
    answered: BTreeSet<Name>,
    owed: BTreeMap<PageKey, Owed>,
    /// The calls of the step at hand, and whether each has failed.
    calls: BTreeMap<PageKey, bool>,
    /// When the last resort came, as long as nobody is told by it.
    untold: Option<Stamp>,
    /// Calls that are printed in the place of others: the terminal is nobody's.
    printed: BTreeSet<PageKey>,
    /// Every page so far.
    pages: BTreeMap<PageKey, Page>,
    /// Who has a page that called them, or told them of the end.
    reached: BTreeSet<(To, Way)>,
    /// Since when a silence holds it, and for how long: nobody is called before.
    silenced: Option<(Stamp, Duration)>,
    wrong: Vec<Difference>,
}

impl Account {
    /// Of a ladder, by its records in their order.
    #[must_use]
    pub fn of<'a>(ladder: &LadderId, records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut account = Self {
            ladder: ladder.clone(),
            policy: None,
            by: None,
            sent: None,
            level: Level::Informational,
            generation: 0,
            place: None,
            stands: Stands::Closed,
            told: BTreeSet::new(),
            answered: BTreeSet::new(),
            owed: BTreeMap::new(),
            calls: BTreeMap::new(),
            untold: None,
            printed: BTreeSet::new(),
            pages: BTreeMap::new(),
            reached: BTreeSet::new(),
            silenced: None,
            wrong: Vec::new(),
        };
        records.into_iter().for_each(|record| account.take(record));
        account
    }

    /// Takes in the next record.
    pub(crate) fn take(&mut self, record: &Record) {
        let at = record.at;
        match &record.body {
            Body::LadderStarted(started) => {
                // Of what was before nothing is owed any more: it is open again. Whom a page of it still reaches was told.
                let pages =
                    if self.stands == Stands::Closed { BTreeMap::new() } else { std::mem::take(&mut self.pages) };
                *self = Self { pages, ..Self::of(&self.ladder, []) };
                (self.level, self.generation) = (started.level, started.generation);
                self.stands = Stands::Climbing(at, Duration::ZERO);
            }
            Body::LadderRouted(routed) => match serde_json::from_value(routed.definition.clone()) {
                Ok(policy) => {
                    self.policy = Some(policy);
                    let before = self.by.replace(routed.policy.clone());
                    if let Some(up_to) = routed.up_to {
                        self.sent_up(at, up_to, before == self.by);
                    }
                }
                Err(error) => self.differs(What::Unreadable, format!("its policy cannot be read: {error}")),
            },
            Body::LadderSilenced(silenced) => self.silenced = Some((at, silenced.until.since(at))),
            Body::LadderMoved(moved) => self.moved(at, moved),
            Body::LadderChanged(changed) => self.changed(at, changed),
            Body::PageReceipted(receipted) => self.receipted(at, receipted),
            Body::LadderEnded(ended) => {
                self.owed.clear();
                self.calls.clear();
                self.silenced = None;
                self.stands = Stands::Over;
                self.untold = None;
                let is_told = |(to, way): &&(To, Way)| {
                    let mut pages = ended.pages.iter().map(|end| &end.page);
                    pages.any(|page| page.to == *to && page.way == *way)
                        || ended.nobody.iter().any(|nobody| nobody.target == to.shown())
                };
                let untold: Vec<String> =
                    self.reached.iter().filter(|one| !is_told(one)).map(|(to, _)| to.shown()).collect();
                if !untold.is_empty() {
                    self.differs(What::EndUntold, format!("it ended, and {} is not told so", untold.join(", ")));
                }
                self.queue(at, &ended.pages);
            }
            Body::LadderClosed(_) => {
                self.stands = Stands::Closed;
                let left = self.owed.len();
                if left > 0 {
                    self.differs(What::PageLate, format!("it was closed, and {left} of its pages were not sent"));
                }
            }
            _ => {}
        }
    }

    /// Whether somebody looks after it.
    pub(crate) fn is_acknowledged(&self) -> bool {
        matches!(self.stands, Stands::Acknowledged(..))
    }

    /// The pages that are owed.
    #[cfg(test)]
    pub(crate) fn owed(&self) -> impl Iterator<Item = &PageKey> {
        self.owed.keys()
    }

    /// By which ways the step at hand calls, but for the terminal.
    #[cfg(test)]
    pub(crate) fn calls(&self) -> impl Iterator<Item = &Way> {
        let pages = self.calls.keys().filter_map(|key| self.pages.get(key));
        pages.map(|page| &page.way).filter(|way| **way != Way::Console)
    }

    /// The policy that its records pin.
    #[cfg(test)]
    pub(crate) fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref()
    }

    /// Up to which step it was sent, and has not gone yet.
    #[cfg(test)]
    pub(crate) fn sent(&self) -> Option<u32> {
        self.sent
    }

    /// What is not as it should be by now.
    #[must_use]
    pub fn differences(&self, watch: &Watch) -> Vec<Difference> {
        let mut all = self.wrong.clone();
        let differs = |kind, why| Difference { ladder: self.ladder.clone(), kind, why };
        // What a silence held back is due at its end.
        let held =
            |allowed: Duration| self.silenced.is_some_and(|(at, lasts)| watch.late(at, lasts, allowed).is_none());
        for owed in self.owed.values().filter(|owed| owed.page.quiet || !held(watch.patience)) {
            if let Some(late) = watch.late(owed.at, owed.pause, watch.patience) {
                let (to, channel) = (owed.page.to.shown(), owed.page.way.channel());
                all.push(differs(
                    What::PageLate,
                    format!("nothing is known of a page to {to} by {channel}, {} s after its time", late.as_secs()),
                ));
            }
        }
        let untold = self.untold.filter(|_| self.stands == Stands::Exhausted && !held(watch.patience));
        if let Some(late) = untold.and_then(|at| watch.late(at, Duration::ZERO, watch.patience)) {
            let why = format!("the last resort came {} s ago, and no channel has taken a page of it", late.as_secs());
            all.push(differs(What::Untold, why));
        }
        let step = match &self.stands {
            Stands::Climbing(at, wait) => watch.late(*at, *wait, Duration::ZERO).map(|late| ("its next step", late)),
            Stands::Acknowledged(at, Some(timeout)) => {
                let late = watch.late(*at, *timeout, Duration::ZERO);
                late.map(|late| ("that it is raised again, since nobody moved it,", late))
            }
            _ => None,
        };
        all.extend(step.filter(|_| !held(Duration::ZERO)).map(|(what, late)| {
            differs(What::StepLate, format!("{what} has not come, {} s after its time", late.as_secs()))
        }));
        all
    }

    fn differs(&mut self, kind: What, why: String) {
        self.wrong.push(Difference { ladder: self.ladder.clone(), kind, why });
    }

    fn queue(&mut self, at: Stamp, pages: &[Queued]) {
        for queued in pages {
            let owed = Owed { page: queued.page.clone(), at, pause: Duration::ZERO };
            self.owed.insert(queued.key.clone(), owed);
            self.pages.insert(queued.key.clone(), queued.page.clone());
            if !queued.page.quiet {
                self.calls.insert(queued.key.clone(), false);
            }
        }
    }

    /// It is sent up to a step: of its own policy, or of another.
    fn sent_up(&mut self, at: Stamp, up_to: u32, is_own: bool) {
        if matches!(self.stands, Stands::Over | Stands::Closed) {
            return;
        }
        if !(is_own && matches!(self.stands, Stands::Climbing(..))) {
            self.place = None;
        }
        self.generation += 1;
        self.answered.clear();
        self.told.clear();
        (self.stands, self.sent) = (Stands::Climbing(at, Duration::ZERO), Some(up_to));
    }

    /// Whom a move to there has to speak of: who stands at it, and, where it was sent up, whoever stands on the way.
    fn named(&self, before: Option<Place>, to: Place, is_sent: bool) -> Vec<Target> {
        let Some(policy) = &self.policy else { return Vec::new() };
        let index = |step: u32| usize::try_from(step).unwrap_or(usize::MAX);
        let (last, end) = match to {
            Place::Step { step, .. } => (index(step), index(step).saturating_add(1)),
            Place::LastResort => (policy.steps.len(), policy.steps.len()),
        };
        let first = match before {
            _ if !is_sent => last,
            None => 0,
            Some(Place::Step { step, .. }) => index(step).saturating_add(1).min(last),
            Some(Place::LastResort) => last,
        };
        let steps = policy.steps.iter().take(end).skip(first).flat_map(|step| &step.notify);
        let last_resort = policy.last_resort.iter().filter(|_| to == Place::LastResort);
        steps.chain(last_resort).cloned().collect()
    }

    fn moved(&mut self, at: Stamp, moved: &LadderMoved) {
        let (before, sent) = (self.place, self.sent.take());
        if moved.generation > self.generation {
            self.answered.clear();
        }
        (self.generation, self.place, self.silenced) = (moved.generation, Some(moved.to), None);
        self.owed.clear();
        self.calls.clear();
        self.printed.clear();
        self.queue(at, &moved.pages);
        let calls = moved.pages.iter().map(|queued| &queued.page).filter(|page| !page.quiet);
        self.told = calls.clone().flat_map(|page| page.people().cloned()).collect();
        let wait = if self.calls.is_empty() { Duration::ZERO } else { self.wait(moved.to) };
        self.stands = match moved.to {
            Place::LastResort => Stands::Exhausted,
            Place::Step { .. } => Stands::Climbing(at, wait),
        };
        let is_there = |target: &Target| is_accounted(target, moved);
        let targets = self.named(before, moved.to, sent.is_some());
        for target in targets.iter().filter(|target| !is_there(target)) {
            self.differs(What::LeftOut, format!("{target:?} is named by its policy, and a move says nothing of it"));
        }
        // What the file itself prints, as it was pinned or as it is now, is told by that.
        let is_stand_in = |to: &To| matches!(to, To::Channel(name) if name.as_str() != "console");
        let is_print = |page: &Page| page.way == Way::Console && (page.because == LAST_WORD || is_stand_in(&page.to));
        self.printed.extend(moved.pages.iter().filter(|one| is_print(&one.page)).map(|one| one.key.clone()));
        // Who has a question already need not have it by its last resort.
        let is_asked = self.ladder.as_incident().is_none() && self.reached.iter().any(|(_, way)| *way != Way::Console);
        self.untold = (moved.to == Place::LastResort && !is_asked).then_some(at);
        if moved.to == Place::LastResort && self.calls.is_empty() {
            self.differs(What::LeftOut, "its last resort has told nobody".to_owned());
        }
    }

    fn changed(&mut self, at: Stamp, changed: &LadderChanged) {
        let again = |page: &Page| {
            page.quiet && changed.pages.iter().any(|new| new.page.to == page.to && new.page.way == page.way)
        };
        self.owed.retain(|_, owed| !again(&owed.page));
        self.queue(at, &changed.pages);
        self.level = self.level.max(changed.level);
        let anew = |account: &mut Self| {
            account.generation += 1;
            account.answered.clear();
            account.told.clear();
            account.sent = None;
            account.stands = Stands::Climbing(at, Duration::ZERO);
        };
        if matches!(self.stands, Stands::Over | Stands::Closed) {
            return;
        }
        match changed.change {
            LadderChange::Answered if changed.generation == self.generation && !self.is_acknowledged() => {
                self.answered.insert(changed.by.clone());
                if self.is_enough() {
                    (self.stands, self.sent) = (Stands::Acknowledged(at, self.timeout()), None);
                }
            }
            LadderChange::Touched if self.is_acknowledged() => self.stands = Stands::Acknowledged(at, self.timeout()),
            LadderChange::Unacknowledged | LadderChange::Raised | LadderChange::Grown => {
                anew(self);
                self.place = None;
            }
            LadderChange::Escalated => {
                self.silenced = None;
                anew(self);
            }
            LadderChange::Answered
            | LadderChange::AnsweredTooLate
            | LadderChange::Touched
            | LadderChange::Progressed
            | LadderChange::TurnedAway
            | LadderChange::Used => {}
        }
        if self.is_acknowledged() {
            self.owed.retain(|_, owed| owed.page.quiet);
        }
    }

    fn receipted(&mut self, at: Stamp, receipted: &PageReceipted) {
        let key = &receipted.key;
        match &receipted.state {
            PageState::Sent(_) => {
                self.owed.remove(key);
                if self.calls.contains_key(key) && !self.printed.contains(key) {
                    self.untold = None;
                }
                let page = self.pages.get(key).filter(|page| !page.quiet);
                self.reached.extend(page.map(|page| (page.to.clone(), page.way.clone())));
            }
            PageState::Waits { pause, .. } => {
                if let Some(owed) = self.owed.get_mut(key) {
                    (owed.at, owed.pause) = (at, *pause);
                    let waits = matches!(self.stands, Stands::Climbing(_, wait) if !wait.is_zero());
                    // It goes only now: its step waits as long from then on.
                    if let (0, false, true, Some(place)) = (receipted.attempt, owed.page.quiet, waits, self.place) {
                        self.stands = Stands::Climbing(at, *pause + self.wait(place));
                    }
                }
            }
            PageState::Failed { .. } => {
                let is_owed = self.owed.remove(key).is_some();
                if let Some(failed) = self.calls.get_mut(key).filter(|_| is_owed) {
                    *failed = true;
                }
            }
        }
        let printed = receipted.instead.iter().filter(|one| one.page.way == Way::Console);
        self.printed.extend(printed.map(|one| one.key.clone()));
        self.queue(at, &receipted.instead);
        // Nobody is waited for whom nothing reaches.
        let is_lost = !self.calls.is_empty() && self.calls.values().all(|failed| *failed);
        if let (Stands::Climbing(..), true, true) = (&self.stands, is_lost, self.place.is_some()) {
            self.stands = Stands::Climbing(at, Duration::ZERO);
        }
    }

    fn step(&self, place: Place) -> Option<&Step> {
        let Place::Step { step, .. } = place else { return None };
        self.policy.as_ref()?.steps.get(usize::try_from(step).ok()?)
    }

    fn wait(&self, place: Place) -> Duration {
        let of_level = self.policy.as_ref().and_then(|policy| policy.severity.get(&self.level)?.wait);
        self.step(place).map_or(Duration::ZERO, |step| of_level.unwrap_or(step.wait))
    }

    fn timeout(&self) -> Option<Duration> {
        self.policy.as_ref().and_then(|policy| policy.ack_timeout)
    }

    /// Whether those who have answered are enough for the step at hand.
    fn is_enough(&self) -> bool {
        match self.place.and_then(|place| self.step(place)).map_or(Ack::Any, |step| step.ack) {
            Ack::Any => true,
            Ack::Each => self.told.is_subset(&self.answered),
            Ack::Count(count) => u32::try_from(self.answered.len()).unwrap_or(u32::MAX) >= count,
        }
    }
}

/// Whether a move says what became of a target: a page, or why there is none.
fn is_accounted(target: &Target, moved: &LadderMoved) -> bool {
    let nobody = |shown: String| moved.nobody.iter().any(|nobody| nobody.target == shown);
    let mut calls = moved.pages.iter().map(|queued| &queued.page).filter(|page| !page.quiet);
    match target {
        Target::Person(name) => {
            calls.any(|page| page.people().any(|told| told == name)) || nobody(format!("person {name}"))
        }
        Target::Channel(name) => {
            calls.any(|page| page.to == To::Channel(name.clone()) || page.way.channel() == name.as_str())
                || nobody(format!("channel {name}"))
        }
        // Who it is was found then; somebody whom the step names before is told for that reason.
        Target::Schedule(_) => calls.next().is_some() || !moved.nobody.is_empty(),
    }
}

#[cfg(test)]
mod tests;
