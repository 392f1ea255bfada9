//! What the runs of an incident did is taken back together.

use super::*;

#[test]
fn an_incident_is_undone_as_a_whole() {
    let mut yard = Yard::new(playbook_of(vec![sets("one", &[], "process.freeze", "${{ event.process.id }}")]));
    for subject in ["7", "8"] {
        let mut attack = detection(subject, 1);
        Arc::make_mut(&mut attack.event).head.at = yard.clock.now();
        yard.stage.core.detections([attack]);
    }
    yard.stage.settle();
    assert_eq!(yard.things.stand().len(), 2);
    let streams = yard.stage.journal.streams().unwrap();
    let incident = streams.into_iter().find_map(|(stream, _)| stream.as_incident()).unwrap();
    let undo = || Request::UndoIncident { incident: incident.clone(), by: "ann".into(), why: "false".into() };
    let answer = yard.ask(undo()).unwrap();
    assert_eq!(answer["runs"].as_array().unwrap().len(), 2);
    assert!(yard.things.stand().is_empty());
    assert!(matches!(yard.ask(undo()), Err(Refusal::NotNow(_))));
}
