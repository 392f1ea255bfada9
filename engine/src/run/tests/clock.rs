//! The wall clock is set between the end of one engine and the begin of the next, in one boot.

use super::*;
use jiff::SignedDuration;

/// The machine's clock, with a wall clock that is so many seconds away from it.
struct Stepped(i64);

#[async_trait::async_trait]
impl Clock for Stepped {
    fn now(&self) -> Stamp {
        let now = SystemClock.now();
        Stamp { wall: now.wall + SignedDuration::from_secs(self.0), ..now }
    }

    async fn sleep_until(&self, at: Stamp) {
        SystemClock.sleep_until(at).await;
    }
}

/// Whoever sets the clock ahead and makes quell start again does not get a new hour.
#[test]
fn limits_and_the_breaker_count_by_the_boot_clock_over_a_restart() {
    for step in [7200, -7200] {
        let mut playbook = playbook_of(vec![acts("kill", &[], "process.kill")]);
        playbook.limits.runs = Some(quell_model::playbook::Rate { count: 1, per: Duration::from_secs(3600) });
        let elsewhere = |mut detection: Detection| {
            Arc::make_mut(&mut detection.event).entity.id = "elsewhere".into();
            detection
        };
        let mut definitions = definitions(playbook.clone());
        definitions.guard.breaker.images = 1;
        definitions.guard.breaker.within = Duration::from_secs(3600);
        let mut first = stage_in(tempfile::tempdir().unwrap(), World::default(), definitions.clone());
        first.core.recover(Arc::new(|_, _| None)).unwrap();
        first.core.detections([detection("7", 1)]);
        first.settle();
        assert_eq!(first.done().len(), 1);
        let Stage { core, journal, dir, .. } = first;
        drop(core);
        journal.close();
        // A program that is another.
        let mut second = stage_in(dir, World { pid: 77, ..World::default() }, definitions);
        second.core.parts.clock = Arc::new(Stepped(step));
        second.core.recover(Arc::new(|_, _| None)).unwrap();
        second.core.detections([elsewhere(detection("8", 1))]);
        second.settle();
        assert_eq!(second.done(), Vec::<String>::new(), "{step}: the playbook's one place in an hour was another");
        second.core.detections([detection("9", 1)]);
        second.settle();
        assert_eq!(second.done(), Vec::<String>::new(), "{step}: a second program within the breaker's hour");
    }
}

/// The machine's clocks, set by hand.
struct By {
    wall_s: i64,
    boot_s: u64,
}

#[async_trait::async_trait]
impl Clock for By {
    fn now(&self) -> Stamp {
        let now = SystemClock.now();
        let wall = now.wall + SignedDuration::from_secs(self.wall_s);
        Stamp { wall, boot_ns: now.boot_ns + self.boot_s * 1_000_000_000 }
    }

    async fn sleep_until(&self, at: Stamp) {
        SystemClock.sleep_until(at).await;
    }
}

/// The next engine, a minute after a boot that ended the first.
fn booted(first: Stage, definitions: Definitions) -> Stage {
    let Stage { core, journal, dir, .. } = first;
    drop(core);
    journal.close();
    let mut second = stage_in(dir, World::default(), definitions);
    second.core.parts.boot = process::BootId("another".into());
    second.core.parts.clock = Arc::new(By { wall_s: 60, boot_s: 60 });
    second
}

/// The boot clock begins anew: an incident of a machine that had run for long does not stay open for as long again.
#[test]
fn an_incident_grows_quiet_after_a_reboot_too() {
    const DAYS: u64 = 10 * 86_400;
    for (minutes, incidents) in [(20, 1), (55, 2)] {
        let definitions = Definitions { ceiling: Mode::Enforce, ..Definitions::default() };
        let mut first = stage_in(tempfile::tempdir().unwrap(), World::default(), definitions.clone());
        first.core.parts.clock = Arc::new(By { wall_s: 0, boot_s: DAYS });
        first.core.recover(Arc::new(|_, _| None)).unwrap();
        first.core.detections([detection("7", 1)]);
        first.settle();
        let mut second = booted(first, definitions);
        assert_eq!(second.core.recover(Arc::new(|_, _| None)).unwrap().incidents, 1);
        second.core.parts.clock = Arc::new(By { wall_s: minutes * 60, boot_s: minutes.unsigned_abs() * 60 });
        second.core.detections([detection("7", 2)]);
        second.settle();
        assert_eq!(second.journal.incidents(None, 10).unwrap().len(), incidents, "after {minutes} minutes");
    }
}

/// The boot clock begins anew: an attempt that waited for its moment when the machine went down has it soon after.
#[test]
fn an_attempt_that_waits_over_a_reboot_waits_no_longer_than_it_would_have() {
    const DAYS: u64 = 10 * 86_400;
    let mut playbook = playbook_of(vec![acts("kill", &[], "process.kill")]);
    let wait = Duration::from_secs(20);
    playbook.steps[0].retry = quell_model::playbook::Retry { attempts: 2, backoff: wait, backoff_most: wait };
    let playbook = Arc::new(playbook);
    let definitions = definitions(Playbook::clone(&playbook));
    let world = World { denials: AtomicU32::new(1), ..World::default() };
    let mut first = stage_in(tempfile::tempdir().unwrap(), world, definitions.clone());
    first.core.parts.clock = Arc::new(By { wall_s: 0, boot_s: DAYS });
    first.core.recover(Arc::new(|_, _| None)).unwrap();
    let mut attack = detection("7", 1);
    let now = first.core.parts.clock.now();
    let head = &mut Arc::make_mut(&mut attack.event).head;
    (head.at, head.seen) = (now, now);
    first.core.detections([attack]);
    let failed = |stage: &Stage| stage.only_story().iter().any(|line| line.starts_with("StepFailed"));
    while !failed(&first) {
        first.core.turn();
    }
    let mut second = booted(first, definitions);
    second.core.recover(Arc::new(move |_, _| Some(Playbook::clone(&playbook)))).unwrap();
    second.settle();
    assert_eq!(second.done(), ["process.kill 2"]);
    assert_eq!(second.only_story().last().unwrap(), "RunFinished succeeded");
}

/// The wall clock is set while an attempt waits for its moment: it has it when the time is over, no sooner and no later.
#[test]
fn an_attempt_waits_by_the_boot_clock() {
    for step in [7200, -7200] {
        let mut playbook = playbook_of(vec![acts("kill", &[], "process.kill")]);
        let wait = Duration::from_millis(200);
        playbook.steps[0].retry = quell_model::playbook::Retry { attempts: 2, backoff: wait, backoff_most: wait };
        let world = World { denials: AtomicU32::new(1), ..World::default() };
        let mut stage = stage(world, playbook);
        stage.core.detections([detection("7", 1)]);
        let records = stage.journal.read(&StreamId::run(&stage.runs()[0]), 1).unwrap();
        let again = |record: &Record| if let Body::StepFailed(failed) = &record.body { failed.again_at } else { None };
        let waits = records.iter().find_map(again).unwrap();
        stage.core.parts.clock = Arc::new(Stepped(step));
        stage.settle();
        assert_eq!(stage.done(), ["process.kill 1", "process.kill 2"], "{step}");
        assert!(SystemClock.now().boot_ns >= waits.boot_ns, "{step}: too soon");
    }
}
