//! Runs as traces, sent to a collector by OTLP (http, protobuf).
//!
//! ```text
//! journal ──▶ ends of runs after the place ──▶ each run's records ──▶ spans ──▶ collector ──▶ the place moves on
//! ```
//!
//! Owns the task that follows. Keeps true: the journal is the buffer. A run is read when it has ended, one at a time, and the place in the
//! journal moves on once its spans were taken; so a collector that is down costs one line of the log and nothing else, and nothing is lost over a
//! restart. What was sent twice has the same ids. A run that cannot be read is passed over, counted and told: it keeps none of the others.

mod plain;
mod spans;

use super::Meters;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use plain::{Plain, Said};
use quell_engine::store::{Ends, Journal, Passage};
use quell_model::{Kind, Name, StoreError, StreamId};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How often the journal is looked at for runs that have ended.
const LOOK: Duration = Duration::from_secs(2);
/// The longest pause between two tries while the collector does not answer.
const LONGEST: Duration = Duration::from_secs(60);
/// Spans that are sent together.
const TOGETHER: usize = 512;
/// At the end of the daemon so long is given to what has just ended.
const LAST: Duration = Duration::from_secs(2);
/// The name of the place.
const PLACE: &str = "otlp";

/// What is followed, and where to.
pub(crate) struct Traces {
    /// The journal.
    pub(crate) journal: Journal,
    /// The data directory.
    pub(crate) dir: PathBuf,
    /// The collector.
    pub(crate) endpoint: String,
    /// This machine.
    pub(crate) node: Name,
    /// What is counted.
    pub(crate) meters: Arc<Meters>,
}

/// Why it does not go on now.
enum Stop {
    /// The journal cannot be read.
    Journal(StoreError),
    /// The collector does not take it, and may later.
    Collector(String),
}

impl Traces {
    /// Follows the journal until it is told to end.
    pub(crate) async fn follow(self, until: impl Future<Output = ()>) {
        let opened = {
            let (journal, dir) = (self.journal.clone(), self.dir.clone());
            tokio::task::spawn_blocking(move || Passage::open(&journal, &dir, PLACE)).await
        };
        let (passage, skipped) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => {
                return tracing::error!(%error, "no traces are sent: the place in the journal cannot be kept");
            }
            Err(error) => return tracing::error!(%error, "no traces are sent"),
        };
        if let Some(skipped) = skipped {
            tracing::warn!(skipped, "some runs are not sent as traces");
        }
        let plain = Plain::default();
        let exporter = match self.exporter(plain.clone()) {
            Ok(exporter) => exporter,
            Err(why) => return tracing::error!(why, "no traces are sent"),
        };
        let mut follower = Follower { traces: self, passage, exporter, plain, is_down: false, pause: LOOK };
        follower.traces.meters.traces.at(follower.passage.at());
        follower.traces.meters.traces.follows();
        let mut until = std::pin::pin!(until);
        loop {
            let pause = follower.turn().await;
            tokio::select! {
                () = &mut until => break,
                () = sleep(pause) => {}
            }
        }
        // What the drain has just ended; a collector that is down is not waited for.
        if !follower.is_down {
            drop(timeout(LAST, follower.turn()).await);
        }
    }

    fn exporter(&self, client: Plain) -> Result<SpanExporter, String> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(self.endpoint.as_str())
            .build();
        let mut exporter = exporter.map_err(|error| error.to_string())?;
        let resource = Resource::builder_empty()
            .with_service_name("quell")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("host.name", self.node.to_string()))
            .build();
        exporter.set_resource(&resource);
        Ok(exporter)
    }
}

struct Follower {
    traces: Traces,
    passage: Passage,
    exporter: SpanExporter,
    plain: Plain,
    is_down: bool,
    pause: Duration,
}

impl Follower {
    /// Sends what has ended since; gives how long to rest.
    async fn turn(&mut self) -> Duration {
        match self.all().await {
            Ok(()) => {
                if std::mem::take(&mut self.is_down) {
                    tracing::info!(collector = self.traces.endpoint, "traces are sent again, those that waited too");
                }
                self.traces.meters.traces.takes(true);
                self.pause = LOOK;
            }
            Err(stop) => {
                if !std::mem::replace(&mut self.is_down, true) {
                    match stop {
                        Stop::Journal(error) => tracing::warn!(%error, "runs cannot be followed for traces"),
                        Stop::Collector(why) => {
                            tracing::warn!(
                                why,
                                collector = self.traces.endpoint,
                                "the collector takes no traces: they wait in the journal"
                            );
                        }
                    }
                }
                self.traces.meters.traces.takes(false);
                self.pause = (self.pause * 2).min(LONGEST);
            }
        }
        self.pause
    }

    async fn all(&mut self) -> Result<(), Stop> {
        loop {
            let (journal, at) = (self.traces.journal.clone(), self.passage.at());
            let Ends { ends, upto, behind } = beside(move || journal.ends(at)).await?;
            for end in ends {
                let (journal, stream, row) = (self.traces.journal.clone(), end.stream.clone(), end.row);
                let spans = beside(move || {
                    let mut trace = spans::Trace::new(end.seq);
                    journal.visit(&end.stream, 1, Kind::ALL, &mut |record| trace.take(&record))?;
                    Ok(trace.spans(&end.stream))
                });
                match spans.await {
                    Ok(spans) => self.send(spans).await?,
                    Err(Stop::Journal(error @ (StoreError::Corrupt(_) | StoreError::Newer(_)))) => {
                        tracing::warn!(run = run_of(&stream), %error, "a run cannot be read: it is not sent as a trace");
                        self.traces.meters.traces.unreadable();
                    }
                    Err(stop) => return Err(stop),
                }
                self.move_to(row);
            }
            self.move_to(upto);
            if behind == 0 {
                return Ok(());
            }
        }
    }

    fn move_to(&mut self, row: i64) {
        if let Err(error) = self.passage.move_to(row) {
            tracing::debug!(%error, "the place in the journal is not written: a restart sends some runs again");
        }
        self.traces.meters.traces.at(self.passage.at());
    }

    async fn send(&mut self, spans: Vec<SpanData>) -> Result<(), Stop> {
        let mut all = true;
        for part in spans.chunks(TOGETHER) {
            let sent = self.exporter.export(part.to_vec()).await;
            let Said { status, why, rejected } = self.plain.said();
            match (sent, rejected) {
                // By the specification what was rejected is not to be sent again.
                (Ok(()), Some(partly)) if partly.rejected_spans > 0 => {
                    let (spans, why) = (partly.rejected_spans, partly.error_message);
                    tracing::warn!(spans, why, "the collector refused some of a run's spans: they are passed over");
                    all = false;
                }
                (Ok(()), Some(partly)) => tracing::debug!(why = partly.error_message, "the collector has a word"),
                (Ok(()), None) => {}
                (Err(error), _) if !is_final(status) => {
                    return Err(Stop::Collector(why.unwrap_or_else(|| error.to_string())));
                }
                (Err(error), _) => {
                    // It would be refused for ever, and keep all that follow.
                    tracing::warn!(status, spans = part.len(), %error, "the collector refused a run's trace: it is passed over");
                    all = false;
                    break;
                }
            }
        }
        self.traces.meters.traces.sent(all);
        Ok(())
    }
}

/// Whether a further try would be answered the same: by the OTLP specification all but these may be tried again.
fn is_final(status: u16) -> bool {
    matches!(status, 400 | 413 | 422)
}

async fn beside<T: Send + 'static>(ask: impl FnOnce() -> Result<T, StoreError> + Send + 'static) -> Result<T, Stop> {
    match tokio::task::spawn_blocking(ask).await {
        Ok(answer) => answer.map_err(Stop::Journal),
        Err(_) => Err(Stop::Journal(StoreError::Closed)),
    }
}

/// The run of a stream.
fn run_of(stream: &StreamId) -> String {
    stream.as_run().map_or_else(|| stream.to_string(), |run| run.to_string())
}
