//! `quell oncall prove`: whether somebody is always reached over days to come.

use super::asked::{LONGEST_DAYS, When, now, read, when};
use super::junit;
use crate::cli::escape::escape;
use crate::cli::mistakes::Tally;
use crate::cli::table::{Table, cell};
use crate::cli::term::Ink;
use crate::cli::{Exit, Fail, Term};
use quell_engine::escalation::Escalation;
use quell_engine::escalation::prove::{Finding, Proof, prove};
use quell_engine::escalation::schedule::told;
use quell_model::MistakeLevel;
use serde_json::{Value, json};
use std::path::PathBuf;

/// So many periods of a finding are printed.
const SHOWN: usize = 3;

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quell oncall prove --days 400\n  quell oncall prove --days 90 --junit oncall.xml\n\nEnds with 1 when a finding is an error: a policy of which no step reaches anybody, a last resort that reaches\nnobody, somebody on call whom no channel reaches. Nights and weekends are those of where people live."
)]
pub(crate) struct Args {
    /// The escalation.yaml [default: that of /etc/quell/quell.yaml]
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
    /// So many days
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u16).range(1..=LONGEST_DAYS))]
    days: u16,
    /// From this moment on [default: now]
    #[arg(long, value_name = "T", value_parser = when)]
    at: Option<When>,
    /// Write JUnit XML to this file
    #[arg(long, value_name = "F")]
    junit: Option<PathBuf>,
}

/// Proves it, or says what is missing.
pub(super) fn run(args: &Args, term: &Term) -> Result<Exit, Fail> {
    let escalation = read(args.config.as_ref(), MistakeLevel::Warning, term)?;
    let from = match args.at {
        None => now(),
        Some(When::Moment(at)) => at,
        Some(When::Clock(_)) => {
            return Err(Fail::usage("a proof is of all schedules, so its start needs an offset")
                .hint("for example 2027-03-14T00:00:00Z"));
        }
    };
    let proof = prove(&escalation, from, args.days);
    if let Some(file) = &args.junit {
        let written = junit::xml(&escalation, &proof).map_err(std::io::Error::other);
        let written = written.and_then(|xml| std::fs::write(file, xml));
        written.map_err(|e| Fail::not_right(format!("`{}` cannot be written: {e}", file.display())))?;
    }
    if term.is_json() {
        term.document(&document(&proof));
    } else {
        print(&escalation, &proof, term);
    }
    let count = |level| proof.findings.iter().filter(|finding| finding.level == level).count();
    let tally = Tally {
        errors: count(MistakeLevel::Error),
        warnings: count(MistakeLevel::Warning),
        notes: count(MistakeLevel::Note),
    };
    let days = if args.days == 1 { "1 day".to_owned() } else { format!("{} days", args.days) };
    term.note(format!("{days}: {tally}"));
    Ok(if proof.holds() { Exit::Right } else { Exit::NotRight })
}

/// For scripts.
fn document(proof: &Proof) -> Value {
    let finding = |finding: &Finding| {
        let mut row = json!({ "id": finding.problem.key(), "what": finding.problem.to_string() });
        if let (Value::Object(row), Ok(Value::Object(finding))) = (&mut row, serde_json::to_value(finding)) {
            row.extend(finding);
        }
        row
    };
    let load = proof.load.iter().map(|load| {
        json!({
            "id": format!("{}/{}", load.schedule, load.person), "schedule": load.schedule, "person": load.person,
            "minutes": load.minutes, "shifts": load.shifts, "nights": load.nights, "weekends": load.weekends,
        })
    });
    json!({
        "ok": proof.holds(), "from": proof.from, "to": proof.to,
        "findings": proof.findings.iter().map(finding).collect::<Vec<_>>(), "load": load.collect::<Vec<_>>(),
    })
}

fn print(escalation: &Escalation, proof: &Proof, term: &Term) {
    for finding in &proof.findings {
        let (ink, word) = match finding.level {
            MistakeLevel::Error => (Ink::Bad, "error"),
            MistakeLevel::Warning => (Ink::Warn, "warning"),
            MistakeLevel::Note => (Ink::Dim, "note"),
        };
        term.line(format!("{}  {}", term.ink(ink, word), escape(&finding.problem.to_string())));
        let zone = finding.problem.schedule().and_then(|name| escalation.schedules.get(name));
        let zone = zone.map_or("UTC", |schedule| schedule.time_zone.as_str());
        for period in finding.when.iter().take(SHOWN) {
            term.line(format!("    {} to {} ({})", told(period.from, zone), told(period.to, zone), escape(zone)));
        }
        if finding.when.len() > SHOWN {
            term.line(format!("    and {} times more", finding.when.len() - SHOWN));
        }
    }
    let mut table = Table::new(&["schedule", "person", "hours", "shifts", "nights", "weekends"]);
    for load in &proof.load {
        let hours = format!("{}.{}", load.minutes / 60, load.minutes % 60 / 6);
        let counts = [load.shifts, load.nights, load.weekends].map(|count| cell(count.to_string()));
        let row = [(Ink::Name, load.schedule.to_string()), cell(load.person.to_string()), cell(hours)];
        table.row(row.into_iter().chain(counts));
    }
    if !proof.load.is_empty() {
        table.print(term, "");
    }
}
