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
        let Stage { core, journal, dir, .. } = first;
        drop(core);
        journal.close();
        let mut second = stage_in(dir, World::default(), definitions);
        second.core.parts.boot = process::BootId("another".into());
        second.core.parts.clock = Arc::new(By { wall_s: 60, boot_s: 60 });
        assert_eq!(second.core.recover(Arc::new(|_, _| None)).unwrap().incidents, 1);
        second.core.parts.clock = Arc::new(By { wall_s: minutes * 60, boot_s: minutes.unsigned_abs() * 60 });
        second.core.detections([detection("7", 2)]);
        second.settle();
        assert_eq!(second.journal.incidents(None, 10).unwrap().len(), incidents, "after {minutes} minutes");
    }
}
