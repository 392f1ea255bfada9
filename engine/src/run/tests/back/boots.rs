//! What stands over a boot, whose clock begins anew.

use super::*;

/// The boot clock begins anew: a lease of the boot before is no later than what is seen in this one.
#[test]
fn what_is_needed_again_after_a_boot_is_renewed() {
    const DAYS_NS: u64 = 9 * 86_400 * 1_000_000_000;
    let step = with_lease(sets("one", &[], "process.freeze", "a"), HOUR, AtEnd::Undo);
    let mut playbook = playbook_of(vec![step]);
    playbook.text = "pinned".into();
    let began = SystemClock.now();
    let late = Arc::new(SimulatedClock::new(Stamp { boot_ns: began.boot_ns + DAYS_NS, ..began }));
    let mut yard = Yard::on(tempfile::tempdir().unwrap(), playbook, late, Arc::default(), "b");
    let run = yard.attack(1);
    yard.pass(HOUR / 4);
    let wall = yard.clock.now().after(HOUR / 12).wall;
    let Yard { stage: Stage { core, journal, dir, .. }, things, playbook, .. } = yard;
    drop(core);
    journal.close();
    let booted = Arc::new(SimulatedClock::new(Stamp { wall, boot_ns: 60_000_000_000 }));
    let mut yard = Yard::on(dir, playbook, booted, things, "another");
    yard.attack(2);
    // Past the end of the first one's lease, and before that of the second's.
    yard.pass(HOUR * 3 / 4);
    assert_eq!(
        (yard.things.stand(), yard.leases(&run)),
        (vec!["a".into()], ["granted", "needed", "renewed"].map(str::to_owned).into())
    );
}
