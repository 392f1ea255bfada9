//! Questions to people: the pure part.
//!
//! Owns where each question stands. Keeps true: a question waits for as long as it says and no longer, an answer that
//! settles it is the only one that counts, and a run does not end before what it asked to confirm is answered.

use super::{Command, Phase, Progress, Run, back::Back, back::parts_of};
use quell_model::record::{Part, QuestionAnswered, QuestionAsked, QuestionKind};
use quell_model::{Name, Outcome, Plan, Stamp};

/// A question that was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// What.
    pub question: Box<QuestionAsked>,
    /// When.
    pub at: Stamp,
    /// Who has said what so far, without its being enough.
    pub said: Vec<(Name, Name)>,
}

impl Asked {
    /// How long the answer is waited for.
    #[must_use]
    pub fn until(&self) -> Stamp {
        self.at.after(self.question.within)
    }

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
    pub(super) fn asked(&mut self, at: Stamp, asked: &QuestionAsked) {
        let Some(progress) = self.progress_mut(&asked.part) else { return };
        let new = Asked { question: Box::new(asked.clone()), at, said: Vec::new() };
        if asked.question == QuestionKind::Confirm {
            progress.confirm = Some(new);
        } else {
            progress.began.get_or_insert(at);
            if asked.question == QuestionKind::Ask {
                progress.suspect.clone_from(&asked.person);
            }
            if let Phase::Acting(intent) = std::mem::replace(&mut progress.phase, Phase::Asking(Box::new(new))) {
                progress.may_have_acted(intent);
            }
        }
        self.asking.insert((asked.part.clone(), asked.question));
    }

    pub(super) fn answered(&mut self, answered: &QuestionAnswered) {
        let Some(progress) = self.progress_mut(&answered.part) else { return };
        if answered.question == QuestionKind::Confirm {
            if let Some(asked) = &mut progress.confirm {
                asked.take(answered);
            }
        } else if let Phase::Asking(asked) = &mut progress.phase {
            asked.take(answered);
            if answered.settles {
                let question = asked.question.clone();
                if question.question == QuestionKind::Approve && answered.choice.as_str() == APPROVE {
                    progress.approved = question.sum;
                }
                progress.phase = Phase::Answered(question, Box::new(answered.clone()));
            }
        }
        if answered.settles {
            self.asking.remove(&(answered.part.clone(), answered.question));
        }
    }

    /// What does not stand any more need not be confirmed.
    pub(super) fn stands_no_more(&mut self, part: &Part) {
        self.asking.remove(&(part.clone(), QuestionKind::Confirm));
    }

    /// What has ended asks nothing any more.
    pub(super) fn asks_no_more(&mut self, ended: impl Fn(&Part) -> bool) {
        self.asking.retain(|(part, question)| *question == QuestionKind::Confirm || !ended(part));
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

    /// Whether a person has approved of exactly this.
    #[must_use]
    pub fn is_approved(&self, part: &Part, plan: &Plan) -> bool {
        let approved = self.progress(part).and_then(|progress| progress.approved);
        // The sum is made only where somebody was asked: an act that needs nobody does not wait for it.
        approved.is_some_and(|sum| sum == plan.sum())
    }

    /// Who was asked whether it was them.
    pub fn suspects(&self) -> impl Iterator<Item = &Name> {
        self.parts().filter_map(|(_, progress)| progress.suspect.as_ref())
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
                Some(asked) if asked.until() <= now => out.push(Command::Settle { part, question }),
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

/// The answer that lets a step act.
pub const APPROVE: &str = "approve";
