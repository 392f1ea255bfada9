//! escalation.yaml → [`Escalation`]: who is who, by which ways they are reached, who is on call, who is told in which order.
//!
//! ```text
//! names ─▶ channels ─▶ people ─▶ schedules ─▶ policies ─▶ routes ─▶ what holds where nothing is said
//!                        └────── reach ──────────┘   can whoever is told be reached at all
//! ```
//!
//! Owns the file's top. Keeps true: all mistakes are told at once; nothing that is written is passed over; a file with an
//! error gives nothing, and the former holds; no mistake shows a secret.

mod channels;
pub(crate) mod names;
pub(crate) mod people;
pub(crate) mod policies;
mod reach;
pub(crate) mod routes;
pub(crate) mod schedules;
mod times;
mod unused;

#[cfg(test)]
pub(crate) use channels::{BEAT, CHANNELS, EMAIL, SLACK, WEBHOOK};
pub(crate) use times::{DAYS, UNITS};

use super::config::Roles;
use super::files;
use super::reader::{Fields, Reader};
use super::secret_place;
use super::yaml::{self, Node, Place, Source, Value};
use crate::escalation::Escalation;
use crate::escalation::schedule::zone;
use crate::playbook::has_errors;
use names::Names;
use quell_model::Mistake;
use reach::Reach;
use std::path::Path;
use std::time::Duration;

pub(crate) const KEYS: &[&str] = &["people", "approvers", "policies", "channels", "schedules", "routes"];
/// The section that holds secrets.
const CHANNELS_SECTION: &str = "channels";

/// The shortest time that anything waits for: whoever writes less would be told a thousand times a second.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest: nobody waits longer for an answer.
const LONGEST: Duration = Duration::from_secs(90 * 86_400);

/// Reads the file at `file`, if others cannot write it.
#[must_use]
pub fn escalation_file(file: &Path, roles: &Roles) -> (Option<Escalation>, Vec<Mistake>) {
    match files::read(file) {
        Ok(text) => escalation(file, &text, roles),
        Err(mistake) => (None, vec![*mistake]),
    }
}

/// Reads the text of an escalation.yaml. None when a mistake is an error. A channel whose secrets cannot be read now is
/// told by a warning.
#[must_use]
pub fn escalation(file: &Path, text: &str, roles: &Roles) -> (Option<Escalation>, Vec<Mistake>) {
    let source = Source::new(file, text);
    let node = match yaml::parse(&source) {
        Ok(node) => node,
        Err(mistake) => return (None, vec![secret_place::without_line(*mistake, text, CHANNELS_SECTION)]),
    };
    let mut reader = Reader::of(&source, &node);
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut read = Escalation::default();
    if node.value == Value::Null {
        nobody(&mut reader, node.at);
    } else if let Some(top) = reader.fields(&node, "escalation.yaml", KEYS, &[]) {
        read = all(&mut reader, &top, folder, roles);
        if read.people.is_empty() && !reader.has_errors() {
            nobody(&mut reader, top.at);
        }
    }
    let mistakes = secret_place::without_lines(reader.finish(), &channels::secret_lines(&node));
    ((!has_errors(&mistakes)).then_some(read), mistakes)
}

fn all(reader: &mut Reader<'_>, top: &Fields<'_>, folder: &Path, roles: &Roles) -> Escalation {
    let names = Names::of(top);
    let channels = channels::channels(reader, top, folder);
    let people = people::who(reader, top, roles, Some(&names));
    let mut reach = Reach::of(top);
    let schedules = schedules::schedules(reader, top, &names, &mut reach);
    reach.take_turns(&schedules);
    let policies = policies::policies(reader, top, &names, &mut reach);
    let routes = routes::routes(reader, top, &names);
    unused::check(reader, top, &names);
    Escalation { people, channels, schedules, policies, routes }.completed()
}

fn nobody(reader: &mut Reader<'_>, at: Place) {
    let what = "the file names nobody: whoever may use the socket may do and answer everything";
    reader.warning(at, what, "`people`, with at least one");
}

/// An address of mail.
fn email<'n>(reader: &mut Reader<'_>, node: &'n Node, what: &str) -> Option<&'n str> {
    let text = reader.text(node, what)?;
    let parts = text.rsplit_once('@').filter(|(name, host)| !name.is_empty() && !host.is_empty());
    if parts.is_none() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        reader.error(node.at, format!("`{text}` is no address"), "an address like `ana@example.org`");
        return None;
    }
    Some(text)
}

/// An IANA time zone: one that schedules go by, whatever this machine has.
fn time_zone<'n>(reader: &mut Reader<'_>, node: &'n Node) -> Option<&'n str> {
    let text = reader.text(node, "`time_zone`")?;
    if zone::find(text).is_none() {
        let mistake = reader.source.error(node.at, format!("there is no time zone `{text}`"));
        let all: Vec<String> = zone::names().collect();
        reader.note_near(mistake.expected("a name like `Europe/Berlin`"), text, all.iter().map(String::as_str));
        return None;
    }
    Some(text)
}

/// A duration that can be waited for.
fn wait(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Duration> {
    let read = reader.duration(node, what)?;
    if !(SHORTEST..=LONGEST).contains(&read) {
        reader.error(node.at, format!("{what} is {}", node.shown()), "from `1s` to `90d`");
        return None;
    }
    Some(read)
}

/// Whether a name can be written wherever it is meant: in logs, on the command line, in Slack.
fn is_word(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// Notes that a name is none.
fn named(reader: &mut Reader<'_>, name: &str, at: Place, kind: &str) {
    if !is_word(name) {
        let what = format!("`{name}` cannot be the name of a {kind}");
        reader.error(at, what, "a short word: letters, digits, `_`, `-` and `.`");
    }
}

#[cfg(test)]
mod tests;
