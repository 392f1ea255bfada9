//! News of an incident: what a playbook tells, and how runs have ended, in the messages that people have.
//!
//! ```text
//! tell, tell, … ──▶ news ── at once, then every PACE at most ──▶ LadderChanged: one quiet page for each message
//! a run ends ───────▶ │ ── with what waits, at once ──────────▶
//! ```
//!
//! Owns what waits to be said. Keeps true: however much is told, what is written and sent for it is bounded; whatever is left out
//! here stands in the incident's timeline; nobody is called by it.

use super::Change;
use crate::run::shell::Core;
use quell_model::record::LadderChange;
use quell_model::{IncidentId, LadderId, Stamp};
use std::time::Duration;

/// What is told in between is said together.
const PACE: Duration = Duration::from_secs(10);
/// So many lines are said at once, the last ones; of more it is said how many.
const MOST_LINES: usize = 5;
/// So many characters of each.
const MOST_OF_LINE: usize = 300;

/// What waits to be said of one incident.
#[derive(Default)]
pub(super) struct News {
    /// The last of what was told.
    lines: Vec<String>,
    /// How much was told before those.
    more: usize,
    /// Not before this moment.
    from: Option<Stamp>,
}

impl News {
    fn add(&mut self, line: &str) {
        if self.lines.len() == MOST_LINES {
            self.lines.remove(0);
            self.more += 1;
        }
        let cut = line.chars().count() > MOST_OF_LINE;
        let head: String = line.chars().take(MOST_OF_LINE).collect();
        self.lines.push(if cut { format!("{head}…") } else { head });
    }

    /// All of it, as one reason.
    fn take(&mut self, now: Stamp) -> String {
        self.from = Some(now.after(PACE));
        let more = std::mem::take(&mut self.more);
        let before = (more > 0).then(|| format!("{more} lines before"));
        before.into_iter().chain(std::mem::take(&mut self.lines)).collect::<Vec<_>>().join("; ")
    }

    fn waits(&self) -> bool {
        !self.lines.is_empty()
    }
}

impl<W: Send + 'static> Core<W> {
    /// A playbook has told something of an incident: the messages say so, with whatever else is told soon.
    pub(in crate::run) fn ladder_tells(&mut self, id: &IncidentId, line: &str, now: Stamp) {
        let ladder = LadderId::incident(id);
        if self.ladders.all.get(&ladder).is_some_and(|outbox| !outbox.is_over()) {
            let news = self.ladders.news.entry(ladder).or_default();
            let is_first = !news.waits();
            news.add(line);
            if is_first {
                self.wake_at(now);
            }
        }
    }

    /// A run of an incident has ended: the messages say so, with all that waits to be said.
    pub(in crate::run) fn ladder_progresses(&mut self, id: &IncidentId, what: &str, now: Stamp) {
        let ladder = LadderId::incident(id);
        let Some(outbox) = self.ladders.all.get(&ladder).filter(|outbox| !outbox.is_over()) else { return };
        let has_messages = outbox.has_messages();
        if has_messages || self.ladders.news.get(&ladder).is_some_and(News::waits) {
            self.ladders.news.entry(ladder.clone()).or_default().add(what);
        }
        if has_messages {
            self.say_news(&ladder, now);
        }
    }

    /// Says what may be said now.
    pub(super) fn news_go_out(&mut self, now: Stamp) {
        let of = |id: &LadderId| self.ladders.all.get(id).filter(|outbox| !outbox.is_over());
        let waits = self.ladders.news.iter().filter(|(_, news)| news.waits());
        let said: Vec<(LadderId, Stamp)> = waits
            .filter(|(id, _)| of(id).is_some_and(|outbox| outbox.has_messages()))
            .map(|(id, news)| (id.clone(), news.from.unwrap_or(now)))
            .collect();
        for (id, from) in said {
            if from <= now { self.say_news(&id, now) } else { self.wake_at(from) }
        }
    }

    fn say_news(&mut self, ladder: &LadderId, now: Stamp) {
        let Some(news) = self.ladders.news.get_mut(ladder) else { return };
        let what = news.take(now);
        self.change_ladder(ladder, Change::by_engine(LadderChange::Progressed, what), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_much_the_last_is_said_and_how_much_was_before() {
        let now = Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: 1 };
        let mut news = News::default();
        (0..1000).for_each(|number| news.add(&format!("{number}{}", "x".repeat(1000))));
        let said = news.take(now);
        assert!(said.starts_with("995 lines before; 995x") && said.contains("; 999x"), "{said}");
        assert!(said.chars().count() < MOST_LINES * (MOST_OF_LINE + 3) + 20, "{}", said.len());
        assert!(!news.waits() && news.from == Some(now.after(PACE)));
        news.add("one");
        assert_eq!(news.take(now), "one");
    }
}
