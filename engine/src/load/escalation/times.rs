//! Times as schedules have them: `09:00`, `2026-12-24T18:00`, `1 week`, `mon..fri`.
//!
//! Owns the one way in which each is written. Keeps true: a time has no offset and no zone of its own, the schedule's zone
//! holds; whatever is read is one that the calendar has.

use crate::escalation::schedule::{Every, Unit, day_number};
use crate::load::reader::{Reader, one_of};
use crate::load::yaml::{Node, Value};
use jiff::civil::{Date, DateTime, Time, Weekday};
use std::collections::BTreeSet;

/// The words of days.
pub(crate) const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// The words of units; each may end in an `s`.
pub(crate) const UNITS: [(&str, Unit); 4] =
    [("hour", Unit::Hour), ("day", Unit::Day), ("week", Unit::Week), ("month", Unit::Month)];

/// No shift has more of its unit: of months that is more than eighty years.
const MOST: u32 = 1000;

/// A time of day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Clock {
    /// As the clock shows it.
    At(Time),
    /// `24:00`: midnight, where the day ends.
    End,
}

impl Clock {
    /// What the clock shows.
    pub(super) fn shows(self) -> Time {
        match self {
            Self::At(time) => time,
            Self::End => Time::midnight(),
        }
    }
}

/// `09:00`.
pub(super) fn time(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Time> {
    match clock(reader, node, what)? {
        Clock::At(time) => Some(time),
        Clock::End => {
            reader.error(
                node.at,
                format!("{what} is `24:00`"),
                "a time of the day: `00:00` is where the next one begins",
            );
            None
        }
    }
}

/// `09:00`, or `24:00`.
pub(super) fn clock(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Clock> {
    const EXPECTED: &str = "a time of the day, in quotes: \"09:00\", \"17:30\"";
    let read = match &node.value {
        Value::Text(text) if text == "24:00" => Some(Clock::End),
        Value::Text(text) => hours_and_minutes(text).map(Clock::At),
        _ => None,
    };
    if read.is_none() {
        reader.error(node.at, format!("{what} is {}: no time of the day", shown(reader, node)), EXPECTED);
    }
    read
}

/// `2026-01-05`.
pub(super) fn date(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Date> {
    let text = text(node);
    match text.map(day_of) {
        Some(Ok(date)) => Some(date),
        Some(Err(Wrong::NoDay)) => {
            reader.error(
                node.at,
                format!("{what} is {}: the calendar has no such day", node.shown()),
                "a day that there is",
            );
            None
        }
        _ => {
            let expected = "a day as year, month and day: `2026-01-05`";
            reader.error(node.at, format!("{what} is {}: no date", shown(reader, node)), expected);
            None
        }
    }
}

/// `2026-12-24T18:00`, or a day, which is its midnight.
pub(super) fn date_time(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<DateTime> {
    let text = text(node).unwrap_or_default();
    let (day, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let wrong = match (day_of(day), hours_and_minutes(time)) {
        (Ok(date), Some(time)) => return Some(date.to_datetime(time)),
        (Err(Wrong::NoDay), Some(_)) => "the calendar has no such day",
        (Ok(_), None) if has_offset(time) => "the time zone is the schedule's, and stands there alone",
        _ => "no date with a time",
    };
    let expected = "a day and a time of the schedule's zone: `2026-12-24T18:00`";
    reader.error(node.at, format!("{what} is {}: {wrong}", shown(reader, node)), expected);
    None
}

/// `1 week`.
pub(super) fn every(reader: &mut Reader<'_>, node: &Node) -> Option<Every> {
    const EXPECTED: &str = "a number and its unit, like `1 week`, `12 hours` or `2 months`";
    let words: Vec<&str> = text(node).unwrap_or_default().split_whitespace().collect();
    let [count, unit] = words[..] else {
        reader.error(node.at, format!("`every` is {}", node.shown()), EXPECTED);
        return None;
    };
    let Some((_, unit)) = UNITS.iter().find(|(word, _)| unit.strip_suffix('s').unwrap_or(unit) == *word) else {
        let mistake = reader.source.error(node.at, format!("`every` is {}: `{unit}` is no unit", node.shown()));
        let known = UNITS.map(|(word, _)| word);
        reader.note_near(mistake.expected(one_of(&known)), unit.strip_suffix('s').unwrap_or(unit), known);
        return None;
    };
    match count.parse::<u32>() {
        Ok(count @ 1..=MOST) => Some(Every { count, unit: *unit }),
        _ => {
            reader.error(
                node.at,
                format!("`every` is {}", node.shown()),
                format!("a number from 1 to {MOST} before the unit"),
            );
            None
        }
    }
}

/// `mon`.
pub(super) fn day(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Weekday> {
    let text = reader.text(node, what)?;
    day_named(reader, node, text)
}

/// `mon..fri`, `sat`, or a list of those, counted from Monday.
pub(super) fn days(reader: &mut Reader<'_>, node: &Node) -> Option<BTreeSet<i8>> {
    let mut all = BTreeSet::new();
    if let Value::List(list) = &node.value {
        if list.is_empty() {
            reader.error(node.at, "`days` is empty", "at least one, like `[sat, sun]`; without `days` it is each");
            return None;
        }
        for item in list {
            all.append(&mut span_of_days(reader, item)?);
        }
        return Some(all);
    }
    span_of_days(reader, node)
}

fn span_of_days(reader: &mut Reader<'_>, node: &Node) -> Option<BTreeSet<i8>> {
    let text = reader.text(node, "`days`")?;
    if let Some((first, last)) = text.split_once('-')
        && is_day(first)
        && is_day(last)
    {
        let mut mistake = reader.source.error(node.at, format!("`{text}` is no day and no span of days"));
        mistake.nearest = Some(format!("{first}..{last}"));
        reader.note(mistake.expected("two dots between the first day and the last"));
        return None;
    }
    let Some((first, last)) = text.split_once("..") else {
        return Some(BTreeSet::from([day_number(day_named(reader, node, text)?)]));
    };
    let (first, last) = (day_named(reader, node, first.trim()), day_named(reader, node, last.trim()));
    let (first, last) = (day_number(first?), day_number(last?));
    // Beyond Sunday it goes on with Monday.
    let length = (last - first).rem_euclid(7);
    Some((0..=length).map(|at| (first + at) % 7).collect())
}

fn is_day(text: &str) -> bool {
    DAYS.iter().any(|(word, _)| *word == text)
}

fn day_named(reader: &mut Reader<'_>, node: &Node, text: &str) -> Option<Weekday> {
    if let Some((_, day)) = DAYS.iter().find(|(word, _)| *word == text) {
        return Some(*day);
    }
    let known = DAYS.map(|(word, _)| word);
    let mistake = reader.source.error(node.at, format!("`{text}` is no day")).expected(one_of(&known));
    // Whoever writes the whole name means its beginning.
    let begins = known.into_iter().find(|word| text.to_ascii_lowercase().starts_with(word));
    match begins {
        Some(word) => {
            let mut mistake = mistake;
            mistake.nearest = Some(word.to_owned());
            reader.note(mistake);
        }
        None => reader.note_near(mistake, text, known),
    }
    None
}

/// What a date has that is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    /// It is not written as one.
    NoDate,
    /// The 30th of February.
    NoDay,
}

fn day_of(text: &str) -> Result<Date, Wrong> {
    let mut parts = text.split('-');
    let mut next = |digits: usize| {
        let part = parts.next().filter(|part| part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()));
        part.and_then(|part| part.parse::<i16>().ok()).ok_or(Wrong::NoDate)
    };
    let (year, month, day) = (next(4)?, next(2)?, next(2)?);
    if parts.next().is_some() {
        return Err(Wrong::NoDate);
    }
    let narrow = |number: i16| i8::try_from(number).map_err(|_| Wrong::NoDay);
    Date::new(year, narrow(month)?, narrow(day)?).map_err(|_| Wrong::NoDay)
}

fn hours_and_minutes(text: &str) -> Option<Time> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| {
        let is_number = matches!(text.len(), 1 | 2) && text.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| text.parse::<i8>().ok()).flatten()
    };
    let minutes = number(minutes).filter(|_| minutes.len() == 2)?;
    Time::new(number(hours)?, minutes, 0, 0).ok()
}

/// Whether a time ends in `Z`, `+01:00` or `[Europe/Berlin]`.
fn has_offset(time: &str) -> bool {
    time.ends_with(['Z', 'z', ']']) || time.contains(['+', '-'])
}

fn text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text(text) => Some(text.trim()),
        _ => None,
    }
}

/// What is written, where YAML has made something else of it.
fn shown(reader: &Reader<'_>, node: &Node) -> String {
    match &node.value {
        Value::Int(_) | Value::Float(_) => format!("`{}`", reader.source.written(node.at)),
        _ => node.shown(),
    }
}
