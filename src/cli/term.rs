//! The one place that prints: data to stdout, everything else to stderr.
//!
//! Owns colour (only on a terminal, never under NO_COLOR), the width, and what `--json` means. A reader that has gone
//! away (`| head`) is no error: the rest is left unsaid, and streams ask [`Term::is_deaf`] when to end.

use super::escape::{escape, escape_json};
use super::exit::{Exit, Fail};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Columns where nobody looks: what is cut would be missed by a script.
const UNBOUND: usize = 400;

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    /// As it is.
    Plain,
    /// What the eye should find first.
    Bold,
    /// What may be skipped.
    Dim,
    /// It is well.
    Good,
    /// Look at it.
    Warn,
    /// It is bad.
    Bad,
    /// Names of things.
    Name,
}

impl Ink {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bold => Some("1"),
            Self::Dim => Some("2"),
            Self::Good => Some("32"),
            Self::Warn => Some("33"),
            Self::Bad => Some("1;31"),
            Self::Name => Some("36"),
        }
    }
}

/// Where a command prints.
#[derive(Debug)]
pub(crate) struct Term {
    json: bool,
    colour_out: bool,
    colour_err: bool,
    width: usize,
    deaf: AtomicBool,
    /// Why data could not be written, where its reader has not simply gone.
    unsaid: OnceLock<String>,
}

impl Term {
    /// For this process's stdout and stderr.
    pub(crate) fn of_process(json: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        let columns = std::env::var("COLUMNS").ok().and_then(|c| c.parse::<usize>().ok());
        let asked = || rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
        Self {
            json,
            colour_out: !plain && io::stdout().is_terminal(),
            colour_err: !plain && io::stderr().is_terminal(),
            width: columns.or_else(asked).filter(|w| *w >= 40).unwrap_or(UNBOUND),
            deaf: AtomicBool::new(false),
            unsaid: OnceLock::new(),
        }
    }

    /// Whether `--json` was given.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether stdout shows colour.
    pub(crate) fn has_colour(&self) -> bool {
        self.colour_out
    }

    /// Whether stderr shows colour.
    pub(crate) fn has_colour_err(&self) -> bool {
        self.colour_err
    }

    /// Columns of the terminal.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Whether stdout's reader has gone away.
    pub(crate) fn is_deaf(&self) -> bool {
        self.deaf.load(Ordering::Relaxed)
    }

    /// Text for stdout, escaped and inked.
    pub(crate) fn ink(&self, ink: Ink, text: &str) -> String {
        inked(self.colour_out, ink, &escape(text))
    }

    /// A line of data.
    pub(crate) fn line(&self, line: impl AsRef<str>) {
        let mut text = line.as_ref().trim_end().to_owned();
        text.push('\n');
        self.raw(text.as_bytes());
    }

    /// Finished text for stdout, as it is.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        let mut out = io::stdout().lock();
        if let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) {
            self.deaf.store(true, Ordering::Relaxed);
            if error.kind() != io::ErrorKind::BrokenPipe {
                self.unsaid.get_or_init(|| error.to_string());
            }
        }
    }

    /// What a command that ended like this ends with: data that could not be written is not all right.
    pub(crate) fn end(&self, exit: Exit) -> Exit {
        let Some(why) = self.unsaid.get() else { return exit };
        self.fail(&Fail::not_right(format!("what was asked for could not be written: {why}")));
        if exit == Exit::Right { Exit::NotRight } else { exit }
    }

    /// The one JSON document of a command.
    pub(crate) fn document(&self, value: &impl Serialize) {
        let json = serde_json::to_string_pretty(value).expect("what quell prints has text keys only");
        self.line(escape_json(&json));
    }

    /// What a daemon answered: the document itself, or what it means in a line.
    pub(crate) fn answer(&self, answer: &impl Serialize, line: impl FnOnce() -> String) {
        if self.is_json() { self.document(answer) } else { self.line(line()) }
    }

    /// One line of a stream of JSON documents.
    pub(crate) fn row(&self, value: &impl Serialize) {
        let json = serde_json::to_string(value).expect("what quell prints has text keys only");
        self.line(escape_json(&json));
    }

    /// A line for people on stderr; not data. The caller has escaped what it put in.
    pub(crate) fn note(&self, line: impl AsRef<str>) {
        let mut err = io::stderr().lock();
        // Nobody is left to tell when stderr itself is gone.
        drop(writeln!(err, "{}", line.as_ref()));
    }

    /// `warning: …` on stderr.
    pub(crate) fn warn(&self, text: &str) {
        self.note(format!("{} {}", inked(self.colour_err, Ink::Warn, "warning:"), escape(text)));
    }

    /// `hint: …` on stderr.
    pub(crate) fn hint(&self, text: &str) {
        self.note(format!("{} {}", inked(self.colour_err, Ink::Name, "hint:"), escape(text)));
    }

    /// `error: …` on stderr, with its hint after a blank line.
    pub(crate) fn fail(&self, fail: &Fail) {
        self.note(format!("{} {}", inked(self.colour_err, Ink::Bad, "error:"), escape(&fail.what)));
        if let Some(hint) = &fail.hint {
            self.note("");
            self.hint(hint);
        }
    }
}

/// Text in a terminal's ink; as it is without colour.
pub(crate) fn inked(colour: bool, ink: Ink, text: &str) -> String {
    match ink.code().filter(|_| colour) {
        Some(code) => format!("\x1b[{code}m{text}\x1b[0m"),
        None => text.to_owned(),
    }
}
