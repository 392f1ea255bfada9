//! Pages on their way: to a channel, and what became of them.
//!
//! Owns the ways to people and what is given to them. Never decides who is told: the ladder does (`ladder.rs`). Keeps true: no page is
//! taken as sent that its channel did not say was; one whose end nobody knows goes again as a repeat; no channel is given more
//! than [`AT_ONCE`], none before the time that it has asked for in answer to a call, and what waits before one is not
//! sent after an answer; of a last resort that no channel takes the terminal is told, and it is tried for ever.

use super::bundled::{self, Going, Part};
use super::job;
use super::ladder::TOLD;
use super::leases::{Place, Standing};
use super::shell::Core;
use crate::escalation::ladder::Ladder;
use crate::escalation::outbox::{Outbox, Outgoing, PUT_OFF, SELDOM, Stage};
use futures_util::future::FutureExt;
use quell_model::notice::{Channel, Notice, Page, PageKey, Receipt, SendError, To, Way};
use quell_model::record::{NewRecord, PageReceipted, PageState};
use quell_model::{IncidentId, LadderId, Name, Stop};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// A channel that has said nothing for so long has not taken a page.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// So many pages one channel is at; the others wait before it.
const AT_ONCE: usize = 8;
/// So many of an incident's runs are told of by name.
const MOST_TOLD: usize = 20;
/// So much of what stands and waits for a person is told of by name.
const MOST_STANDING: usize = 5;
/// No channel is left alone for longer, whatever it asks for.
const LONGEST_ALONE: Duration = Duration::from_secs(60 * 60);
/// So long it is tried to tell that it is over.
const AFTER_THE_END: Duration = Duration::from_secs(24 * 60 * 60);

/// The ways to people, by the word of each; what speaks to them is built where they are.
#[derive(Clone, Default)]
pub struct Post(BTreeMap<Name, (Arc<dyn Channel>, Arc<Semaphore>)>);

impl Post {
    /// These.
    #[must_use]
    pub fn new(channels: BTreeMap<Name, Arc<dyn Channel>>) -> Self {
        let bounded = |(word, channel)| (word, (channel, Arc::new(Semaphore::new(AT_ONCE))));
        Self(channels.into_iter().map(bounded).collect())
    }

    /// The same, in the place of another: what is still on its way by that counts here too.
    #[must_use]
    pub(super) fn after(mut self, before: &Self) -> Self {
        for (word, (_, room)) in &mut self.0 {
            if let Some((_, kept)) = before.0.get(word) {
                *room = Arc::clone(kept);
            }
        }
        self
    }
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// How a channel has not taken a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refused {
    /// It may yet.
    ForNow,
    /// It will not.
    ForGood,
}

/// How sending a page went.
pub(super) type Sent = Result<Receipt, SendError>;

impl<W: Send + 'static> Core<W> {
    /// Gives a page to its channel, beside; false: it has failed at once, which is written down.
    pub(super) fn send(&mut self, id: &LadderId, key: &PageKey, attempt: u32) -> bool {
        let Some(outbox) = self.ladders.all.get(id) else { return true };
        let waits = outbox.pages().get(key).filter(|outgoing| matches!(outgoing.stage, Stage::Waits { .. }));
        let Some(page) = waits.map(|outgoing| outgoing.page.clone()) else { return true };
        let word = page.way.channel().to_owned();
        let Some((channel, room)) = self.definitions.post.0.get(word.as_str()).cloned() else {
            let why = format!("there is no channel `{word}`, or it is off");
            self.receipt(id, key, attempt, Err(SendError::Never { why }), None);
            return false;
        };
        let now = self.parts.clock.now();
        if let Some(until) = self.ladders.not_before.get(word.as_str()).filter(|until| **until > now) {
            let why = format!("{word} has asked to be left alone");
            let after = Some(until.since(now));
            self.receipt(id, key, attempt, Err(SendError::Later { why, after }), None);
            return true;
        }
        let Some(going) = self.goes_with(id, key, attempt, &page) else { return true };
        let Some(letter) = self.letter(&going) else { return true };
        let Going { parts, together } = going;
        for part in &parts {
            self.ladders.under_way.insert(part.key.clone(), part.left.clone());
        }
        let (home, clock) = (self.handle.clone(), Arc::clone(&self.parts.clock));
        drop(self.parts.runtime.spawn(async move {
            // It is never closed.
            let _room = room.acquire().await;
            let sent = if parts.iter().all(|part| part.left.is_raised()) {
                Err(SendError::Never { why: Part::ANSWERED.to_owned() })
            } else {
                let deadline = clock.now().after(PATIENCE);
                let late = || Err(SendError::Unknown { why: format!("{word} has not answered for {PATIENCE:?}") });
                let send = AssertUnwindSafe(channel.send(&letter)).catch_unwind().map(|sent| {
                    sent.unwrap_or_else(|why| {
                        Err(SendError::Unknown { why: format!("{word} died: {}", job::words(&*why)) })
                    })
                });
                job::within(clock, deadline, Stop::default(), send, late).await
            };
            for receipt in bundled::receipts(parts, together.as_ref(), sent) {
                home.send(receipt).await;
            }
        }));
        true
    }

    /// What people are told now.
    pub(super) fn notice(&self, outbox: &Outbox) -> Notice {
        let started = &outbox.started;
        let runs = self.runs.values();
        let runs = runs.filter(|live| started.incident.is_some() && live.run.started.incident == started.incident);
        let run = |live: &super::shell::Live| {
            let run = &live.run;
            format!(
                "run {} of {} ({}) is {}",
                run.started.run,
                run.started.playbook,
                run.started.mode,
                run.state().as_str()
            )
        };
        let mut told: Vec<String> = runs.take(MOST_TOLD + 1).map(run).collect();
        if told.len() > MOST_TOLD {
            told.truncate(MOST_TOLD);
            told.extend(started.incident.iter().map(|id| format!("and more: `quell incident show {id}`")));
        }
        if started.question.is_none() {
            told.extend(started.incident.iter().flat_map(|id| self.waits_standing(id)));
        }
        let question = started.question.as_ref().filter(|_| !outbox.is_over()).and_then(|of| self.asking(of));
        outbox.notice(told, question)
    }

    /// What stands of an incident's runs until a person says.
    fn waits_standing(&self, incident: &IncidentId) -> Vec<String> {
        let mut due = self.leases.due_of(incident);
        let line = |((run, part), standing): (&Place, &Standing)| {
            let (action, step) = (&standing.action, &part.step);
            format!(
                "{part} of run {run} ({action}) stands: `quell run keep {run}/{step}` or `quell run undo {run}/{step}`"
            )
        };
        let mut told: Vec<String> = due.by_ref().take(MOST_STANDING).map(line).collect();
        let more = due.count();
        told.extend((more > 0).then(|| format!("{more} more stand: `quell status`")));
        told
    }

    /// A channel has answered.
    pub(super) fn page_sent(&mut self, part: &Part, together: Option<PageKey>, sent: Sent) {
        let Part { ladder, key, attempt, .. } = part;
        self.ladders.under_way.remove(key);
        if let Err(SendError::Later { after: Some(after), .. }) = &sent {
            self.left_alone(ladder, key, *after);
        }
        self.receipt(ladder, key, *attempt, sent, together);
        self.climb(ladder, self.parts.clock.now());
    }

    /// Writes down what became of a page.
    fn receipt(&mut self, id: &LadderId, key: &PageKey, attempt: u32, sent: Sent, together: Option<PageKey>) {
        let now = self.parts.clock.now();
        if let Err(SendError::Unknown { .. }) = &sent {
            self.ladders.repeats.insert(key.clone());
        }
        let asked_for = match &sent {
            Err(SendError::Later { after, .. }) => after.map(|after| after.min(LONGEST_ALONE)),
            _ => None,
        };
        let Some(outbox) = self.ladders.all.get(id) else { return };
        let is_last = outbox.ladder().is_some_and(Ladder::is_at_last_resort) && !outbox.is_over();
        let mut instead = Vec::new();
        let state = match sent {
            Ok(receipt) => PageState::Sent(receipt),
            Err(SendError::Later { why, .. } | SendError::Unknown { why })
                if outbox.over().is_some_and(|over| now.since(over) >= AFTER_THE_END) =>
            {
                instead = self.other_way(outbox, key, &why, Refused::ForGood);
                PageState::Failed { why: format!("{why}; it is over, and is not tried again") }
            }
            Err(SendError::Later { why, .. } | SendError::Unknown { why }) => {
                if attempt >= PUT_OFF || asked_for.is_some_and(|after| after >= PATIENCE) {
                    instead = self.other_way(outbox, key, &why, Refused::ForNow);
                }
                PageState::Waits { why, pause: outbox.pause(key, attempt, asked_for) }
            }
            Err(SendError::Never { why }) => {
                instead = self.other_way(outbox, key, &why, Refused::ForGood);
                // What refuses now may be mended, and nobody else was told.
                let is_call = |call: &Outgoing| !call.page.quiet && call.page.way != Way::Console;
                let is_left = is_last
                    && !outbox.is_anybody_told()
                    && outbox.pages().get(key).is_some_and(is_call)
                    && instead.iter().all(|page| page.way == Way::Console);
                if is_left { PageState::Waits { why, pause: SELDOM } } else { PageState::Failed { why } }
            }
        };
        if !matches!(state, PageState::Waits { .. }) {
            self.ladders.repeats.remove(key);
        }
        if let PageState::Waits { why, .. } | PageState::Failed { why } = &state {
            tracing::warn!(ladder = %id, page = key.as_str(), why, "a page did not go out");
        }
        // Silence is never the end: what the last resort's channel puts off or refuses is printed meanwhile.
        let calls = outbox.pages().get(key).filter(|outgoing| !outgoing.page.quiet);
        let mut pages = outbox.pages().values().map(|outgoing| &outgoing.page).chain(&instead);
        let is_printed = pages.any(|page| page.way == Way::Console);
        if let (PageState::Waits { why, .. }, true, false, Some(outgoing)) = (&state, is_last, is_printed, calls) {
            let because = format!("{}; {} has not taken it: {why}", outgoing.page.because, outgoing.page.way.channel());
            instead.push(Page { way: Way::Console, because, ..outgoing.page.clone() });
        }
        // Whoever was told by a page that was left is told of the end as well.
        let unknown = outbox
            .displaced(key)
            .filter(|page| !page.quiet && !outbox.told().contains(&(page.to.clone(), page.way.clone())));
        match (&state, unknown) {
            (PageState::Sent(_), Some(page)) if outbox.is_over() && outbox.calls_there(page) => {}
            (PageState::Sent(_), Some(page)) if outbox.is_over() => {
                instead.push(Page::new(page.to.clone(), page.way.clone(), TOLD.to_owned()));
            }
            // It stands there as it was before the answer, or the next step, came.
            (PageState::Sent(Receipt::Delivered { reference: Some(_) }), Some(page)) => {
                instead.push(Page::quiet(page.to.clone(), page.way.clone(), outbox.because.clone()));
            }
            _ => {}
        }
        let instead = outbox.keyed(instead);
        let receipted = PageReceipted { key: key.clone(), attempt, state, instead, together };
        self.write_ladder(id, vec![NewRecord::new(now, receipted)]);
    }

    /// A channel that has asked for it is given nothing before that time. What only puts right a message that is there holds no call
    /// back.
    fn left_alone(&mut self, id: &LadderId, key: &PageKey, after: Duration) {
        let page = self.ladders.all.get(id).and_then(|outbox| outbox.all_pages().find(|(of, _)| *of == key));
        if let Some((_, page)) = page.filter(|(_, page)| !page.quiet) {
            let until = self.parts.clock.now().after(after.min(LONGEST_ALONE));
            let word = Name::from(page.way.channel());
            let there = self.ladders.not_before.entry(word).or_insert(until);
            *there = until.max(*there);
        }
    }

    /// The next way to somebody whom the step at hand, or the end, reaches by none now.
    fn other_way(&self, outbox: &Outbox, key: &PageKey, why: &str, refused: Refused) -> Vec<Page> {
        let Some(page) = outbox.pages().get(key).map(|outgoing| &outgoing.page) else { return Vec::new() };
        if page.quiet || outbox.is_over() && refused == Refused::ForNow {
            return Vec::new();
        }
        let escalation = self.told_by();
        // The terminal is nobody's own. Where no file names it, it has the last word alone: the next step comes before it.
        let is_last = outbox.ladder().is_some_and(Ladder::is_at_last_resort) && !outbox.is_over();
        let console = (is_last || escalation.channels.console).then_some(Way::Console);
        let did = if refused == Refused::ForGood { "did not take it" } else { "has not taken it" };
        let because = format!("{}; {} {did}: {why}", page.because, page.way.channel());
        let mut instead: Vec<Page> = Vec::new();
        for name in page.people() {
            let to = To::Person(name.clone());
            let is_told = match refused {
                Refused::ForGood => outbox.is_told_otherwise(key, &to),
                Refused::ForNow => outbox.is_told_soon(key, &to, self.parts.clock.now().after(PATIENCE)),
            };
            if is_told {
                continue;
            }
            let tried = outbox.tried(&to);
            let ways = escalation.ways_to(name, &[]).into_iter().chain(console.clone());
            let is_barred =
                |way: &Way| outbox.started.question.as_ref().is_some_and(|carried| self.is_barred(carried, way));
            let is_own = |way: &Way| refused == Refused::ForGood || *way != Way::Console;
            let mut left = ways.into_iter().filter(|way| !tried.contains(way) && !is_barred(way) && is_own(way));
            let Some(way) = left.next() else { continue };
            // What stands there already tells whoever else is reached there.
            match instead.iter_mut().find(|other| other.way == way) {
                Some(other) => other.also.push(name.clone()),
                None => instead.push(Page::new(to, way, because.clone())),
            }
        }
        self.not_to_suspects(outbox, instead)
    }
}
