//! A run as a pure state machine: records in, commands out.
//!
//! Owns what a run's records mean. Does no I/O, reads no clock, evaluates no expression: the shell does what the
//! commands say and appends what happened. Given the same records it gives the same commands, so a run is taken up
//! after a crash by folding its stream again.

mod back;
mod by_hand;
#[cfg(test)]
mod exhaustive;
mod index;
mod items;
mod question;
mod ready;
mod sub;
mod unknown;
mod verdict;
mod wait;

use back::{Act, Back, Undoing};
use index::{Index, Turns, next_of_items};
use quell_model::playbook::{OnFailure, Playbook, Step, When};
use quell_model::record::{
    DetectionJoined, Part, QuestionAnswered, QuestionAsked, QuestionKind, RunStarted, RunState, StepIntended, Stored,
    SubRunStarted,
};
use quell_model::{Body, Hash, Json, Name, Outcome, RunId, Seq, Stamp, StepId};
pub use question::{APPROVE, Approved, Asked, QuestionTurned};
use ready::{Readiness, cancelled};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
pub use wait::WAIT;

/// What the shell is to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Start an attempt; of a step with `for_each` whose list is not known yet: find its items.
    Start {
        /// Which part.
        part: Part,
        /// From 1.
        attempt: u32,
        /// `item` in expressions.
        item: Json,
    },
    /// The journal holds an intent without an outcome, and nobody is at it: ask the world.
    TakeUp {
        /// Which part.
        part: Part,
        /// `item` in expressions.
        item: Json,
    },
    /// A question is answered: do what follows from it.
    GoOn {
        /// Which part.
        part: Part,
        /// `item` in expressions.
        item: Json,
    },
    /// Nobody has answered in time.
    Settle {
        /// Which part.
        part: Part,
        /// Which of its questions.
        question: QuestionKind,
    },
    /// What a part waits for in time has not come, or its time is over.
    Wake {
        /// Which part.
        part: Part,
    },
    /// A part has started a run: start it, end it with this one, or take in how it has ended.
    Follow {
        /// Which part.
        part: Part,
        /// The run that it has started.
        run: RunId,
    },
    /// Ask whether what a part did is to stand.
    Confirm {
        /// Which part.
        part: Part,
    },
    /// Take back what a part did. Also where the journal holds the intent to, and nobody is at it: the world is asked first.
    TakeBack {
        /// Which part.
        part: Part,
        /// From 1.
        attempt: u32,
    },
    /// Begin to take back all that was done.
    BeginUndo {
        /// Why, for people.
        why: String,
    },
    /// Nobody waits any longer for a part of which nobody knows whether it acted: it ends so.
    Leave {
        /// Which part.
        part: Part,
    },
    /// The items of a `for_each` have ended: sum them up.
    Conclude {
        /// Which step.
        step: StepId,
    },
    /// The step cannot run.
    Block {
        /// Which step.
        step: StepId,
        /// The need in the way; none when the run halted.
        by: Option<StepId>,
        /// `blocked` or `cancelled`.
        outcome: Outcome,
    },
    /// The step need not run.
    Skip {
        /// Which step.
        step: StepId,
        /// Why, for people.
        why: String,
    },
    /// Everything has ended.
    Finish {
        /// How.
        state: RunState,
        /// Which step failed, for people.
        summary: String,
    },
}

/// Where a part stands.
#[derive(Clone, Debug, Default, PartialEq)]
enum Phase {
    /// Nothing tried yet.
    #[default]
    Idle,
    /// Intended: it may have happened.
    Acting(Box<StepIntended>),
    /// The next attempt waits for its moment.
    Waiting(Stamp),
    /// The step waits, until this moment at most.
    Sleeping(Stamp),
    /// The run that it has started goes on.
    Sub,
    /// A person is asked.
    Asking(Box<Asked>),
    /// They have answered, or nobody has in time: what follows has not begun.
    Answered(Box<QuestionAsked>, Box<QuestionAnswered>),
    /// Over.
    Ended(Outcome),
}

/// A step, or an item of one.
#[derive(Clone, Debug, Default, PartialEq)]
struct Progress {
    phase: Phase,
    attempts: u32,
    /// When it was last intended.
    intended: Option<Stamp>,
    /// The same, and of what is intended anew after a crash, when it was at first.
    meant: Option<Stamp>,
    output: Json,
    why: String,
    /// The intents that may have been done, in their order: what stood before a later one, an earlier one may have done itself.
    acted: Vec<Act>,
    /// Of how many intents the end is known.
    known: u32,
    /// An intent has used the key that comes after these, and its end is not known.
    open: bool,
    /// The run that it has started.
    sub: Option<Box<SubRunStarted>>,
    /// Of a containment: where its taking back stands.
    back: Option<Back>,
    /// An attempt to take it back has an end that nobody saw.
    back_unknown: bool,
    /// It was taken back.
    undone: bool,
    /// How it had ended by itself, once it was taken back.
    before_back: Option<Outcome>,
    /// The sum of the plan that a person has approved, or that acts because nobody said no.
    approved: Option<(Hash, Approved)>,
    /// The question whether it is to stand, once it was asked.
    confirm: Option<Asked>,
    /// A person was asked about an intent from before a crash: whether it may have acted.
    taken_up: Option<bool>,
    /// Who was asked whether it was them.
    suspect: Option<Name>,
    /// A person left it out.
    left_out: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct StepState {
    whole: Progress,
    /// Of a `for_each`: each item's value and state, once the list is known.
    items: Option<Vec<(Json, Progress)>>,
    /// Where that list lies, if not in its record: the values are nothing then.
    apart: Option<Box<Stored>>,
    turns: Turns,
    /// How many keys an item has used, in lists that were found before.
    known_before: u32,
    /// From when on its time counts, once an attempt of it or of an item has begun.
    began: Option<Stamp>,
    /// When people were asked whether it may act, which is none of its time: from, until, and how long before that.
    thought: Vec<(Stamp, Stamp, Duration)>,
    /// Since when they are asked.
    thinking: Option<Stamp>,
}

/// One execution of a playbook.
#[derive(Clone, Debug)]
pub struct Run {
    /// The pinned text's model.
    pub playbook: Arc<Playbook>,
    /// What it began with.
    pub started: Arc<RunStarted>,
    /// When it began.
    pub began: Stamp,
    /// The number of its last record.
    pub seq: Seq,
    /// Apart from the map, whose nodes have room for eleven: most runs have fewer.
    steps: BTreeMap<StepId, Box<StepState>>,
    state: RunState,
    cancelled: bool,
    /// Who had it tried again.
    retried: BTreeSet<Name>,
    /// How it ended, before anything was taken back.
    ended: Option<RunState>,
    undo: Option<Undoing>,
    /// Questions that nobody has answered yet.
    asking: BTreeSet<(Part, QuestionKind)>,
    /// What began to wait for an answer, and what does no longer, since somebody looked.
    turned: Vec<question::QuestionTurned>,
    /// What joined it after the detection that started it.
    pub(super) joined: Vec<DetectionJoined>,
    index: Index,
}

impl Run {
    /// A run after its first record.
    #[must_use]
    pub fn new(playbook: Arc<Playbook>, started: RunStarted, began: Stamp) -> Self {
        let steps = playbook.steps.iter().map(|step| (step.id.clone(), Box::default())).collect();
        let (asking, index) = (BTreeSet::new(), Index::new(&playbook));
        Self {
            playbook,
            started: Arc::new(started),
            began,
            seq: 1,
            steps,
            state: RunState::Running,
            cancelled: false,
            retried: BTreeSet::new(),
            ended: None,
            undo: None,
            asking,
            turned: Vec::new(),
            joined: Vec::new(),
            index,
        }
    }

    /// Takes in the next record.
    pub fn apply(&mut self, at: Stamp, body: &Body) {
        self.seq += 1;
        match body {
            Body::StepIntended(intent) => {
                self.begins(at, &intent.part);
                if let Some(progress) = self.progress_mut(&intent.part) {
                    progress.attempts = intent.attempt;
                    let anew = matches!(&progress.phase, Phase::Acting(before) if before.attempt == intent.attempt);
                    progress.meant = progress.meant.filter(|_| anew).or(Some(at));
                    progress.intended = Some(at);
                    progress.open = true;
                    progress.phase = Phase::Acting(intent.clone());
                }
            }
            Body::StepProgressed(mark) => self.note_items(&mark.part, &mark.mark),
            Body::StepFailed(failed) => {
                self.begins(at, &failed.part);
                if let Some(progress) = self.progress_mut(&failed.part) {
                    if let Phase::Acting(intent) = &progress.phase {
                        let intent = intent.clone();
                        progress.may_have_acted(intent);
                        if !failed.unknown {
                            progress.end_is_known();
                        }
                    }
                    progress.attempts = failed.attempt;
                    progress.taken_up = None;
                    progress.why.clone_from(&failed.error);
                    if let Some(again) = failed.again_at {
                        progress.phase = Phase::Waiting(again);
                    }
                }
            }
            Body::StepFinished(finished) => {
                self.begins(at, &finished.part);
                self.asks_no_more(|part| finished.part.covers(part));
                if let Some(progress) = self.progress_mut(&finished.part) {
                    let before = std::mem::replace(&mut progress.phase, Phase::Ended(finished.outcome));
                    progress.sub_ended(&before);
                    if let Phase::Acting(intent) = before {
                        progress.may_have_acted(intent);
                        if matches!(finished.outcome, Outcome::Verified | Outcome::Done) {
                            progress.end_is_known();
                        }
                    }
                    progress.output = finished.output.clone();
                    progress.why.clone_from(&finished.proof);
                }
            }
            Body::StepSkipped(skipped) => self.end_step(&skipped.step, Outcome::Skipped, &skipped.why),
            Body::StepBlocked(blocked) => {
                let why = blocked.by.as_ref().map_or_else(
                    || "the run ended before it".to_owned(),
                    |by| format!("its need `{by}` did not end well"),
                );
                self.end_step(&blocked.step, blocked.outcome, &why);
            }
            Body::PersonActed(act) => match (act.what.as_str(), act.detail.get("step").and_then(Json::as_str)) {
                ("cancel", _) => self.cancelled = true,
                ("skip", Some(step)) => self.is_left_out(step),
                _ => {}
            },
            Body::RunReopened(reopened) => self.reopened(reopened),
            Body::LeaseGranted(granted) => {
                if let Some(progress) = self.progress_mut(&granted.part).filter(|progress| !progress.acted.is_empty()) {
                    progress.back = Some(Back::Stands);
                }
            }
            Body::LeaseChanged(changed) => self.lease_changed(changed),
            Body::UndoBegan(began) => self.undo_began(began),
            Body::UndoIntended(intent) => {
                if let Some(progress) = self.progress_mut(&intent.part) {
                    // Taken up: the attempt before was not seen to its end.
                    progress.back_unknown |= matches!(progress.back, Some(Back::Acting(_)));
                    progress.back = Some(Back::Acting(intent.attempt));
                }
            }
            Body::UndoFailed(failed) => {
                if let Some(progress) = self.progress_mut(&failed.part) {
                    progress.why.clone_from(&failed.error);
                    progress.back_unknown = failed.unknown;
                    progress.back = Some(Back::Waiting(failed.attempt, failed.again_at));
                }
            }
            Body::UndoFinished(finished) => self.undo_finished(finished),
            Body::TimerSet(timer) => {
                self.begins(at, &timer.part);
                self.timer_set(timer);
            }
            Body::SubRunStarted(sub) => {
                self.begins(at, &sub.part);
                self.sub_started(sub);
            }
            Body::DetectionJoined(joined) => self.joined.push(DetectionJoined::clone(joined)),
            Body::QuestionAsked(_) | Body::QuestionAnswered(_) | Body::AnswerRefused(_) => self.questioned(at, body),
            Body::RunFinished(finished) => {
                self.state = finished.state;
                self.ended.get_or_insert(finished.state);
                self.undo = None;
                self.asks_nothing();
            }
            _ => {}
        }
        self.people_think(at, body);
        self.look_again();
    }

    fn end_step(&mut self, step: &StepId, outcome: Outcome, why: &str) {
        self.asks_no_more(|part| part.step == *step);
        self.index.changed.push(Part { step: step.clone(), item: None });
        if let Some(state) = self.steps.get_mut(step) {
            state.whole.phase = Phase::Ended(outcome);
            state.whole.why = why.to_owned();
        }
    }

    fn progress_mut(&mut self, part: &Part) -> Option<&mut Progress> {
        self.index.changed.push(part.clone());
        let state = self.steps.get_mut(&part.step)?;
        match part.item {
            None => Some(&mut state.whole),
            Some(at) => state.items.as_mut()?.get_mut(at as usize).map(|(_, progress)| progress),
        }
    }

    fn progress(&self, part: &Part) -> Option<&Progress> {
        let state = self.steps.get(&part.step)?;
        match part.item {
            None => Some(&state.whole),
            Some(at) => state.items.as_ref()?.get(at as usize).map(|(_, progress)| progress),
        }
    }

    /// How it stands; `Waiting` is told apart by the shell, which knows what is under way.
    #[must_use]
    pub fn state(&self) -> RunState {
        self.state
    }

    /// How a step ended, if it has.
    #[must_use]
    pub fn outcome(&self, step: &StepId) -> Option<Outcome> {
        match self.steps.get(step)?.whole.phase {
            Phase::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// What a step gave, how it ended and why: what `steps.<id>` is made of.
    #[must_use]
    pub fn result(&self, step: &StepId) -> Option<(Outcome, &Json, &str)> {
        let state = self.steps.get(step)?;
        match state.whole.phase {
            Phase::Ended(outcome) => Some((outcome, &state.whole.output, &state.whole.why)),
            _ => None,
        }
    }

    /// The intent of a part that has no outcome yet.
    #[must_use]
    pub fn intent(&self, part: &Part) -> Option<&StepIntended> {
        match &self.progress(part)?.phase {
            Phase::Acting(intent) => Some(intent),
            _ => None,
        }
    }

    /// The moment that the nearest attempt waits for, forwards or back. One that has passed is held by something else.
    #[must_use]
    pub fn next_wait(&self, now: Stamp) -> Option<Stamp> {
        let asked = self.questions().map(|(_, asked)| asked.until).filter(|at| *at > now);
        let next = asked.chain(self.index.next_wait(now)).min();
        #[cfg(test)]
        assert_eq!(next, self.next_wait_exhaustively(now), "the index says what a look at all says");
        next
    }

    /// What is to be done now. A command repeats until a record answers it; the shell knows what it is already doing.
    #[must_use]
    pub fn next(&self, now: Stamp) -> Vec<Command> {
        let commands = self.next_by_index(now, None);
        #[cfg(test)]
        assert_eq!(commands, self.next_exhaustively(now), "the index says what a look at all says");
        commands
    }

    /// The same, and from now on only what follows is asked for.
    pub(super) fn next_of_all(&mut self, now: Stamp) -> Vec<Command> {
        self.index.fresh.clear();
        self.index.was_halted = self.is_halted();
        self.next(now)
    }

    /// Of what is to be done now, what follows from the records since this was last asked: who has looked at all of it and
    /// knows what he is at need not look at ten thousand steps for each. What waits for a moment is [`Run::next`]'s to say.
    pub(super) fn next_after(&mut self, now: Stamp) -> Vec<Command> {
        let fresh = std::mem::take(&mut self.index.fresh);
        let halted = self.is_halted();
        if std::mem::replace(&mut self.index.was_halted, halted) || halted {
            return self.next(now);
        }
        self.next_by_index(now, Some(&fresh))
    }

    fn next_by_index(&self, now: Stamp, only: Option<&BTreeSet<u32>>) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.state.is_over() {
            return commands;
        }
        let over = self.ended.is_some() || {
            let all_ended = self.next_forwards(now, only, &mut commands);
            let confirms = self.next_confirms(now, &mut commands);
            all_ended && !confirms
        };
        let left = match &self.undo {
            // All of it waits until the run itself is over; one step is taken back while the others go on.
            Some(undo) if over || !undo.is_whole() => self.next_back(undo, now, &mut commands),
            undo => undo.is_some(),
        };
        let whole = self.undo.as_ref().is_some_and(Undoing::is_whole);
        if left {
            return commands;
        }
        if let (false, None, Some(step)) = (whole, self.ended, self.undoes()) {
            let (outcome, _, why) = self.result(&step.id).unwrap_or((Outcome::Failed, &Json::Null, ""));
            let why = format!("`{}` {outcome}, and says `on_failure: undo`: {why}", step.id);
            commands.push(Command::BeginUndo { why });
        } else if over {
            let ends_back = whole || self.ended.is_some() || self.has_stuck();
            let (state, summary) = if ends_back { self.back_verdict() } else { self.verdict() };
            commands.push(Command::Finish { state, summary });
        }
        commands
    }

    /// What the steps are to do now; true when all have ended.
    fn next_forwards(&self, now: Stamp, only: Option<&BTreeSet<u32>>, commands: &mut Vec<Command>) -> bool {
        let (index, halted) = (&self.index, self.is_halted());
        // What has not begun is left out where it stands; else only what may begin is looked at.
        let places = if halted { &index.left } else { &index.open };
        let fresh = only.into_iter().flatten().filter(|place| places.contains(place));
        let all = if only.is_none() { Some(places) } else { None };
        for place in fresh.chain(all.into_iter().flatten()) {
            self.next_of_step(&self.playbook.steps[*place as usize], halted, now, commands);
        }
        for part in &index.orphans {
            commands.push(Command::TakeUp { part: part.clone(), item: self.item(part) });
        }
        index.left.is_empty() && index.orphans.is_empty()
    }

    /// Nothing more begins but what is to run at a bad end too.
    fn is_halted(&self) -> bool {
        self.is_stopped() || !self.index.halting.is_empty()
    }

    /// Cancelled, or to be taken back as a whole: nothing of it acts any more.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.cancelled || self.undo.as_ref().is_some_and(Undoing::is_whole)
    }

    /// The step whose bad end takes everything back.
    fn undoes(&self) -> Option<&Step> {
        let halting = self.index.halting.iter().map(|place| &self.playbook.steps[*place as usize]);
        halting.into_iter().find(|step| step.on_failure == OnFailure::Undo)
    }

    fn next_of_step(&self, step: &Step, halted: bool, now: Stamp, out: &mut Vec<Command>) {
        let state = &self.steps[&step.id];
        if matches!(state.whole.phase, Phase::Ended(_)) {
            return;
        }
        let untouched = state.whole.phase == Phase::Idle && state.whole.attempts == 0 && state.items.is_none();
        if untouched || self.waits_again(step) {
            if halted && (step.when == When::Success || self.cancelled) {
                out.push(cancelled(step));
                return;
            }
            match self.readiness(step) {
                Readiness::NotYet => return,
                Readiness::Blocked(by) => {
                    out.push(Command::Block { step: step.id.clone(), by: Some(by), outcome: Outcome::Blocked });
                    return;
                }
                Readiness::Needless => {
                    out.push(Command::Skip { step: step.id.clone(), why: "none of its needs failed".to_owned() });
                    return;
                }
                Readiness::Ready => {}
            }
        }
        let stopped = self.is_stopped();
        if stopped && state.items.is_none() && state.whole.phase.is_left_out() {
            let part = Part { step: step.id.clone(), item: None };
            out.push(if state.whole.is_unknown() { Command::Leave { part } } else { cancelled(step) });
            return;
        }
        match (&step.for_each, &state.items) {
            (Some(each), Some(items)) => {
                next_of_items(&step.id, each, (items, &state.turns), self.drops_items(&step.id), now, out);
            }
            _ => next_of_part(Part { step: step.id.clone(), item: None }, &Json::Null, &state.whole, now, out),
        }
    }
}

fn next_of_part(part: Part, item: &Json, progress: &Progress, now: Stamp, out: &mut Vec<Command>) {
    match &progress.phase {
        Phase::Idle => out.push(Command::Start { part, attempt: progress.attempts + 1, item: item.clone() }),
        Phase::Waiting(at) if *at <= now => {
            out.push(Command::Start { part, attempt: progress.attempts + 1, item: item.clone() })
        }
        Phase::Sleeping(until) if *until <= now => out.push(Command::Wake { part }),
        Phase::Sub => out.extend(progress.sub.as_ref().map(|sub| Command::Follow { part, run: sub.run.clone() })),
        Phase::Acting(_) => out.push(Command::TakeUp { part, item: item.clone() }),
        Phase::Asking(asked) if asked.until <= now => {
            out.push(Command::Settle { part, question: asked.question.question })
        }
        Phase::Answered(..) => out.push(Command::GoOn { part, item: item.clone() }),
        Phase::Waiting(_) | Phase::Sleeping(_) | Phase::Asking(_) | Phase::Ended(_) => {}
    }
}

fn part_of(step: &StepId, at: usize) -> Part {
    Part { step: step.clone(), item: Some(u32::try_from(at).unwrap_or(u32::MAX)) }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
