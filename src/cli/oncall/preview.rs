//! `quell oncall preview`: who is on call over days to come, as a table, as JSON or as a calendar.

use super::asked::{Asked, LONGEST_DAYS, When, moment, now, when};
use crate::cli::table::{Table, cell};
use crate::cli::term::Ink;
use crate::cli::{Exit, Fail, Term};
use quell_engine::escalation::schedule::{Resolved, ical, told};
use serde_json::{Value, json};

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quell oncall preview --days 30\n  quell oncall preview --days 90 --schedule primary --ical > primary.ics\n\nA time without an offset is one of the schedule's own clock, as those of the table are. The events of\na calendar keep their ids when it is exported again."
)]
pub(crate) struct Args {
    #[command(flatten)]
    asked: Asked,
    /// So many days
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=LONGEST_DAYS))]
    days: u16,
    /// From this moment on [default: now]
    #[arg(long, value_name = "T", value_parser = when)]
    at: Option<When>,
    /// As an iCalendar file, on standard output
    #[arg(long)]
    ical: bool,
}

/// Shows who.
pub(super) fn run(args: &Args, term: &Term) -> Result<Exit, Fail> {
    if args.ical && term.is_json() {
        return Err(Fail::usage("a calendar is no JSON").hint("leave out `--json` or `--ical`"));
    }
    let escalation = args.asked.read(term)?;
    let schedules = args.asked.schedules(&escalation)?;
    let now = now();
    if args.ical {
        let mut calendars = ical::Calendar::new(now);
        for (name, schedule) in schedules {
            let from = moment(args.at, now, &Resolved::new(schedule));
            calendars.add(name, schedule, &escalation.people, from, args.days);
        }
        term.raw(calendars.end().as_bytes());
        return Ok(Exit::Right);
    }
    let mut rows = Vec::new();
    let mut table = Table::new(&["schedule", "from", "to", "who", "why"]);
    for (name, schedule) in schedules {
        let resolved = Resolved::new(schedule);
        let from = moment(args.at, now, &resolved);
        let to = resolved.days_on(from, args.days);
        for span in resolved.changes(from, to) {
            let told = |at| cell(told(at, &span.on.time_zone));
            let ink = if span.on.who.is_some() { Ink::Plain } else { Ink::Bad };
            let who = span.on.who.as_ref().map_or("nobody", |who| who.as_str()).to_owned();
            if term.is_json() {
                let id = format!("{name}/{}", span.from);
                let mut row = json!({ "id": id, "schedule": name, "reason": span.on.reason() });
                if let (Value::Object(row), Ok(Value::Object(span))) = (&mut row, serde_json::to_value(&span)) {
                    row.extend(span);
                }
                rows.push(row);
            } else {
                let (from, to) = (told(span.from), told(span.to));
                table.row([(Ink::Name, name.to_string()), from, to, (ink, who), cell(span.on.reason())]);
            }
        }
    }
    if term.is_json() {
        term.document(&rows);
    } else {
        table.print(term, "no schedules: escalation.yaml has none");
    }
    Ok(Exit::Right)
}
