//! Each template at a receiver of the test's own: what it is sent, and what each of its answers means.

use super::super::mark::MarkKey;
use super::super::plain::tests::letter;
use super::*;
use quell_model::notice::{Asking, Page, State, To};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A request as it came: its first line, its headers, its body.
pub(in crate::notify) struct Got {
    pub(in crate::notify) first: String,
    headers: Vec<(String, String)>,
    pub(in crate::notify) body: Value,
    pub(in crate::notify) raw: Vec<u8>,
}

impl Got {
    pub(in crate::notify) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Answers one connection after the other with these, and gives what came; an empty answer hangs up.
pub(in crate::notify) async fn receives(answers: &[&str]) -> (String, JoinHandle<Vec<Got>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap());
    let answers: Vec<String> = answers.iter().map(|&answer| answer.to_owned()).collect();
    let all = tokio::spawn(async move {
        let mut all = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            let whole = |bytes: &[u8]| {
                let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
                let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
                let length =
                    head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                (bytes.len() >= end + length.unwrap_or(0)).then_some((head, end))
            };
            let (head, end) = loop {
                if let Some(found) = whole(&bytes) {
                    break found;
                }
                assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "it hung up");
            };
            let mut lines = head.lines();
            let first = lines.next().unwrap().to_owned();
            let headers = lines.filter_map(|line| line.split_once(": "));
            let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let raw = bytes[end..].to_vec();
            all.push(Got { first, headers, body: serde_json::from_slice(&raw).unwrap_or_default(), raw });
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        all
    });
    (at, all)
}

pub(in crate::notify) fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn links() -> Option<Links> {
    Some(Links { key: MarkKey::new([7; 32]), public_url: "https://quell.example.org".into() })
}

fn to_webhook(title: &str) -> Letter {
    let mut letter = letter(title);
    letter.page = Page::new(To::Person("ana".into()), Way::Webhook("ana_phone".into()), "on call: layer 1".into());
    letter
}

fn ntfy(url: &str, token: Option<&str>) -> Webhook {
    let token = token.map(Secret::new);
    Webhook::ntfy(Client::new().unwrap(), &Secret::new(url), token, links()).unwrap()
}

fn pagerduty(url: &str) -> Webhook {
    Webhook::pagerduty(Client::new().unwrap(), &Secret::new(url), Secret::new("R0UT1NG"), links()).unwrap()
}

fn signed(url: &str) -> Webhook {
    Webhook::json(Client::new().unwrap(), &Secret::new(url), Secret::new("swordfish"), links()).unwrap()
}

#[tokio::test]
async fn ntfy_is_sent_its_json_at_the_servers_own_address() {
    let said = answer("200 OK", r#"{"id":"xE73Iyuabi","event":"message"}"#);
    let (at, got) = receives(&[&said]).await;
    let webhook = ntfy(&format!("{at}/alerts/hunter2"), Some("tk_secret"));
    let mut letter = to_webhook("A shell\nreads from a socket");
    letter.notice.story.push("x".repeat(10_000));
    letter.notice.story.extend((0..20).map(|n| format!("{n} {}", "é".repeat(290))));
    let receipt = webhook.send(&letter).await.unwrap();
    assert_eq!(receipt, Receipt::Handed { reference: Some("xE73Iyuabi".into()) });
    let got = got.await.unwrap().remove(0);
    assert_eq!(got.first, "POST /alerts/ HTTP/1.1");
    assert_eq!(got.header("authorization"), Some("Bearer tk_secret"));
    assert_eq!((&got.body["topic"], &got.body["priority"]), (&json!("hunter2"), &json!(4)));
    assert_eq!(got.body["tags"], json!(["rotating_light", "high"]));
    assert_eq!(got.body["title"], r"[high] A shell\nreads from a socket: unit nginx.service on web-1");
    let link = got.body["click"].as_str().unwrap();
    let mark = MarkKey::new([7; 32]).open(link.strip_prefix("https://quell.example.org/answer/").unwrap());
    assert_eq!(mark.unwrap().person, Some("ana".into()));
    let message = got.body["message"].as_str().unwrap();
    assert!(message.starts_with("level high, open") && message.ends_with("… (cut)"), "{message}");
    assert!(message.len() < 4_096, "{}", message.len());
}

fn asking() -> Asking {
    Asking {
        run: "r-1".into(),
        playbook: "contain".into(),
        step: "kill".into(),
        detected: "A shell reads from a socket".into(),
        because: "mode approve".into(),
        choices: vec!["yes".into(), "no".into()],
        action: Some("process.kill".into()),
        calls: vec!["kill(41, SIGKILL)".into()],
        blast_radius: vec!["1 target on web-1 (1 process)".into()],
        targets: vec!["process 41".into()],
        warnings: Vec::new(),
        who: "1 of ana".into(),
        until: "2026-11-30T07:00:00Z".parse().unwrap(),
        otherwise: "no".into(),
        not_via: Vec::new(),
    }
}

#[test]
fn no_link_is_sent_by_which_no_answer_counts() {
    let mut letter = to_webhook("t");
    letter.notice.question = Some(Box::new(asking()));
    let click = |letter: &Letter| {
        let (_, ntfy) = ntfy::Ntfy::of(&Target::of(&Secret::new("https://ntfy.sh/x")).unwrap(), None).unwrap();
        let (body, _) = ntfy.message(letter, links().as_ref());
        serde_json::from_slice::<Value>(&body).unwrap()["click"].as_str().map(str::to_owned)
    };
    assert!(click(&letter).is_some());
    letter.notice.question.as_mut().unwrap().not_via = vec!["slack".into(), super::super::mark::VIA.into()];
    assert_eq!(click(&letter), None, "they are woken all the same, and answer otherwise");
}

#[test]
fn what_is_over_rings_nobody_and_what_is_worst_rings_until_it_is_seen() {
    let mut letter = to_webhook("t");
    let of = |letter: &Letter| {
        let (_, ntfy) = ntfy::Ntfy::of(&Target::of(&Secret::new("https://ntfy.sh/x")).unwrap(), None).unwrap();
        let (body, _) = ntfy.message(letter, None);
        let body: Value = serde_json::from_slice(&body).unwrap();
        (body["priority"].as_u64().unwrap(), body.get("click").is_some())
    };
    letter.notice.level = quell_model::Level::Critical;
    assert_eq!(of(&letter), (5, false));
    letter.notice.state = State::Over;
    assert_eq!(of(&letter), (2, false));
    for bad in ["https://ntfy.sh", "https://ntfy.sh/", "https://ntfy.sh?topic=x"] {
        let wrong = Webhook::ntfy(Client::new().unwrap(), &Secret::new(bad), None, None).err();
        assert_eq!(wrong, Some(WrongWebhook::NoTopic), "{bad}");
    }
}

#[tokio::test]
async fn pagerduty_has_one_alert_a_generation() {
    let took = answer("202 Accepted", r#"{"status":"success","message":"Event processed","dedup_key":"x"}"#);
    let (at, got) = receives(&[took.as_str(); 5]).await;
    let webhook = pagerduty(&at);
    let mut letter = to_webhook("A shell reads from a socket");
    let key = |receipt: Receipt| match receipt {
        Receipt::Delivered { reference: Some(key) } => key,
        other => panic!("{other:?}"),
    };
    let first = key(webhook.send(&letter).await.unwrap());
    assert_eq!(first, "i-0f1e2d3c4b5a.1");
    // Somebody looks after it: nobody is called, and the alert says so.
    letter.earlier = Some(first.clone());
    letter.page.quiet = true;
    letter.notice.state = State::Acknowledged("bo".into());
    assert_eq!(key(webhook.send(&letter).await.unwrap()), first);
    // News of it call nobody, and would open another alert where somebody has resolved this one there.
    (letter.notice.state, letter.notice.generation) = (State::Open, 2);
    assert_eq!(key(webhook.send(&letter).await.unwrap()), first);
    // It is raised anew: an alert that is acknowledged would call nobody.
    letter.page.quiet = false;
    let second = key(webhook.send(&letter).await.unwrap());
    assert_eq!(second, "i-0f1e2d3c4b5a.2");
    letter.earlier = Some(second.clone());
    letter.notice.state = State::Over;
    assert_eq!(key(webhook.send(&letter).await.unwrap()), second);
    let got = got.await.unwrap();
    let events: Vec<(&str, &str)> = got
        .iter()
        .map(|got| (got.body["event_action"].as_str().unwrap(), got.body["dedup_key"].as_str().unwrap()))
        .collect();
    let (one, two) = ("i-0f1e2d3c4b5a.1", "i-0f1e2d3c4b5a.2");
    let wanted = [("trigger", one), ("acknowledge", one), ("trigger", two), ("resolve", one), ("resolve", two)];
    assert_eq!(events, wanted);
    assert!(got.iter().all(|got| got.body["routing_key"] == "R0UT1NG"));
    let trigger = &got[0].body;
    assert_eq!(trigger["payload"]["severity"], "error");
    assert_eq!(trigger["payload"]["custom_details"]["incident"], "i-0f1e2d3c4b5a");
    // Whoever reads it there is not whoever it was sent to.
    let href = trigger["links"][0]["href"].as_str().unwrap().rsplit_once('/').unwrap().1;
    assert_eq!(MarkKey::new([7; 32]).open(href).unwrap().person, None);
    assert!(!trigger.to_string().contains(&links().unwrap().answer(&to_webhook("t")).unwrap()));
}

#[test]
fn pagerduty_is_sent_no_more_than_it_takes() {
    let speaks = pagerduty::PagerDuty::of(&Secret::new("R0UT1NG"));
    for text in super::super::plain::tests::long() {
        let letter = super::super::plain::tests::question_of(&text);
        let (_, events) = speaks.events(&letter, links().as_ref());
        let trigger = serde_json::to_value(&events[0]).unwrap();
        let payload = &trigger["payload"];
        let length = |of: &Value| of.as_str().unwrap().chars().count();
        assert_eq!(payload["summary"], super::super::plain::subject(&letter));
        assert!(length(&payload["summary"]) <= 1_024 && length(&payload["source"]) <= 1_024);
        assert!(payload["source"].as_str().unwrap().ends_with('…'), "{}", payload["source"]);
        // The whole event: 512 KB.
        assert!(trigger.to_string().len() < 512 * 1024, "{}", trigger.to_string().len());
        let said = speaks.said(&Message {
            key: text.clone(),
            title: text.clone(),
            text: text.clone(),
            level: quell_model::Level::High,
            data: serde_json::Map::new(),
            is_repeat: false,
        });
        let said = serde_json::to_value(&said).unwrap();
        assert_eq!(length(&said["payload"]["summary"]), 1_024, "as many as there are room for");
        assert!(said["dedup_key"].as_str().unwrap().len() <= 255);
    }
}

#[test]
fn a_message_for_many_is_an_alert_of_its_own_which_the_last_of_them_resolves() {
    let speaks = pagerduty::PagerDuty::of(&Secret::new("R0UT1NG"));
    let events = |letter: &Letter| {
        let (key, events) = speaks.events(letter, None);
        let text = |event| serde_json::to_value(event).unwrap();
        let of = |event: Value| {
            format!("{} {}", event["event_action"].as_str().unwrap(), event["dedup_key"].as_str().unwrap())
        };
        (key, events.into_iter().map(text).map(of).collect::<Vec<_>>())
    };
    let mut many = to_webhook("3 incidents at once, the worst: A shell reads from a socket");
    many.is_bundle = true;
    let first = many.key.as_str().to_owned();
    assert_eq!(events(&many), (first.clone(), vec![format!("trigger {first}")]));
    // The next one leads with the same incident, and is another alert: this one may be acknowledged there.
    let mut next = many.clone();
    next.key = quell_model::notice::PageKey::of("another", 0, &many.page);
    next.last_of = vec![many.key.clone()];
    let second = next.key.as_str().to_owned();
    assert_ne!(first, second);
    assert_eq!(events(&next), (second.clone(), vec![format!("trigger {second}"), format!("resolve {first}")]));
    // The end of one whom it stood for, and of the last.
    let mut over = to_webhook("A shell reads from a socket");
    over.notice.state = State::Over;
    assert_eq!(events(&over).1, ["resolve i-0f1e2d3c4b5a.1"]);
    over.last_of = vec![next.key.clone()];
    assert_eq!(events(&over).1, ["resolve i-0f1e2d3c4b5a.1".to_owned(), format!("resolve {second}")]);
}

#[tokio::test]
async fn quells_own_json_is_signed_and_has_its_key() {
    let (at, got) = receives(&[&answer("204 No Content", "")]).await;
    let mut letter = to_webhook("A shell reads from a socket");
    letter.notice.question = Some(Box::new(asking()));
    assert_eq!(signed(&format!("{at}/in?x=1")).send(&letter).await.unwrap(), Receipt::Handed { reference: None });
    let got = got.await.unwrap().remove(0);
    assert_eq!(got.first, "POST /in?x=1 HTTP/1.1");
    assert_eq!(got.header("idempotency-key"), Some(letter.key.as_str()));
    let at: i64 = got.header("x-quell-timestamp").unwrap().parse().unwrap();
    let sum = json::Signed::of(&Secret::new("swordfish")).signature(at, &got.raw);
    assert_eq!(got.header("x-quell-signature"), Some(format!("v1={sum}").as_str()));
    let keys: Vec<&String> = got.body.as_object().unwrap().keys().collect();
    // Whoever takes these out or calls them otherwise breaks who reads them, and raises `version`.
    assert_eq!(
        keys,
        [
            "version",
            "key",
            "repeat",
            "to",
            "why_you",
            "ladder",
            "generation",
            "incident",
            "level",
            "title",
            "entity",
            "state",
            "acknowledged_by",
            "why_now",
            "story",
            "question",
            "acts",
            "answer"
        ]
    );
    assert_eq!(got.body["acts"], json!(["choose:yes", "choose:no"]));
    assert_eq!(got.body["question"]["until"], "2026-11-30T07:00:00Z");
    assert_eq!(got.body["question"]["detected"], "A shell reads from a socket");
    assert_eq!(got.body["question"]["blast_radius"], json!(["1 target on web-1 (1 process)"]));
}

#[test]
fn the_signature_is_the_hmac_of_the_moment_and_the_body() {
    // printf '1531420618.{"a":1}' | openssl dgst -sha256 -hmac swordfish
    let sum = json::Signed::of(&Secret::new("swordfish")).signature(1_531_420_618, b"{\"a\":1}");
    assert_eq!(sum, "886eedfe1908a040d8a369c981a95819765f774a546c908e2edd8ff9575b4b91");
}

/// How this answer counts: `later 7`, `unknown` or `never`, with why.
async fn counts(webhook: impl Fn(&str) -> Webhook, said: &str) -> (String, String) {
    let (at, got) = receives(&[said]).await;
    let error = webhook(&format!("{at}/hunter2")).send(&to_webhook("t")).await.unwrap_err();
    got.await.unwrap();
    let counted = match &error {
        SendError::Later { after, .. } => format!("later {}", after.map_or(0, |after| after.as_secs())),
        SendError::Unknown { .. } => "unknown".to_owned(),
        SendError::Never { .. } => "never".to_owned(),
    };
    (counted, error.to_string())
}

#[tokio::test]
async fn each_answer_has_its_meaning() {
    let rate = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n".to_owned();
    let away = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 9\r\ncontent-length: 0\r\n\r\n".to_owned();
    let moved = "HTTP/1.1 302 Found\r\nlocation: https://example.org/\r\ncontent-length: 0\r\n\r\n".to_owned();
    for (said, by_ntfy, by_others) in [
        (rate, "later 7", "later 7"),
        (away, "later 9", "later 9"),
        (answer("500 Oh", "hunter2 swordfish R0UT1NG tk_secret"), "unknown", "later 0"),
        (answer("408 Request Timeout", ""), "unknown", "later 0"),
        (
            answer("400 Bad Request", "no such routing key R0UT1NG, swordfish or tk_secret of /hunter2"),
            "never",
            "never",
        ),
        (answer("403 Forbidden", ""), "never", "never"),
        (moved, "never", "never"),
        // Hung up on after the request was read.
        (String::new(), "unknown", "unknown"),
    ] {
        let by_token = |url: &str| ntfy(url, Some("tk_secret"));
        for ((counted, why), wanted) in [
            (counts(by_token, &said).await, by_ntfy),
            (counts(pagerduty, &said).await, by_others),
            (counts(signed, &said).await, by_others),
        ] {
            assert_eq!(counted, wanted, "{said}: {why}");
            assert_eq!(counted == "never", why.contains("hint: "), "{why}");
            assert!(why.contains("127.0.0.1:") && !why.contains("hunter2"), "{why}");
        }
    }
    let (_, why) = counts(pagerduty, &answer("400 Bad Request", "no key R0UT1NG")).await;
    assert!(why.contains("no key ***") && why.contains("400"), "{why}");
    let (_, why) = counts(signed, "HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n").await;
    assert!(why.contains("no redirection is followed"), "{why}");
}

#[tokio::test]
async fn who_is_not_there_may_be_there_later_and_who_answers_nothing_may_have_it() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = ntfy(&format!("http://127.0.0.1:{port}/hunter2"), None).send(&to_webhook("t")).await.unwrap_err();
    assert!(matches!(&error, SendError::Later { after: None, .. }), "{error:?}");
    // What speaks no TLS has read nothing of it.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("https://{}/x", listener.local_addr().unwrap());
    let speaks = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 mail.example.org ESMTP\r\n").await.unwrap();
    });
    let error = signed(&at).send(&to_webhook("t")).await.unwrap_err();
    assert!(matches!(&error, SendError::Later { .. }) && error.to_string().contains("no TLS"), "{error:?}");
    speaks.await.unwrap();
}

#[tokio::test]
async fn a_receiver_that_stays_silent_may_have_taken_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}/x", listener.local_addr().unwrap());
    let client = Client::new().unwrap().within(Duration::from_millis(50));
    let webhook = Webhook::json(client, &Secret::new(at), Secret::new("swordfish"), None).unwrap();
    let letter = to_webhook("t");
    // It is connected to by the kernel, and nobody ever reads.
    let error = webhook.send(&letter).await.unwrap_err();
    assert!(matches!(&error, SendError::Unknown { .. }) && error.to_string().contains("within 50ms"), "{error:?}");
    drop(listener);
}

#[tokio::test]
async fn what_cannot_be_changed_there_is_not_sent_again_to_put_it_right() {
    let mut letter = to_webhook("t");
    letter.page.quiet = true;
    for webhook in [ntfy("http://127.0.0.1:9/x", None), signed("http://127.0.0.1:9/x")] {
        let error = webhook.send(&letter).await.unwrap_err();
        assert!(matches!(&error, SendError::Never { .. }), "{error:?}");
    }
    letter.page.way = Way::Console;
    let error = pagerduty("http://127.0.0.1:9/x").send(&letter).await.unwrap_err();
    assert!(matches!(&error, SendError::Never { .. }), "{error:?}");
    assert!(Duration::from_secs(30) > super::super::http::WHOLE, "the engine waits for a channel for 30 s");
}
