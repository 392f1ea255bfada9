//! Runs as people read them: each step with its outcome, its proof and its times.

use super::escape::{clip, escape};
use super::layout::width;
use super::show::{SHOWN, moment, outcome_ink, since, span};
use super::table::{Table, cell};
use super::term::{Ink, Term};
use super::{run_output, run_plan};
use quell_engine::report::{LeaseView, QuestionView, RunSummary, RunView, StepView};
use quell_model::playbook::AtEnd;
use quell_model::record::{QuestionKind, RunState};
use quell_model::{Guarantee, Mode, Outcome, Stamp};

/// A column of text that is narrower is hard to read: what is said goes on further left.
const READABLE: usize = 64;
/// What was done goes on under its column down to so many.
const NARROW: usize = 20;
/// What was done and its proof stand beside each other up to so many columns, where no terminal has fewer.
const BESIDE: usize = 300;

/// How a state looks.
pub(super) fn state_ink(state: RunState) -> Ink {
    match state {
        RunState::Running | RunState::Waiting | RunState::Undoing => Ink::Warn,
        RunState::Succeeded => Ink::Good,
        RunState::Failed | RunState::Stuck => Ink::Bad,
        RunState::Cancelled | RunState::Undone => Ink::Dim,
    }
}

fn mode_ink(mode: Mode) -> Ink {
    if mode == Mode::Enforce { Ink::Bold } else { Ink::Dim }
}

/// Runs, a line each; where there are none, that.
pub(super) fn list(runs: &[RunSummary], nothing: &str, term: &Term) {
    let mut table = Table::new(&["run", "state", "mode", "playbook", "started", "incident", "what came of it"]);
    for run in runs {
        table.row([
            (Ink::Name, run.id.to_string()),
            (state_ink(run.state), run.state.as_str().to_owned()),
            (mode_ink(run.mode), run.mode.to_string()),
            cell(run.playbook.as_str()),
            cell(moment(run.started.wall)),
            cell(run.incident.as_ref().map(ToString::to_string).unwrap_or_default()),
            cell(run.summary.as_str()),
        ]);
    }
    table.print(term, nothing);
}

/// One run, whole.
pub(super) fn show(run: &RunView, term: &Term) {
    term.line(format!(
        "{}  {}  {}",
        term.ink(Ink::Bold, run.id.as_str()),
        term.ink(Ink::Name, run.playbook.as_str()),
        term.ink(state_ink(run.state), run.state.as_str()),
    ));
    let field =
        |name: &str, text: String| term.line(format!("  {}  {text}", term.ink(Ink::Dim, &format!("{name:<9}"))));
    field(
        "mode",
        format!("{}  {}", term.ink(mode_ink(run.mode), run.mode.as_str()), term.ink(Ink::Dim, &run.mode_because)),
    );
    field("started", moment(run.started.wall));
    if let Some(ended) = run.ended {
        field("took", span(ended.since(run.started)));
    }
    if let Some(rule) = &run.rule {
        field("rule", escape(rule).into_owned());
    }
    if let Some(by) = &run.by {
        let moment = run.moment.map(|moment| format!(" ({moment})")).unwrap_or_default();
        field("by", format!("{}{moment}", escape(by.as_str())));
    }
    if let Some(parent) = &run.parent {
        field("begun by", escape(&format!("{}/{}", parent.run, parent.part)).into_owned());
    }
    if let Some(incident) = &run.incident {
        field("incident", escape(incident.as_str()).into_owned());
    }
    if !run.summary.is_empty() {
        field("summary", clip(&run.summary, SHOWN));
    }
    term.line("");
    let kernel = run.moments.kernel.unwrap_or(run.started);
    steps(run, kernel, "  ", Detail::Whole, term);
}

/// How much is told of steps.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// All that the journal has.
    Whole,
    /// What was done: what was skipped is one line, what an action leaves open none.
    Brief,
}

/// A line for each step and each item; times are since `kernel`.
pub(super) fn steps(run: &RunView, kernel: Stamp, indent: &str, detail: Detail, term: &Term) {
    let brief = detail == Detail::Brief;
    let is_hidden = |step: &StepView| brief && step.outcome == Some(Outcome::Skipped);
    let every = || run.steps.iter().flat_map(|step| std::iter::once(step).chain(&step.items));
    let all = || every().filter(|step| !is_hidden(step));
    let widest = all().map(|step| step.id.chars().count()).max().unwrap_or(0).clamp(12, 24);
    for step in all() {
        let asks = step.open_question().is_some();
        let open = if asks { "asks" } else { "running" };
        let open = if step.again { "again" } else { open };
        let outcome = step.outcome.map_or(open, |outcome| outcome.as_str());
        let ink = step.outcome.map_or(Ink::Warn, outcome_ink);
        let at = step.moments.verified.or(step.moments.started).map(|at| since(kernel, at)).unwrap_or_default();
        let column = indent.len() + widest + 23;
        let room = term.columns().map_or(BESIDE, |columns| columns.saturating_sub(column));
        // On a narrow terminal what is said of a step has the whole line.
        let margin = if room < READABLE { indent.len() + 4 } else { column };
        let say = |ink: Ink, text: &str| term.hung(margin, format!("{:margin$}{}", "", term.ink(ink, text)));
        let below = |ink: Ink, text: String| match ink == Ink::Name && text.starts_with("quell ") {
            // Somebody copies it.
            true => term.whole(format!("{:margin$}{}", "", term.ink(ink, &text))),
            false => say(ink, &clipped(&text)),
        };
        let did = did(step);
        // Of a refused step the guard's own words come below.
        let proof = if step.action.is_some() && step.refusal.is_none() { step.proof.as_str() } else { "" };
        let beside = !proof.is_empty() && width(&did) + width(proof) + 2 <= room;
        let said = match step.outcome {
            Some(Outcome::Skipped) => term.ink(Ink::Dim, &clipped(&did)),
            _ if beside => format!("{}  {}", escape(&did), term.ink(Ink::Dim, proof)),
            _ => escape(&clipped(&did)).into_owned(),
        };
        term.hung(
            if room < NARROW { margin } else { column },
            format!(
                "{indent}{}  {}  {:>9}  {said}",
                term.ink(Ink::Name, &format!("{:<widest$}", step.id)),
                term.ink(ink, &format!("{outcome:<8}")),
                at,
            ),
        );
        if !beside && !proof.is_empty() {
            below(Ink::Dim, proof.to_owned());
        }
        if let Some(refusal) = &step.refusal {
            below(Ink::Warn, format!("the guard `{}` refused {}: {}", refusal.guard, refusal.target, refusal.why));
        }
        for error in &step.errors {
            // Of an only attempt the line above says it.
            let told = step.errors.len() == 1 && (did.contains(&error.error) || proof.contains(&error.error));
            if !told {
                below(Ink::Bad, format!("attempt {}: {}", error.attempt, error.error));
            }
            if let Some(hint) = &error.hint {
                below(Ink::Name, format!("hint: {hint}"));
            }
        }
        // What has the effect of once, however often it is done, is nothing to think of.
        let promise = step.guarantee.filter(|promise| !brief && *promise != Guarantee::ExactlyOnceInEffect);
        if let Some(promise) = promise {
            let promise = serde_json::to_value(promise).unwrap_or_default();
            below(Ink::Dim, format!("repeated: {}", promise.as_str().unwrap_or_default().replace('_', " ")));
        }
        for line in run_plan::lines(step).into_iter().filter(|_| !brief) {
            below(Ink::Plain, line);
        }
        for why in step.plan.iter().flat_map(|plan| &plan.would_fail) {
            below(Ink::Bad, format!("would fail here: {why}"));
        }
        for open in step.plan.iter().flat_map(|plan| &plan.still_open).filter(|_| !brief) {
            below(Ink::Warn, format!("still open: {open}"));
        }
        for (what, command) in run_output::apart(run.id.as_str(), step).into_iter().filter(|_| !brief) {
            below(Ink::Dim, what);
            below(Ink::Name, command);
        }
        if let Some(lease) = step.lease.as_ref().filter(|_| !brief) {
            below(Ink::Dim, lease_line(lease));
        }
        for question in &step.questions {
            questions(question, &format!("{}/{}", run.id, step.id), &below);
        }
        if let Some(wait) = step.waits.as_ref().filter(|_| step.open_question().is_none()) {
            below(Ink::Warn, format!("waits for its {} until {}", wait.what, moment(wait.until.wall)));
        }
    }
    let skipped: Vec<&str> = every().filter(|step| is_hidden(step)).map(|step| step.id.as_str()).collect();
    if !skipped.is_empty() {
        let names = clipped(&skipped.join(", "));
        let word = term.ink(Ink::Name, &format!("{:<widest$}", "skipped"));
        let said = term.ink(Ink::Dim, &format!("{names}: not needed here"));
        term.line(format!("{indent}{word}  {:<8}  {:>9}  {said}", "", ""));
    }
}

/// Cut to what is shown of one text, and not escaped yet.
fn clipped(text: &str) -> String {
    match text.chars().count().saturating_sub(SHOWN) {
        0 => text.to_owned(),
        more => format!("{}… (+{more})", text.chars().take(SHOWN).collect::<String>()),
    }
}

/// What is asked, who has said what, and how one answers.
fn questions(question: &QuestionView, part: &str, below: &dyn Fn(Ink, String)) {
    let ink = if question.open { Ink::Warn } else { Ink::Dim };
    let who = match (&question.person, &question.by) {
        (Some(person), _) => format!(", {person} is asked"),
        (None, Some(approvers)) => format!(", approvers {approvers}"),
        (None, None) => String::new(),
    };
    let guard = question.guard.as_ref().map(|guard| format!("{guard}: ")).unwrap_or_default();
    let because = if question.because.is_empty() { String::new() } else { format!(" ({guard}{})", question.because) };
    below(ink, format!("asks: {}{because}{who}", question.text));
    for answer in &question.answers {
        let by = answer.by.as_ref().map_or("nobody", |by| by.as_str());
        let late = match (answer.late, answer.refused) {
            (true, _) => ", too late",
            (_, true) => ", which does not count",
            _ => "",
        };
        let why = if answer.why.is_empty() { String::new() } else { format!(": {}", answer.why) };
        let via = answer.via.as_ref().map(|via| format!(" by {via}")).unwrap_or_default();
        below(Ink::Dim, format!("{by}: {}{via}{late}{why}", answer.choice));
    }
    if question.open {
        let until = moment(question.until.wall);
        below(Ink::Warn, format!("waits until {until}, then `{}`", question.otherwise));
        let answers: Vec<String> = question
            .choices
            .iter()
            .map(|choice| match choice.as_str() {
                word @ ("approve" | "deny") if question.kind == QuestionKind::Approve => {
                    format!("quell run {word} {part}")
                }
                word @ ("keep" | "undo") if question.kind == QuestionKind::Confirm => {
                    format!("quell run {word} {part}")
                }
                word => format!("quell run answer {part} {word}"),
            })
            .collect();
        answers.into_iter().for_each(|line| below(Ink::Name, line));
    }
}

/// Until when it stands, and what then.
fn lease_line(lease: &LeaseView) -> String {
    let owner = lease.owner.as_ref().map(|owner| format!(" (of {owner})")).unwrap_or_default();
    let Some(until) = lease.until else { return format!("stands without an end{owner}") };
    let until = moment(until.wall);
    if lease.due {
        return format!("stands{owner}; its lease ended at {until}: `quell run keep` or `quell run undo`");
    }
    let then = match lease.at_end {
        _ if lease.own_end => "then it ends by itself",
        AtEnd::Ask => "then a person is asked",
        AtEnd::Undo => "then it is undone",
        AtEnd::Keep => "then it stays",
    };
    format!("stands until {until}, {then}{owner}")
}

/// What the step did, and to whom.
fn did(step: &StepView) -> String {
    let Some(action) = &step.action else { return step.proof.clone() };
    let targets: Vec<&str> =
        step.plan.iter().flat_map(|plan| &plan.targets).map(|target| target.label.as_str()).collect();
    match targets.as_slice() {
        [] => action.to_string(),
        [one] => format!("{action}  {one}"),
        [one, rest @ ..] => format!("{action}  {one} and {} more", rest.len()),
    }
}
