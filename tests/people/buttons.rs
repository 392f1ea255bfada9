//! What a playbook did is asked about, kept and taken back by messages alone: by buttons in Slack, and by the page that a mail leads to.
//!
//! Acts on shells in a cgroup of the test's own, under `only_within`. The sensor is off; what is seen stands in a file.

use super::links::Browser;
use super::standin::{ANA, INCIDENTS, StandIn, buttons};
use super::talks::{SIGNED, Talks, channel};
use super::*;
use crate::cli::{Bounded, identity};
use crate::threats::group::Group;

/// ana has Slack and mail, bo mail alone; either may say yes.
const PEOPLE: &str = "people:\n  ana: { email: ana@example.org, identities: { slack: ANA }, roles: [responder] }\n  \
    bo: { email: bo@example.org, roles: [responder] }\napprovers: { security: { people: [ana, bo] } }\npolicies:\n  \
    default: { steps: [{ notify: [channel: slack], wait: 1h }], last_resort: [person: ana] }\n\
    routes: [{ policy: default }]\nchannels:\n  email: { smtp: { env: TEST_SMTP }, from: quell@example.org }\n";

/// Asks before it acts, and afterwards whether that is to stand.
const ASKS: &str = "playbook: holds-it\ndescription: Holds what it is told to, once it has asked.\n\
    on: { detections: { rules: [marked] } }\nmode: enforce\nsteps:\n  was_it:\n    \
    ask: { question: \"Was it you?\", by: security, choices: [me, not_me], within: 1h, otherwise: me }\n  hold:\n    \
    needs: [was_it]\n    if: ${{ steps.was_it.answer == \"not_me\" }}\n    action: process.freeze\n    \
    with: { process: \"VICTIM\", scope: process }\n    approve: { by: security, within: 1h }\n    \
    confirm: { by: security, within: 1h, otherwise: undo }\n    lease: { for: 24h, at_end: undo }\n";

const AT_ONCE: &str = "playbook: holds-at-once\ndescription: Holds what it is told to.\n\
    on: { detections: { rules: [second] } }\nmode: enforce\nsteps:\n  hold:\n    action: process.freeze\n    \
    with: { process: \"VICTIM\", scope: process }\n    lease: { for: 24h, at_end: undo }\n";

const SECOND: &str = "title: A second one\nname: second\nstatus: test\nlevel: high\n\
    logsource: { product: linux, category: process_creation }\n\
    detection:\n  image: { Image|endswith: /quell-second }\n  condition: image\n";

/// The cgroup; gone when the test is over, however it ends.
struct Reach(Group);

impl Drop for Reach {
    fn drop(&mut self) {
        self.0.remove();
    }
}

/// A shell that says that it goes on, until it ends with the test.
struct Ticking {
    child: Bounded,
    ticks: PathBuf,
}

impl Ticking {
    fn start(group: &Group, dir: &Path) -> Self {
        fs::create_dir(dir).unwrap();
        let (ticks, script) = (dir.join("ticks"), "while :; do echo >> \"$0\"; sleep 0.05; done");
        let argv = ["/bin/sh", "-c", script, ticks.to_str().unwrap()].map(str::to_owned);
        let ticking = Self { child: Bounded(group.spawn(&argv, dir, &[])), ticks };
        wait_until("it ticks", || ticking.count() > 0);
        ticking
    }

    fn count(&self) -> u64 {
        fs::metadata(&self.ticks).map_or(0, |file| file.len())
    }

    /// Waits until it goes on.
    #[track_caller]
    fn goes_on(&self) {
        let before = self.count();
        wait_until("it goes on", || self.count() > before + 2);
    }
}

/// See the module.
struct Scene {
    // Whoever is held ends before the cgroup goes.
    first: Ticking,
    second: Ticking,
    _reach: Reach,
    _dir: tempfile::TempDir,
    talks: Talks,
    server: Server,
    browser: Browser,
}

impl Scene {
    /// None where nothing can be held, which is said loudly.
    fn new() -> Option<Self> {
        let Some(group) = Group::new(&format!("quell-test-buttons-{}", std::process::id())) else {
            assert!(std::env::var_os("QUELL_REQUIRE_BPF").is_none(), "no cgroup can be made here");
            eprintln!("NOT TESTED: what is kept and taken back by messages: no cgroup can be made here");
            return None;
        };
        let (reach, slack, port) = (Reach(group), StandIn::start(0), free_port());
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| Ticking::start(&reach.0, &dir.path().join(name)));
        let held = |playbook: &str, by: &Ticking| playbook.replace("VICTIM", &identity(by.child.0.id(), 0));
        let files = [held(ASKS, &first), held(AT_ONCE, &second)];
        let files =
            [("playbooks/asks.yaml", &*files[0]), ("playbooks/at-once.yaml", &*files[1]), ("rules/second.yml", SECOND)];
        let escalation = format!("{PEOPLE}{}", channel(&slack, SIGNED)).replace("slack: ANA", &format!("slack: {ANA}"));
        let config = format!(
            "mode: enforce\nplaybooks: {{ shipped: false, dirs: [playbooks] }}\nrules: {{ shipped: false, dirs: [rules] }}\n\
             sources: {{ sensor: {{ enabled: false }}, files: [{{ format: plain, path: events.jsonl, trusted: true }}] }}\n\
             escalation: escalation.yaml\nguard: {{ only_within: {{ cgroup: {} }} }}\npublic_url: http://127.0.0.1:{port}\n\
             access: {{ listen: {{ address: \"127.0.0.1:{port}\", tokens: [{{ name: ci, role: viewer, sha256: {} }}] }} }}\n",
            reach.0.path,
            "0".repeat(64)
        );
        let talks = Talks { night: Night::with(&escalation, &config, &files), slack };
        let server = talks.serves();
        Some(Self { first, second, _reach: reach, _dir: dir, talks, server, browser: Browser { port } })
    }

    /// What this button of the message to ana carries that holds this.
    fn button_of(&self, text: &str, act: &str) -> String {
        let found = || {
            let own = self.talks.slack.heads().into_iter().filter(|head| head["channel"] == "D0ANA0001");
            let mut of = own.filter(|head| head["blocks"].to_string().contains(text)).flat_map(|head| buttons(&head));
            of.find(|(word, _)| word == act).map(|(_, mark)| mark)
        };
        wait_until(&format!("ana has `{act}` of `{text}`"), || found().is_some());
        found().unwrap()
    }

    /// ana presses a button of the incident's message in the channel; what she is told.
    fn presses(&self, incident: &str, act: &str, hook: &str) -> String {
        let mark = self.talks.mark(incident, 1);
        let has = |head: &Value| buttons(head).contains(&(act.to_owned(), mark.clone()));
        let in_channel = |head: &Value| head["channel"] == INCIDENTS && has(head);
        wait_until(&format!("the channel has `{act}`"), || self.talks.slack.heads().iter().any(in_channel));
        self.talks.clicks(ANA, act, &mark, hook)
    }

    fn run(&self, playbook: &str) -> Option<Value> {
        self.talks.daemon.runs().into_iter().find(|run| run["playbook"] == playbook)
    }

    fn is(&self, playbook: &str, state: &str) -> bool {
        self.run(playbook).is_some_and(|run| run["state"] == state)
    }
}

#[test]
fn what_is_done_is_asked_about_kept_and_taken_back_by_messages_alone() {
    let Some(scene) = Scene::new() else { return };
    let Scene { talks, first, second, .. } = &scene;
    let id = talks.attacked();

    // Asked in Slack, approved of on the page of a mail, and confirmed in Slack.
    let mark = scene.button_of("Was it you?", "choose:not_me");
    assert_eq!(talks.clicks(ANA, "choose:not_me", &mark, "asked"), "your answer is `not_me`, and it holds");
    let to_bo = || {
        let mut mails = scene.server.to("bo@example.org").into_iter();
        mails.find(|mail| mail["subject"].as_str().unwrap().contains("answer wanted: process.freeze"))
    };
    wait_until("bo is asked by mail", || to_bo().is_some());
    let link = scene.browser.link(&to_bo().unwrap());
    let page = scene.browser.get(&link);
    // How far it would reach is said wherever it is asked.
    let reach = "1 target on ";
    page.says("<dt>Blast radius</dt><dd>1 target on ");
    let text = to_bo().unwrap()["text"].as_str().unwrap().to_owned();
    assert!(text.contains(&format!("blast radius: {reach}")), "{text}");
    let asked = scene
        .talks
        .slack
        .heads()
        .into_iter()
        .find(|head| !buttons(head).is_empty() && head["blocks"].to_string().contains("process.freeze"));
    assert!(asked.unwrap()["blocks"].to_string().contains(reach));
    let token = page.token().unwrap_or_else(|| panic!("{}: {}", page.status, page.body));
    first.goes_on();
    let done = scene.browser.press(&link, "choose:approve", &token);
    assert_eq!(done.status, 200, "{}", done.body);
    done.says("Your answer is `approve`, and it holds");
    let mark = scene.button_of("is it to stand?", "choose:keep");
    let held = first.count();
    assert_eq!(talks.clicks(ANA, "choose:keep", &mark, "confirmed"), "your answer is `keep`, and it holds");
    wait_until("its run is over", || scene.is("holds-it", "succeeded"));
    let run = scene.run("holds-it").unwrap();
    let answers = |step: usize, question: usize| {
        let one = &run["steps"][step]["questions"][question]["answers"][0];
        [&one["by"], &one["choice"], &one["via"]].map(|word| word.as_str().unwrap().to_owned())
    };
    assert_eq!(answers(0, 0), ["ana", "not_me", "slack"], "{run:#}");
    assert_eq!(answers(1, 0), ["bo", "approve", "email"], "{run:#}");
    assert_eq!(answers(1, 1), ["ana", "keep", "slack"], "{run:#}");

    // The incident's own buttons.
    let run = run["id"].as_str().unwrap();
    let kept = scene.presses(&id, "keep", "kept");
    assert_eq!(kept, format!("what was done about incident `{id}` stands without an end: {run}"));
    assert_eq!((first.count(), talks.daemon.status()["standing"].clone()), (held, json!(1)), "it is held all the time");
    let undone = scene.presses(&id, "undo", "undone");
    assert_eq!(undone, format!("what was done about incident `{id}` is being taken back"));
    first.goes_on();
    wait_until("its run says so", || scene.is("holds-it", "undone"));
    let again = scene.presses(&id, "undo", "undone-again");
    assert!(again.contains("stands and can be taken back: ana has had it taken back"), "{again}");
    assert_eq!(talks.state(), "open");

    // What was no attack is let go, and is over.
    let mut events = fs::File::options().append(true).open(talks.home.path().join("events.jsonl")).unwrap();
    events.write_all(b"{\"Image\": \"/bin/quell-second\", \"User\": \"bo\"}\n").unwrap();
    wait_until("the second is held", || scene.is("holds-at-once", "succeeded"));
    let held = second.count();
    let incident = scene.run("holds-at-once").unwrap()["incident"].as_str().unwrap().to_owned();
    assert_eq!(second.count(), held);
    let said = scene.presses(&incident, "false-positive", "no-attack");
    let all = "is resolved: it was no attack; what was done is being taken back; an exception is drafted";
    assert!(said.contains(all), "{said}");
    second.goes_on();
    wait_until("its run says so", || scene.is("holds-at-once", "undone"));
    let shown = talks.daemon.ask_json(&["incident", "show", &incident]);
    assert_eq!((&shown["state"], &shown["false_positive"]["by"]), (&json!("resolved"), &json!("ana")));
    let story = talks.story(&id);
    for line in ["ana says not_me by slack", "bo says approve by email", "ana says keep by slack"] {
        assert!(story.contains(line), "`{line}` in {story}");
    }
    talks.daemon.ask(&["store", "check"]).ends(0);
}
