//! What is stuck, what asks at the end of its lease and what a boot has ended calls people, each once; over kills, for runs of no
//! incident, under a silence and in a pause.

use super::*;
use crate::run::Silenced;
use crate::run::fixtures::socket;
use quell_model::record::{Covers, IncidentState};

fn night() -> Night {
    Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes])
}

/// With a lease at whose end a person is asked, and nobody who looks after it is asked before.
fn leased(hours: u32) -> Night {
    let step = with_lease(sets("one", &[], "process.freeze", "a"), HOUR * hours, AtEnd::Ask);
    let mut escalation = escalation(rung(&["ana"], 5, Ack::Any));
    escalation.policies.get_mut("security").unwrap().ack_timeout = None;
    Night::of(playbook_of(vec![step]), escalation, &[Says::Takes])
}

impl Night {
    /// Its thing cannot be taken back.
    fn is_firm(&self, is: bool) {
        let mut firm = self.yard.things.firm.lock().unwrap();
        if is {
            firm.insert("a".into())
        } else {
            firm.remove("a")
        };
    }

    /// Somebody wants it taken back; nothing is waited for.
    fn undo(&mut self, run: &RunId) {
        let undo =
            Request::Undo { run: run.clone(), step: None, by: "bo".into(), way: socket(), why: "it was ours".into() };
        self.yard.stage.core.serve(undo).unwrap();
    }

    fn state(&self) -> IncidentState {
        self.yard.stage.journal.incidents(None, 1).unwrap()[0].line.clone().unwrap().standing().state
    }

    fn opened(&self) -> usize {
        self.yard.stage.journal.incidents(None, 10).unwrap().len()
    }

    /// Another engine tells nobody of it again, and goes on to whoever is next.
    fn goes_on(self, boot: &str) -> Self {
        let so_far = self.mail.got().len();
        let mut night = self.again(boot, &[Says::Takes]);
        night.yard.stage.settle();
        night.pass(MINUTE * 4);
        assert_eq!(night.mail.got().len(), so_far, "{:?}", night.mail.told());
        night.pass(MINUTE);
        night.receive(so_far + 1);
        assert_eq!(night.mail.told()[so_far], "bo: nobody answered in time");
        night
    }
}

#[test]
fn what_is_stuck_calls_people_whoever_looked_after_it_and_once_over_kills() {
    let mut night = night();
    let run = night.yard.attack(1);
    night.receive(1);
    night.acks("ana", None).unwrap();
    night.is_firm(true);
    night.undo(&run);
    // Killed while it is taken back.
    let mut night = night.again("b", &[Says::Takes]);
    night.yard.stage.settle();
    assert_eq!(night.yard.end_of(&run), "RunFinished stuck");
    night.receive(2);
    let told = night.mail.told().remove(1);
    let stands = format!("ana: `process.freeze` of run {run} could not be taken back, and stands: ");
    assert!(told.starts_with(&stands), "{told}");
    assert!(told.ends_with(&format!("; `quell run undo {run}/one` tries again")), "{told}");
    assert_eq!(night.moves(), [(1, to(0)), (2, to(0))]);
    assert_eq!(night.state(), IncidentState::Open, "nobody looks after it any longer");
    assert!(night.acks("ana", Some(1)).unwrap_err().to_string().contains("raised anew"));
    let mut night = night.goes_on("b");
    // Whoever comes later reads what is left, too.
    let left =
        format!("one of run {run} (process.freeze) stands: `quell run keep {run}/one` or `quell run undo {run}/one`");
    let last = night.mail.got().pop().unwrap();
    assert!(last.notice.story.contains(&left), "{:?}", last.notice.story);
    // Tried again in vain, it is told again.
    night.undo(&run);
    night.yard.stage.settle();
    night.receive(4);
    assert!(night.mail.told()[3].contains("could not be taken back"), "{:?}", night.mail.told());
    night.is_firm(false);
    night.undo(&run);
    night.yard.stage.settle();
    assert_eq!(night.yard.end_of(&run), "RunFinished undone");
    night.pass(MINUTE);
    assert_eq!(night.moves().len(), 4, "that calls nobody");
}

#[test]
fn a_lease_that_asks_opens_what_was_resolved_and_calls_people_once_over_kills() {
    let mut night = leased(2);
    let run = night.yard.attack(1);
    night.receive(1);
    let (incident, by, via) = (night.incident(), Name::from("ana"), Name::from("socket"));
    night.yard.ask(Request::Resolve { incident, why: "contained".into(), by, via }).unwrap();
    night.receive(2);
    assert_eq!(night.state(), IncidentState::Resolved);
    // Its end comes while no engine lives.
    night.yard.clock.advance(HOUR * 2);
    let mut night = night.again("b", &[Says::Takes]);
    night.receive(3);
    let hint = format!("`quell run keep {run}/one` or `quell run undo {run}/one`");
    assert_eq!(night.mail.told()[2], format!("ana: step one of run {run} stands: its lease of 2h is over; {hint}"));
    assert_eq!((night.state(), night.opened()), (IncidentState::Open, 1), "it is the same, and open again");
    let mut night = night.goes_on("b");
    night.acks("ana", None).unwrap();
    let keep = Request::Keep { run: run.clone(), step: None, lasts: Some(HOUR), by: "ana".into(), way: socket() };
    night.yard.ask(keep).unwrap();
    night.pass(HOUR - MINUTE);
    let so_far = night.mail.got().len();
    night.pass(MINUTE);
    night.yard.stage.until(|stage| stage.core.leases.count() == (1, 1));
    night.receive(so_far + 1);
    assert!(night.mail.told().pop().unwrap().ends_with(&hint), "its next end asks again");
}

#[test]
fn what_a_boot_has_ended_calls_people_once() {
    let mut night = night();
    let run = night.yard.attack(1);
    night.receive(1);
    night.acks("ana", None).unwrap();
    night.yard.things.stand.lock().unwrap().clear();
    let mut night = night.again("c", &[Says::Takes]);
    night.receive(2);
    let why = "stands no more: it did not outlive the boot";
    assert_eq!(
        night.mail.told()[1],
        format!("ana: process.freeze of run {run} {why}; `quell run show {run}` has what it did")
    );
    assert_eq!(
        (night.state(), night.yard.leases(&run)),
        (IncidentState::Open, vec!["granted".into(), "lapsed".into()])
    );
    night.goes_on("c");
}

#[test]
fn a_run_of_no_incident_has_one_opened_for_what_stands() {
    let mut night = leased(1);
    let start =
        Request::Start { playbook: "test".into(), event: None, inputs: json!({}), mode: None, by: "ann".into() };
    night.yard.ask(start).unwrap();
    let run = night.yard.stage.runs().pop().unwrap();
    assert_eq!(night.opened(), 0);
    night.pass(HOUR);
    night.yard.stage.until(|stage| !stage.journal.incidents(None, 1).unwrap().is_empty());
    night.receive(1);
    let letter = night.mail.got().remove(0);
    assert_eq!(letter.notice.title, format!("what run {run} did, which belongs to no incident"));
    assert!(letter.notice.because.starts_with(&format!("step one of run {run} stands: ")), "{}", letter.notice.because);
    let incident = night.incident();
    let view = crate::report::incident(&night.yard.stage.journal, &incident, crate::report::Wanted::default());
    let view = view.unwrap().unwrap();
    assert_eq!(view.runs.iter().map(|one| &one.id).collect::<Vec<_>>(), [&run]);
    let mut night = night.goes_on("b");
    // Its incident is the way to it, and hears what else is wrong with it.
    night.is_firm(true);
    let undo = |night: &mut Night| {
        let (incident, by, why) = (incident.clone(), Name::from("bo"), "enough".to_owned());
        night.yard.ask(Request::UndoIncident { incident, way: socket(), by, why }).unwrap();
    };
    undo(&mut night);
    night.receive(3);
    assert!(night.mail.told()[2].contains("could not be taken back"), "{:?}", night.mail.told());
    night.is_firm(false);
    undo(&mut night);
    assert!(night.yard.things.stand().is_empty());
    assert_eq!(night.opened(), 1);
    assert_eq!(night.yard.stage.journal.verify().unwrap(), Vec::<String>::new());
}

/// Whether the incident is resolved cannot be read: until then it is not known to be stuck.
#[test]
fn what_is_stuck_while_the_journal_hangs_is_told_once_it_can_be_read() {
    let mut night = night();
    let run = night.yard.attack(1);
    night.receive(1);
    let (incident, by, via) = (night.incident(), Name::from("ana"), Name::from("socket"));
    let resolve = Request::Resolve { incident: incident.clone(), why: "contained".into(), by, via };
    night.yard.ask(resolve).unwrap();
    night.receive(2);
    night.is_firm(true);
    let hang = night.yard.hang();
    night.yard.stage.core.serve(Request::Note { incident, text: "at it".into(), by: "ana".into() }).unwrap();
    night.undo(&run);
    (0..3).for_each(|_| night.yard.stage.core.turn());
    assert!(!night.yard.stage.core.is_idle() && night.mail.got().len() == 2);
    drop(hang);
    night.yard.stage.settle();
    night.receive(3);
    assert_eq!((night.yard.end_of(&run).as_str(), night.state()), ("RunFinished stuck", IncidentState::Open));
    assert!(night.mail.told()[2].contains("could not be taken back"), "{:?}", night.mail.told());
}

#[test]
fn what_is_stuck_of_a_false_positive_opens_its_incident_again() {
    let mut night = night();
    let run = night.yard.attack(1);
    night.receive(1);
    night.is_firm(true);
    let (incident, by, reason) = (night.incident(), Name::from("bo"), "ours".to_owned());
    let said = Request::FalsePositive { incident, reason, way: socket(), by, exception: None };
    night.yard.ask(said).unwrap();
    assert_eq!(night.state(), IncidentState::Open);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.told().iter().any(|told| told.contains("though it was no attack")));
    let told = night.mail.told().pop().unwrap();
    let stands = format!("ana: one of run {run} (process.freeze) could not be taken back, though it was no attack: ");
    assert!(told.starts_with(&stands), "{told}");
    assert_eq!(night.mail.got().iter().filter(|letter| letter.notice.state == State::Open).count(), 2);
}

#[test]
fn a_silence_holds_back_what_is_stuck_until_its_end() {
    let mut night = night();
    let covers = Covers { rule: Some("rule".into()), ..Covers::default() };
    let wanted = Silenced { covers, lasts: HOUR, reason: "a deploy".into(), maintenance: false };
    night.yard.ask(Request::Silence { wanted: wanted.into(), by: "cy".into(), via: "socket".into() }).unwrap();
    let run = night.yard.attack(1);
    night.is_firm(true);
    night.undo(&run);
    night.yard.stage.settle();
    night.pass(MINUTE * 59);
    assert!(night.mail.got().is_empty());
    night.pass(MINUTE);
    night.receive(1);
    let told = night.mail.told().remove(0);
    assert!(told.contains("was opened; `process.freeze` of run") && told.contains("held it back"), "{told}");
}

#[test]
fn a_pause_holds_no_page_back() {
    let pause = || Request::Pause { paused: true, by: "cy".into() };
    let mut paused = night();
    paused.yard.ask(pause()).unwrap();
    paused.yard.attack(1);
    paused.receive(1);
    assert_eq!(paused.mail.told(), ["ana: an incident of level high was opened"]);
    assert!(paused.yard.things.stand().is_empty(), "nothing was done");
    let mut night = night();
    let run = night.yard.attack(1);
    night.receive(1);
    night.yard.ask(pause()).unwrap();
    night.pass(MINUTE * 5);
    night.receive(2);
    assert_eq!(night.mail.told()[1], "bo: nobody answered in time");
    // A person's undo passes a pause, and so does what comes of it.
    night.is_firm(true);
    night.undo(&run);
    night.yard.stage.settle();
    night.receive(3);
    assert!(night.mail.told()[2].contains("could not be taken back"), "{:?}", night.mail.told());
    let mut night = night.again("b", &[Says::Takes]);
    assert!(night.yard.stage.core.paused);
    night.pass(MINUTE * 5);
    night.receive(4);
    night.pass(MINUTE * 10);
    night.receive(5);
    assert_eq!(night.mail.told()[4], "lead: nobody answered in time");
}
