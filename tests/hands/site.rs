//! A machine's corner of a test's own: a mount namespace with a BPF file system of its own, so that pins are nobody else's;
//! a cgroup, which is all that its daemons may touch; and daemons.

use super::attack::Attack;
use super::wait_until;
use crate::daemon::Daemon as Own;
use crate::threats::group::Group;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Kills the tree of whoever executes the attack for the first time.
const RULE: &str = "title: Attack\nname: attack\nid: 3f3f0c5e-8c51-4f0a-9a53-0d6b8a7a51c2\nstatus: test\n\
    logsource: { product: linux, category: process_creation }\n\
    detection: { s: { Image|endswith: /quell-test-attack, CommandLine|endswith: ' 0' }, condition: s }\nlevel: high\n";
const PLAYBOOK: &str = "playbook: end-it\ndescription: Ends the attack.\non: { detections: { rules: [attack] } }\n\
    mode: enforce\nlimits: { runs: 100/h }\nsteps:\n  kill:\n    action: process.kill\n\
    \x20   with: { process: \"${{ event.process.id }}\", scope: tree }\n";

/// See the module.
pub(super) struct Site {
    /// Keeps the namespace; ends with its stdin.
    holder: Child,
    /// All that its daemons may touch.
    pub(super) group: Group,
}

impl Site {
    /// A new one; `None`, loudly, where none can be built.
    pub(super) fn build() -> Option<Self> {
        let site = Self::try_build();
        match site {
            Ok(site) => Some(site),
            Err(why) => {
                assert!(std::env::var_os("QUELL_REQUIRE_BPF").is_none(), "{why}");
                eprintln!("NOT TESTED: the kernel's hands through the daemon: {why}");
                None
            }
        }
    }

    fn try_build() -> Result<Self, String> {
        static BUILT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            return Err("only root may load BPF and make cgroups".to_owned());
        }
        let name = format!("quell-test-hands-{}-{}", std::process::id(), BUILT.fetch_add(1, Ordering::Relaxed));
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", "mount -t bpf bpf /sys/fs/bpf && echo ready && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("no `unshare`: {e}"))?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "ready\n" {
            drop(holder.wait());
            return Err("no BPF file system can be mounted".to_owned());
        }
        let group = Group::new(&name).ok_or("no cgroup can be made here")?;
        Ok(Self { holder, group })
    }

    /// quell within the namespace.
    fn quell(&self) -> Command {
        let mut command = Command::new("nsenter");
        let mount = format!("--mount=/proc/{}/ns/mnt", self.holder.id());
        command.arg(mount).arg(env!("CARGO_BIN_EXE_quell")).stdin(Stdio::null());
        command
    }

    /// What is pinned there, in the order of names; none when the directory is not there.
    pub(super) fn pins(&self) -> Vec<String> {
        let dir = format!("/proc/{}/root/sys/fs/bpf/quell", self.holder.id());
        let entries = fs::read_dir(dir).map(|all| all.flatten().collect::<Vec<_>>()).unwrap_or_default();
        let mut names: Vec<String> = entries.iter().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Whether the hook at system calls is pinned.
    pub(super) fn is_at_calls(&self) -> bool {
        self.pins().iter().any(|pin| pin == "hand_call")
    }

    /// An attack within the daemons' reach, up to where it waits.
    pub(super) fn attack(&self, kind: &str) -> Attack {
        Attack::new(kind, Some(&self.group.procs()))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        drop(self.holder.wait());
        self.group.remove();
    }
}

/// One daemon's place in a site; killed with its value.
pub(super) struct Daemon<'s> {
    site: &'s Site,
    keep: tempfile::TempDir,
    /// The daemon itself.
    pub(super) own: Own,
}

impl<'s> Daemon<'s> {
    /// In enforce, with one rule and one playbook; armed. `None`, loudly, where the kernel has no hands.
    pub(super) fn up(site: &'s Site) -> Option<Self> {
        Self::up_with(site, RULE, PLAYBOOK)
    }

    /// The same with another rule and playbook.
    pub(super) fn up_with(site: &'s Site, rule: &str, playbook: &str) -> Option<Self> {
        let keep = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = keep.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("rules/attack.yml", rule);
        write("playbooks/end-it.yaml", playbook);
        let config = format!(
            "mode: enforce\nplaybooks: {{ shipped: false, dirs: [playbooks] }}\nrules: {{ shipped: false, dirs: [rules] }}\n\
             guard: {{ only_within: {{ cgroup: {} }} }}\n",
            site.group.path
        );
        write("quell.yaml", &config);
        let own = Self::start(site, keep.path());
        let daemon = Self { site, keep, own };
        let status = daemon.status();
        if status["hands"]["loaded"] == true {
            return Some(daemon);
        }
        let why = format!("{} {}", status["sensor"]["why"], status["hands"]["why"]);
        assert!(std::env::var_os("QUELL_REQUIRE_BPF").is_none(), "{why}");
        eprintln!("NOT TESTED: the kernel's hands through the daemon: {why}");
        None
    }

    fn start(site: &Site, keep: &Path) -> Own {
        let mut quell = site.quell();
        quell.arg("up");
        let mut own = Own::start(quell, Some(&keep.join("quell.yaml")), &keep.join("state"), &keep.join("log"));
        own.stands();
        own
    }

    /// Where its data is.
    pub(super) fn dir(&self) -> PathBuf {
        self.keep.path().join("state")
    }

    /// Starts a client of it and waits for nothing.
    pub(super) fn begin(&self, args: &[&str]) -> Child {
        self.site.quell().args(args).arg("--data-dir").arg(self.dir()).stdout(Stdio::null()).spawn().unwrap()
    }

    /// Runs a client of it.
    pub(super) fn ask(&self, args: &[&str]) -> Output {
        self.site.quell().args(args).arg("--data-dir").arg(self.dir()).output().unwrap()
    }

    /// What a client of it says that ends well.
    #[track_caller]
    pub(super) fn says(&self, args: &[&str]) -> String {
        let out = self.ask(args);
        assert!(out.status.success(), "{args:?}: {out:?}\n{}", self.log());
        String::from_utf8(out.stdout).unwrap()
    }

    #[track_caller]
    pub(super) fn json(&self, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.push("--json");
        serde_json::from_str(&self.says(&args)).unwrap()
    }

    pub(super) fn status(&self) -> Value {
        let out = self.ask(&["status", "--json"]);
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}\n{}", self.log()))
    }

    pub(super) fn log(&self) -> String {
        self.own.said()
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        self.own.kill();
    }

    /// The next one with the same data.
    pub(super) fn again(&mut self) {
        self.own = Self::start(self.site, self.keep.path());
    }

    /// SIGTERM, and the end.
    pub(super) fn end(&mut self) {
        self.own.signal(rustix::process::Signal::TERM);
        self.own.wait();
    }

    /// The run about this attack once it is over.
    pub(super) fn run_about(&self, attack: &Attack) -> Value {
        let dir = attack.dir().to_string_lossy().into_owned();
        let mut found = Value::Null;
        wait_until("the run about the attack has ended", || {
            let list = self.json(&["run", "list"]);
            let over = list.as_array().unwrap().iter().filter(|run| !matches!(run["state"].as_str(), Some("running")));
            let mut views = over.map(|run| self.json(&["run", "show", run["id"].as_str().unwrap()]));
            let about =
                |run: &Value| run["event"]["process"]["command_line"].as_str().is_some_and(|c| c.contains(&dir));
            found = views.find(about).unwrap_or_default();
            !found.is_null()
        });
        found
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}
