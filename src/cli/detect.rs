//! `quell detect`: recorded events in, detections out. The same rules and the same engine as the daemon's.

use super::escape::{clip, escape};
use super::mistakes;
use super::place::must_exist;
use super::rules::sources;
use super::show::moment;
use super::term::Ink;
use super::{Exit, Fail, Term};
use quell_engine::adapt::{Format, read};
use quell_engine::detect::{Detector, Rules};
use quell_model::{Detection, Event, Field, Level, Mistake};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quell detect --rules rules/ recording.jsonl\n  zcat trail.json.gz | quell detect --rules sigma/rules/cloud/aws --json -\n\nReads quell's recordings, CloudTrail, Kubernetes audit, auditd's log and plain JSON, line by line or\nas one document; YAML that is no rule is passed over. Ends with 1 when nothing could be read."
)]
pub(crate) struct Args {
    /// A file or directory of Sigma rules
    #[arg(long, required = true, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// A file or directory of exceptions (Sigma filters)
    #[arg(long, value_name = "PATH")]
    exceptions: Vec<PathBuf>,
    /// What the events are [default: each is taken for what it looks like]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Keep what cannot be read in this file
    #[arg(long, value_name = "F")]
    aside: Option<PathBuf>,
    /// Files of events; `-` is standard input
    #[arg(default_value = "-", value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// How it went.
#[derive(Default)]
struct Sums {
    events: u64,
    detections: u64,
    unreadable: u64,
}

/// At most so many unreadable lines are named; all are counted.
const NAMED: u64 = 20;

/// Reads, detects, prints.
pub(crate) fn run(args: &Args, term: &Term) -> Result<Exit, Fail> {
    let files = args.files.iter().filter(|file| file.as_os_str() != "-");
    must_exist(args.rules.iter().chain(&args.exceptions).chain(files))?;
    let (rules, report) = Rules::load(&sources(&args.rules), &sources(&args.exceptions));
    mistakes::draw(term, &report.skipped);
    if rules.is_empty() {
        return Err(Fail::usage("no rule could be loaded").hint("`quell rules check PATH` says why"));
    }
    let mut aside = match &args.aside {
        Some(path) => Some(File::create(path).map_err(|e| unreadable(path, &e))?),
        None => None,
    };
    let mut detector = Detector::new(Arc::new(rules));
    let mut sums = Sums::default();
    for file in &args.files {
        if file.as_os_str() == "-" {
            let input = std::io::stdin().lock();
            scan(&mut detector, Path::new("<stdin>"), input, args.format, &mut aside, &mut sums, term)?;
        } else {
            let input = BufReader::new(File::open(file).map_err(|e| unreadable(file, &e))?);
            scan(&mut detector, file, input, args.format, &mut aside, &mut sums, term)?;
        }
    }
    for held in detector.held().filter(|held| held.held > 0) {
        term.note(format!(
            "{} held back by the exception `{}` of {}",
            held.held,
            escape(held.id.as_str()),
            escape(&held.owner)
        ));
    }
    if sums.unreadable > NAMED {
        term.note(format!("… and {} more that could not be read", sums.unreadable - NAMED));
    }
    let lines = if sums.unreadable == 1 { "line" } else { "lines" };
    let unreadable =
        if sums.unreadable > 0 { format!(", {} {lines} could not be read", sums.unreadable) } else { String::new() };
    term.note(format!("{} detections in {} events{unreadable}", sums.detections, sums.events));
    Ok(if sums.events == 0 && sums.unreadable > 0 { Exit::NotRight } else { Exit::Right })
}

fn unreadable(path: &Path, e: &std::io::Error) -> Fail {
    Fail::usage(format!("`{}` cannot be opened: {e}", path.display()))
}

fn scan(
    detector: &mut Detector,
    file: &Path,
    input: impl BufRead,
    format: Option<Format>,
    aside: &mut Option<File>,
    sums: &mut Sums,
    term: &Term,
) -> Result<(), Fail> {
    let mut found = Vec::new();
    for event in read(format, file, input) {
        if term.is_deaf() {
            return Ok(());
        }
        match event {
            Ok(event) => {
                sums.events += 1;
                // Recorded events have their own time: what counts is when they happened.
                detector.event(&event, event.head.at, &mut found);
                sums.detections += found.len() as u64;
                for detection in found.drain(..) {
                    if term.is_json() {
                        term.row(&detection);
                    } else {
                        term.line(line(&detection, term));
                    }
                }
            }
            Err(broken) => {
                sums.unreadable += 1;
                if sums.unreadable <= NAMED {
                    name(&broken.mistake, term);
                }
                if let Some(aside) = aside {
                    let kept = aside.write_all(&broken.raw).and_then(|()| aside.write_all(b"\n"));
                    kept.map_err(|e| Fail::not_right(format!("what cannot be read cannot be kept aside: {e}")))?;
                }
            }
        }
    }
    Ok(())
}

fn name(mistake: &Mistake, term: &Term) {
    term.warn(&format!("{}: {}", mistake.place(), mistake.what));
}

/// How a level looks.
pub(super) fn level_ink(level: Level) -> Ink {
    match level {
        Level::Informational | Level::Low => Ink::Dim,
        Level::Medium => Ink::Warn,
        Level::High | Level::Critical => Ink::Bad,
    }
}

fn line(detection: &Detection, term: &Term) -> String {
    let event = &detection.event;
    let sigma = |field: &str| match event.sigma(field) {
        Some(Field::Str(text)) => Some(text.into_owned()),
        Some(Field::Int(n)) => Some(n.to_string()),
        _ => None,
    };
    let about = ["CommandLine", "TargetFilename", "DestinationIp", "eventName", "verb", "Image"]
        .iter()
        .find_map(|field| sigma(field).filter(|text| !text.is_empty()))
        .or_else(|| detection.matched.first().map(|m| format!("{} {}", m.field, super::show::value(&m.value, 200))))
        .unwrap_or_default();
    let tags: Vec<&str> =
        detection.rule.tags.iter().map(AsRef::as_ref).filter(|tag| tag.starts_with("attack.t")).collect();
    format!(
        "{}  {}  {}  {}  {}",
        term.ink(Ink::Dim, &moment(event.head.at.wall)),
        term.ink(level_ink(detection.rule.level), &format!("{:<8}", detection.rule.level.as_str())),
        term.ink(Ink::Name, detection.rule.name.as_str()),
        clip(&about, 200),
        term.ink(Ink::Dim, &tags.join(" ")),
    )
}
