//! Fields as rules and playbooks ask for them, over records made by hand.

use super::*;
use crate::record::Record;
use crate::record::tests::exec_bytes;
use quell_model::fields;

struct Made {
    cx: Context,
    table: Table,
    key: Key,
}

fn made() -> Made {
    let mut table = Table::default();
    for (pid, start, ppid, parent_start) in
        [(5_000_001, 1_000_000_000, 0, 0), (5_000_002, 2_000_000_000, 5_000_001, 1_000_000_000)]
    {
        let bytes = exec_bytes(pid, start, ppid, parent_start).0;
        let Some(Record::Exec(head, exec)) = Record::read(&bytes) else { panic!("no exec") };
        table.exec(&head, &exec);
    }
    Made { cx: Context::new("n1".into(), None), table, key: Key::new(5_000_002, 2_000_000_000) }
}

fn all(made: &Made) -> Vec<SensorEvent<'_>> {
    let net = Net {
        family: 2,
        protocol: 6,
        direction: OUT,
        local_port: 40_000,
        peer_port: 443,
        local: [10, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        peer: [10, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    };
    let file = FileChange {
        op: FileOp::Rename,
        path: "/tmp/a".into(),
        target: Some("/etc/cron.d/b".into()),
        inode: 0,
        device: 0,
        mode: 0,
        watched: false,
    };
    let whats = [
        What::Fork,
        What::Exec,
        What::Exit(9),
        What::Net(net),
        What::File(file),
        What::Cred { call: 1, old: Ids::default() },
        What::Access { call: 3, target: Some(made.key) },
        What::Loss(Loss { class: Class::FileEvent, count: 7, cgroup: 1, path: "/a".into(), why: "ring_full" }),
    ];
    let event = |what: What| {
        let key = (what.class() != Class::Loss).then_some(made.key);
        SensorEvent::new(&made.cx, &made.table, key, what, 3_000_000_000, 5_000_002)
    };
    whats.into_iter().map(event).collect()
}

#[test]
fn every_name_of_the_model_is_answered() {
    // What this version leaves absent is answered with null all the same.
    let made = made();
    for event in all(&made) {
        let class = event.head().class;
        for path in fields::known(class) {
            assert!(event.own(path).is_some(), "{class}: {path}");
        }
        assert!(event.own("process.nonsense").is_none() && event.own("nonsense").is_none(), "{class}");
        for name in quell_model::fields::sigma(class) {
            assert!(event.sigma(name).is_some(), "{class}: {name}");
        }
        let owned = event.to_owned();
        assert_eq!(owned.head.class, class);
        assert_eq!(event.sigma("nonsense"), None);
    }
}

#[test]
fn an_exec_answers_sigma_and_quell() {
    let made = made();
    let event = &all(&made)[1];
    let text = |field: &str| match event.sigma(field) {
        Some(Field::Str(text)) => text.into_owned(),
        other => panic!("{field}: {other:?}"),
    };
    assert_eq!(text("Image"), "/usr/bin/env");
    assert_eq!(text("CommandLine"), "env python3 ./s");
    assert_eq!((text("CurrentDirectory"), text("ParentImage")), ("/tmp/x".into(), "/usr/bin/env".into()));
    assert_eq!(event.sigma("ProcessId"), Some(Field::Int(5_000_002)));
    assert_eq!(event.own("process.parent.pid"), Some(Field::Int(5_000_001)));
    assert_eq!(event.own("process.confinement.no_new_privs"), Some(Field::Bool(true)));
    assert_eq!(event.own("process.stdio.relayed"), Some(Field::Bool(false)));
    assert_eq!(event.own("process.device"), Some(Field::text("254:1")));
    assert_eq!(event.own("process.parent.stdio.socket"), Some(Field::Bool(false)));
    assert!(matches!(event.own("process.parent.stdio.kinds"), Some(Field::List(kinds)) if kinds.len() == 3));
    assert_eq!(event.own("process.parent.stdio.nonsense"), None);
    let Some(Field::Map(parent)) = event.own("process.parent") else { panic!("no parent") };
    let mut shown = Vec::new();
    for (name, value) in &parent {
        match value {
            Field::Map(parts) => shown.extend(parts.iter().map(|(part, _)| format!("process.parent.{name}.{part}"))),
            _ => shown.push(format!("process.parent.{name}")),
        }
    }
    assert_eq!(shown, fields::PARENT, "what playbooks may name of a parent");
    let Some(Field::Map(group)) = event.own("process.confinement") else { panic!("no group") };
    assert!(group.iter().any(|(name, value)| name == "seccomp" && *value == Field::text("filter")));
    let Some(Field::List(ancestors)) = event.own("process.ancestors") else { panic!("no list") };
    assert_eq!(ancestors.len(), 1);
}

#[test]
fn the_owned_event_says_what_the_borrowed_one_says() {
    let made = made();
    for event in all(&made) {
        let owned = event.to_owned();
        for name in quell_model::fields::sigma(event.head().class) {
            assert_eq!(owned.sigma(name), event.sigma(name), "{name}");
        }
        for path in ["process.pid", "process.image", "network.destination_ip", "file.target", "loss.count"] {
            assert_eq!(owned.own(path), event.own(path), "{path}");
        }
        assert_eq!(owned.subject, event.subject());
    }
}

#[test]
fn connections_and_files_are_named_as_sigma_names_them() {
    let made = made();
    let events = all(&made);
    assert_eq!(events[3].sigma("DestinationIp"), Some(Field::text("10.0.0.9")));
    assert_eq!(events[3].sigma("Initiated"), Some(Field::Bool(true)));
    assert_eq!(events[3].own("network.private"), Some(Field::Bool(true)));
    assert_eq!(events[4].sigma("TargetFilename"), Some(Field::text("/etc/cron.d/b")));
    assert_eq!(events[4].own("file.path"), Some(Field::text("/tmp/a")));
    assert_eq!(events[2].own("exit.signal"), Some(Field::Int(9)));
    assert_eq!(events[5].own("credentials.change"), Some(Field::text("setuid")));
    assert_eq!(events[6].own("access.kind"), Some(Field::text("process_vm_writev")));
    assert_eq!(events[6].own("access.target"), events[6].own("process.id"));
    assert_eq!(events[7].subject(), Subject::Unknown);
}

#[test]
fn ids_differ_between_events_and_not_between_looks() {
    let made = made();
    let (first, second) = (all(&made), all(&made));
    let ids = |events: &[SensorEvent<'_>]| events.iter().map(|e| e.head().id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&first), ids(&second));
    let distinct: std::collections::HashSet<_> = ids(&first).into_iter().collect();
    assert_eq!(distinct.len(), first.len());
}

#[test]
fn what_an_event_tells_in_parts_is_what_the_owned_one_is() {
    let made = made();
    // A label is asked of /proc; the processes here are none.
    for event in all(&made).into_iter().chain(all(&made).into_iter().map(SensorEvent::scanned)) {
        assert_eq!(quell_model::Gather::of(&event), Event::to_owned(&event), "{}", event.head().class);
        for dear in ["process.stdio.relayed", "network.feeds_shell"] {
            event.own(dear);
        }
        assert_eq!(quell_model::Gather::of(&event), Event::to_owned(&event), "asked: {}", event.head().class);
    }
}

/// The same, in a pod; the cluster has told of it, or not yet.
fn in_a_pod(pods: &std::sync::Arc<quell_model::Pods>) -> Made {
    let mut made = made();
    made.cx = Context::new("n1".into(), Some(std::sync::Arc::clone(pods)));
    let path = format!("/kubepods/burstable/pod{POD_UID}/{}", container());
    made.table.place(made.key, &path);
    made
}

const POD_UID: &str = "1b2c3d4e-0000-1111-2222-333344445555";

fn container() -> String {
    "0123456789abcdef".repeat(4)
}

fn web(version: u64) -> std::sync::Arc<quell_model::Pod> {
    let container = quell_model::PodContainer {
        name: "app".into(),
        image: Some("localhost/web:1".into()),
        digest: Some("sha256:aa".into()),
        ids: vec![container().into()],
    };
    std::sync::Arc::new(quell_model::Pod {
        uid: POD_UID.into(),
        cgroup_uid: None,
        namespace: "shop".into(),
        name: "web-1".into(),
        node: "node1".into(),
        owner: Some("deployment/web".into()),
        service_account: Some("web".into()),
        host_network: false,
        ip: Some("10.244.0.7".into()),
        labels: vec![("app.kubernetes.io/name".into(), "web".into())],
        containers: vec![container],
        version,
    })
}

#[test]
fn an_event_before_the_cluster_answers_is_right_and_one_after_it_is_whole() {
    let pods = std::sync::Arc::new(quell_model::Pods::new("kubernetes".into()));
    let made = in_a_pod(&pods);
    let early = &all(&made)[1];
    assert_eq!(early.own("pod.uid"), Some(Field::text(POD_UID)));
    for absent in ["pod.name", "pod.labels", "pod.labels.app.kubernetes.io/name", "pod.owner", "container.image"] {
        assert_eq!(early.own(absent), Some(Field::Null), "{absent}");
    }
    assert_eq!(early.entity().to_string(), format!("container {} on n1", container()));
    pods.replace([web(1)].iter());
    assert_eq!(early.own("pod.name"), Some(Field::Null), "one event sees one state of its pod");
    let late = &all(&made)[1];
    for (path, value) in [
        ("pod.uid", POD_UID),
        ("pod.namespace", "shop"),
        ("pod.name", "web-1"),
        ("pod.node", "node1"),
        ("pod.owner", "deployment/web"),
        ("pod.service_account", "web"),
        ("pod.ip", "10.244.0.7"),
        ("pod.labels.app.kubernetes.io/name", "web"),
        ("container.name", "app"),
        ("container.image", "localhost/web:1"),
        ("container.image_digest", "sha256:aa"),
        ("container.runtime", "containerd"),
    ] {
        assert_eq!(late.own(path), Some(Field::text(value)), "{path}");
        assert_eq!(late.sigma(path), Some(Field::text(value)), "a rule may ask for it too: {path}");
        assert_eq!(Event::to_owned(late).own(path), Some(Field::text(value)), "and a recording has it: {path}");
    }
    assert_eq!(late.own("pod.labels.none"), Some(Field::Null));
    assert_eq!(late.own("pod.host_network"), Some(Field::Bool(false)));
    assert_eq!(late.entity().to_string(), "owner shop/deployment/web on kubernetes");
}

/// (the cgroup, the login by audit, what an incident is about): the container, else the login, else the unit, else the cgroup, else the node.
#[test]
fn what_an_incident_is_about_is_the_first_of_these_that_is_known() {
    use crate::process::NO_LOGIN;
    let in_a_container = format!("/system.slice/docker-{}.scope", container());
    for (path, session, about) in [
        (in_a_container.as_str(), 7, format!("container {}", container())),
        ("/user.slice/user-1000.slice/session-3.scope", 7, "session 3".to_owned()),
        ("/system.slice/nginx.service", 7, "session 7".to_owned()),
        ("/user.slice/user-1000.slice/session-3.scope", NO_LOGIN, "session 3".to_owned()),
        ("/system.slice/nginx.service/inner", NO_LOGIN, "unit nginx.service".to_owned()),
        ("/box/inner", NO_LOGIN, "cgroup /box/inner".to_owned()),
        ("/", NO_LOGIN, "node n1".to_owned()),
        ("", NO_LOGIN, "node n1".to_owned()),
    ] {
        let mut made = made();
        made.table.place(made.key, path);
        made.table.log_in(made.key, session);
        assert_eq!(all(&made)[1].entity().to_string(), format!("{about} on n1"), "{path}, login {session}");
    }
}

#[test]
fn what_is_told_in_parts_of_a_pod_is_told_anew_when_more_is_known() {
    /// What is told, with parts that are known left out, as a recorder does it.
    struct Recorder {
        known: std::collections::HashSet<u64>,
        told: Vec<(String, Json)>,
        at: quell_model::Stamp,
    }
    impl Teller for Recorder {
        fn sigma(&mut self, _: &str, _: quell_model::Told<'_>) {}
        fn own(&mut self, path: &str, value: quell_model::Told<'_>) {
            self.told.push((path.to_owned(), value.to_json(self.at)));
        }
        fn whole(&mut self, _: &str, _: quell_model::Told<'_>) {}
        fn entity(&mut self, _: &str, _: &str, _: &str) {}
        fn shared(&mut self, token: quell_model::Token, tell: &mut dyn FnMut(&mut dyn Teller)) {
            if self.known.insert(token.0) {
                tell(self);
            }
        }
    }
    let pods = std::sync::Arc::new(quell_model::Pods::new("kubernetes".into()));
    let made = in_a_pod(&pods);
    let mut recorder = Recorder { at: all(&made)[1].head().at, known: Default::default(), told: Vec::new() };
    let mut names = |made: &Made| {
        all(made)[1].tell(&mut recorder);
        let told = std::mem::take(&mut recorder.told);
        told.into_iter().filter(|(path, _)| path == "pod.name").map(|(_, value)| value).collect::<Vec<_>>()
    };
    assert_eq!(names(&made), Vec::<Json>::new());
    pods.replace([web(1)].iter());
    assert_eq!(names(&made), [Json::from("web-1")]);
    assert_eq!(names(&made), Vec::<Json>::new(), "it is known");
    for event in all(&made) {
        assert_eq!(quell_model::Gather::of(&event), Event::to_owned(&event), "{}", event.head().class);
    }
}
