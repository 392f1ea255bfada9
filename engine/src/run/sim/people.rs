//! Ladders, led astray by a seed: incidents and questions that people are told of over channels that fail, answers at any moment,
//! deaths at any record.
//!
//! ```text
//! seed ──▶ people, policies, channels ──▶ Core, ladders, journal ──▶ channels' tape
//!     └──▶ detections, answers, deaths ──────┘       └── records ──▶ laws ◀──┘
//! ```
//!
//! Owns the moves. After them everybody goes home: faults end, nobody answers any more, and days pass. Then every ladder has
//! reached its last resort or is over; the incidents are resolved, and every ladder is. The auditor, asked at each rest, is content.
//! Meanwhile the file with the policies is read anew, and silences are said and end.
//! **Invariant:** a seed gives the same records and the same tape each time.

mod laws;
mod make;
mod met;
mod post;
mod steps;
mod told;

use super::check;
use super::play::Told;
use super::rng::Rng;
use super::stage::{Death, Stage};
use super::world::Mood as WorldMood;
use crate::escalation::Escalation;
use crate::escalation::audit::{Account, Difference, Watch, What};
use crate::run::fixtures::socket;
use crate::run::pages::PATIENCE;
use crate::run::question::AnswerGiven;
use crate::run::request::Pressed;
use crate::run::{Refusal, Request, Silenced};
use crate::store::by_hand::{self, At};
use make::PEOPLE;
use met::Met;
use post::Tape;
use quell_model::notice::Way;
use quell_model::record::{Covers, QuestionKind};
use quell_model::{Class, Hash, IncidentId, Json, LadderId, Level, Name, OfLadder, RunId, Seq, Stamp, StreamId};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Seeds of every test run, and of a long one.
const SEEDS: u64 = 2_000;
const LONG: u64 = 10_000;
/// Moves after which what has not come to rest never will.
const MOST_MOVES: usize = 20_000;
const DAYS: Duration = Duration::from_secs(3 * 24 * 3600);

struct Night {
    stage: Stage,
    rng: Rng,
    tape: Arc<Mutex<Tape>>,
    escalation: Arc<Escalation>,
    times: steps::Times,
    slack_takes_keys: bool,
    /// The channels that are there.
    there: BTreeSet<Name>,
    seen: usize,
    /// Since when an engine lives, and so many had died before.
    since: (Stamp, usize),
    one_boot: bool,
}

fn play(seed: u64, is_compared: bool, met: &Met) -> Result<Told, String> {
    let mut night = Night::new(Rng::new(seed));
    let moves = 30 + night.rng.below(90);
    for _ in 0..moves {
        night.step()?;
    }
    night.goes_home()?;
    night.days_pass()?;
    night.all_is_over()?;
    let streams = night.stage.records();
    night.holds(&streams, met)?;
    if !is_compared {
        return Ok(Told::new());
    }
    let records = streams.iter().flat_map(|(stream, records)| {
        records
            .iter()
            .map(move |r| format!("{stream} {} after {:?} at {:?}: {}", r.seq, r.prev, r.at, check::line(&r.body)))
    });
    let tape = night.tape.lock().unwrap();
    Ok(records.chain(tape.all.iter().map(|given| format!("{given:?}"))).collect())
}

impl Night {
    fn new(mut rng: Rng) -> Self {
        let playbooks = make::playbooks(&mut rng);
        let mut stage = Stage::new(playbooks, rng.fork());
        let escalation = Arc::new(make::escalation(&mut rng));
        let tape = Tape::new(rng.fork(), Arc::clone(&stage.clock));
        let (post, there, slack_takes_keys) = make::post(&mut rng, &tape, &stage.world);
        stage.definitions.people = Arc::new(escalation.people.clone());
        stage.definitions.escalation = Some(Arc::clone(&escalation));
        stage.definitions.post = post;
        let wrong = rng.of(&[0, 0, 10]);
        stage.world.state().mood = WorldMood { wrong, slow: 20, mute: 0 };
        let since = (stage.now(), 0);
        let mut times = steps::Times::default();
        times.reads(stage.now(), &escalation);
        let mut night =
            Self { stage, rng, tape, escalation, times, slack_takes_keys, there, seen: 0, since, one_boot: true };
        night.lives();
        night
    }

    /// An engine lives: another, where one has died.
    fn lives(&mut self) {
        if self.stage.life.is_none() {
            self.tape.lock().unwrap().clock = Arc::clone(&self.stage.clock);
            self.stage.start();
        }
        let deaths = self.stage.reports.len();
        if self.since.1 != deaths {
            self.since = (self.stage.now(), deaths);
        }
    }

    fn step(&mut self) -> Result<(), String> {
        self.lives();
        match self.rng.below(100) {
            0..30 => self.stage.deliver(),
            30..38 => self.stage.work(),
            38..54 => drop(self.waits()),
            54..58 => self.stage.clock.advance(Duration::from_millis(self.rng.next() % 120_000)),
            58..65 => self.detect(),
            65..66 => self.reads(),
            66..80 => self.press()?,
            80..87 => self.person(),
            87..92 => {
                let place = (self.rng.of(&[At::Before, At::After]), 1 + self.rng.next() % 8);
                let tears = place.0 == At::After && self.rng.chance(30);
                self.stage.next_death = if tears { Death::Torn } else { Death::Killed };
                by_hand::die_at(Some(place));
            }
            92..96 => {
                let how = self.rng.of(&[Death::Killed, Death::Killed, Death::Ended]);
                self.stage.die(how);
                if how == Death::Ended && self.rng.chance(40) {
                    self.boots();
                }
            }
            96..97 => {
                self.tape.lock().unwrap().all.iter_mut().for_each(|given| given.cut = true);
                self.stage.die(Death::PowerCut);
                self.times.forgets();
                self.one_boot = false;
            }
            _ => laws::live(&self.stage, self.one_boot)?,
        }
        Ok(())
    }

    /// To the next moment that somebody waits for; false: nobody does.
    fn waits(&mut self) -> bool {
        let waited = self.stage.wait();
        self.turned();
        waited
    }

    /// The engine, where it lives, has done what was due.
    fn turned(&mut self) {
        if self.stage.life.is_some() {
            self.times.turned(self.stage.now());
        }
    }

    /// Whoever is told is told otherwise from now on: other policies, of the same people and channels.
    fn reads(&mut self) {
        let mut escalation = Escalation::clone(&self.escalation);
        make::policies(&mut self.rng, &mut escalation);
        self.escalation = Arc::new(escalation);
        self.times.reads(self.stage.now(), &self.escalation);
        self.stage.definitions.escalation = Some(Arc::clone(&self.escalation));
        let definitions = self.stage.definitions.clone();
        self.stage.alive(|life| life.core.reload(definitions));
    }

    fn boots(&mut self) {
        self.stage.reboot();
        self.one_boot = false;
    }

    fn detect(&mut self) {
        // Now and then more at once than anybody reads one by one.
        let many = if self.rng.chance(5) { 4..14 } else { 0..1 };
        many.for_each(|more| self.detects(more));
    }

    fn detects(&mut self, more: usize) {
        self.seen += 1;
        let subject = if more == 0 { self.rng.below(4) } else { more };
        let class = self.rng.of(&[Class::ProcessCreation, Class::FileEvent]);
        let mut detection = super::make::about("rule", subject, class, self.seen, self.stage.now(), Duration::ZERO);
        detection.rule.level = self.rng.of(&[Level::Medium, Level::High, Level::Critical]);
        detection.backfill = self.rng.chance(5);
        self.stage.alive(|life| life.core.detections([detection]));
    }

    fn ids<T>(&self, of: impl Fn(&StreamId) -> Option<T>) -> Vec<T> {
        let Some(life) = &self.stage.life else { return Vec::new() };
        life.journal.streams().unwrap().iter().filter_map(|(stream, _)| of(stream)).collect()
    }

    fn who(&mut self) -> Name {
        self.rng.of(&[PEOPLE[0], PEOPLE[1], PEOPLE[2], PEOPLE[3], "nobody"]).into()
    }

    /// Somebody presses a button or follows a link: mostly of a message that still holds.
    fn press(&mut self) -> Result<(), String> {
        // What is due is done first: what comes then comes of the answer.
        self.stage.alive(|life| life.core.pass());
        let ladders = self.ids(StreamId::as_ladder);
        if ladders.is_empty() || self.stage.life.is_none() {
            return Ok(());
        }
        let ladder = self.rng.of(&ladders);
        let link =
            self.rng.chance(40).then(|| Hash::of_parts(&[ladder.as_str().as_bytes(), &[self.rng.next() as u8 % 3]]));
        let core = &self.stage.life.as_ref().unwrap().core;
        let outbox = core.ladders.all.get(&ladder).filter(|outbox| !outbox.is_over());
        let stands = outbox.map_or(1, |outbox| outbox.generation());
        let is_open = outbox.is_some();
        let generation = match self.rng.below(8) {
            0 => stands + 1,
            1 | 2 => stands.saturating_sub(1 + u32::from(self.rng.chance(20))),
            _ => stands,
        };
        let by = self.who();
        let wants = match ladder.of() {
            OfLadder::Incident(incident) => self.of_incident(incident, &by, Some(generation)),
            OfLadder::Question(run) => self.answer(run, &ladder, &by),
        };
        let is_used = link.is_some_and(|link| {
            self.stage.life.as_ref().is_some_and(|life| life.core.is_used_up(&ladder, &link, &wants))
        });
        let pressed = Pressed { ladder: ladder.clone(), generation, link, by, via: "email".into(), wants };
        let before = self.lasts(&ladder);
        let Some(answer) = self.stage.alive(|life| life.core.asked(Request::Press(Box::new(pressed)))) else {
            return Ok(());
        };
        let after = self.lasts(&ladder);
        if !is_open || generation == stands && !is_used {
            return Ok(());
        }
        let what = if is_used { "a link that was used" } else { "a stale answer" };
        if !matches!(answer, Err(Refusal::NotNow(_))) {
            return Err(format!("{what} to {ladder} came to {answer:?}"));
        }
        // That it came too late is written, and by which policy the ladder goes.
        if before.0 != after.0 || after.1 > before.1 + 2 {
            return Err(format!("{what} to {ladder} has changed something: {before:?}, {after:?}"));
        }
        Ok(())
    }

    /// The last records of what a ladder tells of, and of itself.
    fn lasts(&self, ladder: &LadderId) -> (Seq, Seq) {
        let Some(life) = &self.stage.life else { return (0, 0) };
        let stream = StreamId::ladder(ladder);
        (life.core.ink.last(&stream.owner()), life.core.ink.last(&stream))
    }

    fn of_incident(&mut self, incident: IncidentId, by: &Name, generation: Option<u32>) -> Request {
        let (by, via, why) = (by.clone(), Name::from("email"), String::new());
        match self.rng.below(10) {
            0 => Request::Resolve { incident, why, by, via },
            1 => Request::FalsePositive { incident, reason: "ours".into(), way: socket(), by, exception: None },
            2 => Request::UndoIncident { incident, way: socket(), by, why },
            3 | 4 => Request::Escalate { incident, why, by, via },
            _ => Request::Acknowledge { incident, acknowledged: true, why, by, via, generation },
        }
    }

    fn answer(&mut self, run: RunId, ladder: &LadderId, by: &Name) -> Request {
        let step = ladder.as_question().map(|(_, step, _)| step);
        let is = |kind: QuestionKind| ladder.as_str().ends_with(kind.as_str());
        let choices = if is(QuestionKind::Ask) {
            ["me", "not_me"]
        } else if is(QuestionKind::Approve) {
            ["approve", "deny"]
        } else {
            ["keep", "undo"]
        };
        let (choice, by, via, why) = (self.rng.of(&choices).into(), by.clone(), "email".into(), String::new());
        let given = AnswerGiven { run, step, item: None, choice, plan: None, by, via, from: None, why };
        Request::Answer(Box::new(given))
    }

    /// Somebody says what they want without a message.
    fn person(&mut self) {
        let incidents = self.ids(StreamId::as_incident);
        let runs = self.ids(StreamId::as_run);
        let by = self.who();
        let (via, why) = (Name::from("socket"), String::new());
        let request = match self.rng.below(14) {
            _ if incidents.is_empty() => return,
            0 if !runs.is_empty() => Request::Cancel { run: self.rng.of(&runs), by },
            1 if !runs.is_empty() => Request::Undo { run: self.rng.of(&runs), step: None, by, way: socket(), why },
            2 => Request::Note { incident: self.rng.of(&incidents), text: "at it".into(), by },
            3 | 4 => Request::Reopen { incident: self.rng.of(&incidents), why, by, via: "socket".into() },
            5 | 6 => {
                let incident = self.rng.of(&incidents);
                Request::Acknowledge { incident, acknowledged: false, why, by, via, generation: None }
            }
            10 | 11 => {
                let covers = Covers { level: Some(self.rng.of(&[Level::High, Level::Critical])), ..Covers::default() };
                let lasts = Duration::from_secs(self.rng.of(&[30, 600, 7200]));
                let maintenance = self.rng.chance(30);
                let wanted = Silenced { covers, lasts, reason: "a drill".into(), maintenance };
                Request::Silence { wanted: wanted.into(), by, via }
            }
            12 => {
                let standing = self.stage.life.as_ref().map(|life| life.core.all_silences()).unwrap_or_default();
                let Some(first) = standing.first() else { return };
                Request::EndSilence { silence: first.id.clone(), by, via }
            }
            13 => {
                let playbooks = &self.stage.definitions.playbooks;
                if playbooks.is_empty() {
                    return;
                }
                let playbook = self.rng.of(playbooks).name.clone();
                Request::Start { playbook, event: None, inputs: serde_json::json!({}), mode: None, by }
            }
            _ => {
                let incident = self.rng.of(&incidents);
                self.of_incident(incident, &by, None)
            }
        };
        // Refused or not: what was refused changed nothing, which the laws see.
        let _answer: Option<Result<Json, _>> = self.stage.alive(|life| life.core.asked(request));
    }

    /// Faults end; nobody answers any more.
    fn goes_home(&mut self) -> Result<(), String> {
        by_hand::die_at(None);
        self.stage.next_death = Death::Killed;
        self.tape.lock().unwrap().moods.clear();
        self.stage.world.state().mood = WorldMood::default();
        self.rests(DAYS)?;
        self.is_at_rest()
    }

    /// The same after a boot.
    fn days_pass(&mut self) -> Result<(), String> {
        self.stage.die(Death::Ended);
        self.boots();
        self.rests(DAYS)?;
        self.is_at_rest()
    }

    /// Every incident is resolved: those who were told are told so, and every ladder is closed.
    fn all_is_over(&mut self) -> Result<(), String> {
        self.lives();
        for incident in self.ids(StreamId::as_incident) {
            let (why, by) = ("rebuilt".to_owned(), "ann".into());
            let request = Request::Resolve { incident, why, by, via: "socket".into() };
            // It may be over already.
            let _answer: Option<Result<Json, _>> = self.stage.alive(|life| life.core.asked(request));
        }
        self.rests(DAYS)?;
        self.is_at_rest()?;
        let open = self.stage.life.as_ref().unwrap().journal.open_streams().unwrap();
        let open: Vec<_> = open.into_iter().filter(|stream| stream.as_ladder().is_some()).collect();
        if open.is_empty() { Ok(()) } else { Err(format!("all is over, and these ladders are not closed: {open:?}")) }
    }

    /// Until nothing is to come for so long.
    fn rests(&mut self, span: Duration) -> Result<(), String> {
        self.lives();
        let end = self.stage.now().after(span);
        let mut still = 0;
        for _ in 0..MOST_MOVES {
            if self.stage.gather() {
                still = 0;
                self.stage.deliver();
                continue;
            }
            self.stage.work();
            self.stage.alive(|life| life.core.pass());
            self.turned();
            if self.stage.gather() {
                continue;
            }
            if self.stage.now() < end && self.waits() {
                still = 0;
                continue;
            }
            // What was written just now is there after the writer's next turn.
            still += 1;
            if still > 2 {
                return laws::live(&self.stage, self.one_boot);
            }
        }
        Err("it does not come to rest".to_owned())
    }

    /// Nobody has answered for days: whoever is last was told, or it is over; the auditor is content.
    fn is_at_rest(&mut self) -> Result<(), String> {
        let watch = Watch { now: self.stage.now(), since: self.since.0, patience: PATIENCE };
        for id in self.ids(StreamId::as_ladder) {
            let records = self.stage.life.as_ref().map(|life| life.journal.read(&StreamId::ladder(&id), 1).unwrap());
            let records = records.unwrap_or_default();
            let account = Account::of(&id, &records);
            // Where no channel is there by which the last resort could be told, that is what there is to see.
            let is_said = |difference: &Difference| {
                difference.kind != What::Untold || account.calls().any(|way| self.there.contains(way.channel()))
            };
            if let Some(difference) = account.differences(&watch).iter().find(|difference| is_said(difference)) {
                return Err(format!("the auditor is not content: {difference:?}\n{}", laws::shown(&records)));
            }
            laws::at_rest(&account).map_err(|why| format!("ladder {id}: {why}\n{}", laws::shown(&records)))?;
            self.incident_agrees(&id, &account)?;
        }
        Ok(())
    }

    /// All that the records and the channels' tape must say of each other, at the end.
    fn holds(&mut self, streams: &check::Streams, met: &Met) -> Result<(), String> {
        let tape = self.tape.lock().unwrap();
        let slack = self.slack_takes_keys;
        let keyed = |way: &Way| matches!(way, Way::Webhook(_)) || slack && matches!(way, Way::Slack(_));
        laws::of_all((streams, &tape.all), &self.escalation, &keyed)?;
        steps::hold(streams, &self.times)?;
        let by_others = told::by_others(streams, &self.escalation)?;
        met.count(streams, &tape.all, (self.times.files(), by_others));
        Ok(())
    }

    /// An incident says of who looks after it what its ladder says.
    fn incident_agrees(&mut self, id: &LadderId, account: &Account) -> Result<(), String> {
        let Some(incident) = id.as_incident() else { return Ok(()) };
        let found = self.stage.alive(|life| life.core.live_or_journaled(&incident)).and_then(Result::ok);
        let Some(standing) = found.map(|incident| incident.standing) else { return Ok(()) };
        let is_over = matches!(account.stands, crate::escalation::audit::Stands::Closed);
        if standing.is_resolved() != is_over {
            return Err(format!("incident {incident} stands at {standing:?}, its ladder at {:?}", account.stands));
        }
        if !is_over && standing.acknowledged.is_some() != account.is_acknowledged() {
            return Err(format!("incident {incident} stands at {standing:?}, its ladder at {:?}", account.stands));
        }
        Ok(())
    }
}

fn hold(seed: u64, met: &Met) -> Result<(), String> {
    let again =
        format!("play it again: QUELL_SEED={seed} cargo test -p quell-engine --lib run::sim::people -- --nocapture");
    let twice = seed.is_multiple_of(super::TWICE);
    super::hold_twice(seed, twice, &again, &|seed| play(seed, twice, met))
}

#[test]
fn whoever_is_to_be_told_is_told_once_and_nobody_after_an_answer() {
    let met = Met::default();
    if let Some(seed) = super::told("QUELL_SEED") {
        let seed = seed.parse().expect("QUELL_SEED is a number");
        return hold(seed, &met).unwrap_or_else(|why| panic!("{why}"));
    }
    super::hold_all(if super::told("QUELL_LONG").is_some() { LONG } else { SEEDS }, &|seed| hold(seed, &met));
    if super::told("QUELL_SEEDS").is_none() {
        met.is_enough();
    }
}
