//! A quell.yaml file → [`Config`], with every mistake in it.
//!
//! Owns the keys. Paths in it are relative to the file. One error, and there is no configuration at all.

mod access;
mod http;
mod kubernetes;
mod secrets;
mod telemetry;
mod webhook;

#[cfg(test)]
pub(crate) use access::{KEYS as ACCESS, LISTEN, TOKEN};
#[cfg(test)]
pub(crate) use http::ROW as ALLOW;
#[cfg(test)]
pub(crate) use kubernetes::KEYS as KUBERNETES;
#[cfg(test)]
pub(crate) use webhook::KEYS as WEBHOOK;

use super::{Ages, Config, FileSource, INLINE, LARGEST, LEAST_KEPT, LEAST_RECORDED, LogFormat, LogLevel, Origin};
use crate::adapt::Format;
use crate::load::reader::{Fields, Reader};
use crate::load::step;
use crate::load::trigger::LEVELS;
use crate::load::units::{print_duration, print_size};
use crate::load::yaml::{Entry, Node, Source, Value};
use crate::load::{address, files, secret_place, yaml};
use crate::playbook::has_errors;
use crate::source::Begin;
use quell_model::guard::{WarmUp, Within};
use quell_model::playbook::Rate;
use quell_model::{Mistake, Name};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

pub(crate) const KEYS: &[&str] = &[
    "mode",
    "data_dir",
    "public_url",
    "playbooks",
    "rules",
    "escalation",
    "incidents",
    "journal",
    "recorder",
    "retention",
    "sources",
    "kubernetes",
    "guard",
    "vars",
    "secrets",
    "http",
    "access",
    "log",
    "telemetry",
];
const LATER: &[&str] = &["commands"];
/// In `guard.limits`, beside its rows: those of each playbook …
const PER_PLAYBOOK: &str = "per_playbook";
/// … how many replicas have to stay …
const MIN_READY: &str = "min_ready";
/// … and how many nodes may be out of use.
const NODES: &str = "nodes";
const PROTECT: &[&str] = &["executables", "units", "users", "namespaces", "nodes"];
const PROTECT_LATER: &[&str] = &["labels", "files", "networks", "accounts", "principals", "instances"];

/// Reads the file at `file`, if others cannot write it.
#[must_use]
pub fn config_file(file: &Path) -> (Option<Config>, Vec<Mistake>) {
    match files::read(file) {
        Ok(text) => config(file, &text),
        Err(mistake) => (None, vec![*mistake]),
    }
}

/// Reads a configuration's text. None when a mistake is an error; an empty text is all defaults.
#[must_use]
pub fn config(file: &Path, text: &str) -> (Option<Config>, Vec<Mistake>) {
    let source = Source::new(file, text);
    let node = match yaml::parse(&source) {
        Ok(node) => node,
        Err(mistake) => return (None, vec![secrets::without_line(*mistake, text)]),
    };
    let mut reading = Reading {
        reader: Reader::of(&source, &node),
        folder: file.parent().unwrap_or(Path::new("")).to_owned(),
        config: Config { file: Some(file.to_owned()), ..Config::default() },
        unshown: BTreeSet::new(),
    };
    if node.value != Value::Null {
        reading.all(&node);
    }
    let config = reading.config;
    let mistakes = secrets::without_lines(reading.reader.finish(), &node);
    let mistakes = secret_place::without_lines(mistakes, &reading.unshown);
    ((!has_errors(&mistakes)).then_some(config), mistakes)
}

struct Reading<'s> {
    reader: Reader<'s>,
    folder: PathBuf,
    config: Config,
    /// Lines on which somebody may have written a token itself.
    unshown: BTreeSet<u32>,
}

impl Reading<'_> {
    fn all(&mut self, node: &Node) {
        let Some(top) = self.reader.fields(node, "quell.yaml", KEYS, LATER) else { return };
        if let Some(node) = self.at(&top, "mode", "mode") {
            self.config.mode = step::mode(&mut self.reader, node).unwrap_or_default();
        }
        if let Some(path) = self.at(&top, "data_dir", "data_dir").and_then(|node| self.path(node, "`data_dir`")) {
            self.config.data_dir = path;
        }
        if let Some(node) = top.get("data_dir")
            && let Err(why) = super::socket_fits(&self.config.data_dir)
        {
            self.reader.error(node.at, why, "a shorter path");
        }
        if let Some(node) = self.at(&top, "public_url", "public_url") {
            self.config.public_url = self.public_url(node);
        }
        self.playbooks(&top);
        self.rules(&top);
        if let Some(node) = self.at(&top, "escalation", "escalation") {
            self.config.escalation = self.path(node, "`escalation`");
        }
        self.incidents(&top);
        self.journal(&top);
        self.recorder(&top);
        let webhooks = self.sources(&top);
        self.kubernetes(&top);
        self.guard(&top);
        // By what the guard looks back on.
        self.retention(&top);
        self.secrets(&top);
        // By the names of secrets.
        self.http(&top);
        self.access(&top);
        // By the names of secrets, and by where the API listens.
        self.webhooks(webhooks);
        self.log(&top);
        self.telemetry(&top);
        if let Some(node) = self.at(&top, "vars", "vars")
            && self.reader.map(node, "`vars`").is_some()
        {
            self.config.vars = node.to_json();
        }
    }

    /// What links begin with: without a `/` at its end.
    fn public_url(&mut self, node: &Node) -> Option<String> {
        let text = self.reader.text(node, "`public_url`")?.trim_end_matches('/').to_owned();
        let why = address::wrong(&text, address::HTTP)
            .or_else(|| text.contains(['?', '#']).then(|| "has something behind the path".to_owned()));
        match why {
            None => Some(text),
            Some(why) => {
                let what = format!("`public_url` {why}");
                self.reader.error(node.at, what, "an address such as `https://quell.example.org`");
                None
            }
        }
    }

    fn playbooks(&mut self, top: &Fields<'_>) {
        let Some(fields) = self.section(top, "playbooks", &["shipped", "dirs", "modes"], &[]) else { return };
        if let Some(shipped) = self.flag(&fields, "shipped", "playbooks.shipped") {
            self.config.playbooks.shipped = shipped;
        }
        self.config.playbooks.dirs = self.paths(&fields, "dirs", "playbooks.dirs");
        let Some(node) = self.at(&fields, "modes", "playbooks.modes") else { return };
        for entry in self.reader.map(node, "`modes`").unwrap_or_default() {
            if let Some(mode) = step::mode(&mut self.reader, &entry.value) {
                self.written(&format!("playbooks.modes.{}", entry.key), entry);
                self.config.playbooks.modes.insert(Name::from(entry.key.as_str()), mode);
            }
        }
    }

    fn rules(&mut self, top: &Fields<'_>) {
        let Some(fields) = self.section(top, "rules", &["shipped", "dirs", "exceptions"], &[]) else { return };
        if let Some(shipped) = self.flag(&fields, "shipped", "rules.shipped") {
            self.config.rules.shipped = shipped;
        }
        self.config.rules.dirs = self.paths(&fields, "dirs", "rules.dirs");
        self.config.rules.exceptions = self.paths(&fields, "exceptions", "rules.exceptions");
    }

    fn incidents(&mut self, top: &Fields<'_>) {
        let Some(fields) = self.section(top, "incidents", &["min_level", "quiet"], &[]) else { return };
        if let Some(node) = self.at(&fields, "min_level", "incidents.min_level")
            && let Some(level) = self.reader.word(node, "level", LEVELS)
        {
            self.config.incidents.min_level = level;
        }
        if let Some(node) = self.at(&fields, "quiet", "incidents.quiet")
            && let Some(quiet) = self.reader.duration(node, "`quiet`")
        {
            self.config.incidents.quiet = quiet;
        }
    }

    fn journal(&mut self, top: &Fields<'_>) {
        let Some(fields) = self.section(top, "journal", &["inline", "largest"], &[]) else { return };
        let mut size = |key: &str, bounds: RangeInclusive<u64>| {
            let node = self.at(&fields, key, &format!("journal.{key}"))?;
            let size = self.reader.size(node, &format!("`{key}`"))?;
            if !bounds.contains(&size) {
                let (least, most) = (print_size(*bounds.start()), print_size(*bounds.end()));
                let what = format!("`{key}` is {}", print_size(size));
                self.reader.error(node.at, what, format!("from {least} to {most}"));
            }
            Some(size)
        };
        let (inline, largest) = (size("inline", INLINE), size("largest", LARGEST));
        let kept = &mut self.config.journal;
        (kept.inline, kept.largest) = (inline.unwrap_or(kept.inline), largest.unwrap_or(kept.largest));
    }

    fn recorder(&mut self, top: &Fields<'_>) {
        let Some(fields) = self.section(top, "recorder", &["size", "age"], &[]) else { return };
        if let Some(node) = self.at(&fields, "size", "recorder.size")
            && let Some(size) = self.reader.size(node, "`size`")
        {
            if size < LEAST_RECORDED {
                self.reader.error(node.at, "`size` is less than 16MiB", "16MiB or more");
            }
            self.config.recorder.size = size;
        }
        if let Some(node) = self.at(&fields, "age", "recorder.age")
            && let Some(age) = self.reader.duration(node, "`age`")
        {
            self.config.recorder.age = age;
        }
    }

    fn retention(&mut self, top: &Fields<'_>) {
        let Some(fields) = self.section(top, "retention", &["incidents", "evidence"], &[]) else { return };
        let mut age = |key: &str| {
            let node = self.at(&fields, key, &format!("retention.{key}"))?;
            let age = self.reader.duration(node, &format!("`{key}`"))?;
            if age < LEAST_KEPT {
                self.reader.error(node.at, format!("`{key}` is less than 1d"), "1d or more");
            }
            Some((age, node.at))
        };
        let (incidents, evidence) = (age("incidents"), age("evidence"));
        if let (Some((incidents, _)), Some((evidence, at))) = (incidents, evidence)
            && evidence > incidents
        {
            let what = "`evidence` is kept for longer than the runs that say what it is";
            self.reader.error(at, what, "an age up to that of `incidents`");
        }
        let guard = &self.config.guard;
        let back = guard.limits.looks_back().max(guard.per_playbook.looks_back()).max(guard.breaker.within);
        if let Some((_, at)) = incidents.filter(|(age, _)| *age < back) {
            let back = print_duration(back);
            let what = format!(
                "`incidents` is shorter than what `guard` looks back on, which a start would not find any more: {back}"
            );
            self.reader.error(at, what, format!("{back} or more"));
        }
        let (incidents, evidence) = (incidents.map(|(age, _)| age), evidence.map(|(age, _)| age));
        self.config.retention = Ages { incidents, evidence: evidence.or(incidents) };
    }

    /// All but the webhooks, which are given back.
    fn sources<'n>(&mut self, top: &Fields<'n>) -> Option<&'n Node> {
        let later = &["kubernetes", "aws", "azure", "syslog", "sqs"];
        let fields = self.section(top, "sources", &["sensor", "files", "webhooks"], later)?;
        if let Some(node) = fields.get("sensor")
            && let Some(sensor) = self.reader.fields(node, "`sensor`", &["enabled"], &[])
            && let Some(enabled) = self.flag(&sensor, "enabled", "sources.sensor.enabled")
        {
            self.config.sources.sensor = enabled;
        }
        if let Some(node) = self.at(&fields, "files", "sources.files") {
            for item in self.reader.list(node, "`files`").unwrap_or_default() {
                let source = self.file_source(item);
                self.config.sources.files.extend(source);
            }
        }
        self.at(&fields, "webhooks", "sources.webhooks")
    }

    fn file_source(&mut self, item: &Node) -> Option<FileSource> {
        let fields = self.reader.fields(item, "a file source", &["format", "path", "trusted", "from"], &[])?;
        let mut words: Vec<(&str, Option<Format>)> = Format::ALL.iter().map(|f| (f.as_str(), Some(*f))).collect();
        words.push(("auto", None));
        let format = fields.get("format").and_then(|node| self.reader.word(node, "format", &words)).flatten();
        let trusted = fields.get("trusted").and_then(|node| self.reader.bool(node, "`trusted`")).unwrap_or(false);
        let from = fields
            .get("from")
            .and_then(|node| self.reader.word(node, "place to begin", &Begin::WORDS))
            .unwrap_or_default();
        match fields.get("path") {
            Some(node) => self.path(node, "`path`").map(|path| FileSource { format, path, trusted, from }),
            None => {
                self.reader.error(fields.at, "a file source without `path`", "`path: /var/log/…`");
                None
            }
        }
    }

    fn guard(&mut self, top: &Fields<'_>) {
        let keys = &["protect", "limits", "breaker", "only_within", "warm_up"];
        let Some(fields) = self.section(top, "guard", keys, &[]) else { return };
        if let Some(node) = fields.get("protect")
            && let Some(protect) = self.reader.fields(node, "`protect`", PROTECT, PROTECT_LATER)
        {
            self.config.guard.executables = self.paths(&protect, "executables", "guard.protect.executables");
            if let Some(node) = self.at(&protect, "units", "guard.protect.units") {
                self.config.guard.units = self.texts(node, "`units`");
            }
            if let Some(node) = self.at(&protect, "users", "guard.protect.users") {
                self.config.guard.users = self.texts(node, "`users`");
            }
            self.protected_namespaces(&protect);
            self.protected_nodes(&protect);
        }
        if let Some(node) = fields.get("limits") {
            for entry in self.reader.map(node, "`limits`").unwrap_or_default() {
                if entry.key == PER_PLAYBOOK {
                    for entry in self.reader.map(&entry.value, "`per_playbook`").unwrap_or_default() {
                        if let Some(rate) = self.limit(entry, "guard.limits.per_playbook") {
                            self.config.guard.per_playbook.0.insert(entry.key.clone(), rate);
                        }
                    }
                } else if entry.key == MIN_READY {
                    self.min_ready(entry);
                } else if entry.key == NODES {
                    self.nodes_at_a_time(entry);
                } else if let Some(rate) = self.limit(entry, "guard.limits") {
                    self.config.guard.limits.0.insert(entry.key.clone(), rate);
                }
            }
        }
        if let Some(node) = fields.get("breaker") {
            self.breaker(node);
        }
        if let Some(node) = self.at(&fields, "only_within", "guard.only_within") {
            self.only_within(node);
        }
        if let Some(node) = self.at(&fields, "warm_up", "guard.warm_up") {
            self.warm_up(node);
        }
    }

    fn warm_up(&mut self, node: &Node) {
        let Some(fields) = self.reader.fields(node, "`warm_up`", &["runs", "for"], &[]) else { return };
        let runs = fields.get("runs").map(|node| self.reader.count(node, "`runs`", 1));
        let lasts = fields.get("for").map(|node| self.reader.duration(node, "`for`"));
        match (runs, lasts) {
            (None, None) => {
                self.reader.error(fields.at, "`warm_up` has no end", "`runs: 20`, `for: 24h`, or both");
            }
            // What is wrong with one was said.
            (Some(None), _) | (_, Some(None)) => {}
            (runs, lasts) => {
                self.config.guard.warm_up = Some(WarmUp { runs: runs.flatten(), lasts: lasts.flatten() });
            }
        }
    }

    fn limit(&mut self, entry: &Entry, section: &str) -> Option<Rate> {
        let rate = self.reader.rate(&entry.value, &format!("the limit of `{}`", entry.key))?;
        self.written(&format!("{section}.{}", entry.key), entry);
        Some(rate)
    }

    fn breaker(&mut self, node: &Node) {
        let keys = &["images", "owners", "principals", "within", "quiet"];
        let Some(fields) = self.reader.fields(node, "`breaker`", keys, &[]) else { return };
        let count = |read: &mut Self, key: &str| {
            let node = read.at(&fields, key, &format!("guard.breaker.{key}"))?;
            read.reader.count(node, &format!("`{key}`"), 1).map(|most| most as usize)
        };
        let [images, owners, principals] = ["images", "owners", "principals"].map(|key| count(self, key));
        let breaker = &mut self.config.guard.breaker;
        breaker.images = images.unwrap_or(breaker.images);
        breaker.owners = owners.unwrap_or(breaker.owners);
        breaker.principals = principals.unwrap_or(breaker.principals);
        if let Some(node) = self.at(&fields, "within", "guard.breaker.within")
            && let Some(within) = self.reader.duration(node, "`within`")
        {
            self.config.guard.breaker.within = within;
        }
        if let Some(node) = self.at(&fields, "quiet", "guard.breaker.quiet")
            && let Some(quiet) = self.reader.duration(node, "`quiet`")
        {
            self.config.guard.breaker.quiet = quiet;
        }
    }

    fn only_within(&mut self, node: &Node) {
        let later = &["account", "tag"];
        let Some(fields) = self.reader.fields(node, "`only_within`", &["cgroup", "namespace"], later) else { return };
        if fields.present(&["cgroup", "namespace"]).is_empty() {
            self.reader.error(
                fields.at,
                "`only_within` names nothing",
                "`cgroup: /a/path`, `namespace: NAME`, or both",
            );
            return;
        }
        let cgroup = fields.get("cgroup").and_then(|node| self.cgroup(node));
        self.config.guard.only_within = Some(Within { cgroup, namespace: self.namespace(&fields) });
    }

    fn cgroup(&mut self, node: &Node) -> Option<String> {
        let text = self.reader.text(node, "`cgroup`")?;
        let path = text.trim_end_matches('/');
        if !path.starts_with('/') || path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
            let what = format!("`{text}` is no cgroup's path");
            self.reader.error(node.at, what, "a path below the hierarchy's root, like `/quell-demo`");
            return None;
        }
        Some(path.to_owned())
    }

    fn log(&mut self, top: &Fields<'_>) {
        let Some(fields) = self.section(top, "log", &["format", "level"], &[]) else { return };
        if let Some(node) = self.at(&fields, "format", "log.format")
            && let Some(format) = self.reader.word(node, "log format", LogFormat::WORDS)
        {
            self.config.log.format = format;
        }
        if let Some(node) = self.at(&fields, "level", "log.level")
            && let Some(level) = self.reader.word(node, "log level", LogLevel::WORDS)
        {
            self.config.log.level = level;
        }
    }

    fn section<'n>(&mut self, top: &Fields<'n>, key: &str, known: &[&str], later: &[&str]) -> Option<Fields<'n>> {
        let node = top.get(key)?;
        self.reader.fields(node, &format!("`{key}`"), known, later)
    }

    /// The value of a key, which is from now on known to come from its line.
    fn at<'n>(&mut self, fields: &Fields<'n>, key: &str, full: &str) -> Option<&'n Node> {
        let node = fields.get(key)?;
        self.written(full, fields.entry(key)?);
        Some(node)
    }

    fn written(&mut self, full: &str, entry: &Entry) {
        let line = self.reader.source.line(entry.at.line).map(str::to_owned);
        self.config.origins.insert(full.to_owned(), Origin::Line(entry.at.into(), line));
    }

    fn flag(&mut self, fields: &Fields<'_>, key: &str, full: &str) -> Option<bool> {
        let node = self.at(fields, key, full)?;
        self.reader.bool(node, &format!("`{key}`"))
    }

    fn path(&mut self, node: &Node, what: &str) -> Option<PathBuf> {
        let text = self.reader.text(node, what)?;
        if text.is_empty() {
            self.reader.error(node.at, format!("{what} is empty"), "a path");
            return None;
        }
        Some(self.folder.join(text))
    }

    fn paths(&mut self, fields: &Fields<'_>, key: &str, full: &str) -> Vec<PathBuf> {
        let Some(node) = self.at(fields, key, full) else { return Vec::new() };
        let list = self.reader.list(node, &format!("`{key}`")).unwrap_or_default();
        list.iter().filter_map(|item| self.path(item, &format!("an item of `{key}`"))).collect()
    }

    fn texts(&mut self, node: &Node, what: &str) -> Vec<String> {
        let mut all = Vec::new();
        for item in self.reader.list(node, what).unwrap_or_default() {
            match &item.value {
                Value::Int(number) if *number >= 0 => all.push(number.to_string()),
                _ => all.extend(self.reader.text(item, &format!("an item of {what}")).map(str::to_owned)),
            }
        }
        all
    }
}
