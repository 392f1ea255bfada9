//! The engine's figures: detections, runs, steps, refusals, questions, what stands.

use super::page::Page;
use super::table as t;
use quell_engine::run::{Measured, Table, Tally};
use quell_model::Mode;
use quell_model::record::QuestionKind;
use std::hash::Hash;

/// Puts them on the page.
pub(super) fn tell(page: &mut Page, measured: &Measured) {
    tell_tally(page, &measured.tally);
    for mode in [Mode::Observe, Mode::Approve, Mode::Enforce] {
        page.flag(t::MODE, &[mode.as_str()], measured.mode == mode);
        let so = measured.playbooks.iter().filter(|(_, own, _)| *own == mode).count();
        page.count(t::PLAYBOOKS, &[mode.as_str()], so as u64);
    }
    page.flag(t::PAUSED, &[], measured.paused);
    for (playbook, _, open) in &measured.playbooks {
        page.flag(t::BREAKER_OPEN, &[playbook.as_str()], *open);
    }
    for ((playbook, state), count) in &measured.runs {
        page.count(t::RUNS_OPEN, &[playbook.as_str(), state], *count);
    }
    for kind in [QuestionKind::Approve, QuestionKind::Confirm, QuestionKind::Ask] {
        let waiting = measured.questions.get(kind.as_str()).copied().unwrap_or(0);
        page.count(t::QUESTIONS_WAITING, &[kind.as_str()], waiting);
    }
    page.add(t::QUESTION_AGE, &[], measured.oldest_question.unwrap_or_default().as_secs_f64());
    page.count(t::EXHAUSTED, &[], measured.exhausted);
    for (action, count) in &measured.standing {
        page.count(t::LEASES_STANDING, &[action.as_str()], *count);
    }
    page.count(t::LEASES_DUE, &[], measured.due);
    if let Some(next) = measured.next_end {
        page.add(t::LEASE_NEXT_END, &[], next.as_millisecond() as f64 / 1000.0);
    }
    page.count(t::INCIDENTS_DEGRADED, &[], measured.degraded);
    page.count(t::INBOX, &[], measured.inbox.0);
    page.count(t::INBOX_SIZE, &[], measured.inbox.1);
    page.count(t::RECORDS_WAITING, &[], measured.records_waiting);
    page.count(t::RECORDS_LOST, &[], measured.records_lost);
}

fn tell_tally(page: &mut Page, tally: &Tally) {
    rows(page, t::DETECTIONS, &tally.detections, |(rule, level)| [rule.as_str(), level.as_str()]);
    rows(page, t::DETECTIONS_HELD, &tally.held, |why| [*why]);
    rows(page, t::DECISIONS, &tally.decisions, |(playbook, word)| [playbook.as_str(), word]);
    rows(page, t::RUNS_STARTED, &tally.started, |(playbook, mode)| [playbook.as_str(), mode.as_str()]);
    rows(page, t::RUNS_FINISHED, &tally.finished, |(playbook, state)| [playbook.as_str(), state]);
    rows(page, t::STEPS, &tally.steps, |(action, outcome)| [action.as_str(), outcome]);
    rows(page, t::ATTEMPTS_FAILED, &tally.failed_attempts, |action| [action.as_str()]);
    rows(page, t::REFUSALS, &tally.refused, |(guard, action)| [guard.as_str(), action.as_str()]);
    rows(page, t::UNDOS, &tally.undone, |(action, outcome)| [action.as_str(), outcome]);
    rows(page, t::QUESTIONS, &tally.asked, |kind| [*kind]);
    rows(page, t::QUESTIONS_SETTLED, &tally.settled, |(kind, by)| [*kind, *by]);
    let spreads = [(t::DECIDED, &tally.decided), (t::BEGUN, &tally.begun), (t::PROVEN, &tally.proven)];
    for (family, [others, urgent]) in spreads {
        page.spread(family, &["urgent"], urgent);
        page.spread(family, &["other"], others);
    }
}

/// A table, a row a line; what found no place in it is `other`.
fn rows<K: Hash + Ord, const N: usize>(
    page: &mut Page,
    family: &t::Family,
    table: &Table<K>,
    labels: impl Fn(&K) -> [&str; N],
) {
    for (what, count) in table.sorted() {
        page.count(family, &labels(what), count);
    }
    if table.beyond() > 0 {
        page.count(family, &["other"; N], table.beyond());
    }
}
