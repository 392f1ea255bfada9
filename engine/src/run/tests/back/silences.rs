//! Silences: nobody is paged for what they cover, everything else goes on, and what still burns at their end is told; over the
//! engine's death as well.

use super::ladder::{MINUTE, Night, Says, rung, to};
use super::*;
use crate::escalation::policy::Ack;
use crate::run::Silenced;
use crate::run::answers::SilenceView;
use quell_model::notice::State;
use quell_model::record::{Covers, LadderSilenced};
use quell_model::{LadderId, Level};

fn night() -> Night {
    Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes])
}

fn level(level: Level) -> Covers {
    Covers { level: Some(level), ..Covers::default() }
}

fn rule(name: &str) -> Covers {
    Covers { rule: Some(name.into()), ..Covers::default() }
}

fn says(night: &mut Night, covers: Covers, minutes: u32) -> Result<SilenceView, Refusal> {
    let wanted = Silenced { covers, lasts: MINUTE * minutes, reason: "a deploy".into(), maintenance: false };
    let said = night.yard.ask(Request::Silence { wanted: wanted.into(), by: "cy".into(), via: "socket".into() })?;
    Ok(serde_json::from_value(said).unwrap())
}

fn ends(night: &mut Night, silence: &Name) -> Result<Json, Refusal> {
    night.yard.ask(Request::EndSilence { silence: silence.clone(), by: "bo".into(), via: "socket".into() })
}

/// Something of this rule and level, on the unit that all incidents of these tests are about.
fn seen(night: &mut Night, number: u32, name: &str, level: Level) {
    let mut seen = detection("7", number);
    seen.rule.name = name.into();
    seen.rule.level = level;
    Arc::make_mut(&mut seen.event).head.at = night.yard.clock.now();
    night.yard.stage.core.detections([seen]);
    night.yard.stage.settle();
}

fn silenced(night: &Night) -> Vec<LadderSilenced> {
    let silenced = |body| if let Body::LadderSilenced(silenced) = body { Some(*silenced) } else { None };
    night.records().into_iter().filter_map(silenced).collect()
}

/// The kinds of the records about silences in the system's stream, and who ended them.
fn system(night: &Night) -> Vec<String> {
    let records = night.yard.stage.journal.read(&StreamId::system(), 1).unwrap();
    let line = |record: quell_model::Record| match record.body {
        Body::SilenceAdded(added) => Some(format!("added by {}", added.by)),
        Body::SilenceEnded(ended) => Some(format!("ended by {:?}", ended.by.map(|by| by.to_string()))),
        _ => None,
    };
    records.into_iter().filter_map(line).collect()
}

#[test]
fn nobody_is_paged_before_the_end_containment_goes_on_and_what_still_burns_is_told_then() {
    let mut night = night();
    let said = says(&mut night, rule("rule"), 60).unwrap();
    assert_eq!((said.by.as_str(), said.holds_back), ("cy", 0));
    let run = night.yard.attack(1);
    assert_eq!(night.yard.end_of(&run), "RunFinished succeeded", "what contains is not silenced");
    night.pass(MINUTE * 59);
    assert_eq!((night.moves().len(), night.mail.got().len()), (0, 0));
    assert_eq!(silenced(&night)[0].silence, said.id);
    let listed: Vec<SilenceView> = serde_json::from_value(night.yard.ask(Request::Silences).unwrap()).unwrap();
    assert_eq!((listed[0].holds_back, &listed[0].incidents), (1, &vec![night.incident()]));
    let status = night.yard.ask(Request::Status).unwrap();
    assert_eq!(status["silences"][0]["id"], json!(said.id));
    night.pass(MINUTE);
    night.receive(1);
    let because = format!(
        "the silence {} of cy (a deploy) held it back until now: an incident of level high was opened",
        said.id
    );
    assert_eq!(night.mail.told(), [format!("ana: {because}")]);
    assert_eq!(system(&night), ["added by cy", "ended by None"]);
    // From here on it goes up as ever.
    night.pass(MINUTE * 5);
    night.receive(2);
    assert_eq!(night.mail.told()[1], "bo: nobody answered in time");
}

#[test]
fn one_that_is_resolved_meanwhile_tells_nobody() {
    let mut night = night();
    says(&mut night, rule("rule"), 60).unwrap();
    night.yard.attack(1);
    let incident = night.incident();
    night
        .yard
        .ask(Request::Resolve { incident, why: "as planned".into(), by: "cy".into(), via: "socket".into() })
        .unwrap();
    night.pass(MINUTE * 61);
    assert!(night.mail.got().is_empty() && night.console.got().is_empty());
    assert!(matches!(night.records().last().unwrap(), Body::LadderClosed(_)));
}

#[test]
fn a_silence_that_is_said_while_a_ladder_climbs_stops_its_next_step_and_ending_it_lets_it_come() {
    let mut night = night();
    night.yard.attack(1);
    night.receive(1);
    let said = says(&mut night, level(Level::High), 60).unwrap();
    assert_eq!(said.holds_back, 1, "who says it is told what it holds");
    night.pass(MINUTE * 20);
    assert_eq!(night.moves().len(), 1, "bo is not called");
    let near = ends(&mut night, &format!("{}0", said.id).as_str().into()).unwrap_err().to_string();
    assert!(near.contains(&format!("did you mean `{}`?", said.id)), "{near}");
    assert_eq!(ends(&mut night, &said.id).unwrap()["released"], json!(1));
    night.receive(2);
    let because = format!("the silence {} of cy (a deploy) held it back until now: nobody answered in time", said.id);
    assert_eq!(night.mail.told()[1], format!("bo: {because}"));
    assert_eq!(system(&night), ["added by cy", "ended by Some(\"bo\")"]);
    assert!(matches!(ends(&mut night, &said.id), Err(Refusal::NotFound { .. })), "it is ended once");
}

#[test]
fn what_becomes_worse_than_a_silence_says_is_told_at_once() {
    let mut night = night();
    says(&mut night, level(Level::High), 60).unwrap();
    night.yard.attack(1);
    night.pass(MINUTE);
    assert!(night.mail.got().is_empty());
    seen(&mut night, 2, "rule", Level::Critical);
    night.receive(1);
    let told = night.mail.told().remove(0);
    assert!(told.starts_with("ana: ") && told.contains("it is critical now"), "{told}");
    assert_eq!(night.mail.got()[0].notice.level, Level::Critical);
}

#[test]
fn what_else_is_detected_in_a_silenced_incident_is_told_at_once() {
    let mut night = night();
    says(&mut night, rule("rule"), 60).unwrap();
    night.yard.attack(1);
    night.pass(MINUTE);
    seen(&mut night, 2, "rule", Level::High);
    night.pass(MINUTE);
    assert!(night.mail.got().is_empty(), "more of the same is what was silenced");
    seen(&mut night, 3, "another", Level::High);
    night.receive(1);
    assert_eq!(night.moves(), [(1, to(0))]);
}

/// What takes nothing more, and what another engine opened, is known by the journal alone.
#[test]
fn a_rules_silence_covers_no_incident_of_two_rules_however_long_ago_they_were_seen() {
    for is_restarted in [false, true] {
        for is_old in [false, true] {
            let mut night = night();
            night.yard.attack(1);
            seen(&mut night, 2, "another", Level::High);
            night.receive(1);
            night.acks("ana", None).unwrap();
            if is_old {
                night.pass(MINUTE * 20);
                let note = Request::Note { incident: night.incident(), text: "at it".into(), by: "ana".into() };
                night.yard.ask(note).unwrap();
                night.pass(MINUTE * 20);
            }
            let mut night = if is_restarted { night.again("b", &[Says::Takes]) } else { night };
            let said = says(&mut night, rule("rule"), 600).unwrap();
            assert_eq!(said.holds_back, 0, "restarted {is_restarted}, old {is_old}");
            assert_eq!(says(&mut night, level(Level::High), 600).unwrap().holds_back, 1);
        }
    }
    let mut night = night();
    night.yard.attack(1);
    night.receive(1);
    night.acks("ana", None).unwrap();
    night.pass(MINUTE * 29);
    let note = Request::Note { incident: night.incident(), text: "at it".into(), by: "ana".into() };
    night.yard.ask(note).unwrap();
    night.pass(MINUTE * 20);
    assert_eq!(says(&mut night, rule("rule"), 600).unwrap().holds_back, 1, "nothing else was seen in it");
}

#[test]
fn what_else_joins_after_a_restart_is_known_also_once_it_takes_nothing_more() {
    let mut night = night();
    night.yard.attack(1);
    night.receive(1);
    night.acks("ana", None).unwrap();
    let mut night = night.again("b", &[Says::Takes]);
    // One that stands has its incidents looked at.
    assert_eq!(says(&mut night, rule("of-nothing"), 600).unwrap().holds_back, 0);
    seen(&mut night, 2, "another", Level::High);
    night.pass(MINUTE * 20);
    let note = Request::Note { incident: night.incident(), text: "at it".into(), by: "ana".into() };
    night.yard.ask(note).unwrap();
    night.pass(MINUTE * 20);
    assert!(night.yard.stage.core.incidents.get(&night.incident()).is_none(), "it takes nothing more");
    assert_eq!(says(&mut night, rule("rule"), 600).unwrap().holds_back, 0);
    assert_eq!(says(&mut night, level(Level::High), 600).unwrap().holds_back, 1);
}

#[test]
fn a_silence_holds_also_while_the_journal_cannot_be_read() {
    let mut night = night();
    let said = says(&mut night, rule("rule"), 600).unwrap();
    night.yard.attack(1);
    night.pass(MINUTE * 40);
    night.pass(MINUTE);
    assert!(night.yard.stage.core.incidents.get(&night.incident()).is_none(), "it is in the journal alone");
    let incident = night.incident();
    let hang = night.yard.hang();
    let note = Request::Note { incident, text: "at it".into(), by: "ana".into() };
    night.yard.stage.core.serve(note).unwrap();
    // Another one has every ladder looked at.
    let wanted = Silenced { covers: rule("of-nothing"), lasts: MINUTE, reason: "why".into(), maintenance: false };
    let another = Request::Silence { wanted: wanted.into(), by: "cy".into(), via: "socket".into() };
    night.yard.stage.core.serve(another).unwrap();
    night.yard.stage.core.turn();
    drop(hang);
    night.yard.stage.settle();
    assert_eq!(silenced(&night).iter().map(|one| &one.silence).collect::<Vec<_>>(), [&said.id], "once, and no end");
    assert!(night.mail.got().is_empty());
}

#[test]
fn who_hands_a_silenced_incident_on_by_hand_is_heard() {
    let mut night = night();
    says(&mut night, rule("rule"), 60).unwrap();
    night.yard.attack(1);
    let (incident, by, via) = (night.incident(), Name::from("cy"), Name::from("socket"));
    night.yard.ask(Request::Escalate { incident, why: "it is real".into(), by, via }).unwrap();
    night.receive(1);
    assert_eq!(night.mail.told(), ["ana: cy hands it on: it is real"]);
    night.pass(MINUTE * 5);
    night.receive(2);
    assert_eq!(night.mail.told()[1], "bo: nobody answered in time", "the steps after it come as well");
}

#[test]
fn of_two_silences_the_later_end_holds_and_then_the_other() {
    let mut night = night();
    let short = says(&mut night, rule("rule"), 30).unwrap();
    let long = says(&mut night, rule("rule"), 60).unwrap();
    night.yard.attack(1);
    assert_eq!(silenced(&night)[0].silence, long.id);
    ends(&mut night, &long.id).unwrap();
    assert_eq!(silenced(&night).last().unwrap().silence, short.id, "the other one holds it still");
    night.pass(MINUTE * 29);
    assert!(night.mail.got().is_empty());
    night.pass(MINUTE);
    night.receive(1);
    assert_eq!(night.moves(), [(1, to(0))], "it begins once, at the end");
}

#[test]
fn a_silence_holds_over_kills_and_boots_and_one_that_ended_meanwhile_does_not() {
    for boot in ["b", "c"] {
        let mut night = night();
        says(&mut night, rule("rule"), 60).unwrap();
        night.yard.attack(1);
        night.pass(MINUTE * 10);
        let mut night = night.again(boot, &[Says::Takes]);
        night.pass(MINUTE * 10);
        assert!(night.mail.got().is_empty(), "boot {boot}: it holds");
        // What is seen by the second engine is held back as well, and the third one tells at the same end.
        seen(&mut night, 2, "rule", Level::High);
        let mut night = night.again(boot, &[Says::Takes]);
        night.pass(MINUTE * 39);
        assert!(night.mail.got().is_empty(), "boot {boot}: before its end");
        night.pass(MINUTE + Duration::from_secs(1));
        night.receive(1);
        assert_eq!(night.mail.got()[0].notice.state, State::Open);
    }
    // The engine is dead while its time runs out.
    let mut night = night();
    says(&mut night, rule("rule"), 60).unwrap();
    night.yard.attack(1);
    night.yard.clock.advance(MINUTE * 90);
    let mut night = night.again("b", &[Says::Takes]);
    night.receive(1);
    assert_eq!(system(&night), ["added by cy", "ended by None"]);
}

#[test]
fn one_that_was_ended_just_before_a_kill_holds_nothing_back_after_it() {
    let mut night = night();
    let said = says(&mut night, rule("rule"), 600).unwrap();
    night.yard.attack(1);
    // Its end is written down, and the ladders have not heard of it.
    let end = Request::EndSilence { silence: said.id, by: "bo".into(), via: "socket".into() };
    night.yard.stage.core.person_asks(end).unwrap();
    assert!(night.mail.got().is_empty());
    let mut night = night.again("b", &[Says::Takes]);
    night.receive(1);
    assert_eq!(night.moves(), [(1, to(0))]);
}

#[test]
fn what_is_no_silence_is_refused_and_there_are_not_ever_more_of_them() {
    let mut night = night();
    let refused = |night: &mut Night, covers, minutes, reason: &str| {
        let wanted = Silenced { covers, lasts: MINUTE * minutes, reason: reason.into(), maintenance: false };
        let ask = Request::Silence { wanted: wanted.into(), by: "cy".into(), via: "socket".into() };
        night.yard.ask(ask).unwrap_err().to_string()
    };
    let wrong = Covers { expression: Some("incident.levle == 1".into()), ..Covers::default() };
    for (said, part) in [
        (refused(&mut night, Covers::default(), 60, "why"), "of which incidents"),
        (refused(&mut night, rule("rule"), 0, "why"), "at most 30 days"),
        (refused(&mut night, rule("rule"), 30 * 24 * 60 + 1, "why"), "at most 30 days"),
        (refused(&mut night, rule("rule"), 60, " "), "a reason"),
        (refused(&mut night, wrong, 60, "why"), "did you mean `level`?"),
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(system(&night).is_empty(), "what is refused is not written");
    for number in 0..crate::escalation::silence::MOST {
        says(&mut night, rule(&format!("rule-{number}")), 60).unwrap();
    }
    assert!(refused(&mut night, rule("rule"), 60, "why").contains("100 silences stand"));
    night.pass(MINUTE * 60);
    says(&mut night, rule("rule"), 60).unwrap();
    night.yard.attack(1);
    let stream = StreamId::ladder(&LadderId::incident(&night.incident()));
    assert!(night.yard.stage.journal.has(&stream));
}
