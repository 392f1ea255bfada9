//! The simulated channels: fast or slow, refusing, silent, dying; some know a key that they have seen, some write into messages
//! that they can put right.
//!
//! Owns the tape: what each was given, when, and whether it reached anybody. Keeps true: what a channel says of a page is so, but
//! for what it says nothing of.

use crate::clock::SimulatedClock;
use crate::run::sim::rng::Rng;
use crate::run::sim::world::World;
use quell_model::notice::{Channel, Letter, Page, PageKey, Receipt, SendError, State};
use quell_model::{Clock, LadderId, Name, Seq, StreamId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a channel does with a page; in what is not known either way it may have reached somebody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doing {
    Takes,
    Later(Option<Duration>),
    Never,
    Unknown(bool),
    Hangs(bool),
    Dies(bool),
}

/// How a channel is disposed: so many pages of a hundred go wrong, and so many are slow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mood {
    pub(super) wrong: u64,
    pub(super) slow: u64,
    /// What goes wrong is refused for good.
    pub(super) refuses: bool,
}

/// A page that reached a channel.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) key: PageKey,
    pub(super) ladder: LadderId,
    pub(super) page: Page,
    pub(super) repeat: bool,
    pub(super) earlier: Option<String>,
    pub(super) generation: u32,
    pub(super) is_over: bool,
    /// It stands for the pages of many ladders, under a key of its own.
    pub(super) is_bundle: bool,
    /// The last record of its ladder that the journal had then.
    pub(super) seq: Seq,
    /// Whoever it is for has it by this.
    pub(super) reached: bool,
    /// The channel had it before, and knows that by its key.
    pub(super) known: bool,
    /// It said that it took it, and called it so.
    pub(super) took: Option<Option<String>>,
    /// The machine lost its power afterwards: what was not on its disk was never written.
    pub(super) cut: bool,
}

pub(super) struct Tape {
    rng: Rng,
    pub(super) moods: BTreeMap<Name, Mood>,
    pub(super) clock: Arc<SimulatedClock>,
    pub(super) all: Vec<Given>,
    seen: BTreeSet<PageKey>,
}

impl Tape {
    pub(super) fn new(rng: Rng, clock: Arc<SimulatedClock>) -> Arc<Mutex<Self>> {
        let (moods, all, seen) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        Arc::new(Mutex::new(Self { rng, moods, clock, all, seen }))
    }

    fn doing(&mut self, mood: Mood) -> Doing {
        if !self.rng.chance(mood.wrong) {
            return Doing::Takes;
        }
        if mood.refuses {
            return Doing::Never;
        }
        let some = self.rng.chance(50);
        let after = some.then(|| Duration::from_secs(self.rng.next() % 90));
        let all = [Doing::Later(after), Doing::Never, Doing::Unknown(some), Doing::Hangs(some), Doing::Dies(some)];
        self.rng.of(&all)
    }

    fn delay(&mut self, mood: Mood) -> Duration {
        if !self.rng.chance(mood.slow) {
            return Duration::ZERO;
        }
        let most = self.rng.of(&[100, 5_000, 28_000]);
        Duration::from_millis(1 + self.rng.next() % most)
    }
}

/// A channel of the simulation.
pub(super) struct Played {
    pub(super) word: Name,
    pub(super) takes_keys: bool,
    /// It writes into messages that can be put right.
    pub(super) writes: bool,
    pub(super) tape: Arc<Mutex<Tape>>,
    pub(super) world: Arc<World>,
}

impl Played {
    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn given(&self, letter: &Letter) -> (usize, Doing, [Duration; 2]) {
        let seq = {
            let state = self.world.state();
            let journal = state.journal.as_ref().expect("an engine works with a journal");
            journal.last(&StreamId::ladder(&letter.notice.ladder))
        };
        let mut tape = self.tape();
        tape.all.push(Given {
            key: letter.key.clone(),
            ladder: letter.notice.ladder.clone(),
            page: letter.page.clone(),
            repeat: letter.repeat,
            earlier: letter.earlier.clone(),
            generation: letter.notice.generation,
            is_over: letter.notice.state == State::Over,
            is_bundle: letter.is_bundle,
            seq,
            reached: false,
            known: false,
            took: None,
            cut: false,
        });
        let mood = tape.moods.get(&self.word).copied().unwrap_or_default();
        let doing = tape.doing(mood);
        let delays = [tape.delay(mood), tape.delay(mood)];
        (tape.all.len() - 1, doing, delays)
    }

    fn reaches(&self, number: usize) {
        let mut tape = self.tape();
        let key = tape.all[number].key.clone();
        let is_new = tape.seen.insert(key);
        let known = self.takes_keys && !is_new;
        (tape.all[number].reached, tape.all[number].known) = (!known, known);
    }

    fn takes(&self, number: usize) -> Receipt {
        let mut tape = self.tape();
        let given = &mut tape.all[number];
        if !self.writes {
            given.took = Some(None);
            return Receipt::Handed { reference: None };
        }
        let reference = given.earlier.clone().unwrap_or_else(|| format!("m{number}"));
        given.took = Some(Some(reference.clone()));
        Receipt::Delivered { reference: Some(reference) }
    }

    async fn rest(&self, delay: Duration) {
        if !delay.is_zero() {
            let clock = Arc::clone(&self.tape().clock);
            clock.sleep_until(clock.now().after(delay)).await;
        }
    }
}

#[async_trait::async_trait]
impl Channel for Played {
    async fn send(&self, letter: &Letter) -> Result<Receipt, SendError> {
        let (number, doing, [before, after]) = self.given(letter);
        self.rest(before).await;
        let reaches = matches!(doing, Doing::Takes | Doing::Unknown(true) | Doing::Hangs(true) | Doing::Dies(true));
        if reaches {
            self.reaches(number);
        }
        match doing {
            Doing::Hangs(_) => return std::future::pending().await,
            Doing::Dies(_) => std::panic::resume_unwind(Box::new("the channel has a mistake")),
            _ => self.rest(after).await,
        }
        match doing {
            Doing::Later(after) => Err(SendError::Later { why: "421 busy".into(), after }),
            Doing::Never => Err(SendError::Never { why: "550 no".into() }),
            Doing::Unknown(_) => Err(SendError::Unknown { why: "the line was cut".into() }),
            _ => Ok(self.takes(number)),
        }
    }
}
