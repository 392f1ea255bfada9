//! Configurations right and wrong, and where their values come from.

use super::*;
use std::path::Path;

fn load(text: &str) -> (Option<Config>, Vec<Mistake>) {
    config(Path::new("/etc/quell/quell.yaml"), text)
}

const WHOLE: &str = r#"
mode: enforce
data_dir: data
playbooks: { shipped: true, dirs: [playbooks], modes: { contain-crypto-miner: observe } }
rules: { shipped: false, dirs: [/rules, mine], exceptions: [exceptions.yaml] }
escalation: people/who.yaml
incidents: { min_level: medium, quiet: 1h }
journal: { inline: 8KiB, largest: 4MiB }
recorder: { size: 512MiB, age: 2d }
retention: { incidents: 400d, evidence: 90d }
sources:
  sensor: { enabled: false }
  files: [{ format: cloudtrail, path: /var/log/cloudtrail, trusted: true }, { path: x.jsonl }]
  webhooks: [{ name: cluster, format: kubernetes-audit, address: "0.0.0.0:7443", tls: { certificate: tls.crt, key: /run/tls.key }, token: { secret: pager }, trusted: true }]
kubernetes: { cluster: prod, kubeconfig: kube.conf, context: ops }
guard:
  protect: { executables: [/opt/db/bin/server], units: ["db*.service"], users: [backup, 33], namespaces: [payments, "!kube-public"], nodes: ["cp-*"] }
  limits: { process.kill: 10/h, min_ready: { kubernetes.isolate_pod: 0 }, nodes: 3% }
  breaker: { images: 5, within: 5m, quiet: 10m }
  only_within: { cgroup: /quell-demo/, namespace: shop }
  warm_up: { runs: 20, for: 24h }
vars: { corp_cidrs: ["10.0.0.0/8"] }
secrets: { ci_token: { env: CI_TOKEN }, pager: { file: keys/pager } }
http: { allow: [{ host: "Tickets.example.org:8443", secrets: [ci_token], methods: [GET, POST] }, { host: "*.corp", private: true }] }
access: { socket: { group: wheel }, roles: { admin: [pause, config], oncall: [ack, note, approve] } }
log: { format: json, level: debug }
telemetry: { metrics: false, otlp: "http://127.0.0.1:4318" }
"#;

#[test]
fn a_whole_configuration_is_read_and_shown() {
    let (config, mistakes) = load(WHOLE);
    assert_eq!(mistakes, []);
    let mut config = config.unwrap();
    assert_eq!(config.data_dir, Path::new("/etc/quell/data"));
    assert_eq!(config.rules.dirs, [Path::new("/rules"), Path::new("/etc/quell/mine")]);
    assert_eq!(config.guard.only_within.as_ref().unwrap().cgroup.as_deref(), Some("/quell-demo"));
    assert_eq!(config.sources.files[1].format, None);
    config.set_mode(Mode::Observe, "--mode");
    let lines: Vec<String> =
        config.show().iter().map(|row| format!("{} = {}  ({})", row.key, row.value, row.from)).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn nothing_goes_by_itself_unless_it_is_written_and_evidence_goes_with_its_runs() {
    let day = Duration::from_secs(86_400);
    let ages = |text: &str| load(text).0.unwrap().retention;
    assert_eq!(ages(""), Ages { incidents: None, evidence: None });
    assert_eq!(ages("retention: { incidents: 30d }"), Ages { incidents: Some(30 * day), evidence: Some(30 * day) });
    assert_eq!(ages("retention: { evidence: 9d }"), Ages { incidents: None, evidence: Some(9 * day) });
    assert_eq!(ages("retention: { incidents: 9d, evidence: 9d }").evidence, Some(9 * day));
    // What the guard counts is read out of the runs at a start.
    let (none, mistakes) = load("guard: { limits: { process.kill: 5/14d } }\nretention: { incidents: 9d }\n");
    assert!(none.is_none() && mistakes[0].what.contains("shorter than what `guard` looks back on"), "{mistakes:?}");
    assert_eq!(
        ages("guard: { limits: { process.kill: 5/7d } }\nretention: { incidents: 9d }").incidents,
        Some(9 * day)
    );
    for wrong in ["{ incidents: 9d, evidence: 10d }", "{ evidence: 23h }", "{ incidents: 90 }", "{ runs: 9d }"] {
        assert!(load(&format!("retention: {wrong}")).0.is_none(), "{wrong}");
    }
}

#[test]
fn nothing_written_is_the_default() {
    for text in ["", "# only a comment\n", "guard: {}\n", "{}\n"] {
        let (config, mistakes) = load(text);
        assert_eq!(mistakes, [], "{text}");
        let config = config.unwrap();
        assert_eq!(config.show().iter().filter(|row| row.from != "default").count(), 0, "{text}");
        assert_eq!(config.mode, Mode::Observe);
    }
}

/// A list of what is protected that is empty in silence is the worst of them.
#[test]
fn a_key_whose_value_is_commented_out_is_told() {
    for (text, key, line) in [
        ("mode:\n", "mode", 1),
        ("guard:\n#  protect: {}\n", "guard", 1),
        ("guard:\n  protect:\n#    units: [nginx.service]\n  limits: {}\n", "protect", 2),
        ("guard:\n  protect:\n    units:\n#      - nginx.service\n", "units", 3),
        ("guard: { limits: ~ }\n", "limits", 1),
        ("guard: { only_within: null }\n", "only_within", 1),
        ("guard: { only_within: { cgroup: } }\n", "cgroup", 1),
        ("playbooks:\n  dirs:\n#    - mine\n", "dirs", 2),
        ("sources: { files: [{ path: /x, format: }] }\n", "format", 1),
        ("access: { listen: }\n", "listen", 1),
        ("secrets:\n", "secrets", 1),
        ("vars:\n", "vars", 1),
    ] {
        let (config, mistakes) = load(text);
        assert!(config.is_none(), "{text}");
        let told = mistakes.iter().find(|mistake| mistake.what == format!("`{key}` has no value"));
        let told = told.unwrap_or_else(|| panic!("{text}: {mistakes:?}"));
        assert_eq!(told.span.line, line, "{text}");
        assert_eq!(told.expected.as_deref(), Some(&*format!("a value, or no `{key}`")), "{text}");
    }
    // What is off, and what a variable may be.
    for text in ["telemetry: { otlp: null }\n", "vars: { x: ~ }\n"] {
        assert_eq!(load(text).1, [], "{text}");
    }
}

#[test]
fn a_number_without_an_end_is_told_with_its_place() {
    for (text, column) in
        [("vars: { x: .inf }\n", 12), ("vars: { x: [1, -.inf] }\n", 16), ("guard: { breaker: { images: .nan } }\n", 29)]
    {
        let (config, mistakes) = load(text);
        assert!(config.is_none(), "{text}");
        let told = mistakes.iter().find(|mistake| mistake.what.ends_with("is no number that can be counted with"));
        let told = told.unwrap_or_else(|| panic!("{text}: {mistakes:?}"));
        assert_eq!((told.span.line, told.span.column), (1, column), "{text}");
        assert!(text.contains(told.what.split('`').nth(1).unwrap()), "{text}: {told:?}");
    }
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = r#"
mod: enforce
mode: enforced
data_dir: 5
escalation: [escalation.yaml]
playbooks: { shiped: true, dirs: playbooks, modes: { x: on } }
rules: [a]
incidents: { min_level: hi, quiet: 30 }
journal: { inline: 2MiB, largest: 1GiB, outputs: 1 }
recorder: { size: 1MiB, age: 1, enabled: false }
retention: { incidents: 12h, evidence: 90d, runs: 1d }
sources: { sensor: { enabled: yes }, files: [{ format: cloudtrial, trusted: 1, from: strat }], kubernetes: {} }
guard:
  protect: { executables: [""], networks: [] }
  limits: { process.kill: 10, x: 3% }
  breaker: { images: 0 }
  only_within: { cgroup: quell/../demo }
  warm_up: {}
vars: [1]
access: { socket: { grup: x }, roles: { viewer: read, "on call": [ack], own: [resolv, 5] } }
log: { format: xml, level: loud }
"#;
    let (config, mistakes) = load(text);
    assert!(config.is_none());
    insta::assert_snapshot!(crate::load::tests::print(&mistakes));
}

#[test]
fn what_is_wrong_with_a_webhook_is_told_with_its_place_and_a_token_that_stands_there_itself_is_not() {
    let text = r#"
secrets: { audit: { env: QUELL_AUDIT } }
access: { listen: { address: 127.0.0.1:7071, tokens: [{ name: ci, role: viewer, sha256: "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" }] } }
sources:
  webhooks:
    - { name: one, format: kubernetes-audit, address: 10.0.0.1:7443, token: { secret: audit } }
    - { name: one, format: kubernetes-audit, address: 127.0.0.1:7071, token: { secret: audti } }
    - { name: "a b", format: kubernetes, adress: 127.0.0.1:1, trusted: true }
    - { name: two, format: cloudtrail, address: localhost:7443, tls: { certificate: a.pem }, trusted: 1 }
    - { name: three, format: kubernetes-audit, address: 10.0.0.1:7443, tls: { certificate: a, key: b }, token: hunter2 }
    - { name: four, format: kubernetes-audit, address: 127.0.0.1:0, token: { secret: hunter2 } }
    - { format: kubernetes-audit, address: 127.0.0.1:0, token: {} }
    - here
"#;
    let (config, mistakes) = load(text);
    assert!(config.is_none());
    assert!(!format!("{mistakes:?}").contains("hunter2"), "{mistakes:?}");
    insta::assert_snapshot!(crate::load::tests::print(&mistakes));
    for right in [
        "name: a, format: kubernetes-audit, address: 127.0.0.1:0",
        "name: a, format: kubernetes-audit, address: \"[::1]:0\", token: { secret: audit }, trusted: true",
        "name: a, format: kubernetes-audit, address: 10.0.0.1:1, tls: { certificate: a, key: b }",
    ] {
        let text = format!("secrets: {{ audit: {{ env: QUELL_AUDIT }} }}\nsources: {{ webhooks: [{{ {right} }}] }}\n");
        let (config, mistakes) = load(&text);
        assert_eq!(mistakes, [], "{text}");
        assert_eq!(config.unwrap().sources.webhooks[0].source().as_str(), "webhook:a");
    }
}

#[test]
fn roles_are_the_own_ones_beside_the_known() {
    use Permission as P;
    let roles = |text: &str| load(text).0.unwrap().roles;
    let known = roles("");
    assert_eq!(known.names(), ["admin", "approver", "responder", "viewer"]);
    let [viewer, responder, admin] = ["viewer", "responder", "admin"].map(Name::from);
    assert!(known.may([&responder], P::Undo) && known.may([&responder], P::Read));
    assert!(!known.may([&viewer], P::Note) && !known.may([&viewer, &responder], P::Pause));
    assert_eq!(known.that_may(P::Approve), ["approver"]);
    let own = roles("access: { roles: { admin: [], oncall: [pause] } }\n");
    assert!(own.may([&admin], P::Read) && !own.may([&admin], P::Pause));
    assert!(own.may([&"oncall".into()], P::Pause));
    assert!(!own.may([&"nobody".into()], P::Read), "a role that is none may nothing");
}

#[test]
fn names_of_variables_are_taken_and_what_may_be_the_value_is_not_shown() {
    for name in ["CI_TOKEN", "ci_token", "K8S_TOKEN", "OAUTH2_SECRET", "AWS_S3_KEY_2", "_X", "PATH"] {
        let (config, mistakes) = load(&format!("secrets: {{ a: {{ env: {name} }} }}\n"));
        assert!(config.is_some(), "{name}: {mistakes:?}");
    }
    let text = "secrets: { a: { env: hunter2 }, b: { file: hunter2 }, c: { env: HOME }, d: { file: /etc/passwd } }\n";
    let shown = load(text).0.unwrap().show();
    let shown: Vec<String> =
        shown.iter().filter(|row| row.key.starts_with("secrets.")).map(|row| row.value.to_string()).collect();
    assert_eq!(shown, [r#"{"env":"***"}"#, r#"{"file":"***"}"#, r#"{"env":"HOME"}"#, r#"{"file":"/etc/passwd"}"#]);
}

const SUM: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

#[test]
fn who_may_come_over_tcp_is_read_whole_and_the_sums_are_not_shown() {
    let text = format!(
        "access:\n  roles: {{ bot: [note] }}\n  listen:\n    address: 0.0.0.0:7071\n    tls: {{ certificate: tls/cert.pem, key: tls/key.pem }}\n    tokens: [{{ name: ci, role: bot, sha256: {SUM}, person: anna }}]\n"
    );
    let (config, mistakes) = load(&text);
    assert_eq!(mistakes, []);
    let config = config.unwrap();
    let listen = config.listen.as_ref().unwrap();
    assert_eq!(listen.tls.as_ref().unwrap().key, Path::new("/etc/quell/tls/key.pem"));
    assert_eq!(listen.tokens[0].sha256, quell_model::Hash::of(b"test"));
    let shown = serde_json::to_string(&config.show()).unwrap();
    assert!(shown.contains("0.0.0.0:7071") && !shown.contains(SUM), "{shown}");
    let mut people = quell_model::People::default();
    people.people.insert("ana".into(), quell_model::Person::default());
    let found = config.check_people(&people);
    assert_eq!((found[0].place().as_str(), found[0].nearest.as_deref()), ("/etc/quell/quell.yaml:6:22", Some("ana")));
}

#[test]
fn mistakes_about_tcp_are_told_and_a_token_that_stands_there_itself_is_not() {
    let text = format!(
        r#"access:
  listen:
    address: 0.0.0.0:7071
    tls: {{ certificate: "", cert: x }}
    tokens:
      - {{ name: raw, role: viewer, sha256: hunter2 }}
      - {{ name: "a b", role: vewer, sha256: 12 }}
      - {{ name: one, role: viewer, sha256: {SUM} }}
      - {{ name: one, role: viewer, sha256: {SUM} }}
      - {{ name: none, role: viewer, sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 }}
      - {{ sha256: 5 }}
"#
    );
    let (config, mistakes) = load(&text);
    assert!(config.is_none());
    let told = crate::load::tests::print(&mistakes);
    assert!(!told.contains("hunter2"), "{told}");
    insta::assert_snapshot!(told);
    for (text, what) in [
        ("access: { listen: { address: 10.0.0.1:1, tokens: [] } }", "no loopback address"),
        ("access: { listen: { address: 127.0.0.1:1, tokens: [] } }", "nobody could come"),
        ("access: { listen: { address: 127.0.0.1:1 } }", "without `tokens`: nobody could come"),
        ("access: { listen: { address: localhost:1 } }", "is no address"),
        ("access: { listen: {} }", "without `address`"),
    ] {
        let mistakes = load(text).1;
        assert!(mistakes.iter().any(|mistake| mistake.what.contains(what)), "{text}: {mistakes:?}");
    }
    let links = "public_url: https://quell.example.org\naccess: { listen: { address: 127.0.0.1:1 } }";
    let (config, mistakes) = load(links);
    assert!(config.unwrap().listen.unwrap().tokens.is_empty(), "{mistakes:?}");
}

#[test]
fn where_secrets_are_is_read_and_a_value_that_stands_there_is_told_by_nobody() {
    let rows = [
        "secrets: { a: hunter2 }",
        "secrets: { a: [hunter2] }",
        "secrets: { a: { value: hunter2 } }",
        "secrets: { a: { hunter2 } }",
        "secrets: { a: { env: A, value: hunter2 } }",
        "secrets: { a: { env: A, env: B } }",
        "secrets: { a: { env: } }",
        "secrets: { a: { env: hunter2, file: hunter2 } }",
        "secrets: { a: { env: \"hunter2 hunter2\" } }",
        "secrets: { a: { env: [hunter2] } }",
        "secrets: { a: { env: hunter2-hunter2 } }",
        "secrets: { a: { env: ghp_hunter2Hunter2 } }",
        "secrets: { a: { env: HUNTER7H2A9hunter2 } }",
        "secrets: { a: { env: AKIAIOSF0DNN7EXAMPLE } }",
        "secrets: { a: { env: \"20241129\" } }",
        "secrets: { a: { file: [hunter2] } }",
        "secrets: { a: { file: \"\" } }",
        "secrets: { a: {} }",
        "secrets: { a: { env: A }, a: hunter2 }",
        "secrets: { CI-Token: { env: A }, if: { env: A } }",
        "secrets: hunter2",
        "{ mode: enforced, secrets: { a: hunter2 } }",
        "vars: &a { a: hunter2 }\nsecrets: *a\nmode: enforced",
        "secrets:\n  a: \"hunter2\n",
        "secrets:\n  a: hunter2: hunter2\nmode: observe",
        "mode: observe\nsecrets:\n  # a comment\n  a: { env: A }\n\tb: hunter2",
    ];
    let mut all = Vec::new();
    for text in rows {
        let (config, mistakes) = load(text);
        assert!(config.is_none(), "{text}");
        assert!(!format!("{mistakes:?}").contains("hunter2"), "{text}: {mistakes:?}");
        all.push(format!("== {}\n{}", text.replace("hunter2", "VALUE"), crate::load::tests::print(&mistakes)));
    }
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn secrets_that_cannot_be_read_now_are_told_with_their_place() {
    let text = "secrets:\n  a: { env: CARGO_PKG_NAME }\n  b: { env: QUELL_TEST_NO_SUCH_SECRET }\n  c: { file: none }\n";
    let found = load(text).0.unwrap().check_secrets();
    let told: Vec<String> = found.iter().map(|mistake| format!("{} {}", mistake.place(), mistake.what)).collect();
    assert_eq!(found.iter().filter(|mistake| mistake.level == MistakeLevel::Warning).count(), 2);
    assert!(found.iter().all(|mistake| mistake.line_text.is_none()), "what is not there may be the value itself");
    assert_eq!(
        told,
        [
            "/etc/quell/quell.yaml:3:3 the secret `b` cannot be read now: there is no environment variable of the name that its `env` gives; hint: `env` takes a name, never the value",
            "/etc/quell/quell.yaml:4:3 the secret `c` cannot be read now: there is no file at the path that its `file` gives; hint: `file` takes a path, never the value",
        ]
    );
}

#[test]
fn the_people_are_beside_the_configuration_unless_it_says_where() {
    let file = |text: &str| load(text).0.unwrap().escalation_file().unwrap();
    assert_eq!(file(""), Path::new("/etc/quell/escalation.yaml"));
    assert_eq!(file("escalation: ../people.yaml\n"), Path::new("/etc/quell/../people.yaml"));
    assert_eq!(Config::default().escalation_file(), None);
}

#[test]
fn names_that_nothing_has_are_told() {
    let (config, _) =
        load("playbooks: { modes: { contain-x: observe } }\nguard: { limits: { process.kil: 1/h, \"*\": 5/h } }\n");
    let found = config.unwrap().check_names(&[], &[]);
    let places: Vec<String> = found.iter().map(Mistake::place).collect();
    assert_eq!(places, ["/etc/quell/quell.yaml:1:23", "/etc/quell/quell.yaml:2:20"]);
}
