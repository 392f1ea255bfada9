//! What the demo tells: for people as it happens, as one JSON document at the end.

use super::actor::Said;
use super::acts::Act;
use crate::cli::escape::{clip, escape};
use crate::cli::show::{since, span};
use crate::cli::term::Ink;
use crate::cli::{Term, incident_view, run_view};
use quell_engine::report::{IncidentView, RunView};
use quell_model::{Outcome, OwnedEvent, Stamp};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// How an act's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It has not.
    Not,
    /// By itself.
    Exit,
    /// By this signal.
    Signal(i32),
}

/// What came of an act.
#[derive(Debug)]
pub(super) struct Scene {
    id: &'static str,
    title: &'static str,
    told: String,
    /// Its process, once it runs.
    pub(super) pid: Option<u32>,
    /// Why it never ran.
    pub(super) not_started: Option<String>,
    /// How it ended.
    pub(super) ended: Ended,
    /// The runs that answered.
    pub(super) runs: Vec<RunView>,
    /// What the attacker's listener has to say, where it was called.
    call: Option<(u64, usize, bool)>,
    /// Whether this act would call it.
    calls: bool,
}

impl Scene {
    /// Before it begins.
    pub(super) fn of(act: &Act) -> Self {
        let (id, title, told) = (act.id, act.title, act.told.clone());
        Self {
            id,
            title,
            told,
            pid: None,
            not_started: None,
            ended: Ended::Not,
            runs: Vec::new(),
            call: None,
            calls: act.calls,
        }
    }

    /// Takes in what the stage says of act number `at`.
    pub(super) fn hear(&mut self, at: usize, said: Said) {
        match said {
            Said::Started { act, pid } if act == at => self.pid = Some(pid),
            Said::NotStarted { act, why } if act == at => self.not_started = Some(why),
            Said::Ended { act, signal } if act == at => self.ended = signal.map_or(Ended::Exit, Ended::Signal),
            Said::HungUp { after_us, bytes, answered } => self.call = Some((after_us, bytes, answered)),
            _ => {}
        }
    }

    /// Whether its process was killed, and a kill was proved; an act that could not be staged counts for nothing.
    pub(super) fn is_contained(&self) -> bool {
        self.not_started.is_some() || (matches!(self.ended, Ended::Signal(9)) && self.killed().is_some())
    }

    /// The first proved kill.
    fn killed(&self) -> Option<(Stamp, Stamp)> {
        let proved =
            self.runs.iter().flat_map(|run| run.steps.iter().map(move |step| (run, step))).filter(|(_, step)| {
                step.outcome == Some(Outcome::Verified)
                    && step.action.as_ref().is_some_and(|a| a.as_str() == "process.kill")
            });
        proved.filter_map(|(run, step)| Some((run.moments.kernel?, step.moments.verified?))).min_by_key(|(_, at)| *at)
    }

    fn document(&self) -> Value {
        let signal = match self.ended {
            Ended::Signal(signal) => Some(signal),
            _ => None,
        };
        let dead = self.killed().map(|(kernel, at)| u64::try_from(at.since(kernel).as_micros()).unwrap_or(u64::MAX));
        json!({
            "id": self.id, "title": self.title, "attack": self.told, "pid": self.pid, "contained": self.is_contained(),
            "not_staged": self.not_started, "ended_by_signal": signal, "proved_dead_after_us": dead, "runs": self.runs,
        })
    }
}

/// Tells.
pub(super) struct Teller<'a> {
    term: &'a Term,
}

impl<'a> Teller<'a> {
    /// On this terminal.
    pub(super) fn new(term: &'a Term) -> Self {
        Self { term }
    }

    fn line(&self, text: impl AsRef<str>) {
        if !self.term.is_json() {
            self.term.line(text);
        }
    }

    fn field(&self, name: &str, text: &str) {
        self.line(format!("    {}  {text}", self.term.ink(Ink::Dim, &format!("{name:<12}"))));
    }

    /// What there is before the first act.
    pub(super) fn opening(&self, cgroup: &str, at: SocketAddr, own_network: &Result<(), String>, took: Duration) {
        self.line(self.term.ink(Ink::Bold, "One attack: staged here, harmless, contained and explained."));
        self.line("");
        let network = match own_network {
            Ok(()) => "a network of its own".to_owned(),
            Err(why) => format!("this machine's own loopback ({})", escape(why)),
        };
        self.field("stage", &format!("cgroup {cgroup}, {network}; the guard lets nothing outside be touched"));
        self.field("attacker", &format!("listens on {at}"));
        self.field("quell", &format!("sensor, rules and playbooks as shipped, mode enforce; armed in {}", span(took)));
    }

    /// An act begins.
    pub(super) fn act(&self, number: usize, act: &Act) {
        self.line("");
        self.line(format!(
            "{}  {}",
            self.term.ink(Ink::Bold, &format!("{number} ")),
            self.term.ink(Ink::Bold, act.title)
        ));
        self.field("attack", &self.term.ink(Ink::Bad, &clip(&act.told, 120)));
    }

    /// What came of it.
    pub(super) fn scene(&self, scene: &Scene) {
        if let Some(why) = &scene.not_started {
            self.field("not staged", &format!("this machine does not let it run: {}", escape(why)));
            return;
        }
        if self.term.is_json() {
            return;
        }
        for run in &scene.runs {
            self.run(run);
        }
        self.line(format!("    {}", self.verdict(scene)));
        let attacker = match scene.call {
            Some((after_us, bytes, answered)) => {
                let word = if answered { "and was answered" } else { "and never got an answer" };
                let lasted = span(Duration::from_micros(after_us));
                format!("the attacker typed one command {word}; the line went dead after {lasted} ({bytes} bytes)")
            }
            None if scene.calls => {
                "the attacker's listener was never called: the shell was held before it could".to_owned()
            }
            None => return,
        };
        self.line(format!("    {}", self.term.ink(Ink::Dim, &attacker)));
    }

    /// What was detected, and the steps that answered.
    fn run(&self, run: &RunView) {
        let kernel = run.moments.kernel.unwrap_or(run.started);
        let text = |key: &str| run.detection.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let tags = run.detection["tags"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let techniques: Vec<String> =
            tags.filter_map(|tag| tag.strip_prefix("attack.t")).map(|t| format!("T{t}")).collect();
        let seen = run.moments.decided.or(run.moments.seen).map(|at| since(kernel, at)).unwrap_or_default();
        self.line(format!(
            "    {}  {}  {:>9}  {}",
            self.term.ink(Ink::Name, &format!("{:<12}", "detected")),
            self.term.ink(Ink::Warn, &format!("{:<8}", text("level"))),
            seen,
            self.term.ink(Ink::Plain, &format!("{} ({})", text("title"), techniques.join(", "))),
        ));
        run_view::steps(run, kernel, "    ", run_view::Detail::Brief, self.term);
    }

    fn verdict(&self, scene: &Scene) -> String {
        match (scene.ended, scene.killed()) {
            (Ended::Signal(9), Some((kernel, at))) => self.term.ink(
                Ink::Good,
                &format!("✓ contained: proved dead {} after the kernel saw it", span(at.since(kernel))),
            ),
            (Ended::Signal(signal), _) => {
                self.term.ink(Ink::Warn, &format!("ended by signal {signal}, without a proof"))
            }
            (Ended::Exit, _) => self.term.ink(Ink::Warn, "ended by itself before it could be stopped"),
            (Ended::Not, _) => self.term.ink(Ink::Bad, "✗ not contained: it ran until the demo ended it"),
        }
    }

    /// It was told to end.
    pub(super) fn cut_short(&self) {
        self.term.note("");
        self.term.note("ended early; nothing is left behind");
    }

    /// The incident, and the sum.
    pub(super) fn closing(&self, scenes: &[Scene], incidents: &[IncidentView], took: Duration) {
        if self.term.is_json() {
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            let acts: Vec<Value> = scenes.iter().map(Scene::document).collect();
            self.term.document(&json!({ "live": true, "acts": acts, "incidents": incidents, "took_ms": took_ms }));
            return;
        }
        self.incidents(incidents);
        let contained = scenes.iter().filter(|scene| scene.is_contained() && scene.pid.is_some()).count();
        let staged = scenes.iter().filter(|scene| scene.not_started.is_none()).count();
        self.line("");
        let ink = if contained == staged { Ink::Good } else { Ink::Bad };
        let sum = self.term.ink(ink, &format!("{contained} of {staged} acts contained"));
        self.line(format!("{sum} in {} in all; nothing is left behind.", span(took)));
        self.next();
    }

    fn incidents(&self, incidents: &[IncidentView]) {
        for incident in incidents {
            self.line("");
            let heading = self.term.ink(Ink::Bold, "The incident, as its timeline tells it");
            self.line(format!("{heading}  {}", self.term.ink(Ink::Dim, incident.id.as_str())));
            incident_view::timeline(incident, self.term);
        }
    }

    fn next(&self) {
        self.term
            .hint("`sudo quell up` watches this machine and touches nothing; `quell up --mode enforce` lets it act");
    }

    /// A recording, from beginning to end.
    pub(super) fn replayed(
        &self,
        why: &str,
        events: &[OwnedEvent],
        runs: &[RunView],
        incidents: &[IncidentView],
        took: Duration,
    ) {
        if self.term.is_json() {
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            let act = |run: &RunView| json!({ "id": run.id, "title": run.detection["title"], "contained": false, "runs": [run] });
            let acts: Vec<Value> = runs.iter().map(act).collect();
            let told = json!({ "live": false, "why": why, "acts": acts, "incidents": incidents, "took_ms": took_ms });
            self.term.document(&told);
            return;
        }
        self.line(
            self.term.ink(
                Ink::Warn,
                "This is a recording: no attack is staged, nothing on this machine is seen or touched.",
            ),
        );
        self.line(format!("  why: {}", clip(why, 300)));
        self.line(format!(
            "  {} recorded events go through the shipped rules and playbooks in observe mode:",
            events.len()
        ));
        self.line("  every step says what it would have done.");
        for run in runs {
            self.line("");
            self.line(self.term.ink(Ink::Bold, run.detection["title"].as_str().unwrap_or_default()));
            self.run(run);
        }
        self.incidents(incidents);
        self.line("");
        self.line(format!("{} runs planned in {}.", runs.len(), span(took)));
        self.term.hint("`quell doctor` says what this machine lacks for the live demo");
    }
}
