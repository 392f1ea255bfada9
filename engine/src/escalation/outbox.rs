//! The outbox: a ladder with the pages of its step at hand, as its records say it.
//!
//! Owns the fold of a ladder's stream, live and after a crash, and when a page is tried again. Never sends, never says whom a
//! step reaches. Keeps true: a page that was written down is sent, or is known to have failed, or was made needless by an answer,
//! the next step or the end; what may have gone out before is sent under the same key, alone or in the same message with others;
//! while a silence holds it nobody is called, and nothing is forgotten; no step is over before a channel was asked for its pages.

mod ways;

pub(crate) use ways::SELDOM;

use super::ladder::{Answered, Ladder, Move, Standing, Told};
use super::policy::Policy;
use quell_model::notice::{Asking, Notice, Page, PageKey, Receipt, State, To, Way};
use quell_model::people::UNVERIFIED;
use quell_model::record::{
    Carried, LadderChange, LadderChanged, LadderMoved, LadderRouted, LadderSilenced, LadderStarted, PageReceipted,
    PageState, Queued,
};
use quell_model::{Body, Hash, LadderId, Level, Name, Seq, Stamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// So often a page is put off before another way is taken beside.
pub(crate) const PUT_OFF: u32 = 2;

/// So long more of the same is waited for: nobody is called for each item of a list.
pub(crate) const GATHER: Duration = Duration::from_secs(1);
/// Of those who may not answer and whom no file knows, so much is kept of a ladder: whoever sends others to press must not fill the
/// journal.
const MOST_TURNED_AWAY: usize = 32;

/// How a page stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// No channel has taken it.
    Waits {
        /// How often one was asked.
        attempts: u32,
        /// Not before this moment.
        from: Stamp,
    },
    /// A channel has it.
    Went,
    /// None ever will.
    Failed,
}

/// A page of the step at hand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// To whom, by which way.
    pub page: Page,
    /// How it stands.
    pub stage: Stage,
    /// The message for many in which it goes, or has gone.
    pub together: Option<PageKey>,
}

/// See the module.
#[derive(Clone, PartialEq, Debug)]
pub struct Outbox {
    /// What it began with.
    pub started: LadderStarted,
    /// How bad, as far as the ladder was told.
    pub level: Level,
    /// The number of its last record.
    pub seq: Seq,
    /// What the next pages say, beside what is in them.
    pub because: String,
    /// Why the generation at hand began.
    anew: String,
    /// By which policy it goes, once that is known.
    policy: Option<Name>,
    ladder: Option<Ladder>,
    begun: Stamp,
    pages: BTreeMap<PageKey, Outgoing>,
    /// Pages that were left before anybody knew whether they went out.
    displaced: BTreeMap<PageKey, Page>,
    told: BTreeSet<(To, Way)>,
    /// What a channel called the message that it has there.
    written: BTreeMap<(To, Way), String>,
    /// The message for many by which somebody was last told.
    bundled: BTreeMap<(To, Way), PageKey>,
    /// The sums of links that work once, and have.
    used: BTreeSet<Hash>,
    /// Who has answered too late, and which generation.
    late: BTreeSet<(Name, u32)>,
    /// The silence that holds it, or that held it since its last move.
    silenced: Option<LadderSilenced>,
    /// Somebody has handed it on by hand in this generation: no silence holds that back.
    is_handed_on: bool,
    /// Who was turned away, by which way they came, and what they wanted.
    turned_away: BTreeSet<(Name, Name, Option<Name>)>,
    /// Since when it is over.
    over: Option<Stamp>,
    is_closed: bool,
}

impl Outbox {
    /// A ladder that begins, before its first record.
    #[must_use]
    pub fn begun(started: &LadderStarted, at: Stamp) -> Self {
        Self {
            started: started.clone(),
            level: started.level,
            seq: 0,
            because: started.because.clone(),
            anew: started.because.clone(),
            policy: None,
            ladder: None,
            begun: at,
            pages: BTreeMap::new(),
            displaced: BTreeMap::new(),
            told: BTreeSet::new(),
            written: BTreeMap::new(),
            bundled: BTreeMap::new(),
            used: BTreeSet::new(),
            late: BTreeSet::new(),
            silenced: None,
            is_handed_on: false,
            turned_away: BTreeSet::new(),
            over: None,
            is_closed: false,
        }
    }

    /// One that begins where its stream has so many records of before.
    #[must_use]
    pub fn after(seq: Seq, started: &LadderStarted, at: Stamp) -> Self {
        Self { seq, ..Self::begun(started, at) }
    }

    /// Takes up a record of its stream, its first included. Whatever changes it comes after its policy is known.
    pub fn apply(&mut self, at: Stamp, body: &Body) {
        self.seq += 1;
        match body {
            Body::LadderStarted(started) => {
                // Somebody may still be at a page of one that was not closed: whom it reaches is told of the next end.
                self.displace(|_| true);
                let left = |of: &mut Self| {
                    let (displaced, written) = (std::mem::take(&mut of.displaced), std::mem::take(&mut of.written));
                    (displaced, written, std::mem::take(&mut of.bundled))
                };
                let (displaced, written, bundled) = if self.is_closed { Default::default() } else { left(self) };
                // Where a message stands already it is put right, and no second is written.
                *self = Self { seq: self.seq, displaced, written, bundled, ..Self::begun(started, at) };
            }
            Body::LadderRouted(routed) => self.routed(at, routed),
            Body::LadderMoved(moved) => self.moved(at, moved),
            Body::PageReceipted(receipted) => self.receipted(at, receipted),
            Body::LadderChanged(changed) => self.changed(at, changed),
            Body::LadderEnded(ended) => {
                self.over = Some(at);
                if let Some(ladder) = &mut self.ladder {
                    ladder.end();
                }
                self.because.clone_from(&ended.why);
                self.displace(|_| true);
                self.pages = queued(at, &ended.pages);
            }
            Body::LadderClosed(_) => self.is_closed = true,
            Body::LadderSilenced(silenced) => {
                self.silenced = Some((**silenced).clone());
                // The others of its message do not wait for it.
                self.pages.values_mut().for_each(|outgoing| outgoing.together = None);
            }
            _ => {}
        }
    }

    /// What people are told now, with what its runs do and what is asked of them.
    #[must_use]
    pub fn notice(&self, story: Vec<String>, question: Option<Asking>) -> Notice {
        let started = &self.started;
        let state = match self.ladder.as_ref().map(Ladder::standing) {
            _ if self.is_over() => State::Over,
            Some(Standing::Acknowledged { by, .. }) => State::Acknowledged(by.clone()),
            _ => State::Open,
        };
        Notice {
            ladder: self.id(),
            incident: started.incident.clone(),
            level: self.level,
            title: started.title.clone(),
            entity: started.entity.to_string(),
            state,
            because: self.because.clone(),
            story,
            generation: self.generation(),
            question: question.map(Box::new),
        }
    }

    /// Which it is.
    #[must_use]
    pub fn id(&self) -> LadderId {
        let incident = self.started.incident.as_ref().map(LadderId::incident);
        let question = self.started.question.as_ref().map(Carried::ladder);
        question.or(incident).unwrap_or_else(|| "nothing".into())
    }

    /// By which steps; none: it is not known yet by which policy.
    #[must_use]
    pub fn ladder(&self) -> Option<&Ladder> {
        self.ladder.as_ref()
    }

    /// The name of the policy by which it goes; none: it is not known yet.
    #[must_use]
    pub fn policy(&self) -> Option<&Name> {
        self.policy.as_ref()
    }

    /// Whether what it is about is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Whether the last resort was told, and nobody has answered it.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.ladder.as_ref().is_some_and(|ladder| *ladder.standing() == Standing::Exhausted)
    }

    /// Since when it is over.
    #[must_use]
    pub fn over(&self) -> Option<Stamp> {
        self.over
    }

    /// Whether it is over, and whoever was to be told so was: nothing comes of it any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The number that answers name.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.ladder.as_ref().map_or(self.started.generation, Ladder::generation)
    }

    /// Why that began: whoever answers one of before learns who, or what, was first.
    #[must_use]
    pub fn anew(&self) -> &str {
        &self.anew
    }

    /// Who was told, and by which way.
    #[must_use]
    pub fn told(&self) -> &BTreeSet<(To, Way)> {
        &self.told
    }

    /// What a channel called the message that it has there.
    #[must_use]
    pub fn written(&self, to: &To, way: &Way) -> Option<&String> {
        self.written.get(&(to.clone(), way.clone()))
    }

    /// The message for many by which whoever is there was last told.
    #[must_use]
    pub fn bundled(&self, there: &(To, Way)) -> Option<&PageKey> {
        self.bundled.get(there)
    }

    /// What goes in this message for many and has not gone yet, and how often a channel was asked.
    pub fn together<'a>(&'a self, with: &'a PageKey, now: Stamp) -> impl Iterator<Item = (&'a PageKey, u32)> {
        let is_held = self.held().is_some_and(|held| held > now);
        let pages = self.pages.iter().filter(move |(_, outgoing)| !is_held && outgoing.together.as_ref() == Some(with));
        pages.filter_map(|(key, outgoing)| match outgoing.stage {
            Stage::Waits { attempts, .. } => Some((key, attempts)),
            Stage::Went | Stage::Failed => None,
        })
    }

    /// The calls of the step at hand that no channel was asked for, though the step is over: quell did not run, or a silence
    /// held them.
    pub fn untried(&self, now: Stamp) -> impl Iterator<Item = &PageKey> {
        let is_over = self.ladder.as_ref().is_some_and(Ladder::is_waited_out);
        let waiting = self
            .waiting()
            .filter(move |(_, page, attempts, from)| is_over && !page.quiet && *attempts == 0 && *from <= now);
        waiting.map(|(key, ..)| key)
    }

    /// Whether this link was used.
    #[must_use]
    pub fn is_used(&self, link: &Hash) -> bool {
        self.used.contains(link)
    }

    /// Whether it is known that somebody has answered what stood in this generation too late.
    #[must_use]
    pub fn was_late(&self, by: &Name, generation: u32) -> bool {
        self.late.contains(&(by.clone(), generation))
    }

    /// Whether it is known that somebody was turned away who came by this way and wanted this. Of many strangers no more are told;
    /// whoever is known is told of, however many strangers there were.
    #[must_use]
    pub fn was_turned_away(&self, by: &Name, via: &Name, act: Option<&Name>) -> bool {
        let strangers = || self.turned_away.iter().filter(|(by, ..)| by.as_str().ends_with(UNVERIFIED)).count();
        self.turned_away.contains(&(by.clone(), via.clone(), act.cloned()))
            || by.as_str().ends_with(UNVERIFIED) && strangers() >= MOST_TURNED_AWAY
    }

    /// Whether people have messages that can be put right.
    #[must_use]
    pub fn has_messages(&self) -> bool {
        !self.written.is_empty()
    }

    /// What puts the messages right that can be, but for those that a page of `instead` puts right itself.
    #[must_use]
    pub fn corrections(&self, instead: &[Page], because: &str) -> Vec<Page> {
        let is_told = |to: &To, way: &Way| instead.iter().any(|page| page.to == *to && page.way == *way);
        let others = self.written.keys().filter(|(to, way)| !is_told(to, way));
        others.map(|(to, way)| Page::quiet(to.clone(), way.clone(), because.to_owned())).collect()
    }

    /// A page that was left before anybody knew whether it went out.
    #[must_use]
    pub fn displaced(&self, key: &PageKey) -> Option<&Page> {
        self.displaced.get(key)
    }

    /// The keys of those.
    pub fn left(&self) -> impl Iterator<Item = &PageKey> {
        self.displaced.keys()
    }

    /// The silence that holds it, or that held it since its last move.
    #[must_use]
    pub fn silenced(&self) -> Option<&LadderSilenced> {
        self.silenced.as_ref()
    }

    /// Whether a silence may hold it: it tells of an incident that goes on, and nobody has handed it on by hand.
    #[must_use]
    pub fn may_be_silenced(&self) -> bool {
        self.ladder.is_some() && self.started.question.is_none() && !self.is_over() && !self.is_handed_on
    }

    /// Nobody is called before this moment; none: no silence holds it.
    fn held(&self) -> Option<Stamp> {
        self.silenced.as_ref().filter(|_| self.may_be_silenced()).map(|silenced| silenced.until)
    }

    /// Its moments of an earlier boot, by the clocks of this one as they stand now.
    pub fn rebase(&mut self, now: Stamp) {
        self.begun = self.begun.on_boot_of(now).min(self.begun);
        self.over = self.over.map(|over| over.on_boot_of(now).min(over));
        for outgoing in self.pages.values_mut() {
            if let Stage::Waits { from, .. } = &mut outgoing.stage {
                *from = from.on_boot_of(now).min(*from);
            }
        }
        if let Some(silenced) = &mut self.silenced {
            silenced.until = silenced.until.on_boot_of(now);
        }
        if let Some(ladder) = &mut self.ladder {
            ladder.rebase(now);
        }
    }

    /// The pages of the step at hand.
    #[must_use]
    pub fn pages(&self) -> &BTreeMap<PageKey, Outgoing> {
        &self.pages
    }

    /// The pages of the step at hand, and those that were left before anybody knew whether they went out.
    pub fn all_pages(&self) -> impl Iterator<Item = (&PageKey, &Page)> {
        self.pages.iter().map(|(key, outgoing)| (key, &outgoing.page)).chain(&self.displaced)
    }

    /// Those that no channel has taken, how often one was asked, and when the next may be: while a silence holds the ladder only
    /// what calls nobody.
    pub fn waiting(&self) -> impl Iterator<Item = (&PageKey, &Page, u32, Stamp)> {
        let held = self.held();
        self.pages.iter().filter_map(move |(key, outgoing)| match outgoing.stage {
            Stage::Waits { attempts, from } => {
                let held = held.filter(|_| !outgoing.page.quiet).unwrap_or(from);
                Some((key, &outgoing.page, attempts, from.max(held)))
            }
            Stage::Went | Stage::Failed => None,
        })
    }

    /// How many pages of the step at hand went out.
    #[must_use]
    pub fn went(&self) -> u32 {
        let went = self.calls().filter(|(_, outgoing)| outgoing.stage == Stage::Went).count();
        u32::try_from(went).unwrap_or(u32::MAX)
    }

    /// The pages of the step at hand that call somebody.
    fn calls(&self) -> impl Iterator<Item = (&PageKey, &Outgoing)> {
        self.pages.iter().filter(|(_, outgoing)| !outgoing.page.quiet)
    }

    /// When its ladder has something at the latest; none: nothing comes by itself.
    #[must_use]
    pub fn due(&self) -> Option<Stamp> {
        match &self.ladder {
            // To be closed.
            _ if self.is_over() => (!self.is_closed && self.waiting().next().is_none()).then_some(self.begun),
            None => Some(self.begun),
            Some(ladder) => ladder.due().map(|due| self.held().map_or(due, |held| held.max(due))),
        }
    }

    /// What the ladder says comes now.
    #[must_use]
    pub fn next(&self, now: Stamp) -> Option<Move> {
        let made = self.ladder.as_ref().filter(|_| self.held().is_none_or(|held| held <= now))?.next(now)?;
        Some(match &self.silenced {
            Some(silenced) => {
                let because = format!("{} held it back until now: {}", silenced.shown(), made.because);
                Move { because, ..made }
            }
            None => made,
        })
    }

    /// What an answer to this generation would come to; none: it is not known yet by which policy.
    #[must_use]
    pub fn would_answer(&self, by: &Name, generation: u32) -> Option<Answered> {
        Some(self.ladder.as_ref()?.would(by, generation))
    }

    /// The pages under the keys that they have in the record that comes next.
    #[must_use]
    pub fn keyed(&self, pages: Vec<Page>) -> Vec<Queued> {
        let id = self.id();
        let key = |page: &Page| PageKey::of(id.as_str(), self.seq + 1, page);
        pages.into_iter().map(|page| Queued { key: key(&page), page }).collect()
    }

    fn routed(&mut self, at: Stamp, routed: &LadderRouted) {
        // A definition that nobody can read has no steps and names nobody: it goes to the terminal.
        let policy = serde_json::from_value::<Policy>(routed.definition.clone()).unwrap_or_default();
        let before = self.policy.replace(routed.policy.clone());
        let Some(ladder) = &mut self.ladder else {
            let because = std::mem::take(&mut self.because);
            let due = if self.started.gathers { self.begun.after(GATHER) } else { self.begun };
            self.ladder = Some(Ladder::new(policy, self.level, because, due, self.started.generation));
            return;
        };
        self.because.clone_from(&routed.route);
        self.anew.clone_from(&routed.route);
        let (up_to, because) = (routed.up_to.unwrap_or_default(), routed.route.clone());
        match before == self.policy {
            true => ladder.send_up(up_to, because, at),
            false => ladder.go_by(policy, up_to, because, at),
        }
    }

    fn moved(&mut self, at: Stamp, moved: &LadderMoved) {
        self.because.clone_from(&moved.because);
        // What the step of before could not send is not sent any more.
        self.displace(|_| true);
        self.pages = queued(at, &moved.pages);
        let people: BTreeSet<Name> = self.calls().flat_map(|(_, call)| call.page.people().cloned()).collect();
        let told = Told { people, anybody: self.calls().next().is_some() };
        let made = Move { generation: moved.generation, to: moved.to, because: moved.because.clone() };
        self.silenced = None;
        if moved.generation != self.generation() {
            self.is_handed_on = false;
            self.anew.clone_from(&moved.because);
        }
        if let Some(ladder) = &mut self.ladder {
            ladder.moved(&made, told, at);
        }
    }

    fn receipted(&mut self, at: Stamp, receipted: &PageReceipted) {
        let left = self.displaced.remove(&receipted.key);
        if let Some(page) = left.as_ref().or(self.pages.get(&receipted.key).map(|outgoing| &outgoing.page)).cloned()
            && let PageState::Sent(receipt) = &receipted.state
        {
            let there = (page.to, page.way);
            if let Receipt::Delivered { reference: Some(reference) } = receipt {
                self.written.insert(there.clone(), reference.clone());
            }
            if !page.quiet {
                self.told.insert(there.clone());
                match &receipted.together {
                    Some(with) => drop(self.bundled.insert(there, with.clone())),
                    None => drop(self.bundled.remove(&there)),
                }
            }
        }
        self.pages.extend(queued(at, &receipted.instead));
        let Some(outgoing) = self.pages.get_mut(&receipted.key).filter(|_| left.is_none()) else { return };
        outgoing.together = receipted.together.clone().or(outgoing.together.take());
        outgoing.stage = match &receipted.state {
            PageState::Sent(_) => Stage::Went,
            PageState::Waits { pause, .. } => Stage::Waits { attempts: receipted.attempt, from: at.after(*pause) },
            PageState::Failed { .. } => Stage::Failed,
        };
        let (is_quiet, is_done) = (outgoing.page.quiet, !matches!(outgoing.stage, Stage::Waits { .. }));
        if let (PageState::Waits { pause, .. }, 0, false, Some(ladder)) =
            (&receipted.state, receipted.attempt, is_quiet, &mut self.ladder)
        {
            ladder.waits_anew(at.after(*pause));
            // What held it back is over: what comes next comes by its own time.
            self.silenced.take_if(|silenced| silenced.until <= at);
        }
        if is_quiet && is_done {
            // Each piece of news has some.
            self.pages.remove(&receipted.key);
            return;
        }
        let is_lost = self.calls().all(|(_, outgoing)| outgoing.stage == Stage::Failed);
        if let Some(ladder) = self.ladder.as_mut().filter(|_| is_lost) {
            ladder.lost(at);
        }
    }

    fn changed(&mut self, at: Stamp, changed: &LadderChanged) {
        self.level = self.level.max(changed.level);
        self.used.extend(changed.link);
        let why = changed.why.clone();
        self.corrected(at, &changed.pages);
        match changed.change {
            LadderChange::Escalated => (self.is_handed_on, self.silenced) = (true, None),
            LadderChange::Unacknowledged | LadderChange::Raised => self.is_handed_on = false,
            _ => {}
        }
        if matches!(
            changed.change,
            LadderChange::Escalated | LadderChange::Unacknowledged | LadderChange::Raised | LadderChange::Grown
        ) {
            self.anew.clone_from(&why);
        }
        let Some(ladder) = &mut self.ladder else { return };
        match changed.change {
            LadderChange::Answered => drop(ladder.acknowledge(&changed.by, changed.generation, at)),
            LadderChange::AnsweredTooLate => drop(self.late.insert((changed.by.clone(), changed.generation))),
            LadderChange::TurnedAway => {
                let LadderChanged { by, via, act, .. } = changed;
                self.turned_away.insert((by.clone(), via.clone(), act.clone()));
            }
            LadderChange::Progressed | LadderChange::Used => {}
            LadderChange::Grown => ladder.begin_again(changed.level, why, at.after(GATHER)),
            LadderChange::Unacknowledged | LadderChange::Raised => ladder.begin_again(changed.level, why, at),
            LadderChange::Escalated => ladder.escalate(why, at),
            LadderChange::Touched => ladder.touched(at),
        }
        // An answer stops what has not gone out.
        if matches!(ladder.standing(), Standing::Acknowledged { .. }) {
            self.displace(|page| !page.quiet);
        }
    }

    /// What puts a message right stands in the place of what would have put it right before.
    fn corrected(&mut self, at: Stamp, pages: &[Queued]) {
        let Some(first) = pages.first() else { return };
        self.because.clone_from(&first.page.because);
        let is_again =
            |page: &Page| page.quiet && pages.iter().any(|new| new.page.way == page.way && new.page.to == page.to);
        self.displace(is_again);
        self.pages.extend(queued(at, pages));
    }

    /// Leaves what of these no channel has taken yet: one may be at it.
    fn displace(&mut self, which: impl Fn(&Page) -> bool) {
        let waits = |outgoing: &Outgoing| matches!(outgoing.stage, Stage::Waits { .. }) && which(&outgoing.page);
        let left = self.pages.iter().filter(|(_, outgoing)| waits(outgoing));
        self.displaced.extend(left.map(|(key, outgoing)| (key.clone(), outgoing.page.clone())));
        self.pages.retain(|_, outgoing| !waits(outgoing));
    }
}

/// Pages before any channel was asked.
fn queued(at: Stamp, pages: &[Queued]) -> BTreeMap<PageKey, Outgoing> {
    let outgoing =
        |page: &Page| Outgoing { page: page.clone(), stage: Stage::Waits { attempts: 0, from: at }, together: None };
    pages.iter().map(|queued| (queued.key.clone(), outgoing(&queued.page))).collect()
}

#[cfg(test)]
pub(super) mod tests;
