//! `quell doctor`: what works on this machine, what does not, why, and what still works then. Needs no daemon.
//!
//! Asks the parts; each says what it needs. The self-test touches only processes that it makes.

use super::escape::escape;
use super::layout::width;
use super::show::size;
use super::term::Ink;
use super::{Exit, Fail, Global, Term, doctor_cluster, doctor_guard, place};
#[cfg(feature = "ebpf")]
use crate::daemon;
use crate::daemon::{RECORDER, privilege};
use quell_actions::{CgroupKind, HostWorld, protect};
use quell_engine::escalation::schedule::zone;
use quell_engine::load::Config;
use quell_engine::load::units::print_rate;
use quell_model::playbook::Rate;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  sudo quell doctor\n\nEnds with 0 when the main job works here, with 4 when something that it needs is missing."
)]
pub(crate) struct Args {
    /// List every protected executable, not only their number
    #[arg(long)]
    protected: bool,
    /// The configuration, for the cluster and what the loaded playbooks do there [default: /etc/quell/quell.yaml if it is there]
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mark {
    /// As it should be.
    Ok,
    /// Works, with less.
    Degraded,
    /// Does not work.
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    id: String,
    part: &'static str,
    state: Mark,
    why: String,
    /// What works all the same; empty when nothing is lost.
    works: String,
}

impl Check {
    pub(super) fn new(part: &'static str, id: impl Into<String>, state: Mark, why: impl Into<String>) -> Self {
        Self { id: id.into(), part, state, why: why.into(), works: String::new() }
    }

    pub(super) fn works(mut self, works: impl Into<String>) -> Self {
        self.works = works.into();
        self
    }
}

/// No column of names is wider.
const WIDEST: usize = 32;

/// Looks at everything.
pub(crate) fn run(args: &Args, global: &Global, term: &Term) -> Result<Exit, Fail> {
    place::must_exist(&args.config)?;
    let own_cgroups = crate::daemon::leave_cgroup_namespace();
    let mut checks = privileges();
    if let Err(why) = own_cgroups {
        let check = Check::new("actions", "cgroup namespace", Mark::Degraded, why);
        checks.push(check.works(format!("what is not in a container; {}", crate::daemon::CGROUPS_LOST)));
    }
    checks.extend(sensor());
    let node = crate::daemon::node();
    match HostWorld::live(node) {
        Ok(world) => {
            let (world, scripts) = reflex(world);
            let (world, without) = cut(world);
            checks.push(cgroups(&world));
            checks.extend(scripts.into_iter().chain(without));
            checks.extend(actions(&world));
            checks.push(hands(&world));
        }
        Err(e) => checks.push(
            Check::new("actions", "proc", Mark::Missing, format!("/proc cannot be read: {e}"))
                .works("recordings, rules and playbooks; nothing is seen or touched"),
        ),
    }
    checks.extend(doctor_cluster::checks(args.config.as_deref()));
    checks.extend(crate::daemon::files::unprotected().map(|why| {
        Check::new("host", "protected executables", Mark::Missing, why)
            .works("everything that sees and tells; a daemon here only observes")
    }));
    checks.push(zones());
    checks.push(data_dir(global));
    checks.extend(room(global));
    let protected = protect::resolve(protect::DEFAULTS);
    let worst = checks.iter().map(|check| check.state).max().unwrap_or(Mark::Ok);
    let (limits, guards) = (limits(), doctor_guard::held(protected.len()));
    if term.is_json() {
        let files: Vec<_> = protected.iter().map(|file| serde_json::json!({ "id": file.path })).collect();
        term.document(&serde_json::json!({
            "ok": worst != Mark::Missing, "state": worst, "checks": checks, "protected": files,
            "guards": guards, "limits": limits,
        }));
    } else {
        print(&checks, worst, term);
        term.line("");
        doctor_guard::print(&guards, term);
        if args.protected {
            term.line("");
            term.line(term.ink(Ink::Bold, "protected executables"));
            for file in &protected {
                term.line(format!("  {}", escape(&file.path)));
            }
        } else {
            term.hint("`quell doctor --protected` lists them");
        }
    }
    Ok(if worst == Mark::Missing { Exit::Missing } else { Exit::Right })
}

/// Those by which schedules and calendars go: the binary's own, whatever the machine has.
fn zones() -> Check {
    let why = format!("{} of tzdb {}, the binary's own", zone::names().count(), zone::version());
    Check::new("host", "time zones", Mark::Ok, why)
}

/// A limit that holds where nothing else is said.
#[derive(Serialize)]
struct Limit {
    id: String,
    most: String,
}

fn limits() -> Vec<Limit> {
    let guard = Config::default().guard;
    let row = |section: &str, (name, rate): (&String, &Rate)| Limit {
        id: format!("{section}{name}"),
        most: print_rate(*rate),
    };
    let all = guard.limits.0.iter().map(|one| row("", one));
    all.chain(guard.per_playbook.0.iter().map(|one| row("per_playbook.", one))).collect()
}

fn print(checks: &[Check], worst: Mark, term: &Term) {
    let mut part = "";
    let widest = checks.iter().map(|check| width(&escape(&check.id))).max().unwrap_or(0).min(WIDEST);
    for check in checks {
        if check.part != part {
            if !part.is_empty() {
                term.line("");
            }
            part = check.part;
            term.line(term.ink(Ink::Bold, part));
        }
        let (sign, ink) = match check.state {
            Mark::Ok => ("✓", Ink::Good),
            Mark::Degraded => ("~", Ink::Warn),
            Mark::Missing => ("✗", Ink::Bad),
        };
        let hang = widest + 6;
        term.hung(hang, format!("  {} {:<widest$}  {}", term.ink(ink, sign), escape(&check.id), escape(&check.why)));
        if !check.works.is_empty() {
            let works = term.ink(Ink::Dim, &format!("still works: {}", check.works));
            term.hung(hang, format!("{:hang$}{works}", ""));
        }
    }
    term.line("");
    term.line(match worst {
        Mark::Ok => term.ink(Ink::Good, "All of quell works here."),
        Mark::Degraded => term.ink(Ink::Warn, "quell works here, with less where it says `~`."),
        Mark::Missing => {
            term.ink(Ink::Bad, "Something that quell needs is missing here; what is marked `✗` does not work.")
        }
    });
}

fn privileges() -> Vec<Check> {
    let uid = rustix::process::geteuid();
    let user = if uid.is_root() {
        Check::new(PROCESS, "root", Mark::Ok, "runs as root")
    } else {
        Check::new(PROCESS, "root", Mark::Degraded, format!("runs as uid {}", uid.as_raw()))
            .works("checks, recordings, replays; on processes of the same user also actions")
    };
    let mut checks = vec![user];
    let all = privilege::NEEDED.len();
    match privilege::missing() {
        Ok(missing) if missing.is_empty() => {
            checks.push(Check::new(PROCESS, "capabilities", Mark::Ok, format!("all {all} that quell needs")));
        }
        Ok(missing) if missing.len() == all => {
            checks.push(
                Check::new(PROCESS, "capabilities", Mark::Degraded, format!("none of the {all} that quell needs"))
                    .works("what needs no right"),
            );
        }
        Ok(missing) => checks.extend(missing.iter().map(|one| {
            let why = format!("not held; it is needed to {}", one.need);
            Check::new(PROCESS, one.name, Mark::Degraded, why).works(one.works)
        })),
        Err(e) => checks.push(Check::new(PROCESS, "capabilities", Mark::Degraded, format!("cannot be read: {e}"))),
    }
    checks
}

const PROCESS: &str = "this process";

#[cfg(feature = "ebpf")]
fn sensor() -> Vec<Check> {
    use quell_detectors::CheckState;
    let state = |state| match state {
        CheckState::Ok => Mark::Ok,
        CheckState::Degraded => Mark::Degraded,
        CheckState::Missing => Mark::Missing,
    };
    let checks = quell_detectors::Sensor::probe();
    checks.into_iter().map(|c| Check::new("sensor", c.name, state(c.state), c.why).works(c.works)).collect()
}

#[cfg(not(feature = "ebpf"))]
fn sensor() -> Vec<Check> {
    vec![
        Check::new("sensor", "sensor", Mark::Missing, "this quell was built without the feature `ebpf`")
            .works("recordings, rules and playbooks; nothing is seen live"),
    ]
}

/// Loaded beside a daemon's, never pinned, and gone again.
#[cfg(feature = "ebpf")]
fn hands(world: &HostWorld) -> Check {
    use quell_detectors::hands::{HandsConfig, KernelHands};
    match KernelHands::load(HandsConfig { boot: world.boot.clone(), pins: None }) {
        Ok(_) => Check::new("actions", HANDS, Mark::Ok, "a marked process of its own died of its next system call"),
        Err(error) => Check::new("actions", HANDS, Mark::Degraded, daemon::with_source(&error)).works(SIGNALS),
    }
}

#[cfg(not(feature = "ebpf"))]
fn hands(_: &HostWorld) -> Check {
    Check::new("actions", HANDS, Mark::Degraded, "this quell was built without the feature `ebpf`").works(SIGNALS)
}

const HANDS: &str = "process.kill in the kernel";
const SIGNALS: &str = "process.kill by signals; a chain of forks may outrun them";

/// The kernel's reflex, loaded beside a daemon's, never pinned: its own check is among those of the actions.
#[cfg(feature = "ebpf")]
fn reflex(world: HostWorld) -> (HostWorld, Option<Check>) {
    use quell_model::Reflex;
    const SCRIPTS: &str = "process.block_exec for scripts";
    let reflex = match quell_detectors::block::KernelReflex::load(None) {
        Ok(reflex) => reflex,
        Err(error) => {
            let check = Check::new("actions", "the kernel's reflex", Mark::Missing, crate::daemon::with_source(&error));
            return (world, Some(check.works("playbooks without process.block_exec")));
        }
    };
    let check = match (reflex.scripts(), reflex.scripts_why()) {
        (Some(how), _) => Check::new("actions", SCRIPTS, Mark::Ok, format!("by {how}")),
        (None, why) => Check::new("actions", SCRIPTS, Mark::Degraded, why.unwrap_or("not said"))
            .works("process.block_exec for everything else; its plan says so"),
    };
    (world.with_reflex(std::sync::Arc::new(reflex)), Some(check))
}

#[cfg(not(feature = "ebpf"))]
fn reflex(world: HostWorld) -> (HostWorld, Option<Check>) {
    (world, None)
}

/// The kernel's cut, likewise.
#[cfg(feature = "ebpf")]
fn cut(world: HostWorld) -> (HostWorld, Option<Check>) {
    match quell_detectors::cut::KernelCut::load(None) {
        Ok(cut) => (world.with_cut(std::sync::Arc::new(cut)), None),
        Err(error) => {
            let check = Check::new("actions", "the kernel's cut", Mark::Missing, crate::daemon::with_source(&error));
            (world, Some(check.works("playbooks without network.isolate and network.block_peer")))
        }
    }
}

#[cfg(not(feature = "ebpf"))]
fn cut(world: HostWorld) -> (HostWorld, Option<Check>) {
    (world, None)
}

fn cgroups(world: &HostWorld) -> Check {
    let list: Vec<String> = world
        .cgroups
        .iter()
        .map(|root| match root.kind {
            CgroupKind::V2 => format!("v2 at {}", root.dir.display()),
            CgroupKind::V1Freezer => format!("v1 freezer at {}", root.dir.display()),
        })
        .collect();
    if list.is_empty() {
        Check::new("actions", "cgroups", Mark::Degraded, "no hierarchy that can freeze is mounted")
            .works("scopes process, tree and session; cgroup and container do not")
    } else {
        Check::new("actions", "cgroups", Mark::Ok, list.join(", "))
    }
}

/// A means that fails while another of the same action works is less, not nothing.
fn actions(world: &HostWorld) -> Vec<Check> {
    let tested = quell_actions::self_test(world);
    let action = |name: &str| name.split(' ').next().unwrap_or_default().to_owned();
    let works = |name: &str| tested.iter().any(|other| other.ok && action(&other.name) == action(name));
    let row = |check: &quell_actions::Check| {
        let why = check.why.clone().unwrap_or_default();
        match (check.ok, works(&check.name)) {
            (true, _) => {
                Check::new("actions", check.name.clone(), Mark::Ok, "tried on a process of its own, and proved")
            }
            (false, true) => Check::new("actions", check.name.clone(), Mark::Degraded, why)
                .works("the other means of the same action"),
            (false, false) => Check::new("actions", check.name.clone(), Mark::Missing, why)
                .works("playbooks without it; those with it plan, and their step fails"),
        }
    };
    tested.iter().map(row).collect()
}

/// What there is of a directory that may have to be made.
fn there(dir: &Path) -> &Path {
    dir.ancestors().find(|above| above.exists()).unwrap_or(dir)
}

/// Whether a day of events has room, as it is by default.
fn room(global: &Global) -> Option<Check> {
    let dir = global.data_dir.clone().unwrap_or_else(place::for_daemon);
    let wanted = Config::default().recorder.size;
    let there_is = rustix::fs::statvfs(there(&dir)).ok()?;
    let recorded: u64 =
        quell_engine::recorder::segments(&dir.join(RECORDER)).map_or(0, |files| files.iter().map(|f| f.bytes).sum());
    let free = there_is.f_bavail * there_is.f_frsize + recorded;
    let why = format!("{} for the flight recorder, which takes up to {}", size(free), size(wanted));
    Some(if free > wanted + wanted / 8 {
        Check::new("data", "recorder", Mark::Ok, why)
    } else {
        Check::new("data", "recorder", Mark::Degraded, why)
            .works("it stops before the disk is full; give it less with `recorder.size`")
    })
}

fn data_dir(global: &Global) -> Check {
    let dir = global.data_dir.clone().unwrap_or_else(place::for_daemon);
    let above = there(&dir);
    let name = dir.display().to_string();
    match rustix::fs::access(above, rustix::fs::Access::WRITE_OK) {
        Ok(()) => Check::new("data", name, Mark::Ok, if above == dir { "writable" } else { "can be made" }),
        Err(e) => Check::new("data", name, Mark::Missing, format!("cannot be written: {e}"))
            .works("everything that needs no daemon; give --data-dir"),
    }
}
