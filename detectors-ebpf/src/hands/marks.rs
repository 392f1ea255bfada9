//! Who is marked, and until when.
//!
//! Owns the map of marks and the flags beside it. Keeps true: the time of the last mark is in force before its tree is
//! read, so that whoever is born after the reading is born marked; who was once known below a root stays known while its
//! mark lasts, also when its place among the births is another's; a mark goes before its time only when all of its tree
//! have ended.

use super::C_UNTIL;
use super::births::{Birth, Births};
use super::key::{ByKey, Key, Keys};
use crate::load::chain;
use aya::maps::{Array, HashMap, MapData};
use quell_model::{Below, BootId, ProcessId, TICK_NS};
use std::time::Duration;

/// Marks in force at once; the map has as many places.
const MOST: usize = 16_384;
/// From here on marks of those who have ended are not left until the next look.
const CROWDED: usize = MOST / 2;
/// The dead of one tree that are marked, the last ones: their children may live.
const DEAD: usize = 4096;
/// How often a chain of forks is followed before the tree is read whole again.
const CHASES: usize = 64;

pub(super) struct Marks {
    entries: HashMap<MapData, [u64; 2], u64>,
    control: Array<MapData, u64>,
    pause: Array<MapData, u64>,
    /// The end of each mark.
    until: ByKey<u64>,
    /// No mark ends before.
    first_end: u64,
    /// Whom each root has had below it.
    trees: ByKey<Keys>,
    /// When somebody was marked last.
    last_ns: u64,
    /// The kernel gives out numbers below this.
    most_pid: u32,
}

/// How long a mark is to last.
#[derive(Clone, Copy, Debug)]
struct Term {
    /// Its end.
    until: u64,
    /// A mark that lasts till then is not made anew: an act asks for the same tree a dozen times within milliseconds, and
    /// each of its thousands would be a call.
    enough: u64,
}

impl Term {
    fn of(now: u64, lasting: Duration) -> Self {
        let lasting = u64::try_from(lasting.as_nanos()).unwrap_or(u64::MAX);
        Self { until: now.saturating_add(lasting), enough: now.saturating_add(lasting - lasting / 16) }
    }

    /// Whether a mark that ends then is to be made anew.
    fn renews(self, known: u64) -> bool {
        known < self.enough
    }
}

/// The boot clock.
pub(super) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let parts = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    parts.0.unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(parts.1.unwrap_or(0))
}

impl Marks {
    pub(super) fn new(
        entries: HashMap<MapData, [u64; 2], u64>,
        control: Array<MapData, u64>,
        pause: Array<MapData, u64>,
    ) -> Self {
        let most = std::fs::read_to_string("/proc/sys/kernel/pid_max").unwrap_or_default();
        let most_pid = most.trim().parse().unwrap_or(1 << 15);
        let (until, trees) = (ByKey::default(), ByKey::default());
        Self { entries, control, pause, until, first_end: u64::MAX, trees, last_ns: 0, most_pid }
    }

    pub(super) fn control(&self, index: u32) -> u64 {
        self.control.get(&index, 0).unwrap_or(0)
    }

    pub(super) fn set(&mut self, index: u32, value: u64) -> Result<(), String> {
        self.control.set(index, value, 0).map_err(|e| chain(&e))
    }

    pub(super) fn is_paused(&self) -> bool {
        // A flag that cannot be read counts as set, in the kernel's programs too.
        self.pause.get(&0, 0).map_or(true, |value| value != 0)
    }

    pub(super) fn pause(&mut self, paused: bool) -> Result<(), String> {
        self.pause.set(0, u64::from(paused), 0).map_err(|e| chain(&e))
    }

    pub(super) fn below(&self, births: &Births, root: &ProcessId, boot: &BootId) -> Below {
        let Some(root) = exact(births, root) else { return Below::default() };
        let found = births.below(root.start, &self.seeds(root));
        told(&found, root, boot)
    }

    /// Marks a root and all below it. `join` hooks the kernel's hands in at system calls: it is called once the tree as it
    /// was found is marked, so that hands which outlive their owner from then on know whom to strike.
    pub(super) fn mark(
        &mut self,
        births: &Births,
        root: &ProcessId,
        boot: &BootId,
        lasting: Duration,
        join: impl FnOnce() -> Result<(), String>,
    ) -> Result<Below, String> {
        let now = now_ns();
        if self.is_paused() {
            return Err("the kernel's hands are paused".to_owned());
        }
        let root = exact(births, root).ok_or("its birth is not known to the kernel's hands")?;
        self.forget_the_expired(now);
        if self.until.len() >= CROWDED {
            self.forget_the_ended(births);
        }
        self.last_ns = now;
        let term = Term::of(now, lasting);
        self.put(root, term)?;
        if self.control(C_UNTIL) < term.until {
            self.set(C_UNTIL, term.until)?;
        }
        let mut these = self.seeds(root);
        let mut found = births.below(root.start, &these);
        these.extend(found.iter().map(Birth::key));
        let mut done = self.put_all(&found, &these, term);
        // Also where there was no room for all: whoever is marked takes those after it along.
        join()?;
        for _ in 0..CHASES {
            let Some(last) = found.last().filter(|_| done.is_ok()) else { break };
            // A chain of forks went on meanwhile, perhaps further than the kernel looks back.
            let mut next = births.below_after(last.pid, self.most_pid, last.start, &these);
            next.retain(|birth| !these.contains(&birth.key()));
            found = next;
            these.extend(found.iter().map(Birth::key));
            done = self.put_all(&found, &these, term);
        }
        self.trees.insert(root, these);
        done?;
        Ok(told(&births.below(root.start, &self.seeds(root)), root, boot))
    }

    /// Forgets the marks that are over, by the clock or because all of their tree have ended; says whether none is
    /// left and none was made for so long.
    pub(super) fn settle(&mut self, births: &Births, rest: Duration) -> bool {
        let now = now_ns();
        self.forget_the_expired(now);
        self.forget_the_ended(births);
        if self.until.is_empty() && self.control(C_UNTIL) != 0 {
            // Forks and execs need not look for marks any more.
            if let Err(error) = self.set(C_UNTIL, 0) {
                tracing::debug!(error, "forks go on to look for marks");
            }
        }
        let rested = u128::from(now.saturating_sub(self.last_ns)) >= rest.as_nanos();
        self.until.is_empty() && rested
    }

    /// The roots of whom nobody lives any more, nor anybody below them. Who cannot be told, because another's birth lies in
    /// its place, is taken for alive. Whoever marks waits meanwhile: the births are gone through once for all of them, and
    /// who is found alive is known from then on.
    fn over(&mut self, births: &Births) -> Vec<Key> {
        let has_ended = |key: &Key| {
            let birth = births.at(key.pid).filter(|birth| birth.pid == key.pid);
            birth.is_some_and(|birth| birth.start != key.start || birth.ended != 0)
        };
        let may_be_over =
            |(root, these): (&Key, &Keys)| (has_ended(root) && these.iter().all(has_ended)).then_some(*root);
        let mut over: Vec<Key> = self.trees.iter().filter_map(may_be_over).collect();
        let Some(since) = over.iter().map(|root| root.start).min() else { return over };
        let all: Keys = over.iter().flat_map(|root| self.seeds(*root)).collect();
        if births.below(since, &all).iter().all(|birth| birth.ended != 0) {
            return over;
        }
        over.retain(|root| {
            let found = births.below(root.start, &self.seeds(*root));
            self.trees.entry(*root).or_default().extend(found.iter().map(Birth::key));
            found.iter().all(|birth| birth.ended != 0)
        });
        over
    }

    /// The latest first: the kernel looks back from there.
    fn put_all(&mut self, found: &[Birth], these: &Keys, term: Term) -> Result<(), String> {
        let mut dead = 0;
        for birth in found.iter().rev() {
            if let Some(lineage) = birth.lineage_within(these) {
                self.put(lineage, term)?;
            }
            dead += usize::from(birth.ended != 0);
            if birth.ended == 0 || dead <= DEAD {
                self.put(birth.key(), term)?;
            }
        }
        Ok(())
    }

    fn seeds(&self, root: Key) -> Keys {
        let mut seeds = self.trees.get(&root).cloned().unwrap_or_default();
        seeds.insert(root);
        seeds
    }

    fn put(&mut self, key: Key, term: Term) -> Result<(), String> {
        if self.until.get(&key).is_some_and(|known| !term.renews(*known)) {
            return Ok(());
        }
        if self.until.len() >= MOST && !self.until.contains_key(&key) {
            return Err(format!("{MOST} marks are in force already"));
        }
        self.entries.insert(key.words(), term.until, 0).map_err(|e| chain(&e))?;
        self.until.insert(key, term.until);
        self.first_end = self.first_end.min(term.until);
        Ok(())
    }

    fn forget_the_ended(&mut self, births: &Births) {
        let mut ended = Keys::default();
        for root in self.over(births) {
            ended.insert(root);
            ended.extend(self.trees.remove(&root).into_iter().flatten());
        }
        if !ended.is_empty() {
            self.forget(|key, _| ended.contains(&Key::whole(key.pid, key.start)));
        }
    }

    fn forget_the_expired(&mut self, now: u64) {
        if now >= self.first_end {
            self.forget(|_, until| until <= now);
        }
    }

    fn forget(&mut self, is_over: impl Fn(&Key, u64) -> bool) {
        let over: Vec<Key> =
            self.until.iter().filter(|(key, until)| is_over(key, **until)).map(|(key, _)| *key).collect();
        for key in over {
            self.until.remove(&key);
            self.trees.remove(&key);
            if let Err(error) = self.entries.remove(&key.words()) {
                tracing::debug!(error = chain(&error), "a mark that is over stays in its place");
            }
        }
        self.first_end = self.until.values().copied().min().unwrap_or(u64::MAX);
    }
}

/// The process as the kernel's hands know it: a scan of /proc knows its start to a tick only.
fn exact(births: &Births, id: &ProcessId) -> Option<Key> {
    let known = births.at(id.pid).filter(|birth| birth.pid == id.pid);
    began(id, known.map(|birth| birth.start)).map(|start| Key::whole(id.pid, start))
}

/// When it began; `known` is when whoever has its number did. Its own start says so by itself when it is not rounded: the
/// number may be another's by now, even of the same tick.
fn began(id: &ProcessId, known: Option<u64>) -> Option<u64> {
    let is_rounded = id.start_ns.is_multiple_of(TICK_NS);
    let started = |start: &u64| *start / TICK_NS == id.start_ticks();
    if is_rounded { known.filter(started) } else { Some(id.start_ns) }
}

fn told(found: &[Birth], root: Key, boot: &BootId) -> Below {
    let others = || found.iter().filter(|birth| birth.key() != root);
    let id = |birth: &Birth| ProcessId { boot: boot.clone(), pid: birth.pid, start_ns: birth.start, exec_id: 0 };
    Below {
        living: others().filter(|birth| birth.ended == 0).map(id).collect(),
        latest_birth_ns: others().map(|birth| birth.start).max().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_of_the_same_tick_is_not_taken_for_it() {
        let id = |start_ns| ProcessId { boot: BootId("b".into()), pid: 7, start_ns, exec_id: 0 };
        assert_eq!(began(&id(50_000_123), Some(50_000_123)), Some(50_000_123));
        assert_eq!(began(&id(50_000_123), Some(50_999_999)), Some(50_000_123), "the number is another's");
        assert_eq!(began(&id(50_000_123), None), Some(50_000_123));
        assert_eq!(began(&id(50_000_000), Some(50_999_999)), Some(50_999_999), "as far as /proc knows");
        assert_eq!(began(&id(50_000_000), Some(60_000_001)), None);
        assert_eq!(began(&id(50_000_000), None), None);
    }

    #[test]
    fn a_mark_that_was_just_made_is_not_made_again_and_an_older_one_is() {
        let (made, second) = (Term::of(5_000, Duration::from_secs(32)).until, 1_000_000_000);
        assert!(!Term::of(5_000 + second, Duration::from_secs(32)).renews(made));
        assert!(Term::of(5_000 + 3 * second, Duration::from_secs(32)).renews(made), "it would end too early");
        assert!(Term::of(5_000, Duration::from_secs(64)).renews(made), "it is to last longer");
        assert!(!Term::of(5_000, Duration::ZERO).renews(made) && !Term::of(5_000, Duration::ZERO).renews(5_000));
        assert!(!Term::of(5_000, Duration::MAX).renews(u64::MAX));
    }
}
