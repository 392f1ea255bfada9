//! Lines of a ladder: who was told when, by which way, and what came of it.
//!
//! Owns the words. Decides nothing.

use super::timeline::{Teller, TimelineLine, cut};
use crate::escalation::outbox::Outbox;
use crate::store::Journal;
use jiff::Timestamp;
use quell_model::notice::{Notice, Page, PageKey, Receipt, To, Way};
use quell_model::record::{
    Carried, LadderChange, LadderChanged, LadderMoved, LadderRouted, LadderSilenced, PageReceipted, PageState, Place,
    Queued,
};
use quell_model::{Body, Json, Kind, LadderId, Record, RunId, Stamp, StoreError, StreamId};
use std::collections::{BTreeSet, HashMap};

/// What was told of each question of a run, a story each.
pub(super) fn of_questions(
    journal: &Journal,
    run: &RunId,
    records: &[Record],
) -> Result<Vec<Vec<TimelineLine>>, StoreError> {
    let carried = records.iter().filter_map(|record| match &record.body {
        Body::QuestionAsked(asked) => Some(Carried::of(run, &asked.part, asked.question).ladder()),
        _ => None,
    });
    let story = |ladder: &LadderId| {
        let (mut teller, mut told) = (Teller::new(&[]), Vec::new());
        journal.visit(&StreamId::ladder(ladder), 1, Kind::ALL, &mut |record| {
            told.extend(teller.line(&record, Some(run)));
        })?;
        Ok(told)
    };
    carried.collect::<BTreeSet<_>>().iter().map(story).collect()
}

/// So many of the last lines are told.
const LAST: usize = 12;

/// How a ladder has gone, for whoever answers one of its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LadderTold {
    /// When it began, the last time that it did.
    pub since: Timestamp,
    /// The last lines of its story, the latest last.
    pub lines: Vec<(Timestamp, String)>,
    /// How it ended, if it has.
    pub ended: Option<String>,
}

/// How a ladder has gone; none: there is no such.
///
/// # Errors
/// The journal cannot be read.
pub fn ladder(journal: &Journal, id: &LadderId) -> Result<Option<LadderTold>, StoreError> {
    let mut pages = Pages::default();
    let mut told: Option<LadderTold> = None;
    for record in journal.read(&StreamId::ladder(id), 1)? {
        let at = record.at.wall;
        match (&record.body, &mut told) {
            (Body::LadderStarted(_), _) => told = Some(LadderTold { since: at, lines: Vec::new(), ended: None }),
            (Body::LadderEnded(ended), Some(told)) => told.ended = Some(cut(&ended.why)),
            _ => {}
        }
        let (Some(line), Some(told)) = (pages.line(&record), &mut told) else { continue };
        told.lines.push((at, line));
    }
    if let Some(told) = &mut told {
        told.lines.drain(..told.lines.len().saturating_sub(LAST));
    }
    Ok(told)
}

/// What a message of a ladder said last, as far as its records tell: for one that is closed, that is all of it; none: there is no
/// such.
///
/// # Errors
/// The journal cannot be read.
pub fn last_notice(journal: &Journal, id: &LadderId) -> Result<Option<Notice>, StoreError> {
    let records = journal.read(&StreamId::ladder(id), 1)?;
    let Some((first, Body::LadderStarted(started))) = records.first().map(|record| (record, &record.body)) else {
        return Ok(None);
    };
    let mut outbox = Outbox::begun(started, first.at);
    records.iter().for_each(|record| outbox.apply(record.at, &record.body));
    Ok(Some(outbox.notice(Vec::new(), None)))
}

/// The pages of a ladder's records so far, by their keys: to whom, and by which way.
#[derive(Debug, Default)]
pub(super) struct Pages(HashMap<PageKey, String>);

impl Pages {
    /// The line of a record of a ladder; none: another's line says it.
    pub(super) fn line(&mut self, record: &Record) -> Option<String> {
        match &record.body {
            // Its first move says why.
            Body::LadderStarted(_) | Body::LadderClosed(_) => None,
            Body::LadderRouted(routed) => Some(routed_line(routed)),
            Body::LadderMoved(moved) => {
                self.learn(&moved.pages);
                Some(moved_line(moved))
            }
            Body::PageReceipted(receipted) => {
                self.learn(&receipted.instead);
                receipted_line(receipted, self.0.get(&receipted.key).map_or("somebody", String::as_str))
            }
            Body::LadderChanged(changed) => {
                self.learn(&changed.pages);
                changed_line(changed)
            }
            Body::LadderSilenced(silenced) => Some(silenced_line(silenced, record.at)),
            Body::LadderEnded(ended) if ended.pages.is_empty() => None,
            Body::LadderEnded(ended) => {
                self.learn(&ended.pages);
                Some(format!("{} that it is over", told(&ended.pages)))
            }
            _ => None,
        }
    }

    fn learn(&mut self, pages: &[Queued]) {
        self.0.extend(pages.iter().map(|queued| {
            let page = &queued.page;
            (queued.key.clone(), format!("{} by {}", to(page), way(&page.way)))
        }));
    }
}

/// Which silence holds a ladder back after this record.
pub(super) fn holds_back(silenced: &mut Option<LadderSilenced>, record: &Record) {
    match &record.body {
        Body::LadderSilenced(by) => *silenced = (by.until > record.at).then(|| (**by).clone()),
        Body::LadderStarted(_) | Body::LadderMoved(_) | Body::LadderEnded(_) => *silenced = None,
        Body::LadderChanged(changed) if changed.change == LadderChange::Escalated => *silenced = None,
        _ => {}
    }
}

/// A ladder by its records so far, and when its last resort was told.
#[derive(Default)]
pub(super) struct LastResort {
    outbox: Option<Outbox>,
    told: Option<Stamp>,
}

impl LastResort {
    /// Takes in the next record.
    pub(super) fn take(&mut self, record: &Record) {
        if let (Body::LadderStarted(started), None) = (&record.body, &self.outbox) {
            self.outbox = Some(Outbox::begun(started, record.at));
        }
        if let Some(outbox) = &mut self.outbox {
            outbox.apply(record.at, &record.body);
        }
        if matches!(&record.body, Body::LadderMoved(moved) if moved.to == Place::LastResort) {
            self.told = Some(record.at);
        }
    }

    /// Since when it is told and nobody has answered; none: that is not so.
    pub(super) fn unanswered(&self) -> Option<Stamp> {
        self.told.filter(|_| self.outbox.as_ref().is_some_and(Outbox::is_exhausted))
    }
}

fn silenced_line(silenced: &LadderSilenced, at: Stamp) -> String {
    let what = cut(&silenced.shown());
    match silenced.until <= at {
        true => format!("{what} holds it back no longer"),
        false => format!("{what} holds it back until {:.0}", silenced.until.wall),
    }
}

fn routed_line(routed: &LadderRouted) -> String {
    let (policy, route) = (&routed.policy, cut(&routed.route));
    let steps = routed.definition.get("steps").and_then(Json::as_array).map_or(0, Vec::len);
    let is_step = |step: &u32| usize::try_from(*step).is_ok_and(|step| step < steps);
    match routed.up_to {
        None => format!("goes by the policy {policy}: {route}"),
        Some(step) if is_step(&step) => format!("goes up to step {} of the policy {policy}: {route}", step + 1),
        Some(_) => format!("goes up to the last resort of the policy {policy}: {route}"),
    }
}

fn moved_line(moved: &LadderMoved) -> String {
    let place = match moved.to {
        Place::Step { round: 0, step } => format!("step {}", step + 1),
        Place::Step { round, step } => format!("step {}, round {}", step + 1, round + 1),
        Place::LastResort => "the last resort".to_owned(),
    };
    let mut line = format!("{place} ({})", cut(&moved.because));
    if !moved.pages.is_empty() {
        line.push_str(&format!(": {}", told(&moved.pages)));
    }
    for nobody in &moved.nobody {
        line.push_str(&format!("; nobody for {}: {}", nobody.target, cut(&nobody.because)));
    }
    line
}

fn told(pages: &[Queued]) -> String {
    let mut whom: Vec<String> = Vec::new();
    for page in pages.iter().map(|queued| &queued.page) {
        let by = way(&page.way);
        match whom.last_mut().filter(|last| last.starts_with(&format!("{} by ", to(page)))) {
            Some(last) => last.push_str(&format!(" and {by}")),
            None => whom.push(format!("{} by {by}", to(page))),
        }
    }
    format!("tells {}", whom.join(", "))
}

fn to(page: &Page) -> String {
    let mut whom = match &page.to {
        To::Person(name) => name.to_string(),
        To::Channel(name) => format!("the channel {name}"),
    };
    page.also.iter().for_each(|name| whom.push_str(&format!(" and {name}")));
    whom
}

fn way(way: &Way) -> String {
    match way {
        Way::Console => "the terminal".to_owned(),
        Way::Slack(address) => format!("Slack ({address})"),
        Way::Email(address) => format!("mail ({address})"),
        Way::Webhook(name) => format!("the webhook {name}"),
    }
}

fn receipted_line(receipted: &PageReceipted, whom: &str) -> Option<String> {
    let instead = match receipted.instead.is_empty() {
        true => String::new(),
        false => format!("; in its place {}", told(&receipted.instead)),
    };
    match &receipted.state {
        PageState::Sent(Receipt::Delivered { .. }) => Some(format!("the page to {whom} was delivered")),
        PageState::Sent(Receipt::Handed { .. }) => Some(format!("the page to {whom} was handed on")),
        // It goes now, and its end says in which message.
        PageState::Waits { pause, .. } if pause.is_zero() && receipted.together.is_some() => None,
        PageState::Waits { why, pause } if pause.is_zero() => {
            Some(format!("the page to {whom} goes out late: {}", cut(why)))
        }
        PageState::Waits { why, .. } if !receipted.instead.is_empty() => {
            let beside = told(&receipted.instead);
            Some(format!("the page to {whom} has to wait: {}; beside it {beside}", cut(why)))
        }
        // Its end says more; a page that waits long is told at its first failure and then by its end.
        PageState::Waits { .. } if receipted.attempt > 1 => None,
        PageState::Waits { why, .. } => Some(format!("the page to {whom} has to wait: {}", cut(why))),
        // No attempt: what a dead engine left.
        PageState::Failed { why } if receipted.attempt == 0 => {
            Some(format!("the page to {whom} is not sent again: {}", cut(why)))
        }
        PageState::Failed { why } => {
            Some(format!("the page to {whom} failed at attempt {}: {}{instead}", receipted.attempt, cut(why)))
        }
    }
}

fn changed_line(changed: &LadderChanged) -> Option<String> {
    match changed.change {
        LadderChange::Answered => Some(format!("{} answered by {}", changed.by, changed.via)),
        LadderChange::AnsweredTooLate => Some(format!(
            "{} answered by {} what has been asked anew since: it changes nothing",
            changed.by, changed.via
        )),
        LadderChange::Unacknowledged | LadderChange::Escalated | LadderChange::Raised | LadderChange::Grown => {
            Some(cut(&changed.why))
        }
        LadderChange::TurnedAway => Some(format!("an answer by {} had no effect: {}", changed.via, cut(&changed.why))),
        // What it is said of has a line of its own.
        LadderChange::Touched | LadderChange::Progressed | LadderChange::Used => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn where_a_ladder_is_sent_is_said() {
        let said = |up_to| {
            let definition = json!({ "steps": [{}, {}] });
            routed_line(&LadderRouted { policy: "night".into(), definition, route: "run r-1 escalates".into(), up_to })
        };
        assert_eq!(said(None), "goes by the policy night: run r-1 escalates");
        assert_eq!(said(Some(1)), "goes up to step 2 of the policy night: run r-1 escalates");
        assert_eq!(said(Some(2)), "goes up to the last resort of the policy night: run r-1 escalates");
    }
}
