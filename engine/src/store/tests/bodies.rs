//! Bodies to write: one of every kind, and small ones in number.

use quell_model::notice::{Page, PageKey, To, Way};
use quell_model::playbook::AtEnd;
use quell_model::record::source::{FileHead, FilePosition, Position};
use quell_model::record::*;
use quell_model::*;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// The `n`th millisecond of a day.
pub(crate) fn at(n: u64) -> Stamp {
    let wall: jiff::Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
    Stamp { wall, boot_ns: 1_000_000_000 }.after(std::time::Duration::from_millis(n))
}

pub(crate) fn note(text: &str) -> NoteAdded {
    NoteAdded { by: "ana".into(), text: text.into() }
}

fn queued(to: &str, way: Way) -> Queued {
    let page = Page::new(To::Person(to.into()), way, "on call in primary: layer 1".into());
    Queued { key: PageKey::of("i-1", 3, &page), page }
}

fn process() -> ProcessId {
    ProcessId { boot: BootId("1f2e".into()), pid: 4242, start_ns: 81_234_567_890, exec_id: 2 }
}

fn detection() -> Detection {
    let event = OwnedEvent {
        v: 1,
        head: EventHead {
            id: "e-1".into(),
            class: Class::ProcessCreation,
            source: "sensor".into(),
            node: "host-1".into(),
            at: at(0),
            seen: at(1),
        },
        logsource: LogSource {
            category: Some("process_creation".into()),
            product: Some("linux".into()),
            service: None,
        },
        sigma: json!({"Image": "/bin/bash", "CommandLine": "bash -i\n\u{1b}[31m"}).as_object().unwrap().clone(),
        own: json!({"process": {"pid": 4242, "memfd": false, "tty": null}}).as_object().unwrap().clone(),
        subject: Subject::Process(process()),
        entity: entity(),
    };
    Detection {
        id: Hash::of(b"detection"),
        rule: RuleRef {
            name: "reverse-shell".into(),
            id: Some("5f1b".into()),
            title: "Reverse shell".into(),
            level: Level::High,
            tags: vec!["attack.t1059.004".into()],
        },
        event: Arc::new(event),
        events: Vec::new(),
        matched: vec![MatchedField { field: "Image".into(), value: json!("/bin/bash") }],
        at: at(2),
        backfill: false,
    }
}

/// See [`MatchedField`]: named here, since a rule's match has no constructor.
use quell_model::detection::MatchedField;

fn entity() -> Entity {
    Entity { kind: "unit".into(), id: "web.service".into(), node: "host-1".into() }
}

fn plan() -> Plan {
    let facts = TargetFacts::Process {
        id: process(),
        image: Some("/bin/bash".into()),
        file: Some((8, 77)),
        cgroup: Some("/system.slice/web.service".into()),
        unit: Some("web.service".into()),
        uid: 33,
        kernel_thread: false,
        below_named: false,
        by_scope: false,
        pod: None,
    };
    Plan {
        targets: vec![Target {
            node: "host-1".into(),
            kind: "process".into(),
            id: process().to_string(),
            label: "bash (4242)".into(),
            named: true,
            facts,
        }],
        calls: vec![json!({"call": "pidfd_send_signal", "signal": 9})],
        before: json!({"state": "S"}),
        predicted: json!({"killed": []}),
        still_open: vec!["the listener stays".into()],
        would_fail: Vec::new(),
        already: false,
    }
}

fn part() -> Part {
    Part { step: "kill".into(), item: Some(0) }
}

fn moments() -> Moments {
    Moments {
        kernel: Some(at(0)),
        seen: Some(at(1)),
        decided: Some(at(2)),
        started: Some(at(3)),
        verified: Some(at(4)),
    }
}

/// One body of every kind, in the order of [`Kind::ALL`].
pub(in crate::store) fn one_of_each() -> Vec<Body> {
    let input = json!({"process": process().to_string(), "scope": "tree"});
    vec![
        EngineStarted {
            version: "0.1.0".into(),
            boot: BootId("1f2e".into()),
            pid: 77,
            mode: Mode::Enforce,
            tzdb: None,
        }
        .into(),
        DefinitionPinned {
            playbook: "contain".into(),
            hash: Hash::of(b"text"),
            file: "shipped/contain".into(),
            text: "playbook: contain\n".into(),
        }
        .into(),
        DetectionAccepted {
            detection: detection(),
            decided: vec![Decided {
                playbook: "contain".into(),
                decision: TriggerDecision::Started,
                why: "it wants the rule".into(),
                run: Some("r-1".into()),
            }],
            counted_later: false,
        }
        .into(),
        DetectionHeld {
            detection: Hash::of(b"detection"),
            rule: "reverse-shell".into(),
            playbook: Some("contain".into()),
            reason: "20 runs in an hour".into(),
        }
        .into(),
        LossSeen {
            class: Some(Class::FileEvent),
            count: 12,
            cgroup: Some(3),
            path: None,
            since: None,
            why: "ring full".into(),
        }
        .into(),
        RunStarted {
            run: "r-1".into(),
            playbook: "contain".into(),
            definition: Hash::of(b"text"),
            mode: Mode::Enforce,
            mode_because: "the playbook says so".into(),
            incident: Some("i-1".into()),
            per: "process:4242".into(),
            event: json!({"node": "host-1"}),
            detection: json!({"rule": "reverse-shell"}),
            inputs: json!({}),
            vars: json!({}),
            untrusted: false,
            backfill: false,
            by: None,
            parent: None,
            came: None,
            moments: moments(),
        }
        .into(),
        StepPlanned {
            part: part(),
            action: "process.kill".into(),
            input: input.clone(),
            plan: plan(),
            because: "the mode is observe".into(),
            outcome: Outcome::Planned,
        }
        .into(),
        StepIntended { part: part(), attempt: 1, action: "process.kill".into(), input, plan: plan() }.into(),
        StepProgressed { part: part(), mark: json!({"sent": 1}) }.into(),
        StepFinished {
            part: part(),
            action: None,
            outcome: Outcome::Verified,
            output: json!({"killed": [{"pid": 4242}]}),
            proof: "its pidfd is readable".into(),
            attempts: 1,
            moments: moments(),
        }
        .into(),
        StepFailed {
            part: part(),
            attempt: 1,
            error: "it still runs".into(),
            hint: Some("look".into()),
            again_at: Some(at(9)),
            unknown: false,
        }
        .into(),
        StepSkipped { step: "isolate".into(), why: "its `if` was false".into() }.into(),
        StepBlocked { step: "report".into(), by: Some("kill".into()), outcome: Outcome::Blocked }.into(),
        GuardRefused {
            part: part(),
            action: "process.kill".into(),
            guard: "protect".into(),
            target: "sshd (900)".into(),
            why: "its executable is sshd".into(),
        }
        .into(),
        TimerSet { part: part(), what: "retry".into(), until: at(9) }.into(),
        TimerFired { part: part(), what: "retry".into() }.into(),
        PersonActed { by: "ana".into(), what: "cancel".into(), detail: json!({"run": "r-1"}) }.into(),
        RunFinished {
            state: RunState::Succeeded,
            outputs: json!({"killed": 1}),
            summary: "all steps ended well".into(),
        }
        .into(),
        IncidentOpened {
            incident: "i-1".into(),
            entity: entity(),
            title: "Reverse shell".into(),
            level: Level::High,
            backfill: false,
        }
        .into(),
        IncidentJoined {
            detection: Some(Hash::of(b"detection")),
            run: Some("r-1".into()),
            level: Level::High,
            count: 2,
        }
        .into(),
        IncidentChanged::to(IncidentState::Resolved, "ana".into(), "cleaned up".into()).into(),
        note("seen by \u{1b}[2J ana").into(),
        PauseChanged { paused: true, by: "ana".into() }.into(),
        BreakerChanged { playbook: "contain".into(), open: true, why: "11 images".into(), by: None }.into(),
        RecorderPinned {
            from: at(1),
            to: at(9),
            events: 12,
            bytes: 3456,
            lost: 3,
            left_out: 2,
            unrecorded_ms: 1500,
            let_go: false,
        }
        .into(),
        ReflexFired {
            action: "process.block_exec".into(),
            reflex: "00c0ffee00c0ffee".into(),
            image: "/tmp/x".into(),
            count: 2,
            struck: vec![Struck {
                pid: 4243,
                start_ns: 8_000_000_000,
                parent: 4242,
                uid: 1000,
                boot_ns: 9_000_000_000,
                asked: "./x".into(),
            }],
            spent: true,
            unattended: true,
            run: None,
            missed: 0,
            ledger: 0,
            through: 0,
        }
        .into(),
        LeaseChanged {
            run: "r-1".into(),
            part: part(),
            action: "process.block_exec".into(),
            state: "lapsed".into(),
            why: "`/tmp/x` is gone".into(),
            lasts: None,
            owner: None,
            plan: None,
            via: None,
        }
        .into(),
        LeaseGranted {
            run: "r-1".into(),
            part: part(),
            action: "process.freeze".into(),
            owner: None,
            lasts: Duration::from_secs(86_400),
            at_end: AtEnd::Undo,
            own_end: false,
            incident: Some("i-1".into()),
            answers: Some(("rule".into(), "unit u on n".into())),
        }
        .into(),
        UndoBegan { only: Some(part()), by: "ana".into(), person: true, why: "a drill".into(), via: None }.into(),
        UndoIntended { part: part(), attempt: 1, action: "process.freeze".into(), plan: Plan::default() }.into(),
        UndoFailed { part: part(), attempt: 1, error: "busy".into(), again_at: at(7), unknown: false }.into(),
        UndoFinished {
            run: "r-1".into(),
            part: part(),
            action: "process.freeze".into(),
            outcome: Outcome::Undone,
            output: json!({ "thawed": 1 }),
            proof: "nothing of it stands".into(),
            attempts: 2,
            unknown: false,
        }
        .into(),
        StreamPruned {
            by: "ana".into(),
            older_than: Duration::from_secs(7_776_000),
            streams: vec![PrunedStream {
                stream: "run/r-0".into(),
                last: 12,
                hash: Hash::of(b"its last record"),
                ended: at(8).wall,
            }],
            blobs: vec![BlobHash(Hash::of(b"memory"))],
        }
        .into(),
        QuestionAsked {
            run: "r-1".into(),
            part: part(),
            question: QuestionKind::Approve,
            text: "process.kill x (7)?".into(),
            because: "a person is to say whether it acts".into(),
            guard: None,
            choices: vec!["approve".into(), "deny".into()],
            person: Some("ana".into()),
            by: Some("security".into()),
            not_via: vec!["socket".into()],
            within: Duration::from_secs(900),
            remember: Some(Duration::from_secs(3600)),
            otherwise: "deny".into(),
            action: Some("process.kill".into()),
            input: json!({ "process": "7.5.1@b" }),
            plan: Some(Box::default()),
            sum: Some(Hash::of(b"plan")),
            attempt: 1,
            intended: Default::default(),
        }
        .into(),
        QuestionAnswered {
            part: part(),
            question: QuestionKind::Approve,
            choice: "approve".into(),
            by: Some("ana".into()),
            via: Some("socket".into()),
            from: None,
            why: "seen in the console too".into(),
            settles: true,
        }
        .into(),
        AnswerTooLate { part: part(), choice: "deny".into(), by: "bo".into(), why: "ana answered before".into() }
            .into(),
        ScheduleSet {
            playbook: "contain".into(),
            schedule: Some(playbook::Schedule { cron: "0 6 * * mon".into(), time_zone: "Europe/Berlin".into() }),
        }
        .into(),
        ScheduleMissed {
            playbook: "contain".into(),
            first: at(1).wall,
            last: at(2).wall,
            why: "it did not run".into(),
        }
        .into(),
        RunReopened {
            by: "ana".into(),
            why: "the disk has room again".into(),
            from: Some("kill".into()),
            again: vec![part(), Part { step: "revoke".into(), item: None }],
        }
        .into(),
        PlaybookSeen { playbook: "contain".into(), hash: Hash::of(b"playbook") }.into(),
        SubRunStarted {
            part: part(),
            run: "r-2".into(),
            playbook: "contain-host".into(),
            definition: Hash::of(b"text"),
            mode: Mode::Approve,
            mode_because: "its playbook says approve".into(),
            inputs: json!({"reason": "detected"}),
            detached: true,
        }
        .into(),
        AnswerRemembered {
            run: "r-1".into(),
            person: Some("ana".into()),
            text: "Did you run this?".into(),
            choice: "me".into(),
            by: "ana".into(),
            via: Some("socket".into()),
            from: None,
            lasts: Duration::from_secs(3600),
        }
        .into(),
        AcknowledgementChanged { acknowledged: true, by: "ana".into(), via: "socket".into(), why: "on it".into() }
            .into(),
        ModeChanged {
            playbook: "contain".into(),
            from: Mode::Observe,
            to: Mode::Enforce,
            by: "ana".into(),
            why: "a week of it was right".into(),
            text: Some(Hash::of(b"playbook")),
        }
        .into(),
        MomentDecided {
            moment: playbook::IncidentMoment::Opened,
            record: 1,
            decided: vec![Decided {
                playbook: "page".into(),
                decision: TriggerDecision::IfFalse,
                why: "its trigger's `if` is false for this moment".into(),
                run: None,
            }],
        }
        .into(),
        ExceptionDrafted {
            by: "ana".into(),
            reason: "the nightly mirror job".into(),
            expires: at(0).wall,
            rules: vec!["download".into()],
            text: "title: \"False positive: Download\"\n".into(),
            left_out: vec![NotExcepted { rule: "words".into(), why: "it matched no field".into() }],
        }
        .into(),
        DetectionJoined {
            detection: json!({ "id": "d-2", "rule": "reverse-shell" }),
            event: json!({ "node": "n", "process": { "id": "7.5.1@b" } }),
        }
        .into(),
        AnswerRefused {
            part: part(),
            question: QuestionKind::Approve,
            choice: "deny".into(),
            by: "bo".into(),
            via: "socket".into(),
            from: Some(Box::new(Origin {
                node: "n".into(),
                processes: vec!["7.50000000.0@b".parse().unwrap()],
                uid: 1000,
                session: Some("3".into()),
                cgroup: Some("/user.slice".into()),
            })),
            why: "it comes from the suspected login session 3".into(),
        }
        .into(),
        // A head would have to hold.
        HeadsSealed { upto: 7, heads: Vec::new() }.into(),
        SourceAdvanced {
            source: "file:/var/log/audit/audit.log".into(),
            whole: true,
            positions: vec![Position::File(FilePosition {
                path: "/var/log/audit/audit.log".to_owned(),
                device: 2049,
                inode: 77,
                born: Some(at(0).wall),
                head: FileHead { bytes: 4096, sum: Hash::of(b"type=EXECVE") },
                offset: 8192,
                before: 5000,
                past: None,
                cut: 0,
                modified: at(1).wall,
                gone: false,
            })],
        }
        .into(),
        StreamRedacted {
            by: "ana".into(),
            reason: "a token in an output".into(),
            stream: "run/of-before".into(),
            seq: 3,
            sum: Hash::of(b"what was there"),
            instead: Hash::of(b"what is there"),
        }
        .into(),
        LadderStarted {
            incident: Some("i-1".into()),
            question: None,
            title: "a shell reads from a socket".into(),
            entity: Entity { kind: "unit".into(), id: "nginx.service".into(), node: "n".into() },
            level: Level::High,
            tags: ["attack.t1059.004".into()].into(),
            rules: ["reverse-shell".into()].into(),
            because: "an incident of level high was opened".into(),
            generation: 1,
            gathers: false,
        }
        .into(),
        LadderRouted {
            policy: "security".into(),
            definition: json!({ "steps": [], "repeat": 2 }),
            route: "route 2 takes every incident".into(),
            up_to: None,
        }
        .into(),
        LadderMoved {
            generation: 1,
            to: Place::Step { round: 0, step: 1 },
            because: "nobody answered in time".into(),
            pages: vec![queued("ana", Way::Email("ana@example.org".into()))],
            nobody: vec![Nobody { target: "schedule secondary".into(), because: "outside of its hours".into() }],
        }
        .into(),
        PageReceipted {
            key: queued("ana", Way::Console).key,
            attempt: 2,
            state: PageState::Waits { why: "connection refused".into(), pause: Duration::from_secs(4) },
            instead: vec![queued("ana", Way::Webhook("ana_phone".into()))],
            together: None,
        }
        .into(),
        LadderChanged {
            change: LadderChange::Answered,
            by: "ana".into(),
            via: "socket".into(),
            generation: 1,
            level: Level::High,
            why: "on it".into(),
            pages: Vec::new(),
            link: None,
            act: None,
        }
        .into(),
        LadderEnded {
            why: "ana has resolved it".into(),
            pages: vec![queued("bo", Way::Slack("U013".into()))],
            nobody: Vec::new(),
        }
        .into(),
        LadderClosed { told: 1 }.into(),
        LadderSilenced {
            silence: "s-41".into(),
            by: "ana".into(),
            reason: "the deploy is noisy".into(),
            maintenance: false,
            until: at(7),
        }
        .into(),
        SilenceAdded {
            silence: "s-41".into(),
            covers: Covers {
                expression: Some("incident.entity.node == \"web-1\"".into()),
                rule: Some("reverse-shell".into()),
                entity: Some("nginx.service".into()),
                tag: Some("attack.t1059.004".into()),
                level: Some(Level::High),
            },
            until: at(7),
            maintenance: true,
            by: "ana".into(),
            via: "socket".into(),
            reason: "the deploy is noisy".into(),
        }
        .into(),
        SilenceEnded { silence: "s-41".into(), by: Some("bo".into()), via: "socket".into() }.into(),
    ]
}
