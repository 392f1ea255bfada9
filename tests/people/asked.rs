//! A playbook asks before it kills, and people answer by the buttons in Slack: who counts, how many it takes, who comes second.
//!
//! Acts on a sleeper in a cgroup of the test's own, under `only_within`. The sensor is off; the runs are begun by hand.

use super::signed::exchange;
use super::standin::{ANA, BO, buttons};
use super::talks::{CY, SIGNED, STRANGER, Talks};
use super::*;
use crate::cli::{Bounded, identity};
use crate::threats::group::Group;
use quell_engine::store::Journal;
use quell_model::record::LadderChange;
use quell_model::{Body, StreamId};
use std::sync::atomic::{AtomicU32, Ordering};

const ENDS: &str = "playbook: ends-it\ndescription: Kills what is named, once enough have said yes.\n\
    inputs: { victim: { type: string } }\nmode: enforce\nsteps:\n  end:\n    action: process.kill\n    \
    with: { process: \"${{ inputs.victim }}\", scope: process }\n    approve: { by: security, within: 1h }\n";

/// ana's own token is `12345`, that of a robot `54321`.
const ROBOT: &str = "20f3765880a5c269b747e1e906054a4b4a3a991259f1e16b5dde4742cec2319a";
const ANAS: &str = "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5";

/// What is killed once it is allowed, and the cgroup around it, which goes with it.
struct Victim {
    child: Bounded,
    group: Group,
}

impl Victim {
    fn lives(&mut self) -> bool {
        self.child.0.try_wait().unwrap().is_none()
    }

    /// Fails the test unless it is killed, and by nothing milder.
    #[track_caller]
    fn is_killed(&mut self) {
        let mut status = None;
        wait_until("it is dead", || {
            status = self.child.0.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status.unwrap()), Some(9));
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        drop(self.child.0.kill());
        drop(self.child.0.wait());
        self.group.remove();
    }
}

/// A run that asks whether the victim may be killed, and the Slack where it asks.
struct Scene {
    talks: Talks,
    victim: Victim,
    run: String,
}

impl Scene {
    /// Of these approvers, begun by whoever has this token; none where nothing can be killed, which is said loudly.
    fn new(approvers: &str, token: &str) -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("quell-test-asks-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let Some(group) = Group::new(&name) else {
            assert!(std::env::var_os("QUELL_REQUIRE_BPF").is_none(), "no cgroup can be made here");
            eprintln!("NOT TESTED: approvals in Slack: no cgroup can be made here");
            return None;
        };
        let config = format!(
            "mode: enforce\nplaybooks: {{ shipped: false, dirs: [playbooks] }}\nrules: {{ shipped: false }}\n\
             sources: {{ sensor: {{ enabled: false }} }}\nescalation: escalation.yaml\n\
             guard: {{ only_within: {{ cgroup: {} }} }}\naccess:\n  listen:\n    address: \"127.0.0.1:0\"\n    tokens:\n\
             \x20     - {{ name: anas, role: responder, person: ana, sha256: {ANAS} }}\n\
             \x20     - {{ name: robot, role: responder, sha256: {ROBOT} }}\n",
            group.path
        );
        let approvers = format!("approvers: {{ security: {approvers} }}\n");
        let talks = Talks::with(&approvers, &config, SIGNED, &[("playbooks/ends-it.yaml", ENDS)]);
        let sleeps = ["/bin/sleep", "1000"].map(str::to_owned);
        // What it says is not said into the daemon's log.
        let dir = talks.home.path().join("victim");
        fs::create_dir(&dir).unwrap();
        let child = Bounded(group.spawn(&sleeps, &dir, &[]));
        let pid = child.0.id();
        let comm = || fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        wait_until("it sleeps", || comm().trim() == "sleep");
        let victim = Victim { child, group };
        let wish = json!({ "playbook": "ends-it", "inputs": { "victim": identity(pid, 0) } }).to_string();
        let headers = format!("authorization: Bearer {token}\r\ncontent-type: application/json\r\n");
        let (status, begun) = exchange(talks.port(), "POST", "/v1/runs", &headers, &wish);
        assert_eq!(status, 201, "{begun}");
        let run = serde_json::from_str::<Value>(&begun).unwrap()["id"].as_str().unwrap().to_owned();
        Some(Self { talks, victim, run })
    }

    fn view(&self) -> Value {
        self.talks.daemon.ask_json(&["run", "show", &self.run])
    }

    fn step(&self) -> Value {
        self.view()["steps"][0].clone()
    }

    /// Who has said what of the question by which way, as the journal has it.
    fn answers(&self) -> Vec<(String, String, Value)> {
        let step = self.step();
        let answers = step["questions"][0]["answers"].as_array().unwrap();
        let text = |of: &Value| of.as_str().unwrap().to_owned();
        answers.iter().map(|one| (text(&one["by"]), text(&one["choice"]), one["via"].clone())).collect()
    }

    /// The messages of the question, as they stand.
    fn asked(&self) -> Vec<Value> {
        self.talks.slack.heads()
    }

    /// Whether this stands in the message of everybody who was asked, and it has no buttons any more.
    fn is_over(&self, said: &str) -> bool {
        self.asked().iter().all(|head| buttons(head).is_empty() && head["blocks"].to_string().contains(said))
    }

    /// Those whose answers by a message had no effect, in their order.
    fn turned_away(&self) -> Vec<String> {
        let journal = Journal::open_read_only(&self.talks.daemon.state).unwrap();
        let stream = StreamId::from(format!("ladder/{}/end/approve", self.run));
        let records = journal.read(&stream, 1).unwrap();
        let tried = records.iter().filter_map(|record| match &record.body {
            Body::LadderChanged(changed) if changed.change == LadderChange::TurnedAway => Some(changed),
            _ => None,
        });
        tried.map(|changed| format!("{} by {}", changed.by, changed.via)).collect()
    }
}

#[test]
fn an_approval_of_somebody_who_may_not_changes_nothing_and_is_told_to_them_alone() {
    let Some(mut scene) = Scene::new("{ people: [ana, bo], quorum: 1, not_requester: true }", "12345") else { return };
    let approve = scene.talks.button("choose:approve");
    let shown = scene.asked();
    assert_eq!(shown.len(), 1, "bo alone is asked: ana began the run, cy is no approver");
    assert_eq!(shown[0]["channel"], "D0BO00001");
    for (user, hook, why) in [
        (CY, "cy", "cy is none of the approvers `security`: ana, bo"),
        (STRANGER, "stranger", "`U0NOBODY1` of slack is nobody in escalation.yaml"),
        (ANA, "ana", "ana started the run, or has tried it again, and `security` wants somebody else"),
    ] {
        // The hook takes nothing but what is for whoever clicked alone.
        let said = scene.talks.clicks(user, "choose:approve", &approve, hook);
        assert!(said.contains(why), "{said}");
        let again = scene.talks.clicks(user, "choose:approve", &approve, &format!("{hook}-again"));
        assert_eq!(again, said);
    }
    let tried = ["cy by slack", "slack U0NOBODY1 (unverified) by slack", "ana by slack"];
    assert_eq!(scene.turned_away(), tried, "each once, however often");
    let view = scene.view();
    let told = view["timeline"].to_string();
    assert_eq!(told.matches("an answer by slack had no effect: ").count(), 3, "{told}");
    assert_eq!((&view["state"], scene.answers()), (&json!("waiting"), Vec::new()));
    assert!(scene.victim.lives());
    assert_eq!((scene.asked(), scene.talks.slack.calls("chat.update").len()), (shown, 0), "nobody else learns of it");

    let said = scene.talks.clicks(BO, "choose:approve", &approve, "bo");
    assert_eq!(said, "your answer is `approve`, and it holds");
    scene.victim.is_killed();
    wait_until("it is proved", || scene.step()["outcome"] == "verified");
    assert_eq!(scene.answers(), [("bo".to_owned(), "approve".to_owned(), json!("slack"))]);
    wait_until("the message says what came of it", || scene.is_over("bo answered `approve`"));
    assert_eq!(scene.turned_away().len(), 3);
}

#[test]
fn it_takes_as_many_clicks_as_the_approvers_say() {
    let all = "{ people: [ana, bo, cy], quorum: 2 }";
    let Some(mut scene) = Scene::new(all, "54321") else { return };
    // cy is none of the stand-in's members: the two others have a message each.
    wait_until("all who can be are asked", || scene.asked().len() == 2);
    let approve = scene.talks.button("choose:approve");
    let said = scene.talks.clicks(ANA, "choose:approve", &approve, "ana");
    assert_eq!(said, "your answer is `approve`; one more has to say so too");
    let again = scene.talks.clicks(ANA, "choose:approve", &approve, "ana-again");
    assert!(again.contains("ana has said `approve` already; somebody else has to as well"), "{again}");
    let says = |head: &Value, what: &str| {
        let is_in = |message: &Value| message.to_string().contains(what);
        is_in(head) || scene.talks.slack.thread(head).iter().any(is_in)
    };
    let missing = "somebody has said yes, and others have to as well";
    wait_until("the messages say so", || scene.asked().iter().all(|head| says(head, missing)));
    assert!(scene.asked().iter().all(|head| buttons(head).len() == 2), "they can still be answered");
    assert_eq!(scene.view()["state"], "waiting");
    assert!(scene.victim.lives());

    let said = scene.talks.clicks(BO, "choose:approve", &approve, "bo");
    assert_eq!(said, "your answer is `approve`, and it holds");
    scene.victim.is_killed();
    wait_until("it is proved", || scene.step()["outcome"] == "verified");
    let late = scene.talks.clicks(CY, "choose:deny", &approve, "cy");
    assert!(late.contains("bo answered `approve` before. Yours is kept, and changes nothing"), "{late}");
    let by = |who: &str, what: &str, via: Value| (who.to_owned(), what.to_owned(), via);
    let slack = json!("slack");
    let answers = [by("ana", "approve", slack.clone()), by("bo", "approve", slack), by("cy", "deny", Value::Null)];
    assert_eq!(scene.answers(), answers);
    wait_until("the messages say what came of it", || scene.is_over("bo answered `approve`"));
}

/// One says yes and the other no, at once: whoever is first has decided, and the other learns who.
#[test]
fn of_two_who_answer_at_once_one_decides_and_the_other_learns_who() {
    let Some(mut scene) = Scene::new("{ people: [ana, bo], quorum: 1 }", "54321") else { return };
    wait_until("both are asked", || scene.asked().len() == 2);
    let mark = scene.talks.button("choose:approve");
    let click = |name, user, choice| (name, scene.talks.click(user, choice, &mark, name));
    let clicks = [click("ana", ANA, "choose:approve"), click("bo", BO, "choose:deny")];
    let [(_, to_ana), (_, to_bo)] = scene.talks.click_at_once(&clicks);
    let yes = to_ana == "your answer is `approve`, and it holds";
    let (winner, word, lost) = if yes { ("ana", "approve", &to_bo) } else { ("bo", "deny", &to_ana) };
    assert!(yes || to_bo == "your answer is `deny`, and it holds", "{to_ana}; {to_bo}");
    assert!(lost.contains(&format!("{winner} answered `{word}` before")), "{lost}");
    let outcome = if yes { "verified" } else { "denied" };
    wait_until("the run is over", || scene.step()["outcome"] == outcome);
    if yes {
        scene.victim.is_killed();
    } else {
        assert!(scene.victim.lives());
    }
    assert_eq!(scene.answers()[0], (winner.to_owned(), word.to_owned(), json!("slack")));
    assert_eq!(scene.answers().len(), 2, "the other's is kept as one that came too late");
    wait_until("both messages say so", || scene.is_over(&format!("{winner} answered `{word}`")));
}
