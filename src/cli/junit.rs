//! JUnit XML of cases that were played: a suite a file, a case a case; mistakes in files are a suite of their own, and so are
//! the steps of a playbook that no case reaches, where that was asked for.
//!
//! Owns what stands where, which CI servers read. Times are left out: the same cases give the same file.

use super::playbook_test::{Reached, Told};
use quell_model::playbook::Playbook;
use quell_model::{Mistake, MistakeLevel};
use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

/// The whole document. What XML cannot hold is left out: a file may be hostile.
///
/// # Errors
/// When it cannot be written as XML.
pub(super) fn xml(told: &[Told], reached: &[Reached], mistakes: &[Mistake]) -> Result<String, SerializeError> {
    let mut report = Report::new("quell");
    for one in told {
        let cases = one.cases.iter().map(|(name, _, misses)| {
            let lines = misses.iter().map(|m| format!("{}\nexpected {}\nfound    {}", m.place, m.expected, m.found));
            case(name, one.playbook.name.as_str(), NonSuccessKind::Failure, &lines.collect::<Vec<_>>())
        });
        report.add_test_suite(suite(&one.file.display().to_string(), cases));
    }
    for (playbook, coverage) in reached {
        let name = playbook.name.as_str();
        let missed = coverage.missed_steps().map(|step| {
            let what = format!("no case reaches `{step}`\n{}:{}", playbook.file.display(), line_of(playbook, step));
            case(step, name, NonSuccessKind::Failure, &[what])
        });
        report.add_test_suite(suite(&format!("coverage of {name}"), missed));
    }
    let errors: Vec<&Mistake> = mistakes.iter().filter(|mistake| mistake.level == MistakeLevel::Error).collect();
    if !errors.is_empty() {
        let one = |m: &&Mistake| case(&m.place(), "files", NonSuccessKind::Error, std::slice::from_ref(&m.what));
        report.add_test_suite(suite("files", errors.iter().map(one)));
    }
    report.to_string()
}

fn line_of(playbook: &Playbook, step: &str) -> u32 {
    playbook.step(&step.into()).map_or(0, |step| step.span.line)
}

fn suite(name: &str, cases: impl Iterator<Item = TestCase>) -> TestSuite {
    let mut suite = TestSuite::new(name);
    suite.add_test_cases(cases);
    suite
}

fn case(name: &str, class: &str, kind: NonSuccessKind, wrong: &[String]) -> TestCase {
    let status = match wrong.first().and_then(|first| first.lines().next()) {
        None => TestCaseStatus::success(),
        Some(first) => {
            let mut status = TestCaseStatus::non_success(kind);
            status.set_message(first).set_description(wrong.join("\n"));
            status
        }
    };
    let mut case = TestCase::new(name, status);
    case.set_classname(class);
    case
}
