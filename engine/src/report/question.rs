//! What a run asks people, as they read it before they answer.
//!
//! Owns the fold of a question's records into its view. A question stays in the view of its step when it is over: who said
//! what belongs to what was done.

use super::run::{RunView, StepView, WaitView};
use quell_model::record::{AnswerRefused, AnswerTooLate, QuestionAnswered, QuestionAsked, QuestionKind};
use quell_model::{Hash, Name, Stamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A question.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct QuestionView {
    /// Whether it is asked before the act, after it, or by the playbook.
    pub kind: QuestionKind,
    /// What is asked.
    pub text: String,
    /// What makes it ask.
    pub because: String,
    /// Which guard makes it ask, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Name>,
    /// What can be answered.
    pub choices: Vec<Name>,
    /// The one person who may answer.
    pub person: Option<Name>,
    /// The approvers who may.
    pub by: Option<Name>,
    /// When it was asked.
    pub asked: Stamp,
    /// Until when it waits.
    pub until: Stamp,
    /// What holds then.
    pub otherwise: Name,
    /// The sum of the plan that is asked about: an answer may name it, so that it means this plan and no other.
    pub sum: Option<Hash>,
    /// Who has said what.
    pub answers: Vec<AnswerView>,
    /// It waits for an answer.
    pub open: bool,
}

/// An answer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AnswerView {
    /// When.
    pub at: Stamp,
    /// What.
    pub choice: Name,
    /// Who; none: nobody did in time.
    pub by: Option<Name>,
    /// By which way.
    pub via: Option<Name>,
    /// Why.
    pub why: String,
    /// It came when the question was over, and changed nothing.
    pub late: bool,
    /// It came by a way that does not count, as from where the suspect stands, and changed nothing.
    #[serde(default)]
    pub refused: bool,
}

impl StepView {
    pub(super) fn asked(&mut self, at: Stamp, asked: &QuestionAsked) {
        let until = at.after(asked.within);
        if asked.question != QuestionKind::Confirm {
            self.action = self.action.take().or_else(|| asked.action.clone());
            if let Some(plan) = &asked.plan {
                (self.input, self.plan) = (asked.input.clone(), Some((**plan).clone()));
            }
            let what = if asked.question == QuestionKind::Approve { "approval" } else { "answer" };
            self.waits = Some(WaitView { what: what.into(), until });
        }
        self.questions.push(QuestionView {
            kind: asked.question,
            text: asked.text.clone(),
            because: asked.because.clone(),
            guard: asked.guard.clone(),
            choices: asked.choices.clone(),
            person: asked.person.clone(),
            by: asked.by.clone(),
            asked: at,
            until,
            otherwise: asked.otherwise.clone(),
            sum: asked.sum,
            answers: Vec::new(),
            open: true,
        });
    }

    pub(super) fn answered(&mut self, at: Stamp, answered: &QuestionAnswered) {
        let mine = self.questions.iter_mut().rev().find(|question| question.kind == answered.question);
        let Some(question) = mine else { return };
        question.answers.push(AnswerView {
            at,
            choice: answered.choice.clone(),
            by: answered.by.clone(),
            via: answered.via.clone(),
            why: answered.why.clone(),
            late: false,
            refused: false,
        });
        question.open = !answered.settles;
        if answered.settles && answered.question != QuestionKind::Confirm {
            self.waits = None;
        }
    }

    pub(super) fn answered_late(&mut self, at: Stamp, late: &AnswerTooLate) {
        let Some(question) = self.questions.last_mut() else { return };
        question.answers.push(AnswerView {
            at,
            choice: late.choice.clone(),
            by: Some(late.by.clone()),
            via: None,
            why: late.why.clone(),
            late: true,
            refused: false,
        });
    }

    pub(super) fn answer_refused(&mut self, at: Stamp, refused: &AnswerRefused) {
        let mine = self.questions.iter_mut().rev().find(|question| question.kind == refused.question);
        let Some(question) = mine else { return };
        question.answers.push(AnswerView {
            at,
            choice: refused.choice.clone(),
            by: Some(refused.by.clone()),
            via: Some(refused.via.clone()),
            why: refused.why.clone(),
            late: false,
            refused: true,
        });
    }

    /// What has ended waits for nothing, nor do its items.
    pub(super) fn waits_no_more(&mut self, kind: impl Fn(QuestionKind) -> bool) {
        self.waits = None;
        self.asks_no_more(&kind);
        for item in &mut self.items {
            item.waits = None;
            item.asks_no_more(&kind);
        }
    }

    /// Nobody need answer it any more.
    pub(super) fn asks_no_more(&mut self, kind: impl Fn(QuestionKind) -> bool) {
        self.questions.iter_mut().filter(|question| kind(question.kind)).for_each(|question| question.open = false);
    }

    /// The question that waits.
    #[must_use]
    pub fn open_question(&self) -> Option<&QuestionView> {
        self.questions.iter().find(|question| question.open)
    }
}

impl RunView {
    /// Every step and item that asks something, in the order of the steps.
    pub fn questions(&self) -> impl Iterator<Item = (&StepView, &QuestionView)> {
        let every = self.steps.iter().flat_map(|step| std::iter::once(step).chain(&step.items));
        every.filter_map(|step| Some((step, step.open_question()?)))
    }
}
