//! Two real containers (runc), of one image: an attack in one ends that container whole, by its id, and the same program in
//! the other lives on.
//!
//! What quell may touch is the cgroup that both are in; the root file system is busybox alone, in a directory of the test's.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]

use crate::cli::{command, wait_until, write};
use crate::daemon::Daemon;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const PLAYBOOK: &str = "playbook: end-the-container\ndescription: Ends the container of the attack.\n\
    on: { detections: { rules: [attack] } }\nmode: enforce\nlimits: { runs: 100/h }\nsteps:\n  kill:\n    \
    action: process.kill\n    with: { process: \"${{ event.process.id }}\", scope: container }\n";

/// What only the attack is called with.
const ATTACK: &str = "4242";

/// Where runc keeps its containers, their file system, and the cgroup above theirs.
struct Runtime {
    home: tempfile::TempDir,
    /// Below each hierarchy's root.
    cgroup: String,
    /// The program that both run; busybox by a name of the test's own.
    program: String,
}

impl Runtime {
    fn new() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root may make containers here".to_owned());
        }
        if !Command::new("runc").arg("--version").output().is_ok_and(|out| out.status.success()) {
            return Err("there is no runc; hint: `scripts/setup test` installs it".to_owned());
        }
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("rootfs");
        for dir in ["bin", "proc", "dev", "tmp"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        let busybox = busybox.ok_or("there is no busybox; hint: `scripts/setup test` installs it")?;
        let name = format!("busybox-{}", std::process::id());
        fs::copy(busybox, root.join("bin").join(&name)).unwrap();
        symlink(&name, root.join("bin/sh")).unwrap();
        let runtime = Self {
            home,
            cgroup: format!("/quell-test-containers-{}", std::process::id()),
            program: format!("/bin/{name}"),
        };
        // The guard takes a cgroup that is there.
        let above = runtime.cgroups().into_iter().next().ok_or("no cgroup hierarchy is mounted")?;
        fs::create_dir(&above).map_err(|e| format!("no cgroup can be made here: {e}"))?;
        Ok(runtime)
    }

    fn runc(&self, args: &[&str]) -> Output {
        let mut runc = Command::new("runc");
        // A container keeps the descriptors that it is given: a pipe would be waited for.
        let log = fs::File::create(self.home.path().join("runc.log")).unwrap();
        runc.arg("--root").arg(self.home.path().join("runc")).args(args).stdin(Stdio::null()).stdout(Stdio::null());
        let status = runc.stderr(log).status().unwrap();
        Output { status, stdout: Vec::new(), stderr: fs::read(self.home.path().join("runc.log")).unwrap() }
    }

    /// The cgroup above the containers' in every hierarchy, the one that freezes first.
    fn cgroups(&self) -> Vec<PathBuf> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mut roots: Vec<(bool, PathBuf)> = Vec::new();
        for line in mounts.lines() {
            let mut parts = line.split(' ').skip(1);
            let (Some(dir), Some(kind), Some(options)) = (parts.next(), parts.next(), parts.next()) else { continue };
            if kind == "cgroup" || kind == "cgroup2" {
                roots.push((!options.split(',').any(|one| one == "freezer"), PathBuf::from(dir)));
            }
        }
        roots.sort();
        roots.into_iter().map(|(_, root)| root.join(self.cgroup.trim_start_matches('/'))).collect()
    }

    /// Starts a container in which the program sleeps; an error where none can be run.
    fn start(&self, number: u32) -> Result<Container<'_>, String> {
        let id = format!("{:032x}{number:032x}", std::process::id());
        let bundle = self.home.path().join(&id);
        fs::create_dir(&bundle).unwrap();
        let made = self.runc(&["spec", "--bundle", bundle.to_str().unwrap()]);
        assert!(made.status.success(), "{made:?}");
        let mut spec: Value = serde_json::from_slice(&fs::read(bundle.join("config.json")).unwrap()).unwrap();
        spec["process"]["terminal"] = false.into();
        spec["process"]["args"] = json!([self.program, "sleep", "1000"]);
        spec["root"]["path"] = self.home.path().join("rootfs").to_str().into();
        spec["linux"]["cgroupsPath"] = format!("{}/{id}", self.cgroup).into();
        write(&bundle, "config.json", &spec.to_string());
        let ran = self.runc(&["run", "--detach", "--bundle", bundle.to_str().unwrap(), &id]);
        let container = Container { runtime: self, id };
        if ran.status.success() {
            return Ok(container);
        }
        Err(format!("runc runs no container here: {}", String::from_utf8_lossy(&ran.stderr)))
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        for dir in self.cgroups() {
            let gone = || fs::remove_dir(&dir).is_ok() || !dir.exists();
            wait_until("the containers' cgroup is empty", gone);
        }
    }
}

/// One container; deleted with its value.
struct Container<'r> {
    runtime: &'r Runtime,
    id: String,
}

impl Container<'_> {
    /// Executes in it and waits for nothing.
    fn exec(&self, args: &[&str]) -> Output {
        let mut all = vec!["exec", "--detach", &self.id];
        all.extend(args);
        self.runtime.runc(&all)
    }

    /// The command lines of those who live in it.
    fn living(&self) -> Vec<String> {
        let dirs = self.runtime.cgroups().into_iter().map(|above| above.join(&self.id).join("cgroup.procs"));
        let pids =
            dirs.filter_map(|procs| fs::read_to_string(procs).ok()).find(|text| !text.is_empty()).unwrap_or_default();
        let line = |pid: &str| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ").trim_end().to_owned()
        };
        pids.split_whitespace().map(line).filter(|line| !line.is_empty()).collect()
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        self.runtime.runc(&["delete", "--force", &self.id]);
    }
}

fn not_tested(why: &str) {
    assert!(std::env::var_os("QUELL_REQUIRE_BPF").is_none(), "{why}");
    eprintln!("NOT TESTED: two containers: {why}");
}

#[test]
fn an_attack_ends_its_container_and_no_other() {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(why) => return not_tested(&why),
    };
    let home = tempfile::tempdir().unwrap();
    let rule = format!(
        "title: Attack\nname: attack\nid: 3f3f0c5e-8c51-4f0a-9a53-0d6b8a7a51c5\nstatus: test\n\
         logsource: {{ product: linux, category: process_creation }}\n\
         detection: {{ s: {{ Image|endswith: {}, CommandLine|endswith: ' {ATTACK}' }}, condition: s }}\nlevel: high\n",
        runtime.program
    );
    write(home.path(), "rules/attack.yml", &rule);
    write(home.path(), "playbooks/end.yaml", PLAYBOOK);
    let text = format!(
        "mode: enforce\nplaybooks: {{ shipped: false, dirs: [playbooks] }}\nrules: {{ shipped: false, dirs: [rules] }}\n\
         guard: {{ only_within: {{ cgroup: {} }} }}\n",
        runtime.cgroup
    );
    let config = write(home.path(), "quell.yaml", &text);
    let state = home.path().join("state");
    let mut daemon = Daemon::start(command(&["up"]), Some(&config), &state, &home.path().join("log"));
    if !daemon.armed("two containers") {
        return;
    }

    let both = runtime.start(1).and_then(|one| Ok((one, runtime.start(2)?)));
    let (one, other) = match both {
        Ok(both) => both,
        Err(why) => return not_tested(&why),
    };
    let calm = format!("{} sleep 1000", runtime.program);
    for container in [&one, &other] {
        wait_until("it runs", || container.living() == [calm.as_str()]);
    }
    // The same program in both; in one of them once more, as the attack.
    let ran = one.exec(&[&runtime.program, "sleep", ATTACK]);
    assert!(ran.status.success(), "{ran:?}");
    let mut run = Value::Null;
    wait_until("the run has ended", || {
        run = daemon.runs().into_iter().find(|run| run["state"] != "running").unwrap_or_default();
        !run.is_null()
    });
    assert_eq!((&run["state"], &run["steps"][0]["outcome"]), (&"succeeded".into(), &"verified".into()), "{run:#}");
    assert_eq!(run["event"]["container"]["id"], one.id.as_str(), "{run:#}");
    wait_until("nobody lives in it", || one.living().is_empty());
    assert_eq!(other.living(), [calm.as_str()], "the other container is another's");
    let about = other.exec(&[&runtime.program, "true"]);
    assert!(about.status.success(), "it still takes commands: {about:?}");
    assert_eq!(daemon.runs().len(), 1, "{:?}", daemon.runs());
    daemon.end();
}
