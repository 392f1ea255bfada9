//! A host in small: cgroups, rules and playbooks of a test's own, and daemons that are started and killed on it.

use crate::cli::{command, write};
use crate::daemon::Daemon;
use crate::threats::group::Group;
use quell_engine::store::Journal;
use std::fs;
use std::path::Path;

/// More than any day here has: the guard's bounds are other tests' matter.
const MANY: &str = "100000/h";

/// See the module.
pub(crate) struct Host {
    keep: tempfile::TempDir,
    top: Group,
    /// All that a daemon here may touch.
    pub(crate) inside: Group,
    /// Beside it.
    pub(crate) outside: Group,
    /// The name of the program that is an attack, and in the rules.
    pub(crate) mark: String,
}

impl Host {
    /// With these playbooks, by name and text; each rule that one of them asks for matches what `selection` says of
    /// `process_creation` (`MARK` is the attack's name). `None` where none can be made, which is said loudly.
    pub(crate) fn new(name: &str, playbooks: &[(&str, String)], rules: &[(&str, &str)]) -> Option<Self> {
        let refused = if rustix::process::geteuid().is_root() { None } else { Some("only root may load BPF") };
        let mark = format!("quell-{name}-{}", std::process::id());
        let top = if refused.is_none() { Group::new(&mark) } else { None };
        let Some(top) = top else {
            let why = refused.unwrap_or("no cgroup can be made here");
            assert!(std::env::var_os("QUELL_REQUIRE_BPF").is_none(), "{why}");
            eprintln!("NOT TESTED: bad days, {name}: {why}");
            return None;
        };
        let (inside, outside) = (top.below("in"), top.below("out"));
        let host = Self { keep: tempfile::tempdir().unwrap(), top, inside, outside, mark };
        for (sensor, file) in [(true, "quell.yaml"), (false, "blind.yaml")] {
            let text = format!(
                "mode: enforce\nsources: {{ sensor: {{ enabled: {sensor} }} }}\nplaybooks: {{ shipped: false, dirs: [playbooks] }}\n\
                 rules: {{ shipped: false, dirs: [rules] }}\nguard:\n  only_within: {{ cgroup: {} }}\n  \
                 breaker: {{ images: 100000, within: 10m, quiet: 1m }}\n  \
                 limits: {{ \"*\": {MANY}, all: {MANY}, process.kill: {MANY}, process.freeze: {MANY}, process.capture: {MANY}, per_playbook: {{ all: {MANY} }} }}\n",
                host.inside.path
            );
            write(host.dir(), file, &text);
        }
        fs::create_dir(host.dir().join("playbooks")).unwrap();
        for (name, text) in playbooks {
            write(host.dir(), &format!("playbooks/{name}.yaml"), text);
        }
        for (number, (rule, selection)) in rules.iter().enumerate() {
            let selection = selection.replace("MARK", &host.mark);
            let text = format!(
                "title: {rule}\nname: {rule}\nid: 3f3f0c5e-8c51-4f0a-9a53-0d6b8a7a{number:04}\nstatus: test\n\
                 logsource: {{ product: linux, category: process_creation }}\n\
                 detection: {{ s: {{ {selection} }}, condition: s }}\nlevel: high\n"
            );
            write(host.dir(), &format!("rules/{rule}.yml"), &text);
        }
        Some(host)
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> &Path {
        self.keep.path()
    }

    /// A copy of a program under another name, in a directory of its own.
    pub(crate) fn copy(&self, program: &str, name: &str) -> String {
        let path = self.dir().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(program, &path).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A program that only sleeps, and that the rules want.
    pub(crate) fn victim(&self) -> String {
        let path = self.dir().join("bin").join(&self.mark);
        if path.exists() {
            path.to_str().unwrap().to_owned()
        } else {
            self.copy("/bin/sleep", &format!("bin/{}", self.mark))
        }
    }

    /// A daemon with its data in `state`, that has come to its feet.
    pub(crate) fn armed(&self, state: &Path) -> Option<Daemon> {
        let mut daemon = self.start(state, true, None);
        daemon.armed(&self.mark).then_some(daemon)
    }

    /// Starts a daemon and waits for nothing; `die` names the write at which it ends (`engine/src/store/fault.rs`).
    pub(crate) fn start(&self, state: &Path, sensor: bool, die: Option<&str>) -> Daemon {
        let config = self.dir().join(if sensor { "quell.yaml" } else { "blind.yaml" });
        let mut up = command(&["up"]);
        if let Some(place) = die {
            up.env("QUELL_DIE_AT", place);
        }
        Daemon::start(up, Some(&config), state, &self.dir().join("daemon.log"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.top.remove();
    }
}

/// Fails the test unless the journal of a daemon that has ended holds together.
#[track_caller]
pub(crate) fn verifies(state: &Path) -> Journal {
    let journal = Journal::open_read_only(state).unwrap();
    assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
    assert_eq!(journal.health().recovery, Vec::<String>::new());
    journal
}

/// A playbook of one step: kills the process that a rule saw.
pub(crate) fn kill_one(rule: &str) -> String {
    format!(
        "playbook: end-it\ndescription: Kills it.\non: {{ detections: {{ rules: [{rule}], level: low }} }}\nmode: enforce\n\
         limits: {{ runs: 100000/h }}\nsteps:\n  kill: {{ action: process.kill, with: {{ process: \"${{{{ event.process.id }}}}\", scope: process }} }}\n"
    )
}

/// One that holds it, looks at it, and kills it.
pub(crate) fn hold_and_kill(rule: &str) -> String {
    format!(
        "playbook: hold-and-kill\ndescription: Holds it, keeps it, kills it.\non: {{ detections: {{ rules: [{rule}], level: low }} }}\nmode: enforce\n\
         limits: {{ runs: 100000/h }}\nsteps:\n\
         \x20 freeze: {{ action: process.freeze, with: {{ process: \"${{{{ event.process.id }}}}\", scope: tree }} }}\n\
         \x20 evidence: {{ needs: [freeze], action: process.capture, with: {{ process: \"${{{{ event.process.id }}}}\" }}, on_failure: continue }}\n\
         \x20 kill: {{ needs: [evidence], action: process.kill, with: {{ process: \"${{{{ event.process.id }}}}\", scope: tree }} }}\n"
    )
}
