//! Seeds with a guard: small limits, a breaker that opens soon, a warm-up, protection, and a place outside of which nothing may be touched.
//!
//! Owns the guard of a seed, and the law that nothing was ever done that it forbids, over deaths and boots. Judges by the records
//! alone, never by what the guard remembers.

use super::check::Streams;
use super::rng::Rng;
use quell_model::guard::{ALL, Breaker, EACH, Guard, Limits, MinReady, Protect, ProtectedFile, WarmUp, Within};
use quell_model::playbook::Rate;
use quell_model::record::{Part, StepIntended};
use quell_model::{Body, Mode, Name, ProcessId, RunId, StreamId, Target, TargetFacts};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Where things stand, by turns. The last lies outside.
const CGROUPS: [&str; 4] = ["/box/one.service", "/box/two.service", "/box/three", "/elsewhere"];
/// Of so many programs is every process one.
const IMAGES: u64 = 7;
/// Protected, where anything is: the last image and the last user.
const PROTECTED: (u64, u32) = (IMAGES - 1, 1003);

/// What the guard is told of a thing: the same of the same name, whichever engine asks.
pub(super) fn facts(thing: &str) -> TargetFacts {
    let sum = thing.bytes().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let image = sum % IMAGES;
    let pid = 1000 + u32::try_from(sum % 30_000).expect("it is small");
    let at = usize::try_from(sum / 7 % 4).expect("it is small");
    TargetFacts::Process {
        id: ProcessId { boot: quell_model::BootId("boot-1".into()), pid, start_ns: 50_000_000, exec_id: 1 },
        image: Some(format!("/tmp/x{image}")),
        file: Some((8, image)),
        cgroup: Some(CGROUPS[at].to_owned()),
        unit: None,
        uid: 1000 + u32::try_from(sum / 28 % 4).expect("it is small"),
        kernel_thread: false,
        below_named: false,
        by_scope: false,
        pod: None,
    }
}

/// The guard of a seed; half of them have none to speak of.
pub(super) fn guard(rng: &mut Rng) -> Guard {
    if rng.chance(50) {
        return Guard::default();
    }
    let rows = |rng: &mut Rng| {
        let mut rows = BTreeMap::new();
        for row in ["process.freeze", "process.kill", "cloud.cut", "cloud.rotate", EACH, ALL] {
            if rng.chance(40) {
                let per = Duration::from_secs(rng.of(&[30, 600, 3600, 48 * 3600]));
                rows.insert(row.to_owned(), Rate { count: rng.of(&[1, 2, 5]), per });
            }
        }
        Limits(rows)
    };
    let (limits, per_playbook) = (rows(rng), rows(rng));
    let most = rng.of(&[1, 3]);
    let breaker = Breaker {
        images: most,
        owners: 10,
        principals: most,
        within: Duration::from_secs(rng.of(&[60, 1200])),
        quiet: Duration::from_secs(300),
    };
    let warm_up = rng.chance(20).then(|| WarmUp { runs: None, lasts: Some(Duration::from_secs(120)) });
    let only_within = rng.chance(30).then(|| Within::cgroup("/box"));
    let executables = vec![ProtectedFile { path: "/usr/sbin/sshd".to_owned(), file: (8, PROTECTED.0) }];
    let protect = Protect { executables, uids: vec![PROTECTED.1], ..Protect::default() };
    let protect = if rng.chance(30) { protect } else { Protect::default() };
    Guard { protect, limits, per_playbook, min_ready: MinReady::default(), breaker, only_within, warm_up }
}

/// One act that was intended.
struct Act<'a> {
    at: jiff::Timestamp,
    run: &'a RunId,
    playbook: &'a Name,
    intent: &'a StepIntended,
    /// A person has said yes to it.
    agreed: bool,
    /// It is one more. What was intended before a crash and is gone on with is none, and yet known to have been acted on then.
    counts: bool,
}

impl Act<'_> {
    fn places(&self) -> impl Iterator<Item = &str> {
        self.intent.plan.targets.iter().map(|target| match &target.facts {
            TargetFacts::Process { cgroup: Some(path), .. } => quell_model::guard::place(path),
            _ => target.id.as_str(),
        })
    }

    fn images(&self) -> impl Iterator<Item = &str> {
        self.intent.plan.targets.iter().filter_map(|target| match &target.facts {
            TargetFacts::Process { image: Some(image), .. } => Some(image.as_str()),
            _ => None,
        })
    }

    fn principals(&self) -> impl Iterator<Item = &str> {
        let is_one = |target: &&Target| matches!(target.facts, TargetFacts::Identity { .. });
        self.intent.plan.targets.iter().filter(is_one).map(|target| target.id.as_str())
    }

    fn told(&self) -> String {
        format!(
            "run {}: `{}` ({}), attempt {}, at {}",
            self.run, self.intent.part, self.intent.action, self.intent.attempt, self.at
        )
    }
}

/// Guard law: whatever died in between, no row was ever passed, nothing protected or outside was touched, no playbook acted by itself
/// on more than it may, and none before it was warm.
pub(super) fn nothing_forbidden_was_done(guard: &Guard, streams: &Streams) -> Result<(), String> {
    let mut acts: Vec<Act<'_>> = Vec::new();
    for records in streams.iter().filter(|(stream, _)| stream.as_run().is_some()).map(|(_, records)| records) {
        let Some(started) = records.first().and_then(|first| crate::run::shell::run_started(&first.body)) else {
            continue;
        };
        let (mut counted, mut agreed): (BTreeSet<(&Part, u32)>, BTreeSet<&Part>) = Default::default();
        let mut last: BTreeMap<&Part, &StepIntended> = BTreeMap::new();
        for record in records {
            let (part, counts) = match &record.body {
                Body::RunReopened(_) => {
                    counted.clear();
                    continue;
                }
                Body::QuestionAnswered(answered) if answered.settles && answered.choice.as_str() == "approve" => {
                    agreed.extend(answered.by.is_some().then_some(&answered.part));
                    continue;
                }
                Body::StepIntended(intent) => {
                    last.insert(&intent.part, intent);
                    (&intent.part, counted.insert((&intent.part, intent.attempt)))
                }
                Body::StepFailed(failed) => (&failed.part, false),
                Body::StepFinished(finished) => (&finished.part, false),
                _ => continue,
            };
            let Some(intent) = last.get(part).copied() else { continue };
            let (at, run, playbook) = (record.at.wall, &started.run, &started.playbook);
            acts.push(Act { at, run, playbook, intent, agreed: agreed.contains(part), counts });
        }
        warm(guard, streams, records[0].at.wall, started)?;
    }
    acts.sort_by_key(|act| act.at);
    for (number, act) in acts.iter().enumerate().filter(|(_, act)| act.counts) {
        for target in &act.intent.plan.targets {
            let objection = guard.protect.objection(target);
            let objection = objection.or_else(|| guard.only_within.as_ref()?.objection(target));
            if let Some(why) = objection {
                return Err(format!("{} touched {}: {why}", act.told(), target.label));
            }
        }
        let before = &acts[..=number];
        within_limits(&guard.limits, act, before, |_| true)?;
        within_limits(&guard.per_playbook, act, before, |other| other.playbook == act.playbook)?;
        let own: Vec<&Act<'_>> =
            acts.iter().filter(|other| other.playbook == act.playbook && other.at <= act.at).collect();
        broke_not(&guard.breaker, act, &own)?;
    }
    Ok(())
}

/// Acts so far back from one, itself included.
fn since<'a, 'b>(
    act: &'b Act<'a>,
    before: impl Iterator<Item = &'b Act<'a>>,
    per: Duration,
) -> impl Iterator<Item = &'b Act<'a>> {
    let from = act.at - per;
    before.filter(move |other| other.at >= from)
}

fn within_limits<'a>(
    limits: &Limits,
    act: &Act<'a>,
    before: &[Act<'a>],
    counts: impl Fn(&Act<'a>) -> bool,
) -> Result<(), String> {
    let action = &act.intent.action;
    let counts = |other: &Act<'a>| other.counts && counts(other);
    let same = |other: &&Act<'a>| counts(other) && other.intent.action == *action;
    let passed = |done: usize, rate: &Rate| {
        let passed = done > rate.count as usize;
        passed.then(|| {
            format!("{} is act or place {done} within {:?}, the limit is {}", act.told(), rate.per, rate.count)
        })
    };
    if let Some(rate) = limits.0.get(action.as_str()) {
        let done: Vec<&Act<'a>> = since(act, before.iter().filter(same), rate.per).collect();
        let all = || done.iter().map(|act| act.told()).collect::<Vec<_>>().join("; ");
        return passed(done.len(), rate).map_or(Ok(()), |why| Err(format!("{why}: {}", all())));
    }
    let places = |of: Vec<&Act<'a>>| of.into_iter().flat_map(Act::places).collect::<BTreeSet<&str>>().len();
    if let Some(rate) = limits.0.get(EACH) {
        let done = places(since(act, before.iter().filter(same), rate.per).collect());
        passed(done, rate).map_or(Ok(()), Err)?;
    }
    let Some(rate) = limits.0.get(ALL) else { return Ok(()) };
    let done = places(since(act, before.iter().filter(|other| counts(other)), rate.per).collect());
    passed(done, rate).map_or(Ok(()), Err)
}

/// By itself, a verb that cannot be taken back acts on what it has acted on, or on no more than so many.
fn broke_not<'a>(breaker: &Breaker, act: &Act<'a>, own: &[&Act<'a>]) -> Result<(), String> {
    if act.agreed || super::world::is_undoable(act.intent.action.as_str()) {
        return Ok(());
    }
    type Of<'a, 'b> = (&'static str, usize, fn(&'b Act<'a>) -> Vec<&'b str>);
    let kinds: [Of<'_, '_>; 2] = [
        ("images", breaker.images, |act| act.images().collect()),
        ("principals", breaker.principals, |act| act.principals().collect()),
    ];
    let is_other = |other: &&&Act<'a>| !std::ptr::eq(**other, act);
    // In one moment of a clock that stands still nobody knows what came first.
    let is_earlier = |other: &&&Act<'a>| other.counts && (other.at < act.at || std::ptr::eq(**other, act));
    for (what, most, of) in kinds {
        let others = own.iter().filter(is_other).copied();
        let known: BTreeSet<&str> = since(act, others, breaker.within + breaker.quiet).flat_map(of).collect();
        if of(act).iter().all(|one| known.contains(one)) {
            continue;
        }
        let earlier = own.iter().filter(is_earlier).copied();
        let lately: BTreeSet<&str> = since(act, earlier, breaker.within).flat_map(of).collect();
        if lately.len() > most {
            return Err(format!("{} acts on {} different {what}, {most} open the breaker", act.told(), lately.len()));
        }
    }
    Ok(())
}

fn warm(
    guard: &Guard,
    streams: &Streams,
    began: jiff::Timestamp,
    started: &quell_model::record::RunStarted,
) -> Result<(), String> {
    let Some(lasts) = guard.warm_up.as_ref().and_then(|warm| warm.lasts) else { return Ok(()) };
    let system = streams.get(&StreamId::system()).map_or(&[][..], Vec::as_slice);
    let seen = system.iter().find(|record| match &record.body {
        Body::PlaybookSeen(seen) => seen.hash == started.definition,
        _ => false,
    });
    let is_new = seen.is_none_or(|seen| began < seen.at.wall + lasts);
    if started.mode == Mode::Enforce && is_new {
        return Err(format!("run {} may act by itself, and its playbook is not warm", started.run));
    }
    Ok(())
}
