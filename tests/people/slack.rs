//! People are told by Slack: the channel and the real daemon against a stand-in (slack/standin.py), which Slack's own client
//! (slack/client.py, by `slack_sdk`) takes for Slack in the same run.

use super::signed::exchange;
use super::standin::{ANA, INCIDENTS, StandIn, TOKEN, buttons, has_sdk, manifests, scopes, script};
use super::{Night, Server, free_port};
use crate::cli::wait_until;
use quell_actions::notify::mark::{Mark, MarkKey};
use quell_actions::notify::slack::{Slack, Workspace};
use quell_model::notice::{Channel as _, Letter, Notice, Page, PageKey, Receipt, SendError, State, To, Way};
use quell_model::{Level, Secret};
use serde_json::{Value, json};
use std::process::Output;
use std::time::Duration;

/// Slack's own client, in an app that may more than quell's; none where it is not here.
fn client(there: &StandIn, args: &[&str]) -> Option<Output> {
    let url = format!("{}/", there.url());
    let mut all = vec![url.as_str()];
    all.extend(args);
    has_sdk("the stand-in of Slack against Slack's own client").then(|| script("client.py", &all).output().unwrap())
}

#[track_caller]
fn is_ok(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Whether it can be acknowledged by a button.
fn can_be_acknowledged(message: &Value) -> bool {
    buttons(message).iter().any(|(act, _)| act == "acknowledge")
}

fn key() -> MarkKey {
    MarkKey::new([7; 32])
}

/// The channel, on a runtime that its connections live on.
struct Speaks {
    slack: Slack,
    runtime: tokio::runtime::Runtime,
}

fn slack(api_url: String, token: &str) -> Speaks {
    let slack = Slack::new(Workspace { api_url, bot_token: Secret::new(token), buttons: Some(key()) }).unwrap();
    Speaks { slack, runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap() }
}

fn letter(to: To, address: &str) -> Letter {
    let page = Page::new(to, Way::Slack(address.into()), "on call in primary: layer 1".into());
    let notice = Notice {
        ladder: "i-0f1e2d3c4b5a".into(),
        incident: Some("i-0f1e2d3c4b5a".into()),
        level: Level::High,
        title: "a <!channel> *shell*".into(),
        entity: "unit nginx.service on web-1".into(),
        state: State::Open,
        because: "an incident of level high was opened".into(),
        story: vec!["run r-1 of contain-reverse-shell (enforce) is running".into()],
        generation: 1,
        question: None,
    };
    Letter {
        key: PageKey::of("i-0f1e2d3c4b5a", 3, &page),
        page,
        notice,
        repeat: false,
        earlier: None,
        is_bundle: false,
        last_of: Vec::new(),
    }
}

fn to_channel() -> Letter {
    letter(To::Channel("slack".into()), "#incidents")
}

fn to_ana() -> Letter {
    letter(To::Person("ana".into()), ANA)
}

fn send(by: &Speaks, letter: &Letter) -> Result<Option<String>, SendError> {
    match by.runtime.block_on(by.slack.send(letter))? {
        Receipt::Delivered { reference } => Ok(reference),
        Receipt::Handed { .. } => panic!("it is where it is read"),
    }
}

#[test]
fn slacks_own_client_takes_the_stand_in_for_slack() {
    let there = StandIn::start(0);
    there.lets(&wide());
    let Some(driven) = client(&there, &[]) else { return };
    assert_eq!(is_ok(&driven), "ok\n");
    there.fails(&json!({ "method": "chat.postMessage", "status": 429, "headers": { "Retry-After": "7" } }));
    there.lets(&json!(["commands"]));
    assert_eq!(is_ok(&client(&there, &["broken"]).unwrap()), "ok\n");
    // It would say so.
    assert!(!client(&there, &["broken"]).unwrap().status.success());
}

/// What it takes to try all that the stand-in knows.
fn wide() -> Value {
    json!(["chat:write", "commands", "im:write", "channels:history", "im:history"])
}

/// Both are read, and Slack refuses an app of them whatever they do not name: what quell does is done by these scopes in every test here.
#[test]
fn the_apps_manifests_allow_what_quell_does_and_nothing_else() {
    let [by_socket, by_http] = manifests();
    for (manifest, is_socket) in [(&by_socket, true), (&by_http, false)] {
        let (settings, command) = (&manifest["settings"], &manifest["features"]["slash_commands"][0]);
        assert_eq!(
            manifest["oauth_config"]["scopes"],
            json!({ "bot": ["chat:write", "commands"] }),
            "no user's scopes"
        );
        assert!(settings.get("event_subscriptions").is_none(), "it hears nothing that was not said to it");
        assert_eq!(settings["interactivity"]["is_enabled"], true, "buttons");
        assert_eq!(settings["socket_mode_enabled"], is_socket);
        assert_eq!(manifest["features"]["slash_commands"].as_array().unwrap().len(), 1);
        assert_eq!(command["command"], "/quell");
        assert_eq!(command.get("url").is_none(), is_socket, "by a link Slack needs no address");
        // Slack's own bounds (docs.slack.dev/reference/app-manifest).
        let length = |of: &Value| of.as_str().unwrap().chars().count();
        assert!(length(&manifest["display_information"]["name"]) <= 35);
        assert!(length(&manifest["display_information"]["description"]) <= 140);
        assert!(length(&command["description"]) <= 2_000 && length(&command["usage_hint"]) <= 1_000);
    }
    let path = |url: &Value| url.as_str().unwrap().strip_prefix("https://quell.example.org").unwrap().to_owned();
    assert_eq!(path(&by_http["features"]["slash_commands"][0]["url"]), "/slack/commands");
    assert_eq!(path(&by_http["settings"]["interactivity"]["request_url"]), "/slack/interactive");

    let there = StandIn::start(0);
    let call = |method: &str, args: Value| there.ask("POST", &format!("/api/{method}"), &args);
    let posted = call("chat.postMessage", json!({ "channel": INCIDENTS, "text": "x" }));
    assert_eq!(posted["ok"], true, "{posted}");
    let ts = &posted["ts"];
    assert_eq!(call("chat.update", json!({ "channel": INCIDENTS, "ts": ts, "text": "y" }))["ok"], true);
    for (method, args, needed) in [
        ("conversations.open", json!({ "users": ANA }), "im:write"),
        ("conversations.replies", json!({ "channel": INCIDENTS, "ts": ts }), "channels:history"),
    ] {
        let refused = call(method, args);
        assert_eq!((&refused["error"], &refused["needed"]), (&json!("missing_scope"), &json!(needed)), "{refused}");
    }
    // Without each of them something is missing: none is there in vain.
    there.lets(&json!(["commands"]));
    let refused = send(&slack(there.url(), TOKEN), &to_channel()).unwrap_err();
    assert!(matches!(&refused, SendError::Never { why } if why.contains("`chat:write`")), "{refused:?}");
    there.lets(&json!(["chat:write"]));
    let (token, kind) = (format!("authorization: Bearer {TOKEN}\r\n"), "content-type: application/json\r\n");
    let command = json!({ "type": "slash_commands", "payload": {} }).to_string();
    let (status, _) = exchange(there.port, "POST", "/test/socket/send", &format!("{token}{kind}"), &command);
    assert_eq!(status, 403);
    assert_eq!(scopes(&by_socket), scopes(&by_http));
}

#[test]
fn a_message_is_put_right_in_place_and_its_story_is_in_its_thread() {
    let there = StandIn::start(0);
    let slack = slack(there.url(), TOKEN);
    let mut letter = to_channel();
    let reference = send(&slack, &letter).unwrap().unwrap();
    let [head] = &there.heads()[..] else { panic!("{:?}", there.heads()) };
    assert_eq!(reference, format!("{INCIDENTS}/{}", head["ts"].as_str().unwrap()));
    assert_eq!(head["text"], "[high] a &lt;!channel&gt; *shell*: unit nginx.service on web-1");
    assert_eq!(head["blocks"][0]["text"]["text"], "[high] a <!channel> *shell*: unit nginx.service on web-1");
    assert_eq!(buttons(head).len(), 6);
    let value = head["blocks"].as_array().unwrap().iter().find(|block| block["type"] == "actions").unwrap();
    let mark = key().open(value["elements"][0]["value"].as_str().unwrap());
    assert_eq!(mark, Some(Mark { ladder: "i-0f1e2d3c4b5a".into(), generation: 1, person: None }));

    // Put right, and nobody is called.
    letter.earlier = Some(reference.clone());
    letter.page.quiet = true;
    letter.notice.state = State::Acknowledged("ana".into());
    letter.notice.because = "ana looks after it".into();
    assert_eq!(send(&slack, &letter).unwrap().as_ref(), Some(&reference));
    let [head] = &there.heads()[..] else { panic!("{:?}", there.heads()) };
    assert!(head["blocks"].to_string().contains("acknowledged by ana"), "{head}");
    assert!(!can_be_acknowledged(head) && head["parse"] == "none", "{head}");
    let thread = there.thread(head);
    assert_eq!((thread.len(), &thread[0]["text"]), (1, &json!("ana looks after it")));
    assert!(thread[0].get("subtype").is_none(), "a quiet one is not shown to the whole channel");

    // Whoever reads the channel is called anew.
    letter.page.quiet = false;
    letter.notice.state = State::Open;
    letter.notice.because = "nobody answered".into();
    send(&slack, &letter).unwrap();
    let thread = there.thread(head);
    assert_eq!((thread.len(), &thread[1]["subtype"]), (2, &json!("thread_broadcast")));

    letter.notice.state = State::Over;
    letter.notice.because = "ana has resolved it".into();
    send(&slack, &letter).unwrap();
    let [head] = &there.heads()[..] else { panic!("{:?}", there.heads()) };
    assert!(buttons(head).is_empty() && head["blocks"].to_string().contains("ana has resolved it"), "{head}");
    let thread = there.thread(head);
    assert_eq!((thread.len(), &thread[2]["text"]), (3, &json!("resolved: ana has resolved it")));
    assert!(thread[2].get("subtype").is_none());
    // As Slack's own client reads it, each block held to its own models.
    there.lets(&wide());
    if let Some(read) = client(&there, &["read", INCIDENTS, head["ts"].as_str().unwrap()]) {
        assert_eq!(is_ok(&read).lines().count(), 5, "{read:?}");
    }
}

#[test]
fn a_member_is_called_by_name_in_a_conversation_of_their_own() {
    let there = StandIn::start(0);
    let slack = slack(there.url(), TOKEN);
    let mut letter = to_ana();
    let reference = send(&slack, &letter).unwrap().unwrap();
    assert!(reference.starts_with("D0ANA0001/"), "{reference}");
    letter.earlier = Some(reference);
    letter.notice.because = "nobody answered".into();
    send(&slack, &letter).unwrap();
    let thread = there.thread(&there.heads()[0]);
    assert!(thread[0]["text"].as_str().unwrap().starts_with("<@U0ANA0001> nobody answered"), "{thread:?}");
    assert!(thread[0].get("subtype").is_none());
    // What is no member's id would be taken for a channel's name, and said there.
    for (wrong, part) in
        [("incidents", "no member's id"), ("#incidents", "no member's id"), ("U0NOBODY1", "shows the app no")]
    {
        let why = send(&slack, &self::letter(To::Person("ana".into()), wrong)).unwrap_err();
        assert!(matches!(&why, SendError::Never { why } if why.contains(part)), "{wrong}: {why:?}");
    }
    assert_eq!(there.heads().len(), 1);
}

#[test]
fn a_message_that_is_gone_is_written_anew() {
    let there = StandIn::start(0);
    let slack = slack(there.url(), TOKEN);
    let mut letter = to_channel();
    let reference = send(&slack, &letter).unwrap().unwrap();
    let ts = there.heads()[0]["ts"].clone();
    there.ask("POST", "/api/chat.delete", &json!({ "channel": INCIDENTS, "ts": ts }));
    assert!(there.heads().is_empty());
    letter.earlier = Some(reference.clone());
    let other = send(&slack, &letter).unwrap().unwrap();
    assert_ne!(other, reference);
    assert_eq!((there.heads().len(), there.messages().len()), (1, 1), "and nothing in a thread of nothing");
    // The other one stands, and nobody lets quell alter it.
    there.fails(&json!({ "method": "chat.update", "error": "edit_window_closed" }));
    letter.earlier = Some(other.clone());
    assert_ne!(send(&slack, &letter).unwrap().unwrap(), other);
}

#[test]
fn what_slack_does_not_take_goes_as_words() {
    let there = StandIn::start(0);
    let slack = slack(there.url(), TOKEN);
    for error in ["invalid_blocks", "msg_blocks_too_long"] {
        there.fails(&json!({ "method": "chat.postMessage", "error": error }));
        send(&slack, &to_channel()).unwrap();
        let heads = there.heads();
        let last = heads.last().unwrap();
        assert_eq!(last["blocks"].as_array().unwrap().len(), 1, "{last}");
        assert!(last["blocks"][0]["text"]["text"].as_str().unwrap().contains("quell incident ack"), "{last}");
    }
    // What is refused as words too is refused.
    there.fails(&json!({ "method": "chat.postMessage", "error": "invalid_blocks", "times": 2 }));
    assert!(matches!(send(&slack, &to_channel()), Err(SendError::Never { .. })));
}

#[test]
fn what_goes_wrong_is_later_never_or_nobody_knows() {
    let there = StandIn::start(0);
    let slack_there = slack(there.url(), TOKEN);
    let of = |sent: Result<Option<String>, SendError>| match sent {
        Ok(_) => "went".to_owned(),
        Err(SendError::Later { after, why }) => format!("later {after:?}: {why}"),
        Err(SendError::Unknown { why }) => format!("unknown: {why}"),
        Err(SendError::Never { why }) => format!("never: {why}"),
    };
    for (failure, first) in [
        (json!({ "status": 429, "headers": { "Retry-After": "7" } }), "later Some(7s): "),
        (json!({ "status": 429, "body": "slow down" }), "later None: "),
        (json!({ "error": "ratelimited" }), "later None: "),
        (json!({ "status": 503 }), "later None: "),
        (json!({ "error": "service_unavailable" }), "later None: "),
        (json!({ "status": 500 }), "unknown: "),
        (json!({ "status": 502, "body": "<html>" }), "unknown: "),
        (json!({ "error": "internal_error", "after": true }), "unknown: "),
        (json!({ "lost": true, "after": true }), "unknown: "),
        (json!({ "body": "<html>log in to this hotel's network</html>" }), "unknown: "),
        (json!({ "status": 404, "body": "nothing" }), "never: "),
        (json!({ "error": "missing_scope", "more": { "needed": "chat:write" } }), "never: "),
    ] {
        there.fails(&failure);
        let said = of(send(&slack_there, &to_channel()));
        assert!(said.starts_with(first), "{failure}: {said}");
        assert!(!said.contains("xoxb-0001") && !said.contains("<html>"), "{said}");
    }
    for (to, part) in [("#strange", "`/invite @quell`"), ("#private", "`/invite @quell`"), ("#archived", "is archived")]
    {
        let said = of(send(&slack_there, &letter(To::Channel("slack".into()), to)));
        assert!(said.starts_with("never: ") && said.contains(part) && said.contains("hint: "), "{said}");
    }
    for token in ["xoxb-of-nobody", "xoxb-0002-revoked"] {
        let said = of(send(&slack(there.url(), token), &to_channel()));
        assert!(said.starts_with("never: Slack does not take the bot's token") && !said.contains(token), "{said}");
    }
    let nobody = format!("http://127.0.0.1:{}/api", free_port());
    let said = of(send(&slack(nobody, TOKEN), &to_channel()));
    assert!(said.starts_with("later None: Slack cannot be reached"), "{said}");

    // What puts right may be done again, and the thread has its line once.
    let mut letter = to_channel();
    letter.earlier = send(&slack_there, &letter).unwrap();
    there.fails(&json!({ "method": "chat.update", "lost": true, "after": true }));
    let said = of(send(&slack_there, &letter));
    assert!(said.starts_with("later None: "), "{said}");
    send(&slack_there, &letter).unwrap();
    assert_eq!(there.thread(there.heads().last().unwrap()).len(), 1);
}

#[test]
fn slack_that_never_answers_is_not_waited_for() {
    let there = StandIn::start(0);
    there.fails(&json!({ "hang": true }));
    let said = send(&slack(there.url(), TOKEN), &to_channel()).unwrap_err();
    assert!(matches!(&said, SendError::Unknown { why } if why.contains("has not answered within 9s")), "{said:?}");
}

/// People of the workspace, one step that tells these by those ways, and the stand-in at this port.
fn escalation(port: u16, notify: &str, by: &str) -> String {
    format!(
        "people:\n  ana: {{ email: ana@example.org, identities: {{ slack: {ANA} }}, roles: [admin] }}\n  \
         lead: {{ email: lead@example.org, roles: [admin] }}\n\
         channels:\n  email: {{ smtp: {{ env: TEST_SMTP }}, from: quell@example.org }}\n  \
         slack: {{ bot_token: {{ env: TEST_SLACK }}, signing_secret: {{ env: TEST_SLACK }}, \
         api_url: \"http://127.0.0.1:{port}/api\", channel: \"#incidents\" }}\n\
         policies:\n  default:\n    steps:\n      - {{ notify: [{notify}], by: [{by}], wait: 1h }}\n    \
         last_resort: [person: lead]\nroutes: [{{ policy: default }}]\n"
    )
}

#[test]
fn an_incident_is_one_message_from_its_beginning_to_its_end() {
    let there = StandIn::start(0);
    let night = Night::new(&escalation(there.port, "channel: slack", "slack"));
    let id = night.attacked();
    wait_until("it is told in the channel", || !there.heads().is_empty());
    let head = there.heads().remove(0);
    assert_eq!((&head["channel"], buttons(&head).len()), (&json!(INCIDENTS), 6));
    assert!(head["text"].as_str().unwrap().starts_with("[high] &lt;script&gt;x&lt;/script&gt; shell\\nBcc"), "{head}");
    assert!(head["blocks"].to_string().contains(&format!("quell incident show {id}")), "{head}");
    wait_until("the story says so", || night.story(&id).contains("Slack (#incidents)"));
    night.daemon.ask(&["incident", "ack", &id]).ends(0);
    wait_until("it is put right", || there.heads()[0]["blocks"].to_string().contains("acknowledged by"));
    let head = there.heads().remove(0);
    assert!(!can_be_acknowledged(&head), "{head}");
    wait_until("its thread says so", || there.thread(&head).len() == 1);
    night.daemon.ask(&["incident", "resolve", &id, "--why", "rebuilt"]).ends(0);
    wait_until("it is put right once more", || buttons(&there.heads()[0]).is_empty());
    wait_until("its thread says so", || there.thread(&head).len() == 2);
    let (head, thread) = (there.heads().remove(0), there.thread(&head));
    assert!(head["blocks"].to_string().contains("rebuilt"), "{head}");
    assert!(thread[1]["text"].as_str().unwrap().contains("rebuilt"), "{thread:?}");
    assert_eq!(there.heads().len(), 1, "one message, from its beginning to its end");
    let delivered = "the page to the channel slack by Slack (#incidents) was delivered";
    wait_until("its story knows whose each of them was", || night.story(&id).matches(delivered).count() == 3);
}

#[test]
fn slack_that_is_away_or_refuses_costs_nobody_their_page() {
    // Nobody answers at its port: the same step's mail goes out, and the message once Slack is there.
    let port = free_port();
    let night = Night::new(&escalation(port, "person: ana", "slack, email"));
    let server = night.serves();
    let id = night.attacked();
    wait_until("the mail goes out", || server.to("ana@example.org").len() == 1);
    wait_until("Slack was tried", || night.story(&id).contains("Slack cannot be reached"));
    let there = StandIn::start(port);
    wait_until("the message goes out", || there.heads().len() == 1);
    assert_eq!(there.heads()[0]["channel"], "D0ANA0001");
    drop(server);
    // It refuses: by the same step, at once, though it would have waited for an hour.
    let night = Night::new(&escalation(port, "person: ana", "slack"));
    there.fails(&json!({ "method": "chat.postMessage", "error": "account_inactive", "times": 100 }));
    let server: Server = night.serves();
    let id = night.attacked();
    wait_until("the mail goes out", || server.to("ana@example.org").len() == 1);
    let story = night.story(&id);
    assert!(story.contains("Slack does not take the bot's token"), "{story}");
    assert!(
        server.to("lead@example.org").is_empty() && !night.daemon.said().contains("xoxb-0001"),
        "{}",
        night.daemon.log()
    );
}

#[test]
fn what_slack_asks_to_wait_is_waited() {
    let there = StandIn::start(0);
    there.fails(&json!({ "method": "chat.postMessage", "status": 429, "headers": { "Retry-After": "5" } }));
    let night = Night::new(&escalation(there.port, "channel: slack", "slack"));
    night.attacked();
    wait_until("it is told in the channel", || !there.heads().is_empty());
    let at: Vec<f64> = there.calls("chat.postMessage").iter().map(|call| call["at"].as_f64().unwrap()).collect();
    // Without it, it would have been tried again after 2 s or a little more.
    assert!(at.len() == 2 && Duration::from_secs_f64(at[1] - at[0]) >= Duration::from_millis(4900), "{at:?}");
}
