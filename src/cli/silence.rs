//! `quell silence add|list|end`: of which incidents nobody is paged for a while.

use super::client::{Client, segment};
use super::escape::escape;
use super::show::moment;
use super::table::{Table, cell};
use super::term::Ink;
use super::{Exit, Fail, Global, Term};
use quell_engine::run::answers::{SilenceGone, SilenceView};
use quell_model::record::Covers;
use serde_json::json;

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quell silence add --rule shell-from-web-server --for 2h --reason \"tonight's deploy\"\n  quell silence list\n  quell silence end s-41"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Page nobody for some incidents until an end; containment goes on
    #[command(
        after_help = "Examples:\n  quell silence add --entity nginx.service --for 90m --reason \"a new certificate\" --maintenance\n  quell silence add --match 'incident.entity.node == \"web-1\"' --for 1d --reason \"being rebuilt\"\n\nAll that is given has to hold. One by --match, --tag or --level hides nothing worse than --level says (else: high); one by --rule or --tag\ncovers an incident as long as nothing else is detected in it. Questions are asked all the same. At its end what still burns is told."
    )]
    Add(Box<Add>),
    /// Show the silences that stand and what they hold back; so does `quell silence` alone
    #[command(after_help = "Example:\n  quell silence list --json | jq -r '.[] | select(.holds_back > 0) | .id'")]
    List,
    /// End one before its time: what it held back and still burns is told now
    #[command(after_help = "Example:\n  quell silence end s-41")]
    End {
        /// The silence, as the list has it
        id: String,
    },
}

#[derive(Debug, clap::Args)]
struct Add {
    /// An expression over `incident`, as `when` of a route in escalation.yaml
    #[arg(long = "match", value_name = "EXPR")]
    expression: Option<String>,
    /// The name of a rule
    #[arg(long)]
    rule: Option<String>,
    /// What the incident is about: its id (`nginx.service`), or the whole of it as lists show it
    #[arg(long)]
    entity: Option<String>,
    /// A tag of the rule
    #[arg(long)]
    tag: Option<String>,
    /// Up to this level
    #[arg(long)]
    level: Option<quell_model::Level>,
    /// How long from now: 90s, 30m, 2h, 1d; at most 30d
    #[arg(long = "for", value_name = "D")]
    lasts: String,
    /// Why, for whoever finds that nobody was told
    #[arg(long)]
    reason: String,
    /// What happens meanwhile was planned: messages and lists say so
    #[arg(long)]
    maintenance: bool,
}

/// Says, shows or ends silences.
pub(crate) fn run(args: &Args, global: &Global, term: &Term) -> Result<Exit, Fail> {
    let client = Client::new(global)?;
    match &args.what {
        None | Some(What::List) => {
            let all: Vec<SilenceView> = client.all("/silences")?;
            if term.is_json() { term.document(&all) } else { show(&all, term) }
        }
        Some(What::Add(add)) => {
            let covers = Covers {
                expression: add.expression.clone(),
                rule: add.rule.as_deref().map(Into::into),
                entity: add.entity.clone(),
                tag: add.tag.as_deref().map(Into::into),
                level: add.level,
            };
            let wanted =
                json!({ "covers": covers, "for": add.lasts, "reason": add.reason, "maintenance": add.maintenance });
            let silence: SilenceView = client.post("/silences", &wanted)?;
            term.answer(&silence, || {
                let (id, until) = (escape(silence.id.as_str()), moment(silence.until));
                format!("{id}: until {until} nobody is paged for {}; {}", covered(&silence), holds_back(&silence))
            });
        }
        Some(What::End { id }) => {
            let gone: SilenceGone = client.delete(&format!("/silences/{}", segment(id)))?;
            term.answer(&gone, || {
                let told = match gone.released {
                    0 => "it held nothing back".to_owned(),
                    1 => "the incident that it held back is told, if it still burns".to_owned(),
                    many => format!("the {many} incidents that it held back are told, if they still burn"),
                };
                format!("{}: ended; {told}", escape(gone.id.as_str()))
            });
        }
    }
    Ok(Exit::Right)
}

/// What a silence covers, in words.
pub(super) fn covered(silence: &SilenceView) -> String {
    let Covers { expression, rule, entity, tag, level } = &silence.covers;
    let parts = [
        rule.as_ref().map(|rule| format!("rule {rule}")),
        entity.clone(),
        tag.as_ref().map(|tag| format!("tag {tag}")),
        expression.as_ref().map(|expression| format!("`{expression}`")),
        level.map(|level| format!("up to {level}")),
    ];
    escape(&parts.into_iter().flatten().collect::<Vec<_>>().join(", ")).into_owned()
}

/// How many incidents it holds back, in words.
pub(super) fn holds_back(silence: &SilenceView) -> String {
    match silence.holds_back {
        0 => "it holds nothing back now".to_owned(),
        1 => "it holds back 1 incident now".to_owned(),
        many => format!("it holds back {many} incidents now"),
    }
}

fn show(all: &[SilenceView], term: &Term) {
    let mut table = Table::new(&["silence", "until", "of", "covers", "holds back", "why"]);
    for one in all {
        let why = if one.maintenance { format!("maintenance: {}", one.reason) } else { one.reason.clone() };
        let ink = if one.holds_back > 0 { Ink::Warn } else { Ink::Dim };
        table.row([
            (Ink::Name, one.id.to_string()),
            cell(moment(one.until)),
            cell(one.by.to_string()),
            cell(covered(one)),
            (ink, one.holds_back.to_string()),
            cell(why),
        ]);
    }
    table.print(term, "no silence stands: everybody is told of everything");
}
