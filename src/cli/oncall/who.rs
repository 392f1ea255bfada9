//! `quell oncall who`: who is on call, and why.
//!
//! Asks the engine's one function; prints nobody else's name.

use super::asked::{Asked, When, moment, now, when};
use crate::cli::table::{Table, cell};
use crate::cli::term::Ink;
use crate::cli::{Exit, Fail, Term};
use quell_engine::escalation::schedule::{Resolved, told};
use serde_json::{Value, json};

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quell oncall who\n  quell oncall who --schedule primary --at 2027-03-14T02:30 --json\n\nA time without an offset is one of the schedule's own clock, as those of the table are."
)]
pub(crate) struct Args {
    #[command(flatten)]
    asked: Asked,
    /// At this moment [default: now]
    #[arg(long, value_name = "T", value_parser = when)]
    at: Option<When>,
}

/// Says who.
pub(super) fn run(args: &Args, term: &Term) -> Result<Exit, Fail> {
    let escalation = args.asked.read(term)?;
    let (now, mut rows) = (now(), Vec::new());
    let mut table = Table::new(&["schedule", "who", "until", "why"]);
    for (name, schedule) in args.asked.schedules(&escalation)? {
        let resolved = Resolved::new(schedule);
        let at = moment(args.at, now, &resolved);
        let on = resolved.who(at);
        let display = on.who.as_ref().map(|who| escalation.people.people.get(who).map_or(who.as_str(), |p| &p.name));
        let until = on.until.map_or_else(|| "for ever".to_owned(), |until| told(until, &on.time_zone));
        let ink = if on.who.is_some() { Ink::Good } else { Ink::Bad };
        let who = on.who.as_ref().map_or("nobody", |who| who.as_str()).to_owned();
        table.row([(Ink::Name, name.to_string()), (ink, who), cell(until), cell(on.reason())]);
        let mut row = json!({ "id": name, "at": at, "name": display, "reason": on.reason() });
        if let (Value::Object(row), Ok(Value::Object(on))) = (&mut row, serde_json::to_value(&on)) {
            row.extend(on);
        }
        rows.push(row);
    }
    if term.is_json() {
        term.document(&rows);
    } else {
        table.print(term, "no schedules: escalation.yaml has none");
    }
    Ok(Exit::Right)
}
