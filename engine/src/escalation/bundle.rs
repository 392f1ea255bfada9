//! Bundles: what goes to one person by one way when too much comes at once.
//!
//! ```text
//! page ──▶ fewer than ALONE within WINDOW, or the first of its policy ──▶ alone, at once
//!      └─▶ else gathered for GATHER ──▶ one message for all of them
//! ```
//!
//! Owns how many pages a person gets by one way, and which go together. Pure: the moment comes in, and whoever was told to wait asks
//! again then. Keeps true: within any WINDOW nobody gets more than ALONE messages by a way, with one of each policy and one of each
//! GATHER; the first of a policy never waits; none waits longer than GATHER; each that waits leaves, once.

use quell_model::notice::{PageKey, To, Way};
use quell_model::{LadderId, Name, Stamp};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// So many pages go to somebody by one way within [`WINDOW`], each by itself: more is not read one by one.
pub const ALONE: usize = 5;
/// Within this.
pub const WINDOW: Duration = Duration::from_secs(60);
/// So long further ones are gathered: long enough for a flood, shorter than any step waits.
pub const GATHER: Duration = Duration::from_secs(15);

/// Somebody, and a way to them.
pub type There = (To, Way);

/// What is to be done with a page that could go now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Turn {
    /// It goes, by itself.
    Alone,
    /// It waits for others until then; whose it is asks again.
    Gathered {
        /// Until then.
        until: Stamp,
    },
    /// It goes, with all of these in one message; it is among them.
    Leaves(Vec<(LadderId, PageKey)>),
}

/// What goes where.
#[derive(Debug, Default)]
pub struct Bundles {
    flows: BTreeMap<There, Flow>,
    /// When what is of no use any more was last let go.
    swept: Option<Stamp>,
}

#[derive(Debug, Default)]
struct Flow {
    /// When messages left within the window.
    sent: VecDeque<Stamp>,
    /// When each policy's last page left.
    policies: BTreeMap<Name, Stamp>,
    gathered: BTreeMap<PageKey, LadderId>,
    /// When what is gathered leaves; none: nothing is.
    leaves: Option<Stamp>,
}

impl Flow {
    fn forget(&mut self, now: Stamp) {
        let is_recent = |at: &Stamp| at.after(WINDOW) > now;
        self.sent.retain(is_recent);
        self.policies.retain(|_, at| is_recent(at));
    }

    fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.policies.is_empty() && self.gathered.is_empty()
    }

    fn goes(&mut self, policy: &Name, now: Stamp) {
        self.sent.push_back(now);
        self.policies.insert(policy.clone(), now);
    }
}

impl Bundles {
    /// What is to be done with a page of this policy that could go there now.
    pub fn turn(&mut self, there: &There, page: (&LadderId, &PageKey), policy: &Name, now: Stamp) -> Turn {
        if self.swept.is_none_or(|swept| swept.after(WINDOW) <= now) {
            self.swept = Some(now);
            self.flows.values_mut().for_each(|flow| flow.forget(now));
            self.flows.retain(|_, flow| !flow.is_empty());
        }
        let flow = self.flows.entry(there.clone()).or_default();
        flow.forget(now);
        let (ladder, key) = page;
        if flow.leaves.is_some_and(|leaves| leaves <= now) {
            flow.leaves = None;
            flow.gathered.insert(key.clone(), ladder.clone());
            flow.goes(policy, now);
            let all = std::mem::take(&mut flow.gathered);
            return Turn::Leaves(all.into_iter().map(|(key, ladder)| (ladder, key)).collect());
        }
        let is_first = !flow.policies.contains_key(policy);
        if is_first || flow.leaves.is_none() && flow.sent.len() < ALONE {
            flow.gathered.remove(key);
            flow.goes(policy, now);
            return Turn::Alone;
        }
        let until = *flow.leaves.get_or_insert_with(|| now.after(GATHER));
        flow.gathered.insert(key.clone(), ladder.clone());
        Turn::Gathered { until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quell_model::notice::Page;
    use std::collections::{BTreeSet, HashMap};

    fn at(ms: u64) -> Stamp {
        Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: 1 }.after(Duration::from_millis(ms))
    }

    fn ana() -> There {
        (To::Person("ana".into()), Way::Email("ana@example.org".into()))
    }

    fn page(number: u64) -> (LadderId, PageKey) {
        let page = Page::new(ana().0, ana().1, "on call".into());
        let ladder = LadderId::from(format!("i-{number}").as_str());
        let key = PageKey::of(ladder.as_str(), 1, &page);
        (ladder, key)
    }

    fn ask(bundles: &mut Bundles, number: u64, policy: &str, ms: u64) -> Turn {
        let (ladder, key) = page(number);
        bundles.turn(&ana(), (&ladder, &key), &policy.into(), at(ms))
    }

    #[test]
    fn a_flood_comes_as_a_few_and_then_as_one() {
        let mut bundles = Bundles::default();
        let alone: Vec<Turn> = (0..5).map(|number| ask(&mut bundles, number, "p", number)).collect();
        assert!(alone.iter().all(|turn| *turn == Turn::Alone));
        let until = at(5).after(GATHER);
        for number in 5..40 {
            assert_eq!(ask(&mut bundles, number, "p", number), Turn::Gathered { until });
        }
        let Turn::Leaves(all) = ask(&mut bundles, 5, "p", 15_005) else { panic!("their time has come") };
        assert_eq!(all.len(), 35, "and it is among them");
        assert_eq!(ask(&mut bundles, 50, "p", 15_006), Turn::Gathered { until: at(15_006).after(GATHER) });
        let other = (To::Person("bo".into()), ana().1);
        let (ladder, key) = page(60);
        assert_eq!(bundles.turn(&other, (&ladder, &key), &"p".into(), at(15_007)), Turn::Alone, "bo has had none");
    }

    #[test]
    fn the_first_page_of_a_policy_never_waits() {
        let mut bundles = Bundles::default();
        for number in 0..9 {
            ask(&mut bundles, number, "p", number);
        }
        assert_eq!(ask(&mut bundles, 10, "security", 10), Turn::Alone);
        assert!(matches!(ask(&mut bundles, 11, "security", 11), Turn::Gathered { .. }));
    }

    proptest! {
        /// Whatever comes when: each leaves once and in time, and nobody is buried.
        #[test]
        fn each_leaves_once_in_time_and_nobody_is_buried(gaps in prop::collection::vec((0u64..4_000, 0usize..3), 1..200)) {
            let mut bundles = Bundles::default();
            let (mut now, mut queue, mut came) = (0, BTreeSet::new(), HashMap::new());
            for (number, (gap, policy)) in gaps.iter().enumerate() {
                now += gap;
                let number = number as u64;
                queue.insert((now, number));
                came.insert(number, (now, ["p", "q", "r"][*policy]));
            }
            let (mut left, mut letters, mut seen) = (BTreeMap::new(), Vec::new(), BTreeMap::<&str, u64>::new());
            while let Some((now, number)) = queue.pop_first() {
                if left.contains_key(&number) {
                    continue;
                }
                let (_, policy) = came[&number];
                let is_first = seen.get(policy).is_none_or(|last| now - last >= 60_000);
                match ask(&mut bundles, number, policy, now) {
                    Turn::Alone => {
                        prop_assert_eq!(left.insert(number, now), None);
                        letters.push(now);
                        seen.insert(policy, now);
                    }
                    Turn::Gathered { until } => {
                        prop_assert!(!is_first, "the first of a policy waits");
                        queue.insert(((until.boot_ns - 1) / 1_000_000, number));
                    }
                    Turn::Leaves(all) => {
                        letters.push(now);
                        seen.insert(policy, now);
                        let names: HashMap<PageKey, u64> = came.keys().map(|number| (page(*number).1, *number)).collect();
                        for (_, key) in all {
                            prop_assert_eq!(left.insert(names[&key], now), None, "it leaves once");
                        }
                        prop_assert_eq!(left.get(&number), Some(&now));
                    }
                }
            }
            prop_assert_eq!(left.len(), came.len(), "nothing is dropped");
            for (number, at) in &left {
                prop_assert!(at - came[number].0 <= 15_000, "none waits longer");
            }
            for first in &letters {
                let within = letters.iter().filter(|at| (*first..first + 60_000).contains(*at)).count();
                prop_assert!(within <= ALONE + 3 + 4, "{within} within a minute");
            }
        }
    }
}
