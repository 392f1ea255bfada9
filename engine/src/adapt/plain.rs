//! Objects under Sigma's field names, as other tools write them: `{"Image": "/bin/sh", "CommandLine": "sh -c id"}`.
//!
//! The logsource is what the object says in `logsource`, else what its field names tell; where neither does, the event
//! is offered to every rule. A time is looked for under the usual names; without one, all events are of one moment.

use super::reader::Wrong;
use super::record::{id_of, logsource, machine, stamp, text};
use jiff::Timestamp;
use quell_model::event::EVENT_VERSION;
use quell_model::{Class, EventHead, Json, LogSource, Name, OwnedEvent, Subject, fields};

type Map = serde_json::Map<String, Json>;

/// Where other tools keep the time.
const TIMES: &[&str] = &["@timestamp", "timestamp", "time", "UtcTime", "EventTime", "TimeCreated", "eventTime"];

/// quell's own names for what stands under Sigma's.
const NAMES: &[(&str, &str)] = &[
    ("Image", "process.image"),
    ("CommandLine", "process.command_line"),
    ("CurrentDirectory", "process.cwd"),
    ("User", "process.user"),
    ("ProcessId", "process.pid"),
    ("ParentImage", "process.parent.image"),
    ("ParentCommandLine", "process.parent.command_line"),
    ("ParentProcessId", "process.parent.pid"),
];
const NETWORK: &[(&str, &str)] = &[
    ("Protocol", "network.protocol"),
    ("SourceIp", "network.source_ip"),
    ("SourcePort", "network.source_port"),
    ("DestinationIp", "network.destination_ip"),
    ("DestinationPort", "network.destination_port"),
];
const FILE: &[(&str, &str)] = &[("TargetFilename", "file.path")];

/// Reads one object.
pub(super) fn read(mut object: Map) -> Result<OwnedEvent, Wrong> {
    if object.is_empty() {
        return Err(Wrong::new("is an empty object"));
    }
    let id = id_of("plain", &Json::Object(object.clone()).to_string());
    let logsource = match object.remove("logsource") {
        Some(said) => serde_json::from_value(said).map_err(|error| {
            Wrong::new(format!("has a `logsource` that is none: {error}")).expected("category, product, service")
        })?,
        None => told_by(&object),
    };
    let class = match logsource.category.as_ref().map(Name::as_str) {
        Some("process_creation") => Class::ProcessCreation,
        Some("network_connection") => Class::NetworkConnection,
        Some("file_event") => Class::FileEvent,
        _ => Class::Record,
    };
    let at = stamp(TIMES.iter().find_map(|key| time(object.get(*key)?)).unwrap_or(Timestamp::UNIX_EPOCH));
    let host = ["Computer", "Hostname", "host.name", "host"].iter().find_map(|key| text(&object, key));
    let node = Name::from(host.unwrap_or("unknown"));
    let own = match class {
        Class::ProcessCreation => own(&object, &[NAMES]),
        Class::NetworkConnection => own(&object, &[NAMES, NETWORK]),
        Class::FileEvent => own(&object, &[NAMES, FILE]),
        _ => Map::new(),
    };
    let own = with_own_names(own, class, &object);
    let subject = text(&object, "User").map_or(Subject::Unknown, |user| Subject::User(user.into()));
    let entity = machine(&node);
    let head = EventHead { id, class, source: "plain".into(), node, at, seen: at };
    Ok(OwnedEvent { v: EVENT_VERSION, head, logsource, sigma: object, own, subject, entity })
}

/// What the field names tell of the source.
fn told_by(object: &Map) -> LogSource {
    let has = |names: &[&str]| names.iter().any(|name| object.contains_key(*name));
    let record = text(object, "type").unwrap_or_default();
    if has(&["a0", "SYSCALL", "nametype"]) && ["EXECVE", "SYSCALL", "PATH"].contains(&record.to_uppercase().as_str()) {
        return logsource(None, Some("linux"), Some("auditd"));
    }
    let category = if has(&["DestinationIp", "DestinationPort", "Initiated"]) {
        "network_connection"
    } else if has(&["TargetFilename"]) {
        "file_event"
    } else if has(&["CommandLine", "ParentImage", "ParentCommandLine", "Image"]) {
        "process_creation"
    } else {
        return LogSource::default();
    };
    let windows = ["Image", "ParentImage", "TargetFilename"]
        .iter()
        .any(|key| text(object, key).is_some_and(|path| path.contains('\\') && !path.starts_with('/')));
    logsource(Some(category), Some(if windows { "windows" } else { "linux" }), None)
}

fn own(object: &Map, tables: &[&[(&str, &str)]]) -> Map {
    let mut own = Map::new();
    for (sigma, path) in tables.iter().flat_map(|table| table.iter()) {
        let Some(value) = object.get(*sigma) else { continue };
        let number = path.ends_with("pid") || path.ends_with("port");
        let value = match value {
            Json::String(text) if number => text.parse::<i64>().map_or_else(|_| value.clone(), Json::from),
            other => other.clone(),
        };
        put(&mut own, path, value);
    }
    own
}

/// quell's own names may stand in the object too, flat (`process.stdio.socket`) or nested.
fn with_own_names(mut own: Map, class: Class, object: &Map) -> Map {
    if class == Class::Record {
        return own;
    }
    for (name, value) in object {
        match value {
            Json::Object(group) if fields::is_known(class, name) => {
                for (inner, value) in group {
                    put(&mut own, &format!("{name}.{inner}"), value.clone());
                }
            }
            _ if name.contains('.') && fields::is_known(class, name) => put(&mut own, name, value.clone()),
            _ => {}
        }
    }
    own
}

fn put(into: &mut Map, path: &str, value: Json) {
    match path.split_once('.') {
        None => {
            into.insert(path.to_owned(), value);
        }
        Some((group, rest)) => {
            if let Json::Object(inner) = into.entry(group).or_insert_with(|| Json::Object(Map::new())) {
                put(inner, rest, value);
            }
        }
    }
}

/// A moment as tools write it: RFC 3339, `2026-01-31 12:00:00.123` (UTC), or seconds or milliseconds since 1970.
fn time(value: &Json) -> Option<Timestamp> {
    if let Some(number) = value.as_i64() {
        let millis = number.unsigned_abs() > 100_000_000_000;
        return if millis { Timestamp::from_millisecond(number).ok() } else { Timestamp::from_second(number).ok() };
    }
    if let Some(seconds) = value.as_f64().filter(|seconds| seconds.abs() < 1e11) {
        #[allow(clippy::cast_possible_truncation, reason = "bounded right before")]
        return Timestamp::from_microsecond((seconds * 1e6) as i64).ok();
    }
    let text = value.as_str()?;
    text.parse::<Timestamp>().ok().or_else(|| {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })
}
