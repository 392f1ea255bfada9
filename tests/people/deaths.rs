//! A daemon that tells somebody, and dies at each record of the telling.

use super::{Night, escalation};
use crate::cli::{command, wait_until};
use crate::daemon::Daemon;
use serde_json::Value;
use std::io::Write as _;

/// Lives of one story: far more than it has records.
const MOST_LIVES: usize = 40;

/// One life: whether it came to the end of the story, at which somebody was told and the journal says so.
fn lives(night: &Night, place: &str) -> bool {
    let home = night.home.path();
    let mut up = command(&["up"]);
    up.env("TEST_SMTP", format!("smtp://127.0.0.1:{}", night.port)).env("QUELL_DIE_AT", place);
    let mut daemon = Daemon::start(up, Some(&home.join("quell.yaml")), &home.join("state"), &home.join("log"));
    let is_told = |daemon: &Daemon| {
        let id = daemon.get("/incidents").and_then(|list| list["items"][0]["id"].as_str().map(str::to_owned));
        id.is_some_and(|id| daemon.ask(&["incident", "show", &id]).out.contains("was handed on"))
    };
    let mut end = None;
    wait_until("the daemon dies, or has told whom it should", || {
        if let Some(status) = daemon.ended() {
            let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(9);
            assert!(killed, "{status}\n{}", daemon.log());
            end = Some(false);
        } else if is_told(&daemon) {
            end = Some(true);
        }
        end.is_some()
    });
    end.unwrap()
}

#[test]
fn a_page_outlives_a_death_at_each_record_of_its_ladder() {
    // Every life writes one record, and dies at once; or dies when all that follows from it is done.
    for place in ["after:1", "before:2"] {
        let mut night = Night::new(&escalation(&["ana", "lead"], &["ana"], "1h"));
        let server = night.serves();
        night.daemon.kill();
        let mut events = std::fs::File::options().append(true).open(night.home.path().join("events.jsonl")).unwrap();
        events.write_all(b"{\"Image\": \"/bin/quell-marked\", \"User\": \"ana\"}\n").unwrap();
        let count = (1..MOST_LIVES).find(|_| lives(&night, place)).expect("a story has an end");
        assert!(count > 3, "{place}: only {count} lives: nobody died at a ladder's record");
        let mails = server.mails();
        assert!(
            !mails.is_empty() && mails.iter().all(|mail| mail["to"][0] == "ana@example.org"),
            "{place}: {mails:#?}"
        );
        let is_marked = |mail: &Value| mail["subject"].as_str().unwrap().starts_with("(repeat)");
        assert!(mails.iter().skip(1).all(is_marked), "{place}: a second mail does not say that it is one: {mails:#?}");
        assert!(mails.iter().all(|mail| mail["id"] == mails[0]["id"]), "{place}: one page, one id: {mails:#?}");
        night.again();
        let id = night.daemon.ask_json(&["incident", "list"])[0]["id"].as_str().unwrap().to_owned();
        night.daemon.ask(&["incident", "resolve", &id, "--why", "rebuilt"]).ends(0);
        let is_end = |mail: &Value| mail["subject"].as_str().unwrap().contains("resolved");
        wait_until("ana is told that it is over", || server.mails().iter().filter(|mail| is_end(mail)).count() == 1);
        wait_until("the auditor is content", || night.daemon.status()["audit"]["content"] == true);
    }
}
