//! What messages look like, what hostile texts do in them, and Slack's bounds.

use super::*;
use crate::notify::plain::tests::letter;
use quell_model::Name;
use quell_model::notice::{Page, Way};
use serde_json::{Value, json};

fn key() -> MarkKey {
    MarkKey::new([7; 32])
}

/// A question about something that an attacker named.
fn asked(hostile: &str, many: usize) -> Letter {
    let mut letter = letter(hostile);
    letter.notice.ladder = "r-0f1e2d3c4b5a/kill_it/approve".into();
    let rows = |what: &str| (0..many).map(|n| format!("{what} {n} {hostile}")).collect::<Vec<String>>();
    letter.notice.question = Some(Box::new(Asking {
        run: "r-0f1e2d3c4b5a".into(),
        playbook: "contain-reverse-shell".into(),
        step: "kill_it".into(),
        detected: format!("a shell {hostile}"),
        because: format!("mode approve: {hostile}"),
        choices: vec!["approve".into(), "deny".into()],
        action: Some("process.kill".into()),
        calls: rows("pidfd_send_signal"),
        blast_radius: rows("1 target of"),
        targets: rows("process 4711"),
        warnings: rows("still open:"),
        who: "1 of ana, lead".into(),
        until: "2026-11-30T03:00:00Z".parse().unwrap(),
        otherwise: "deny".into(),
        not_via: Vec::new(),
    }));
    letter
}

fn shown(letter: &Letter) -> Value {
    serde_json::to_value(message(letter, Some(&key())).blocks).unwrap()
}

/// Every text of a document, with the type of what it stands in.
fn texts(value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| texts(one, found)),
        Value::Object(map) => {
            let kind = map.get("type").and_then(Value::as_str).unwrap_or("none").to_owned();
            for (name, value) in map {
                match value {
                    Value::String(text) if name != "type" => found.push((kind.clone(), text.clone())),
                    value => texts(value, found),
                }
            }
        }
        _ => {}
    }
}

/// Slack's bounds, and that nothing of it is markup.
#[track_caller]
fn holds(content: &Content) {
    let blocks = serde_json::to_value(&content.blocks).unwrap();
    let all = blocks.as_array().unwrap();
    assert!((1..=50).contains(&all.len()));
    assert!(blocks.to_string().encode_utf16().count() <= 13_200, "{}", blocks.to_string().len());
    let units = |text: &str| text.encode_utf16().count();
    for block in all {
        let most = if block["type"] == "header" { 150 } else { 3000 };
        let mut found = Vec::new();
        texts(block, &mut found);
        for (kind, text) in &found {
            assert!(
                ["plain_text", "text", "button", "date", "none", "rich_text_list"].contains(&kind.as_str()),
                "{kind} reads markup, or leads somewhere: {text}"
            );
            assert!(units(text) <= most && !text.is_empty(), "{} {text:?}", units(text));
            let hidden = |c: char| c.is_control() && c != '\n' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{200b}');
            assert!(!text.contains(hidden), "{text:?}");
        }
    }
    assert!(!content.text.is_empty() && units(&content.text) <= 3000);
    assert!(!content.text.contains(['<', '>', '\n']), "{}", content.text);
}

fn buttons_of(blocks: &Value) -> Vec<Value> {
    let actions = blocks.as_array().unwrap().iter().find(|block| block["type"] == "actions");
    actions.map_or_else(Vec::new, |block| block["elements"].as_array().unwrap().clone())
}

/// What people read, a line each.
fn read(blocks: &Value) -> String {
    let mut lines = Vec::new();
    for block in blocks.as_array().unwrap() {
        let rows: Vec<&Value> = match block["type"].as_str().unwrap() {
            "header" | "section" => vec![&block["text"]],
            "actions" => continue,
            _ => block["elements"].as_array().unwrap().iter().collect(),
        };
        for row in rows {
            let mut found = Vec::new();
            texts(row, &mut found);
            lines.push(found.into_iter().map(|(_, text)| text).collect::<String>());
        }
    }
    lines.join("\n")
}

#[test]
fn a_message_says_what_why_and_what_to_do() {
    let mut letter = letter("A shell reads from a socket");
    let blocks = shown(&letter);
    assert_eq!(
        read(&blocks),
        "[high] A shell reads from a socket: unit nginx.service on web-1\n\
         what: A shell reads from a socket\n\
         where: unit nginx.service on web-1\n\
         level: high, open\n\
         why now: an incident of level high was opened\n\
         why you: on call in primary: layer 1\n\
         run r-1 of contain-reverse-shell (enforce) is running\n\
         look: quell incident show i-0f1e2d3c4b5a"
    );
    let pressed = buttons_of(&blocks);
    let rows: Vec<Value> = pressed
        .iter()
        .map(|one| json!([one["text"]["text"], one["action_id"], one["style"], one.get("confirm").is_some()]))
        .collect();
    assert_eq!(
        rows,
        [
            json!(["Acknowledge", "quell:acknowledge", "primary", false]),
            json!(["Escalate", "quell:escalate", null, false]),
            json!(["Resolve", "quell:resolve", null, true]),
            json!(["False positive", "quell:false-positive", "danger", true]),
            json!(["Keep", "quell:keep", null, false]),
            json!(["Undo", "quell:undo", "danger", true]),
        ]
    );
    let mark = key().open(pressed[0]["value"].as_str().unwrap()).unwrap();
    assert_eq!(mark, Mark { ladder: "i-0f1e2d3c4b5a".into(), generation: 1, person: None });
    // Whoever reads a channel is not told why it is them.
    letter.page = Page::new(To::Channel("slack".into()), Way::Slack("#incidents".into()), "named by the policy".into());
    assert!(read(&shown(&letter)).contains("why here: named by the policy"));
    letter.notice.state = State::Acknowledged("ana".into());
    let blocks = shown(&letter);
    assert!(read(&blocks).contains("level: high, acknowledged by ana"));
    assert_eq!(buttons_of(&blocks).len(), 5, "all but Acknowledge");
    letter.notice.state = State::Over;
    letter.notice.because = "ana has resolved it: rebuilt".into();
    let (blocks, told) = (shown(&letter), read(&shown(&letter)));
    assert!(
        told.contains("level: high, resolved\n") && told.contains("resolved: ana has resolved it: rebuilt\n"),
        "{told}"
    );
    assert!(
        buttons_of(&blocks).is_empty() && !told.contains("incident ack") && told.contains("incident show"),
        "{told}"
    );
}

#[test]
fn where_nothing_takes_buttons_in_there_are_commands() {
    let blocks = serde_json::to_value(message(&letter("x"), None).blocks).unwrap();
    assert!(buttons_of(&blocks).is_empty());
    assert!(read(&blocks).contains("quell incident ack i-0f1e2d3c4b5a --generation 1"), "{}", read(&blocks));
    let blocks = serde_json::to_value(message(&asked("x", 1), None).blocks).unwrap();
    assert!(read(&blocks).contains("quell run answer r-0f1e2d3c4b5a/kill_it deny"), "{}", read(&blocks));
}

#[test]
fn a_question_shows_all_that_whoever_answers_it_has_to_see() {
    let blocks = shown(&asked("x", 2));
    let told = read(&blocks);
    assert_eq!(
        told,
        "[high] answer wanted: x: unit nginx.service on web-1\n\
         what: x\n\
         where: unit nginx.service on web-1\n\
         level: high, waits for an answer\n\
         why now: an incident of level high was opened\n\
         why you: on call in primary: layer 1\n\
         detected: a shell x\n\
         asked by: run r-0f1e2d3c4b5a of contain-reverse-shell, step kill_it\n\
         why it asks: mode approve: x\n\
         it would do: process.kill\n\
         blast radius: \n\
         bullet1 target of 0 x1 target of 1 x\n\
         to: \n\
         bulletprocess 4711 0 xprocess 4711 1 x\n\
         calls: \n\
         pidfd_send_signal 0 x\npidfd_send_signal 1 x\n\
         note: \n\
         bulletstill open: 0 xstill open: 1 x\n\
         may answer: 1 of ana, lead\n\
         until: {date_short_pretty} {time_secs}2026-11-30T03:00:00Z, and without an answer: deny\n\
         run r-1 of contain-reverse-shell (enforce) is running"
    );
    assert!(blocks.to_string().contains("rich_text_preformatted"));
    let pressed = buttons_of(&blocks);
    let styles: Vec<Value> = pressed.iter().map(|one| json!([one["action_id"], one["style"]])).collect();
    assert_eq!(styles, [json!(["quell:choose:approve", "primary"]), json!(["quell:choose:deny", "danger"])]);
    for one in &pressed {
        assert_eq!(
            act_of(one["action_id"].as_str().unwrap()).map(|act| action_id(&act)).as_ref(),
            one["action_id"].as_str().map(str::to_owned).as_ref()
        );
    }
    assert_eq!((act_of("acknowledge"), act_of("quell:delete"), act_of("other:undo")), (None, None, None));
}

#[test]
fn hostile_texts_are_shown_and_do_nothing() {
    let long = "A".repeat(4000);
    let ands = "&<\"\\".repeat(1000);
    let skulls = "\u{1f480}".repeat(4000);
    for hostile in [
        "<!channel> <!here> <!everyone>",
        "<@U0ANA0001> <#C0INCIDENT> <!subteam^S1>",
        "<https://evil.example.org|your bank> https://evil.example.org",
        "*bold* _italic_ ~gone~ `code` ```\ncode\n``` > quote",
        "&lt;!channel&gt; &amp;",
        ":skull: :tada:",
        "\u{202e}gpj.exe\u{202c} \u{200b}\u{2066}x",
        "a\r\nb\n\nc\u{1b}[31m\0\u{7f}\u{9b}",
        "\"},{\"type\":\"section\"",
        "   ",
        "",
        &long,
        &ands,
        &skulls,
    ] {
        let mut plain = letter(hostile);
        plain.notice.entity = hostile.to_owned();
        plain.notice.because = hostile.to_owned();
        plain.page.because = hostile.to_owned();
        plain.notice.story = vec![hostile.to_owned(); 21];
        let mut question = asked(hostile, 3);
        question.notice.entity = hostile.to_owned();
        for letter in [&mut plain, &mut question] {
            for state in [State::Open, State::Acknowledged(hostile.into()), State::Over] {
                letter.notice.state = state;
                holds(&message(letter, Some(&key())));
                holds(&message(letter, None));
                holds(&words(letter));
                letter.page.quiet = !letter.page.quiet;
                let mut said = reply(letter, None);
                said.text = said.text.replace('\n', " ");
                holds(&said);
            }
        }
    }
    let mention = escaped("<!channel> & <@U1>");
    assert_eq!(mention, "&lt;!channel&gt; &amp; &lt;@U1&gt;");
}

#[test]
fn whoever_is_called_is_named_in_the_thread_and_nobody_by_a_quiet_page() {
    let mut letter = letter("x");
    letter.notice.because = "nobody answered <!channel>".into();
    let said = reply(&letter, Some("U012"));
    assert_eq!(said.text, "<@U012> nobody answered &lt;!channel&gt;\nwhy you: on call in primary: layer 1");
    let element =
        |content: &Content| serde_json::to_value(&content.blocks).unwrap()[0]["elements"][0]["elements"].clone();
    assert_eq!(
        element(&said),
        json!([
            { "type": "user", "user_id": "U012" },
            { "type": "text", "text": " " },
            { "type": "text", "text": "nobody answered <!channel>\nwhy you: on call in primary: layer 1" },
        ])
    );
    let mut to_all = letter.clone();
    to_all.page.to = To::Channel("slack".into());
    assert!(reply(&to_all, None).text.ends_with("\nwhy here: on call in primary: layer 1"), "nobody of them is meant");
    letter.page.quiet = true;
    let said = reply(&letter, Some("U012"));
    assert_eq!(said.text, "nobody answered &lt;!channel&gt;");
    assert!(!element(&said).to_string().contains("U012"));
    (letter.page.quiet, letter.notice.state, letter.repeat) = (false, State::Over, true);
    assert_eq!(reply(&letter, None).text, "(repeat) resolved: nobody answered &lt;!channel&gt;");
}

#[test]
fn what_has_no_room_is_left_out_and_says_so() {
    let long = "x".repeat(250);
    let letter = asked(&long, 40);
    let content = message(&letter, Some(&key()));
    holds(&content);
    let told = read(&serde_json::to_value(&content.blocks).unwrap());
    assert!(told.contains("more: `quell run show r-0f1e2d3c4b5a`"), "{told}");
    assert_eq!(buttons_of(&serde_json::to_value(&content.blocks).unwrap()).len(), 2, "whatever else is there");
    // A call is never shown in part without a word.
    let mut one = asked("x", 0);
    one.notice.question.as_mut().unwrap().calls = vec!["y".repeat(20_000)];
    let told = read(&shown(&one));
    assert!(told.contains("yy…\n"), "{told}");
    // What no button holds has its command.
    let choices = |names: Vec<String>| {
        let mut letter = asked("x", 1);
        letter.notice.question.as_mut().unwrap().choices = names.iter().map(|name| Name::from(name.as_str())).collect();
        letter
    };
    let wide = choices(vec!["yes".to_owned(), "n".repeat(300)]);
    holds(&message(&wide, Some(&key())));
    assert_eq!(buttons_of(&shown(&wide)).len(), 1);
    assert!(read(&shown(&wide)).contains("quell run answer r-0f1e2d3c4b5a/kill_it yes"));
    let crowd = choices((0..60).map(|n| format!("choice_{n}")).collect());
    holds(&message(&crowd, Some(&key())));
    assert!(buttons_of(&shown(&crowd)).len() <= 25);
    assert!(read(&shown(&crowd)).contains("quell run answer r-0f1e2d3c4b5a/kill_it choice_0"));
}
