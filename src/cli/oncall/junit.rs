//! A proof as JUnit XML: a suite for schedules, one for policies and one for people, a case each.
//!
//! Owns what stands where, which CI servers read. Only errors fail; what is a warning or a note is said in the case's output.

use quell_engine::escalation::Escalation;
use quell_engine::escalation::prove::{Finding, Problem, Proof};
use quell_model::{MistakeLevel, Name};
use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

/// The whole document.
///
/// # Errors
/// When it cannot be written as XML.
pub(super) fn xml(escalation: &Escalation, proof: &Proof) -> Result<String, SerializeError> {
    let mut report = Report::new("quell oncall prove");
    report.add_test_suite(suite("schedules", escalation.schedules.keys(), proof, |problem, name| match problem {
        Problem::UnknownZone { schedule, .. } | Problem::Gap { schedule } | Problem::Uneven { schedule, .. } => {
            schedule == name
        }
        _ => false,
    }));
    report.add_test_suite(suite("policies", escalation.policies.keys(), proof, |problem, name| match problem {
        Problem::StepEmpty { policy, .. } | Problem::LadderEmpty { policy } | Problem::LastResortEmpty { policy } => {
            policy == name
        }
        _ => false,
    }));
    report.add_test_suite(suite("people", escalation.people.people.keys(), proof, |problem, name| match problem {
        Problem::Unreachable { person, .. } => person == name,
        _ => false,
    }));
    report.to_string()
}

fn suite<'a>(
    title: &str,
    names: impl Iterator<Item = &'a Name>,
    proof: &Proof,
    is_about: impl Fn(&Problem, &Name) -> bool,
) -> TestSuite {
    let mut suite = TestSuite::new(title);
    for name in names {
        let about: Vec<&Finding> = proof.findings.iter().filter(|found| is_about(&found.problem, name)).collect();
        let (errors, others): (Vec<&Finding>, Vec<&Finding>) =
            about.into_iter().partition(|found| found.level == MistakeLevel::Error);
        let lines = |found: &[&Finding]| found.iter().map(|found| line(found)).collect::<Vec<_>>().join("\n");
        let status = match errors.first() {
            None => TestCaseStatus::success(),
            Some(first) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(first.problem.to_string()).set_description(lines(&errors));
                status
            }
        };
        let mut case = TestCase::new(name.as_str(), status);
        case.set_classname(title);
        if !others.is_empty() {
            case.set_system_out(lines(&others));
        }
        suite.add_test_case(case);
    }
    suite
}

/// What, how often, and when first.
fn line(found: &Finding) -> String {
    let times = if found.when.len() == 1 { "once".to_owned() } else { format!("{} times", found.when.len()) };
    let when = found.when.first().map_or_else(String::new, |first| format!(", from {} to {}", first.from, first.to));
    format!("{} ({times}{when})", found.problem)
}
