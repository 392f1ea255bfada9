//! Every format on small samples written for it, broken input between good, hostile input.

use super::{Format, LARGEST_DOCUMENT, LARGEST_EVENT, Unreadable, read, read_part};
use quell_model::{Class, Event, Field, OwnedEvent};
use std::path::Path;

fn all(input: &[u8]) -> Vec<Result<OwnedEvent, Unreadable>> {
    read(None, Path::new("in.log"), input).collect()
}

fn good(input: &str) -> Vec<OwnedEvent> {
    let (mut events, mut wrong) = (Vec::new(), Vec::new());
    for read in all(input.as_bytes()) {
        match read {
            Ok(event) => events.push(event),
            Err(unreadable) => wrong.push(unreadable),
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    events
}

fn says(event: &OwnedEvent, field: &str) -> String {
    match event.sigma(field) {
        Some(Field::Str(text)) => text.into_owned(),
        Some(other) => other.to_json().to_string(),
        None => "-".into(),
    }
}

const TRAIL: &str = r#"{"eventVersion":"1.09","eventTime":"2026-03-01T10:00:00Z","eventID":"t-1","eventSource":"iam.amazonaws.com","eventName":"CreateAccessKey","awsRegion":"eu-west-1","sourceIPAddress":"203.0.113.9","recipientAccountId":"111122223333","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/eve","userName":"eve"},"requestParameters":{"userName":"root","items":[{"port":22},{"port":3389}]},"errorCode":null}"#;

const AUDIT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a-1","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/pods/web/exec","verb":"create","user":{"username":"mallory","groups":["dev"]},"sourceIPs":["198.51.100.4"],"objectRef":{"resource":"pods","namespace":"shop","name":"web","subresource":"exec","apiGroup":"apps"},"responseStatus":{"code":101},"requestReceivedTimestamp":"2026-03-01T10:00:00.000000Z","stageTimestamp":"2026-03-01T10:00:01.500000Z"}"#;

#[test]
fn cloudtrail_reads_as_a_record_a_list_and_a_file() {
    let pretty = serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(TRAIL).unwrap()).unwrap();
    let inputs = [
        TRAIL.to_owned(),
        pretty.clone(),
        format!("[{TRAIL},\n{pretty}]"),
        format!("{{\"Records\":[{TRAIL}]}}\n{TRAIL}"),
    ];
    for (input, count) in inputs.iter().zip([1, 1, 2, 2]) {
        let events = good(input);
        assert_eq!(events.len(), count);
        for event in events {
            assert_eq!((event.head.id.as_str(), event.head.class), ("t-1", Class::Record));
            assert_eq!(event.head.at.wall.to_string(), "2026-03-01T10:00:00Z");
            assert_eq!(event.subject.to_string(), "principal:arn:aws:iam::111122223333:user/eve");
            assert_eq!(event.entity.node.as_str(), "111122223333");
            assert_eq!(event.logsource.service.as_ref().unwrap().as_str(), "cloudtrail");
            assert_eq!(says(&event, "userIdentity.userName"), "eve");
            assert_eq!(says(&event, "requestParameters.items.port"), "[22,3389]", "through the list");
            assert_eq!(says(&event, "requestParameters.nothing"), "-");
            assert_eq!(event.own("cloud.action"), Some(Field::text("CreateAccessKey")));
            assert_eq!(event.own("raw.eventName"), Some(Field::text("CreateAccessKey")));
            assert_eq!(event.for_playbooks()["raw"]["userIdentity"]["userName"], "eve");
        }
    }
}

#[test]
fn gzip_is_unpacked_and_a_broken_one_is_told() {
    use std::io::Write;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(format!("{{\"Records\":[{TRAIL}]}}").as_bytes()).unwrap();
    let packed = packer.finish().unwrap();
    assert_eq!(all(&packed).into_iter().filter(Result::is_ok).count(), 1);
    let cut = all(&packed[..packed.len() - 12]);
    assert!(cut.last().unwrap().as_ref().unwrap_err().mistake.what.contains("cannot be read on"));
}

#[test]
fn kubernetes_audit_reads() {
    for input in
        [AUDIT.to_owned(), format!("{{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"items\":[{AUDIT}]}}")]
    {
        let events = good(&input);
        let event = &events[0];
        assert!(event.head.id.as_str().starts_with("a-1/ResponseComplete/"), "{}", event.head.id);
        assert_eq!(event.subject.to_string(), "principal:mallory");
        assert_eq!(says(event, "objectRef.subresource"), "exec");
        assert_eq!(says(event, "apiGroup"), "apps");
        assert_eq!(says(event, "responseStatus.code"), "101");
        assert_eq!(event.own("cloud.action"), Some(Field::text("create pods/exec")));
        assert_eq!(event.logsource.category.as_ref().unwrap().as_str(), "application");
    }
}

/// A record as `jq` would change it.
fn audit(change: impl FnOnce(&mut serde_json::Value)) -> OwnedEvent {
    let mut record = serde_json::json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "auditID": "a-2", "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/shop/pods", "verb": "create",
        "user": { "username": "ana@example.org", "groups": ["dev", "system:authenticated"] },
        "sourceIPs": ["10.0.0.1", "198.51.100.4"],
        "objectRef": { "resource": "pods", "namespace": "shop", "apiVersion": "v1" },
        "responseStatus": { "metadata": {}, "code": 201 },
        "requestReceivedTimestamp": "2026-03-01T10:00:00.000000Z", "stageTimestamp": "2026-03-01T10:00:01.500000Z",
    });
    change(&mut record);
    good(&record.to_string()).remove(0)
}

#[test]
fn a_kubernetes_audit_event_says_to_which_pod_it_was_done() {
    let shown = |event: &OwnedEvent| event.for_playbooks()["pod"].clone();
    let exec = audit(|record| {
        record["objectRef"]["name"] = "web-0".into();
        record["objectRef"]["subresource"] = "exec".into();
    });
    let pod = shown(&exec);
    assert_eq!((&pod["namespace"], &pod["name"], &pod["uid"]), (&"shop".into(), &"web-0".into(), &().into()));
    assert_eq!(exec.own("pod.name"), Some(Field::text("web-0")));
    // Its name was made by the server: the answer has it, and what else is known of it.
    let made = audit(|record| {
        record["requestObject"] = serde_json::json!({ "kind": "Pod", "metadata": { "generateName": "web-" } });
        record["responseObject"] = serde_json::json!({
            "kind": "Pod",
            "metadata": { "name": "web-x1", "namespace": "shop", "uid": "u-1", "labels": { "app": "web" } },
            "spec": { "nodeName": "node1", "serviceAccountName": "web" },
        });
    });
    let expected = serde_json::json!({
        "namespace": "shop", "name": "web-x1", "uid": "u-1", "labels": { "app": "web" }, "node": "node1", "service_account": "web",
    });
    assert_eq!(shown(&made), expected);
    assert_eq!(made.own("cloud.object"), Some(Field::text("web-x1")));
    assert_eq!(exec.own("cloud.object"), Some(Field::text("web-0")));
    let bound = audit(|record| {
        record["objectRef"] =
            serde_json::json!({ "resource": "clusterrolebindings", "apiGroup": "rbac.authorization.k8s.io" });
        record["responseObject"] = serde_json::json!({ "kind": "ClusterRoleBinding", "metadata": { "name": "a-x1" } });
    });
    assert_eq!(bound.own("cloud.object"), Some(Field::text("a-x1")));
    // What a kubelet was asked for through the API server is done to a pod as well.
    let proxied = audit(|record| {
        record["objectRef"] = serde_json::json!({ "resource": "nodes", "name": "n1", "subresource": "proxy" });
        record["requestURI"] = "/api/v1/nodes/n1/proxy/%65xec/shop/web-0/web?command=id".into();
    });
    assert_eq!((&shown(&proxied)["namespace"], &shown(&proxied)["name"]), (&"shop".into(), &"web-0".into()));
    assert_eq!(proxied.own("cloud.path"), Some(Field::text("/exec/shop/web-0/web")));
    // A list of them, what is none of the core's, and another kind of thing.
    let none = serde_json::Value::Null;
    assert_eq!(shown(&audit(|record| record["verb"] = "list".into())), none);
    let foreign = |record: &mut serde_json::Value| {
        record["objectRef"]["name"] = "web-0".into();
        record["objectRef"]["apiGroup"] = "metrics.k8s.io".into();
    };
    assert_eq!(shown(&audit(foreign)), none);
    let refused = audit(|record| record["responseObject"] = serde_json::json!({ "kind": "Status", "metadata": {} }));
    assert_eq!((shown(&refused), refused.own("cloud.object")), (none.clone(), Some(Field::Null)));
    let secret = audit(|record| {
        record["objectRef"] = serde_json::json!({ "resource": "secrets", "namespace": "shop", "name": "x" })
    });
    assert_eq!((shown(&secret), secret.own("pod.name")), (none, Some(Field::Null)));
}

#[test]
fn the_nodes_directories_that_are_mounted_are_told_without_what_leads_nowhere() {
    let mounts = audit(|record| {
        record["requestObject"] = serde_json::json!({ "kind": "Pod", "spec": { "volumes": [
            { "hostPath": { "path": "/." } }, { "hostPath": { "path": "//var/./run/docker.sock" } },
        ] } });
    });
    assert_eq!(says(&mounts, "cloud.host_paths"), "[\"/\",\"/var/run/docker.sock\"]");
    assert_eq!(audit(|_| {}).own("cloud.host_paths"), Some(Field::Null));
}

/// An API server leaves out what is asked and answered where a record is larger than its flags say.
#[test]
fn an_audit_event_that_is_too_large_still_says_who_did_what() {
    let told = |event: &OwnedEvent| {
        (says(event, "cloud.action"), says(event, "cloud.truncated"), says(event, "requestObject.spec.x"))
    };
    let truncated = audit(|record| record["annotations"] = serde_json::json!({ "audit.k8s.io/truncated": "true" }));
    assert_eq!(told(&truncated), ("create pods".into(), "true".into(), "-".into()));
    let large = |padding: usize, more: &str| {
        audit(|record| {
            record["requestObject"] =
                serde_json::json!({ "kind": "Pod", "spec": { "x": more, "y": "x".repeat(padding) } });
        })
    };
    assert_eq!(told(&large(LARGEST_EVENT / 2, "a")), ("create pods".into(), "false".into(), "a".into()));
    assert_eq!(told(&large(LARGEST_EVENT, "a")), ("create pods".into(), "true".into(), "-".into()));
    assert_ne!(large(LARGEST_EVENT, "a").head.id, large(LARGEST_EVENT, "b").head.id, "its id is of all that it said");
    // What is small and would fill the memory counts as large.
    let heavy =
        audit(|record| record["requestObject"] = serde_json::json!(vec![serde_json::json!({ "a": 0 }); 100_000]));
    assert_eq!(told(&heavy), ("create pods".into(), "true".into(), "-".into()));
    // Whoever asks chooses the length of the address as well, and a server writes `&` as six bytes.
    let long = audit(|record| {
        record["requestURI"] =
            format!("/api/v1/namespaces/shop/pods/web-0/exec?{}", "&".repeat(2 * LARGEST_EVENT)).into();
        record["user"]["extra"] = serde_json::json!({ "claim": ["x".repeat(1000)] });
    });
    assert_eq!(told(&long), ("create pods".into(), "true".into(), "-".into()));
    assert!(says(&long, "requestURI").len() < 20_000 && says(&long, "user.username") == "ana@example.org");
    // The same within a list; and of a record of another kind nothing is left.
    let whole = serde_json::json!({ "kind": "EventList", "items": [
        { "auditID": "1", "verb": "get", "stageTimestamp": "2026-03-01T10:00:00Z", "requestObject": "x".repeat(LARGEST_EVENT) },
        { "auditID": "2", "verb": "get", "stageTimestamp": "2026-03-01T10:00:00Z" },
        { "Image": "x".repeat(LARGEST_EVENT) },
        { "auditID": "3", "verb": "get", "stageTimestamp": "2026-03-01T10:00:00Z" },
    ] });
    let read = all(whole.to_string().as_bytes());
    let cut: Vec<Option<bool>> = read
        .iter()
        .map(|read| read.as_ref().ok().map(|event| event.own("cloud.truncated") == Some(Field::Bool(true))))
        .collect();
    assert_eq!(cut, [Some(true), Some(false), None, Some(false)]);
    assert!(read[2].as_ref().unwrap_err().mistake.what.starts_with("record 3 is larger than 1 MiB"));
}

#[test]
fn a_kubernetes_audit_event_says_who_asked_as_whom_and_with_which_pods_token() {
    let token = |record: &mut serde_json::Value| {
        record["user"] = serde_json::json!({
            "username": "system:serviceaccount:shop:web", "uid": "s-1",
            "extra": { "authentication.kubernetes.io/pod-name": ["web-0"], "authentication.kubernetes.io/pod-uid": ["u-1"] },
        });
    };
    let event = audit(token);
    let shown = event.for_playbooks();
    assert_eq!(event.subject.to_string(), "principal:system:serviceaccount:shop:web");
    assert_eq!(event.entity.kind.as_str(), "principal");
    assert_eq!((&shown["actor"], &shown["cloud"]["source_ip"]), (&shown["cloud"]["principal"], &"198.51.100.4".into()));
    assert_eq!(shown["cloud"]["pod"], serde_json::json!({ "namespace": "shop", "name": "web-0", "uid": "u-1" }));
    assert_eq!(shown["cloud"]["acts_as"], serde_json::Value::Null);
    // It is about who was authenticated: the other has done nothing.
    let acts_as = audit(|record| {
        token(record);
        record["impersonatedUser"] = serde_json::json!({ "username": "system:serviceaccount:kube-system:admin" });
    });
    let shown = acts_as.for_playbooks();
    assert_eq!(acts_as.subject.to_string(), "principal:system:serviceaccount:shop:web");
    assert_eq!(acts_as.entity.id.as_str(), "system:serviceaccount:shop:web");
    assert_eq!(
        (&shown["actor"], &shown["actor"]),
        (&shown["cloud"]["principal"], &"system:serviceaccount:shop:web".into())
    );
    assert_eq!(shown["cloud"]["acts_as"], "system:serviceaccount:kube-system:admin");
    assert_eq!(shown["cloud"]["pod"]["name"], "web-0", "it was its token");
    assert_eq!(audit(|_| {}).for_playbooks()["cloud"]["pod"], serde_json::Value::Null);
}

/// An API server takes the header `Audit-ID` of whoever asks.
#[test]
fn an_audit_id_that_was_used_before_hides_nothing() {
    let id = |change: &dyn Fn(&mut serde_json::Value)| audit(|record| change(record)).head.id;
    let harmless = id(&|record| record["verb"] = "get".into());
    assert_ne!(harmless, id(&|_| {}));
    assert_eq!(harmless, id(&|record| record["verb"] = "get".into()), "the same record once more is the same event");
}

#[test]
fn auditds_log_reads_raw_and_enriched() {
    let log = "type=SYSCALL msg=audit(1770000000.250:42): arch=c000003e syscall=59 success=yes exit=0 a0=55d0 pid=7 auid=1000 comm=\"sh\" exe=\"/usr/bin/dash\" key=(null)\u{1d}ARCH=x86_64 SYSCALL=execve AUID=\"ana\"\n\
        type=EXECVE msg=audit(1770000000.250:42): argc=3 a0=\"sh\" a1=\"-c\" a2=6563686F2061\n\
        node=web1 type=PATH msg=audit(1770000000.250:42): item=0 name=\"/etc/ld.so.preload\" inode=1 nametype=CREATE\n\
        type=ADD_USER msg=audit(1770000001.000:43): pid=9 uid=0 msg='op=adding user acct=\"eve\" exe=\"/usr/sbin/useradd\" res=success'\n\
        type=SYSCALL msg=audit(1770000000.250:44): arch=c000003e syscall=133 comm=6D6B206E\n";
    let events = good(log);
    let told = |at: usize, field: &str| says(&events[at], field);
    assert_eq!(events.len(), 5);
    assert_eq!(
        (told(0, "type"), told(0, "SYSCALL"), told(0, "comm"), told(0, "key")),
        ("SYSCALL".into(), "execve".into(), "sh".into(), "-".into())
    );
    assert_eq!(told(0, "a0"), "55d0");
    assert_eq!(events[0].subject.to_string(), "user:ana");
    assert_eq!(events[0].head.at.wall.to_string(), "2026-02-02T02:40:00.25Z");
    assert_eq!((told(1, "a1"), told(1, "a2")), ("-c".into(), "echo a".into()));
    assert_eq!(
        (told(2, "name"), told(2, "nametype"), events[2].head.node.as_str()),
        ("/etc/ld.so.preload".into(), "CREATE".into(), "web1")
    );
    assert_eq!(
        (told(3, "acct"), told(3, "res"), told(3, "exe")),
        ("eve".into(), "success".into(), "/usr/sbin/useradd".into())
    );
    assert_eq!((told(4, "SYSCALL"), told(4, "comm")), ("mknod".into(), "mk n".into()));
}

#[test]
fn plain_objects_tell_their_source_by_their_names() {
    let rows = [
        (
            r#"{"Image":"/bin/sh","CommandLine":"sh -c id","ProcessId":"7","@timestamp":"2026-03-01T10:00:00Z"}"#,
            Some("process_creation"),
            Some("linux"),
        ),
        (r#"{"Image":"C:\\Windows\\cmd.exe"}"#, Some("process_creation"), Some("windows")),
        (
            r#"{"Image":"/bin/nc","DestinationIp":"203.0.113.7","DestinationPort":4444}"#,
            Some("network_connection"),
            Some("linux"),
        ),
        (r#"{"TargetFilename":"/etc/shadow"}"#, Some("file_event"), Some("linux")),
        (r#"{"type":"EXECVE","a0":"id"}"#, None, Some("linux")),
        (r#"{"anything":1}"#, None, None),
        (r#"{"x":1,"logsource":{"category":"dns","product":"zeek"}}"#, Some("dns"), Some("zeek")),
    ];
    for (input, category, product) in rows {
        let events = good(input);
        assert_eq!(events[0].logsource.category.as_ref().map(|name| name.as_str()), category, "{input}");
        assert_eq!(events[0].logsource.product.as_ref().map(|name| name.as_str()), product, "{input}");
    }
    let event = &good(rows[0].0)[0];
    assert_eq!(event.own("process.pid"), Some(Field::Int(7)));
    let own = &good(r#"{"Image":"/bin/sh","process.stdio.socket":true,"process":{"memfd":false}}"#)[0];
    assert_eq!(own.own("process.stdio.socket"), Some(Field::Bool(true)));
    assert_eq!(own.own("process.memfd"), Some(Field::Bool(false)));
    assert_eq!(event.head.at.wall.to_string(), "2026-03-01T10:00:00Z");
}

#[test]
fn recordings_come_back_as_they_were() {
    let events = good(&format!("{TRAIL}\n{AUDIT}\n"));
    let recorded: String = events.iter().map(|event| serde_json::to_string(event).unwrap() + "\n").collect();
    assert_eq!(good(&recorded), events);
    let newer = recorded.replace("\"v\":1", "\"v\":9");
    let wrong = all(newer.as_bytes()).remove(0).unwrap_err();
    assert!(wrong.mistake.what.contains("version 9"), "{}", wrong.mistake.what);
}

#[test]
fn what_cannot_be_read_is_named_kept_and_passed() {
    let object = r#"{"Image":"/bin/sh"}"#;
    let rows: &[(&[u8], &str)] = &[
        (b"not a record", "is of no known format"),
        (br#"{"Image": "/bin"#, "a string does not end"),
        (br#"{"Image": {"#, "the value does not go on with the next line"),
        (br#"{"Image": 1,"#, "the value does not go on with the next line"),
        (br#"{"Image": nope}"#, "is no JSON"),
        (br#"{"a":1} {"b":2}"#, "more follows the value"),
        (br#"{"a":1}]"#, "more follows the value"),
        (b"{\"Image\": \"\xff\xfe\"}", "is no JSON"),
        (b"{\"Image\": \"\x1b[31m\"}", "is no JSON"),
        (b"{}", "is an empty object"),
        (b"[1]", "record 1 is no record"),
        (b"\0\0\0", "is of no known format"),
        (br#"{"eventSource":"x","eventName":"y"}"#, "has no `eventTime`"),
        (br#"{"eventSource":"x","eventName":"y","eventTime":"then"}"#, "`then`"),
        (b"type=SYSCALL msg=audit(x:1): a=b", "time that is none"),
    ];
    for (line, what) in rows {
        let input = [object.as_bytes(), b"\n", line, b"\n", object.as_bytes(), b"\n"].concat();
        let mut events = read(None, Path::new("in.log"), input.as_slice());
        let read: Vec<_> = events.by_ref().collect();
        let told = String::from_utf8_lossy(line);
        assert_eq!((read.len(), events.unreadable()), (3, 1), "{told}: {read:?}");
        assert!(read[0].is_ok() && read[2].is_ok(), "{told}");
        let wrong = read[1].as_ref().unwrap_err();
        assert_eq!(wrong.mistake.place(), "in.log:2", "{told}");
        assert!(wrong.mistake.what.contains(what), "{told}: {}", wrong.mistake.what);
        if !line.starts_with(b"[") {
            assert_eq!(wrong.raw, *line);
        }
    }
}

#[test]
fn hostile_input_is_bounded() {
    let long = format!("{{\"CommandLine\":\"{}\"}}\n{{\"Image\":\"/bin/sh\"}}\n", "x".repeat(5_000_000));
    let read = all(long.as_bytes());
    assert!(read[0].as_ref().unwrap_err().mistake.what.contains(&format!("{} MiB", LARGEST_EVENT / 1024 / 1024)));
    assert!(read[0].as_ref().unwrap_err().mistake.line_text.as_ref().unwrap().len() <= 200);
    assert!(read[1].is_ok());
    let deep = format!("{}\n{{\"Image\":\"/bin/sh\"}}\n", "[".repeat(100_000));
    let read = all(deep.as_bytes());
    assert!(read[0].as_ref().unwrap_err().mistake.what.contains("nests deeper"));
    assert!(read[1].is_ok());
    let open = "[\n".repeat(1_000);
    assert_eq!(all(open.as_bytes()).len(), 1_000);
    let audit = format!("type=EXECVE msg=audit(1.0:1): {}", "a=b ".repeat(200_000));
    assert!(all(audit.as_bytes())[0].is_ok());
}

/// Who writes such a line chooses what stands where a part of it happens to end.
#[test]
fn the_rest_of_a_line_that_is_far_too_long_is_no_line_of_its_own() {
    let part = |part: &[u8], before: (u32, bool)| {
        let part = read_part(None, Path::new("in.log"), part, before);
        let told = part.read.iter().map(|(read, done)| {
            let told = match read {
                Ok(event) => says(event, "Image"),
                Err(wrong) => wrong.mistake.what.clone(),
            };
            (told, *done)
        });
        (told.collect::<Vec<_>>(), part.rest.len(), (part.lines, part.within))
    };
    let good = "{\"Image\":\"/bin/sh\"}\n";
    let long = format!("{good}{}", "x".repeat(LARGEST_DOCUMENT + 10));
    let (read, rest, before) = part(long.as_bytes(), (0, false));
    let told = vec![("/bin/sh".to_owned(), good.len() as u64), ("is longer than 64 MiB".to_owned(), long.len() as u64)];
    assert_eq!((read, rest, before), (told, 0, (2, true)));
    let (read, rest, before) = part(good.trim_end().as_bytes(), before);
    assert_eq!((read, rest, before), (Vec::new(), 0, (2, true)), "still the same line");
    let (read, rest, before) = part(format!("{good}{good}").as_bytes(), before);
    assert_eq!((read, rest, before), (vec![("/bin/sh".to_owned(), 2 * good.len() as u64)], 0, (3, false)));
}

#[test]
fn a_named_format_is_held_to() {
    let mut events = read(Some(Format::CloudTrail), Path::new(""), AUDIT.as_bytes());
    assert_eq!(events.next().unwrap().unwrap_err().mistake.place(), "<stdin>:1");
    for format in Format::ALL {
        assert_eq!(format.as_str().parse::<Format>(), Ok(format));
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]
    /// Whatever stands between good lines, they are read, and what is not read is counted.
    #[test]
    fn garbage_never_hides_what_is_good(garbage in proptest::collection::vec(line(), 0..12)) {
        let good = br#"{"Image":"/bin/sh","here":1}"#;
        let mut input = Vec::new();
        for line in &garbage {
            input.extend_from_slice(good);
            input.push(b'\n');
            input.extend_from_slice(line);
            input.push(b'\n');
        }
        let mut events = read(None, Path::new("in"), input.as_slice());
        let mut found = 0;
        let mut wrong = 0;
        for event in events.by_ref() {
            match event {
                Ok(event) => found += usize::from(event.sigma("here").is_some()),
                Err(_) => wrong += 1,
            }
        }
        proptest::prop_assert_eq!(events.unreadable(), wrong);
        proptest::prop_assert!(found >= garbage.len(), "{} of {}", found, garbage.len());
    }
}

/// Bytes, or a record cut anywhere. (Not the rest of one: between the two, what is good would be a part of the value.)
fn line() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
    use proptest::prelude::*;
    let bytes = proptest::collection::vec(any::<u8>().prop_filter("one line", |byte| *byte != b'\n'), 0..40);
    let cut = (0..TRAIL.len()).prop_map(|at| TRAIL.as_bytes()[..at].to_vec());
    prop_oneof![bytes, cut]
}
