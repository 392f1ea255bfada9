//! Of what may have happened before a crash nothing says that it did not.

use super::*;
use quell_model::record::PersonActed;

fn failure(stage: &Stage) -> Option<String> {
    let records = stage.journal.read(&StreamId::run(&"r-1".into()), 1).unwrap();
    records.iter().find_map(|record| match &record.body {
        Body::StepFinished(finished) => Some(format!("{}: {}", finished.outcome, finished.proof)),
        _ => None,
    })
}

#[test]
fn what_was_cancelled_after_its_intent_is_told_as_unknown_unless_the_world_denies_it() {
    for (mute, denials, said) in [(true, 0, "failed: outcome unknown"), (false, 1, "cancelled: the run was cancelled")]
    {
        let world = World { mute, denials: AtomicU32::new(denials), ..World::default() };
        let cancel = PersonActed { by: "ann".into(), what: "cancel".into(), detail: Json::Null };
        let stage = after_a_crash_and(world, "file.copy", Duration::ZERO, "b", vec![cancel.into()]);
        assert_eq!(stage.done(), Vec::<String>::new());
        let end = failure(&stage).unwrap();
        assert!(end.starts_with(said), "{end}");
        assert_eq!(stage.only_story().last().unwrap(), "RunFinished cancelled");
    }
}

#[test]
fn after_a_crash_what_must_not_happen_twice_and_cannot_be_known_is_told() {
    let stage = after_a_crash(World { mute: true, ..World::default() }, "page.once", Duration::ZERO);
    assert!(stage.done().is_empty());
    assert_eq!(stage.only_story().last().unwrap(), "RunFinished failed");
    assert!(stage.dir.path().exists());
}
