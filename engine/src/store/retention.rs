//! Retention by age: which streams and blobs may go, and how they go.
//!
//! Owns the decision. Never takes a record away itself: the writer does, with the record that says so. Keeps true: what
//! is open, what a standing containment rests on, what an open incident tells of and the incident of a run that stays, stays; a run
//! that another has started stays as long as that one, which takes it back with what it did itself; a blob stays that a record refers
//! to whose stream is not over for long enough.

use super::contents;
use super::journal::Journal;
use super::read;
use super::redact::MOST_DEEP;
use super::vault::{Blob, DirVault};
use crate::load::units::print_duration;
use quell_model::record::{PrunedStream, StreamPruned};
use quell_model::{BlobHash, Body, BootId, Hash, IncidentId, Kind, Name, RunId, Stamp, StoreError, StreamId};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// A record names at most so many streams, and takes at most about so many records away: one transaction, within which
/// nothing else is written, also where a daemon prunes while it answers. A longer stream goes by itself.
const MOST_STREAMS: usize = 256;
const MOST_RECORDS: u64 = 2000;
/// And so many blobs.
const MOST_BLOBS: usize = 10_000;

/// What a row takes beside its body, about.
const ROW: u64 = 170;

/// What may go.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Runs and incidents that have been over for longer; none: they stay.
    pub incidents: Option<Duration>,
    /// Blobs that were last put in longer ago, and of which every stream that names them has been over for longer; none: they stay.
    pub evidence: Option<Duration>,
    /// Now.
    pub now: Stamp,
    /// This boot: within it ages go by the time since boot.
    pub boot: BootId,
    /// Who asks.
    pub by: Name,
}

/// What went, or would go.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Pruned {
    /// Runs.
    pub runs: u64,
    /// Incidents.
    pub incidents: u64,
    /// Their records.
    pub records: u64,
    /// What those take in the journal, about.
    pub bytes: u64,
    /// Blobs of the vault.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Old enough, and kept: a containment that stands rests on them.
    pub kept_for_leases: u64,
    /// Old enough, and kept: an incident or a run that is open, or a run that stays, refers to them.
    pub kept_for_open: u64,
}

/// What would go, in parts of a transaction each.
#[derive(Clone, Debug, Default)]
pub struct PrunePlan {
    parts: Vec<StreamPruned>,
    counts: Pruned,
    numbers: HashSet<i64>,
    /// Of runs that others have started which go as well: by which.
    above: HashMap<StreamId, StreamId>,
}

impl PrunePlan {
    /// What it comes to, without blobs.
    #[must_use]
    pub fn counts(&self) -> &Pruned {
        &self.counts
    }
}

/// An age as people say it of what is kept: `90d`, and not in weeks.
#[must_use]
pub fn print_age(age: Duration) -> String {
    let (days, rest) = (age.as_secs() / 86_400, age.as_secs() % 86_400);
    match (days, rest) {
        (0, _) => print_duration(age),
        (_, 0) => format!("{days}d"),
        _ => format!("{days}d{}", print_duration(Duration::from_secs(rest))),
    }
}

/// A stream that is over.
struct Over {
    no: i64,
    name: StreamId,
    last: u64,
    hash: Hash,
    row: i64,
    at: Stamp,
    bytes: u64,
    /// The run that takes it back.
    above: Option<StreamId>,
    /// So many have started it, one by the other.
    depth: usize,
}

/// What stays for the sake of others.
#[derive(Default)]
struct Needed {
    leases: HashSet<StreamId>,
    open: HashSet<StreamId>,
}

impl Needed {
    fn has(&self, stream: &StreamId) -> bool {
        self.leases.contains(stream) || self.open.contains(stream)
    }
}

impl Journal {
    /// Looks which streams may go.
    ///
    /// # Errors
    /// As [`Journal::read`]; `Unwritable` while the database refuses, since it does not know everything then.
    pub fn prunable(&self, retention: &Retention) -> Result<PrunePlan, StoreError> {
        self.wait_visible(None);
        if let Some(trouble) = self.health().trouble {
            return Err(StoreError::Unwritable(format!("nothing is pruned meanwhile: {trouble}")));
        }
        let Some(age) = retention.incidents else { return Ok(PrunePlan::default()) };
        let (over, needed) = self.over_for(age, retention)?;
        let mut plan = PrunePlan::default();
        let (mut records, mut depth, mut planned) = (MOST_RECORDS, 0, HashSet::new());
        let ended: HashSet<StreamId> = over.iter().map(|one| one.name.clone()).collect();
        for one in over {
            let counts = &mut plan.counts;
            // A ladder stays as long as its incident, or its run.
            let name = one.name.owner();
            if name != one.name && !ended.contains(&name) && self.has(&name) {
                continue;
            }
            if needed.leases.contains(&name) {
                counts.kept_for_leases += 1;
                continue;
            }
            if needed.open.contains(&name) {
                counts.kept_for_open += 1;
                continue;
            }
            counts.runs += u64::from(one.name.as_run().is_some());
            counts.incidents += u64::from(one.name.as_incident().is_some());
            (counts.records, counts.bytes) = (counts.records + one.last, counts.bytes + one.bytes);
            plan.numbers.insert(one.no);
            let above = one.above.filter(|above| planned.contains(above));
            plan.above.extend(above.map(|above| (one.name.clone(), above)));
            planned.insert(one.name.clone());
            if records + one.last > MOST_RECORDS
                || depth != one.depth
                || plan.parts.last().is_none_or(|part| part.streams.len() == MOST_STREAMS)
            {
                plan.parts.push(retention.record(age));
                (records, depth) = (0, one.depth);
            }
            records += one.last;
            let named = PrunedStream { stream: one.name, last: one.last, hash: one.hash, ended: one.at.wall };
            plan.parts.last_mut().expect("pushed just above").streams.push(named);
        }
        Ok(plan)
    }

    /// The streams that have been over for so long, and what stays for the sake of others.
    fn over_for(&self, age: Duration, retention: &Retention) -> Result<(Vec<Over>, Needed), StoreError> {
        let boot = self.boot_began(retention)?;
        let mut needed = Needed { leases: self.under_lease()?, open: HashSet::new() };
        let over = self.0.readers.with(|db| {
            needed.open = needed_by_open(db)?;
            over(db, &mut needed, boot, (age, retention))
        })?;
        Ok((over, needed))
    }

    /// What nothing refers to, but for the streams of a plan and those that have been over for long enough for their evidence to go:
    /// blobs that are old enough.
    ///
    /// # Errors
    /// As [`Journal::read`]; `Unwritable` when the vault cannot be read.
    pub fn orphans(&self, vault: &DirVault, plan: &PrunePlan, retention: &Retention) -> Result<Vec<Blob>, StoreError> {
        let Some(age) = retention.evidence else { return Ok(Vec::new()) };
        let old = |blob: &Blob| retention.now.wall.duration_since(blob.modified) > signed(age);
        let mut old: HashMap<BlobHash, Blob> =
            vault.all()?.into_iter().filter(old).map(|blob| (blob.hash, blob)).collect();
        if !old.is_empty() {
            self.wait_visible(None);
            let mut but = plan.numbers.clone();
            if retention.incidents.is_none_or(|incidents| age < incidents) {
                let (over, needed) = self.over_for(age, retention)?;
                but.extend(over.iter().filter(|one| !needed.has(&one.name)).map(|one| one.no));
            }
            let mut named = |hash| {
                old.remove(&BlobHash(hash));
            };
            self.0.readers.with(|db| referred(db, &but, &mut named))?;
        }
        let mut orphans: Vec<Blob> = old.into_values().collect();
        orphans.sort_by_key(|blob| blob.hash.0);
        Ok(orphans)
    }

    /// Does it, a transaction a part: `write` appends a record to the system's stream and gives it back as it was written, which may be with
    /// fewer streams. What was done when an error comes stays done.
    ///
    /// # Errors
    /// As `write`, and as [`Journal::orphans`].
    pub fn prune(
        &self,
        vault: &DirVault,
        plan: PrunePlan,
        retention: &Retention,
        write: &mut dyn FnMut(StreamPruned) -> Result<StreamPruned, StoreError>,
    ) -> Result<Pruned, StoreError> {
        let mut counts = plan.counts;
        for mut part in plan.parts {
            let meant = part.streams.clone();
            let mut stays = HashSet::new();
            // Its run may have been taken up meanwhile.
            for one in &meant {
                if let Some(above) = plan.above.get(&one.stream)
                    && self.pruned(above)?.is_none()
                {
                    stays.insert(one.stream.clone());
                }
            }
            part.streams.retain(|one| !stays.contains(&one.stream));
            let written = if part.streams.is_empty() { part } else { write(part)? };
            self.wait_visible(Some(&StreamId::system()));
            for one in meant {
                let named = written.streams.contains(&one);
                if named && self.pruned(&one.stream)?.is_some() {
                    continue;
                }
                // It went on meanwhile.
                counts.records -= one.last;
                counts.runs -= u64::from(one.stream.as_run().is_some());
                counts.incidents -= u64::from(one.stream.as_incident().is_some());
                counts.kept_for_open += 1;
            }
        }
        // Asked anew, of what is left now.
        let orphans = self.orphans(vault, &PrunePlan::default(), retention)?;
        for some in orphans.chunks(MOST_BLOBS) {
            let age = retention.evidence.unwrap_or_default();
            write(StreamPruned { blobs: some.iter().map(|blob| blob.hash).collect(), ..retention.record(age) })?;
            for blob in some {
                super::prune::stage();
                let went = vault.discard(blob)?;
                super::prune::stage();
                if went {
                    (counts.blobs, counts.blob_bytes) = (counts.blobs + 1, counts.blob_bytes + blob.bytes);
                }
            }
        }
        Ok(counts)
    }

    /// The row of the first record of this boot.
    fn boot_began(&self, retention: &Retention) -> Result<i64, StoreError> {
        let starts = self.0.readers.with(|db| {
            let mut ask = db.prepare(
                "SELECT r.id, json_extract(r.body, '$.boot') FROM marks m JOIN records r ON r.id = m.row
                 WHERE m.kind = ?1 ORDER BY r.id DESC",
            )?;
            let starts = ask.query_map([Kind::EngineStarted.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            starts.collect::<Result<Vec<(i64, String)>, _>>()
        })?;
        let own = starts.iter().take_while(|(_, boot)| *boot == retention.boot.0.as_ref());
        Ok(own.last().map_or(i64::MAX, |(row, _)| *row))
    }

    /// Streams of what stands.
    pub(super) fn under_lease(&self) -> Result<HashSet<StreamId>, StoreError> {
        let mut standing: HashMap<(RunId, String), Option<IncidentId>> = HashMap::new();
        for record in self.latest(&[Kind::LeaseGranted, Kind::LeaseChanged], usize::MAX)? {
            match record.body {
                Body::LeaseGranted(granted) => {
                    standing.insert((granted.run, granted.part.to_string()), granted.incident);
                }
                Body::LeaseChanged(changed) if matches!(changed.state.as_str(), "lapsed" | "ended") => {
                    standing.remove(&(changed.run, changed.part.to_string()));
                }
                _ => {}
            }
        }
        let mut streams = HashSet::new();
        for ((run, _), incident) in standing {
            streams.insert(StreamId::run(&run));
            streams.extend(incident.as_ref().map(StreamId::incident));
        }
        Ok(streams)
    }
}

impl Retention {
    fn record(&self, older_than: Duration) -> StreamPruned {
        let by = self.by.clone();
        StreamPruned { by, older_than, streams: Vec::new(), blobs: Vec::new() }
    }

    /// Whether what happened then is old enough. Within a boot nobody can set the clock that tells it.
    fn is_over(&self, at: Stamp, in_this_boot: bool, age: Duration) -> bool {
        if in_this_boot {
            return Duration::from_nanos(self.now.boot_ns.saturating_sub(at.boot_ns)) > age;
        }
        self.now.wall.duration_since(at.wall) > signed(age)
    }
}

fn signed(duration: Duration) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(duration).unwrap_or(jiff::SignedDuration::MAX)
}

/// Streams that have been over for long enough, the first begun first.
fn over(
    db: &Connection,
    needed: &mut Needed,
    boot: i64,
    (age, retention): (Duration, &Retention),
) -> Result<Vec<Over>, rusqlite::Error> {
    // What was pruned has no last record. (A look at an older schema knows no such column.)
    let mut ask = db.prepare(
        "SELECT s.id, s.name, s.seq, s.hash, s.last, r.at_wall, r.at_boot FROM streams s JOIN records r ON r.id = s.last
         WHERE s.over = 1 AND (s.name LIKE 'run/%' OR s.name LIKE 'incident/%' OR s.name LIKE 'ladder/%') ORDER BY s.id",
    )?;
    let mut rows = ask.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        // What has no time that can be read is no older than anything.
        let Ok(wall) = row.get_ref(5)?.as_str()?.parse() else { continue };
        let at = Stamp { wall, boot_ns: row.get::<_, i64>(6)?.cast_unsigned() };
        let last = row.get(4)?;
        if retention.is_over(at, last >= boot, age) {
            let (name, hash) = (StreamId::from(row.get::<_, String>(1)?), Hash(row.get(3)?));
            let seq = row.get::<_, i64>(2)?.cast_unsigned();
            found.push(Over { no: row.get(0)?, name, last: seq, hash, row: last, at, bytes: 0, above: None, depth: 0 });
        }
    }
    let mut look = db.prepare("SELECT before, length(body) FROM records WHERE id = ?1")?;
    let mut began = db.prepare(
        "SELECT json_extract(body, '$.parent.run'), json_extract(body, '$.parent.detached') FROM records WHERE id = ?1",
    )?;
    for one in found.iter_mut().filter(|one| !needed.has(&one.name)) {
        let (mut next, mut first) = (one.row, one.row);
        while next != 0 {
            let (before, bytes) = look.query_row([next], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
            one.bytes += bytes.cast_unsigned() + ROW + contents::bytes_of(db, next)?;
            (first, next) = (next, before);
        }
        if one.name.as_run().is_some() {
            let (parent, detached): (Option<String>, Option<bool>) =
                began.query_row([first], |row| Ok((row.get(0)?, row.get(1)?)))?;
            // A detached one is a run by itself.
            one.above = parent.filter(|_| detached != Some(true)).map(|run| StreamId::run(&run.as_str().into()));
        }
    }
    loop {
        let before = needed.open.len();
        needed.open.extend(started_by_what_stays(db, needed, &found)?);
        needed.open.extend(named_by_runs_that_stay(db, needed, &found)?);
        needed.open.extend(runs_of_what_stays(db, needed)?);
        if needed.open.len() == before {
            break;
        }
    }
    let above: HashMap<StreamId, StreamId> =
        found.iter().filter_map(|one| Some((one.name.clone(), one.above.clone()?))).collect();
    for one in &mut found {
        let mut next = one.above.as_ref();
        while let Some(above_it) = next.filter(|_| one.depth <= MOST_DEEP) {
            (one.depth, next) = (one.depth + 1, above.get(above_it));
        }
    }
    // Whoever has started it goes first: as long as that one does not, it stays.
    found.sort_by_key(|one| one.depth);
    Ok(found)
}

/// Runs that were started by one that does not go, which may still take them back.
fn started_by_what_stays(db: &Connection, needed: &Needed, found: &[Over]) -> Result<Vec<StreamId>, rusqlite::Error> {
    let going: HashSet<&StreamId> = found.iter().map(|one| &one.name).filter(|name| !needed.has(name)).collect();
    let mut is_there = db.prepare("SELECT 1 FROM streams WHERE name = ?1 AND last <> 0")?;
    let mut stay = Vec::new();
    for one in found {
        if let Some(above) = one.above.as_ref().filter(|above| !going.contains(above))
            && is_there.exists([above.as_str()])?
        {
            stay.push(one.name.clone());
        }
    }
    Ok(stay)
}

/// Gives each run that is there: its number, its stream, and that of the incident it is part of.
fn parts_of_incidents(db: &Connection, mut each: impl FnMut(i64, StreamId, StreamId)) -> Result<(), rusqlite::Error> {
    let mut ask = db.prepare(
        "SELECT r.id, r.name, 'incident/' || json_extract(l.head, '$.incident') FROM runs l JOIN streams r ON r.id = l.stream
         WHERE r.last <> 0 AND json_extract(l.head, '$.incident') IS NOT NULL",
    )?;
    let mut rows = ask.query([])?;
    while let Some(row) = rows.next()? {
        let name = |at| row.get::<_, String>(at).map(StreamId::from);
        each(row.get(0)?, name(1)?, name(2)?);
    }
    Ok(())
}

/// Incidents that a run is part of which does not go: what becomes of that is told to them.
fn named_by_runs_that_stay(db: &Connection, needed: &Needed, found: &[Over]) -> Result<Vec<StreamId>, rusqlite::Error> {
    let going: HashSet<i64> = found.iter().filter(|one| !needed.has(&one.name)).map(|one| one.no).collect();
    let mut named = Vec::new();
    parts_of_incidents(db, |no, _, incident| named.extend((!going.contains(&no)).then_some(incident)))?;
    Ok(named)
}

/// Runs of incidents that stay: what one of them does may still be taken back, with what it has started.
fn runs_of_what_stays(db: &Connection, needed: &Needed) -> Result<Vec<StreamId>, rusqlite::Error> {
    let mut stay = Vec::new();
    parts_of_incidents(db, |_, run, incident| stay.extend(needed.has(&incident).then_some(run)))?;
    Ok(stay)
}

/// Runs of incidents that are open, and incidents with a run that is.
fn needed_by_open(db: &Connection) -> Result<HashSet<StreamId>, rusqlite::Error> {
    let mut needed = HashSet::new();
    for ask in [
        "SELECT 'run/' || m.run FROM members m JOIN streams i ON i.id = m.incident WHERE i.over = 0",
        "SELECT r.name FROM runs l JOIN streams r ON r.id = l.stream
         JOIN streams i ON i.name = 'incident/' || json_extract(l.head, '$.incident') WHERE i.over = 0",
        "SELECT i.name FROM members m JOIN streams i ON i.id = m.incident
         JOIN streams r ON r.name = 'run/' || m.run WHERE r.over = 0",
        "SELECT 'incident/' || json_extract(l.head, '$.incident') FROM runs l JOIN streams r ON r.id = l.stream
         WHERE r.over = 0 AND json_extract(l.head, '$.incident') IS NOT NULL",
    ] {
        let mut ask = db.prepare(ask)?;
        for name in ask.query_map([], |row| row.get::<_, String>(0))? {
            needed.insert(StreamId::from(name?));
        }
    }
    Ok(needed)
}

/// Gives every sum that a body names, or a value that lies beside it, but for those of these streams: 64 hex digits and no more.
pub(super) fn referred(db: &Connection, but: &HashSet<i64>, each: &mut dyn FnMut(Hash)) -> Result<(), rusqlite::Error> {
    let mut look = |text: &str| {
        let words = text.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == 64);
        words.filter_map(|word| word.parse().ok()).for_each(&mut *each);
    };
    read::bodies(db, &mut |stream, body| {
        if !but.contains(&stream) {
            look(body);
        }
    })?;
    contents::texts(db, but, &mut look)
}
