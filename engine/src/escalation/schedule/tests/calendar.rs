//! The iCalendar text: read strictly here, and by somebody else's reader where it is installed.

use super::*;
use quell_model::{People, Person};

/// A property of an event, unfolded and unescaped, or the reason why the text is no calendar.
type Event = std::collections::BTreeMap<String, String>;

/// Reads a calendar, and refuses what RFC 5545 does.
fn read(text: &str) -> Result<Vec<Event>, String> {
    let body = text.strip_suffix("\r\n").ok_or("no end of line at the end")?;
    let mut lines: Vec<String> = Vec::new();
    for line in body.split("\r\n") {
        if line.len() > 75 {
            return Err(format!("{} octets in {line:?}", line.len()));
        }
        if line.chars().any(char::is_control) {
            return Err(format!("a control character in {line:?}"));
        }
        match (line.strip_prefix(' '), lines.last_mut()) {
            (Some(rest), Some(last)) => last.push_str(rest),
            (Some(_), None) => return Err("it begins with a fold".to_owned()),
            (None, _) => lines.push(line.to_owned()),
        }
    }
    let mut lines = lines.iter().map(|line| line.split_once(':').ok_or(format!("no value in {line:?}")));
    let mut expect = |name: &str, value: &str| match lines.next() {
        Some(Ok(found)) if found == (name, value) => Ok(()),
        found => Err(format!("{found:?} instead of {name}:{value}")),
    };
    expect("BEGIN", "VCALENDAR")?;
    expect("VERSION", "2.0")?;
    let (mut events, mut now): (Vec<Event>, Option<Event>) = (Vec::new(), None);
    let mut ended = false;
    for line in lines {
        let (name, value) = line?;
        match (name, value, &mut now) {
            _ if ended => return Err(format!("{name} after the end")),
            ("BEGIN", "VEVENT", None) => now = Some(Event::new()),
            ("END", "VEVENT", Some(_)) => events.extend(now.take()),
            ("END", "VCALENDAR", None) => ended = true,
            (_, _, Some(event)) => {
                if event.insert(name.to_owned(), unescaped(value)?).is_some() {
                    return Err(format!("{name} twice"));
                }
            }
            ("PRODID" | "CALSCALE" | "METHOD", _, None) => {}
            _ => return Err(format!("{name}:{value} is nothing of a calendar's")),
        }
    }
    if ended { Ok(events) } else { Err("no end".to_owned()) }
}

fn unescaped(value: &str) -> Result<String, String> {
    let (mut out, mut chars) = (String::new(), value.chars());
    while let Some(char) = chars.next() {
        out.push(match char {
            '\\' => match chars.next() {
                Some('n' | 'N') => '\n',
                Some(char @ ('\\' | ';' | ',')) => char,
                other => return Err(format!("`\\` and {other:?} in {value:?}")),
            },
            ';' | ',' => return Err(format!("a bare {char:?} in {value:?}")),
            char => char,
        });
    }
    Ok(out)
}

fn hostile() -> String {
    format!("Ana; \\n, \"ж\"\r\nBEGIN:VALARM\u{7}{}", "ß🚨".repeat(40))
}

fn people() -> People {
    let mut people = People::default();
    people.people.insert("ana".into(), Person { name: hostile(), ..Person::default() });
    people
}

fn nights() -> Schedule {
    let mut nights = layer("ana bo", every(1, Unit::Week), "09:00", "2027-03-01");
    nights.restrict = vec![window(&[0, 1, 2, 3, 4, 5, 6], "22:00", "06:00")];
    let mut nights = schedule("America/New_York", vec![nights]);
    nights.overrides = vec![over("bo", "2027-03-10T12:00", "2027-03-10T13:00")];
    nights
}

fn export(schedule: &Schedule, from: &str, days: u16) -> String {
    let mut calendar = ical::Calendar::new(at("2027-01-01T00:00:00Z"));
    calendar.add(&"nights".into(), schedule, &people(), at(from), days);
    calendar.end()
}

#[test]
fn a_calendar_is_read_back() {
    let events = read(&export(&nights(), "2027-03-07T00:00:00Z", 5)).unwrap();
    let text = |event: &Event, name: &str| event[name].clone();
    let whens: Vec<_> = events.iter().map(|event| (text(event, "DTSTART"), text(event, "DTEND"))).collect();
    // Gaps are no events.
    let expected = [
        ("20270307T030000Z", "20270307T110000Z"),
        ("20270308T030000Z", "20270308T110000Z"),
        ("20270309T030000Z", "20270309T110000Z"),
        ("20270310T030000Z", "20270310T110000Z"),
        ("20270310T170000Z", "20270310T180000Z"),
        ("20270311T030000Z", "20270311T110000Z"),
    ];
    assert_eq!(whens, expected.map(|(from, to)| (from.to_owned(), to.to_owned())));
    let shown: String = hostile().chars().filter(|char| *char == '\n' || !char.is_control()).collect();
    assert_eq!(text(&events[0], "SUMMARY"), format!("{shown} on call (nights)"));
    assert_eq!(
        text(&events[4], "DESCRIPTION"),
        "bo: override 1, from Wed 2027-03-10 12:00 to Wed 2027-03-10 13:00 (America/New_York)"
    );
    assert!(events.iter().all(|event| text(event, "DTSTAMP") == "20270101T000000Z"));
}

#[test]
fn the_same_stretch_has_the_same_uid_whenever_it_is_exported() {
    let uids = |schedule: &Schedule, from| -> Vec<(String, String)> {
        let events = read(&export(schedule, from, 9)).unwrap();
        events.into_iter().map(|mut event| (event.remove("DTSTART").unwrap(), event.remove("UID").unwrap())).collect()
    };
    let first = uids(&nights(), "2027-03-07T05:00:00Z");
    let mut unique: Vec<_> = first.iter().map(|(_, uid)| uid).collect();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), first.len());
    // In the middle of an event, and after another override came above.
    for from in ["2027-03-08T04:00:00Z", "2027-03-10T17:30:00Z"] {
        let mut more = nights();
        more.overrides.insert(0, over("ana", "2027-06-01T00:00", "2027-06-02T00:00"));
        let later = uids(&more, from);
        let both = later.iter().filter(|event| first.contains(event)).count();
        assert!(later[0].0.as_str() < &from.replace(['-', ':'], "")[..15] && both >= 6, "{later:?} {first:?}");
        let last = &first[first.len() - 1].0;
        assert!(later.iter().take_while(|(begin, _)| begin <= last).all(|event| first.contains(event)));
    }
}

#[test]
fn the_strict_reader_refuses_what_is_none() {
    let good = export(&nights(), "2027-03-07T00:00:00Z", 2);
    assert!(read(&good).is_ok());
    for (from, to) in [("\r\n", "\n"), ("\r\n ", ""), ("\\;", ";"), ("END:VCALENDAR", "END:VEVENT"), ("UID:", "DTEND:")]
    {
        assert_ne!(good.replace(from, to), good, "{from:?} is there");
        assert!(read(&good.replace(from, to)).is_err(), "{from:?} as {to:?}");
    }
}
