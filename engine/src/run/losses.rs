//! Losses of events, folded: a flood that lasts for hours is some records a key and then one a minute.
//!
//! Owns what was told of each kind of loss and what is still to be told. The first of a kind is told at once; what follows
//! is added up and told after 1 s, 2 s, 4 s and so on up to a minute. Counts are exact: every event that was lost is in one
//! record.

use quell_model::record::LossSeen;
use quell_model::{Class, Stamp};
use std::collections::HashMap;
use std::time::Duration;

/// The longest that a loss waits to be told.
const LONGEST: Duration = Duration::from_secs(60);
const SHORTEST: Duration = Duration::from_secs(1);
/// An incident may have begun this long before its detection: what was lost then may have been a part of it.
const BEFORE: Duration = Duration::from_secs(10);

type Kind = (Option<Class>, Option<u64>, String);

/// A record to be written, with its time: that of the last loss in it.
pub(super) type Told = (Stamp, LossSeen);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Losses {
    spells: HashMap<Kind, Spell>,
    looked: Option<Stamp>,
}

#[derive(Debug)]
struct Spell {
    told: Told,
    told_at: Stamp,
    wait: Duration,
    pending: Option<Told>,
}

impl Spell {
    fn last(&self) -> Stamp {
        self.pending.as_ref().map_or(self.told.0, |(at, _)| *at)
    }

    fn tell(&mut self, now: Stamp) -> Option<Told> {
        let told = self.pending.take()?;
        (self.told, self.told_at, self.wait) = (told.clone(), now, (self.wait * 2).min(LONGEST));
        Some(told)
    }
}

impl Losses {
    /// Takes one up; gives what is to be told at once.
    pub(super) fn add(&mut self, loss: LossSeen, at: Stamp) -> Option<Told> {
        let kind = (loss.class, loss.cgroup, loss.why.clone());
        let Some(spell) = self.spells.get_mut(&kind) else {
            let told = (at, loss);
            self.spells.insert(kind, Spell { told: told.clone(), told_at: at, wait: SHORTEST, pending: None });
            return Some(told);
        };
        match &mut spell.pending {
            Some((last, sum)) => {
                *last = at;
                sum.count += loss.count;
            }
            None => spell.pending = Some((at, LossSeen { since: Some(at), ..loss })),
        }
        None
    }

    /// What has waited long enough; looks at most once a second. Spells that are over are forgotten.
    pub(super) fn due(&mut self, now: Stamp) -> Vec<Told> {
        if self.looked.is_some_and(|looked| now.since(looked) < SHORTEST) {
            return Vec::new();
        }
        self.looked = Some(now);
        self.spells.retain(|_, spell| spell.pending.is_some() || now.since(spell.told.0) <= LONGEST);
        let is_due = |spell: &&mut Spell| now.since(spell.told_at) >= spell.wait;
        self.spells.values_mut().filter(is_due).filter_map(|spell| spell.tell(now)).collect()
    }

    /// Everything that waits.
    pub(super) fn all(&mut self, now: Stamp) -> Vec<Told> {
        self.spells.values_mut().filter_map(|spell| spell.tell(now)).collect()
    }

    /// What was told shortly before an incident that opens now; [`Self::all`] comes first.
    pub(super) fn before(&self, now: Stamp) -> Vec<Told> {
        let lately = self.spells.values().filter(|spell| now.since(spell.last()) <= BEFORE);
        lately.map(|spell| spell.told.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Stamp {
        Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: 0 }.after(Duration::from_millis(ms))
    }

    fn loss(cgroup: u64) -> LossSeen {
        let (class, cgroup, why) = (Some(Class::FileEvent), Some(cgroup), "a test".to_owned());
        LossSeen { class, count: 2, cgroup, path: None, since: None, why }
    }

    #[test]
    fn an_hours_flood_is_some_records_that_add_up() {
        let mut losses = Losses::default();
        let mut told = Vec::new();
        let ticks = 36_000;
        for tick in 0..ticks {
            told.extend(losses.add(loss(7), at(tick * 100)));
            told.extend(losses.due(at(tick * 100)));
        }
        assert_eq!(told[0].1.count, 2, "the first is told at once");
        told.extend(losses.all(at(ticks * 100)));
        assert_eq!(told.iter().map(|(_, loss)| loss.count).sum::<u64>(), 2 * ticks);
        assert!(told.len() < 70, "{}", told.len());
        assert!(told[1..].iter().all(|(at, loss)| loss.since.is_some_and(|since| since <= *at)));
        assert!(losses.all(at(ticks * 100)).is_empty());
    }

    #[test]
    fn each_kind_is_told_for_itself_and_forgotten_when_it_is_over() {
        let mut losses = Losses::default();
        assert!(losses.add(loss(7), at(0)).is_some());
        assert!(losses.add(loss(8), at(1)).is_some());
        assert!(losses.add(loss(8), at(2)).is_none());
        assert_eq!(losses.before(at(10_001)).len(), 1);
        assert_eq!(losses.due(at(2_000)).len(), 1);
        assert_eq!(losses.before(at(10_001)).len(), 1);
        assert!(losses.due(at(120_000)).is_empty());
        assert!(losses.spells.is_empty());
        assert!(losses.add(loss(7), at(120_001)).is_some(), "told at once again");
    }
}
