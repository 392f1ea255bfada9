//! What the runs of an incident did is taken back together; and what people say of an incident: that they look after it, that it
//! is over.

use super::*;
use crate::incident::Acknowledged;
use crate::report::{self, IncidentSummary, Wanted};
use crate::run::fixtures::socket;
use quell_model::record::ExceptionDrafted;
use quell_model::record::IncidentState::{self, Acknowledged as Ackd, Open, Resolved};

/// An incident with two runs, each of which has contained something.
fn two_runs() -> Yard {
    let mut yard = Yard::new(playbook_of(vec![sets("one", &[], "process.freeze", "${{ event.process.id }}")]));
    for subject in ["7", "8"] {
        let mut attack = detection(subject, 1);
        Arc::make_mut(&mut attack.event).head.at = yard.clock.now();
        yard.stage.core.detections([attack]);
    }
    yard.stage.settle();
    yard
}

#[test]
fn an_incident_is_undone_as_a_whole() {
    let mut yard = two_runs();
    assert_eq!(yard.things.stand().len(), 2);
    let incident = yard.incident();
    let undo =
        || Request::UndoIncident { incident: incident.clone(), way: socket(), by: "ann".into(), why: "false".into() };
    let answer = yard.ask(undo()).unwrap();
    assert_eq!(answer["runs"].as_array().unwrap().len(), 2);
    assert!(yard.things.stand().is_empty());
    let refused = yard.ask(undo()).unwrap_err().to_string();
    assert!(refused.contains("can be taken back: ann has had it taken back"), "{refused}");
}

#[test]
fn what_the_runs_of_an_incident_did_is_kept_as_a_whole() {
    let mut yard = two_runs();
    let incident = yard.incident();
    let keep = |incident: &IncidentId| Request::KeepIncident {
        incident: incident.clone(),
        lasts: Some(Duration::from_secs(8 * 60 * 60)),
        way: socket(),
        by: "ann".into(),
    };
    assert!(matches!(yard.ask(keep(&"i-none".into())), Err(Refusal::NotFound { .. })));
    let answer = yard.ask(keep(&incident)).unwrap();
    let kept: Vec<&Json> = answer["runs"].as_array().unwrap().iter().map(|run| &run["kept"]).collect();
    assert_eq!(kept, [&json!(["one"]), &json!(["one"])], "{answer}");
    let status = yard.ask(Request::Status).unwrap();
    let ends: Vec<bool> = status["leases"].as_array().unwrap().iter().map(|lease| lease["until"].is_string()).collect();
    assert_eq!(ends, [true, true], "both for the time that was said: {status}");
    let why = "false".into();
    yard.ask(Request::UndoIncident { incident: incident.clone(), way: socket(), by: "ann".into(), why }).unwrap();
    let refused = yard.ask(keep(&incident)).unwrap_err().to_string();
    assert!(refused.contains("stands and can be kept"), "{refused}");
}

impl Yard {
    fn incident(&self) -> IncidentId {
        let streams = self.stage.journal.streams().unwrap();
        streams.into_iter().find_map(|(stream, _)| stream.as_incident()).unwrap()
    }

    fn acks(&mut self, acknowledged: bool, by: &str) -> Result<Json, Refusal> {
        let incident = self.incident();
        let (by, via) = (by.into(), "socket".into());
        self.ask(Request::Acknowledge { incident, acknowledged, why: "on it".into(), by, via, generation: None })
    }

    fn resolve(&mut self) -> Result<Json, Refusal> {
        let incident = self.incident();
        self.ask(Request::Resolve { incident, why: "done".into(), by: "ann".into(), via: "socket".into() })
    }

    fn reopen(&mut self) -> Result<Json, Refusal> {
        let incident = self.incident();
        self.ask(Request::Reopen { incident, why: "not done".into(), by: "ann".into(), via: "socket".into() })
    }

    /// Its state and who looks after it, which the list, the view and the explanation say alike.
    fn stands(&self) -> (IncidentState, Option<String>) {
        let (journal, id) = (&self.stage.journal, self.incident());
        let listed: IncidentSummary = report::incidents(journal).unwrap().remove(0);
        let shown = report::incident(journal, &id, Wanted::default()).unwrap().unwrap();
        let told = report::explain(journal, &id, Wanted::default()).unwrap().unwrap();
        let said = (listed.state, listed.acknowledged);
        assert_eq!(said, (shown.state, shown.acknowledged));
        assert_eq!(said, (told.state, told.acknowledged));
        assert_eq!(listed.false_positive, shown.false_positive);
        assert_eq!(listed.false_positive, told.false_positive);
        (said.0, said.1.map(|Acknowledged { by, via, .. }| format!("{by} {via}")))
    }

    fn acknowledgements(&self) -> usize {
        let stream = StreamId::incident(&self.incident());
        self.stage.journal.read_kinds(&stream, 1, &[Kind::AcknowledgementChanged]).unwrap().len()
    }

    fn met(&mut self) {
        let mut attack = detection("7", u32::try_from(self.clock.now().boot_ns % 1_000_000).unwrap());
        Arc::make_mut(&mut attack.event).head.at = self.clock.now();
        self.stage.core.detections([attack]);
        self.stage.settle();
    }
}

#[test]
fn somebody_looks_after_an_incident_over_restarts_until_it_is_opened_again() {
    let mut yard = Yard::new(playbook_of(vec![sets("one", &[], "process.freeze", "a")]));
    yard.met();
    let ann = || Some("ann socket".to_owned());
    assert_eq!(yard.stands(), (Open, None));
    let said = yard.acks(true, "ann").unwrap();
    assert_eq!((&said["state"], &said["changed"]), (&json!("acknowledged"), &json!(true)));
    assert_eq!((&said["acknowledged"]["by"], &said["acknowledged"]["via"]), (&json!("ann"), &json!("socket")));
    // Twice is said, and written once; it is still the first one's.
    let twice = yard.acks(true, "bo").unwrap();
    assert_eq!((&twice["changed"], &twice["acknowledged"]), (&json!(false), &said["acknowledged"]));
    assert_eq!((yard.stands(), yard.acknowledgements()), ((Ackd, ann()), 1));
    let text = |yard: &Yard| {
        let view = report::incident(&yard.stage.journal, &yard.incident(), Wanted::default()).unwrap().unwrap();
        let mut own = view.timeline.iter().filter(|line| line.text.contains("acknowledged"));
        own.next_back().unwrap().text.clone()
    };
    assert_eq!(text(&yard), "acknowledged by ann: on it");
    // What comes next changes nothing of it, nor does a start.
    let mut yard = yard.again("b");
    yard.met();
    assert_eq!(yard.stands(), (Ackd, ann()));
    assert_eq!(yard.acks(true, "ann").unwrap()["changed"], json!(false));
    yard.acks(false, "bo").unwrap();
    assert_eq!((yard.stands(), text(&yard)), ((Open, None), "no longer acknowledged, says bo: on it".to_owned()));
    assert_eq!(yard.acks(false, "bo").unwrap()["changed"], json!(false));
    yard.acks(true, "ann").unwrap();
    // Its end keeps who did.
    yard.resolve().unwrap();
    assert_eq!(yard.stands(), (Resolved, ann()));
    for acknowledged in [true, false] {
        let refused = yard.acks(acknowledged, "ann").unwrap_err().to_string();
        assert!(refused.contains("is resolved") && refused.contains("quell incident reopen"), "{refused}");
    }
    yard.reopen().unwrap();
    assert_eq!(yard.stands(), (Open, None));
    // As does what opens it by itself.
    yard.acks(true, "ann").unwrap();
    let open = yard.reopen().unwrap_err();
    assert!(open.to_string().contains("open already"), "{open}");
    yard.resolve().unwrap();
    let mut yard = yard.again("b");
    yard.met();
    assert_eq!((yard.stands(), yard.acknowledgements()), ((Open, None), 4));
    assert!(matches!(
        yard.ask(Request::Acknowledge {
            incident: "i-none".into(),
            acknowledged: true,
            why: String::new(),
            by: "ann".into(),
            via: "socket".into(),
            generation: None
        }),
        Err(Refusal::NotFound { kind: "incident", .. })
    ));
    assert_eq!(yard.stage.journal.verify().unwrap(), Vec::<String>::new());
}

impl Yard {
    fn no_attack(&mut self, by: &str) -> Result<Json, Refusal> {
        let (incident, expires) = (self.incident(), self.clock.now().wall);
        let drafted = ExceptionDrafted {
            by: by.into(),
            reason: "mirror".into(),
            expires,
            rules: vec!["rule".into()],
            text: "title: x".into(),
            left_out: Vec::new(),
        };
        let exception = Some(Box::new(drafted));
        self.ask(Request::FalsePositive { incident, reason: "mirror".into(), way: socket(), by: by.into(), exception })
    }

    fn verdict(&self) -> Option<String> {
        let shown = report::incident(&self.stage.journal, &self.incident(), Wanted::default()).unwrap().unwrap();
        shown.false_positive.map(|known| format!("{} ({})", known.by, known.reason))
    }

    fn own_lines(&self) -> Vec<String> {
        let view = report::incident(&self.stage.journal, &self.incident(), Wanted::default()).unwrap().unwrap();
        view.timeline.into_iter().filter(|line| line.run.is_none()).map(|line| line.text).collect()
    }
}

#[test]
fn what_was_no_attack_is_taken_back_in_reverse_and_resolved_as_that() {
    let mut yard = Yard::new(diamond());
    let run = yard.attack(1);
    assert_eq!(yard.things.said().len(), 4);
    let answer = yard.no_attack("ann").unwrap();
    assert_eq!(answer["runs"][0]["id"], json!(run));
    assert_eq!(answer["runs"][0]["undoing"].as_array().unwrap().len(), 4);
    let said = yard.things.said();
    assert_eq!((said[0].as_str(), said.last().unwrap().as_str(), said.len()), ("-d", "-a", 4), "{said:?}");
    assert!(yard.things.stand().is_empty());
    assert_eq!((yard.stands().0, yard.verdict().as_deref()), (Resolved, Some("ann (mirror)")));
    let lines = yard.own_lines();
    assert!(lines.contains(&"resolved as a false positive by ann: mirror".to_owned()), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("an exception to rule was drafted for ann")), "{lines:?}");
    let drafted = report::exception(&yard.stage.journal, &yard.incident()).unwrap().unwrap();
    assert_eq!((drafted.by.as_str(), drafted.text.as_str()), ("ann", "title: x"));
    // A second time, and by an engine that was started since.
    let mut yard = yard.again("b");
    let twice = yard.no_attack("bo").unwrap_err().to_string();
    assert!(twice.contains("resolved as a false positive already, by ann"), "{twice}");
    assert_eq!(yard.verdict().as_deref(), Some("ann (mirror)"));
    // Opened again it is none any more, and an end of another kind makes none of it.
    yard.reopen().unwrap();
    assert_eq!((yard.stands().0, yard.verdict()), (Open, None));
    yard.resolve().unwrap();
    assert_eq!((yard.stands().0, yard.verdict()), (Resolved, None));
    let late = yard.no_attack("bo").unwrap_err().to_string();
    assert!(late.contains("is resolved already") && late.contains("quell incident reopen"), "{late}");
    assert!(matches!(
        yard.ask(Request::FalsePositive {
            incident: "i-none".into(),
            reason: "x".into(),
            way: socket(),
            by: "ann".into(),
            exception: None
        }),
        Err(Refusal::NotFound { kind: "incident", .. })
    ));
    assert_eq!(yard.stage.journal.verify().unwrap(), Vec::<String>::new());
}

#[test]
fn where_nothing_stands_it_is_resolved_all_the_same_and_what_is_stuck_is_told() {
    let mut yard = Yard::new(playbook_of(vec![acts("kill", &[], "process.kill")]));
    yard.attack(1);
    assert_eq!(yard.no_attack("ann").unwrap()["runs"], json!([]));
    assert_eq!(yard.verdict().as_deref(), Some("ann (mirror)"));

    let mut yard = Yard::new(playbook_of(vec![sets("one", &[], "process.freeze", "a")]));
    let run = yard.attack(1);
    yard.things.firm.lock().unwrap().insert("a".to_owned());
    yard.no_attack("ann").unwrap();
    let view = report::run(&yard.stage.journal, &run).unwrap().unwrap();
    assert_eq!(view.state, quell_model::record::RunState::Stuck);
    assert_eq!(yard.things.stand(), ["a"]);
    assert!(yard.notes().iter().any(|note| note.contains("could not be taken back, and stands")), "{:?}", yard.notes());
}
