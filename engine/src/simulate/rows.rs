//! What is made of a night's records: a row for each that somebody would ask about, and who was not told that should have been.
//!
//! Owns the shapes. Reads the ladder's records alone, as whoever audits a real night.

use crate::escalation::ladder::{Ladder, Standing};
use crate::escalation::outbox::Outbox;
use crate::escalation::reach::LAST_WORD;
use jiff::Timestamp;
use quell_model::notice::{Page, PageKey, To, Way};
use quell_model::record::{LadderMoved, PageState, Place};
use quell_model::{Body, Name, Record, Stamp};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One thing that happens.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    /// Its number, from 1.
    pub id: String,
    /// How long after the incident was opened.
    #[serde(rename = "after_ms", serialize_with = "millis")]
    pub after: Duration,
    /// When.
    pub at: Timestamp,
    /// At which step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

fn millis<S: serde::Serializer>(span: &Duration, into: S) -> Result<S::Ok, S::Error> {
    into.serialize_u64(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

/// What happens.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// A page.
    Page {
        /// Whom.
        to: String,
        /// By which channel.
        by: String,
        /// The address there.
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<String>,
        /// What came of it.
        outcome: Outcome,
        /// Why it goes to them.
        why: String,
        /// Why the step comes.
        because: String,
    },
    /// Nobody stands behind a target.
    Nobody {
        /// The target, as the policy names it.
        target: String,
        /// Why.
        why: String,
    },
    /// Somebody answers.
    Answers {
        /// Who.
        by: Name,
    },
    /// quell is killed, and started again.
    Restarts,
}

/// What came of a page.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Outcome {
    /// Its channel took it.
    Sent,
    /// It did in the end.
    SentAfter {
        /// So often it was asked before.
        attempts: u32,
    },
    /// It never did.
    NotSent {
        /// So often it was asked.
        attempts: u32,
        /// Why, as it said last.
        why: String,
    },
}

/// How it ends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum End {
    /// Somebody looks after it.
    Acknowledged {
        /// Who.
        by: Name,
        /// When everybody is told anew if they do nothing; none: never.
        #[serde(skip_serializing_if = "Option::is_none")]
        raised_again: Option<Timestamp>,
    },
    /// The last resort was told, and nobody comes after it.
    Exhausted,
    /// It goes on for longer than a simulation looks.
    GoesOn,
}

/// A night.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Played {
    /// By which policy.
    pub policy: Name,
    /// Why by this one.
    pub route: String,
    /// What happens, in order.
    pub rows: Vec<Row>,
    /// How it ends.
    #[serde(flatten)]
    pub end: End,
    /// Who should have been told and was not; empty: everybody was who should be.
    pub untold: Vec<String>,
}

/// A page with the move that it belongs to.
struct Sent {
    row: usize,
    /// Whom it tells; none: it is printed where nobody has to look.
    to: Option<To>,
    attempts: u32,
    went: bool,
}

pub(super) fn played(has_console: bool, records: &[Record], marks: Vec<(Stamp, What)>) -> Played {
    let began = records.first().map_or(Stamp { wall: Timestamp::UNIX_EPOCH, boot_ns: 0 }, |first| first.at);
    let mut story = Story {
        has_console,
        began,
        rows: Vec::new(),
        pages: BTreeMap::new(),
        step: None,
        because: String::new(),
        untold: Vec::new(),
    };
    let (mut policy, mut route, mut outbox) = (Name::from("none"), String::new(), None);
    let mut marks = marks.into_iter().peekable();
    for record in records {
        while let Some((at, what)) = marks.next_if(|(at, _)| at.boot_ns < record.at.boot_ns) {
            story.row(at, None, what);
        }
        match &record.body {
            Body::LadderStarted(started) => outbox = Some(Outbox::begun(started, record.at)),
            Body::LadderRouted(routed) => {
                (policy, route) = (routed.policy.clone(), routed.route.clone());
            }
            Body::LadderMoved(moved) => story.moved(record.at, moved),
            Body::PageReceipted(receipted) => {
                story.receipt(&receipted.key, receipted.attempt, &receipted.state);
                for queued in &receipted.instead {
                    story.page(record.at, &queued.key, &queued.page);
                }
            }
            _ => {}
        }
        if let Some(outbox) = &mut outbox {
            outbox.apply(record.at, &record.body);
        }
    }
    for (at, what) in marks {
        story.row(at, None, what);
    }
    let end = end(outbox.as_ref());
    story.not_told();
    Played { policy, route, rows: story.rows, end, untold: story.untold }
}

fn end(outbox: Option<&Outbox>) -> End {
    match outbox.and_then(Outbox::ladder).map(Ladder::standing) {
        Some(Standing::Acknowledged { by, until }) => {
            End::Acknowledged { by: by.clone(), raised_again: until.map(|until| until.wall) }
        }
        Some(Standing::Exhausted | Standing::Ended) => End::Exhausted,
        Some(Standing::Climbing) | None => End::GoesOn,
    }
}

struct Story {
    /// The terminal is one of the channels of the file, and not only where what nobody takes is printed.
    has_console: bool,
    began: Stamp,
    rows: Vec<Row>,
    pages: BTreeMap<PageKey, Sent>,
    step: Option<String>,
    because: String,
    untold: Vec<String>,
}

impl Story {
    fn row(&mut self, at: Stamp, step: Option<String>, what: What) {
        let (id, after) = ((self.rows.len() + 1).to_string(), at.since(self.began));
        self.rows.push(Row { id, after, at: at.wall, step, what });
    }

    fn moved(&mut self, at: Stamp, moved: &LadderMoved) {
        let step = match moved.to {
            Place::Step { round: 0, step } => format!("step {}", step + 1),
            Place::Step { round, step } => format!("step {}, round {}", step + 1, round + 1),
            Place::LastResort => "last resort".to_owned(),
        };
        self.step = Some(step.clone());
        self.because.clone_from(&moved.because);
        for queued in moved.pages.iter().filter(|queued| !queued.page.quiet) {
            self.page(at, &queued.key, &queued.page);
        }
        for nobody in &moved.nobody {
            let (target, why) = (nobody.target.clone(), nobody.because.clone());
            self.row(at, Some(step.clone()), What::Nobody { target, why });
        }
        let reasons: Vec<String> =
            moved.nobody.iter().map(|nobody| format!("{}: {}", nobody.target, nobody.because)).collect();
        // What is printed where a last resort reaches nobody is nobody's.
        let own = moved.pages.iter().any(|queued| queued.page.because != LAST_WORD);
        if !own && !reasons.is_empty() {
            self.untold.push(format!("{step} reaches nobody ({})", reasons.join("; ")));
        }
    }

    fn page(&mut self, at: Stamp, key: &PageKey, page: &Page) {
        let address = match &page.way {
            Way::Console | Way::Webhook(_) => None,
            Way::Slack(address) | Way::Email(address) => Some(address.clone()),
        };
        let what = What::Page {
            to: match &page.to {
                To::Person(name) => name.to_string(),
                To::Channel(name) => format!("channel {name}"),
            },
            by: page.way.channel().to_owned(),
            address,
            outcome: Outcome::NotSent { attempts: 0, why: "something came before it went out".to_owned() },
            why: page.because.clone(),
            because: self.because.clone(),
        };
        let step = self.step.clone();
        self.row(at, step, what);
        let row = self.rows.len() - 1;
        let is_somebodys = page.way != Way::Console || self.has_console;
        let to = is_somebodys.then(|| page.to.clone());
        self.pages.insert(key.clone(), Sent { row, to, attempts: 0, went: false });
    }

    fn receipt(&mut self, key: &PageKey, attempt: u32, state: &PageState) {
        let Some(page) = self.pages.get_mut(key) else { return };
        page.attempts = page.attempts.max(attempt);
        let became = match state {
            PageState::Sent(_) if attempt <= 1 => Outcome::Sent,
            PageState::Sent(_) => Outcome::SentAfter { attempts: attempt - 1 },
            PageState::Waits { why, .. } | PageState::Failed { why } => {
                Outcome::NotSent { attempts: page.attempts, why: why.clone() }
            }
        };
        page.went |= matches!(state, PageState::Sent(_));
        if let Some(Row { what: What::Page { outcome, .. }, .. }) = self.rows.get_mut(page.row) {
            *outcome = became;
        }
    }

    /// Names whom no page reached of those who had one.
    fn not_told(&mut self) {
        let told: BTreeSet<&To> =
            self.pages.values().filter(|page| page.went).filter_map(|page| page.to.as_ref()).collect();
        let all: BTreeSet<&To> = self.pages.values().filter_map(|page| page.to.as_ref()).collect();
        let untold = all.difference(&told).map(|to| format!("{} is told by no way", to.shown()));
        let mut untold: Vec<String> = untold.collect();
        if told.is_empty() {
            untold.insert(0, "nobody at all is told".to_owned());
        }
        self.untold.extend(untold);
        let mut seen = BTreeSet::new();
        self.untold.retain(|one| seen.insert(one.clone()));
    }
}
