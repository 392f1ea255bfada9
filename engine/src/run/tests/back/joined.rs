//! Goal: what joins a run is in `detections` of its expressions. Method: real detections that join a run which waits for a person.

use super::questions::ask;
use super::*;
use crate::run::joined::MOST;
use quell_model::record::DetectionJoined;

/// Asks, and then acts if so many detections are there.
fn yard(more_than: usize) -> Yard {
    let mut cut = sets("cut", &["ask"], "cloud.cut", "a");
    let text = format!("detections.len() > {more_than} && detections[1].rule == \"rule\"");
    cut.condition = Some(Expression { text, span: Default::default() });
    Yard::new(playbook_of(vec![ask(None), cut]))
}

impl Yard {
    fn joined(&self, run: &RunId) -> Vec<DetectionJoined> {
        let records = self.stage.journal.read(&StreamId::run(run), 1).unwrap();
        let joined = |record: Record| match record.body {
            Body::DetectionJoined(joined) => Some(*joined),
            _ => None,
        };
        records.into_iter().filter_map(joined).collect()
    }
}

#[test]
fn detections_that_join_a_run_are_seen_by_its_steps_each_once_also_after_a_restart() {
    for (more_than, done) in [(3, vec!["+a"]), (4, vec![])] {
        let mut yard = yard(more_than);
        let run = yard.attack(1);
        for number in [2, 3, 3, 1] {
            assert_eq!(yard.attack(number), run);
        }
        let mut yard = yard.again("b");
        assert_eq!(yard.attack(3), run, "what was not acknowledged comes again");
        assert_eq!(yard.attack(4), run);
        assert_eq!(yard.joined(&run).len(), 3);
        yard.says(&run, "ask", "me", "ann").unwrap();
        assert_eq!(yard.things.said(), done, "more than {more_than}");
        assert_eq!(yard.end_of(&run), "RunFinished succeeded");
    }
}

#[test]
fn a_flood_that_joins_is_bounded_and_what_is_large_is_kept_without_its_events() {
    let mut yard = yard(MOST);
    let run = yard.attack(1);
    let mut large = detection("7", 2);
    large.matched = vec![quell_model::detection::MatchedField { field: "x".into(), value: "y".repeat(1 << 20).into() }];
    yard.stage.core.detections([large]);
    for number in 3..u32::try_from(MOST).unwrap() + 10 {
        yard.attack(number);
    }
    let joined = yard.joined(&run);
    assert_eq!(joined.len(), MOST);
    assert_eq!((&joined[0].detection["matched"], &joined[0].detection["rule"]), (&json!([]), &json!("rule")));
    yard.says(&run, "ask", "me", "ann").unwrap();
    assert_eq!(yard.things.said(), ["+a"], "it and as many as are kept");
}

/// Each start's scan finds again what runs since before it: a run knows it already, however often quell starts.
#[test]
fn what_a_scan_finds_again_joins_no_run_a_second_time() {
    let mut yard = yard(0);
    let seen = |pid: u32, exec_id: u32, number: u32, source: &str| {
        let mut detection = detection("7", number);
        let event = Arc::make_mut(&mut detection.event);
        let id = ProcessId { boot: process::BootId("b".into()), pid, start_ns: 1_000, exec_id };
        event.own = json!({ "process": { "id": id.to_string() } }).as_object().unwrap().clone();
        event.head.source = source.into();
        detection
    };
    yard.stage.core.detections([seen(7, 1, 1, "sensor")]);
    yard.stage.settle();
    let run = yard.stage.runs().remove(0);
    for (number, (pid, exec_id, source, joined)) in [
        (7, 1, "scan", 0),
        (7, 1, "scan", 0),
        (7, 1, "sensor", 1),
        (7, 2, "scan", 2),
        (7, 2, "scan", 2),
        (8, 1, "scan", 3),
        (8, 1, "scan", 3),
    ]
    .into_iter()
    .enumerate()
    {
        yard.stage.core.detections([seen(pid, exec_id, 10 + u32::try_from(number).unwrap(), source)]);
        yard.stage.settle();
        assert_eq!(yard.joined(&run).len(), joined, "{number}");
    }
}
