//! Somebody writes lies into a file that quell follows: of an attack that names ever other processes. What anybody can
//! write never acts, and opens no breaker that would hold back the answer to a real attack.

use super::host::{Host, kill_one, verifies};
use super::journal::dies;
use crate::cli::{identity, wait_until};
use quell_engine::adapt::Format;
use quell_model::{Body, StreamId};
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::Child;

/// Different images that open the breaker; as many lies again are told.
const IMAGES: usize = 2;

/// Ended with the test.
struct Sleepers(Vec<Child>);

impl Sleepers {
    fn all_live(&mut self) -> bool {
        self.0.iter_mut().all(|one| one.try_wait().unwrap().is_none())
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        for one in &mut self.0 {
            drop(one.kill());
            drop(one.wait());
        }
    }
}

/// A line that says of this process that it executed the attack, as the sensor would say it.
fn lie(number: usize, pid: u32, image: &str, node: &Value) -> String {
    let id = identity(pid, 1);
    let now = json!({ "wall": jiff::Timestamp::now(), "boot_ns": 0 });
    json!({
        "v": 1, "id": format!("{number:032x}"), "class": "process_creation", "source": "sensor", "node": node,
        "at": now, "seen": now, "logsource": { "category": "process_creation", "product": "linux" },
        "sigma": { "Image": image, "CommandLine": image },
        "own": { "process": { "id": id, "pid": pid, "image": image, "command_line": image } },
        "subject": { "process": id }, "entity": { "kind": "node", "id": node, "node": node },
    })
    .to_string()
}

#[test]
fn what_anybody_can_write_acts_on_nobody_and_opens_no_breaker() {
    let Some(host) = Host::new("foreign", &[("it", kill_one("seen"))], &[("seen", "Image|endswith: /MARK")]) else {
        return;
    };
    let config = host.dir().join("quell.yaml");
    let text = fs::read_to_string(&config).unwrap();
    let followed = format!("files: [{{ format: {}, path: foreign.jsonl }}]", Format::Recording.as_str());
    let text = text
        .replace("sensor: { enabled: true }", &format!("sensor: {{ enabled: true }}, {followed}"))
        .replace("images: 100000", &format!("images: {IMAGES}"));
    assert!(text.contains(&followed) && text.contains(&format!("images: {IMAGES}")), "{text}");
    fs::write(&config, text).unwrap();
    let file = host.dir().join("foreign.jsonl");
    fs::write(&file, "").unwrap();
    let state = host.dir().join("state");
    let Some(daemon) = host.armed(&state) else { return };

    let group = host.inside.below("innocent");
    let mut sleepers = Sleepers(Vec::new());
    let node = daemon.status()["node"].clone();
    let mut lines = String::new();
    for number in 0..2 * IMAGES + 1 {
        let program = host.copy("/bin/sleep", &format!("bin/innocent-{number}"));
        let child = group.spawn(&[program.clone(), "1000".to_owned()], host.dir(), &[]);
        let exe = format!("/proc/{}/exe", child.id());
        wait_until("it runs", || fs::read_link(&exe).is_ok_and(|path| path.to_str() == Some(program.as_str())));
        let said = format!("/elsewhere-{number}/{}", host.mark);
        lines += &format!("{}\n", lie(number, child.id(), &said, &node));
        sleepers.0.push(child);
    }
    OpenOptions::new().append(true).open(&file).unwrap().write_all(lines.as_bytes()).unwrap();
    let told = |run: &Value| run.to_string().contains("anybody can write");
    wait_until("every lie has its run, which asks", || {
        let runs = daemon.runs();
        runs.iter().filter(|run| run["state"] != "running" && told(run)).count() > 2 * IMAGES
    });
    assert!(sleepers.all_live(), "a line in a file killed somebody");
    let asks = |run: &Value| run["steps"][0]["outcome"].is_null() && run["steps"][0]["questions"][0]["open"] == true;
    assert!(daemon.runs().iter().all(asks), "{:?}", daemon.runs());

    // The real one beside it: its image is the first that would count.
    dies(&host, &host.inside.below("victim"));
    wait_until("it was killed by a run that proved it", || {
        daemon.runs().iter().any(|run| run["steps"][0]["outcome"] == "verified")
    });
    assert!(sleepers.all_live());
    daemon.end();
    let system = verifies(&state).read(&StreamId::system(), 1).unwrap();
    let opened = system.iter().filter(|record| matches!(record.body, Body::BreakerChanged(_))).count();
    assert_eq!(opened, 0, "the breaker was moved");
}

/// A reload takes the file out, then calls it trusted: it is still followed, as what it was at the start.
#[test]
fn no_reload_makes_trusted_what_anybody_can_write() {
    let Some(host) = Host::new("reload", &[("it", kill_one("seen"))], &[("seen", "Image|endswith: /MARK")]) else {
        return;
    };
    let config = host.dir().join("blind.yaml");
    let plain = fs::read_to_string(&config).unwrap();
    let follow = |more: &str| {
        let format = Format::Recording.as_str();
        let files = format!("enabled: false }}, files: [{{ format: {format}, path: foreign.jsonl{more} }}]");
        plain.replace("enabled: false }", &files)
    };
    fs::write(&config, follow("")).unwrap();
    let file = host.dir().join("foreign.jsonl");
    fs::write(&file, "").unwrap();
    let state = host.dir().join("state");
    let mut daemon = host.start(&state, false, None);
    daemon.stands();
    let node = daemon.status()["node"].clone();
    let group = host.inside.below("innocent");
    let mut sleepers = Sleepers(Vec::new());
    for (number, text) in [plain.clone(), follow(", trusted: true")].iter().enumerate() {
        fs::write(&config, text).unwrap();
        let told = || daemon.said().matches("\"message\":\"reloaded\"").count();
        wait_until("it is reloaded", || told() > number);
        assert!(daemon.said().contains("`sources` was changed and needs a restart"), "{}", daemon.log());
        let program = host.copy("/bin/sleep", &format!("bin/innocent-{number}"));
        let child = group.spawn(&[program.clone(), "1000".to_owned()], host.dir(), &[]);
        let exe = format!("/proc/{}/exe", child.id());
        wait_until("it runs", || fs::read_link(&exe).is_ok_and(|path| path.to_str() == Some(program.as_str())));
        let line = lie(number, child.id(), &format!("/elsewhere-{number}/{}", host.mark), &node);
        sleepers.0.push(child);
        OpenOptions::new().append(true).open(&file).unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
        wait_until("it has its run, which asks", || {
            assert!(sleepers.all_live(), "a line in a file killed somebody");
            let runs = daemon.runs();
            runs.iter().filter(|run| run.to_string().contains("anybody can write")).count() > number
        });
    }
    daemon.end();
}
