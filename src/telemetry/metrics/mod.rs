//! `GET /metrics`: what is counted elsewhere, in Prometheus' text format.
//!
//! ```text
//! engine's thread ── Measured ──┐
//! journal, its database ────────┤
//! desk: sensor, sources, … ─────┼──▶ Page ──▶ text
//! kernel, host ─────────────────┤
//! meters: requests, errors ─────┘
//! ```
//!
//! Owns the asking. Keeps true: each part is asked for at most [`look::PATIENCE`], and by one scrape at a time; what has not answered
//! is absent, and is counted in `quell_scrape_errors_total`. A label holds a name that was loaded or a word of quell's own.

mod daemon;
mod engine;
mod host;
mod journal;
mod look;
mod meters;
mod page;
mod table;

pub(crate) use look::Look;
pub(crate) use meters::Meters;

use crate::daemon::Desk;
use page::Page;
use quell_engine::clock::SystemClock;
use quell_engine::run::EngineHandle;
use quell_engine::store::Journal;
use quell_model::Clock;
use std::sync::Arc;

/// The type of what is told.
pub(crate) const TEXT: &str = prometheus::TEXT_FORMAT;

/// A part that may not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Engine,
    Database,
    Kernel,
    Host,
}

impl Part {
    const ALL: [Self; 4] = [Self::Engine, Self::Database, Self::Kernel, Self::Host];

    fn as_str(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Database => "database",
            Self::Kernel => "kernel",
            Self::Host => "host",
        }
    }
}

/// Asks every part, and writes down what they say.
pub(crate) async fn scrape(engine: &EngineHandle, journal: &Journal, desk: &Arc<Desk>) -> String {
    let begun = SystemClock.now();
    let meters = desk.meters();
    let handle = engine.clone();
    let measured = meters.look(Part::Engine, async move { handle.measure().await.ok() });
    let (kernel_of, host_of) = (Arc::clone(desk), Arc::clone(desk));
    let kernel = meters.look_beside(Part::Kernel, move || Some(kernel_of.kernel_figures()));
    let host = meters.look_beside(Part::Host, move || host::look(host_of.dir()));
    let (measured, kernel, host) = tokio::join!(measured, kernel, host);
    let stuck_of = measured.as_ref().map(|measured| measured.due_runs.clone()).unwrap_or_default();
    let (store, dir) = (journal.clone(), Arc::clone(desk));
    let database = meters.look_beside(Part::Database, move || journal::look(&store, dir.dir(), &stuck_of)).await;

    let mut page = Page::default();
    daemon::tell(&mut page, &desk.figures());
    if let Some(measured) = &measured {
        engine::tell(&mut page, measured);
    }
    journal::tell(&mut page, &journal.figures());
    if let Some(found) = &database {
        // Without the engine nobody knows of which runs something stands that a person has to look at.
        journal::tell_found(&mut page, found, measured.is_some());
    }
    if let Some(kernel) = &kernel {
        daemon::tell_kernel(&mut page, kernel);
    }
    if let Some(host) = &host {
        host::tell(&mut page, host);
    }
    meters.tell(&mut page, *journal.head().borrow());
    page.add(table::SCRAPE_SECONDS, &[], SystemClock.now().since(begun).as_secs_f64());
    page.text()
}
