//! People answer in Slack: the real daemon by signed requests and by Socket Mode, against the stand-in (slack/inward.py), which
//! Slack's own client (slack/socket_client.py, by `slack_sdk`) takes for Slack in the same run.

use super::signed::{Signed, click, exchange, form, now, signature};
use super::standin::{ANA, BO, has_sdk, script};
use super::talks::{CY, SIGNED, STRANGER, Talks};
use super::{Night, SECRET};
use crate::cli::wait_until;
use quell_actions::notify::mark::{Mark, MarkKey};
use serde_json::json;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;

/// What is seen; its title would call a whole channel.
const RULE: &str = "title: \"<!channel> *wake* <https://example.org|up>\"\nname: marked\nstatus: test\nlevel: high\n\
    logsource: { product: linux, category: process_creation }\n\
    detection:\n  image: { Image|endswith: /quell-marked }\n  condition: image\n";

fn talks(ways: &str) -> Talks {
    Talks::new(ways, &[("rules/marked.yml", RULE)])
}

#[test]
fn who_may_not_has_no_effect_and_is_told_so() {
    let night = talks(SIGNED);
    let id = night.attacked();
    let mark = night.mark(&id, 1);
    let said = night.clicks(STRANGER, "acknowledge", &mark, "stranger");
    assert!(said.contains(&format!("`{STRANGER}` of slack is nobody in escalation.yaml")), "{said}");
    assert_eq!(night.clicks(STRANGER, "resolve", &mark, "stranger-again").lines().next(), said.lines().next());
    let said = night.clicks(CY, "acknowledge", &mark, "viewer");
    assert!(said.contains("cy may not do that: no role of theirs has `ack`"), "{said}");
    let other = MarkKey::new([7; 32]).seal(&Mark { ladder: id.as_str().into(), generation: 1, person: None });
    for (hook, mark) in [("other-key", other.as_str()), ("no-mark", ""), ("cut", &mark[..mark.len() - 1])] {
        let said = night.clicks(ANA, "resolve", mark, hook);
        assert!(said.contains("none of this quell's: nothing was done"), "{said}");
    }
    let said = night.clicks(ANA, "choose:approve", &mark, "choice");
    assert!(said.contains("is nothing that can be said to incident"), "{said}");
    let said = night.clicks(ANA, "acknowledge", &night.mark("i-000000000000", 1), "no-incident");
    assert!(said.contains("there is no incident"), "{said}");
    assert_eq!(night.state(), "open", "nothing of it had an effect");
    let story = night.story(&id);
    let kept = story.lines().filter(|line| line.contains("an answer by slack had no effect"));
    assert_eq!(kept.count(), 3, "the stranger once for each thing, and cy: {story}");
    assert!(night.says(STRANGER, &format!("ack {id}"), "stranger-says").contains("is nobody in escalation.yaml"));
    let other = "U0STRANGER2";
    assert!(night.says(other, &format!("ack {id}"), "stranger-acks").contains("is nobody in escalation.yaml"));
    let story = night.story(&id);
    assert!(story.contains(&format!("slack {other} (unverified) wanted `acknowledge`")), "{story}");
    assert!(night.says(CY, &format!("ack {id}"), "viewer-says").contains("cy may not do that"));
    assert_eq!(night.state(), "open");
}

#[test]
fn one_of_two_wins_and_a_button_works_after_a_restart() {
    let mut night = talks(SIGNED);
    let id = night.attacked();
    // As the message has it.
    let mark = night.button("acknowledge");
    assert_eq!(mark, night.mark(&id, 1));
    let clicks = [("ana", ANA), ("bo", BO)].map(|(name, user)| (name, night.click(user, "acknowledge", &mark, name)));
    let told = night.click_at_once(&clicks);
    let won = |said: &String| said.starts_with("you look after incident");
    assert_eq!(told.iter().filter(|(_, said)| won(said)).count(), 1, "{told:?}");
    let (winner, _) = told.iter().find(|(_, said)| won(said)).unwrap();
    let (loser, lost) = told.iter().find(|(_, said)| !won(said)).unwrap();
    assert!(lost.contains(&format!("{winner} looks after incident `{id}` already")), "{lost}");
    assert_eq!(night.incidents()[0]["acknowledged"]["by"], *winner);
    assert_eq!(night.incidents()[0]["acknowledged"]["via"], "slack");
    wait_until("the message is put right", || {
        let acts: Vec<String> = night.buttons().into_iter().map(|(act, _)| act).collect();
        acts == ["escalate", "resolve", "false-positive", "keep", "undo"]
    });

    // The very same request once more is answered, and does nothing.
    let (_, replayed) = clicks.iter().find(|(name, _)| name == loser).unwrap();
    night.daemon.ask(&["incident", "unack", &id]).ends(0);
    assert_eq!(night.takes(replayed), 200);
    // What is asked of a ladder that begins anew names another generation.
    let late = night.clicks(ANA, "acknowledge", &mark, "late");
    assert!(late.contains("has been raised anew since that was asked"), "{late}");
    assert_eq!((night.state(), night.slack.told(loser).len()), (json!("open"), 1));
    assert!(night.story(&id).contains("ana answered by slack what has been asked anew since"), "{}", night.story(&id));

    let mark = night.mark(&id, 2);
    // Caught by somebody, and sent again after a restart: nobody knows any more that it was done.
    let caught = Signed::click(&click(BO, "escalate", &mark, &night.slack.hook("caught")));
    let at = now();
    assert_eq!(night.takes(&caught), 200);
    night.slack.hears("caught");
    let mark = night.mark(&id, 3);
    wait_until("it is older than what may still be on its way", || now() > at + 3);
    night.again();
    assert_eq!(night.takes(&caught), 503);
    let said = night.clicks(BO, "resolve", &mark, "resolves");
    assert!(said.contains(&format!("you have resolved incident `{id}`")), "{said}");
    assert_eq!(night.state(), "resolved");
    wait_until("the message has no buttons any more", || night.buttons().is_empty());
    let again = night.clicks(ANA, "resolve", &mark, "resolves-again");
    assert!(again.contains("is resolved") && again.contains("by bo"), "whoever comes second learns who: {again}");
    let undo = night.clicks(ANA, "undo", &mark, "undo");
    assert!(undo.contains("is resolved"), "{undo}");
}

#[test]
fn what_an_incident_is_handed_on_and_known_as_no_attack_by_a_button() {
    let night = talks(SIGNED);
    let id = night.attacked();
    let said = night.clicks(ANA, "escalate", &night.mark(&id, 1), "escalate");
    assert!(said.contains("whoever is next is told"), "{said}");
    let (undo, keep) = (night.mark(&id, 2), night.mark(&id, 2));
    assert!(night.clicks(ANA, "undo", &undo, "undo").contains("stands and can be taken back"));
    assert!(night.clicks(ANA, "keep", &keep, "keep").contains("stands and can be kept"));
    let said = night.clicks(BO, "false-positive", &night.mark(&id, 2), "no-attack");
    assert!(said.contains("it was no attack") && said.contains("an exception is drafted"), "{said}");
    let shown = night.incidents().remove(0);
    assert_eq!((&shown["state"], &shown["false_positive"]["by"]), (&json!("resolved"), &json!("bo")));
    let exception = night.daemon.ask(&["incident", "show", &id, "--exception"]).ends(0).out;
    assert!(exception.contains("bo says by slack that it was no attack"), "{exception}");
}

#[test]
fn what_is_asked_by_a_command_is_told_to_whoever_asks() {
    let night = talks(SIGNED);
    assert_eq!(night.says(CY, "incident", "none"), "no incident is open");
    let id = night.attacked();
    let list = night.says(CY, "incident", "list");
    assert!(
        list.starts_with(&format!("{id}  high  open  &lt;!channel&gt; *wake* &lt;https://example.org|up&gt;")),
        "{list}"
    );
    let one = night.says(CY, &format!("incident {id}"), "one");
    assert!(one.contains("high  open\n") && !one.contains("<!channel>"), "{one}");
    assert!(night.says(CY, "incident i-none", "absent").contains("there is no incident `i-none`"));
    let who = night.says(CY, "who", "who");
    assert!(who.starts_with("primary: The ana until ") && who.contains("layer 1"), "{who}");
    assert!(night.says(CY, "who primry", "whom").contains("do you mean `primary`?"));
    assert!(night.says(CY, "stauts", "wrong").contains("do you mean `status`?"));
    assert!(night.says(CY, "", "help").contains("/quell ack ID"));
    let ack = night.says(BO, &format!("ack {id}"), "ack");
    assert_eq!(ack, format!("you look after incident `{id}`"));
    let again = night.says(ANA, &format!("ack {id}"), "ack-again");
    assert!(again.contains("bo looks after incident"), "{again}");
    let status = night.says(CY, "status", "status");
    assert!(status.starts_with("blind on ") && status.contains("1 incidents are open"), "{status}");
    // Where what is told goes nowhere, or elsewhere than to Slack, what was asked is done all the same.
    for (hook, url) in [("gone", night.slack.hook("gone")), ("elsewhere", "http://127.0.0.1:1/hooks/x".to_owned())] {
        let parts = [("text", "help"), ("user_id", ANA), ("response_url", url.as_str())];
        assert_eq!(night.takes(&Signed::of("/slack/commands", form(&parts))), 200, "{hook}");
    }
    wait_until("it is in the log", || night.daemon.said().contains("would not go to Slack"));
}

/// The click was made while Slack holds what comes of it, and while nobody takes what the clicker is to be told: whatever is
/// answered then is answered before the work has come to its end.
#[test]
fn slack_is_answered_before_the_work_is_done() {
    let night = talks(SIGNED);
    let id = night.attacked();
    let mark = night.button("acknowledge");
    night.slack.fails(&json!({ "method": "chat.update", "hold": true, "times": 1000 }));
    let first = night.click(ANA, "acknowledge", &mark, "hangs");
    assert_eq!(night.takes(&first), 200);
    wait_until("Slack holds what puts the message right", || night.slack.holds("chat.update") > 0);
    assert_eq!(night.incidents()[0]["acknowledged"]["by"], "ana");
    assert!(night.slack.holds("chat.update") > 0 && night.slack.thread(&night.slack.heads()[0]).is_empty());
    let acts = || night.buttons().into_iter().map(|(act, _)| act).collect::<Vec<_>>();
    assert_eq!(acts()[0], "acknowledge", "as Slack shows it, nothing has happened yet");
    // Another is served in the meantime, and learns what has been done already.
    let said = night.clicks(BO, "acknowledge", &mark, "bo");
    assert!(said.contains(&format!("ana looks after incident `{id}` already")), "{said}");
    assert_eq!(acts()[0], "acknowledge");
    night.slack.lets_go();
    wait_until("the message is put right", || acts()[0] == "escalate");
}

/// Rows of requests, with what Slack's own check says of each and what the daemon does.
#[test]
fn a_signature_holds_where_slacks_own_check_says_so() {
    let night = talks(SIGNED);
    let at = now();
    let row = |number: usize, secret: &str, at: String, spoil: &dyn Fn(&mut String, &mut String)| {
        let mut body = form(&[("user_id", ANA), ("text", "help"), ("n", &number.to_string())]);
        let mut signature = signature(secret, &at, &body);
        spoil(&mut body, &mut signature);
        (at, signature, body)
    };
    let seconds = |more: i64| at.checked_add_signed(more).unwrap().to_string();
    let fine = |_: &mut String, _: &mut String| {};
    let rows = [
        row(0, SECRET, seconds(0), &fine),
        row(1, SECRET, seconds(-200), &fine),
        row(2, SECRET, seconds(200), &fine),
        row(3, SECRET, seconds(-400), &fine),
        row(4, SECRET, seconds(400), &fine),
        row(5, "another", seconds(0), &fine),
        row(6, SECRET, "0".to_owned(), &fine),
        row(7, SECRET, "soon".to_owned(), &fine),
        row(8, SECRET, format!("{}.5", seconds(0)), &fine),
        row(9, SECRET, seconds(0), &|body, _| body.push('x')),
        row(10, SECRET, seconds(0), &|body, _| *body = body.replace("help", "hElp")),
        row(11, SECRET, seconds(0), &|_, signature| *signature = signature.to_uppercase()),
        row(12, SECRET, seconds(0), &|_, signature| *signature = signature.replace("v0=", "v1=")),
        row(13, SECRET, seconds(0), &|_, signature| signature.truncate(signature.len() - 1)),
        row(14, SECRET, seconds(0), &|_, signature| signature.clear()),
        row(15, SECRET, seconds(0), &|_, signature| signature.push('0')),
    ];
    let ours = rows.each_ref().map(|(at, signature, body)| {
        let headers = format!("X-Slack-Request-Timestamp: {at}\r\nX-Slack-Signature: {signature}\r\n");
        exchange(night.port(), "POST", "/slack/commands", &headers, body).0
    });
    // The second is as genuine, and from before this quell: it may have been done then.
    assert_eq!(ours[..3], [200, 503, 200]);
    assert_eq!(ours[3..], [401; 13]);
    // The secret of before holds too while it is named.
    let older = Signed::by_the_older("/slack/commands", form(&[("user_id", ANA), ("text", "help")]));
    assert_eq!(night.takes(&older), 200);
    assert_eq!(exchange(night.port(), "POST", "/slack/commands", "", "text=help&user_id=U1").0, 401);
    assert_eq!(exchange(night.port(), "GET", "/slack/commands", "", "").0, 405);
    // A signature is no token: the API's own routes stay closed.
    assert_eq!(exchange(night.port(), "GET", "/v1/status", &Signed::of("", String::new()).headers, "").0, 401);
    if !has_sdk("signatures against Slack's own check") {
        return;
    }
    let given: String = rows.iter().fold(String::new(), |mut text, (timestamp, signature, body)| {
        let row = json!({ "secret": SECRET, "now": at, "timestamp": timestamp, "signature": signature, "body": body });
        writeln!(text, "{row}").unwrap();
        text
    });
    let mut checks = script("socket_client.py", &["signatures"]);
    let mut checks = checks.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    checks.stdin.take().unwrap().write_all(given.as_bytes()).unwrap();
    let said = checks.wait_with_output().unwrap();
    let theirs: Vec<bool> = String::from_utf8(said.stdout).unwrap().lines().map(|line| line == "yes").collect();
    assert_eq!(theirs, ours.map(|status| status != 401));
}

#[test]
fn socket_mode_brings_the_same_and_comes_back() {
    let night = talks("app_token: { env: TEST_APP }");
    let slack = &night.slack;
    let opened = || slack.links()["opened"].as_u64().unwrap();
    let open = || slack.links()["open"].as_array().unwrap().len();
    wait_until("a link is open", || open() == 1);
    let parts = form(&[("user_id", ANA), ("text", "help")]);
    assert_eq!(night.takes(&Signed::of("/slack/commands", parts)), 404, "there is no secret to sign with");
    let command = |user: &str, text: &str, hook: &str| {
        let payload = json!({ "command": "/quell", "text": text, "user_id": user, "response_url": slack.hook(hook) });
        json!({ "type": "slash_commands", "payload": payload })
    };
    let sent = slack.sends(&command(ANA, "help", "help"));
    assert!(slack.hears("help").contains("/quell ack ID"));
    assert_eq!(slack.acks(&sent), 1);

    let id = night.attacked();
    let clicked = |user: &str, act: &str, hook: &str| json!({ "type": "interactive", "payload": click(user, act, &night.mark(&id, 1), &slack.hook(hook)) });
    assert!({
        slack.sends(&clicked(STRANGER, "resolve", "stranger"));
        slack.hears("stranger").contains("is nobody in escalation.yaml")
    });
    let mut envelope = clicked(ANA, "acknowledge", "ana");
    let sent = slack.sends(&envelope);
    assert_eq!(slack.hears("ana"), format!("you look after incident `{id}`"));
    // Slack, which has heard no acknowledgement, sends it again: heard again, done once.
    envelope["envelope_id"] = json!(sent);
    slack.sends(&envelope);
    wait_until("it is acknowledged again", || slack.acks(&sent) == 2);
    let other = slack.sends(&json!({ "type": "events_api", "payload": {} }));
    wait_until("what is none of quell's is acknowledged too", || slack.acks(&other) == 1);

    // Slack wants another link: there is one before the first has gone.
    slack.ask("POST", "/test/socket/leave", &json!({ "reason": "warning" }));
    wait_until("another link is open", || open() == 2);
    slack.ask("POST", "/test/socket/leave", &json!({ "close": true }));
    wait_until("the first has gone", || open() == 1);
    slack.sends(&command(ANA, "who", "who"));
    assert!(slack.hears("who").starts_with("primary: "));
    assert_eq!(opened(), 2, "no more than there is need of");
    // It is lost: it comes back by itself.
    slack.ask("POST", "/test/socket/leave", &json!({ "cut": true }));
    wait_until("a third link is open", || opened() == 3 && open() == 1);
    slack.sends(&command(ANA, "status", "status"));
    assert!(slack.hears("status").contains("1 incidents are open"));
    assert_eq!(slack.told("ana").len(), 1);
    assert_eq!(slack.links()["strange"], json!([]));
    assert!(!night.daemon.said().contains("ticket="), "an address of a link is a secret");

    // Slack's own client takes the same stand-in for Slack.
    let Talks { night: Night { home, daemon, .. }, slack } = night;
    daemon.end();
    wait_until("its link ended with it", || slack.links()["open"] == json!([]));
    if has_sdk("Socket Mode against Slack's own client") {
        let url = format!("http://127.0.0.1:{}", slack.port);
        let drove = script("socket_client.py", &["link", &url]).output().unwrap();
        assert!(drove.status.success(), "{}", String::from_utf8_lossy(&drove.stderr));
        assert_eq!(drove.stdout, b"ok\n");
    }
    drop(home);
}
