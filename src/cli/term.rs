//! The one place that prints: data to stdout, everything else to stderr.
//!
//! Owns colour (only on a terminal, never under NO_COLOR), the width, and what `--json` means. A reader that has gone
//! away (`| head`) is no error: the rest is left unsaid, and streams ask [`Term::is_deaf`] when to end. Keeps true: a line
//! is broken for the width of a terminal alone, and what is there to be copied (JSON, YAML, commands) nowhere.

use super::escape::{escape, escape_json};
use super::exit::{Exit, Fail};
use super::layout;
use rustix::termios::{Winsize, tcgetwinsize};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// A terminal with fewer columns is taken for one with so many.
const NARROWEST: usize = 40;

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
    /// Columns of stdout and stderr, each where it is a terminal.
    columns: Option<usize>,
    columns_err: Option<usize>,
    deaf: AtomicBool,
    /// Why data could not be written, where its reader has not simply gone.
    unsaid: OnceLock<String>,
    /// What would have been written to stdout.
    #[cfg(test)]
    caught: Option<std::sync::Mutex<String>>,
}

impl Term {
    /// For this process's stdout and stderr.
    pub(crate) fn of_process(json: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        let columns = std::env::var("COLUMNS").ok().and_then(|c| c.parse::<usize>().ok());
        // One that does not know its own width (0, over some serial lines) breaks lines as it likes.
        let asked = |size: rustix::io::Result<Winsize>| {
            let own = size.ok().map(|size| usize::from(size.ws_col));
            columns.or(own).filter(|columns| *columns > 0).map(|columns| columns.max(NARROWEST))
        };
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self {
            json,
            colour_out: !plain && out,
            colour_err: !plain && err,
            columns: out.then(|| asked(tcgetwinsize(io::stdout()))).flatten(),
            columns_err: err.then(|| asked(tcgetwinsize(io::stderr()))).flatten(),
            deaf: AtomicBool::new(false),
            unsaid: OnceLock::new(),
            #[cfg(test)]
            caught: None,
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

    /// Columns of stdout; none: it is no terminal, and nothing is broken for it.
    pub(crate) fn columns(&self) -> Option<usize> {
        self.columns
    }

    /// Columns of stderr; none: it is no terminal.
    pub(crate) fn columns_err(&self) -> Option<usize> {
        self.columns_err
    }

    /// Whether stdout's reader has gone away.
    pub(crate) fn is_deaf(&self) -> bool {
        self.deaf.load(Ordering::Relaxed)
    }

    /// Text for stdout, escaped and inked.
    pub(crate) fn ink(&self, ink: Ink, text: &str) -> String {
        inked(self.colour_out, ink, &escape(text))
    }

    /// A line of data. What has no room on a terminal goes on under its last column.
    pub(crate) fn line(&self, line: impl AsRef<str>) {
        let line = line.as_ref();
        self.hung(self.columns.map_or(0, |columns| layout::hang(line, columns)), line);
    }

    /// The same, going on behind so many columns.
    pub(crate) fn hung(&self, hang: usize, line: impl AsRef<str>) {
        match self.columns {
            Some(columns) => self.whole(layout::fold(line.as_ref(), columns, hang).join("\n")),
            None => self.whole(line),
        }
    }

    /// A line of data that is there to be copied, or is laid out already: never broken.
    pub(crate) fn whole(&self, line: impl AsRef<str>) {
        let mut text = line.as_ref().trim_end().to_owned();
        text.push('\n');
        self.raw(text.as_bytes());
    }

    /// Finished text for stdout, as it is.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        #[cfg(test)]
        if let Some(caught) = &self.caught {
            return caught.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
        }
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
        self.whole(escape_json(&json));
    }

    /// What a daemon answered: the document itself, or what it means in a line.
    pub(crate) fn answer(&self, answer: &impl Serialize, line: impl FnOnce() -> String) {
        if self.is_json() { self.document(answer) } else { self.line(line()) }
    }

    /// One line of a stream of JSON documents.
    pub(crate) fn row(&self, value: &impl Serialize) {
        let json = serde_json::to_string(value).expect("what quell prints has text keys only");
        self.whole(escape_json(&json));
    }

    /// A line for people on stderr; not data. The caller has escaped what it put in.
    pub(crate) fn note(&self, line: impl AsRef<str>) {
        let line = line.as_ref();
        self.noted(self.columns_err.map_or(0, |columns| layout::hang(line, columns)), line);
    }

    fn noted(&self, hang: usize, line: &str) {
        match self.columns_err {
            Some(columns) => self.note_whole(layout::fold(line, columns, hang).join("\n")),
            None => self.note_whole(line),
        }
    }

    /// What is laid out already, on stderr.
    pub(crate) fn note_whole(&self, text: impl AsRef<str>) {
        let mut err = io::stderr().lock();
        // Nobody is left to tell when stderr itself is gone.
        drop(writeln!(err, "{}", text.as_ref()));
    }

    /// `warning: …` on stderr.
    pub(crate) fn warn(&self, text: &str) {
        self.led(Ink::Warn, "warning:", text);
    }

    /// `hint: …` on stderr.
    pub(crate) fn hint(&self, text: &str) {
        self.led(Ink::Name, "hint:", text);
    }

    /// A text on stderr behind the word for what it is, and going on behind that word.
    fn led(&self, ink: Ink, word: &str, text: &str) {
        self.noted(word.len() + 1, &format!("{} {}", inked(self.colour_err, ink, word), escape(text)));
    }

    /// `error: …` on stderr, with its hint after a blank line.
    pub(crate) fn fail(&self, fail: &Fail) {
        self.led(Ink::Bad, "error:", &fail.what);
        if let Some(hint) = &fail.hint {
            self.note("");
            self.hint(hint);
        }
    }
}

#[cfg(test)]
impl Term {
    /// One with so many columns, or none, of which a test sees what would be printed.
    pub(crate) fn catching(columns: Option<usize>) -> Self {
        let caught = Some(std::sync::Mutex::default());
        Self { colour_out: false, colour_err: false, columns, columns_err: columns, caught, ..Self::of_process(false) }
    }

    /// What has been printed.
    pub(crate) fn caught(&self) -> String {
        self.caught.as_ref().unwrap().lock().unwrap().clone()
    }
}

/// Text in a terminal's ink; as it is without colour.
pub(crate) fn inked(colour: bool, ink: Ink, text: &str) -> String {
    match ink.code().filter(|_| colour) {
        Some(code) => format!("\x1b[{code}m{text}\x1b[0m"),
        None => text.to_owned(),
    }
}
