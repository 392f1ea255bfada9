//! Deliveries right, wrong and too many, to a front whose engine is the test.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::daemon::deliveries_of_a_test;
use axum::body::Body;
use std::io::Write;
use tower::ServiceExt;

const RECORD: &str = r#"{"kind":"Event","auditID":"NUMBER","stage":"ResponseComplete","verb":"get","stageTimestamp":"2026-03-01T10:00:00Z"}"#;

fn list(ids: &[&str]) -> String {
    let items: Vec<String> = ids.iter().map(|id| RECORD.replace("NUMBER", id)).collect();
    format!(r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{{}},"items":[{}]}}"#, items.join(","))
}

struct Stage {
    router: Router,
    front: Arc<Front>,
    keys: watch::Sender<Arc<Keys>>,
    dir: tempfile::TempDir,
}

impl Stage {
    /// With a token in a file; its engine takes what the journal takes.
    fn new() -> (Self, crate::daemon::EngineOfATest) {
        Self::with(Room::one_of(1))
    }

    fn with(room: Room) -> (Self, crate::daemon::EngineOfATest) {
        let dir = tempfile::tempdir().unwrap();
        let (deliveries, engine) = deliveries_of_a_test();
        let source = Name::from("webhook:a");
        let token = dir.path().join("token");
        write_token(&token, "secret");
        let keys = watch::Sender::new(Arc::new(Keys::from([(source.clone(), Some(SecretFrom::File(token)))])));
        let meter = Arc::new(SourceMeter::of_webhook(source.clone()));
        let aside = Aside::of(dir.path(), &source);
        let front = Front::new((source, Format::KubernetesAudit), keys.subscribe(), deliveries, (meter, room), aside);
        let front = Arc::new(front);
        (Self { router: router(Arc::clone(&front)), front, keys, dir }, engine)
    }

    async fn ask(&self, request: Request) -> (u16, String, String) {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let again = answer.headers().get(header::RETRY_AFTER).map(|again| again.to_str().unwrap().to_owned());
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, again.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap())
    }

    async fn post(&self, body: impl Into<Body>) -> (u16, String, String) {
        self.ask(request(&[("authorization", "Bearer secret")], body)).await
    }

    fn stands(&self) -> (u64, u64, u64, u64) {
        let webhook = self.front.meter.status().webhook.unwrap();
        (webhook.accepted, webhook.later, webhook.denied, webhook.wrong)
    }
}

fn write_token(path: &std::path::Path, token: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, format!("{token}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn request(headers: &[(&str, &str)], body: impl Into<Body>) -> Request {
    let request = Request::builder().method("POST").uri("/?timeout=30s");
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(body.into()).unwrap()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(text).unwrap();
    packer.finish().unwrap()
}

#[tokio::test]
async fn what_is_brought_with_the_token_is_taken_once() {
    let (stage, engine) = Stage::new();
    let ran = engine.run();
    let (status, _, body) = stage.post(list(&["1", "2"])).await;
    assert_eq!((status, body.as_str()), (200, r#"{"accepted":2,"repeated":0,"unreadable":0}"#));
    let packed = request(
        &[("authorization", "bearer secret"), ("content-encoding", "gzip")],
        gzip(list(&["2", "3"]).as_bytes()),
    );
    let (status, _, body) = stage.ask(packed).await;
    assert_eq!((status, body.as_str()), (200, r#"{"accepted":1,"repeated":1,"unreadable":0}"#));
    let (status, _, body) = stage.post(list(&[])).await;
    assert_eq!((status, body.as_str()), (200, r#"{"accepted":0,"repeated":0,"unreadable":0}"#));
    let ids: Vec<String> =
        ran.stop().iter().map(|event| event.head.id.as_str().split('/').next().unwrap().to_owned()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    assert_eq!(stage.stands(), (3, 0, 0, 0));
    let figures = stage.front.meter.figures();
    assert_eq!(figures.read, [(Class::Record, 4)]);
    assert_eq!(figures.brought.unwrap().repeated, 1, "one of them again");
}

#[tokio::test]
async fn who_has_not_the_token_brings_nothing_and_a_changed_token_holds_at_once() {
    let (stage, engine) = Stage::new();
    let ran = engine.run();
    for headers in [
        &[][..],
        &[("authorization", "Bearer other")],
        &[("authorization", "Basic secret")],
        &[("authorization", "Bearer ")],
    ] {
        let (status, again, _) = stage.ask(request(headers, list(&["1"]))).await;
        assert_eq!((status, again.as_str()), (401, ""), "{headers:?}");
    }
    let token = stage.dir.path().join("token");
    write_token(&token, "other");
    assert_eq!(stage.post(list(&["1"])).await.0, 401);
    assert_eq!(stage.ask(request(&[("authorization", "Bearer other")], list(&["1"]))).await.0, 200);
    // Nobody can say whether it is right: they come again.
    std::fs::remove_file(&token).unwrap();
    let (status, again, body) = stage.post(list(&["1"])).await;
    assert!(status == 503 && !again.is_empty() && !body.contains("token\""), "{status} {body}");
    stage.keys.send_replace(Arc::new(Keys::from([("webhook:a".into(), None)])));
    assert_eq!(stage.ask(request(&[], list(&["2"]))).await.0, 200, "a webhook that has none asks for none");
    assert_eq!((ran.stop().len(), stage.stands()), (2, (2, 1, 5, 0)));
}

#[tokio::test]
async fn what_cannot_be_read_is_put_aside_and_the_rest_goes_on() {
    let (stage, engine) = Stage::new();
    let ran = engine.run();
    let broken = list(&["1", "2"]).replace("\"items\":[", "\"items\":[7,{\"auditID\":\"x\"},");
    let (status, _, body) = stage.post(broken).await;
    assert_eq!((status, body.as_str()), (200, r#"{"accepted":2,"repeated":0,"unreadable":2}"#));
    for body in ["no JSON at all", "{\"kind\":", "null"] {
        assert_eq!(stage.post(body).await.0, 200, "{body}");
    }
    let kept = std::fs::read_to_string(stage.dir.path().join("aside/webhook-a.jsonl")).unwrap();
    assert_eq!(kept.lines().count(), 5, "{kept}");
    for told in ["record 1 is no record", "it has no `stageTimestamp`", "no JSON at all"] {
        assert!(kept.contains(told), "{told}: {kept}");
    }
    assert_eq!((ran.stop().len(), stage.front.meter.figures().unreadable), (2, 5));
    // Whoever cannot keep it does not take it.
    std::fs::remove_dir_all(stage.dir.path().join("aside")).unwrap();
    std::fs::write(stage.dir.path().join("aside"), "").unwrap();
    assert_eq!(stage.post("no JSON").await.0, 503);
}

#[tokio::test]
async fn bodies_have_a_bound_packed_or_not() {
    let (stage, engine) = Stage::new();
    let ran = engine.run();
    let long = " ".repeat(LONGEST + 1);
    assert_eq!(stage.post(long[1..].to_owned()).await.0, 200, "nothing at all is in it");
    assert_eq!(stage.post(long.clone()).await.0, 413);
    let packed = |body: Vec<u8>| request(&[("authorization", "Bearer secret"), ("content-encoding", "gzip")], body);
    assert_eq!(stage.ask(packed(b"no gzip".to_vec())).await.0, 400);
    let whole = gzip(list(&["1"]).as_bytes());
    assert_eq!(stage.ask(packed(whole[..whole.len() - 9].to_vec())).await.0, 400, "half of it");
    let other = request(&[("authorization", "Bearer secret"), ("content-encoding", "br")], "x");
    assert_eq!(stage.ask(other).await.0, 415);
    assert_eq!(stage.ask(Request::builder().uri("/").body(Body::empty()).unwrap()).await.0, 405);
    assert_eq!(
        stage.ask(Request::builder().method("POST").uri("/v1/status").body(Body::empty()).unwrap()).await.0,
        404
    );
    drop(ran.stop());
    // Squeezed by a thousand, it is more than a body may be once it is unpacked.
    let bomb = gzip(long.as_bytes());
    assert!(bomb.len() < LONGEST / 100);
    assert_eq!(stage.ask(packed(bomb)).await.0, 413);
}

#[tokio::test]
async fn what_would_fill_the_memory_is_refused_before_it_is_read_and_what_has_no_room_now_comes_again() {
    let (stage, engine) = Stage::with(Room::of(48 << 20));
    // Seventy bytes of a value for two of a body, five hundred of a map for eight.
    for filler in ["0,", "[],", "{\"a\":0},"] {
        let count = (1 << 20) / filler.len();
        let object = format!("\"items\":[{{\"requestObject\":[{}0],", filler.repeat(count));
        let body = list(&["1"]).replace("\"items\":[{", &object);
        assert!(body.len() < LONGEST / 8);
        let (status, again, told) = stage.post(body.clone()).await;
        assert_eq!((status, again.as_str()), (413, ""), "{told}");
        assert!(told.contains("would fill more than 48 MiB of memory") && told.contains("batch-max-size"), "{told}");
        let packed = [("authorization", "Bearer secret"), ("content-encoding", "gzip")];
        assert_eq!(stage.ask(request(&packed, gzip(body.as_bytes()))).await.0, 413);
    }
    // What waits for the engine keeps its room, and others come again.
    let ids: Vec<String> = (0..5_000).map(|id| id.to_string()).collect();
    let many = list(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let (router, first) = (stage.router.clone(), many.clone());
    let first = tokio::spawn(async move {
        router.oneshot(request(&[("authorization", "Bearer secret")], first)).await.unwrap().status()
    });
    while stage.front.room.free() > 24 << 20 {
        tokio::task::yield_now().await;
    }
    let (status, again, told) = stage.post(many.clone()).await;
    assert_eq!((status, again.as_str()), (429, "2"), "{told}");
    let ran = engine.run();
    assert_eq!(first.await.unwrap(), 200);
    assert_eq!(stage.post(many).await.0, 200, "there is room again");
    // A test's engine remembers few of them.
    assert_eq!(ran.stop().len(), 2 * ids.len());
}

#[tokio::test]
async fn very_many_records_that_cannot_be_read_are_counted_and_put_aside() {
    let (stage, engine) = Stage::new();
    let ran = engine.run();
    let body = format!("[{}0]", "0,".repeat(2 * ASIDE));
    let (status, _, body) = stage.post(body).await;
    assert_eq!((status, body), (200, format!(r#"{{"accepted":0,"repeated":0,"unreadable":{}}}"#, 2 * ASIDE + 1)));
    let kept = std::fs::read_to_string(stage.dir.path().join("aside/webhook-a.jsonl")).unwrap();
    assert_eq!((kept.lines().count(), ran.stop().len()), (2 * ASIDE + 1, 0));
}

#[tokio::test]
async fn what_is_without_what_was_asked_is_taken_and_counted() {
    let (stage, engine) = Stage::new();
    let ran = engine.run();
    let cut =
        list(&["1", "2"]).replacen("\"kind\":\"Event\"", "\"annotations\":{\"audit.k8s.io/truncated\":\"true\"}", 1);
    let large = format!("\"requestObject\":{{\"a\":\"{}\"}},\"auditID\":\"2\"", "x".repeat(1 << 20));
    assert_eq!(stage.post(cut.replace("\"auditID\":\"2\"", &large)).await.0, 200);
    assert_eq!((stage.front.meter.status().truncated, stage.front.meter.figures().truncated), (2, 2));
    assert!(ran.stop().iter().all(is_truncated));
}

#[tokio::test]
async fn where_the_journal_takes_nothing_it_is_to_be_brought_again() {
    let (stage, engine) = Stage::new();
    let ran = engine.refuse();
    let (status, again, _) = stage.post(list(&["1"])).await;
    assert_eq!((status, again.as_str()), (503, "15"));
    drop(ran.stop());
    let (status, again, body) = stage.post(list(&["1"])).await;
    assert_eq!((status, again.as_str()), (503, "2"), "the engine has ended: {body}");
}

#[tokio::test]
async fn so_many_are_under_way_at_once_and_no_more() {
    let (stage, engine) = Stage::new();
    let waiting: Vec<_> = (0..AT_ONCE)
        .map(|number| {
            let (router, body) = (stage.router.clone(), list(&[&number.to_string()]));
            tokio::spawn(async move {
                router.oneshot(request(&[("authorization", "Bearer secret")], body)).await.unwrap().status()
            })
        })
        .collect();
    while stage.front.places.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let (status, again, _) = stage.post(list(&["x"])).await;
    assert_eq!((status, again.as_str()), (429, "2"));
    let ran = engine.run();
    for one in waiting {
        assert_eq!(one.await.unwrap(), 200);
    }
    assert_eq!(stage.post(list(&["x"])).await.0, 200, "there is room again");
    assert_eq!(ran.stop().len(), AT_ONCE + 1);
}
