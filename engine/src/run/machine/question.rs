//! Questions to people: the pure part.
//!
//! Owns where each question stands. Keeps true: a question waits for as long as it says and no longer, an answer that
//! settles it is the only one that counts, and a run does not end before what it asked to confirm is answered.

use super::{Command, Phase, Progress, Run, back::Back, back::parts_of};
use quell_model::record::{AnswerRefused, Intended, Part, QuestionAnswered, QuestionAsked, QuestionKind};
use quell_model::{Body, Hash, Name, Outcome, Plan, Stamp, StepId};
use std::collections::BTreeSet;

/// A question that was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// What.
    pub question: Box<QuestionAsked>,
    /// When.
    pub at: Stamp,
    /// How long the answer is waited for.
    pub until: Stamp,
    /// Who has said what so far, without its being enough.
    pub said: Vec<(Name, Name)>,
    /// Whose answers did not count for the way by which they came: by whom, by which way.
    pub refused: BTreeSet<(Name, Name)>,
}

/// A part began to wait for an answer, or does no longer.
#[derive(Clone, Debug, PartialEq)]
pub struct QuestionTurned {
    /// Which.
    pub part: Part,
    /// What about.
    pub kind: QuestionKind,
    /// Whether it waits.
    pub waits: bool,
}

/// Who let a plan act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approved {
    /// A person.
    ByPerson,
    /// Nobody, in time: the step says that it acts then.
    BySilence,
}

impl Asked {
    fn take(&mut self, answered: &QuestionAnswered) {
        self.said.extend(answered.by.clone().map(|by| (by, answered.choice.clone())));
    }
}

impl Phase {
    /// Nothing is under way, so that nothing of a run that is stopped need be waited for.
    pub(super) fn is_left_out(&self) -> bool {
        matches!(self, Self::Waiting(_) | Self::Sleeping(_) | Self::Asking(_) | Self::Answered(..))
    }
}

impl Run {
    /// When a part was first intended in this attempt, or since a person was asked about it.
    pub(in crate::run) fn meant_at(&self, part: &Part) -> Option<Stamp> {
        self.progress(part)?.meant
    }

    /// When a part was last intended.
    pub(in crate::run) fn intended_at(&self, part: &Part) -> Option<Stamp> {
        self.progress(part)?.intended
    }

    /// A question was asked, was answered, or an answer to it did not count.
    pub(super) fn questioned(&mut self, at: Stamp, body: &Body) {
        match body {
            Body::QuestionAsked(asked) => self.asked(at, asked),
            Body::QuestionAnswered(answered) => self.answered(answered),
            Body::AnswerRefused(refused) => self.answer_refused(refused),
            _ => {}
        }
    }

    fn asked(&mut self, at: Stamp, asked: &QuestionAsked) {
        if asked.question != QuestionKind::Confirm {
            self.begins(at, &asked.part);
        }
        let Some(progress) = self.progress_mut(&asked.part) else { return };
        let until = at.after(asked.within);
        let question = Box::new(asked.clone());
        let new = Asked { question, at, until, said: Vec::new(), refused: BTreeSet::new() };
        if asked.question == QuestionKind::Confirm {
            progress.confirm = Some(new);
        } else {
            if asked.question == QuestionKind::Ask {
                progress.suspect.clone_from(&asked.person);
            }
            if let Phase::Acting(intent) = std::mem::replace(&mut progress.phase, Phase::Asking(Box::new(new))) {
                if asked.intended != Intended::Untouched {
                    progress.may_have_acted(intent);
                }
                progress.taken_up = Some(asked.intended == Intended::Unknown);
            }
        }
        self.turn((asked.part.clone(), asked.question), true);
    }

    fn turn(&mut self, which: (Part, QuestionKind), waits: bool) {
        let is_new = if waits { self.asking.insert(which.clone()) } else { self.asking.remove(&which) };
        // Also one that waited already: it is another question now.
        if is_new || waits {
            self.turned.push(QuestionTurned { part: which.0, kind: which.1, waits });
        }
    }

    /// What began to wait for an answer, and what does no longer, in its order, since this was asked last.
    pub(in crate::run) fn take_turned(&mut self) -> Vec<QuestionTurned> {
        std::mem::take(&mut self.turned)
    }

    /// A question of an earlier boot ends at this moment of this one.
    pub(in crate::run) fn question_ends(&mut self, part: &Part, kind: QuestionKind, until: Stamp) {
        let Some(progress) = self.progress_mut(part) else { return };
        match (&mut progress.phase, kind) {
            (_, QuestionKind::Confirm) => progress.confirm.iter_mut().for_each(|asked| asked.until = until),
            (Phase::Asking(asked), _) => asked.until = until,
            _ => {}
        }
    }

    fn answered(&mut self, answered: &QuestionAnswered) {
        let Some(progress) = self.progress_mut(&answered.part) else { return };
        if answered.question == QuestionKind::Confirm {
            if let Some(asked) = &mut progress.confirm {
                asked.take(answered);
            }
        } else if let Phase::Asking(asked) = &mut progress.phase {
            asked.take(answered);
            if answered.settles {
                let question = asked.question.clone();
                if question.question == QuestionKind::Approve {
                    progress.approved = approved(&question, answered);
                }
                progress.phase = Phase::Answered(question, Box::new(answered.clone()));
            }
        }
        if answered.settles {
            self.turn((answered.part.clone(), answered.question), false);
        }
    }

    /// An answer came by a way that does not count.
    fn answer_refused(&mut self, refused: &AnswerRefused) {
        let Some(progress) = self.progress_mut(&refused.part) else { return };
        let asked = match (&mut progress.phase, refused.question) {
            (_, QuestionKind::Confirm) => progress.confirm.as_mut(),
            (Phase::Asking(asked), _) => Some(&mut **asked),
            _ => None,
        };
        if let Some(asked) = asked {
            asked.refused.insert((refused.by.clone(), refused.via.clone()));
        }
    }

    /// What does not stand any more need not be confirmed.
    pub(super) fn stands_no_more(&mut self, part: &Part) {
        self.turn((part.clone(), QuestionKind::Confirm), false);
    }

    /// What has ended asks nothing any more.
    pub(super) fn asks_no_more(&mut self, ended: impl Fn(&Part) -> bool) {
        let over = self.asking.iter().filter(|(part, question)| *question != QuestionKind::Confirm && ended(part));
        for which in over.cloned().collect::<Vec<_>>() {
            self.turn(which, false);
        }
    }

    /// The run has ended, and what it asked with it: whether something is to stand is asked again if it goes on.
    pub(super) fn asks_nothing(&mut self) {
        for (part, question) in self.asking.clone() {
            self.turn((part.clone(), question), false);
            if question == QuestionKind::Confirm
                && let Some(progress) = self.progress_mut(&part)
            {
                progress.confirm = None;
            }
        }
    }

    /// What of a step waits for an answer.
    pub(in crate::run) fn waiting_of<'a>(
        &'a self,
        step: &'a StepId,
    ) -> impl Iterator<Item = &'a (Part, QuestionKind)> + 'a {
        let first = Part { step: step.clone(), item: None };
        self.asking.range((first, QuestionKind::Approve)..).take_while(move |(part, _)| part.step == *step)
    }

    /// What waits for an answer.
    pub(in crate::run) fn waiting(&self) -> impl ExactSizeIterator<Item = &(Part, QuestionKind)> {
        self.asking.iter()
    }

    /// How many questions wait for an answer.
    #[must_use]
    pub fn asks(&self) -> usize {
        self.asking.len()
    }

    /// The questions that wait for an answer.
    pub fn questions(&self) -> impl Iterator<Item = (&Part, &Asked)> {
        self.asking.iter().filter_map(|(part, kind)| Some((part, self.question(part, *kind)?)))
    }

    /// A question that waits for an answer.
    #[must_use]
    pub fn question(&self, part: &Part, kind: QuestionKind) -> Option<&Asked> {
        if !self.asking.contains(&(part.clone(), kind)) {
            return None;
        }
        let progress = self.progress(part)?;
        match (&progress.phase, kind) {
            (_, QuestionKind::Confirm) => progress.confirm.as_ref(),
            (Phase::Asking(asked), _) => Some(asked),
            _ => None,
        }
    }

    /// What was asked and has been answered, as long as nothing has followed from it.
    #[must_use]
    pub fn answer(&self, part: &Part) -> Option<(&QuestionAsked, &QuestionAnswered)> {
        match &self.progress(part)?.phase {
            Phase::Answered(question, answered) => Some((question, answered)),
            _ => None,
        }
    }

    /// Of an attempt that was intended before a crash and that a person was asked about since: whether it may have acted.
    #[must_use]
    pub fn taken_up(&self, part: &Part) -> Option<bool> {
        self.progress(part)?.taken_up
    }

    /// Who has let exactly this act, if it was asked about.
    #[must_use]
    pub fn approved(&self, part: &Part, plan: &Plan) -> Option<Approved> {
        let (sum, by) = self.progress(part)?.approved?;
        // The sum is made only where somebody was asked: an act that needs nobody does not wait for it.
        (sum == plan.sum()).then_some(by)
    }

    /// Who was asked whether it was them, also in those above before it began.
    pub fn suspects(&self) -> impl Iterator<Item = &Name> {
        let above = self.started.parent.iter().flat_map(|parent| &parent.suspects);
        self.parts().filter_map(|(_, progress)| progress.suspect.as_ref()).chain(above)
    }

    /// What is to be asked, or settled, of what stands; true when the run waits for an answer.
    pub(super) fn next_confirms(&self, now: Stamp, out: &mut Vec<Command>) -> bool {
        if self.is_stopped() {
            return false;
        }
        let mut waits = false;
        let asks = self.playbook.confirmed().filter_map(|step| self.steps.get_key_value(&step.id));
        for (part, progress) in asks.flat_map(|(step, state)| parts_of(step, state)) {
            if !progress.may_be_confirmed() {
                continue;
            }
            let question = QuestionKind::Confirm;
            match &progress.confirm {
                None => out.push(Command::Confirm { part }),
                Some(_) if !self.asking.contains(&(part.clone(), question)) => continue,
                Some(asked) if asked.until <= now => out.push(Command::Settle { part, question }),
                Some(_) => {}
            }
            waits = true;
        }
        waits
    }
}

impl Progress {
    /// It acted, and what it did stands.
    pub(super) fn may_be_confirmed(&self) -> bool {
        matches!(self.phase, Phase::Ended(Outcome::Verified | Outcome::Done)) && self.back == Some(Back::Stands)
    }
}

fn approved(question: &QuestionAsked, answered: &QuestionAnswered) -> Option<(Hash, Approved)> {
    let by = if answered.by.is_some() { Approved::ByPerson } else { Approved::BySilence };
    let sum = question.sum.filter(|_| answered.choice.as_str() == APPROVE)?;
    Some((sum, by))
}

/// The answer that lets a step act.
pub const APPROVE: &str = "approve";
