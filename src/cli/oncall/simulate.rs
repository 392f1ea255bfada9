//! `quell oncall simulate`: a night played ahead, page by page.
//!
//! The engine plays it; here it is asked for and printed.

use super::asked::{When, now, read, when};
use crate::cli::escape::escape;
use crate::cli::mistakes;
use crate::cli::table::{Table, cell};
use crate::cli::term::Ink;
use crate::cli::{Exit, Fail, Term};
use crate::daemon::Scratch;
use quell_engine::escalation::schedule::told;
use quell_engine::load::units::print_duration;
use quell_engine::simulate::{End, Outcome, Played, Row, Suppose, Told, What, play, suppose};
use quell_model::MistakeLevel;
use std::path::{Path, PathBuf};

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quell oncall simulate --incident incident.yaml --at 2026-12-25T02:00:00Z\n  quell oncall simulate --incident incident.yaml --what-if slack-down,ana-acks@7m,restart@3m\n  quell incident show i-0f1e2d3c --json > i.json; quell oncall simulate --incident i.json\n\nAn incident.yaml: { level: critical, tags: [attack.impact], rules: [a-rule], entity: { kind: unit, id: nginx.service, node: web-1 } }\n\nNobody answers unless --what-if says so. The engine itself plays it, on a clock of its own; nothing is sent. Ends with 1 when somebody who\nshould be told is not."
)]
pub(crate) struct Args {
    /// The incident, YAML or JSON: `level`, `tags`, `rules`, `entity`, `title`; or what `quell incident show --json` prints
    #[arg(long, value_name = "FILE")]
    incident: PathBuf,
    /// When it is opened [default: now]
    #[arg(long, value_name = "T", value_parser = when)]
    at: Option<When>,
    /// What is supposed, with commas: CHANNEL-down, CHANNEL-refuses, PERSON-silent, PERSON-acks@5m, restart@7m
    #[arg(long, value_name = "WHAT", default_value = "")]
    what_if: String,
    /// The escalation.yaml [default: that of /etc/quell/quell.yaml]
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
}

/// Plays it.
pub(super) fn run(args: &Args, term: &Term) -> Result<Exit, Fail> {
    // A channel that is off for now takes everything in the play: that it is off is told by a warning.
    let escalation = read(args.config.as_ref(), MistakeLevel::Warning, term)?;
    let incident = incident(&args.incident, term)?;
    let supposed = suppose(&args.what_if, &escalation).map_err(Fail::usage)?;
    let at = match args.at {
        None => now(),
        Some(When::Moment(at)) => at,
        Some(When::Clock(_)) => {
            return Err(Fail::usage("an incident is of all schedules, so its moment needs an offset")
                .hint("for example 2027-03-14T00:00:00Z"));
        }
    };
    let cannot = |e: std::io::Error| Fail::missing(format!("it cannot be played: {e}"));
    let scratch = Scratch::new("simulate").map_err(cannot)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(cannot)?;
    let played = play(&escalation, &incident, at, &supposed, (scratch.path(), runtime.handle()))
        .map_err(|e| Fail::not_right(e.to_string()))?;
    if term.is_json() {
        term.document(&played);
    } else {
        print(&played, &incident, &supposed, term);
    }
    for untold in &played.untold {
        term.note(format!("{}: {}", term.ink(Ink::Bad, "not told"), escape(untold)));
    }
    Ok(if played.untold.is_empty() { Exit::Right } else { Exit::NotRight })
}

fn incident(file: &Path, term: &Term) -> Result<Told, Fail> {
    let text =
        std::fs::read_to_string(file).map_err(|e| Fail::usage(format!("`{}` cannot be read: {e}", file.display())))?;
    let incident = Told::read(file, &text).map_err(|mistake| {
        mistakes::draw(term, &[*mistake]);
        Fail::usage("the incident cannot be read").hint("mend what is told above")
    })?;
    if !incident.others.is_empty() {
        let named = incident.others.iter().map(|rule| rule.as_str()).collect::<Vec<_>>().join(", ");
        term.note(escape(&format!(
            "an incident is routed by what opened it, here `{}`; {named} change nothing",
            incident.rule
        )));
    }
    Ok(incident)
}

fn print(played: &Played, incident: &Told, supposed: &[Suppose], term: &Term) {
    let about = format!("{} incident about {}, rule {}", incident.level, incident.entity, incident.rule);
    term.line(escape(&about));
    term.line(escape(&format!("policy {}: {}", played.policy, played.route)));
    let silent: Vec<&str> = supposed
        .iter()
        .filter_map(|one| if let Suppose::Silent(who) = one { Some(who.as_str()) } else { None })
        .collect();
    if !silent.is_empty() {
        term.line(escape(&format!("silent: {}", silent.join(", "))));
    }
    term.line("");
    let mut table = Table::new(&["after", "at", "step", "who", "by", "what came of it", "why"]);
    let mut before = String::new();
    for row in &played.rows {
        let step = row.step.clone().unwrap_or_default();
        let (who, by, outcome, why) = cells(row, &mut before);
        table.row([
            cell(format!("+{}", print_duration(row.after))),
            cell(told(row.at, "UTC")),
            cell(step),
            who,
            cell(by),
            outcome,
            cell(why),
        ]);
    }
    table.print(term, "nothing happens");
    term.line("");
    term.line(match &played.end {
        End::Acknowledged { by, raised_again } => {
            let again = raised_again.map_or_else(String::new, |at| {
                format!("; if nobody does anything, everybody is told anew at {}", told(at, "UTC"))
            });
            term.ink(Ink::Good, &escape(&format!("{by} looks after it{again}")))
        }
        End::Exhausted => term.ink(Ink::Warn, "nobody answers: the last resort was told, and it stays open"),
        End::GoesOn => term.ink(Ink::Warn, "it goes on for longer than two weeks"),
    });
}

type Cell = (Ink, String);

/// Who, by what, what came of it, and why; why a step comes stands in its first row.
fn cells(row: &Row, before: &mut String) -> (Cell, String, Cell, String) {
    match &row.what {
        What::Page { to, by, address, outcome, why, because } => {
            let by = address.as_ref().map_or_else(|| by.clone(), |address| format!("{by} ({address})"));
            let at = format!("{:?} {because}", row.step);
            let why = if *before == at { why.clone() } else { format!("{because}; {why}") };
            *before = at;
            ((Ink::Name, to.clone()), by, came(outcome), why)
        }
        What::Nobody { target, why } => (
            (Ink::Bad, "nobody".to_owned()),
            String::new(),
            (Ink::Bad, "no page".to_owned()),
            format!("{target}: {why}"),
        ),
        What::Answers { by } => {
            ((Ink::Name, by.to_string()), String::new(), (Ink::Good, "answers".to_owned()), "what-if".to_owned())
        }
        What::Restarts => (
            (Ink::Warn, "quell".to_owned()),
            String::new(),
            (Ink::Warn, "is killed and starts again".to_owned()),
            "what-if".to_owned(),
        ),
    }
}

fn came(outcome: &Outcome) -> Cell {
    match outcome {
        Outcome::Sent => (Ink::Good, "sent".to_owned()),
        Outcome::SentAfter { attempts } => (Ink::Good, format!("sent at attempt {}", attempts + 1)),
        Outcome::NotSent { attempts: 0, why } => (Ink::Bad, format!("not sent: {why}")),
        Outcome::NotSent { attempts, why } => (Ink::Bad, format!("not sent ({attempts} attempts): {why}")),
    }
}
