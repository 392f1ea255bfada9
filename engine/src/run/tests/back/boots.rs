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

impl Yard {
    /// The machine is booted, and quell starts a minute later, this long after its end.
    pub(super) fn booted(self, after: Duration) -> Self {
        let wall = self.clock.now().after(after).wall;
        let Self { stage: Stage { core, journal, dir, .. }, things, playbook, .. } = self;
        drop(core);
        journal.close();
        let booted = Arc::new(SimulatedClock::new(Stamp { wall, boot_ns: 60_000_000_000 }));
        Self::on(dir, playbook, booted, things, "another")
    }

    fn is_held(&mut self) -> bool {
        !self.ask(Request::Status).unwrap()["held"].as_array().unwrap().is_empty()
    }
}

/// (after so long, it is open yet)
#[test]
fn a_breaker_that_closed_by_itself_is_not_open_again_after_a_boot() {
    for (after, is_open) in [(HOUR / 6, true), (2 * HOUR, false)] {
        let mut yard = Yard::new(playbook_of(vec![sets("one", &[], "process.freeze", "a")]));
        let why = "too many images".to_owned();
        let opened = record::BreakerChanged { playbook: "test".into(), open: true, why, by: None };
        let now = yard.clock.now();
        yard.stage.core.breaker_changes(opened, now);
        assert!(yard.is_held());
        assert_eq!(yard.booted(after).is_held(), is_open, "{after:?}");
    }
}

/// (after so long, the limit of one an hour is met yet)
#[test]
fn acts_of_yesterday_meet_no_limit_of_an_hour_after_a_boot() {
    for (after, is_met) in [(HOUR / 2, true), (2 * HOUR, false)] {
        let mut playbook = playbook_of(vec![sets("one", &[], "process.freeze", "a")]);
        playbook.limits.runs = Some(quell_model::playbook::Rate { count: 1, per: HOUR });
        let mut yard = Yard::new(playbook);
        yard.attack_by("7", 1);
        yard.things.said();
        let mut yard = yard.booted(after);
        let limit = quell_model::playbook::Rate { count: 1, per: HOUR };
        let now = yard.clock.now();
        assert_eq!(yard.stage.core.triggers.is_at_limit(&yard.playbook, now), is_met, "{after:?}");
        yard.stage.core.definitions.guard.limits.0.insert("process.freeze".into(), limit);
        yard.playbook.limits.runs = None;
        let run = yard.attack_by("7", 2);
        let refused = yard.stage.story(&run).contains(&"StepFinished one refused".to_owned());
        assert_eq!(refused, is_met, "{after:?}: {:?}", yard.stage.story(&run));
    }
}

#[test]
fn a_limit_of_a_week_counts_what_was_done_days_ago_over_a_start() {
    let mut yard = Yard::new(playbook_of(vec![sets("one", &[], "process.freeze", "a")]));
    yard.attack_by("7", 1);
    yard.clock.advance(72 * HOUR);
    let Yard { stage: Stage { core, journal, dir, .. }, things, playbook, clock } = yard;
    drop(core);
    journal.close();
    let mut limited = definitions(playbook.clone());
    let limit = quell_model::playbook::Rate { count: 1, per: 7 * 24 * HOUR };
    limited.guard.limits.0.insert("process.freeze".into(), limit);
    let mut yard = Yard::with(dir, playbook, limited, clock, things, "b");
    let run = yard.attack_by("8", 2);
    assert!(yard.stage.story(&run).contains(&"StepFinished one refused".to_owned()), "{:?}", yard.stage.story(&run));
}

/// A question may wait for days before something is done.
#[test]
fn what_a_run_did_lately_that_began_long_ago_is_counted_after_a_start() {
    let mut cut = sets("one", &["ask"], "process.freeze", "a");
    cut.lease = None;
    let mut asks = super::questions::ask(None);
    if let StepKind::Ask(ask) = &mut asks.kind {
        ask.within = quell_model::playbook::Within(100 * HOUR);
        ask.remember = None;
    }
    let mut yard = Yard::new(playbook_of(vec![asks, cut]));
    let run = yard.attack_by("7", 1);
    yard.pass(72 * HOUR);
    yard.says(&run, "ask", "me", "ann").unwrap();
    assert_eq!((yard.things.said(), yard.end_of(&run)), (vec!["+a".to_owned()], "RunFinished succeeded".to_owned()));
    let Yard { stage: Stage { core, journal, dir, .. }, things, playbook, clock } = yard;
    drop(core);
    journal.close();
    let mut limited = definitions(playbook.clone());
    limited.guard.limits.0.insert("process.freeze".into(), quell_model::playbook::Rate { count: 1, per: HOUR });
    let mut yard = Yard::with(dir, playbook, limited, clock, things, "b");
    let run = yard.attack_by("8", 2);
    yard.says(&run, "ask", "me", "ann").unwrap();
    assert!(yard.stage.story(&run).contains(&"StepFinished one refused".to_owned()), "{:?}", yard.stage.story(&run));
}

/// What is left of a question's time runs on while the machine is off.
#[test]
fn a_question_ends_when_it_was_said_to_also_over_a_boot() {
    let approve = quell_model::playbook::Approve {
        by: None,
        within: quell_model::playbook::Within(HOUR),
        otherwise: quell_model::playbook::Unanswered::Deny,
    };
    let step = Step { approve: Some(approve), ..sets("one", &[], "process.freeze", "a") };
    let mut yard = Yard::new(playbook_of(vec![step]));
    let run = yard.attack(1);
    yard.pass(HOUR / 2);
    let mut yard = yard.booted(HOUR / 4);
    yard.stage.settle();
    yard.pass(HOUR / 6);
    assert_eq!(yard.end_of(&run), "QuestionAsked", "{:?}", yard.stage.story(&run));
    yard.pass(HOUR / 6);
    assert_eq!(yard.end_of(&run), "RunFinished failed", "{:?}", yard.stage.story(&run));
}

/// What a full journal cannot take yet holds all the same.
#[test]
fn a_lease_that_is_needed_while_records_wait_is_renewed() {
    let step = with_lease(sets("one", &[], "process.freeze", "a"), HOUR, AtEnd::Undo);
    let mut yard = Yard::new(playbook_of(vec![step]));
    let run = yard.attack(1);
    yard.pass(HOUR / 4);
    let holder = rusqlite::Connection::open(yard.stage.dir.path().join("journal.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut number = 0;
    while yard.stage.core.ink.waiting() == 0 {
        number += 1;
        let text = "x".repeat(300 << 10);
        let note = quell_model::record::NoteAdded { by: "ann".into(), text };
        let now = yard.clock.now();
        yard.stage.core.write_system(vec![NewRecord::new(now, note)]);
        yard.stage.core.ink.ring();
        assert!(number < 1000, "it waits at last");
    }
    let mut attack = detection("7", 2);
    Arc::make_mut(&mut attack.event).head.at = yard.clock.now();
    yard.stage.core.detections([attack]);
    assert!(yard.stage.core.ink.waiting() > 0);
    holder.execute_batch("ROLLBACK").unwrap();
    while yard.stage.core.ink.waiting() > 0 {
        yard.stage.core.ink.flush();
        std::thread::yield_now();
    }
    yard.pass(HOUR * 4 / 5);
    assert_eq!(yard.leases(&run), ["granted", "needed", "renewed"]);
}
