//! `/quell …` in Slack: what somebody wants to know, or to take on, without leaving it.
//!
//! Owns the words. Decides nothing: who may what stands in `access`, by the rows of the routes that tell the same; an
//! acknowledgement goes the way of every answer. Keeps true: whoever is nobody in escalation.yaml learns that and nothing else.

use super::super::access::Access;
use super::super::answers;
use super::super::{App, Problem};
use super::VIA;
use super::errand::told;
use super::reply::word;
use axum::extract::State;
use axum::http::Method;
use jiff::Timestamp;
use quell_engine::clock::SystemClock;
use quell_engine::escalation::Escalation;
use quell_engine::escalation::schedule;
use quell_engine::report::{self, IncidentSummary, IncidentView, Wanted};
use quell_model::mistake::nearest;
use quell_model::notice::Act;
use quell_model::people::System;
use quell_model::record::IncidentState;
use quell_model::{Clock, IncidentId, LadderId, Name};

const HELP: &str = "what can be said:\n\
    /quell incident          the incidents that are open\n\
    /quell incident ID       one of them\n\
    /quell who [SCHEDULE]    who is on call, and why\n\
    /quell ack ID            you look after an incident\n\
    /quell status            how quell itself stands\n\
    /quell help              this";

/// Of a list of incidents so many are shown.
const SHOWN: usize = 10;
/// So many of those that are open are looked at, to find the latest.
const LOOKED: usize = 200;
/// Of a timeline the last lines.
const LINES: usize = 8;
/// So much of what others named, in characters.
const LONGEST: usize = 150;

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Asked<'a> {
    Incidents,
    Incident(&'a str),
    Who(Option<&'a str>),
    Ack(&'a str),
    Status,
    Help,
}

/// The words, or what is wrong with them.
fn read(text: &str) -> Result<Asked<'_>, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        [] | ["help"] => Ok(Asked::Help),
        ["incident"] => Ok(Asked::Incidents),
        ["incident", id] => Ok(Asked::Incident(id)),
        ["who"] => Ok(Asked::Who(None)),
        ["who", schedule] => Ok(Asked::Who(Some(schedule))),
        ["ack", id] => Ok(Asked::Ack(id)),
        ["status"] => Ok(Asked::Status),
        ["ack"] => Err("`ack` names no incident: `/quell incident` lists them".to_owned()),
        [known @ ("incident" | "who" | "ack" | "status" | "help"), ..] => {
            Err(format!("`{known}` is followed by too many words\n{HELP}"))
        }
        [other, ..] => {
            let meant = nearest(other, ["incident", "who", "ack", "status", "help"]);
            let meant = meant.map(|meant| format!(": do you mean `{meant}`?")).unwrap_or_default();
            Err(format!("`{}` is nothing that can be said{meant}\n{HELP}", word(other, 40)))
        }
    }
}

/// What somebody is told who says this.
pub(super) async fn answer(app: &App, user: &str, text: &str) -> String {
    let access = app.desk.access().borrow().clone();
    let Some(person) = access.person(System::Slack, user) else {
        tracing::warn!(user, "somebody used `/quell` who is nobody in escalation.yaml");
        return told(match read(text) {
            Ok(Asked::Ack(id)) => {
                let ladder = LadderId::incident(&id.into());
                answers::stranger(app, (VIA, user), &Act::Acknowledge, (ladder, 0)).await
            }
            _ => answers::nobody(VIA, user),
        });
    };
    match read(text) {
        Ok(asked) => found(app, &access, &person, asked).await.unwrap_or_else(|problem| told(problem.into())),
        Err(wrong) => wrong,
    }
}

async fn found(app: &App, access: &Access, person: &Name, asked: Asked<'_>) -> Result<String, Problem> {
    let may_get = |route: &str| access.person_may(person, &Method::GET, route);
    match asked {
        Asked::Help => Ok(HELP.to_owned()),
        Asked::Incidents => {
            may_get("/v1/incidents")?;
            let (open, all) = app.clone().view(|journal| report::open_incidents(journal, LOOKED)).await?;
            Ok(listed(&open, all))
        }
        Asked::Incident(id) => {
            may_get("/v1/incidents/{id}")?;
            let id = IncidentId::from(id);
            let (of, wanted) = (id.clone(), Wanted::default());
            match app.clone().view(move |journal| report::incident(journal, &of, wanted)).await? {
                Some(found) => Ok(one(&found)),
                None => Err(app.clone().absent("incident", id.as_str()).await),
            }
        }
        Asked::Who(schedule) => {
            may_get("/v1/status")?;
            Ok(on_call(&app.desk.escalation(), schedule, SystemClock.now().wall))
        }
        Asked::Ack(id) => Ok(told(answers::acknowledge(app, person, VIA, id.into()).await)),
        Asked::Status => {
            may_get("/v1/status")?;
            let axum::Json(status) = super::super::system::status(State(app.clone())).await?;
            let mut lines = vec![
                format!("{} on {}, mode {}", status.state.as_str(), status.node, status.mode),
                match status.incidents_open {
                    Some(open) => format!("{open} incidents are open, {} runs", status.runs_open),
                    None => format!("{} runs are open; the journal cannot be read", status.runs_open),
                },
                format!("{} questions wait, {} containments stand", status.questions, status.standing),
            ];
            if status.paused {
                lines.insert(1, "PAUSED: no action runs until `quell resume`".to_owned());
            }
            if status.exhausted.count > 0 {
                lines.push(format!("NOBODY ANSWERS {}, and the last resort was told", status.exhausted.count));
            }
            let troubles = [status.sensor.why, status.journal.trouble, status.pause_failed, status.reload_refused];
            lines.extend(troubles.into_iter().flatten().map(|why| format!("trouble: {}", word(&why, LONGEST))));
            Ok(lines.join("\n"))
        }
    }
}

/// How an incident stands, and who looks after it.
fn stands(state: IncidentState, by: Option<&Name>) -> String {
    match by {
        Some(by) => format!("{} ({by})", state.as_str()),
        None => state.as_str().to_owned(),
    }
}

/// The latest of those that are open, of which there are so many.
fn listed(open: &[IncidentSummary], all: usize) -> String {
    let line = |one: &IncidentSummary| {
        let stands = stands(one.state, one.acknowledged.as_ref().map(|held| &held.by));
        let (title, about) = (word(&one.title, LONGEST), word(&one.entity.to_string(), LONGEST));
        format!("{}  {}  {stands}  {title}: {about}", one.id, one.level)
    };
    let mut lines: Vec<String> = open.iter().take(SHOWN).map(line).collect();
    if lines.is_empty() {
        return "no incident is open".to_owned();
    }
    if all > SHOWN {
        lines.push(format!("and {} more: `quell incident list`", all - SHOWN));
    }
    lines.join("\n")
}

fn one(incident: &IncidentView) -> String {
    let by = incident.acknowledged.as_ref().map(|held| &held.by);
    let mut lines = vec![
        format!("{}  {}  {}", incident.id, incident.level, stands(incident.state, by)),
        format!("{} about {}", word(&incident.title, LONGEST), word(&incident.entity.to_string(), LONGEST)),
    ];
    let run = |run: &report::RunSummary| {
        format!("run {} of {} ({}): {}", run.id, run.playbook, run.mode, word(&run.summary, LONGEST))
    };
    lines.extend(incident.runs.iter().take(SHOWN).map(run));
    let from = incident.timeline.len().saturating_sub(LINES);
    if from > 0 {
        lines.push(format!("…and before that {from} lines: `quell incident show {}`", incident.id));
    }
    let line = |line: &report::TimelineLine| format!("{:.0}  {}", line.at.wall, word(&line.text, LONGEST));
    lines.extend(incident.timeline[from..].iter().map(line));
    lines.join("\n")
}

/// Who is on call, by one schedule or by all.
fn on_call(escalation: &Escalation, only: Option<&str>, now: Timestamp) -> String {
    let known = || escalation.schedules.keys().map(Name::as_str);
    if let Some(only) = only.filter(|only| !escalation.schedules.contains_key(*only)) {
        let meant = nearest(only, known()).map(|meant| format!(": do you mean `{meant}`?"));
        return format!("there is no schedule `{}`{}", word(only, 40), meant.unwrap_or_default());
    }
    let wanted = escalation.schedules.iter().filter(|(name, _)| only.is_none_or(|only| only == name.as_str()));
    let line = |(name, schedule): (&Name, &schedule::Schedule)| {
        let on = schedule::who(schedule, now);
        let until = on.until.map_or_else(|| "for ever".to_owned(), |until| schedule::told(until, &on.time_zone));
        let who = on.who.as_ref().map_or("nobody", |who| {
            let known = escalation.people.people.get(who).filter(|person| !person.name.is_empty());
            known.map_or(who.as_str(), |person| person.name.as_str())
        });
        format!("{name}: {who} until {until} ({})", on.reason())
    };
    let lines: Vec<String> = wanted.map(line).collect();
    if lines.is_empty() { "there are no schedules".to_owned() } else { lines.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_engine::load::{Roles, escalation};
    use std::path::Path;

    #[test]
    fn words_are_read_and_what_is_meant_is_guessed() {
        assert_eq!(read("  "), Ok(Asked::Help));
        assert_eq!(read("incident"), Ok(Asked::Incidents));
        assert_eq!(read(" incident   i-1 "), Ok(Asked::Incident("i-1")));
        assert_eq!(read("who"), Ok(Asked::Who(None)));
        assert_eq!(read("who primary"), Ok(Asked::Who(Some("primary"))));
        assert_eq!(read("ack i-1"), Ok(Asked::Ack("i-1")));
        assert_eq!(read("status"), Ok(Asked::Status));
        assert!(read("ack").unwrap_err().contains("names no incident"));
        assert!(read("ack i-1 i-2").unwrap_err().contains("too many words"));
        assert!(read("incidnet").unwrap_err().contains("do you mean `incident`?"));
        assert!(read("<!channel>").unwrap_err().contains("is nothing that can be said\n"));
        for line in HELP.lines().skip(1) {
            let said = line.split("  ").next().unwrap().trim_start_matches("/quell ").replace("[SCHEDULE]", "primary");
            assert!(read(&said).is_ok(), "help says what can be said: {line}");
        }
    }

    #[test]
    fn who_is_on_call_names_whoever_is_and_guesses_a_schedule() {
        let text = "people:\n  ana: { name: Ana, email: ana@example.org }\n\
            channels: { email: { smtp: \"smtp://localhost:1025\", from: quell@example.org } }\n\
            schedules:\n  primary:\n    time_zone: Europe/Lisbon\n    layers:\n\
            \x20     - { rotation: [ana], every: 1 week, handoff: { day: mon, at: \"09:00\" }, start: 2026-01-05 }\n\
            policies:\n  default: { steps: [ { notify: [schedule: primary], wait: 30m } ], last_resort: [person: ana] }\n";
        let (read, mistakes) = escalation(Path::new("escalation.yaml"), text, &Roles::default());
        let escalation = read.unwrap_or_else(|| panic!("{mistakes:?}"));
        let now = "2026-11-30T12:00:00Z".parse().unwrap();
        let said = on_call(&escalation, None, now);
        assert!(said.starts_with("primary: Ana until ") && said.contains("layer 1"), "{said}");
        assert_eq!(on_call(&escalation, Some("primary"), now), said);
        assert_eq!(on_call(&escalation, Some("primry"), now), "there is no schedule `primry`: do you mean `primary`?");
        assert_eq!(on_call(&Escalation::default(), None, now), "there are no schedules");
    }
}
