//! An engine on a stage: its journal in a directory in memory, its clock and its world outlive it.
//!
//! Owns the lives: an engine is started, moved on by hand, killed at any write or between two, started again, in this boot
//! or the next. One thread does everything. Keeps true: who is killed writes nothing more.

use super::make;
use super::rng::Rng;
use super::world::World;
use crate::clock::SimulatedClock;
use crate::playbook::expression::Expressions;
use crate::run::question::AnswerGiven;
use crate::run::shell::simulated::Came;
use crate::run::{Core, Definitions, Parts, RecoveryReport, Refusal, Request};
use crate::store::by_hand::{self, Killed};
use crate::store::{DirVault, Journal};
use crate::trial::Said;
use quell_model::playbook::Playbook;
use quell_model::{BootId, Clock, Mode, Record, RunId, Sandbox, Stamp, StreamId};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;

/// Moves after which a run that has not ended never will.
const MOST_MOVES: usize = 20_000;

/// How an engine ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Death {
    /// By SIGKILL; the machine goes on.
    Killed,
    /// By SIGKILL in the midst of a write, if one was just made.
    Torn,
    /// With the machine, all of whose memory is gone.
    PowerCut,
    /// As it should: what is written is in the database.
    Ended,
}

/// An engine that lives.
pub(super) struct Life {
    pub(super) core: Core<Sandbox>,
    pub(super) journal: Journal,
    /// Answers that nobody has taken in.
    pub(super) pool: Vec<Came>,
    runtime: tokio::runtime::Runtime,
}

pub(super) struct Stage {
    pub(super) world: Arc<World>,
    pub(super) clock: Arc<SimulatedClock>,
    pub(super) life: Option<Life>,
    pub(super) rng: Rng,
    pub(super) reports: Vec<RecoveryReport>,
    /// How the engine dies at the write that it dies at next.
    pub(super) next_death: Death,
    pub(super) definitions: Definitions,
    /// What people say as soon as they are asked.
    pub(super) said: Vec<Said>,
    boot: u32,
    dir: tempfile::TempDir,
}

thread_local! {
    /// Compiled once a thread: what is compiled is the same for all.
    static EXPRESSIONS: Arc<Expressions> = Arc::new(Expressions::new());
}

fn begin() -> Stamp {
    Stamp { wall: jiff::Timestamp::from_second(1_790_000_000).unwrap(), boot_ns: 3_600_000_000_000 }
}

impl Stage {
    pub(super) fn new(playbooks: Vec<Arc<Playbook>>, mut rng: Rng) -> Self {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        by_hand::lay(dir.path());
        by_hand::die_at(None);
        by_hand::fill_slate(false);
        by_hand::hang(false);
        let people = make::people();
        let definitions =
            Definitions { playbooks, ceiling: Mode::Enforce, people: people.into(), ..Definitions::default() };
        let (world, clock) = (World::new(rng.fork()), Arc::new(SimulatedClock::new(begin())));
        Self {
            world,
            clock,
            life: None,
            rng,
            reports: Vec::new(),
            next_death: Death::Killed,
            definitions,
            said: Vec::new(),
            boot: 1,
            dir,
        }
    }

    pub(super) fn now(&self) -> Stamp {
        self.clock.now()
    }

    /// Starts an engine, however often it dies at it.
    pub(super) fn start(&mut self) {
        while self.life.is_none() {
            let journal = Journal::open_by_hand(self.dir.path()).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let parts = Parts {
                clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
                journal: journal.clone(),
                vault: Arc::new(DirVault::new(self.dir.path())),
                crew: self.world.crew(&self.definitions.playbooks),
                runtime: runtime.handle().clone(),
                wake: Arc::new(|| ()),
                node: "n".into(),
                boot: BootId(format!("boot-{}", self.boot).into()),
            };
            let core = Core::with(parts, self.definitions.clone(), EXPRESSIONS.with(Arc::clone));
            {
                let mut state = self.world.state();
                (state.journal, state.trouble, state.on_medium) = (Some(journal.clone()), false, None);
            }
            self.life = Some(Life { core, journal, pool: Vec::new(), runtime });
            let playbooks = self.definitions.playbooks.clone();
            let read = move |_: &Path, text: &str| {
                playbooks.iter().find(|playbook| &*playbook.text == text).map(|playbook| Playbook::clone(playbook))
            };
            let report = self.alive(|life| life.core.recover(Arc::new(read)).expect("the journal can be read"));
            self.reports.extend(report);
        }
    }

    /// Lets the engine do something; none: it was killed at it.
    pub(super) fn alive<T>(&mut self, then: impl FnOnce(&mut Life) -> T) -> Option<T> {
        let mut life = self.life.take()?;
        match catch_unwind(AssertUnwindSafe(|| then(&mut life))) {
            Ok(done) => {
                self.life = Some(life);
                Some(done)
            }
            Err(why) if why.is::<Killed>() => {
                self.life = Some(life);
                let how = std::mem::replace(&mut self.next_death, Death::Killed);
                self.die(how);
                None
            }
            Err(why) => resume_unwind(why),
        }
    }

    /// Ends the engine. Who starts the next one, starts it on a machine that has booted, after a power cut.
    pub(super) fn die(&mut self, how: Death) {
        let Some(mut life) = self.life.take() else { return };
        by_hand::die_at(None);
        by_hand::hang(false);
        if how == Death::Ended {
            life.core.ink.flush();
            (0..4).for_each(|_| life.journal.work());
        }
        let waits = life.core.ink.waiting() > 0 || life.core.ink.lost() > 0 || life.journal.health().in_memory_only > 0;
        {
            let mut state = self.world.state();
            state.journal = None;
            state.deaf = std::mem::take(&mut state.deaf_after_death);
            let untold = how == Death::PowerCut || waits;
            let lane = quell_model::Lane::Contain;
            state.calls.iter_mut().filter(|call| untold && call.lane == lane).for_each(|call| call.untold = true);
        }
        let Life { core, journal, runtime, .. } = life;
        core.killed();
        drop(runtime);
        drop(journal);
        by_hand::die_at(None);
        by_hand::fill_slate(false);
        match how {
            Death::Torn => drop(by_hand::tear_slate(self.dir.path())),
            Death::PowerCut => {
                by_hand::cut_power(self.dir.path());
                self.reboot();
            }
            Death::Killed | Death::Ended => {}
        }
    }

    /// A boot: what was only held is gone, and the boot clock begins anew.
    pub(super) fn reboot(&mut self) {
        assert!(self.life.is_none(), "an engine does not outlive its machine");
        let wall = self.now().wall + jiff::SignedDuration::from_secs(40);
        self.world.cut_power(wall);
        self.boot += 1;
        let boot_ns = (5 + self.rng.next() % 60) * 1_000_000_000;
        self.clock = Arc::new(SimulatedClock::new(Stamp { wall, boot_ns }));
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Lets everything that is ready go on, and gathers the answers; whether there are any.
    pub(super) fn gather(&mut self) -> bool {
        let Some(life) = &mut self.life else { return false };
        life.gather();
        !life.pool.is_empty()
    }

    /// Takes one of the answers in.
    pub(super) fn deliver(&mut self) {
        if self.gather() {
            let at = self.rng.below(self.life.as_ref().map_or(0, |life| life.pool.len()));
            self.alive(|life| {
                let arrival = life.pool.swap_remove(at);
                life.core.take(arrival);
            });
        }
    }

    /// One turn of the journal's writer.
    pub(super) fn work(&mut self) {
        self.alive(|life| life.journal.work());
    }

    /// To the next moment that somebody waits for; false: nobody does.
    pub(super) fn wait(&mut self) -> bool {
        self.gather();
        let waited = self.clock.advance_to_next().is_some();
        self.gather();
        self.alive(|life| life.core.pass());
        waited
    }

    /// Somebody says what they have to say, if they are asked; whether they did, or the engine was killed at it.
    fn answer(&mut self) -> bool {
        let Some(life) = self.life.as_ref().filter(|_| !self.said.is_empty()) else { return false };
        let given = life.core.open().into_iter().find_map(|(run, part, _, whom)| {
            let said = self.said.iter().find(|said| said.step == part.step)?;
            let (choice, by) = (said.choice.clone(), said.by.clone().or(whom).unwrap_or_else(|| "somebody".into()));
            let (step, item, via, why) = (Some(part.step), part.item, "socket".into(), String::new());
            Some(AnswerGiven { run, step, item, choice, plan: None, by, via, from: None, why })
        });
        let Some(given) = given else { return false };
        match self.alive(|life| life.core.asked(Request::Answer(Box::new(given)))) {
            Some(Err(Refusal::NotNow(_))) => false,
            Some(Err(error)) => panic!("the answer of a test file is refused: {error}"),
            Some(Ok(_)) | None => true,
        }
    }

    /// Until nothing is open. Engines that die are started again.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        let mut still = 0;
        for _ in 0..MOST_MOVES {
            self.start();
            if self.answer() {
                continue;
            }
            if self.gather() {
                still = 0;
                self.deliver();
                continue;
            }
            self.work();
            if self.life.is_none() || self.gather() {
                continue;
            }
            self.alive(|life| life.core.pass());
            let Some(life) = &self.life else { continue };
            if life.core.is_idle() {
                return Ok(());
            }
            let open: Vec<&RunId> = life.core.runs.keys().collect();
            let open = format!("{open:?}");
            if self.wait() || self.life.is_none() || self.gather() {
                still = 0;
                continue;
            }
            // What was written just now is there after the writer's next turn.
            still += 1;
            if still > 2 {
                return Err(format!("these have not ended, and wait for nothing: {open}"));
            }
        }
        Err("it does not come to an end".to_owned())
    }

    /// Every record, stream by stream.
    pub(super) fn records(&mut self) -> BTreeMap<StreamId, Vec<Record>> {
        self.start();
        let journal = self.life.as_ref().expect("it was just started").journal.clone();
        let streams = journal.streams().unwrap();
        streams.into_iter().map(|(stream, _)| (stream.clone(), journal.read(&stream, 1).unwrap())).collect()
    }
}

impl Life {
    fn gather(&mut self) {
        self.runtime.block_on(async {
            for _ in 0..2 {
                tokio::task::yield_now().await;
            }
        });
        self.pool.extend(self.core.came());
    }
}
