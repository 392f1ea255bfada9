//! `quell oncall who|preview|prove`: answers, exit codes, calendars and JUnit, without a daemon.

use super::{Ran, command, quell, write};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const WHO: &str = r#"people:
  ana: { name: "Ana; Ž", email: ana@example.org, time_zone: Europe/Lisbon }
  bo: { name: Bo, email: bo@example.org }
  chi: { name: Chi, email: chi@example.org }
channels:
  email: { smtp: "smtp://localhost:1025", from: quell@example.org }
schedules:
  primary:
    time_zone: America/New_York
    layers:
      - { rotation: [ana, bo, chi], every: 1 week, handoff: { day: mon, at: "09:00" }, start: 2026-01-05 }
    overrides:
      - { who: bo, from: 2026-12-24T00:00, to: 2026-12-27T00:00 }
  secondary:
    time_zone: America/New_York
    layers:
      - { rotation: [bo, chi, ana], every: 1 week, handoff: { day: mon, at: "09:00" }, start: 2026-01-05, restrict: [{ days: mon..fri, from: "09:00", to: "17:00" }] }
policies:
  default:
    steps:
      - { notify: [schedule: primary], wait: 5m }
      - { notify: [schedule: secondary, person: chi], wait: 10m }
    last_resort: [person: ana]
"#;

/// A folder with an escalation.yaml.
struct Home {
    keep: tempfile::TempDir,
    file: PathBuf,
}

impl Home {
    fn new(who: &str) -> Self {
        let keep = tempfile::tempdir().unwrap();
        let file = write(keep.path(), "escalation.yaml", who);
        Self { keep, file }
    }

    fn oncall(&self, args: &[&str]) -> Ran {
        quell(&[&["oncall"], args, &["--config", self.file.to_str().unwrap()]].concat())
    }
}

#[test]
fn who_says_who_and_why_and_nobody_elses_id() {
    let home = Home::new(WHO);
    let at = ["who", "--schedule", "primary", "--at"];
    // A time of the schedule's own clock, and the same moment with an offset.
    for moment in ["2026-12-25T12:00", "2026-12-25T17:00:00Z"] {
        let ran = home.oncall(&[&at[..], &[moment, "--json"]].concat()).ends(0);
        let expected = json!([{
            "id": "primary", "at": "2026-12-25T17:00:00Z", "who": "bo", "name": "Bo",
            "reason": "override 1, from Thu 2026-12-24 00:00 to Sun 2026-12-27 00:00 (America/New_York)",
            "why": { "kind": "override", "number": 1, "from": "2026-12-24T05:00:00Z", "to": "2026-12-27T05:00:00Z" },
            "until": "2026-12-27T05:00:00Z", "time_zone": "America/New_York",
        }]);
        assert_eq!(ran.json(), expected);
        assert!(!ran.out.contains("ana") && !ran.out.contains("chi"), "{}", ran.out);
    }
    let ran = home.oncall(&["who", "--at", "2026-01-10T12:00:00Z"]).ends(0);
    assert!(ran.out.contains("layer 1, shift 1,") && ran.out.contains("outside of every restriction"), "{}", ran.out);
    let told =
        home.oncall(&["who", "--schedule", "secondary", "--at", "2026-01-10T12:00:00Z", "--json"]).ends(0).json();
    assert_eq!(
        (&told[0]["id"], &told[0]["who"], &told[0]["why"]["kind"]),
        (&"secondary".into(), &Value::Null, &"outside".into())
    );
    let now = home.oncall(&["who", "--json"]).ends(0).json();
    assert_eq!(now.as_array().map(Vec::len), Some(2));
    assert!(now[0]["at"] == now[1]["at"] && !now[0]["at"].to_string().contains('.'), "one moment for all: {now}");
}

#[test]
fn what_is_asked_wrongly_is_told() {
    let home = Home::new(WHO);
    let ran = home.oncall(&["who", "--schedule", "primry"]).ends(2);
    assert!(ran.err.contains("no schedule `primry`") && ran.err.contains("primary, secondary"), "{}", ran.err);
    let ran = home.oncall(&["who", "--at", "yesterday"]).ends(2);
    assert!(ran.err.contains("2027-03-14T02:30"), "{}", ran.err);
    home.oncall(&["preview", "--days", "0"]).ends(2);
    home.oncall(&["preview", "--days", "4000"]).ends(2);
    home.oncall(&["preview", "--ical", "--json"]).ends(2);
    home.oncall(&["prove", "--at", "2027-03-14T02:30"]).ends(2);
    let wrong = Home::new(&WHO.replace("[ana, bo, chi]", "[ana, bob, chi]"));
    for what in ["who", "preview", "prove"] {
        let ran = wrong.oncall(&[what]).ends(1);
        assert!(ran.err.contains("bob") && ran.out.is_empty(), "{what}: {}{}", ran.out, ran.err);
    }
}

#[test]
fn a_preview_tiles_its_days() {
    let home = Home::new(WHO);
    let from = "2026-12-21T14:00:00Z";
    let rows = home.oncall(&["preview", "--days", "14", "--at", from, "--json"]).ends(0).json();
    for schedule in ["primary", "secondary"] {
        let rows: Vec<_> = rows.as_array().unwrap().iter().filter(|row| row["schedule"] == schedule).collect();
        assert_eq!((&rows[0]["from"], &rows[rows.len() - 1]["to"]), (&from.into(), &"2027-01-04T14:00:00Z".into()));
        assert!(rows.windows(2).all(|two| two[0]["to"] == two[1]["from"]), "{rows:#?}");
    }
    let shown = home.oncall(&["preview", "--days", "14", "--at", from, "--schedule", "primary"]).ends(0).out;
    let found: Vec<&str> = shown
        .lines()
        .filter_map(|line| line.split("  ").filter(|cell| !cell.is_empty()).nth(3))
        .map(str::trim)
        .collect();
    assert_eq!(found, ["WHO", "chi", "bo", "chi", "ana"], "{shown}");
}

/// What a calendar holds of each event, in order; lines that were folded are whole.
fn events(calendar: &str, key: &str) -> Vec<String> {
    let whole = calendar.replace("\r\n ", "");
    let values = whole.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    values.map(str::to_owned).collect()
}

#[test]
fn a_calendar_has_whole_shifts_and_the_same_events_another_day() {
    let home = Home::new(WHO);
    let calendar = |days: &str, at: &str| {
        let args = ["preview", "--ical", "--schedule", "primary", "--days", days, "--at", at];
        home.oncall(&args).ends(0).out
    };
    let first = calendar("10", "2026-12-22T00:00:00Z");
    assert!(first.starts_with("BEGIN:VCALENDAR\r\n") && first.ends_with("END:VCALENDAR\r\n"), "{first}");
    let starts = ["20261221T140000Z", "20261224T050000Z", "20261227T050000Z", "20261228T140000Z"];
    assert_eq!(events(&first, "DTSTART"), starts);
    assert_eq!(events(&first, "DTEND"), [&starts[1..], &["20270104T140000Z"]].concat());
    let names =
        ["Chi on call (primary)", "Bo on call (primary)", "Chi on call (primary)", "Ana\\; Ž on call (primary)"];
    assert_eq!(events(&first, "SUMMARY"), names);
    let again = calendar("30", "2026-12-25T00:00:00Z");
    assert_eq!(events(&again, "UID")[..3], events(&first, "UID")[1..]);
}

const READ: &str = r#"
import sys
from icalendar import Calendar
for event in Calendar.from_ical(open(sys.argv[1], "rb").read()).walk("VEVENT"):
    print(event.decoded("dtstart").isoformat(), event.decoded("dtend").isoformat(), str(event["summary"]))
"#;

/// Python, with what `scripts/setup test` keeps for it.
fn python(args: &[&str]) -> Option<std::process::Output> {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    let kept = cache.join("quell/tools/icalendar");
    Command::new("python3").args(args).env("PYTHONPATH", kept).stdin(Stdio::null()).output().ok()
}

#[test]
fn a_calendar_is_read_by_somebody_elses_reader() {
    if !python(&["-c", "import icalendar"]).is_some_and(|output| output.status.success()) {
        eprintln!("NOT TESTED: calendars against icalendar: it is not installed");
        return;
    }
    let home = Home::new(WHO);
    let args = ["preview", "--ical", "--schedule", "primary", "--days", "21", "--at", "2026-12-22T00:00:00Z"];
    let file = write(home.keep.path(), "primary.ics", &home.oncall(&args).ends(0).out);
    let read = python(&["-c", READ, file.to_str().unwrap()]).unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let text = String::from_utf8(read.stdout).unwrap();
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            "2026-12-21T14:00:00+00:00 2026-12-24T05:00:00+00:00 Chi on call (primary)",
            "2026-12-24T05:00:00+00:00 2026-12-27T05:00:00+00:00 Bo on call (primary)",
            "2026-12-27T05:00:00+00:00 2026-12-28T14:00:00+00:00 Chi on call (primary)",
            "2026-12-28T14:00:00+00:00 2027-01-04T14:00:00+00:00 Ana; Ž on call (primary)",
            "2027-01-04T14:00:00+00:00 2027-01-11T14:00:00+00:00 Bo on call (primary)",
            "2027-01-11T14:00:00+00:00 2027-01-18T14:00:00+00:00 Chi on call (primary)",
        ]
    );
}

#[test]
fn a_proof_holds_or_says_when_it_does_not() {
    let home = Home::new(WHO);
    let from = ["prove", "--days", "400", "--at", "2026-02-02T14:00:00Z"];
    let ran = home.oncall(&from).ends(0);
    assert!(ran.out.contains("note  schedule `secondary` has nobody") && ran.out.contains("times more"), "{}", ran.out);
    // The primary alone by day: at night no step reaches anybody.
    let alone = WHO.replace(", person: chi]", "]").replace(
        "start: 2026-01-05 }\n    overrides",
        "start: 2026-01-05, restrict: [{ days: mon..sun, from: \"08:00\", to: \"20:00\" }] }\n    overrides",
    );
    assert_ne!(alone, WHO);
    let home = Home::new(&alone);
    let file = home.keep.path().join("oncall.xml");
    let ran = home.oncall(&[&from[..], &["--json", "--junit", file.to_str().unwrap()]].concat()).ends(1);
    let proof = ran.json();
    assert_eq!(proof["ok"], false);
    let ladder = proof["findings"].as_array().unwrap().iter().find(|f| f["id"] == "policy/default/ladder").unwrap();
    assert_eq!(ladder["level"], "error");
    assert_eq!(ladder["when"][0], json!({ "from": "2026-02-03T01:00:00Z", "to": "2026-02-03T13:00:00Z" }));
    let load = proof["load"].as_array().unwrap();
    assert!(
        load.iter().any(|load| load["id"] == "primary/ana" && load["nights"] != 0),
        "her night is Lisbon's: {load:#?}"
    );
    let xml = std::fs::read_to_string(&file).unwrap();
    let read = roxmltree::Document::parse(&xml).unwrap();
    let failed: Vec<_> = read
        .descendants()
        .filter(|node| node.has_tag_name("testcase") && node.children().any(|child| child.has_tag_name("failure")))
        .filter_map(|node| Some((node.attribute("classname")?, node.attribute("name")?)))
        .collect();
    assert_eq!(failed, [("policies", "default")]);
    let ran = home.oncall(&["prove", "--junit", "/nowhere/at/all.xml"]).ends(1);
    assert!(ran.err.contains("/nowhere/at/all.xml"), "{}", ran.err);
}

/// So that a pipeline needs no secrets.
#[test]
fn a_channel_that_is_off_here_counts_and_is_told() {
    let who = WHO.replace("\"smtp://localhost:1025\"", "{ env: QUELL_TEST_NO_SUCH_SERVER }");
    let home = Home::new(&who);
    let ran = home.oncall(&["prove", "--days", "7"]).ends(0);
    assert!(ran.err.contains("`email` is off for now"), "{}", ran.err);
    // Who is on call is the same, and that is all that was asked.
    let ran = home.oncall(&["who"]).ends(0);
    assert!(ran.err.is_empty(), "{}", ran.err);
}

#[test]
fn without_schedules_there_is_nothing_to_show() {
    let home = Home::new(
        "people: { ana: { email: ana@example.org } }\nchannels: { email: { smtp: \"smtp://localhost:1025\", from: q@example.org } }\n",
    );
    for what in ["who", "preview"] {
        let ran = home.oncall(&[what]).ends(0);
        assert!(ran.out.is_empty() && ran.err.contains("escalation.yaml has none"), "{what}: {}{}", ran.out, ran.err);
        assert_eq!(home.oncall(&[what, "--json"]).ends(0).json(), json!([]));
    }
    quell(&["oncall", "who", "--config", "/no/such/escalation.yaml"]).ends(2);
}

/// A zone as the machine's database has it (RFC 9636): always UTC.
fn zone_file() -> Vec<u8> {
    let mut block = b"TZif2".to_vec();
    block.extend([0; 15]);
    for count in [0_u32, 0, 0, 0, 1, 4] {
        block.extend(count.to_be_bytes());
    }
    block.extend(*b"\0\0\0\0\0\0UTC\0");
    [&block[..], &block[..], b"\nUTC0\n"].concat()
}

/// What schedules go by is in the binary, so a file means the same on every machine: also one whose zones are others.
#[test]
fn zones_are_those_of_the_binary_and_not_of_the_machine() {
    let home = Home::new(WHO);
    let zones = home.keep.path().join("zones");
    std::fs::create_dir_all(zones.join("Moon")).unwrap();
    std::fs::write(zones.join("Moon/Tycho"), zone_file()).unwrap();
    let check = |file: &Path| {
        let args = ["oncall", "check", "--config", file.to_str().unwrap()];
        Ran::of(command(&args).env("TZDIR", &zones).output().unwrap())
    };
    check(&home.file).ends(0);
    let there = write(&zones, "escalation.yaml", &WHO.replace("America/New_York", "Moon/Tycho"));
    let ran = check(&there).ends(1);
    assert!(ran.err.contains("there is no time zone `Moon/Tycho`"), "{}", ran.err);
}
