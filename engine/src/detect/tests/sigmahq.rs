//! A directory of SigmaHQ's rules loads as it is. The rules are not in the project: where they are not at hand, this
//! says so.

use super::*;
use std::path::PathBuf;

/// The data that nobody here wrote, beside the project.
fn shared(part: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(part);
    if path.exists() {
        return Some(path);
    }
    eprintln!("NOT TESTED: {part} is not at {}", path.display());
    None
}

#[test]
fn linux_loads_whole_and_the_clouds_too() {
    for part in ["sigma/linux", "sigma/cloud", "sigma/application"] {
        let Some(dir) = shared(part) else { continue };
        let (rules, report) = Rules::load(&[RuleSource::Dir(dir)], &[]);
        assert!(report.skipped.is_empty(), "{part}: {:?}", report.skipped);
        assert!(report.passed_over.is_empty(), "{part}: {:?}", report.passed_over);
        assert_eq!(rules.len(), report.files, "{part}");
        for (rule, why) in report.never_fires() {
            println!("{part}: {} ({}): {why}", rule.title, rule.file.display());
        }
    }
}
