//! Verbs before which a person is asked, whatever their steps say.

use super::*;

#[test]
fn a_verb_that_asks_by_default_waits_for_a_yes_in_enforce() {
    for (choice, done) in [("approve", vec!["owner.restrict 1".to_owned()]), ("deny", Vec::new())] {
        let plain = spec("owner.restrict", Lane::Cloud, Guarantee::ExactlyOnceInEffect);
        let asks = Box::leak(Box::new(ActionSpec { asks_by_default: true, ..plain.clone() }));
        let own = Arc::new(World { pid: 4243, ..World::default() });
        let more = vec![Verb::Acts(Arc::new(Verb1(asks, Arc::clone(&own))))];
        let playbook = playbook_of(vec![acts("restrict", &[], "owner.restrict")]);
        let mut stage = stage_with(tempfile::tempdir().unwrap(), World::default(), definitions(playbook), more);
        stage.core.recover(Arc::new(|_, _| None)).unwrap();
        stage.core.detections([detection("7", 1)]);
        stage.settle();
        assert_eq!(stage.only_story(), ["RunStarted", "QuestionAsked"], "the step has no `approve`");
        assert_eq!(own.done.lock().unwrap().len(), 0);
        let answer = AnswerGiven { run: stage.runs()[0].clone(), ..taken_up::answer(choice) };
        stage.core.serve(Request::Answer(Box::new(answer))).unwrap();
        stage.settle();
        assert_eq!(*own.done.lock().unwrap(), done, "{choice}");
    }
}
