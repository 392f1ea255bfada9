//! The demo with a sensor: sets the stage, starts an engine for it, plays act after act, and tells what came of each.

use super::actor::{Cue, Said};
use super::acts::{Act, acts};
use super::stage::{Hierarchy, Stage};
use super::tell::{Ended, Scene, Teller};
use crate::cli::{Exit, Fail, Term};
use crate::daemon::{self, Assembly, Family, Plan, Sight, files};
use quell_actions::HostWorld;
use quell_engine::load::Config;
use quell_engine::report::{self, RunView};
use quell_model::guard::Within;
use quell_model::{Mode, RunId, Stop};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why it is not played live.
pub(super) enum NotHere {
    /// Nothing can be seen here: the recording stands in.
    NoSensor(String),
    /// It was begun and could not go on.
    Failed(Fail),
}

impl From<Fail> for NotHere {
    fn from(fail: Fail) -> Self {
        Self::Failed(fail)
    }
}

/// An act whose end nobody saw by then was not contained.
const PATIENCE: Duration = Duration::from_secs(15);
/// After an act's last run has ended, a second detection of the same act may still come.
const QUIET: Duration = Duration::from_millis(120);
/// How often the journal is asked.
const LOOK: Duration = Duration::from_millis(4);
/// Where attackers listen.
const PORT: u16 = 4444;

/// Plays it; the stage is gone when this returns, whatever happened.
pub(super) fn play(end: &Stop, term: &Term) -> Result<Exit, NotHere> {
    let no = |e: &dyn std::fmt::Display| NotHere::NoSensor(e.to_string());
    if !rustix::process::geteuid().is_root() {
        return Err(NotHere::NoSensor("seeing and staging an attack needs root: run it with sudo".to_owned()));
    }
    let mounts = std::fs::read_to_string("/proc/mounts").map_err(|e| no(&e))?;
    let hierarchy = Hierarchy::find(&mounts).ok_or_else(|| no(&"no cgroup hierarchy that can freeze is mounted"))?;
    let world = HostWorld::live(daemon::node()).map_err(|e| no(&e))?;
    let mut stage = Stage::set(hierarchy).map_err(|e| no(&format!("a cgroup for it cannot be made: {e}")))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(|e| no(&e))?;
    let opened = Instant::now();
    let assembly = assemble(&stage, world, runtime.handle()).map_err(NotHere::Failed)?;
    if let Some(why) = assembly.blind.clone() {
        assembly.close();
        return Err(NotHere::NoSensor(why));
    }
    let teller = Teller::new(term);
    let told = match stage.open(PORT) {
        Ok(Said::Ready { at, own_network }) => {
            teller.opening(&stage.cgroup, at, &own_network, opened.elapsed());
            let acts = acts(&stage, at).map_err(|e| Fail::missing(format!("the attack cannot be staged: {e}")));
            acts.and_then(|acts| Play { stage: &mut stage, assembly: &assembly, teller: &teller, end }.all(&acts))
        }
        Ok(_) => Err(Fail::not_right("the demo's own listener did not start")),
        Err(e) => Err(Fail::missing(format!("the attack cannot be staged: {e}"))),
    };
    let incidents = incidents(&assembly);
    assembly.close();
    drop(stage);
    let scenes = told?;
    if end.is_raised() {
        teller.cut_short();
        return Ok(Exit::NotRight);
    }
    let contained = scenes.iter().all(Scene::is_contained) && scenes.iter().any(|scene| scene.pid.is_some());
    teller.closing(&scenes, &incidents?, opened.elapsed());
    Ok(if contained { Exit::Right } else { Exit::NotRight })
}

fn assemble(stage: &Stage, world: HostWorld, runtime: &tokio::runtime::Handle) -> Result<Assembly, Fail> {
    let mut config = Config::default();
    config.set_mode(Mode::Enforce, "quell demo");
    config.guard.only_within = Some(Within::cgroup(stage.cgroup.clone()));
    let mut loaded = files::load_config(config, Vec::new());
    loaded.definitions.ceiling_because = "it is the demo".to_owned();
    let family = Arc::new(Family::default());
    let plan = Plan {
        dir: stage.data.join("state"),
        node: world.node.clone(),
        boot: world.boot.clone(),
        crew: daemon::live_crew(
            world.within(&stage.cgroup).with_lineage(Arc::clone(&family) as _),
            // It tells nobody, and acts in no cluster.
            &Arc::default(),
            &daemon::Kube::off(),
        ),
        rules: loaded.rules,
        definitions: loaded.definitions,
        only: Some(stage.cgroup.clone()),
        sight: Sight { watch: loaded.watch, ..Sight::default() },
        family: Some(family),
        files: Vec::new(),
        webhooks: Vec::new(),
        recorder: None,
    };
    daemon::assemble(plan, runtime).map_err(|e| Fail::missing(format!("the engine does not start: {e}")))
}

fn incidents(assembly: &Assembly) -> Result<Vec<report::IncidentView>, Fail> {
    let wrong = |e: quell_model::StoreError| Fail::not_right(e.to_string());
    let list = report::incidents(&assembly.journal).map_err(wrong)?;
    let views: Result<Vec<_>, _> =
        list.iter().map(|one| report::incident(&assembly.journal, &one.id, report::Wanted::default())).collect();
    Ok(views.map_err(wrong)?.into_iter().flatten().collect())
}

struct Play<'a> {
    stage: &'a mut Stage,
    assembly: &'a Assembly,
    teller: &'a Teller<'a>,
    end: &'a Stop,
}

impl Play<'_> {
    fn all(&mut self, acts: &[Act]) -> Result<Vec<Scene>, Fail> {
        let mut scenes = Vec::new();
        let mut before = BTreeSet::new();
        for (at, act) in acts.iter().enumerate() {
            if self.end.is_raised() {
                break;
            }
            self.teller.act(at + 1, act);
            let scene = self.one(at, act, &mut before)?;
            self.teller.scene(&scene);
            scenes.push(scene);
        }
        Ok(scenes)
    }

    /// Cues one act and waits until its runs and its process have ended.
    fn one(&mut self, at: usize, act: &Act, before: &mut BTreeSet<RunId>) -> Result<Scene, Fail> {
        let wrong = |e: &dyn std::fmt::Display| Fail::not_right(e.to_string());
        let mut scene = Scene::of(act);
        self.stage.cue(&Cue { act: at, argv: act.argv.clone() }).map_err(|e| wrong(&e))?;
        let until = Instant::now() + PATIENCE;
        let mut quiet_since = None;
        while Instant::now() < until && !self.end.is_raised() {
            if let Some(said) = self.stage.hear(LOOK) {
                scene.hear(at, said);
            }
            if scene.not_started.is_some() {
                return Ok(scene);
            }
            let runs = self.runs(before).map_err(|e| wrong(&e))?;
            let over = !runs.is_empty() && runs.iter().all(|run| run.state.is_over());
            if !(over && matches!(scene.ended, Ended::Signal(_) | Ended::Exit)) {
                quiet_since = None;
                continue;
            }
            // The listener's last word may come a moment after the process has ended.
            if quiet_since.get_or_insert_with(Instant::now).elapsed() >= QUIET {
                break;
            }
        }
        scene.runs = self.runs(before).map_err(|e| wrong(&e))?;
        before.extend(scene.runs.iter().map(|run| run.id.clone()));
        Ok(scene)
    }

    fn runs(&self, before: &BTreeSet<RunId>) -> Result<Vec<RunView>, quell_model::StoreError> {
        let all = report::runs(&self.assembly.journal)?;
        // The list has the latest first; a story begins with the earliest.
        let new = all.iter().rev().filter(|run| !before.contains(&run.id));
        let views: Result<Vec<_>, _> = new.map(|run| report::run(&self.assembly.journal, &run.id)).collect();
        Ok(views?.into_iter().flatten().collect())
    }
}
