//! An exception that is drafted from what a rule has detected, for a person to read and commit.
//!
//! ```text
//! detections ──see──▶ what those of a rule have in common ──text──▶ a Sigma filter ──tried──▶ kept, or left out with the reason
//! ```
//!
//! Owns the text. Decides nothing and holds nothing back: a draft is text until somebody loads it. Keeps true: it names a value that the
//! rule matched and where it was seen, and no value in it is a pattern; what it says was tried on a detection before it is given out,
//! by the same reader that will load it.

use super::auditd::{Clothed, records};
use super::exception::Exception;
use super::files::RuleFile;
use super::operation::Operation;
use super::read::read;
use super::rules::{Rule, Rules};
use super::view::{View, one_line};
use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};
use quell_model::record::NotExcepted;
use quell_model::{Class, Detection, Event as _, Field, Hash, IncidentId, Json, Name, OwnedEvent};
use rsigma_eval::Event as _;
use rsigma_parser::SigmaDocument;
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

/// Rules that one draft is about; an incident with more of them is hardly no attack.
const MOST_RULES: usize = 20;
/// Fields of a rule that are compared.
const MOST_FIELDS: usize = 32;
/// No value is longer: nobody reads a filter that says more.
const LONGEST: usize = 2_000;

/// What is to stand in a draft beside what was detected.
#[derive(Clone, Debug)]
pub struct DraftOf {
    /// The incident that was no attack.
    pub incident: IncidentId,
    /// Who answers for it.
    pub owner: Name,
    /// Why.
    pub reason: String,
    /// When it is drafted.
    pub at: Timestamp,
    /// The last day on which it is to hold, in UTC.
    pub last_day: Date,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// The filters, a document a rule; empty: there is none.
    pub text: String,
    /// The rules that it is about.
    pub rules: Vec<Name>,
    /// Those that it is not about.
    pub left_out: Vec<NotExcepted>,
}

/// What the detections of an incident have in common, rule by rule.
#[derive(Clone, Debug, Default)]
pub struct Drafting {
    rules: Vec<Common>,
    /// Rules beyond the bound.
    further: HashSet<Name>,
}

/// A field and what it was.
type Valued = (String, Json);
/// A field that is not compared, and why.
type Without = (String, &'static str);

/// What the detections of one rule have in common.
#[derive(Clone, Debug)]
struct Common {
    rule: Name,
    title: Arc<str>,
    first: Arc<OwnedEvent>,
    matched: Vec<Valued>,
    /// What says where it was seen.
    place: Vec<Valued>,
    /// Fields that the rule matched besides.
    without: Vec<Without>,
}

const DIFFERS: &str = "was not the same in all detections that are kept";
const NO_VALUE: &str = "has no value that a filter can name";
const TOO_LONG: &str = "is too long";
const TOO_MANY: &str = "is one of too many fields";

impl Drafting {
    /// Takes one detection in.
    pub fn see(&mut self, detection: &Detection) {
        let new = Common::of(detection);
        if let Some(known) = self.rules.iter_mut().find(|known| known.rule == new.rule) {
            known.narrow(new);
        } else if self.rules.len() < MOST_RULES {
            self.rules.push(new);
        } else if self.further.len() < MOST_RULES {
            self.further.insert(new.rule);
        }
    }

    /// Writes the draft; each of its filters was tried on what it was made of.
    #[must_use]
    pub fn draft(self, rules: &Rules, of: &DraftOf) -> Draft {
        let mut draft = Draft::default();
        let mut texts = Vec::new();
        for common in self.rules {
            match common.filter(rules, of) {
                Ok(text) => {
                    texts.push(text);
                    draft.rules.push(common.rule);
                }
                Err(why) => draft.left_out.push(NotExcepted { rule: common.rule, why }),
            }
        }
        let mut further: Vec<Name> = self.further.into_iter().collect();
        further.sort();
        let why = format!("an exception is drafted to {MOST_RULES} rules of an incident at the most");
        draft.left_out.extend(further.into_iter().map(|rule| NotExcepted { rule, why: why.clone() }));
        if !texts.is_empty() {
            draft.text = head(of, &draft.left_out);
            draft.text.push_str(&texts.join("---\n"));
        }
        draft
    }
}

impl Common {
    fn of(detection: &Detection) -> Self {
        let event = &detection.event;
        let (mut matched, mut without) = (Vec::<Valued>::new(), Vec::<Without>::new());
        for found in detection.matched.iter().take(MOST_FIELDS) {
            // A correlation's count is no field of any event.
            let is_count = !detection.events.is_empty() && found.field == "count";
            if is_count || matched.iter().any(|(field, _)| *field == found.field) {
                continue;
            }
            let seen = View(&**event).get_field(&found.field).map(|value| value.to_json());
            match usable(seen.unwrap_or_else(|| found.value.clone())) {
                Ok(value) => matched.push((found.field.clone(), value)),
                Err(why) => without.push((found.field.clone(), why)),
            }
        }
        let further = detection.matched.iter().skip(MOST_FIELDS).take(MOST_FIELDS);
        without.extend(further.map(|found| (found.field.clone(), TOO_MANY)));
        let named = |field: &str| View(&**event).get_field(field).and_then(|value| usable(value.to_json()).ok());
        let place = place_of(event).iter().filter_map(|field| Some(((*field).to_owned(), named(field)?)));
        let place = place.filter(|(_, value)| !value.is_null()).collect();
        let (rule, title) = (detection.rule.name.clone(), Arc::clone(&detection.rule.title));
        Self { rule, title, first: Arc::clone(event), matched, place, without }
    }

    /// Keeps what another detection of the same rule has too.
    fn narrow(&mut self, other: Self) {
        for mine in std::mem::take(&mut self.matched) {
            if other.matched.contains(&mine) {
                self.matched.push(mine);
            } else {
                self.without.push((mine.0, DIFFERS));
            }
        }
        let fields = other.matched.into_iter().map(|(field, _)| (field, DIFFERS)).chain(other.without);
        for (field, why) in fields {
            let is_known = |(known, _): &Valued| *known == field;
            let is_told = self.without.iter().any(|(known, _)| *known == field);
            if !is_told && !self.matched.iter().any(is_known) && self.without.len() < MOST_FIELDS {
                self.without.push((field, why));
            }
        }
        if is_of_later(&self.first, &other.first) {
            (self.first, self.place) = (other.first, other.place);
        } else if !is_of_later(&other.first, &self.first) {
            self.place.retain(|mine| other.place.contains(mine));
        }
    }

    fn filter(&self, rules: &Rules, of: &DraftOf) -> Result<String, String> {
        let rule = rules.rules.get(self.rule.as_str()).ok_or("it is not loaded any more")?;
        if !self.matched.iter().any(|(_, value)| !value.is_null()) {
            let fields: Vec<String> = self.without.iter().map(|(field, why)| format!("`{field}` {why}")).collect();
            let why = match (fields.is_empty(), self.matched.is_empty()) {
                (false, _) => fields.join(", "),
                (true, true) => "it matched no field".to_owned(),
                (true, false) => "it matched only what is absent".to_owned(),
            };
            return Err(format!("nothing that it matched can be named: {why}"));
        }
        let kind = self.first.entity.kind.as_str();
        let wanted = place_of(&self.first).len();
        if self.place.len() < wanted {
            return Err(format!("what it was seen in (a {kind}) was not the same in all detections, or has no name"));
        }
        let text = self.text(rule, of);
        self.try_on(rules, rule, &text)?;
        Ok(text)
    }

    fn text(&self, rule: &Rule, of: &DraftOf) -> String {
        let mut text = String::new();
        let mut line = |indent: usize, key: &str, value: &str| {
            let blank = if value.is_empty() { "" } else { " " };
            text.push_str(&format!("{:indent$}{key}:{blank}{value}\n", ""));
        };
        let selection: Vec<(String, String)> = {
            let is_new = |(field, _): &&Valued| !self.matched.iter().any(|(matched, _)| matched == field);
            self.matched.iter().chain(self.place.iter().filter(is_new)).map(written).collect()
        };
        line(0, "title", &quoted(&format!("False positive: {}", self.title)));
        line(0, "id", &self.id(of, &selection));
        line(0, "name", &plain(&format!("{}-{}", of.incident, self.rule)));
        line(0, "date", &of.at.to_zoned(TimeZone::UTC).date().to_string());
        line(0, "owner", &quoted(of.owner.as_str()));
        line(0, "reason", &quoted(&of.reason));
        line(0, "expires", &of.last_day.to_string());
        if let Some(logsource) = &rule.logsource {
            let parts =
                [("category", &logsource.category), ("product", &logsource.product), ("service", &logsource.service)];
            let parts: Vec<(&str, &String)> =
                parts.into_iter().filter_map(|(key, part)| Some((key, part.as_ref()?))).collect();
            if !parts.is_empty() {
                line(0, "logsource", "");
                parts.into_iter().for_each(|(key, part)| line(2, key, &plain(part)));
            }
        }
        line(0, "filter", "");
        line(2, "rules", &format!("[{}]", quoted(self.rule.as_str())));
        line(2, "selection", "");
        for (key, value) in &selection {
            line(4, key, value);
        }
        line(2, "condition", "not selection");
        let mut notes = String::new();
        for (field, why) in &self.without {
            notes.push_str(&format!("# Not compared: {} {why}.\n", quoted(field)));
        }
        if let Some(note) = note_on(self.first.entity.kind.as_str()) {
            notes.push_str(&format!("# {note}\n"));
        }
        notes.push_str(&text);
        notes
    }

    /// Made of what it says, in the form that Sigma's ids have (RFC 9562, version 8).
    fn id(&self, of: &DraftOf, selection: &[(String, String)]) -> String {
        let mut parts: Vec<&[u8]> = vec![of.incident.as_str().as_bytes(), self.rule.as_str().as_bytes()];
        parts.extend(selection.iter().flat_map(|(key, value)| [key.as_bytes(), value.as_bytes()]));
        let mut id = [0; 16];
        id.copy_from_slice(&Hash::of_parts(&parts).0[..16]);
        id[6] = id[6] & 0x0f | 0x80;
        id[8] = id[8] & 0x3f | 0x80;
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }

    /// Loads it as it will be loaded: it is about the rule, holds back what it was made of, and not what has nothing in common with it.
    fn try_on(&self, rules: &Rules, rule: &Rule, text: &str) -> Result<(), String> {
        let file = RuleFile { path: "the draft".into(), text: text.to_owned(), source: 0 };
        let (mut documents, mut mistakes, mut passed) = (Vec::new(), Vec::new(), Vec::new());
        read(&file, &mut documents, &mut mistakes, &mut passed);
        let exception = documents.first().and_then(|document| match &document.what {
            SigmaDocument::Filter(filter) => Exception::compile(document, filter, &mut mistakes),
            SigmaDocument::Rule(_) | SigmaDocument::Correlation(_) => None,
        });
        let Some(exception) = exception.filter(|_| mistakes.is_empty() && documents.len() == 1) else {
            let why = mistakes.first().map_or("it is no filter", |mistake| mistake.what.as_str());
            return Err(format!("its draft cannot be loaded: {why}"));
        };
        if !exception.is_about(&HashSet::from([self.rule.as_str()]), rule.logsource.as_ref()) {
            return Err("its draft would not be about it".to_owned());
        }
        if !holds(&exception, &self.first, rules) {
            return Err("its draft was tried, and would not hold this back".to_owned());
        }
        let mut stranger = OwnedEvent::clone(&self.first);
        stranger.head.node = format!("not {}", stranger.head.node).into();
        stranger.sigma.clear();
        stranger.own.clear();
        if holds(&exception, &stranger, rules) {
            return Err("its draft was tried, and would hold back what has nothing in common with this".to_owned());
        }
        Ok(())
    }
}

/// Whether it holds this event back, in whichever clothes a rule may have seen it.
fn holds(exception: &Exception, event: &OwnedEvent, rules: &Rules) -> bool {
    let class = event.head.class;
    let operation = (class == Class::FileEvent).then(|| Operation::of(event));
    exception.holds(&View(event))
        || records(class, operation)
            .iter()
            .any(|record| exception.holds(&Clothed::new(event, class, *record, &rules.keys)))
}

/// Whether both were seen in one container, and only by the later one it was known whose that is.
fn is_of_later(early: &OwnedEvent, later: &OwnedEvent) -> bool {
    let container =
        |event: &OwnedEvent| event.own("container.id").filter(|id| *id != Field::Null).map(|id| id.to_json());
    let kinds = (early.entity.kind.as_str(), later.entity.kind.as_str());
    kinds == ("container", "owner") && container(early).is_some_and(|id| Some(id) == container(later))
}

/// What says where an event was seen: what its incident is about, as far as that has a name that lasts.
fn place_of(event: &OwnedEvent) -> &'static [&'static str] {
    match event.entity.kind.as_str() {
        "principal" => &["cloud.principal", "node"],
        "owner" => &["pod.namespace", "pod.owner", "node"],
        "container" => &["container.id", "node"],
        "session" => &["process.user", "node"],
        "unit" => &["process.unit", "node"],
        "cgroup" => &["process.cgroup_path", "node"],
        _ => &["node"],
    }
}

fn note_on(kind: &str) -> Option<&'static str> {
    match kind {
        "container" => {
            Some("A container's id ends with the container: for its successors it takes what they have in common.")
        }
        "session" => Some("A login session ends: this is about whoever the program runs as."),
        _ => None,
    }
}

/// The value, if a filter can name it.
fn usable(value: Json) -> Result<Json, &'static str> {
    match value {
        Json::String(text) if text.len() > LONGEST => Err(TOO_LONG),
        Json::String(text) => Ok(Json::String(one_line(Cow::Owned(text)).into_owned())),
        Json::Number(number) if number.is_f64() => Err(NO_VALUE),
        Json::Null | Json::Bool(_) | Json::Number(_) => Ok(value),
        Json::Array(_) | Json::Object(_) => Err(NO_VALUE),
    }
}

/// A line of the selection. Text is compared letter by letter, and nothing in it stands for anything else.
fn written((field, value): &Valued) -> (String, String) {
    match value {
        Json::String(text) => {
            let mut literal = String::with_capacity(text.len());
            for c in text.chars() {
                if matches!(c, '\\' | '*' | '?') {
                    literal.push('\\');
                }
                literal.push(c);
            }
            (plain(&format!("{field}|cased")), quoted(&literal))
        }
        other => (plain(field), other.to_string()),
    }
}

/// What stands above all of it.
fn head(of: &DraftOf, left_out: &[NotExcepted]) -> String {
    let mut text = format!(
        "# Drafted for incident {} on {:.0}. Read it before you commit it: what it matches is not detected any more.\n\
         # It takes effect where `rules.exceptions` of quell.yaml names this file, or beside the rules; `quell rules check` reads it.\n",
        of.incident, of.at
    );
    for one in left_out {
        text.push_str(&format!("# Not about the rule {}: {}.\n", quoted(one.rule.as_str()), shown(&one.why)));
    }
    text
}

/// As it is where YAML reads that as this text, else quoted.
fn plain(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '|');
    let is_other = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(is_word)
        && !is_other.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is_plain { text.to_owned() } else { quoted(text) }
}

/// Between double quotes; what cannot be seen, or shows other text than is there, as its number.
fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(&text.replace('\\', "\\\\").replace('"', "\\\"")))
}

fn shown(text: &str) -> String {
    let is_seen = |c: char| !c.is_control() && !quell_model::unseen::misleads(c);
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            c if is_seen(c) => out.push(c),
            c if u32::from(c) <= 0xffff => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
        out
    })
}
