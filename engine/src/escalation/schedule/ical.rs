//! A schedule as iCalendar (RFC 5545), for the calendars of people.
//!
//! Owns the text: an event a stretch of somebody, whole, also where it begins before what was asked for. Times are UTC, so that
//! a calendar with other zone data shows the same. Keeps true: the same stretch has the same UID whenever it is exported, so a
//! calendar that reads it again changes its events and doubles none (but what began over a year before); a hostile name stays
//! within its line.

use super::{Changes, Resolved, Schedule, Span, Why};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use quell_model::{Name, People};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Octets of a line without its end (RFC 5545, 3.1).
const LINE: usize = 75;
/// A stretch that begins longer ago is told from there on.
const BEFORE: SignedDuration = SignedDuration::from_hours(366 * 24);

/// A calendar that is being written.
#[derive(Clone, Debug)]
pub struct Calendar {
    text: Lines,
    stamp: Timestamp,
}

impl Calendar {
    /// An empty one, made at that moment.
    #[must_use]
    pub fn new(stamp: Timestamp) -> Self {
        let mut text = Lines(String::new());
        let head =
            ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//quell//on-call//EN", "CALSCALE:GREGORIAN", "METHOD:PUBLISH"];
        head.iter().for_each(|line| text.line(line));
        Self { text, stamp }
    }

    /// With who is on call by a schedule, over so many days from a moment on.
    pub fn add(&mut self, name: &Name, schedule: &Schedule, people: &People, from: Timestamp, days: u16) {
        let resolved = Resolved::new(schedule);
        let to = resolved.days_on(from, days);
        for span in whole(&resolved, from, to) {
            event(&mut self.text, name, &span, people, self.stamp);
        }
    }

    /// The whole text.
    #[must_use]
    pub fn end(mut self) -> String {
        self.text.line("END:VCALENDAR");
        self.text.0
    }
}

/// The stretches that lie in [from, to), with what of the first and the last lies outside.
fn whole<'a>(schedule: &Resolved<'a>, from: Timestamp, to: Timestamp) -> impl Iterator<Item = Span> + use<'a> {
    let begin = match schedule.who(from).why {
        Why::Override { from, .. } | Why::Layer { from, .. } => from,
        Why::NotBegun { .. } | Why::Outside | Why::NoLayer | Why::UnknownZone => from,
    };
    let earliest = from.checked_sub(BEFORE).unwrap_or(Timestamp::MIN);
    let spans: Changes<'a> = schedule.clone().changes(begin.max(earliest), to);
    spans.filter(move |span| span.to > from).map(|mut span| {
        span.to = span.on.until.unwrap_or(span.to);
        span
    })
}

fn event(text: &mut Lines, schedule: &Name, span: &Span, people: &People, stamp: Timestamp) {
    let (Some(who), Some(from), Some(to), Some(stamp)) = (&span.on.who, utc(span.from), utc(span.to), utc(stamp))
    else {
        return;
    };
    let name = people.people.get(who).map_or(who.as_str(), |person| person.name.as_str());
    text.line("BEGIN:VEVENT");
    text.line(&format!("UID:{}", uid(schedule, span)));
    text.line(&format!("DTSTAMP:{stamp}"));
    text.line(&format!("DTSTART:{from}"));
    text.line(&format!("DTEND:{to}"));
    text.line(&format!("SUMMARY:{}", escaped(&format!("{name} on call ({schedule})"))));
    text.line(&format!("DESCRIPTION:{}", escaped(&span.on.to_string())));
    // Who is on call may well have appointments.
    text.line("TRANSP:TRANSPARENT");
    text.line("END:VEVENT");
}

/// What a stretch is known by: its schedule, what put it there and its begin. Not who it is: a rotation that is changed changes
/// the event.
fn uid(schedule: &Name, span: &Span) -> String {
    let from = span.from.as_nanosecond();
    let cause = match &span.on.why {
        // Their numbers change when one above them is taken out.
        Why::Override { from, to, .. } => format!("override {} {}", from.as_nanosecond(), to.as_nanosecond()),
        Why::Layer { layer, .. } => format!("layer {layer}"),
        Why::NotBegun { .. } | Why::Outside | Why::NoLayer | Why::UnknownZone => "nobody".to_owned(),
    };
    let sum = Sha256::digest(format!("{schedule}\n{cause}\n{from}"));
    let mut uid = String::new();
    for byte in &sum[..16] {
        write!(uid, "{byte:02x}").expect("a String takes all");
    }
    uid + "@quell"
}

/// `20270314T070000Z`; none in a year that has not four digits.
fn utc(at: Timestamp) -> Option<String> {
    let there = TimeZone::UTC.to_datetime(at);
    (there.year() >= 0).then(|| there.strftime("%Y%m%dT%H%M%SZ").to_string())
}

/// A value of text (RFC 5545, 3.3.11). What no line may hold is left out.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        match char {
            '\\' | ';' | ',' => out.extend(['\\', char]),
            '\n' => out.push_str("\\n"),
            char if char.is_control() => {}
            char => out.push(char),
        }
    }
    out
}

/// Lines as they are sent.
#[derive(Clone, Debug)]
struct Lines(String);

impl Lines {
    /// Folded where it is too long, never within a character.
    fn line(&mut self, line: &str) {
        let mut room = LINE;
        for char in line.chars() {
            if char.len_utf8() > room {
                self.0.push_str("\r\n ");
                room = LINE - 1;
            }
            room -= char.len_utf8();
            self.0.push(char);
        }
        self.0.push_str("\r\n");
    }
}
