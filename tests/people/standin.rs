//! A Slack of a test's own (slack/standin.py), and how it is asked what no Slack would tell.
//!
//! Owns its process, which ends with the test. What it takes for Slack's ways is held to Slack's own client by those tests that
//! ask [`has_sdk`] first.

use super::signed::exchange;
use crate::cli::wait_until;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The stand-in's token.
pub(super) const TOKEN: &str = "xoxb-0001-quell-test";
/// The channel `#incidents`.
pub(super) const INCIDENTS: &str = "C0INCIDENT";
/// Members of its workspace.
pub(super) const ANA: &str = "U0ANA0001";
pub(super) const BO: &str = "U0BO00001";

/// Debian's own Python, with what `scripts/setup test` keeps for it; nothing is compiled into the tree.
fn python(args: &[&str]) -> Command {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    let mut command = Command::new("/usr/bin/python3");
    command.arg("-B").args(args).env("PYTHONPATH", cache.join("quell/tools/slack")).stdin(Stdio::null());
    command
}

/// One of the files in slack/.
pub(super) fn script(name: &str, args: &[&str]) -> Command {
    let file = format!("{}/tests/people/slack/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut all = vec![file.as_str()];
    all.extend(args);
    python(&all)
}

/// Whether Slack's own client is here; says loudly what is not tested where it is not.
pub(super) fn has_sdk(what: &str) -> bool {
    let has = python(&["-c", "import slack_sdk"]).output().is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("NOT TESTED: {what}: `slack_sdk` is not installed");
    }
    has
}

/// See the module.
pub(super) struct StandIn {
    child: Child,
    pub(super) port: u16,
}

impl StandIn {
    /// At this port; 0: at any.
    pub(super) fn start(port: u16) -> Self {
        let mut child = script("standin.py", &[&port.to_string()]).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let port = said.strip_prefix("ready ").unwrap_or_else(|| panic!("the stand-in did not start: {said}"));
        Self { port: port.trim().parse().unwrap(), child }
    }

    /// Where its API is.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/api", self.port)
    }

    /// One exchange, by the app's own token.
    pub(super) fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let headers = format!("authorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n");
        let (status, said) = exchange(self.port, method, path, &headers, &body.to_string());
        assert_eq!(status, 200, "{path}: {said}");
        serde_json::from_str(&said).unwrap()
    }

    fn state(&self) -> Value {
        self.ask("GET", "/test/state", &json!({}))
    }

    /// What goes wrong from now on, as `WebApi.fail` has it.
    pub(super) fn fails(&self, failure: &Value) {
        self.ask("POST", "/test/fail", failure);
    }

    /// How many calls of this method it holds now.
    pub(super) fn holds(&self, method: &str) -> usize {
        self.state()["held"].as_array().unwrap().iter().filter(|held| *held == method).count()
    }

    /// Lets go what it holds, and holds nothing any more.
    pub(super) fn lets_go(&self) {
        self.ask("POST", "/test/let-go", &json!({}));
    }

    /// Everything that was said, as it stands now.
    pub(super) fn messages(&self) -> Vec<Value> {
        self.state()["messages"].as_array().unwrap().clone()
    }

    /// What is in no thread.
    pub(super) fn heads(&self) -> Vec<Value> {
        self.messages().into_iter().filter(|message| message.get("thread_ts").is_none()).collect()
    }

    /// What was said in the thread of this one.
    pub(super) fn thread(&self, head: &Value) -> Vec<Value> {
        self.messages().into_iter().filter(|message| message.get("thread_ts") == Some(&head["ts"])).collect()
    }

    /// The calls of this method, as they came.
    pub(super) fn calls(&self, method: &str) -> Vec<Value> {
        let calls = self.state()["calls"].as_array().unwrap().clone();
        calls.into_iter().filter(|call| call["method"] == method).collect()
    }

    /// Where what is told to this name is taken.
    pub(super) fn hook(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/hooks/{name}", self.port)
    }

    /// What was told there: to nobody else, and beside the message.
    pub(super) fn told(&self, name: &str) -> Vec<String> {
        let all = self.ask("GET", "/test/hooks", &json!({}));
        let own = all.as_array().unwrap().iter().filter(|told| told["name"] == name);
        own.map(|told| {
            assert_eq!((&told["response_type"], &told["replace_original"]), (&json!("ephemeral"), &json!(false)));
            told["text"].as_str().unwrap().to_owned()
        })
        .collect()
    }

    /// The first that is told there, once it is.
    pub(super) fn hears(&self, name: &str) -> String {
        wait_until(&format!("{name} is told"), || !self.told(name).is_empty());
        self.told(name).remove(0)
    }

    /// How its links of Socket Mode stand.
    pub(super) fn links(&self) -> Value {
        self.ask("GET", "/test/socket", &json!({}))
    }

    /// How often an envelope was acknowledged.
    pub(super) fn acks(&self, id: &str) -> usize {
        self.links()["acks"].as_array().unwrap().iter().filter(|ack| ack["envelope_id"] == id).count()
    }

    /// Sends an envelope by the newest link; gives its id.
    pub(super) fn sends(&self, envelope: &Value) -> String {
        self.ask("POST", "/test/socket/send", envelope)["envelope_id"].as_str().unwrap().to_owned()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What the buttons of a message carry, by the words of their acts.
pub(super) fn buttons(message: &Value) -> Vec<(String, String)> {
    let blocks = message["blocks"].as_array().unwrap();
    let actions = blocks.iter().filter(|block| block["type"] == "actions");
    let elements = actions.flat_map(|block| block["elements"].as_array().unwrap());
    let text = |of: &Value| of.as_str().unwrap().to_owned();
    let act = |button: &Value| text(&button["action_id"]).strip_prefix("quell:").unwrap().to_owned();
    elements.map(|button| (act(button), text(&button["value"]))).collect()
}
