//! The ladder: each way through it, and what holds on all of them.

use super::super::policy::{AtLevel, Step, Target};
use super::*;
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);

fn at(minutes: u64) -> Stamp {
    Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: 1 }.after(MINUTE * u32::try_from(minutes).unwrap())
}

fn step(wait: u32, ack: Ack) -> Step {
    Step { notify: vec![Target::Person("ana".into())], by: Vec::new(), wait: MINUTE * wait, ack }
}

fn policy(steps: Vec<Step>) -> Policy {
    let last_resort = vec![Target::Person("lead".into())];
    Policy { steps, repeat: 1, ack_timeout: Some(MINUTE * 30), last_resort, severity: Default::default() }
}

fn ladder(steps: Vec<Step>) -> Ladder {
    Ladder::new(policy(steps), Level::High, "a high incident".into(), at(0), 1)
}

fn people(names: &[&str]) -> Told {
    Told { people: names.iter().map(|name| Name::from(*name)).collect(), anybody: true }
}

/// Makes the move that is due; gives it.
fn go(ladder: &mut Ladder, told: Told, now: Stamp) -> Move {
    let made = ladder.next(now).unwrap_or_else(|| panic!("nothing is due: {ladder:?}"));
    ladder.moved(&made, told, now);
    made
}

fn to(round: u32, step: u32) -> Place {
    Place::Step { round, step }
}

#[test]
fn silence_goes_up_step_by_step_again_and_to_the_last_resort() {
    let mut ladder = ladder(vec![step(5, Ack::Any), step(10, Ack::Any)]);
    let mut seen = Vec::new();
    let mut now = 0;
    while let Some(due) = ladder.due() {
        assert!(due.boot_ns == 1 || ladder.next(at(now)).is_none(), "before its time: {seen:?}");
        now = (due.boot_ns - 1) / 60_000_000_000;
        seen.push((now, go(&mut ladder, people(&["ana"]), at(now)).to));
    }
    let last = (30, Place::LastResort);
    assert_eq!(seen, [(0, to(0, 0)), (5, to(0, 1)), (15, to(1, 0)), (20, to(1, 1)), last]);
    assert_eq!((ladder.standing(), ladder.generation()), (&Standing::Exhausted, 1));
    assert_eq!(ladder.next(at(10_000)), None, "it stays red, and is not told over and over");
    assert_eq!(ladder.acknowledge(&"lead".into(), 1, at(31)), Answered::Acknowledged);
}

#[test]
fn the_reason_of_each_move_is_what_was() {
    let mut ladder = ladder(vec![step(5, Ack::Count(2)), step(5, Ack::Any)]);
    assert_eq!(go(&mut ladder, people(&["ana", "bo"]), at(0)).because, "a high incident");
    assert_eq!(ladder.acknowledge(&"ana".into(), 1, at(1)), Answered::Counts);
    assert_eq!(go(&mut ladder, Told::default(), at(5)).because, "not enough people answered in time");
    ladder.escalate("ana handed it on".into(), at(5));
    assert_eq!(go(&mut ladder, people(&["ana"]), at(5)).because, "ana handed it on");
    assert_eq!(go(&mut ladder, people(&["ana"]), at(10)).because, "nobody answered in time");
}

#[test]
fn an_acknowledged_one_is_still_until_nobody_moves_it() {
    let mut ladder = ladder(vec![step(5, Ack::Any)]);
    go(&mut ladder, people(&["ana"]), at(0));
    assert_eq!(ladder.acknowledge(&"ana".into(), 1, at(4)), Answered::Acknowledged);
    assert_eq!(ladder.acknowledge(&"bo".into(), 1, at(4)), Answered::Again);
    assert_eq!(ladder.next(at(33)), None);
    ladder.touched(at(20));
    assert_eq!(ladder.next(at(49)), None, "somebody has done something");
    let again = go(&mut ladder, people(&["ana"]), at(50));
    assert_eq!((again.generation, again.to), (2, to(0, 0)));
    assert!(again.because.contains("ana acknowledged it"), "{}", again.because);
    assert_eq!(ladder.acknowledge(&"ana".into(), 1, at(51)), Answered::Stale, "it answers the page of before");
    assert_eq!(*ladder.standing(), Standing::Climbing);
    assert_eq!(ladder.acknowledge(&"ana".into(), 2, at(51)), Answered::Acknowledged, "who answered before may again");
}

#[test]
fn each_and_so_many_wait_for_all_of_them() {
    let mut each = ladder(vec![step(5, Ack::Each)]);
    go(&mut each, people(&["ana", "bo"]), at(0));
    assert_eq!(each.acknowledge(&"lead".into(), 1, at(1)), Answered::Counts, "who was not told counts for themselves");
    assert_eq!(each.acknowledge(&"ana".into(), 1, at(1)), Answered::Counts);
    assert_eq!(each.acknowledge(&"ana".into(), 1, at(1)), Answered::Again);
    assert_eq!(each.acknowledge(&"bo".into(), 1, at(1)), Answered::Acknowledged);
    let mut two = ladder(vec![step(5, Ack::Count(2)), step(5, Ack::Count(2))]);
    go(&mut two, people(&["ana", "bo"]), at(0));
    assert_eq!(two.acknowledge(&"ana".into(), 1, at(1)), Answered::Counts);
    go(&mut two, people(&["lead"]), at(5));
    assert_eq!(two.acknowledge(&"lead".into(), 1, at(6)), Answered::Acknowledged, "ana's answer stands");
    let mut later = ladder(vec![step(5, Ack::Each), step(5, Ack::Any)]);
    go(&mut later, people(&["ana", "bo"]), at(0));
    assert_eq!(later.acknowledge(&"ana".into(), 1, at(1)), Answered::Counts);
    go(&mut later, people(&["ana"]), at(5));
    assert_eq!(later.acknowledge(&"ana".into(), 1, at(6)), Answered::Acknowledged, "of the step that asks one alone");
}

#[test]
fn nobody_there_is_the_next_step_at_once_and_a_whole_round_of_nobody_the_last_resort() {
    let mut one = ladder(vec![step(5, Ack::Any), step(10, Ack::Any)]);
    go(&mut one, Told::default(), at(0));
    assert_eq!(go(&mut one, people(&["bo"]), at(0)).to, to(0, 1));
    assert_eq!(one.next(at(9)), None);
    assert_eq!(go(&mut one, Told::default(), at(10)).to, to(1, 0), "a round that reached somebody is repeated");
    let mut all = ladder(vec![step(5, Ack::Any), step(10, Ack::Any)]);
    go(&mut all, Told::default(), at(0));
    go(&mut all, Told::default(), at(0));
    let last = go(&mut all, people(&["lead"]), at(0));
    assert_eq!((last.to, last.because.as_str()), (Place::LastResort, "nobody could be reached so far"));
    let mut channel = ladder(vec![step(5, Ack::Each)]);
    go(&mut channel, Told { anybody: true, ..Told::default() }, at(0));
    assert_eq!(channel.next(at(4)), None, "whoever reads the channel has the time to");
    assert_eq!(channel.acknowledge(&"bo".into(), 1, at(4)), Answered::Acknowledged);
    let mut none = ladder(Vec::new());
    assert_eq!(go(&mut none, people(&["lead"]), at(0)).to, Place::LastResort);
}

#[test]
fn a_level_has_its_own_pace_and_a_higher_one_begins_again() {
    let mut policy = policy(vec![step(5, Ack::Any), step(5, Ack::Any)]);
    policy.severity.insert(Level::Critical, AtLevel { wait: Some(MINUTE) });
    let mut ladder = Ladder::new(policy, Level::High, "a high incident".into(), at(0), 1);
    go(&mut ladder, people(&["ana"]), at(0));
    assert_eq!(ladder.acknowledge(&"ana".into(), 1, at(1)), Answered::Acknowledged);
    ladder.begin_again(Level::Critical, "it is critical now".into(), at(2));
    let made = go(&mut ladder, people(&["ana"]), at(2));
    assert_eq!((made.generation, made.to, made.because.as_str()), (2, to(0, 0), "it is critical now"));
    assert_eq!(ladder.due(), Some(at(3)));
    ladder.begin_again(Level::Low, "unacknowledged".into(), at(3));
    go(&mut ladder, people(&["ana"]), at(3));
    assert_eq!(ladder.due(), Some(at(4)), "a level never sinks");
}

#[test]
fn what_has_ended_begins_never_again() {
    let mut ladder = ladder(vec![step(5, Ack::Any)]);
    ladder.end();
    ladder.escalate("bo".into(), at(1));
    ladder.begin_again(Level::Critical, "worse".into(), at(1));
    ladder.touched(at(1));
    assert_eq!((ladder.due(), ladder.next(at(99))), (None, None));
    assert_eq!(ladder.acknowledge(&"ana".into(), 1, at(1)), Answered::Over);
}

/// What may happen to a ladder.
#[derive(Clone, Debug)]
enum Happens {
    Time(u64),
    Answer(u8, bool),
    Touched,
    Escalate,
    Worse,
    End,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => (0..12u64).prop_map(Happens::Time),
        3 => (0..3u8, any::<bool>()).prop_map(|(who, stale)| Happens::Answer(who, stale)),
        1 => Just(Happens::Touched),
        1 => Just(Happens::Escalate),
        1 => Just(Happens::Worse),
        1 => Just(Happens::End),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ack = prop_oneof![Just(Ack::Any), Just(Ack::Each), (1..3u32).prop_map(Ack::Count)];
    prop::collection::vec((1..9u32, ack).prop_map(|(wait, ack)| step(wait, ack)), 0..4)
}

proptest! {
    #[test]
    fn whatever_happens_the_laws_hold(
        steps in steps(),
        reach in prop::collection::vec(0..4u8, 1..9),
        story in prop::collection::vec(happens(), 0..60),
    ) {
        let names = ["ana", "bo", "lead"];
        let mut ladder = ladder(steps);
        let (mut now, mut moves) = (at(0), 0);
        let mut ended = false;
        for thing in story {
            let before = ladder.clone();
            match thing {
                Happens::Time(minutes) => now = now.after(MINUTE * u32::try_from(minutes).unwrap()),
                Happens::Answer(who, stale) => {
                    let generation = ladder.generation() - u32::from(stale);
                    let answered = ladder.acknowledge(&names[usize::from(who)].into(), generation, now);
                    if stale {
                        prop_assert_eq!(&ladder, &before, "an answer to what was before changes nothing");
                    }
                    let is_acknowledged = matches!(ladder.standing(), Standing::Acknowledged { .. });
                    prop_assert!(answered != Answered::Acknowledged || is_acknowledged);
                }
                Happens::Touched => ladder.touched(now),
                Happens::Escalate => ladder.escalate("on".into(), now),
                Happens::Worse => ladder.begin_again(Level::Critical, "worse".into(), now),
                Happens::End => {
                    ladder.end();
                    ended = true;
                }
            }
            prop_assert!(ladder.generation() >= before.generation());
            let mut here = 0;
            while let Some(made) = ladder.next(now) {
                prop_assert!(!ended, "what has ended tells nobody");
                if let Standing::Acknowledged { until, .. } = ladder.standing() {
                    prop_assert!(until.is_some_and(|until| until <= now), "an acknowledged one is still");
                    prop_assert_eq!(made.generation, ladder.generation() + 1);
                }
                let told = usize::from(reach[moves % reach.len()]);
                ladder.moved(&made, people_or_nobody(&names[..told.min(3)]), now);
                (moves, here) = (moves + 1, here + 1);
                prop_assert!(here <= 10, "it goes round and round in one moment");
            }
            let climbs = *ladder.standing() == Standing::Climbing;
            prop_assert!(!climbs || ladder.due().is_some_and(|due| due > now), "what climbs has its next moment");
        }
        // From here on nobody says a word: it reaches its last resort, or was ended.
        for _ in 0..40 {
            let Some(due) = ladder.due() else { break };
            now = now.max(due);
            if let Some(made) = ladder.next(now) {
                ladder.moved(&made, people_or_nobody(&names[..1]), now);
            }
        }
        let is_over = matches!(ladder.standing(), Standing::Exhausted | Standing::Ended);
        prop_assert!(is_over, "silence is never the end: {:?}", ladder);
    }
}

fn people_or_nobody(names: &[&str]) -> Told {
    if names.is_empty() { Told::default() } else { people(names) }
}

#[test]
fn who_sends_it_up_passes_nobody_over() {
    let named = |name: &str| Step { notify: vec![Target::Person(name.into())], ..step(5, Ack::Any) };
    let telling = |ladder: &Ladder, made: &Move| -> Vec<Target> {
        ladder.telling(made.to).iter().flat_map(|step| step.notify.clone()).collect()
    };
    let people_of =
        |names: &[&str]| -> Vec<Target> { names.iter().map(|name| Target::Person((*name).into())).collect() };
    let begun = || ladder(vec![named("ana"), named("bo"), named("chi")]);
    // Nobody was told: all up to there are.
    let mut ladder = begun();
    assert!(ladder.is_up_to(0) && !ladder.is_up_to(1));
    ladder.send_up(1, "it did not work".into(), at(0));
    assert!(ladder.is_up_to(1) && !ladder.is_up_to(2), "it is on its way");
    let made = ladder.next(at(0)).unwrap();
    assert_eq!((made.generation, made.to, made.because.as_str()), (2, to(0, 1), "it did not work"));
    assert_eq!(telling(&ladder, &made), people_of(&["ana", "bo"]));
    ladder.moved(&made, people(&["ana", "bo"]), at(0));
    // From there it goes on as always, and up only by what is between.
    let made = ladder.next(at(5)).unwrap();
    assert_eq!((made.to, telling(&ladder, &made)), (to(0, 2), people_of(&["chi"])));
    let mut ladder = begun();
    go(&mut ladder, people(&["ana"]), at(0));
    ladder.send_up(9, "at the end".into(), at(1));
    let made = ladder.next(at(1)).unwrap();
    assert_eq!((made.to, telling(&ladder, &made)), (Place::LastResort, people_of(&["bo", "chi"])));
    ladder.moved(&made, people(&["bo", "chi", "lead"]), at(1));
    assert!(ladder.is_up_to(9) && *ladder.standing() == Standing::Exhausted);
    // In a later round it stays in that round.
    let mut ladder = begun();
    (0..4).for_each(|turn| drop(go(&mut ladder, people(&["ana"]), at(turn * 5))));
    assert_eq!(ladder.place(), Some(to(1, 0)));
    ladder.send_up(1, "again".into(), at(16));
    assert_eq!(go(&mut ladder, people(&["bo"]), at(16)).to, to(1, 1));
    // Whoever looked after it is told again.
    assert_eq!(ladder.acknowledge(&"bo".into(), 2, at(17)), Answered::Acknowledged);
    assert!(!ladder.is_up_to(1), "it tells nobody");
    ladder.send_up(1, "worse".into(), at(18));
    assert_eq!(ladder.acknowledge(&"bo".into(), 2, at(18)), Answered::Stale);
    let made = ladder.next(at(18)).unwrap();
    assert_eq!((made.to, telling(&ladder, &made)), (to(0, 1), people_of(&["ana", "bo"])));
    // An answer of between ends it, and it comes back by its first step.
    assert_eq!(ladder.acknowledge(&"ana".into(), 3, at(18)), Answered::Acknowledged);
    let made = ladder.next(at(48)).unwrap();
    assert_eq!((made.to, telling(&ladder, &made)), (to(0, 0), people_of(&["ana"])));
}

#[test]
fn by_another_policy_it_begins_there_and_what_is_over_stays_over() {
    let other = || policy(vec![Step { notify: vec![Target::Person("dee".into())], ..step(7, Ack::Any) }]);
    let mut ladder = ladder(vec![step(5, Ack::Any), step(5, Ack::Any)]);
    go(&mut ladder, people(&["ana"]), at(0));
    ladder.go_by(other(), 0, "run r-1 escalates".into(), at(1));
    let made = ladder.next(at(1)).unwrap();
    assert_eq!((made.generation, made.to), (2, to(0, 0)));
    assert_eq!(ladder.telling(made.to)[0].notify, [Target::Person("dee".into())]);
    ladder.moved(&made, Told::default(), at(1));
    assert_eq!(ladder.next(at(1)).unwrap().because, "nobody could be reached so far", "by this policy nobody was");
    ladder.end();
    ladder.go_by(other(), 0, "late".into(), at(2));
    ladder.send_up(1, "late".into(), at(2));
    assert_eq!((ladder.standing(), ladder.next(at(2))), (&Standing::Ended, None));
}
