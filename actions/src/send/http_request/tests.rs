//! What is asked, what is refused before it is, and what each answer means; by an asker of the test's own.

use super::super::ways::{Place, Way};
use super::*;
use crate::testing::Act;
use quell_model::hosts::Method;
use quell_model::{Name, Secret, SecretRef};
use std::sync::Mutex;

/// Keeps what it is asked, and answers with this.
#[derive(Default)]
struct Keeps {
    asked: Mutex<Vec<Wanted>>,
    answers: Mutex<Vec<Result<Heard, Unheard>>>,
}

#[async_trait::async_trait]
impl Asks for Keeps {
    fn place(&self, url: &str) -> Option<Place> {
        let (scheme, rest) = url.split_once("://")?;
        let (host, port) = rest.split('/').next()?.split_once(':').unwrap_or((rest.split('/').next()?, ""));
        let is_tls = scheme == "https";
        let port = port.parse().unwrap_or(if is_tls { 443 } else { 80 });
        Some(Place { host: host.to_owned(), port, is_tls, is_inner: host == "127.0.0.1" })
    }

    async fn ask(&self, wanted: Wanted) -> Result<Heard, Unheard> {
        self.asked.lock().unwrap().push(wanted);
        self.answers.lock().unwrap().pop().unwrap_or_else(|| Ok(heard(200, "{\"id\": 7}")))
    }
}

fn heard(status: u16, body: &str) -> Heard {
    let headers = [("set-cookie".to_owned(), "session=1".to_owned())].into();
    Heard { status, headers, body: body.as_bytes().to_vec(), cut: false, after: Some(Duration::from_secs(7)) }
}

fn row(host: &str, port: Option<u16>, private: bool) -> AllowedHost {
    AllowedHost {
        host: host.to_owned(),
        port,
        secrets: [Name::from("ticket_token")].into(),
        private,
        methods: [Method::Get, Method::Post, Method::Put].into(),
    }
}

fn verb() -> (Arc<Keeps>, HttpRequest) {
    let (keeps, ways) = (Arc::new(Keeps::default()), Arc::new(Ways::default()));
    let http: Arc<dyn Asks> = keeps.clone();
    let hosts =
        vec![row("tickets.example.org", None, false), row("inner", Some(8080), true), row("127.0.0.1", None, false)];
    ways.replace(Arc::new(InForce { http: Way::Ready(http), hosts, ..InForce::default() }));
    (keeps, HttpRequest(ways))
}

fn secret(name: &str) -> Json {
    to_json(&SecretRef { secret: name.into() })
}

/// With the secrets that an engine would give.
async fn run(verb: &HttpRequest, input: &Json) -> Result<Json, ActionError> {
    let act = Act::new();
    let go = act.admitted(verb, verb.plan(input).await.unwrap());
    let mut cx = act.context();
    cx.secrets = [("ticket_token".into(), Secret::new("hunter2\n")), ("bad".into(), Secret::new("a\r\nb"))]
        .into_iter()
        .collect();
    verb.run(&go, &cx).await
}

#[tokio::test]
async fn a_request_is_what_its_plan_says_with_the_secrets_that_it_names() {
    let (keeps, verb) = verb();
    let input = json!({
        "url": "https://tickets.example.org/api", "method": "POST", "headers": { "X-From": "quell" },
        "bearer": secret("ticket_token"), "secret_headers": { "X-Key": secret("ticket_token") }, "json": { "a": [1] },
    });
    let plan = verb.plan(&input).await.unwrap();
    let call = json!({
        "call": "http.request", "method": "POST", "url": "https://tickets.example.org/api",
        "headers": { "content-type": "application/json", "x-from": "quell" }, "bearer": { "secret": "ticket_token" },
        "secret_headers": { "x-key": { "secret": "ticket_token" } }, "json": { "a": [1] }, "timeout_ms": 20_000,
    });
    assert_eq!((&plan.calls, plan.would_fail.len()), (&vec![call], 0));
    let output = run(&verb, &input).await.unwrap();
    let wanted = json!({
        "status": 200, "headers": { "set-cookie": "***" }, "body": "{\"id\": 7}", "json": { "id": 7 }, "cut": false,
    });
    assert_eq!(output, wanted);
    let asked = keeps.asked.lock().unwrap().remove(0);
    let of = |name: &str| asked.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    assert_eq!((of("authorization"), of("x-key")), (Some("Bearer hunter2".into()), Some("hunter2".into())));
    assert_eq!((asked.method, asked.private, &asked.body[..]), (Method::Post, false, &b"{\"a\":[1]}"[..]));
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let (keeps, verb) = verb();
    let with = |key: &str, value: Json| {
        let mut input = json!({ "url": "https://tickets.example.org/", "method": "POST" });
        input[key] = value;
        input
    };
    for (bad, why) in [
        (with("url", json!("https://tickets.example.org/a b")), "`url` is no address"),
        (with("url", json!("https://tickets.example.org/\r\nx: y")), "`url` is no address"),
        (with("url", json!("tickets.example.org")), "no address of http"),
        (with("headers", json!({ "x": "a\r\nHost: evil" })), "has a line break"),
        (with("headers", json!({ "x\r\ny": "a" })), "no name of a header"),
        (with("headers", json!({ "Host": "evil" })), "quell's own"),
        (with("headers", json!({ "Transfer-Encoding": "chunked" })), "quell's own"),
        (with("headers", json!({ "X-HTTP-Method-Override": "DELETE" })), "quell's own"),
        (with("secret_headers", json!({ "X-Forwarded-Host": secret("ticket_token") })), "quell's own"),
        (with("headers", json!({ "Authorization": "Bearer x" })), "`authorization` in `headers`"),
        (with("headers", json!({ "a": "1", "A": "2" })), "given twice"),
        (with("expect", json!([100])), "no status"),
        (with("timeout", json!("61s")), "`timeout` is 61s"),
        (with("timeout", json!("0s")), "`timeout` is 0ns"),
        (with("body", json!("x".repeat((1 << 20) + 1))), "1048577 bytes"),
        (with("colour", json!("red")), "colour"),
        (json!({ "url": "https://tickets.example.org/", "body": "x" }), "a GET has no body"),
        (json!({ "url": "https://tickets.example.org/", "method": "POST", "body": "x", "json": 1 }), "at once"),
    ] {
        let error = verb.plan(&bad).await.unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
    }
    assert!(keeps.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_quell_yaml_does_not_allow_is_told_in_the_plan_and_not_asked() {
    let (keeps, verb) = verb();
    for (input, why) in [
        (json!({ "url": "https://evil.example.org/" }), "`evil.example.org:443` is no host that may be asked"),
        (json!({ "url": "https://tickets.example.org:8443/" }), "`tickets.example.org:8443` is no host"),
        (json!({ "url": "https://tickets.example.org/", "method": "DELETE" }), "may not be asked by DELETE"),
        (json!({ "url": "http://tickets.example.org/" }), "by https alone"),
        (json!({ "url": "https://127.0.0.1/" }), "no address of the public net"),
        (json!({ "url": "https://tickets.example.org/", "bearer": secret("other") }), "the secret `other` may not"),
    ] {
        let plan = verb.plan(&input).await.unwrap();
        assert!(plan.would_fail.len() == 1 && plan.would_fail[0].contains(why), "{why}: {:?}", plan.would_fail);
        assert!(plan.would_fail[0].contains("; hint: "), "{:?}", plan.would_fail);
        let error = run(&verb, &input).await.unwrap_err();
        assert!(
            matches!(&error, ActionError::GiveUp { hint: Some(_), .. }) && error.to_string().contains(why),
            "{error}"
        );
    }
    assert!(keeps.asked.lock().unwrap().is_empty());
    run(&verb, &json!({ "url": "http://inner:8080/x" })).await.unwrap();
    assert!(keeps.asked.lock().unwrap()[0].private);
}

#[tokio::test]
async fn a_secret_that_no_header_can_hold_is_not_sent() {
    let (keeps, verb) = verb();
    let mut hosts = vec![row("tickets.example.org", None, false)];
    hosts[0].secrets.insert("bad".into());
    let http: Arc<dyn Asks> = keeps.clone();
    verb.0.replace(Arc::new(InForce { http: Way::Ready(http), hosts, ..InForce::default() }));
    let error =
        run(&verb, &json!({ "url": "https://tickets.example.org/", "bearer": secret("bad") })).await.unwrap_err();
    assert!(error.to_string().contains("the secret `bad`"), "{error}");
    assert!(keeps.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn no_begin_of_a_secret_is_left_where_an_answer_is_cut() {
    let (keeps, verb) = verb();
    let input = json!({ "url": "https://tickets.example.org/", "bearer": secret("ticket_token") });
    keeps.answers.lock().unwrap().push(Ok(Heard { cut: true, ..heard(200, "Bearer hunter2, Bearer hunt") }));
    assert_eq!(run(&verb, &input).await.unwrap()["body"], "Bearer ***, Bearer ");
    for at in SAID - 10..SAID + 2 {
        keeps.answers.lock().unwrap().push(Ok(heard(400, &format!("{} hunter2", "x".repeat(at)))));
        let error = run(&verb, &input).await.unwrap_err().to_string();
        assert!(!error.contains(" h") && error.contains("answered 400"), "{error}");
    }
}

#[tokio::test]
async fn each_answer_has_its_meaning() {
    let (keeps, verb) = verb();
    let unknown = || Err(Unheard::Unknown("it broke off".into()));
    let soon = |status| Heard { after: None, ..heard(status, "") };
    for (answer, get, put, post) in [
        (Ok(heard(503, "")), "retry 7", "retry 7", "retry 7"),
        (Ok(heard(429, "")), "retry 7", "retry 7", "retry 7"),
        (Ok(soon(503)), "retry 0", "retry 0", "unknown"),
        (Ok(heard(500, "oh")), "retry 7", "retry 7", "unknown"),
        (Ok(heard(408, "")), "retry 7", "retry 7", "unknown"),
        (Ok(soon(504)), "retry 0", "retry 0", "unknown"),
        (Ok(soon(524)), "retry 0", "retry 0", "unknown"),
        (Ok(heard(501, "")), "no", "no", "no"),
        (Ok(heard(505, "")), "no", "no", "no"),
        (Ok(heard(404, "")), "no", "no", "no"),
        (Ok(heard(302, "")), "no", "no", "no"),
        (Err(Unheard::Unsent("away".into())), "retry 0", "retry 0", "retry 0"),
        (Err(Unheard::Refused("127.0.0.1".into())), "no", "no", "no"),
        (unknown(), "retry 0", "unknown", "unknown"),
    ] {
        for (method, wanted) in [("GET", get), ("PUT", put), ("POST", post)] {
            keeps.answers.lock().unwrap().push(answer.clone());
            let input = json!({ "url": "https://tickets.example.org/", "method": method });
            let is = match run(&verb, &input).await.unwrap_err() {
                ActionError::Retry { after, .. } => format!("retry {}", after.map_or(0, |after| after.as_secs())),
                ActionError::GiveUp { hint, .. } => if hint.is_some() { "no" } else { "no, without a hint" }.to_owned(),
                ActionError::Unknown { .. } => "unknown".to_owned(),
            };
            assert_eq!(is, wanted, "{method} {answer:?}");
        }
    }
    keeps.answers.lock().unwrap().push(Ok(heard(404, "none")));
    let found = run(&verb, &json!({ "url": "https://tickets.example.org/", "expect": [200, 404] })).await.unwrap();
    assert_eq!((&found["status"], &found["json"], &found["body"]), (&json!(404), &Json::Null, &json!("none")));
}
