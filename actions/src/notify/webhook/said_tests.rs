//! What a playbook says, by each template, at a receiver of the test's own; and Opsgenie's pages.

use super::super::plain::tests::letter;
use super::tests::{answer, receives};
use super::*;
use quell_model::Level;
use quell_model::notice::{Page, State, To};
use serde_json::{Value, json};

fn message() -> Message {
    Message {
        key: "r-1/tell#2".to_owned(),
        title: "A \"shell\" <b>".to_owned(),
        text: "two\nlines".to_owned(),
        level: Level::Critical,
        data: json!({ "killed": [7], "by": "ana" }).as_object().unwrap().clone(),
        is_repeat: false,
    }
}

fn at(template: &str, url: &str) -> Webhook {
    let (client, url, secret) =
        (Client::new().unwrap(), Secret::new(format!("{url}/in/hunter2")), Secret::new("swordfish"));
    let made = match template {
        "ntfy" => Webhook::ntfy(client, &url, Some(secret), None),
        "pagerduty" => Webhook::pagerduty(client, &url, secret, None),
        "opsgenie" => Webhook::opsgenie(client, &url, secret, None),
        _ => Webhook::json(client, &url, secret, None),
    };
    made.unwrap()
}

/// What comes of the message by this template: the headers that it has, and the body.
async fn told(template: &str) -> (super::tests::Got, Value) {
    let (url, got) = receives(&[&answer("202 Accepted", "{}")]).await;
    let webhook = at(template, &url);
    assert_eq!((webhook.template(), webhook.tell(&message()).await), (template, Ok(202)));
    assert!(url.ends_with(&webhook.host()) && !webhook.host().contains("hunter2"));
    let got = got.await.unwrap().remove(0);
    let body = got.body.clone();
    (got, body)
}

#[tokio::test]
async fn each_template_says_what_a_playbook_says_with_its_key() {
    let (got, body) = told("json").await;
    let wanted = json!({
        "version": 1, "kind": "message", "key": "r-1/tell#2", "level": "critical", "title": "A \"shell\" <b>",
        "text": "two\nlines", "data": { "killed": [7], "by": "ana" },
    });
    assert_eq!((body, got.header("idempotency-key")), (wanted, Some("r-1/tell#2")));
    let moment: i64 = got.header("x-quell-timestamp").unwrap().parse().unwrap();
    let sum = json::Signed::of(&Secret::new("swordfish")).signature(moment, &got.raw);
    assert_eq!(got.header("x-quell-signature"), Some(format!("v1={sum}").as_str()));

    let (_, body) = told("pagerduty").await;
    let part = |at: &str| body.pointer(at).cloned().unwrap_or_default();
    assert_eq!((part("/event_action"), part("/dedup_key")), (json!("trigger"), json!("r-1/tell#2")));
    assert_eq!((part("/payload/severity"), part("/payload/custom_details/data/by")), (json!("critical"), json!("ana")));

    let (got, body) = told("ntfy").await;
    assert_eq!((&body["topic"], &body["priority"]), (&json!("hunter2"), &json!(5)));
    assert_eq!(body["message"], "two\nlines\n{\"killed\":[7],\"by\":\"ana\"}");
    assert_eq!(got.header("authorization"), Some("Bearer swordfish"));

    let (got, body) = told("opsgenie").await;
    assert_eq!(
        (got.first.as_str(), got.header("authorization")),
        ("POST /in/hunter2 HTTP/1.1", Some("GenieKey swordfish"))
    );
    assert_eq!((&body["alias"], &body["priority"]), (&json!("r-1/tell#2"), &json!("P1")));
    assert_eq!(
        (&body["details"], &body["message"]),
        (&json!({ "by": "ana", "killed": "[7]" }), &json!("A \"shell\" <b>"))
    );
}

#[tokio::test]
async fn what_may_have_been_taken_goes_again_under_its_key_alone_and_by_ntfy_not_at_all() {
    let away = "HTTP/1.1 503 Away\r\nretry-after: 9\r\ncontent-length: 0\r\n\r\n".to_owned();
    for (said, wanted) in [
        (away, "later"),
        (answer("429 Too Many Requests", ""), "later"),
        (answer("503 Away", ""), "unknown"),
        (answer("500 Oh", ""), "unknown"),
        (answer("408 Request Timeout", ""), "unknown"),
        (String::new(), "unknown"),
        (answer("400 Bad Request", ""), "never"),
    ] {
        for template in ["json", "pagerduty", "opsgenie", "ntfy"] {
            let (url, got) = receives(&[&said]).await;
            let error = at(template, &url).tell(&message()).await.unwrap_err();
            got.await.unwrap();
            let is_unknown = error.to_string().contains("outcome unknown");
            let is = match &error {
                SendError::Later { .. } => "later",
                SendError::Unknown { .. } => "unknown",
                SendError::Never { .. } => "never",
            };
            let told = if template == "ntfy" && wanted == "unknown" { ("never", true) } else { (wanted, false) };
            assert_eq!((is, is_unknown), told, "{template} {said}: {error}");
        }
    }
    let (url, got) = receives(&[&answer("200 OK", "{}")]).await;
    at("ntfy", &url).tell(&Message { is_repeat: true, ..message() }).await.unwrap();
    assert_eq!(got.await.unwrap()[0].body["title"], "(repeat) A \"shell\" <b>");
}

#[tokio::test]
async fn where_people_read_the_data_nothing_in_it_hides_or_turns_the_text() {
    let data = json!({ "a\u{202e}b": ["c\u{202e}d", { "e\u{1b}": "f\ng" }], "n": 1 });
    for (template, part) in [
        ("pagerduty", "/payload/custom_details/data"),
        ("opsgenie", "/details"),
        ("ntfy", "/message"),
        ("json", "/data"),
    ] {
        let (url, got) = receives(&[&answer("202 Accepted", "{}")]).await;
        let message = Message { data: data.as_object().unwrap().clone(), ..message() };
        at(template, &url).tell(&message).await.unwrap();
        let told = got.await.unwrap()[0].body.pointer(part).cloned().unwrap_or_default();
        let is_raw = told.to_string().contains('\u{202e}');
        // Programs read it as it is.
        assert_eq!(
            (is_raw, template == "json" || told.to_string().contains("u{202e}b")),
            (template == "json", true),
            "{told}"
        );
    }
}

#[tokio::test]
async fn opsgenie_has_one_alert_a_generation_which_is_closed_by_its_alias() {
    let (url, got) = receives(&[answer("202 Accepted", "{}").as_str(); 6]).await;
    let webhook = at("opsgenie", &url);
    let mut letter = letter(&"x".repeat(200));
    letter.page = Page::new(To::Person("ana".into()), Way::Webhook("ops".into()), "on call: layer 1".into());
    let alias = |receipt: Receipt| match receipt {
        Receipt::Delivered { reference: Some(alias) } => alias,
        other => panic!("{other:?}"),
    };
    let first = alias(webhook.send(&letter).await.unwrap());
    letter.earlier = Some(first.clone());
    letter.page.quiet = true;
    letter.notice.state = State::Acknowledged("bo".into());
    assert_eq!(alias(webhook.send(&letter).await.unwrap()), first);
    letter.notice.state = State::Open;
    assert_eq!(alias(webhook.send(&letter).await.unwrap()), first);
    // It is raised anew: another alert calls people, and then the one of before is closed.
    (letter.page.quiet, letter.notice.generation) = (false, 2);
    let second = alias(webhook.send(&letter).await.unwrap());
    letter.earlier = Some(second.clone());
    letter.notice.state = State::Over;
    assert_eq!(alias(webhook.send(&letter).await.unwrap()), second);
    assert_eq!((first.as_str(), second.as_str()), ("i-0f1e2d3c4b5a.1", "i-0f1e2d3c4b5a.2"));
    let got = got.await.unwrap();
    let lines: Vec<&str> = got.iter().map(|got| got.first.as_str()).collect();
    let about = |alias: &str, what: &str| format!("POST /in/hunter2/{alias}/{what}?identifierType=alias HTTP/1.1");
    let made = "POST /in/hunter2 HTTP/1.1".to_owned();
    let wanted = [
        made.clone(),
        about(&first, "acknowledge"),
        about(&first, "notes"),
        made,
        about(&first, "close"),
        about(&second, "close"),
    ];
    assert_eq!(lines, wanted);
    let alert = &got[0].body;
    assert_eq!(alert["message"].as_str().unwrap().chars().count(), 130);
    assert_eq!((&alert["priority"], &alert["tags"]), (&json!("P2"), &json!(["quell", "incident", "high"])));
    assert_eq!((&alert["alias"], &alert["source"]), (&json!(first), &json!("quell")));
    assert!(got.iter().all(|got| got.header("authorization") == Some("GenieKey swordfish")));
}
