//! What may not be there when an expression walks through it: an event's groups, the event itself, what a step gives.
//!
//! Asks for `?.` where a walk would err. Warns and never forbids: who looks first in another way is right too.

use super::asked::Asked;
use super::uses::{Check, is_own};
use crate::load::found::{Found, Stands};
use crate::load::reader::Reader;
use crate::playbook::gives::EVERY_STEP;
use crate::playbook::names::{Then, Use};
use crate::trigger::wants;
use quell_model::playbook::{OnFailure, Step, When};
use quell_model::{Class, Name, fields};

/// Groups that most events lack.
pub(super) const OFTEN_ABSENT: &[&str] = &["event.pod", "event.container"];

/// Which of the rules that start a playbook match events without a group.
enum Lacks {
    All,
    /// This one, and others do have it.
    Some(Name),
}

impl Check<'_, '_> {
    /// A moment of a schedule has no event: it is walked with `?.`, or its presence is asked first.
    pub(super) fn without_event(&self, reader: &mut Reader<'_>, found: &Found, used: &Use<'_>) {
        let is_walked = used.parts.get(1).is_some_and(|part| !part.optional);
        if self.draft.on.schedule.is_none() || found.stands == Stands::Trigger || !is_walked {
            return;
        }
        if !self.is_asked(reader, found, used, "event") {
            let at = self.place(reader, found, &used.parts[0]);
            let what = "a run that `schedule` starts has no event";
            reader.warning(at, what, "`event?.…`, or `if: ${{ event != () }}` on the step");
        }
    }

    /// A group that most events lack, or those of a rule that starts the playbook, is walked with `?.`, or its presence is
    /// asked first.
    pub(super) fn absent(&self, reader: &mut Reader<'_>, found: &Found, used: &Use<'_>, count: usize) {
        let group = path(used, count + 1);
        let Some((false, next)) = walked(used, count + 1) else { return };
        let lacks = (count == 1).then(|| self.lacks(found, used)).flatten();
        if lacks.is_none() && !OFTEN_ABSENT.contains(&group.as_str()) {
            return;
        }
        if self.is_asked(reader, found, used, &group) {
            return;
        }
        let at = self.place(reader, found, &used.parts[count]);
        match lacks {
            Some(Lacks::All) => {
                let what = format!("no rule that starts this playbook brings `{group}`");
                reader.warning(at, what, "what the events of its rules have, or other rules");
            }
            Some(Lacks::Some(rule)) => {
                let what = format!("`{group}` can be absent: the rule `{rule}` brings none");
                reader.warning(at, what, format!("`{group}?.{next}`"));
            }
            None => reader.warning(at, format!("`{group}` can be absent"), format!("`{group}?.{next}`")),
        }
    }

    /// Whether a rule that starts the playbook matches events without this group.
    fn lacks(&self, found: &Found, used: &Use<'_>) -> Option<Lacks> {
        let filter = self.draft.on.detections.as_ref()?;
        // The event of a detection that is waited for is another.
        let is_other = found.text[..used.parts[0].at].ends_with('.');
        let (rules, group) = (self.known.rules.filter(|_| !is_other)?, used.parts.get(1)?.name);
        let all = || rules.iter().filter(|rule| wants(filter, rule));
        let mut starting = all().filter_map(|rule| Some((rule, self.known.brings.get(&rule.name)?)));
        let has = |class: &Class| fields::is_known(*class, group);
        let lacking = starting.clone().find(|(_, classes)| !classes.iter().all(has))?.0;
        // One of which nobody knows what it brings may bring it.
        let may_bring = all().count() > starting.clone().count();
        match may_bring || starting.any(|(_, classes)| classes.iter().any(has)) {
            true => Some(Lacks::Some(lacking.name.clone())),
            false => Some(Lacks::All),
        }
    }

    /// What a step gives is `()` unless it ended well: who may run without that walks through it with `?.`.
    pub(super) fn may_lack(&self, reader: &mut Reader<'_>, found: &Found, used: &Use<'_>, step: &Step) {
        let Some(part) = used.parts.get(2).filter(|part| !EVERY_STEP.contains(&part.name) && !is_own(part)) else {
            return;
        };
        let Some((false, next)) = walked(used, 3) else { return };
        // A `for_each` that failed still has its items.
        if step.for_each.is_some() {
            return;
        }
        let mine = self.step_of(found);
        let condition = mine.and_then(|mine| mine.condition.as_ref());
        let given = path(used, 3);
        let outcome = format!("steps.{}.outcome", step.id);
        let looks = |text: &str| text.contains(&outcome);
        if self.is_asked(reader, found, used, &given)
            || looks(&found.text)
            || condition.is_some_and(|condition| looks(&condition.text))
        {
            return;
        }
        let why = if mine.is_some_and(|mine| mine.when != When::Success) {
            "may have ended badly by then"
        } else if step.on_failure == OnFailure::Continue {
            "may have failed, and counts as met"
        } else if step.condition.as_ref().is_some_and(|its| condition.is_none_or(|mine| mine.text != its.text)) {
            "may have been skipped"
        } else {
            return;
        };
        let at = self.place(reader, found, part);
        let what = format!("`{given}` can be absent: `{}` {why}", step.id);
        reader.warning(at, what, format!("`{given}?.{next}`"));
    }

    /// Whether something is there wherever this use of it is evaluated: by the expression itself, by the `if` of its step
    /// or by that of the trigger. A condition vouches for others, and for itself only as far as it has come.
    fn is_asked(&self, reader: &Reader<'_>, found: &Found, used: &Use<'_>, path: &str) -> bool {
        let step = self.step_of(found).and_then(|step| step.condition.as_ref());
        let itself = found.expression(reader.source);
        let conditions = [self.draft.on.condition.as_ref(), step].into_iter().flatten();
        let read = found.text.len() + conditions.clone().map(|other| other.text.len()).sum::<usize>();
        let Some(left) = self.looks.get().checked_sub(read) else { return true };
        self.looks.set(left);
        Asked::of(&found.text, path).before(used.parts[0].at)
            || conditions.filter(|other| **other != itself).any(|other| Asked::of(&other.text, path).when_true())
    }

    fn step_of(&self, found: &Found) -> Option<&Step> {
        found.stands.step().and_then(|step| self.draft.steps.get(step)).map(|(step, _)| step)
    }
}

/// The first parts of a path.
fn path(used: &Use<'_>, count: usize) -> String {
    used.parts[..count].iter().map(|part| part.name).collect::<Vec<_>>().join(".")
}

/// How an expression goes on behind the first parts of a path, if it does: with `?.` or without, and to what.
fn walked<'u>(used: &Use<'u>, count: usize) -> Option<(bool, &'u str)> {
    match (used.parts.get(count), used.then) {
        (Some(next), _) => Some((next.optional, next.name)),
        (None, Then::Call(optional)) => Some((optional, "…")),
        _ => None,
    }
}
