//! What was done lately: the guard counts from it. Rebuilt from the journal at a start.
//!
//! Owns one moment a thing that is counted (a place, an image, an act of a verb), not one an act: a flood of the same
//! takes no memory. Keeps true: the tables are bounded by [`MOST`] and [`APART`], the oldest go first; what a limit or
//! the breaker counts is far below.

use crate::Json;
use crate::action::{Plan, TargetFacts};
use crate::guard::replicas::{Taken, UNSEEN, WAS_WANTED, taken};
use crate::guard::{Concerns, object, place};
use crate::ids::{Name, RunId};
use crate::record::Part;
use crate::time::Stamp;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// Longest span that a limit or the breaker looks back.
pub const KEEP: Duration = Duration::from_secs(24 * 3600);
/// Acts of one verb that are kept; a limit above it holds as one of this many.
pub const MOST: usize = 10_000;
/// Places, cgroups or images that are told apart; a limit or breaker above it holds as one of this many.
pub const APART: usize = 2_000;

/// One thing done.
#[derive(Clone, Debug)]
pub struct Act {
    /// When.
    pub at: Stamp,
    /// Which verb.
    pub action: Name,
    /// For which run.
    pub run: RunId,
    /// Of which playbook.
    pub playbook: Name,
    /// Ids of the named targets.
    pub targets: Vec<String>,
    /// What the named targets count as: their places, or themselves where they stand in none.
    pub places: Vec<String>,
    /// Cgroups of everything that it touched; of an object of a cluster its place.
    pub cgroups: Vec<String>,
    /// Images of the named targets.
    pub images: Vec<Image>,
    /// The other things that the breaker counts.
    pub concerns: Concerns,
    /// What it took of owners' replicas and clusters' nodes.
    pub takes: Vec<Taken>,
}

/// An act is known again by when it was, to so much.
const NEAR: Duration = Duration::from_secs(1);

impl Act {
    /// What an admitted plan counts as.
    #[must_use]
    pub fn of(at: Stamp, action: Name, run: RunId, playbook: Name, (plan, event): (&Plan, &Json)) -> Self {
        Self {
            at,
            action,
            run,
            playbook,
            targets: plan.targets.iter().filter(|t| t.named).map(|t| t.id.clone()).collect(),
            places: places(plan).map(Cow::into_owned).collect(),
            cgroups: cgroups(plan).flatten().map(Cow::into_owned).collect(),
            images: images(plan),
            concerns: Concerns::of_event(event).with(plan),
            takes: taken(plan),
        }
    }
}

/// A program's file. Two are the same when either their path or their device and inode is: neither a thousand names
/// of one file nor a thousand files of one name are a thousand programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    path: String,
    file: Option<(u64, u64)>,
}

impl Image {
    fn is_same(&self, other: &Self) -> bool {
        self.path == other.path || (self.file.is_some() && self.file == other.file)
    }
}

/// The different images of a plan's named targets.
pub(super) fn images(plan: &Plan) -> Vec<Image> {
    let mut images: Vec<Image> = Vec::new();
    for target in plan.targets.iter().filter(|t| t.named) {
        let image = match &target.facts {
            TargetFacts::Process { image: Some(path), file, .. } => Some((path, *file)),
            TargetFacts::Image { path, file, .. } => Some((path, Some(*file))),
            _ => None,
        };
        if let Some((path, file)) = image {
            let image = Image { path: path.clone(), file };
            if !images.iter().any(|known| known.is_same(&image)) {
                images.push(image);
            }
        }
    }
    images
}

/// What a plan's named targets count as.
pub(super) fn places(plan: &Plan) -> impl Iterator<Item = Cow<'_, str>> {
    plan.targets.iter().filter(|t| t.named).map(|target| match &target.facts {
        TargetFacts::Process { cgroup: Some(path), .. } | TargetFacts::Image { cgroup: Some(path), .. } => {
            place::place(path).into()
        }
        TargetFacts::Cgroup { path, .. } => place::place(path).into(),
        facts => object::place(facts).map_or(Cow::Borrowed(target.id.as_str()), Cow::Owned),
    })
}

/// The cgroup of each target, where it has one, or where an object of a cluster stands.
pub(super) fn cgroups(plan: &Plan) -> impl Iterator<Item = Option<Cow<'_, str>>> {
    plan.targets.iter().map(|target| match &target.facts {
        TargetFacts::Process { cgroup, .. } | TargetFacts::Image { cgroup, .. } => cgroup.as_deref().map(Cow::Borrowed),
        TargetFacts::Cgroup { path, .. } => Some(Cow::Borrowed(path.as_str())),
        TargetFacts::Object { .. } => object::place(&target.facts).map(Cow::Owned),
        TargetFacts::Identity { .. } | TargetFacts::Other => None,
    })
}

/// When each of some things was last acted on.
type Last = HashMap<String, Stamp>;

/// What is counted together.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Row {
    /// Of this playbook; none: of all.
    pub(super) playbook: Option<Name>,
    /// Of this verb; none: of all.
    pub(super) action: Option<Name>,
}

/// What the breaker counts beside images.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Whom {
    Owner,
    Principal,
    Identity,
}

/// What was done lately.
#[derive(Debug, Default)]
pub struct Memory {
    /// Every act of a verb, of all playbooks and of each.
    acts: HashMap<Row, VecDeque<Stamp>>,
    /// The places of a verb and of all verbs, of all playbooks and of each.
    places: HashMap<Row, Last>,
    /// The cgroups in which a playbook acted.
    cgroups: HashMap<Name, Last>,
    /// The images that a playbook acted on.
    images: HashMap<Name, Vec<(Image, Stamp)>>,
    /// Whom else they concerned.
    others: HashMap<(Name, Whom), Last>,
    /// What was taken of owners' replicas and clusters' nodes.
    groups: HashMap<String, Group>,
    /// And what the acts that are under way take, each of which it may at any moment until it ends.
    under_way: HashMap<(RunId, Part), Vec<Taken>>,
    by_run: HashMap<RunId, BTreeSet<String>>,
    opened: HashMap<Name, Opened>,
    /// When a person last closed a playbook's breaker: what it acted on before is no reason to open it.
    closed: HashMap<Name, Stamp>,
}

/// What was taken of a group of late.
#[derive(Debug, Default)]
struct Group {
    /// By which object, when, and how much.
    taken: HashMap<String, (Stamp, u32)>,
    /// How many were wanted before an act on the owner itself.
    wanted: Option<(Stamp, u32)>,
}

impl Group {
    fn last(&self) -> Option<Stamp> {
        self.taken.values().map(|(at, _)| *at).chain(self.wanted.map(|(at, _)| at)).max()
    }
}

/// Since when a breaker is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The moment.
    pub at: Stamp,
    /// A person opened it: it stays so until one closes it, and lets nothing through unasked.
    pub by_hand: bool,
}

impl Memory {
    /// Remembers an act; of a run that has ended, [`Memory::run_ended`] is to be called after.
    pub fn add(&mut self, act: Act) {
        for playbook in [None, Some(act.playbook.clone())] {
            let acts = self.acts.entry(Row { playbook, action: Some(act.action.clone()) }).or_default();
            // Out of the journal they come run by run, and nearly always after all that is known.
            let place = acts.partition_point(|earlier| *earlier <= act.at);
            acts.insert(place, act.at);
            if acts.len() > MOST {
                acts.pop_front();
            }
        }
        self.touches(act);
    }

    /// An act that is counted as of `then` is intended anew, and counts as of now.
    pub fn renew(&mut self, then: Stamp, act: Act) {
        let off = |at: &Stamp| at.since(then).max(then.since(*at));
        for playbook in [None, Some(act.playbook.clone())] {
            let Some(acts) = self.acts.get_mut(&Row { playbook, action: Some(act.action.clone()) }) else { continue };
            // Two looks at the clocks of an earlier boot differ by a little.
            let nearest = acts.iter().enumerate().min_by_key(|(_, at)| off(at));
            if let Some((place, _)) = nearest.filter(|(_, at)| off(at) < NEAR) {
                acts.remove(place);
            }
        }
        self.add(act);
    }

    fn touches(&mut self, act: Act) {
        let at = act.at;
        for playbook in [None, Some(act.playbook.clone())] {
            for action in [None, Some(act.action.clone())] {
                let places = self.places.entry(Row { playbook: playbook.clone(), action }).or_default();
                act.places.iter().for_each(|place| touch(places, place.clone(), at));
            }
        }
        let Concerns { owners, principals, identities } = act.concerns;
        for (whom, these) in [(Whom::Owner, owners), (Whom::Principal, principals), (Whom::Identity, identities)] {
            if !these.is_empty() {
                let known = self.others.entry((act.playbook.clone(), whom)).or_default();
                these.into_iter().for_each(|one| touch(known, one, at));
            }
        }
        act.takes.into_iter().for_each(|taken| self.takes(taken, at));
        let cgroups = self.cgroups.entry(act.playbook.clone()).or_default();
        act.cgroups.into_iter().for_each(|cgroup| touch(cgroups, cgroup, at));
        let images = self.images.entry(act.playbook).or_default();
        for image in act.images {
            match images.iter_mut().find(|(known, _)| known.is_same(&image)) {
                Some((_, last)) => *last = (*last).max(at),
                None => {
                    images.retain(|(_, last)| at.since(*last) <= KEEP);
                    if images.len() >= APART {
                        images.remove(0);
                    }
                    images.push((image, at));
                }
            }
        }
        self.by_run.entry(act.run).or_default().extend(act.targets);
    }

    fn takes(&mut self, Taken { group, uid, takes, was_wanted }: Taken, at: Stamp) {
        if !self.groups.contains_key(&group) && self.groups.len() >= APART {
            self.groups.retain(|_, group| group.last().is_some_and(|last| at.since(last) <= WAS_WANTED));
            let oldest = || self.groups.iter().min_by_key(|(_, group)| group.last()).map(|(name, _)| name.clone());
            if self.groups.len() >= APART
                && let Some(oldest) = oldest()
            {
                self.groups.remove(&oldest);
            }
        }
        let known = self.groups.entry(group).or_default();
        if let Some(count) = was_wanted {
            // What it was before the first of several acts in a row.
            let former = known.wanted.filter(|(then, _)| at.since(*then) <= WAS_WANTED);
            known.wanted = Some((at, former.map_or(count, |(_, former)| former.max(count))));
        }
        known.taken.retain(|_, (then, _)| at.since(*then) <= UNSEEN);
        if known.taken.len() >= MOST
            && let Some(oldest) = known.taken.iter().min_by_key(|(_, (then, _))| *then).map(|(uid, _)| uid.clone())
        {
            known.taken.remove(&oldest);
        }
        let (then, most) = known.taken.entry(uid).or_insert((at, takes));
        (*then, *most) = ((*then).max(at), (*most).max(takes));
    }

    /// An act begins that was added: what it takes counts until it ends, and for as long after as its cluster may not show it.
    pub fn begins(&mut self, run: &RunId, part: &Part, plan: &Plan) {
        let takes = taken(plan);
        if !takes.is_empty() {
            self.under_way.insert((run.clone(), part.clone()), takes);
        }
    }

    /// It has ended, however it did.
    pub fn ends(&mut self, run: &RunId, part: &Part, at: Stamp) {
        let takes = self.under_way.remove(&(run.clone(), part.clone())).into_iter().flatten();
        takes.for_each(|taken| self.takes(taken, at));
    }

    /// How much was taken of a group that its cluster may not show yet, or is about to be, but for what these objects take.
    pub(super) fn taken(&self, group: &str, now: Stamp, but: &BTreeSet<&str>) -> u32 {
        let known = self.groups.get(group).into_iter().flat_map(|group| &group.taken);
        let unseen = known.filter(|(_, (at, _))| now.since(*at) <= UNSEEN).map(|(uid, (_, takes))| (uid, *takes));
        let under_way = self.under_way.values().flatten().filter(|one| one.group == group);
        let mut all: HashMap<&str, u32> = HashMap::new();
        for (uid, takes) in unseen.chain(under_way.map(|one| (&one.uid, one.takes))) {
            let most = all.entry(uid.as_str()).or_default();
            *most = (*most).max(takes);
        }
        all.into_iter().filter(|(uid, _)| !but.contains(uid)).fold(0, |sum, (_, takes)| sum.saturating_add(takes))
    }

    #[cfg(test)]
    pub(super) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// How many of a group were wanted before it was acted on itself of late.
    pub(super) fn was_wanted(&self, group: &str, now: Stamp) -> u32 {
        let wanted = self.groups.get(group).and_then(|group| group.wanted);
        wanted.filter(|(at, _)| now.since(*at) <= WAS_WANTED).map_or(0, |(_, wanted)| wanted)
    }

    /// A run has touched these, by one that it started or before it was opened again: it may touch so many fewer others.
    pub fn run_touched<'a>(&mut self, run: &RunId, targets: impl Iterator<Item = &'a str>) {
        self.by_run.entry(run.clone()).or_default().extend(targets.map(str::to_owned));
    }

    /// Forgets a run that has ended.
    pub fn run_ended(&mut self, run: &RunId) {
        self.by_run.remove(run);
        self.under_way.retain(|(of, _), _| of != run);
    }

    /// The breaker of a playbook opened by itself.
    pub fn breaker_opened(&mut self, playbook: &Name, at: Stamp) {
        self.opened.entry(playbook.clone()).or_insert(Opened { at, by_hand: false }).at = at;
    }

    /// A person opened the breaker of a playbook, or closed it.
    pub fn breaker_by_hand(&mut self, playbook: &Name, open: bool, at: Stamp) {
        if open {
            self.opened.insert(playbook.clone(), Opened { at, by_hand: true });
        } else {
            self.opened.remove(playbook);
            self.closed.insert(playbook.clone(), at);
        }
    }

    /// Since when a playbook's breaker is open, if it was opened; by itself it may have closed again.
    #[must_use]
    pub fn opened(&self, playbook: &Name) -> Option<Opened> {
        self.opened.get(playbook).copied()
    }

    /// When a person last closed it.
    pub(super) fn closed(&self, playbook: &Name) -> Option<Stamp> {
        self.closed.get(playbook).copied()
    }

    pub(super) fn targets_of_run<'a>(&'a self, run: &RunId, more: impl Iterator<Item = &'a str>) -> usize {
        let mut all: BTreeSet<&'a str> = self.by_run.get(run).into_iter().flatten().map(String::as_str).collect();
        all.extend(more);
        all.len()
    }

    /// How often a verb acted.
    pub(super) fn acts(&self, row: &Row, now: Stamp, per: Duration) -> usize {
        let is_old = |at: &Stamp| now.since(*at) > per;
        self.acts.get(row).map_or(0, |acts| acts.len() - acts.partition_point(is_old))
    }

    /// In how many places something acted; none when one of these is not among them.
    pub(super) fn places_beyond<'a>(
        &self,
        row: &Row,
        now: Stamp,
        per: Duration,
        mut these: impl Iterator<Item = Cow<'a, str>>,
    ) -> Option<usize> {
        let known = self.places.get(row)?;
        let is_recent = |last: &Stamp| now.since(*last) <= per;
        let all_known = these.all(|place| known.get(&*place).is_some_and(is_recent));
        (!all_known).then(|| known.values().filter(|last| is_recent(last)).count())
    }

    /// Whether a playbook acted in each of these cgroups.
    pub(super) fn has_acted_in<'a>(
        &self,
        playbook: &Name,
        now: Stamp,
        within: Duration,
        mut these: impl Iterator<Item = Option<Cow<'a, str>>>,
    ) -> bool {
        let Some(known) = self.cgroups.get(playbook) else { return false };
        these.all(|cgroup| cgroup.and_then(|path| known.get(&*path)).is_some_and(|last| now.since(*last) <= within))
    }

    /// Whom a playbook's acts concerned, how many, and how many of these are not among them.
    pub(super) fn others_and_new<'a>(
        &self,
        (playbook, whom): (&Name, Whom),
        now: Stamp,
        within: Duration,
        these: impl Iterator<Item = &'a String>,
    ) -> (usize, usize) {
        let known = self.others.get(&(playbook.clone(), whom));
        let is_recent = |last: &Stamp| now.since(*last) <= within;
        let new = these.filter(|one| !known.and_then(|known| known.get(*one)).is_some_and(is_recent));
        (known.map_or(0, |known| known.values().filter(|last| is_recent(last)).count()), new.count())
    }

    /// How many different images a playbook acted on, and how many of these are not among them.
    pub(super) fn images_and_new(
        &self,
        playbook: &Name,
        now: Stamp,
        within: Duration,
        these: &[Image],
    ) -> (usize, usize) {
        let known = || {
            let all = self.images.get(playbook).into_iter().flatten();
            all.filter(|(_, last)| now.since(*last) <= within)
        };
        let new = these.iter().filter(|image| !known().any(|(seen, _)| seen.is_same(image)));
        (known().count(), new.count())
    }
}

/// Notes when something was last acted on; the one that was not for longest makes room.
fn touch(last: &mut Last, what: String, at: Stamp) {
    if let Some(known) = last.get_mut(&what) {
        *known = (*known).max(at);
        return;
    }
    if last.len() >= APART {
        last.retain(|_, seen| at.since(*seen) <= KEEP);
    }
    if last.len() >= APART
        && let Some(oldest) = last.iter().min_by_key(|(_, seen)| **seen).map(|(what, _)| what.clone())
    {
        last.remove(&oldest);
    }
    last.insert(what, at);
}
