//! What lists show of runs and incidents: a line each, kept beside the records.
//!
//! ```text
//! writer: rows ──▶ records
//!           └────▶ change ──▶ runs, incidents, members, marks      (the same transaction)
//! ```
//!
//! Owns which records move a line, and the SQL of the four tables. Never decides and never fails an append: a body that
//! it does not understand moves nothing. Keeps true: a line says what the fold of its stream says.

use super::rows::Row;
use crate::incident::{Acknowledged, FalsePositive, Incident, Standing};
use quell_model::guard::place_of_event;
use quell_model::record::{
    AcknowledgementChanged, IncidentChanged, IncidentJoined, IncidentOpened, IncidentState, RunState,
};
use quell_model::{Entity, Hash, IncidentId, Json, Kind, Level, Mode, Name, RunId, Stamp, StreamId};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What a run's first record says of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RunHead {
    /// Its id.
    pub run: RunId,
    /// Which playbook.
    pub playbook: Name,
    /// How far it may go.
    pub mode: Mode,
    /// The incident it belongs to.
    pub incident: Option<IncidentId>,
    /// The rule whose detection started it; none when a person did.
    pub rule: Option<String>,
    /// The value of `run_per`.
    pub per: String,
    /// Who started it by hand.
    pub by: Option<Name>,
    /// When it began.
    pub started: Stamp,
    /// The sum of its playbook's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Hash>,
    /// The source of its event is one that anybody can write.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untrusted: bool,
    /// It is about what a source held before it was first followed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backfill: bool,
}

/// What a run's last record says of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RunTail {
    /// How it ended.
    pub state: RunState,
    /// For people.
    pub summary: String,
    /// When.
    pub ended: Stamp,
}

/// A run's line.
#[derive(Clone, PartialEq, Debug)]
pub struct RunLine {
    /// Of its first record.
    pub head: RunHead,
    /// Of its last one, once it has ended.
    pub tail: Option<RunTail>,
}

/// What an incident's first record says of it, and what people said of it since.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct IncidentHead {
    /// Its id.
    pub incident: IncidentId,
    /// The first rule's title.
    pub title: String,
    /// What it is about.
    pub entity: Entity,
    /// When it was opened.
    pub opened: Stamp,
    /// It is about what a source held before it was first followed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backfill: bool,
    /// Who looks after it; of a resolved one, who did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledged>,
    /// Of a resolved one: it was no attack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_positive: Option<FalsePositive>,
}

/// An incident's line.
#[derive(Clone, PartialEq, Debug)]
pub struct IncidentLine {
    /// Of its first record.
    pub head: IncidentHead,
    /// The highest level so far.
    pub level: Level,
    /// Somebody has ended it.
    pub resolved: bool,
    /// When the earliest of its events happened.
    pub first: jiff::Timestamp,
    /// Its last sign of life.
    pub last: Stamp,
    /// How many detections, counted ones included.
    pub detections: u64,
    /// Losses in its own stream.
    pub losses: u64,
}

impl IncidentLine {
    /// Where it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing::of(self.resolved, self.head.acknowledged.clone(), self.head.false_positive.clone())
    }
}

/// A line in its place.
#[derive(Clone, PartialEq, Debug)]
pub struct Listed<T> {
    /// Its place in the order of beginnings: a page goes on before it.
    pub number: i64,
    /// Its records.
    pub stream: StreamId,
    /// None: the stream has records that the lists do not know yet, and is to be read itself.
    pub line: Option<T>,
}

/// A run that counts for limits.
#[derive(Clone, PartialEq, Debug)]
pub struct Counted {
    /// Its records.
    pub stream: StreamId,
    /// Which playbook.
    pub playbook: Name,
    /// Where it began: a place in the guard's sense.
    pub place: String,
    /// The program that its event is about.
    pub image: String,
    /// When it began.
    pub began: Stamp,
    /// It counts for its playbook's `limits.runs`: it may act, and neither a person, another run nor an untrusted source started it.
    pub counts: bool,
    /// The sum of its playbook's text.
    pub definition: Option<Hash>,
    /// Not anybody could have started it, and it is about what happened while quell looked.
    pub trusted: bool,
    /// It may act, and a moment of an incident started it.
    pub by_incident: bool,
}

/// Kinds of the system's records that are found by their kind: those that concern whatever goes on at their time, and
/// those that a start needs.
pub(super) const MARKS: &[Kind] = &[
    Kind::LossSeen,
    Kind::PauseChanged,
    Kind::BreakerChanged,
    Kind::DetectionHeld,
    Kind::DefinitionPinned,
    Kind::EngineStarted,
    Kind::PersonActed,
    Kind::LeaseChanged,
    Kind::LeaseGranted,
    Kind::ReflexFired,
    Kind::StreamPruned,
    Kind::ScheduleSet,
    Kind::ScheduleMissed,
    Kind::PlaybookSeen,
    Kind::AnswerRemembered,
    Kind::ModeChanged,
    Kind::HeadsSealed,
    Kind::StreamRedacted,
    Kind::SilenceAdded,
    Kind::SilenceEnded,
];

/// What lines need of a `RunStarted`; the rest of its body, most of it, is not looked at.
#[derive(Deserialize)]
struct Began {
    run: RunId,
    playbook: Name,
    #[serde(default)]
    definition: Option<Hash>,
    mode: Mode,
    incident: Option<IncidentId>,
    per: String,
    event: Option<About>,
    detection: Option<By>,
    #[serde(default)]
    by: Option<Name>,
    #[serde(default)]
    untrusted: bool,
    #[serde(default)]
    backfill: bool,
    #[serde(default)]
    parent: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct About {
    #[serde(default)]
    process: Json,
    #[serde(default)]
    entity: Json,
}

#[derive(Deserialize)]
struct By {
    #[serde(default)]
    rule: Option<String>,
}

/// What lines need of a `RunFinished`.
#[derive(Deserialize)]
struct Ended {
    state: RunState,
    summary: String,
}

/// What lines need of a `DetectionAccepted`.
#[derive(Deserialize)]
struct Accepted {
    detection: Detected,
    decided: Vec<Decision>,
    #[serde(default)]
    counted_later: bool,
}

#[derive(Deserialize)]
struct Detected {
    rule: Leveled,
    event: At,
    #[serde(default)]
    events: Vec<At>,
}

#[derive(Deserialize)]
struct Leveled {
    level: Level,
}

#[derive(Deserialize)]
struct At {
    at: Stamp,
}

#[derive(Deserialize)]
struct Decision {
    #[serde(default)]
    run: Option<RunId>,
}

/// Takes rows into the lists, within the transaction that appends them.
pub(super) fn take_in(db: &Connection, rows: &[Row]) -> Result<(), rusqlite::Error> {
    rows.iter().try_for_each(|row| take(db, row))
}

/// Takes one row in; of a body that is not understood, nothing.
pub(super) fn take(db: &Connection, row: &Row) -> Result<(), rusqlite::Error> {
    match row.kind {
        Kind::RunStarted | Kind::UndoBegan | Kind::RunReopened | Kind::RunFinished if row.stream.as_run().is_some() => {
            run(db, row)
        }
        _ if row.stream == StreamId::system() => mark(db, row),
        _ if row.stream.as_incident().is_some() => incident(db, row),
        _ => Ok(()),
    }
}

/// Marks one of the system's records, if it is of a kind that is marked.
pub(super) fn mark(db: &Connection, row: &Row) -> Result<(), rusqlite::Error> {
    if row.stream != StreamId::system() || !MARKS.contains(&row.kind) {
        return Ok(());
    }
    let mut put = db.prepare_cached("INSERT OR IGNORE INTO marks (row, kind, at) VALUES (?1, ?2, ?3)")?;
    put.execute(params![row.id, row.kind.as_str(), nanos(row.at.wall)]).map(drop)
}

/// Whether lists find in a body what they need of its kind.
pub(super) fn understand(kind: Kind, body: &str) -> bool {
    match kind {
        Kind::RunStarted => serde_json::from_str::<Began>(body).is_ok(),
        Kind::RunFinished => serde_json::from_str::<Ended>(body).is_ok(),
        Kind::DetectionAccepted => serde_json::from_str::<Accepted>(body).is_ok(),
        _ => true,
    }
}

fn read<T: for<'a> Deserialize<'a>>(row: &Row) -> Option<T> {
    let read = serde_json::from_str(&row.body);
    read.inspect_err(|error| tracing::error!(stream = %row.stream, seq = row.seq, %error, "lists pass over a record"))
        .ok()
}

fn run(db: &Connection, row: &Row) -> Result<(), rusqlite::Error> {
    if matches!(row.kind, Kind::UndoBegan | Kind::RunReopened) {
        // How far it is stands in its records, as with every run that goes on.
        let mut put = db.prepare_cached("UPDATE runs SET tail = NULL WHERE stream = ?1")?;
        return put.execute([row.stream_no]).map(drop);
    }
    if row.kind == Kind::RunFinished {
        let Some(Ended { state, summary }) = read(row) else { return Ok(()) };
        let tail = RunTail { state, summary, ended: row.at };
        let mut put = db.prepare_cached("UPDATE runs SET tail = ?2 WHERE stream = ?1")?;
        return put.execute(params![row.stream_no, text(&tail)]).map(drop);
    }
    let Some(began) = read::<Began>(row) else { return Ok(()) };
    let counts = began.mode == Mode::Enforce && began.by.is_none() && began.parent.is_none() && !began.untrusted;
    let event =
        began.event.map(|about| json!({ "process": about.process, "entity": about.entity })).unwrap_or_default();
    let image = event.get("process").and_then(|process| process.get("image")).and_then(Json::as_str);
    let head = RunHead {
        run: began.run,
        playbook: began.playbook,
        mode: began.mode,
        incident: began.incident,
        rule: began.detection.and_then(|by| by.rule),
        per: began.per,
        by: began.by,
        started: row.at,
        definition: began.definition,
        untrusted: began.untrusted,
        backfill: began.backfill,
    };
    let mut put = db.prepare_cached(
        "INSERT OR IGNORE INTO runs (stream, began, playbook, place, image, counts, head)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let (at, playbook) = (nanos(row.at.wall), head.playbook.as_str());
    let (place, image) = (place_of_event(&event), image.unwrap_or_default());
    put.execute(params![row.stream_no, at, playbook, place, image, counts, text(&head)]).map(drop)
}

fn incident(db: &Connection, row: &Row) -> Result<(), rusqlite::Error> {
    let at = nanos(row.at.wall);
    let (mut level, mut first, mut more, mut resolved) = (0, i64::MAX, 0, None);
    match row.kind {
        Kind::LossSeen => {
            // What was lost after its last sign of life is no part of it.
            let mut lost = db.prepare_cached("UPDATE incidents SET losses = losses + 1 WHERE stream = ?1")?;
            return lost.execute([row.stream_no]).map(drop);
        }
        Kind::IncidentOpened => {
            let Some(opened) = read::<IncidentOpened>(row) else { return Ok(()) };
            let IncidentOpened { incident, entity, title, level, backfill } = opened;
            let (acknowledged, false_positive) = (None, None);
            let head = IncidentHead { incident, title, entity, opened: row.at, backfill, acknowledged, false_positive };
            let mut put = db.prepare_cached(
                "INSERT OR IGNORE INTO incidents
                 (stream, head, level, resolved, first, last, last_boot, detections, losses)
                 VALUES (?1, ?2, ?3, 0, ?4, ?4, ?5, 0, 0)",
            )?;
            let boot = row.at.boot_ns.cast_signed();
            return put.execute(params![row.stream_no, text(&head), level as i64, at, boot]).map(drop);
        }
        Kind::DetectionAccepted => {
            let Some(Accepted { detection, decided, counted_later }) = read(row) else { return Ok(()) };
            (level, more) = (detection.rule.level as i64, i64::from(!counted_later));
            let events = detection.events.iter().chain([&detection.event]);
            first = events.map(|event| nanos(event.at.wall)).min().unwrap_or(i64::MAX);
            for run in decided.into_iter().filter_map(|decision| decision.run) {
                member(db, row, &run)?;
            }
        }
        Kind::IncidentJoined => {
            let Some(joined) = read::<IncidentJoined>(row) else { return Ok(()) };
            level = joined.level as i64;
            if joined.detection.is_some() {
                more = joined.count.saturating_sub(Incident::kept_before(joined.count)).cast_signed();
            }
            if let Some(run) = &joined.run {
                member(db, row, run)?;
            }
        }
        Kind::IncidentChanged => {
            let Some(changed) = read::<IncidentChanged>(row) else { return Ok(()) };
            resolved = Some(changed.state == IncidentState::Resolved);
            let mut standing = Standing::default();
            standing.apply(row.at, &changed.into());
            if !standing.is_resolved() {
                noted::<Acknowledged>(db, row, "acknowledged", None)?;
            }
            noted(db, row, "false_positive", standing.false_positive)?;
        }
        Kind::AcknowledgementChanged => {
            let Some(changed) = read::<AcknowledgementChanged>(row) else { return Ok(()) };
            let AcknowledgementChanged { acknowledged, by, via, .. } = changed;
            noted(db, row, "acknowledged", acknowledged.then_some(Acknowledged { by, at: row.at, via }))?;
        }
        _ => {}
    }
    let mut touch = db.prepare_cached(
        "UPDATE incidents SET level = max(level, ?2), first = min(first, ?3), last = ?4, last_boot = ?5,
         detections = detections + ?6, resolved = coalesce(?7, resolved) WHERE stream = ?1",
    )?;
    let boot = row.at.boot_ns.cast_signed();
    touch.execute(params![row.stream_no, level, first, at, boot, more, resolved]).map(drop)
}

/// What somebody said of an incident, or that nobody says it any more.
fn noted<T: Serialize>(db: &Connection, row: &Row, key: &str, said: Option<T>) -> Result<(), rusqlite::Error> {
    let mut put = db.prepare_cached(
        "UPDATE incidents SET head = CASE WHEN ?3 IS NULL THEN json_remove(head, '$.' || ?2)
         ELSE json_set(head, '$.' || ?2, json(?3)) END WHERE stream = ?1",
    )?;
    put.execute(params![row.stream_no, key, said.as_ref().map(text)]).map(drop)
}

fn member(db: &Connection, row: &Row, run: &RunId) -> Result<(), rusqlite::Error> {
    let mut put = db.prepare_cached("INSERT OR IGNORE INTO members (incident, run, row) VALUES (?1, ?2, ?3)")?;
    put.execute(params![row.stream_no, run.as_str(), row.id]).map(drop)
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("a line has text keys only")
}

/// Nanoseconds since the epoch; what lies before 1677 or beyond 2262 is at the end.
fn nanos(at: jiff::Timestamp) -> i64 {
    let nanos = at.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into());
    i64::try_from(nanos).expect("clamped just before")
}

fn moment(nanos: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(jiff::Timestamp::MAX)
}

/// A page of lines, the latest beginning first, and the highest number that any stream has.
pub(super) type Page<T> = (Vec<Listed<T>>, i64);

/// A value in a line that nobody of ours wrote.
fn foreign<T>(at: usize, parsed: Result<T, serde_json::Error>) -> Result<T, rusqlite::Error> {
    parsed.map_err(|e| rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, Box::new(e)))
}

/// Runs that began before a number.
pub(super) fn runs(db: &Connection, before: i64, most: usize) -> Result<Page<RunLine>, rusqlite::Error> {
    let mut ask = db.prepare_cached(
        "SELECT r.stream, s.name, r.head, r.tail FROM runs r JOIN streams s ON s.id = r.stream
         WHERE r.stream < ?1 AND s.pruned = 0 ORDER BY r.stream DESC LIMIT ?2",
    )?;
    let rows = ask.query_map(params![before, most as i64], |row| {
        let stream = StreamId::from(row.get::<_, String>(1)?);
        Ok(Listed { number: row.get(0)?, stream, line: Some(run_line(row, 2)?) })
    })?;
    Ok((rows.collect::<Result<_, _>>()?, highest(db)?))
}

/// Head and tail, from this column on.
fn run_line(row: &rusqlite::Row<'_>, at: usize) -> Result<RunLine, rusqlite::Error> {
    let head = foreign(at, serde_json::from_str(row.get_ref(at)?.as_str()?))?;
    let tail = row.get_ref(at + 1)?.as_str_or_null()?;
    Ok(RunLine { head, tail: tail.map(|tail| foreign(at + 1, serde_json::from_str(tail))).transpose()? })
}

/// The latest run of a playbook for a value of `run_per`.
pub(super) fn last_run(db: &Connection, playbook: &Name, per: &str) -> Result<Option<RunLine>, rusqlite::Error> {
    let mut ask = db.prepare_cached(
        "SELECT head, tail FROM runs WHERE playbook = ?1 AND json_extract(head, '$.per') = ?2
         ORDER BY stream DESC LIMIT 1",
    )?;
    ask.query_row(params![playbook.as_str(), per], |row| run_line(row, 0)).optional()
}

/// Incidents that were opened before a number.
pub(super) fn incidents(db: &Connection, before: i64, most: usize) -> Result<Page<IncidentLine>, rusqlite::Error> {
    let mut ask = db.prepare_cached(
        "SELECT i.stream, s.name, i.head, i.level, i.resolved, i.first, i.last, i.last_boot, i.detections, i.losses
         FROM incidents i JOIN streams s ON s.id = i.stream
         WHERE i.stream < ?1 ORDER BY i.stream DESC LIMIT ?2",
    )?;
    let rows = ask.query_map(params![before, most as i64], |row| {
        let line = IncidentLine {
            head: foreign(2, serde_json::from_str(row.get_ref(2)?.as_str()?))?,
            level: Level::ALL.get(row.get::<_, usize>(3)?).copied().unwrap_or_default(),
            resolved: row.get(4)?,
            first: moment(row.get(5)?),
            last: Stamp { wall: moment(row.get(6)?), boot_ns: row.get::<_, i64>(7)?.cast_unsigned() },
            detections: row.get::<_, i64>(8)?.cast_unsigned(),
            losses: row.get::<_, i64>(9)?.cast_unsigned(),
        };
        Ok(Listed { number: row.get(0)?, stream: StreamId::from(row.get::<_, String>(1)?), line: Some(line) })
    })?;
    Ok((rows.collect::<Result<_, _>>()?, highest(db)?))
}

fn highest(db: &Connection) -> Result<i64, rusqlite::Error> {
    db.prepare_cached("SELECT coalesce(max(id), 0) FROM streams")?.query_row([], |row| row.get(0))
}

/// The first runs of an incident, at most so many, and how many it has.
pub(super) fn members(db: &Connection, stream: &StreamId, most: usize) -> Result<(Vec<RunId>, u64), rusqlite::Error> {
    let mut find = db.prepare_cached("SELECT id FROM streams WHERE name = ?1")?;
    let Some(no) = find.query_row([stream.as_str()], |row| row.get::<_, i64>(0)).optional()? else {
        return Ok((Vec::new(), 0));
    };
    let mut ask = db.prepare_cached("SELECT run FROM members WHERE incident = ?1 ORDER BY row LIMIT ?2")?;
    let runs = ask.query_map(params![no, most as i64], |row| Ok(RunId::from(row.get::<_, String>(0)?.as_str())))?;
    let runs: Vec<RunId> = runs.collect::<Result<_, _>>()?;
    let mut count = db.prepare_cached("SELECT count(*) FROM members WHERE incident = ?1")?;
    let all = count.query_row([no], |row| row.get::<_, i64>(0))?;
    Ok((runs, all.cast_unsigned()))
}

/// Rows of marks of a kind within these moments, both included: the latest so many.
pub(super) fn marks(
    db: &Connection,
    kind: Kind,
    from: jiff::Timestamp,
    to: jiff::Timestamp,
    most: usize,
) -> Result<Vec<i64>, rusqlite::Error> {
    let mut ask =
        db.prepare_cached("SELECT row FROM marks WHERE kind = ?1 AND at >= ?2 AND at <= ?3 ORDER BY at DESC LIMIT ?4")?;
    let rows = ask.query_map(params![kind.as_str(), nanos(from), nanos(to), most as i64], |row| row.get(0))?;
    rows.collect()
}

/// Rows of marks of a kind: the latest so many.
pub(super) fn latest(db: &Connection, kind: Kind, most: usize) -> Result<Vec<i64>, rusqlite::Error> {
    let mut ask = db.prepare_cached("SELECT row FROM marks WHERE kind = ?1 ORDER BY row DESC LIMIT ?2")?;
    ask.query_map(params![kind.as_str(), i64::try_from(most).unwrap_or(i64::MAX)], |row| row.get(0))?.collect()
}

/// Runs that began or ended since a moment, the latest first: one that waited for days may have acted at last.
pub(super) fn counted(
    db: &Connection,
    since: jiff::Timestamp,
    each: &mut dyn FnMut(Counted),
) -> Result<(), rusqlite::Error> {
    let mut ask = db.prepare_cached(
        "SELECT s.name, r.playbook, r.place, r.image, r.began, r.counts, json_extract(r.head, '$.started.boot_ns'),
                json_extract(r.head, '$.definition'),
                coalesce(json_extract(r.head, '$.untrusted'), json_extract(r.head, '$.backfill')),
                json_extract(r.head, '$.by') = 'incident' AND json_extract(r.head, '$.mode') = 'enforce'
                AND NOT coalesce(json_extract(r.head, '$.untrusted'), 0)
         FROM runs r JOIN streams s ON s.id = r.stream
         WHERE r.began >= ?1 OR substr(json_extract(r.tail, '$.ended.wall'), 1, 19) >= substr(?2, 1, 19)
         ORDER BY r.stream DESC",
    )?;
    let began = i64::try_from(since.as_nanosecond()).unwrap_or(i64::MIN);
    let mut rows = ask.query(params![began, since.to_string()])?;
    while let Some(row) = rows.next()? {
        let boot_ns = row.get::<_, Option<i64>>(6)?.unwrap_or(0).cast_unsigned();
        let began = Stamp { wall: moment(row.get(4)?), boot_ns };
        each(Counted {
            stream: StreamId::from(row.get::<_, String>(0)?),
            playbook: Name::from(row.get_ref(1)?.as_str()?),
            place: row.get(2)?,
            image: row.get(3)?,
            began,
            counts: row.get(5)?,
            definition: row.get::<_, Option<String>>(7)?.and_then(|sum| sum.parse().ok()),
            trusted: !row.get::<_, Option<bool>>(8)?.unwrap_or(false),
            by_incident: row.get::<_, Option<bool>>(9)?.unwrap_or(false),
        });
    }
    Ok(())
}
