//! Pages of many incidents at once, as one message.
//!
//! Owns that message: what it says, and what its receipt means for each page that it stands for. Which pages go together is
//! `escalation::bundle`'s to say. Keeps true: each page has a receipt of its own in its own ladder, from its waiting to its end; a message
//! that was composed names all that it counts as told; an answer to it is one to the incident that leads it alone.

use super::job::Input;
use super::pages::Sent;
use super::shell::Core;
use crate::escalation::bundle::{ALONE, Turn, WINDOW};
use crate::escalation::outbox::Outbox;
use quell_model::notice::{Letter, Notice, Page, PageKey, Receipt};
use quell_model::record::{NewRecord, PageReceipted, PageState};
use quell_model::{LadderId, Stop};
use std::cmp::Reverse;

/// What the receipt of a page says that went out with others.
pub(super) const TOGETHER: &str = "one message for ";
/// So many incidents stand in one message by name.
const MOST_NAMED: usize = 10;

/// One of the pages that a message stands for.
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
pub(super) fn receipts(parts: &[Part], key: &PageKey, sent: Sent) -> Vec<Input> {
    let many = parts.len();
    let sent = match sent {
        Ok(_) if many > 1 => {
            Ok(Receipt::Handed { reference: Some(format!("{TOGETHER}{many} pages: {}", key.as_str())) })
        }
        sent => sent,
    };
    let of = |part: &Part| Input::Sent(part.ladder.clone(), part.key.clone(), part.attempt, sent.clone());
    parts.iter().map(of).collect()
}

impl<W: Send + 'static> Core<W> {
    /// The pages that go with this one, the worst first, itself among them; none: it waits, which is written down.
    pub(super) fn goes_with(&mut self, id: &LadderId, key: &PageKey, attempt: u32, page: &Page) -> Option<Vec<Part>> {
        let alone = || vec![Part { ladder: id.clone(), key: key.clone(), attempt, left: Stop::default() }];
        let Some(outbox) = self.ladders.all.get(id) else { return Some(alone()) };
        // What calls nobody, what says that it is over and what asks stand for themselves.
        if page.quiet || outbox.is_over() || outbox.started.question.is_some() {
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
                let receipted = PageReceipted { key: key.clone(), attempt: attempt - 1, state, instead: Vec::new() };
                self.write_ladder(id, vec![NewRecord::new(now, receipted)]);
                None
            }
            Turn::Leaves(all) => {
                let joins = |(ladder, key): &(LadderId, PageKey)| self.joins(ladder, key);
                let mut parts: Vec<Part> = all.iter().filter_map(joins).collect();
                let rank = |part: &Part| {
                    let outbox = self.ladders.all.get(&part.ladder);
                    (Reverse(outbox.map(|outbox| outbox.level)), part.ladder.clone())
                };
                parts.sort_by_key(rank);
                Some(if parts.is_empty() { alone() } else { parts })
            }
        }
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
    pub(super) fn letter(&self, parts: &[Part]) -> Option<Letter> {
        let first = parts.first()?;
        let outbox = self.ladders.all.get(&first.ladder)?;
        let page = outbox.pages().get(&first.key)?.page.clone();
        let repeat = parts.iter().any(|part| self.ladders.repeats.contains(&part.key));
        if parts.len() == 1 {
            let (notice, earlier) = (self.notice(outbox), outbox.written(&page.to, &page.way).cloned());
            return Some(Letter { key: first.key.clone(), notice, repeat, earlier, page });
        }
        let keys: Vec<&str> = parts.iter().map(|part| part.key.as_str()).collect();
        // A message of its own: a provider that takes keys has none of these pages yet.
        let key = PageKey::of(&keys.join(" "), 0, &page);
        Some(Letter { key, notice: self.notice_of(outbox, parts), repeat, earlier: None, page })
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
