//! The demo's stage: a cgroup, a directory in /dev/shm, a decoy, a directory for the journal, and the scene's process.
//!
//! Invariant: all of it is gone when the stage is dropped, whatever happened on it; it never touches what it did not
//! make.

use super::actor::{COMMAND, Cue, Said};
use quell_actions::own_cgroup;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// Where a cgroup can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hierarchy {
    /// With `cgroup.freeze`.
    V2(PathBuf),
    /// With `freezer.state`.
    V1Freezer(PathBuf),
}

impl Hierarchy {
    /// The first that this machine has mounted, v2 before v1.
    pub(super) fn find(mounts: &str) -> Option<Self> {
        let of = |fs: &str, option: Option<&str>| {
            mounts.lines().find_map(|line| {
                let parts: Vec<&str> = line.split(' ').collect();
                let fits = parts.get(2) == Some(&fs)
                    && option.is_none_or(|o| parts.get(3).is_some_and(|all| all.split(',').any(|one| one == o)));
                fits.then(|| PathBuf::from(parts[1]))
            })
        };
        of("cgroup2", None).map(Self::V2).or_else(|| of("cgroup", Some("freezer")).map(Self::V1Freezer))
    }

    fn root(&self) -> &Path {
        match self {
            Self::V2(root) | Self::V1Freezer(root) => root,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Stage {
    hierarchy: Hierarchy,
    /// Below the hierarchy's root: `/quell-demo-4242`.
    pub(super) cgroup: String,
    /// In /dev/shm.
    pub(super) shm: PathBuf,
    /// A file where somebody's cloud keys would be.
    pub(super) decoy: PathBuf,
    /// For the decoy and the journal.
    pub(super) data: PathBuf,
    scene: Option<Scene>,
    made: Vec<PathBuf>,
}

#[derive(Debug)]
struct Scene {
    child: Child,
    cues: Option<ChildStdin>,
    said: Receiver<Said>,
}

/// What the decoy holds: the key id of AWS's own documentation.
const DECOY: &str =
    "# A decoy of quell's demo: it opens nothing.\n[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\n";

/// For the demo's processes to end: milliseconds, longer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(8);

/// What the scene says is read as it comes; a demo makes a dozen lines.
const LINES: usize = 256;

impl Stage {
    /// Sets it, or says what is in the way.
    pub(super) fn set(hierarchy: Hierarchy) -> io::Result<Self> {
        let name = format!("quell-demo-{}", std::process::id());
        let data = std::env::temp_dir().join(&name);
        let mut stage = Self {
            cgroup: format!("/{name}"),
            shm: PathBuf::from("/dev/shm").join(format!(".{name}")),
            decoy: data.join("home/.aws/credentials"),
            data,
            hierarchy,
            scene: None,
            made: Vec::new(),
        };
        // From here on dropping the stage takes away what was made so far, and nothing that was there before.
        for dir in [stage.cgroup_dir(), stage.shm.clone(), stage.data.clone()] {
            fs::create_dir_all(dir.parent().unwrap_or(Path::new("/")))?;
            fs::create_dir(&dir)?;
            stage.made.push(dir);
        }
        fs::create_dir_all(stage.decoy.parent().unwrap_or(&stage.data))?;
        fs::write(&stage.decoy, DECOY)?;
        Ok(stage)
    }

    /// The cgroup's directory.
    pub(super) fn cgroup_dir(&self) -> PathBuf {
        self.hierarchy.root().join(self.cgroup.trim_start_matches('/'))
    }

    /// Starts the scene's process; gives its first words.
    pub(super) fn open(&mut self, port: u16) -> io::Result<Said> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(COMMAND)
            .arg("scene")
            .arg(self.cgroup_dir())
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let cues = child.stdin.take();
        let out = child.stdout.take().ok_or_else(|| io::Error::other("the scene has no stdout"))?;
        let (tell, said) = sync_channel(LINES);
        std::thread::Builder::new().name("demo-scene".into()).spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let Ok(said) = serde_json::from_str(&line) else { continue };
                if tell.send(said).is_err() {
                    return;
                }
            }
        })?;
        let scene = self.scene.insert(Scene { child, cues, said });
        scene
            .said
            .recv_timeout(Duration::from_secs(5))
            .map_err(|_| io::Error::other("the demo's own listener did not start"))
    }

    /// Starts an act.
    pub(super) fn cue(&mut self, cue: &Cue) -> io::Result<()> {
        let cues = self.scene.as_mut().and_then(|scene| scene.cues.as_mut()).ok_or(io::ErrorKind::NotConnected)?;
        writeln!(cues, "{}", serde_json::to_string(cue)?)?;
        cues.flush()
    }

    /// The next thing that the scene says, if it says one within this time.
    pub(super) fn hear(&self, within: Duration) -> Option<Said> {
        self.scene.as_ref()?.said.recv_timeout(within).ok()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(mut scene) = self.scene.take() {
            drop(scene.cues.take());
            drop(scene.child.kill());
            drop(scene.child.wait());
        }
        for dir in std::mem::take(&mut self.made) {
            if dir == self.cgroup_dir() {
                if let Err(e) = own_cgroup::clear(&dir, PATIENCE) {
                    tracing::warn!(cgroup = %dir.display(), %e, "the demo's cgroup is left; `quell uninstall` removes it");
                }
            } else {
                // What is gone already is as it should be.
                drop(fs::remove_dir_all(dir));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
        cgroup /sys/fs/cgroup/freezer cgroup rw,relatime,freezer 0 0\n\
        cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";

    #[test]
    fn v2_is_found_wherever_it_is_and_v1_stands_in() {
        assert_eq!(Hierarchy::find(HYBRID), Some(Hierarchy::V2("/sys/fs/cgroup/unified".into())));
        let v1: String = HYBRID.lines().take(2).map(|line| format!("{line}\n")).collect();
        assert_eq!(Hierarchy::find(&v1), Some(Hierarchy::V1Freezer("/sys/fs/cgroup/freezer".into())));
        assert_eq!(Hierarchy::find("proc /proc proc rw 0 0\n"), None);
    }
}
