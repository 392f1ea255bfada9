//! The daemon's log on stderr: for people on a terminal, JSON lines elsewhere.
//!
//! What an attacker can shape is escaped by the writer of either form: JSON's own escapes, or the terminal's.

use crate::cli::escape as escape_for_terminal;
use quell_engine::load::{Log, LogFormat, LogLevel};
use std::fmt;
use std::io::IsTerminal;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Starts it; a second start in one process changes nothing.
pub(crate) fn start(log: Log, colour: bool) {
    let json = match log.format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_ansi(false);
    // The only failure is that a log is there already.
    drop(if json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    } else {
        builder.event_format(ForPeople { colour }).try_init()
    });
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
