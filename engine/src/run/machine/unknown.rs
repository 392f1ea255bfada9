//! Parts that may have acted, and that nobody is at: the pure part.
//!
//! Owns which they are. Keeps true: none of them ends as one that was never begun.

use super::{Phase, Progress, Run};
use quell_model::StepId;
use quell_model::record::Part;

impl Run {
    /// The parts of a step that may have acted, and wait for a person or for their next attempt.
    pub fn unknown<'a>(&'a self, step: &'a StepId) -> impl Iterator<Item = Part> + 'a {
        let parts = self.parts().filter(move |(part, progress)| part.step == *step && progress.is_unknown());
        parts.map(|(part, _)| part)
    }

    /// How often a part was tried.
    #[must_use]
    pub fn attempts(&self, part: &Part) -> u32 {
        self.progress(part).map_or(0, |progress| progress.attempts)
    }

    /// What was last said of a part.
    #[must_use]
    pub fn why(&self, part: &Part) -> &str {
        self.progress(part).map_or("", |progress| &progress.why)
    }
}

impl Progress {
    /// Nobody is at it, and nobody knows whether it acted: a person is asked about an intent from before a crash, or the end of its
    /// last attempt was not seen.
    pub(super) fn is_unknown(&self) -> bool {
        match self.phase {
            Phase::Asking(_) | Phase::Answered(..) => self.taken_up == Some(true),
            Phase::Waiting(_) => self.open,
            Phase::Idle | Phase::Acting(_) | Phase::Sleeping(_) | Phase::Sub | Phase::Ended(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::fixtures::{playbook_of, started, step};
    use crate::run::machine::Command;
    use quell_model::playbook::{Expression, ForEach, ItemErrors, Step};
    use quell_model::record::{PersonActed, QuestionAsked, StepFailed, StepFinished, StepIntended, StepProgressed};
    use quell_model::{Body, Json, Outcome, Plan, Stamp};
    use serde_json::json;
    use std::sync::Arc;
    use std::time::Duration;

    const AT: Stamp = Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: 1 };

    fn item(at: u32) -> Part {
        Part { step: "cut".into(), item: Some(at) }
    }

    fn intended(at: u32) -> Body {
        let (action, plan) = ("cloud.cut".into(), Plan::default());
        StepIntended { part: item(at), attempt: 1, action, input: Json::Null, plan }.into()
    }

    fn failed(at: u32, unknown: bool) -> Body {
        let (error, again_at) = ("no answer".to_owned(), Some(AT.after(Duration::from_secs(60))));
        StepFailed { part: item(at), attempt: 1, error, hint: None, again_at, unknown }.into()
    }

    /// A question about an intent from before a crash, as a journal has it that says no more of that.
    fn asked(at: u32) -> Body {
        let question: QuestionAsked = serde_json::from_value(json!({
            "run": "r-1", "part": item(at), "question": "approve", "text": "cut?", "choices": ["approve", "deny"],
            "within": Duration::from_secs(60), "otherwise": "deny", "attempt": 1,
        }))
        .unwrap();
        question.into()
    }

    fn ended(at: u32, outcome: Outcome) -> Body {
        let (part, output, proof) = (item(at), Json::Null, String::new());
        StepFinished { part, action: None, outcome, output, proof, attempts: 1, moments: Default::default() }.into()
    }

    /// (what a list does about an item that ends badly, what comes then, who is to say that they may have acted): the others need not.
    #[test]
    fn the_items_of_a_list_that_may_have_acted_say_so_before_it_is_summed_up() {
        let cancel = || PersonActed { by: "ann".into(), what: "cancel".into(), detail: Json::Null }.into();
        for (errors, then, left) in
            [(ItemErrors::Collect, cancel(), vec![1, 0]), (ItemErrors::Stop, ended(4, Outcome::Refused), vec![0])]
        {
            let list = Expression { text: "[1, 2, 3, 4, 5, 6]".into(), span: Default::default() };
            let for_each = Some(ForEach { list, max_parallel: 5, errors });
            let playbook = Arc::new(playbook_of(vec![Step { for_each, ..step("cut", &[]) }]));
            let mut run = Run::new(Arc::clone(&playbook), started(&playbook), AT);
            let whole = Part { step: "cut".into(), item: None };
            let list = StepProgressed { part: whole, mark: json!({ "items": [1, 2, 3, 4, 5, 6] }) };
            let intents = [0, 1, 2, 4].map(intended);
            let bodies = intents.into_iter().chain([asked(0), failed(1, true), failed(2, false), then]);
            std::iter::once(list.into()).chain(bodies).for_each(|body| run.apply(AT, &body));
            let leaves = |run: &Run| {
                let leave = |command| match command {
                    Command::Leave { part } => part.item,
                    _ => None,
                };
                run.next(AT).into_iter().filter_map(leave).collect::<Vec<_>>()
            };
            assert_eq!(leaves(&run), left, "{errors:?}");
            let step = "cut".into();
            assert_eq!(run.unknown(&step).collect::<Vec<_>>(), [item(0), item(1)], "{errors:?}");
            left.iter().for_each(|at| run.apply(AT, &ended(*at, Outcome::Failed)));
            assert_eq!(leaves(&run), Vec::<u32>::new(), "{errors:?}");
        }
    }
}
