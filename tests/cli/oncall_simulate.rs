//! `quell oncall simulate`: what it prints, its exit codes, and what is asked of it wrongly. It asks no daemon.

use super::{Ran, quell, write};
use std::path::PathBuf;

const WHO: &str = r#"people:
  ana: { name: Ana, email: ana@example.org }
  lead: { name: Lead, email: lead@example.org }
channels:
  console: {}
  email: { smtp: "smtp://localhost:1025", from: quell@example.org }
schedules:
  primary:
    time_zone: UTC
    layers: [{ rotation: [ana], every: 1 week, handoff: { day: mon, at: "09:00" }, start: 2026-01-05 }]
policies:
  security:
    steps:
      - { notify: [schedule: primary], by: [email], wait: 5m }
      - { notify: [channel: console], wait: 10m }
    ack_timeout: 30m
    last_resort: [person: lead]
routes: [{ policy: security }]
"#;

struct Home {
    keep: tempfile::TempDir,
    who: PathBuf,
}

impl Home {
    fn new() -> Self {
        let keep = tempfile::tempdir().unwrap();
        let who = write(keep.path(), "escalation.yaml", WHO);
        write(
            keep.path(),
            "i.yaml",
            "level: high\ntags: [attack.impact]\nentity: { kind: unit, id: nginx.service, node: web-1 }\n",
        );
        Self { keep, who }
    }

    fn simulate(&self, incident: &str, args: &[&str]) -> Ran {
        let incident = self.keep.path().join(incident);
        let at = ["--at", "2026-12-25T02:00:00Z", "--config", self.who.to_str().unwrap()];
        quell(&[&["oncall", "simulate", "--incident", incident.to_str().unwrap()], &at[..], args].concat())
    }
}

#[test]
fn a_night_is_printed_page_by_page() {
    let ran = Home::new().simulate("i.yaml", &["--what-if", "ana-silent,restart@7m"]).ends(0);
    insta::assert_snapshot!(ran.out);
    assert_eq!(ran.err, "", "everybody is told");
}

#[test]
fn scripts_see_each_row_and_the_end() {
    let night = Home::new().simulate("i.yaml", &["--what-if", "ana-acks@2m", "--json"]).ends(0).json();
    let rows = night["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{night}");
    let [page, answer] = [&rows[0], &rows[1]];
    assert_eq!(
        (&page["id"], &page["kind"], &page["to"], &page["by"]),
        (&"1".into(), &"page".into(), &"ana".into(), &"email".into())
    );
    assert_eq!(
        (&page["at"], &page["outcome"]["state"], &page["step"]),
        (&"2026-12-25T02:00:00Z".into(), &"sent".into(), &"step 1".into())
    );
    assert_eq!((&answer["kind"], &answer["after_ms"]), (&"answers".into(), &120_000.into()));
    assert_eq!(
        (&night["end"], &night["by"], &night["raised_again"]),
        (&"acknowledged".into(), &"ana".into(), &"2026-12-25T02:32:00Z".into())
    );
}

#[test]
fn it_ends_with_1_when_somebody_is_not_told() {
    let ran = Home::new().simulate("i.yaml", &["--what-if", "email-down"]).ends(1);
    assert!(ran.err.contains("not told: person ana is told by no way"), "{}", ran.err);
    assert!(ran.out.contains("it is down (what-if)"), "{}", ran.out);
}

#[test]
fn what_is_asked_wrongly_is_told() {
    let home = Home::new();
    for (what_if, said) in [
        ("emial-down", "did you mean `email`?"),
        ("anna-silent", "did you mean `ana`?"),
        ("restart@later", "`later` is no duration"),
        ("rain", "`rain` is no what-if"),
    ] {
        let ran = home.simulate("i.yaml", &["--what-if", what_if]).ends(2);
        assert!(ran.err.contains(said) && ran.out.is_empty(), "{}", ran.err);
    }
    write(home.keep.path(), "wrong.yaml", "{ level: high, entitty: {} }\n");
    let ran = home.simulate("wrong.yaml", &[]).ends(2);
    assert!(ran.err.contains("wrong.yaml:1:16") && ran.err.contains("`entity`"), "{}", ran.err);
    home.simulate("none.yaml", &[]).ends(2);
    let (incident, who) = (home.keep.path().join("i.yaml"), home.who.to_str().unwrap());
    let asked =
        ["oncall", "simulate", "--incident", incident.to_str().unwrap(), "--config", who, "--at", "2026-12-25T02:00"];
    let ran = quell(&asked).ends(2);
    assert!(ran.err.contains("needs an offset"), "{}", ran.err);
}
