//! Who is on call, and why: the order of overrides and layers, the reasons, and until when an answer holds.

use super::*;

/// The spec's example: a week each, from Monday to Monday at nine.
fn primary() -> Schedule {
    let mut weekly = layer("ana bo chi", every(1, Unit::Week), "09:00", "2026-01-05");
    weekly.handoff.day = Some(Weekday::Monday);
    let mut primary = schedule("America/New_York", vec![weekly]);
    primary.overrides = vec![over("bo", "2026-12-24T00:00", "2026-12-27T00:00")];
    primary
}

fn secondary() -> Schedule {
    let mut secondary = primary();
    secondary.overrides.clear();
    secondary.layers[0].restrict = vec![window(&[0, 1, 2, 3, 4], "09:00", "17:00")];
    secondary
}

#[track_caller]
fn says(schedule: &Schedule, moment: &str, expected: &str, until: Option<&str>) {
    let on = who(schedule, at(moment));
    assert_eq!((on.to_string().as_str(), on.until), (expected, until.map(at)), "{moment}");
}

#[test]
fn a_reason_is_a_sentence() {
    let zone = "(America/New_York)";
    says(
        &primary(),
        "2026-01-05T13:59:59Z",
        &format!("nobody: the first shift begins at Mon 2026-01-05 09:00 {zone}"),
        Some("2026-01-05T14:00:00Z"),
    );
    says(
        &primary(),
        "2026-01-19T14:00:00Z",
        &format!("chi: layer 1, shift 3, from Mon 2026-01-19 09:00 to Mon 2026-01-26 09:00 {zone}"),
        Some("2026-01-26T14:00:00Z"),
    );
    says(
        &primary(),
        "2026-12-25T00:00:00Z",
        &format!("bo: override 1, from Thu 2026-12-24 00:00 to Sun 2026-12-27 00:00 {zone}"),
        Some("2026-12-27T05:00:00Z"),
    );
    // The shift before the override ends where the override begins, whatever its own end is.
    says(
        &primary(),
        "2026-12-23T00:00:00Z",
        &format!("chi: layer 1, shift 51, from Mon 2026-12-21 09:00 to Mon 2026-12-28 09:00 {zone}"),
        Some("2026-12-24T05:00:00Z"),
    );
    says(&secondary(), "2026-01-10T12:00:00Z", "nobody: outside of every restriction", Some("2026-01-12T14:00:00Z"));
    let mut empty = schedule("UTC", vec![]);
    says(&empty, "2026-01-10T12:00:00Z", "nobody: no layer has people", None);
    empty.overrides = vec![over("bo", "2026-02-01T00:00", "2026-02-02T00:00")];
    says(&empty, "2026-01-10T12:00:00Z", "nobody: no layer has people", Some("2026-02-01T00:00:00Z"));
    let nowhere = schedule("Moon/Tycho", primary().layers);
    says(&nowhere, "2026-01-10T12:00:00Z", "nobody: there is no time zone `Moon/Tycho`", None);
}

#[test]
fn a_reason_is_data() {
    let answer = |schedule: &Schedule, moment| serde_json::to_value(who(schedule, at(moment))).unwrap();
    assert_eq!(
        answer(&primary(), "2026-01-19T14:00:00Z"),
        serde_json::json!({
            "who": "chi", "until": "2026-01-26T14:00:00Z", "time_zone": "America/New_York",
            "why": {
                "kind": "layer", "layer": 1, "shift": 3,
                "from": "2026-01-19T14:00:00Z", "to": "2026-01-26T14:00:00Z",
            },
        })
    );
    let nobody = answer(&secondary(), "2026-01-10T12:00:00Z");
    assert_eq!((&nobody["who"], &nobody["why"]["kind"]), (&serde_json::Value::Null, &"outside".into()));
}

#[test]
fn of_two_overrides_the_later_made_wins() {
    let mut all = primary();
    all.overrides = vec![
        over("chi", "2026-03-03T12:00", "2026-03-03T18:00"),
        over("bo", "2026-03-03T00:00", "2026-03-03T15:00"),
        over("ana", "2026-03-03T20:00", "2026-03-03T19:00"),
    ];
    assert_eq!(
        lines(&all, "2026-03-03T05:00:00Z", "2026-03-04T05:00:00Z"),
        [
            "bo: Tue 2026-03-03 00:00 to Tue 2026-03-03 15:00",
            "chi: Tue 2026-03-03 15:00 to Tue 2026-03-03 18:00",
            "chi: Tue 2026-03-03 18:00 to Wed 2026-03-04 00:00",
        ]
    );
    all.overrides.swap(0, 1);
    assert_eq!(
        lines(&all, "2026-03-03T05:00:00Z", "2026-03-04T05:00:00Z"),
        [
            "bo: Tue 2026-03-03 00:00 to Tue 2026-03-03 12:00",
            "chi: Tue 2026-03-03 12:00 to Tue 2026-03-03 18:00",
            "chi: Tue 2026-03-03 18:00 to Wed 2026-03-04 00:00",
        ]
    );
}

#[test]
fn a_later_layer_lies_over_an_earlier_one_where_it_has_somebody() {
    let mut days = layer("dee", every(1, Unit::Week), "00:00", "2026-03-03");
    days.restrict = vec![window(&[1, 2], "22:00", "02:00"), window(&[2], "02:00", "03:00")];
    let mut all = primary();
    all.layers.push(days);
    assert_eq!(
        lines(&all, "2026-03-03T05:00:00Z", "2026-03-05T17:00:00Z"),
        [
            "chi: Tue 2026-03-03 00:00 to Tue 2026-03-03 22:00",
            "dee: Tue 2026-03-03 22:00 to Wed 2026-03-04 03:00",
            "chi: Wed 2026-03-04 03:00 to Wed 2026-03-04 22:00",
            "dee: Wed 2026-03-04 22:00 to Thu 2026-03-05 02:00",
            "chi: Thu 2026-03-05 02:00 to Thu 2026-03-05 12:00",
        ]
    );
}

/// Windows that join at every handoff do not end there; a turn does.
#[test]
fn a_week_in_pieces_is_whole() {
    let mut all = schedule("UTC", vec![layer("ana", every(200, Unit::Week), "00:00", "2026-01-05")]);
    let whole = who(&all, at("2026-06-01T00:00:00Z"));
    all.layers[0].restrict = vec![window(&[0, 1, 2, 3, 4, 5, 6], "07:00", "07:00")];
    assert_eq!(who(&all, at("2026-06-01T00:00:00Z")), whole);
    all.layers[0].restrict = vec![window(&[0, 1, 2], "00:00", "00:00"), window(&[3, 4, 5, 6], "12:00", "00:00")];
    assert_eq!(who(&all, at("2026-06-01T00:00:00Z")).until, Some(at("2026-06-04T00:00:00Z")));
}

#[test]
fn a_shift_is_found_at_once_however_long_ago_the_first_was() {
    for (unit, shift) in
        [(Unit::Hour, 62_743_464), (Unit::Day, 2_614_312), (Unit::Week, 373_474), (Unit::Month, 85_893)]
    {
        let all = schedule("America/New_York", vec![layer("ana bo", every(1, unit), "09:00", "2026-01-01")]);
        let on = who(&all, at("9183-09-29T13:30:00Z"));
        let Why::Layer { shift: found, .. } = on.why else { panic!("{on:?}") };
        assert_eq!(found, shift, "{unit:?}");
    }
}

/// Whatever a file says, there is an answer, and it ends.
#[test]
fn the_ends_of_time_have_answers() {
    let years = ["-009999-01-02T01:59:59Z", "0000-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "9999-12-30T22:00:00Z"];
    for unit in [Unit::Hour, Unit::Day, Unit::Week, Unit::Month] {
        for count in [0, 1, u32::MAX] {
            for start in ["-009999-01-01", "2026-01-31", "9999-12-31"] {
                let mut all = schedule("Pacific/Apia", vec![layer("ana bo", every(count, unit), "23:59", start)]);
                all.layers[0].handoff.day = Some(Weekday::Sunday);
                all.overrides = vec![
                    over("bo", "-009999-01-01T00:00", "9999-12-31T23:59:59"),
                    over("chi", "2026-01-01T00:00", "2026-01-01T00:00"),
                ];
                let mut restricted = all.clone();
                restricted.overrides.clear();
                restricted.layers[0].restrict = vec![window(&[], "00:00", "00:00"), window(&[6], "23:00", "00:00")];
                for year in years.map(at).into_iter().chain([Timestamp::MIN, Timestamp::MAX]) {
                    assert!(who(&all, year).until.is_none_or(|until| until > year || year == Timestamp::MAX));
                    let spans: Vec<Span> = changes(&restricted, year, Timestamp::MAX).take(9).collect();
                    assert_eq!(spans.first().map_or(Timestamp::MAX, |span| span.from), year);
                    assert!(spans.iter().all(|span| span.from < span.to));
                    assert!(spans.windows(2).all(|two| two[0].to == two[1].from && two[0].on != two[1].on));
                }
            }
        }
    }
}

/// A span that is asked for from its middle is the same answer.
#[test]
fn where_one_begins_to_count_changes_nothing() {
    let mut all = primary();
    all.layers.extend(secondary().layers);
    all.layers[1].rotation = names("dee eve");
    let (from, to) = (at("2026-12-01T00:00:00Z"), at("2027-04-01T00:00:00Z"));
    let spans: Vec<Span> = changes(&all, from, to).collect();
    assert!(spans.len() > 100);
    for span in &spans {
        let middle = span.from + span.to.duration_since(span.from) / 2;
        assert_eq!(who(&all, middle), span.on);
    }
    // Whole rotations earlier, the same people.
    let mut before = all.clone();
    before.layers[0].start = "2025-12-15".parse().unwrap();
    before.layers[1].start = "2025-12-08".parse().unwrap();
    let people =
        |schedule| changes(schedule, from, to).map(|span| (span.from, span.to, span.on.who)).collect::<Vec<_>>();
    assert_eq!(people(&all), people(&before));
}

#[test]
fn a_preview_is_of_days_of_the_clock() {
    let spans = preview(&secondary(), at("2027-03-12T14:00:00Z"), 3);
    let told: Vec<(String, String)> =
        spans.iter().map(|span| (told(span.to, "America/New_York"), span.on.to_string())).collect();
    assert_eq!(told.len(), 2);
    assert_eq!(told[1], ("Mon 2027-03-15 09:00".to_owned(), "nobody: outside of every restriction".to_owned()));
}
