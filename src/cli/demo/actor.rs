//! The demo's attacker: two hidden commands that this same binary runs in processes of their own.
//!
//! `scene` opens a network of its own, listens there, and starts each act when told to on its stdin; `enter` moves
//! itself into the demo's cgroup and becomes the act's program. Both end with the demo, however it ends.
//!
//! ```text
//! demo ──"0\n"──▶ scene ──spawns──▶ enter ──execs──▶ the act, in the cgroup
//!      ◀─a line of JSON for everything that happens──┘
//! ```

use super::link;
use crate::cli::{Exit, Fail};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::{BufRead, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The name of the hidden command.
pub(super) const COMMAND: &str = "demo-actor";

/// See the module.
#[derive(Debug, clap::Args)]
pub(crate) struct ActorArgs {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, clap::Subcommand)]
enum Part {
    /// Listens, and starts acts
    Scene {
        /// The demo's cgroup
        cgroup: PathBuf,
        /// The port of the attacker's listener
        port: u16,
    },
    /// Becomes an act's program, inside the cgroup
    Enter {
        /// The demo's cgroup
        cgroup: PathBuf,
        /// What to become
        #[arg(last = true, required = true)]
        argv: Vec<OsString>,
    },
    /// Becomes a shell on a connection of its own: for machines without bash
    Dial {
        /// Whom to call
        to: SocketAddr,
    },
}

/// What the scene tells, one JSON object a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "snake_case")]
pub(super) enum Said {
    /// It listens here.
    Ready {
        /// Where the listener is.
        at: SocketAddr,
        /// In a namespace of its own, or why not.
        own_network: Result<(), String>,
    },
    /// An act's process runs.
    Started {
        /// Which act.
        act: usize,
        /// Its process.
        pid: u32,
    },
    /// An act could not be started.
    NotStarted {
        /// Which act.
        act: usize,
        /// Why.
        why: String,
    },
    /// An act's process is gone.
    Ended {
        /// Which act.
        act: usize,
        /// By which signal, if by one.
        signal: Option<i32>,
    },
    /// A shell called the listener.
    Called,
    /// Its connection broke.
    HungUp {
        /// How long it lasted.
        after_us: u64,
        /// What it sent.
        bytes: usize,
        /// Whether the answer to the command that the attacker typed was among it.
        answered: bool,
    },
}

/// What the scene is told, one JSON object a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Cue {
    /// Which act.
    pub(super) act: usize,
    /// What it runs.
    pub(super) argv: Vec<String>,
}

/// What the attacker types into a shell that calls, and what only its answer holds.
const TYPED: &[u8] = b"echo $((6*7))-owned\n";
const ANSWER: &[u8] = b"42-owned";

/// Plays its part.
pub(crate) fn run(args: &ActorArgs) -> Result<Exit, Fail> {
    let wrong = |e: std::io::Error| Fail::not_right(e.to_string());
    match &args.part {
        Part::Scene { cgroup, port } => scene(cgroup, *port).map_err(wrong)?,
        Part::Enter { cgroup, argv } => return Err(wrong(enter(cgroup, argv))),
        Part::Dial { to } => return Err(wrong(dial(*to))),
    }
    Ok(Exit::Right)
}

fn die_with_parent() -> std::io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?)
}

fn say(said: &Said) {
    let mut out = std::io::stdout().lock();
    let line = serde_json::to_string(said).expect("plain words");
    // The demo reads until it ends; then nobody is left to tell.
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

fn scene(cgroup: &Path, port: u16) -> std::io::Result<()> {
    die_with_parent()?;
    let own_network = link::enter_own().map_err(|e| e.to_string());
    let address = if own_network.is_ok() { link::ATTACKER } else { Ipv4Addr::LOCALHOST };
    let listener = TcpListener::bind((address, port)).or_else(|_| TcpListener::bind((address, 0)))?;
    say(&Said::Ready { at: listener.local_addr()?, own_network });
    std::thread::Builder::new().name("listener".into()).spawn(move || listen(&listener))?;
    for line in std::io::stdin().lock().lines() {
        let cue: Cue = serde_json::from_str(&line?)?;
        match start(cgroup, &cue) {
            Ok(mut child) => {
                say(&Said::Started { act: cue.act, pid: child.id() });
                std::thread::Builder::new().name("act".into()).spawn(move || {
                    let signal = child.wait().ok().and_then(|status| status.signal());
                    say(&Said::Ended { act: cue.act, signal });
                })?;
            }
            Err(e) => say(&Said::NotStarted { act: cue.act, why: e.to_string() }),
        }
    }
    Ok(())
}

fn start(cgroup: &Path, cue: &Cue) -> std::io::Result<std::process::Child> {
    Command::new(std::env::current_exe()?)
        .arg(COMMAND)
        .arg("enter")
        .arg(cgroup)
        .arg("--")
        .args(&cue.argv)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

fn listen(listener: &TcpListener) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        let since = Instant::now();
        say(&Said::Called);
        let mut heard: Vec<u8> = Vec::new();
        if stream.write_all(TYPED).is_ok() {
            let mut piece = [0_u8; 4096];
            // A killed shell resets or closes its end: either is the end.
            while let Ok(read @ 1..) = stream.read(&mut piece) {
                heard.extend(&piece[..read]);
            }
        }
        say(&Said::HungUp {
            after_us: u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX),
            bytes: heard.len(),
            answered: heard.windows(ANSWER.len()).any(|w| w == ANSWER),
        });
    }
}

/// Returns only when it could not.
fn enter(cgroup: &Path, argv: &[OsString]) -> std::io::Error {
    let enter = || -> std::io::Result<()> {
        die_with_parent()?;
        std::fs::write(cgroup.join("cgroup.procs"), "0")?;
        rustix::process::setsid()?;
        Ok(())
    };
    match (enter(), argv.split_first()) {
        (Ok(()), Some((program, rest))) => Command::new(program).args(rest).exec(),
        (Ok(()), None) => std::io::Error::from(std::io::ErrorKind::InvalidInput),
        (Err(e), _) => e,
    }
}

/// Returns only when it could not.
fn dial(to: SocketAddr) -> std::io::Error {
    let ends = || -> std::io::Result<[Stdio; 3]> {
        let stream = std::net::TcpStream::connect(to)?;
        let end = || Ok::<_, std::io::Error>(Stdio::from(std::os::fd::OwnedFd::from(stream.try_clone()?)));
        Ok([end()?, end()?, end()?])
    };
    match ends() {
        Ok([stdin, stdout, stderr]) => Command::new("/bin/sh").stdin(stdin).stdout(stdout).stderr(stderr).exec(),
        Err(e) => e,
    }
}
