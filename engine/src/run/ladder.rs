//! Ladders of incidents: somebody is told, until somebody answers.
//!
//! ```text
//! incident opens ──▶ LadderStarted ──▶ routed ──▶ moved, with its pages ──▶ channel ──▶ receipt
//!                                        ▲                                                │
//!                                        └──────── nobody answered in time ◀──────────────┘
//! ```
//!
//! Owns the ladders that are not over, and what is on its way to people. Never decides who is on call, nor what an answer means
//! (`escalation`), and never waits for a channel. Keeps true: a page goes out only after it is in the journal, and whatever
//! comes of it is written down; what an engine that was killed may have sent is sent again under its key, as a repeat; no step is
//! left before a channel was asked for its pages, but for one before which another is at the same place even after it has waited
//! anew; what a source held before it was first followed tells nobody.

mod news;
mod of_incident;
mod of_question;
mod silenced;

use news::News;
pub use silenced::Wanted;

use super::answers::{self, Exhausted, ExhaustedLadder};
use super::shell::{Core, INBOX_TURN};
use crate::escalation::ladder::{Answered, Move};
use crate::escalation::outbox::Outbox;
use crate::escalation::policy::{Policy, Target};
use crate::escalation::reach::{LAST_WORD, Reached};
use crate::escalation::{DEFAULT, Escalation, facts::Facts, schedule};
use crate::playbook::expression::Scope;
use quell_model::notice::{Page, PageKey, To, Way};
use quell_model::record::{
    LadderChange, LadderChanged, LadderClosed, LadderEnded, LadderMoved, LadderRouted, LadderStarted, NewRecord,
    Nobody, PageReceipted, PageState, Place,
};
use quell_model::{Body, Hash, IncidentId, LadderId, Level, Name, Stamp, Stop, StoreError, StreamId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Of ladders that nobody answers so many are named.
const MOST_NAMED: usize = 20;
/// Why a page that waited for its next attempt is not sent any more.
pub(super) const NEEDLESS: &str = "an answer, the next step or the end made it needless";
/// Why a page of before a death is not sent again.
const LEFT: &str =
    "an answer, the next step or the end made it needless, and quell ended before it knew whether it went out";
/// Why a page goes out only when its step is over.
pub(super) const ONLY_NOW: &str =
    "nothing could be sent as long as its step lasted: it goes out now, and the step waits anew";
/// Why somebody who was told does not hear of the end.
const ASKED: &str = "they were asked whether it was them";
/// Why somebody is told of the end.
pub(super) const TOLD: &str = "told of it before";

/// The ladders that are not over.
#[derive(Default)]
pub(super) struct Ladders {
    pub(super) all: BTreeMap<LadderId, Outbox>,
    /// When each is to be looked at.
    due: BTreeSet<(Stamp, LadderId)>,
    of: HashMap<LadderId, Stamp>,
    /// Pages that are at a channel or wait before it, each with a sign that it is not to be sent any more.
    pub(super) under_way: HashMap<PageKey, Stop>,
    /// Pages for which the step at hand has waited anew.
    waited_for: HashMap<LadderId, BTreeSet<PageKey>>,
    /// Pages that may have gone out before.
    pub(super) repeats: HashSet<PageKey>,
    /// Channels that want to be left alone until then.
    pub(super) not_before: HashMap<Name, Stamp>,
    /// The rules that the journal has of an incident: of one that an engine before this opened, or that takes nothing more.
    rules: HashMap<LadderId, BTreeSet<Name>>,
    /// Those that an engine before this began.
    recovered: HashSet<LadderId>,
    /// Incidents that became worse, to be told once what they need has been done.
    rises: Vec<(IncidentId, Level)>,
    /// What messages are to say that they do not say yet.
    news: BTreeMap<LadderId, News>,
}

impl Ladders {
    /// The next is looked at when its ladder or one of its pages says; at the latest.
    fn set(&mut self, id: &LadderId) {
        if let Some(before) = self.of.remove(id) {
            self.due.remove(&(before, id.clone()));
        }
        let Some(outbox) = self.all.get(id) else { return };
        if outbox.is_closed() {
            self.all.remove(id);
            self.news.remove(id);
            self.rules.remove(id);
            self.recovered.remove(id);
            self.waited_for.remove(id);
            return;
        }
        let pages = self.may_go(outbox).map(|(.., from)| from);
        // One that is over is closed once nobody is at a page of it.
        let is_left = outbox.is_over() && outbox.left().any(|key| self.under_way.contains_key(key));
        if let Some(at) = pages.chain(outbox.due().filter(|_| !is_left)).min() {
            self.due.insert((at, id.clone()));
            self.of.insert(id.clone(), at);
        }
    }

    /// It is looked at in the next turn.
    fn look_at(&mut self, id: &LadderId, now: Stamp) {
        if let Some(before) = self.of.insert(id.clone(), now) {
            self.due.remove(&(before, id.clone()));
        }
        self.due.insert((now, id.clone()));
    }

    /// All of them are.
    pub(super) fn look_at_all(&mut self, now: Stamp) {
        let all: Vec<LadderId> = self.all.keys().cloned().collect();
        all.iter().for_each(|id| self.look_at(id, now));
    }

    /// The pages that wait, but for those before which another is under way to the same place: they are seen in their order.
    pub(super) fn may_go<'a>(&'a self, outbox: &'a Outbox) -> impl Iterator<Item = (&'a PageKey, u32, Stamp)> {
        let busy: BTreeSet<(&To, &Way)> = outbox
            .all_pages()
            .filter(|(key, _)| self.under_way.contains_key(*key))
            .map(|(_, page)| (&page.to, &page.way))
            .collect();
        let free = outbox.waiting().filter(move |(_, page, ..)| !busy.contains(&(&page.to, &page.way)));
        free.map(|(key, _, attempts, from)| (key, attempts, from))
    }

    /// Whether a page is to a channel which is given nothing now.
    fn is_left_alone(&self, page: &Page, now: Stamp) -> bool {
        let until = self.not_before.get(page.way.channel());
        matches!(page.to, To::Channel(_)) && until.is_some_and(|until| *until > now)
    }

    fn pop(&mut self, now: Stamp) -> Option<LadderId> {
        self.due.first().filter(|(at, _)| *at <= now)?;
        let (_, id) = self.due.pop_first()?;
        self.of.remove(&id);
        Some(id)
    }

    /// When the nearest is to be looked at.
    fn next(&self) -> Option<Stamp> {
        self.due.first().map(|(at, _)| *at)
    }
}

/// What is done to a ladder.
pub(super) struct Change {
    what: LadderChange,
    by: Name,
    via: Name,
    /// The level from here on; none: as it was.
    level: Option<Level>,
    /// The generation that is meant; none: the one that stands.
    generation: Option<u32>,
    why: String,
    /// The sum of the link that is used up by it.
    link: Option<Hash>,
    /// What somebody wanted who may not.
    act: Option<Name>,
}

impl Change {
    /// What somebody does to it.
    pub(super) fn by((by, via): (&Name, &Name), what: LadderChange, why: String) -> Self {
        Self { what, by: by.clone(), via: via.clone(), level: None, generation: None, why, link: None, act: None }
    }

    /// That of this generation.
    pub(super) fn of_generation(self, generation: u32) -> Self {
        Self { generation: Some(generation), ..self }
    }

    /// With a link, which is used up by it.
    pub(super) fn by_link(self, link: Hash) -> Self {
        Self { link: Some(link), ..self }
    }

    /// By somebody who wanted this.
    pub(super) fn wanting(self, act: Name) -> Self {
        Self { act: Some(act), ..self }
    }

    fn by_engine(what: LadderChange, why: String) -> Self {
        Self::by((&"quell".into(), &"engine".into()), what, why)
    }
}

impl<W: Send + 'static> Core<W> {
    /// A ladder begins, or begins again by what one of before began with.
    pub(super) fn begin_ladder(&mut self, started: LadderStarted, now: Stamp) {
        if self.definitions.escalation.is_none() {
            return;
        }
        let id = Outbox::begun(&started, now).id();
        let stream = StreamId::ladder(&id);
        let seq = self.ink.last(&stream);
        // Higher than any of before: each took a record at least.
        let generation = u32::try_from(seq).unwrap_or(u32::MAX).saturating_add(1);
        let started = LadderStarted { generation, ..started };
        let outbox = || Outbox::after(seq, &started, now);
        self.ladders.all.entry(id.clone()).or_insert_with(outbox);
        self.write_ladder(&id, vec![NewRecord::new(now, started)]);
    }

    /// A ladder is changed, and what people have of it put right.
    pub(super) fn change_ladder(&mut self, id: &LadderId, change: Change, now: Stamp) {
        self.route(id, now);
        let Some(outbox) = self.ladders.all.get(id) else { return };
        let Change { what, by, via, level, generation, why, link, act } = change;
        // Whoever says it a thousand times is in the journal once.
        if what == LadderChange::AnsweredTooLate && generation.is_some_and(|meant| outbox.was_late(&by, meant)) {
            return;
        }
        if what == LadderChange::TurnedAway && outbox.was_turned_away(&by, &via, act.as_ref()) {
            return;
        }
        let generation = generation.unwrap_or_else(|| outbox.generation());
        let holds = || outbox.would_answer(&by, generation) == Some(Answered::Acknowledged);
        let because = match what {
            LadderChange::Answered if holds() => Some(format!("{by} acknowledged it by {via}")),
            LadderChange::Progressed => Some(why.clone()),
            // The next step comes at once, and puts them right.
            _ => None,
        };
        let corrections = because.map(|because| outbox.corrections(&[], &because)).unwrap_or_default();
        let pages = outbox.keyed(self.not_to_suspects(outbox, corrections));
        let level = level.unwrap_or(outbox.level);
        let changed = LadderChanged { change: what, by, via, generation, level, why, pages, link, act };
        self.write_ladder(id, vec![NewRecord::new(now, changed)]);
    }

    /// What a ladder tells of is over: those who were told are told so, and nobody else.
    pub(super) fn end_ladder(&mut self, id: &LadderId, why: String, now: Stamp) {
        let Some(outbox) = self.ladders.all.get(id).filter(|outbox| !outbox.is_over()) else { return };
        let told = outbox.told().iter().map(|(to, way)| Page::new(to.clone(), way.clone(), TOLD.to_owned()));
        let mut pages: Vec<Page> = told.collect();
        pages.extend(outbox.corrections(&pages, TOLD));
        let told: Vec<To> = pages.iter().filter(|page| !page.quiet).map(|page| page.to.clone()).collect();
        let pages = self.not_to_suspects(outbox, pages);
        let is_left = |to: &&To| !pages.iter().any(|page| page.to == **to);
        let nobody: BTreeSet<String> = told.iter().filter(is_left).map(To::shown).collect();
        let nobody = nobody.into_iter().map(|target| Nobody { target, because: ASKED.to_owned() }).collect();
        let pages = outbox.keyed(pages);
        self.write_ladder(id, vec![NewRecord::new(now, LadderEnded { why, pages, nobody })]);
    }

    /// Moves on what is due, and sends what is to go.
    pub(super) fn ladders_go_on(&mut self, now: Stamp) {
        let until = now.after(INBOX_TURN);
        self.rise(now);
        self.news_go_out(now);
        while let Some(id) = self.ladders.pop(now) {
            self.climb(&id, now);
            if self.parts.clock.now().boot_ns >= until.boot_ns {
                // The rest has its turn after what the sensor sees now.
                break;
            }
        }
        if let Some(next) = self.ladders.next() {
            self.wake_at(next);
        }
    }

    pub(super) fn climb(&mut self, id: &LadderId, now: Stamp) {
        self.route(id, now);
        self.hush(id, now);
        loop {
            while let Some(made) = self.ladders.all.get(id).and_then(|outbox| outbox.next(now)) {
                if self.untried_go_first(id, now) {
                    break;
                }
                self.make(id, &made, now);
            }
            let Some(outbox) = self.ladders.all.get(id) else { return };
            let due = self.ladders.may_go(outbox).filter(|(.., from)| *from <= now);
            let due: Vec<(PageKey, u32)> = due.map(|(key, attempts, _)| (key.clone(), attempts + 1)).collect();
            if !due.is_empty() {
                // It survives whatever comes now, or nobody is told of it.
                self.ink.commit();
            }
            let failed = due.into_iter().filter(|(key, attempt)| !self.send(id, key, *attempt)).count();
            // What failed at once may have let the next step come.
            if failed == 0 {
                break;
            }
        }
        let is_left = |outbox: &Outbox| outbox.left().any(|key| self.ladders.under_way.contains_key(key));
        let is_told = |outbox: &&Outbox| outbox.is_over() && outbox.waiting().next().is_none() && !is_left(outbox);
        if let Some(told) = self.ladders.all.get(id).filter(is_told).map(Outbox::went) {
            self.write_ladder(id, vec![NewRecord::new(now, LadderClosed { told })]);
        }
        self.ladders.set(id);
    }

    /// What no channel was asked for while its step lasted goes out before the next step comes, which waits as long again; false:
    /// there is nothing such. Before what cannot go even now, since another page is at the same place, it waits once.
    fn untried_go_first(&mut self, id: &LadderId, now: Stamp) -> bool {
        let Some(outbox) = self.ladders.all.get(id) else { return false };
        let may_go: BTreeSet<&PageKey> =
            self.ladders.may_go(outbox).filter(|(.., from)| *from <= now).map(|(key, ..)| key).collect();
        let waited_for = self.ladders.waited_for.get(id);
        let is_waited_for = |key: &PageKey| waited_for.is_some_and(|all| all.contains(key));
        let untried = outbox
            .untried(now)
            .filter(|key| !self.ladders.under_way.contains_key(*key) && (may_go.contains(*key) || !is_waited_for(key)));
        let untried: Vec<PageKey> = untried.cloned().collect();
        let state = || PageState::Waits { why: ONLY_NOW.to_owned(), pause: Duration::ZERO };
        let of = |key: &PageKey| PageReceipted {
            key: key.clone(),
            attempt: 0,
            state: state(),
            instead: Vec::new(),
            together: None,
        };
        let records: Vec<NewRecord> = untried.iter().map(|key| NewRecord::new(now, of(key))).collect();
        let is_any = !records.is_empty();
        if is_any {
            self.ladders.waited_for.entry(id.clone()).or_default().extend(untried);
            self.write_ladder(id, records);
        }
        is_any
    }

    /// Those of which the last resort was told, and that nobody has answered.
    pub(super) fn exhausted(&self) -> Exhausted {
        let mut all: Vec<&Outbox> = self.ladders.all.values().filter(|outbox| outbox.is_exhausted()).collect();
        all.sort_by_key(|outbox| std::cmp::Reverse(outbox.level));
        let named = all.iter().take(MOST_NAMED);
        let one = |outbox: &&Outbox| {
            let title = outbox.started.title.clone();
            ExhaustedLadder { id: outbox.id(), level: outbox.level, title }
        };
        Exhausted { count: all.len() as u64, first: named.map(one).collect() }
    }

    /// Who is told now: a ladder that began goes on also where nobody would be told of a new incident.
    pub(super) fn told_by(&self) -> Arc<Escalation> {
        self.definitions.escalation.clone().unwrap_or_default()
    }

    /// Finds the policy of a ladder that has none yet.
    pub(super) fn route(&mut self, id: &LadderId, now: Stamp) {
        let Some(outbox) = self.ladders.all.get(id).filter(|outbox| outbox.ladder().is_none() && !outbox.is_over())
        else {
            return;
        };
        let (policy, definition, route) = self.policy_for(outbox, now);
        let definition = answers::json(definition);
        self.write_ladder(id, vec![NewRecord::new(now, LadderRouted { policy, definition, route, up_to: None })]);
    }

    /// The policy of the first route that an incident fits. One that cannot be evaluated fits: too many are told rather than nobody.
    fn policy_for(&self, outbox: &Outbox, now: Stamp) -> (Name, Policy, String) {
        match &outbox.started.question {
            Some(carried) => self.policy_of_question(carried, outbox, now),
            None => self.routed(outbox, now),
        }
    }

    fn routed(&self, outbox: &Outbox, now: Stamp) -> (Name, Policy, String) {
        let escalation = self.told_by();
        let started = &outbox.started;
        let facts = Facts {
            id: started.incident.clone().unwrap_or_else(|| "none".into()),
            level: outbox.level,
            tags: started.tags.clone(),
            rules: started.rules.clone(),
            entity: started.entity.clone(),
        };
        let incident = facts.to_json();
        let scope = Scope { incident: &incident, ..Scope::empty(now.wall) };
        for (number, route) in escalation.routes.iter().enumerate() {
            let number = number + 1;
            let (fits, why) = match &route.when {
                None => (true, format!("route {number} takes every incident")),
                Some(when) => match self.expressions.truth(when, &scope) {
                    Ok(fits) => (fits, format!("route {number}: `{when}`")),
                    Err(error) => {
                        (true, format!("route {number} could not be evaluated, and counts as one that fits: {error}"))
                    }
                },
            };
            if let (true, Some(policy)) = (fits, escalation.policies.get(&route.policy)) {
                return (route.policy.clone(), policy.clone(), why);
            }
        }
        (DEFAULT.into(), Policy::on_the_terminal(), "no route wants it".to_owned())
    }

    /// Makes a move: whom it reaches is found now, and written down with it.
    fn make(&mut self, id: &LadderId, made: &Move, now: Stamp) {
        let Some(outbox) = self.ladders.all.get(id) else { return };
        let Some(ladder) = outbox.ladder() else { return };
        let escalation = self.told_by();
        let on_call = |name: &Name| match escalation.schedules.get(name) {
            Some(schedule) => {
                let on = schedule::who(schedule, now.wall);
                let why = on.reason();
                (on.who, why)
            }
            None => (None, "there is no such schedule any more".to_owned()),
        };
        let mut reached = Reached::default();
        for step in ladder.telling(made.to) {
            reached.join(escalation.reach(&step.notify, &step.by, &on_call));
        }
        // Nobody has waited for those of a ladder that is sent on, and nobody stands behind a channel that wants to be left alone who
        // could be told by another way: what was not taken goes out with the rest.
        let is_carried = |page: &Page| ladder.is_sent_on() || self.ladders.is_left_alone(page, now);
        let left = outbox
            .waiting()
            .filter(|(key, page, ..)| !page.quiet && is_carried(page) && !self.ladders.under_way.contains_key(*key));
        let pages = left.map(|(_, page, ..)| page.clone()).collect();
        reached.join(Reached { pages, nobody: Vec::new() });
        if made.to == Place::LastResort {
            let mut last = escalation.reach(&ladder.policy().last_resort, &[], &on_call);
            if last.pages.is_empty() && outbox.started.question.is_none() {
                // Whom it was pinned to is there no more.
                let mut now = escalation.reach(&self.last_resort_now(outbox), &[], &on_call);
                now.nobody.retain(|nobody| !last.nobody.contains(nobody));
                last.join(now);
            }
            reached.join(last);
        }
        if let Some(carried) = &outbox.started.question {
            let (pages, nobody) = self.without_suspects(carried, reached.pages);
            reached.pages = pages;
            reached.nobody.extend(nobody);
        }
        if made.to == Place::LastResort && reached.pages.is_empty() {
            // Silence is never the end.
            let because = LAST_WORD.to_owned();
            reached.pages.push(Page::new(To::Channel("console".into()), Way::Console, because));
        }
        let is_anew = made.generation > outbox.generation();
        for nobody in &reached.nobody {
            tracing::warn!(ladder = %id, target = nobody.target, because = nobody.because, "nobody stands behind a target");
        }
        let mut pages = reached.pages;
        pages.extend(outbox.corrections(&pages, &made.because));
        let moved = LadderMoved {
            generation: made.generation,
            to: made.to,
            because: made.because.clone(),
            pages: outbox.keyed(pages),
            nobody: reached.nobody,
        };
        if made.to == Place::LastResort {
            tracing::error!(ladder = %id, because = made.because, "the last resort is told");
        }
        let incident = id.as_incident().filter(|_| is_anew).and_then(|id| self.live_or_journaled(&id).ok());
        self.ink.hold();
        let because = moved.because.clone();
        self.ladders.waited_for.remove(id);
        self.write_ladder(id, vec![NewRecord::new(now, moved)]);
        self.looked_after_no_more(incident, because, now);
        self.ink.let_go();
    }

    /// The last resort that a ladder's policy has now; where there is no such policy any more, that of the last route.
    fn last_resort_now(&self, outbox: &Outbox) -> Vec<Target> {
        let escalation = self.told_by();
        let named = outbox.policy().and_then(|name| escalation.policies.get(name));
        let last = || escalation.routes.last().and_then(|route| escalation.policies.get(&route.policy));
        named.or_else(last).map(|policy| policy.last_resort.clone()).unwrap_or_default()
    }

    /// Writes records of a ladder, which takes them up.
    pub(super) fn write_ladder(&mut self, id: &LadderId, records: Vec<NewRecord>) {
        let Some(outbox) = self.ladders.all.get_mut(id) else { return };
        self.ink.write(StreamId::ladder(id), outbox.seq, &records);
        records.iter().for_each(|record| outbox.apply(record.at, &record.body));
        let mut needless = Vec::new();
        for key in outbox.left() {
            match self.ladders.under_way.get(key) {
                Some(stop) => stop.raise(),
                None => needless.push(key.clone()),
            }
        }
        // Nobody is at them: they are done with now.
        let at = records.last().map(|record| record.at);
        if let (Some(at), false) = (at, needless.is_empty()) {
            let why = || PageState::Failed { why: NEEDLESS.to_owned() };
            let of = |key| NewRecord::new(at, needless_for(key, why()));
            return self.write_ladder(id, needless.into_iter().map(of).collect());
        }
        self.ladders.set(id);
        if let Some(next) = self.ladders.next() {
            self.wake_at(next);
        }
    }

    /// What an engine that died was perhaps at when an answer, the next step or the end made it needless: nobody sends it again,
    /// and the journal says so.
    pub(super) fn ladders_leave(&mut self, now: Stamp) {
        let left = self.ladders.all.iter().map(|(id, outbox)| (id.clone(), outbox.left().cloned().collect::<Vec<_>>()));
        let left: Vec<(LadderId, Vec<PageKey>)> = left.filter(|(_, keys)| !keys.is_empty()).collect();
        for (id, keys) in left {
            let why = || PageState::Failed { why: LEFT.to_owned() };
            let of = |key| NewRecord::new(now, needless_for(key, why()));
            self.write_ladder(&id, keys.into_iter().map(of).collect());
        }
    }

    /// Takes up the ladders that are not over.
    pub(super) fn recover_ladders(&mut self, open: &BTreeSet<StreamId>, now: Stamp) -> Result<(), StoreError> {
        for stream in open {
            let Some(id) = stream.as_ladder() else { continue };
            let records = self.parts.journal.read(stream, 1)?;
            let Some(Body::LadderStarted(started)) = records.first().map(|record| &record.body) else { continue };
            // What it was before may have been pruned.
            let mut outbox = Outbox::after(records[0].seq.saturating_sub(1), started, self.aged(records[0].at, now));
            for record in &records {
                let is_ours = self.is_of_this_boot(record.at, now);
                outbox.apply(if is_ours { record.at } else { self.aged(record.at, now) }, &record.body);
                if !is_ours {
                    outbox.rebase(now);
                }
            }
            let is_held = outbox.silenced().is_some();
            self.ladders.repeats.extend(outbox.waiting().map(|(key, ..)| key.clone()));
            self.ladders.all.insert(id.clone(), outbox);
            self.ladders.recovered.insert(id.clone());
            self.ladders.set(&id);
            if is_held {
                // The silence may have been ended since.
                self.ladders.look_at(&id, now);
            }
        }
        Ok(())
    }
}

/// What is said of a page to which no channel is asked any more.
fn needless_for(key: PageKey, state: PageState) -> PageReceipted {
    PageReceipted { key, attempt: 0, state, instead: Vec::new(), together: None }
}
