//! What the daemon knows of itself, in figures.
//!
//! Owns the shapes that a scrape is made of. Waits for nothing but the desk's own lock; what asks the kernel is apart.

use super::{Desk, not_armed_count};
use crate::api::{BlockStatus, CutStatus, HandsStatus, PodsStatus, RecorderStatus, State};
use crate::daemon::audit::AuditFigures;
use crate::daemon::hand::Counts;
use crate::daemon::recorder::RecorderView;
use crate::daemon::source_meter::SourceMeter;
use crate::telemetry::Meters;
use quell_engine::clock::SystemClock;
use quell_model::Clock;
use std::path::Path;
use std::sync::Arc;

/// What the daemon knows of itself.
pub(crate) struct Figures {
    /// Where it is in its life.
    pub(crate) state: State,
    /// What was seen and lost.
    pub(crate) counts: Arc<Counts>,
    /// The sensor runs.
    pub(crate) sees: bool,
    /// Probes that are in, and that are not.
    pub(crate) probes: (u64, u64),
    /// Its thread comes before all ordinary work.
    pub(crate) first: bool,
    /// Questions about relays that found no time.
    pub(crate) unasked: u64,
    /// Of each ring: its name, the bytes that wait, the bytes that it holds.
    pub(crate) rings: Vec<(&'static str, u64, u64)>,
    /// The files that are followed.
    pub(crate) sources: Vec<Arc<SourceMeter>>,
    /// The flight recorder, where there is one.
    pub(crate) recorder: Option<RecorderStatus>,
    /// Rules in force, and rules that were passed over.
    pub(crate) rules: (u64, u64),
    /// Playbooks that cannot answer here.
    pub(crate) not_armed: u64,
    /// Actions that do not work here.
    pub(crate) actions_missing: u64,
    /// The last pause, or its end, did not reach the kernel.
    pub(crate) pause_failed: bool,
    /// Reloads that were done, and that were refused.
    pub(crate) reloads: (u64, u64),
    /// What was loaded last is not what the files say.
    pub(crate) reload_refused: bool,
    /// When the definitions in force were loaded.
    pub(crate) loaded: jiff::Timestamp,
    /// Whether all was sent that should have been.
    pub(crate) audit: AuditFigures,
    /// The pods of this node, where they are watched.
    pub(crate) pods: Option<PodsStatus>,
}

/// What stands in the kernel.
pub(crate) struct KernelFigures {
    /// What kills there.
    pub(crate) hands: HandsStatus,
    /// What may not start.
    pub(crate) block: BlockStatus,
    /// What is cut off.
    pub(crate) cut: CutStatus,
}

impl Desk {
    /// What it knows.
    pub(crate) fn figures(&self) -> Figures {
        let now = SystemClock.now();
        let facts = self.facts();
        let attached = facts.probes.iter().filter(|probe| probe.attached).count() as u64;
        Figures {
            state: facts.state,
            counts: Arc::clone(&facts.counts),
            sees: facts.blind.is_none() && facts.state != State::Starting,
            probes: (attached, facts.probes.len() as u64 - attached),
            first: facts.scheduling == "SCHED_FIFO",
            unasked: facts.unasked,
            rings: facts.rings.clone(),
            sources: facts.sources.clone(),
            recorder: facts.recorder.as_ref().map(RecorderView::status),
            rules: (facts.rules.len() as u64, facts.rules_skipped as u64),
            not_armed: not_armed_count(&facts),
            actions_missing: facts.actions_missing.len() as u64,
            pause_failed: facts.pause_failed.is_some(),
            reloads: facts.reloads,
            reload_refused: facts.reload_refused.is_some(),
            loaded: facts.reloaded.unwrap_or(self.started).wall_by(now),
            audit: self.audit.figures(now),
            pods: self.pods.status(),
        }
    }

    /// What stands in the kernel. Asks it.
    pub(crate) fn kernel_figures(&self) -> KernelFigures {
        KernelFigures { hands: self.kernel.status(), block: self.block.status(&[]), cut: self.kernel.cut_status(&[]) }
    }

    /// Where its data is.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What is counted for whoever asks for figures.
    pub(crate) fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }

    /// Whether the figures are to be told.
    pub(crate) fn tells_metrics(&self) -> bool {
        self.facts().config.telemetry.metrics
    }
}
