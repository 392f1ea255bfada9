//! One seed, played: what happens to an engine in a few minutes, or days, of a bad life.
//!
//! Owns the moves and how likely each is. After the moves everybody goes home: faults end, a pause is lifted, what is dead is
//! started; then nothing may be left open, and all of [`check`] holds. Then days pass, and the machine boots once more.

use super::check;
use super::guarded;
use super::make;
use super::rng::Rng;
use super::shipped;
use super::stage::{Death, Life, Stage};
use super::world::Mood;
use crate::run::Request;
use crate::run::fixtures::socket;
use crate::run::question::AnswerGiven;
use crate::run::shell::run_started;
use crate::store::by_hand::{self, At};
use quell_model::playbook::Playbook;
use quell_model::record::Part;
use quell_model::{Json, Record, RunId, StepId, StreamId};
use std::sync::Arc;
use std::time::Duration;

/// What a seed came to, line by line: every record with its sum, and everything that was done.
pub(super) type Told = Vec<String>;

pub(super) fn play(seed: u64, is_compared: bool) -> Result<Told, String> {
    let mut rng = Rng::new(seed);
    let playbooks = repertory(&mut rng);
    let mut stage = Stage::new(playbooks.clone(), rng.fork());
    stage.world.state().mood =
        Mood { wrong: rng.of(&[0, 0, 5, 20, 50]), slow: rng.of(&[0, 20, 60]), mute: rng.of(&[0, 5, 30]) };
    stage.definitions.guard = guarded::guard(&mut rng);
    let mut day = Day { rng, seen: 0, paused: false, refuses: false, lossy: false, playbooks };
    let moves = 20 + day.rng.below(80);
    stage.start();
    for _ in 0..moves {
        day.step(&mut stage)?;
    }
    day.goes_home(&mut stage)?;
    check::live_is_refolded(&stage)?;
    day.days_pass(&mut stage)?;
    let streams = check::at_the_end(&mut stage, &day.playbooks)?;
    guarded::nothing_forbidden_was_done(&stage.definitions.guard, &streams)?;
    Ok(if is_compared { told(&stage, &streams) } else { Told::new() })
}

fn repertory(rng: &mut Rng) -> Vec<Arc<Playbook>> {
    match rng.below(7) {
        0 => shipped::playbooks(),
        1 => vec![make::every_verb()],
        2 => vec![make::tried_again(rng)],
        _ => (0..1 + rng.below(3)).map(|number| make::playbook(rng, number)).collect(),
    }
}

fn told(stage: &Stage, streams: &check::Streams) -> Told {
    let of = |(stream, records): (&StreamId, &Vec<Record>)| {
        let one = |r: &Record| format!("{stream} {} after {:?} at {:?}: {}", r.seq, r.prev, r.at, check::line(&r.body));
        records.iter().map(one).collect::<Vec<_>>()
    };
    let mut lines: Vec<String> = streams.iter().flat_map(of).collect();
    let state = stage.world.state();
    lines.extend(state.calls.iter().map(|call| format!("{call:?}")));
    lines.extend(state.changes.iter().map(|change| format!("{change:?}")));
    lines
}

struct Day {
    rng: Rng,
    seen: usize,
    paused: bool,
    refuses: bool,
    lossy: bool,
    playbooks: Vec<Arc<Playbook>>,
}

impl Day {
    fn step(&mut self, stage: &mut Stage) -> Result<(), String> {
        if stage.life.is_none() {
            // Faults of a disk are over with the engine that had them; not always at once.
            (self.refuses, self.lossy) = (false, false);
            stage.start();
        }
        if by_hand::hangs() && self.rng.chance(8) {
            by_hand::hang(false);
        }
        match self.rng.below(100) {
            0..28 => {
                // What ends a run that another has started may be the last that is written before the disk hangs.
                let below = |life: &Life| life.core.runs.values().any(|live| live.run.started.parent.is_some());
                if stage.life.as_ref().is_some_and(below) && self.rng.chance(10) {
                    by_hand::hang(true);
                }
                stage.deliver();
            }
            28..40 => stage.work(),
            40..54 => drop(stage.wait()),
            54..58 => stage.clock.advance(Duration::from_millis(self.rng.next() % 5_000)),
            58..72 => self.detect(stage),
            72..83 => self.person(stage),
            83..88 => self.fault(stage),
            88..92 => {
                let place = (self.rng.of(&[At::Before, At::After]), 1 + self.rng.next() % 12);
                let tears = place.0 == At::After && self.rng.chance(30) && !self.refuses;
                stage.next_death = if tears { Death::Torn } else { self.rng.of(&[Death::Killed, Death::PowerCut]) };
                by_hand::die_at(Some(place));
            }
            92..96 => stage.die(self.rng.of(&[Death::Killed, Death::Killed, Death::Ended])),
            96..98 => stage.die(Death::PowerCut),
            _ => check::live_is_refolded(stage)?,
        }
        Ok(())
    }

    fn detect(&mut self, stage: &mut Stage) {
        let playbook = self.rng.of(&self.playbooks);
        let rules = playbook.on.detections.as_ref().map(|filter| filter.rules.clone()).unwrap_or_default();
        let rule = if rules.is_empty() { "rule".into() } else { self.rng.of(&rules) };
        let age = if self.rng.chance(10) { Duration::from_secs(3600) } else { Duration::ZERO };
        self.seen += 1;
        // Most of what ships answers the events of its own cases.
        let cases = shipped::cases(&playbook);
        let detection = if !cases.is_empty() && self.rng.chance(80) {
            make::of_case(&cases[self.rng.below(cases.len())], rule.as_str(), self.seen, stage.now())
        } else {
            make::detection(&mut self.rng, rule.as_str(), self.seen, stage.now(), age)
        };
        stage.alive(|life| life.core.detections([detection]));
    }

    fn person(&mut self, stage: &mut Stage) {
        let Some(life) = &stage.life else { return };
        let ended = life.core.leases.standing().map(|(run, _)| run).filter(|run| !life.core.runs.contains_key(*run));
        let ended: Vec<RunId> = ended.cloned().collect();
        if !ended.is_empty() && self.rng.chance(20) {
            let run = self.rng.of(&ended);
            let parts = life.core.leases.of(&run, None);
            return self.in_part(stage, &run, &parts);
        }
        let runs: Vec<RunId> =
            life.journal.streams().unwrap().into_iter().filter_map(|(stream, _)| stream.as_run()).collect();
        // Often one of which something stands: that is undone in part, tried again, and undone.
        let standing: Vec<RunId> = life.core.leases.standing().map(|(run, _)| run.clone()).collect();
        let runs = if standing.is_empty() || self.rng.chance(60) { runs } else { standing };
        let Some(run) = (!runs.is_empty()).then(|| self.rng.of(&runs)) else { return };
        let parts = life.core.leases.of(&run, None);
        let step = match self.rng.below(6) {
            0 => Some(StepId::from(format!("s{}", self.seen % 7).as_str())),
            1 | 2 if !parts.is_empty() => Some(self.rng.of(&parts).step),
            _ => None,
        };
        let (by, why) = ("ann".into(), "it looks so".to_owned());
        let asks = life.core.runs.values().any(|live| live.run.asks() > 0);
        if asks && self.rng.chance(60) || self.rng.chance(5) {
            return self.answer(stage, run);
        }
        let request = match self.rng.below(9) {
            0 => Request::Cancel { run, by },
            7 => Request::Retry { run, from: step, by, why },
            8 => Request::Skip { run, step: format!("s{}", self.seen % 5).as_str().into(), by, why },
            1 | 2 => Request::Undo { way: socket(), run, step, by, why },
            3 => {
                let lasts = self.rng.of(&[None, Some(Duration::from_secs(60)), Some(Duration::from_secs(7200))]);
                Request::Keep { way: socket(), run, step, lasts, by }
            }
            4 => {
                self.paused = !self.paused;
                Request::Pause { paused: self.paused, by }
            }
            5 => {
                let streams = life.journal.streams().unwrap();
                let incidents: Vec<_> = streams.into_iter().filter_map(|(stream, _)| stream.as_incident()).collect();
                if incidents.is_empty() {
                    return;
                }
                Request::UndoIncident { incident: self.rng.of(&incidents), way: socket(), by, why }
            }
            _ => {
                let playbook = self.rng.of(&self.playbooks).name.clone();
                Request::Start { playbook, event: None, inputs: serde_json::json!({}), mode: None, by }
            }
        };
        // Refused or not: what was refused changed nothing, which the checks see.
        let _answer: Option<Result<Json, _>> = stage.alive(|life| life.core.asked(request));
    }

    /// A run that has ended is tried again from before a step on that stands, and this step is taken back alone while it waits.
    fn in_part(&mut self, stage: &mut Stage, run: &RunId, parts: &[Part]) {
        let Some(life) = stage.life.as_ref().filter(|_| !by_hand::hangs()) else { return };
        let part = self.rng.of(parts);
        let records = life.journal.read(&StreamId::run(run), 1).unwrap();
        let hash = records.first().and_then(|first| run_started(&first.body)).map(|started| started.definition);
        let playbook = self.playbooks.iter().find(|playbook| Some(playbook.hash) == hash);
        let needs = playbook.and_then(|playbook| playbook.step(&part.step)).map(|step| step.needs.clone());
        let from = needs.unwrap_or_default().first().cloned();
        let (by, why) = ("bo".into(), "it is mended".to_owned());
        let retry = Request::Retry { run: run.clone(), from, by, why };
        // Refused or not, as above.
        let _answer: Option<Result<Json, _>> = stage.alive(|life| life.core.asked(retry));
        let (by, why) = ("ann".into(), "not this".to_owned());
        let undo = Request::Undo { way: socket(), run: run.clone(), step: Some(part.step), by, why };
        let _answer: Option<Result<Json, _>> = stage.alive(|life| life.core.asked(undo));
    }

    /// Somebody answers: mostly what is asked, now and then what nobody asks any more.
    fn answer(&mut self, stage: &mut Stage, any: RunId) {
        let Some(life) = &stage.life else { return };
        let mut asking: Vec<RunId> =
            life.core.runs.iter().filter(|(_, live)| live.run.asks() > 0).map(|(id, _)| id.clone()).collect();
        asking.sort();
        let run = if asking.is_empty() || self.rng.chance(10) { any } else { self.rng.of(&asking) };
        let first = life.core.runs.get(&run).and_then(|live| live.run.questions().next());
        let (step, choices) =
            first.map_or((None, Vec::new()), |(part, asked)| (Some(part.step.clone()), asked.question.choices.clone()));
        let choice = if choices.is_empty() || self.rng.chance(5) { "approve".into() } else { self.rng.of(&choices) };
        let by = self.rng.of(&["ann", "bo", "cy", "bo", "cy", "nobody"]).into();
        let (via, why) = ("socket".into(), String::new());
        let given = AnswerGiven { run, step, item: None, choice, plan: None, by, via, from: None, why };
        // Refused, too late or taken: the checks see what came of it.
        let _answer: Option<Result<Json, _>> = stage.alive(|life| life.core.asked(Request::Answer(Box::new(given))));
    }

    fn fault(&mut self, stage: &mut Stage) {
        let dir = stage.dir().to_owned();
        let Some(life) = &stage.life else { return };
        if by_hand::hangs() || self.rng.chance(25) {
            return by_hand::hang(!by_hand::hangs());
        }
        stage.world.state().trouble = true;
        if self.refuses {
            self.refuses = false;
            by_hand::fill_slate(false);
            return life.journal.refuse(false);
        }
        if self.lossy {
            self.lossy = false;
            stage.world.state().on_medium = None;
            return life.journal.lose_sync(&dir, false);
        }
        if self.rng.chance(30) {
            self.lossy = true;
            let safe = |stream: StreamId| life.journal.committed(&stream).map(|seq| (stream, seq));
            let safe = life.core.runs.keys().filter_map(|run| safe(StreamId::run(run))).collect();
            stage.world.state().on_medium = Some(safe);
            return life.journal.lose_sync(&dir, true);
        }
        self.refuses = true;
        life.journal.refuse(true);
        if self.rng.chance(40) {
            by_hand::fill_slate(true);
        }
    }

    /// Faults end, a pause is lifted, and what is open goes on to its end.
    fn goes_home(&mut self, stage: &mut Stage) -> Result<(), String> {
        by_hand::die_at(None);
        by_hand::fill_slate(false);
        by_hand::hang(false);
        stage.next_death = Death::Killed;
        let dir = stage.dir().to_owned();
        if let Some(life) = &stage.life {
            life.journal.refuse(false);
            life.journal.lose_sync(&dir, false);
            stage.world.state().on_medium = None;
        }
        if self.rng.chance(50) {
            stage.world.state().mood = Mood::default();
        }
        stage.start();
        stage.alive(|life| life.core.asked(Request::Pause { paused: false, by: "ann".into() }));
        stage.settle()
    }

    /// Leases end; then the machine boots, and what did not outlive that is told.
    fn days_pass(&mut self, stage: &mut Stage) -> Result<(), String> {
        stage.world.state().mood = Mood::default();
        for _ in 0..3 {
            stage.clock.advance(Duration::from_secs(9 * 3600));
            stage.alive(|life| life.core.pass());
            stage.settle()?;
        }
        stage.die(Death::Ended);
        stage.reboot();
        stage.start();
        stage.settle()?;
        let life = stage.life.as_ref().expect("it settled");
        let state = stage.world.state();
        for ((run, part), ..) in life.core.leases.places() {
            let key = quell_model::action::IdempotencyKey::of(run, part).0;
            let things: Vec<&str> = state.calls.iter().filter(|c| c.key == key).map(|c| c.thing.as_str()).collect();
            if !things.iter().any(|thing| state.stands.contains_key(*thing)) {
                return Err(format!("after a boot `{run}/{part}` has a lease, and nothing of it stands"));
            }
        }
        let overdue = life.core.leases.overdue(|then| life.core.age(then));
        overdue
            .first()
            .map_or(Ok(()), |(run, part)| Err(format!("the lease of `{run}/{part}` is over, and nothing was done")))
    }
}
