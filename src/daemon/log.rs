//! The daemon's log on stderr: for people on a terminal, JSON lines elsewhere.
//!
//! Invariant: nobody who logs waits for stderr (a stopped terminal would stop containment): lines go through a bounded
//! queue to a thread of their own; what finds it full is dropped, counted and told.
//!
//! What an attacker can shape is escaped by the writer of either form, JSON's own way or the terminal's: no line holds a character
//! that a terminal would obey.

use crate::cli::{escape as escape_for_terminal, escape_json};
use quell_engine::load::{Log, LogFormat, LogLevel};
use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Lines that may wait for stderr: seconds of a very busy engine.
const LINES: usize = 4096;
/// What is waiting at the end gets this long.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What the writing thread is sent.
enum Message {
    Line(Vec<u8>),
    /// Answered once everything before it is written.
    Flush(SyncSender<()>),
}

/// Writes into the queue.
#[derive(Clone)]
struct Queue {
    to: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    json: bool,
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let safe = match std::str::from_utf8(line) {
            Ok(text) if self.json => escape_json(text).into_owned().into_bytes(),
            _ => line.to_vec(),
        };
        if self.to.try_send(Message::Line(safe)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Dropped at the end of the daemon: waits for the last lines.
pub(super) struct LogGuard(SyncSender<Message>);

impl Drop for LogGuard {
    fn drop(&mut self) {
        let (done, written) = sync_channel(1);
        let asked = self.0.try_send(Message::Flush(done)).is_ok();
        if asked && written.recv_timeout(LAST_WORDS).is_err() {
            tracing::warn!("the last lines of the log were not written: stderr stands still");
        }
    }
}

fn write_out(lines: &Receiver<Message>, dropped: &AtomicU64) {
    let mut err = std::io::stderr();
    for message in lines {
        // Where stderr is gone, the journal still has what matters.
        match message {
            Message::Line(line) => drop(err.write_all(&line)),
            Message::Flush(done) => drop(done.try_send(())),
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::error!(lost, "log lines were dropped: stderr was too slow");
        }
    }
}

/// Starts it; a second start in one process changes nothing.
pub(super) fn start(log: Log, colour: bool) -> std::io::Result<LogGuard> {
    let (to, lines) = sync_channel(LINES);
    let dropped = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&dropped);
    std::thread::Builder::new().name("quell-log".into()).spawn(move || write_out(&lines, &dropped))?;
    let json = match log.format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let queue = Queue { to: to.clone(), dropped: counted, json };
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // The only failure is that a log is there already.
    drop(tracing::subscriber::set_global_default(lines_into(queue, level, colour)));
    Ok(LogGuard(to))
}

/// Writes each event as a line of the queue's form.
fn lines_into(queue: Queue, level: LevelFilter, colour: bool) -> Box<dyn Subscriber + Send + Sync> {
    let json = queue.json;
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(move || queue.clone()).with_ansi(false);
    if json {
        Box::new(builder.json().flatten_event(true).with_current_span(false).with_span_list(false).finish())
    } else {
        Box::new(builder.event_format(ForPeople { colour }).finish())
    }
}

/// `12:03:04 warning: the sentence (field value, field value)`.
struct ForPeople {
    colour: bool,
}

impl<S, N> FormatEvent<S, N> for ForPeople
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut parts = Parts::default();
        event.record(&mut parts);
        let (word, code) = match *event.metadata().level() {
            Level::ERROR => ("error: ", "1;31"),
            Level::WARN => ("warning: ", "33"),
            Level::INFO => ("", ""),
            _ => ("debug: ", "2"),
        };
        let time = jiff::Zoned::now().strftime("%H:%M:%S").to_string();
        if self.colour {
            write!(to, "\x1b[2m{time}\x1b[0m \x1b[{code}m{word}\x1b[0m")?;
        } else {
            write!(to, "{time} {word}")?;
        }
        write!(to, "{}", escape_for_terminal(&parts.message))?;
        if !parts.fields.is_empty() {
            write!(to, " ({})", escape_for_terminal(&parts.fields.join(", ")))?;
        }
        writeln!(to)
    }
}

#[derive(Default)]
struct Parts {
    message: String,
    fields: Vec<String>,
}

impl Visit for Parts {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.fields.push(format!("{name} {value}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_logs_never_waits_and_what_is_dropped_is_counted() {
        let (to, lines) = sync_channel(1);
        let mut queue = Queue { to, dropped: Arc::default(), json: false };
        for line in ["one", "two", "three"] {
            queue.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 2);
        assert!(matches!(lines.recv(), Ok(Message::Line(line)) if line == b"one"));
    }
    #[test]
    fn a_line_in_either_form_holds_nothing_that_a_terminal_obeys() {
        let hostile = "a\u{9b}2Jb\u{202e}c\x1b[31m";
        for json in [true, false] {
            let (to, lines) = sync_channel(1);
            let queue = Queue { to, dropped: Arc::default(), json };
            tracing::subscriber::with_default(lines_into(queue, LevelFilter::INFO, false), || {
                tracing::info!(image = hostile, "{hostile}");
            });
            let Ok(Message::Line(line)) = lines.recv() else { panic!("no line") };
            let line = String::from_utf8(line).unwrap();
            let acts = |c: char| c.is_control() || c == '\u{202e}';
            assert!(!line.trim_end_matches('\n').chars().any(acts), "{line:?}");
            if json {
                let read: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_eq!((&read["image"], &read["message"]), (&hostile.into(), &hostile.into()));
            }
        }
    }
}
