//! `quell api schema`: the description of the daemon's API.

use super::{Exit, Fail, Term};

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  quell api schema > openapi.json")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print the description of the daemon's API: OpenAPI 3.1, as `GET /v1/openapi.json` has it
    #[command(after_help = "Example:\n  quell api schema > openapi.json")]
    Schema,
}

/// Prints.
pub(crate) fn run(args: &Args, term: &Term) -> Result<Exit, Fail> {
    match args.what {
        What::Schema => term.raw(crate::api::document().as_bytes()),
    }
    Ok(Exit::Right)
}
