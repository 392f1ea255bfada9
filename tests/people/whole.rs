//! One night, whole: an attack that the sensor sees, a question in Slack, a signed click, a kill that is proved; nobody looks after
//! the incident, and the next person answers by the page that a mail leads to. The daemon is killed twice on the way.
//!
//! Acts on one process in a cgroup of the test's own, under `only_within`.

use super::links::Browser;
use super::standin::{ANA, BO, StandIn, buttons};
use super::talks::{SIGNED, Talks, channel};
use super::*;
use crate::bad_days::host::verifies;
use crate::cli::Bounded;
use crate::threats::group::Group;
use quell_engine::store::Journal;
use quell_model::Body;
use quell_model::notice::PageKey;
use quell_model::record::{PageState, Place};
use std::collections::BTreeSet;

const ENDS: &str = "playbook: ends-it\ndescription: Kills what a rule saw, once somebody has said yes.\n\
    on: { detections: { rules: [marked] } }\nmode: enforce\nsteps:\n  end:\n    action: process.kill\n    \
    with: { process: \"${{ event.process.id }}\", scope: tree }\n    approve: { by: security, within: 1h }\n";

/// ana may say yes, and hears of an incident first; bo is next, by mail alone; the lead is told at last.
const PEOPLE: &str = "people:\n  ana: { email: ana@example.org, identities: { slack: ANA }, roles: [responder, approver] }\n  \
    bo: { email: bo@example.org, identities: { slack: BO }, roles: [responder] }\n  \
    lead: { email: lead@example.org, identities: { slack: U0LEAD001 }, roles: [admin] }\n\
    approvers: { security: { people: [ana], policy: asks } }\npolicies:\n  default:\n    steps:\n      \
    - { notify: [person: ana], by: [slack], wait: 20s }\n      - { notify: [person: bo], by: [email], wait: 1h }\n    \
    last_resort: [person: lead]\n  asks:\n    steps: [{ notify: [person: lead], wait: 1h }]\n    \
    last_resort: [person: lead]\nroutes: [{ policy: default }]\nchannels:\n  \
    email: { smtp: { env: TEST_SMTP }, from: quell@example.org }\n";

/// The cgroup; gone when the test is over, however it ends.
struct Reach(Group);

impl Drop for Reach {
    fn drop(&mut self) {
        self.0.remove();
    }
}

/// A page that calls somebody: of which ladder, at which place of it, to whom and by which way.
type Call = (String, String, String, String);

/// The pages that the journal has: those that call somebody, and whether it says of all of them what came of it.
fn calls(state: &Path) -> (Vec<Call>, bool) {
    let journal = Journal::open_read_only(state).unwrap();
    let (mut calls, mut all, mut ended) = (Vec::new(), BTreeSet::<PageKey>::new(), BTreeSet::new());
    for (stream, _) in journal.streams().unwrap() {
        let Some(ladder) = stream.as_ladder() else { continue };
        for record in journal.read(&stream, 1).unwrap() {
            let pages = match record.body {
                Body::LadderMoved(moved) => {
                    let place = match moved.to {
                        Place::Step { round, step } => format!("{}: step {step} of round {round}", moved.generation),
                        Place::LastResort => format!("{}: last resort", moved.generation),
                    };
                    let is_call = moved.pages.iter().filter(|queued| !queued.page.quiet);
                    calls.extend(is_call.map(|queued| {
                        let (to, way) = (queued.page.to.shown(), queued.page.way.channel().to_owned());
                        (ladder.to_string(), place.clone(), to, way)
                    }));
                    moved.pages
                }
                Body::LadderChanged(changed) => changed.pages,
                Body::LadderEnded(ended) => ended.pages,
                Body::PageReceipted(receipted) => {
                    if !matches!(receipted.state, PageState::Waits { .. }) {
                        ended.insert(receipted.key);
                    }
                    receipted.instead
                }
                _ => continue,
            };
            all.extend(pages.into_iter().map(|queued| queued.key));
        }
    }
    (calls, all.is_subset(&ended))
}

/// What ana has of this: the head whose text names it.
fn message(slack: &StandIn, is: impl Fn(&Value) -> bool) -> Option<Value> {
    slack.heads().into_iter().find(|head| head["channel"] == "D0ANA0001" && is(head))
}

fn is_question(head: &Value) -> bool {
    head["blocks"].to_string().contains("process.kill")
}

#[test]
fn a_night_from_the_attack_to_its_end_over_two_kills_of_the_daemon() {
    let Some(group) = Group::new(&format!("quell-test-whole-{}", std::process::id())) else {
        assert!(std::env::var_os("QUELL_REQUIRE_BPF").is_none(), "no cgroup can be made here");
        return eprintln!("NOT TESTED: a whole night: no cgroup can be made here");
    };
    let (reach, slack, port) = (Reach(group), StandIn::start(0), free_port());
    let escalation = format!("{PEOPLE}{}", channel(&slack, SIGNED)).replace("slack: ANA", &format!("slack: {ANA}"));
    let escalation = escalation.replace("slack: BO", &format!("slack: {BO}"));
    let config = format!(
        "mode: enforce\nplaybooks: {{ shipped: false, dirs: [playbooks] }}\nrules: {{ shipped: false, dirs: [rules] }}\n\
         escalation: escalation.yaml\nguard: {{ only_within: {{ cgroup: {} }} }}\npublic_url: http://127.0.0.1:{port}\n\
         access: {{ listen: {{ address: \"127.0.0.1:{port}\", tokens: [{{ name: ci, role: viewer, sha256: {} }}] }} }}\n",
        reach.0.path,
        "0".repeat(64)
    );
    let night = Night::with(&escalation, &config, &[("playbooks/ends-it.yaml", ENDS)]);
    let mut talks = Talks { night, slack };
    if !talks.night.daemon.armed("a whole night") {
        return;
    }
    let server = talks.serves();

    // Something attacks; ana is told, and asked.
    // What it says is not said into the daemon's log.
    let dir = talks.home.path().join("victim");
    fs::create_dir(&dir).unwrap();
    let program = dir.join("quell-marked");
    fs::copy("/bin/sleep", &program).unwrap();
    let argv = [program.to_str().unwrap(), "1000"].map(str::to_owned);
    let mut victim = Bounded(reach.0.spawn(&argv, &dir, &[]));
    wait_until("an incident is opened", || !talks.incidents().is_empty());
    let id = talks.incidents()[0]["id"].as_str().unwrap().to_owned();
    wait_until("ana is asked, and told", || talks.slack.heads().len() == 2);
    let question = message(&talks.slack, is_question).expect("the question is one of them");
    let approve = buttons(&question).into_iter().find(|(act, _)| act == "choose:approve").unwrap().1;
    wait_until("the journal says of all pages what came of them", || calls(&talks.daemon.state).1);
    assert!(victim.0.try_wait().unwrap().is_none(), "it lives as long as nobody has said yes");

    // Killed between the question and the answer: the button of before works once.
    talks.again();
    assert_eq!(talks.daemon.status()["questions"], 1);
    assert!(victim.0.try_wait().unwrap().is_none(), "it lives as long as nobody has said yes");
    assert_eq!(message(&talks.slack, is_question).as_ref(), Some(&question), "the message stands as it was");
    let click = talks.click(ANA, "choose:approve", &approve, "ana");
    assert_eq!(talks.takes(&click), 200);
    assert_eq!(talks.slack.hears("ana"), "your answer is `approve`, and it holds");
    let mut status = None;
    wait_until("it is dead", || {
        status = victim.0.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status.unwrap()), Some(9));
    let runs = || talks.daemon.runs();
    wait_until("that is proved", || runs().iter().all(|run| run["state"] == "succeeded"));
    let [run] = &runs()[..] else { panic!("{:#?}", runs()) };
    assert_eq!((&run["playbook"], &run["steps"][0]["outcome"]), (&json!("ends-it"), &json!("verified")));
    wait_until("the message of the question says so, without buttons", || {
        let now = message(&talks.slack, |head| head["ts"] == question["ts"]).unwrap();
        buttons(&now).is_empty() && now["blocks"].to_string().contains("ana answered `approve`")
    });

    // The very same request, and another click on the button that is gone.
    assert_eq!(talks.takes(&click), 200);
    let late = talks.clicks(ANA, "choose:deny", &approve, "ana-late");
    assert!(late.contains("ana answered `approve` before. Yours is kept, and changes nothing"), "{late}");
    assert_eq!(talks.slack.told("ana").len(), 1, "the same request does nothing");
    let answers = || runs()[0]["steps"][0]["questions"][0]["answers"].as_array().unwrap().len();
    assert_eq!(answers(), 2, "what was said, and what came too late");

    // Nobody looks after the incident: the next person is told, by mail. Killed between that and their answer.
    wait_until("bo is told by mail", || !server.to("bo@example.org").is_empty());
    wait_until("the journal says of all pages what came of them", || calls(&talks.daemon.state).1);
    let (before, heads) = (server.mails().len(), talks.slack.heads().len());
    talks.again();
    let [mail] = &server.to("bo@example.org")[..] else { panic!("{:#?}", server.mails()) };
    // The question's are in the same thread, and have the question in their subject.
    let is_of_incident = |mail: &Value| mail["subject"].as_str().unwrap().contains("<script>x</script> shell");
    assert!(server.mails().iter().all(|mail| mail["references"] == format!("<{id}@example.org>")));
    let others = server.mails().into_iter().filter(|mail| mail["to"] != json!(["bo@example.org"]));
    assert!(is_of_incident(mail) && others.clone().all(|mail| !is_of_incident(&mail)), "{:#?}", server.mails());
    assert_eq!(server.mails().len(), before, "nobody is told again by whoever starts");

    let browser = Browser { port };
    let link = browser.link(mail);
    let page = browser.get(&link);
    let token = page.token().unwrap_or_else(|| panic!("{}: {}", page.status, page.body));
    assert_eq!(talks.state(), "open", "to look changes nothing");
    let done = browser.press(&link, "acknowledge", &token);
    assert_eq!(done.status, 200, "{}", done.body);
    done.says(&format!("You look after incident `{id}`"));
    assert_eq!(talks.incidents()[0]["acknowledged"]["by"], "bo");
    assert_eq!(browser.press(&link, "acknowledge", &token).status, 200, "said twice, it is what it is");
    assert_eq!(talks.incidents()[0]["acknowledged"]["by"], "bo");
    wait_until("ana's message says who looks after it", || {
        let now = message(&talks.slack, |head| head["ts"] != question["ts"]).unwrap();
        let has = |word: &str| buttons(&now).iter().any(|(act, _)| act == word);
        now["blocks"].to_string().contains("acknowledged by bo") && !has("acknowledge") && has("resolve")
    });
    assert_eq!((server.mails().len(), talks.slack.heads().len()), (before, heads), "nobody is called any more");

    talks.daemon.ask(&["incident", "resolve", &id, "--why", "it is dead"]).ends(0);
    wait_until("bo is told of the end", || server.to("bo@example.org").len() == 2);
    wait_until("ana's message says so", || talks.slack.heads().iter().all(|head| buttons(head).is_empty()));
    wait_until("the journal says of all pages what came of them", || calls(&talks.daemon.state).1);
    wait_until("the auditor is content", || talks.daemon.status()["audit"]["content"] == true);

    // Who did what, and by which way.
    let story = talks.story(&id);
    for line in
        ["ana says approve by slack", "bo answered by email", "tells ana by Slack (U0ANA0001)", "bo@example.org"]
    {
        assert!(story.contains(line), "`{line}` in {story}");
    }
    // Whom it called: each once a place, and the lead not at all.
    let (called, _) = calls(&talks.daemon.state);
    assert_eq!(called.iter().collect::<BTreeSet<_>>().len(), called.len(), "{called:#?}");
    let of_incident: Vec<(&str, &str)> =
        called.iter().filter(|call| call.0 == id).map(|(.., to, way)| (to.as_str(), way.as_str())).collect();
    assert_eq!(of_incident, [("person ana", "slack"), ("person bo", "email")]);
    assert!(called.iter().all(|(.., to, _)| to != "person lead"), "{called:#?}");
    assert!(server.to("lead@example.org").is_empty(), "{:#?}", server.mails());
    let heads = talks.slack.heads();
    assert!(heads.len() == 2 && heads.iter().all(|head| head["channel"] == "D0ANA0001"), "{heads:#?}");
    assert!(server.to("bo@example.org").iter().all(is_of_incident), "{:#?}", server.mails());
    let repeats = server.mails().into_iter().filter(|mail| mail["subject"].as_str().unwrap().contains("(repeat)"));
    assert_eq!(repeats.count(), 0, "what was known to have gone out goes once");

    talks.daemon.ask(&["store", "check"]).ends(0);
    let Talks { night: Night { home, daemon, .. }, slack: _slack } = talks;
    daemon.end();
    verifies(&home.path().join("state"));
}
