//! Whom a step reaches, at the moment it comes: its targets made into people, and people into the ways that reach them.
//!
//! Owns that one answer: what a preview shows, a simulation plays and a ladder sends is this. Never asks a channel whether
//! it works. Keeps true: a person is told once a step by one way, however often the step names them; every page says why it goes
//! to whom it goes; whoever cannot be reached is told of, never passed over.

use super::Escalation;
use super::channels::Channels;
use super::policy::{By, Target};
use quell_model::Name;
use quell_model::notice::{Page, To, Way};
use quell_model::people::{Person, System};
use quell_model::record::Nobody;
use std::collections::BTreeSet;

/// Why the terminal is told where a last resort reaches nobody.
pub const LAST_WORD: &str = "nobody else can be reached";

/// What a step comes to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reached {
    /// In the order of the step's targets and ways.
    pub pages: Vec<Page>,
    /// The targets that come to nothing.
    pub nobody: Vec<Nobody>,
}

impl Reached {
    /// With what another step comes to: what stands there already tells whoever else is reached there.
    pub fn join(&mut self, other: Self) {
        for page in other.pages {
            let Some(there) = self.pages.iter_mut().find(|one| one.way == page.way) else {
                self.pages.push(page);
                continue;
            };
            for name in page.people() {
                if there.people().all(|told| told != name) {
                    there.also.push(name.clone());
                }
            }
        }
        self.nobody.extend(other.nobody);
    }
}

/// Who a schedule has, and why: `who` at the moment that the step comes.
pub type OnCall<'a> = dyn Fn(&Name) -> (Option<Name>, String) + 'a;

impl Escalation {
    /// Whom these targets reach by these ways; without ways, by every one that a person has.
    #[must_use]
    pub fn reach(&self, targets: &[Target], by: &[By], on_call: &OnCall<'_>) -> Reached {
        let mut reached = Reached::default();
        let mut told = BTreeSet::new();
        for target in targets {
            match target {
                Target::Person(name) => {
                    self.reach_person(&mut reached, &mut told, target, name, by, "named by the policy".to_owned());
                }
                Target::Schedule(schedule) => match on_call(schedule) {
                    (Some(name), why) => {
                        let because = format!("on call in {schedule}: {why}");
                        self.reach_person(&mut reached, &mut told, target, &name, by, because);
                    }
                    (None, because) => reached.nobody.push(Nobody { target: shown(target), because }),
                },
                Target::Channel(name) => match self.channels.way_of(name) {
                    Some(way) => {
                        let because = "named by the policy".to_owned();
                        let page = Page::new(To::Channel(name.clone()), way, because);
                        if told.insert(page.way.clone()) {
                            reached.pages.push(page);
                        }
                    }
                    None => {
                        let because = "there is no such channel, or it is off".to_owned();
                        reached.nobody.push(Nobody { target: shown(target), because });
                    }
                },
            }
        }
        reached
    }

    fn reach_person(
        &self,
        reached: &mut Reached,
        told: &mut BTreeSet<Way>,
        target: &Target,
        name: &Name,
        by: &[By],
        because: String,
    ) {
        let to = To::Person(name.clone());
        if reached.pages.iter().any(|page| page.tells(&to)) {
            return;
        }
        let ways = self.ways_to(name, by);
        if ways.is_empty() {
            let because = format!("nothing reaches {name}: {because}");
            reached.nobody.push(Nobody { target: shown(target), because });
        }
        for way in ways {
            if told.insert(way.clone()) {
                reached.pages.push(Page::new(to.clone(), way, because.clone()));
            } else if let Some(page) = reached.pages.iter_mut().find(|page| page.way == way) {
                // Two people of one address are told there once, and both count as told.
                page.also.push(name.clone());
            }
        }
    }

    /// The ways to somebody among these; without any, all that they have: what wakes them first.
    #[must_use]
    pub fn ways_to(&self, name: &Name, by: &[By]) -> Vec<Way> {
        const EVERY: &[By] = &[By::Wake, By::Slack, By::Email];
        let Some(person) = self.people.people.get(name) else { return Vec::new() };
        let by = if by.is_empty() { EVERY } else { by };
        let mut ways: Vec<Way> = by.iter().filter_map(|by| self.channels.way_to(person, *by)).collect();
        if ways.is_empty() && self.channels.console {
            ways.push(Way::Console);
        }
        ways
    }
}

/// As the policy names it.
fn shown(target: &Target) -> String {
    match target {
        Target::Schedule(name) => format!("schedule {name}"),
        Target::Person(name) => format!("person {name}"),
        Target::Channel(name) => format!("channel {name}"),
    }
}

impl Channels {
    /// The way that a channel's name stands for; none: there is no such channel, or it is off.
    pub(super) fn way_of(&self, channel: &Name) -> Option<Way> {
        match channel.as_str() {
            "console" => self.console.then_some(Way::Console),
            "slack" => Some(Way::Slack(self.slack.as_ref()?.channel.clone())),
            name => self.webhooks.contains_key(name).then(|| Way::Webhook(channel.clone())),
        }
    }

    fn way_to(&self, person: &Person, by: By) -> Option<Way> {
        match by {
            By::Console => self.console.then_some(Way::Console),
            By::Slack => {
                self.slack.as_ref()?;
                Some(Way::Slack(person.identities.get(&System::Slack)?.clone()))
            }
            By::Email => {
                self.email.as_ref()?;
                Some(Way::Email(person.mail()?.to_owned()))
            }
            By::Wake => {
                let webhook = person.wake.as_ref()?;
                self.webhooks.contains_key(webhook).then(|| Way::Webhook(webhook.clone()))
            }
        }
    }
}

#[cfg(test)]
mod tests;
