//! `quell oncall …`: who is told of incidents and who is on call, by an escalation.yaml. Asks no daemon.
//!
//! Owns a file a command. Whoever is on call is the engine's to say; here it is printed. Keeps true: each goes by the same
//! file, found in the same way ([`around::on_call`](crate::daemon::around::on_call)).

mod asked;
mod check;
mod junit;
mod preview;
mod prove;
mod simulate;
mod who;

use super::{Exit, Fail, Term};

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  quell oncall check --config escalation.yaml\n  quell oncall who")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Check who is told, in which order and by which way
    Check(check::Args),
    /// Say who is on call, why, and until when
    Who(who::Args),
    /// Show who is on call over days to come, as a table or a calendar
    Preview(preview::Args),
    /// Hold schedules and policies against days to come: is there ever nobody
    Prove(prove::Args),
    /// Play an incident ahead, page by page: who is told when, by what and why, and what if
    Simulate(simulate::Args),
}

/// Does what was asked.
pub(crate) fn run(args: &Args, term: &Term) -> Result<Exit, Fail> {
    match &args.what {
        What::Check(args) => check::run(args, term),
        What::Who(args) => who::run(args, term),
        What::Preview(args) => preview::run(args, term),
        What::Prove(args) => prove::run(args, term),
        What::Simulate(args) => simulate::run(args, term),
    }
}
