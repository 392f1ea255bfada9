//! The floor at every size, and whatever comes in whichever order.

use super::*;
use crate::Json;
use crate::action::Target;
use crate::guard::Act;
use crate::record::Part;
use proptest::prelude::*;

fn at(seconds: u64) -> Stamp {
    Stamp {
        wall: jiff::Timestamp::from_second(1_790_000_000 + i64::try_from(seconds).unwrap()).unwrap(),
        boot_ns: seconds * 1_000_000_000,
    }
}

fn object(resource: &str, (name, uid): (&str, &str), replicas: Option<Replicas>) -> Target {
    let is_node = resource == "nodes";
    Target {
        node: "prod".into(),
        kind: resource.trim_end_matches('s').into(),
        id: uid.into(),
        label: format!("{resource} {name}"),
        named: true,
        facts: TargetFacts::Object {
            cluster: "prod".into(),
            resource: resource.into(),
            namespace: (!is_node).then(|| "shop".into()),
            name: name.into(),
            uid: uid.into(),
            owner: (resource == "pods").then(|| "deployment/web".into()),
            replicas,
            needed: None,
        },
    }
}

fn pod(uid: &str, wanted: u32, ready: u32, takes: u32) -> Target {
    object("pods", (uid, uid), Some(Replicas { wanted, ready, takes }))
}

fn plan(targets: Vec<Target>) -> Plan {
    Plan { targets, ..Plan::default() }
}

fn half() -> MinReady {
    MinReady { rows: [(EACH.to_owned(), Share::Percent(50))].into(), nodes: Some(Share::Percent(10)) }
}

fn act(second: u64, plan: &Plan) -> Act {
    Act::of(at(second), "kubernetes.delete_pod".into(), "r".into(), "p".into(), (plan, &Json::Null))
}

fn objection(min_ready: &MinReady, memory: &Memory, second: u64, plan: &Plan) -> Option<String> {
    min_ready.objection(memory, "kubernetes.delete_pod", at(second), plan).map(|(_, why)| why)
}

#[test]
fn half_of_the_replicas_stay_at_every_size_and_one_at_least() {
    // So many are wanted; so many can be taken one after the other.
    for (wanted, can_go) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (10, 5), (100, 50)] {
        let (min_ready, mut memory) = (half(), Memory::default());
        let mut gone = 0;
        for pod_number in 0..wanted {
            let uid = format!("u{pod_number}");
            // Each is planned on what the cluster showed before any of them: at once.
            let next = plan(vec![pod(&uid, wanted, wanted, 1)]);
            match objection(&min_ready, &memory, 10, &next) {
                None => {
                    gone += 1;
                    memory.add(act(10, &next));
                    // Judged again at the act it is no further one.
                    assert_eq!(objection(&min_ready, &memory, 10, &next), None, "{wanted}");
                }
                Some(why) => assert!(why.contains("min_ready` is 50%"), "{why}"),
            }
        }
        assert_eq!(gone, can_go, "{wanted} replicas");
        // All in one plan is as one after the other.
        for together in 1..=wanted {
            let targets = (0..together).map(|number| pod(&format!("u{number}"), wanted, wanted, 1)).collect();
            let may = objection(&min_ready, &Memory::default(), 10, &plan(targets)).is_none();
            assert_eq!(may, together <= can_go, "{together} of {wanted}");
        }
    }
}

#[test]
fn a_share_is_rounded_so_that_one_stays() {
    for (share, all, floor, most) in [
        (Share::Percent(50), 1, 1, 1),
        (Share::Percent(50), 3, 2, 1),
        (Share::Percent(50), 10, 5, 5),
        (Share::Percent(1), 10, 1, 1),
        (Share::Percent(100), 10, 10, 10),
        (Share::Percent(0), 10, 0, 0),
        (Share::Percent(34), 3, 2, 1),
        (Share::Percent(50), u32::MAX, u32::MAX / 2 + 1, u32::MAX / 2),
        (Share::Count(2), 10, 2, 2),
        (Share::Count(0), 10, 0, 0),
    ] {
        assert_eq!((share.floor(all), share.most(all)), (floor, most), "{share} of {all}");
    }
}

#[test]
fn what_is_wanted_and_not_ready_counts_and_what_takes_none_goes() {
    let none = Memory::default();
    // Of ten that are wanted six are ready: five have to stay.
    assert_eq!(objection(&half(), &none, 0, &plan(vec![pod("a", 10, 6, 1)])), None);
    let two = plan(vec![pod("a", 10, 6, 1), pod("b", 10, 6, 1)]);
    assert!(
        objection(&half(), &none, 0, &two).unwrap().contains("would leave 4 ready replicas of deployment/web (6 of 10")
    );
    // A rollout has more than are wanted.
    assert_eq!(objection(&half(), &none, 0, &plan(vec![pod("a", 2, 3, 1)])), None);
    // One that is not ready stands in for nobody, and a bare one has nobody who counts it.
    assert_eq!(objection(&half(), &none, 0, &plan(vec![pod("a", 1, 0, 0)])), None);
    assert_eq!(objection(&half(), &none, 0, &plan(vec![object("pods", ("a", "a"), None)])), None);
    // Where nobody could count them, none is taken.
    let why = objection(&half(), &none, 0, &plan(vec![pod("a", 0, 0, 1)])).unwrap();
    assert!(why.contains("nobody could count"), "{why}");
}

#[test]
fn an_action_has_a_floor_of_its_own_or_none() {
    let mut min_ready = half();
    let only = plan(vec![pod("a", 1, 1, 1)]);
    assert!(objection(&min_ready, &Memory::default(), 0, &only).is_some());
    for nothing in [Share::Percent(0), Share::Count(0)] {
        min_ready.rows.insert("kubernetes.delete_pod".into(), nothing);
        assert_eq!(objection(&min_ready, &Memory::default(), 0, &only), None);
        assert_eq!(objection(&min_ready, &Memory::default(), 0, &plan(vec![pod("a", 0, 0, 1)])), None);
    }
    let isolate = min_ready.objection(&Memory::default(), "kubernetes.isolate_pod", at(0), &only);
    assert!(isolate.unwrap().1.contains("for `kubernetes.isolate_pod`"), "the others keep theirs");
    min_ready.rows.insert("kubernetes.delete_pod".into(), Share::Count(2));
    assert_eq!(objection(&min_ready, &Memory::default(), 0, &plan(vec![pod("a", 3, 3, 1)])), None);
    assert!(objection(&min_ready, &Memory::default(), 0, &plan(vec![pod("a", 2, 2, 1)])).is_some());
    assert_eq!(objection(&MinReady::default(), &Memory::default(), 0, &only), None, "without a row nothing is kept");
}

#[test]
fn one_pod_counts_once_whoever_acts_on_it_and_for_as_long_as_it_may_not_be_seen() {
    let mut memory = Memory::default();
    let first = plan(vec![pod("a", 2, 2, 1)]);
    memory.add(act(10, &first));
    memory.add(act(12, &first));
    assert_eq!(objection(&half(), &memory, 15, &first), None, "it is taken already");
    let other = plan(vec![pod("b", 2, 2, 1)]);
    assert!(objection(&half(), &memory, 15, &other).unwrap().contains("1 of them were taken in the last 60s"));
    // Another owner has replicas of its own, and so has its namesake in another cluster.
    let mut elsewhere = pod("b", 2, 2, 1);
    if let TargetFacts::Object { cluster, .. } = &mut elsewhere.facts {
        *cluster = "test".into();
    }
    assert_eq!(objection(&half(), &memory, 15, &plan(vec![elsewhere])), None);
    assert_eq!(objection(&half(), &memory, 73, &other), None, "by then the cluster shows what was taken");
}

#[test]
fn what_an_act_under_way_takes_counts_until_it_has_ended_and_can_be_seen() {
    let (mut memory, run) = (Memory::default(), "r".into());
    let part = Part { step: "drain".into(), item: None };
    // A node's drain goes through its pods for minutes: the cluster shows each as ready until it is evicted.
    let drain = plan(vec![pod("a", 2, 2, 1)]);
    memory.add(act(10, &drain));
    memory.begins(&run, &part, &drain);
    let other = plan(vec![pod("b", 2, 2, 1)]);
    assert!(objection(&half(), &memory, 300, &other).is_some());
    assert_eq!(objection(&half(), &memory, 300, &drain), None, "it is its own");
    memory.ends(&run, &part, at(310));
    assert!(objection(&half(), &memory, 369, &other).is_some(), "the cluster may not show yet what it did last");
    assert_eq!(objection(&half(), &memory, 371, &other), None);
    // Who is gone without a word takes nothing any more.
    memory.begins(&run, &part, &drain);
    memory.run_ended(&run);
    assert_eq!(objection(&half(), &memory, 371, &other), None);
}

#[test]
fn an_owner_is_not_halved_time_and_again() {
    let scale = |ready: u32, to: u32| {
        let mut target =
            object("deployments.apps", ("web", "d"), Some(Replicas { wanted: ready, ready, takes: ready - to }));
        target.kind = "deployment".into();
        plan(vec![target])
    };
    let mut memory = Memory::default();
    assert!(objection(&half(), &memory, 0, &scale(10, 4)).is_some());
    assert_eq!(objection(&half(), &memory, 0, &scale(10, 5)), None);
    memory.add(act(0, &scale(10, 5)));
    for then in [30, 120, 1_800, 3_500] {
        assert!(objection(&half(), &memory, then, &scale(5, 3)).is_some(), "after {then} s");
        // Its pods are the same replicas.
        assert!(objection(&half(), &memory, then, &plan(vec![pod("a", 5, 5, 1)])).is_some(), "after {then} s");
    }
    assert_eq!(objection(&half(), &memory, 3_700, &scale(5, 3)), None, "it is as people want it by then");
}

#[test]
fn so_many_nodes_are_out_of_use_at_a_time_and_one_stays() {
    let node = |name: &str, all: u32, ready: u32| {
        plan(vec![object("nodes", (name, name), Some(Replicas { wanted: all, ready, takes: 1 }))])
    };
    let none = Memory::default();
    for (all, ready, may) in [
        (1, 1, false),
        (2, 2, true),
        (2, 1, false),
        (3, 3, true),
        (10, 10, true),
        (10, 9, false),
        (20, 19, true),
        (20, 18, false),
    ] {
        let why = objection(&half(), &none, 0, &node("n", all, ready));
        assert_eq!(why.is_none(), may, "{ready} of {all}: {why:?}");
    }
    let mut memory = Memory::default();
    memory.add(act(0, &node("n-1", 10, 10)));
    let why = objection(&half(), &memory, 5, &node("n-2", 10, 10)).unwrap();
    assert_eq!(why, "2 of 10 nodes would be out of use: `guard.limits.nodes` is 10%, which is 1 of them");
    assert_eq!(objection(&half(), &memory, 5, &node("n-1", 10, 10)), None);
}

#[test]
fn what_was_taken_is_remembered_within_bounds() {
    let mut memory = Memory::default();
    for number in 0..crate::guard::APART + 10 {
        let mut one = pod("a", 2, 2, 1);
        if let TargetFacts::Object { owner, .. } = &mut one.facts {
            *owner = Some(format!("deployment/w{number}"));
        }
        memory.add(act(u64::try_from(number).unwrap() / 100, &plan(vec![one])));
    }
    assert_eq!(memory.groups(), crate::guard::APART);
}

/// What may happen to a workload.
#[derive(Clone, Debug)]
enum Event {
    /// One of the ready ones is to go, planned on what the cluster showed so many seconds ago, and done so many seconds later.
    Take { which: prop::sample::Index, behind: u64, later: u64 },
    /// Two at once, of one plan.
    TakeTwo { which: prop::sample::Index },
    /// A new one is ready.
    Heals,
    /// Nothing for so long.
    Waits(u64),
    /// The engine ends and reads its journal again.
    Restarts,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let take = (any::<prop::sample::Index>(), 0u64..30, 0u64..20);
    let one = prop_oneof![
        6 => take.prop_map(|(which, behind, later)| Event::Take { which, behind, later }),
        1 => any::<prop::sample::Index>().prop_map(|which| Event::TakeTwo { which }),
        2 => Just(Event::Heals),
        2 => (0u64..90).prop_map(Event::Waits),
        1 => Just(Event::Restarts),
    ];
    prop::collection::vec(one, 1..60)
}

/// A workload and the engine that acts on it.
struct Workload {
    wanted: u32,
    now: u64,
    /// Which are ready.
    ready: Vec<String>,
    /// How many were, from each second on: what the cluster shows late.
    shown: Vec<(u64, u32)>,
    made: u32,
    memory: Memory,
    journal: Vec<(u64, Plan)>,
    /// Planned and let through, and not yet done: when, and what.
    pending: Vec<(u64, Plan)>,
}

impl Workload {
    fn new(wanted: u32) -> Self {
        let ready = (0..wanted).map(|number| format!("u{number}")).collect();
        let (memory, journal, pending) = (Memory::default(), Vec::new(), Vec::new());
        Self { wanted, now: 100, ready, shown: vec![(0, wanted)], made: wanted, memory, journal, pending }
    }

    fn len(&self) -> u32 {
        u32::try_from(self.ready.len()).unwrap()
    }

    fn show(&mut self) {
        self.shown.push((self.now, self.len()));
    }

    fn showed(&self, behind: u64) -> u32 {
        let then = self.now - behind;
        self.shown.iter().rev().find(|(from, _)| *from <= then).map_or(self.wanted, |(_, ready)| *ready)
    }

    fn judge(&mut self, min_ready: &MinReady, uids: &[String], behind: u64, later: u64) {
        let ready = self.showed(behind);
        let asked = plan(uids.iter().map(|uid| pod(uid, self.wanted, ready, 1)).collect());
        if objection(min_ready, &self.memory, self.now, &asked).is_none() {
            self.memory.add(act(self.now, &asked));
            self.journal.push((self.now, asked.clone()));
            self.pending.push((self.now + later, asked));
        }
    }

    /// What is due is judged again, and done.
    fn go_on(&mut self, min_ready: &MinReady) {
        let (due, waits) = std::mem::take(&mut self.pending).into_iter().partition(|(then, _)| *then <= self.now);
        self.pending = waits;
        let due: Vec<(u64, Plan)> = due;
        for (_, asked) in due {
            if objection(min_ready, &self.memory, self.now, &asked).is_none() {
                self.ready.retain(|uid| asked.targets.iter().all(|target| target.id != *uid));
                self.show();
            }
        }
    }
}

proptest! {
    /// Whatever is planned on whatever the cluster shows, late or at once: never fewer are ready than the floor by what quell did.
    #[test]
    fn never_fewer_are_ready_than_the_floor(
        wanted in prop::sample::select(vec![1u32, 2, 3, 4, 7, 10]),
        percent in prop::sample::select(vec![1u32, 34, 50, 67, 100]),
        events in events(),
    ) {
        let share = Share::Percent(percent);
        let min_ready = MinReady { rows: [(EACH.to_owned(), share)].into(), nodes: None };
        let mut world = Workload::new(wanted);
        for event in events {
            match event {
                Event::Take { which, behind, later } if !world.ready.is_empty() => {
                    let uid = which.get(&world.ready).clone();
                    world.judge(&min_ready, &[uid], behind, later);
                }
                Event::TakeTwo { which } if world.ready.len() > 1 => {
                    let first = which.index(world.ready.len() - 1);
                    let uids = world.ready[first..first + 2].to_vec();
                    world.judge(&min_ready, &uids, 0, 0);
                }
                Event::Heals if world.len() < wanted => {
                    world.ready.push(format!("u{}", world.made));
                    world.made += 1;
                    world.show();
                }
                Event::Waits(seconds) => {
                    for _ in 0..seconds {
                        world.now += 1;
                        world.go_on(&min_ready);
                    }
                }
                Event::Restarts => {
                    world.memory = Memory::default();
                    for (then, asked) in &world.journal {
                        world.memory.add(act(*then, asked));
                    }
                }
                Event::Take { .. } | Event::TakeTwo { .. } | Event::Heals => {}
            }
            world.go_on(&min_ready);
            prop_assert!(world.len() >= share.floor(wanted), "{} of {wanted} are ready", world.len());
        }
    }
}
