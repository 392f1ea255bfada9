//! The incident of a night, as somebody writes it down.
//!
//! Owns the shape of the file, JSON or YAML: `level`, `tags`, `rules`, `entity`, `title`, or all that `quell incident show --json`
//! prints. Keeps true: it is routed as a live one is, by what opened it.

use crate::load::yaml::{self, Source};
use quell_model::{
    Class, Detection, Entity, EventHead, Hash, Json, Level, LogSource, Mistake, Name, OwnedEvent, RuleRef, Stamp,
    Subject,
};
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;

/// The incident.
#[derive(Clone, PartialEq, Debug)]
pub struct Told {
    /// How bad.
    pub level: Level,
    /// The rule that opened it.
    pub rule: Name,
    /// That rule's tags.
    pub tags: Vec<Name>,
    /// What it is about.
    pub entity: Entity,
    /// In words.
    pub title: String,
    /// Rules that were named beside the first: what opens an incident routes it, so that they change nothing.
    pub others: Vec<Name>,
}

/// As it is written; what else `incident show` says is of no use here.
#[derive(Deserialize)]
struct Written {
    level: Level,
    #[serde(default)]
    tags: Vec<Name>,
    #[serde(default)]
    rules: Vec<Name>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    entity: Option<Entity>,
    #[serde(default)]
    detections: Vec<Seen>,
}

#[derive(Deserialize)]
struct Seen {
    rule: Name,
    title: String,
    #[serde(default)]
    tags: Vec<Name>,
}

/// The keys of a file that is no answer of `incident show`.
const KEYS: &[&str] = &["level", "tags", "rules", "entity", "title"];

impl Told {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, with its place or the nearest right word.
    pub fn read(file: &Path, text: &str) -> Result<Self, Box<Mistake>> {
        let source = Source::new(file, text);
        let node = yaml::parse(&source)?;
        let mistake = |at, what: String| Box::new(source.error(at, what).expected(EXPECTED));
        let json: Json = node.to_json();
        let Some(map) = json.as_object() else {
            return Err(mistake(node.at, "this is no incident".to_owned()));
        };
        let is_shown = map.contains_key("detections");
        if let Some(entry) =
            map.keys().find(|key| !is_shown && !KEYS.contains(&key.as_str())).and_then(|key| node.entry(key))
        {
            let what = format!("an incident has no `{}`", entry.key);
            return Err(Box::new(
                source.error(entry.at, what).expected(EXPECTED).nearest(&entry.key, KEYS.iter().copied()),
            ));
        }
        let written: Written = serde_json::from_value(json.clone()).map_err(|e| mistake(node.at, e.to_string()))?;
        let Written { level, tags, rules, title, entity, detections } = written;
        let (rule, tags, title, others) = match (detections.into_iter().next(), rules.split_first()) {
            (Some(first), _) => (first.rule, first.tags, Some(first.title), Vec::new()),
            (None, Some((first, others))) => (first.clone(), tags, title, others.to_vec()),
            (None, None) => (Name::from("a-rule"), tags, title, Vec::new()),
        };
        let entity =
            entity.unwrap_or_else(|| Entity { kind: "unit".into(), id: "a.service".into(), node: "a-host".into() });
        let title = title.unwrap_or_else(|| "a simulated incident".to_owned());
        Ok(Self { level, rule, tags, entity, title, others })
    }

    /// What opens it.
    pub(super) fn detection(&self, at: Stamp) -> Detection {
        let head = EventHead {
            id: "simulated".into(),
            class: Class::ProcessCreation,
            source: "simulation".into(),
            node: self.entity.node.clone(),
            at,
            seen: at,
        };
        let event = OwnedEvent {
            v: 1,
            head,
            logsource: LogSource::default(),
            sigma: serde_json::Map::new(),
            own: serde_json::Map::new(),
            subject: Subject::User("simulated".into()),
            entity: self.entity.clone(),
        };
        let tags = self.tags.iter().map(|tag| tag.as_str().into()).collect();
        let rule =
            RuleRef { name: self.rule.clone(), id: None, title: self.title.as_str().into(), level: self.level, tags };
        let id = Hash::of(b"simulated");
        Detection { id, rule, event: Arc::new(event), events: vec![], matched: vec![], at, backfill: false }
    }
}

const EXPECTED: &str = "`level`, and `tags`, `rules`, `entity: { kind, id, node }` and `title` as wanted; or what `quell incident show --json` prints";
