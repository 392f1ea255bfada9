//! Which runs that have ended take what comes later.

use super::*;

/// One attack, and another of the same subject; how often was acted, and how many runs there were.
fn twice(world: World, definitions: Definitions, between: fn(&mut Stage)) -> (usize, usize) {
    let mut stage = stage_in(tempfile::tempdir().unwrap(), world, definitions);
    stage.core.recover(Arc::new(|_, _| None)).unwrap();
    between(&mut stage);
    stage.core.detections([detection("7", 1)]);
    stage.settle();
    assert_eq!(stage.done(), Vec::<String>::new());
    stage.core.paused = false;
    stage.core.detections([detection("7", 2)]);
    stage.settle();
    (stage.done().len(), stage.runs().len())
}

#[test]
fn what_a_pause_refused_is_no_answer_to_a_later_attack() {
    let kills = || definitions(playbook_of(vec![acts("kill", &[], "process.kill")]));
    let pauses = |stage: &mut Stage| drop(stage.core.serve(Request::Pause { paused: true, by: "ann".into() }).unwrap());
    assert_eq!(twice(World::default(), kills(), pauses), (1, 2));
}

#[test]
fn a_run_that_failed_or_only_told_takes_nothing_and_one_that_may_only_plan_does() {
    let tells = definitions(playbook_of(vec![step("tell", &[])]));
    assert_eq!(twice(World::default(), tells, |_| ()), (0, 2));
    // Its plan is of what is protected.
    let refused = || definitions(playbook_of(vec![acts("kill", &[], "process.kill")]));
    let init = || World { pid: 1, ..World::default() };
    assert_eq!(twice(init(), refused(), |_| ()), (0, 2));
    let observing = Definitions { ceiling: Mode::Observe, ..refused() };
    assert_eq!(twice(init(), observing, |_| ()), (0, 1));
    let mut kill = acts("kill", &[], "process.kill");
    kill.mode = Some(Mode::Observe);
    let planned = definitions(playbook_of(vec![kill, step("tell", &["kill"])]));
    assert_eq!(twice(World::default(), planned, |_| ()), (0, 1));
}
