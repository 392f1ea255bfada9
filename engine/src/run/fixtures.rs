//! Playbooks and runs for tests, built by hand.

use super::Way;
use quell_model::playbook::{Expression, OnFailure, Playbook, Retry, RunLimits, Step, StepKind, Trigger, When};
use quell_model::record::RunStarted;
use quell_model::{Hash, Json, Mode};
use std::collections::BTreeMap;
use std::time::Duration;

/// By the socket, from nobody knows where.
pub(crate) fn socket() -> Way {
    Way { via: "socket".into(), from: None }
}

/// A step that tells, with these needs.
pub(crate) fn step(id: &str, needs: &[&str]) -> Step {
    Step {
        id: id.into(),
        kind: StepKind::Tell(format!("at {id}")),
        needs: needs.iter().map(|need| (*need).into()).collect(),
        condition: None,
        when: When::Success,
        for_each: None,
        timeout: Duration::from_secs(10),
        deadline: None,
        retry: Retry { attempts: 1, backoff: Duration::from_millis(10), backoff_most: Duration::from_millis(50) },
        on_failure: OnFailure::Block,
        mode: None,
        lease: None,
        approve: None,
        confirm: None,
        span: Default::default(),
    }
}

/// A playbook of these steps, in enforce, started by any detection.
pub(crate) fn playbook_of(steps: Vec<Step>) -> Playbook {
    Playbook {
        name: "test".into(),
        description: String::new(),
        on: Trigger {
            detections: Some(quell_model::playbook::DetectionFilter {
                rules: Vec::new(),
                tags: Vec::new(),
                level: Default::default(),
            }),
            condition: None,
            run_per: Expression { text: "event.subject".into(), span: Default::default() },
            max_age: Duration::from_secs(900),
            schedule: None,
            incident: Vec::new(),
        },
        mode: Mode::Enforce,
        limits: RunLimits::default(),
        inputs: BTreeMap::new(),
        steps,
        outputs: BTreeMap::new(),
        hash: Hash::of(b"test"),
        file: "test.yaml".into(),
        text: "".into(),
        web: Default::default(),
    }
}

/// The first record of a run of `playbook`.
pub(crate) fn started(playbook: &Playbook) -> RunStarted {
    RunStarted {
        run: "r-1".into(),
        playbook: playbook.name.clone(),
        definition: playbook.hash,
        mode: Mode::Enforce,
        mode_because: String::new(),
        incident: None,
        per: "x".into(),
        event: Json::Null,
        detection: Json::Null,
        inputs: Json::Null,
        vars: Json::Null,
        untrusted: false,
        backfill: false,
        by: None,
        parent: None,
        came: None,
        moments: Default::default(),
    }
}
