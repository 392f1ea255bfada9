//! Pages of many incidents at once, as one message.
//!
//! Owns that message: what it says, and what its receipt means for each page that it stands for. Which pages go together is
//! `escalation::bundle`'s to say. Keeps true: each page has a receipt of its own in its own ladder, from its waiting to its end; a message
//! that was composed names all that it counts as told, is in the journal before it goes out, and goes again as the same where nobody knows
//! whether it went; an answer to it is one to the incident that leads it alone.

use super::job::Input;
use super::pages::Sent;
use super::shell::Core;
use crate::escalation::bundle::{ALONE, There, Turn, WINDOW};
use crate::escalation::outbox::Outbox;
use quell_model::notice::{Letter, Notice, Page, PageKey, Receipt};
use quell_model::record::{NewRecord, PageReceipted, PageState};
use quell_model::{LadderId, Stop};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

/// What the receipt of a page says that went out with others.
pub(super) const TOGETHER: &str = "one message for ";
/// So many incidents stand in one message by name.
const MOST_NAMED: usize = 10;

/// What goes out as one message.
pub(super) struct Going {
    /// The worst first.
    pub(super) parts: Vec<Part>,
    /// The key of the message for many; none: it is one page's own.
    pub(super) together: Option<PageKey>,
}

/// One of the pages that a message stands for.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) ladder: LadderId,
    pub(super) key: PageKey,
    pub(super) attempt: u32,
    /// It is not to be sent any more.
    pub(super) left: Stop,
}

impl Part {
    /// Why it went into no message.
    pub(super) const ANSWERED: &str = "an answer, the next step or the end came before it went out";
}

/// What became of the pages of one message: of one that stands alone as its channel says. One that stands for many is nobody's to put
/// right later, so that none of them takes its channel's name for it.
pub(super) fn receipts(parts: Vec<Part>, together: Option<&PageKey>, sent: Sent) -> Vec<Input> {
    let many = parts.len();
    let sent = match (sent, together) {
        (Ok(_), Some(key)) => {
            Ok(Receipt::Handed { reference: Some(format!("{TOGETHER}{many} pages: {}", key.as_str())) })
        }
        (sent, _) => sent,
    };
    parts.into_iter().map(|part| Input::Sent(part, together.cloned(), sent.clone())).collect()
}

impl<W: Send + 'static> Core<W> {
    /// The pages that go with this one, the worst first, itself among them; none: it waits, which is written down.
    pub(super) fn goes_with(&mut self, id: &LadderId, key: &PageKey, attempt: u32, page: &Page) -> Option<Going> {
        let part = || Part { ladder: id.clone(), key: key.clone(), attempt, left: Stop::default() };
        let alone = || Going { parts: vec![part()], together: None };
        let Some(outbox) = self.ladders.all.get(id) else { return Some(alone()) };
        if let Some(together) = outbox.pages().get(key).and_then(|outgoing| outgoing.together.clone()) {
            return Some(self.again(together, id));
        }
        // What calls nobody, what says that it is over and what asks stand for themselves. So does what may have been taken: whoever takes
        // keys would have it a second time, under that of others.
        let stands_alone = page.quiet || outbox.is_over() || outbox.started.question.is_some();
        if stands_alone || attempt > 1 && self.ladders.repeats.contains(key) {
            return Some(alone());
        }
        let now = self.parts.clock.now();
        let Some(policy) = outbox.policy().cloned() else { return Some(alone()) };
        let there = (page.to.clone(), page.way.clone());
        match self.bundles.turn(&there, (id, key), &policy, now) {
            Turn::Alone => Some(alone()),
            Turn::Gathered { until } => {
                let (most, within) = (ALONE, WINDOW.as_secs());
                let why =
                    format!("more than {most} pages within {within} s by {}: it goes with others", page.way.channel());
                // No channel was asked.
                let state = PageState::Waits { why, pause: until.since(now) };
                let (key, attempt, instead) = (key.clone(), attempt - 1, Vec::new());
                let receipted = PageReceipted { key, attempt, state, instead, together: None };
                self.write_ladder(id, vec![NewRecord::new(now, receipted)]);
                None
            }
            Turn::Leaves(all) => {
                let joins = |(ladder, key): &(LadderId, PageKey)| self.joins(ladder, key);
                let parts = self.ranked(all.iter().filter_map(joins).collect());
                Some(match parts.len() {
                    0 => alone(),
                    1 => Going { parts, together: None },
                    _ => Going { together: Some(self.composed(&parts, page)), parts },
                })
            }
        }
    }

    /// The worst first.
    fn ranked(&self, mut parts: Vec<Part>) -> Vec<Part> {
        let level = |part: &Part| self.ladders.all.get(&part.ladder).map(|outbox| outbox.level);
        parts.sort_by_key(|part| (Reverse(level(part)), part.ladder.clone()));
        parts
    }

    /// A message of its own, which is in the journal before it goes out: a provider that takes keys has none of these pages yet, and
    /// is given it again as the same.
    fn composed(&mut self, parts: &[Part], page: &Page) -> PageKey {
        let keys: Vec<&str> = parts.iter().map(|part| part.key.as_str()).collect();
        let together = PageKey::of(&keys.join(" "), 0, page);
        parts.iter().for_each(|part| self.goes_in(part, &together, parts.len()));
        self.ink.commit();
        together
    }

    /// A page goes now, in a message for so many.
    fn goes_in(&mut self, part: &Part, together: &PageKey, many: usize) {
        let why = format!("it goes in one message for {many} pages");
        let receipted = PageReceipted {
            key: part.key.clone(),
            attempt: part.attempt - 1,
            state: PageState::Waits { why, pause: Duration::ZERO },
            instead: Vec::new(),
            together: Some(together.clone()),
        };
        self.write_ladder(&part.ladder, vec![NewRecord::new(self.parts.clock.now(), receipted)]);
    }

    /// The same message once more, with those of its pages that nobody has made needless. Whoever was not asked for theirs yet has
    /// the time of their step from now on, and not of the ladder that sends alone.
    fn again(&mut self, together: PageKey, by: &LadderId) -> Going {
        let now = self.parts.clock.now();
        let mut parts = Vec::new();
        for (ladder, outbox) in &self.ladders.all {
            let waits = outbox.together(&together, now).filter(|(key, _)| !self.ladders.under_way.contains_key(*key));
            parts.extend(waits.map(|(key, attempts)| Part {
                ladder: ladder.clone(),
                key: key.clone(),
                attempt: attempts + 1,
                left: Stop::default(),
            }));
        }
        let untried = parts.iter().filter(|part| part.attempt == 1 && part.ladder != *by);
        untried.for_each(|part| self.goes_in(part, &together, parts.len()));
        Going { parts: self.ranked(parts), together: Some(together) }
    }

    /// A page that no channel has, and that nobody has made needless.
    fn joins(&self, ladder: &LadderId, key: &PageKey) -> Option<Part> {
        let outbox = self.ladders.all.get(ladder).filter(|outbox| !outbox.is_over())?;
        let now = self.parts.clock.now();
        let (_, attempts, _) = self.ladders.may_go(outbox).find(|(of, _, from)| *of == key && *from <= now)?;
        let (ladder, key) = (ladder.clone(), key.clone());
        Some(Part { ladder, key, attempt: attempts + 1, left: Stop::default() })
    }

    /// What goes out for these pages.
    pub(super) fn letter(&self, going: &Going) -> Option<Letter> {
        let Going { parts, together } = going;
        let first = parts.first()?;
        let outbox = self.ladders.all.get(&first.ladder)?;
        let page = outbox.pages().get(&first.key)?.page.clone();
        let repeat = parts.iter().any(|part| self.ladders.repeats.contains(&part.key));
        let there = (page.to.clone(), page.way.clone());
        let last_of = if page.quiet { Vec::new() } else { self.last_of(&there, going) };
        let Some(key) = together.clone() else {
            let (notice, earlier) = (self.notice(outbox), outbox.written(&page.to, &page.way).cloned());
            return Some(Letter { key: first.key.clone(), notice, repeat, earlier, page, is_bundle: false, last_of });
        };
        let notice = if parts.len() > 1 { self.notice_of(outbox, parts) } else { self.notice(outbox) };
        Some(Letter { key, notice, repeat, earlier: None, page, is_bundle: true, last_of })
    }

    /// The messages for many that whoever is there has of these, and that after this one stand for nobody any more.
    fn last_of(&self, there: &There, going: &Going) -> Vec<PageKey> {
        let outboxes = going.parts.iter().filter_map(|part| self.ladders.all.get(&part.ladder));
        let before: BTreeSet<&PageKey> = outboxes.filter_map(|outbox| outbox.bundled(there)).collect();
        let is_last = |with: &&&PageKey| {
            Some(**with) != going.together.as_ref() && !self.stands_for_others(with, there, &going.parts)
        };
        before.iter().filter(is_last).map(|with| (*with).clone()).collect()
    }

    /// Whether a message for many is still the last that whoever is there has of others than these.
    fn stands_for_others(&self, with: &PageKey, there: &There, parts: &[Part]) -> bool {
        let mut others = self.ladders.all.iter().filter(|(id, outbox)| {
            !outbox.is_over() && outbox.bundled(there) == Some(with) && parts.iter().all(|part| part.ladder != **id)
        });
        others.next().is_some()
    }

    /// What people are told of many incidents at once: the worst as ever, and which others.
    fn notice_of(&self, lead: &Outbox, parts: &[Part]) -> Notice {
        let notice = self.notice(lead);
        let (many, of) = (parts.len(), lead.id());
        let mut story =
            vec![format!("this message stands for {many} incidents; an answer to it is one to {of} alone:")];
        let outboxes = parts.iter().filter_map(|part| self.ladders.all.get(&part.ladder));
        let line = |outbox: &Outbox| {
            let started = &outbox.started;
            format!("{} {}: {}, about {}", outbox.level, outbox.id(), started.title, started.entity)
        };
        story.extend(outboxes.take(MOST_NAMED).map(line));
        match many.saturating_sub(MOST_NAMED) {
            0 => story.push("each of them: `quell incident show ID`".to_owned()),
            more => story.push(format!("and {more} more: `quell incident list`")),
        }
        story.extend(notice.story);
        Notice { title: format!("{many} incidents at once, the worst: {}", notice.title), story, ..notice }
    }
}
