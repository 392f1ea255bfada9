//! Rules and records that nobody here wrote: SigmaHQ's load as they are, and recorded attacks are found with them.
//! They are not in the project: where they are not at hand, these tests say so.

use super::*;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A part of the shared data, beside the project.
fn shared(part: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(part);
    if path.exists() {
        return Some(path);
    }
    eprintln!("NOT TESTED: {part} is not at {}", path.display());
    None
}

#[test]
fn every_rule_loads() {
    for part in ["sigma/linux", "sigma/cloud", "sigma/application"] {
        let Some(dir) = shared(part) else { continue };
        let (rules, report) = Rules::load(&[RuleSource::Dir(dir)], &[]);
        assert!(report.skipped.is_empty(), "{part}: {:?}", report.skipped);
        assert!(report.passed_over.is_empty(), "{part}: {:?}", report.passed_over);
        assert_eq!(rules.len(), report.files, "{part}");
        let blind = report.never_fires().filter(|(_, why)| !why.contains("service")).count();
        assert_eq!(blind, 0, "{part}: every rule about a source that quell has can fire");
    }
}

#[test]
fn recorded_attacks_on_aws_are_found() {
    let (Some(rules), Some(records)) = (shared("sigma/cloud/aws"), shared("cloudtrail")) else { return };
    let (rules, _) = Rules::load(&[RuleSource::Dir(rules)], &[]);
    let rules = Arc::new(rules);
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(records).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "json") {
            continue;
        }
        let input = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
        let mut detector = Detector::new(rules.clone());
        for event in crate::adapt::read(None, &path, input) {
            let event = event.unwrap_or_else(|wrong| panic!("{}", wrong.mistake.what));
            for detection in run(&mut detector, &event) {
                let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
                found.insert(format!("{stem}: {}", detection.rule.title));
            }
        }
    }
    for wanted in [
        "aws.defense-evasion.cloudtrail-stop: AWS CloudTrail Important Change",
        "aws.defense-evasion.cloudtrail-delete: AWS CloudTrail Important Change",
    ] {
        assert!(found.contains(wanted), "{wanted}: {found:#?}");
    }
}
