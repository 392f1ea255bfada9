//! Proof: is there ever nobody?
//!
//! Owns what an [`Escalation`] is held against over days to come: gaps of schedules, steps, ladders and last resorts that reach
//! nobody, people on call whom nothing reaches, and how the load lies. Asks who is on call, and by which ways they are reached, as
//! a page does. Never prints, never reads a clock, never asks a channel whether it works.

mod finding;
mod load;
mod period;
#[cfg(test)]
mod tests;

pub use finding::{Finding, Problem};
pub use load::Load;
pub use period::Period;

use super::Escalation;
use super::policy::{By, Policy, Target};
use super::schedule::{Span, Why, changes};
use jiff::{SignedDuration, Timestamp};
use period::{add, in_all};
use quell_model::{MistakeLevel, Name};
use serde::Serialize;
use std::collections::BTreeMap;

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Proof {
    /// From then on.
    pub from: Timestamp,
    /// Up to then.
    pub to: Timestamp,
    /// What is not as it should be; the worst first.
    pub findings: Vec<Finding>,
    /// What falls on whom.
    pub load: Vec<Load>,
}

impl Proof {
    /// Whether somebody is always reached: no finding is an error.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.findings.iter().all(|finding| finding.level != MistakeLevel::Error)
    }
}

/// Holds an escalation against so many days (of 24 hours) from a moment on.
#[must_use]
pub fn prove(escalation: &Escalation, from: Timestamp, days: u16) -> Proof {
    let to = from.saturating_add(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::MAX);
    let mut proving = Proving {
        escalation,
        whole: Period { from, to },
        spans: escalation
            .schedules
            .iter()
            .map(|(name, schedule)| (name, changes(schedule, from, to).collect()))
            .collect(),
        findings: Vec::new(),
    };
    if from < to {
        let silent = proving.policies();
        proving.schedules(&silent);
        proving.people();
    }
    let load = proving.load();
    let mut findings = proving.findings;
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    Proof { from, to, findings, load }
}

struct Proving<'a> {
    escalation: &'a Escalation,
    whole: Period,
    spans: BTreeMap<&'a Name, Vec<Span>>,
    findings: Vec<Finding>,
}

impl<'a> Proving<'a> {
    fn find(&mut self, level: MistakeLevel, problem: Problem, when: Vec<Period>) {
        if !when.is_empty() {
            self.findings.push(Finding { level, problem, when });
        }
    }

    /// When a schedule has somebody for whom this holds, or nobody.
    fn when(&self, schedule: &Name, is: impl Fn(Option<&Name>) -> bool) -> Vec<Period> {
        let Some(spans) = self.spans.get(schedule) else { return vec![self.whole] };
        let mut found = Vec::new();
        for span in spans.iter().filter(|span| is(span.on.who.as_ref())) {
            add(&mut found, Period { from: span.from, to: span.to });
        }
        found
    }

    /// Whether one of these ways leads to somebody; of none: any.
    fn reaches(&self, who: &Name, by: &[By]) -> bool {
        !self.escalation.ways_to(who, by).is_empty()
    }

    /// When a target reaches nobody by these ways.
    fn silent(&self, target: &Target, by: &[By]) -> Vec<Period> {
        let is_reached = match target {
            Target::Schedule(schedule) => {
                return self.when(schedule, |who| who.is_none_or(|who| !self.reaches(who, by)));
            }
            Target::Person(person) => self.reaches(person, by),
            Target::Channel(channel) => self.escalation.channels.way_of(channel).is_some(),
        };
        if is_reached { Vec::new() } else { vec![self.whole] }
    }

    /// When none of them reaches anybody.
    fn all_silent(&self, targets: &[Target], by: &[By]) -> Vec<Period> {
        in_all(self.whole, targets.iter().map(|target| self.silent(target, by)))
    }

    /// Looks at ladders; gives the schedules that leave some step with nobody, and those that none does, of all that are used.
    fn policies(&mut self) -> BTreeMap<&'a Name, bool> {
        let mut used: BTreeMap<&'a Name, bool> = BTreeMap::new();
        for (name, policy) in &self.escalation.policies {
            let Policy { steps, last_resort, .. } = policy;
            let silent: Vec<Vec<Period>> = steps.iter().map(|step| self.all_silent(&step.notify, &step.by)).collect();
            for (step, silent) in steps.iter().zip(&silent) {
                for schedule in schedules(&step.notify) {
                    *used.entry(schedule).or_default() |= !silent.is_empty();
                }
            }
            for (at, silent) in silent.iter().enumerate() {
                let problem = Problem::StepEmpty { policy: name.clone(), step: at + 1 };
                self.find(MistakeLevel::Warning, problem, silent.clone());
            }
            let ladder = in_all(self.whole, silent);
            self.find(MistakeLevel::Error, Problem::LadderEmpty { policy: name.clone() }, ladder);
            let silent = self.all_silent(last_resort, &[]);
            for schedule in schedules(last_resort) {
                *used.entry(schedule).or_default() |= !silent.is_empty();
            }
            self.find(MistakeLevel::Error, Problem::LastResortEmpty { policy: name.clone() }, silent);
        }
        used
    }

    fn schedules(&mut self, used: &BTreeMap<&'a Name, bool>) {
        for (name, schedule) in &self.escalation.schedules {
            let when = self.when(name, |who| who.is_none());
            let spans = self.spans.get(name).map_or(&[][..], Vec::as_slice);
            if spans.iter().any(|span| span.on.why == Why::UnknownZone) {
                let time_zone = schedule.time_zone.clone();
                self.find(MistakeLevel::Error, Problem::UnknownZone { schedule: name.clone(), time_zone }, when);
                continue;
            }
            // Where others of the same step are always there, a gap may well be meant.
            let level = if used.get(name) == Some(&false) { MistakeLevel::Note } else { MistakeLevel::Warning };
            self.find(level, Problem::Gap { schedule: name.clone() }, when);
        }
    }

    fn people(&mut self) {
        let mut missing: BTreeMap<(&Name, Option<&Name>), Vec<Period>> = BTreeMap::new();
        for (schedule, spans) in &self.spans {
            for span in spans {
                let Some(who) = &span.on.who else { continue };
                if !self.reaches(who, &[]) {
                    let when = missing.entry((who, Some(*schedule))).or_default();
                    add(when, Period { from: span.from, to: span.to });
                }
            }
        }
        for policy in self.escalation.policies.values() {
            let steps = policy.steps.iter().flat_map(|step| &step.notify);
            for target in steps.chain(&policy.last_resort) {
                if let Target::Person(who) = target
                    && !self.reaches(who, &[])
                {
                    missing.insert((who, None), vec![self.whole]);
                }
            }
        }
        let found: Vec<Finding> = missing
            .into_iter()
            .map(|((person, schedule), when)| {
                let problem = Problem::Unreachable { person: person.clone(), schedule: schedule.cloned() };
                Finding { level: MistakeLevel::Error, problem, when }
            })
            .collect();
        self.findings.extend(found);
    }

    fn load(&mut self) -> Vec<Load> {
        let mut all = Vec::new();
        for (name, schedule) in &self.escalation.schedules {
            let spans = self.spans.get(name).map_or(&[][..], Vec::as_slice);
            let (load, longest) = load::of(name, schedule, &self.escalation.people, spans);
            let by_minutes = |load: &&Load| load.minutes;
            if let (Some(most), Some(least)) = (load.iter().max_by_key(by_minutes), load.iter().min_by_key(by_minutes))
            {
                let (much, little) = (most.minutes, least.minutes);
                // Who takes turns differs by one shift at most.
                if much - little > longest && much > little + little / 4 {
                    let problem = Problem::Uneven {
                        schedule: name.clone(),
                        most: most.person.clone(),
                        most_hours: much / 60,
                        least: least.person.clone(),
                        least_hours: little / 60,
                    };
                    self.find(MistakeLevel::Note, problem, vec![self.whole]);
                }
            }
            all.extend(load);
        }
        all
    }
}

fn schedules(targets: &[Target]) -> impl Iterator<Item = &Name> {
    targets.iter().filter_map(|target| match target {
        Target::Schedule(name) => Some(name),
        Target::Person(_) | Target::Channel(_) => None,
    })
}
