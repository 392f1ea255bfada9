//! One attack and who stands beside it, and the daemon's lives around it.

use super::rules_of;
use super::story::Story;
use crate::bad_days::host::{Host, verifies};
use crate::cli::{command, wait_until};
use crate::daemon::Daemon;
use crate::threats::group::Group;
use quell_engine::store::Journal;
use std::cell::Cell;
use std::path::PathBuf;
use std::process::Child;

/// What attacks.
#[derive(Clone, Copy)]
pub(super) enum Attack {
    /// A process with two children.
    Tree,
    /// A shell that runs `cat`, and `cat` is what the rule sees.
    Reader,
}

/// See the module.
pub(super) struct Scene {
    host: Host,
    attack: Attack,
    /// It leaves something in the kernel.
    blocks: bool,
    takes: Cell<u32>,
}

/// One telling of the story, from the attack to the end.
pub(super) struct Take<'a> {
    scene: &'a Scene,
    /// The data directory.
    state: PathBuf,
    group: Group,
    child: Option<Child>,
    beside: Vec<(Group, Child)>,
}

/// How a life of the daemon ended.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Life {
    /// At the place that was named.
    Died,
    /// It came to the end of every run.
    Finished,
}

impl Scene {
    /// With a playbook whose rules see the attack and nothing else.
    pub(super) fn new(name: &str, playbook: &str, attack: Attack) -> Option<Self> {
        let rules = rules_of(playbook);
        let image = match attack {
            Attack::Tree => "Image|endswith: /MARK",
            Attack::Reader => "Image|endswith: /MARK/cat",
        };
        let never = "Image|endswith: /MARK/never";
        let rules: Vec<(&str, &str)> =
            rules.iter().enumerate().map(|(at, rule)| (rule.as_str(), if at == 0 { image } else { never })).collect();
        let host = Host::new(name, &[("it", playbook.to_owned())], &rules)?;
        match attack {
            Attack::Tree => drop(host.victim()),
            Attack::Reader => {
                host.copy("/bin/dash", &format!("{}/sh", host.mark));
                host.copy("/bin/cat", &format!("{}/cat", host.mark));
            }
        }
        Some(Self {
            host,
            attack,
            blocks: ["process.block_exec", "network."].iter().any(|action| playbook.contains(action)),
            takes: Cell::new(0),
        })
    }

    /// A fresh data directory, and bystanders: one in the reach of the guard, one outside of it.
    pub(super) fn take(&self) -> Take<'_> {
        let number = self.takes.replace(self.takes.get() + 1);
        let dir = self.host.dir().join(format!("take-{number}"));
        std::fs::create_dir_all(&dir).unwrap();
        let group = self.host.inside.below(&format!("attack-{number}"));
        let sleeper = ["/bin/sleep".to_owned(), "1000".to_owned()];
        let beside = [&self.host.inside, &self.host.outside].map(|reach| {
            let group = reach.below(&format!("beside-{number}"));
            let child = group.spawn(&sleeper, &dir, &[]);
            (group, child)
        });
        Take { scene: self, state: dir.join("state"), group, child: None, beside: beside.into() }
    }
}

impl Take<'_> {
    fn attack(&mut self) {
        let dir = self.state.parent().unwrap().to_owned();
        let host = &self.scene.host;
        let words = match self.scene.attack {
            // Its children are there before it is what the rule sees, so that each telling has as many.
            Attack::Tree => {
                let text = "sleep 1000 & sleep 1000 & exec \"$0\" 1000".to_owned();
                vec!["/bin/sh".to_owned(), "-c".to_owned(), text, host.victim()]
            }
            Attack::Reader => {
                let tool = |name: &str| host.dir().join(&host.mark).join(name).to_str().unwrap().to_owned();
                vec![tool("sh"), "-c".to_owned(), "mkfifo fifo; \"$0\" fifo; :".to_owned(), tool("cat")]
            }
        };
        self.child = Some(self.group.spawn(&words, &dir, &[]));
    }

    /// One life of the daemon, from its start to its end. The attack comes once it is armed, in the first life.
    pub(super) fn live(&mut self, sensor: bool, die: Option<&str>) -> Option<Life> {
        let first = self.child.is_none();
        let mut daemon = self.scene.host.start(&self.state, sensor || first, die);
        let mut life = None;
        let mut last = String::new();
        wait_until("the daemon dies, or comes to the end of every run", || {
            if let Some(status) = daemon.ended() {
                assert!(die.is_some() && is_killed(status), "{status}\n{}", daemon.log());
                life = Some(Some(Life::Died));
            } else if let Some(status) = daemon.try_status() {
                last = status.to_string();
                if self.child.is_none() && status["state"] == "blind" {
                    life = Some(None);
                } else if self.child.is_none() && status["state"] == "armed" {
                    self.attack();
                } else if self.child.is_some() && has_run(&daemon) && is_idle(&daemon) {
                    life = Some(Some(Life::Finished));
                }
            }
            life.is_some()
        });
        if life == Some(None) {
            assert!(std::env::var_os("QUELL_REQUIRE_BPF").is_none(), "{last}");
            eprintln!("NOT TESTED: the crash law of {}: {last}", self.scene.host.mark);
        }
        if life == Some(Some(Life::Finished)) {
            let (status, log) = daemon.asked_to_end();
            // What comes by the clock (what the kernel dropped, told into the incident) may be the write at which it dies.
            if die.is_some() && is_killed(status) {
                return Some(Life::Died);
            }
            assert!(status.success(), "{status}\n{log}");
        }
        life.unwrap()
    }

    /// What the journal holds in the middle of a story, for a failed test.
    pub(super) fn so_far(&self) -> Story {
        Story::of(&Journal::open_read_only(&self.state).unwrap(), self.group.states(), true)
    }

    /// The end of the story: what the journal holds, and who lives.
    pub(super) fn end(mut self) -> Story {
        drop(self.child.as_mut().map(Child::try_wait));
        let journal = verifies(&self.state);
        let open: Vec<_> =
            journal.open_streams().unwrap().into_iter().filter(|stream| stream.as_run().is_some()).collect();
        assert!(open.is_empty(), "left open: {open:?}");
        for (group, _) in &self.beside {
            assert_eq!(group.living().len(), 1, "{}: somebody else was touched", group.path);
            assert_eq!(group.states(), "S", "{}: somebody else was touched", group.path);
        }
        let mut states = self.group.states();
        if !states.is_empty() && self.group.is_frozen() {
            states = "frozen".to_owned();
        }
        // Whether a reader that is dead and not waited for is counted with its shell depends on the moment.
        Story::of(&journal, states, matches!(self.scene.attack, Attack::Tree))
    }
}

/// Asked after a run was seen: before, it would only say that none has begun.
fn is_idle(daemon: &Daemon) -> bool {
    daemon.try_status().is_some_and(|status| status["runs_open"] == 0)
}

fn is_killed(status: std::process::ExitStatus) -> bool {
    std::os::unix::process::ExitStatusExt::signal(&status) == Some(9)
}

fn has_run(daemon: &Daemon) -> bool {
    daemon.get("/runs").is_some_and(|list| list["items"].as_array().is_some_and(|runs| !runs.is_empty()))
}

impl Drop for Take<'_> {
    fn drop(&mut self) {
        // What was kept from starting, or cut off, would stand on, in this directory's name.
        if self.scene.blocks {
            drop(command(&["uninstall", "--data-dir", self.state.to_str().unwrap()]).output());
        }
        self.group.end();
        for (group, child) in &mut self.beside {
            group.end();
            drop(child.wait());
        }
        if let Some(child) = &mut self.child {
            drop(child.wait());
        }
    }
}
